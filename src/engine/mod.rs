//! The pure core: what is measured, what it means, what follows.
//!
//! Nothing in here reads a clock, opens a file, waits, draws a random number, logs, or iterates over a map whose order
//! differs between runs. Imports run one way: `time, model <- series <- promql <- rules <- evaluation <- decision`.
//!
//! A driver calls [`Engine`] like this, and every driver calls it the same way:
//!
//! ```text
//! observation -> observe -> Input::Judged --+
//! outcome, command, deadline -> Input ------+-> decide -> commit -> apply -> effects
//! ```

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod decision;
pub mod evaluation;
pub mod model;
pub mod promql;
pub mod report;
pub mod rules;
pub mod series;
pub mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use decision::{Decision, Event, IllegalTransition, Input, Phase, Setup, State};
use evaluation::{
    ActiveAlert, BudgetLook, Check, CheckKey, FailingRule, GroupLook, Measurements, ObjectiveLook,
    SavedMeasurements, SourceLook, TriggerLook, Watch,
};
use model::{RollbackId, Sample, SourceName};
use rules::Condition;
use series::{Observation, Selector, Store};
use time::{Span, Timestamp};

/// Both halves of the core over one set of files: measurements, which are rebuilt, and state, which is its events.
#[derive(Clone, Debug)]
pub struct Engine {
    setup: Arc<Setup>,
    state: State,
    measurements: Measurements,
}

/// What is watched and what is waited on, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Engine time.
    pub now: Timestamp,
    /// Every source.
    pub sources: Vec<SourceLook>,
    /// Every trigger.
    pub triggers: Vec<TriggerLook>,
    /// How well every target keeps its promises.
    #[serde(default)]
    pub objectives: Vec<ObjectiveLook>,
    /// Every error budget.
    #[serde(default)]
    pub budgets: Vec<BudgetLook>,
    /// Every imported alert that is pending or firing.
    #[serde(default)]
    pub alerts: Vec<ActiveAlert>,
    /// Every imported rule whose last evaluation failed.
    #[serde(default)]
    pub failing_rules: Vec<FailingRule>,
    /// How many series are remembered.
    pub series: usize,
    /// How many samples are remembered.
    pub samples: usize,
    /// Everything that decisions remember.
    pub state: State,
}

impl Engine {
    /// Joins a set of files with what is remembered of earlier decisions.
    pub fn new(setup: Arc<Setup>, state: State, now: Timestamp) -> Self {
        let measurements = Measurements::new(&watch(&setup, &state), now);
        let mut engine = Self { setup, state, measurements };
        engine.rewatch(now);
        engine
    }

    /// Takes another set of files into force; windows of unchanged rules and everything decided stay. Returns what was
    /// not kept until now: these series start empty, and whoever put them into force should hear of it.
    pub fn replace_setup(&mut self, setup: Arc<Setup>, now: Timestamp) -> Vec<Selector> {
        self.setup = setup;
        self.rewatch(now)
    }

    /// Takes up what was measured before a restart.
    pub fn restore(&mut self, saved: SavedMeasurements, observations: &[Observation]) {
        self.measurements.restore(saved, observations, &watch(&self.setup, &self.state));
    }

    /// Takes in what a source said; what it means goes to [`Engine::decide`].
    pub fn observe(&mut self, observation: &Observation) -> Input {
        Input::Judged(self.measurements.observe(observation, &watch(&self.setup, &self.state)))
    }

    /// Evaluates the groups that are due, looks for windows that have become full and sources that have gone silent; what
    /// it means goes to [`Engine::decide`].
    pub fn look(&mut self, now: Timestamp) -> Input {
        Input::Judged(self.measurements.look(&watch(&self.setup, &self.state), now))
    }

    /// Decides what follows from `input`; changes nothing.
    pub fn decide(&self, now: Timestamp, input: &Input) -> Decision {
        let mut decision = decision::decide(&self.state, &self.setup, now, input);
        let measured = self.measurements.wake_at(&watch(&self.setup, &self.state), now);
        decision.wake_at = [decision.wake_at, measured].into_iter().flatten().min();
        decision
    }

    /// Applies what has been decided and is durable.
    ///
    /// # Errors
    /// The first event that does not fit; events before it are applied.
    pub fn apply(&mut self, events: &[Event]) -> Result<(), IllegalTransition> {
        events.iter().try_for_each(|event| decision::apply(&mut self.state, event))
    }

