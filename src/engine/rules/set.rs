//! The compiled rules: whatever can be built here can be judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod absence;
mod condition;
mod objectives;
mod window;

pub use absence::{Absence, NoData, PAGE_AFTER};
pub use condition::{Compare, Comparison, Condition, Part, Test, Threshold};
pub use objectives::{Budget, BurnRate, Enforcement, Objectives, Promise, Scoring, Weights};
pub use window::WindowSpec;

use super::baseline::BaselineSpec;
use super::groups::Group;
use crate::engine::model::{
    BudgetName, CalendarName, IndicatorName, PlanName, PolicyName, Severity, SourceName, TargetName,
    TriggerName,
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
    /// What is promised and scored, one set per target. Each promise has a trigger of its own among `triggers`.
    pub objectives: BTreeMap<TargetName, Arc<Objectives>>,
    /// The error budgets, by target and name. Each of their burn rates has a trigger of its own among `triggers`.
    pub budgets: BTreeMap<(TargetName, BudgetName), Arc<Budget>>,
}

/// A named expression with a unit: what is measured.
#[derive(Clone, Debug)]
pub struct Indicator {
    /// Its name.
    pub name: IndicatorName,
    /// What its values mean.
    pub unit: Unit,
    /// What it means, for people.
    pub description: Option<String>,
    /// The expression as written.
    pub text: String,
    /// The expression, compiled.
    pub query: QueryPlan,
    /// How its normal value is taken.
    pub baseline: BaselineSpec,
}

/// What a value means. Thresholds must be of the indicator's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A share; `2%` is 0.02.
    Ratio,
    /// A share as applications show it that count to a hundred; `2%` is 2.
    Percent,
    /// Seconds; `200ms` is 0.2.
    Seconds,
    /// Milliseconds, where that is what the application exposes; `200ms` is 200.
    Milliseconds,
    /// Events per second; `60/min` is 1.
    PerSecond,
    /// Events per minute; `1/s` is 60.
    PerMinute,
    /// Bytes; `1MiB` is 1,048,576.
    Bytes,
    /// A plain number of things.
    Count,
    /// 0 or 1.
    Bool,
}

/// A condition, a sustained window, a severity, and what follows.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its name, unique within the target.
    pub name: TriggerName,
    /// What it guards.
    pub target: TargetName,
    /// Where it stands in the files.
    pub position: Position,
    /// The sources whose observations make it be judged.
    pub sources: BTreeSet<SourceName>,
    /// What is bad when it is met.
    pub when: Condition,
    /// What must be met for it to be judged at all: the guard against verdicts on too little traffic.
    pub given: Option<Condition>,
    /// How many observations with a value the window must hold before it is judged.
    pub min_samples: u32,
    /// What several series mean.
    pub across: Across,
    /// For how long it must have been bad.
    pub window: WindowSpec,
    /// What ends it, beside the promise holding again.
    pub clear: Option<Clear>,
    /// How long it goes on firing after the last breach.
    pub keep_firing_for: Span,
    /// What missing data means.
    pub no_data: NoData,
    /// When it is judged; all of them must be true. Empty is always.
    pub during: Vec<During>,
    /// Which level of which trigger it is.
    pub level: Option<LevelOf>,
    /// The burn rate that it watches in place of its condition, which then only speaks for it.
    pub burn_rate: Option<BurnRate>,
    /// How bad it is.
    pub severity: Severity,
    /// The page's first line, with `{placeholders}`.
    pub summary: Option<String>,
    /// Where people read what to do.
    pub runbook: Option<String>,
    /// By when what must have happened once it has fired.
    pub due: BTreeMap<Clock, Span>,
    /// What follows.
    pub then: Then,
    /// What it takes over from the triggers that its condition names.
    pub reads: Reads,
    /// Hash of what decides whether the window fills: everything but texts, severity and consequences. Equal across a
    /// reload means that the window is kept; a better summary or another plan does not lose it.
    pub fingerprint: String,
}

/// Where a trigger stands in the files. Of triggers that fire at one instant and are equally bad, the first one acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file, in the order in which files are loaded.
    pub file: usize,
    /// Its line.
    pub line: usize,
    /// Its column.
    pub column: usize,
}

