//! Receivers, and the outbox that brings messages to them.

use std::collections::BTreeMap;

use super::counters::Counters;
use super::random::Random;
use crate::engine::decision::{Delivery, DeliveryReport, Message};
use crate::engine::model::{EffectId, ReceiverName};
use crate::engine::time::{Span, Timestamp};

/// What a receiver does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Takes,
    /// Says "later".
    Fails,
    /// Says "never".
    Refuses,
}

/// What came of one try.
#[derive(Clone, Debug)]
pub(super) enum Tried {
    /// It is over or told for the first time: the engine hears of it after the span.
    Told(Span, DeliveryReport, Option<Span>),
    /// Failed again; the outbox tries on after the span and says nothing.
    Again(Span),
    /// Nobody waits for it any more.
    Gone,
}

/// The longest time between two tries.
const LONGEST_DELAY_S: i64 = 30;

#[derive(Clone, Debug)]
struct Pending {
    delivery: Delivery,
    tries: u32,
}

/// Every receiver's inbox, and the messages that are on their way.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    moods: BTreeMap<ReceiverName, (Mood, Timestamp)>,
    /// What this process brings; ends with it.
    pending: BTreeMap<EffectId, Pending>,
    /// What has really arrived, by receiver and id.
    inbox: BTreeMap<(ReceiverName, EffectId), Vec<Message>>,
    random: Random,
    is_calm: bool,
}

impl Channels {
    pub(super) fn new(random: Random) -> Self {
        Self {
            moods: BTreeMap::new(),
            pending: BTreeMap::new(),
            inbox: BTreeMap::new(),
            random,
            is_calm: false,
        }
    }

    pub(super) fn calm_down(&mut self) {
        self.is_calm = true;
        self.moods.clear();
    }

    pub(super) fn set_mood(&mut self, receiver: ReceiverName, mood: Mood, until: Timestamp) {
        self.moods.insert(receiver, (mood, until));
    }

    /// Takes a message on; returns when it is first tried, or `None` where it is on its way already.
    ///
    /// # Errors
    /// The id is on its way with another message, which would be lost.
    pub(super) fn dispatch(&mut self, delivery: &Delivery) -> Result<Option<Span>, String> {
        match self.pending.get(&delivery.effect) {
            Some(pending) if pending.delivery == *delivery => Ok(None),
            Some(pending) => Err(format!(
                "{} is on its way to {} already, with `{}`; lost: `{}` to {}",
                delivery.effect,
                pending.delivery.receiver,
                pending.delivery.message.summary,
                delivery.message.summary,
                delivery.receiver
            )),
            None => {
                self.pending.insert(delivery.effect, Pending { delivery: delivery.clone(), tries: 0 });
                Ok(Some(self.random.millis(1, 20)))
            }
        }
    }

    /// Tries to bring a message now.
    pub(super) fn attempt(
        &mut self,
        effect: EffectId,
        now: Timestamp,
        is_configured: impl Fn(&ReceiverName) -> bool,
        counters: &mut Counters,
    ) -> Tried {
        let Some(pending) = self.pending.get_mut(&effect) else { return Tried::Gone };
        let receiver = pending.delivery.receiver.clone();
        pending.tries += 1;
        let tries = pending.tries;
        if !is_configured(&receiver) {
            self.pending.remove(&effect);
            let why = format!("receiver {receiver} is not configured any more");
            return Tried::Told(Span::ZERO, DeliveryReport::Dead(why), None);
        }
        let mood = self.moods.get(&receiver).filter(|(_, until)| now < *until).map(|(mood, _)| *mood);
        let mood = match mood {
            Some(mood) => mood,
            None if !self.is_calm && self.random.chance(4) => Mood::Fails,
            None => Mood::Takes,
        };
        match mood {
            Mood::Takes => {
                if let Some(pending) = self.pending.remove(&effect) {
                    self.inbox.entry((receiver, effect)).or_default().push(pending.delivery.message);
                }
                Tried::Told(self.random.millis(20, 900), DeliveryReport::Accepted("202".to_owned()), None)
            }
            Mood::Refuses => {
                self.pending.remove(&effect);
                counters.note("dead letter");
                Tried::Told(self.random.millis(20, 900), DeliveryReport::Dead("400 bad key".to_owned()), None)
            }
            Mood::Fails => {
                let again = Span::from_secs(1 << tries.min(5)).min(Span::from_secs(LONGEST_DELAY_S));
                if tries > 1 {
                    return Tried::Again(again);
                }
                counters.note("first failure");
                let report = DeliveryReport::FirstFailure("503".to_owned());
                Tried::Told(self.random.millis(20, 3000), report, Some(again))
            }
        }
    }

    /// The daemon has died: what it was bringing is with the journal alone.
    pub(super) fn daemon_died(&mut self) {
        self.pending.clear();
    }

    /// Returns whether exactly this message has really arrived.
    pub(super) fn has_taken(&self, receiver: &ReceiverName, effect: EffectId, message: &Message) -> bool {
        let taken = self.inbox.get(&(receiver.clone(), effect));
        taken.is_some_and(|taken| taken.contains(message))
    }

    /// Tells of a receiver that was given two messages under one id, or two incidents under one key: it may drop the
    /// second as a repeat of the first.
    pub(super) fn confused(&self) -> Option<String> {
        let mut incidents = BTreeMap::new();
        for ((receiver, effect), taken) in &self.inbox {
            for message in taken {
                if *message != taken[0] {
                    let (one, two) = (&taken[0].summary, &message.summary);
                    return Some(format!(
                        "{receiver} was given two messages as {effect}: `{one}` and `{two}`"
                    ));
                }
                let facts = (&message.facts.cause, &message.facts.target, message.facts.since);
                let known = incidents.entry(&message.dedup_key).or_insert(facts);
                if *known != facts {
                    return Some(format!("{} stands for {known:?} and for {facts:?}", message.dedup_key));
                }
            }
        }
        None
    }
}
