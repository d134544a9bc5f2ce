//! Indicators and conditions -> verdicts with evidence, and sustained windows over them.

pub mod alerting;
pub mod baseline;
pub mod budget;
pub mod groups;
pub mod look;
pub mod measurements;
pub mod saved;
pub mod score;
pub mod shown;
pub mod verdict;
pub mod watch;
pub mod window;

pub use alerting::{AlertJudgement, AlertRuleStanding, AlertsJudged};
pub use baseline::{Baseline, Mean};
pub use groups::{ALERT_NAME, ActiveAlert, AlertState, GroupLook};
pub use look::{BudgetLook, BurnLook, FailingRule, ObjectiveLook, PromiseLook, SourceLook, TriggerLook};
pub use measurements::{MAX_RESTORE_GAP, Measurements, SavedBudget, SavedPromises};
pub use saved::{SavedMeasurements, SavedWindow};
pub use score::Standing;
pub use shown::shown;
pub use verdict::{
    CheckKey, CheckVerdict, Evidence, Judged, Judgement, Silence, TriggerKey, UnknownReason, Verdict,
    WindowFill,
};
pub use watch::{Check, DetectVersion, Memory, SourcePace, Watch};
pub use window::{Mark, Window};
