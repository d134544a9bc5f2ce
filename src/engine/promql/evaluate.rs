//! A plan over a store to a value.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::functions;
use super::operators;
use super::plan::{Output, Plan, Scalar, Vector, VectorKind};
use super::problem::TextSpan;
use crate::engine::model::{Labels, SourceName};
use crate::engine::series::{Point, Store};
use crate::engine::time::{Span, Timestamp};

/// How far back an instant selector looks for a sample, left-open. Prometheus' default (`query.lookback-delta`).
pub const LOOKBACK: Span = Span::from_secs(300);

/// How many points and elements one evaluation may touch; Prometheus' default for samples in memory is the same.
pub const MAX_SAMPLES: u64 = 50_000_000;

/// What one step of a subquery costs beside the elements that it yields: about as much as touching so many samples.
pub(super) const STEP_WORK: usize = 200;

/// When and how a plan is evaluated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvalContext {
    /// The time of evaluation, in engine time.
    pub at: Timestamp,
    /// No selector sees a sample before this instant. Ranges are cut there too, so that a `rate` is one over the
    /// time that was seen and not over the whole range ("fresh eyes").
    pub not_before: Option<Timestamp>,
    /// Wall time minus engine time: `time()`, `timestamp()`, `@` and the steps of subqueries speak wall time.
    pub wall_offset: Span,
    /// Sources that are read in place of others: the series of the value appear as if they were the key's.
    pub read_instead: BTreeMap<SourceName, SourceName>,
    /// The range query that this is one step of; an instant query where absent.
    pub query: Option<QueryRange>,
    /// How many points one evaluation may make for its subqueries: what it costs in memory beside its result and the
    /// store. [`MAX_SAMPLES`] where absent.
    pub max_samples: Option<u64>,
}

/// A range query: what `start()`, `end()`, `step()` and `range()` say. In engine time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryRange {
    /// The first step.
    pub start: Timestamp,
    /// The last instant.
    pub end: Timestamp,
    /// The distance of two steps.
    pub step: Span,
}

impl EvalContext {
    /// Returns the context of a plain instant query.
    pub fn at(at: Timestamp) -> Self {
        Self { at, ..Self::default() }
    }

    pub(super) fn query(&self) -> QueryRange {
        self.query.unwrap_or(QueryRange { start: self.at, end: self.at, step: Span::ZERO })
    }
}

/// What an evaluation gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// The value.
    pub value: Value,
    /// The time of the newest sample that any selector saw.
    pub newest_sample: Option<Timestamp>,
}

/// A value of PromQL.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number.
    Scalar(f64),
    /// Series with one value each, with distinct labels. The order means something after `sort` and `topk` only.
    Vector(Vec<VectorSample>),
    /// Series with points.
    Matrix(Vec<MatrixSeries>),
    /// A text.
    String(Arc<str>),
}

/// One element of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// Its labels; without a metric name where an operation dropped it.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// One series of a range vector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its points, oldest first, without staleness markers.
    pub points: Vec<Point>,
}

/// Why a plan has no value on this data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {}: {message}", span.start + 1)]
pub struct EvalError {
    /// The node that failed.
    pub span: TextSpan,
    /// What is wrong.
    pub message: String,
}

impl EvalError {
    pub(super) fn new(span: TextSpan, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

pub(super) fn evaluate(plan: &Plan, store: &Store, context: &EvalContext) -> Result<Evaluated, EvalError> {
    evaluate_counted(plan, store, context).map(|(evaluated, _)| evaluated)
}

/// Evaluates a plan; returns also how many points and elements were touched.
pub(super) fn evaluate_counted(
    plan: &Plan,
    store: &Store,
    context: &EvalContext,
) -> Result<(Evaluated, u64), EvalError> {
    let evaluation = Evaluation {
        store,
        context,
        newest: Cell::new(None),
        work: Cell::new(0),
        held: Cell::new(0),
        scratch: Cell::default(),
    };
    let at = context.at;
    let value = match &plan.root {
        Output::Scalar(scalar) => Value::Scalar(evaluation.scalar(scalar, at)?),
        Output::Vector(vector) => Value::Vector(unique(evaluation.vector(vector, at)?, plan.span)?),
        Output::Matrix(window) => {
            let mut matrix = Vec::new();
            evaluation.each_window(window, at, |series| {
                if let Some(points) = series.bounded(window.edges) {
                    matrix.push(MatrixSeries { labels: series.labels.clone(), points: points.into_owned() });
                }
                Ok(())
            })?;
            Value::Matrix(matrix)
        }
        Output::Text(text) => Value::String(text.clone()),
    };
    Ok((Evaluated { value, newest_sample: evaluation.newest.get() }, evaluation.work.get()))
}

/// One evaluation of one plan.
pub(super) struct Evaluation<'a> {
    pub(super) store: &'a Store,
    pub(super) context: &'a EvalContext,
    newest: Cell<Option<Timestamp>>,
    work: Cell<u64>,
    held: Cell<u64>,
    /// The points of the series that is looked at; kept from one to the next.
    pub(super) scratch: Cell<Vec<Point>>,
}

impl Evaluation<'_> {
    /// Notes that a sample was seen.
    pub(super) fn saw(&self, at: Timestamp) {
        self.newest.set(self.newest.get().max(Some(at)));
    }

