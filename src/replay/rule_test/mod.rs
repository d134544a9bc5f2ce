//! Rule tests: promtool's unit tests under virtual time, through the engine half that the daemon runs.
//!
//! A test gives series, evaluates the rule files' groups step by step, and compares alerts and expressions with what it
//! expects. What a file means is what `promtool test rules` of Prometheus 3 makes of it, so that files move both ways.

mod compare;
pub mod notation;
pub mod report;
mod written;
