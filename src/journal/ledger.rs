//! The contract between whoever decides and whoever remembers: compare-and-append.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::chain::{ChainHash, NotRecordable};
use crate::engine::decision::{Effect, Event};
use crate::engine::time::{Span, Timestamp};

/// Where a journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The place of the last event; 0 where there is none.
    pub seq: u64,
    /// The hash of the last event and of all before it.
    pub hash: ChainHash,
}

/// The clocks at one instant, kept with each commit: engine time goes on from here after a restart (E8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Engine time.
    pub engine: Timestamp,
    /// The boot in which `boottime_ms` means something (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The boottime clock, in milliseconds.
    pub boottime_ms: i64,
    /// The wall clock, in milliseconds of Unix time.
    pub wall_unix_ms: i64,
}

impl ClockReading {
    /// Returns wall time minus engine time.
    pub fn wall_offset(&self) -> Span {
        Span::from_millis(self.wall_unix_ms - self.engine.as_millis())
    }
}

/// What becomes durable together, or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The epoch under which it was decided.
    pub epoch: u64,
    /// The head on which it was decided.
    pub expected_seq: u64,
    /// The clocks.
    pub clock: ClockReading,
    /// What happened, in order; may be empty, the clock is kept all the same.
    pub events: Vec<Event>,
    /// What the shell must do once this is durable.
    pub intents: Vec<Effect>,
}

/// Something that remembers decisions: the journal, or the simulator's stand-in.
///
/// Both keep one promise: after `Ok` the batch outlives a crash; after `Err` nothing of it may be taken for durable.
pub trait Ledger {
    /// Appends the batch if the ledger still ends where the batch was decided on, and returns the new head.
    ///
    /// # Errors
    /// See [`CommitError`]; each of them means that no *act* of the batch may happen (E4).
    fn commit(&mut self, batch: &Batch) -> Result<Head, CommitError>;
}

/// Why a batch was not made durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Another daemon has opened the journal since: this one must decide nothing more.
    #[error(
        "this daemon's epoch is {ours}, the journal's is {journal}: another daemon has taken the journal over; stop this one"
    )]
    Fenced {
        /// The batch's epoch.
        ours: u64,
        /// The journal's epoch.
        journal: u64,
    },
    /// The journal ends elsewhere than the batch expects.
    #[error("the batch was decided on event {expected}, the journal ends at {}", head.seq)]
    Conflict {
        /// What the batch expects.
        expected: u64,
        /// Where the journal ends.
        head: Head,
        /// Whether exactly this batch is what follows `expected`, to the last hash: an earlier attempt that reported
        /// an error had reached the disk after all.
        landed: bool,
    },
    /// The batch cannot be stored so that it can be read back.
    #[error(transparent)]
    NotRecordable(#[from] NotRecordable),
    /// The disk said no. The connection is gone; the next commit first reads the file anew.
    #[error("cannot write `{}`: {problem}; {remedy}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        problem: String,
        /// What to do about it.
        remedy: &'static str,
    },
}
