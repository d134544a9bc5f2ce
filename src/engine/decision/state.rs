//! What the decision half remembers, and the only way in which it changes: [`apply`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::deployment::{Deployment, DeploymentHistory, RollbackHistory};
use super::effect::Message;
use super::event::{Cause, Event, Happening, Refusal};
use super::pairs;
use super::rollback::{Phase, Rollback};
use crate::engine::evaluation::{Baseline, Evidence, TriggerKey};
use crate::engine::model::{
    DeploymentId, EffectId, IncidentId, IndicatorName, JournalId, PlanName, PolicyName, ReceiverName,
    RollbackId, Severity, TargetName,
};
use crate::engine::rules::Clock;
use crate::engine::time::{Span, Timestamp};

/// How many starts of rollbacks a target remembers; configured caps must be smaller.
pub const STARTS_REMEMBERED: usize = 100;

/// Everything that decisions remember. Equal to its events, applied in order (E6).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The journal's identity; `None` before its first event.
    pub journal: Option<JournalId>,
    /// The instant of the last event; no event may be older (E8).
    pub now: Timestamp,
    /// Wall time minus engine time.
    pub wall_offset: Span,
    /// Why the journal cannot be written, while it cannot.
    pub journal_lost: Option<String>,
    /// Why the files on disk are not the ones in force, while they are not.
    pub degraded: Option<String>,
    /// Whether the daemon is going down.
    pub stopping: bool,
    /// The number of the next incident.
    pub next_incident: u64,
    /// The number of the next rollback.
    pub next_rollback: u64,
    /// The number of the next effect.
    pub next_effect: u64,
    /// The numbers that go on once the journal can be written again; while it can, those of the next unjournaled ids.
    #[serde(default)]
    pub other_numbers: (u64, u64),
    /// Triggers that are not quiet.
    #[serde(with = "pairs")]
    pub triggers: BTreeMap<TriggerKey, TriggerState>,
    /// Open incidents, and the last resolved ones.
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// What indicators were before the deployments: what relative thresholds are relative to.
    #[serde(with = "pairs", default)]
    pub baselines: BTreeMap<(TargetName, IndicatorName), Baseline>,
    /// What has been done to each target.
    pub targets: BTreeMap<TargetName, TargetState>,
    /// Rollbacks in flight, and the last ended ones.
    pub rollbacks: BTreeMap<RollbackId, Rollback>,
    /// Deployments under way, and the last ended ones.
    #[serde(default)]
    pub deployments: BTreeMap<DeploymentId, Deployment>,
    /// The number of the next deployment.
    #[serde(default)]
    pub next_deployment: u64,
    /// Messages with a delivery that has neither been accepted nor died, by their first delivery.
    pub pages: BTreeMap<EffectId, Page>,
    /// Receivers whose last report was bad.
    pub failing_receivers: BTreeMap<ReceiverName, String>,
}

/// A trigger that is not quiet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerState {
    /// Breached, for not long enough yet.
    Pending {
        /// Since when.
        since: Timestamp,
    },
    /// Breached for long enough.
    Firing {
        /// Since when it has been breached.
        since: Timestamp,
    },
}

/// One thing gone wrong at one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// What opened it.
    pub cause: Cause,
    /// What is guarded.
    pub target: TargetName,
    /// How bad it is.
    pub severity: Severity,
    /// One line for people.
    pub reason: String,
    /// When it began.
    pub since: Timestamp,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was resolved, if it was.
    pub resolved_at: Option<Timestamp>,
    /// What was measured when it was opened.
    pub evidence: Option<Evidence>,
    /// Where people read what to do.
    pub runbook: Option<String>,
    /// The receivers that are told about it.
    pub notify: Vec<ReceiverName>,
    /// The policy that says who is told next if it stays open.
    #[serde(default)]
    pub policy: Option<PolicyName>,
    /// How many levels have been told beyond the first.
    #[serde(default)]
    pub escalated: usize,
    /// The clocks that run: by when what must have happened.
    #[serde(default, with = "pairs")]
    pub due: BTreeMap<Clock, Timestamp>,
    /// Since when a rollback is owed, where that was not from the beginning on.
    #[serde(default)]
    pub owed_since: Option<Timestamp>,
    /// The tasks of people that go on although it is over, with their limits.
    #[serde(default)]
    pub tasks_left: BTreeMap<String, Timestamp>,
    /// The tasks of people that were not done in time, and have not been done since.
    #[serde(default)]
    pub late_tasks: BTreeSet<String>,
    /// The plans that were run for it, each at most once (E3).
    pub ran: BTreeMap<PlanName, RollbackId>,
    /// Why a wanted rollback was not begun, if one was not.
    pub refused: Option<Refusal>,
    /// The plan that people were advised to run, if they were.
    #[serde(default)]
    pub recommended: Option<PlanName>,
    /// Dedup keys that are open at receivers, with those receivers.
    pub open_keys: BTreeMap<String, BTreeSet<ReceiverName>>,
}

