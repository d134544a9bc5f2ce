//! What is promised: objectives that are scored, and error budgets.

use std::collections::BTreeSet;

use super::Condition;
use crate::engine::model::{BudgetName, Severity, SourceName, TargetName, TriggerName};
use crate::engine::promql::Plan as QueryPlan;
use crate::engine::time::Span;

/// The promises of one target, and how they are scored together.
#[derive(Clone, Debug)]
pub struct Objectives {
    /// What is guarded.
    pub target: TargetName,
    /// How far back the score's history is shown.
    pub window: Span,
    /// How promises become one number.
    pub scoring: Scoring,
    /// The promises, in the order of the file.
    pub promises: Vec<Promise>,
}

/// One promise. That it is broken again and again is watched by a trigger of its own.
#[derive(Clone, Debug)]
pub struct Promise {
    /// What people call it.
    pub name: String,
    /// The trigger whose condition says that it is broken.
    pub trigger: TriggerName,
    /// What must hold for full marks.
    pub keep: Condition,
    /// What must hold at least for it to count as half kept; shares only.
    pub warn: Option<Condition>,
    /// How bad it is when it is broken.
    pub severity: Severity,
    /// Whether the whole fails where it is not kept; shares only.
    pub is_key: bool,
    /// What it weighs among the others; shares only.
    pub weight: f64,
}

/// How promises become one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scoring {
    /// 100 less the weights of what is broken.
    Penalty(Weights),
    /// The weighted share of what is kept.
    Weighted,
}

/// What a broken promise costs, by its severity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// A critical one.
    pub critical: f64,
    /// A high one.
    pub high: f64,
    /// A medium one.
    pub medium: f64,
    /// A low one.
    pub low: f64,
    /// The least that one costs of which nothing is known; above zero.
    pub unknown: f64,
}

impl Weights {
    /// Those of acceptance row S0-17.
    pub const DEFAULT: Self = Self { critical: 30.0, high: 20.0, medium: 10.0, low: 5.0, unknown: 5.0 };

    /// Returns what a broken promise of `severity` costs.
    pub fn of(&self, severity: Severity) -> f64 {
        match severity {
            Severity::Critical => self.critical,
            Severity::High => self.high,
            Severity::Medium => self.medium,
            Severity::Low => self.low,
        }
    }
}

/// How many bad events a target may have over a period, and how fast they may come.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Its name, unique within the target.
    pub name: BudgetName,
    /// What is guarded.
    pub target: TargetName,
    /// How many good events there have been since counting began: a counter.
    pub good: QueryPlan,
    /// How many events there have been since counting began: a counter.
    pub total: QueryPlan,
    /// The sources that both read.
    pub sources: BTreeSet<SourceName>,
    /// The share of good events that is promised: above 0, below 1.
    pub objective: f64,
    /// The time over which it is promised.
    pub period: Span,
    /// With fewer events in a burn rate's long window it is not judged as burning.
    pub min_events: f64,
    /// With fewer bad events in a burn rate's long window it is not judged as burning.
    pub min_errors: f64,
    /// Whether anything but pages may follow.
    pub enforcement: Enforcement,
    /// Time between two measurements beyond which what happened in between is not counted: nobody saw when.
    pub max_gap: Span,
    /// Hash of what is counted: another expression begins to count anew.
    pub fingerprint: String,
}

impl Budget {
    /// Returns how fast the budget burns where `errors` of `total` events are bad: 1 spends it exactly within the period.
    pub fn burn_rate(&self, errors: f64, total: f64) -> Option<f64> {
        // Rounded: 1 - 0.9 is less than a tenth, and what is exactly promised must not burn faster than 1.
        (total > 0.0).then(|| (errors / total / (1.0 - self.objective) * 1e9).round() / 1e9)
    }
}

/// What may follow when a budget burns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Whatever `then` says.
    Strict,
    /// Pages; never a rollback.
    Permissive,
}

/// What a trigger watches that is a burn rate: breached while both windows burn faster than `above`.
///
/// The long window tells that it matters, the short one that it has not stopped since (SRE Workbook, chapter 5).
#[derive(Clone, Debug, PartialEq)]
pub struct BurnRate {
    /// Of which budget.
    pub budget: BudgetName,
    /// The long window.
    pub long: Span,
    /// The short window.
    pub short: Span,
    /// The rate that neither may exceed.
    pub above: f64,
    /// Whether anything but pages may follow.
    pub enforcement: Enforcement,
}
