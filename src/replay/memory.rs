//! A ledger in memory: the journal's contract, and every way of breaking it that a disk knows.

use std::collections::VecDeque;
use std::path::PathBuf;

use crate::engine::decision::{Effect, Event, Happening, State};
use crate::engine::model::JournalId;
use crate::journal::{
    Batch, ChainHash, Checkpoint, ClockReading, CommitError, Head, Ledger, Link, NotRecordable, link_events,
};

/// What becomes of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFate {
    /// It is durable, and says so.
    Lands,
    /// It is not durable, and says so.
    Fails,
    /// It is durable, and says that it is not: the disk's answer was lost on its way.
    LandsAndFails,
}

/// The process dies at the first commit that holds such an event.
#[derive(Clone, Copy, Debug)]
pub struct Doom {
    /// Before or after the commit is durable: [`Checkpoint::BeforeCommit`], else after it.
    pub point: Checkpoint,
    /// Which events call for it.
    pub on: fn(&Happening) -> bool,
}

/// A ledger in memory. It outlives the engine that writes to it, as a disk does.
#[derive(Clone, Debug)]
pub struct MemoryLedger {
    journal: JournalId,
    epoch: u64,
    links: Vec<Link>,
    events: Vec<Event>,
    intents: Vec<Effect>,
    clock: Option<ClockReading>,
    snapshot: Option<(u64, String)>,
    is_down: bool,
    script: VecDeque<CommitFate>,
    doom: Option<Doom>,
    has_killed: bool,
}

impl MemoryLedger {
    /// Makes an empty ledger.
    pub fn new(journal: JournalId) -> Self {
        Self {
            journal,
            epoch: 0,
            links: Vec::new(),
            events: Vec::new(),
            intents: Vec::new(),
            clock: None,
            snapshot: None,
            is_down: false,
            script: VecDeque::new(),
            doom: None,
            has_killed: false,
        }
    }

    /// Begins a new epoch, which fences every earlier writer, and returns it.
    pub fn open(&mut self) -> u64 {
        self.epoch += 1;
        self.has_killed = false;
        self.epoch
    }

    /// Returns the journal's identity.
    pub fn journal(&self) -> &JournalId {
        &self.journal
    }

    /// Returns where the ledger ends.
    pub fn head(&self) -> Head {
        let genesis = || Head { seq: 0, hash: ChainHash::genesis(&self.journal) };
        self.links.last().map_or_else(genesis, |link| Head { seq: link.seq, hash: link.hash })
    }

    /// Returns the clocks at the last commit.
    pub fn clock(&self) -> Option<&ClockReading> {
        self.clock.as_ref()
    }

    /// Returns every durable event.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Returns every effect that was written ahead.
    pub fn intents(&self) -> &[Effect] {
        &self.intents
    }

    /// Reads the snapshot and the events after it as a disk would give them back: from text.
    ///
    /// # Errors
    /// What cannot be read back.
    pub fn read(&self) -> Result<(Option<State>, Vec<Event>), serde_json::Error> {
        let seq = self.snapshot.as_ref().map_or(0, |(seq, _)| *seq);
        let state = self.snapshot.as_ref().map(|(_, state)| serde_json::from_str(state)).transpose()?;
        let later = self.links.iter().filter(|link| link.seq > seq);
        Ok((state, later.map(Link::event).collect::<Result<_, _>>()?))
    }

    /// Keeps `state` as it is after the last event.
    ///
    /// # Errors
    /// A state that JSON cannot hold.
    pub fn save_snapshot(&mut self, state: &State) -> Result<(), serde_json::Error> {
        self.snapshot = Some((self.head().seq, serde_json::to_string(state)?));
        Ok(())
    }

    /// Says whether every commit fails from now on.
    pub fn set_down(&mut self, is_down: bool) {
        self.is_down = is_down;
    }

    /// Says what becomes of the next commits, one by one; each counts, also the second try of one batch.
    pub fn set_fates(&mut self, fates: impl IntoIterator<Item = CommitFate>) {
        self.script = fates.into_iter().collect();
    }

    /// Says at which commit the process dies.
    pub fn set_doom(&mut self, doom: Option<Doom>) {
        self.doom = doom;
    }

    /// Returns whether the process was killed at its last commit.
    pub fn has_killed(&self) -> bool {
        self.has_killed
    }

    fn failed() -> CommitError {
        CommitError::Storage {
            path: PathBuf::from("memory"),
            problem: "the disk says no".to_owned(),
            remedy: "wait",
        }
    }