/// What has been done to a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetState {
    /// The rollback that holds the lock.
    pub in_flight: Option<RollbackId>,
    /// When rollbacks were begun, newest last.
    pub begun: Vec<Timestamp>,
    /// When the last one ended.
    pub last_ended: Option<Timestamp>,
    /// What runs.
    pub version: Option<String>,
    /// What ran before.
    pub previous_version: Option<String>,
    /// What is known of its deployments.
    #[serde(default)]
    pub deployments: DeploymentHistory,
    /// How its rollbacks ended.
    #[serde(default)]
    pub rollbacks: RollbackHistory,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The incident.
    pub incident: IncidentId,
    /// What is said.
    pub message: Message,
    /// Every receiver that was given it, now or before.
    pub receivers: BTreeSet<ReceiverName>,
    /// Deliveries without an end yet.
    pub outstanding: BTreeMap<EffectId, ReceiverName>,
    /// Deliveries that failed and that another channel makes up for.
    #[serde(default)]
    pub forwarded: BTreeSet<EffectId>,
    /// Whether any receiver has said yes.
    pub accepted: bool,
}

/// An event that does not fit the state: a bug, or a journal that was written by somebody else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event at {at} does not fit the state: {why}")]
pub struct IllegalTransition {
    /// The event's instant.
    pub at: Timestamp,
    /// What does not fit.
    pub why: String,
}

/// Changes `state` by one event.
///
/// # Errors
/// Returns [`IllegalTransition`] and leaves `state` as it was where the event does not fit.
pub fn apply(state: &mut State, event: &Event) -> Result<(), IllegalTransition> {
    let illegal = |why: String| IllegalTransition { at: event.at, why };
    if event.at < state.now {
        return Err(illegal(format!("time would go backwards from {}", state.now)));
    }
    state.change(event).map_err(illegal)?;
    state.now = event.at;
    Ok(())
}

