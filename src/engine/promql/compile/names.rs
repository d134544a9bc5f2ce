//! Which expressions still have their metric names.
//!
//! Prometheus drops a name at once by default and at the end of the query with a feature flag; where `__name__` is
//! asked for after that, the two answer differently. Such expressions are refused instead of answered one way.

use super::super::ast::{Aggregate, AggregateOp, BinaryOp, Call, Expr, ExprKind, UnaryOp};
use super::super::problem::Problem;
use super::Compiler;
use crate::engine::model::describes_metric;

impl Compiler<'_> {
    /// Refuses an operand whose names were dropped, for a place that asks for `label`: the name, the type or the unit.
    pub(super) fn needs_names(&mut self, expr: &Expr, label: &str) -> Option<()> {
        if keeps_names(expr) {
            return Some(());
        }
        let message = format!("`{label}` is asked for, but this drops the metric name");
        let hint = "Prometheus' answer depends on a feature flag here: select metrics by name before functions and operators";
        self.problems.push(Problem::new(expr.span, message).with_hint(hint));
        None
    }
}

fn keeps_names(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Selector(_) => true,
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Unary(UnaryOp::Minus, _) => false,
        ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => keeps_names(inner),
        ExprKind::Subquery(subquery) => keeps_names(&subquery.expr),
        ExprKind::Call(call) => call_keeps_names(call),
        ExprKind::Aggregate(aggregate) => aggregate_keeps_names(aggregate),
        ExprKind::Binary(binary) => match binary.op {
            BinaryOp::And | BinaryOp::Unless => keeps_names(&binary.left),
            BinaryOp::Or => keeps_names(&binary.left) && keeps_names(&binary.right),
            op => {
                op.is_comparison() && !binary.bool && keeps_names(&binary.left) && keeps_names(&binary.right)
            }
        },
    }
}

fn call_keeps_names(call: &Call) -> bool {
    let passes_on = matches!(
        call.function.name,
        "last_over_time"
            | "first_over_time"
            | "sort"
            | "sort_desc"
            | "sort_by_label"
            | "sort_by_label_desc"
            | "label_replace"
            | "label_join"
    );
    passes_on && call.args.first().is_some_and(keeps_names)
}

fn aggregate_keeps_names(aggregate: &Aggregate) -> bool {
    let selects = [AggregateOp::Topk, AggregateOp::Bottomk, AggregateOp::Limitk, AggregateOp::LimitRatio];
    if selects.contains(&aggregate.op) {
        return keeps_names(&aggregate.expr);
    }
    // An aggregation decides by itself: either it groups by the name, or there is none and that is no surprise.
    aggregate.grouping.as_ref().is_none_or(|grouping| {
        grouping.without
            || !grouping.labels.iter().any(|label| describes_metric(label))
            || keeps_names(&aggregate.expr)
    })
}