    /// Returns the files in force.
    pub fn setup(&self) -> &Arc<Setup> {
        &self.setup
    }

    /// Returns what decisions remember.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the windows and alerts to be saved.
    pub fn saved_measurements(&self) -> SavedMeasurements {
        self.measurements.saved()
    }

    /// Returns what imported groups have written since the last call, to be saved with the observations.
    pub fn take_recorded(&mut self) -> Vec<Observation> {
        self.measurements.take_recorded()
    }

    /// Returns every imported group with its rules and alerts.
    pub fn rules_look(&self) -> Vec<GroupLook> {
        self.measurements.groups(&watch(&self.setup, &self.state))
    }

    /// Returns every imported alert that is pending or firing.
    pub fn alerts_look(&self) -> Vec<ActiveAlert> {
        self.measurements.alerts()
    }

    /// Returns what is remembered of samples: for queries.
    pub fn store(&self) -> &Store {
        &self.measurements.store
    }

    /// Returns what every trigger looks like.
    pub fn trigger_looks(&self) -> Vec<TriggerLook> {
        self.measurements.triggers(&watch(&self.setup, &self.state))
    }

    /// Returns what Rearguard tells of promises and budgets as series of its own.
    pub fn own_samples(&self, now: Timestamp) -> Vec<Sample> {
        self.measurements.own_samples(&watch(&self.setup, &self.state), now)
    }

    /// Returns how far back the rules look.
    pub fn retention(&self) -> Span {
        self.measurements.retention()
    }

    /// Returns the part of an observation that some rule can select.
    pub fn kept_of(&self, observation: &Observation) -> Observation {
        self.measurements.kept_of(observation)
    }

    /// Returns what is watched and what is waited on.
    pub fn status(&self, now: Timestamp) -> Status {
        let (series, samples) = self.measurements.size();
        let watch = watch(&self.setup, &self.state);
        Status {
            now,
            sources: self.measurements.sources(),
            triggers: self.measurements.triggers(&watch),
            objectives: self.measurements.objectives(&watch, now),
            budgets: self.measurements.budgets(&watch, now),
            alerts: self.measurements.alerts(),
            failing_rules: self.measurements.failing_rules(&watch),
            series,
            samples,
            state: self.state.clone(),
        }
    }

    fn rewatch(&mut self, now: Timestamp) -> Vec<Selector> {
        let verified: Vec<(&Condition, &BTreeMap<SourceName, SourceName>)> = {
            let plans = self.setup.plans.values().filter_map(|plan| plan.verify.as_ref());
            plans
                .flat_map(|verify| verify.conditions.iter().map(|condition| (condition, &verify.on)))
                .collect()
        };
        self.measurements.rewatch(&watch(&self.setup, &self.state), &verified, now)
    }
}

/// Joins rules and state to what an observation is judged against.
fn watch<'a>(setup: &'a Setup, state: &'a State) -> Watch<'a> {
    let detect =
        setup.targets.iter().filter_map(|(name, target)| target.detect.as_ref().map(|detect| (name, detect)));
    Watch {
        rules: &setup.rules,
        paces: &setup.sources,
        versions: detect.collect(),
        memory: &setup.memory,
        evaluates_groups: !state.stopping,
        external_labels: &setup.external_labels,
        external_url: &setup.external_url,
        checks: state.rollbacks.iter().flat_map(|(id, rollback)| checks(setup, *id, rollback)).collect(),
        baselines: &state.baselines,
        wall_offset: state.wall_offset,
    }
}

fn checks<'a>(setup: &'a Setup, id: RollbackId, rollback: &'a decision::Rollback) -> Vec<Check<'a>> {
    let Phase::Verifying { not_before, .. } = rollback.phase else { return Vec::new() };
    let Some(verify) = setup.plans.get(&rollback.plan).and_then(|plan| plan.verify.as_ref()) else {
        return Vec::new();
    };
    let check = |(condition, text)| Check {
        key: CheckKey { rollback: id, condition },
        target: &rollback.target,
        condition: text,
        not_before,
        read_instead: &verify.on,
    };
    verify.conditions.iter().enumerate().map(check).collect()
}