impl State {
    fn change(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            Happening::JournalCreated { journal } => match &self.journal {
                None => {
                    self.journal = Some(journal.clone());
                    // People count from one.
                    (self.next_incident, self.next_rollback, self.next_effect) = (1, 1, 1);
                }
                Some(own) => return Err(format!("the journal is {} already", own.as_str())),
            },
            // What it tells is over and done with, and in the state already.
            Happening::JournalCheckpoint(_) => {}
            Happening::Restarted(_) => self.stopping = false,
            Happening::Stopping => self.stopping = true,
            Happening::SetupLoaded { degraded, .. } => self.degraded = degraded.clone(),
            Happening::SetupRefused { problem } => self.degraded = Some(problem.clone()),
            Happening::WallClockMoved { offset } => self.wall_offset = *offset,
            Happening::JournalLost { reason, ids_from } => {
                if self.journal_lost.replace(reason.clone()).is_none() {
                    self.swap_numbers();
                }
                self.next_incident = self.next_incident.max(*ids_from);
                self.next_effect = self.next_effect.max(*ids_from);
            }
            Happening::JournalRestored => {
                if self.journal_lost.take().is_some() {
                    self.swap_numbers();
                }
            }
            Happening::VersionSeen { target, version, previous } => {
                let target = self.targets.entry(target.clone()).or_default();
                target.version = Some(version.clone());
                target.previous_version = previous.clone();
                let active = target.deployments.active.and_then(|id| self.deployments.get_mut(&id));
                if let Some(active) = active {
                    active.label_seen = Some(version.clone());
                }
            }
            Happening::TriggerPending { .. }
            | Happening::TriggerFiring { .. }
            | Happening::TriggerCleared { .. }
            | Happening::TriggerOutOfScope { .. } => self.change_trigger(event)?,
            Happening::IncidentOpened { .. }
            | Happening::Escalated { .. }
            | Happening::Overdue { .. }
            | Happening::TaskDone { .. }
            | Happening::IncidentResolved { .. }
            | Happening::RollbackRecommended { .. }
            | Happening::RollbackNotBegun { .. } => self.change_incident(event)?,
            Happening::RollbackDecided { .. } => self.begin_rollback(event)?,
            Happening::StepIntended { .. }
            | Happening::StepStarted { .. }
            | Happening::StepEnded { .. }
            | Happening::StepInDoubt { .. }
            | Happening::StepSettled { .. }
            | Happening::VerificationStarted { .. }
            | Happening::VerificationSaw { .. }
            | Happening::RollbackEnded { .. } => self.change_rollback(event)?,
            Happening::DeploymentStarted { .. }
            | Happening::DeploymentStaged { .. }
            | Happening::DeploymentProgressed { .. }
            | Happening::DeploymentFinished { .. }
            | Happening::DeploymentEnded { .. }
            | Happening::BaselineFrozen { .. }
            | Happening::PointOfNoReturn { .. } => self.change_deployment(event)?,
            Happening::PageDecided { .. } | Happening::DeliveryReported { .. } => self.change_page(event)?,
        }
        Ok(())
    }

    /// Ids that may be forgotten are numbered apart: see [`Happening::JournalLost`].
    fn swap_numbers(&mut self) {
        let here = (self.next_incident, self.next_effect);
        (self.next_incident, self.next_effect) = std::mem::replace(&mut self.other_numbers, here);
    }

    fn change_trigger(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            Happening::TriggerPending { key, .. } => match self.triggers.get(key) {
                None => {
                    self.triggers.insert(key.clone(), TriggerState::Pending { since: event.at });
                    Ok(())
                }
                Some(state) => Err(format!("{} is {state:?} already", key.trigger)),
            },
            Happening::TriggerFiring { key, since, .. } => match self.triggers.get_mut(key) {
                Some(state @ TriggerState::Pending { .. }) => {
                    *state = TriggerState::Firing { since: *since };
                    Ok(())
                }
                state => Err(format!("{} cannot fire from {state:?}", key.trigger)),
            },
            Happening::TriggerCleared { key, .. } | Happening::TriggerOutOfScope { key, .. } => {
                match self.triggers.remove(key) {
                    Some(_) => Ok(()),
                    None => Err(format!("{} is quiet already", key.trigger)),
                }
            }
            _ => Ok(()),
        }
    }

    fn change_incident(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            Happening::IncidentOpened {
                incident,
                cause,
                target,
                severity,
                reason,
                since,
                evidence,
                runbook,
                notify,
                policy,
                due,
            } => {
                if incident.0 < self.next_incident || self.open_incident(cause).is_some() {
                    return Err(format!("{incident} is not new"));
                }
                self.next_incident = incident.0 + 1;
                let opened = Incident {
                    cause: cause.clone(),
                    target: target.clone(),
                    severity: *severity,
                    reason: reason.clone(),
                    since: *since,
                    opened_at: event.at,
                    resolved_at: None,
                    evidence: evidence.clone(),
                    runbook: runbook.clone(),
                    notify: notify.clone(),
                    policy: policy.clone(),
                    escalated: 0,
                    due: due.clone(),
                    owed_since: None,
                    tasks_left: BTreeMap::new(),
                    late_tasks: BTreeSet::new(),
                    ran: BTreeMap::new(),
                    refused: None,
                    recommended: None,
                    open_keys: BTreeMap::new(),
                };
                self.incidents.insert(*incident, opened);
            }
            Happening::Overdue { incident, clock, .. } => self.stop_clock(*incident, clock)?,
            Happening::TaskDone { incident, task, .. } => self.end_task(*incident, task)?,
            Happening::Escalated { incident, notify, .. } => self.escalate(*incident, notify)?,
            Happening::IncidentResolved { incident, tasks, .. } => {
                let incident = self.open_mut(*incident)?;
                (incident.resolved_at, incident.tasks_left) = (Some(event.at), tasks.clone());
                self.forget_old();
            }
            Happening::RollbackRecommended { incident, recommended, .. } => {
                self.open_mut(*incident)?.recommended = Some(recommended.clone());
            }
            Happening::RollbackNotBegun { incident, refusal, .. } => {
                let refused = Some(refusal.clone());
                self.open_mut(*incident)?.note_wanted(event.at, |incident| incident.refused = refused);
            }
            _ => {}
        }
        Ok(())
    }

    fn begin_rollback(&mut self, event: &Event) -> Result<(), String> {
        let Happening::RollbackDecided {
            rollback,
            incident,
            target,
            plan,
            deadline,
            steps,
            plan_fingerprint,
        } = &event.what
        else {
            return Ok(());
        };
        if rollback.0 < self.next_rollback {
            return Err(format!("{rollback} is not new"));
        }
        if let Some(busy) = self.targets.get(target).and_then(|target| target.in_flight) {
            return Err(format!("{busy} is in flight at {target}"));
        }
        let owner = self.open_mut(*incident)?;
        if owner.ran.contains_key(plan) {
            return Err(format!("{incident} has run {plan} before"));
        }
        owner.note_wanted(event.at, |owner| {
            owner.ran.insert(plan.clone(), *rollback);
        });
        self.next_rollback = rollback.0 + 1;
        let state = self.targets.entry(target.clone()).or_default();
        state.in_flight = Some(*rollback);
        state.begun.push(event.at);
        let surplus = state.begun.len().saturating_sub(STARTS_REMEMBERED);
        state.begun.drain(..surplus);
        let begun = Rollback {
            incident: *incident,
            target: target.clone(),
            plan: plan.clone(),
            plan_fingerprint: plan_fingerprint.clone(),
            begun_at: event.at,
            deadline: *deadline,
            step_names: steps.clone(),
            steps: Vec::new(),
            phase: Phase::Ready { next: 0 },
        };
        self.rollbacks.insert(*rollback, begun);
        Ok(())
    }

    fn change_rollback(&mut self, event: &Event) -> Result<(), String> {
        let Some(id) = Rollback::named_by(&event.what) else { return Ok(()) };
        let rollback = self.rollbacks.get_mut(&id).ok_or_else(|| format!("there is no {id}"))?;
        let next = rollback.phase.after(event)?;
        rollback.remember(event);
        let before = std::mem::replace(&mut rollback.phase, next);
        if let Happening::StepIntended { order, .. } = &event.what {
            self.next_effect = self.next_effect.max(order.effect.0 + 1);
        }
        if let Happening::RollbackEnded { outcome, .. } = &event.what {
            self.end_run(id, *outcome, event.at, &before);
            self.forget_old();
        }
        Ok(())
    }

    fn change_page(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            Happening::PageDecided { incident, message, deliveries, tried, instead_of } => {
                let Some((first, _)) = deliveries.first() else {
                    return Err("a page without a receiver".to_owned());
                };
                // Also of one that is over: a page of it may have to go to another channel still.
                let owner =
                    self.incidents.get_mut(incident).ok_or_else(|| format!("there is no {incident}"))?;
                let keys = &mut owner.open_keys;
                match message.kind {
                    super::MessageKind::Trigger | super::MessageKind::Update => keys
                        .entry(message.dedup_key.clone())
                        .or_default()
                        .extend(deliveries.iter().map(|(_, receiver)| receiver.clone())),
                    super::MessageKind::Resolve => {
                        keys.remove(&message.dedup_key);
                    }
                }
                let page = Page {
                    incident: *incident,
                    message: (**message).clone(),
                    receivers: deliveries
                        .iter()
                        .map(|(_, receiver)| receiver)
                        .chain(tried)
                        .cloned()
                        .collect(),
                    outstanding: deliveries.iter().cloned().collect(),
                    forwarded: BTreeSet::new(),
                    accepted: false,
                };
                if let Some(failed) = instead_of {
                    let mut pages = self.pages.values_mut();
                    if let Some(page) = pages.find(|page| page.outstanding.contains_key(failed)) {
                        page.forwarded.insert(*failed);
                    }
                }
                self.next_effect =
                    deliveries.iter().map(|(id, _)| id.0 + 1).max().unwrap_or(0).max(self.next_effect);
                self.pages.insert(*first, page);
            }
            Happening::DeliveryReported { effect, receiver, report } => {
                self.report_delivery(*effect, receiver, report)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the open incident of `cause`.
    pub fn open_incident(&self, cause: &Cause) -> Option<IncidentId> {
        let open = self.incidents.iter().filter(|(_, incident)| incident.resolved_at.is_none());
        open.filter(|(_, incident)| incident.cause == *cause).map(|(id, _)| *id).next()
    }

    pub(super) fn open_mut(&mut self, id: IncidentId) -> Result<&mut Incident, String> {
        match self.incidents.get_mut(&id) {
            Some(incident) if incident.resolved_at.is_none() => Ok(incident),
            Some(_) => Err(format!("{id} is resolved")),
            None => Err(format!("there is no {id}")),
        }
    }
}
