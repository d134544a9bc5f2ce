//! The rules as Prometheus shows them: imported groups as they are, native triggers as alerting rules of their target.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::decision::TriggerState;
use crate::engine::evaluation::groups::{GroupId, GroupLook, Health, RuleLook, RuleLookKind};
use crate::engine::evaluation::{ActiveAlert, AlertState, TriggerLook, Verdict};
use crate::engine::model::{Labels, TargetName};
use crate::engine::rules::{Compare, Test, Trigger};
use crate::engine::time::{Span, Timestamp};

/// Looks at every rule.
pub(super) fn looks(engine: &Engine, now: Timestamp) -> Vec<GroupLook> {
    let mut by_target: BTreeMap<TargetName, Vec<RuleLook>> = BTreeMap::new();
    for look in engine.trigger_looks() {
        let key = (look.key.target.clone(), look.key.trigger.clone());
        if let Some(trigger) = engine.setup().rules.triggers.get(&key) {
            let state = engine.state().triggers.get(&look.key);
            let rules = by_target.entry(look.key.target.clone()).or_default();
            add(rules, native(trigger, &look, state, now));
        }
    }
    let group = |(target, rules): (TargetName, Vec<RuleLook>)| GroupLook {
        file: target.as_str().into(),
        name: target.as_str().into(),
        // Native rules are judged when a sample arrives.
        interval: Span::ZERO,
        limit: 0,
        query_offset: Span::ZERO,
        last_evaluation: rules.iter().filter_map(|rule| rule.last_evaluation).max(),
        rules,
    };
    engine.rules_look().into_iter().chain(by_target.into_iter().map(group)).collect()
}

/// Adds a rule, or its alerts where another series of the same trigger is there already.
fn add(rules: &mut Vec<RuleLook>, rule: RuleLook) {
    let Some(known) = rules.last_mut().filter(|known| known.name == rule.name) else {
        return rules.push(rule);
    };
    if let (RuleLookKind::Alerting { alerts: known, .. }, RuleLookKind::Alerting { alerts, .. }) =
        (&mut known.kind, rule.kind)
    {
        known.extend(alerts);
    }
    if rule.health == Health::Err {
        (known.health, known.last_error) = (rule.health, rule.last_error);
    }
    known.last_evaluation = known.last_evaluation.max(rule.last_evaluation);
}

fn native(trigger: &Trigger, look: &TriggerLook, state: Option<&TriggerState>, now: Timestamp) -> RuleLook {
    let (health, last_error) = match &look.verdict {
        None => (Health::Unknown, None),
        Some(Verdict::Unknown(why)) => (Health::Err, Some(why.to_string())),
        Some(Verdict::Holds | Verdict::Breached | Verdict::NoData) => (Health::Ok, None),
    };
    let newest = look.evidence.as_ref().and_then(|evidence| evidence.newest_sample);
    let last_evaluation = look.verdict.as_ref().map(|_| newest.unwrap_or(now));
    let severity = trigger.severity.to_string();
    let labels = [("severity", severity.as_str()), ("target", trigger.target.as_str())];
    let annotations: Vec<(Arc<str>, String)> = trigger
        .summary
        .iter()
        .map(|text| ("summary".into(), text.clone()))
        .chain(trigger.runbook.iter().map(|text| ("runbook_url".into(), text.clone())))
        .collect();
    let alert = |(state, since): (AlertState, Timestamp)| ActiveAlert {
        group: GroupId { file: trigger.target.as_str().into(), name: trigger.target.as_str().into() },
        rule: trigger.name.as_str().into(),
        state,
        labels: Labels::from_pairs(
            look.key.labels.iter().chain(labels).chain([("alertname", trigger.name.as_str())]),
        ),
        annotations: Labels::from_pairs(annotations.iter().map(|(name, text)| (&**name, text.as_str()))),
        active_at: since,
        fired_at: None,
        keep_since: None,
        value: look.evidence.as_ref().map_or(f64::NAN, |evidence| evidence.value),
    };
    let active = state.map(|state| match state {
        TriggerState::Pending { since, .. } => (AlertState::Pending, *since),
        TriggerState::Firing { since, .. } => (AlertState::Firing, *since),
    });
    RuleLook {
        name: trigger.name.as_str().into(),
        query: query(trigger),
        labels: labels.into_iter().map(|(name, value)| (name.into(), value.to_owned())).collect(),
        health,
        last_error,
        last_evaluation,
        kind: RuleLookKind::Alerting {
            hold: trigger.window.of(),
            keep_firing_for: trigger.keep_firing_for,
            alerts: active.map(alert).into_iter().collect(),
            annotations,
        },
    }
}

/// Returns the condition as PromQL: an expression that yields something where the condition is met. What PromQL has no
/// words for stays as it is written in rules.
fn query(trigger: &Trigger) -> String {
    promql_of(&trigger.when.test)
}

fn promql_of(test: &Test) -> String {
    let joined = |parts: &[Test], word: &str| parts.iter().map(promql_of).collect::<Vec<_>>().join(word);
    match test {
        Test::Compare(Compare { indicator, comparison, threshold, .. }) => {
            format!("({}) {comparison} {threshold}", indicator.text)
        }
        Test::Fires(trigger) => trigger.to_string(),
        Test::All(parts) => format!("({})", joined(parts, " and ")),
        Test::Any(parts) => format!("({})", joined(parts, " or ")),
        Test::AtLeast { count, of } => format!("{count} of ({})", joined(of, ", ")),
    }
}
