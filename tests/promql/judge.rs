//! Runs what a script asks and compares the answers.
//!
//! As Prometheus' own runner does, an instant query is asked again in other ways that must not change its answer: with
//! `@` on all its selectors at other instants, and as one step of a range.

use std::collections::BTreeMap;

use rearguard::engine::model::{Labels, is_stale_marker};
use rearguard::engine::promql::ast::{At, Expr, ExprKind};
use rearguard::engine::promql::{
    self, EvalContext, MatrixSeries, Plan, QueryRange, Scope, Value, ValueType, VectorSample,
};
use rearguard::engine::time::{Span, Timestamp};

use super::data::{Loaded, Matrix};
use super::script::{Expected, When};

/// What became of one `eval`.
pub enum Outcome {
    Passed,
    /// The query or the script is not understood, and says so.
    Refused(String),
    /// The case is about native histograms, which there are none of here.
    Histograms,
    Wrong(String),
}

enum Failure {
    Refused(String),
    Wrong(String),
}

pub fn judge(loaded: &Loaded, when: When, expression: &str, expected: &Expected) -> Outcome {
    if let Some(why) = &loaded.unread {
        return Outcome::Refused(format!("the data cannot be read: {why}"));
    }
    let expr = match promql::parse(expression) {
        Ok(expr) => expr,
        Err(_) if expected.fails => return Outcome::Passed,
        Err(problems) => return Outcome::Refused(listed(&problems)),
    };
    if let Err(why) = prints_and_reads_back(&expr) {
        return Outcome::Wrong(why);
    }
    let plan = match compiled(&expr) {
        Ok(plan) => plan,
        Err(_) if expected.fails => return Outcome::Passed,
        Err(why) => return Outcome::Refused(why),
    };
    let selects = |labels: &Labels| plan.selectors().any(|selector| selector.matches(labels));
    if expected.histograms || loaded.histograms.iter().any(selects) {
        return Outcome::Histograms;
    }
    let result = match when {
        When::Instant(at) => instant(loaded, &plan, at, expected).and_then(|()| {
            if expected.fails { Ok(()) } else { asked_otherwise(loaded, &expr, &plan, at, expected) }
        }),
        When::Range { start, end, step } => range(loaded, &plan, start, end, step)
            .and_then(|got| matrix_as_expected(&got, start, step, expected)),
    };
    match (result, expected.fails) {
        (Err(Failure::Refused(_)), true) | (Ok(()), false) => Outcome::Passed,
        (Ok(()) | Err(Failure::Wrong(_)), true) => Outcome::Wrong("it must fail".to_owned()),
        (Err(Failure::Refused(why)), false) => Outcome::Refused(why),
        (Err(Failure::Wrong(why)), false) => Outcome::Wrong(why),
    }
}

