//! The `.test` scripts of Prometheus' `promqltest`: `load`, `clear`, `eval`, and what is expected.

use std::collections::BTreeMap;

use rearguard::engine::model::{Labels, METRIC_NAME, Sample, SourceName, is_stale_marker, stale_marker};
use rearguard::engine::promql::ast::{At, Expr, ExprKind};
use rearguard::engine::promql::{
    self, EvalContext, Plan, QueryRange, Scope, Value, ValueType, VectorSample, literals,
};
use rearguard::engine::series::{Limits, Store};
use rearguard::engine::time::{Span, Timestamp};

/// What became of one `eval`.
pub enum Outcome {
    Passed,
    Refused(String),
    Wrong(String),
}

pub struct Case {
    pub line: usize,
    pub expression: String,
    pub outcome: Outcome,
}

/// One value per time; `None` where there is no sample.
type Values = Vec<Option<f64>>;
type Matrix = BTreeMap<Labels, BTreeMap<i64, f64>>;

#[derive(Clone, Copy)]
enum When {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

#[derive(Default)]
struct Expected {
    fails: bool,
    ordered: bool,
    string: Option<String>,
    scalar: Option<f64>,
    /// `expect range vector from A to B step S`
    range: Option<(i64, i64)>,
    series: Vec<(Labels, Values)>,
}

/// Runs a script. A script that cannot be read is a bug of the test and panics.
pub fn run(text: &str) -> Vec<Case> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|l| if l.starts_with('#') { "" } else { l }).collect();
    let mut data = Matrix::new();
    let mut cases = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let block: Vec<&str> = lines[at + 1..].iter().take_while(|line| !line.is_empty()).copied().collect();
        let (command, rest) = lines[at].split_once(char::is_whitespace).unwrap_or((lines[at], ""));
        let mut used = block.len();
        match command.to_ascii_lowercase().as_str() {
            "" => used = 0,
            "clear" => {
                data.clear();
                used = 0;
            }
            "load" => load(&mut data, rest, &block),
            "eval" | "eval_fail" | "eval_ordered" | "eval_warn" | "eval_info" => {
                let (when, expression) = header(rest);
                let mut expected = expectation(&block);
                expected.fails |= command.eq_ignore_ascii_case("eval_fail");
                expected.ordered |= command.eq_ignore_ascii_case("eval_ordered");
                let outcome = judge(&store(&data), when, expression, &expected);
                cases.push(Case { line: at + 1, expression: expression.to_owned(), outcome });
            }
            _ => panic!("line {}: unknown command {command:?}", at + 1),
        }
        at += 1 + used;
    }
    cases
}

fn millis(text: &str) -> i64 {
    match text.trim().parse::<Span>() {
        Ok(span) => span.as_millis(),
        Err(_) => {
            (literals::parse_number(text.trim()).unwrap_or_else(|| panic!("duration {text:?}")) * 1000.0)
                as i64
        }
    }
}

fn load(data: &mut Matrix, step: &str, block: &[&str]) {
    let step = millis(step);
    // A series that is given twice within one load has the later values.
    let mut loaded = BTreeMap::new();
    for line in block {
        let (labels, values) = series_line(line);
        loaded.insert(labels, values);
    }
    for (labels, values) in loaded {
        let series = data.entry(labels).or_default();
        for (at, value) in values.into_iter().enumerate() {
            if let Some(value) = value {
                series.insert(at as i64 * step, value);
            }
        }
    }
}

fn store(data: &Matrix) -> Store {
    let mut store = Store::new(
        Limits { series_per_source: usize::MAX, ..Limits::default() },
        Span::from_millis(i64::MAX),
    );
    for (labels, points) in data {
        let source = SourceName::from(labels.get("job").unwrap_or("none"));
        for (at, value) in points {
            let sample = Sample { labels: labels.clone(), at: Timestamp::from_millis(*at), value: *value };
            assert!(store.append(&source, &sample), "points come in order");
        }
    }
    store
}

