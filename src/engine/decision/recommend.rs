//! Advice in place of an act: what is recommended, why, and on what grounds; and budgets that only advise.

use super::draft::Draft;
use super::event::{Happening, Refusal};
use super::firing::Firing;
use super::state::TriggerState;
use crate::engine::evaluation::TriggerKey;
use crate::engine::model::{IncidentId, TargetName};
use crate::engine::rules::Enforcement;

impl Draft<'_> {
    /// Records the recommended plan of something that fires, and returns what the page says about it.
    pub(super) fn recommend(&mut self, incident: IncidentId, firing: &Firing<'_>) -> Vec<String> {
        let Some(plan) = &firing.then.recommend else { return Vec::new() };
        let target = &firing.key.target;
        let violations = self.violations(target);
        let deployed = self.state().active_deployment(target.as_str());
        let deployed = deployed.map(|(id, active)| (id, active.version.clone()));
        let seen = || self.state().targets.get(target).and_then(|target| target.version.clone());
        let (deployment, version) = match deployed {
            Some((id, version)) => (Some(id), Some(version)),
            None => (None, seen()),
        };
        let runs = version.as_ref().map_or(String::new(), |version| format!(" Version {version} runs."));
        let told = format!(
            "RECOMMENDED: roll back {target} by plan `{plan}`. Nothing is done by itself.{runs} Broken: {}.",
            violations.join(", ")
        );
        self.emit(Happening::RollbackRecommended {
            incident,
            target: target.clone(),
            recommended: plan.clone(),
            reason: firing.reason.clone(),
            violations,
            version,
            deployment,
            unix_ms: (self.now + self.state().wall_offset).as_millis(),
        });
        vec![told]
    }

    /// Returns every promise and trigger of a target that fires.
    fn violations(&self, target: &TargetName) -> Vec<String> {
        let triggers = self.state().triggers.iter();
        let firing = triggers
            .filter(|(key, state)| key.target == *target && matches!(state, TriggerState::Firing { .. }));
        let condition = |key: &TriggerKey| {
            let rule = self.setup.rules.triggers.get(&(key.target.clone(), key.trigger.clone()));
            rule.map_or_else(String::new, |rule| format!(" ({})", rule.when.text))
        };
        firing.map(|(key, _)| format!("{}{}", key.trigger, condition(key))).collect()
    }

    /// Returns why a burn rate may not act, if it may not.
    pub(super) fn barred_by_budget(&self, key: &TriggerKey) -> Option<Refusal> {
        let rule = self.setup.rules.triggers.get(&(key.target.clone(), key.trigger.clone()))?;
        let enforcement = rule.burn_rate.as_ref()?.enforcement;
        (enforcement == Enforcement::Permissive).then_some(Refusal::Permissive)
    }
}