/// What must have happened some time after the decision that opened an incident.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Every step of a rollback is done.
    Rollback,
    /// Fresh samples have proven that it helped.
    Verified,
    /// The incident is over.
    Resolved,
    /// People have done something, and said so.
    Task(String),
}

impl Clock {
    /// Returns what has not happened, in words.
    pub fn missed(&self) -> String {
        match self {
            Self::Rollback => "not rolled back".to_owned(),
            Self::Verified => "no rollback is proven".to_owned(),
            Self::Resolved => "not resolved".to_owned(),
            Self::Task(task) => format!("`{task}` is not done"),
        }
    }
}

/// What it means that a condition has a verdict for each of several label sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Across {
    /// One series is expected; more than one is `Unknown`.
    #[default]
    One,
    /// Each value of these labels is judged by itself.
    Per(Vec<String>),
    /// Bad where one of them is.
    Any,
    /// Bad where all of them are.
    All,
    /// Bad where so many of so many are; those that are not there are unknown.
    Quorum {
        /// How many.
        count: u32,
        /// Of how many.
        of: u32,
    },
}

/// What ends a firing trigger: hysteresis.
#[derive(Clone, Debug)]
pub struct Clear {
    /// What must be met; without one, that `when` is not.
    pub when: Option<Condition>,
    /// For how long.
    pub hold: Span,
}

/// One word of `during`.
#[derive(Clone, Debug, PartialEq)]
pub struct During {
    /// Whether it must be true or, after `not`, false.
    pub is: bool,
    /// What must be.
    pub scope: Scope,
}

/// A time in which a trigger is judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Scope {
    /// `deployment`: from its start to its end plus soak.
    Deployment,
    /// `stage 25%`: while so much of the traffic goes to the new version, 0 to 1.
    Stage(f64),
    /// `soak`: after the deployment's end.
    Soak,
    /// A calendar by its name.
    Calendar(CalendarName),
}

/// What a trigger takes over from the triggers that its condition names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Their fingerprints.
    pub fingerprints: BTreeMap<TriggerName, String>,
    /// Its place in the order in which triggers are judged: behind all that it names. 0 names none.
    pub rank: u32,
    /// Whether missing data can make one of them fire.
    pub absence: bool,
    /// What their conditions and `given` read.
    pub sources: BTreeSet<SourceName>,
}

/// Which level of which trigger a trigger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelOf {
    /// The trigger as written.
    pub trigger: TriggerName,
    /// The levels above this one: while one of them fires, this one opens no incident of its own.
    pub above: Vec<TriggerName>,
}

/// What follows when a trigger fires.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Then {
    /// The plan that is run.
    pub rollback: Option<PlanName>,
    /// When it may be run; outside of it the trigger only pages. Empty is always.
    pub rollback_during: Vec<During>,
    /// The plan that people are advised to run; never run by itself.
    pub recommend: Option<PlanName>,
    /// The policy that is notified.
    pub page: Option<PolicyName>,
}

impl Trigger {
    /// Makes a trigger that pages everybody and does nothing else, with everything as it is where nothing is written.
    pub fn new(name: TriggerName, target: TargetName, when: Condition, window: WindowSpec) -> Self {
        Self {
            sources: when.sources(),
            name,
            target,
            position: Position::default(),
            when,
            given: None,
            min_samples: 0,
            across: Across::One,
            window,
            clear: None,
            keep_firing_for: Span::ZERO,
            no_data: NoData::default(),
            during: Vec::new(),
            level: None,
            burn_rate: None,
            severity: Severity::High,
            summary: None,
            runbook: None,
            due: BTreeMap::new(),
            then: Then::default(),
            reads: Reads::default(),
            fingerprint: String::new(),
        }
    }

    /// Returns whether missing data can make it fire, by itself or through a trigger that it names: then it never acts.
    pub fn rests_on_absence(&self) -> bool {
        self.no_data.can_breach() || self.reads.absence
    }

    /// Returns every condition whose verdict matters to it.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let clear = self.clear.as_ref().and_then(|clear| clear.when.as_ref());
        std::iter::once(&self.when).chain(&self.given).chain(clear)
    }
}

impl fmt::Display for Clock {
    /// As rule files call it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rollback => "rollback",
            Self::Verified => "verified",
            Self::Resolved => "resolved",
            Self::Task(task) => task,
        })
    }
}
