//! What may be done and whom to reach, as the engine needs it: resolved, checked, without secrets.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use super::deployment::DeploymentSettings;
pub use crate::engine::evaluation::{DetectVersion, Memory, SourcePace};
use crate::engine::model::{
    CalendarName, Labels, PlanName, PolicyName, ReceiverName, SourceName, TargetName,
};
use crate::engine::rules::{Calendar, Condition, Route, RuleSet};
use crate::engine::time::Span;

/// Everything that decisions depend on besides state and input. Immutable; a reload makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Hash over every file that went into this set, for the audit trail.
    pub fingerprint: String,
    /// The compiled rules.
    pub rules: RuleSet,
    /// What follows from imported alerts; the first one that matches counts.
    pub routes: Vec<Route>,
    /// Labels that this daemon's alerts carry to the outside; templates show them.
    pub external_labels: Labels,
    /// Where people reach this daemon, for links and templates; empty where there is nothing.
    pub external_url: String,
    /// What is guarded.
    pub targets: BTreeMap<TargetName, Target>,
    /// The configured actuators.
    pub plans: BTreeMap<PlanName, Plan>,
    /// Whom to notify.
    pub policies: BTreeMap<PolicyName, Policy>,
    /// Every receiver there is: the last resort where a rollback's outcome has no policy of its own (E5).
    pub receivers: BTreeSet<ReceiverName>,
    /// How often each source is asked, and when its silence is an incident.
    pub sources: BTreeMap<SourceName, SourcePace>,
    /// The sources that are probes: their answers are good or bad.
    pub probes: BTreeSet<SourceName>,
    /// Times of the week and their exceptions.
    pub calendars: BTreeMap<CalendarName, Calendar>,
    /// What may be remembered of them, and what is besides that which rules select.
    pub memory: Memory,
}

/// The thing that is guarded and rolled back. Locks, caps and cooldowns belong to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Whether decisions act.
    pub mode: Mode,
    /// The plans that may be run for it.
    pub plans: BTreeSet<PlanName>,
    /// How many rollbacks may start within a sliding span (E7).
    pub at_most: AtMost,
    /// How long after one rollback's end the next may start.
    pub cooldown: Span,
    /// How a new version is noticed.
    pub detect: Option<DetectVersion>,
    /// How its deployments are looked at.
    pub deployments: DeploymentSettings,
    /// Probes of something else that is always there: where none of them is good either, it is we who are cut off.
    pub reference: BTreeSet<SourceName>,
}

/// A bound on rollbacks per time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtMost {
    /// How many rollbacks.
    pub count: u32,
    /// Within this span, sliding.
    pub per: Span,
}

/// Whether a target's decisions act or are only told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Decides and pages "would have rolled back"; touches nothing.
    #[default]
    Shadow,
    /// Acts.
    Armed,
}

/// A rollback plan: ordered steps with budgets, and the proof that they helped.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Limit for steps and verification together.
    pub deadline: Span,
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// The proof; `None` means that the outcome is taken on the steps' word.
    pub verify: Option<Verify>,
}

impl Plan {
    /// Returns a hash over everything that a run of the plan would do and look at: a plan that was edited while it ran
    /// is another plan, and one that another version of this program reads differently may be.
    pub fn fingerprint(&self) -> String {
        use sha2::{Digest, Sha256};
        let proof = self.verify.as_ref().map(|verify| {
            let conditions = verify.conditions.iter();
            let conditions: Vec<_> =
                conditions.map(|held| (&held.text, held.expressions().join("\n"))).collect();
            (verify.warm_up, verify.within, &verify.on, conditions)
        });
        let substance = format!("{:?}", (&self.steps, proof));
        Sha256::digest(substance).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What people call it.
    pub name: String,
    /// What is done; placeholders not yet filled in.
    pub action: StepAction,
    /// The step's own budget.
    pub timeout: Span,
    /// Whether a failure ends the plan.
    pub on_error: OnError,
    /// Whether running it twice is harmless, so that a step in doubt may be run again.
    pub idempotent: bool,
}

/// What a failed step means for its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The plan has failed.
    #[default]
    Stop,
    /// The plan goes on and can at best be partial.
    Continue,
}

/// What a step does to the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepAction {
    /// Runs a program: its path and arguments, never a shell (E11).
    Exec {
        /// The program's absolute path, then its arguments.
        argv: Vec<String>,
    },
    /// Sends an HTTP request.
    Http {
        /// `POST`, `PUT`, ...
        method: String,
        /// Where to.
        url: String,
        /// The body, if any.
        body: Option<String>,
    },
}

/// The proof that a rollback worked. Sees only samples that are younger than the last step's end plus `warm_up`.
#[derive(Clone, Debug)]
pub struct Verify {
    /// Time that the application gets before it is looked at.
    pub warm_up: Span,
    /// Time within which every condition must have been met, counted from the end of the last step.
    pub within: Span,
    /// What must hold, all at one observation.
    pub conditions: Vec<Condition>,
    /// Sources that are read in place of others, where traffic has moved.
    pub on: BTreeMap<SourceName, SourceName>,
}

/// Whom to notify when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The levels, first one first.
    pub levels: Vec<Level>,
}

/// One level of an escalation policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Time since the decision.
    pub after: Span,
    /// The channels that are used.
    pub notify: Vec<ReceiverName>,
    /// Whether it is told also after somebody has acknowledged. Nothing acknowledges an incident yet: every level of one
    /// that stays open is told.
    pub always: bool,
}

impl Setup {
    /// Returns the channels of `policy`'s first level; every receiver where there is no policy (E5).
    pub fn receivers_of(&self, policy: Option<&PolicyName>) -> BTreeSet<ReceiverName> {
        match policy.and_then(|name| self.policies.get(name)).and_then(|policy| policy.levels.first()) {
            Some(level) => level.notify.iter().cloned().collect(),
            None => self.receivers.clone(),
        }
    }
}