fn listed(problems: &[promql::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n    ")
}

fn compiled(expr: &Expr) -> Result<Plan, String> {
    promql::compile(expr, &Scope::EVERYTHING).map_err(|problems| listed(&problems))
}

/// Printing must lose nothing: what is read back is the same tree, places apart.
pub fn prints_and_reads_back(expr: &Expr) -> Result<(), String> {
    let printed = expr.to_string();
    match promql::parse(&printed) {
        Ok(again) if without_spans(&again) == without_spans(expr) => Ok(()),
        other => Err(format!("printed as {printed}, which reads as {other:?}")),
    }
}

fn without_spans(expr: &Expr) -> String {
    let debug = format!("{expr:?}");
    let mut parts = debug.split("TextSpan {");
    let first = parts.next().unwrap_or("").to_owned();
    parts.fold(first, |kept, part| kept + part.split_once('}').map_or("", |(_, rest)| rest))
}

/// Asks for the same answer in other ways, where the expression does not depend on how it is asked.
fn asked_otherwise(
    loaded: &Loaded,
    expr: &Expr,
    plan: &Plan,
    at: i64,
    expected: &Expected,
) -> Result<(), Failure> {
    let otherwise = |how: String| {
        move |failure| match failure {
            Failure::Wrong(why) => Failure::Wrong(format!("{how}: {why}")),
            Failure::Refused(why) => Failure::Wrong(format!("{how} it is refused: {why}")),
        }
    };
    if !depends_on(expr, &OF_THE_QUERY, true) && !depends_on(expr, &OF_THE_INSTANT, false) {
        let mut pinned = expr.clone();
        pin(&mut pinned, at);
        let plan = compiled(&pinned).map_err(Failure::Wrong)?;
        for asked in [0, at / 2, at + 3_600_000] {
            instant(loaded, &plan, asked, expected)
                .map_err(otherwise(format!("{pinned} asked at {asked} ms")))?;
        }
    }
    let value = promql::type_of(expr);
    let steps = matches!(value, ValueType::Vector | ValueType::Scalar);
    if steps && !expected.ordered && !depends_on(expr, &OF_THE_QUERY, true) {
        let how = || otherwise("in the middle of a range".to_owned());
        let mut got = range(loaded, plan, at - 60_000, at + 60_000, 60_000).map_err(how())?;
        for points in got.values_mut() {
            points.retain(|time, _| *time == at);
        }
        got.retain(|_, points| !points.is_empty());
        let scalar = expected.scalar.map(|value| (Labels::empty(), vec![Some(value)]));
        let series = scalar.into_iter().chain(expected.series.clone()).collect();
        let due = Expected { series, ..Expected::default() };
        matrix_as_expected(&got, at, 1, &due).map_err(how())?;
    }
    Ok(())
}

fn evaluate(loaded: &Loaded, plan: &Plan, context: &EvalContext) -> Result<Value, Failure> {
    match plan.evaluate(&loaded.store, context) {
        Ok(evaluated) => Ok(evaluated.value),
        Err(error) => Err(Failure::Refused(error.to_string())),
    }
}

fn instant(loaded: &Loaded, plan: &Plan, at: i64, expected: &Expected) -> Result<(), Failure> {
    let value = evaluate(loaded, plan, &EvalContext::at(Timestamp::from_millis(at)))?;
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
            let (start, step) = expected.range.unwrap_or((at, 1));
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
    let one_value_each = expected.series.iter().all(|(_, values)| values.len() == 1);
    let scalar = expected.scalar.is_some() || expected.string.is_some();
    if all && one_value_each && !scalar && vector.len() == due.len() {
        Ok(())
    } else {
        Err(Failure::Wrong(text()))
    }
}

fn matrix_as_expected(got: &Matrix, start: i64, step: i64, expected: &Expected) -> Result<(), Failure> {
    let mut due = Matrix::new();
    for (labels, values) in &expected.series {
        let points = (0_i64..).zip(values);
        let points = points.filter_map(|(at, value)| Some((start + at * step, (*value)?)));
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

fn range(loaded: &Loaded, plan: &Plan, start: i64, end: i64, step: i64) -> Result<Matrix, Failure> {
    let instant = Timestamp::from_millis;
    let query = QueryRange { start: instant(start), end: instant(end), step: Span::from_millis(step) };
    let series = plan.evaluate_range(&loaded.store, &query, &EvalContext::default());
    let series = series.map_err(|error| Failure::Refused(error.to_string()))?;
    let points = |series: &MatrixSeries| -> BTreeMap<i64, f64> {
        series.points.iter().map(|point| (point.at.as_millis(), point.value)).collect()
    };
    Ok(series.iter().map(|series| (series.labels.clone(), points(series))).collect())
}

fn equal(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan() && is_stale_marker(a) == is_stale_marker(b);
    }
    a == b || (a - b).abs() < 1e-6 * (a.abs() + b.abs())
}

/// What differs from instant to instant whatever the selectors see.
const OF_THE_INSTANT: [&str; 11] = [
    "time",
    "timestamp",
    "predict_linear",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "year",
];

/// What differs between an instant query and a range query.
const OF_THE_QUERY: [&str; 4] = ["start", "end", "step", "range"];

/// Whether one of these functions is called, or `@ start()` or `@ end()` where `names` are the query's. Inside of
/// subqueries time is the subquery's own, so that they are looked into only where asked.
fn depends_on(expr: &Expr, names: &[&str], in_subqueries: bool) -> bool {
    let shift = match &expr.kind {
        ExprKind::Selector(selector) => Some(&selector.shift),
        ExprKind::Subquery(subquery) => Some(&subquery.shift),
        _ => None,
    };
    let of_query = names.contains(&"start");
    if of_query && shift.is_some_and(|shift| matches!(shift.at, Some(At::Start | At::End))) {
        return true;
    }
    if matches!(&expr.kind, ExprKind::Call(call) if names.contains(&call.function.name)) {
        return true;
    }
    if matches!(expr.kind, ExprKind::Subquery(_)) && !in_subqueries {
        return false;
    }
    let mut depends = false;
    expr.for_each_child(&mut |child| depends |= depends_on(child, names, in_subqueries));
    depends
}

/// Puts `@ at` on every selector and subquery that has none.
fn pin(expr: &mut Expr, at: i64) {
    let here = At::Millis(at);
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => {}
        ExprKind::Selector(selector) => drop(selector.shift.at.get_or_insert(here)),
        ExprKind::Subquery(subquery) => drop(subquery.shift.at.get_or_insert(here)),
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
