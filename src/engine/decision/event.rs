//! What happened, as facts: the only way in which state changes, and the audit trail.
//!
//! Wire types of their own: they are stored for years and read by later versions. Fields may be added with a serde
//! default; what a field means never changes. [`EVENT_VERSION`] is stored beside each event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checkpoint::JournalCheckpoint;
use super::deployment::{DeploymentResult, Origin, Stage};
use super::effect::{DeliveryReport, Message, StepEnding, StepHandle, StepOrder};
use super::input::Restart;
use super::pairs;
pub use super::proof::CheckSeen;
use crate::engine::evaluation::{Baseline, Evidence, TriggerKey};
use crate::engine::model::{
    DeploymentId, EffectId, IncidentId, IndicatorName, JournalId, PlanName, PolicyName, ReceiverName,
    RollbackId, Severity, SourceName, TargetName, stored_number,
};
use crate::engine::rules::Clock;
use crate::engine::time::{Span, Timestamp};

/// The version of the types in this file.
pub const EVENT_VERSION: u32 = 1;

/// An event with its instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it was decided, in engine time.
    pub at: Timestamp,
    /// What happened.
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// The journal was created; ids carry its name from now on.
    JournalCreated {
        /// The journal's identity.
        journal: JournalId,
    },
    /// The oldest events are about to be dropped from the journal. What is here proves the rest of it without them.
    JournalCheckpoint(JournalCheckpoint),
    /// The daemon came up.
    Restarted(Restart),
    /// The daemon goes down in order.
    Stopping,
    /// A set of files came into force.
    SetupLoaded {
        /// Its hash.
        fingerprint: String,
        /// Why the last good set runs in place of the files on disk, if it does.
        degraded: Option<String>,
    },
    /// Files were refused.
    SetupRefused {
        /// Why.
        problem: String,
    },
    /// The wall clock's distance from engine time changed.
    WallClockMoved {
        /// Wall time minus engine time.
        offset: Span,
    },
    /// The journal cannot be written; no acts from here on.
    JournalLost {
        /// Why.
        reason: String,
        /// The number from which ids go on until the journal is restored. What is decided until then is in memory alone
        /// and may be forgotten, but its pages leave; no later process may give anything else one of their ids.
        #[serde(default)]
        ids_from: u64,
    },
    /// The journal can be written again.
    JournalRestored,
    /// Another version of a target runs.
    VersionSeen {
        /// The target.
        target: TargetName,
        /// What runs now.
        version: String,
        /// What ran before, if any was known.
        previous: Option<String>,
    },
    /// A deployment begins.
    DeploymentStarted {
        /// Its id.
        deployment: DeploymentId,
        /// What is changed.
        target: TargetName,
        /// What comes.
        version: String,
        /// What it replaces, where that is known.
        previous: Option<String>,
        /// How it is known.
        origin: Origin,
        /// The times in which it should have begun, where it begins outside of them.
        #[serde(default)]
        outside: Option<String>,
    },
    /// The new version gets another part of the traffic.
    DeploymentStaged {
        /// Which.
        deployment: DeploymentId,
        /// The part.
        stage: Stage,
        /// Who said so.
        by: String,
    },
    /// Somebody told how far it is.
    DeploymentProgressed {
        /// Which.
        deployment: DeploymentId,
        /// The part that is done, 0 to 1.
        #[serde(with = "stored_number")]
        share: f64,
        /// Who said so.
        by: String,
    },
    /// It is rolled out; its soak begins.
    DeploymentFinished {
        /// Which.
        deployment: DeploymentId,
        /// When the soak is over.
        soak_until: Timestamp,
        /// Who said so.
        by: String,
    },
    /// It is over.
    DeploymentEnded {
        /// Which.
        deployment: DeploymentId,
        /// How.
        result: DeploymentResult,
        /// Why it counts as that.
        reason: String,
    },
    /// What an indicator was before a deployment is kept, or is not to be relied on.
    BaselineFrozen {
        /// Whose.
        target: TargetName,
        /// Which.
        indicator: IndicatorName,
        /// What was measured.
        baseline: Baseline,
    },
    /// What a rollback would bring back is gone, or will be.
    PointOfNoReturn {
        /// At which target.
        target: TargetName,
        /// From when on it cannot be rolled back.
        at: Timestamp,
        /// Who said so.
        by: String,
    },
    /// A trigger's condition was met for the first time.
    TriggerPending {
        /// Whose.
        key: TriggerKey,
        /// The length of its window.
        window: Span,
        /// What was measured.
        evidence: Option<Evidence>,
    },
    /// A trigger's window is full.
    TriggerFiring {
        /// Whose.
        key: TriggerKey,
        /// The first breach of the window.
        since: Timestamp,
        /// What was measured.
        evidence: Option<Evidence>,
    },
    /// A trigger's promise holds again, or its rule is gone.
    TriggerCleared {
        /// Whose.
        key: TriggerKey,
        /// What was measured.
        evidence: Option<Evidence>,
        /// Whether the rule was removed in place of the promise holding.
        removed: bool,
    },
    /// A trigger's time is over: it is no longer judged.
    TriggerOutOfScope {
        /// Whose.
        key: TriggerKey,
        /// The word of its `during` that is no longer true.
        scope: String,
    },
    /// Something is wrong.
    IncidentOpened {
        /// Its id.
        incident: IncidentId,
        /// What opened it.
        cause: Cause,
        /// What is guarded.
        target: TargetName,
        /// How bad it is.
        severity: Severity,
        /// One line for people.
        reason: String,
        /// When it began.
        since: Timestamp,
        /// What was measured.
        evidence: Option<Evidence>,
        /// Where people read what to do.
        runbook: Option<String>,
        /// The receivers that are told about it.
        notify: Vec<ReceiverName>,
        /// The policy that says who is told next if it stays open.
        #[serde(default)]
        policy: Option<PolicyName>,
        /// By when what must have happened.
        #[serde(default, with = "pairs")]
        due: BTreeMap<Clock, Timestamp>,
    },
    /// What must have happened by now has not.
    Overdue {
        /// Whose clock.
        incident: IncidentId,
        /// What it waits for.
        clock: Clock,
        /// When it was over.
        due_at: Timestamp,
    },
    /// Somebody has done a task of an incident.
    TaskDone {
        /// The incident.
        incident: IncidentId,
        /// The task, as the rule calls it.
        task: String,
        /// Who said so.
        by: String,
    },
    /// It has stayed open for so long that the next level of its policy is told.
    Escalated {
        /// Its id.
        incident: IncidentId,
        /// Which level; the one that was told at once is 1.
        level: usize,
        /// The receivers of that level.
        notify: Vec<ReceiverName>,
    },
    /// It is over.
    IncidentResolved {
        /// Its id.
        incident: IncidentId,
        /// Why it counts as over.
        reason: String,
        /// The tasks of people that go on, with their limits. In records of before they did, none does.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        tasks: BTreeMap<String, Timestamp>,
    },
    /// A rollback was decided and begins.
    RollbackDecided {
        /// Its id.
        rollback: RollbackId,
        /// For which incident.
        incident: IncidentId,
        /// What is rolled back.
        target: TargetName,
        /// How.
        plan: PlanName,
        /// When it must be over.
        deadline: Timestamp,
        /// Its steps' names, in order.
        steps: Vec<String>,
        /// The hash of the plan: a run never goes on with steps that were not decided on.
        #[serde(default)]
        plan_fingerprint: String,
    },
    /// A rollback was wanted and was not begun.
    RollbackNotBegun {
        /// For which incident.
        incident: IncidentId,
        /// What would have been rolled back.
        target: TargetName,
        /// How.
        plan: PlanName,
        /// Why not.
        refusal: Refusal,
    },
    /// People are advised to roll back; nothing is done by itself.
    RollbackRecommended {
        /// For which incident.
        incident: IncidentId,
        /// What should be rolled back.
        target: TargetName,
        /// How.
        recommended: PlanName,
        /// Why.
        reason: String,
        /// Every promise and trigger of the target that is broken for long enough.
        violations: Vec<String>,
        /// What runs there, where that is known.
        version: Option<String>,
        /// The deployment that is under way or soaks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deployment: Option<DeploymentId>,
        /// Wall time, in milliseconds since 1970.
        unix_ms: i64,
    },
    /// A step may be prepared.
    StepIntended {
        /// What exactly.
        order: Box<StepOrder>,
        /// Its place in the plan.
        index: usize,
        /// When it is taken as lost if nothing is heard of it.
        overdue_at: Timestamp,
    },
    /// A step is about to run.
    StepStarted {
        /// The run of the plan.
        rollback: RollbackId,
        /// The effect.
        effect: EffectId,
        /// What it can be recognised by.
        handle: StepHandle,
    },
    /// A step has ended.
    StepEnded {
        /// The run of the plan.
        rollback: RollbackId,
        /// The effect.
        effect: EffectId,
        /// How.
        ending: StepEnding,
    },
    /// A started step has no known end.
    StepInDoubt {
        /// The run of the plan.
        rollback: RollbackId,
        /// The effect.
        effect: EffectId,
        /// Why its end is not known.
        why: String,
    },
    /// Somebody told what became of a step in doubt.
    StepSettled {
        /// The run of the plan.
        rollback: RollbackId,
        /// The effect.
        effect: EffectId,
        /// Whether it was done.
        done: bool,
        /// Who said so.
        by: String,
    },
    /// The steps are over; the proof begins.
    VerificationStarted {
        /// The run of the plan.
        rollback: RollbackId,
        /// No sample older than this is looked at.
        not_before: Timestamp,
        /// When it has failed if it has not passed.
        until: Timestamp,
    },
    /// What the proof has seen changed.
    VerificationSaw {
        /// The run of the plan.
        rollback: RollbackId,
        /// One verdict per condition, in the plan's order.
        checks: Vec<CheckSeen>,
    },
    /// The run is over.
    RollbackEnded {
        /// The run of the plan.
        rollback: RollbackId,
        /// How.
        outcome: Outcome,
        /// Why it counts as that.
        reason: String,
    },
    /// Messages were decided; each receiver gets its own delivery.
    PageDecided {
        /// For which incident.
        incident: IncidentId,
        /// What is said.
        message: Box<Message>,
        /// One delivery per receiver.
        deliveries: Vec<(EffectId, ReceiverName)>,
        /// The receivers that were given it before and did not take it.
        #[serde(default)]
        tried: Vec<ReceiverName>,
        /// The delivery that failed and that this one makes up for.
        #[serde(default)]
        instead_of: Option<EffectId>,
    },
    /// Something is known of a delivery.
    DeliveryReported {
        /// Which.
        effect: EffectId,
        /// The channel.
        receiver: ReceiverName,
        /// What.
        report: DeliveryReport,
    },
}

