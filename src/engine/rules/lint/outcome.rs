//! Conditions whose outcome is known before anything is measured.

use super::bounds::{self, Bounds};
use super::{Compared, Lint, LintContext, Role, is_rate, metric_name, number, quantity, walk};
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

/// Shows an expression as it was written, shortened where it is long.
pub(super) fn shown(expr: &Expr) -> String {
    const LONGEST: usize = 60;
    let text = expr.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// Judges `left op right` for every value that the two sides can have.
fn judge(left: &Bounds, op: BinaryOp, right: &Bounds) -> Outcome {
    // All comparisons but the equalities are a greater-than, perhaps turned round.
    let above = |a: &Bounds, b: &Bounds, strict: bool| {
        let never = if strict { a.high <= b.low } else { a.high < b.low };
        let always = if strict { a.low > b.high } else { a.low >= b.high };
        if never {
            Outcome::Never(because(a, b))
        } else if always {
            Outcome::Always(because(b, a))
        } else {
            Outcome::Open
        }
    };
    let apart = left.high < right.low || left.low > right.high;
    let equal = left.is_point() && right.is_point() && left.low.total_cmp(&right.low).is_eq();
    let why = || if left.high < right.low { because(left, right) } else { because(right, left) };
    match op {
        BinaryOp::Greater => above(left, right, true),
        BinaryOp::GreaterOrEqual => above(left, right, false),
        BinaryOp::Less => above(right, left, true),
        BinaryOp::LessOrEqual => above(right, left, false),
        BinaryOp::Equal if apart => Outcome::Never(why()),
        BinaryOp::NotEqual if apart => Outcome::Always(why()),
        BinaryOp::Equal if equal => Outcome::Always(because(left, right)),
        BinaryOp::NotEqual if equal => Outcome::Never(because(left, right)),
        _ => Outcome::Open,
    }
}

/// Says why `small` does not get above `large`.
fn because(small: &Bounds, large: &Bounds) -> String {
    const CONSTANT: &str = "it is a constant";
    let parts = [(&small.high_why, small.high, "most"), (&large.low_why, large.low, "least")];
    let told: Vec<String> = parts
        .into_iter()
        .filter(|(why, ..)| !why.is_empty() && *why != CONSTANT)
        .map(|(why, end, word)| format!("it is at {word} {}: {why}", number(end)))
        .collect();
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
        if let Outcome::Never(why) = judge(&left, binary.op, &right) {
            told = true;
            let message = format!("`{}` is never true: {why}", shown(node));
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
    } else if why.contains("a failed") || why.contains("a source that fails") {
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
            match judge(&left, binary.op, &right) {
                Outcome::Always(why) => Some(format!("`{}` is always true, {why}", shown(expr))),
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
    let comparison = format!("{} {}", compared.comparison, quantity(compared.threshold, compared.unit));
    out.push(match of_condition(expr, compared, context) {
        Outcome::Never(why) => {
            let message = format!("no value is ever {comparison}, so this can never fire: {why}");
            Lint::warning("never-fires", expr.span, message).hint(never_hint(&why))
        }
        Outcome::Always(why) => {
            let message = format!("every value is {comparison}, so this fires whenever there is data: {why}");
            Lint::warning("always-fires", expr.span, message).hint("check the threshold and its unit")
        }
        Outcome::Open => return,
    });
}

/// Judges what a verification promises.
pub(super) fn verification(expr: &Expr, compared: Compared, context: &LintContext<'_>) -> Option<Lint> {
    let comparison = format!("{} {}", compared.comparison, quantity(compared.threshold, compared.unit));
    let lint = match of_condition(expr, compared, context) {
        Outcome::Never(why) => {
            let message = format!("no value is ever {comparison}, so no rollback can be verified: {why}");
            Lint::warning("verify-never-passes", expr.span, message)
        }
        Outcome::Always(why) => {
            let message = format!("every value is {comparison}, so this verifies nothing: {why}");
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
    judge(&bounds::of(expr, context), operator(compared.comparison), &limit)
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