    /// Notes that `amount` points or elements were touched.
    pub(super) fn spend(&self, amount: usize, span: TextSpan) -> Result<(), EvalError> {
        let spent = self.work.get().saturating_add(amount as u64);
        self.work.set(spent);
        self.within_limit(spent, span)
    }

    /// Refuses a subquery whose steps alone are too many, before the first one is taken.
    pub(super) fn afford_steps(
        &self,
        range: Span,
        step: Span,
        nested_steps: u64,
        span: TextSpan,
    ) -> Result<(), EvalError> {
        let steps = range.as_millis().max(0).unsigned_abs() / step.as_millis().max(1).unsigned_abs();
        let all = steps.saturating_mul(nested_steps.saturating_add(1));
        self.within_limit(self.work.get().saturating_add(all.saturating_mul(STEP_WORK as u64)), span)
    }

    fn within_limit(&self, spent: u64, span: TextSpan) -> Result<(), EvalError> {
        if spent <= MAX_SAMPLES {
            return Ok(());
        }
        let message = format!(
            "the query touches more than {MAX_SAMPLES} samples (the most that `max_samples` can be): shorten its ranges, or lengthen the steps of its subqueries"
        );
        Err(EvalError::new(span, message))
    }

    /// Notes that `amount` points, or as many bytes as they take, were made and are held for a while.
    pub(super) fn hold(&self, amount: usize, span: TextSpan) -> Result<(), EvalError> {
        let held = self.held.get().saturating_add(amount as u64);
        self.held.set(held);
        let limit = self.context.max_samples.unwrap_or(MAX_SAMPLES);
        if held <= limit {
            return Ok(());
        }
        let message = format!(
            "the query makes more than {limit} samples (`max_samples`): shorten its subqueries, or lengthen their steps"
        );
        Err(EvalError::new(span, message))
    }

    /// Returns an instant in wall time, in seconds.
    pub(super) fn wall_seconds(&self, at: Timestamp) -> f64 {
        (at + self.context.wall_offset).as_secs_f64()
    }

    pub(super) fn scalar(&self, scalar: &Scalar, at: Timestamp) -> Result<f64, EvalError> {
        let query = self.context.query();
        Ok(match scalar {
            Scalar::Number(number) => *number,
            Scalar::Time => self.wall_seconds(at),
            Scalar::QueryStart => self.wall_seconds(query.start),
            Scalar::QueryEnd => self.wall_seconds(query.end),
            Scalar::QueryStep => query.step.as_secs_f64(),
            Scalar::QueryRange => (query.end - query.start).as_secs_f64(),
            Scalar::Only(vector) => match self.vector(vector, at)?.as_slice() {
                [only] => only.value,
                _ => f64::NAN,
            },
            Scalar::Negated(operand) => -self.scalar(operand, at)?,
            Scalar::Lesser(a, b) => functions::lesser(self.scalar(a, at)?, self.scalar(b, at)?),
            Scalar::Greater(a, b) => functions::greater(self.scalar(a, at)?, self.scalar(b, at)?),
            Scalar::Binary(op, left, right) => {
                let (left, right) = (self.scalar(left, at)?, self.scalar(right, at)?);
                let (value, holds) = operators::apply(*op, left, right);
                if op.is_comparison() { f64::from(u8::from(holds)) } else { value }
            }
        })
    }

    pub(super) fn vector(&self, node: &Vector, at: Timestamp) -> Result<Vec<VectorSample>, EvalError> {
        match &node.kind {
            VectorKind::Select(select) => self.select(select, at, node.span),
            VectorKind::Smoothed(window) => self.smoothed(window, at),
            VectorKind::SampleTime(select) => self.sample_times(select, at, node.span),
            VectorKind::Aggregate(aggregate) => self.aggregate(aggregate, at, node.span),
            VectorKind::WithScalar(with) => self.with_scalar(with, at, node.span),
            VectorKind::Join(join) => self.join(join, at, node.span),
            VectorKind::Set(set) => self.set(set, at),
            VectorKind::Negated(operand) => {
                let vector = self.vector(operand, at)?;
                unique(functions::mapped(vector, |value| -value), node.span)
            }
            VectorKind::Map(function, operand) => {
                let vector = self.vector(operand, at)?;
                unique(functions::mapped(vector, function), node.span)
            }
            VectorKind::EvaluationTime(operand) => {
                let vector = self.vector(operand, at)?;
                let now = self.wall_seconds(at);
                unique(functions::mapped(vector, |_| now), node.span)
            }
            VectorKind::FromScalar(scalar) => {
                Ok(vec![VectorSample { labels: Labels::empty(), value: self.scalar(scalar, at)? }])
            }
            VectorKind::Rolling { function, window, params } => {
                self.rolling(function, window, params, at, node.span)
            }
            _ => self.special(node, at),
        }
    }
}

/// Refuses a vector in which two elements have the same labels, as Prometheus does where names were dropped.
pub(super) fn unique(vector: Vec<VectorSample>, span: TextSpan) -> Result<Vec<VectorSample>, EvalError> {
    // What comes from the store or out of an aggregation is in order mostly, and says so at one look.
    if vector.is_sorted_by(|left, right| left.labels < right.labels) {
        return Ok(vector);
    }
    let mut labels: Vec<&Labels> = vector.iter().map(|sample| &sample.labels).collect();
    labels.sort_unstable();
    match labels.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(vector),
        Some(pair) => {
            let message = format!("two series of the result have the same labels {}", pair[0]);
            Err(EvalError::new(span, message))
        }
    }
}
