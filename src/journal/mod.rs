//! What must outlive the process: one writer, one SQLite file for what was decided, another for what was measured.
//!
//! - [`Journal`] holds `journal.sqlite`: events, intents, the outbox, snapshots. [`Ledger::commit`] is compare-and-append
//!   in one transaction, durable when it returns (WAL, `synchronous = FULL`). People read it with `sqlite3`.
//! - [`DurableEngine`] joins an engine with a ledger: no effect leaves before its decision is durable.
//! - [`Reader`] is a read-only second connection to it, for commands.
//! - [`SampleStore`] holds `samples.sqlite` (`synchronous = NORMAL`): losing an interval there is a gap, not a lie.
//!
//! ```text
//! lock ── ledger (the contract) ── chain (what is hashed)
//!   └── recovery (open) ── store (write) ── projection (tables for people) ── reader ── verification
//!                            └── retention (checkpoints, what is dropped)
//! ```
//!
//! Everything is synchronous; the daemon calls it from one thread that is made for it. No rowid and no SQL type leaves
//! this module: ids are the engine's, places are sequence numbers.

mod chain;
mod database;
mod durable;
mod error;
mod ledger;
mod lock;
mod outputs;
mod projection;
mod reader;
mod recovery;
mod retention;
mod samples;
mod schema;
mod store;
mod verification;

pub use chain::{ChainBreak, ChainHash, Link, NotRecordable, link_events};
pub use durable::{Checkpoint, DurableEngine, Fatal, Handled, Witness, recover_state};
pub use error::OpenError;
pub use ledger::{Batch, ClockReading, CommitError, Head, Ledger};
pub use outputs::DROPPED;
pub use reader::{IncidentRow, IncidentsWanted, ReadError, Reader, Record, Resolution};
pub use recovery::{Recovered, Snapshot};
pub use retention::{Dropped, Retention};
pub use samples::{LoadedSamples, SampleStore, SamplesError, SamplesOpened, Turn};
pub use store::{GoodSetup, Journal};
pub use verification::{Anchored, Entry, Verified};
