//! Counts what the worlds contained.

use super::counters::Counters;
use crate::engine::decision::{
    Cause, DeploymentResult, Event, Happening, OnError, Origin, Outcome, Phase, Refusal, Setup, State,
    StepResult,
};

/// Counts one event; `state` is as it was after the whole decision.
pub(super) fn event(event: &Event, state: &State, setup: &Setup, counters: &mut Counters) {
    let name = match &event.what {
        Happening::JournalLost { .. } => "journal lost",
        Happening::JournalRestored => "journal restored",
        Happening::SetupRefused { .. } => "files refused",
        Happening::TriggerPending { .. } => "trigger pending",
        Happening::TriggerFiring { .. } => "trigger fired",
        Happening::TriggerCleared { removed: true, .. } => "trigger removed",
        Happening::TriggerCleared { .. } => "trigger cleared",
        Happening::IncidentOpened { cause: Cause::Silent(_), .. } => "source silent",
        Happening::IncidentOpened { cause: Cause::Blind(_), .. } => "trigger blind",
        Happening::IncidentOpened { cause: Cause::DeadReceiver(_), .. } => "receiver dead",
        Happening::Escalated { .. } => "incident escalated",
        Happening::StepInDoubt { .. } => "step in doubt",
        Happening::StepSettled { by, .. } if by.contains("idempotent") => {
            "restart that ran an idempotent step again"
        }
        Happening::StepSettled { done: true, .. } => "step settled as done",
        Happening::StepSettled { done: false, .. } => "step settled as not done",
        Happening::StepEnded { rollback, ending, .. } => {
            let index = state.rollbacks.get(rollback).and_then(|run| run.steps.last()).map(|step| step.index);
            let plan = state.rollbacks.get(rollback).and_then(|run| setup.plans.get(&run.plan));
            let step = index.and_then(|index| plan.and_then(|plan| plan.steps.get(index)));
            match (&ending.result, step.map(|step| step.on_error)) {
                (StepResult::Succeeded, _) => "step succeeded",
                (StepResult::TimedOut, _) => "step timed out",
                (StepResult::Failed(_), Some(OnError::Continue)) => "step failed, plan went on",
                (StepResult::Failed(_), _) => "step failed",
            }
        }
        Happening::DeploymentStarted { origin: Origin::Detected, .. } => "deployment detected",
        Happening::DeploymentStarted { .. } => "deployment announced",
        Happening::DeploymentEnded { result, .. } => match result {
            DeploymentResult::Succeeded => "deployment succeeded",
            DeploymentResult::Failed => "deployment failed",
            DeploymentResult::RolledBack => "deployment rolled back",
            DeploymentResult::Abandoned => "deployment abandoned",
        },
        Happening::RollbackEnded { outcome, reason, .. } => match outcome {
            Outcome::Succeeded if reason.contains("passed") => "rollback succeeded, verified",
            Outcome::Succeeded => "rollback succeeded, no verification",
            Outcome::Partial => "rollback partial",
            Outcome::Failed => "rollback failed",
            Outcome::TimedOut => "rollback timed out",
            Outcome::Refused => "rollback refused",
        },
        Happening::RollbackNotBegun { refusal, .. } => match refusal {
            Refusal::Shadow => "refused: shadow",
            Refusal::Joined(_) => "refused: joined",
            Refusal::AlreadyRun(_) => "refused: already run",
            Refusal::Cooldown { .. } => "refused: cooldown",
            Refusal::AtMost { .. } => "refused: at most",
            Refusal::PastReturn { .. } => "refused: point of no return",
            Refusal::OutOfScope(_) => "refused: out of scope",
            Refusal::Journal(_) => "refused: journal",
            Refusal::Stopping => "refused: stopping",
            Refusal::RestsOnAbsence => "refused: rests on absence",
            Refusal::Isolated(_) => "refused: isolated",
            Refusal::Permissive => "refused: permissive budget",
            Refusal::SourceFailed(_) => "refused: source failed",
        },
        _ => return,
    };
    counters.note(name);
}

/// Counts what a process that has just come up finds.
pub(super) fn recovered(state: &State, counters: &mut Counters) {
    for rollback in state.rollbacks.values() {
        match rollback.phase {
            Phase::Intended { .. } => counters.note("crash after intent"),
            Phase::Started { .. } => counters.note("crash after start"),
            Phase::Verifying { .. } => counters.note("crash while verifying"),
            Phase::InDoubt { .. } => counters.note("crash while in doubt"),
            Phase::Ready { .. } => counters.note("stop between two steps"),
            Phase::Ended { .. } => {}
        }
    }
    if !state.pages.is_empty() {
        counters.note("crash with pages outstanding");
    }
}
