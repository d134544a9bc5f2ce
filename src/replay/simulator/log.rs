//! What the events say, read by the simulator on its own: none of the engine's bookkeeping is believed.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::decision::{Cause, DeliveryReport, Event, Happening, Message, MessageKind, Outcome};
use crate::engine::model::{EffectId, IncidentId, PlanName, ReceiverName, RollbackId, TargetName};
use crate::engine::time::Timestamp;

/// A rule that was broken, with what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant: `E3`.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

impl Violation {
    pub(super) fn new(invariant: &'static str, what: String) -> Self {
        Self { invariant, what }
    }
}

/// A message that was decided.
#[derive(Clone, Debug)]
pub(super) struct PageSeen {
    pub(super) incident: IncidentId,
    pub(super) message: Message,
    pub(super) deliveries: Vec<(EffectId, ReceiverName)>,
}

/// What the events up to here say.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    now: Timestamp,
    /// How many events there were.
    pub(super) seen: usize,
    /// The rollback in flight at each target.
    in_flight: BTreeMap<TargetName, RollbackId>,
    ran: BTreeSet<(IncidentId, PlanName)>,
    /// When each rollback was decided, and where.
    pub(super) decided: BTreeMap<RollbackId, (TargetName, Timestamp)>,
    /// When each target's last rollback ended.
    pub(super) last_ended: BTreeMap<TargetName, Timestamp>,
    /// Whose incident each rollback is.
    pub(super) incident_of: BTreeMap<RollbackId, IncidentId>,
    /// Each step's place, by the ids that it was given.
    pub(super) place_of: BTreeMap<EffectId, (RollbackId, usize)>,
    /// Steps in doubt.
    pub(super) in_doubt: BTreeMap<RollbackId, EffectId>,
    /// From when on each verification looks.
    pub(super) not_before: BTreeMap<RollbackId, Timestamp>,
    /// What is open, and why.
    pub(super) open: BTreeMap<IncidentId, Cause>,
    pub(super) pages: Vec<PageSeen>,
    /// Deliveries that are over, and whether they were accepted.
    pub(super) over: BTreeMap<EffectId, bool>,
}

impl Log {
    /// Takes in an event; returns what it breaks by itself (E3, E8).
    pub(super) fn see(&mut self, event: &Event) -> Option<Violation> {
        if event.at < self.now {
            let what = format!("`{}` at {} comes after {}", event.what, event.at, self.now);
            return Some(Violation::new("E8", what));
        }
        self.now = event.at;
        self.seen += 1;
        match &event.what {
            Happening::RollbackDecided { rollback, incident, target, plan, .. } => {
                self.decided.insert(*rollback, (target.clone(), event.at));
                self.incident_of.insert(*rollback, *incident);
                let busy = self.in_flight.insert(target.clone(), *rollback);
                if let Some(busy) = busy {
                    let what = format!("{rollback} begins at {target} while {busy} is in flight");
                    return Some(Violation::new("E3", what));
                }
                if !self.ran.insert((*incident, plan.clone())) {
                    return Some(Violation::new("E3", format!("{incident} runs {plan} twice")));
                }
            }
            Happening::RollbackEnded { rollback, .. } => {
                self.in_doubt.remove(rollback);
                if let Some((target, _)) = self.decided.get(rollback) {
                    self.in_flight.remove(target);
                    self.last_ended.insert(target.clone(), event.at);
                }
            }
            Happening::StepIntended { order, index, .. } => {
                self.place_of.insert(order.effect, (order.rollback, *index));
            }
            Happening::StepInDoubt { rollback, effect, .. } => {
                self.in_doubt.insert(*rollback, *effect);
            }
            Happening::StepSettled { rollback, .. } | Happening::StepEnded { rollback, .. } => {
                self.in_doubt.remove(rollback);
            }
            Happening::VerificationStarted { rollback, not_before, .. } => {
                self.not_before.insert(*rollback, *not_before);
            }
            Happening::IncidentOpened { incident, cause, .. } => {
                self.open.insert(*incident, cause.clone());
            }
            Happening::IncidentResolved { incident, .. } => {
                self.open.remove(incident);
            }
            Happening::PageDecided { incident, message, deliveries, .. } => {
                let (message, deliveries) = ((**message).clone(), deliveries.clone());
                self.pages.push(PageSeen { incident: *incident, message, deliveries });
            }
            Happening::DeliveryReported { effect, report, .. } if report.is_final() => {
                self.over.insert(*effect, matches!(report, DeliveryReport::Accepted(_)));
            }
            _ => {}
        }
        None
    }

    /// Returns the open incident of this cause.
    pub(super) fn open_as(&self, cause: &Cause) -> Option<IncidentId> {
        self.open.iter().find(|(_, open)| *open == cause).map(|(id, _)| *id)
    }

    /// Returns whether a rollback is in flight for an incident.
    pub(super) fn is_under_way(&self, incident: IncidentId) -> bool {
        self.in_flight.values().any(|run| self.incident_of.get(run) == Some(&incident))
    }
}

/// Returns the incident and the text of what calls for a page of its own (E5), where `event` does.
pub(super) fn calls_for_page(event: &Event, later: &[Event], log: &Log) -> Option<(IncidentId, String)> {
    use crate::engine::decision::Refusal;
    let incident = match &event.what {
        Happening::RollbackEnded { outcome: Outcome::Succeeded, .. } => return None,
        Happening::RollbackEnded { rollback, .. } => *log.incident_of.get(rollback)?,
        Happening::StepInDoubt { rollback, effect, .. } => {
            // A step that may be run again is in doubt for no time at all.
            let settled = |event: &Event| matches!(&event.what, Happening::StepSettled { effect: settled, .. } if settled == effect);
            if later.first().is_some_and(settled) {
                return None;
            }
            *log.incident_of.get(rollback)?
        }
        Happening::RollbackNotBegun {
            refusal:
                Refusal::Shadow
                | Refusal::Permissive
                | Refusal::Joined(_)
                | Refusal::OutOfScope(_)
                | Refusal::Isolated(_),
            ..
        } => return None,
        Happening::RollbackNotBegun { incident, .. } => *incident,
        _ => return None,
    };
    Some((incident, event.what.to_string()))
}

/// Returns whether `what` is the page that such an event of `incident` calls for.
pub(super) fn is_rollback_page(message: &Message, incident: IncidentId, of: IncidentId) -> bool {
    incident == of && message.kind == MessageKind::Trigger && message.dedup_key.ends_with("-rollback")
}
