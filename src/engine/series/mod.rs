//! What is remembered: the recent samples of every series that a rule can select.

pub mod observation;

pub use observation::{FailureKind, Observation, SourceFailure};
