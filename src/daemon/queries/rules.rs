//! The rules as Prometheus shows them: native triggers are alerting rules, grouped by their target.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::decision::TriggerState;
use crate::engine::evaluation::Verdict;
use crate::engine::model::Labels;
use crate::engine::rules::Trigger;
use crate::engine::time::{Span, Timestamp};

/// A group of rules.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleGroupLook {
    /// Its name.
    pub name: String,
    /// The file that it is written in; for native rules, the target that they guard.
    pub file: String,
    /// How often it is evaluated; zero for native rules, which are judged when a sample arrives.
    pub interval: Span,
    /// Its rules.
    pub rules: Vec<RuleLook>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleLook {
    /// Its name.
    pub name: String,
    /// What is evaluated.
    pub query: String,
    /// How its last evaluation went; `None` before the first.
    pub health: Option<Result<(), String>>,
    /// The time of its last evaluation, in wall time.
    pub evaluated_wall: Option<Timestamp>,
    /// What it does.
    pub kind: RuleKind,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleKind {
    /// It alerts.
    Alerting {
        /// For how long its condition must hold.
        hold: Span,
        /// The labels that it adds.
        labels: Labels,
        /// What it says to people.
        annotations: Labels,
        /// What is pending or firing.
        alerts: Vec<AlertLook>,
    },
    /// It records a series.
    Recording {
        /// The labels that it adds.
        labels: Labels,
    },
}

/// A pending or firing alert.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertLook {
    /// Its labels, `alertname` included.
    pub labels: Labels,
    /// What it says to people.
    pub annotations: Labels,
    /// Whether it fires, or still waits.
    pub fires: bool,
    /// Since when, in wall time.
    pub active_wall: Timestamp,
    /// The measured value.
    pub value: Option<f64>,
}

/// Looks at every rule.
pub(super) fn looks(engine: &Engine, now: Timestamp) -> Vec<RuleGroupLook> {
    let wall_offset = engine.state().wall_offset;
    let mut groups: BTreeMap<String, Vec<RuleLook>> = BTreeMap::new();
    let triggers = &engine.setup().rules.triggers;
    for look in engine.trigger_looks() {
        let Some(trigger) = triggers.get(&(look.key.target.clone(), look.key.trigger.clone())) else {
            continue;
        };
        let health = look.verdict.as_ref().map(|verdict| match verdict {
            Verdict::Unknown(why) => Err(why.to_string()),
            Verdict::Holds | Verdict::Breached | Verdict::NoData => Ok(()),
        });
        let labels = Labels::from_pairs([
            ("severity", trigger.severity.to_string()),
            ("target", trigger.target.to_string()),
        ]);
        let annotations = annotations(trigger);
        let (fires, since) = match engine.state().triggers.get(&look.key) {
            Some(TriggerState::Pending { since, .. }) => (false, Some(*since)),
            Some(TriggerState::Firing { since, .. }) => (true, Some(*since)),
            None => (false, None),
        };
        let alert = since.map(|since| AlertLook {
            labels: labels.with("alertname", trigger.name.as_str()),
            annotations: annotations.clone(),
            fires,
            active_wall: since + wall_offset,
            value: look.evidence.as_ref().map(|evidence| evidence.value),
        });
        groups.entry(trigger.target.to_string()).or_default().push(RuleLook {
            name: trigger.name.to_string(),
            query: query(trigger),
            evaluated_wall: look
                .evidence
                .as_ref()
                .map(|evidence| evidence.newest_sample.unwrap_or(now) + wall_offset),
            health,
            kind: RuleKind::Alerting {
                hold: trigger.window.of,
                labels,
                annotations,
                alerts: alert.into_iter().collect(),
            },
        });
    }
    let group = |(target, rules): (String, Vec<RuleLook>)| RuleGroupLook {
        name: target.clone(),
        file: target,
        interval: Span::ZERO,
        rules,
    };
    groups.into_iter().map(group).collect()
}

/// Returns the condition as PromQL: an expression that yields something where the condition is met.
fn query(trigger: &Trigger) -> String {
    let condition = &trigger.when;
    format!("({}) {} {}", condition.indicator.text, condition.comparison, condition.threshold)
}

fn annotations(trigger: &Trigger) -> Labels {
    let summary = trigger.summary.as_deref().map(|text| ("summary", text));
    let runbook = trigger.runbook.as_deref().map(|text| ("runbook_url", text));
    Labels::from_pairs(summary.into_iter().chain(runbook))
}
