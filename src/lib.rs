//! Rearguard covers a retreat: it watches an application's live metrics, rolls a bad deployment back, proves that the
//! rollback worked, and pages whoever is on call.
//!
//! The house, in the order in which data flows through it:
//!
//! ```text
//! sources -> engine: series -> evaluation -> decision -> journal -> effects
//!                                               ^                      |
//!                                               +------ outcomes ------+
//! ```
//!
//! - [`config`]: `rearguard.yaml` and the rule files, read with every problem at once; secrets stay references.
//! - [`secret`]: text that must never be printed.
//! - [`probe`]: what a probe asks and what it takes for good, as plain values.
//! - [`process`]: what every child process has in common.
//! - [`sources`]: where samples come from; each answers whole, or fails with a reason.
//! - [`engine`]: the pure core. No clock, no IO, no randomness: `decide` says what happens and why, `apply` is the only
//!   way in which state changes.
//! - [`journal`]: what must outlive the process. Events, intents and outbox in one SQLite file; sample windows in another.
//! - [`effects`]: what the engine asks for: rollback steps, receivers, and the outbox that retries deliveries.
//! - [`daemon`]: the driver with real time; the one place that has a clock.
//! - [`replay`]: the driver with virtual time, and the simulator that holds the house to its invariants.
//! - [`ingest`]: what comes in over HTTP: one token per capability, off by default.
//! - [`web`]: what the daemon shows over HTTP, read-only: the API that Prometheus' clients speak.
//! - [`cli`]: the commands, which sit on top of everything else.
//!
//! `ARCHITECTURE.md` says what each part may know of the others, and what must never happen.

pub mod config;
pub mod probe;
pub mod process;
pub mod secret;

pub mod sources;

pub mod engine;

pub mod journal;

pub mod effects;

pub mod daemon;
pub mod ingest;
pub mod replay;
pub mod web;

pub mod cli;
