//! Rearguard covers a retreat: it watches an application's live metrics, rolls a bad deployment back, proves that the
//! rollback worked, and pages whoever is on call.
//!
//! The house, in the order in which data flows through it:
//!
//! - [`engine`]: the pure core. No clock, no IO, no randomness: `decide` says what happens and why, `apply` is the only
//!   way in which state changes.

pub mod engine;

pub mod cli;
