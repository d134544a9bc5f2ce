//! Verdicts: what an observation says about a condition. Never a bool.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::alerting::AlertsJudged;
use crate::engine::model::{Labels, RollbackId, SourceName, TargetName, TriggerName, stored_number};
use crate::engine::series::SourceFailure;
use crate::engine::time::{Span, Timestamp};

/// What one observation says about one label set of one condition.
///
/// Everything that is neither proven good nor proven bad is `NoData` or `Unknown`; both never count as healthy and
/// never act by themselves (E2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The promise holds.
    Holds,
    /// The promise is broken.
    Breached,
    /// The expression selects nothing.
    NoData,
    /// It cannot be said.
    Unknown(UnknownReason),
}

/// Why it cannot be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// A source that it needs failed to answer this time.
    SourceFailed {
        /// Which.
        source: SourceName,
        /// Why.
        failure: SourceFailure,
    },
    /// A source that it needs has neither answered nor failed yet.
    NotYetHeard {
        /// Which.
        source: SourceName,
    },
    /// The value is not a number, such as an error ratio without traffic.
    NotANumber,
    /// The trigger is written for one series and the expression yields several.
    SeveralSeries(usize),
    /// The expression could not be evaluated; the text says why.
    Failed(String),
    /// There is no baseline to compare with; the text says why.
    NoBaseline(String),
    /// What was measured last is too old to be believed.
    Stale {
        /// How old.
        age: Span,
    },
    /// The condition `given` is not met.
    NoTraffic,
    /// The window holds fewer observations with a value than the trigger asks for.
    TooFewSamples {
        /// How many it holds.
        seen: u32,
        /// How many it takes.
        needed: u32,
    },
    /// More label sets than one trigger follows.
    TooManyLabelSets(usize),
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceFailed { source, failure } => write!(f, "source {source} failed: {failure}"),
            Self::NotYetHeard { source } => write!(f, "source {source} has not answered yet"),
            Self::NotANumber => f.write_str("the value is not a number (no traffic?)"),
            Self::SeveralSeries(count) => write!(f, "{count} series where the trigger expects one"),
            Self::Failed(why) => write!(f, "the expression failed: {why}"),
            Self::NoBaseline(why) => write!(f, "there is no baseline to compare with: {why}"),
            Self::Stale { age } => write!(f, "the last value is {} old", age.rounded()),
            Self::NoTraffic => f.write_str("`given` is not met (too little traffic?)"),
            Self::TooFewSamples { seen, needed } => write!(f, "{seen} of {needed} samples in the window"),
            Self::TooManyLabelSets(count) => write!(f, "{count} label sets, more than one trigger follows"),
        }
    }
}

/// What a verdict rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The measured value, in the indicator's base unit.
    #[serde(with = "stored_number")]
    pub value: f64,
    /// The threshold, in the same unit; an imported rule's is within its expression.
    #[serde(with = "stored_number::optional", default)]
    pub threshold: Option<f64>,
    /// The condition as written.
    pub condition: String,
    /// The value with its unit, for people: `12.3%`, `250ms`.
    pub shown: String,
    /// The youngest sample that went into the value.
    pub newest_sample: Option<Timestamp>,
    /// The labels of the series.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// The unit of trigger state: target, trigger, label set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TriggerKey {
    /// What is guarded.
    pub target: TargetName,
    /// Which promise.
    pub trigger: TriggerName,
    /// Which series.
    pub labels: Labels,
}

/// One trigger's verdict for one label set, with its window.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Whose.
    pub key: TriggerKey,
    /// What this observation says.
    pub verdict: Verdict,
    /// What it rests on, where there is a value.
    pub evidence: Option<Evidence>,
    /// The window with this observation in it.
    pub window: WindowFill,
    /// Since when there has been neither `Holds` nor `Breached`; `None` when this one is either.
    pub blind_since: Option<Timestamp>,
    /// Whether a trigger that fires ends with this observation.
    pub may_clear: bool,
    /// What was found where the verdict is what the trigger's `no_data` makes of it.
    pub taken_for: Option<Verdict>,
}

