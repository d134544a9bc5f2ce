//! The same data and the same expressions to a real Prometheus and to us: the answers must be the same.
//!
//! Debian's Prometheus is 2.42. `tests/promql/differential.txt` holds data and expressions, and says where Prometheus 3,
//! which we follow, has changed its mind since.

#[path = "promql/data.rs"]
mod data;
#[path = "promql/prometheus.rs"]
mod prometheus;

use std::path::Path;

use rearguard::engine::promql::{self, EvalContext, MatrixSeries, Plan, QueryRange, Scope, Value};
use rearguard::engine::time::{Span, Timestamp};

use data::Loaded;
use prometheus::{Answer, Prometheus, equal};

/// How much later than the notation says the samples lie, in milliseconds: off every multiple of five seconds.
const SHIFT: i64 = 7_000;

/// When is asked, in milliseconds: early, in the middle, within gaps, after the last sample. None is a whole second.
const INSTANTS: [i64; 5] = [200_300, 2_113_900, 3_607_300, 5_421_700, 7_300_900];

/// Start, end and step of the range queries, in milliseconds.
const RANGE: (i64, i64, i64) = (600_300, 7_600_300, 211_000);

struct Question {
    line: usize,
    expression: String,
    /// Why Prometheus 3 answers otherwise.
    differs: Option<String>,
}

/// Reads the data and the questions.
fn read(text: &str) -> (Loaded, Vec<Question>) {
    let mut loaded = Loaded::nothing();
    let mut questions = Vec::new();
    let mut differs = None;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(step) = line.strip_prefix("load ") {
            let block: Vec<&str> = lines[at..].iter().take_while(|line| !line.is_empty()).copied().collect();
            at += block.len();
            loaded.load(false, step, &block);
        } else if let Some(why) = line.strip_prefix("differs: ") {
            differs = Some(why.to_owned());
        } else {
            questions.push(Question { line: at, expression: (*line).to_owned(), differs: differs.take() });
        }
    }
    assert_eq!(loaded.unread, None);
    for points in loaded.data.values_mut() {
        *points = points.iter().map(|(at, value)| (at + SHIFT, *value)).collect();
    }
    loaded.store = data::store(&loaded.data);
    (loaded, questions)
}

/// What we answer at an instant, in milliseconds.
fn at_an_instant(loaded: &Loaded, expression: &str, at: i64) -> Result<Answer, String> {
    let context = EvalContext::at(Timestamp::from_millis(at));
    let evaluated = plan(expression)?.evaluate(&loaded.store, &context).map_err(|error| error.to_string())?;
    Ok(match evaluated.value {
        Value::Scalar(value) => Answer::Scalar(value),
        Value::String(text) => Answer::Text(text.to_string()),
        Value::Matrix(matrix) => series(matrix),
        Value::Vector(vector) => {
            let order: Vec<_> = vector.iter().map(|sample| sample.labels.clone()).collect();
            let sorts = ["sort", "topk", "bottomk"].iter().any(|name| expression.starts_with(name));
            let points = vector.into_iter().map(|sample| (sample.labels, vec![(at, sample.value)]));
            Answer::Series(points.collect(), (sorts && !expression.contains(" by ")).then_some(order))
        }
    })
}

/// What we answer over the range.
fn over_the_range(loaded: &Loaded, expression: &str) -> Result<Answer, String> {
    let (start, end, step) = RANGE;
    let instant = Timestamp::from_millis;
    let query = QueryRange { start: instant(start), end: instant(end), step: Span::from_millis(step) };
    let matrix = plan(expression)?.evaluate_range(&loaded.store, &query, &EvalContext::default());
    Ok(series(matrix.map_err(|error| error.to_string())?))
}

fn plan(expression: &str) -> Result<Plan, String> {
    let plan = promql::parse(expression).and_then(|expr| promql::compile(&expr, &Scope::EVERYTHING));
    plan.map_err(|problems| format!("{problems:?}"))
}

fn series(matrix: Vec<MatrixSeries>) -> Answer {
    let points = |series: &MatrixSeries| -> Vec<(i64, f64)> {
        series.points.iter().map(|point| (point.at.as_millis(), point.value)).collect()
    };
    Answer::Series(matrix.iter().map(|series| (series.labels.clone(), points(series))).collect(), None)
}

/// What is different in two answers, if something is.
fn difference(ours: Result<Answer, String>, theirs: &Answer) -> Option<String> {
    let ours = ours.unwrap_or_else(Answer::Error);
    let same = match (&ours, theirs) {
        (Answer::Error(_), Answer::Error(_)) => true,
        (Answer::Scalar(a), Answer::Scalar(b)) => equal(*a, *b),
        (Answer::Text(a), Answer::Text(b)) => a == b,
        (Answer::Series(a, order), Answer::Series(b, their_order)) => {
            let in_order = order.is_none() || order == their_order;
            in_order
                && a.len() == b.len()
                && a.iter().zip(b).all(|((a_labels, a), (b_labels, b))| {
                    let points = a.iter().zip(b).all(|((t, v), (u, w))| t == u && equal(*v, *w));
                    a_labels == b_labels && a.len() == b.len() && points
                })
        }
        _ => false,
    };
    (!same).then(|| format!("  ours   {}\n  theirs {}", ours.shortened(theirs), theirs.shortened(&ours)))
}

#[test]
fn a_real_prometheus_gives_the_same_answers() {
    if !Path::new(prometheus::PROGRAM).exists() {
        let message = format!("{} is not installed (Debian: prometheus)", prometheus::PROGRAM);
        assert!(std::env::var_os("REARGUARD_CONFORMANCE").is_none(), "{message}");
        return println!("skipped: {message}");
    }
    let text = include_str!("promql/differential.txt");
    let (loaded, questions) = read(text);
    let prometheus = Prometheus::start();
    prometheus.write(&loaded.data);
    let mut complaints = Vec::new();
    let mut asked = 0;
    for question in &questions {
        let expression = question.expression.as_str();
        let mut differences: Vec<String> = Vec::new();
        for at in INSTANTS {
            let theirs = prometheus.query(expression, at);
            let found = difference(at_an_instant(&loaded, expression, at), &theirs);
            differences.extend(found.map(|difference| format!("at {at} ms\n{difference}")));
        }
        let theirs = prometheus.query_range(expression, RANGE);
        let found = difference(over_the_range(&loaded, expression), &theirs);
        differences.extend(found.map(|difference| format!("over the range\n{difference}")));
        asked += INSTANTS.len() + 1;
        let told = |what: &str| format!("differential.txt:{}: {expression}: {what}", question.line);
        match (&question.differs, differences.first()) {
            (None, Some(first)) => complaints.push(told(&format!("{} differ, {first}", differences.len()))),
            (Some(why), None) => complaints.push(told(&format!("no difference any more: {why}"))),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
    let excused = questions.iter().filter(|question| question.differs.is_some()).count();
    println!(
        "{} expressions, {asked} queries, {} different, {excused} of them for a reason",
        questions.len(),
        complaints.len() + excused
    );
    assert!(complaints.is_empty(), "{} of them:\n{}", complaints.len(), complaints.join("\n"));
}
