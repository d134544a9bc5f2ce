//! What is waited on, since when, and why nothing was done.

use serde::{Deserialize, Serialize};

use crate::engine::time::Span;

/// The reasons of one decision. "No" has one too.
#[must_use = "an unread report cannot be acted on"]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// One line per subject.
    pub lines: Vec<ReportLine>,
}

/// Why one subject is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportLine {
    /// A trigger, a rollback, a receiver.
    pub subject: String,
    /// Why nothing (more) was done.
    pub reason: Reason,
}

/// Why nothing (more) was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The condition is met, but not for long enough yet.
    WindowFilling {
        /// How much of the window is proven to be breached.
        breached: Span,
        /// The window's length.
        of: Span,
    },
    /// The condition is met, but not at enough observations yet.
    Counting {
        /// How many breaches the window holds.
        seen: u32,
        /// How many it takes.
        needed: u32,
    },
    /// The promise holds again, but what clears the trigger is not met yet; the text says what.
    NotClear(String),
    /// A higher level of the same trigger fires; the text says which.
    Outranked(String),
    /// It cannot be judged; the text says why.
    Blind(String),
    /// A rollback was wanted and not begun; the text says why.
    NotBegun(String),
    /// An outcome came for an effect that nobody waits for.
    NotAwaited(String),
    /// A wish cannot be granted; the text says why.
    Denied(String),
    /// A record that does not fit the state was dropped: a bug.
    Illegal(String),
}

impl Report {
    /// Adds a line.
    pub fn add(&mut self, subject: impl Into<String>, reason: Reason) {
        self.lines.push(ReportLine { subject: subject.into(), reason });
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WindowFilling { breached, of } => write!(f, "breached for {breached} of {of}"),
            Self::Counting { seen, needed } => write!(f, "breached at {seen} of {needed} observations"),
            Self::NotClear(what) => write!(f, "fires until: {what}"),
            Self::Outranked(above) => write!(f, "no incident of its own: {above} fires"),
            Self::Blind(why) => write!(f, "cannot be judged: {why}"),
            Self::NotBegun(why) => write!(f, "no rollback: {why}"),
            Self::NotAwaited(why) => write!(f, "nobody waits for it: {why}"),
            Self::Denied(why) => write!(f, "not possible: {why}"),
            Self::Illegal(why) => write!(f, "internal error, please report it: {why}"),
        }
    }
}