    /// A writer that is dead hears nothing more: to it, dying and being fenced are the same.
    fn kill(&mut self) -> CommitError {
        self.has_killed = true;
        CommitError::Fenced { ours: self.epoch, journal: self.epoch + 1 }
    }

    fn append(&mut self, batch: &Batch) -> Result<Head, CommitError> {
        if batch.epoch != self.epoch {
            return Err(CommitError::Fenced { ours: batch.epoch, journal: self.epoch });
        }
        let head = self.head();
        if head.seq != batch.expected_seq {
            let landed = self.has_landed(batch)?;
            return Err(CommitError::Conflict { expected: batch.expected_seq, head, landed });
        }
        self.links.extend(link_events(head, batch.clock.wall_unix_ms, &batch.events)?);
        self.events.extend(batch.events.iter().cloned());
        self.intents.extend(batch.intents.iter().cloned());
        self.clock = Some(batch.clock.clone());
        Ok(self.head())
    }

    fn has_landed(&self, batch: &Batch) -> Result<bool, NotRecordable> {
        let at = usize::try_from(batch.expected_seq).unwrap_or(usize::MAX);
        let Some(later) = self.links.get(at..) else { return Ok(false) };
        let hash = match at.checked_sub(1).and_then(|at| self.links.get(at)) {
            Some(link) => link.hash,
            None => ChainHash::genesis(&self.journal),
        };
        let before = Head { seq: batch.expected_seq, hash };
        Ok(later == link_events(before, batch.clock.wall_unix_ms, &batch.events)?)
    }
}

impl Ledger for MemoryLedger {
    fn commit(&mut self, batch: &Batch) -> Result<Head, CommitError> {
        if let Some(doom) = self.doom
            && batch.events.iter().any(|event| (doom.on)(&event.what))
        {
            self.doom = None;
            if doom.point != Checkpoint::BeforeCommit {
                self.append(batch)?;
            }
            return Err(self.kill());
        }
        let usual = if self.is_down { CommitFate::Fails } else { CommitFate::Lands };
        match self.script.pop_front().unwrap_or(usual) {
            CommitFate::Lands => self.append(batch),
            CommitFate::Fails => Err(Self::failed()),
            CommitFate::LandsAndFails => {
                self.append(batch)?;
                Err(Self::failed())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::time::Timestamp;

    fn batch(expected_seq: u64, ms: i64) -> Batch {
        let clock = ClockReading {
            engine: Timestamp::from_millis(ms),
            boot_id: "boot".to_owned(),
            boottime_ms: ms,
            wall_unix_ms: ms,
        };
        let events = vec![Event { at: clock.engine, what: Happening::Stopping }];
        Batch { epoch: 1, expected_seq, clock, events, intents: Vec::new() }
    }

    fn ledger() -> MemoryLedger {
        let mut ledger = MemoryLedger::new(JournalId::new("test"));
        ledger.open();
        ledger
    }

    #[test]
    fn appends_only_where_the_batch_was_decided() {
        let mut ledger = ledger();
        assert_eq!(ledger.commit(&batch(0, 1)).unwrap().seq, 1);
        let other = ledger.commit(&batch(0, 2)).unwrap_err();
        assert_eq!(other, CommitError::Conflict { expected: 0, head: ledger.head(), landed: false });
        ledger.open();
        assert_eq!(ledger.commit(&batch(1, 2)).unwrap_err(), CommitError::Fenced { ours: 1, journal: 2 });
        assert_eq!(ledger.events().len(), 1);
    }

    #[test]
    fn a_batch_that_landed_in_spite_of_its_error_is_recognised() {
        let mut ledger = ledger();
        ledger.set_fates([CommitFate::LandsAndFails]);
        assert!(matches!(ledger.commit(&batch(0, 1)), Err(CommitError::Storage { .. })));
        let again = ledger.commit(&batch(0, 1)).unwrap_err();
        assert_eq!(again, CommitError::Conflict { expected: 0, head: ledger.head(), landed: true });
    }

    #[test]
    fn doom_strikes_once_before_or_after_the_commit() {
        for (point, durable) in [(Checkpoint::BeforeCommit, 0), (Checkpoint::AfterCommit, 1)] {
            let mut ledger = ledger();
            ledger.set_doom(Some(Doom { point, on: |what| matches!(what, Happening::Stopping) }));
            assert!(matches!(ledger.commit(&batch(0, 1)), Err(CommitError::Fenced { .. })));
            assert!(ledger.has_killed());
            assert_eq!(ledger.events().len(), durable);
        }
    }
}
