//! One receiver's worker: lanes, tries, reports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Letter, RetryPolicy};
use crate::effects::printable;
use crate::effects::receiver::{Channel, Receipt, SendError};
use crate::engine::decision::DeliveryReport;
use crate::engine::model::{EffectId, ReceiverName};

/// How many tries of one receiver run at once. More would help only while each waits for its time-out, and PagerDuty
/// counts 120 requests a minute.
const IN_FLIGHT_MAX: usize = 4;

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Order<C> {
    /// Deliver this.
    Deliver(Arc<Letter>),
    /// Use another receiver from now on; `None` where it is no longer configured.
    Replace(Option<Arc<C>>),
    /// Try no more; wait this long for what is on the wire.
    Stop(Duration),
}

/// What came back from a try.
type Tried = Result<(Id, Result<Receipt, SendError>), JoinError>;

/// The worker of one receiver.
pub(super) struct Worker<C> {
    name: ReceiverName,
    receiver: Option<Arc<C>>,
    inbox: mpsc::UnboundedReceiver<Order<C>>,
    reports: mpsc::Sender<(EffectId, DeliveryReport)>,
    retry: RetryPolicy,
    lanes: BTreeMap<String, Lane>,
    pending: BTreeSet<EffectId>,
    tries: JoinSet<Result<Receipt, SendError>>,
    /// Whose try is whose lane's.
    on_the_wire: BTreeMap<Id, String>,
    /// The receiver asked to be left alone until then.
    paused_until: Instant,
}

/// The messages of one dedup key, the oldest first; never empty.
struct Lane {
    items: VecDeque<Item>,
    due: Instant,
    is_on_the_wire: bool,
    /// Why the first message could not be delivered yet; what stands behind it waits for the same reason.
    trouble: Option<String>,
}

struct Item {
    letter: Arc<Letter>,
    delays: ExponentialBackoff,
    /// Whether the engine knows that this message is late, so that it may use another channel.
    is_told: bool,
}

impl<C: Channel> Worker<C> {
    pub(super) fn new(
        name: ReceiverName,
        inbox: mpsc::UnboundedReceiver<Order<C>>,
        reports: mpsc::Sender<(EffectId, DeliveryReport)>,
        retry: RetryPolicy,
    ) -> Self {
        Self {
            name,
            receiver: None,
            inbox,
            reports,
            retry,
            lanes: BTreeMap::new(),
            pending: BTreeSet::new(),
            tries: JoinSet::new(),
            on_the_wire: BTreeMap::new(),
            paused_until: Instant::now(),
        }
    }

    /// Works until told to stop; returns how many messages are left.
    pub(super) async fn run(mut self) -> usize {
        loop {
            self.start_due();
            let wake_at = self.wake_at();
            tokio::select! {
                order = self.inbox.recv() => match order {
                    Some(Order::Deliver(letter)) => self.take(letter).await,
                    Some(Order::Replace(receiver)) => self.replace(receiver).await,
                    Some(Order::Stop(grace)) => return self.stop(grace).await,
                    None => return self.stop(Duration::ZERO).await,
                },
                Some(tried) = self.tries.join_next_with_id() => self.settle(tried).await,
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            }
        }
    }

    /// Puts a message at the end of its lane.
    async fn take(&mut self, letter: Arc<Letter>) {
        let effect = letter.delivery.effect;
        if self.receiver.is_none() {
            return self.report(effect, self.no_longer_configured()).await;
        }
        if !self.pending.insert(effect) {
            return;
        }
        let now = Instant::now();
        let item = Item { delays: self.retry.delays(), is_told: false, letter };
        let key = item.letter.delivery.message.dedup_key.clone();
        let lane = self.lanes.entry(key.clone()).or_insert_with(|| Lane {
            items: VecDeque::new(),
            due: now,
            is_on_the_wire: false,
            trouble: None,
        });
        lane.items.push_back(item);
        if lane.trouble.is_none() && self.paused_until > now {
            let left = (self.paused_until - now).as_secs();
            lane.trouble = Some(format!("the receiver asked to be left alone for another {left} s"));
        }
        self.tell_trouble(&key).await;
    }

    /// Tells the engine of every message in the lane that is late and not known to be.
    async fn tell_trouble(&mut self, key: &str) {
        let Some(Lane { items, trouble: Some(trouble), .. }) = self.lanes.get_mut(key) else { return };
        let mut late = Vec::new();
        for item in items.iter_mut().filter(|item| !item.is_told) {
            item.is_told = true;
            late.push(item.letter.delivery.effect);
        }
        let trouble = trouble.clone();
        for effect in late {
            tracing::warn!(receiver = %self.name, effect = %effect, reason = trouble, "a delivery is late");
            self.report(effect, DeliveryReport::FirstFailure(trouble.clone())).await;
        }
    }

