//! Which times it is for each target, and what follows for triggers that are outside of theirs.

use std::collections::BTreeMap;

use super::deployment::DeploymentPhase;
use super::draft::Draft;
use super::event::{Cause, Happening};
use super::setup::Setup;
use super::state::State;
use crate::engine::evaluation::{OutOfScope, Scopes, TriggerKey};
use crate::engine::model::TargetName;
use crate::engine::time::Timestamp;

/// Returns which times it is for every target that a rule asks about; nothing where none does.
pub fn scopes(state: &State, setup: &Setup, now: Timestamp) -> BTreeMap<TargetName, Scopes> {
    let asking = setup.rules.triggers.values().filter(|trigger| !trigger.during.is_empty());
    let mut scopes = BTreeMap::new();
    for trigger in asking {
        if !scopes.contains_key(&trigger.target) {
            scopes.insert(trigger.target.clone(), scopes_of(state, setup, &trigger.target, now));
        }
    }
    scopes
}

/// Returns which times it is for one target.
pub fn scopes_of(state: &State, setup: &Setup, target: &TargetName, now: Timestamp) -> Scopes {
    let active = state.active_deployment(target.as_str()).map(|(_, deployment)| deployment);
    let wall_ms = (now + state.wall_offset).as_millis();
    let open = setup.calendars.iter().filter(|(_, calendar)| calendar.contains(wall_ms));
    Scopes {
        deployment: active.is_some(),
        soak: active.is_some_and(|active| matches!(active.phase, DeploymentPhase::Soaking { .. })),
        stage: active
            .and_then(|active| active.stage())
            .filter(|stage| now >= stage.at + stage.settle)
            .map(|stage| stage.share),
        open: open.map(|(name, _)| name.clone()).collect(),
    }
}

impl Draft<'_> {
    /// Takes in which triggers are outside of their times: what they began is over.
    pub(super) fn take_outside(&mut self, outside: &[OutOfScope]) {
        for left in outside {
            let is_its = |key: &&TriggerKey| key.target == left.target && key.trigger == left.trigger;
            let loud: Vec<TriggerKey> = self.state().triggers.keys().filter(is_its).cloned().collect();
            for key in loud {
                self.emit(Happening::TriggerOutOfScope { key: key.clone(), scope: left.scope.clone() });
                if let Some(incident) = self.state().open_incident(&Cause::Trigger(key)) {
                    self.resolve_if_quiet(
                        incident,
                        &format!("it is out of scope: judged during {} only", left.scope),
                    );
                }
            }
            let blind = self.state().incidents.values().filter(|incident| incident.resolved_at.is_none());
            let blind: Vec<Cause> = blind
                .filter(|incident| matches!(&incident.cause, Cause::Blind(key) if is_its(&key)))
                .map(|incident| incident.cause.clone())
                .collect();
            for cause in blind {
                self.resolve_cause(&cause, "it is out of scope");
            }
        }
    }
}
