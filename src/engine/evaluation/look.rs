//! What triggers, sources and failing rules look like now, for `status`.

use serde::{Deserialize, Serialize};

use super::groups::GroupId;
use super::scopes::Outside;
use super::score::Standing;
use super::verdict::{Evidence, ProbeSeen, TriggerKey, Verdict, WindowFill};
use crate::engine::model::{BudgetName, Severity, SourceName, TargetName};
use crate::engine::series::SourceFailure;
use crate::engine::time::{Span, Timestamp};

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
    /// What a probe answered last.
    #[serde(default)]
    pub probe: Option<ProbeSeen>,
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

/// How well a target keeps its promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveLook {
    /// Whose.
    pub target: TargetName,
    /// The compliance score, 0 to 100; `None` before every promise was judged once.
    pub score: Option<f64>,
    /// The lowest score within the window.
    pub lowest: Option<f64>,
    /// How far back that looks.
    pub window: Span,
    /// The promises; empty while there is no score.
    pub promises: Vec<PromiseLook>,
}

/// How well one promise is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromiseLook {
    /// What people call it.
    pub name: String,
    /// What must hold, as written.
    pub keep: String,
    /// How bad it is when it is broken.
    pub severity: Severity,
    /// How well it is kept.
    pub standing: Standing,
    /// What was measured, or why nothing is known.
    pub seen: String,
}

/// What an error budget looks like now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetLook {
    /// Whose.
    pub target: TargetName,
    /// Its name.
    pub budget: BudgetName,
    /// The promised share of good events.
    pub objective: f64,
    /// Over which time.
    pub period: Span,
    /// The events of the period, as far as they were seen.
    pub total: f64,
    /// The bad ones of them.
    pub errors: f64,
    /// What is left of the budget: 1 is all, negative is overspent; `None` without events.
    pub remaining: Option<f64>,
    /// Why nothing is counted now, if nothing is.
    pub blind: Option<Verdict>,
    /// How fast it burns.
    pub burn_rates: Vec<BurnLook>,
}

/// How fast a budget burns over one pair of windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurnLook {
    /// The long window.
    pub long: Span,
    /// The short window.
    pub short: Span,
    /// The rate that neither may exceed.
    pub above: f64,
    /// The rate over the long window; `None` without events.
    pub long_rate: Option<f64>,
    /// The rate over the short window; `None` without events.
    pub short_rate: Option<f64>,
    /// The events of the long window.
    pub total: f64,
    /// The bad ones of them.
    pub errors: f64,
    /// Whether those are enough to be judged by.
    pub enough: bool,
    /// Whether both windows burn too fast.
    pub burns: bool,
}
