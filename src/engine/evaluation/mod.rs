//! Indicators and conditions -> verdicts with evidence, and sustained windows over them.

pub mod groups;
pub mod measurements;
pub mod shown;
pub mod verdict;
pub mod watch;
pub mod window;

pub use measurements::{MAX_RESTORE_GAP, Measurements, SavedWindow, SourceLook, TriggerLook};
pub use verdict::{
    CheckKey, CheckVerdict, Evidence, Judged, Judgement, Silence, TriggerKey, UnknownReason, Verdict,
    WindowFill,
};
pub use watch::{Check, DetectVersion, SourcePace, Watch};
pub use window::{Mark, Window};