    /// Uses another receiver; without one, everything that is not on the wire is dead.
    async fn replace(&mut self, receiver: Option<Arc<C>>) {
        self.receiver = receiver;
        self.paused_until = Instant::now();
        let mut dead = Vec::new();
        for lane in self.lanes.values_mut() {
            lane.due = self.paused_until;
            if self.receiver.is_none() {
                // The try on the wire may still succeed.
                dead.extend(lane.items.drain(usize::from(lane.is_on_the_wire)..));
            }
        }
        self.lanes.retain(|_, lane| !lane.items.is_empty());
        for item in dead {
            self.finish(item.letter.delivery.effect, self.no_longer_configured()).await;
        }
    }

    /// Starts tries while there are lanes that are due and room on the wire.
    fn start_due(&mut self) {
        let now = Instant::now();
        let Some(receiver) = self.receiver.clone().filter(|_| self.paused_until <= now) else { return };
        while self.tries.len() < IN_FLIGHT_MAX {
            let due = self.lanes.iter_mut().filter(|(_, lane)| !lane.is_on_the_wire && lane.due <= now);
            let first = due.min_by_key(|(_, lane)| (lane.is_told(), lane.due));
            let Some((key, lane)) = first else { return };
            let Some(item) = lane.items.front() else { return };
            lane.is_on_the_wire = true;
            let (receiver, letter) = (Arc::clone(&receiver), Arc::clone(&item.letter));
            let started = self
                .tries
                .spawn(async move { receiver.send(&letter.delivery, &letter.journal, &letter.anchor).await });
            self.on_the_wire.insert(started.id(), key.clone());
        }
    }

    /// Returns when the next lane is due, if there is one that waits and could then be tried.
    fn wake_at(&self) -> Option<Instant> {
        if self.receiver.is_none() || self.tries.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let waiting = self.lanes.values().filter(|lane| !lane.is_on_the_wire);
        waiting.map(|lane| lane.due.max(self.paused_until)).min()
    }

    /// Takes the outcome of a try.
    async fn settle(&mut self, tried: Tried) {
        let (id, outcome) = match tried {
            Ok((id, outcome)) => (id, outcome),
            // A bug of ours in one message must not take the others along.
            Err(error) => {
                let reason = printable::short_line(&format!("the try was broken off: {error}"), 300);
                (error.id(), Err(SendError::retry(reason)))
            }
        };
        let Some(key) = self.on_the_wire.remove(&id) else { return };
        let report = match outcome {
            Ok(Receipt(text)) => DeliveryReport::Accepted(text),
            Err(SendError::Never { reason }) => DeliveryReport::Dead(reason),
            Err(SendError::Retry { .. }) if self.receiver.is_none() => self.no_longer_configured(),
            Err(SendError::Retry { after, reason }) => return self.postpone(&key, after, reason).await,
        };
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.is_on_the_wire = false;
        lane.due = Instant::now();
        lane.trouble = None;
        let done = lane.items.pop_front();
        if lane.items.is_empty() {
            self.lanes.remove(&key);
        }
        if let Some(item) = done {
            self.finish(item.letter.delivery.effect, report).await;
        }
    }

    /// Puts the lane's next try off; tells the engine if it was the first one that failed.
    async fn postpone(&mut self, key: &str, after: Option<Duration>, reason: String) {
        let now = Instant::now();
        if let Some(after) = after {
            // What limits one message limits the next as well: the whole receiver is left alone.
            self.paused_until = self.paused_until.max(now + after.min(self.retry.retry_after_max));
        }
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.is_on_the_wire = false;
        let Some(item) = lane.items.front_mut() else { return };
        // The policy's delays never end.
        lane.due = now + item.delays.next().unwrap_or(self.retry.retry_after_max);
        tracing::debug!(receiver = %self.name, effect = %item.letter.delivery.effect, reason, "a try failed");
        lane.trouble = Some(reason);
        self.tell_trouble(key).await;
    }

    /// Tells the end of a delivery.
    async fn finish(&mut self, effect: EffectId, report: DeliveryReport) {
        self.pending.remove(&effect);
        self.report(effect, report).await;
    }

    async fn report(&self, effect: EffectId, report: DeliveryReport) {
        if let DeliveryReport::Dead(reason) = &report {
            tracing::error!(receiver = %self.name, effect = %effect, reason, "a delivery is dead");
        }
        // Nobody listens only while everything goes down; the journal then still has the message.
        self.reports.send((effect, report)).await.ok();
    }

    fn no_longer_configured(&self) -> DeliveryReport {
        DeliveryReport::Dead(format!(
            "receiver {} is no longer configured",
            printable::line(self.name.as_str())
        ))
    }

    /// Waits for what is on the wire, starts nothing.
    async fn stop(mut self, grace: Duration) -> usize {
        let wind_down = async {
            while let Some(tried) = self.tries.join_next_with_id().await {
                self.settle(tried).await;
            }
        };
        timeout(grace, wind_down).await.ok();
        self.pending.len()
    }
}

impl Lane {
    fn is_told(&self) -> bool {
        self.items.front().is_some_and(|item| item.is_told)
    }
}
