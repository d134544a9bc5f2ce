//! What is evaluated: an expression with its types proven, names resolved, durations folded.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ast::{BinaryOp, Edges, Expr};
use super::catalog::ValueType;
use super::evaluate;
use super::functions::{DatePart, RangeFunction};
use super::lengths::{Length, Moment};
use super::problem::{Problem, TextSpan};
use crate::engine::model::{Labels, SourceName, describes_metric};
use crate::engine::series::{Pattern, Selector, Sources, Store};
use crate::engine::time::Span;

pub use super::evaluate::{EvalContext, EvalError, Evaluated, MatrixSeries, QueryRange, Value, VectorSample};

/// What an expression may see, and how it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The sources that selectors may read, as if every selector said `job=~"these"`.
    pub sources: Sources,
    /// The probes among them, which show a closed set of series: what asks for others does not read them.
    pub probes: BTreeSet<SourceName>,
    /// The step of subqueries that name none. Prometheus takes the global evaluation interval.
    pub default_step: Span,
}

impl Scope {
    /// The whole store, with Prometheus' default step of one minute.
    pub const EVERYTHING: Self =
        Self { sources: Sources::Any, probes: BTreeSet::new(), default_step: Span::from_secs(60) };

    /// Returns a scope of these sources.
    pub fn of(sources: impl IntoIterator<Item = SourceName>) -> Self {
        Self { sources: Sources::Only(sources.into_iter().collect()), ..Self::EVERYTHING }
    }

    /// Returns the same scope, in which these sources are probes.
    #[must_use]
    pub fn with_probes(self, probes: impl IntoIterator<Item = SourceName>) -> Self {
        Self { probes: probes.into_iter().collect(), ..self }
    }
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) root: Output,
    pub(super) span: TextSpan,
    pub(super) selectors: Vec<Selector>,
    pub(super) reach: Span,
    pub(super) pinned: Vec<TextSpan>,
}

/// Compiles a parsed expression.
///
/// # Errors
///
/// Everything that this version does not evaluate, each with its place, and selectors that can select nothing within
/// the scope. What compiles is evaluated as Prometheus evaluates it.
pub fn compile(expr: &Expr, scope: &Scope) -> Result<Plan, Vec<Problem>> {
    super::compile::compile(expr, scope)
}

impl Plan {
    /// Evaluates the plan over what the store holds.
    ///
    /// # Errors
    ///
    /// What Prometheus fails a query for: many-to-many matches, results with equal labels, a NaN where a count is
    /// needed; and more work than one evaluation may do.
    pub fn evaluate(&self, store: &Store, context: &EvalContext) -> Result<Evaluated, EvalError> {
        evaluate::evaluate(self, store, context)
    }

    /// Evaluates the plan at every step of a range; the series are sorted by their labels.
    ///
    /// A scalar becomes one series without labels. Of the context, `at` and `query` are not looked at.
    ///
    /// # Errors
    ///
    /// As [`Plan::evaluate`], at the first step that fails; a range with no or too many steps; a plan whose value is
    /// neither a vector nor a scalar; more work than one query may do. [`super::RangeEvaluation`] goes step by step.
    pub fn evaluate_range(
        &self,
        store: &Store,
        range: &QueryRange,
        context: &EvalContext,
    ) -> Result<Vec<MatrixSeries>, EvalError> {
        let mut steps = super::range::RangeEvaluation::new(self, store, *range, context)?;
        while steps.advance()? {}
        Ok(steps.finish())
    }

    /// Returns the type of the plan's value.
    pub fn value_type(&self) -> ValueType {
        match self.root {
            Output::Scalar(_) => ValueType::Scalar,
            Output::Vector(_) => ValueType::Vector,
            Output::Matrix(_) => ValueType::Matrix,
            Output::Text(_) => ValueType::String,
        }
    }

    /// Returns what the plan selects: the store has to keep it.
    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        self.selectors.iter()
    }

    /// Returns how far before the time of evaluation the plan looks: ranges, offsets, subqueries, the lookback.
    ///
    /// The store has to retain that much. A fixed time after `@` is not counted; see [`Plan::pinned`].
    pub fn reach(&self) -> Span {
        self.reach
    }

    /// Returns where the plan looks at a fixed time (`@ 1609746000`), which no retention can promise to keep.
    pub fn pinned(&self) -> &[TextSpan] {
        &self.pinned
    }

    /// Returns the sources that can be selected; [`Sources::Any`] where the scope knows no bound.
    pub fn sources(&self) -> Sources {
        let mut names = BTreeSet::new();
        for selector in &self.selectors {
            match selector.sources() {
                Sources::Any => return Sources::Any,
                Sources::Only(some) => names.extend(some.iter().cloned()),
            }
        }
        Sources::Only(names)
    }
}

/// The root of a plan.
#[derive(Clone, Debug)]
pub(super) enum Output {
    Scalar(Scalar),
    Vector(Vector),
    Matrix(Window),
    Text(Arc<str>),
}

/// A node that yields one number.
#[derive(Clone, Debug)]
pub(super) enum Scalar {
    Number(f64),
    Time,
    QueryStart,
    QueryEnd,
    QueryStep,
    QueryRange,
    /// `scalar(v)`: the value of the only element, else NaN.
    Only(Box<Vector>),
    Negated(Box<Self>),
    Lesser(Box<Self>, Box<Self>),
    Greater(Box<Self>, Box<Self>),
    Binary(BinaryOp, Box<Self>, Box<Self>),
}

/// A node that yields a vector.
#[derive(Clone, Debug)]
pub(super) struct Vector {
    pub(super) span: TextSpan,
    pub(super) kind: VectorKind,
}

