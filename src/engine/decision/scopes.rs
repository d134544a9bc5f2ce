//! Which times it is for each target, and what follows for triggers that are outside of theirs.

use std::collections::{BTreeMap, BTreeSet};

use super::deployment::DeploymentPhase;
use super::draft::Draft;
use super::event::{Cause, Happening};
use super::setup::Setup;
use super::state::State;
use crate::engine::evaluation::{OutOfScope, Scopes, TriggerKey};
use crate::engine::model::{CalendarName, TargetName};
use crate::engine::rules::{During, Scope, Trigger};
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

/// Returns when the next calendar opens or closes that some trigger's `during` names: at that very instant the trigger
/// comes into its time, or leaves it.
pub fn next_boundary(state: &State, setup: &Setup, now: Timestamp) -> Option<Timestamp> {
    let words = setup.rules.triggers.values().flat_map(|trigger| &trigger.during);
    let named: BTreeSet<&CalendarName> = words.filter_map(|word| calendar_of(&word.scope)).collect();
    named.into_iter().filter_map(|name| changes_at(state, setup, name, now)).min()
}

/// Returns when a trigger that is outside of its times is within them again, at the earliest; `None` where that hangs on
/// more than calendars.
pub fn within_again_at(state: &State, setup: &Setup, trigger: &Trigger, now: Timestamp) -> Option<Timestamp> {
    let scopes = scopes_of(state, setup, &trigger.target, now);
    let unmet = |word: &&During| scopes.unmet(std::slice::from_ref(*word)).is_some();
    let changes = trigger
        .during
        .iter()
        .filter(unmet)
        .map(|word| calendar_of(&word.scope).and_then(|name| changes_at(state, setup, name, now)));
    // All of them must be true, so the last one counts.
    changes.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Returns when the first of the calendars changes by which a trigger is within its times.
pub fn outside_again_at(
    state: &State,
    setup: &Setup,
    trigger: &Trigger,
    now: Timestamp,
) -> Option<Timestamp> {
    let calendars = trigger.during.iter().filter_map(|word| calendar_of(&word.scope));
    calendars.filter_map(|name| changes_at(state, setup, name, now)).min()
}

fn calendar_of(scope: &Scope) -> Option<&CalendarName> {
    match scope {
        Scope::Calendar(name) => Some(name),
        Scope::Deployment | Scope::Soak | Scope::Stage(_) => None,
    }
}

fn changes_at(state: &State, setup: &Setup, name: &CalendarName, now: Timestamp) -> Option<Timestamp> {
    let wall_ms = (now + state.wall_offset).as_millis();
    let change = setup.calendars.get(name)?.next_change(wall_ms)?;
    Some(Timestamp::from_millis(change) - state.wall_offset)
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
