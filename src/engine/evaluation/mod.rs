//! Indicators and conditions -> verdicts with evidence, and sustained windows over them.

pub mod alerting;
pub mod baseline;
pub mod budget;
pub mod groups;
pub mod look;
pub mod measurements;
pub mod own;
pub mod saved;
pub mod scopes;
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
pub use own::{OWN_PACE, OWN_PREFIX, OWN_SOURCE};
pub use saved::{SavedMeasurements, SavedWindow};
pub use scopes::{Outside, Scopes};
pub use score::Standing;
pub use shown::shown;
pub use verdict::{
    CheckKey, CheckVerdict, Evidence, Judged, Judgement, OutOfScope, ProbeSeen, Silence, TriggerKey,
    UnknownReason, Verdict, WindowFill,
};
pub use watch::{Check, DetectVersion, Disturbed, Memory, SourcePace, Watch};
pub use window::{Mark, Window};
