//! The only door to `prometheus-parse`: canonical lines in, numbers out.
//!
//! A page's line becomes one of five forms, in which `17` counts lines, `3` counts runs of bucket lines that share name
//! and labels, and numbers stand as on the page, their spelling checked:
//!
//! ```text
//! counter{i="17"} 1.5      histogram_bucket{i="3",le="0.5"} 12
//! gauge{i="18"} 1.5        summary{i="3",quantile="0.9"} 12
//! untyped{i="19"} 1.5
//! ```
//!
//! No name, label or text of the page passes this door, so none of the crate's ways to lose or to merge series applies.
//! A bucket is found again by its place in its run: the crate appends buckets in the order of lines.

use std::io;

use prometheus_parse::{Sample, Scrape, Value};

use super::line::{Line, Role};
use super::number::{self, Spelling};
use super::recall::Recalled;
use super::scan::Scanned;
use super::{BadLine, LabelPair, PageError, SampleKind};

/// The TYPE lines of the five forms; what is not named is untyped.
const TYPES: [&str; 4] =
    ["# TYPE counter counter", "# TYPE gauge gauge", "# TYPE histogram histogram", "# TYPE summary summary"];

/// What `prometheus-parse` made of one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    pub value: f64,
    pub kind: SampleKind,
}

/// How many lines are handed over at once: the crate makes 2 KB of every line, all of it at the same time.
const PART: usize = 1024;

/// Returns the value and the kind of every line, in the page's order. What is known from the last page is not read again.
pub(super) fn read(scanned: &Scanned<'_>, known: &Recalled<Reading>) -> Result<Vec<Reading>, PageError> {
    let recall = |(at, line): (usize, &Line<'_>)| {
        known.get(at, line.value).filter(|reading| reading.kind == kind(line.role)).copied()
    };
    let mut readings: Vec<Option<Reading>> = scanned.lines.iter().enumerate().map(recall).collect();
    let new: Vec<usize> = (0..readings.len()).filter(|at| readings[*at].is_none()).collect();
    for part in new.chunks(PART) {
        read_part(scanned, part, &mut readings);
    }
    scanned.lines.iter().zip(readings).map(|(line, reading)| checked(line, reading)).collect()
}

/// Reads some of the lines.
fn read_part(scanned: &Scanned<'_>, part: &[usize], readings: &mut [Option<Reading>]) {
    let (runs, run_of_line) = runs(scanned, part);
    let header = TYPES.iter().map(|line| (*line).to_owned());
    let lines = part.iter().zip(run_of_line).map(|(at, run)| canonical(&scanned.lines[*at], *at, run));
    // The iterator never fails, so neither does the crate: it has no other error.
    let parsed = Scrape::parse(header.chain(lines).map(io::Result::Ok)).map(|scrape| scrape.samples);
    for sample in parsed.unwrap_or_default() {
        place(&sample, &runs, readings);
    }
}

/// Returns the kind that the crate gives to a line of this role.
fn kind(role: Role<'_>) -> SampleKind {
    match role {
        Role::Counter => SampleKind::Counter,
        Role::Gauge => SampleKind::Gauge,
        Role::Untyped => SampleKind::Untyped,
        Role::Bucket(_) => SampleKind::Bucket,
        Role::Quantile(_) => SampleKind::Quantile,
    }
}

/// Writes one canonical line.
fn canonical(line: &Line<'_>, at: usize, run: usize) -> String {
    let value = line.value;
    match line.role {
        Role::Counter => format!("counter{{i=\"{at}\"}} {value}"),
        Role::Gauge => format!("gauge{{i=\"{at}\"}} {value}"),
        Role::Untyped => format!("untyped{{i=\"{at}\"}} {value}"),
        Role::Bucket(le) => format!("histogram_bucket{{i=\"{run}\",le=\"{le}\"}} {value}"),
        Role::Quantile(quantile) => format!("summary{{i=\"{run}\",quantile=\"{quantile}\"}} {value}"),
    }
}

/// Gathers neighbouring buckets (and quantiles) of one series of distributions: the lines of each run, the run of each line.
fn runs(scanned: &Scanned<'_>, part: &[usize]) -> (Vec<Vec<usize>>, Vec<usize>) {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    let mut run_of_line = Vec::with_capacity(part.len());
    let mut previous: Option<&Line<'_>> = None;
    for at in part {
        let line = &scanned.lines[*at];
        if matches!(line.role, Role::Bucket(_) | Role::Quantile(_)) {
            match runs
                .last_mut()
                .filter(|_| previous.is_some_and(|previous| continues(scanned, previous, line)))
            {
                Some(run) => run.push(*at),
                None => runs.push(vec![*at]),
            }
            previous = Some(line);
        }
        run_of_line.push(runs.len().saturating_sub(1));
    }
    (runs, run_of_line)
}

/// Returns whether two lines differ in nothing but their bound.
fn continues(scanned: &Scanned<'_>, previous: &Line<'_>, line: &Line<'_>) -> bool {
    let bound = match (previous.role, line.role) {
        (Role::Bucket(_), Role::Bucket(_)) => "le",
        (Role::Quantile(_), Role::Quantile(_)) => "quantile",
        _ => return false,
    };
    let others = |line: &Line<'_>| {
        let labels: &[LabelPair<'_>] = &scanned.labels[line.labels.clone()];
        labels.iter().filter(|(name, _)| name != bound)
    };
    previous.name == line.name && others(previous).eq(others(line))
}

/// Puts the numbers of one grouped or single sample where their lines are.
fn place(sample: &Sample, runs: &[Vec<usize>], readings: &mut [Option<Reading>]) {
    let Some(index) = sample.labels.get("i").and_then(|text| text.parse::<usize>().ok()) else { return };
    let mut put = |at: usize, value: f64, kind: SampleKind| {
        if let Some(reading) = readings.get_mut(at) {
            *reading = Some(Reading { value, kind });
        }
    };
    let run = || runs.get(index).into_iter().flatten();
    match &sample.value {
        Value::Counter(value) => put(index, *value, SampleKind::Counter),
        Value::Gauge(value) => put(index, *value, SampleKind::Gauge),
        Value::Untyped(value) => put(index, *value, SampleKind::Untyped),
        Value::Histogram(buckets) => {
            run().zip(buckets).for_each(|(at, bucket)| put(*at, bucket.count, SampleKind::Bucket));
        }
        Value::Summary(quantiles) => {
            run().zip(quantiles).for_each(|(at, quantile)| put(*at, quantile.count, SampleKind::Quantile));
        }
    }
}

/// Refuses a line whose number was lost, or lies outside of what a float can hold, as Go does.
fn checked(line: &Line<'_>, reading: Option<Reading>) -> Result<Reading, PageError> {
    let spelled = number::spelling(line.value);
    match reading {
        Some(reading) if spelled == Some(Spelling::Finite) && reading.value.is_infinite() => {
            let reason = "expected a value that a 64-bit float can hold";
            Err(PageError::Malformed(vec![BadLine::new(line.number, line.value, 0, reason)]))
        }
        Some(reading) => Ok(reading),
        None => Err(PageError::NumberLost { line: line.number, value: super::excerpt(line.value) }),
    }
}