/// Splits `name{a="b"} 1 2 3` into labels and values.
fn series_line(line: &str) -> (Labels, Values) {
    let mut quote = None;
    let mut escaped = false;
    let mut open = false;
    let mut end = line.len();
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(q), '\\') if q != '`' => escaped = true,
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => open = true,
            (None, '}') => {
                end = at + 1;
                break;
            }
            (None, _) if c.is_whitespace() && !open && !line[at..].trim_start().starts_with('{') => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    (labels(line[..end].trim()), line[end..].split_whitespace().flat_map(items).collect())
}

fn labels(description: &str) -> Labels {
    if description == "{}" {
        return Labels::empty();
    }
    let expr = promql::parse(description).unwrap_or_else(|problems| panic!("{description}: {problems:?}"));
    let ExprKind::Selector(selector) = expr.kind else { panic!("not a series: {description}") };
    let pairs = selector.matchers.into_iter().map(|matcher| (matcher.name, matcher.value));
    Labels::from_pairs(selector.name.into_iter().map(|name| (METRIC_NAME.to_owned(), name)).chain(pairs))
}

/// Expands `5`, `_`, `_x3`, `stale`, `1x3`, `1+2x3`.
fn items(item: &str) -> Values {
    let number =
        |text: &str| literals::parse_float(text).unwrap_or_else(|| panic!("value {text:?} in {item:?}"));
    let count = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("count {text:?} in {item:?}"));
    if item == "_" {
        return vec![None];
    }
    if let Some(times) = item.strip_prefix("_x") {
        return vec![None; count(times)];
    }
    if item == "stale" {
        return vec![Some(stale_marker())];
    }
    let Some((head, times)) = item.rsplit_once('x') else { return vec![Some(number(item))] };
    let sign = head
        .char_indices()
        .skip(1)
        .find(|(at, c)| matches!(c, '+' | '-') && !head[..*at].ends_with(['e', 'E']));
    let (start, step) = match sign {
        Some((at, _)) => (number(&head[..at]), number(&head[at..])),
        None => (number(head), 0.0),
    };
    let mut value = start;
    let mut values = vec![Some(value)];
    for _ in 0..count(times) {
        value += step;
        values.push(Some(value));
    }
    values
}

/// Splits `instant at 5m EXPR` or `range from 0 to 1m step 10s EXPR`.
fn header(rest: &str) -> (When, &str) {
    let mut rest = rest.trim();
    let mut word = || {
        let (word, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = tail.trim_start();
        word
    };
    let when = match word() {
        "instant" => {
            word();
            When::Instant(millis(word()))
        }
        "range" => {
            let mut after = || {
                word();
                millis(word())
            };
            When::Range { start: after(), end: after(), step: after() }
        }
        other => panic!("eval {other:?}"),
    };
    (when, rest)
}

fn expectation(block: &[&str]) -> Expected {
    let mut expected = Expected::default();
    for line in block {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["expect", "fail", ..] => expected.fails = true,
            ["expect", "ordered"] => expected.ordered = true,
            ["expect", "string", ..] => {
                let text = line.trim_start_matches("expect").trim_start().trim_start_matches("string").trim();
                let Ok(Expr { kind: ExprKind::Text(text), .. }) = promql::parse(text) else {
                    panic!("{line}")
                };
                expected.string = Some(text);
            }
            ["expect", "range", "vector", "from", start, "to", _, "step", step] => {
                expected.range = Some((millis(start), millis(step)));
            }
            ["expect", "warn" | "info" | "no_warn" | "no_info", ..]
            | ["expected_fail_message" | "expected_fail_regexp", ..] => {}
            ["expect", ..] => panic!("{line}"),
            [only] if literals::parse_float(only).is_some() => expected.scalar = literals::parse_float(only),
            _ => expected.series.push(series_line(line)),
        }
    }
    expected
}

