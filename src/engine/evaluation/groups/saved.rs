//! What outlives a restart or a reload.
//!
//! Prometheus restores alerts from `ALERTS_FOR_STATE` and only where `for` is ten minutes or more; a trigger of one
//! minute begins anew there, even one that fired. Here every alert is saved as it is. Time in which nobody looked counts
//! neither way: a pending alert keeps the time that it has waited, and what fires goes on until an evaluation says
//! otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::asked::asked_by;
use super::{ActiveAlert, AlertState, GroupId, GroupState, Groups, RULES_SOURCE, RuleId, numbered, schedule};
use crate::engine::evaluation::MAX_RESTORE_GAP;
use crate::engine::model::{SourceName, is_stale_marker};
use crate::engine::rules::Group;
use crate::engine::series::{Selector, Sources, Store};
use crate::engine::time::{Span, Timestamp};

/// A group's state as it is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedGroup {
    /// Which.
    pub group: GroupId,
    /// Its last evaluation.
    pub last_evaluated: Option<Timestamp>,
    /// Its rules.
    rules: Vec<SavedRule>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedRule {
    rule: RuleId,
    reads: BTreeSet<SourceName>,
    alerts: Vec<ActiveAlert>,
}

impl GroupState {
    /// Takes the time in which nobody looked out of what is waited for, at the first evaluation after a restart.
    ///
    /// An evaluation speaks for one interval anyway, so that a stop over at most one instant costs what is beyond that; a
    /// longer stop counts for nothing at all.
    pub(super) fn resume(&mut self, at: Timestamp, interval: Span) {
        if !std::mem::take(&mut self.resumed) {
            return;
        }
        let Some(last) = self.last_evaluated else { return };
        let unseen = at.since(last);
        let gap = if unseen > interval.times(2) { unseen } else { at.since(last + interval) };
        for alert in self.rules.values_mut().flat_map(|rule| rule.active.values_mut()) {
            if alert.state == AlertState::Pending {
                alert.active_at += gap;
            }
            if let Some(since) = &mut alert.keep_since {
                *since += gap;
            }
        }
    }
}

impl Groups {
    /// Takes another set of groups into force at `now`. Rules with the same fingerprint keep their state; what others
    /// wrote ends once every group has been evaluated without writing it again.
    pub fn load(&mut self, groups: &[Arc<Group>], now: Timestamp) {
        let mut before = std::mem::take(&mut self.groups);
        for group in groups {
            let id = GroupId::of(group);
            let mut old = before.remove(&id);
            let fresh = || GroupState { since: now, ..GroupState::default() };
            let mut rules = old.as_mut().map(|old| std::mem::take(&mut old.rules)).unwrap_or_default();
            let kept: BTreeMap<_, _> =
                numbered(group).map(|(id, _)| (id.clone(), rules.remove(&id).unwrap_or_default())).collect();
            self.orphans.extend(rules.into_values().flat_map(|rule| rule.wrote));
            let state =
                GroupState { phase: schedule::phase(group), rules: kept, ..old.unwrap_or_else(fresh) };
            self.groups.insert(id, state);
        }
        let gone = before.into_values().flat_map(|group| group.rules.into_values());
        self.orphans.extend(gone.flat_map(|rule| rule.wrote));
        self.awaited = self.groups.keys().cloned().collect();
        self.asked = asked_by(groups.iter().map(Arc::as_ref)).selectors;
        self.asked.sort_by(|left, right| left.key().cmp(right.key()));
        self.asked.dedup();
    }

    /// Returns what is to be saved.
    pub fn saved(&self) -> Vec<SavedGroup> {
        let groups = self.groups.iter().filter(|(_, state)| state.last_evaluated.is_some());
        groups
            .map(|(id, state)| SavedGroup {
                group: id.clone(),
                last_evaluated: state.last_evaluated,
                rules: state
                    .rules
                    .iter()
                    .map(|(rule, state)| SavedRule {
                        rule: rule.clone(),
                        reads: state.reads.clone(),
                        alerts: state.active.values().cloned().collect(),
                    })
                    .collect(),
            })
            .collect()
    }

    /// Takes up what was saved before a restart at `now`, for the rules that are still loaded.
    ///
    /// After more than [`MAX_RESTORE_GAP`] what was pending is forgotten; what fired fires on.
    pub fn restore(&mut self, saved: Vec<SavedGroup>, now: Timestamp, store: &Store) {
        for group in saved {
            let Some(state) = self.groups.get_mut(&group.group) else { continue };
            let too_old = group.last_evaluated.is_none_or(|last| now.since(last) > MAX_RESTORE_GAP);
            // A clock that was ahead must not keep the group from being evaluated.
            state.last_evaluated = group.last_evaluated.filter(|last| *last <= now);
            state.resumed = true;
            for saved in group.rules {
                let Some(rule) = state.rules.get_mut(&saved.rule) else { continue };
                let alerts = saved.alerts.into_iter();
                let alerts = alerts.filter(|alert| alert.state == AlertState::Firing || !too_old);
                rule.active = alerts.map(|alert| (alert.labels.clone(), alert)).collect();
                rule.reads = saved.reads;
            }
        }
        self.adopt(store);
    }

    /// Takes the series that an earlier life has left in the store for orphans: they end unless written again.
    fn adopt(&mut self, store: &Store) {
        let own = Selector::new(Vec::new(), Sources::Only([SourceName::from(RULES_SOURCE)].into()));
        for id in store.select(&own).iter() {
            let series = &store[*id];
            if series.points().last().is_some_and(|point| !is_stale_marker(point.value)) {
                self.orphans.insert(series.labels().clone());
            }
        }
    }
}
