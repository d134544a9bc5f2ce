//! What happened in a test: events, remarks of the world, reasons, and what things looked like at the times asked for.

use std::collections::BTreeMap;

use super::super::notation;
use super::expectation::Standing;
use crate::engine::decision::Event;
use crate::engine::evaluation::{TriggerKey, TriggerLook};
use crate::engine::model::Labels;
use crate::engine::promql::{Problem, TextSpan};
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

/// Splits the labels off a trigger's name: `Name{region="eu"}` is one series of a trigger with `per`.
///
/// # Errors
///
/// What is wrong with the labels.
pub(super) fn with_labels(name: &str) -> Result<(&str, Labels), Problem> {
    let Some(open) = name.find('{') else { return Ok((name, Labels::empty())) };
    let (labels, end) = notation::series(&name[open..])?;
    let rest = name[open + end..].trim();
    if rest.is_empty() {
        Ok((name[..open].trim_end(), labels))
    } else {
        let span = TextSpan::new(end, name.len() - open);
        Err(Problem::new(span, format!("nothing may follow the labels, found `{rest}`")))
    }
}

/// Returns whether a name that a test uses means this trigger: `Name`, or `target/Name`; with labels, only the series
/// that have all of them.
pub(super) fn is_called(key: &TriggerKey, name: &str) -> bool {
    // What is wrong with labels has been told where they are read.
    let Ok((name, labels)) = with_labels(name) else { return false };
    if !labels.iter().all(|(label, value)| key.labels.get(label) == Some(value)) {
        return false;
    }
    key.trigger.as_str() == name
        || name
            .split_once('/')
            .is_some_and(|(target, trigger)| key.target.as_str() == target && key.trigger.as_str() == trigger)
}
