//! What the worlds contained: a simulation that never met a fault proves nothing about it.

use std::collections::BTreeMap;

/// Everything that the worlds taken together must have contained.
pub const EXPECTED: [&str; 77] = [
    "crash",
    "crash before commit",
    "crash after commit, before effects",
    "crash between effects",
    "crash after intent",
    "crash after start",
    "crash while verifying",
    "crash while in doubt",
    "crash with pages outstanding",
    "crash after a receiver's yes",
    "crash with decisions in memory only",
    "reboot",
    "orderly stop",
    "long downtime",
    "restart that ran an idempotent step again",
    "restart that took an intent up again",
    "source failed",
    "source outage",
    "sample late",
    "samples missing",
    "scrape missing",
    "counter reset",
    "wall clock jumped",
    "clock went backwards",
    "reload",
    "reload that removed a rule",
    "reload that changed a rule",
    "files refused",
    "journal lost",
    "journal restored",
    "commit landed in spite of its error",
    "process ended by a conflict",
    "trigger pending",
    "trigger fired",
    "trigger cleared",
    "trigger removed",
    "source silent",
    "trigger blind",
    "incident escalated",
    "first failure",
    "dead letter",
    "receiver dead",
    "step ran",
    "step failed before its start",
    "step failed",
    "step failed, plan went on",
    "step timed out",
    "step hung",
    "step's start never reported",
    "step abandoned",
    "step in doubt",
    "step settled as done",
    "step settled as not done",
    "step's end came after its doubt",
    "rollback succeeded, verified",
    "rollback succeeded, no verification",
    "rollback partial",
    "rollback failed",
    "rollback timed out",
    "refused: shadow",
    "refused: joined",
    "refused: already run",
    "refused: cooldown",
    "refused: at most",
    "refused: journal",
    "refused: stopping",
    "refused: point of no return",
    "refused: isolated",
    "probe good",
    "probe bad",
    "isolation",
    "deployment announced",
    "deployment detected",
    "deployment succeeded",
    "deployment failed",
    "deployment rolled back",
    "deployment abandoned",
];

/// How often each thing happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    /// Counts one.
    pub(super) fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Adds another world's.
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// Returns how often `what` happened.
    pub fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Iterates over everything that happened.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, count)| (*what, *count))
    }
}
