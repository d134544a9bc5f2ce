//! An expression to a plan, or to the list of everything in it that is not evaluated.

mod calls;
mod names;
mod sources;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Expr, ExprKind, FillSide, MatchLabels, Shift, Subquery,
    UnaryOp, VectorSelector,
};
use super::catalog::ValueType;
use super::check::{at_an_instant, constant, type_of};
use super::evaluate::LOOKBACK;
use super::lengths::{Length, Moment, duration_ms};
use super::plan::{
    AggregateKind, AggregatePlan, Cardinality, Join, LabelChoice, Output, Plan, Scalar, Scope, Select,
    SetPlan, Vector, VectorKind, Window, WindowSource, WithScalar,
};
use super::problem::{Problem, TextSpan};
use crate::engine::model::{METRIC_NAME, describes_metric};
use crate::engine::series::{MatchOp, Matcher, Selector, Sources};
use crate::engine::time::Span;

pub(super) fn compile(expr: &Expr, scope: &Scope) -> Result<Plan, Vec<Problem>> {
    let mut compiler = Compiler {
        scope,
        problems: Vec::new(),
        selectors: Vec::new(),
        reach: Span::ZERO,
        outer: Span::ZERO,
        pinned: Vec::new(),
        steps: 0,
    };
    let root = match type_of(expr) {
        ValueType::Scalar => compiler.scalar(expr).map(Output::Scalar),
        ValueType::Vector => compiler.vector(expr).map(Output::Vector),
        ValueType::Matrix => compiler.window(expr).map(Output::Matrix),
        ValueType::String => compiler.text(expr).map(|text| Output::Text(text.into())),
    };
    let Compiler { mut problems, selectors, reach, pinned, .. } = compiler;
    match root {
        Some(root) if problems.is_empty() => Ok(Plan { root, span: expr.span, selectors, reach, pinned }),
        _ => {
            problems.sort_by_key(|problem| problem.span);
            problems.dedup();
            Err(problems)
        }
    }
}

/// Every method that returns `None` has noted at least one problem; siblings are still compiled, to find theirs.
struct Compiler<'s> {
    scope: &'s Scope,
    problems: Vec<Problem>,
    selectors: Vec<Selector>,
    reach: Span,
    /// How far back the subqueries around the current node look.
    outer: Span,
    pinned: Vec<TextSpan>,
    /// How many steps the subqueries so far take, those around the current node apart.
    steps: u64,
}

