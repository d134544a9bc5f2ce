//! The hash chain: each event's hash covers the one before it, so that no event can be changed, dropped or slipped in
//! without every later hash being wrong. The head's hash goes out in pages and heartbeats: anchors outside of this host.
//!
//! What is hashed, exactly, so that another program can check it (integers are big endian, `||` joins bytes):
//!
//! ```text
//! hash(0) = SHA-256("rearguard journal 1" || 0x00 || the journal's identity, UTF-8)
//! hash(n) = SHA-256(hash(n-1) || seq u64 || at_ms i64 || wall_unix_ms i64 || version u32 || length of body u64 || body)
//! ```
//!
//! `body` is the stored JSON text byte for byte: the check needs no JSON library, let alone the same one. What a step has
//! printed stands in a table of its own, and its SHA-256 in the body. Where the first events have been dropped, the chain
//! begins behind them, and a checkpoint event further on says with which hash.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ledger::Head;
use super::outputs;
use crate::engine::decision::{EVENT_VERSION, Event};
use crate::engine::model::JournalId;
use crate::engine::time::Timestamp;

/// The hash of an event and of all events before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// Returns the hash that stands before the first event of `journal`.
    pub fn genesis(journal: &JournalId) -> Self {
        let hasher = Sha256::new().chain_update(b"rearguard journal 1\0").chain_update(journal.as_str());
        Self(hasher.finalize().into())
    }

    /// Returns the hash's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Wraps stored bytes; `None` where there are not 32 of them.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the hash that follows `self` when an event of these parts is appended.
    pub(super) fn followed_by(
        self,
        seq: u64,
        at_ms: i64,
        wall_unix_ms: i64,
        version: u32,
        body: &str,
    ) -> Self {
        let hasher = Sha256::new()
            .chain_update(self.0)
            .chain_update(seq.to_be_bytes())
            .chain_update(at_ms.to_be_bytes())
            .chain_update(wall_unix_ms.to_be_bytes())
            .chain_update(version.to_be_bytes())
            .chain_update((body.len() as u64).to_be_bytes())
            .chain_update(body);
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ChainHash> for String {
    fn from(hash: ChainHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for ChainHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let byte = |at: usize| text.get(2 * at..2 * at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        let bytes = bytes.filter(|_| text.len() == 64).ok_or("expected 64 hexadecimal digits")?;
        Self::from_bytes(&bytes).ok_or("expected 64 hexadecimal digits")
    }
}

/// One event in the form in which it is stored and hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its place in the journal, counted from 1.
    pub seq: u64,
    /// When it was decided, in engine time.
    pub at: Timestamp,
    /// The wall clock at its commit, in milliseconds of Unix time: a label, never used for decisions.
    pub wall_unix_ms: i64,
    /// The version of the event types that wrote it.
    pub version: u32,
    /// The event as JSON, with the hash of what a step has printed in place of that.
    pub body: String,
    /// What a step has printed, as long as that is kept.
    pub output: Option<String>,
    /// The hash of it and of all before it.
    pub hash: ChainHash,
}

impl Link {
    /// Reads the event back, with what its step has printed.
    ///
    /// # Errors
    /// The body is not an event.
    pub fn event(&self) -> Result<Event, serde_json::Error> {
        serde_json::from_str(&outputs::put_together(&self.body, self.output.as_deref())?)
    }

    /// Returns the hash that this content has behind `head`.
    pub(super) fn hash_behind(&self, head: Head) -> ChainHash {
        head.hash.followed_by(self.seq, self.at.as_millis(), self.wall_unix_ms, self.version, &self.body)
    }

    /// Checks that this is what follows `head`.
    pub(super) fn check(&self, head: Head) -> Result<(), ChainBreak> {
        let seq = head.seq + 1;
        let broken = |problem: &str, expected: String, found: String| {
            Err(ChainBreak { seq, problem: problem.to_owned(), sides: Some((expected, found)) })
        };
        if self.seq != seq {
            return broken("it is missing", format!("event {seq}"), format!("event {}", self.seq));
        }
        let expected = self.hash_behind(head);
        if expected != self.hash {
            let problem = "its hash does not follow from its content and the event before it";
            return broken(problem, expected.to_string(), self.hash.to_string());
        }
        match &self.output {
            Some(output) if !outputs::belongs(&self.body, output) => broken(
                "what its step has printed is not what was recorded",
                "the text whose SHA-256 is in the event".to_owned(),
                format!("a text with SHA-256 {}", outputs::sha256(output)),
            ),
            _ => Ok(()),
        }
    }
}

/// Something that could be written and not be read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be recorded: {problem}; this is a defect of Rearguard, please report it")]
pub struct NotRecordable {
    /// What it is: `event 12`, `the snapshot at event 12`.
    pub what: String,
    /// Why not.
    pub problem: String,
}

/// The first place at which a stored chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal's hash chain is broken at event {seq}: {problem}")]
pub struct ChainBreak {
    /// The first event that does not fit.
    pub seq: u64,
    /// What is wrong with it.
    pub problem: String,
    /// What was expected there and what was found, where the two can be told.
    pub sides: Option<(String, String)>,
}

/// Brings `events` into the form in which they follow `head`.
///
/// The simulator's ledger uses it too, so that both give the same hashes.
///
/// # Errors
/// An event whose JSON does not read back as itself is refused here, loudly and in time: once stored, it would keep
/// the daemon from starting.
pub fn link_events(head: Head, wall_unix_ms: i64, events: &[Event]) -> Result<Vec<Link>, NotRecordable> {
    let mut hash = head.hash;
    let mut links = Vec::with_capacity(events.len());
    for (seq, event) in (head.seq + 1..).zip(events) {
        let (body, output) = encode(event)
            .and_then(outputs::take_apart)
            .map_err(|problem| NotRecordable { what: format!("event {seq}"), problem })?;
        let (at, version) = (event.at, EVENT_VERSION);
        hash = hash.followed_by(seq, at.as_millis(), wall_unix_ms, version, &body);
        links.push(Link { seq, at, wall_unix_ms, version, body, output, hash });
    }
    Ok(links)
}

/// Returns the value's JSON after having read it back.
pub(super) fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Result<String, String> {
    let body = serde_json::to_string(value).map_err(|error| error.to_string())?;
    let back: T = serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))?;
    // Texts are compared, not values: NaN does not equal itself.
    let again = serde_json::to_string(&back).map_err(|error| error.to_string())?;
    if again == body { Ok(body) } else { Err(format!("{body} reads back as {again}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decision::Happening;
    use crate::engine::evaluation::{Evidence, TriggerKey};
    use crate::engine::model::Labels;

    #[test]
    fn the_hash_is_what_the_documentation_says() {
        // Computed with Python's hashlib from the formula at the top of this file.
        let journal = JournalId::new("0f9a1c66-0000-4000-8000-000000000000");
        let genesis = ChainHash::genesis(&journal);
        assert_eq!(genesis.to_string(), "91ec5f7a890497fb3bfa219c9753548f48d392df3bfd1513a46d4cd1ceeda439");
        let event = Event { at: Timestamp::from_millis(1500), what: Happening::Stopping };
        let links = link_events(Head { seq: 0, hash: genesis }, 1_700_000_000_000, &[event]).unwrap();
        assert_eq!(links[0].body, r#"{"at":1500,"what":"stopping"}"#);
        assert_eq!(
            links[0].hash.to_string(),
            "79d5bb58760194b6be8b5f8cc17fb0facde894a188932321797d0aef3a41946e"
        );
    }

    #[test]
    fn hashes_read_back_from_text_and_nothing_else_does() {
        let hash = ChainHash::genesis(&JournalId::new("x"));
        assert_eq!(ChainHash::try_from(hash.to_string()), Ok(hash));
        for text in ["", "00", &"g".repeat(64), &"0".repeat(66), &"é".repeat(32)] {
            assert!(ChainHash::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_that_json_does_not_know_can_be_recorded() {
        let key =
            TriggerKey { target: "app".into(), trigger: "ErrorRateHigh".into(), labels: Labels::empty() };
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1 + 0.2, 5e-324] {
            let evidence = Evidence {
                value,
                threshold: Some(0.02),
                condition: "error_rate > 2%".to_owned(),
                shown: String::new(),
                newest_sample: None,
                labels: crate::engine::model::Labels::empty(),
            };
            let what = Happening::TriggerFiring {
                key: key.clone(),
                since: Timestamp::ZERO,
                evidence: Some(evidence),
            };
            let head = Head { seq: 0, hash: ChainHash::genesis(&JournalId::new("x")) };
            assert!(link_events(head, 0, &[Event { at: Timestamp::ZERO, what }]).is_ok(), "{value}");
        }
    }
}
