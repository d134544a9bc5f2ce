//! Which labels a result can have at all, and groupings by labels that it cannot have.

use std::collections::BTreeSet;

use super::{Lint, LintContext, compiled, metric_name, walk};
use crate::engine::model::METRIC_NAME;
use crate::engine::promql::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Call, ExprKind, VectorSelector};
use crate::engine::promql::{Expr, ValueType, type_of};
use crate::engine::series::MatchOp;

/// The labels that a result can have. It may have fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LabelSet {
    /// These and no others.
    Only(BTreeSet<String>),
    /// Any but these.
    AllBut(BTreeSet<String>),
}

impl LabelSet {
    fn anything() -> Self {
        Self::AllBut(BTreeSet::new())
    }

    fn nothing() -> Self {
        Self::Only(BTreeSet::new())
    }

    pub fn may_have(&self, label: &str) -> bool {
        match self {
            Self::Only(labels) => labels.contains(label),
            Self::AllBut(labels) => !labels.contains(label),
        }
    }

    fn with<'l>(mut self, added: impl IntoIterator<Item = &'l String>) -> Self {
        for label in added {
            match &mut self {
                Self::Only(labels) => drop(labels.insert(label.clone())),
                Self::AllBut(labels) => drop(labels.remove(label)),
            }
        }
        self
    }

    fn without(mut self, dropped: &[String]) -> Self {
        for label in dropped {
            match &mut self {
                Self::Only(labels) => drop(labels.remove(label)),
                Self::AllBut(labels) => drop(labels.insert(label.clone())),
            }
        }
        self
    }

    fn kept(&self, kept: &[String]) -> Self {
        Self::Only(kept.iter().filter(|label| self.may_have(label)).cloned().collect())
    }

    fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(one), Self::Only(other)) => Self::Only(one.union(&other).cloned().collect()),
            (Self::AllBut(one), Self::AllBut(other)) => {
                Self::AllBut(one.intersection(&other).cloned().collect())
            }
            (Self::Only(some), Self::AllBut(not)) | (Self::AllBut(not), Self::Only(some)) => {
                Self::AllBut(not.difference(&some).cloned().collect())
            }
        }
    }
}

/// Returns which labels the result of an expression can have.
pub(super) fn of(expr: &Expr, context: &LintContext<'_>) -> LabelSet {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => LabelSet::nothing(),
        ExprKind::Selector(selector) => of_selector(selector, context),
        ExprKind::Subquery(subquery) => of(&subquery.expr, context),
        ExprKind::Unary(_, operand) | ExprKind::Paren(operand) => of(operand, context),
        ExprKind::Call(call) => of_call(call, context),
        ExprKind::Aggregate(aggregate) => of_aggregate(aggregate, context),
        ExprKind::Binary(binary) => of_binary(binary, context),
    }
}

fn of_selector(selector: &VectorSelector, context: &LintContext<'_>) -> LabelSet {
    let known = metric_name(selector)
        .and_then(|name| context.facts.and_then(|facts| facts.label_names(name, &compiled(selector))));
    if let Some(labels) = known {
        return LabelSet::Only(labels);
    }
    let empty = selector.matchers.iter().filter(|m| m.op == MatchOp::Equal && m.value.is_empty());
    LabelSet::AllBut(empty.map(|matcher| matcher.name.clone()).collect())
}

fn text(expr: Option<&Expr>) -> Option<&String> {
    match &expr?.unparenthesized().kind {
        ExprKind::Text(text) => Some(text),
        _ => None,
    }
}

fn of_call(call: &Call, context: &LintContext<'_>) -> LabelSet {
    let takes = |wanted: ValueType| {
        let vectors = call.args.iter().filter(|arg| type_of(arg) == wanted);
        vectors.map(|arg| of(arg, context)).next()
    };
    match call.function.name {
        "vector" | "scalar" | "time" => LabelSet::nothing(),
        // They take their labels from the selector's matchers.
        "absent" | "absent_over_time" | "info" | "histogram_quantiles" => LabelSet::anything(),
        "label_replace" | "label_join" => {
            takes(ValueType::Vector).unwrap_or_else(LabelSet::anything).with(text(call.args.get(1)))
        }
        "histogram_quantile" | "histogram_fraction" => {
            takes(ValueType::Vector).unwrap_or_else(LabelSet::anything).without(&["le".to_owned()])
        }
        _ => takes(ValueType::Matrix).or_else(|| takes(ValueType::Vector)).unwrap_or_else(LabelSet::nothing),
    }
}

