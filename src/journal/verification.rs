//! The proof that nothing in a journal was changed: the whole chain, from its first event or from where a checkpoint says
//! that it begins.

use std::fmt;

use rusqlite::Connection;
use serde::Serialize;

use super::chain::{ChainBreak, ChainHash, Link};
use super::database;
use super::error::Fault;
use super::ledger::Head;
use super::outputs;
use super::projection::number;
use super::reader::{self, ReadError, Reader};
use super::store::decode;
use crate::engine::decision::{Event, Happening, JournalCheckpoint};
use crate::engine::model::JournalId;

/// What a verification has proven.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    /// The last event and its hash.
    pub head: Head,
    /// The place of the first event that is there; higher than 1 where older ones were dropped.
    pub first: u64,
    /// The wall clock at the first event, in milliseconds of Unix time.
    pub first_unix_ms: i64,
    /// The same at the last.
    pub last_unix_ms: i64,
    /// The checkpoint event that proves where the chain begins, where older events were dropped.
    pub checkpoint: Option<u64>,
    /// The event whose hash the anchor is, where one was asked for and is there.
    pub anchored: Option<Anchored>,
}

/// The event that an anchor names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Anchored {
    /// Its place.
    pub seq: u64,
    /// Its hash, whole.
    pub hash: ChainHash,
    /// The wall clock at its commit, in milliseconds of Unix time.
    pub wall_unix_ms: i64,
    /// What happened, in words.
    pub what: String,
}

/// One stored event, sound or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// As it is stored.
    pub link: Link,
    /// What it says, or why it cannot be read.
    pub event: Result<Event, String>,
    /// Why it does not follow from what is before it, if it does not.
    pub broken: Option<ChainBreak>,
}

impl fmt::Display for Anchored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}: {}", self.seq, self.what)
    }
}

impl Reader {
    /// Checks every event's hash from the first to the last, and that the last is the one of the last commit.
    ///
    /// # Errors
    /// The first place at which the chain does not hold, or at which the file cannot be read.
    pub fn verify_chain(&self) -> Result<Head, ChainBreak> {
        self.verify(None).map(|verified| verified.head)
    }

    /// Checks the file's structure, every event's hash, that a checkpoint speaks of what was dropped, and looks for
    /// `anchor`: a hash from an old page, or its beginning.
    ///
    /// # Errors
    /// The first place at which the chain does not hold, or at which the file cannot be read.
    pub fn verify(&self, anchor: Option<&str>) -> Result<Verified, ChainBreak> {
        let mut walk = Walk::new(anchor, Head { seq: 0, hash: ChainHash::genesis(self.id()) });
        match walk.check(&self.connection, self.id()) {
            Ok(()) => Ok(walk.verified),
            Err(Fault::Break(broken)) => Err(broken),
            Err(fault) => {
                let seq = walk.verified.head.seq + 1;
                Err(ChainBreak { seq, problem: fault.problem(), sides: None })
            }
        }
    }

    /// Hands every stored event to `each`, oldest first, also those that are broken; ends early where `each` says so.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn entries(&self, mut each: impl FnMut(Entry) -> bool) -> Result<(), ReadError> {
        let mut read = || -> Result<(), Fault> {
            let transaction = self.connection.unchecked_transaction()?;
            let mut head = reader::start(&transaction, self.id())?;
            reader::each_link(&transaction, |link| {
                let link = link?;
                let broken = link.check(head).err();
                head = Head { seq: link.seq, hash: link.hash };
                let event = decode(&link).map_err(|fault| fault.problem());
                if each(Entry { link, event, broken }) { Ok(()) } else { Err(Fault::Enough) }
            })
        };
        match read() {
            Ok(()) | Err(Fault::Enough) => Ok(()),
            Err(fault) => Err(self.failed(&fault)),
        }
    }

    /// Returns the hash of the files that were in force where the chain begins, where events were dropped.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn files_at_start(&self) -> Result<Option<String>, ReadError> {
        let read = || -> Result<Option<String>, Fault> {
            let first = reader::start(&self.connection, self.id())?.seq + 1;
            let mut statement =
                self.connection.prepare("SELECT files FROM checkpoints WHERE first_kept = ?1")?;
            let mut rows = statement.query([number(first)])?;
            Ok(rows.next()?.map(|row| row.get(0)).transpose()?.flatten())
        };
        read().map_err(|fault| self.failed(&fault))
    }
}

