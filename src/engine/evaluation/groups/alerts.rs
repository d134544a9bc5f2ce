//! What becomes of an alert from one evaluation to the next: Prometheus' state machine.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::GroupId;
use crate::engine::model::{Labels, stored_number};
use crate::engine::time::{Span, Timestamp};

/// How far an alert has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// The condition is present, for not long enough yet.
    Pending,
    /// It has been present for `for`, or still counts as present by `keep_firing_for`.
    Firing,
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
        })
    }
}

/// One alert of one rule: what people see, and what is saved across restarts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveAlert {
    /// The group whose rule yields it.
    pub group: GroupId,
    /// The rule's name, which is also the label `alertname`.
    pub rule: Arc<str>,
    /// How far it has come.
    pub state: AlertState,
    /// The labels of the result without its name, then the rule's, then `alertname`.
    pub labels: Labels,
    /// Texts for people, filled in at the last evaluation that saw the condition.
    pub annotations: Labels,
    /// The evaluation that first saw the condition; time in which nobody looked is taken out.
    pub active_at: Timestamp,
    /// The evaluation at which it began to fire.
    pub fired_at: Option<Timestamp>,
    /// The first evaluation that did not see the condition any more, while `keep_firing_for` keeps it.
    pub keep_since: Option<Timestamp>,
    /// The value at the last evaluation that saw the condition.
    #[serde(with = "stored_number")]
    pub value: f64,
}

/// What one evaluation saw of one label set.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) annotations: Labels,
    pub(super) value: f64,
}

/// What decides when the alerts of a rule fire and when they stop.
pub(super) struct Terms<'a> {
    pub(super) group: &'a GroupId,
    pub(super) rule: &'a Arc<str>,
    pub(super) hold: Span,
    pub(super) keep_firing_for: Span,
    /// How many alerts there may be; zero is no limit.
    pub(super) limit: usize,
}

/// Moves the alerts of a rule on by one evaluation at `at`.
///
/// # Errors
///
/// There would be more alerts than the group allows. Nothing is changed then: Prometheus forgets every alert of the
/// rule, but an alert that fires must not end because there are many others.
pub(super) fn advance(
    active: &mut BTreeMap<Labels, ActiveAlert>,
    seen: BTreeMap<Labels, Seen>,
    terms: &Terms<'_>,
    at: Timestamp,
) -> Result<(), String> {
    let kept = |alert: &ActiveAlert| {
        let since = alert.keep_since.unwrap_or(at);
        alert.state == AlertState::Firing && at - since < terms.keep_firing_for
    };
    let absent = |alert: &&ActiveAlert| !seen.contains_key(&alert.labels);
    let count = seen.len() + active.values().filter(absent).filter(|alert| kept(alert)).count();
    if terms.limit > 0 && count > terms.limit {
        return Err(format!("exceeded limit of {} with {count} alerts", terms.limit));
    }
    active.retain(|labels, alert| {
        if seen.contains_key(labels) {
            alert.keep_since = None;
            return true;
        }
        let stays = kept(alert);
        alert.keep_since.get_or_insert(at);
        stays
    });
    for (labels, seen) in seen {
        let alert = active.entry(labels.clone()).or_insert_with(|| ActiveAlert {
            group: terms.group.clone(),
            rule: Arc::clone(terms.rule),
            state: AlertState::Pending,
            labels,
            annotations: Labels::empty(),
            active_at: at,
            fired_at: None,
            keep_since: None,
            value: seen.value,
        });
        (alert.annotations, alert.value) = (seen.annotations, seen.value);
    }
    for alert in active.values_mut() {
        let old_enough = at - alert.active_at >= terms.hold;
        match alert.state {
            AlertState::Pending if old_enough => {
                alert.state = AlertState::Firing;
                alert.fired_at = Some(at);
            }
            // A reload has raised `for`.
            AlertState::Firing if !old_enough => {
                alert.state = AlertState::Pending;
                alert.fired_at = None;
            }
            _ => {}
        }
    }
    Ok(())
}