fn compiled(expr: &Expr) -> Result<Plan, String> {
    promql::compile(expr, &Scope::EVERYTHING).map_err(|problems| listed(&problems))
}

fn listed(problems: &[promql::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n    ")
}

fn judge(store: &Store, when: When, expression: &str, expected: &Expected) -> Outcome {
    let parsed = promql::parse(expression).map_err(|problems| listed(&problems));
    let answer = parsed.clone().and_then(|expr| {
        let printed = expr.to_string();
        match promql::parse(&printed) {
            Ok(again) if again.to_string() == printed => {}
            other => return Ok(Err(format!("printed as {printed}, which parses as {other:?}"))),
        }
        compiled(&expr).map(|plan| Ok((expr, plan)))
    });
    let (expr, plan) = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(wrong)) => return Outcome::Wrong(wrong),
        Err(_) if expected.fails => return Outcome::Passed,
        Err(why) => return Outcome::Refused(why),
    };
    let result = match when {
        When::Instant(at) => instant(store, &plan, at, at, expected).and_then(|()| {
            let Some(pinned) = pinned(&expr, at) else { return Ok(()) };
            let plan = compiled(&pinned).map_err(Failure::Refused)?;
            // The same answer is due whenever the question is asked.
            [0, at / 2, at + 3_600_000]
                .into_iter()
                .try_for_each(|asked| instant(store, &plan, asked, at, expected))
        }),
        When::Range { start, end, step } => range(store, &plan, start, end, step, expected),
    };
    match (result, expected.fails) {
        (Err(Failure::Refused(_)), true) | (Ok(()), false) => Outcome::Passed,
        (Ok(()) | Err(Failure::Wrong(_)), true) => Outcome::Wrong("it must fail".to_owned()),
        (Err(Failure::Refused(why)), false) => Outcome::Refused(why),
        (Err(Failure::Wrong(why)), false) => Outcome::Wrong(why),
    }
}

enum Failure {
    Refused(String),
    Wrong(String),
}

fn evaluate(plan: &Plan, store: &Store, context: &EvalContext) -> Result<Value, Failure> {
    match plan.evaluate(store, context) {
        Ok(evaluated) => Ok(evaluated.value),
        Err(error) => Err(Failure::Refused(error.to_string())),
    }
}

fn instant(store: &Store, plan: &Plan, at: i64, due_at: i64, expected: &Expected) -> Result<(), Failure> {
    let value = evaluate(plan, store, &EvalContext::at(Timestamp::from_millis(at)))?;
    let wrong = |what: String| Err(Failure::Wrong(what));
    match &value {
        Value::Scalar(scalar) => match expected.scalar {
            Some(due) if equal(*scalar, due) => Ok(()),
            due => wrong(format!("expected {due:?}, got {scalar}")),
        },
        Value::String(text) => match &expected.string {
            Some(due) if **due == **text => Ok(()),
            due => wrong(format!("expected {due:?}, got {text:?}")),
        },
        Value::Vector(vector) => vector_as_expected(vector, expected),
        Value::Matrix(series) => {
            let (start, step) = expected.range.unwrap_or((due_at, 1));
            let points = series.iter().map(|series| {
                let points = series.points.iter().map(|point| (point.at.as_millis(), point.value));
                (series.labels.clone(), points.collect())
            });
            matrix_as_expected(&points.collect(), start, step, expected)
        }
    }
}

