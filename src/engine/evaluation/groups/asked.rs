//! What groups select: the store has to keep it.

use super::{ALERTS, ALERTS_FOR_STATE, RULES_SOURCE};
use crate::engine::model::{METRIC_NAME, SourceName};
use crate::engine::promql::literals::unescape;
use crate::engine::promql::{self, Plan, Scope};
use crate::engine::rules::{Group, GroupRuleKind, Template};
use crate::engine::series::{MatchOp, Matcher, Selector, Sources};
use crate::engine::time::Span;

/// What has to be kept, and for how long.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The selectors.
    pub selectors: Vec<Selector>,
    /// How far back they look.
    pub reach: Span,
}

impl Wanted {
    fn add(&mut self, plan: &Plan, offset: Span) {
        self.selectors.extend(plan.selectors().cloned());
        self.reach = self.reach.max(plan.reach() + offset);
    }
}

/// Returns what the rules of groups select, what their templates may ask for, and the series that they write.
pub fn wanted_by<'a>(groups: impl IntoIterator<Item = &'a Group> + Clone) -> Wanted {
    let mut wanted = asked_by(groups.clone());
    for group in groups {
        for rule in &group.rules {
            wanted.add(&rule.query, group.query_offset);
            match &rule.kind {
                GroupRuleKind::Record { name } => wanted.selectors.extend(own(name)),
                GroupRuleKind::Alert { .. } => {
                    wanted.selectors.extend([ALERTS, ALERTS_FOR_STATE].into_iter().flat_map(own));
                }
            }
        }
    }
    wanted
}

/// Returns what the templates of groups may ask for with `query`, as far as it can be told beforehand.
pub(super) fn asked_by<'a>(groups: impl IntoIterator<Item = &'a Group>) -> Wanted {
    let mut wanted = Wanted::default();
    for rule in groups.into_iter().flat_map(|group| &group.rules) {
        // The labels of a recording rule are plain texts.
        let GroupRuleKind::Alert { annotations, .. } = &rule.kind else { continue };
        for (_, template) in rule.labels.iter().chain(annotations) {
            for plan in queries(template) {
                wanted.reach = wanted.reach.max(plan.reach());
                wanted.selectors.extend(plan.selectors().map(unformatted));
            }
        }
    }
    wanted
}

/// The series of that name that groups write.
fn own(name: &str) -> Option<Selector> {
    let matcher = Matcher::new(METRIC_NAME, MatchOp::Equal, name).ok()?;
    Some(Selector::new(vec![matcher], Sources::Only([SourceName::from(RULES_SOURCE)].into())))
}

/// Returns every expression among a template's literals, where the template asks at all.
///
/// `query` may take its text from `printf`, so that every literal counts; one that is no expression is no harm.
fn queries(template: &Template) -> Vec<Plan> {
    let actions: Vec<&str> =
        template.text().split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).collect();
    if !actions.iter().any(|action| action.contains("query")) {
        return Vec::new();
    }
    let compiled = |text: String| {
        let expr = promql::parse(&text.replace("%q", "\"%q\"")).ok()?;
        promql::compile(&expr, &Scope::EVERYTHING).ok()
    };
    actions.into_iter().flat_map(literals).filter_map(compiled).collect()
}

/// Returns the string literals of one action.
fn literals(action: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = action;
    while let Some(open) = rest.find(['"', '`']) {
        let quote = if rest[open..].starts_with('"') { '"' } else { '`' };
        let inner = &rest[open + 1..];
        let mut escaped = false;
        let close = inner.find(|letter| {
            let closes = letter == quote && !escaped;
            escaped = quote == '"' && letter == '\\' && !escaped;
            closes
        });
        let Some(close) = close else { break };
        if quote == '`' {
            found.push(inner[..close].to_owned());
        } else if let Ok(text) = unescape(&inner[..close], quote) {
            found.push(text);
        }
        rest = &inner[close + 1..];
    }
    found
}

/// Leaves out the matchers that `printf` fills in: any value may come.
fn unformatted(selector: &Selector) -> Selector {
    let fixed = selector.matchers().iter().filter(|matcher| !matcher.value().contains('%'));
    Selector::new(fixed.cloned().collect(), selector.sources().clone())
}

/// Returns whether everything that `wanted` selects is selected by `asked` too.
pub(super) fn covers(asked: &Selector, wanted: &Selector) -> bool {
    let within = match (asked.sources(), wanted.sources()) {
        (Sources::Any, _) => true,
        (Sources::Only(_), Sources::Any) => false,
        (Sources::Only(asked), Sources::Only(wanted)) => wanted.is_subset(asked),
    };
    let same = |a: &Matcher, b: &Matcher| (a.name(), a.op(), a.value()) == (b.name(), b.op(), b.value());
    within
        && asked.matchers().iter().all(|matcher| wanted.matchers().iter().any(|other| same(matcher, other)))
}
