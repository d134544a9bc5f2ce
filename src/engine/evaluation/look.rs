//! What triggers, sources and failing rules look like now, for `status`.

use serde::{Deserialize, Serialize};

use super::groups::GroupId;
use super::scopes::Outside;
use super::verdict::{Evidence, TriggerKey, Verdict, WindowFill};
use crate::engine::model::SourceName;
use crate::engine::series::SourceFailure;
use crate::engine::time::Timestamp;

/// What a trigger looks like now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerLook {
    /// Whose.
    pub key: TriggerKey,
    /// The last verdict; `None` before the first.
    pub verdict: Option<Verdict>,
    /// What it rests on.
    pub evidence: Option<Evidence>,
    /// How full its window is.
    pub window: WindowFill,
    /// Why it is not judged now, where it is not.
    #[serde(default)]
    pub outside: Option<Outside>,
}

/// What a source looks like now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceLook {
    /// Which.
    pub source: SourceName,
    /// Its last good answer.
    pub last_good: Option<Timestamp>,
    /// Its last failure, while its last answer was one.
    pub failure: Option<SourceFailure>,
    /// Whether it has been asked and heard at all.
    pub heard: bool,
}

/// An imported rule whose last evaluation failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailingRule {
    /// Its group.
    pub group: GroupId,
    /// The recorded metric, or the value of `alertname`.
    pub rule: String,
    /// Why it fails.
    pub why: String,
}
