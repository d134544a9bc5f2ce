//! Imported groups within the measurements: when they are evaluated, and what of it the decision half hears.

use std::sync::Arc;

use super::Measurements;
use crate::engine::evaluation::alerting::AlertsJudged;
use crate::engine::evaluation::groups::{
    ActiveAlert, GroupContext, GroupId, GroupLook, Health, RULES_SOURCE, SourceStanding, wanted_by,
};
use crate::engine::evaluation::look::FailingRule;
use crate::engine::evaluation::watch::Watch;
use crate::engine::model::SourceName;
use crate::engine::series::{Observation, Selector, Sources};
use crate::engine::time::{Span, Timestamp};

/// How often series that groups wrote are looked through for points that nobody looks back to.
const RETAIN_EVERY: Span = Span::from_secs(60);

impl Measurements {
    /// Takes the groups of `watch` into force; adds what they select, and returns how far back they look.
    pub(super) fn watch_groups(
        &mut self,
        watch: &Watch<'_>,
        selectors: &mut Vec<Selector>,
        now: Timestamp,
    ) -> Span {
        self.groups.load(&watch.rules.groups, now);
        for group in &watch.rules.groups {
            let mut read = group.rules.iter().flat_map(|rule| rule.query.selectors());
            if read.any(|selector| self.store.kept_since(selector).is_none()) {
                self.groups.hold(group);
            }
        }
        let wanted = wanted_by(watch.rules.groups.iter().map(Arc::as_ref));
        selectors.extend(wanted.selectors);
        wanted.reach
    }

    /// Takes up what groups had written before a restart.
    pub(super) fn restore_recorded(&mut self, observation: &Observation) {
        for sample in observation.answer.iter().flatten() {
            // One that is there already says the same.
            let _known = self.store.append(&observation.source, sample);
        }
    }

    /// Returns those selectors of series that sources have and the store does not keep.
    pub(super) fn not_kept_yet(&self, selectors: &[Selector]) -> Vec<Selector> {
        let own = Sources::Only([SourceName::from(RULES_SOURCE)].into());
        let begun = selectors.iter().filter(|one| *one.sources() != own && !self.store.keeps(one));
        begun.cloned().collect()
    }

    /// Notes since when every source has answered or failed; groups that waited for that wait no longer.
    pub(super) fn note_ready(&mut self, now: Timestamp) {
        if self.heard.values().all(|hearing| hearing.last.is_some()) {
            self.ready.get_or_insert(now);
        } else {
            self.ready = None;
        }
        if self.unseen.is_empty() {
            self.groups.release(now);
        }
    }

    /// Evaluates the groups that are due; returns every alert where there was one.
    pub(super) fn evaluate_due(&mut self, watch: &Watch<'_>, now: Timestamp) -> Option<AlertsJudged> {
        if !watch.evaluates_groups {
            return None;
        }
        let due = self.groups.due(&watch.rules.groups, self.ready?, now);
        if due.is_empty() {
            return None;
        }
        let context = GroupContext {
            wall_offset: watch.wall_offset,
            external_labels: watch.external_labels,
            external_url: watch.external_url,
        };
        for (at, group) in &due {
            let outcome = self.groups.evaluate(group, *at, &mut self.store, &context);
            if !outcome.written.is_empty() {
                let (source, answer) = (SourceName::from(RULES_SOURCE), Ok(outcome.written));
                self.recorded.push(Observation { source, at: *at, took: Span::ZERO, answer, told: None });
            }
        }
        if now.since(self.retained) >= RETAIN_EVERY {
            self.retained = now;
            self.store.retain(now);
        }
        let evaluated: Vec<GroupId> = due.iter().map(|(_, group)| GroupId::of(group)).collect();
        let standing = |source: &SourceName| self.standing(source, watch, now);
        Some(self.groups.judged(&watch.rules.groups, &evaluated, &standing))
    }

    /// Returns when the next group is due.
    pub(super) fn next_evaluation(&self, watch: &Watch<'_>, now: Timestamp) -> Option<Timestamp> {
        if !watch.evaluates_groups {
            return None;
        }
        self.groups.next_due(&watch.rules.groups, self.ready?, now)
    }

    /// Returns how far a source can be relied on. One that is no longer configured takes nothing away.
    fn standing(&self, source: &SourceName, watch: &Watch<'_>, now: Timestamp) -> SourceStanding {
        let Some(hearing) = self.heard.get(source) else { return SourceStanding::Settled(Timestamp::ZERO) };
        let since = hearing.last_good.unwrap_or(hearing.asked_since);
        let is_silent = watch.paces.get(source).is_some_and(|pace| now.since(since) >= pace.silent_after);
        match hearing.settled_at {
            _ if is_silent || !matches!(hearing.last, Some(Ok(()))) => SourceStanding::Fails,
            Some(at) => SourceStanding::Settled(at),
            None => SourceStanding::AnswersAgain,
        }
    }

    /// Returns what groups have written since the last call: to be saved with the observations.
    pub fn take_recorded(&mut self) -> Vec<Observation> {
        std::mem::take(&mut self.recorded)
    }

    /// Returns every group with its rules and alerts.
    pub fn groups(&self, watch: &Watch<'_>) -> Vec<GroupLook> {
        self.groups.look(&watch.rules.groups)
    }

    /// Returns every alert that is pending or firing.
    pub fn alerts(&self) -> Vec<ActiveAlert> {
        self.groups.alerts().cloned().collect()
    }

    /// Returns every rule of a group whose last evaluation failed.
    pub fn failing_rules(&self, watch: &Watch<'_>) -> Vec<FailingRule> {
        let groups = self.groups(watch).into_iter();
        let failing = groups.flat_map(|group| {
            let id = GroupId { file: group.file, name: group.name };
            let failing = group.rules.into_iter().filter(|rule| rule.health == Health::Err);
            failing.map(move |rule| FailingRule {
                group: id.clone(),
                rule: rule.name.to_string(),
                why: rule.last_error.unwrap_or_default(),
            })
        });
        failing.collect()
    }
}
