//! Escalation: who is told next when an incident stays open.
//!
//! The clock starts at the decision that opened the incident, not at a delivery: a channel that is slow must not make the
//! next level late.

use super::draft::Draft;
use super::event::Happening;
use super::setup::{Level, Setup};
use super::state::{Incident, State};
use crate::engine::model::{IncidentId, ReceiverName};
use crate::engine::time::Timestamp;

impl Incident {
    /// Returns the level that is told next, and when; `None` where it is over or everybody has been told.
    pub(super) fn next_level<'s>(&self, setup: &'s Setup) -> Option<(Timestamp, &'s Level)> {
        if self.resolved_at.is_some() {
            return None;
        }
        let policy = setup.policies.get(self.policy.as_ref()?)?;
        // The first level was told when the incident was opened.
        let level = policy.levels.get(self.escalated + 1)?;
        Some((self.opened_at + level.after, level))
    }
}

impl State {
    /// Returns when the next level of any incident is told.
    pub(super) fn escalates_at(&self, setup: &Setup) -> Option<Timestamp> {
        self.incidents.values().filter_map(|incident| incident.next_level(setup)).map(|(at, _)| at).min()
    }

    /// Remembers that one more level of an incident's policy has been told.
    pub(super) fn escalate(&mut self, incident: IncidentId, told: &[ReceiverName]) -> Result<(), String> {
        let incident = self.open_mut(incident)?;
        incident.escalated += 1;
        let known = incident.notify.clone();
        incident.notify.extend(told.iter().filter(|receiver| !known.contains(receiver)).cloned());
        Ok(())
    }
}

impl Draft<'_> {
    /// Tells the levels whose time has come; after a long outage that may be several at once, in their order.
    pub(super) fn escalate(&mut self) {
        // What is left to the restart is told by the restart: the outbox goes down too.
        if self.state().stopping {
            return;
        }
        let open: Vec<IncidentId> = self.state().incidents.keys().copied().collect();
        for id in open {
            while let Some(incident) = self.state().incidents.get(&id)
                && let Some((at, level)) = incident.next_level(self.setup)
                && at <= self.now
            {
                let (level, reached) = (level.clone(), incident.escalated + 2);
                if !self.emit(Happening::Escalated {
                    incident: id,
                    level: reached,
                    notify: level.notify.clone(),
                }) {
                    break;
                }
                self.page_level(id, reached, level.notify.into_iter().collect());
            }
        }
    }
}