/// What opened an incident. With the target it is the incident's key: one open incident each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A trigger fired.
    Trigger(TriggerKey),
    /// A trigger has been neither good nor bad for too long.
    Blind(TriggerKey),
    /// A source has been silent for too long.
    Silent(SourceName),
    /// A receiver will never take a message.
    DeadReceiver(ReceiverName),
    /// The journal cannot be written.
    Journal,
    /// The journal was damaged.
    StateLost,
    /// The files on disk are bad.
    Setup,
    /// A deployment began outside of the times that are meant for it.
    OutsideWindow(DeploymentId),
}

/// Why a rollback that was wanted was not begun. Named, always told, always paged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The target is in shadow mode: it would have been rolled back.
    Shadow,
    /// Another rollback of the target is in flight; this incident joins it.
    Joined(RollbackId),
    /// The incident has run this plan before.
    AlreadyRun(RollbackId),
    /// The target's last rollback ended too short a time ago.
    Cooldown {
        /// When it ends.
        until: Timestamp,
    },
    /// The target has had its share.
    AtMost {
        /// How many rollbacks.
        count: u32,
        /// Within which span.
        per: Span,
    },
    /// What it would bring back is gone.
    PastReturn {
        /// Since when.
        since: Timestamp,
        /// Who said so.
        by: String,
    },
    /// It is wanted at certain times only, and this is none of them.
    OutOfScope(String),
    /// The intent could not be made durable.
    Journal(String),
    /// The daemon is going down.
    Stopping,
    /// Series that are not there can make it fire, no probe that it reads is bad, and absence never acts by itself (E2).
    RestsOnAbsence,
    /// A probe is bad, and no reference probe says that it is not we who are cut off; the text says how those stand.
    Isolated(String),
    /// The budget is enforced by pages alone.
    Permissive,
    /// A source that the imported rule reads does not answer: what it says may be half of the truth (E2).
    SourceFailed(SourceName),
}

/// How a rollback ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every step was done, and the proof passed.
    Succeeded,
    /// The steps were done, but not all of them, or the proof did not pass.
    Partial,
    /// A step failed, and the plan stopped there.
    Failed,
    /// The plan's deadline came first.
    TimedOut,
    /// Nothing was done, for a named reason.
    Refused,
}

impl Outcome {
    /// Returns whether the steps were not done: what should have been taken back still runs.
    pub fn has_failed(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Refused)
    }
}
