//! One deployment: its phases and their transitions, and what is remembered of those before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::decision::event::{Event, Happening, Outcome};
use crate::engine::decision::rollback::Phase;
use crate::engine::evaluation::Verdict;
use crate::engine::model::{DeploymentId, RollbackId, TargetName, stored_number};
use crate::engine::time::{Span, Timestamp};

/// How many stages of one deployment are remembered; all of them stay in the journal.
const STAGES_REMEMBERED: usize = 50;

/// How many ended deployments of a target count towards its success ratio.
const ENDS_REMEMBERED: usize = 1000;

/// The span of the success ratio: a month of deployments says something, a day does not.
pub const SUCCESS_SPAN: Span = Span::from_secs(30 * 86_400);

/// A change of a target under watch: announced by a pipeline, or noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// What is changed.
    pub target: TargetName,
    /// What comes, as it was announced or seen.
    pub version: String,
    /// What it replaces, where that is known.
    pub previous: Option<String>,
    /// The version that the target's label showed when it began: it may be written otherwise than an announced one.
    pub label_before: Option<String>,
    /// The last version that the label has shown since.
    pub label_seen: Option<String>,
    /// How it is known.
    pub origin: Origin,
    /// Which times it should have begun in and did not.
    pub outside: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was last heard of.
    pub heard_at: Timestamp,
    /// Its stages so far, the current one last.
    pub stages: Vec<Stage>,
    /// How far it is, as it was last told.
    pub progress: Option<Progress>,
    /// A rollback of it that did not work.
    pub failed_rollback: Option<RollbackId>,
    /// When it was rolled out, or given up.
    pub finished_at: Option<Timestamp>,
    /// Where it is.
    pub phase: DeploymentPhase,
}

/// How a deployment is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Somebody said so.
    Announced {
        /// Who: a user of the control socket, or a token of the `ingest` listener.
        by: String,
    },
    /// The target shows another version.
    Detected,
}

/// A part of the traffic, or of the hosts, that gets the new version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// What people call it.
    pub name: Option<String>,
    /// The part, 0 to 1.
    #[serde(with = "stored_number")]
    pub share: f64,
    /// How long after its beginning it is not judged yet: caches are cold, connections new.
    pub settle: Span,
    /// When it began.
    pub at: Timestamp,
}

/// How far a deployment was at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The part that is done, 0 to 1.
    #[serde(with = "stored_number")]
    pub share: f64,
    /// When it was told.
    pub at: Timestamp,
}

/// Where a deployment is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentPhase {
    /// It is rolled out.
    Running,
    /// It is rolled out everywhere and still looked at as new.
    Soaking {
        /// When that is over.
        until: Timestamp,
    },
    /// Over.
    Ended {
        /// How.
        result: DeploymentResult,
        /// Why it counts as that.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// How a deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentResult {
    /// It was finished, and soaked without a rollback.
    Succeeded,
    /// Whoever ran it said that it failed, or a rollback of it did not work.
    Failed,
    /// It was rolled back.
    RolledBack,
    /// Nobody told its end.
    Abandoned,
}

impl DeploymentResult {
    /// Returns the word that labels and programs use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Abandoned => "abandoned",
        }
    }
}

impl Deployment {
    /// Returns whether it is neither over nor given up.
    pub fn is_active(&self) -> bool {
        !matches!(self.phase, DeploymentPhase::Ended { .. })
    }

    /// Returns its current stage, while it is rolled out.
    pub fn stage(&self) -> Option<&Stage> {
        self.stages.last().filter(|_| self.phase == DeploymentPhase::Running)
    }

    /// Returns how long it has been rolled out, or took. `None` of one that was only noticed: when it began is not known.
    pub fn duration(&self, now: Timestamp) -> Option<Span> {
        let announced = matches!(self.origin, Origin::Announced { .. });
        announced.then(|| self.finished_at.unwrap_or(now).since(self.started_at))
    }

    /// Returns the estimated time until it is rolled out: elapsed / progress - elapsed, as of the last told progress, less
    /// what has passed since. Zero where nothing is done yet and nothing can be estimated; never negative.
    pub fn remaining(&self, now: Timestamp) -> Span {
        let Some(progress) = self.progress.filter(|progress| progress.share > 0.0) else { return Span::ZERO };
        if self.phase != DeploymentPhase::Running {
            return Span::ZERO;
        }
        let elapsed = progress.at.since(self.started_at).as_millis() as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a float cast to an integer saturates")]
        let estimated = (elapsed / progress.share - elapsed).round() as i64;
        let rest = Span::from_millis(estimated) - now.since(progress.at);
        if rest.is_zero_or_negative() { Span::ZERO } else { rest }
    }

