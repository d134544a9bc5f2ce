//! What the engine says of itself: the answers of the built-in source `rearguard`.
//!
//! They are made from the state and from what is known of promises, and go the same way as any other source's answers, so that rules, windows, restarts
//! and tests need to know nothing of them.

use crate::engine::decision::{Deployment, DeploymentResult, Outcome, Setup, State, Target};
use crate::engine::evaluation::{OWN_PREFIX, OWN_SOURCE};
use crate::engine::model::{Labels, METRIC_NAME, Sample, TargetName};
use crate::engine::series::Observation;
use crate::engine::time::{Span, Timestamp};

/// The span of `rearguard_rollbacks_in_24h`.
const DAY: Span = Span::from_secs(24 * 3600);

/// Every way in which a deployment can end.
const RESULTS: [DeploymentResult; 4] = [
    DeploymentResult::Succeeded,
    DeploymentResult::Failed,
    DeploymentResult::RolledBack,
    DeploymentResult::Abandoned,
];

/// Every way in which a rollback can end, with its label's value.
const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Succeeded, "succeeded"),
    (Outcome::Partial, "partial"),
    (Outcome::Failed, "failed"),
    (Outcome::TimedOut, "timed_out"),
];

/// Returns what is known at `now`; `promises` is what measurements know of objectives and budgets.
pub(super) fn observe(setup: &Setup, state: &State, promises: Vec<Sample>, now: Timestamp) -> Observation {
    let mut samples = Samples { at: now, all: promises };
    for (name, target) in &setup.targets {
        samples.deployments(name, state);
        samples.rollbacks(name, target, state);
    }
    Observation { source: OWN_SOURCE.into(), at: now, took: Span::ZERO, answer: Ok(samples.all), told: None }
}

struct Samples {
    at: Timestamp,
    all: Vec<Sample>,
}

impl Samples {
    /// Adds one sample; `name` is without its prefix.
    fn add(&mut self, name: &str, target: &TargetName, labels: &[(&str, &str)], value: f64) {
        let name = format!("{OWN_PREFIX}{name}");
        let own = [(METRIC_NAME, name.as_str()), ("job", OWN_SOURCE), ("target", target.as_str())];
        let labels = Labels::from_pairs(own.into_iter().chain(labels.iter().copied()));
        self.all.push(Sample { labels, at: self.at, value });
    }

    fn deployments(&mut self, target: &TargetName, state: &State) {
        let history = state.targets.get(target).map(|known| known.deployments.clone()).unwrap_or_default();
        let last = history.last.and_then(|id| Some((id.to_string(), state.deployments.get(&id)?)));
        let (id, version) = match &last {
            Some((id, deployment)) => (id.as_str(), deployment.version.as_str()),
            None => ("", ""),
        };
        let active = f64::from(u8::from(history.active.is_some()));
        self.add("deployment_active", target, &[("deployment", id), ("version", version)], active);
        if let Some((_, deployment)) = &last {
            self.deployment(target, deployment);
        }
        for result in RESULTS {
            let count = history.totals.get(&result).copied().unwrap_or(0);
            self.add("deployments_total", target, &[("result", result.word())], count as f64);
        }
        if let Some(ratio) = history.success_ratio(self.at) {
            self.add("deployment_success_ratio", target, &[], ratio);
        }
    }

    /// Adds what is known of the last deployment, over or not.
    fn deployment(&mut self, target: &TargetName, deployment: &Deployment) {
        if let Some(progress) = deployment.progress.filter(|_| deployment.is_active()) {
            self.add("deployment_progress_ratio", target, &[], progress.share);
        }
        if let Some(stage) = deployment.stage() {
            self.add("deployment_stage_ratio", target, &[], stage.share);
        }
        if let Some(duration) = deployment.duration(self.at) {
            self.add("deployment_duration_seconds", target, &[], duration.as_secs_f64());
        }
    }

    fn rollbacks(&mut self, name: &TargetName, target: &Target, state: &State) {
        let known = state.targets.get(name);
        let history = known.map(|known| known.rollbacks.clone()).unwrap_or_default();
        for (outcome, word) in OUTCOMES {
            let count = history.totals.get(&outcome).copied().unwrap_or(0);
            self.add("rollbacks_total", name, &[("outcome", word)], count as f64);
        }
        let recent = known.map_or(0, |known| known.rollbacks_within(DAY, self.at));
        self.add("rollbacks_in_24h", name, &[], recent as f64);
        if let Some(took) = history.last_took {
            self.add("rollback_duration_seconds", name, &[], took.as_secs_f64());
        }
        let past = known.is_some_and(|known| known.deployments.is_past_return(self.at));
        let available = !target.plans.is_empty() && !past;
        self.add("rollback_available", name, &[], f64::from(u8::from(available)));
        if let Some(verified) = history.last_verified {
            self.add("health_check_status", name, &[], f64::from(u8::from(verified)));
        }
    }
}
