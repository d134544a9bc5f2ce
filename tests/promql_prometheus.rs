//! The same data and the same expressions to a real Prometheus and to us: the answers must be the same.
//!
//! Debian's Prometheus is 2.42. `tests/promql/differential.txt` holds data and expressions, and says where Prometheus 3,
//! which we follow, has changed its mind since.

#[path = "promql/data.rs"]
mod data;
#[path = "promql/prometheus.rs"]
mod prometheus;

use std::collections::BTreeMap;
use std::path::Path;

use rearguard::engine::model::Labels;
use rearguard::engine::promql::{self, EvalContext, QueryRange, Scope, Value};
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

/// What we answer.
fn ours(loaded: &Loaded, expression: &str, instants: &[i64], query: Option<QueryRange>) -> Answer {
    let plan = match promql::parse(expression).and_then(|expr| promql::compile(&expr, &Scope::EVERYTHING)) {
        Ok(plan) => plan,
        Err(problems) => return Answer::Error(format!("{problems:?}")),
    };
    let mut matrix: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
    let mut ordered = Vec::new();
    for at in instants {
        let context = EvalContext { query, ..EvalContext::at(Timestamp::from_millis(*at)) };
        match plan.evaluate(&loaded.store, &context).map(|evaluated| evaluated.value) {
            Err(error) => return Answer::Error(error.to_string()),
            Ok(Value::Scalar(value)) if query.is_none() => return Answer::Scalar(value),
            Ok(Value::Scalar(value)) => matrix.entry(Labels::empty()).or_default().push((*at, value)),
            Ok(Value::String(_)) if query.is_some() => return Answer::Error("a string".to_owned()),
            Ok(Value::String(text)) => return Answer::Text(text.to_string()),
            Ok(Value::Vector(vector)) => {
                for sample in vector {
                    ordered.push(sample.labels.clone());
                    matrix.entry(sample.labels).or_default().push((*at, sample.value));
                }
            }
            Ok(Value::Matrix(series)) => {
                for series in series {
                    let points = series.points.iter().map(|point| (point.at.as_millis(), point.value));
                    matrix.insert(series.labels, points.collect());
                }
            }
        }
    }
    let sorts = ["sort", "topk", "bottomk"].iter().any(|name| expression.starts_with(name));
    let grouped = expression.contains(" by ");
    Answer::Series(matrix, (sorts && !grouped && query.is_none()).then_some(ordered))
}

/// What is different in two answers, if something is.
fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    let same = match (ours, theirs) {
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
    (!same).then(|| format!("  ours   {}\n  theirs {}", ours.shortened(theirs), theirs.shortened(ours)))
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
    let (start, end, step) = RANGE;
    let steps: Vec<i64> = (0..).map(|n| start + n * step).take_while(|at| *at <= end).collect();
    let instant = Timestamp::from_millis;
    let query = QueryRange { start: instant(start), end: instant(end), step: Span::from_millis(step) };
    let mut complaints = Vec::new();
    let mut asked = 0;
    for question in &questions {
        let expression = question.expression.as_str();
        let mut differences: Vec<String> = Vec::new();
        for at in INSTANTS {
            let theirs = prometheus.query(expression, at);
            let found = difference(&ours(&loaded, expression, &[at], None), &theirs);
            differences.extend(found.map(|difference| format!("at {at} ms\n{difference}")));
        }
        let theirs = prometheus.query_range(expression, RANGE);
        let found = difference(&ours(&loaded, expression, &steps, Some(query)), &theirs);
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
