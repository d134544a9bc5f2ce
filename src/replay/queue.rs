//! What is due when, in an order that is the same in every run.

use std::collections::BTreeMap;

use crate::engine::time::Timestamp;

/// Things with their times. What is due at one instant comes out in the order in which it went in (E1).
#[derive(Clone, Debug)]
pub struct Queue<T> {
    due: BTreeMap<(Timestamp, u64), T>,
    added: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), added: 0 }
    }
}

impl<T> Queue<T> {
    /// Adds a thing.
    pub fn add(&mut self, at: Timestamp, what: T) {
        self.due.insert((at, self.added), what);
        self.added += 1;
    }

    /// Returns when the next thing is due.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Takes the next thing out.
    pub fn pop(&mut self) -> Option<(Timestamp, T)> {
        self.due.pop_first().map(|((at, _), what)| (at, what))
    }

    /// Drops what `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.due.retain(|_, what| keep(what));
    }
}
