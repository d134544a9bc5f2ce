//! The story that the terminal tells: from what happened to lines of text, without a clock and without a terminal.
//!
//! Everything that it says comes from an event of the daemon's journal, from what a stand-in received, or from what the
//! demo itself did to the app. So the story cannot say more than the journal knows.

mod line;
mod summary;
mod telling;
#[cfg(test)]
pub mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use line::{LABEL_WIDTH, Line, Mark, Paint, TEXT_AT};
pub use summary::{closing, summary};

use super::app::Version;
use super::arrival::Arrival;
use crate::engine::evaluation::Verdict;
use crate::engine::model::{EffectId, IncidentId, JournalId, ReceiverName, RollbackId};
use crate::engine::time::{Span, Timestamp};
use crate::journal::Record;

/// One thing that the story knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// The daemon's journal has it.
    Event(Box<Record>),
    /// A stand-in received it.
    Arrival(Arrival),
    /// The demo did it.
    Deed {
        /// When, in milliseconds of Unix time.
        wall_unix_ms: i64,
        /// What.
        what: Deed,
    },
}

impl Item {
    /// Returns when it happened, in milliseconds of Unix time.
    pub fn wall_unix_ms(&self) -> i64 {
        match self {
            Self::Event(record) => record.wall_unix_ms,
            Self::Arrival(arrival) => arrival.wall_unix_ms,
            Self::Deed { wall_unix_ms, .. } => *wall_unix_ms,
        }
    }
}

/// Puts what came in over several ways back into the order in which it happened.
///
/// A page may be heard of before the event that decided it: the page comes straight from the daemon, the event by way of
/// the journal. So everything is held back for a moment.
#[derive(Default)]
pub struct Sequence {
    held: VecDeque<Item>,
}

impl Sequence {
    /// Takes in what was just heard of.
    pub fn put(&mut self, item: Item) {
        // Behind everything that is not younger: events that were decided in one instant keep their order.
        let at = self.held.partition_point(|held| held.wall_unix_ms() <= item.wall_unix_ms());
        self.held.insert(at, item);
    }

    /// Returns the next item that happened no later than `until_wall_unix_ms`.
    pub fn next(&mut self, until_wall_unix_ms: i64) -> Option<Item> {
        self.held.pop_front_if(|item| item.wall_unix_ms() <= until_wall_unix_ms)
    }
}

/// What the demo does to its own app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The app runs and users use it.
    Started,
    /// A deployment is planned.
    Planned {
        /// What will be deployed.
        version: Version,
        /// When, in milliseconds of Unix time.
        at_wall_unix_ms: i64,
    },
    /// A deployment was made.
    Deployed(Version),
}

/// Something that takes time, from its begin to its expected end: drawn as a bar while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it is, for the column of labels.
    pub label: &'static str,
    /// What it is about.
    pub text: String,
    /// When it began, in milliseconds of Unix time.
    pub from_wall_unix_ms: i64,
    /// When it ends, in milliseconds of Unix time.
    pub until_wall_unix_ms: i64,
}

/// Turns items into lines, in the order in which they come.
pub struct Teller {
    started_wall_unix_ms: i64,
    journal: Option<JournalId>,
    reasons: BTreeMap<IncidentId, String>,
    rollbacks: BTreeMap<RollbackId, Run>,
    steps: BTreeMap<EffectId, Step>,
    pages_refused: usize,
    failing: BTreeSet<ReceiverName>,
    waiting: Option<Waiting>,
}

/// What the story remembers of a run of a plan.
struct Run {
    decided_at: Timestamp,
    steps: usize,
    /// The last verdict that was told, per condition.
    told: Vec<Verdict>,
    last_step_ended: Option<Timestamp>,
}

/// What the story remembers of a step.
struct Step {
    rollback: RollbackId,
    name: String,
    index: usize,
}

impl Teller {
    /// Returns a teller whose times count from `started_wall_unix_ms`.
    pub fn new(started_wall_unix_ms: i64) -> Self {
        Self {
            started_wall_unix_ms,
            journal: None,
            reasons: BTreeMap::new(),
            rollbacks: BTreeMap::new(),
            steps: BTreeMap::new(),
            pages_refused: 0,
            failing: BTreeSet::new(),
            waiting: None,
        }
    }

    /// Returns what there is to say about `item`; often one line, sometimes none.
    pub fn tell(&mut self, item: &Item) -> Vec<Line> {
        match item {
            Item::Event(record) => self.tell_event(record),
            Item::Arrival(arrival) => self.tell_arrival(arrival),
            Item::Deed { wall_unix_ms, what } => self.tell_deed(*wall_unix_ms, *what),
        }
    }

    /// Returns what is being waited for.
    pub fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }

    /// Returns the time since the story began.
    pub fn since_start(&self, wall_unix_ms: i64) -> Span {
        Span::from_millis(wall_unix_ms - self.started_wall_unix_ms)
    }
}

/// Shortens a dedup key to what tells it from others: keys begin with their journal's long identity.
fn shortened(key: &str, journal: Option<&JournalId>) -> String {
    match journal.and_then(|journal| key.strip_prefix(journal.as_str())) {
        Some(rest) => format!("…{rest}"),
        None => key.to_owned(),
    }
}

/// Prints a duration the way people time things: `4ms`, `12.3s`.
pub fn seconds(span: Span) -> String {
    match span.as_millis() {
        ms @ -999..1000 => format!("{ms}ms"),
        _ => format!("{:.1}s", span.as_secs_f64()),
    }
}
