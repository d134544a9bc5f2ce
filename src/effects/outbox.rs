//! Brings messages to their receivers, retrying until each is accepted or can never be (E9).
//!
//! Each receiver has a worker of its own, so that one that is down delays no other. Within a worker every dedup key has
//! a lane: its messages go out in the order of their decisions, one at a time, so a resolve never overtakes its trigger,
//! and a lane that waits for its next try holds up no other. The engine uses another channel only when it hears of a
//! failure, so it must hear soon: what has never been tried goes before what has failed, and a message that would only
//! wait, behind one that fails or for a receiver that asked to be left alone, counts as failed at once.
//!
//! Nothing here is durable. The journal knows what has not been accepted and dispatches it again after a restart.

mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::receiver::{Channel, Receiver};
use crate::engine::decision::{Delivery, DeliveryReport};
use crate::engine::model::{EffectId, ReceiverName};
use worker::{Order, Worker};

/// Time beyond the grace within which a worker must have stopped.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// When a failed delivery is tried again.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    delays: ExponentialBuilder,
    retry_after_max: Duration,
}

impl RetryPolicy {
    /// Takes the first and the longest delay; each is doubled until then, and each is lengthened by up to its own length
    /// at random, so that the tries of many incidents do not fall on one instant.
    pub fn new(first: Duration, longest: Duration, retry_after_max: Duration) -> Self {
        let delays = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .with_factor(2.0)
            .with_jitter()
            .without_max_times();
        Self { delays, retry_after_max }
    }

    fn delays(&self) -> ExponentialBackoff {
        self.delays.build()
    }
}

impl Default for RetryPolicy {
    /// From 1 s to 30 s, with jitter at most 60 s: a receiver that comes back gets everything within a minute. A
    /// receiver's own wish is honoured up to 10 minutes; a longer one is more likely a mistake than a wish.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(600))
    }
}

/// Everything that is still to be delivered.
#[derive(Debug)]
pub struct Outbox<C: Channel = Receiver> {
    workers: BTreeMap<ReceiverName, Handle<C>>,
    reports: mpsc::Sender<(EffectId, DeliveryReport)>,
    retry: RetryPolicy,
}

/// A worker, as seen from outside.
#[derive(Debug)]
struct Handle<C> {
    orders: mpsc::UnboundedSender<Order<C>>,
    task: JoinHandle<usize>,
}

impl<C: Channel> Outbox<C> {
    /// Starts a worker per receiver; must be called within a tokio runtime.
    ///
    /// What becomes of each delivery goes to `reports`: at most one first failure, then accepted or dead.
    pub fn new(
        receivers: BTreeMap<ReceiverName, C>,
        reports: mpsc::Sender<(EffectId, DeliveryReport)>,
        retry: RetryPolicy,
    ) -> Self {
        let mut outbox = Self { workers: BTreeMap::new(), reports, retry };
        outbox.replace_receivers(receivers);
        outbox
    }

    /// Takes a message on; never blocks. A message that is already on its way is not taken twice.
    ///
    /// `journal` is the journal's id, `anchor` the hash of its head at this moment.
    pub fn dispatch(&mut self, delivery: Delivery, journal: &str, anchor: &str) {
        let name = delivery.receiver.clone();
        let letter = Arc::new(Letter { delivery, journal: journal.to_owned(), anchor: anchor.to_owned() });
        self.tell(&name, Order::Deliver(letter));
    }

    /// Puts another set of receivers in force. What waits goes on at once over the new receiver of the same name; where
    /// there is none any more, it is reported dead, so that the engine pages elsewhere.
    pub fn replace_receivers(&mut self, receivers: BTreeMap<ReceiverName, C>) {
        let gone: Vec<_> =
            self.workers.keys().filter(|name| !receivers.contains_key(*name)).cloned().collect();
        for name in gone {
            self.tell(&name, Order::Replace(None));
        }
        for (name, receiver) in receivers {
            self.tell(&name, Order::Replace(Some(Arc::new(receiver))));
        }
    }

    /// Stops trying. What is on the wire may still be answered within `grace`; reports go on arriving meanwhile and
    /// should be received. Returns how many messages are left to the journal, as far as the workers could still say.
    pub async fn shutdown(self, grace: Duration) -> usize {
        for worker in self.workers.values() {
            // A worker that is gone has nothing to stop.
            worker.orders.send(Order::Stop(grace)).ok();
        }
        let all_by = Instant::now() + grace + STOP_MARGIN;
        let mut left = 0;
        for mut worker in self.workers.into_values() {
            match timeout_at(all_by, &mut worker.task).await {
                Ok(stopped) => left += stopped.unwrap_or(0),
                // It waits for somebody to receive its reports.
                Err(_) => worker.task.abort(),
            }
        }
        left
    }

    /// Hands an order to the receiver's worker, starting one where there is none.
    fn tell(&mut self, name: &ReceiverName, order: Order<C>) {
        let worker = self.workers.entry(name.clone()).or_insert_with(|| {
            let (orders, inbox) = mpsc::unbounded_channel();
            let worker = Worker::new(name.clone(), inbox, self.reports.clone(), self.retry);
            Handle { orders, task: tokio::spawn(worker.run()) }
        });
        if worker.orders.send(order).is_err() {
            tracing::error!(receiver = %name, "the worker of this receiver is gone; the journal keeps its messages");
        }
    }
}

/// A delivery with what is sent beside it.
#[derive(Debug)]
struct Letter {
    delivery: Delivery,
    journal: String,
    anchor: String,
}

#[cfg(test)]
mod tests;
