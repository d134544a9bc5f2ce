//! Triggers outside of their times: they are not judged, and what their windows held is gone.

use std::sync::Arc;

use super::Measurements;
use super::measure::Seen;
use crate::engine::evaluation::scopes::Outside;
use crate::engine::evaluation::verdict::{Judgement, OutOfScope};
use crate::engine::evaluation::watch::Watch;
use crate::engine::model::SourceName;
use crate::engine::promql::EvalContext;
use crate::engine::rules::{Scope, Trigger};
use crate::engine::time::Timestamp;

impl Measurements {
    /// Parts rules into those that are judged now and those whose time it is not.
    pub(super) fn within_scope<'r>(
        &mut self,
        rules: impl Iterator<Item = &'r Arc<Trigger>>,
        watch: &Watch<'_>,
        now: Timestamp,
    ) -> (Vec<&'r Arc<Trigger>>, Vec<OutOfScope>) {
        let mut outside = Vec::new();
        let mut within = Vec::new();
        for rule in rules {
            match self.unmet(rule, watch, now) {
                None => within.push(rule),
                Some(scope) => {
                    let (target, trigger) = (rule.target.clone(), rule.name.clone());
                    outside.push(OutOfScope { target, trigger, scope });
                }
            }
        }
        (within, outside)
    }

    /// Takes triggers into and out of their times that hear nothing now: all but those that read `heard`.
    ///
    /// One whose calendar opens is judged at that instant on the answers that are there, which speak until the next ones.
    /// Where observations are counted it waits for one: none is counted that was made before its time.
    pub(super) fn cross_boundaries(
        &mut self,
        heard: Option<&SourceName>,
        watch: &Watch<'_>,
        now: Timestamp,
    ) -> (Vec<Judgement>, Vec<OutOfScope>) {
        let (mut entered, mut left) = (Vec::new(), Vec::new());
        let context = EvalContext { wall_offset: watch.wall_offset, ..EvalContext::at(now) };
        let seen = Seen::default();
        for (id, rule) in &watch.rules.triggers {
            if rule.during.is_empty() || heard.is_some_and(|source| rule.sources.contains(source)) {
                continue;
            }
            let slept = self.outside.get(id).map(|outside| outside.scope.clone());
            let is_within =
                watch.scopes.get(&rule.target).is_some_and(|now| now.unmet(&rule.during).is_none());
            match (slept, is_within) {
                (None, false) => {
                    let (target, trigger) = id.clone();
                    left.extend(self.unmet(rule, watch, now).map(|scope| OutOfScope {
                        target,
                        trigger,
                        scope,
                    }));
                }
                (Some(_), false) => drop(self.unmet(rule, watch, now)),
                (Some(scope), true) if opens(rule, &scope) => {
                    self.outside.remove(id);
                    let is_counted = rule.window.max_gap().is_none() || rule.min_samples > 0;
                    if let Some(source) = rule.sources.first().filter(|_| !is_counted) {
                        entered.extend(self.judge(rule, source, watch, (&context, &seen)));
                    }
                }
                // A deployment shows in answers that are made within it.
                (Some(_), true) | (None, true) => {}
            }
        }
        (entered, left)
    }

    /// Returns the word of `during` that is not true, where there is one; the trigger's windows are empty then.
    fn unmet(&mut self, rule: &Trigger, watch: &Watch<'_>, now: Timestamp) -> Option<String> {
        let id = (rule.target.clone(), rule.name.clone());
        let unmet = match watch.scopes.get(&rule.target) {
            Some(scopes) => scopes.unmet(&rule.during),
            // Nothing is known of a target that is not configured: no time is its time.
            None => rule.during.first(),
        };
        let Some(unmet) = unmet else {
            self.outside.remove(&id);
            return None;
        };
        let scope = unmet.to_string();
        let since = self.outside.get(&id).map_or(now, |outside| outside.since);
        self.outside.insert(id, Outside { scope: scope.clone(), since, until: None });
        self.windows.retain(|key, _| key.target != rule.target || key.trigger != rule.name);
        Some(scope)
    }
}

/// Returns whether the word that was not true is a calendar.
fn opens(rule: &Trigger, scope: &str) -> bool {
    let mut words = rule.during.iter().filter(|word| word.to_string() == scope);
    words.any(|word| matches!(word.scope, Scope::Calendar(_)))
}
