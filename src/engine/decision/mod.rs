//! What follows from verdicts: triggers' states, incidents, arbitration, rollback plans, pages.
//!
//! [`decide`] returns what happens as data and changes nothing; [`apply`] is the only way in which state changes. The
//! executor of an effect has no choices left, and every "no" has a named reason.

mod alerts;
mod arbitration;
mod checkpoint;
pub mod deployment;
mod describe;
mod draft;
mod due;
pub mod effect;
mod escalation;
pub mod event;
mod firing;
mod forgetting;
mod incident;
pub mod input;
pub mod link;
mod normal;
mod paging;
mod pairs;
pub mod placeholders;
mod precedence;
mod probes;
mod proof;
mod recommend;
pub mod rollback;
mod scopes;
pub mod setup;
pub mod state;

pub use arbitration::would_roll_back;
pub use checkpoint::JournalCheckpoint;
pub use deployment::{
    Deployment, DeploymentNews, DeploymentPhase, DeploymentResult, DeploymentSettings, Ending, Origin, Stage,
};
pub use describe::counted;
pub use effect::{
    Delivery, DeliveryReport, Effect, EffectClass, IncidentFacts, Message, MessageKind, StepEnding,
    StepHandle, StepOrder, StepResult,
};
pub use event::{Cause, CheckSeen, EVENT_VERSION, Event, Happening, Outcome, Refusal};
pub use input::{Command, EffectOutcome, Input, Restart};
pub use probes::barred_by_absence;
pub use rollback::{Phase, Rollback};
pub use scopes::{next_boundary, outside_again_at, scopes, within_again_at};
pub use setup::{AtMost, Level, Mode, OnError, Plan, Policy, Setup, Step, StepAction, Target, Verify};
pub use state::{IllegalTransition, Incident, State, TriggerState, apply};

use crate::engine::model::{EffectId, RollbackId, Severity};
use crate::engine::report::{Reason, Report};
use crate::engine::time::Timestamp;
use draft::Draft;

/// How many ids one process may give out while the journal cannot be written; its backlog is bounded far below.
const IDS_PER_EPOCH: u64 = 1_000_000;

/// What happens, and why.
#[must_use = "a decision that is not committed has not happened"]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What happened, in order; applied to the state once it is durable.
    pub events: Vec<Event>,
    /// What the shell must do once the events are durable.
    pub effects: Vec<Effect>,
    /// Why nothing (more) is done.
    pub report: Report,
    /// When [`Input::Woke`] is due if nothing else happens before.
    pub wake_at: Option<Timestamp>,
}

/// Decides what follows from `input`. The same arguments give the same decision (E1).
pub fn decide(state: &State, setup: &Setup, now: Timestamp, input: &Input) -> Decision {
    let mut draft = Draft::new(state, setup, now);
    // What is done at the very limit of its clock is late, whichever of both is heard first.
    if let Input::Judged(_) | Input::Woke | Input::EffectFinished { .. } | Input::Command(_) = input {
        draft.tell_overdue();
    }
    match input {
        Input::Restarted(restart) => {
            draft.emit(Happening::Restarted(restart.clone()));
            draft.resolve_cause(&Cause::StateLost, "the daemon has started on a sound journal since");
            draft.take_up_deliveries();
            draft.take_up_rollbacks(&restart.alive);
        }
        Input::Judged(judged) => draft.take_judged(judged),
        Input::Woke => {
            draft.wake_rollbacks();
            draft.escalate();
            draft.wake_deployments();
        }
        Input::EffectStarted { effect, handle } => draft.take_start(*effect, handle),
        Input::EffectFinished { effect, outcome } => draft.take_outcome(*effect, outcome),
        Input::IntentRefused { reason, epoch } => draft.lose_journal(reason, *epoch),
        Input::JournalRestored => {
            if draft.state().journal_lost.is_some() {
                draft.emit(Happening::JournalRestored);
                draft.resolve_cause(&Cause::Journal, "the journal can be written again");
            }
        }
        Input::StateLost { problem } => draft.open_own(
            Cause::StateLost,
            Severity::Critical,
            problem.clone(),
            "Open incidents, cooldowns and caps from before are forgotten: look at every target.",
        ),
        Input::SetupLoaded { fingerprint, degraded } => draft.take_setup(fingerprint, degraded.as_deref()),
        Input::SetupRefused { problem } => {
            draft.emit(Happening::SetupRefused { problem: problem.clone() });
            draft.tell_bad_setup(problem);
        }
        Input::WallClock { offset } => {
            if draft.state().wall_offset != *offset {
                draft.emit(Happening::WallClockMoved { offset: *offset });
            }
        }
        Input::Command(command) => draft.take_command(command),
        Input::Stopping => {
            draft.emit(Happening::Stopping);
        }
    }
    // What is left to the restart must not keep the loop awake.
    let (stopping, now) = (draft.state().stopping, draft.now);
    let rollbacks = draft.state().rollbacks.values().filter_map(Rollback::wake_at);
    let clocks = draft.state().escalates_at(setup).into_iter().chain(draft.state().overdue_at());
    let due = rollbacks.chain(clocks).chain(draft.next_deployment_due());
    let wake_at = due.filter(|at| !stopping || *at > now).min();
    Decision { events: draft.events, effects: draft.effects, report: draft.report, wake_at }
}

