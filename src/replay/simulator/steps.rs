//! The executor of steps, and the world's own record of what was really done to it.

use std::collections::BTreeMap;

use super::counters::Counters;
use super::random::Random;
use crate::engine::decision::{
    EffectOutcome, Input, StepAction, StepEnding, StepHandle, StepOrder, StepResult,
};
use crate::engine::model::{EffectId, RollbackId, TargetName};
use crate::engine::time::{Span, Timestamp};

/// Something was done to the world. What [`StepOrder::key`] promises is judged on this alone.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) effect: EffectId,
    pub(super) key: String,
    pub(super) rollback: RollbackId,
    pub(super) target: TargetName,
    /// In true time.
    pub(super) at: Timestamp,
}

/// What became of the release of a step.
#[derive(Clone, Debug)]
pub(super) struct Released {
    pub(super) act: Act,
    /// What the executor will say, and after how long; `None` where it never says anything.
    pub(super) reply: Option<(Span, Input)>,
    /// Whether the step mends the application.
    pub(super) cures: bool,
}

/// How a released step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Succeeds,
    Fails,
    TimesOut,
    /// Never ends, and never tells.
    Hangs,
    /// Ends long after everybody has given it up.
    EndsTooLate,
}

/// A step that really runs.
#[derive(Clone, Debug)]
struct Running {
    rollback: RollbackId,
    target: TargetName,
    until: Timestamp,
    outlives_us: bool,
}

/// The executor, and the processes that it has begun.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    /// Gates that wait; they end with the daemon.
    prepared: BTreeMap<EffectId, StepOrder>,
    running: BTreeMap<EffectId, Running>,
    acts: Vec<Act>,
    next_pid: u32,
    random: Random,
    is_calm: bool,
}

/// How long a step that hangs does so: until somebody looks.
const HANG: Span = Span::from_secs(1800);

impl Steps {
    pub(super) fn new(random: Random) -> Self {
        Self {
            prepared: BTreeMap::new(),
            running: BTreeMap::new(),
            acts: Vec::new(),
            next_pid: 1000,
            random,
            is_calm: false,
        }
    }

    pub(super) fn calm_down(&mut self) {
        self.is_calm = true;
    }

    pub(super) fn acts(&self) -> &[Act] {
        &self.acts
    }

    /// Makes a step ready; returns what the executor says of it, and after how long.
    pub(super) fn prepare(&mut self, order: &StepOrder, counters: &mut Counters) -> Option<(Span, Input)> {
        let effect = order.effect;
        let luck = if self.is_calm { 100 } else { self.random.below(100) };
        match luck {
            0..4 => {
                let result = StepResult::Failed("no process could be made".to_owned());
                let ending = StepEnding { result, took: Span::ZERO, output: String::new() };
                let outcome = EffectOutcome::Step(ending);
                counters.note("step failed before its start");
                Some((self.random.millis(1, 50), Input::EffectFinished { effect, outcome }))
            }
            4..8 => {
                counters.note("step's start never reported");
                None
            }
            _ => {
                let delay = if luck < 14 { self.random.secs(1, 60) } else { self.random.millis(1, 300) };
                self.prepared.insert(effect, order.clone());
                self.next_pid += 1;
                let handle = match order.action {
                    StepAction::Exec { .. } => StepHandle::Process {
                        pid: self.next_pid,
                        start_ticks: u64::from(self.next_pid) * 10,
                        boot_id: "boot".to_owned(),
                    },
                    StepAction::Http { .. } => StepHandle::Request,
                };
                Some((delay, Input::EffectStarted { effect, handle }))
            }
        }
    }

    /// Lets a step run. From here on the world is another one.
    pub(super) fn release(
        &mut self,
        effect: EffectId,
        now: Timestamp,
        counters: &mut Counters,
    ) -> Option<Released> {
        let order = self.prepared.remove(&effect)?;
        let run = if self.is_calm { Run::Succeeds } else { self.draw_run() };
        let (lasts, result) = match run {
            Run::Succeeds => (self.random.millis(50, 8000), Some(StepResult::Succeeded)),
            Run::Fails => (self.random.millis(50, 8000), Some(StepResult::Failed("exit code 1".to_owned()))),
            Run::TimesOut => (order.timeout, Some(StepResult::TimedOut)),
            Run::Hangs => (HANG, None),
            Run::EndsTooLate => (order.timeout + self.random.secs(11, 90), Some(StepResult::Succeeded)),
        };
        // The executor ends everything but a hang at its budget.
        let (lasts, result) = match (run, result) {
            (Run::Succeeds | Run::Fails, Some(_)) if lasts > order.timeout => {
                (order.timeout, Some(StepResult::TimedOut))
            }
            other => (lasts, other.1),
        };
        counters.note("step ran");
        if run == Run::Hangs {
            counters.note("step hung");
        }
        let cures = result == Some(StepResult::Succeeded) && (self.is_calm || self.random.chance(75));
        let act = Act {
            effect,
            key: order.key,
            rollback: order.rollback,
            target: order.facts.target.clone(),
            at: now,
        };
        self.acts.push(act.clone());
        let outlives_us = matches!(order.action, StepAction::Exec { .. });
        let target = order.facts.target;
        self.running
            .insert(effect, Running { rollback: order.rollback, target, until: now + lasts, outlives_us });
        let reply = result.map(|result| {
            let ending = StepEnding { result, took: lasts, output: "done\n".to_owned() };
            (lasts, Input::EffectFinished { effect, outcome: EffectOutcome::Step(ending) })
        });
        Some(Released { act, reply, cures })
    }

    fn draw_run(&mut self) -> Run {
        match self.random.below(100) {
            0..12 => Run::Fails,
            12..18 => Run::TimesOut,
            18..24 => Run::Hangs,
            24..28 => Run::EndsTooLate,
            _ => Run::Succeeds,
        }
    }

    pub(super) fn abandon(&mut self, effect: EffectId) {
        self.prepared.remove(&effect);
    }

    /// The daemon has died: its gates and its requests end, programs go on.
    pub(super) fn daemon_died(&mut self) {
        self.prepared.clear();
        self.running.retain(|_, running| running.outlives_us);
    }

    /// The host has died, and everything on it.
    pub(super) fn host_died(&mut self) {
        self.prepared.clear();
        self.running.clear();
    }

    /// Returns the programs that still run.
    pub(super) fn alive(&self, now: Timestamp) -> Vec<EffectId> {
        let alive = self.running.iter().filter(|(_, running)| now < running.until);
        alive.map(|(effect, _)| *effect).collect()
    }

    /// Returns whether a step of another rollback runs at `target`.
    pub(super) fn runs_besides(&self, target: &TargetName, rollback: RollbackId, now: Timestamp) -> bool {
        let mut running = self.running.values().filter(|running| now < running.until);
        running.any(|running| running.target == *target && running.rollback != rollback)
    }

    /// Somebody looks at what became of a step: ends it where it still runs, and says whether it had done anything.
    pub(super) fn inspect(&mut self, effect: EffectId) -> bool {
        self.running.remove(&effect);
        self.acts.iter().any(|act| act.effect == effect)
    }
}
