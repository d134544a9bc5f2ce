//! What comes next in a run of a rollback plan: a step, the proof, the end. Its phases are in `phase`.

mod phase;

pub use phase::{Phase, Rollback, StepRecord};

use super::draft::Draft;
use super::effect::{Effect, StepHandle, StepOrder, StepResult};
use super::event::{CheckSeen, Happening, Outcome};
use super::incident::NO_LONGER_MET;
use super::placeholders;
use super::setup::{OnError, Plan};
use crate::engine::evaluation::{CheckVerdict, Verdict};
use crate::engine::model::{EffectId, RollbackId};
use crate::engine::time::Span;

/// How much longer than its budget a step may be silent before it is taken as lost.
///
/// The executor ends a step at its budget and needs up to two seconds more to kill what ignores SIGTERM.
const OVERDUE_GRACE: Span = Span::from_secs(10);

/// How often a rollback in doubt is paged again.
const REMIND_EVERY: Span = Span::from_secs(15 * 60);

impl<'a> Draft<'a> {
    /// Moves a run on: its next step, its proof, or its end.
    pub(super) fn advance(&mut self, id: RollbackId) {
        let Some(rollback) = self.state().rollbacks.get(&id) else { return };
        let Phase::Ready { next } = rollback.phase else { return };
        let (deadline, plan) = (rollback.deadline, self.plan_of(rollback));
        let failed_hard = rollback.steps.last().filter(|record| {
            let stops = self
                .plan_of(rollback)
                .and_then(|plan| plan.steps.get(record.index))
                .is_none_or(|step| step.on_error == OnError::Stop);
            record.ending.result != StepResult::Succeeded && stops && record.index + 1 == next
        });
        if let Some(record) = failed_hard {
            let name = rollback.step_names.get(record.index).cloned().unwrap_or_default();
            let why = match &record.ending.result {
                StepResult::Failed(why) => format!("step `{name}` failed: {why}"),
                _ => format!("step `{name}` was ended at its limit of {}", record.ending.took.rounded()),
            };
            return self.end_rollback(id, Outcome::Failed, why);
        }
        let total = rollback.step_names.len();
        if let Some(lost) = &self.state().journal_lost
            && next < total
        {
            let why = format!(
                "the journal cannot be written ({lost}); {} of {total} steps not begun",
                total - next
            );
            return self.end_rollback(id, Outcome::Failed, why);
        }
        if self.now >= deadline {
            let why = format!("the deadline passed with {next} of {total} steps over");
            return self.end_rollback(id, Outcome::TimedOut, why);
        }
        let Some(plan) = plan else {
            let why = format!("its plan was changed or removed after {next} of {total} steps");
            return self.end_rollback(id, Outcome::Failed, why);
        };
        if next >= total {
            return self.begin_verification(id, plan);
        }
        // Going down: no new acts. The run is taken up again after the restart.
        if !self.state().stopping {
            self.intend_step(id, plan, next, None);
        }
    }

