//! Range queries: a plan at every step, the results merged by label set.

use std::collections::BTreeMap;

use super::catalog::ValueType;
use super::evaluate::{
    EvalContext, EvalError, MatrixSeries, QueryRange, Value, VectorSample, evaluate_counted,
};
use super::plan::Plan;
use crate::engine::model::Labels;
use crate::engine::series::{Point, Store};
use crate::engine::time::Timestamp;

/// How many steps one query may have; Prometheus' own limit (`web/api/v1`): a pixel row of a wide screen, and then some.
pub const MAX_STEPS: u64 = 11_000;

/// How many points and elements all steps together may touch.
///
/// Steps share most of what they read, so that this is time and not memory: some seconds.
const MAX_WORK: u64 = 1_000_000_000;

/// Why a range has no steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// The step is zero or negative.
    #[error("the step must be longer than zero")]
    NoStep,
    /// The end lies before the start.
    #[error("the end must not lie before the start")]
    EndBeforeStart,
    /// More steps than one query may have.
    #[error(
        "exceeded maximum resolution of 11,000 points per series: choose a longer step or a shorter range"
    )]
    TooManySteps,
}

impl QueryRange {
    /// Returns how many steps the range has; both ends count.
    ///
    /// # Errors
    ///
    /// See [`InvalidRange`].
    pub fn step_count(&self) -> Result<u64, InvalidRange> {
        if self.step.is_zero_or_negative() {
            return Err(InvalidRange::NoStep);
        }
        if self.end < self.start {
            return Err(InvalidRange::EndBeforeStart);
        }
        let length = (self.end - self.start).as_millis().unsigned_abs();
        let steps = length / self.step.as_millis().unsigned_abs() + 1;
        // As in Prometheus the limit is for the steps after the first.
        if steps > MAX_STEPS + 1 { Err(InvalidRange::TooManySteps) } else { Ok(steps) }
    }
}

impl Plan {
    /// Refuses a range query that no data could answer.
    ///
    /// # Errors
    ///
    /// The plan's value is neither a vector nor a scalar, or the range is invalid.
    pub fn check_range(&self, range: &QueryRange) -> Result<(), EvalError> {
        let refuse = |message: String| EvalError { span: self.span, message };
        let value = self.value_type();
        if !matches!(value, ValueType::Scalar | ValueType::Vector) {
            let message = format!("a range query needs a scalar or an instant vector, this is a {value}");
            return Err(refuse(message));
        }
        range.step_count().map(|_| ()).map_err(|invalid| refuse(invalid.to_string()))
    }
}

/// A range query under way: for those who look at the clock between two steps.
#[derive(Debug)]
pub struct RangeEvaluation<'a> {
    plan: &'a Plan,
    store: &'a Store,
    context: EvalContext,
    next: Option<Timestamp>,
    range: QueryRange,
    merged: Merged,
    work: u64,
}

impl<'a> RangeEvaluation<'a> {
    /// Begins before the first step.
    ///
    /// # Errors
    ///
    /// The plan's value is neither a vector nor a scalar, or the range is invalid.
    pub fn new(
        plan: &'a Plan,
        store: &'a Store,
        range: QueryRange,
        context: &EvalContext,
    ) -> Result<Self, EvalError> {
        plan.check_range(&range)?;
        let context = EvalContext { query: Some(range), ..context.clone() };
        Ok(Self { plan, store, context, next: Some(range.start), range, merged: Merged::default(), work: 0 })
    }

    /// Evaluates the next step; returns whether another one is due.
    ///
    /// # Errors
    ///
    /// As [`Plan::evaluate`]; all steps together touch more than one query may.
    pub fn advance(&mut self) -> Result<bool, EvalError> {
        let Some(at) = self.next else { return Ok(false) };
        self.context.at = at;
        let (evaluated, work) = evaluate_counted(self.plan, self.store, &self.context)?;
        self.work = self.work.saturating_add(work);
        if self.work > MAX_WORK {
            let message = format!(
                "the query touches more than {MAX_WORK} samples in all its steps (20 times what `max_samples` can be): choose a longer step or a shorter range"
            );
            return Err(EvalError { span: self.plan.span, message });
        }
        match evaluated.value {
            Value::Vector(vector) => self.merged.take(at, vector),
            Value::Scalar(value) => {
                self.merged.take(at, vec![VectorSample { labels: Labels::empty(), value }]);
            }
            // Refused at the beginning.
            Value::Matrix(_) | Value::String(_) => {}
        }
        let next = at + self.range.step;
        self.next = (next > at && next <= self.range.end).then_some(next);
        Ok(self.next.is_some())
    }

    /// Returns how many points the result has so far: what it costs in memory.
    pub fn points(&self) -> u64 {
        self.merged.points
    }

    /// Returns the series, sorted by their labels.
    pub fn finish(self) -> Vec<MatrixSeries> {
        let mut series = self.merged.series;
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        series
    }
}

/// The series of the steps so far.
#[derive(Debug, Default)]
struct Merged {
    series: Vec<MatrixSeries>,
    by_labels: BTreeMap<Labels, usize>,
    /// The series of the last step, in its order: most steps yield the same ones in the same order.
    last: Vec<usize>,
    points: u64,
}

