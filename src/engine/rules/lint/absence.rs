//! What an expression says when its series are gone.

use super::{Compared, Lint, LintContext, Role, as_call, counters, number, quantity, walk};
use crate::engine::promql::ast::{Binary, BinaryOp, Call, ExprKind};
use crate::engine::promql::{Expr, constant};
use crate::engine::rules::Comparison;

pub(super) fn lint(expr: &Expr, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    match context.role {
        Role::Indicator(_) => absent_in_indicator(expr, out),
        Role::Alert => alert(expr, context, out),
        Role::Record => {}
    }
}

/// An indicator is measured at every answer; `absent(...)` has a value only while something is missing.
fn absent_in_indicator(expr: &Expr, out: &mut Vec<Lint>) {
    let Some(call) = as_call(expr).filter(|call| is_absent(call)) else { return };
    let name = call.function.name;
    let message =
        format!("`{name}` has no value while all is well, so this is without data whenever nothing is wrong");
    out.push(
        Lint::warning("fires-on-no-data", expr.span, message)
            .hint("leave it out: series that are missing make a trigger's verdict \"no data\", and that pages by itself"),
    );
}

fn is_absent(call: &Call) -> bool {
    matches!(call.function.name, "absent" | "absent_over_time")
}

/// Returns the value that stands in for missing series: the right side of `x or vector(0)`.
fn stand_in(expr: &Expr) -> Option<f64> {
    let ExprKind::Binary(binary) = &expr.unparenthesized().kind else { return None };
    if binary.op != BinaryOp::Or {
        return None;
    }
    let call = as_call(&binary.right).filter(|call| call.function.name == "vector")?;
    call.args.first().and_then(constant)
}

fn alert(expr: &Expr, context: &LintContext<'_>, out: &mut Vec<Lint>) {
    let ExprKind::Binary(binary) = &expr.unparenthesized().kind else { return };
    let Some(limit) = constant(&binary.right) else { return };
    let Some(comparison) = comparison(binary) else { return };
    if let Some(value) = stand_in(&binary.left) {
        if comparison.met(value, limit) == Some(true) {
            let message = format!(
                "when the series are gone, `or vector({0})` makes this {0} {comparison} {1}: it fires on no data",
                number(value),
                number(limit)
            );
            let hint = "fine where that is meant; an alert that rests on absence pages and never rolls back";
            out.push(Lint::note("fires-on-no-data", expr.span, message).hint(hint));
        }
        return;
    }
    let waits_for_little =
        matches!(comparison, Comparison::Less | Comparison::LessOrEqual | Comparison::Equal);
    if waits_for_little
        && comparison.met(0.0, limit) == Some(true)
        && counters::is_all_rates(&binary.left)
        && !divides(&binary.left)
        && !context.absence_is_watched
    {
        let message = format!(
            "this waits for a value {comparison} {}, but when the series are gone there is no value and it stays quiet",
            number(limit)
        );
        out.push(
            Lint::warning("quiet-on-no-data", expr.span, message).hint(
                "add an alert for the silence itself: `absent(...)` of the same selector, or `up == 0`",
            ),
        );
    }
}

fn divides(expr: &Expr) -> bool {
    let mut found = false;
    walk(expr, &mut |node| {
        found |= matches!(&node.kind, ExprKind::Binary(binary) if !matches!(binary.op, BinaryOp::Add | BinaryOp::Subtract));
    });
    found
}

fn comparison(binary: &Binary) -> Option<Comparison> {
    Some(match binary.op {
        BinaryOp::Less => Comparison::Less,
        BinaryOp::LessOrEqual => Comparison::LessOrEqual,
        BinaryOp::Greater => Comparison::Greater,
        BinaryOp::GreaterOrEqual => Comparison::GreaterOrEqual,
        BinaryOp::Equal => Comparison::Equal,
        BinaryOp::NotEqual => Comparison::NotEqual,
        _ => return None,
    })
    .filter(|_| !binary.bool)
}

/// `sum(...) or vector(0)` as an indicator turns "no data" into a number, and the number into a verdict.
pub(super) fn condition(expr: &Expr, compared: Compared, out: &mut Vec<Lint>) {
    let Some(value) = stand_in(expr) else { return };
    let shown = quantity(value, compared.unit);
    let lint = match compared.comparison.met(value, compared.threshold) {
        Some(true) => Lint::warning(
            "fires-on-no-data",
            expr.span,
            format!(
                "when the series are gone, `or vector(...)` makes this {shown}, and that is a breach: absence acts"
            ),
        ),
        Some(false) => Lint::warning(
            "quiet-on-no-data",
            expr.span,
            format!(
                "when the series are gone, `or vector(...)` makes this {shown}, and that counts as healthy"
            ),
        ),
        None => return,
    };
    out.push(lint.hint(
        "leave `or vector(...)` out of the whole: missing series are \"no data\", which holds what was and pages",
    ));
}
