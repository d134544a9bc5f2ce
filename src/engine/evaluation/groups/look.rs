//! What groups look like, for people and for the API.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ActiveAlert, GroupId, Groups, RuleState, numbered};
use crate::engine::rules::{Group, GroupRule, GroupRuleKind, Template};
use crate::engine::time::{Span, Timestamp};

/// How the last evaluation of a rule went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It has not been evaluated since the start.
    Unknown,
    /// Well.
    Ok,
    /// It failed.
    Err,
}

/// A group as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupLook {
    /// The file that declares it.
    pub file: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Time between two evaluations.
    pub interval: Span,
    /// How many results one rule may have; zero is no limit.
    pub limit: usize,
    /// How far before the time of evaluation expressions look.
    pub query_offset: Span,
    /// The last evaluation, in engine time.
    pub last_evaluation: Option<Timestamp>,
    /// The rules, in order.
    pub rules: Vec<RuleLook>,
}

/// A rule as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleLook {
    /// The recorded metric, or the value of `alertname`.
    pub name: Arc<str>,
    /// The expression as written.
    pub query: String,
    /// The labels that it adds; templates as written.
    pub labels: Vec<(Arc<str>, String)>,
    /// How the last evaluation went.
    pub health: Health,
    /// Why it failed; or which template could not be filled in, while the rule itself is well.
    pub last_error: Option<String>,
    /// The last evaluation since the start, in engine time.
    pub last_evaluation: Option<Timestamp>,
    /// What it yields.
    pub kind: RuleLookKind,
}

/// What a rule yields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleLookKind {
    /// Series.
    Recording,
    /// Alerts.
    Alerting {
        /// `for`
        hold: Span,
        /// `keep_firing_for`
        keep_firing_for: Span,
        /// Texts for people; templates as written.
        annotations: Vec<(Arc<str>, String)>,
        /// Its alerts. The rule's own state is the furthest of theirs, inactive where there are none.
        alerts: Vec<ActiveAlert>,
    },
}

impl Groups {
    /// Returns what every one of `groups` looks like.
    pub fn look(&self, groups: &[Arc<Group>]) -> Vec<GroupLook> {
        groups.iter().map(|group| self.look_at(group)).collect()
    }

    fn look_at(&self, group: &Group) -> GroupLook {
        let state = self.groups.get(&GroupId::of(group));
        let rules = numbered(group).map(|(id, rule)| {
            let state = state.and_then(|state| state.rules.get(&id)).cloned().unwrap_or_default();
            rule_look(rule, state)
        });
        GroupLook {
            file: Arc::clone(&group.file),
            name: Arc::clone(&group.name),
            interval: group.interval,
            limit: group.limit,
            query_offset: group.query_offset,
            last_evaluation: state.and_then(|state| state.last_evaluated),
            rules: rules.collect(),
        }
    }
}

fn rule_look(rule: &GroupRule, state: RuleState) -> RuleLook {
    let health = match (&state.evaluated_at, &state.failing) {
        (None, _) => Health::Unknown,
        (Some(_), None) => Health::Ok,
        (Some(_), Some(_)) => Health::Err,
    };
    let kind = match &rule.kind {
        GroupRuleKind::Record { .. } => RuleLookKind::Recording,
        GroupRuleKind::Alert { hold, keep_firing_for, annotations, .. } => RuleLookKind::Alerting {
            hold: *hold,
            keep_firing_for: *keep_firing_for,
            annotations: as_written(annotations),
            alerts: state.active.into_values().collect(),
        },
    };
    RuleLook {
        name: rule.name().into(),
        query: rule.text.clone(),
        labels: as_written(&rule.labels),
        health,
        last_error: state.failing.map(|(_, why)| why).or(state.template_failed),
        last_evaluation: state.evaluated_at,
        kind,
    }
}

fn as_written(templates: &[(Arc<str>, Template)]) -> Vec<(Arc<str>, String)> {
    templates.iter().map(|(name, template)| (Arc::clone(name), template.text().to_owned())).collect()
}