#[derive(Clone, Debug)]
pub(super) enum VectorKind {
    Select(Select),
    /// `selector smoothed`: the value on the line between the samples before and after. The window has no length.
    Smoothed(Box<Window>),
    /// `timestamp(selector)`: the time of the sample itself.
    SampleTime(Select),
    /// `timestamp(anything else)`: the time of evaluation.
    EvaluationTime(Box<Vector>),
    FromScalar(Box<Scalar>),
    /// A function of the value alone; drops the name.
    Map(fn(f64) -> f64, Box<Vector>),
    Clamp {
        operand: Box<Vector>,
        low: Option<Scalar>,
        high: Option<Scalar>,
    },
    Round {
        operand: Box<Vector>,
        nearest: Scalar,
    },
    Date(DatePart, Option<Box<Vector>>),
    Negated(Box<Vector>),
    Rolling {
        function: &'static RangeFunction,
        window: Box<Window>,
        params: Vec<Scalar>,
    },
    Absent {
        operand: Box<Vector>,
        labels: Labels,
    },
    AbsentOverTime {
        window: Box<Window>,
        labels: Labels,
    },
    Sorted {
        operand: Box<Vector>,
        descending: bool,
    },
    SortedByLabel {
        operand: Box<Vector>,
        labels: Vec<Arc<str>>,
        descending: bool,
    },
    LabelReplace(Box<LabelReplace>),
    LabelJoin(Box<LabelJoin>),
    HistogramQuantile(Box<Scalar>, Box<Vector>),
    HistogramQuantiles {
        operand: Box<Vector>,
        label: Arc<str>,
        quantiles: Vec<Scalar>,
    },
    HistogramFraction(Box<Scalar>, Box<Scalar>, Box<Vector>),
    Aggregate(Box<AggregatePlan>),
    WithScalar(Box<WithScalar>),
    Join(Box<Join>),
    Set(Box<SetPlan>),
}

/// A selector at a time.
#[derive(Clone, Debug)]
pub(super) struct Select {
    pub(super) selector: Selector,
    pub(super) moment: Moment,
}

/// A range of points per series.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) span: TextSpan,
    pub(super) source: WindowSource,
    pub(super) range: Length,
    pub(super) moment: Moment,
    /// Reaches beyond the range, for what lies at its edges.
    pub(super) edges: Option<Edges>,
}

#[derive(Clone, Debug)]
pub(super) enum WindowSource {
    Selector(Selector),
    Subquery {
        expr: Box<Vector>,
        step: Length,
        /// How many steps of subqueries inside of it one evaluation of `expr` takes.
        nested_steps: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct LabelReplace {
    pub(super) operand: Vector,
    pub(super) destination: Arc<str>,
    pub(super) replacement: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) pattern: Pattern,
}

#[derive(Clone, Debug)]
pub(super) struct LabelJoin {
    pub(super) operand: Vector,
    pub(super) destination: Arc<str>,
    pub(super) separator: Arc<str>,
    pub(super) sources: Vec<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(super) struct AggregatePlan {
    pub(super) op: AggregateKind,
    pub(super) grouping: LabelChoice,
    pub(super) operand: Vector,
}

#[derive(Clone, Debug)]
pub(super) enum AggregateKind {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Quantile(Scalar),
    Top(Scalar),
    Bottom(Scalar),
    CountValues(Arc<str>),
    Limit(Scalar),
    Ratio(Scalar),
}

/// Labels that are kept, or all but some.
#[derive(Clone, Debug)]
pub(super) enum LabelChoice {
    /// `by`, `on`
    Only(BTreeSet<Arc<str>>),
    /// `without`, `ignoring`; the metric's name, type and unit are always left out.
    AllBut(BTreeSet<Arc<str>>),
}

impl LabelChoice {
    /// Returns the chosen labels: the key of a group or of a match.
    pub(super) fn key(&self, labels: &Labels) -> Labels {
        match self {
            Self::Only(names) => labels.filtered(|name| names.contains(name)),
            Self::AllBut(names) => labels.filtered(|name| !describes_metric(name) && !names.contains(name)),
        }
    }

    /// Writes a text that is the same for label sets with the same key only; nothing else is said of it.
    pub(super) fn write_key(&self, labels: &Labels, out: &mut String) {
        out.clear();
        match self {
            Self::Only(names) if names.is_empty() => {}
            Self::Only(names) => labels.write_filtered(|name| names.contains(name), out),
            Self::AllBut(names) => {
                labels.write_filtered(|name| !describes_metric(name) && !names.contains(name), out)
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct WithScalar {
    pub(super) op: BinaryOp,
    pub(super) bool: bool,
    pub(super) vector: Vector,
    pub(super) scalar: Scalar,
    pub(super) scalar_is_left: bool,
}

/// A binary operator between two vectors.
#[derive(Clone, Debug)]
pub(super) struct Join {
    pub(super) op: BinaryOp,
    pub(super) bool: bool,
    pub(super) key: LabelChoice,
    pub(super) cardinality: Cardinality,
    /// What stands in for a series that has no match on the left.
    pub(super) fill_left: Option<f64>,
    /// The same on the right.
    pub(super) fill_right: Option<f64>,
    pub(super) left: Vector,
    pub(super) right: Vector,
}

#[derive(Clone, Debug)]
pub(super) enum Cardinality {
    OneToOne,
    /// `group_left`: many on the left; the labels are copied from the right.
    ManyToOne(Vec<String>),
    /// `group_right`: many on the right; the labels are copied from the left.
    OneToMany(Vec<String>),
}

#[derive(Clone, Debug)]
pub(super) struct SetPlan {
    pub(super) op: BinaryOp,
    pub(super) key: LabelChoice,
    pub(super) left: Vector,
    pub(super) right: Vector,
}

#[cfg(test)]
mod tests;
