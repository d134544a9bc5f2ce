//! What the engine asks the shell to do. The executor of an effect has no choices left.

use serde::{Deserialize, Serialize};

use super::setup::StepAction;
use crate::engine::model::{
    EffectId, IncidentId, JournalId, Labels, PlanName, ReceiverName, RollbackId, Severity, TargetName,
    stored_number,
};
use crate::engine::time::{Span, Timestamp};

/// One thing that the shell must do once the events beside it are durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Prepare a rollback step and report `EffectStarted`; do not let it run yet.
    PrepareStep(StepOrder),
    /// Let a prepared step run: its start is durable now.
    ReleaseStep(EffectId),
    /// Drop a prepared step that never ran: the decision no longer stands.
    AbandonStep(EffectId),
    /// Bring a message to a receiver, retrying until it is accepted or can never be.
    Deliver(Delivery),
}

/// What must be true before an effect may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectClass {
    /// Needs a durable intent, always (E4).
    Act,
    /// Is written ahead too, but goes out from memory when the journal cannot be written (E9).
    Page,
}

impl Effect {
    /// Returns the class, which decides what a failed commit means.
    pub fn class(&self) -> EffectClass {
        match self {
            Self::PrepareStep(_) | Self::ReleaseStep(_) | Self::AbandonStep(_) => EffectClass::Act,
            Self::Deliver(_) => EffectClass::Page,
        }
    }

    /// Returns the id under which outcomes come back.
    pub fn id(&self) -> EffectId {
        match self {
            Self::PrepareStep(order) => order.effect,
            Self::ReleaseStep(effect) | Self::AbandonStep(effect) => *effect,
            Self::Deliver(delivery) => delivery.effect,
        }
    }
}

/// One rollback step, ready to run: placeholders are filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepOrder {
    /// The effect's id.
    pub effect: EffectId,
    /// The journal-wide unique name; the step unit's instance and the HTTP idempotency key.
    pub key: String,
    /// The run of the plan.
    pub rollback: RollbackId,
    /// The plan.
    pub plan: PlanName,
    /// The step's name.
    pub step: String,
    /// What is done.
    pub action: StepAction,
    /// The budget; the step is ended when it is used up.
    pub timeout: Span,
    /// What the step is told about the incident.
    pub facts: IncidentFacts,
}

impl StepOrder {
    /// Returns the systemd unit in which the step runs: systemd refuses to start one name twice.
    pub fn unit_name(&self) -> String {
        format!("rearguard-step@{}.service", self.key)
    }
}

/// What is known of an incident; handed to steps and put into pages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentFacts {
    /// The incident.
    pub incident: IncidentId,
    /// Its journal; both together are unique in the world.
    pub journal: JournalId,
    /// What is guarded.
    pub target: TargetName,
    /// What is wrong: the trigger's name, `source NAME`, or the like.
    pub cause: String,
    /// The series, where the cause is one of several.
    pub labels: Labels,
    /// How bad it is.
    pub severity: Severity,
    /// One line: what broke, by how much, for how long.
    pub reason: String,
    /// The measured value, in the indicator's base unit.
    #[serde(with = "stored_number::optional", default)]
    pub value: Option<f64>,
    /// The threshold that it crossed, in the same unit.
    #[serde(with = "stored_number::optional", default)]
    pub threshold: Option<f64>,
    /// When it began, in engine time.
    pub since: Timestamp,
    /// The same in milliseconds of Unix time.
    pub since_unix_ms: i64,
    /// The version that runs, where it is known.
    pub version: Option<String>,
    /// The version before it, where it is known.
    pub previous_version: Option<String>,
    /// Where people read what to do.
    pub runbook: Option<String>,
}

/// One message to one receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The effect's id; the message's idempotency key together with the journal.
    pub effect: EffectId,
    /// The channel.
    pub receiver: ReceiverName,
    /// What is said.
    pub message: Message,
}

/// What a page says, as facts. Receivers render it, each in its own form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// What the receiver does with it.
    pub kind: MessageKind,
    /// Messages with one key are one incident at the receiver.
    pub dedup_key: String,
    /// How bad it is.
    pub severity: Severity,
    /// The first line.
    pub summary: String,
    /// What was done about it and what to do now: one sentence a line.
    pub details: Vec<String>,
    /// The facts behind it.
    pub facts: IncidentFacts,
    /// When it was decided, in milliseconds of Unix time.
    pub decided_unix_ms: i64,
    /// Whether the journal could not be written when it was sent.
    pub unjournaled: bool,
}

/// What a message does to an incident at the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Opens the incident of the key.
    Trigger,
    /// Tells good news about the open incident of the key; wakes nobody.
    Update,
    /// Closes it.
    Resolve,
}

/// What a started step can be recognised by after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepHandle {
    /// A process group of ours.
    Process {
        /// The leader's pid.
        pid: u32,
        /// Its start in clock ticks since boot (`/proc/PID/stat` field 22): tells it from a later process of the same pid.
        start_ticks: u64,
        /// The boot in which both mean something.
        boot_id: String,
    },
    /// An HTTP request; nothing of it outlives us.
    Request,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEnding {
    /// The result.
    pub result: StepResult,
    /// How long it ran.
    pub took: Span,
    /// The last lines that it printed, control characters escaped, capped.
    pub output: String,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// Exit code 0, or an HTTP status of 2xx.
    Succeeded,
    /// Ran and said no, or could not run at all; the text says which.
    Failed(String),
    /// Was ended at its budget.
    TimedOut,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryReport {
    /// The first try failed; the shell goes on trying.
    FirstFailure(String),
    /// The receiver said yes; the text is its receipt.
    Accepted(String),
    /// The receiver will never say yes; the text says why.
    Dead(String),
}
