//! Deployments: announced by whoever deploys, or noticed by a version that changes. One per target at a time.
//!
//! A deployment runs, soaks, and is over. While it runs or soaks, rules with `during: deployment` are judged. It ends by
//! its soak, by a rollback, by word of whoever runs it, by the next one, or because nothing more is heard of it.

mod applied;
mod record;

pub use record::{
    Deployment, DeploymentHistory, DeploymentPhase, DeploymentResult, NoReturn, Origin, Progress,
    RollbackHistory, SUCCESS_SPAN, Stage,
};

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::event::{Cause, Happening, Outcome};
use super::incident::{BLIND_AFTER, Opening};
use super::state::State;
use crate::engine::evaluation::{RESTART_PREFIX, Tells};
use crate::engine::model::{
    CalendarName, DeploymentId, PolicyName, RollbackId, Severity, TargetName, stored_number,
};
use crate::engine::report::Reason;
use crate::engine::time::{Span, Timestamp};

/// How many characters a version or a stage's name may have: they are labels and stand in pages.
const TEXT_MAX: usize = 128;

/// A start that is seen for the first time at one of so many looks after a rollback was the rollback's work.
const RESTART_LOOKS: i64 = 3;

/// What root says of a target's deployments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentSettings {
    /// How long one is looked at as new after it was rolled out.
    pub soak: Span,
    /// How long it may run without any news before it counts as abandoned.
    pub abandon_after: Span,
    /// How long after its finish a rollback is still possible, where that is limited.
    pub point_of_no_return: Option<Span>,
    /// The calendars in which it should begin; empty where any time will do.
    pub window: Vec<CalendarName>,
    /// Whom to tell of one that begins outside of them; every receiver where there is no policy.
    pub page: Option<PolicyName>,
}

impl Default for DeploymentSettings {
    /// Half an hour shows what a new version does under traffic. A pipeline that has said nothing for a day is dead.
    fn default() -> Self {
        Self {
            soak: Span::from_secs(30 * 60),
            abandon_after: Span::from_secs(24 * 3600),
            point_of_no_return: None,
            window: Vec::new(),
            page: None,
        }
    }
}

/// What somebody tells of a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DeploymentNews {
    /// It begins.
    Start {
        /// What comes.
        version: String,
        /// What it replaces; what the target shows where nothing is said.
        #[serde(default)]
        previous: Option<String>,
    },
    /// The new version gets another part of the traffic.
    Stage {
        /// The part, 0 to 1.
        #[serde(with = "stored_number")]
        share: f64,
        /// What people call it.
        #[serde(default)]
        name: Option<String>,
        /// How long it is not judged yet.
        #[serde(default)]
        settle: Span,
    },
    /// It has come that far.
    Progress {
        /// The part that is done, 0 to 1.
        #[serde(with = "stored_number")]
        share: f64,
    },
    /// It is rolled out, or will not be.
    Finish {
        /// How.
        ending: Ending,
    },
    /// What it replaced is gone: from now on it cannot be rolled back.
    PointOfNoReturn {},
}

/// What whoever runs a deployment says of its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It is rolled out; its soak begins.
    #[default]
    RolledOut,
    /// It failed.
    Failed,
    /// It was given up.
    Abandoned,
}

/// What a version that a target shows for the first time means.
enum Meaning {
    /// Nothing new: it is a part of what is known already.
    Known,
    /// A deployment that nobody announced.
    Begins,
    /// The active deployment was taken back by somebody else.
    Reverts(DeploymentId),
}

