//! One answer of a source, or its failure, which is an answer too.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::model::{Sample, SourceName};
use crate::engine::time::{Span, Timestamp};

/// What a source said at one time.
///
/// A scrape is whole or it failed: there is no half an answer (E2).
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The source that was asked.
    pub source: SourceName,
    /// When it was asked, in engine time; samples without a timestamp of their own carry this one.
    pub at: Timestamp,
    /// How long the answer took.
    pub took: Span,
    /// The samples, with the source's own labels (`job`, `instance`) already on them; or why there are none.
    pub answer: Result<Vec<Sample>, SourceFailure>,
    /// What the answer was in words, one line: a probe's `answered 503, expected 200`. For people; nothing rests on it.
    pub told: Option<String>,
}

/// The series that every probe shows: 1 where its answer was good, 0 where it was bad.
pub const PROBE_SUCCESS: &str = "probe_success";

/// Every series that a probe can show, called as blackbox_exporter calls them; each carries the probe's name in `source`.
pub const PROBE_SERIES: [&str; 4] =
    [PROBE_SUCCESS, "probe_duration_seconds", "probe_http_status_code", "probe_value"];

/// Why a source gave no samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFailure {
    /// The kind, for decisions and counters.
    pub kind: FailureKind,
    /// What exactly, for people: one line, control characters escaped.
    pub message: String,
}

/// The kinds of failure that decisions tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Nobody listens, the name does not resolve, or there is no route.
    Unreachable,
    /// No whole answer within the source's timeout.
    TimedOut,
    /// An answer with a status other than the expected one.
    BadStatus,
    /// An answer that is not exposition text, or is cut off, or has one bad line.
    Malformed,
    /// An answer larger than the source's limits.
    TooLarge,
}

impl fmt::Display for SourceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
