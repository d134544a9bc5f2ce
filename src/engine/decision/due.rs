//! The clocks of an incident: what must have happened by when, and who is told that it has not.
//!
//! Every clock starts at the decision that opened the incident. Clocks of Rearguard's own (`rollback`, `verified`) end by
//! what happens; tasks of people end when somebody says so. One that runs out pages under a key of its own, once,
//! because an incident that somebody has acknowledged notifies nobody any more.
//!
//! - **Owed.** `rollback` and `verified` run only where a rollback is owed: one that was begun, one of another incident that
//!   this one has joined, or one that was refused for a reason that calls for people (a cap, a cooldown). Where none is
//!   wanted, because the target is in shadow, the time is none of its `during`, or its budget is permissive, nothing is late.
//!   If it is wanted later after all, they start then.
//! - **The limit** is the first instant that is late: what is done exactly then was not done before it.
//! - **After the end** of an incident its tasks go on: the search for a cause begins when the fire is out. All other clocks
//!   end with it.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Draft;
use super::event::{Happening, Outcome, Refusal};
use super::rollback::{Phase, Rollback};
use super::state::{Incident, State};
use crate::engine::model::IncidentId;
use crate::engine::report::Reason;
use crate::engine::rules::Clock;
use crate::engine::time::{Span, Timestamp};

impl Incident {
    /// Returns the clocks that still run, with the instants at which they are over.
    fn running(&self, state: &State) -> Vec<(Clock, Timestamp)> {
        if self.resolved_at.is_some() {
            return self.tasks_left.iter().map(|(task, at)| (Clock::Task(task.clone()), *at)).collect();
        }
        let runs = self.due.iter().filter(|(clock, _)| match clock {
            Clock::Rollback | Clock::Verified => self.owes_rollback() && !self.has_met(clock, state),
            Clock::Resolved | Clock::Task(_) => true,
        });
        runs.map(|(clock, at)| (clock.clone(), *at)).collect()
    }

    /// Returns whether a rollback should happen or have happened.
    fn owes_rollback(&self) -> bool {
        let unwanted =
            matches!(self.refused, Some(Refusal::Shadow | Refusal::OutOfScope(_) | Refusal::Permissive));
        !self.ran.is_empty() || !unwanted
    }

    /// Changes it by what became of a wanted rollback; one that is owed only now has its time from now on.
    pub(super) fn note_wanted(&mut self, at: Timestamp, change: impl FnOnce(&mut Self)) {
        let was_owed = self.owes_rollback();
        change(self);
        if was_owed || !self.owes_rollback() {
            return;
        }
        let before = self.owed_since.replace(at).unwrap_or(self.opened_at);
        for (clock, due) in &mut self.due {
            if matches!(clock, Clock::Rollback | Clock::Verified) {
                *due += at.since(before);
            }
        }
    }

    /// Returns how much time a clock that is over at `due_at` gave.
    pub(super) fn allowed(&self, clock: &Clock, due_at: Timestamp) -> Span {
        let owed = self.owed_since.filter(|_| matches!(clock, Clock::Rollback | Clock::Verified));
        due_at.since(owed.unwrap_or(self.opened_at))
    }

    /// Returns the tasks that nobody has done yet, late ones included.
    fn tasks(&self) -> BTreeSet<&str> {
        let open = self.due.keys().filter(|_| self.resolved_at.is_none()).filter_map(|clock| match clock {
            Clock::Task(task) => Some(task.as_str()),
            _ => None,
        });
        open.chain(self.tasks_left.keys().map(String::as_str))
            .chain(self.late_tasks.iter().map(String::as_str))
            .collect()
    }

    /// Returns the tasks that go on when it ends, with their limits.
    pub(super) fn tasks_to_go_on(&self) -> BTreeMap<String, Timestamp> {
        let task = |(clock, at): (&Clock, &Timestamp)| match clock {
            Clock::Task(task) => Some((task.clone(), *at)),
            _ => None,
        };
        self.due.iter().filter_map(task).collect()
    }

    /// Returns whether what a clock of Rearguard's own waits for has happened.
    fn has_met(&self, clock: &Clock, state: &State) -> bool {
        let joined = match &self.refused {
            Some(Refusal::Joined(run)) => Some(run),
            _ => None,
        };
        let mut runs = self.ran.values().chain(joined).filter_map(|run| state.rollbacks.get(run));
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
        self.incidents.values().flat_map(|incident| incident.running(self)).map(|(_, at)| at).min()
    }

    /// Stops a clock that is over; a task can still be told to be done.
    pub(super) fn stop_clock(&mut self, incident: IncidentId, clock: &Clock) -> Result<(), String> {
        let known = self.incidents.get_mut(&incident).ok_or_else(|| format!("there is no {incident}"))?;
        let stopped = match (known.resolved_at, clock) {
            (None, clock) => known.due.remove(clock),
            (Some(_), Clock::Task(task)) => known.tasks_left.remove(task),
            (Some(_), _) => None,
        };
        if stopped.is_none() {
            return Err(format!("{incident} has no clock `{clock}` that runs"));
        }
        if let Clock::Task(task) = clock {
            known.late_tasks.insert(task.clone());
        }
        Ok(())
    }

    /// Takes a task off: somebody has done it.
    pub(super) fn end_task(&mut self, incident: IncidentId, task: &str) -> Result<(), String> {
        let known = self.incidents.get_mut(&incident).ok_or_else(|| format!("there is no {incident}"))?;
        if !known.late_tasks.remove(task) {
            self.stop_clock(incident, &Clock::Task(task.to_owned()))?;
            if let Some(known) = self.incidents.get_mut(&incident) {
                known.late_tasks.remove(task);
            }
        }
        Ok(())
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
            let late = incident.running(self.state()).into_iter().filter(|(_, at)| *at <= now);
            over.extend(late.map(|(clock, at)| (*id, clock, at)));
        }
        for (incident, clock, due_at) in over {
            if self.emit(Happening::Overdue { incident, clock: clock.clone(), due_at }) {
                self.page_overdue(incident, &clock, due_at);
            }
        }
    }

    /// Takes in that somebody has done a task of an incident.
    pub(super) fn take_task_done(&mut self, incident: IncidentId, task: &str, by: &str) {
        let known = self.state().incidents.get(&incident);
        let denied = match known.map(Incident::tasks) {
            None => Some(format!("there is no incident {incident} that waits for a task")),
            Some(tasks) if !tasks.contains(task) => {
                let tasks: Vec<_> = tasks.into_iter().map(|task| format!("`{task}`")).collect();
                let left = if tasks.is_empty() { "no task is left".to_owned() } else { tasks.join(", ") };
                Some(format!("{incident} does not wait for the task `{task}`; it waits for: {left}"))
            }
            Some(_) => None,
        };
        if let Some(why) = denied {
            return self.report.add(incident.to_string(), Reason::Denied(why));
        }
        self.emit(Happening::TaskDone { incident, task: task.to_owned(), by: by.to_owned() });
        // What an incident that is over was late with has nothing else that would close its page.
        let over = self.state().incidents.get(&incident).filter(|known| known.resolved_at.is_some());
        if over.is_some_and(|known| known.late_tasks.is_empty()) {
            self.page_not_late(incident, &format!("task `{task}` is done"));
        }
    }
}
