//! Histograms: buckets that bound a quantile, and what loses them.

use super::label_sets;
use super::{Lint, LintContext, as_call, compiled, each_selector, metric_name, walk};
use crate::engine::promql::Expr;
use crate::engine::promql::ast::{AggregateOp, ExprKind, VectorSelector};
use crate::engine::series::MatchOp;

/// What is known of a histogram's buckets.
pub(super) struct Buckets {
    /// The metric's name, `_bucket` included.
    pub name: String,
    /// The largest bound below `+Inf`.
    pub largest_finite: f64,
}

/// Returns what is known of the buckets under a quantile: from the pages, or from matchers that list the bounds.
pub(super) fn buckets(operand: &Expr, context: &LintContext<'_>) -> Option<Buckets> {
    let mut known: Vec<Option<Buckets>> = Vec::new();
    each_selector(operand, &mut |_, selector| {
        if let Some(name) = metric_name(selector) {
            let bounds = bounds(selector, name, context);
            let largest = bounds
                .and_then(|bounds| bounds.into_iter().filter(|le| le.is_finite()).max_by(f64::total_cmp));
            known.push(largest.map(|largest_finite| Buckets { name: name.to_owned(), largest_finite }));
        }
    });
    // Of several selectors each could give the value.
    let all: Option<Vec<Buckets>> = known.into_iter().collect();
    all?.into_iter().max_by(|a, b| a.largest_finite.total_cmp(&b.largest_finite))
}

fn bounds(selector: &VectorSelector, name: &str, context: &LintContext<'_>) -> Option<Vec<f64>> {
    if !name.ends_with("_bucket") {
        return None;
    }
    let listed = selector.matchers.iter().filter(|m| m.name == "le").find_map(|matcher| match matcher.op {
        MatchOp::Equal => Some(vec![matcher.value.parse().ok()?]),
        // Dots are literally dots in every bound that people list.
        MatchOp::Matches => matcher.value.split('|').map(|le| le.replace('\\', "").parse().ok()).collect(),
        _ => None,
    });
    listed.or_else(|| {
        let matchers = compiled(selector);
        let bounds = context.facts?.values(name, &matchers, "le");
        (!bounds.is_empty()).then(|| bounds.iter().filter_map(|le| le.parse().ok()).collect())
    })
}

pub(super) fn lint(expr: &Expr, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    walk(expr, &mut |node| {
        le_dropped(node, context, out);
        average_of_quantiles(node, out);
    });
}

/// `histogram_quantile(0.9, sum(rate(x_bucket[5m])))`: without `le` there are no buckets to look at.
fn le_dropped(node: &Expr, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    let Some(call) = as_call(node).filter(|_| matches!(node.kind, ExprKind::Call(_))) else { return };
    let operand = match (call.function.name, call.args.as_slice()) {
        ("histogram_quantile", [_, operand]) | ("histogram_fraction", [_, _, operand]) => operand,
        _ => return,
    };
    let mut has_buckets = false;
    each_selector(operand, &mut |_, selector| {
        has_buckets |= metric_name(selector).is_some_and(|name| name.ends_with("_bucket"));
    });
    if has_buckets && !label_sets::of(operand, context).may_have("le") {
        let message = format!(
            "the aggregation drops `le`, so `{}` finds no buckets and yields nothing",
            call.function.name
        );
        out.push(
            Lint::warning("le-dropped", operand.span, message)
                .hint("keep it: `sum by (le) (...)`, or `by (le, job)`"),
        );
    }
}

/// `avg(x{quantile="0.99"})`: the average of two 99th percentiles is no percentile of anything.
fn average_of_quantiles(node: &Expr, out: &mut Vec<Lint>) {
    let ExprKind::Aggregate(aggregate) = &node.kind else { return };
    if !matches!(aggregate.op, AggregateOp::Avg | AggregateOp::Sum) {
        return;
    }
    let operand = aggregate.expr.unparenthesized();
    let what = match &operand.kind {
        ExprKind::Selector(selector)
            if selector.matchers.iter().any(|m| m.name == "quantile" && m.op == MatchOp::Equal) =>
        {
            "a summary's quantile"
        }
        ExprKind::Call(call) if call.function.name == "histogram_quantile" => "a quantile",
        _ => return,
    };
    let op = aggregate.op.name();
    let message = format!(
        "`{op}` over {what} is no quantile of anything: the slow instance disappears among the fast ones"
    );
    out.push(Lint::warning("average-of-quantiles", node.span, message).hint(
        "take `max` for the worst, or `histogram_quantile(0.99, sum by (le) (rate(..._bucket[5m])))` over all",
    ));
}
