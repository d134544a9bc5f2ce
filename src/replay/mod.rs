//! The driver with virtual time: rule tests, backtests and the simulator run the engine that the daemon runs.
//!
//! [`Replay`] is the daemon without a host: the same durable engine, over a ledger in memory and a clock that moves only
//! when something is due. What it is fed and what becomes of its effects is its caller's business. [`simulator`] is the
//! caller that means harm.

mod driver;
mod memory;
mod queue;
pub mod rule_test;
pub mod simulator;
mod timeline;

pub use driver::{Replay, Saved, Stepped, Timed};
pub use memory::{CommitFate, Doom, MemoryLedger};
pub use queue::Queue;
pub use timeline::{timeline, timeline_difference};
