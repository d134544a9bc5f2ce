//! What follows when something fires: an incident, the wanted rollback or the reason why not, a page.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::due;
use super::effect::MessageKind;
use super::event::{Cause, Happening, Refusal};
use super::rollback::Phase;
use super::state::State;
use crate::engine::evaluation::{Evidence, TriggerKey};
use crate::engine::model::{IncidentId, PlanName, RollbackId, Severity, TargetName};
use crate::engine::report::Reason;
use crate::engine::rules::{Clock, Then};
use crate::engine::time::{Span, Timestamp};

/// A trigger whose window is full, or an imported alert that fires.
pub(super) struct Firing<'a> {
    /// Whose.
    pub(super) key: &'a TriggerKey,
    /// What follows.
    pub(super) then: &'a Then,
    /// How bad it is.
    pub(super) severity: Severity,
    /// Since when.
    pub(super) since: Timestamp,
    /// One line: what broke, by how much, for how long.
    pub(super) reason: String,
    /// The page's first line.
    pub(super) summary: String,
    /// What else the page says.
    pub(super) details: Vec<String>,
    /// What was measured.
    pub(super) evidence: Option<Evidence>,
    /// Where people read what to do.
    pub(super) runbook: Option<String>,
    /// By when what must have happened, from now on.
    pub(super) due: BTreeMap<Clock, Span>,
    /// Why it may not act, whatever the target allows.
    pub(super) barred: Option<Refusal>,
}

impl State {
    /// Returns why a rollback is not begun, as a person wants to hear it at `now`.
    pub fn tell_refusal(&self, refusal: &Refusal, now: Timestamp) -> String {
        match refusal {
            Refusal::Joined(rollback) => match self.rollbacks.get(rollback).map(|run| &run.phase) {
                Some(Phase::InDoubt { .. }) => format!("{rollback} is in doubt and holds the target"),
                _ => format!("{rollback} is under way already"),
            },
            // A person wants to hear how long, not until which instant of engine time.
            Refusal::Cooldown { until } if *until > now => {
                format!("the target cools down for another {}", until.since(now).rounded())
            }
            Refusal::Cooldown { .. } => "the target cooled down then".to_owned(),
            Refusal::PastReturn { since, by } => {
                let ago = now.since(*since).rounded();
                format!(
                    "the point of no return was passed {ago} ago ({by}): what it would bring back is gone"
                )
            }
            other => other.to_string(),
        }
    }
}

