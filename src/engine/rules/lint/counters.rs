//! Counters and gauges taken for one another, and ranges too short for a rate.

use super::facts::Kind;
use super::{
    Compared, Lint, LintContext, Role, as_call, each_selector, is_rate, metric_name, number, paces_of,
    quantity, walk,
};
use crate::engine::promql::ast::{AggregateOp, BinaryOp, ExprKind, VectorSelector};
use crate::engine::promql::{Expr, constant};
use crate::engine::rules::{Comparison, Unit};
use crate::engine::time::Span;

/// How a name tells that its metric goes up and down. Endings that old counters share (`_bytes`, `_seconds`) are not here.
const GAUGE_ENDINGS: [&str; 15] = [
    "_ratio",
    "_percent",
    "_celsius",
    "_info",
    "_timestamp",
    "_timestamp_seconds",
    "_in_flight",
    "_inflight",
    "_in_progress",
    "_queue_length",
    "_resident_memory_bytes",
    "_virtual_memory_bytes",
    "_usage_bytes",
    "_working_set_bytes",
    "_free_bytes",
];

/// Gauges that everybody has.
const GAUGES: [&str; 11] = [
    "up",
    "probe_success",
    "node_load1",
    "node_load5",
    "node_load15",
    "go_goroutines",
    "go_threads",
    "process_open_fds",
    "process_max_fds",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemFree_bytes",
];

/// Functions that say something about two points at least.
const NEEDS_TWO_POINTS: [&str; 8] = [
    "rate",
    "irate",
    "increase",
    "delta",
    "idelta",
    "deriv",
    "predict_linear",
    "double_exponential_smoothing",
];

pub(super) fn lint(expr: &Expr, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    walk(expr, &mut |node| {
        let ExprKind::Call(call) = &node.kind else { return };
        let name = call.function.name;
        let Some(range) = call.args.iter().map(Expr::unparenthesized).find(|arg| is_range(arg)) else {
            return;
        };
        match &range.kind {
            ExprKind::Selector(selector) => {
                if is_rate(name) {
                    rate_over_gauge(name, node, selector, context, out);
                }
                if matches!(name, "delta" | "idelta" | "deriv") {
                    gauge_function_over_counter(name, node, selector, context, out);
                }
                if NEEDS_TWO_POINTS.contains(&name) {
                    short_range(name, selector, context, out);
                }
            }
            ExprKind::Subquery(subquery) if is_rate(name) => rate_of_sum(name, node, &subquery.expr, out),
            _ => {}
        }
    });
    if context.role == Role::Alert {
        raw_comparisons(expr, context, out);
    }
}

fn is_range(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Selector(selector) => selector.range.is_some(),
        ExprKind::Subquery(_) => true,
        _ => false,
    }
}

/// What a metric is, and how that is known.
fn kind(selector: &VectorSelector, context: &LintContext<'_>) -> Option<(Kind, String)> {
    let name = metric_name(selector)?;
    if let Some(kind) = context.facts.and_then(|facts| facts.kind(name)) {
        return Some((kind, format!("its TYPE is {kind}")));
    }
    if GAUGES.contains(&name) || GAUGE_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        return Some((Kind::Gauge, "by its name it is a gauge".to_owned()));
    }
    if is_recorded_rate(name) {
        return Some((Kind::Gauge, "by its name it is a rate already".to_owned()));
    }
    name.ends_with("_total").then(|| (Kind::Counter, "by its name it is a counter".to_owned()))
}

/// `job:http_requests:rate5m`: what recording rules call their results.
fn is_recorded_rate(name: &str) -> bool {
    let Some((_, operation)) = name.rsplit_once(':') else { return false };
    ["irate", "rate", "increase"].iter().any(|function| {
        operation.strip_prefix(function).is_some_and(|range| {
            range.starts_with(|c: char| c.is_ascii_digit()) && range.ends_with(['s', 'm', 'h', 'd'])
        })
    })
}

fn rate_over_gauge(
    function: &str,
    node: &Expr,
    selector: &VectorSelector,
    context: &LintContext<'_>,
    out: &mut Vec<Lint>,
) {
    let Some((Kind::Gauge, how)) = kind(selector, context) else { return };
    let name = metric_name(selector).unwrap_or_default();
    let message = format!(
        "`{function}` over `{name}`: {how}; each fall of it looks like a restart and counts as growth"
    );
    let hint = "use `delta(...)` or `deriv(...)` for its change, `avg_over_time(...)` for its level";
    out.push(Lint::warning("rate-over-gauge", node.span, message).hint(hint));
}

fn gauge_function_over_counter(
    function: &str,
    node: &Expr,
    selector: &VectorSelector,
    context: &LintContext<'_>,
    out: &mut Vec<Lint>,
) {
    let Some((Kind::Counter, how)) = kind(selector, context) else { return };
    let name = metric_name(selector).unwrap_or_default();
    let message = format!(
        "`{function}` over `{name}`: {how}; after a restart it starts at 0 and this goes far below zero"
    );
    let hint = "use `increase(...)` for how much it grew, `rate(...)` for how fast: both know restarts";
    out.push(Lint::warning("counter-as-gauge", node.span, message).hint(hint));
}

