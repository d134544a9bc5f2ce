//! An engine whose decisions are durable before their effects leave.
//!
//! Every driver goes through [`DurableEngine`]: the daemon with the journal, the simulator with a stand-in that fails on
//! purpose. The order is always the same: decide, commit, apply, hand out effects. When the journal cannot be written
//! nothing of the decision has happened; the engine is told ([`Input::IntentRefused`]) and decides anew, without acts.
//! Those decisions live in memory, their pages go out marked `unjournaled`, and they are the first thing that is written
//! when the journal can be written again.

use std::sync::Arc;

use super::ledger::{Batch, ClockReading, CommitError, Head, Ledger};
use crate::engine::Engine;
use crate::engine::decision::{
    Decision, Effect, EffectClass, Event, Happening, IllegalTransition, Input, State,
};
use crate::engine::model::JournalId;
use crate::engine::report::Report;
use crate::engine::series::Observation;
use crate::engine::time::Timestamp;

/// How many undurable events are kept while the journal cannot be written.
///
/// Events are transitions, a few per incident: this is days of trouble. Beyond it the daemon gives up loudly.
const BACKLOG_MAX: usize = 50_000;

/// A point between deciding and doing at which a crash must lose nothing. Tests kill the process at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checkpoint {
    /// Decided, nothing durable yet.
    BeforeCommit,
    /// Durable, no effect handed out yet.
    AfterCommit,
    /// A step was handed out, no process yet.
    BeforeSpawn,
    /// The step's gate waits, its start is not durable yet.
    AfterSpawn,
    /// The step's start is durable, it has been let go.
    AfterRelease,
    /// The step has ended, its outcome is not durable yet.
    BeforeOutcome,
    /// A receiver has said yes, that is not durable yet.
    AfterAccept,
}

/// Is told whenever a checkpoint is reached.
pub type Witness = Arc<dyn Fn(Checkpoint) + Send + Sync>;

/// What came of one input.
#[must_use = "effects that are not handed out are lost until the next restart"]
#[derive(Clone, Debug, Default)]
pub struct Handled {
    /// What has happened.
    pub events: Vec<Event>,
    /// What the shell must do now.
    pub effects: Vec<Effect>,
    /// Why nothing more is done.
    pub report: Report,
    /// When the engine must be woken if nothing else happens before.
    pub wake_at: Option<Timestamp>,
    /// What imported groups have written, to be saved with the observations: a restart goes on from there.
    pub recorded: Vec<Observation>,
}

impl Handled {
    /// Adds what came of the next input.
    fn append(&mut self, next: Self) {
        self.events.extend(next.events);
        self.effects.extend(next.effects);
        self.report.lines.extend(next.report.lines);
        self.recorded.extend(next.recorded);
        self.wake_at = next.wake_at;
    }
}

/// Why the engine cannot go on. The process must end; the next one recovers from the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The journal belongs to somebody else, or holds something that we did not write.
    #[error("the journal has moved on without this process: {0}")]
    Journal(CommitError),
    /// The journal has been out of order for too long.
    #[error("{0} decisions could not be written; stopping before memory runs out")]
    Backlog(usize),
    /// The journal's events do not fit each other.
    #[error("the journal cannot be applied: {0}; set it aside or restore it from a backup")]
    Illegal(#[from] IllegalTransition),
}

/// An engine over a ledger.
pub struct DurableEngine<L> {
    engine: Engine,
    ledger: L,
    epoch: u64,
    head: Head,
    backlog: Vec<Event>,
    witness: Witness,
}

/// Builds the state that a journal tells: snapshot, then every event after it, nothing decided again.
///
/// # Errors
/// The first event that does not fit.
pub fn recover_state<'a>(
    snapshot: Option<State>,
    events: impl IntoIterator<Item = &'a Event>,
) -> Result<State, IllegalTransition> {
    let mut state = snapshot.unwrap_or_default();
    for event in events {
        crate::engine::decision::apply(&mut state, event)?;
    }
    Ok(state)
}

impl<L: Ledger> DurableEngine<L> {
    /// Joins an engine with the ledger that its state came from.
    pub fn new(engine: Engine, ledger: L, epoch: u64, head: Head, witness: Witness) -> Self {
        Self { engine, ledger, epoch, head, backlog: Vec::new(), witness }
    }

    /// Gives a new journal its name. The first event of every journal.
    ///
    /// # Errors
    /// The ledger's refusal: a journal that cannot even be begun is no journal.
    pub fn create(&mut self, clock: ClockReading, journal: JournalId) -> Result<(), CommitError> {
        let events = vec![Event { at: clock.engine, what: Happening::JournalCreated { journal } }];
        let batch =
            Batch { epoch: self.epoch, expected_seq: self.head.seq, clock, events, intents: Vec::new() };
        self.head = self.ledger.commit(&batch)?;
        // A new state takes its first event; that it does not is impossible, and would show at the next one.
        self.engine.apply(&batch.events).unwrap_or_default();
        Ok(())
    }

    /// Takes in what a source said.
    ///
    /// # Errors
    /// See [`Fatal`].
    pub fn observe(&mut self, clock: &ClockReading, observation: &Observation) -> Result<Handled, Fatal> {
        let input = self.engine.observe(observation);
        let recorded = self.engine.take_recorded();
        Ok(Handled { recorded, ..self.handle(clock, &input)? })
    }

