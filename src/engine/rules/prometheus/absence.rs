//! Which alerts rest on absence: such an alert pages and never acts (E2).
//!
//! An alert rests on absence where its expression
//!
//! - calls `absent` or `absent_over_time` anywhere;
//! - selects `up` or `scrape_samples_scraped`, which say that a scrape failed, and nothing about the application;
//! - yields something although there is no series at all: `vector(1)`, `expr: 1`, `(sum(x) or vector(0)) == 0`;
//! - selects what a recording rule records that does any of this, or `ALERTS` where an alert does.
//!
//! What merely yields *more* while some series are missing does not count: `a unless b`, `count(x) < 3`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::promql::ast::{BinaryOp, Expr, ExprKind};
use crate::engine::promql::{self, EvalContext, Plan as QueryPlan, Value};
use crate::engine::rules::groups::{Group, GroupRule, GroupRuleKind};
use crate::engine::series::{Limits, Store};
use crate::engine::time::Span;

/// What an observation adds about itself.
const ABOUT_THE_SCRAPE: [&str; 2] = ["up", "scrape_samples_scraped"];
/// The series that alerts themselves leave behind.
const ABOUT_ALERTS: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];

/// Returns whether an expression rests on absence by itself; other rules are not looked at.
pub(super) fn rests_on_absence(text: &str, query: &QueryPlan) -> bool {
    let selects_scrape =
        query.selectors().any(|selector| ABOUT_THE_SCRAPE.iter().any(|name| selector.may_select_name(name)));
    selects_scrape
        || promql::parse(text).is_ok_and(|expr| {
            calls(&expr, &|name| matches!(name, "absent" | "absent_over_time"))
                || yields_from_nothing(&expr, query)
        })
}

/// Marks the alerts that rest on absence through what other rules record.
pub(in crate::engine::rules) fn settle(groups: &mut [Group]) {
    let mut tainted: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut pending: Vec<&mut GroupRule> = Vec::new();
    for rule in groups.iter_mut().flat_map(|group| &mut group.rules) {
        if rests(rule) { taint(rule, &mut tainted) } else { pending.push(rule) }
    }
    loop {
        let before = pending.len();
        let reads = |rule: &GroupRule, tainted: &BTreeSet<Arc<str>>| {
            rule.query.selectors().any(|selector| tainted.iter().any(|name| selector.may_select_name(name)))
        };
        pending.retain_mut(|rule| {
            let resting = reads(rule, &tainted);
            if resting {
                taint(rule, &mut tainted);
            }
            !resting
        });
        if pending.len() == before {
            return;
        }
    }
}

fn rests(rule: &GroupRule) -> bool {
    match &rule.kind {
        GroupRuleKind::Alert { rests_on_absence, .. } => *rests_on_absence,
        GroupRuleKind::Record { .. } => rests_on_absence(&rule.text, &rule.query),
    }
}

fn taint(rule: &mut GroupRule, tainted: &mut BTreeSet<Arc<str>>) {
    match &mut rule.kind {
        GroupRuleKind::Record { name } => drop(tainted.insert(name.clone())),
        GroupRuleKind::Alert { rests_on_absence, .. } => {
            *rests_on_absence = true;
            tainted.extend(ABOUT_ALERTS.map(Arc::from));
        }
    }
}

fn calls(expr: &Expr, wanted: &impl Fn(&str) -> bool) -> bool {
    let mut found = matches!(&expr.kind, ExprKind::Call(call) if wanted(call.function.name));
    expr.for_each_child(&mut |child| found = found || calls(child, wanted));
    found
}

/// Asks the question of a store that holds nothing; what depends on the clock yields something at one time or another.
fn yields_from_nothing(expr: &Expr, query: &QueryPlan) -> bool {
    const CLOCK: [&str; 9] = [
        "time",
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "days_in_month",
        "hour",
        "minute",
        "month",
        "year",
    ];
    if !may_yield(expr) {
        return false;
    }
    if calls(expr, &|name| CLOCK.contains(&name)) {
        return true;
    }
    let nothing = Store::new(Limits { retention: Span::ZERO, series_per_source: 0 });
    match query.evaluate(&nothing, &EvalContext::default()) {
        Ok(evaluated) => !matches!(evaluated.value, Value::Vector(elements) if elements.is_empty()),
        // It would fail in the same way later; a rule that fails acts no more than one that rests on absence.
        Err(_) => true,
    }
}

/// Returns whether an expression could yield anything without any series, whatever its comparisons say.
fn may_yield(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => true,
        ExprKind::Selector(_) => false,
        ExprKind::Subquery(subquery) => may_yield(&subquery.expr),
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => may_yield(inner),
        ExprKind::Aggregate(aggregate) => may_yield(&aggregate.expr),
        // `scalar()` of nothing is NaN, which is a value; a function of series yields what they yield.
        ExprKind::Call(call) => {
            matches!(call.function.name, "scalar" | "absent" | "absent_over_time")
                || call.args.iter().all(may_yield)
        }
        ExprKind::Binary(binary) => match binary.op {
            BinaryOp::Or => may_yield(&binary.left) || may_yield(&binary.right),
            BinaryOp::Unless => may_yield(&binary.left),
            _ if binary.matching.fill.is_empty() => may_yield(&binary.left) && may_yield(&binary.right),
            _ => may_yield(&binary.left) || may_yield(&binary.right),
        },
    }
}
