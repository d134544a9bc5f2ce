//! Hands effects to their executors and brings outcomes back. It has no choices of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::core::{Message, Orders};
use crate::effects::http::{self, NoClient};
use crate::effects::outbox::{Outbox, RetryPolicy};
use crate::effects::receiver::Receiver;
use crate::effects::step::{Prepared, StepRunner};
use crate::engine::decision::{DeliveryReport, Effect, EffectOutcome, Input, StepEnding, StepOrder};
use crate::engine::model::{EffectId, JournalId, ReceiverName};
use crate::journal::{Checkpoint, Witness};

/// How long an orderly stop waits for messages that are being sent right now.
const OUTBOX_GRACE: Duration = Duration::from_secs(2);

/// How long an orderly stop waits for a running step: systemd's stop timeout must be longer.
const STEP_GRACE: Duration = Duration::from_secs(75);

/// How long an orderly stop waits for what the engine wants done about the last outcome.
const LAST_ORDERS: Duration = Duration::from_millis(500);

/// What the dispatcher is told besides the engine's orders.
pub enum Instruction {
    /// Other receivers come into force; what is queued for those that stay stays.
    Receivers(BTreeMap<ReceiverName, Receiver>),
    /// The end, once running steps are over.
    Stop,
}

/// The executors, and the way back to the engine.
pub struct Dispatcher {
    runner: Arc<StepRunner>,
    outbox: Outbox,
    reports: mpsc::Receiver<(EffectId, DeliveryReport)>,
    inbox: Sender<Message>,
    journal: JournalId,
    witness: Witness,
    /// Steps whose gates wait.
    prepared: BTreeMap<EffectId, Prepared>,
    preparing: JoinSet<(EffectId, Result<Prepared, StepEnding>)>,
    running: JoinSet<(EffectId, StepEnding)>,
}

impl Dispatcher {
    /// Makes the executors. `gate` is this program, which steps are started through.
    ///
    /// # Errors
    /// No HTTP client can be made; the text says why.
    pub fn new(
        gate: PathBuf,
        receivers: BTreeMap<ReceiverName, Receiver>,
        inbox: Sender<Message>,
        journal: JournalId,
        witness: Witness,
    ) -> Result<Self, NoClient> {
        let (report, reports) = mpsc::channel(64);
        Ok(Self {
            runner: Arc::new(StepRunner::new(gate, http::client()?)),
            outbox: Outbox::new(receivers, report, RetryPolicy::default()),
            reports,
            inbox,
            journal,
            witness,
            prepared: BTreeMap::new(),
            preparing: JoinSet::new(),
            running: JoinSet::new(),
        })
    }

