//! When groups are evaluated: at instants that are a whole number of intervals apart, on the engine's own axis.
//!
//! Each group's instants are shifted within its interval by a hash of its name, so that groups do not all run at once
//! and run at the same instants in every life of the daemon (E1). An evaluation speaks of its instant even when the
//! daemon wakes up later, so that `for: 5m` takes five minutes and not five minutes and a wake-up. Of instants that were
//! missed only the last one is made up for.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{GroupId, Groups};
use crate::engine::rules::Group;
use crate::engine::time::{Span, Timestamp};

/// Returns how far a group's instants are shifted. The file's directory does not count: the same set in another place
/// runs at the same instants.
pub(super) fn phase(group: &Group) -> Span {
    let interval = group.interval.as_millis().max(1);
    let file = group.file.rsplit('/').next().unwrap_or_default();
    let hash = Sha256::new().chain_update(file).chain_update([0]).chain_update(&*group.name).finalize();
    let (first, _) = hash.as_slice().split_first_chunk::<8>().map_or(([0; 8], ()), |(first, _)| (*first, ()));
    let number = u64::from_be_bytes(first) % interval.unsigned_abs();
    Span::from_millis(i64::try_from(number).unwrap_or(0))
}

/// Returns the last instant of a group that is not after `now`.
fn instant(interval: Span, phase: Span, now: Timestamp) -> Timestamp {
    let past = (now - phase).as_millis().rem_euclid(interval.as_millis().max(1));
    now - Span::from_millis(past)
}

impl Groups {
    /// Holds a group back: what it reads may be there and was not kept until now.
    pub fn hold(&mut self, group: &Group) {
        if let Some(state) = self.groups.get_mut(&GroupId::of(group)) {
            state.held = Some(group.query_offset);
        }
    }

    /// Lets groups go that were held back: from `now` on everything that they read is kept, and absence is absence.
    pub fn release(&mut self, now: Timestamp) {
        for state in self.groups.values_mut() {
            if let Some(query_offset) = state.held.take() {
                state.since = now + query_offset;
            }
        }
    }

    /// Returns the groups that are due at `now`, each with its instant, in the order of instants.
    ///
    /// Nothing is evaluated that looks at a time before `ready`: the sources had not answered yet.
    pub fn due(
        &self,
        groups: &[Arc<Group>],
        ready: Timestamp,
        now: Timestamp,
    ) -> Vec<(Timestamp, Arc<Group>)> {
        let due = |group: &Arc<Group>| {
            let at = self.pending(group, ready, now)?;
            Some((at, Arc::clone(group)))
        };
        let mut due: Vec<_> = groups.iter().filter_map(due).collect();
        // Stable: groups of one instant run in the order of the set.
        due.sort_by_key(|(at, _)| *at);
        due
    }

    /// Returns when the next group is due; now or before where one already is.
    pub fn next_due(&self, groups: &[Arc<Group>], ready: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let next = |group: &Arc<Group>| {
            let phase = self.groups.get(&GroupId::of(group))?.phase;
            let next = instant(group.interval, phase, now) + group.interval;
            Some(self.pending(group, ready, now).unwrap_or(next))
        };
        groups.iter().filter_map(next).min()
    }

    fn pending(&self, group: &Arc<Group>, ready: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let state = self.groups.get(&GroupId::of(group))?;
        let at = instant(group.interval, state.phase, now);
        let known_from = (ready + group.query_offset).max(state.since);
        let missed =
            state.held.is_none() && at >= known_from && state.last_evaluated.is_none_or(|last| last < at);
        missed.then_some(at)
    }
}
