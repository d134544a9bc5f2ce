//! What happened in a test: events, remarks of the world, reasons, and what things looked like at the times asked for.

use std::collections::BTreeMap;

use super::expectation::Standing;
use crate::engine::decision::Event;
use crate::engine::evaluation::{TriggerKey, TriggerLook};
use crate::engine::report::Reason;
use crate::engine::time::Span;

/// Everything that a test's expectations are laid beside.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    /// How long it was played.
    pub(super) lasted: Span,
    pub(super) lines: Vec<Line>,
    /// Why subjects are where they are, each with when that was first said.
    pub(super) reasons: BTreeMap<String, Vec<(Span, Reason)>>,
    /// What things looked like at the times that states are expected at, or that fit the rest.
    pub(super) looks: BTreeMap<Span, Look>,
    /// Why it could not be played to its end.
    pub(super) broken: Option<(Span, String)>,
}

/// One line of what happened.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Since the test's start.
    pub(super) at: Span,
    pub(super) told: Told,
}

/// What a line tells.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// Of the engine.
    Event(Box<Event>),
    /// Of the world outside.
    World(String),
}

/// What things look like at one time, once everything that is due then has happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// `None` while the daemon is down.
    pub(super) triggers: Option<Vec<(TriggerLook, Standing)>>,
    /// What expressions give, by their texts.
    pub(super) queries: BTreeMap<String, Result<Vec<f64>, String>>,
}

impl Line {
    /// Returns what happened in words.
    pub(super) fn text(&self) -> String {
        match &self.told {
            Told::Event(event) => event.what.to_string(),
            Told::World(remark) => format!("-- {remark}"),
        }
    }
}

impl Story {
    /// Notes why a subject is where it is, where that is news.
    pub(super) fn note_reason(&mut self, at: Span, subject: &str, reason: &Reason) {
        let known = self.reasons.entry(subject.to_owned()).or_default();
        if known.last().is_none_or(|(_, last)| last != reason) {
            known.push((at, reason.clone()));
        }
    }

    /// Returns the last reason that was given for a subject up to a time.
    pub(super) fn reason(&self, subject: &str, at: Span) -> Option<&(Span, Reason)> {
        self.reasons.get(subject)?.iter().rev().find(|(said, _)| *said <= at)
    }
}

/// Returns whether a name that a test uses means this trigger: `Name`, or `target/Name`.
pub(super) fn is_called(key: &TriggerKey, name: &str) -> bool {
    key.trigger.as_str() == name
        || name
            .split_once('/')
            .is_some_and(|(target, trigger)| key.target.as_str() == target && key.trigger.as_str() == trigger)
}
