//! `check --metrics`: a page as the scraper would read it, all bad lines at once, and what a valid one will regret.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use super::super::{CommandError, Exit};
use super::Report;
use crate::engine::decision::counted;
use crate::engine::model::{Labels, METRIC_NAME};
use crate::engine::rules::lint::facts::{Exposed, Kind};
use crate::engine::rules::{Diagnostic, Level, SourceFile};
use crate::sources::exposition::{self, Format, Page, PageError, SampleKind, lint};
use crate::sources::scrape::{DEFAULT_MAX_BODY_BYTES, DEFAULT_MAX_SAMPLES};

/// How many bad lines are told; whoever has more has one mistake many times.
const BAD_LINES_MAX: usize = 20;

/// How many lints of one kind are told.
const SAME_LINTS_MAX: usize = 5;

/// Checks one page and returns what it exposes, where it is valid.
pub(super) fn check(path: &Path) -> Result<(Report, Vec<Exposed>), CommandError> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let body = read(path).map_err(|error| CommandError::usage(format!("cannot read {name}: {error}")))?;
    if body.len() > DEFAULT_MAX_BODY_BYTES {
        let message =
            format!("{name} has more than {DEFAULT_MAX_BODY_BYTES} bytes, the default limit of a scrape");
        return Err(
            CommandError::usage(message).with_hint("is it a page of metrics? else expose fewer series")
        );
    }
    let format = format_of(path, &body);
    let text = String::from_utf8_lossy(&body);
    let file = SourceFile::new(&name, &text);
    let parsed = exposition::parse_telling(&body, format, DEFAULT_MAX_SAMPLES, BAD_LINES_MAX);
    let (good, counts, problems, series) = match &parsed {
        Ok(page) => {
            let series = series(page);
            let names: BTreeSet<&str> = page.samples().map(|sample| sample.name).collect();
            let counts = vec![
                counted(page.len(), "sample"),
                counted(names.len(), "metric name"),
                word(format).to_owned(),
            ];
            (true, counts, lints(&text, page, &file), series)
        }
        Err(error) => (false, Vec::new(), faults(error, &file), Vec::new()),
    };
    let report = Report { name, good, exit: Exit::Failed, counts, problems, files: vec![file] };
    Ok((report, series))
}

/// Reads no more than a scrape would, and one byte to tell that there is more.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let limit = DEFAULT_MAX_BODY_BYTES as u64 + 1;
    let mut body = Vec::new();
    if path == Path::new("-") {
        stdin().lock().take(limit).read_to_end(&mut body)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut body)?;
    }
    Ok(body)
}

/// A file has no Content-Type: its name or its last line tells OpenMetrics.
fn format_of(path: &Path, body: &[u8]) -> Format {
    let named = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".om.txt"));
    if named || body.trim_ascii_end().ends_with(b"\n# EOF") { Format::OpenMetrics } else { Format::Text }
}

fn word(format: Format) -> &'static str {
    match format {
        Format::Text => "text format 0.0.4",
        Format::OpenMetrics => "OpenMetrics 1.0",
    }
}

/// Turns what the scanner refuses into problems with their excerpts.
fn faults(error: &PageError, file: &SourceFile) -> Vec<Diagnostic> {
    const WHOLE: &str = "one bad line fails the whole scrape: `up` is 0 and no sample is kept";
    let at =
        |code, line, column, message: String| Diagnostic::error(code, file.place_at(line, column), message);
    match error {
        PageError::Malformed(lines) => {
            let mut problems: Vec<Diagnostic> =
                lines.iter().map(|bad| at("bad-line", bad.line, bad.column, bad.reason.clone())).collect();
            if let Some(last) = problems.last_mut() {
                let more = format!("{WHOLE}; more than {BAD_LINES_MAX} bad lines are not looked for");
                last.hint = Some(if lines.len() == BAD_LINES_MAX { more } else { WHOLE.to_owned() });
            }
            problems
        }
        PageError::TooManySamples { line, .. } | PageError::LineTooLarge { line, .. } => {
            vec![at("too-large", *line, 1, error.to_string())]
        }
        PageError::NumberLost { line, .. } => vec![at("bad-line", *line, 1, error.to_string())],
    }
}

fn lints(text: &str, page: &Page<'_>, file: &SourceFile) -> Vec<Diagnostic> {
    let found = lint::lint(text, page);
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for lint in &found {
        *all.entry(lint.name).or_default() += 1;
    }
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    let mut problems: Vec<Diagnostic> = Vec::new();
    for lint in &found {
        let so_far = told.entry(lint.name).or_default();
        *so_far += 1;
        if *so_far > SAME_LINTS_MAX {
            continue;
        }
        let mut hint = lint.hint.clone();
        let more = all[lint.name].saturating_sub(SAME_LINTS_MAX);
        if *so_far == SAME_LINTS_MAX && more > 0 {
            hint.push_str(&format!("; and {more} more of this kind"));
        }
        let start = file.place_at(lint.line, 1).span.start;
        let length = text[start..].find('\n').unwrap_or(text.len() - start);
        let place = file.place(start..start + length);
        let level = if lint.gentle { Level::Note } else { Level::Warning };
        problems
            .push(Diagnostic { level, ..Diagnostic::warning(lint.name, place, &*lint.message) }.hint(hint));
    }
    problems
}

/// Returns every series of a page with its type.
fn series(page: &Page<'_>) -> Vec<Exposed> {
    let kind = |kind: SampleKind| match kind {
        SampleKind::Counter => Some(Kind::Counter),
        SampleKind::Gauge => Some(Kind::Gauge),
        SampleKind::Bucket => Some(Kind::Bucket),
        SampleKind::Quantile => Some(Kind::Quantile),
        SampleKind::Untyped => None,
    };
    let samples = page.samples();
    samples
        .map(|sample| {
            let named = [(METRIC_NAME, sample.name)];
            let labels = sample.labels.iter().map(|(name, value)| (&**name, &**value));
            Exposed {
                labels: Labels::from_pairs(labels.chain(named)),
                kind: kind(sample.kind),
                value: sample.value,
            }
        })
        .collect()
}
