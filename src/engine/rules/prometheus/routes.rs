//! Routes as written -> routes, and doubts about the alerts that take them, as far as labels are known at load.

use std::collections::BTreeMap;

use crate::engine::model::TargetName;
use crate::engine::rules::compile::{self, Catalog};
use crate::engine::rules::diagnostic::{Diagnostic, Findings, Place};
use crate::engine::rules::groups::{Group, GroupRule, GroupRuleKind, Route};
use crate::engine::rules::written::WrittenRoute;

/// Whether an alert takes a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Always,
    /// It depends on labels that only the expression's result has.
    Perhaps,
    Never,
}

/// Looks up the names of all routes; leaves out those that have a problem.
pub fn link(declared: &[WrittenRoute], catalog: &Catalog, out: &mut Findings) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut takes_all: Option<&Place> = None;
    for route in declared {
        if let Some(earlier) = takes_all {
            let message = format!("no alert gets here: the route on line {} takes every alert", earlier.line);
            let hint = "the first route that matches counts: put the one that takes every alert last";
            out.push(Diagnostic::warning("unreachable-route", route.place.clone(), message).hint(hint));
        }
        if let Some(target) = &route.target {
            compile::check_target(target, catalog, out);
        }
        let target = TargetName::from(route.target.as_ref().map_or("", |target| target.value.as_str()));
        let then = compile::consequence(&route.then, &target, catalog, out);
        if !route.then.something {
            let message = "nothing follows where this route is taken";
            let hint = "alerts that take it are evaluated and shown; to page, add `then: { page: POLICY }`";
            out.push(Diagnostic::warning("no-consequence", route.place.clone(), message).hint(hint));
        }
        let Some(matchers) = &route.matchers else { continue };
        if matchers.is_empty() {
            takes_all.get_or_insert(&route.place);
            if let Some(plan) = &route.then.rollback {
                let message = "this route takes every alert and rolls back";
                let hint = "say which alerts: `match: { alertname: ErrorsHigh }`";
                out.push(Diagnostic::error("too-wide", plan.place(), message).hint(hint));
            }
        }
        if route.target.is_some() {
            routes.push(Route { matchers: matchers.clone(), target, then });
        }
    }
    routes
}

/// Doubts alerts that no route takes, and alerts that rest on absence and take a route that rolls back.
pub fn doubt<'g>(groups: impl IntoIterator<Item = &'g Group>, routes: &[Route], out: &mut Findings) {
    let mut unrouted: BTreeMap<&str, (&Place, usize)> = BTreeMap::new();
    for group in groups {
        for rule in &group.rules {
            let GroupRuleKind::Alert { rests_on_absence, .. } = &rule.kind else { continue };
            let taken = reachable(rule, routes);
            if routes.is_empty() {
                unrouted.entry(&group.file).or_insert((&rule.place, 0)).1 += 1;
            } else if taken.is_empty() {
                out.push(pages_nobody(rule));
            } else if *rests_on_absence {
                out.extend(taken.iter().find_map(|(route, takes)| never_acts(rule, route, *takes)));
            }
        }
    }
    for (first, count) in unrouted.into_values() {
        let message = match count {
            1 => "this alert is evaluated and shown, and pages nobody: there are no `routes`".to_owned(),
            _ => format!(
                "{count} alerts of this file are evaluated and shown, and page nobody: there are no `routes`"
            ),
        };
        let hint = "add `routes:` to rearguard.yaml, such as `- { match: { severity: critical }, target: TARGET, then: { page: POLICY } }`";
        out.push(Diagnostic::warning("no-route", first.clone(), message).hint(hint));
    }
}

fn pages_nobody(rule: &GroupRule) -> Diagnostic {
    let message = format!(
        "no route matches alert `{}`: it is evaluated and shown, and pages nobody",
        rule.name().escape_debug()
    );
    let hint = "add a route for its labels to `routes:` in rearguard.yaml";
    Diagnostic::warning("no-route", rule.place.clone(), message).hint(hint)
}

fn never_acts(rule: &GroupRule, route: &Route, takes: Takes) -> Option<Diagnostic> {
    let plan = route.then.rollback.as_ref()?;
    let takes = if takes == Takes::Always { "takes" } else { "may take" };
    let message = format!(
        "alert `{}` {takes} a route that rolls back (`{plan}`) and rests on absence: it pages, and never acts",
        rule.name().escape_debug()
    );
    let hint =
        "absence never acts by itself: alert on what a probe answers, or give it a route that only pages";
    Some(Diagnostic::warning("absence-never-acts", rule.place.clone(), message).hint(hint))
}

/// Returns the routes that alerts of a rule may take: the first that always matches ends the search.
fn reachable<'r>(rule: &GroupRule, routes: &'r [Route]) -> Vec<(&'r Route, Takes)> {
    let mut found = Vec::new();
    for route in routes {
        match takes(rule, route) {
            Takes::Never => {}
            Takes::Perhaps => found.push((route, Takes::Perhaps)),
            Takes::Always => {
                found.push((route, Takes::Always));
                break;
            }
        }
    }
    found
}

fn takes(rule: &GroupRule, route: &Route) -> Takes {
    let mut takes = Takes::Always;
    for matcher in &route.matchers {
        match known_label(rule, matcher.name()).map(|value| matcher.matches(value)) {
            Some(false) => return Takes::Never,
            Some(true) => {}
            None => takes = Takes::Perhaps,
        }
    }
    takes
}

/// Returns a label's value where every alert of the rule has the same.
fn known_label<'r>(rule: &'r GroupRule, name: &str) -> Option<&'r str> {
    if name == "alertname" {
        return Some(rule.name());
    }
    rule.labels.iter().find(|(label, _)| **label == *name).and_then(|(_, template)| template.fixed())
}