impl Draft<'_> {
    /// Takes in that something fires: opens its incident, or goes on with the one that is still open.
    pub(super) fn fire(&mut self, firing: Firing<'_>) {
        let (key, since, evidence) = (firing.key.clone(), firing.since, firing.evidence.clone());
        self.emit(Happening::TriggerFiring { key, since, evidence });
        self.follow(firing);
    }

    /// Opens the incident of what fires, or goes on with the one that is still open.
    pub(super) fn follow(&mut self, firing: Firing<'_>) {
        let cause = Cause::Trigger(firing.key.clone());
        if let Some(incident) = self.state().open_incident(&cause) {
            // It was quiet for a while, and the rollback of then is over: people must hear that it did not last.
            if !self.is_busy(incident) {
                self.begin_rollback(incident, &firing);
            }
            return;
        }
        let incident = IncidentId(self.state().next_incident);
        self.emit(Happening::IncidentOpened {
            incident,
            cause,
            target: firing.key.target.clone(),
            severity: firing.severity,
            reason: firing.reason.clone(),
            since: firing.since,
            evidence: firing.evidence.clone(),
            runbook: firing.runbook.clone(),
            notify: self.setup.receivers_of(firing.then.page.as_ref()).into_iter().collect(),
            policy: firing.then.page.clone(),
            due: due::started(&firing.due, self.now),
        });
        self.begin_rollback(incident, &firing);
    }

    /// Begins the wanted rollback, or says why not; pages either way.
    pub(super) fn begin_rollback(&mut self, incident: IncidentId, firing: &Firing<'_>) {
        let mut details = Vec::new();
        let mut refused = None;
        let mut begun = None;
        if let Some(plan) = &firing.then.rollback {
            match self.arbitrate(incident, firing, plan) {
                Ok(rollback) => {
                    details.push(format!("Rollback {rollback} by plan `{plan}` has begun."));
                    begun = Some(rollback);
                }
                Err(refusal) => {
                    let why = self.explain(&refusal);
                    details.push(format!("No rollback by plan `{plan}`: {why}"));
                    self.report.add(firing.key.trigger.to_string(), Reason::NotBegun(why.clone()));
                    // A shadow or a joined rollback is told in the page itself; the rest calls for a human.
                    if self.calls_for_a_human(&refusal) {
                        refused = Some((plan.clone(), why));
                    }
                }
            }
        } else if firing.then.recommend.is_none() {
            details.push("No rollback is configured for this trigger.".to_owned());
        }
        details.extend(self.recommend(incident, firing));
        details.extend(firing.details.iter().cloned());
        self.page_incident(incident, MessageKind::Trigger, firing.summary.clone(), details);
        if let Some((plan, why)) = refused {
            self.page_refusal(incident, plan.as_str(), &why);
        }
        // After the page, so that nobody reads of an outcome before its beginning.
        if let Some(rollback) = begun {
            self.advance(rollback);
        }
    }

    /// Returns whether a refusal must be paged by itself: most of what is told in the page anyway need not.
    fn calls_for_a_human(&self, refusal: &Refusal) -> bool {
        match refusal {
            // One page is enough of what is no fault of the target.
            Refusal::Shadow | Refusal::Permissive | Refusal::OutOfScope(_) | Refusal::Isolated(_) => false,
            Refusal::Joined(rollback) => {
                let run = self.state().rollbacks.get(rollback);
                run.is_some_and(|run| matches!(run.phase, Phase::InDoubt { .. }))
            }
            _ => true,
        }
    }

    /// Returns why a rollback is not begun, as a person wants to hear it.
    pub(super) fn explain(&self, refusal: &Refusal) -> String {
        self.state().tell_refusal(refusal, self.now)
    }

    /// Returns the plan's run if it may begin, else the first reason why not.
    fn arbitrate(
        &mut self,
        incident: IncidentId,
        firing: &Firing<'_>,
        plan: &PlanName,
    ) -> Result<RollbackId, Refusal> {
        let target = &firing.key.target;
        let permit = super::arbitration::permit(self.state(), self.setup, self.now, incident, target, plan);
        let scopes = super::scopes::scopes_of(self.state(), self.setup, target, self.now);
        let unmet = scopes.unmet(&firing.then.rollback_during);
        let barred = unmet
            .map(|word| Refusal::OutOfScope(word.to_string()))
            .or_else(|| firing.barred.clone())
            .or_else(|| self.isolated_alert(firing.key))
            .or_else(|| self.barred_by_budget(firing.key));
        let permit = match (permit, barred) {
            // What is done already says more than what it may not do.
            (Err(done @ (Refusal::Joined(_) | Refusal::AlreadyRun(_))), _) => Err(done),
            (_, Some(barred)) => Err(barred),
            (permit, None) => permit,
        };
        match permit {
            Ok(()) => Ok(self.decide_rollback(incident, target, plan)),
            Err(refusal) => {
                self.emit(Happening::RollbackNotBegun {
                    incident,
                    target: target.clone(),
                    plan: plan.clone(),
                    refusal: refusal.clone(),
                });
                Err(refusal)
            }
        }
    }

    fn decide_rollback(&mut self, incident: IncidentId, target: &TargetName, plan: &PlanName) -> RollbackId {
        let rollback = RollbackId(self.state().next_rollback);
        let known = self.setup.plans.get(plan);
        self.emit(Happening::RollbackDecided {
            rollback,
            incident,
            target: target.clone(),
            plan: plan.clone(),
            deadline: self.now + known.map_or(Span::ZERO, |plan| plan.deadline),
            plan_fingerprint: known.map(super::Plan::fingerprint).unwrap_or_default(),
            steps: known
                .map(|plan| plan.steps.iter().map(|step| step.name.clone()).collect())
                .unwrap_or_default(),
        });
        rollback
    }
}
