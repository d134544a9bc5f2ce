//! Triggers outside of their times: they are not judged, and what their windows held is gone.

use std::sync::Arc;

use super::Measurements;
use crate::engine::evaluation::scopes::Outside;
use crate::engine::evaluation::verdict::OutOfScope;
use crate::engine::evaluation::watch::Watch;
use crate::engine::rules::Trigger;
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
        self.outside.insert(id, Outside { scope: scope.clone(), since });
        self.windows.retain(|key, _| key.target != rule.target || key.trigger != rule.name);
        Some(scope)
    }
}
