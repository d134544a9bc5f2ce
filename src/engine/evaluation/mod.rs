//! Indicators and conditions -> verdicts with evidence, and sustained windows over them.

pub mod verdict;

pub use verdict::{
    CheckKey, CheckVerdict, Evidence, Judged, Judgement, Silence, TriggerKey, UnknownReason, Verdict,
    WindowFill,
};
