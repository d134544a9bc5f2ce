//! Lints: what a rule file says without an error and still hurts at three in the morning.
//!
//! [`expression`] looks at one parsed expression, [`condition`] at a native comparison of an indicator; [`files::lint`]
//! walks whole rule files, native and Prometheus', and puts everything at its line. Each lint has a stable name, and
//! [`catalog`] says why it matters and how to silence it. Precision comes first: what cannot be proven from the text, or
//! from the page that was given ([`Facts`]), stays unsaid.

mod absence;
pub mod allow;
mod bounds;
pub mod catalog;
mod counters;
pub mod facts;
pub mod files;
mod histograms;
mod label_sets;
mod live;
mod outcome;
mod ratios;
mod selectors;

use std::collections::BTreeMap;

use super::diagnostic::Level;
use super::set::{Comparison, Unit};
use crate::engine::model::SourceName;
use crate::engine::promql::ast::{Call, ExprKind, VectorSelector};
use crate::engine::promql::{Expr, TextSpan};
use crate::engine::series::{MatchOp, Matcher};
use crate::engine::time::Span;

pub use facts::Facts;

/// One thing to look at, at its bytes of the expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// The stable name, such as `never-fires`.
    pub name: &'static str,
    /// Warning or note; a lint never refuses a file.
    pub level: Level,
    /// Where.
    pub span: TextSpan,
    /// What is the matter, with the facts.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// What an expression is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A native indicator of this unit.
    Indicator(Option<Unit>),
    /// An alert of an imported group.
    Alert,
    /// A recording rule.
    Record,
}

/// What is known about an expression's surroundings.
#[derive(Clone, Copy, Debug)]
pub struct LintContext<'a> {
    /// What it is there for.
    pub role: Role,
    /// The sources that it may read, each with the time between two answers; empty where nothing is known.
    pub paces: &'a BTreeMap<SourceName, Span>,
    /// What the sources expose, where pages were given.
    pub facts: Option<&'a Facts>,
    /// Whether another rule of the set watches over absence (`absent(...)`, `up`): then quiet alerts are covered.
    pub absence_is_watched: bool,
}

/// A native comparison: the indicator's unit, the operator, the threshold in the base unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    /// What the indicator's values mean.
    pub unit: Unit,
    /// How it is compared.
    pub comparison: Comparison,
    /// The threshold in the unit's base.
    pub threshold: f64,
}

impl Lint {
    fn warning(name: &'static str, span: TextSpan, message: impl Into<String>) -> Self {
        Self { name, level: Level::Warning, span, message: message.into(), hint: None }
    }

    fn note(name: &'static str, span: TextSpan, message: impl Into<String>) -> Self {
        Self { level: Level::Note, ..Self::warning(name, span, message) }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Returns everything that is doubtful about an expression, in the order of its text.
pub fn expression(expr: &Expr, context: &LintContext<'_>) -> Vec<Lint> {
    let mut out = Vec::new();
    selectors::lint(expr, &mut out);
    counters::lint(expr, context, &mut out);
    histograms::lint(expr, context, &mut out);
    label_sets::lint(expr, context, &mut out);
    ratios::lint(expr, context, &mut out);
    absence::lint(expr, context, &mut out);
    outcome::lint(expr, context, &mut out);
    if let Some(facts) = context.facts {
        live::lint(expr, context, facts, &mut out);
    }
    out.sort_by(|a, b| (a.span, a.name).cmp(&(b.span, b.name)));
    out.dedup_by(|a, b| a.span == b.span && a.name == b.name);
    out
}

/// Returns what is doubtful about comparing an indicator; the spans are the expression's, the place is the condition's.
pub fn condition(expr: &Expr, compared: Compared, context: &LintContext<'_>) -> Vec<Lint> {
    let mut out = Vec::new();
    outcome::condition(expr, compared, context, &mut out);
    absence::condition(expr, compared, &mut out);
    counters::condition(expr, compared, context, &mut out);
    out
}

/// Calls `visit` with the expression and everything below it.
fn walk<'e>(expr: &'e Expr, visit: &mut impl FnMut(&'e Expr)) {
    visit(expr);
    // The height is bounded where expressions are parsed.
    let mut children = Vec::new();
    expr.for_each_child(&mut |child| children.push(child));
    for child in children {
        walk(child, visit);
    }
}

/// Calls `visit` with every selector.
fn each_selector<'e>(expr: &'e Expr, visit: &mut impl FnMut(&'e Expr, &'e VectorSelector)) {
    walk(expr, &mut |node| {
        if let ExprKind::Selector(selector) = &node.kind {
            visit(node, selector);
        }
    });
}

/// Returns the function call that an expression is, parentheses aside.
fn as_call(expr: &Expr) -> Option<&Call> {
    match &expr.unparenthesized().kind {
        ExprKind::Call(call) => Some(call),
        _ => None,
    }
}

/// Returns whether a function gives the growth of a counter.
fn is_rate(function: &str) -> bool {
    matches!(function, "rate" | "irate" | "increase")
}

/// Returns the metric name that a selector asks for literally.
fn metric_name(selector: &VectorSelector) -> Option<&str> {
    let by_matcher = || {
        selector.matchers.iter().find(|m| m.name == "__name__" && m.op == MatchOp::Equal).map(|m| &m.value)
    };
    selector.name.as_ref().or_else(by_matcher).map(String::as_str)
}

/// Returns the matchers but the name's, compiled; what does not compile is an error elsewhere.
fn compiled(selector: &VectorSelector) -> Vec<Matcher> {
    let others = selector.matchers.iter();
    others.filter_map(|matcher| Matcher::new(&matcher.name, matcher.op, &matcher.value).ok()).collect()
}

/// Returns the paces of the sources that a selector may read: its `job` may narrow them.
fn paces_of<'a>(
    selector: &VectorSelector,
    context: &LintContext<'a>,
) -> impl Iterator<Item = (&'a SourceName, Span)> {
    let jobs: Vec<Matcher> =
        compiled(selector).into_iter().filter(|matcher| matcher.name() == "job").collect();
    let paces = context.paces.iter();
    paces
        .filter(move |(source, _)| jobs.iter().all(|matcher| matcher.matches(source.as_str())))
        .map(|(source, every)| (source, *every))
}

/// Writes a number as people do in rules: `0.05`, `604800`, `+Inf`.
fn number(value: f64) -> String {
    if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        value.to_string()
    }
}

/// Writes a value of an indicator with its unit.
fn quantity(value: f64, unit: Unit) -> String {
    let suffix = match unit {
        // Rounded, so that 0.07 is 7% and not 7.000000000000001%.
        Unit::Ratio => return format!("{}%", (value * 1e8).round() / 1e6),
        Unit::Seconds if value.abs() < 1.0 && value != 0.0 => {
            return format!("{}ms", (value * 1e9).round() / 1e6);
        }
        Unit::Percent => "%",
        Unit::Seconds => "s",
        Unit::Milliseconds => "ms",
        Unit::PerSecond => "/s",
        Unit::PerMinute => "/min",
        Unit::Bytes => "B",
        Unit::Count | Unit::Bool => "",
    };
    format!("{}{suffix}", number(value))
}

#[cfg(test)]
mod tests;
