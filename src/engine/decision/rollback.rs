//! One run of a rollback plan: its phases, their transitions, and what comes next.

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::effect::{Effect, StepEnding, StepHandle, StepOrder, StepResult};
use super::event::{CheckSeen, Event, Happening, Outcome};
use super::placeholders;
use super::setup::{OnError, Plan};
use crate::engine::evaluation::{CheckVerdict, Verdict};
use crate::engine::model::{EffectId, IncidentId, PlanName, RollbackId, TargetName};
use crate::engine::time::{Span, Timestamp};

/// How much longer than its budget a step may be silent before it is taken as lost.
///
/// The executor ends a step at its budget and needs up to two seconds more to kill what ignores SIGTERM.
const OVERDUE_GRACE: Span = Span::from_secs(10);

/// How often a rollback in doubt is paged again.
const REMIND_EVERY: Span = Span::from_secs(15 * 60);

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// For which incident.
    pub incident: IncidentId,
    /// What is rolled back.
    pub target: TargetName,
    /// How.
    pub plan: PlanName,
    /// When it was decided.
    pub begun_at: Timestamp,
    /// When it must be over.
    pub deadline: Timestamp,
    /// Every step's name, in order.
    pub step_names: Vec<String>,
    /// The steps that are over.
    pub steps: Vec<StepRecord>,
    /// Where it is.
    pub phase: Phase,
}

/// A step that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its place in the plan.
    pub index: usize,
    /// How it ended.
    pub ending: StepEnding,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Between two steps.
    Ready {
        /// The step that is next; the number of steps when all are over.
        next: usize,
    },
    /// A step is intended; nothing has run.
    Intended {
        /// Its place in the plan.
        index: usize,
        /// What exactly.
        order: Box<StepOrder>,
        /// When it is taken as lost.
        overdue_at: Timestamp,
    },
    /// A step runs.
    Started {
        /// Its place in the plan.
        index: usize,
        /// The effect.
        effect: EffectId,
        /// What it can be recognised by.
        handle: StepHandle,
        /// When it is taken as lost.
        overdue_at: Timestamp,
    },
    /// A started step has no known end. Holds the target's lock until it is settled (E4).
    InDoubt {
        /// Its place in the plan.
        index: usize,
        /// The effect.
        effect: EffectId,
        /// Why its end is not known.
        why: String,
        /// When people are told again.
        remind_at: Timestamp,
    },
    /// The steps are over; the proof is awaited.
    Verifying {
        /// No sample older than this is looked at.
        not_before: Timestamp,
        /// When it has failed if it has not passed.
        until: Timestamp,
        /// What has been seen, by the plan's order.
        seen: Vec<CheckSeen>,
    },
    /// Over.
    Ended {
        /// How.
        outcome: Outcome,
        /// Why it counts as that.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

impl Phase {
    /// Returns the phase after `event`.
    ///
    /// # Errors
    /// Says what does not fit; illegal pairs never change anything.
    pub fn after(&self, event: &Event) -> Result<Self, String> {
        use Happening as H;
        let next = match (self, &event.what) {
            (Self::Ready { next }, H::StepIntended { order, index, overdue_at }) if next == index => {
                Self::Intended { index: *index, order: order.clone(), overdue_at: *overdue_at }
            }
            // The same intent again after a restart: it never ran.
            (Self::Intended { order: old, .. }, H::StepIntended { order, index, overdue_at })
                if old.effect == order.effect =>
            {
                Self::Intended { index: *index, order: order.clone(), overdue_at: *overdue_at }
            }
            (Self::Intended { index, order, overdue_at }, H::StepStarted { effect, handle, .. })
                if order.effect == *effect =>
            {
                Self::Started {
                    index: *index,
                    effect: *effect,
                    handle: handle.clone(),
                    overdue_at: *overdue_at,
                }
            }
            // A step that could not even be prepared ends without a start.
            (Self::Intended { index, order, .. }, H::StepEnded { effect, .. }) if order.effect == *effect => {
                Self::Ready { next: index + 1 }
            }
            (Self::Started { index, effect: own, .. }, H::StepEnded { effect, .. }) if own == effect => {
                Self::Ready { next: index + 1 }
            }
            (Self::Started { index, effect: own, .. }, H::StepInDoubt { effect, why, .. })
                if own == effect =>
            {
                Self::InDoubt {
                    index: *index,
                    effect: *effect,
                    why: why.clone(),
                    remind_at: event.at + REMIND_EVERY,
                }
            }
            // Told again.
            (Self::InDoubt { index, effect: own, .. }, H::StepInDoubt { effect, why, .. })
                if own == effect =>
            {
                Self::InDoubt {
                    index: *index,
                    effect: *effect,
                    why: why.clone(),
                    remind_at: event.at + REMIND_EVERY,
                }
            }
            // The outcome came late, after all.
            (Self::InDoubt { index, effect: own, .. }, H::StepEnded { effect, .. }) if own == effect => {
                Self::Ready { next: index + 1 }
            }
            (Self::InDoubt { index, effect: own, .. }, H::StepSettled { effect, done, .. })
                if own == effect =>
            {
                Self::Ready { next: if *done { index + 1 } else { *index } }
            }
            (Self::Ready { .. }, H::VerificationStarted { not_before, until, .. }) => {
                Self::Verifying { not_before: *not_before, until: *until, seen: Vec::new() }
            }
            (Self::Verifying { not_before, until, .. }, H::VerificationSaw { checks, .. }) => {
                Self::Verifying { not_before: *not_before, until: *until, seen: checks.clone() }
            }
            // A step that runs or is in doubt can never be declared over.
            (
                Self::Ready { .. } | Self::Intended { .. } | Self::Verifying { .. },
                H::RollbackEnded { outcome, reason, .. },
            ) => Self::Ended { outcome: *outcome, reason: reason.clone(), at: event.at },
            (phase, what) => return Err(format!("{what:?} does not follow {phase:?}")),
        };
        Ok(next)
    }
}

impl Rollback {
    /// Returns the run that an event speaks of.
    pub fn named_by(what: &Happening) -> Option<RollbackId> {
        match what {
            Happening::StepIntended { order, .. } => Some(order.rollback),
            Happening::StepStarted { rollback, .. }
            | Happening::StepEnded { rollback, .. }
            | Happening::StepInDoubt { rollback, .. }
            | Happening::StepSettled { rollback, .. }
            | Happening::VerificationStarted { rollback, .. }
            | Happening::VerificationSaw { rollback, .. }
            | Happening::RollbackEnded { rollback, .. } => Some(*rollback),
            _ => None,
        }
    }

    /// Keeps what a step's end says.
    pub(super) fn remember(&mut self, event: &Event) {
        let index = match &self.phase {
            Phase::Intended { index, .. } | Phase::Started { index, .. } | Phase::InDoubt { index, .. } => {
                *index
            }
            _ => return,
        };
        let ending = match &event.what {
            Happening::StepEnded { ending, .. } => ending.clone(),
            Happening::StepSettled { done: true, by, .. } => StepEnding {
                result: StepResult::Succeeded,
                took: Span::ZERO,
                output: format!("settled as done by {by}"),
            },
            _ => return,
        };
        self.steps.push(StepRecord { index, ending });
    }

    /// Returns whether the run is over.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Returns the effect that is awaited, if one is.
    pub fn awaited(&self) -> Option<EffectId> {
        match &self.phase {
            Phase::Intended { order, .. } => Some(order.effect),
            Phase::Started { effect, .. } | Phase::InDoubt { effect, .. } => Some(*effect),
            _ => None,
        }
    }

    /// Returns when the run must be looked at again, whatever happens.
    pub fn wake_at(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Intended { overdue_at, .. } | Phase::Started { overdue_at, .. } => Some(*overdue_at),
            Phase::InDoubt { remind_at, .. } => Some(*remind_at),
            Phase::Verifying { until, .. } => Some(*until),
            Phase::Ready { .. } => Some(self.deadline),
            Phase::Ended { .. } => None,
        }
    }

    /// Returns one line per step: what is done, in doubt, not started.
    pub fn step_lines(&self) -> Vec<String> {
        let line = |(index, name): (usize, &String)| {
            let told = self.steps.iter().rev().find(|record| record.index == index);
            match (told, &self.phase) {
                (_, Phase::InDoubt { index: at, why, .. }) if *at == index => {
                    format!("{name}: IN DOUBT ({why})")
                }
                (Some(record), _) => match &record.ending.result {
                    StepResult::Succeeded => format!("{name}: done in {}", record.ending.took.rounded()),
                    StepResult::Failed(why) => {
                        format!("{name}: FAILED after {}: {why}", record.ending.took.rounded())
                    }
                    StepResult::TimedOut => {
                        format!("{name}: ENDED at its limit of {}", record.ending.took.rounded())
                    }
                },
                (None, Phase::Started { index: at, .. }) if *at == index => format!("{name}: running"),
                (None, _) => format!("{name}: not started"),
            }
        };
        self.step_names.iter().enumerate().map(line).collect()
    }

    fn failed_steps(&self) -> Vec<&str> {
        let failed = self.steps.iter().filter(|record| record.ending.result != StepResult::Succeeded);
        failed.filter_map(|record| self.step_names.get(record.index)).map(String::as_str).collect()
    }
}