impl Draft<'_> {
    /// Takes in which version a target shows.
    pub(super) fn take_version(&mut self, target: &TargetName, version: &str) {
        let known = self.state().targets.get(target).and_then(|target| target.version.clone());
        if known.as_deref() == Some(version) {
            return;
        }
        let meaning = self.meaning_of(target, version, known.as_deref());
        let seen = Happening::VersionSeen {
            target: target.clone(),
            version: version.to_owned(),
            previous: known.clone(),
        };
        self.emit(seen);
        match meaning {
            Meaning::Known => {}
            Meaning::Begins => self.begin_deployment(target, version.to_owned(), known, Origin::Detected),
            Meaning::Reverts(deployment) => {
                let why = format!("version {version} runs again; Rearguard did not do it");
                self.end_deployment(deployment, DeploymentResult::RolledBack, why);
            }
        }
    }

    fn meaning_of(&self, target: &TargetName, version: &str, known: Option<&str>) -> Meaning {
        let history = self.state().targets.get(target);
        // The first version that is seen at all says nothing of a change, and what changes during a rollback is its work.
        if known.is_none() || history.is_some_and(|target| target.in_flight.is_some()) {
            return Meaning::Known;
        }
        // The way of noticing has changed, not what runs.
        if known.is_some_and(|known| known.starts_with(RESTART_PREFIX) != version.starts_with(RESTART_PREFIX))
        {
            return Meaning::Known;
        }
        let detect = self.setup.targets.get(target).and_then(|target| target.detect.as_ref());
        let is_restart = detect.is_some_and(|detect| detect.tells == Tells::Restart);
        // A rollback that starts the unit anew may be over before the next look at the unit.
        let pace = detect
            .and_then(|detect| self.setup.sources.get(&detect.source))
            .map_or(Span::ZERO, |pace| pace.every);
        let ended = history.and_then(|target| target.last_ended);
        if is_restart && ended.is_some_and(|ended| self.now.since(ended) <= pace.times(RESTART_LOOKS)) {
            return Meaning::Known;
        }
        let last = history.and_then(|target| target.deployments.last);
        let Some((id, last)) = last.and_then(|id| Some((id, self.state().deployments.get(&id)?))) else {
            return Meaning::Begins;
        };
        let is = |other: &Option<String>| other.as_deref() == Some(version);
        let brings_back = is(&last.previous) || is(&last.label_before);
        match &last.phase {
            DeploymentPhase::Ended { result: DeploymentResult::RolledBack, .. } if brings_back => {
                Meaning::Known
            }
            DeploymentPhase::Ended { .. } => Meaning::Begins,
            // A unit that starts anew while its deployment runs or soaks belongs to it; what crashes again and again is no
            // new version each time, and must not become its own baseline.
            _ if is_restart => Meaning::Known,
            _ if last.version == version || is(&last.label_seen) => Meaning::Known,
            _ if brings_back => Meaning::Reverts(id),
            // What was announced shows at last, under whatever name.
            _ if last.label_seen.is_none() => Meaning::Known,
            _ => Meaning::Begins,
        }
    }

    /// Takes in what somebody tells of a target's deployment; a denial is in the report.
    pub(super) fn take_deployment(&mut self, target: &TargetName, news: &DeploymentNews, by: &str) {
        if let Err(why) = self.try_deployment(target, news, by) {
            self.report.add(format!("deployment of {target}"), Reason::Denied(why));
        }
    }

    fn try_deployment(&mut self, target: &TargetName, news: &DeploymentNews, by: &str) -> Result<(), String> {
        if !self.setup.targets.contains_key(target) {
            let known: Vec<_> = self.setup.targets.keys().map(TargetName::as_str).collect();
            return Err(format!("there is no target `{target}`; there are: {}", known.join(", ")));
        }
        let by = by.to_owned();
        if let DeploymentNews::Start { version, previous } = news {
            return self.try_start(target, version, previous.as_deref(), by);
        }
        if *news == (DeploymentNews::PointOfNoReturn {}) {
            self.emit(Happening::PointOfNoReturn { target: target.clone(), at: self.now, by });
            return Ok(());
        }
        let Some((deployment, active)) = self.state().active_deployment(target.as_str()) else {
            return Err(format!("no deployment of {target} is under way; `deployment start` begins one"));
        };
        if active.phase != DeploymentPhase::Running {
            return Err(format!("{deployment} of {target} is rolled out already and soaks"));
        }
        match news {
            DeploymentNews::Stage { share, name, settle } => {
                let share = checked_share(*share)?;
                if settle.as_millis() < 0 {
                    return Err("the time to settle cannot be negative".to_owned());
                }
                if let Some(name) = name {
                    checked_text(name, "the stage's name")?;
                }
                let stage = Stage { name: name.clone(), share, settle: *settle, at: self.now };
                self.emit(Happening::DeploymentStaged { deployment, stage, by });
            }
            DeploymentNews::Progress { share } => {
                let share = checked_share(*share)?;
                self.emit(Happening::DeploymentProgressed { deployment, share, by });
            }
            DeploymentNews::Finish { ending } => match ending {
                Ending::RolledOut => self.finish_deployment(deployment, by),
                Ending::Failed => {
                    self.end_deployment(deployment, DeploymentResult::Failed, format!("{by} says so"));
                }
                Ending::Abandoned => {
                    self.end_deployment(deployment, DeploymentResult::Abandoned, format!("{by} gave it up"));
                }
            },
            DeploymentNews::Start { .. } | DeploymentNews::PointOfNoReturn {} => {}
        }
        Ok(())
    }

    fn try_start(
        &mut self,
        target: &TargetName,
        version: &str,
        previous: Option<&str>,
        by: String,
    ) -> Result<(), String> {
        checked_text(version, "the version")?;
        if let Some(previous) = previous {
            checked_text(previous, "the previous version")?;
        }
        let state = self.state();
        let known = state.targets.get(target);
        if let Some(rollback) = known.and_then(|known| known.in_flight) {
            return Err(format!("{rollback} is rolling {target} back: nothing is to be deployed meanwhile"));
        }
        if let Some((running, active)) = state.active_deployment(target.as_str())
            && active.version == version
        {
            return Err(format!("{running} of {target} brings version {version} already"));
        }
        // What runs is what is replaced, unless the label has moved ahead of its announcement.
        let shown = known.and_then(|known| match known.version.as_deref() {
            Some(shown) if shown == version => known.previous_version.clone(),
            shown => shown.map(str::to_owned),
        });
        let previous = previous.map(str::to_owned).or(shown);
        self.begin_deployment(target, version.to_owned(), previous, Origin::Announced { by });
        Ok(())
    }

    /// Begins a deployment; the one before it is over with that.
    fn begin_deployment(
        &mut self,
        target: &TargetName,
        version: String,
        previous: Option<String>,
        origin: Origin,
    ) {
        let deployment = DeploymentId(self.state().next_deployment.max(1));
        if let Some((before, active)) = self.state().active_deployment(target.as_str()) {
            match active.phase {
                DeploymentPhase::Running => {
                    let why = format!("{deployment} begins, and nobody told its end");
                    self.end_deployment(before, DeploymentResult::Abandoned, why);
                }
                _ => self.end_soak(before, format!("{deployment} begins")),
            }
        }
        let outside = self.outside_of(target);
        let detected = origin == Origin::Detected;
        let begun = self.emit(Happening::DeploymentStarted {
            deployment,
            target: target.clone(),
            version: version.clone(),
            previous,
            origin,
            outside: outside.clone(),
        });
        if !begun {
            return;
        }
        if let Some(window) = outside {
            let reason = format!("{deployment} of version {version} begins outside of {window}");
            let page = self.setup.targets.get(target).and_then(|target| target.deployments.page.as_ref());
            let what = Opening {
                cause: Cause::OutsideWindow(deployment),
                target: target.clone(),
                severity: Severity::Low,
                reason,
                policy: page.cloned(),
            };
            let notify = self.setup.receivers_of(page).into_iter().collect();
            self.open_and_page(
                what,
                self.now,
                notify,
                "It goes on: nothing is held up or rolled back for that.",
            );
        }
        if detected {
            // It shows: whoever rolled it out is through, as far as can be seen.
            self.finish_deployment(deployment, "the version that the target shows".to_owned());
        }
    }

    /// Returns the names of the times in which a deployment should begin, where now is none of them.
    fn outside_of(&self, target: &TargetName) -> Option<String> {
        let window = &self.setup.targets.get(target)?.deployments.window;
        let wall = self.now + self.state().wall_offset;
        let open = |name: &CalendarName| {
            self.setup.calendars.get(name).is_some_and(|calendar| calendar.contains(wall.as_millis()))
        };
        if window.is_empty() || window.iter().any(open) {
            return None;
        }
        let names: Vec<_> = window.iter().map(|name| format!("`{name}`")).collect();
        Some(names.join(" and "))
    }

    fn finish_deployment(&mut self, deployment: DeploymentId, by: String) {
        let Some(target) = self.state().deployments.get(&deployment).map(|known| known.target.clone()) else {
            return;
        };
        let settings = self.setup.targets.get(&target).map(|target| target.deployments.clone());
        let settings = settings.unwrap_or_default();
        self.emit(Happening::DeploymentFinished { deployment, soak_until: self.now + settings.soak, by });
        if let Some(after) = settings.point_of_no_return {
            let (at, by) = (self.now + after, "rearguard.yaml".to_owned());
            self.emit(Happening::PointOfNoReturn { target, at, by });
        }
        if settings.soak.is_zero_or_negative() {
            self.end_soak(deployment, "it is rolled out".to_owned());
        }
    }

    /// Ends a deployment that is rolled out: well, unless a rollback of it was tried in vain.
    fn end_soak(&mut self, deployment: DeploymentId, why: String) {
        let known = self.state().deployments.get(&deployment);
        match known.and_then(|known| known.failed_rollback) {
            Some(rollback) => {
                let why = format!("{rollback} should have taken it back and did not work");
                self.end_deployment(deployment, DeploymentResult::Failed, why);
            }
            None => self.end_deployment(deployment, DeploymentResult::Succeeded, why),
        }
    }

    fn end_deployment(&mut self, deployment: DeploymentId, result: DeploymentResult, reason: String) {
        self.emit(Happening::DeploymentEnded { deployment, result, reason });
        self.resolve_cause(&Cause::OutsideWindow(deployment), "the deployment is over");
    }

    /// A rollback is over: what it took back is over too. Where it did not work, the new version still runs, and whatever
    /// watches the deployment goes on watching.
    pub(super) fn deployment_rolled_back(&mut self, rollback: RollbackId, outcome: Outcome) {
        if outcome.has_failed() {
            return;
        }
        let target = self.state().rollbacks.get(&rollback).map(|run| run.target.clone());
        let active = target.and_then(|target| Some(self.state().active_deployment(target.as_str())?.0));
        if let Some(deployment) = active {
            let why = format!("{rollback} {outcome}");
            self.end_deployment(deployment, DeploymentResult::RolledBack, why);
        }
    }

    /// Returns whether there should be something to compare with: a deployment has gone on for a while.
    pub(super) fn compares(&self, target: &TargetName) -> bool {
        let active = self.state().active_deployment(target.as_str());
        active.is_some_and(|(_, active)| self.now.since(active.started_at) >= BLIND_AFTER)
    }

    /// Ends what has soaked and what nothing is heard of any more.
    pub(super) fn wake_deployments(&mut self) {
        let active = self.state().deployments.iter().filter(|(_, deployment)| deployment.is_active());
        let due: Vec<(DeploymentId, Deployment)> =
            active.map(|(id, deployment)| (*id, deployment.clone())).collect();
        for (id, deployment) in due {
            match deployment.phase {
                DeploymentPhase::Soaking { until } if until <= self.now => {
                    self.end_soak(id, "its soak is over".to_owned());
                }
                DeploymentPhase::Running if self.given_up_at(&deployment) <= self.now => {
                    let silent = self.now.since(deployment.heard_at).rounded();
                    let why = format!("nothing was heard of it for {silent}");
                    self.end_deployment(id, DeploymentResult::Abandoned, why);
                }
                _ => {}
            }
        }
    }

    /// Returns when the next deployment is due.
    pub(super) fn next_deployment_due(&self) -> Option<Timestamp> {
        let due = |deployment: &Deployment| match deployment.phase {
            DeploymentPhase::Soaking { until } => Some(until),
            DeploymentPhase::Running => Some(self.given_up_at(deployment)),
            DeploymentPhase::Ended { .. } => None,
        };
        self.state().deployments.values().filter_map(due).min()
    }

    fn given_up_at(&self, deployment: &Deployment) -> Timestamp {
        let target = self.setup.targets.get(&deployment.target);
        let after = target
            .map_or(DeploymentSettings::default().abandon_after, |target| target.deployments.abandon_after);
        deployment.heard_at + after
    }

    /// Ends the deployments of targets that are no longer configured.
    pub(super) fn forget_deployments(&mut self) {
        let setup = self.setup;
        let orphaned = |state: &State| -> Vec<DeploymentId> {
            let active = state.deployments.iter().filter(|(_, deployment)| deployment.is_active());
            active
                .filter(|(_, deployment)| !setup.targets.contains_key(&deployment.target))
                .map(|(id, _)| *id)
                .collect()
        };
        for id in orphaned(self.state()) {
            self.end_deployment(
                id,
                DeploymentResult::Abandoned,
                "its target is no longer configured".to_owned(),
            );
        }
    }
}

fn checked_share(share: f64) -> Result<f64, String> {
    // In this form a NaN is refused too.
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(format!("{share} is not a part of the whole: 0 to 1, or 0% to 100%"))
    }
}

fn checked_text(text: &str, what: &str) -> Result<(), String> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > TEXT_MAX || text.chars().any(char::is_control) {
        return Err(format!("{what} must be 1 to {TEXT_MAX} characters, none of them a control character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