    /// Works until it is told to stop.
    pub async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Orders>,
        mut instructions: mpsc::UnboundedReceiver<Instruction>,
    ) {
        loop {
            tokio::select! {
                Some(new) = orders.recv() => self.take(new).await,
                Some((effect, report)) = self.reports.recv() => self.report(effect, report),
                Some(joined) = self.preparing.join_next(), if !self.preparing.is_empty() => self.was_prepared(joined),
                Some(joined) = self.running.join_next(), if !self.running.is_empty() => self.has_ended(joined),
                instruction = instructions.recv() => match instruction {
                    Some(Instruction::Receivers(receivers)) => self.outbox.replace_receivers(receivers),
                    Some(Instruction::Stop) | None => break,
                },
            }
        }
        self.stop(orders).await;
    }

    async fn take(&mut self, orders: Orders) {
        for effect in orders.effects {
            match effect {
                Effect::PrepareStep(order) => self.prepare(order),
                Effect::ReleaseStep(effect) => match self.prepared.remove(&effect) {
                    Some(prepared) => self.release(effect, prepared),
                    None => {
                        tracing::error!(%effect, "a step was released that is not prepared; it is in doubt")
                    }
                },
                Effect::AbandonStep(effect) => {
                    if let Some(prepared) = self.prepared.remove(&effect) {
                        prepared.abandon().await;
                    }
                }
                Effect::Deliver(delivery) => {
                    self.outbox.dispatch(delivery, self.journal.as_str(), &orders.anchor);
                }
            }
        }
    }

    fn prepare(&mut self, order: StepOrder) {
        (self.witness)(Checkpoint::BeforeSpawn);
        let runner = Arc::clone(&self.runner);
        self.preparing.spawn(async move { (order.effect, runner.prepare(&order).await) });
    }

    fn was_prepared(
        &mut self,
        joined: Result<(EffectId, Result<Prepared, StepEnding>), tokio::task::JoinError>,
    ) {
        match joined {
            Ok((effect, Ok(prepared))) => {
                (self.witness)(Checkpoint::AfterSpawn);
                let handle = prepared.handle();
                self.prepared.insert(effect, prepared);
                self.tell(Input::EffectStarted { effect, handle });
            }
            Ok((effect, Err(ending))) => {
                self.tell(Input::EffectFinished { effect, outcome: EffectOutcome::Step(ending) });
            }
            // The engine's own clock finds the step overdue; it never ran.
            Err(error) => tracing::error!(%error, "a step's preparation broke off"),
        }
    }

    fn release(&mut self, effect: EffectId, prepared: Prepared) {
        let running = prepared.release();
        self.running.spawn(async move { (effect, running.await) });
        (self.witness)(Checkpoint::AfterRelease);
    }

    fn has_ended(&mut self, joined: Result<(EffectId, StepEnding), tokio::task::JoinError>) {
        match joined {
            Ok((effect, ending)) => {
                (self.witness)(Checkpoint::BeforeOutcome);
                self.tell(Input::EffectFinished { effect, outcome: EffectOutcome::Step(ending) });
            }
            // The engine's own clock finds the step overdue and in doubt.
            Err(error) => tracing::error!(%error, "a step's supervision broke off"),
        }
    }

    fn report(&mut self, effect: EffectId, report: DeliveryReport) {
        if matches!(report, DeliveryReport::Accepted(_)) {
            (self.witness)(Checkpoint::AfterAccept);
        }
        self.tell(Input::EffectFinished { effect, outcome: EffectOutcome::Delivery(report) });
    }

    fn tell(&self, input: Input) {
        if self.inbox.send(Message::Happened(input)).is_err() {
            tracing::error!("the engine is gone; the outcome is found at the next start");
        }
    }

    /// Waits for running steps, so that none is left in doubt; drops prepared ones, which never ran.
    async fn stop(mut self, mut orders: mpsc::UnboundedReceiver<Orders>) {
        while let Ok(last) = orders.try_recv() {
            self.take(last).await;
        }
        for (_, prepared) in std::mem::take(&mut self.prepared) {
            prepared.abandon().await;
        }
        // A step's end decides a page more often than not, and other pages do not wait for it.
        let over = async {
            while !self.running.is_empty() {
                tokio::select! {
                    Some(joined) = self.running.join_next() => self.has_ended(joined),
                    Some(new) = orders.recv() => self.take(new).await,
                    Some((effect, report)) = self.reports.recv() => self.report(effect, report),
                }
            }
            while let Ok(Some(new)) = tokio::time::timeout(LAST_ORDERS, orders.recv()).await {
                self.take(new).await;
            }
        };
        if tokio::time::timeout(STEP_GRACE, over).await.is_err() {
            tracing::warn!("a step still runs; it goes on and is in doubt after the restart");
        }
        // What is on its way to a receiver may still arrive; its report is worth a moment.
        let mut reports = self.reports;
        let inbox = self.inbox;
        let drain = tokio::spawn(async move {
            while let Some((effect, report)) = reports.recv().await {
                let outcome = EffectOutcome::Delivery(report);
                if inbox.send(Message::Happened(Input::EffectFinished { effect, outcome })).is_err() {
                    return;
                }
            }
        });
        let left = self.outbox.shutdown(OUTBOX_GRACE).await;
        if left > 0 {
            tracing::info!(left, "messages wait in the outbox for the next start");
        }
        if let Err(error) = drain.await {
            tracing::warn!(%error, "the last reports may be told again after the restart");
        }
    }
}
