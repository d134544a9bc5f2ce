//! Functions with rules of their own: bounds, rounding, absence, order, labels, histograms.

use super::super::aggregations::{ascending, descending};
use super::super::evaluate::{EvalError, Evaluation, VectorSample, unique};
use super::super::histogram::per_histogram;
use super::super::plan::{Scalar, Vector, VectorKind};
use super::super::problem::TextSpan;
use super::labels::{label_join, label_replace};
use super::order::sort_by_labels;
use super::{greater, lesser, mapped};
use crate::engine::model::Labels;
use crate::engine::series::Point;
use crate::engine::time::Timestamp;

impl Evaluation<'_> {
    /// Evaluates the nodes that are neither selectors, operators, aggregations nor plain functions.
    pub(in super::super) fn special(
        &self,
        node: &Vector,
        at: Timestamp,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let vector = match &node.kind {
            VectorKind::Clamp { operand, low, high } => {
                self.clamp(operand, low.as_ref(), high.as_ref(), at)?
            }
            VectorKind::Round { operand, nearest } => {
                let vector = self.vector(operand, at)?;
                let per_one = 1.0 / self.scalar(nearest, at)?;
                mapped(vector, |value| (value * per_one + 0.5).floor() / per_one)
            }
            VectorKind::Date(part, None) => {
                vec![VectorSample { labels: Labels::empty(), value: part.of(self.wall_seconds(at)) }]
            }
            VectorKind::Date(part, Some(operand)) => {
                mapped(self.vector(operand, at)?, |value| part.of(value))
            }
            VectorKind::Absent { operand, labels } => {
                return Ok(if_absent(self.vector(operand, at)?.is_empty(), labels));
            }
            VectorKind::AbsentOverTime { window, labels } => {
                let mut absent = true;
                self.each_window(window, at, |_| {
                    absent = false;
                    Ok(())
                })?;
                return Ok(if_absent(absent, labels));
            }
            VectorKind::Sorted { operand, descending: down } => {
                let mut vector = self.vector(operand, at)?;
                vector.sort_by(if *down { descending } else { ascending });
                return Ok(vector);
            }
            VectorKind::SortedByLabel { operand, labels, descending } => {
                let mut vector = self.vector(operand, at)?;
                sort_by_labels(&mut vector, labels, *descending);
                return Ok(vector);
            }
            VectorKind::LabelReplace(replace) => {
                let vector = label_replace(replace, self.vector(&replace.operand, at)?, node.span)?;
                self.hold_texts(vector, &replace.destination, node.span)?
            }
            VectorKind::LabelJoin(join) => {
                let vector = label_join(join, self.vector(&join.operand, at)?, node.span)?;
                self.hold_texts(vector, &join.destination, node.span)?
            }
            VectorKind::HistogramQuantile(quantile, operand) => {
                let q = self.scalar(quantile, at)?;
                per_histogram(&self.vector(operand, at)?, |buckets| buckets.quantile(q))
            }
            VectorKind::HistogramQuantiles { operand, label, quantiles } => {
                self.histogram_quantiles(operand, label, quantiles, at)?
            }
            VectorKind::HistogramFraction(low, high, operand) => {
                let (low, high) = (self.scalar(low, at)?, self.scalar(high, at)?);
                per_histogram(&self.vector(operand, at)?, |buckets| buckets.fraction(low, high))
            }
            _ => return Err(EvalError::new(node.span, "this node has no evaluation of its own")),
        };
        unique(vector, node.span)
    }

    /// Counts the values that were made for a label as the points that they take the room of.
    fn hold_texts(
        &self,
        vector: Vec<VectorSample>,
        label: &str,
        span: TextSpan,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let bytes: usize = vector.iter().filter_map(|sample| sample.labels.get(label)).map(str::len).sum();
        self.hold(bytes / size_of::<Point>(), span)?;
        Ok(vector)
    }

    /// One element per histogram and quantile; the quantile is the value of a label.
    fn histogram_quantiles(
        &self,
        operand: &Vector,
        label: &str,
        quantiles: &[Scalar],
        at: Timestamp,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let vector = self.vector(operand, at)?;
        let mut result = Vec::new();
        for quantile in quantiles {
            let q = self.scalar(quantile, at)?;
            let text = open_metrics_text(q);
            let element = |sample: VectorSample| VectorSample {
                labels: sample.labels.with(label, &text),
                value: sample.value,
            };
            result.extend(per_histogram(&vector, |buckets| buckets.quantile(q)).into_iter().map(element));
        }
        Ok(result)
    }

    fn clamp(
        &self,
        operand: &Vector,
        low: Option<&Scalar>,
        high: Option<&Scalar>,
        at: Timestamp,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let low = low.map(|low| self.scalar(low, at)).transpose()?;
        let high = high.map(|high| self.scalar(high, at)).transpose()?;
        let vector = self.vector(operand, at)?;
        if let (Some(low), Some(high)) = (low, high)
            && high < low
        {
            return Ok(Vec::new());
        }
        Ok(mapped(vector, |value| {
            let value = high.map_or(value, |high| lesser(high, value));
            low.map_or(value, |low| greater(low, value))
        }))
    }
}

/// A number as the value of a `quantile` label: OpenMetrics wants floats to look like floats.
fn open_metrics_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    // Go writes large and small exponents with two digits and a sign at least.
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

fn if_absent(absent: bool, labels: &Labels) -> Vec<VectorSample> {
    if absent { vec![VectorSample { labels: labels.clone(), value: 1.0 }] } else { Vec::new() }
}
