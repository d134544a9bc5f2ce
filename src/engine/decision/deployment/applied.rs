//! What events about deployments do to the state.

use std::collections::BTreeSet;

use super::record::{Deployment, DeploymentPhase, NoReturn};
use crate::engine::decision::event::{Event, Happening, Outcome};
use crate::engine::decision::rollback::Phase;
use crate::engine::decision::state::{State, TargetState};
use crate::engine::model::{DeploymentId, RollbackId, TargetName};
use crate::engine::time::{Span, Timestamp};

/// How many ended deployments stay in memory; all of them stay in the journal.
const ENDED_REMEMBERED: usize = 50;

impl TargetState {
    /// Returns how many of its rollbacks began within `span` before `now`.
    pub fn rollbacks_within(&self, span: Span, now: Timestamp) -> usize {
        self.begun.iter().filter(|begun| now.since(**begun) < span).count()
    }
}

impl State {
    /// Changes deployments, and what their targets remember of them, by one event.
    pub(in crate::engine::decision) fn change_deployment(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            Happening::DeploymentStarted { .. } => self.begin_deployment(event),
            Happening::PointOfNoReturn { target, at, by } => {
                let history = &mut self.targets.entry(target.clone()).or_default().deployments;
                history.no_return = Some(NoReturn { at: *at, by: by.clone() });
                Ok(())
            }
            Happening::BaselineFrozen { target, indicator, baseline } => {
                self.baselines.insert((target.clone(), indicator.clone()), baseline.clone());
                Ok(())
            }
            what => {
                let Some(id) = Deployment::named_by(what) else { return Ok(()) };
                let deployment =
                    self.deployments.get_mut(&id).ok_or_else(|| format!("there is no deployment {id}"))?;
                deployment.change(event)?;
                if let DeploymentPhase::Ended { result, at, .. } = &deployment.phase {
                    let (target, result, at) = (deployment.target.clone(), *result, *at);
                    self.targets.entry(target).or_default().deployments.end(at, result);
                    self.forget_deployments();
                }
                Ok(())
            }
        }
    }

    /// Notes at its target, and at its deployment, that a rollback is over; `before` is the phase in which it was.
    pub(in crate::engine::decision) fn end_run(
        &mut self,
        id: RollbackId,
        outcome: Outcome,
        at: Timestamp,
        before: &Phase,
    ) {
        let Some(run) = self.rollbacks.get(&id) else { return };
        let (target, took) = (run.target.clone(), at.since(run.begun_at));
        let state = self.targets.entry(target).or_default();
        state.in_flight = None;
        state.last_ended = Some(at);
        state.rollbacks.end(outcome, took, before);
        let active = state.deployments.active.and_then(|id| self.deployments.get_mut(&id));
        if let Some(active) = active.filter(|_| outcome.has_failed()) {
            active.failed_rollback = Some(id);
        }
    }

    fn begin_deployment(&mut self, event: &Event) -> Result<(), String> {
        let Happening::DeploymentStarted { deployment, target, version, previous, origin, outside } =
            &event.what
        else {
            return Ok(());
        };
        if deployment.0 < self.next_deployment {
            return Err(format!("{deployment} is not new"));
        }
        let known = self.targets.entry(target.clone()).or_default();
        if let Some(active) = known.deployments.active {
            return Err(format!("{active} of {target} is not over"));
        }
        known.deployments.active = Some(*deployment);
        known.deployments.last = Some(*deployment);
        // What runs now can be brought back again.
        known.deployments.no_return = None;
        self.next_deployment = deployment.0 + 1;
        let detected = *origin == super::record::Origin::Detected;
        let begun = Deployment {
            target: target.clone(),
            version: version.clone(),
            previous: previous.clone(),
            label_before: if detected { previous.clone() } else { known.version.clone() },
            label_seen: detected.then(|| version.clone()),
            origin: origin.clone(),
            outside: outside.clone(),
            started_at: event.at,
            heard_at: event.at,
            stages: Vec::new(),
            progress: None,
            failed_rollback: None,
            finished_at: None,
            phase: DeploymentPhase::Running,
        };
        self.deployments.insert(*deployment, begun);
        Ok(())
    }

    /// Drops the oldest of what is over. The last one of each target stays: `status` and series speak of it.
    fn forget_deployments(&mut self) {
        let last: BTreeSet<DeploymentId> =
            self.targets.values().filter_map(|target| target.deployments.last).collect();
        let over: Vec<DeploymentId> = self
            .deployments
            .iter()
            .filter(|(id, deployment)| !deployment.is_active() && !last.contains(id))
            .map(|(id, _)| *id)
            .collect();
        for id in over.iter().rev().skip(ENDED_REMEMBERED) {
            self.deployments.remove(id);
        }
    }

    /// Returns every target of which a deployment is under way or soaks.
    pub fn deployed(&self) -> BTreeSet<TargetName> {
        let active = self.targets.iter().filter(|(_, known)| known.deployments.active.is_some());
        active.map(|(target, _)| target.clone()).collect()
    }

    /// Returns the deployment of `target` that is under way or soaks.
    pub fn active_deployment(&self, target: &str) -> Option<(DeploymentId, &Deployment)> {
        let id = self.targets.get(target)?.deployments.active?;
        self.deployments.get(&id).map(|deployment| (id, deployment))
    }
}
