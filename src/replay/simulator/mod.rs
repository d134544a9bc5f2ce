//! A hostile world in virtual time: one seed draws an application, its files, and everything that goes wrong.
//!
//! The engine, the durable loop around it and the recovery are the daemon's own. The world keeps ledgers of its own: what
//! a source really said, what a step really did, what a receiver really took. After every decision and every act the
//! invariants are checked on those and on the events alone, never on what the engine believes of itself:
//!
//! | id | what is checked |
//! |---|---|
//! | E1 | one seed twice ends in one hash of all events (the caller runs it twice) |
//! | E2 | nothing fires, clears, begins or passes but on good, sufficient answers; a silent source has its incident |
//! | E3 | one rollback per target, in the events and in what runs; one run of a plan per incident |
//! | E4 | every act was written down twice before; no key, no step twice |
//! | E5 | the page of a bad end is decided with it, handed out with it, and arrives |
//! | E6 | what the disk holds gives the state that was in memory |
//! | E7 | armed, cooled down, within the cap, across restarts |
//! | E8 | no event is older than the one before |
//! | E9 | in the calm at the end every page has arrived, or died and gone elsewhere |
//!
//! The world ends in a calm in which everything works, so that whatever is owed must be paid.

mod app;
mod channels;
mod checks;
mod counters;
mod faults;
mod files;
mod host;
mod log;
mod promises;
mod random;
mod steps;
mod tally;
mod world;

pub use counters::{Counters, EXPECTED};
pub use log::Violation;
pub use world::{Outcome, run};
