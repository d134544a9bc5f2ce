//! Conditions whose outcome is known before anything is measured.

use super::bounds::{self, Bounds};
use super::{Compared, Lint, LintContext, Role, as_call, is_rate, metric_name, number, quantity, walk};
use crate::engine::promql::ast::{AggregateOp, BinaryOp, ExprKind};
use crate::engine::promql::{Expr, ValueType, constant, type_of};
use crate::engine::rules::Comparison;

/// What is known of a comparison.
enum Outcome {
    /// No value meets it; why.
    Never(String),
    /// Every value meets it; why.
    Always(String),
    Open,
}

/// Judges `left op right` for every value that the two sides can have; `show` writes values in reasons.
fn judge(left: &Bounds, op: BinaryOp, right: &Bounds, show: &dyn Fn(f64) -> String) -> Outcome {
    let why = |small: &Bounds, large: &Bounds| because(small, large, show);
    // All comparisons but the equalities are a greater-than, perhaps turned round.
    let above = |a: &Bounds, b: &Bounds, strict: bool| {
        let never = if strict { a.high <= b.low } else { a.high < b.low };
        let always = if strict { a.low > b.high } else { a.low >= b.high };
        if never {
            Outcome::Never(why(a, b))
        } else if always {
            Outcome::Always(why(b, a))
        } else {
            Outcome::Open
        }
    };
    let apart = left.high < right.low || left.low > right.high;
    let why_apart = || if left.high < right.low { why(left, right) } else { why(right, left) };
    let equal = left.is_point() && right.is_point() && left.low.total_cmp(&right.low).is_eq();
    match op {
        BinaryOp::Greater => above(left, right, true),
        BinaryOp::GreaterOrEqual => above(left, right, false),
        BinaryOp::Less => above(right, left, true),
        BinaryOp::LessOrEqual => above(right, left, false),
        BinaryOp::Equal if apart => Outcome::Never(why_apart()),
        BinaryOp::NotEqual if apart => Outcome::Always(why_apart()),
        BinaryOp::Equal if equal => Outcome::Always(why(left, right)),
        BinaryOp::NotEqual if equal => Outcome::Never(why(left, right)),
        _ => Outcome::Open,
    }
}

/// Says why `small` does not get above `large`.
fn because(small: &Bounds, large: &Bounds, show: &dyn Fn(f64) -> String) -> String {
    let end = |bounds: &Bounds, why: &str, end: f64, word: &str| {
        let word = if bounds.is_point() { "always" } else { word };
        (!why.is_empty()).then(|| format!("the value is {word} {}, because {why}", show(end)))
    };
    let ends = [
        end(small, &small.high_why, small.high, "at most"),
        end(large, &large.low_why, large.low, "at least"),
    ];
    let told: Vec<String> = ends.into_iter().flatten().collect();
    if told.is_empty() { "both sides are constants".to_owned() } else { told.join("; ") }
}

pub(super) fn lint(expr: &Expr, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    let mut told = false;
    walk(expr, &mut |node| {
        let ExprKind::Binary(binary) = &node.kind else { return };
        let both_scalars =
            type_of(&binary.left) == ValueType::Scalar && type_of(&binary.right) == ValueType::Scalar;
        if !binary.op.is_comparison() || binary.bool || both_scalars {
            return;
        }
        let (left, right) = (bounds::of(&binary.left, context), bounds::of(&binary.right, context));
        if let Outcome::Never(why) = judge(&left, binary.op, &right, &number) {
            told = true;
            let message = format!("this is never true: {why}");
            out.push(Lint::warning("never-fires", node.span, message).hint(never_hint(&why)));
        }
    });
    if context.role == Role::Alert
        && !told
        && let Some(why) = always(expr, context)
    {
        let message = format!("this fires whenever it has data: {why}");
        let lint = Lint::warning("always-fires", expr.span, message);
        out.push(
            lint.hint("an alert fires for every series that its expression yields: compare with a threshold"),
        );
    }
}

fn never_hint(why: &str) -> &'static str {
    if why.contains("yields nothing instead of 0") {
        "for \"there are none\" write `absent(...)`, or put `or vector(0)` inside the comparison"
    } else if why.contains("largest finite bucket") {
        "lower the threshold below that bucket, or give the histogram larger ones"
    } else if why.contains("one that fails is Unknown") {
        "leave it to the source: silence opens an incident by itself; or watch a probe"
    } else {
        "check the threshold and its unit"
    }
}

/// Returns why an alert's expression yields something whenever its series are there.
fn always(expr: &Expr, context: &LintContext<'_>) -> Option<String> {
    match &expr.kind {
        ExprKind::Paren(inner) => always(inner, context),
        ExprKind::Binary(binary) if binary.op.is_comparison() && !binary.bool => {
            if filters(&binary.left) || filters(&binary.right) {
                return None;
            }
            let (left, right) = (bounds::of(&binary.left, context), bounds::of(&binary.right, context));
            match judge(&left, binary.op, &right, &number) {
                Outcome::Always(why) => Some(why),
                _ => None,
            }
        }
        ExprKind::Binary(binary) if binary.op == BinaryOp::Or => {
            always(&binary.left, context).or_else(|| always(&binary.right, context))
        }
        _ if is_value(expr) => Some(if holds_bool(expr) {
            "`bool` turns a comparison into 0 or 1, and an alert fires for both".to_owned()
        } else {
            "nothing is compared, and 0 is a value too".to_owned()
        }),
        _ => None,
    }
}

