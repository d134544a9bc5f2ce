//! The pure core: what is measured, what it means, what follows.
//!
//! Nothing in here reads a clock, opens a file, waits, draws a random number, logs, or iterates over a map whose order
//! differs between runs. Imports run one way: `time, model <- series <- promql <- rules <- evaluation <- decision`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod decision;
pub mod evaluation;
pub mod model;
pub mod promql;
pub mod report;
pub mod rules;
pub mod series;
pub mod time;
