//! Aggregation operators: groups of a vector's elements to one element each, or to a selection of them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::evaluate::{EvalError, Evaluation, VectorSample};
use super::plan::{AggregateKind, AggregatePlan, LabelChoice};
use super::problem::TextSpan;
use super::sampling;
use super::summation::{Sum, mean, quantile};
use crate::engine::model::Labels;
use crate::engine::time::Timestamp;

impl Evaluation<'_> {
    pub(super) fn aggregate(
        &self,
        aggregate: &AggregatePlan,
        at: Timestamp,
        span: TextSpan,
    ) -> Result<Vec<VectorSample>, EvalError> {
        match &aggregate.op {
            AggregateKind::Top(count) | AggregateKind::Bottom(count) => {
                let count = whole_count(self.scalar(count, at)?, span)?;
                let largest = matches!(aggregate.op, AggregateKind::Top(_));
                let vector = self.vector(&aggregate.operand, at)?;
                return Ok(extremes(&aggregate.grouping, vector, count, largest));
            }
            AggregateKind::Limit(count) => {
                let count = whole_count(self.scalar(count, at)?, span)?;
                let vector = self.vector(&aggregate.operand, at)?;
                return Ok(sampling::limited(&aggregate.grouping, vector, count));
            }
            AggregateKind::Ratio(ratio) => {
                let ratio = self.scalar(ratio, at)?;
                return sampling::share(self.vector(&aggregate.operand, at)?, ratio, span);
            }
            AggregateKind::CountValues(label) => {
                let vector = self.vector(&aggregate.operand, at)?;
                return Ok(count_values(&aggregate.grouping, &vector, label));
            }
            _ => {}
        }
        let q = match &aggregate.op {
            AggregateKind::Quantile(q) => self.scalar(q, at)?,
            _ => f64::NAN,
        };
        let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
        for sample in self.vector(&aggregate.operand, at)? {
            groups.entry(aggregate.grouping.key(&sample.labels)).or_default().push(sample.value);
        }
        let element = |(labels, values)| VectorSample { labels, value: reduce(&aggregate.op, q, values) };
        Ok(groups.into_iter().map(element).collect())
    }
}

/// Reduces a group, which is never empty, to a number.
fn reduce(op: &AggregateKind, q: f64, values: Vec<f64>) -> f64 {
    match op {
        AggregateKind::Sum => values.into_iter().collect::<Sum>().value(),
        AggregateKind::Avg => mean(values),
        AggregateKind::Min => smallest(values),
        AggregateKind::Max => largest(values),
        #[expect(clippy::cast_precision_loss, reason = "no vector has 2^53 elements")]
        AggregateKind::Count => values.len() as f64,
        AggregateKind::Stddev => variance(&values).sqrt(),
        AggregateKind::Stdvar => variance(&values),
        AggregateKind::Quantile(_) => quantile(q, values),
        // The others select or count elements and are done before.
        AggregateKind::Group
        | AggregateKind::Top(_)
        | AggregateKind::Bottom(_)
        | AggregateKind::CountValues(_)
        | AggregateKind::Limit(_)
        | AggregateKind::Ratio(_) => 1.0,
    }
}

/// Returns the least value; NaN only where there is nothing else.
pub(super) fn smallest(values: impl IntoIterator<Item = f64>) -> f64 {
    values
        .into_iter()
        .fold(f64::NAN, |least, value| if value < least || least.is_nan() { value } else { least })
}

/// Returns the greatest value; NaN only where there is nothing else.
pub(super) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(f64::NAN, |most, value| if value > most || most.is_nan() { value } else { most })
}

/// The variance of a group, NaN as soon as one value is not finite: unlike over time, one element already decides.
fn variance(values: &[f64]) -> f64 {
    if values.iter().any(|value| !value.is_finite()) {
        return f64::NAN;
    }
    super::summation::variance(values.iter().copied())
}

/// The parameter of `topk` and `bottomk` as a number of elements.
fn whole_count(count: f64, span: TextSpan) -> Result<usize, EvalError> {
    if count.is_nan() {
        return Err(EvalError::new(span, "the number of elements is NaN"));
    }
    #[expect(clippy::cast_precision_loss, reason = "the bound that Prometheus compares with")]
    if count >= i64::MAX as f64 || count <= i64::MIN as f64 {
        return Err(EvalError::new(span, format!("the number of elements {count} overflows an integer")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a negative count becomes 0")]
    Ok(count as usize)
}

/// Orders by value, ascending; NaN comes last.
pub(super) fn ascending(a: &VectorSample, b: &VectorSample) -> Ordering {
    by_value(a.value, b.value)
}

/// Orders by value, descending; NaN comes last here too.
pub(super) fn descending(a: &VectorSample, b: &VectorSample) -> Ordering {
    a.value.is_nan().cmp(&b.value.is_nan()).then_with(|| by_value(b.value, a.value))
}

fn by_value(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn extremes(
    grouping: &LabelChoice,
    vector: Vec<VectorSample>,
    count: usize,
    largest: bool,
) -> Vec<VectorSample> {
    let mut groups: BTreeMap<Labels, Vec<VectorSample>> = BTreeMap::new();
    for sample in vector {
        groups.entry(grouping.key(&sample.labels)).or_default().push(sample);
    }
    let ranked = groups.into_values().map(|mut group| {
        group.sort_by(if largest { descending } else { ascending });
        group.truncate(count);
        group
    });
    ranked.flatten().collect()
}

fn count_values(grouping: &LabelChoice, vector: &[VectorSample], label: &str) -> Vec<VectorSample> {
    let mut counts: BTreeMap<Labels, f64> = BTreeMap::new();
    for sample in vector {
        let group = grouping.key(&sample.labels).with(label, &go_text(sample.value));
        *counts.entry(group).or_default() += 1.0;
    }
    counts.into_iter().map(|(labels, value)| VectorSample { labels, value }).collect()
}

/// A number as Go's `strconv.FormatFloat(v, 'f', -1, 64)` writes it.
fn go_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_comes_last_both_ways() {
        let values = [2.0, f64::NAN, 1.0, f64::INFINITY];
        let vector = || values.map(|value| VectorSample { labels: Labels::empty(), value }).to_vec();
        let mut up = vector();
        up.sort_by(ascending);
        let mut down = vector();
        down.sort_by(descending);
        let values =
            |vector: &[VectorSample]| format!("{:?}", vector.iter().map(|s| s.value).collect::<Vec<_>>());
        assert_eq!(values(&up), "[1.0, 2.0, inf, NaN]");
        assert_eq!(values(&down), "[inf, 2.0, 1.0, NaN]");
    }

    #[test]
    fn counts_are_whole_and_within_an_integer() {
        let span = TextSpan::default();
        let cases = [(2.9, Some(2)), (-1.0, Some(0)), (f64::NAN, None), (1e300, None), (f64::INFINITY, None)];
        for (count, expected) in cases {
            assert_eq!(whole_count(count, span).ok(), expected, "{count}");
        }
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (value, text) in
            [(1.0, "1"), (1e21, "1000000000000000000000"), (0.5, "0.5"), (-0.0, "-0"), (f64::NAN, "NaN")]
        {
            assert_eq!(go_text(value), text);
        }
        assert_eq!(go_text(f64::NEG_INFINITY), "-Inf");
    }
}
