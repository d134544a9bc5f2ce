//! What the journal says of its oldest events before it drops them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What proves the rest of a journal without its oldest events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalCheckpoint {
    /// The place of the first event that stays.
    pub first_kept: u64,
    /// The chain's hash at the event before it, in hexadecimal.
    pub hash: String,
    /// How many events of each kind are dropped.
    pub dropped: BTreeMap<String, u64>,
    /// The wall clock at the first of them, in milliseconds of Unix time.
    pub since_unix_ms: i64,
    /// The same at the last of them.
    pub until_unix_ms: i64,
    /// SHA-256 of the state as JSON that was stored just before this event, in hexadecimal.
    pub state: String,
    /// The hash of the files that were in force at the last of them, where it is known.
    pub files: Option<String>,
}