impl Draft<'_> {
    fn take_start(&mut self, effect: EffectId, handle: &StepHandle) {
        let waits = |(id, run): (&_, &Rollback)| match &run.phase {
            Phase::Intended { order, .. } if order.effect == effect => Some(*id),
            _ => None,
        };
        let stands = self.state().journal_lost.is_none() && !self.state().stopping;
        match self.state().rollbacks.iter().find_map(waits) {
            Some(rollback) if stands => {
                if self.emit(Happening::StepStarted { rollback, effect, handle: handle.clone() }) {
                    self.effect(Effect::ReleaseStep(effect));
                }
            }
            _ => {
                let why = "the decision behind the step no longer stands".to_owned();
                self.report.add(effect.to_string(), Reason::NotAwaited(why));
                self.effect(Effect::AbandonStep(effect));
            }
        }
    }

    fn lose_journal(&mut self, reason: &str, epoch: u64) {
        let ids_from = epoch.saturating_mul(IDS_PER_EPOCH);
        // Also where an earlier process had lost it: what that one gave out is not to be given out again.
        if self.state().journal_lost.is_none() || self.state().next_effect < ids_from {
            self.emit(Happening::JournalLost { reason: reason.to_owned(), ids_from });
            self.open_own(
                Cause::Journal,
                Severity::Critical,
                format!("the journal cannot be written: {reason}"),
                "Nothing is rolled back until it can be written again; pages go out from memory.",
            );
        }
    }

    fn take_setup(&mut self, fingerprint: &str, degraded: Option<&str>) {
        let (fingerprint, reason) = (fingerprint.to_owned(), degraded.map(str::to_owned));
        self.emit(Happening::SetupLoaded { fingerprint, degraded: reason });
        self.forget_removed();
        match degraded {
            Some(problem) => self.tell_bad_setup(problem),
            None => self.resolve_cause(&Cause::Setup, "the files on disk are in force"),
        }
    }

    fn tell_bad_setup(&mut self, problem: &str) {
        self.open_own(
            Cause::Setup,
            Severity::Medium,
            format!("the files on disk are refused: {problem}"),
            "The last good set stays in force. `rearguard check` lists every problem.",
        );
    }

    fn take_command(&mut self, command: &Command) {
        match command {
            Command::Settle { rollback, done, by } => self.settle(*rollback, *done, by),
            Command::TaskDone { incident, task, by } => self.take_task_done(*incident, task, by),
            Command::Deployment { target, news, by } => self.take_deployment(target, news, by),
        }
    }

    fn settle(&mut self, rollback: RollbackId, done: bool, by: &str) {
        let in_doubt = match self.state().rollbacks.get(&rollback).map(|run| &run.phase) {
            Some(Phase::InDoubt { effect, .. }) => *effect,
            _ => {
                let why = format!("{rollback} has no step in doubt");
                return self.report.add(rollback.to_string(), Reason::Denied(why));
            }
        };
        self.emit(Happening::StepSettled { rollback, effect: in_doubt, done, by: by.to_owned() });
        self.advance(rollback);
    }
}

#[cfg(test)]
mod tests;
