//! Everything that can wake the decision half: one closed list.

use serde::{Deserialize, Serialize};

use super::deployment::DeploymentNews;
use super::effect::{DeliveryReport, StepEnding, StepHandle};
use crate::engine::evaluation::Judged;
use crate::engine::model::{EffectId, IncidentId, RollbackId, TargetName};
use crate::engine::time::Span;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The daemon has come up on this state.
    Restarted(Restart),
    /// New measurements have been judged.
    Judged(Judged),
    /// A deadline has passed.
    Woke,
    /// An effect is about to happen: the step is prepared and waits to be released.
    EffectStarted {
        /// Which.
        effect: EffectId,
        /// What it can be recognised by.
        handle: StepHandle,
    },
    /// An effect has an outcome.
    EffectFinished {
        /// Which.
        effect: EffectId,
        /// Which outcome.
        outcome: EffectOutcome,
    },
    /// The journal could not be written; nothing of the refused decision has happened.
    IntentRefused {
        /// Why.
        reason: String,
        /// The journal's epoch, which is this process's alone.
        epoch: u64,
    },
    /// The journal can be written again.
    JournalRestored,
    /// The journal was damaged; what was remembered is lost, wholly or in part.
    StateLost {
        /// What was done about it, on one line.
        problem: String,
    },
    /// A new set of files is in force.
    SetupLoaded {
        /// Its hash.
        fingerprint: String,
        /// Whether it is the last good set, run because the files on disk are bad.
        degraded: Option<String>,
    },
    /// New files were refused; the old set stays in force.
    SetupRefused {
        /// The first problem and how many there are, on one line.
        problem: String,
    },
    /// The wall clock's distance from engine time has changed.
    WallClock {
        /// Wall time minus engine time.
        offset: Span,
    },
    /// Somebody wants something.
    Command(Command),
    /// The daemon goes down in order: no new acts.
    Stopping,
}

/// What a restart knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// Engine time between the last commit and now.
    pub gap: Span,
    /// Steps that were started and whose processes are still there.
    pub alive: Vec<EffectId>,
    /// The version of the program that came up: what decides from here on.
    #[serde(default)]
    pub version: String,
}

/// What became of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum EffectOutcome {
    /// Of a rollback step.
    Step(StepEnding),
    /// Of a message.
    Delivery(DeliveryReport),
}

/// A wish that came over the control socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Tells what became of a step in doubt.
    Settle {
        /// The rollback whose step is in doubt.
        rollback: RollbackId,
        /// Whether the step was done.
        done: bool,
        /// Who says so: user name and uid of the socket's peer.
        by: String,
    },
    /// Tells that a task of an incident is done, which stops its clock.
    TaskDone {
        /// The incident.
        incident: IncidentId,
        /// The task, as the rule calls it.
        task: String,
        /// Who says so.
        by: String,
    },
    /// Tells something of a target's deployment.
    Deployment {
        /// The target.
        target: TargetName,
        /// What.
        news: DeploymentNews,
        /// Who says so: the socket's peer, or the token's name.
        by: String,
    },
}
