//! What is over and lies far back is forgotten; the journal keeps all of it.

use std::collections::BTreeSet;

use super::state::State;

/// How many ended rollbacks and resolved incidents stay in memory.
const ENDED_REMEMBERED: usize = 50;

impl State {
    /// Drops the oldest of what is over, so that memory is bounded.
    pub(super) fn forget_old(&mut self) {
        let busy: BTreeSet<_> = self.pages.values().map(|page| page.incident).collect();
        let over: Vec<_> = self
            .incidents
            .iter()
            .filter(|(id, incident)| {
                incident.resolved_at.is_some() && !busy.contains(id) && incident.tasks_left.is_empty()
            })
            .map(|(id, _)| *id)
            .collect();
        for id in over.iter().rev().skip(ENDED_REMEMBERED) {
            self.incidents.remove(id);
        }
        let open: BTreeSet<_> = self.incidents.keys().copied().collect();
        let ended: Vec<_> = self
            .rollbacks
            .iter()
            .filter(|(_, rollback)| rollback.has_ended() && !open.contains(&rollback.incident))
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            self.rollbacks.remove(&id);
        }
    }
}