/// A verification under way.
struct Walk<'a> {
    anchor: Option<&'a str>,
    start: Head,
    verified: Verified,
}

impl<'a> Walk<'a> {
    fn new(anchor: Option<&'a str>, start: Head) -> Self {
        let verified = Verified {
            head: start,
            first: 1,
            first_unix_ms: 0,
            last_unix_ms: 0,
            checkpoint: None,
            anchored: None,
        };
        Self { anchor, start, verified }
    }

    fn check(&mut self, connection: &Connection, journal: &JournalId) -> Result<(), Fault> {
        // One read transaction: what the daemon appends meanwhile is not half seen.
        let transaction = connection.unchecked_transaction()?;
        self.start = reader::start(&transaction, journal)?;
        let mut head = self.start;
        self.verified.head = head;
        let walked = reader::walk(&transaction, &mut head, |link, event| {
            self.take(&transaction, journal, &link, &event)
        });
        self.verified.head = head;
        walked?;
        if self.start.seq > 0 && self.verified.checkpoint.is_none() {
            return Err(Fault::Break(ChainBreak {
                seq: 1,
                problem: format!(
                    "events 1 to {} are missing, and no checkpoint tells of them",
                    self.start.seq
                ),
                sides: None,
            }));
        }
        match reader::last_commit(&transaction)? {
            Some(last) if last.head != head => {
                return Err(Fault::Break(ChainBreak {
                    seq: head.seq + 1,
                    problem: "the file does not end where the last commit ended".to_owned(),
                    sides: Some((
                        format!("event {} with {} at the end", last.head.seq, last.head.hash),
                        format!("event {} with {}", head.seq, head.hash),
                    )),
                }));
            }
            None if head.seq > 0 => {
                return Err(Fault::Damaged("there are events without a commit".to_owned()));
            }
            _ => {}
        }
        match database::quick_check(&transaction)? {
            Some(problem) => Err(Fault::Damaged(format!("the events hold, but not the file: {problem}"))),
            None => Ok(()),
        }
    }

    fn take(
        &mut self,
        connection: &Connection,
        journal: &JournalId,
        link: &Link,
        event: &Event,
    ) -> Result<(), Fault> {
        if link.seq == self.start.seq + 1 {
            (self.verified.first, self.verified.first_unix_ms) = (link.seq, link.wall_unix_ms);
        }
        self.verified.last_unix_ms = link.wall_unix_ms;
        if let Some(anchor) = self.anchor
            && link.hash.to_string().starts_with(anchor)
        {
            self.verified.anchored = Some(Anchored {
                seq: link.seq,
                hash: link.hash,
                wall_unix_ms: link.wall_unix_ms,
                what: event.what.to_string(),
            });
        }
        if let Happening::JournalCheckpoint(checkpoint) = &event.what {
            let JournalCheckpoint { first_kept, hash, state, .. } = checkpoint;
            self.take_checkpoint(connection, journal, link.seq, (first_kept.saturating_sub(1), hash), state)?;
        }
        Ok(())
    }

    /// Checks what a checkpoint at `seq` says of the event before the first that it kept, and of the state.
    fn take_checkpoint(
        &mut self,
        connection: &Connection,
        journal: &JournalId,
        seq: u64,
        (before, hash): (u64, &str),
        state: &str,
    ) -> Result<(), Fault> {
        // What an older one says was dropped with what it speaks of.
        if before < self.start.seq {
            return Ok(());
        }
        let found = reader::hash_at(connection, journal, before)?.map(|hash| hash.to_string());
        if found.as_deref() != Some(hash) {
            let found = found.unwrap_or_else(|| "no such event".to_owned());
            return Err(Fault::Break(ChainBreak {
                seq: before,
                problem: format!("the checkpoint at event {seq} has seen it otherwise"),
                sides: Some((hash.to_owned(), found)),
            }));
        }
        self.verified.checkpoint = Some(seq);
        let mut statement = connection.prepare_cached("SELECT state FROM snapshots WHERE seq = ?1")?;
        let mut rows = statement.query([number(seq.saturating_sub(1))])?;
        let Some(row) = rows.next()? else { return Ok(()) };
        let kept = outputs::sha256(&row.get::<_, String>(0)?);
        if kept == state {
            return Ok(());
        }
        Err(Fault::Break(ChainBreak {
            seq,
            problem: "the state that is kept with this checkpoint is not the one that it was made with"
                .to_owned(),
            sides: Some((state.to_owned(), kept)),
        }))
    }
}