fn of_aggregate(aggregate: &Aggregate, context: &LintContext<'_>) -> LabelSet {
    let inner = of(&aggregate.expr, context);
    if matches!(
        aggregate.op,
        AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio
    ) {
        return inner;
    }
    let grouped = match &aggregate.grouping {
        None => LabelSet::nothing(),
        Some(grouping) if grouping.without => inner.without(&grouping.labels),
        Some(grouping) => inner.kept(&grouping.labels),
    };
    grouped.with(text(aggregate.param.as_ref()).filter(|_| aggregate.op == AggregateOp::CountValues))
}

fn of_binary(binary: &Binary, context: &LintContext<'_>) -> LabelSet {
    let is_scalar = |expr: &Expr| type_of(expr) == ValueType::Scalar;
    let (left, right) = (of(&binary.left, context), of(&binary.right, context));
    if is_scalar(&binary.left) {
        return right;
    }
    if is_scalar(&binary.right) {
        return left;
    }
    match binary.op {
        BinaryOp::Or => return left.union(right),
        BinaryOp::And | BinaryOp::Unless => return left,
        _ => {}
    }
    if let Some(group) = &binary.matching.group {
        let many = if group.left { left } else { right };
        return many.with(&group.include);
    }
    // With `fill`, either side may be the one that is there.
    let both = if binary.matching.fill.is_empty() { left } else { left.union(right) };
    match &binary.matching.labels {
        Some(labels) if labels.on => both.kept(&labels.labels),
        Some(labels) => both.without(&labels.labels),
        None => both,
    }
}

pub(super) fn lint(expr: &Expr, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    walk(expr, &mut |node| match &node.kind {
        ExprKind::Aggregate(aggregate) => grouping(node, aggregate, context, out),
        ExprKind::Binary(binary) => matching(node, binary, context, out),
        _ => {}
    });
}

fn grouping(node: &Expr, aggregate: &Aggregate, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    let Some(grouping) = aggregate.grouping.as_ref().filter(|grouping| !grouping.without) else { return };
    let below = of(&aggregate.expr, context);
    for label in grouping.labels.iter().filter(|label| *label != METRIC_NAME && !below.may_have(label)) {
        let message = format!("nothing below has a label `{label}`, so grouping by it changes nothing");
        out.push(unknown(node, message, &below, label));
    }
}

fn matching(node: &Expr, binary: &Binary, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    let (left, right) = (of(&binary.left, context), of(&binary.right, context));
    if let Some(on) = binary.matching.labels.as_ref().filter(|labels| labels.on) {
        for label in on.labels.iter().filter(|label| *label != METRIC_NAME) {
            let (here, missing) = match (left.may_have(label), right.may_have(label)) {
                (true, false) => (&right, "right"),
                (false, true) => (&left, "left"),
                (false, false) => (&left, "left or the right"),
                (true, true) => continue,
            };
            let message = format!(
                "nothing on the {missing} of `{}` has the label `{label}`, so series pair up only where it is empty",
                binary.op.text()
            );
            out.push(unknown(node, message, here, label));
        }
    }
    if let Some(group) = &binary.matching.group {
        let one = if group.left { &right } else { &left };
        for label in group.include.iter().filter(|label| !one.may_have(label)) {
            let word = if group.left { "group_left" } else { "group_right" };
            let message = format!(
                "`{word} ({label})` copies a label that nothing on the other side has: it removes `{label}`"
            );
            out.push(unknown(node, message, one, label));
        }
    }
}

fn unknown(node: &Expr, message: String, there: &LabelSet, label: &str) -> Lint {
    let lint = Lint::warning("unknown-label-in-by", node.span, message);
    match there {
        LabelSet::Only(labels) if labels.is_empty() => {
            lint.hint("the aggregation there keeps no label; add `by (...)` to it, or group without")
        }
        LabelSet::Only(labels) => {
            let known = labels.iter().map(String::as_str).filter(|name| *name != METRIC_NAME);
            lint.hint(super::super::diagnostic::name_hint(label, "label", known))
        }
        LabelSet::AllBut(_) => {
            lint.hint("something below drops it: `without`, `=\"\"`, or a quantile its `le`")
        }
    }
}