fn vector_as_expected(vector: &[VectorSample], expected: &Expected) -> Result<(), Failure> {
    let due: Vec<_> =
        expected.series.iter().map(|(labels, values)| (labels, values.first().copied().flatten())).collect();
    let text = || {
        let due: Vec<_> = due.iter().map(|(labels, value)| format!("{labels} {value:?}")).collect();
        let got: Vec<_> =
            vector.iter().map(|sample| format!("{} {:?}", sample.labels, sample.value)).collect();
        format!("expected [{}], got [{}]", due.join(", "), got.join(", "))
    };
    let fits = |sample: &VectorSample, (labels, value): &(&Labels, Option<f64>)| {
        sample.labels == **labels && value.is_some_and(|value| equal(sample.value, value))
    };
    let all = if expected.ordered {
        vector.iter().zip(&due).all(|(sample, due)| fits(sample, due))
    } else {
        vector.iter().all(|sample| due.iter().any(|due| fits(sample, due)))
    };
    if all && vector.len() == due.len() { Ok(()) } else { Err(Failure::Wrong(text())) }
}

fn matrix_as_expected(got: &Matrix, start: i64, step: i64, expected: &Expected) -> Result<(), Failure> {
    let mut due = Matrix::new();
    for (labels, values) in &expected.series {
        let points = values.iter().enumerate();
        let points = points.filter_map(|(at, value)| Some((start + at as i64 * step, (*value)?)));
        due.insert(labels.clone(), points.collect());
    }
    due.retain(|_, points| !points.is_empty());
    let same = got.len() == due.len()
        && got.iter().zip(&due).all(|((a, got), (b, due))| {
            a == b
                && got.len() == due.len()
                && got.iter().zip(due).all(|((t, v), (u, w))| t == u && equal(*v, *w))
        });
    if same { Ok(()) } else { Err(Failure::Wrong(format!("expected {due:?}, got {got:?}"))) }
}

fn range(
    store: &Store,
    plan: &Plan,
    start: i64,
    end: i64,
    step: i64,
    expected: &Expected,
) -> Result<(), Failure> {
    let mut got = Matrix::new();
    let instant = Timestamp::from_millis;
    let query = QueryRange { start: instant(start), end: instant(end), step: Span::from_millis(step) };
    let mut at = start;
    while at <= end {
        let context = EvalContext { query: Some(query), ..EvalContext::at(instant(at)) };
        let vector = match evaluate(plan, store, &context)? {
            Value::Vector(vector) => vector,
            Value::Scalar(value) => vec![VectorSample { labels: Labels::empty(), value }],
            other => return Err(Failure::Refused(format!("a range query of {other:?}"))),
        };
        for sample in vector {
            got.entry(sample.labels).or_default().insert(at, sample.value);
        }
        at += step;
    }
    matrix_as_expected(&got, start, step, expected)
}

fn equal(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan() && is_stale_marker(a) == is_stale_marker(b);
    }
    a == b || (a - b).abs() < 1e-6 * (a.abs() + b.abs())
}

/// Puts `@ at` on every selector, unless the expression depends on the time of evaluation in other ways.
fn pinned(expr: &Expr, at: i64) -> Option<Expr> {
    let text = expr.to_string();
    let timely = ["time()", "timestamp(", "predict_linear(", "start()", "end()", "@"];
    let dates = ["day_of", "days_in", "hour(", "minute(", "month(", "year("];
    let has_subquery = text.contains(':');
    let matrix = promql::type_of(expr) == ValueType::Matrix;
    if has_subquery || matrix || timely.iter().chain(&dates).any(|word| text.contains(word)) {
        return None;
    }
    let mut pinned = expr.clone();
    pin(&mut pinned, at);
    Some(pinned)
}

fn pin(expr: &mut Expr, at: i64) {
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Subquery(_) => {}
        ExprKind::Selector(selector) => selector.shift.at = Some(At::Millis(at)),
        ExprKind::Call(call) => call.args.iter_mut().for_each(|arg| pin(arg, at)),
        ExprKind::Aggregate(aggregate) => {
            aggregate.param.iter_mut().for_each(|param| pin(param, at));
            pin(&mut aggregate.expr, at);
        }
        ExprKind::Unary(_, operand) | ExprKind::Paren(operand) => pin(operand, at),
        ExprKind::Binary(binary) => {
            pin(&mut binary.left, at);
            pin(&mut binary.right, at);
        }
    }
}
