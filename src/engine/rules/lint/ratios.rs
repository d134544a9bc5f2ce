//! Shares: parts of a whole, and rates that someone takes for a share.

use super::{
    Lint, LintContext, Role, bounds, compiled, counters, each_selector, is_rate, metric_name, number, walk,
};
use crate::engine::promql::ast::{
    Aggregate, AggregateOp, BinaryOp, Call, ExprKind, LabelMatcher, Matching, Shift, VectorSelector,
};
use crate::engine::promql::{Expr, constant};
use crate::engine::rules::Unit;
use crate::engine::series::MatchOp;

/// Labels by which servers tell good answers from bad ones.
const OUTCOMES: [&str; 8] =
    ["status", "code", "status_code", "response_code", "http_status", "grpc_code", "result", "outcome"];

/// Returns whether `a / b` cannot exceed one, because `a` counts a part of what `b` counts.
pub(super) fn is_part_of_whole(part: &Expr, whole: &Expr, matching: &Matching) -> bool {
    let (part, whole) = (part.unparenthesized(), whole.unparenthesized());
    *matching == Matching::default()
        && (contains(part, whole)
            || is_one_of_the_summands(part, whole)
            || is_part_or_nothing(part, whole, matching))
}

/// `(errors or 0 * all) / all`: a part of the whole, else nothing of it.
fn is_part_or_nothing(part: &Expr, whole: &Expr, matching: &Matching) -> bool {
    let ExprKind::Binary(either) = &part.kind else { return false };
    let nothing = either.right.unparenthesized();
    either.op == BinaryOp::Or
        && either.matching == Matching::default()
        && matches!(&nothing.kind, ExprKind::Binary(product) if product.op == BinaryOp::Multiply
            && constant(&product.left) == Some(0.0)
            && product.right.to_string() == whole.to_string())
        && is_part_of_whole(&either.left, whole, matching)
}

/// `a / (a + b)`, where neither can be negative.
fn is_one_of_the_summands(part: &Expr, whole: &Expr) -> bool {
    let mut summands = Vec::new();
    collect_summands(whole, &mut summands);
    let text = part.to_string();
    summands.len() > 1
        && summands.iter().any(|summand| summand.to_string() == text)
        && summands.iter().all(|summand| is_growth(summand))
}

/// Returns whether an expression is a growth or a sum of growths, which is never negative.
///
/// Asking for its bounds instead would ask for those of every division below it twice, and so on down.
fn is_growth(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Paren(inner) => is_growth(inner),
        ExprKind::Aggregate(aggregate) => aggregate.op == AggregateOp::Sum && is_growth(&aggregate.expr),
        ExprKind::Call(call) => is_rate(call.function.name),
        _ => false,
    }
}

fn collect_summands<'e>(expr: &'e Expr, out: &mut Vec<&'e Expr>) {
    match &expr.unparenthesized().kind {
        ExprKind::Binary(binary) if binary.op == BinaryOp::Add && binary.matching == Matching::default() => {
            collect_summands(&binary.left, out);
            collect_summands(&binary.right, out);
        }
        _ => out.push(expr.unparenthesized()),
    }
}

/// Returns whether both are the same aggregation of the same growth, the part over a narrower selector.
fn contains(part: &Expr, whole: &Expr) -> bool {
    match (&part.kind, &whole.kind) {
        (ExprKind::Aggregate(part), ExprKind::Aggregate(whole)) => {
            is_same_sum(part, whole) && contains(part.expr.unparenthesized(), whole.expr.unparenthesized())
        }
        (ExprKind::Call(part), ExprKind::Call(whole)) => is_same_growth(part, whole),
        _ => false,
    }
}

fn is_same_sum(part: &Aggregate, whole: &Aggregate) -> bool {
    let labels = |aggregate: &Aggregate| {
        let mut labels = aggregate.grouping.clone().map_or((false, Vec::new()), |g| (g.without, g.labels));
        labels.1.sort();
        labels
    };
    part.op == AggregateOp::Sum && whole.op == AggregateOp::Sum && labels(part) == labels(whole)
}

fn is_same_growth(part: &Call, whole: &Call) -> bool {
    if part.function != whole.function || !is_rate(part.function.name) {
        return false;
    }
    let ([part], [whole]) = (part.args.as_slice(), whole.args.as_slice()) else { return false };
    match (&part.unparenthesized().kind, &whole.unparenthesized().kind) {
        (ExprKind::Selector(part), ExprKind::Selector(whole)) => is_narrower(part, whole),
        _ => false,
    }
}