/// `rate(sum(x)[5m:])`: one process restarts, the sum falls, and the rate explodes.
fn rate_of_sum(function: &str, node: &Expr, inner: &Expr, out: &mut Vec<Lint>) {
    let ExprKind::Aggregate(aggregate) = &inner.unparenthesized().kind else { return };
    if !matches!(aggregate.op, AggregateOp::Sum | AggregateOp::Avg) || holds_rate(&aggregate.expr) {
        return;
    }
    let op = aggregate.op.name();
    let message = format!(
        "`{function}` of a `{op}`: when one of the summed counters restarts, the {op} falls and all the others count anew"
    );
    let hint = format!("turn it round: `{op}({function}(...[5m]))`");
    out.push(Lint::warning("rate-of-sum", node.span, message).hint(hint));
}

fn holds_rate(expr: &Expr) -> bool {
    let mut found = false;
    walk(expr, &mut |node| {
        found |= matches!(&node.kind, ExprKind::Call(call) if is_rate(call.function.name));
    });
    found
}

/// Warns where not even the fastest source that could be meant answers twice within the range.
fn short_range(function: &str, selector: &VectorSelector, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    let Some(range) = &selector.range else { return };
    let Some(seconds) = constant(range) else { return };
    let Some((source, every)) = paces_of(selector, context).min_by_key(|(_, every)| *every) else { return };
    if seconds >= every.times(2).as_secs_f64() {
        return;
    }
    #[expect(clippy::cast_possible_truncation, reason = "ranges are checked to be finite; a cast saturates")]
    let range_span = Span::from_millis((seconds * 1000.0).round() as i64);
    let message = format!(
        "`{function}` needs two samples, and {range_span} hold one most of the time: `{source}` answers every {every}"
    );
    let hint = format!("look back at least `[{}]`, four answers: then one may be lost", every.times(4));
    out.push(Lint::warning("short-range", range.span, message).hint(hint));
}

/// `errors_total > 100` in an alert: true for ever after the hundredth, until the next restart.
fn raw_comparisons(expr: &Expr, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    walk(expr, &mut |node| {
        let ExprKind::Binary(binary) = &node.kind else { return };
        let (Some(limit), Some(selector)) = (constant(&binary.right), raw(&binary.left)) else { return };
        // Whether it ever happened since the start is a question that a counter answers.
        let is_level = match binary.op {
            BinaryOp::Greater => limit > 0.0,
            BinaryOp::GreaterOrEqual => limit > 1.0,
            // A counter of whole events is never a part of one: somebody takes it for a share.
            BinaryOp::Less | BinaryOp::LessOrEqual => 0.0 < limit && limit < 1.0,
            _ => false,
        };
        if let Some((Kind::Counter, how)) = kind(selector, context).filter(|_| is_level) {
            let comparison = format!("{} {}", binary.op.text(), number(limit));
            out.push(raw_counter(&binary.left, selector, &how, &comparison));
        }
    });
}

/// Warns of an indicator that is a plain counter: whatever it is compared with, it says how old the process is.
pub(super) fn condition(expr: &Expr, compared: Compared, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    let is_above = matches!(compared.comparison, Comparison::Greater | Comparison::GreaterOrEqual);
    let as_share = compared.unit == Unit::Ratio;
    if !as_share && (!is_above || compared.threshold <= 0.0) {
        return;
    }
    if let Some(selector) = raw(expr)
        && let Some((Kind::Counter, how)) = kind(selector, context)
    {
        let limit = format!("{} {}", compared.comparison, quantity(compared.threshold, compared.unit));
        out.push(raw_counter(expr, selector, &how, &limit));
    }
}

fn raw_counter(operand: &Expr, selector: &VectorSelector, how: &str, comparison: &str) -> Lint {
    let name = metric_name(selector).unwrap_or_default();
    let message = format!(
        "`{name} {comparison}` compares a counter: {how}; it counts since the process started and only grows"
    );
    Lint::warning("counter-as-gauge", operand.span, message)
        .hint(format!("compare `rate({name}[5m])` (per second) or `increase({name}[5m])` (how many)"))
}

/// Returns the instant selector that an expression is, aggregations over it aside.
fn raw(expr: &Expr) -> Option<&VectorSelector> {
    match &expr.unparenthesized().kind {
        ExprKind::Selector(selector) if selector.range.is_none() => Some(selector),
        ExprKind::Aggregate(aggregate)
            if matches!(
                aggregate.op,
                AggregateOp::Sum | AggregateOp::Max | AggregateOp::Avg | AggregateOp::Min
            ) =>
        {
            raw(&aggregate.expr)
        }
        _ => None,
    }
}

/// Returns whether every selector of an expression is read through `rate`, `irate` or `increase`, and there is one.
pub(super) fn is_all_rates(expr: &Expr) -> bool {
    let (mut selectors, mut under_rate) = (0_usize, 0_usize);
    each_selector(expr, &mut |_, _| selectors += 1);
    walk(expr, &mut |node| {
        if let Some(call) = as_call(node).filter(|_| matches!(node.kind, ExprKind::Call(_)))
            && is_rate(call.function.name)
            && let [arg] = call.args.as_slice()
            && matches!(arg.unparenthesized().kind, ExprKind::Selector(_))
        {
            under_rate += 1;
        }
    });
    selectors > 0 && selectors == under_rate
}