    /// Returns a run's plan, if it is still the one that was decided on.
    fn plan_of(&self, rollback: &Rollback) -> Option<&'a Plan> {
        let plan = self.setup.plans.get(&rollback.plan)?;
        (plan.fingerprint() == rollback.plan_fingerprint).then_some(plan)
    }

    /// Writes down that a step may be prepared. `again` is an effect that never ran.
    fn intend_step(&mut self, id: RollbackId, plan: &Plan, index: usize, again: Option<EffectId>) {
        let Some(rollback) = self.state().rollbacks.get(&id) else { return };
        let Some(step) = plan.steps.get(index) else {
            let why = format!("plan `{}` has no step {} any more", rollback.plan, index + 1);
            return self.end_rollback(id, Outcome::Failed, why);
        };
        let timeout = step.timeout.min(rollback.deadline - self.now);
        let Some(facts) = self.facts(rollback.incident) else { return };
        let effect = again.unwrap_or(EffectId(self.state().next_effect));
        let names =
            placeholders::Names { facts: &facts, rollback: id, plan: &rollback.plan, step: &step.name };
        let order = StepOrder {
            effect,
            key: effect.global(&facts.journal),
            rollback: id,
            plan: rollback.plan.clone(),
            step: step.name.clone(),
            action: placeholders::fill(&step.action, &names),
            timeout,
            facts,
        };
        let overdue_at = self.now + timeout + OVERDUE_GRACE;
        if self.emit(Happening::StepIntended { order: Box::new(order.clone()), index, overdue_at }) {
            self.effect(Effect::PrepareStep(order));
        }
    }

    fn begin_verification(&mut self, id: RollbackId, plan: &Plan) {
        let Some(rollback) = self.state().rollbacks.get(&id) else { return };
        let Some(verify) = &plan.verify else {
            let failed = rollback.failed_steps().join(", ");
            return if failed.is_empty() {
                let why = "every step was done; the plan has no verification".to_owned();
                self.end_rollback(id, Outcome::Succeeded, why)
            } else {
                self.end_rollback(
                    id,
                    Outcome::Partial,
                    format!("not done: {failed}; the plan has no verification"),
                )
            };
        };
        let until = (self.now + verify.within).min(rollback.deadline);
        let not_before = self.now + verify.warm_up;
        self.emit(Happening::VerificationStarted { rollback: id, not_before, until });
    }

    /// Takes in what fresh samples say about every run that is being verified.
    pub(super) fn take_checks(&mut self, checks: &[CheckVerdict]) {
        let verifying: Vec<RollbackId> = self.runs_in(|phase| matches!(phase, Phase::Verifying { .. }));
        for id in verifying {
            let Some(rollback) = self.state().rollbacks.get(&id) else { continue };
            let Phase::Verifying { seen, .. } = &rollback.phase else { continue };
            let Some(verify) = self.plan_of(rollback).and_then(|plan| plan.verify.as_ref()) else {
                continue;
            };
            let fresh: Vec<CheckSeen> = verify
                .conditions
                .iter()
                .enumerate()
                .map(|(at, condition)| {
                    let new =
                        checks.iter().find(|check| check.key.rollback == id && check.key.condition == at);
                    match (new, seen.get(at)) {
                        (Some(new), _) => CheckSeen {
                            condition: condition.text.clone(),
                            verdict: new.verdict.clone(),
                            evidence: new.evidence.clone(),
                        },
                        (None, Some(old)) => old.clone(),
                        (None, None) => CheckSeen {
                            condition: condition.text.clone(),
                            verdict: Verdict::NoData,
                            evidence: None,
                        },
                    }
                })
                .collect();
            let changed = fresh.len() != seen.len()
                || fresh.iter().zip(seen).any(|(new, old)| new.verdict != old.verdict);
            if changed {
                self.emit(Happening::VerificationSaw { rollback: id, checks: fresh.clone() });
            }
            if fresh.iter().all(|check| check.verdict == Verdict::Holds) {
                self.pass_verification(id);
            }
        }
    }

    fn pass_verification(&mut self, id: RollbackId) {
        let Some(rollback) = self.state().rollbacks.get(&id) else { return };
        let failed = rollback.failed_steps().join(", ");
        if failed.is_empty() {
            self.end_rollback(
                id,
                Outcome::Succeeded,
                "every step was done and the verification passed".to_owned(),
            );
        } else {
            self.end_rollback(
                id,
                Outcome::Partial,
                format!("the verification passed, but not done: {failed}"),
            );
        }
    }

    /// Looks at every run whose time has come.
    pub(super) fn wake_rollbacks(&mut self) {
        let now = self.now;
        // Going down, a run that waits for something is left to the restart: nobody asks or prepares any more.
        let stopping = self.state().stopping;
        let due: Vec<RollbackId> = {
            let due = |(id, rollback): (&RollbackId, &Rollback)| {
                rollback.wake_at().is_some_and(|at| at <= now).then_some(*id)
            };
            self.state().rollbacks.iter().filter_map(due).collect()
        };
        for id in due {
            let Some(rollback) = self.state().rollbacks.get(&id) else { continue };
            let (phase, deadline) = (rollback.phase.clone(), rollback.deadline);
            match phase {
                Phase::Intended { .. } | Phase::Verifying { .. } if stopping => {}
                Phase::Intended { order, .. } => {
                    self.effect(Effect::AbandonStep(order.effect));
                    let why = format!("step `{}` could not be begun in time; it never ran", order.step);
                    self.end_rollback(id, Outcome::Failed, why);
                }
                Phase::Started { effect, .. } => {
                    let why = "nothing was heard of it, long past its limit".to_owned();
                    self.doubt(id, effect, why);
                }
                Phase::InDoubt { effect, why, .. } => self.doubt(id, effect, why),
                Phase::Verifying { seen, .. } => {
                    let unmet = unmet(&seen);
                    if now >= deadline {
                        self.end_rollback(
                            id,
                            Outcome::TimedOut,
                            format!("the deadline passed before the proof: {unmet}"),
                        );
                    } else {
                        self.end_rollback(
                            id,
                            Outcome::Partial,
                            format!("the steps are over but the verification did not pass: {unmet}"),
                        );
                    }
                }
                Phase::Ready { .. } => self.advance(id),
                Phase::Ended { .. } => {}
            }
        }
    }

    /// Stops a run at a step whose end is not known, and tells people what is done and what is not.
    pub(super) fn doubt(&mut self, id: RollbackId, effect: EffectId, why: String) {
        self.emit(Happening::StepInDoubt { rollback: id, effect, why });
        self.page_rollback(id);
    }

    fn end_rollback(&mut self, id: RollbackId, outcome: Outcome, reason: String) {
        self.emit(Happening::RollbackEnded { rollback: id, outcome, reason });
        self.page_rollback(id);
        self.deployment_rolled_back(id, outcome);
        let incident = self.state().rollbacks.get(&id).map(|rollback| rollback.incident);
        if let Some(incident) = incident {
            self.resolve_if_quiet(incident, NO_LONGER_MET);
        }
    }

    /// Takes every run up again after a restart.
    pub(super) fn take_up_rollbacks(&mut self, alive: &[EffectId]) {
        for id in self.runs_in(|phase| !matches!(phase, Phase::Ended { .. })) {
            let Some(rollback) = self.state().rollbacks.get(&id) else { continue };
            let plan = self.plan_of(rollback);
            match rollback.phase.clone() {
                Phase::Ready { .. } => self.advance(id),
                Phase::Intended { index, order, .. } => match plan {
                    // Intended and never started: safe to run if the decision still stands.
                    Some(plan) if self.now < rollback.deadline => {
                        self.intend_step(id, plan, index, Some(order.effect));
                    }
                    Some(_) => {
                        let why = format!(
                            "the daemon was down until after the deadline; step `{}` never ran",
                            order.step
                        );
                        self.end_rollback(id, Outcome::TimedOut, why);
                    }
                    None => {
                        let why = format!("its plan was changed or removed; step `{}` never ran", order.step);
                        self.end_rollback(id, Outcome::Failed, why);
                    }
                },
                Phase::Started { index, effect, handle, .. } => {
                    let still = alive.contains(&effect);
                    let why = match handle {
                        StepHandle::Process { pid, .. } if still => {
                            format!("the daemon restarted while it ran; process {pid} still runs")
                        }
                        StepHandle::Process { pid, .. } => {
                            format!("the daemon restarted while it ran; process {pid} is gone")
                        }
                        StepHandle::Request => {
                            "the daemon restarted while the request was under way".to_owned()
                        }
                    };
                    let again =
                        plan.and_then(|plan| plan.steps.get(index)).is_some_and(|step| step.idempotent);
                    if again && !still && self.now < rollback.deadline {
                        self.emit(Happening::StepInDoubt { rollback: id, effect, why });
                        let by = "its declaration as idempotent".to_owned();
                        self.emit(Happening::StepSettled { rollback: id, effect, done: false, by });
                        self.advance(id);
                    } else {
                        self.doubt(id, effect, why);
                    }
                }
                // The pages about these are in the outbox; their clocks are in the state.
                Phase::InDoubt { .. } | Phase::Verifying { .. } | Phase::Ended { .. } => {}
            }
        }
    }

    fn runs_in(&self, wanted: impl Fn(&Phase) -> bool) -> Vec<RollbackId> {
        let runs = self.state().rollbacks.iter();
        runs.filter(|(_, rollback)| wanted(&rollback.phase)).map(|(id, _)| *id).collect()
    }
}

/// Says which conditions were not met, and by how much.
fn unmet(seen: &[CheckSeen]) -> String {
    let told: Vec<String> = seen
        .iter()
        .filter(|check| check.verdict != Verdict::Holds)
        .map(|check| match (&check.verdict, &check.evidence) {
            (Verdict::Breached, Some(evidence)) => format!("{} is {}", check.condition, evidence.shown),
            (Verdict::Unknown(why), _) => format!("{}: {why}", check.condition),
            _ => format!("{}: no fresh data", check.condition),
        })
        .collect();
    if told.is_empty() { "no fresh data was seen".to_owned() } else { told.join("; ") }
}