impl Draft<'_> {
    /// Moves a run on: its next step, its proof, or its end.
    pub(super) fn advance(&mut self, id: RollbackId) {
        let Some(rollback) = self.state().rollbacks.get(&id) else { return };
        let Phase::Ready { next } = rollback.phase else { return };
        let (setup, deadline, plan_name) = (self.setup, rollback.deadline, rollback.plan.clone());
        let failed_hard = rollback.steps.last().filter(|record| {
            let stops = setup
                .plans
                .get(&plan_name)
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
        let Some(plan) = setup.plans.get(&plan_name) else {
            let why = format!("plan `{plan_name}` is no longer configured");
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
        self.emit(Happening::StepIntended { order: Box::new(order.clone()), index, overdue_at });
        self.effect(Effect::PrepareStep(order));
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
            let Some(verify) = self.setup.plans.get(&rollback.plan).and_then(|plan| plan.verify.as_ref())
            else {
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
        let incident = self.state().rollbacks.get(&id).map(|rollback| rollback.incident);
        if let Some(incident) = incident {
            self.resolve_if_quiet(incident);
        }
    }

    /// Takes every run up again after a restart.
    pub(super) fn take_up_rollbacks(&mut self, alive: &[EffectId]) {
        for id in self.runs_in(|phase| !matches!(phase, Phase::Ended { .. })) {
            let Some(rollback) = self.state().rollbacks.get(&id) else { continue };
            let plan = self.setup.plans.get(&rollback.plan);
            match rollback.phase.clone() {
                Phase::Ready { .. } => self.advance(id),
                Phase::Intended { index, order, .. } => match plan {
                    // Intended and never started: safe to run if the decision still stands.
                    Some(plan) if self.now < rollback.deadline => {
                        self.intend_step(id, plan, index, Some(order.effect));
                    }
                    _ => {
                        let why = format!(
                            "the daemon was down until after the deadline; step `{}` never ran",
                            order.step
                        );
                        self.end_rollback(id, Outcome::TimedOut, why);
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