/// Returns whether an expression can yield less than its series.
fn filters(expr: &Expr) -> bool {
    let mut found = false;
    walk(expr, &mut |node| {
        found |= match &node.kind {
            ExprKind::Binary(binary) => binary.op.is_set() || (binary.op.is_comparison() && !binary.bool),
            ExprKind::Call(call) => matches!(call.function.name, "absent" | "absent_over_time"),
            _ => false,
        };
    });
    found
}

fn holds_bool(expr: &Expr) -> bool {
    let mut found = false;
    walk(expr, &mut |node| found |= matches!(&node.kind, ExprKind::Binary(binary) if binary.bool));
    found
}

/// Returns whether an expression is a measured value that nothing has filtered: growth, an average, a 0 or 1 of `bool`.
/// A bare metric may have been recorded only where something is wrong, so it does not count.
fn is_value(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => is_value(inner),
        ExprKind::Aggregate(aggregate) => {
            let picks = matches!(
                aggregate.op,
                AggregateOp::Count
                    | AggregateOp::CountValues
                    | AggregateOp::Group
                    | AggregateOp::Topk
                    | AggregateOp::Bottomk
                    | AggregateOp::Limitk
                    | AggregateOp::LimitRatio
            );
            !picks && is_value(&aggregate.expr)
        }
        ExprKind::Binary(binary) if binary.op.is_set() => false,
        ExprKind::Binary(binary) if binary.op.is_comparison() => {
            binary.bool && !filters(&binary.left) && !filters(&binary.right)
        }
        ExprKind::Binary(binary) => {
            let part = |side: &Expr| constant(side).is_some() || is_value(side);
            part(&binary.left) && part(&binary.right) && constant(expr).is_none()
        }
        ExprKind::Call(call) => {
            let measured = is_rate(call.function.name)
                || matches!(call.function.name, "avg_over_time" | "quantile_over_time");
            if measured {
                return call.args.iter().any(|arg| match &arg.unparenthesized().kind {
                    ExprKind::Selector(selector) => {
                        metric_name(selector).is_some_and(|name| !name.contains(':'))
                    }
                    _ => false,
                });
            }
            matches!(
                call.function.name,
                "histogram_quantile" | "abs" | "ceil" | "floor" | "round" | "sort" | "sort_desc"
            ) && call.args.iter().filter(|arg| type_of(arg) == ValueType::Vector).all(is_value)
        }
        _ => false,
    }
}

/// Judges a native comparison.
pub(super) fn condition(expr: &Expr, compared: Compared, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    // Of that all is said where the indicator stands.
    if as_call(expr).is_some_and(|call| call.function.name.starts_with("absent")) {
        return;
    }
    out.push(match of_condition(expr, compared, context) {
        Outcome::Never(why) => {
            let hint = never_hint(&why);
            Lint::warning("never-fires", expr.span, format!("this can never fire: {why}")).hint(hint)
        }
        Outcome::Always(why) => {
            let message = format!("this fires whenever it has data: {why}");
            Lint::warning("always-fires", expr.span, message).hint("check the threshold and its unit")
        }
        Outcome::Open => return,
    });
}

/// Judges what a verification promises.
pub(super) fn verification(expr: &Expr, compared: Compared, context: &LintContext<'_>) -> Option<Lint> {
    let lint = match of_condition(expr, compared, context) {
        Outcome::Never(why) => {
            let message = format!("this is never met, so every rollback ends as failed: {why}");
            Lint::warning("verify-never-passes", expr.span, message)
        }
        Outcome::Always(why) => {
            let message = format!("this is always met, so it verifies nothing: {why}");
            Lint::warning("verify-always-passes", expr.span, message)
        }
        Outcome::Open => return None,
    };
    Some(lint.hint("check the threshold and its unit"))
}

fn of_condition(expr: &Expr, compared: Compared, context: &LintContext<'_>) -> Outcome {
    let limit = Bounds {
        low: compared.threshold,
        high: compared.threshold,
        low_why: String::new(),
        high_why: String::new(),
    };
    let show = |value: f64| quantity(value, compared.unit);
    judge(&bounds::of(expr, context), operator(compared.comparison), &limit, &show)
}

fn operator(comparison: Comparison) -> BinaryOp {
    match comparison {
        Comparison::Less => BinaryOp::Less,
        Comparison::LessOrEqual => BinaryOp::LessOrEqual,
        Comparison::Greater => BinaryOp::Greater,
        Comparison::GreaterOrEqual => BinaryOp::GreaterOrEqual,
        Comparison::Equal => BinaryOp::Equal,
        Comparison::NotEqual => BinaryOp::NotEqual,
    }
}
