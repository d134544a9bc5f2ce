//! What is watched beside the rules' own conditions: rhythms, versions, verifications.

use std::collections::{BTreeMap, BTreeSet};

use super::baseline::Baseline;
use super::scopes::Scopes;
use super::verdict::CheckKey;
use crate::engine::model::{IndicatorName, Labels, SourceName, TargetName};
use crate::engine::rules::{Condition, RuleSet};
use crate::engine::series::{Limits, Selector};
use crate::engine::time::{Span, Timestamp};

/// The rhythm that is expected of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePace {
    /// Time between two observations.
    pub every: Span,
    /// Time without a good answer after which the silence is an incident of its own (E2).
    pub silent_after: Span,
}

/// The series whose label tells the version that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectVersion {
    /// The source that exposes it.
    pub source: SourceName,
    /// The metric, such as `app_build_info`.
    pub metric: String,
    /// The label, such as `version`.
    pub label: String,
}

/// What may be remembered of samples, and what must be although no rule selects it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The bounds of series, labels, and time.
    pub limits: Limits,
    /// Series that are kept for the queries of people, as long as those that rules select.
    pub keep: Vec<Selector>,
}

/// Where what is measured now is not what is normal: something is new, or wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disturbed {
    /// The targets of which nothing is normal.
    pub targets: BTreeSet<TargetName>,
    /// What else is not normal.
    pub indicators: BTreeSet<(TargetName, IndicatorName)>,
}

impl Disturbed {
    /// Returns whether an indicator of a target is not what is normal.
    pub fn contains(&self, of: &(TargetName, IndicatorName)) -> bool {
        self.targets.contains(&of.0) || self.indicators.contains(of)
    }
}

/// One condition of a verification that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Whose.
    pub key: CheckKey,
    /// What is guarded: its baselines count.
    pub target: &'a TargetName,
    /// What must hold.
    pub condition: &'a Condition,
    /// No sample older than this is looked at: the eyes are fresh.
    pub not_before: Timestamp,
    /// Sources that are read in place of others.
    pub read_instead: &'a BTreeMap<SourceName, SourceName>,
}

/// Everything that an observation is judged against.
#[derive(Clone, Debug)]
pub struct Watch<'a> {
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// The rhythm of every source.
    pub paces: &'a BTreeMap<SourceName, SourcePace>,
    /// The sources that are probes.
    pub probes: &'a BTreeSet<SourceName>,
    /// How each target's version is noticed.
    pub versions: Vec<(&'a TargetName, &'a DetectVersion)>,
    /// What may and what must be remembered.
    pub memory: &'a Memory,
    /// Verifications under way.
    pub checks: Vec<Check<'a>>,
    /// Where what is measured now is not what is normal.
    pub disturbed: Disturbed,
    /// The targets of which a deployment is under way or soaks: for them there should be something to compare with.
    pub deployed: BTreeSet<TargetName>,
    /// Which times it is for the targets that rules with `during` guard.
    pub scopes: BTreeMap<TargetName, Scopes>,
    /// What indicators were before the deployments: without an entry, relative thresholds cannot be judged.
    pub baselines: &'a BTreeMap<(TargetName, IndicatorName), Baseline>,
    /// Whether imported groups are evaluated; not once the daemon goes down and asks nobody any more.
    pub evaluates_groups: bool,
    /// What templates show as `$externalLabels`.
    pub external_labels: &'a Labels,
    /// What templates show as `$externalURL`.
    pub external_url: &'a str,
    /// Wall time minus engine time, for `time()` and `@`.
    pub wall_offset: Span,
}
