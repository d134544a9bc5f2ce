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
pub mod explanation;
pub mod model;
mod own_series;
pub mod promql;
pub mod report;
pub mod rules;
pub mod series;
pub mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use decision::{Decision, Event, Happening, IllegalTransition, Input, Origin, Phase, Setup, State};
use evaluation::{
    ActiveAlert, BudgetLook, Check, CheckKey, FailingRule, GroupLook, Measurements, OWN_PACE, OWN_SOURCE,
    ObjectiveLook, SavedMeasurements, SourceLook, TriggerLook, Watch,
};
use explanation::Explanation;
use model::{RollbackId, Sample, SourceName, TriggerName};
use rules::{Condition, Indicator};
use series::{Observation, Selector, Store};
use time::{Span, Timestamp};

/// Both halves of the core over one set of files: measurements, which are rebuilt, and state, which is its events.
#[derive(Clone, Debug)]
pub struct Engine {
    setup: Arc<Setup>,
    state: State,
    measurements: Measurements,
    /// When the engine last observed itself.
    observed_itself: Option<Timestamp>,
    /// What it then said and nobody has fetched yet.
    said: Vec<Observation>,
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
        let measurements = Measurements::new(&watch(&setup, &state, now), now);
        let mut engine = Self { setup, state, measurements, observed_itself: None, said: Vec::new() };
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
        let watch = watch(&self.setup, &self.state, self.state.now);
        self.measurements.restore(saved, observations, &watch);
    }

    /// Takes in what a source said; what it means goes to [`Engine::decide`].
    pub fn observe(&mut self, observation: &Observation) -> Input {
        let watch = watch(&self.setup, &self.state, observation.at.max(self.state.now));
        Input::Judged(self.measurements.observe(observation, &watch))
    }

    /// Evaluates the groups that are due, looks for windows that have become full and sources that have gone silent; what
    /// it means goes to [`Engine::decide`].
    pub fn look(&mut self, now: Timestamp) -> Input {
        let own = self.own_answer_due(now).filter(|due| *due <= now);
        let watch = watch(&self.setup, &self.state, now);
        if own.is_none() {
            return Input::Judged(self.measurements.wake(&watch, now));
        }
        let promises = self.measurements.own_samples(&watch, now);
        let said = own_series::observe(&self.setup, &self.state, promises, now);
        self.observed_itself = Some(now);
        self.said.push(self.measurements.kept_of(&said));
        Input::Judged(self.measurements.observe(&said, &watch))
    }

    /// Decides what follows from `input`; changes nothing.
    pub fn decide(&self, now: Timestamp, input: &Input) -> Decision {
        let mut decision = decision::decide(&self.state, &self.setup, now, input);
        decision.events.extend(self.baselines_frozen_by(&decision.events, now));
        let measured = self.measurements.wake_at(&self.watch(now), now);
        let own = self.own_answer_due(now);
        let boundary = decision::next_boundary(&self.state, &self.setup, now);
        decision.wake_at = [decision.wake_at, measured, own, boundary].into_iter().flatten().min();
        decision
    }

    /// Freezes the baselines of every deployment that begins with `events`: on what was measured before its switch.
    fn baselines_frozen_by(&self, events: &[Event], now: Timestamp) -> Vec<Event> {
        let mut frozen = Vec::new();
        for event in events {
            let Happening::DeploymentStarted { target, origin, .. } = &event.what else { continue };
            let detect = self.setup.targets.get(target).and_then(|target| target.detect.as_ref());
            let pace = detect.and_then(|detect| self.setup.sources.get(&detect.source));
            // What was noticed has happened since the answer before.
            let noticed = (*origin == Origin::Detected).then_some(pace).flatten().map(|pace| pace.every);
            let until = event.at - noticed.unwrap_or(Span::ZERO);
            let trouble =
                |indicator: &Indicator| self.state.trouble_with(&self.setup.rules, target, indicator);
            let watch = self.watch(now);
            let baselines = self.measurements.freeze(target, until, trouble, &watch);
            frozen.extend(baselines.into_iter().map(|(indicator, baseline)| Event {
                at: event.at,
                what: Happening::BaselineFrozen { target: target.clone(), indicator, baseline },
            }));
        }
        frozen
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

    /// Returns what imported groups have written and the engine has said of itself since the last call, to be saved with
    /// the observations.
    pub fn take_recorded(&mut self) -> Vec<Observation> {
        let mut recorded = std::mem::take(&mut self.said);
        recorded.extend(self.measurements.take_recorded());
        recorded
    }

    /// Returns when the built-in source answers next, where a rule reads it.
    fn own_answer_due(&self, now: Timestamp) -> Option<Timestamp> {
        // Going down, nobody asks any more.
        if self.state.stopping || !self.setup.sources.contains_key(OWN_SOURCE) {
            return None;
        }
        Some(self.observed_itself.map_or(now, |last| last + OWN_PACE.every))
    }

    /// Returns every imported group with its rules and alerts.
    pub fn rules_look(&self) -> Vec<GroupLook> {
        self.measurements.groups(&self.watch(self.state.now))
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
        self.looks(self.state.now)
    }

    /// Returns what every trigger looks like, and of those whose time it is not when it comes again.
    fn looks(&self, now: Timestamp) -> Vec<TriggerLook> {
        let mut looks = self.measurements.triggers(&self.watch(now));
        for look in &mut looks {
            let rule = self.setup.rules.triggers.get(&(look.key.target.clone(), look.key.trigger.clone()));
            if let (Some(outside), Some(rule)) = (&mut look.outside, rule) {
                outside.until = decision::within_again_at(&self.state, &self.setup, rule, now);
            }
        }
        looks
    }

    /// Returns what Rearguard tells of promises and budgets as series of its own.
    pub fn own_samples(&self, now: Timestamp) -> Vec<Sample> {
        self.measurements.own_samples(&self.watch(now), now)
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
        let watch = self.watch(now);
        Status {
            now,
            sources: self.measurements.sources(),
            triggers: self.looks(now),
            objectives: self.measurements.objectives(&watch, now),
            budgets: self.measurements.budgets(&watch, now),
            alerts: self.measurements.alerts(),
            failing_rules: self.measurements.failing_rules(&watch),
            series,
            samples,
            state: self.state.clone(),
        }
    }

    /// Explains every trigger of a name; of one with levels, every level. Empty where there is none.
    pub fn explain(&self, name: &TriggerName, now: Timestamp) -> Vec<Explanation> {
        let looks = self.looks(now);
        let sources = self.measurements.sources();
        explanation::explain(name, (&self.setup, &self.state), (looks, &sources), now)
    }

    fn watch(&self, now: Timestamp) -> Watch<'_> {
        watch(&self.setup, &self.state, now)
    }

    fn rewatch(&mut self, now: Timestamp) -> Vec<Selector> {
        let verified: Vec<(&Condition, &BTreeMap<SourceName, SourceName>)> = {
            let plans = self.setup.plans.values().filter_map(|plan| plan.verify.as_ref());
            plans
                .flat_map(|verify| verify.conditions.iter().map(|condition| (condition, &verify.on)))
                .collect()
        };
        self.measurements.rewatch(&watch(&self.setup, &self.state, now), &verified, now)
    }
}

/// Joins rules and state to what an observation is judged against.
fn watch<'a>(setup: &'a Setup, state: &'a State, now: Timestamp) -> Watch<'a> {
    let detect =
        setup.targets.iter().filter_map(|(name, target)| target.detect.as_ref().map(|detect| (name, detect)));
    Watch {
        rules: &setup.rules,
        paces: &setup.sources,
        probes: &setup.probes,
        versions: detect.collect(),
        memory: &setup.memory,
        evaluates_groups: !state.stopping,
        external_labels: &setup.external_labels,
        external_url: &setup.external_url,
        checks: state.rollbacks.iter().flat_map(|(id, rollback)| checks(setup, *id, rollback)).collect(),
        disturbed: state.disturbed(&setup.rules),
        deployed: state.deployed(),
        scopes: decision::scopes(state, setup, now),
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