impl Compiler<'_> {
    fn refuse<T>(&mut self, span: TextSpan, message: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::new(span, message));
        None
    }

    fn not_evaluated<T>(&mut self, span: TextSpan, what: &str) -> Option<T> {
        let mut problem = Problem::new(span, format!("{what} is not evaluated by this version"));
        if what.contains("histogram") {
            problem = problem.with_hint(
                "native histograms are not kept; of classic ones take `histogram_quantile`, or `x_sum / x_count`",
            );
        } else if what == "`info`" {
            problem =
                problem.with_hint("join instead: `x * on (job, instance) group_left (version) target_info`");
        }
        self.problems.push(problem);
        None
    }

    /// For trees that were not type-checked; [`super::parse`] lets none through.
    fn mistyped<T>(&mut self, expr: &Expr, expected: ValueType) -> Option<T> {
        self.refuse(expr.span, format!("expected type {expected}, got {}", type_of(expr)))
    }

    fn text(&mut self, expr: &Expr) -> Option<String> {
        match &expr.unparenthesized().kind {
            ExprKind::Text(text) => Some(text.clone()),
            _ => self.mistyped(expr, ValueType::String),
        }
    }

    fn scalar(&mut self, expr: &Expr) -> Option<Scalar> {
        match &expr.kind {
            ExprKind::Number(number) => Some(Scalar::Number(*number)),
            ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => self.scalar(inner),
            ExprKind::Unary(UnaryOp::Minus, operand) => {
                self.scalar(operand).map(|scalar| Scalar::Negated(Box::new(scalar)))
            }
            ExprKind::Binary(binary) => {
                let (left, right) = (self.scalar(&binary.left), self.scalar(&binary.right));
                self.known_operator(binary)?;
                Some(Scalar::Binary(binary.op, Box::new(left?), Box::new(right?)))
            }
            ExprKind::Call(call) => self.scalar_call(expr, call),
            _ => self.mistyped(expr, ValueType::Scalar),
        }
    }

    fn vector(&mut self, expr: &Expr) -> Option<Vector> {
        let span = expr.span;
        let kind = match &expr.kind {
            ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => return self.vector(inner),
            ExprKind::Selector(selector) if selector.range.is_none() => self.instant(span, selector)?,
            ExprKind::Unary(UnaryOp::Minus, operand) => VectorKind::Negated(Box::new(self.vector(operand)?)),
            ExprKind::Call(call) => self.vector_call(expr, call)?,
            ExprKind::Aggregate(aggregate) => self.aggregate(span, aggregate)?,
            ExprKind::Binary(binary) => self.binary(binary)?,
            _ => return self.mistyped(expr, ValueType::Vector),
        };
        Some(Vector { span, kind })
    }

    fn select(&mut self, span: TextSpan, selector: &VectorSelector) -> Option<Select> {
        let moment = self.moment(span, &selector.shift);
        let resolved = self.selector(span, selector);
        let (moment, offset) = moment?;
        self.note_reach(offset + LOOKBACK);
        Some(Select { selector: resolved?, moment })
    }

    fn instant(&mut self, span: TextSpan, selector: &VectorSelector) -> Option<VectorKind> {
        let select = self.select(span, selector)?;
        if selector.edges.is_none() {
            return Some(VectorKind::Select(select));
        }
        // Smoothed: a window without length, but with all that lies around it.
        let Select { selector: resolved, moment } = select;
        let (source, range) = (WindowSource::Selector(resolved), Length::Known(Span::ZERO));
        Some(VectorKind::Smoothed(Box::new(Window { span, source, range, moment, edges: selector.edges })))
    }

    fn window(&mut self, expr: &Expr) -> Option<Window> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Paren(inner) => self.window(inner),
            ExprKind::Selector(selector) => self.range(expr, selector),
            ExprKind::Subquery(subquery) => self.subquery(span, subquery),
            _ => self.mistyped(expr, ValueType::Matrix),
        }
    }

    fn range(&mut self, expr: &Expr, selector: &VectorSelector) -> Option<Window> {
        let span = expr.span;
        let Some(range) = &selector.range else { return self.mistyped(expr, ValueType::Matrix) };
        let range = self.duration(range);
        let moment = self.moment(span, &selector.shift);
        let resolved = self.selector(span, selector);
        let ((range, length), (moment, offset)) = (range?, moment?);
        let edge = selector.edges.map_or(Span::ZERO, |_| LOOKBACK);
        self.note_reach(offset + length + edge);
        let source = WindowSource::Selector(resolved?);
        Some(Window { span, source, range, moment, edges: selector.edges })
    }

    fn subquery(&mut self, span: TextSpan, subquery: &Subquery) -> Option<Window> {
        let range = self.duration(&subquery.range);
        let step = match &subquery.step {
            Some(step) => self.duration(step),
            None => Some((Length::Known(self.scope.default_step), self.scope.default_step)),
        };
        let moment = self.moment(span, &subquery.shift);
        let ((range, length), (moment, offset)) = (range?, moment?);
        let (outer, steps) = (self.outer, std::mem::take(&mut self.steps));
        self.outer = outer + length + offset;
        let inner = self.vector(&subquery.expr).map(Box::new);
        self.outer = outer;
        let (expr, (step, every), nested_steps) = (inner?, step?, self.steps);
        let own = length.as_millis().max(0) / every.as_millis().max(1);
        let all = own.unsigned_abs().saturating_mul(nested_steps.saturating_add(1));
        self.steps = steps.saturating_add(all);
        let source = WindowSource::Subquery { expr, step, nested_steps };
        Some(Window { span, source, range, moment, edges: None })
    }

    fn note_reach(&mut self, own: Span) {
        self.reach = self.reach.max(self.outer + own);
    }

    /// Compiles a duration; returns also how long it is in an instant query, which is what rules are.
    fn duration(&mut self, expr: &Expr) -> Option<(Length, Span)> {
        let Some(known) = at_an_instant(expr).and_then(duration_ms).map(Span::from_millis) else {
            return self.refuse(expr.span, "the duration is out of range");
        };
        let length = match constant(expr) {
            Some(_) => Length::Known(known),
            None => Length::Computed(expr.span, Box::new(self.scalar(expr)?)),
        };
        Some((length, known))
    }

    fn moment(&mut self, span: TextSpan, shift: &Shift) -> Option<(Moment, Span)> {
        if let Some(At::Millis(_)) = shift.at {
            self.pinned.push(span);
        }
        let (offset, known) = match &shift.offset {
            Some(offset) => self.duration(offset)?,
            None => (Length::Known(Span::ZERO), Span::ZERO),
        };
        Some((Moment { at: shift.at, offset }, known))
    }

    /// Compiles the matchers, and narrows the scope's sources to those that can show what they select.
    fn selector(&mut self, span: TextSpan, written: &VectorSelector) -> Option<Selector> {
        let named = written.name.as_ref().map(|name| (METRIC_NAME, MatchOp::Equal, name.as_str(), span));
        let others = written.matchers.iter().map(|m| (m.name.as_str(), m.op, m.value.as_str(), m.span));
        let mut matchers = Vec::new();
        for (name, op, value, span) in named.into_iter().chain(others) {
            match Matcher::new(name, op, value) {
                Ok(matcher) => matchers.push(matcher),
                Err(error) => return self.refuse(span, error.to_string()),
            }
        }
        let sources = match &self.scope.sources {
            Sources::Any => Sources::Any,
            Sources::Only(names) => {
                let fitting = sources::narrowed(names, self.scope, &matchers);
                if fitting.is_empty() {
                    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                    let names = names.join(", ");
                    let why = match matchers.iter().any(|matcher| matcher.name() == "job") {
                        true => format!("its `job` is none of the sources in scope ({names})"),
                        false => format!("no source in scope ({names}) shows it"),
                    };
                    return self.refuse(span, format!("this selects nothing: {why}"));
                }
                Sources::Only(fitting)
            }
        };
        let selector = Selector::new(matchers, sources);
        if !self.selectors.contains(&selector) {
            self.selectors.push(selector.clone());
        }
        Some(selector)
    }

    fn aggregate(&mut self, span: TextSpan, aggregate: &Aggregate) -> Option<VectorKind> {
        let operand = self.vector(&aggregate.expr);
        let op = match (aggregate.op, &aggregate.param) {
            (AggregateOp::Sum, None) => Some(AggregateKind::Sum),
            (AggregateOp::Avg, None) => Some(AggregateKind::Avg),
            (AggregateOp::Min, None) => Some(AggregateKind::Min),
            (AggregateOp::Max, None) => Some(AggregateKind::Max),
            (AggregateOp::Count, None) => Some(AggregateKind::Count),
            (AggregateOp::Group, None) => Some(AggregateKind::Group),
            (AggregateOp::Stddev, None) => Some(AggregateKind::Stddev),
            (AggregateOp::Stdvar, None) => Some(AggregateKind::Stdvar),
            (AggregateOp::Quantile, Some(param)) => self.scalar(param).map(AggregateKind::Quantile),
            (AggregateOp::Topk, Some(param)) => self.scalar(param).map(AggregateKind::Top),
            (AggregateOp::Bottomk, Some(param)) => self.scalar(param).map(AggregateKind::Bottom),
            (AggregateOp::CountValues, Some(param)) => self.label_name(param).map(AggregateKind::CountValues),
            (AggregateOp::Limitk, Some(param)) => self.scalar(param).map(AggregateKind::Limit),
            (AggregateOp::LimitRatio, Some(param)) => self.scalar(param).map(AggregateKind::Ratio),
            (op, _) => self.not_evaluated(span, &format!("`{}`", op.name())),
        };
        let labels = aggregate.grouping.as_ref().map_or(&[][..], |grouping| &grouping.labels);
        let names: BTreeSet<Arc<str>> = labels.iter().map(|label| label.as_str().into()).collect();
        let without = aggregate.grouping.as_ref().is_some_and(|grouping| grouping.without);
        if !without && let Some(label) = names.iter().find(|name| describes_metric(name)) {
            self.needs_names(&aggregate.expr, label)?;
        }
        let grouping = if without { LabelChoice::AllBut(names) } else { LabelChoice::Only(names) };
        Some(VectorKind::Aggregate(Box::new(AggregatePlan { op: op?, grouping, operand: operand? })))
    }

    fn known_operator(&mut self, binary: &Binary) -> Option<()> {
        match binary.op {
            BinaryOp::TrimLower | BinaryOp::TrimUpper => {
                let what = format!("the native-histogram operator `{}`", binary.op.text());
                self.not_evaluated(binary.op_span, &what)
            }
            _ => Some(()),
        }
    }

    fn binary(&mut self, binary: &Binary) -> Option<VectorKind> {
        let (op, bool) = (binary.op, binary.bool);
        let is_scalar = |expr: &Expr| type_of(expr) == ValueType::Scalar;
        let (vector, scalar, scalar_is_left) = match (is_scalar(&binary.left), is_scalar(&binary.right)) {
            (false, false) => return self.vectors(binary),
            (scalar_is_left, _) if scalar_is_left => (&binary.right, &binary.left, true),
            _ => (&binary.left, &binary.right, false),
        };
        let (vector, scalar) = (self.vector(vector), self.scalar(scalar));
        self.known_operator(binary)?;
        let (vector, scalar) = (vector?, scalar?);
        Some(VectorKind::WithScalar(Box::new(WithScalar { op, bool, vector, scalar, scalar_is_left })))
    }

    /// Chains of operators recurse through here, 250 deep: nothing but that is on its part of the stack.
    fn vectors(&mut self, binary: &Binary) -> Option<VectorKind> {
        let left = self.vector(&binary.left).map(Box::new);
        let right = self.vector(&binary.right).map(Box::new);
        self.join(binary, left, right)
    }

    fn join(
        &mut self,
        binary: &Binary,
        left: Option<Box<Vector>>,
        right: Option<Box<Vector>>,
    ) -> Option<VectorKind> {
        self.known_operator(binary)?;
        let (on, labels) = match &binary.matching.labels {
            Some(MatchLabels { on, labels }) => (*on, labels.as_slice()),
            None => (false, &[][..]),
        };
        let names: BTreeSet<Arc<str>> = labels.iter().map(|label| label.as_str().into()).collect();
        if on && let Some(label) = names.iter().find(|name| describes_metric(name)) {
            self.needs_names(&binary.left, label)?;
            self.needs_names(&binary.right, label)?;
        }
        if let Some(group) = &binary.matching.group
            && let Some(label) = group.include.iter().find(|label| describes_metric(label))
        {
            self.needs_names(if group.left { &binary.right } else { &binary.left }, label)?;
        }
        let key = if on { LabelChoice::Only(names) } else { LabelChoice::AllBut(names) };
        let (op, bool, left, right) = (binary.op, binary.bool, *left?, *right?);
        if op.is_set() {
            return Some(VectorKind::Set(Box::new(SetPlan { op, key, left, right })));
        }
        let cardinality = match &binary.matching.group {
            None => Cardinality::OneToOne,
            Some(group) if group.left => Cardinality::ManyToOne(group.include.clone()),
            Some(group) => Cardinality::OneToMany(group.include.clone()),
        };
        let fill = |sides: [FillSide; 2]| {
            binary.matching.fill.iter().find(|(side, _)| sides.contains(side)).map(|(_, value)| *value)
        };
        let fill_left = fill([FillSide::Both, FillSide::Left]);
        let fill_right = fill([FillSide::Both, FillSide::Right]);
        let join = Join { op, bool, key, cardinality, fill_left, fill_right, left, right };
        Some(VectorKind::Join(Box::new(join)))
    }
}
