//! What becomes of effects: steps that run, messages that are delivered, as the test says or else well.

use std::collections::BTreeMap;

use super::behaviour::{Behaviour, DeliveryRun, StepEnd, StepRun};
use crate::engine::decision::{Effect, EffectOutcome, Input, StepEnding, StepHandle, StepOrder};
use crate::engine::model::EffectId;
use crate::engine::rules::decode::Spanned;
use crate::engine::time::{Span, Timestamp};

/// Everything outside of the daemon that does what it asks for.
pub(super) struct Outside<'t> {
    steps: &'t BTreeMap<String, Spanned<Behaviour<StepRun>>>,
    deliveries: &'t BTreeMap<String, Spanned<Behaviour<DeliveryRun>>>,
    /// How often each step ran, and each receiver was given something.
    counts: BTreeMap<String, usize>,
    prepared: BTreeMap<EffectId, (StepOrder, StepRun)>,
    /// When each step that runs will have ended; `None`: nobody will ever know.
    running: BTreeMap<EffectId, Option<Timestamp>>,
}

impl<'t> Outside<'t> {
    pub(super) fn new(
        steps: &'t BTreeMap<String, Spanned<Behaviour<StepRun>>>,
        deliveries: &'t BTreeMap<String, Spanned<Behaviour<DeliveryRun>>>,
    ) -> Self {
        let (counts, prepared, running) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { steps, deliveries, counts, prepared, running }
    }

    /// Returns what comes back of an effect, and after how long.
    pub(super) fn answer(&mut self, effect: &Effect, now: Timestamp) -> Vec<(Span, Input)> {
        match effect {
            Effect::PrepareStep(order) => vec![(Span::ZERO, self.prepare(order))],
            Effect::ReleaseStep(effect) => self.release(*effect, now).into_iter().collect(),
            Effect::AbandonStep(_) => Vec::new(),
            Effect::Deliver(delivery) => {
                let name = delivery.receiver.as_str();
                let nth = self.count(format!("receiver {name}"));
                let run = self.deliveries.get(name).and_then(|behaviour| behaviour.value.nth(nth));
                let report = run.cloned().unwrap_or_default().report();
                let outcome = report.map(|(after, report)| {
                    let outcome = EffectOutcome::Delivery(report);
                    (after, Input::EffectFinished { effect: delivery.effect, outcome })
                });
                outcome.into_iter().collect()
            }
        }
    }

    fn prepare(&mut self, order: &StepOrder) -> Input {
        let effect = order.effect;
        let name = format!("step {}", order.step);
        let nth = self.counts.get(&name).copied().unwrap_or(0);
        let run = self.steps.get(&order.step).and_then(|behaviour| behaviour.value.nth(nth));
        let run = run.cloned().unwrap_or_default();
        if run.ends == StepEnd::CannotStart
            && let Some((took, result)) = run.ending(order.timeout)
        {
            self.count(name);
            let outcome = EffectOutcome::Step(StepEnding { result, took, output: run.says });
            return Input::EffectFinished { effect, outcome };
        }
        self.prepared.insert(effect, (order.clone(), run));
        let handle = StepHandle::Process { pid: 1000, start_ticks: effect.0, boot_id: "test".to_owned() };
        Input::EffectStarted { effect, handle }
    }

    fn release(&mut self, effect: EffectId, now: Timestamp) -> Option<(Span, Input)> {
        let (order, run) = self.prepared.remove(&effect)?;
        self.count(format!("step {}", order.step));
        let ending = run.ending(order.timeout);
        self.running.insert(effect, ending.as_ref().map(|(took, _)| now + *took));
        let (took, result) = ending?;
        let outcome = EffectOutcome::Step(StepEnding { result, took, output: run.says });
        Some((took, Input::EffectFinished { effect, outcome }))
    }

    /// Forgets a step that never ran.
    pub(super) fn abandon(&mut self, effect: EffectId) {
        self.prepared.remove(&effect);
    }

    /// Returns the steps that still run: they outlive the daemon.
    pub(super) fn running(&self, now: Timestamp) -> Vec<EffectId> {
        let runs = |until: &Option<Timestamp>| until.is_some_and(|until| until > now);
        self.running.iter().filter(|(_, until)| runs(until)).map(|(effect, _)| *effect).collect()
    }

    /// The daemon has ended: gates that wait end with it.
    pub(super) fn daemon_ended(&mut self) {
        self.prepared.clear();
    }

    /// Counts one more and returns how many there were before.
    fn count(&mut self, name: String) -> usize {
        let count = self.counts.entry(name).or_default();
        *count += 1;
        *count - 1
    }
}
