//! `budgets:` as written.

use std::collections::BTreeMap;

use super::objectives::{by_severity, weight};
use super::{SEVERITIES, WrittenThen};
use crate::engine::model::Severity;
use crate::engine::rules::decode::{Shape, Spanned, choice, list, named, positive_duration, text};
use crate::engine::rules::diagnostic::{Diagnostic, Findings};
use crate::engine::rules::set::Enforcement;
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::time::Span;

/// An error budget as written.
#[derive(Clone, Debug)]
pub struct WrittenBudget {
    /// Its name.
    pub name: Scalar,
    /// The counter of good events.
    pub good: Option<Scalar>,
    /// The counter of all events.
    pub total: Option<Scalar>,
    /// The promised share of good events, above 0 and below 1.
    pub objective: Option<Spanned<f64>>,
    /// Over which time.
    pub period: Option<Spanned<Span>>,
    /// The least number of events.
    pub min_events: Option<f64>,
    /// The least number of bad events.
    pub min_errors: Option<f64>,
    /// Whether anything but pages may follow.
    pub enforcement: Enforcement,
    /// How fast it may burn; `None` where the defaults hold.
    pub burn_rates: Option<Vec<WrittenBurnRate>>,
    /// What follows, by severity.
    pub then: BTreeMap<Severity, WrittenThen>,
}

/// One burn rate as written.
#[derive(Clone, Debug)]
pub struct WrittenBurnRate {
    /// The long window.
    pub long: Spanned<Span>,
    /// The short window.
    pub short: Spanned<Span>,
    /// The rate that neither may exceed.
    pub above: Spanned<f64>,
    /// How bad that is.
    pub severity: Severity,
}

const BUDGET: Shape = Shape {
    what: "a budget",
    keys: &[
        "good",
        "total",
        "objective",
        "period",
        "min_events",
        "min_errors",
        "enforcement",
        "burn_rates",
        "then",
    ],
    later: &[],
};

const BURN_RATE: Shape =
    Shape { what: "a burn rate", keys: &["long", "short", "above", "severity"], later: &[] };

/// Reads `budgets:`.
pub(super) fn read(node: &Node, out: &mut Findings) -> Vec<WrittenBudget> {
    let budgets = named(node, "`budgets`", out);
    budgets.into_iter().filter_map(|(name, node)| budget(name, node, out)).collect()
}

fn budget(name: &Scalar, node: &Node, out: &mut Findings) -> Option<WrittenBudget> {
    let fields = BUDGET.read(node, out)?;
    let good = fields.required("good", out).and_then(|node| text(node, "`good`", out)).cloned();
    let total = fields.required("total", out).and_then(|node| text(node, "`total`", out)).cloned();
    let objective = fields.required("objective", out).and_then(|node| objective(node, out));
    let words = [("strict", Enforcement::Strict), ("permissive", Enforcement::Permissive)];
    let enforcement = fields.get("enforcement").and_then(|node| choice(node, "`enforcement`", &words, out));
    let count = |key: &str, out: &mut Findings| {
        let node = fields.get(key)?;
        weight(node, &format!("`{key}`"), out).map(|count| count.value)
    };
    Some(WrittenBudget {
        name: name.clone(),
        good,
        total,
        objective,
        period: fields.get("period").and_then(|node| positive_duration(node, "`period`", out)),
        min_events: count("min_events", out),
        min_errors: count("min_errors", out),
        enforcement: enforcement.unwrap_or(Enforcement::Strict),
        burn_rates: fields.get("burn_rates").map(|node| {
            let items = list(node, "`burn_rates`", out);
            items.iter().filter_map(|node| burn_rate(node, out)).collect()
        }),
        then: fields.get("then").map_or_else(BTreeMap::new, |node| by_severity(node, out)),
    })
}

/// Reads `99.9%`, or 0.999. All of it is no promise that anything could keep.
fn objective(node: &Node, out: &mut Findings) -> Option<Spanned<f64>> {
    let scalar = text(node, "`objective`", out)?;
    let (number, scale) = match scalar.value.strip_suffix('%') {
        Some(percent) => (percent.trim_end(), 100.0),
        None => (scalar.value.as_str(), 1.0),
    };
    let share = number.parse::<f64>().ok().map(|number| number / scale);
    let (message, hint) = match share {
        Some(share) if share > 0.0 && share < 1.0 => return Some(Spanned::new(share, scalar.place())),
        Some(share) if share >= 1.0 => (
            format!("an objective of {} leaves no budget: one bad event breaks it for good", scalar.value),
            "promise less than all, such as `99.9%`",
        ),
        _ => (
            format!("`objective` cannot be `{}`", scalar.value.escape_debug()),
            "write the share of good events, such as `99.9%`",
        ),
    };
    out.push(Diagnostic::error("bad-objective", scalar.place(), message).hint(hint));
    None
}

fn burn_rate(node: &Node, out: &mut Findings) -> Option<WrittenBurnRate> {
    let fields = BURN_RATE.read(node, out)?;
    let long = fields.required("long", out).and_then(|node| positive_duration(node, "`long`", out));
    let short = fields.required("short", out).and_then(|node| positive_duration(node, "`short`", out));
    let above = fields.required("above", out).and_then(|node| weight(node, "`above`", out));
    let severity = fields.required("severity", out);
    let severity = severity.and_then(|node| choice(node, "`severity`", &SEVERITIES, out));
    Some(WrittenBurnRate { long: long?, short: short?, above: above?, severity: severity? })
}
