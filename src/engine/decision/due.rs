//! The clocks of an incident: what must have happened by when, and who is told that it has not.
//!
//! Every clock starts at the decision that opened the incident. Clocks of Rearguard's own (`rollback`, `verified`) end by
//! what happens; tasks of people end when somebody says so. One that runs out pages under a key of its own, once,
//! because an incident that somebody has acknowledged notifies nobody any more.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::event::{Happening, Outcome};
use super::rollback::{Phase, Rollback};
use super::state::{Incident, State};
use crate::engine::model::IncidentId;
use crate::engine::report::Reason;
use crate::engine::rules::Clock;
use crate::engine::time::{Span, Timestamp};

impl Incident {
    /// Returns when the next clock that still runs is over.
    fn next_overdue(&self, state: &State) -> Option<Timestamp> {
        if self.resolved_at.is_some() {
            return None;
        }
        self.due.iter().filter(|(clock, _)| !self.has_met(clock, state)).map(|(_, at)| *at).min()
    }

    /// Returns whether what a clock waits for has happened. A task of people is taken off when somebody says so.
    fn has_met(&self, clock: &Clock, state: &State) -> bool {
        let mut runs = self.ran.values().filter_map(|run| state.rollbacks.get(run));
        match clock {
            Clock::Rollback => runs.any(Rollback::has_done_its_steps),
            Clock::Verified => runs.any(Rollback::is_proven),
            Clock::Resolved | Clock::Task(_) => false,
        }
    }
}

impl Rollback {
    /// Returns whether every step is over and none has stopped the plan; what the proof says later does not change that.
    fn has_done_its_steps(&self) -> bool {
        match self.phase {
            Phase::Verifying { .. } => true,
            Phase::Ended { outcome: Outcome::Succeeded | Outcome::Partial, .. } => true,
            Phase::Ended { outcome: Outcome::TimedOut, .. } => self.steps.len() == self.step_names.len(),
            _ => false,
        }
    }

    fn is_proven(&self) -> bool {
        matches!(self.phase, Phase::Ended { outcome: Outcome::Succeeded, .. })
    }
}

impl State {
    /// Returns when the next clock of any incident is over.
    pub(super) fn overdue_at(&self) -> Option<Timestamp> {
        self.incidents.values().filter_map(|incident| incident.next_overdue(self)).min()
    }

    /// Stops a clock: it is over, or its task is done.
    pub(super) fn stop_clock(&mut self, incident: IncidentId, clock: &Clock) -> Result<(), String> {
        match self.open_mut(incident)?.due.remove(clock) {
            Some(_) => Ok(()),
            None => Err(format!("{incident} has no clock `{clock}` that runs")),
        }
    }
}

/// Returns the instants of clocks that start now.
pub(super) fn started(clocks: &BTreeMap<Clock, Span>, now: Timestamp) -> BTreeMap<Clock, Timestamp> {
    clocks.iter().map(|(clock, within)| (clock.clone(), now + *within)).collect()
}

impl Draft<'_> {
    /// Tells of every clock that is over and has not been met.
    pub(super) fn tell_overdue(&mut self) {
        if self.state().stopping {
            return;
        }
        let now = self.now;
        let mut over: Vec<(IncidentId, Clock, Timestamp)> = Vec::new();
        for (id, incident) in &self.state().incidents {
            if incident.resolved_at.is_some() {
                continue;
            }
            let late = incident
                .due
                .iter()
                .filter(|(clock, at)| **at <= now && !incident.has_met(clock, self.state()));
            over.extend(late.map(|(clock, at)| (*id, clock.clone(), *at)));
        }
        for (incident, clock, due_at) in over {
            if self.emit(Happening::Overdue { incident, clock: clock.clone(), due_at }) {
                self.page_overdue(incident, &clock, due_at);
            }
        }
    }

    /// Takes in that somebody has done a task of an incident.
    pub(super) fn take_task_done(&mut self, incident: IncidentId, task: &str, by: &str) {
        let clock = Clock::Task(task.to_owned());
        let open = self.state().incidents.get(&incident).filter(|open| open.resolved_at.is_none());
        let denied = match open {
            None => Some(format!("there is no open incident {incident}")),
            Some(open) if !open.due.contains_key(&clock) => {
                let tasks = open.due.keys().filter_map(|clock| match clock {
                    Clock::Task(task) => Some(format!("`{task}`")),
                    _ => None,
                });
                let tasks: Vec<_> = tasks.collect();
                let left = if tasks.is_empty() { "no task is left".to_owned() } else { tasks.join(", ") };
                Some(format!("{incident} does not wait for the task `{task}`; it waits for: {left}"))
            }
            Some(_) => None,
        };
        if let Some(why) = denied {
            return self.report.add(incident.to_string(), Reason::Denied(why));
        }
        self.emit(Happening::TaskDone { incident, task: task.to_owned(), by: by.to_owned() });
    }
}