/// Returns whether whatever `part` selects is selected by `whole` too, over the same time.
fn is_narrower(part: &VectorSelector, whole: &VectorSelector) -> bool {
    let seconds = |selector: &VectorSelector| selector.range.as_ref().and_then(constant);
    let is_plain = |selector: &VectorSelector| selector.shift == Shift::default() && selector.edges.is_none();
    if seconds(part) != seconds(whole) || !is_plain(part) || !is_plain(whole) {
        return false;
    }
    let (Some(part_name), Some(whole_name)) = (metric_name(part), metric_name(whole)) else { return false };
    let same_name = part_name == whole_name;
    // One bucket of a histogram is part of its count.
    let one_bucket =
        part_name.strip_suffix("_bucket").is_some_and(|stem| whole_name.strip_suffix("_count") == Some(stem))
            && part.matchers.iter().any(|matcher| matcher.name == "le" && matcher.op == MatchOp::Equal);
    let same = |a: &LabelMatcher, b: &LabelMatcher| (&a.name, a.op, &a.value) == (&b.name, b.op, &b.value);
    let is_le_wide = whole.matchers.iter().any(|matcher| matcher.name == "le");
    (same_name || one_bucket)
        && !is_le_wide
        && whole.matchers.iter().all(|matcher| part.matchers.iter().any(|other| same(matcher, other)))
}

pub(super) fn lint(expr: &Expr, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    match context.role {
        Role::Indicator(Some(Unit::Ratio)) => ratio_without_denominator(expr, context, out),
        Role::Alert => walk(expr, &mut |node| absolute_rate(node, out)),
        _ => {}
    }
}

fn divides(expr: &Expr) -> bool {
    let mut found = false;
    walk(expr, &mut |node| {
        found |= matches!(&node.kind, ExprKind::Binary(binary) if matches!(binary.op, BinaryOp::Divide | BinaryOp::Multiply));
    });
    found
}

/// `rate(node_cpu_seconds_total{mode="idle"}[1m])`: seconds per second are a share of the time that passed.
fn is_time_per_time(expr: &Expr) -> bool {
    let (mut selectors, mut rates) = (0_usize, 0_usize);
    each_selector(expr, &mut |_, _| selectors += 1);
    walk(expr, &mut |node| {
        if let ExprKind::Call(call) = &node.kind
            && matches!(call.function.name, "rate" | "irate")
            && let [arg] = call.args.as_slice()
            && let ExprKind::Selector(selector) = &arg.unparenthesized().kind
        {
            rates += usize::from(metric_name(selector).is_some_and(|name| name.ends_with("_seconds_total")));
        }
    });
    selectors > 0 && selectors == rates
}

/// `unit: ratio` over something that counts: its values are events, not shares.
fn ratio_without_denominator(expr: &Expr, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    let bounds = bounds::of(expr, context);
    let is_share = bounds.low >= 0.0 && bounds.high <= 1.0;
    let mut only_counters = counters::is_all_rates(expr);
    if !only_counters {
        let (mut selectors, mut totals) = (0, 0);
        each_selector(expr, &mut |_, selector| {
            selectors += 1;
            totals += usize::from(metric_name(selector).is_some_and(|name| name.ends_with("_total")));
        });
        only_counters = selectors > 0 && selectors == totals;
    }
    if is_share || divides(expr) || !only_counters || is_time_per_time(expr) {
        return;
    }
    let message =
        "the unit is a ratio, but nothing divides here: this counts events, it is no share of anything";
    out.push(Lint::warning("ratio-without-denominator", expr.span, message).hint(
        "divide by the whole: `sum(rate(errors[1m])) / sum(rate(all[1m]))`; or say `unit: per_second`",
    ));
}

/// `rate(x{status=~"5.."}[5m]) > 0.1`: events per second; whoever wrote 0.1 may have meant a tenth of the traffic.
fn absolute_rate(node: &Expr, out: &mut Vec<Lint>) {
    let ExprKind::Binary(binary) = &node.kind else { return };
    if !matches!(binary.op, BinaryOp::Greater | BinaryOp::GreaterOrEqual) || divides(&binary.left) {
        return;
    }
    let Some(limit) = constant(&binary.right).filter(|limit| *limit > 0.0 && *limit < 1.0) else { return };
    let mut per_second = false;
    walk(&binary.left, &mut |inner| {
        per_second |=
            matches!(&inner.kind, ExprKind::Call(call) if matches!(call.function.name, "rate" | "irate"));
    });
    let mut by_outcome = true;
    each_selector(&binary.left, &mut |_, selector| {
        by_outcome &= compiled(selector).iter().any(|matcher| OUTCOMES.contains(&matcher.name()));
    });
    if per_second && by_outcome && counters::is_all_rates(&binary.left) {
        let message = format!(
            "an absolute rate, no denominator: this is {} events per second, not {}% of them",
            number(limit),
            number((limit * 1e8).round() / 1e6)
        );
        out.push(
            Lint::warning("ratio-without-denominator", node.span, message)
                .hint("where a share is meant, divide by the rate of all events"),
        );
    }
}