    /// Changes it by one event.
    ///
    /// # Errors
    /// Says what does not fit; illegal pairs never change anything.
    pub(super) fn change(&mut self, event: &Event) -> Result<(), String> {
        use DeploymentPhase as P;
        use Happening as H;
        let next = match (&self.phase, &event.what) {
            (P::Running, H::DeploymentStaged { stage, .. }) => {
                let stage = Stage { at: event.at, ..stage.clone() };
                self.stages.push(stage);
                let surplus = self.stages.len().saturating_sub(STAGES_REMEMBERED);
                self.stages.drain(..surplus);
                P::Running
            }
            (P::Running, H::DeploymentProgressed { share, .. }) => {
                self.progress = Some(Progress { share: *share, at: event.at });
                P::Running
            }
            (P::Running, H::DeploymentFinished { soak_until, .. }) => P::Soaking { until: *soak_until },
            (P::Running | P::Soaking { .. }, H::DeploymentEnded { result, reason, .. }) => {
                P::Ended { result: *result, reason: reason.clone(), at: event.at }
            }
            (phase, what) => return Err(format!("a deployment that is {phase:?} cannot take: {what}")),
        };
        if !matches!(next, P::Running) {
            self.finished_at.get_or_insert(event.at);
        }
        self.heard_at = event.at;
        self.phase = next;
        Ok(())
    }

    /// Returns the deployment that named events change.
    pub(super) fn named_by(what: &Happening) -> Option<DeploymentId> {
        match what {
            Happening::DeploymentStaged { deployment, .. }
            | Happening::DeploymentProgressed { deployment, .. }
            | Happening::DeploymentFinished { deployment, .. }
            | Happening::DeploymentEnded { deployment, .. } => Some(*deployment),
            _ => None,
        }
    }
}

/// What is remembered of a target's deployments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeploymentHistory {
    /// The one under way or soaking.
    pub active: Option<DeploymentId>,
    /// The last one that began, the active one included.
    pub last: Option<DeploymentId>,
    /// How many ended how, ever.
    pub totals: BTreeMap<DeploymentResult, u64>,
    /// When the last ones ended, and how; newest last.
    pub ended: Vec<(Timestamp, DeploymentResult)>,
    /// From when on the version before cannot be brought back.
    pub no_return: Option<NoReturn>,
}

/// The point of no return of a target: what a rollback would bring back is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoReturn {
    /// When it is, or was, passed; until then a rollback may begin.
    pub at: Timestamp,
    /// Who said so.
    pub by: String,
}

impl DeploymentHistory {
    /// Takes in that one ended.
    pub(super) fn end(&mut self, at: Timestamp, result: DeploymentResult) {
        self.active = None;
        *self.totals.entry(result).or_default() += 1;
        self.ended.push((at, result));
        let old = self.ended.iter().take_while(|(ended, _)| at.since(*ended) > SUCCESS_SPAN).count();
        let surplus = self.ended.len().saturating_sub(ENDS_REMEMBERED).max(old);
        self.ended.drain(..surplus);
    }

    /// Returns the share of deployments within [`SUCCESS_SPAN`] that succeeded. `None` where none ended: one that nobody
    /// told the end of is neither a success nor a failure.
    pub fn success_ratio(&self, now: Timestamp) -> Option<f64> {
        let recent = self.ended.iter().filter(|(at, _)| now.since(*at) <= SUCCESS_SPAN);
        let told: Vec<_> =
            recent.filter(|(_, result)| *result != DeploymentResult::Abandoned).map(|(_, r)| r).collect();
        let good = told.iter().filter(|result| ***result == DeploymentResult::Succeeded).count();
        (!told.is_empty()).then(|| good as f64 / told.len() as f64)
    }

    /// Returns whether the point of no return has been passed.
    pub fn is_past_return(&self, now: Timestamp) -> bool {
        self.no_return.as_ref().is_some_and(|point| now >= point.at)
    }
}

/// What is remembered of a target's rollbacks beside their starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RollbackHistory {
    /// How many ended how, ever.
    pub totals: BTreeMap<Outcome, u64>,
    /// How long the last one took.
    pub last_took: Option<Span>,
    /// Whether the last verification passed.
    pub last_verified: Option<bool>,
}

impl RollbackHistory {
    /// Takes in that one ended, and in which phase.
    pub(in crate::engine::decision) fn end(&mut self, outcome: Outcome, took: Span, before: &Phase) {
        *self.totals.entry(outcome).or_default() += 1;
        self.last_took = Some(took);
        if let Phase::Verifying { seen, .. } = before {
            let passed = !seen.is_empty() && seen.iter().all(|check| check.verdict == Verdict::Holds);
            self.last_verified = Some(passed);
        }
    }
}