impl Merged {
    fn take(&mut self, at: Timestamp, vector: Vec<VectorSample>) {
        self.points += vector.len() as u64;
        let mut order = Vec::with_capacity(vector.len());
        for (place, VectorSample { labels, value }) in vector.into_iter().enumerate() {
            let expected = self.last.get(place).copied();
            let index = match expected.filter(|index| self.series[*index].labels == labels) {
                Some(index) => index,
                None => *self.by_labels.entry(labels.clone()).or_insert_with(|| {
                    self.series.push(MatrixSeries { labels, points: Vec::new() });
                    self.series.len() - 1
                }),
            };
            self.series[index].points.push(Point { at, value });
            order.push(index);
        }
        self.last = order;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::{METRIC_NAME, Sample, SourceName, stale_marker};
    use crate::engine::promql::{Scope, compile, parse};
    use crate::engine::series::Limits;
    use crate::engine::time::Span;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn range(start: i64, end: i64, step: i64) -> QueryRange {
        QueryRange { start: at(start), end: at(end), step: Span::from_secs(step) }
    }

    /// `x{n="a"}` from 0 to 60 s every 10 s, then ended; `x{n="b"}` from 30 s on.
    fn store() -> Store {
        let mut store = Store::new(Limits::default(), Span::from_secs(86_400));
        let mut append = |name: &str, secs: i64, value: f64| {
            let labels = Labels::from_pairs([(METRIC_NAME, "x"), ("n", name)]);
            assert!(store.append(&SourceName::from("app"), &Sample { labels, at: at(secs), value }));
        };
        for secs in (0..=60).step_by(10) {
            append("a", secs, secs as f64);
        }
        append("a", 70, stale_marker());
        for secs in (30..=100).step_by(10) {
            append("b", secs, 2.0 * secs as f64);
        }
        store
    }

    fn answer(text: &str, range: QueryRange) -> String {
        let context = EvalContext { wall_offset: Span::from_secs(1000), ..EvalContext::default() };
        let plan = parse(text).and_then(|expr| compile(&expr, &Scope::EVERYTHING)).expect(text);
        match plan.evaluate_range(&store(), &range, &context) {
            Err(error) => format!("error: {}", error.message),
            Ok(series) => {
                let points = |s: &MatrixSeries| {
                    let shown = |p: &Point| format!("{}@{}", p.value, p.at.as_secs_f64());
                    s.points.iter().map(shown).collect::<Vec<_>>().join(" ")
                };
                series.iter().map(|s| format!("{} {}", s.labels, points(s))).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn a_range_is_an_instant_at_every_step_merged_by_labels() {
        let cases = [
            ("x", (20, 80, 20), r#"x{n="a"} 20@20 40@40 60@60; x{n="b"} 80@40 120@60 160@80"#),
            // Sorted by labels, whatever the order of each step.
            ("sort_desc(x)", (40, 60, 20), r#"x{n="a"} 40@40 60@60; x{n="b"} 80@40 120@60"#),
            ("sum(x)", (20, 80, 30), "{} 20@20 150@50 160@80"),
            // The last step is the last that does not lie after the end.
            ("sum(x)", (20, 69, 30), "{} 20@20 150@50"),
            ("sum(x)", (20, 20, 30), "{} 20@20"),
            ("time()", (0, 20, 10), "{} 1000@0 1010@10 1020@20"),
            ("end() - start()", (0, 20, 10), "{} 20@0 20@10 20@20"),
            ("x @ end()", (10, 20, 10), r#"x{n="a"} 20@10 20@20"#),
            ("y", (0, 20, 10), ""),
            (
                "x[1m]",
                (0, 20, 10),
                "error: a range query needs a scalar or an instant vector, this is a range vector",
            ),
            (
                r#""x""#,
                (0, 20, 10),
                "error: a range query needs a scalar or an instant vector, this is a string",
            ),
            ("x", (0, 20, 0), "error: the step must be longer than zero"),
            ("x", (20, 0, 10), "error: the end must not lie before the start"),
        ];
        for (text, (start, end, step), expected) in cases {
            assert_eq!(answer(text, range(start, end, step)), expected, "{text}");
        }
    }

    #[test]
    fn steps_are_counted_and_limited() {
        assert_eq!(range(0, 11_000, 1).step_count(), Ok(11_001));
        assert_eq!(range(0, 11_001, 1).step_count(), Err(InvalidRange::TooManySteps));
        assert_eq!(range(0, 9, 10).step_count(), Ok(1));
        let all = QueryRange {
            start: Timestamp::from_millis(i64::MIN),
            end: Timestamp::from_millis(i64::MAX),
            step: Span::from_millis(i64::MAX),
        };
        assert_eq!(all.step_count(), Ok(2));
    }

    #[test]
    fn a_limit_is_named_and_holds_for_one_step() {
        let text = "max_over_time(x[20s:10s])";
        let plan = parse(text).and_then(|expr| compile(&expr, &Scope::EVERYTHING)).expect("a plan");
        let evaluate = |max_samples| {
            let context = EvalContext { max_samples: Some(max_samples), ..EvalContext::default() };
            plan.evaluate_range(&store(), &range(40, 60, 10), &context)
        };
        // Two series with two points each, at each of three steps.
        assert!(evaluate(4).is_ok());
        let error = evaluate(3).expect_err("too many");
        assert!(error.message.contains("more than 3 samples (`max_samples`)"), "{error}");
    }
}
