//! What the decision half hears of alerts, and what it must not conclude from their absence.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ALERT_NAME, ActiveAlert, AlertState, GroupId, Groups, RULES_SOURCE, RuleState, numbered};
use crate::engine::evaluation::alerting::{AlertJudgement, AlertRuleStanding, AlertsJudged};
use crate::engine::model::{Labels, SourceName};
use crate::engine::rules::{Group, GroupRule, GroupRuleKind};
use crate::engine::time::Timestamp;

/// How far a source can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStanding {
    /// It failed at its last observation, or has been silent for too long.
    Fails,
    /// It has answered once since then: a rate over its series has no value yet.
    AnswersAgain,
    /// It has answered since then; the second answer was at this instant.
    Settled(Timestamp),
}

/// Recorded metrics that a rule fails to yield: since when, and why.
type Missing = BTreeMap<Arc<str>, (Timestamp, String)>;

impl Groups {
    /// Returns every alert and how every alerting rule stands, after `evaluated` were evaluated; `sources` tells how far
    /// each source can be relied on.
    pub fn judged(
        &self,
        groups: &[Arc<Group>],
        evaluated: &[GroupId],
        sources: &dyn Fn(&SourceName) -> SourceStanding,
    ) -> AlertsJudged {
        let missing = self.missing(groups);
        let mut judged = AlertsJudged::default();
        for group in groups {
            let group_id = GroupId::of(group);
            let Some(known) = self.groups.get(&group_id) else { continue };
            let is_new = evaluated.contains(&group_id);
            for (id, rule) in numbered(group) {
                let Some(state) = known.rules.get(&id) else { continue };
                let GroupRuleKind::Alert { hold, rests_on_absence, .. } = &rule.kind else { continue };
                let standing = standing(group, rule, state, &missing, sources);
                if let Some(at) = state.evaluated_at {
                    let mut reads = state.reads.iter();
                    let failing_source =
                        reads.find(|source| sources(source) == SourceStanding::Fails).cloned();
                    judged.active.extend(state.active.values().map(|alert| AlertJudgement {
                        name: rule.name().into(),
                        labels: alert.labels.clone(),
                        state: alert.state,
                        is_new: is_new && came_at(alert) == at,
                        since: alert.active_at,
                        hold: *hold,
                        expression: rule.text.split_whitespace().collect::<Vec<_>>().join(" "),
                        value: alert.value,
                        annotations: alert.annotations.clone(),
                        rests_on_absence: *rests_on_absence,
                        failing_source: failing_source.clone(),
                    }));
                }
                judged.rules.push(standing);
            }
        }
        judged
    }

    /// Returns the recorded metrics that are not there because a rule fails, or because one that it reads does.
    fn missing(&self, groups: &[Arc<Group>]) -> Missing {
        let mut missing = Missing::new();
        loop {
            let before = missing.len();
            for group in groups {
                let Some(known) = self.groups.get(&GroupId::of(group)) else { continue };
                for (id, rule) in numbered(group) {
                    let GroupRuleKind::Record { name } = &rule.kind else { continue };
                    let Some(state) = known.rules.get(&id) else { continue };
                    if let Some(why) = failure(rule, state, &missing) {
                        missing.entry(Arc::clone(name)).or_insert(why);
                    }
                }
            }
            if missing.len() == before {
                return missing;
            }
        }
    }
}

/// When an alert came to the state that it is in.
fn came_at(alert: &ActiveAlert) -> Timestamp {
    match alert.state {
        AlertState::Pending => alert.active_at,
        AlertState::Firing => alert.fired_at.unwrap_or(alert.active_at),
    }
}

/// Returns since when and why a rule says nothing: it fails, or what it reads is not recorded.
fn failure(rule: &GroupRule, state: &RuleState, missing: &Missing) -> Option<(Timestamp, String)> {
    if state.failing.is_some() {
        return state.failing.clone();
    }
    let own = SourceName::from(RULES_SOURCE);
    let mut reads = rule.query.selectors().filter(|selector| selector.sources().contains(&own));
    reads.find_map(|selector| {
        let (name, (since, why)) = missing.iter().find(|(name, _)| selector.may_select_name(name))?;
        Some((*since, format!("`{name}` is not recorded: {why}")))
    })
}

fn standing(
    group: &Group,
    rule: &GroupRule,
    state: &RuleState,
    missing: &Missing,
    sources: &dyn Fn(&SourceName) -> SourceStanding,
) -> AlertRuleStanding {
    let failing = failure(rule, state, missing);
    let undecided = match (&failing, state.evaluated_at) {
        (_, None) => Some("it has not been evaluated since the start".to_owned()),
        (Some((_, why)), _) => Some(why.clone()),
        (None, Some(at)) => state.reads.iter().find_map(|source| match sources(source) {
            SourceStanding::Fails => Some(format!("source {source} does not answer")),
            SourceStanding::Settled(since) if since <= at - group.query_offset => None,
            SourceStanding::Settled(_) | SourceStanding::AnswersAgain => {
                Some(format!("source {source} has only begun to answer again"))
            }
        }),
    };
    let labels = rule.labels.iter().map(|(name, template)| (&**name, template.text()));
    let labels = Labels::from_pairs(labels.chain([(ALERT_NAME, rule.name())]));
    AlertRuleStanding { name: rule.name().into(), labels, undecided, failing }
}
