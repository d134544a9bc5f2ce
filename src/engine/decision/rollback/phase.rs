//! One run of a rollback plan: its phases and their transitions.

use serde::{Deserialize, Serialize};

use super::REMIND_EVERY;
use crate::engine::decision::effect::{StepEnding, StepHandle, StepOrder, StepResult};
use crate::engine::decision::event::{CheckSeen, Event, Happening, Outcome};
use crate::engine::model::{EffectId, IncidentId, PlanName, RollbackId, TargetName};
use crate::engine::time::{Span, Timestamp};

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// For which incident.
    pub incident: IncidentId,
    /// What is rolled back.
    pub target: TargetName,
    /// How.
    pub plan: PlanName,
    /// The hash of the plan as it was decided on.
    #[serde(default)]
    pub plan_fingerprint: String,
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
    pub(in crate::engine::decision) fn remember(&mut self, event: &Event) {
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

    /// Returns the end of what the last failed step printed: whoever is paged should not have to look for it.
    pub fn last_words(&self) -> Vec<String> {
        const LINES_MAX: usize = 5;
        let failed = self.steps.iter().rfind(|record| record.ending.result != StepResult::Succeeded);
        let Some(record) = failed else { return Vec::new() };
        let name = self.step_names.get(record.index).map_or("", String::as_str);
        let lines: Vec<&str> = record.ending.output.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES_MAX)..];
        last.iter().map(|line| format!("{name} printed: {line}")).collect()
    }

    pub(super) fn failed_steps(&self) -> Vec<&str> {
        let failed = self.steps.iter().filter(|record| record.ending.result != StepResult::Succeeded);
        failed.filter_map(|record| self.step_names.get(record.index)).map(String::as_str).collect()
    }
}
