//! Lints against what the sources really expose.

use std::collections::BTreeSet;

use super::super::diagnostic::{name_hint, nearest};
use super::facts::{Facts, NOW};
use super::{Lint, LintContext, Role, compiled, each_selector, metric_name, walk};
use crate::engine::model::METRIC_NAME;
use crate::engine::promql::ast::{ExprKind, VectorSelector};
use crate::engine::promql::plan::{EvalContext, Value};
use crate::engine::promql::{self, Expr, Scope, TextSpan};
use crate::engine::series::{MatchOp, Matcher};

/// How many values of a label a message lists.
const LISTED_MAX: usize = 6;

pub(super) fn lint(expr: &Expr, context: &LintContext<'_>, facts: &Facts, out: &mut Vec<Lint>) {
    let before = out.len();
    each_selector(expr, &mut |node, selector| {
        if let Some(name) = metric_name(selector) {
            selects_nothing(node.span, name, selector, facts, out);
        }
    });
    if out.len() == before {
        evaluate(expr, context, facts, out);
    }
}

fn selects_nothing(
    span: TextSpan,
    name: &str,
    selector: &VectorSelector,
    facts: &Facts,
    out: &mut Vec<Lint>,
) {
    if facts.is_elsewhere(name) {
        return;
    }
    let matchers = compiled(selector);
    if facts.series(name).is_none() {
        let lint = Lint::warning("selects-nothing", span, format!("no page shows a metric `{name}`"));
        let hint = match nearest(name, facts.names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if facts.may_have_others() => return,
            None => "look at the page, or name every page that the rules read".to_owned(),
        };
        return out.push(lint.hint(hint));
    }
    if facts.selected(name, &matchers).next().is_some() {
        return;
    }
    let judged = matchers.iter().filter(|m| !facts.is_added(m.name()) && m.name() != METRIC_NAME);
    let alone = |matcher: &&Matcher| facts.selected(name, std::slice::from_ref(*matcher)).next().is_none();
    let guilty: Vec<&Matcher> = judged.filter(alone).collect();
    match guilty.first() {
        Some(matcher) => out.push(guilty_matcher(span, name, matcher, facts)),
        None => {
            let message = format!("no series of `{name}` satisfies all of these matchers at once");
            out.push(
                Lint::note("selects-nothing", span, message)
                    .hint("each of them is satisfied by some series alone"),
            );
        }
    }
}

/// Says why one matcher alone excludes every series of a metric.
fn guilty_matcher(span: TextSpan, name: &str, matcher: &Matcher, facts: &Facts) -> Lint {
    let label = matcher.name();
    let values = facts.values(name, &[], label);
    if values.is_empty() {
        let series = facts.series(name).into_iter().flatten();
        let labels: BTreeSet<&str> = series.flat_map(|labels| labels.iter()).map(|(name, _)| name).collect();
        let message = format!("no series of `{name}` has a label `{label}`");
        let known = labels.into_iter().filter(|known| *known != METRIC_NAME);
        return Lint::warning("selects-nothing", span, message).hint(name_hint(label, "label", known));
    }
    let listed: Vec<String> =
        values.iter().take(LISTED_MAX).map(|value| format!("`{}`", value.escape_debug())).collect();
    let more = if values.len() > LISTED_MAX { ", ..." } else { "" };
    let message = format!("no series of `{name}` has `{matcher}`; `{label}` is {}{more}", listed.join(", "));
    let near = nearest(matcher.value(), values.iter().copied()).filter(|_| matcher.op() == MatchOp::Equal);
    // Numbers that differ by one digit are different things: 404 is not a misspelt 400.
    match near.filter(|_| !matcher.value().chars().all(|c| c.is_ascii_digit())) {
        Some(near) => {
            Lint::warning("selects-nothing", span, message).hint(format!("did you mean `{}`?", near.escape_debug()))
        }
        None => Lint::note("selects-nothing", span, message).hint(
            "if such series appear only later, there is no data until then: better to expose them at 0 from the start",
        ),
    }
}

/// Evaluates the expression over the pages: how many series it yields and whether they can be matched at all does not
/// depend on the values.
fn evaluate(expr: &Expr, context: &LintContext<'_>, facts: &Facts, out: &mut Vec<Lint>) {
    if !depends_on_the_pages_alone(expr, facts) {
        return;
    }
    let Ok(plan) = promql::compile(expr, &Scope::EVERYTHING) else { return };
    match plan.evaluate(facts.store(), &EvalContext::at(NOW)) {
        Err(error) => {
            let message = format!("with what the pages show, this fails: {}", error.message);
            let hint =
                "a rule that fails has no value: make both sides unique, with `sum by (...)` or `on (...)`";
            out.push(Lint::warning("cannot-evaluate", error.span, message).hint(hint));
        }
        Ok(evaluated) => {
            if let (Value::Vector(vector), Role::Indicator(_)) = (&evaluated.value, context.role)
                && let [first, second, ..] = vector.as_slice()
            {
                let message = format!(
                    "this yields {} series, such as `{}` and `{}`, and a trigger needs exactly one: it would be Unknown",
                    vector.len(),
                    first.labels,
                    second.labels
                );
                let hint = "aggregate them: `sum(...)`, or `max(...)` for the worst";
                out.push(Lint::warning("several-series", expr.span, message).hint(hint));
            }
        }
    }
}

/// Returns whether nothing else than the pages' series decides how many there are: no history, no recorded metric, no
/// label that the source adds.
fn depends_on_the_pages_alone(expr: &Expr, facts: &Facts) -> bool {
    let mut alone = true;
    walk(expr, &mut |node| match &node.kind {
        ExprKind::Subquery(_) => alone = false,
        ExprKind::Selector(selector) => {
            let shift = &selector.shift;
            alone &= shift.offset.is_none() && shift.at.is_none();
            alone &= metric_name(selector).is_some_and(|name| !facts.is_elsewhere(name));
            let names_source = selector.matchers.iter().any(|m| facts.is_added(&m.name));
            alone &= !names_source
                || (facts.knows_job()
                    && selector.matchers.iter().all(|m| !facts.is_added(&m.name) || m.name == "job"));
        }
        _ => {}
    });
    alone
}
