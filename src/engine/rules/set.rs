//! The compiled rules: whatever can be built here can be judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::groups::Group;
use crate::engine::model::{
    IndicatorName, PlanName, PolicyName, Severity, SourceName, TargetName, TriggerName,
};
use crate::engine::promql::Plan as QueryPlan;
use crate::engine::time::Span;

/// Every loaded rule.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// By target and name; the name is unique within its target.
    pub triggers: BTreeMap<(TargetName, TriggerName), Arc<Trigger>>,
    /// The imported groups, ordered by file and name.
    pub groups: Vec<Arc<Group>>,
}

/// A named expression with a unit: what is measured.
#[derive(Clone, Debug)]
pub struct Indicator {
    /// Its name.
    pub name: IndicatorName,
    /// What its values mean.
    pub unit: Unit,
    /// The expression as written.
    pub text: String,
    /// The expression, compiled.
    pub query: QueryPlan,
}

/// What a value means. Thresholds must be of the indicator's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A share; `2%` is 0.02.
    Ratio,
    /// Seconds; `200ms` is 0.2.
    Seconds,
    /// Events per second; `60/min` is 1.
    PerSecond,
    /// Bytes; `1MiB` is 1,048,576.
    Bytes,
    /// A plain number of things.
    Count,
    /// 0 or 1.
    Bool,
}

/// `indicator op threshold`: what is compared.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What is measured.
    pub indicator: Arc<Indicator>,
    /// How it is compared.
    pub comparison: Comparison,
    /// The threshold, in the indicator's base unit (ratio, seconds, per second, bytes).
    pub threshold: f64,
    /// The condition as written, for people.
    pub text: String,
}

/// A comparison operator. A NaN meets none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Comparison {
    /// Returns whether `value op threshold`; `None` for a NaN, which is neither above nor below (E2).
    pub fn met(self, value: f64, threshold: f64) -> Option<bool> {
        if value.is_nan() || threshold.is_nan() {
            return None;
        }
        Some(match self {
            Self::Less => value < threshold,
            Self::LessOrEqual => value <= threshold,
            Self::Greater => value > threshold,
            Self::GreaterOrEqual => value >= threshold,
            #[expect(clippy::float_cmp, reason = "the author of the rule asked for exact equality")]
            Self::Equal => value == threshold,
            #[expect(clippy::float_cmp, reason = "the author of the rule asked for exact inequality")]
            Self::NotEqual => value != threshold,
        })
    }
}

/// A condition, a sustained window, a severity, and what follows.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its name, unique within the target.
    pub name: TriggerName,
    /// What it guards.
    pub target: TargetName,
    /// The sources whose observations make it be judged.
    pub sources: BTreeSet<SourceName>,
    /// What is bad when it is met.
    pub when: Condition,
    /// For how long it must have been bad.
    pub window: WindowSpec,
    /// How bad it is.
    pub severity: Severity,
    /// The page's first line, with `{placeholders}`.
    pub summary: Option<String>,
    /// Where people read what to do.
    pub runbook: Option<String>,
    /// What follows.
    pub then: Then,
    /// Hash of what decides whether the window fills: target, name, sources, expression, unit, threshold, window. Equal
    /// across a reload means that the window is kept; a better summary or another plan does not lose it.
    pub fingerprint: String,
}

/// A sustained window: breached at every observation for `of`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowSpec {
    /// Its length; zero fires at the first breach.
    pub of: Span,
    /// The share of the window that must have been observed, 0 to 1.
    pub coverage: f64,
    /// How long one verdict speaks for the time after it.
    pub max_gap: Span,
}

/// What follows when a trigger fires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Then {
    /// The plan that is run.
    pub rollback: Option<PlanName>,
    /// The policy that is notified.
    pub page: Option<PolicyName>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        })
    }
}