    /// Looks at every deadline that has passed.
    ///
    /// # Errors
    /// See [`Fatal`].
    pub fn wake(&mut self, clock: &ClockReading) -> Result<Handled, Fatal> {
        let silence = self.engine.look(clock.engine);
        let recorded = self.engine.take_recorded();
        let mut handled = Handled { recorded, ..self.handle(clock, &silence)? };
        let deadlines = self.handle(clock, &Input::Woke)?;
        handled.append(deadlines);
        Ok(handled)
    }

    /// Decides, makes it durable, applies it, and returns what the shell must do.
    ///
    /// # Errors
    /// See [`Fatal`].
    pub fn handle(&mut self, clock: &ClockReading, input: &Input) -> Result<Handled, Fatal> {
        // Everything is written, only that it can be is not: an act that is decided now must not be refused for that.
        if self.engine.state().journal_lost.is_some()
            && self.backlog.is_empty()
            && !matches!(input, Input::JournalRestored)
        {
            let mut restored = self.handle(clock, &Input::JournalRestored)?;
            let handled = self.decide_and_commit(clock, input)?;
            restored.append(handled);
            return Ok(restored);
        }
        self.decide_and_commit(clock, input)
    }

    fn decide_and_commit(&mut self, clock: &ClockReading, input: &Input) -> Result<Handled, Fatal> {
        let decision = self.engine.decide(clock.engine, input);
        if decision.events.is_empty() && self.backlog.is_empty() {
            return Ok(self.handled(decision));
        }
        (self.witness)(Checkpoint::BeforeCommit);
        match self.commit(clock, &decision)? {
            Ok(()) => {
                (self.witness)(Checkpoint::AfterCommit);
                self.engine.apply(&decision.events)?;
                let mut handled = self.handled(decision);
                if self.engine.state().journal_lost.is_some() {
                    let restored = self.handle(clock, &Input::JournalRestored)?;
                    handled.events.extend(restored.events);
                    handled.effects.extend(restored.effects);
                }
                Ok(handled)
            }
            Err(reason) => self.go_on_without(clock, input, decision, reason),
        }
    }

    /// Nothing of `decision` has happened: tells the engine so, and decides anew in memory.
    fn go_on_without(
        &mut self,
        clock: &ClockReading,
        input: &Input,
        decision: Decision,
        reason: String,
    ) -> Result<Handled, Fatal> {
        let mut handled = Handled::default();
        // That the journal can be written again is true only once it is written.
        if matches!(input, Input::JournalRestored) {
            return Ok(handled);
        }
        let refused = self.engine.decide(clock.engine, &Input::IntentRefused { reason, epoch: self.epoch });
        let decision = if refused.events.is_empty() {
            decision
        } else {
            self.remember(&refused)?;
            handled = self.handled(refused);
            self.engine.decide(clock.engine, input)
        };
        self.remember(&decision)?;
        let rest = self.handled(decision);
        handled.append(rest);
        // No act without a durable intent (E4). To drop a step that never ran is no act.
        handled
            .effects
            .retain(|effect| effect.class() == EffectClass::Page || matches!(effect, Effect::AbandonStep(_)));
        Ok(handled)
    }

    fn remember(&mut self, decision: &Decision) -> Result<(), Fatal> {
        self.engine.apply(&decision.events)?;
        self.backlog.extend(decision.events.iter().cloned());
        if self.backlog.len() > BACKLOG_MAX {
            return Err(Fatal::Backlog(self.backlog.len()));
        }
        Ok(())
    }

    /// Writes what could not be written before and what is new, in this order, at once.
    fn commit(&mut self, clock: &ClockReading, decision: &Decision) -> Result<Result<(), String>, Fatal> {
        let mut events = self.backlog.clone();
        events.extend(decision.events.iter().cloned());
        let batch = Batch {
            epoch: self.epoch,
            expected_seq: self.head.seq,
            clock: clock.clone(),
            events,
            intents: decision.effects.clone(),
        };
        let mut result = self.ledger.commit(&batch);
        if matches!(result, Err(CommitError::Storage { .. })) {
            // The ledger has thrown its connection away. A second try reads the file anew, and tells whether the
            // first one reached the disk after all.
            result = self.ledger.commit(&batch);
        }
        match result {
            Ok(head) | Err(CommitError::Conflict { head, landed: true, .. }) => {
                self.head = head;
                self.backlog.clear();
                Ok(Ok(()))
            }
            Err(error @ (CommitError::Fenced { .. } | CommitError::Conflict { .. })) => {
                Err(Fatal::Journal(error))
            }
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// Writes and applies an event that nothing was decided by.
    pub(super) fn record(&mut self, clock: &ClockReading, event: Event) -> Result<Result<(), String>, Fatal> {
        let decision = Decision { events: vec![event], ..Decision::default() };
        if let Err(reason) = self.commit(clock, &decision)? {
            return Ok(Err(reason));
        }
        self.engine.apply(&decision.events)?;
        Ok(Ok(()))
    }

    /// Returns whether anything could not be written yet.
    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    fn handled(&self, decision: Decision) -> Handled {
        Handled {
            events: decision.events,
            effects: decision.effects,
            report: decision.report,
            wake_at: decision.wake_at,
            recorded: Vec::new(),
        }
    }

    /// Returns the engine, to look at.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the engine, to take other files into force or to restore measurements. Decisions go through here alone.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Returns the ledger.
    pub fn ledger(&mut self) -> &mut L {
        &mut self.ledger
    }

    /// Returns where the journal ends.
    pub fn head(&self) -> Head {
        self.head
    }
}