impl Judgement {
    /// Returns the last judgement of a label set that is gone and left nothing behind: whatever waits for it ends.
    pub fn quiet(key: TriggerKey) -> Self {
        Self {
            key,
            verdict: Verdict::Holds,
            evidence: None,
            window: WindowFill::default(),
            blind_since: None,
            may_clear: true,
            taken_for: None,
        }
    }
}

impl Evidence {
    /// Returns how far the value is beyond the threshold, in the indicator's base unit; below it where negative.
    pub fn margin(&self) -> Option<f64> {
        self.threshold.map(|threshold| self.value - threshold)
    }

    /// Returns how old the youngest sample was at `now`.
    pub fn age(&self, now: Timestamp) -> Option<Span> {
        self.newest_sample.map(|newest| now.since(newest))
    }
}

/// How full a sustained window is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowFill {
    /// The window's length.
    pub of: Span,
    /// The part of it that is proven to have been breached.
    pub breached: Span,
    /// The part of it that was observed.
    #[serde(default)]
    pub covered: Span,
    /// How many breaches it holds of how many it takes, where observations are counted.
    #[serde(default)]
    pub count: Option<(u32, u32)>,
    /// The first breach that still counts.
    pub since: Option<Timestamp>,
    /// Whether it holds as much as it takes, whatever the last observation said.
    #[serde(default)]
    pub still: bool,
    /// Whether the trigger fires: it holds as much as it takes, and the last observation was a breach.
    pub full: bool,
}

/// A trigger whose time it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfScope {
    /// What is guarded.
    pub target: TargetName,
    /// Which promise.
    pub trigger: TriggerName,
    /// The word of its `during` that is not true.
    pub scope: String,
}

/// One condition of one rollback's verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CheckKey {
    /// The run that is verified.
    pub rollback: RollbackId,
    /// The condition's place in the plan.
    pub condition: usize,
}

/// What fresh samples say about one condition of a verification.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckVerdict {
    /// Which.
    pub key: CheckKey,
    /// `Holds` is a pass.
    pub verdict: Verdict,
    /// What it rests on, where there is a value.
    pub evidence: Option<Evidence>,
}

/// A source without a good answer for longer than its `silent_after`.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// Which.
    pub source: SourceName,
    /// Its last good answer, or when asking began.
    pub since: Timestamp,
    /// Its last failure, if it failed at all and did not just hang.
    pub failure: Option<SourceFailure>,
}

/// The last answer of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSeen {
    /// Which.
    pub source: SourceName,
    /// When it was asked.
    pub at: Timestamp,
    /// Whether the answer was good.
    pub good: bool,
    /// Since when every answer has been as good, or as bad.
    pub since: Timestamp,
    /// What the answer was in words: `answered 503, expected 200`.
    pub why: String,
}

impl ProbeSeen {
    /// An answer speaks for at most this many of its source's intervals.
    const FRESH_INTERVALS: i64 = 3;

    /// Returns whether the answer of a source that is asked `every` so often still speaks for `now`.
    pub fn is_fresh(&self, every: Span, now: Timestamp) -> bool {
        now.since(self.at) <= every.times(Self::FRESH_INTERVALS)
    }
}

/// What the measurement half hands to the decision half after an observation or at a deadline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// Triggers judged anew.
    pub judgements: Vec<Judgement>,
    /// Triggers whose time it is not, and that were therefore not judged.
    pub outside: Vec<OutOfScope>,
    /// Verifications judged anew.
    pub checks: Vec<CheckVerdict>,
    /// Every source that is silent now.
    pub silent: Vec<Silence>,
    /// Every source that answered well at its last observation.
    pub answering: Vec<SourceName>,
    /// Every probe whose last answer still speaks for now. One that could not ask is not here: it knows nothing.
    pub probes: Vec<ProbeSeen>,
    /// The version that each target's detection metric shows, where it shows exactly one.
    pub versions: Vec<(TargetName, String)>,
    /// Imported alerts, where a group was evaluated.
    pub alerts: Option<AlertsJudged>,
}
