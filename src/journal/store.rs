//! The journal's writer: one transaction per batch, and no trust in a connection that has failed once.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::chain::{ChainHash, Link, NotRecordable, encode, link_events};
use super::database::{self, Durability};
use super::error::Fault;
use super::ledger::{Batch, ClockReading, CommitError, Head, Ledger};
use super::lock::StateLock;
use super::projection::{self, number};
use super::schema::{self, fact};
use super::{reader, recovery};
use crate::engine::decision::{Effect, EffectClass, Event};
use crate::engine::model::JournalId;

/// The writer of `journal.sqlite`. There is one per state directory; it holds the directory's lock.
#[derive(Debug)]
pub struct Journal {
    pub(super) path: PathBuf,
    pub(super) id: JournalId,
    pub(super) epoch: u64,
    /// `None` after a failure: the next write opens the file anew.
    pub(super) connection: Option<Connection>,
    /// Device and inode of the file that was opened; no other one is written to.
    pub(super) file: (u64, u64),
    /// Held, never read: it ends with the journal.
    pub(super) _lock: StateLock,
}

/// The last set of files that was good: what runs when the files on disk are bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoodSetup {
    /// Its hash, as in `SetupLoaded`.
    pub fingerprint: String,
    /// Each file's path and text, in the order in which they were loaded.
    pub files: Vec<(String, String)>,
}

/// What is kept with each commit besides the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastCommit {
    pub(super) clock: ClockReading,
    pub(super) head: Head,
}

impl Ledger for Journal {
    fn commit(&mut self, batch: &Batch) -> Result<Head, CommitError> {
        self.write(|journal, transaction| journal.append(transaction, batch))
    }
}

impl Journal {
    /// Returns the journal's identity.
    pub fn id(&self) -> &JournalId {
        &self.id
    }

    /// Returns the epoch that opening the journal began.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Stores engine state as it is after event `seq`, and drops all but the newest two snapshots and the checkpoint's.
    ///
    /// Two, so that recovery has another one to start from where the newest is damaged. The checkpoint's, because the events
    /// before it may be gone: nothing else could stand in for it.
    ///
    /// # Errors
    /// As [`Ledger::commit`]; a `seq` past the head is a [`CommitError::Conflict`]. Nothing is lost by a failure: the
    /// events are all there.
    pub fn snapshot<S>(&mut self, seq: u64, state: &S) -> Result<(), CommitError>
    where
        S: Serialize + DeserializeOwned,
    {
        let state = recordable(&format!("the snapshot at event {seq}"), state)?;
        self.write(|journal, transaction| {
            journal.fence(transaction, journal.epoch)?;
            let head = journal.head(transaction)?;
            let hash = match journal.hash_at(transaction, seq)? {
                Some(hash) => hash,
                None => return Err(CommitError::Conflict { expected: seq, head, landed: false }),
            };
            let digest = schema::snapshot_digest(seq, hash.as_bytes(), &state);
            let sql = "INSERT OR REPLACE INTO snapshots (seq, state, hash, digest) VALUES (?1, ?2, ?3, ?4)";
            let cut = "DELETE FROM snapshots
                       WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT 2)
                         AND seq + 1 IS NOT (SELECT max(seq) FROM checkpoints)";
            transaction
                .execute(sql, params![number(seq), state, hash.as_bytes(), digest])
                .and_then(|_| transaction.execute(cut, []))
                .map(drop)
                .map_err(|error| journal.failed(error))
        })
    }

    /// Stores the set of files that has just come into force.
    ///
    /// # Errors
    /// As [`Ledger::commit`].
    pub fn save_good_setup(&mut self, setup: &GoodSetup) -> Result<(), CommitError> {
        let body = recordable("the last good set of files", setup)?;
        self.write(|journal, transaction| {
            journal.fence(transaction, journal.epoch)?;
            schema::put_fact(transaction, fact::GOOD_SETUP, &body).map_err(|error| journal.failed(error))
        })
    }

    /// Empties the incident, rollback and outbox tables and fills them again from the events.
    ///
    /// # Errors
    /// As [`Ledger::commit`]; the tables are then as before.
    pub fn rebuild_projections(&mut self) -> Result<(), CommitError> {
        self.write(|journal, transaction| {
            let rebuild = || {
                projection::clear(transaction)?;
                let mut head = reader::start(transaction, &journal.id)?;
                reader::walk(transaction, &mut head, |link, event| {
                    projection::apply(transaction, &link, &event).map_err(Fault::Sql)
                })
            };
            journal.fence(transaction, journal.epoch)?;
            rebuild().map_err(|fault: Fault| fault.on_commit(&journal.path))
        })
    }

    /// Runs `work` in one transaction and makes it durable.
    ///
    /// A connection on which the disk has failed is thrown away and never used again: after a failed sync the kernel
    /// may forget that the pages were never written, and the next sync on the same connection would pass for success.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&Self, &Transaction<'_>) -> Result<T, CommitError>,
    ) -> Result<T, CommitError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reopen()?,
        };
        let result = self.write_on(&mut connection, work);
        if !matches!(result, Err(CommitError::Storage { .. })) {
            self.connection = Some(connection);
        }
        result
    }

    fn write_on<T>(
        &self,
        connection: &mut Connection,
        work: impl FnOnce(&Self, &Transaction<'_>) -> Result<T, CommitError>,
    ) -> Result<T, CommitError> {
        self.check_file()?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| self.failed(error))?;
        let done = work(self, &transaction)?;
        transaction.commit().map_err(|error| self.failed(error))?;
        Ok(done)
    }

    /// Makes sure that the path still names the file that is open: writes to a deleted file succeed and are lost.
    fn check_file(&self) -> Result<(), CommitError> {
        let problem = match database::file_identity(&self.path) {
            Ok(file) if file == self.file => return Ok(()),
            Ok(_) => "another file has been put in its place".to_owned(),
            Err(error) => error.to_string(),
        };
        let remedy = "put the file back, or restart the daemon to begin a new journal";
        Err(CommitError::Storage { path: self.path.clone(), problem, remedy })
    }

    /// Opens the file anew after a failure and makes everything that it shows durable before it is believed.
    fn reopen(&self) -> Result<Connection, CommitError> {
        // Before SQLite looks at it: it would apply the log beside it to whatever file is there now, and spoil that.
        self.check_file()?;
        let failed = |fault: Fault| fault.on_commit(&self.path);
        let connection = database::open_to_write(&self.path, Durability::Full)
            .map_err(|error| failed(Fault::Sql(error)))?;
        // What the log holds may be in memory only, if a sync of it failed. Copied into the main file and synced there
        // it is on disk, or this fails.
        let busy: i64 = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(|error| failed(Fault::Sql(error)))?;
        if busy == 0 {
            return Ok(connection);
        }
        Err(failed(Fault::Sql(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some("its log cannot be written back while another program reads it".to_owned()),
        ))))
    }

    fn append(&self, transaction: &Transaction<'_>, batch: &Batch) -> Result<Head, CommitError> {
        self.fence(transaction, batch.epoch)?;
        let head = self.head(transaction)?;
        if head.seq != batch.expected_seq {
            let landed = self.has_landed(transaction, batch, head)?;
            return Err(CommitError::Conflict { expected: batch.expected_seq, head, landed });
        }
        let links = link_events(head, batch.clock.wall_unix_ms, &batch.events)?;
        let head = links.last().map_or(head, |link| Head { seq: link.seq, hash: link.hash });
        let last = recordable("the clock", &LastCommit { clock: batch.clock.clone(), head })?;
        // Intents come first: an event of the same batch may already tell of their start.
        let rows = || {
            batch.intents.iter().try_for_each(|effect| insert_intent(transaction, head.seq, effect))?;
            links.iter().zip(&batch.events).try_for_each(|(link, event)| {
                insert_event(transaction, link)?;
                projection::apply(transaction, link, event)
            })?;
            schema::put_fact(transaction, fact::LAST_COMMIT, &last)
        };
        rows().map_err(|error| self.failed(error))?;
        Ok(head)
    }

    /// Returns whether exactly `batch` stands between the place that it expects and `head`.
    fn has_landed(&self, tx: &Transaction<'_>, batch: &Batch, head: Head) -> Result<bool, CommitError> {
        let Some(hash) = self.hash_at(tx, batch.expected_seq)? else { return Ok(false) };
        let before = Head { seq: batch.expected_seq, hash };
        let links = link_events(before, batch.clock.wall_unix_ms, &batch.events)?;
        Ok(links.last().is_some_and(|link| link.seq == head.seq && link.hash == head.hash))
    }

    /// Makes sure that no other daemon has opened the journal since.
    pub(super) fn fence(&self, transaction: &Transaction<'_>, ours: u64) -> Result<(), CommitError> {
        let journal: u64 = schema::need_fact(transaction, fact::EPOCH).map_err(|fault| self.fault(fault))?;
        if journal == ours { Ok(()) } else { Err(CommitError::Fenced { ours, journal }) }
    }

    pub(super) fn head(&self, transaction: &Transaction<'_>) -> Result<Head, CommitError> {
        reader::head(transaction, &self.id).map_err(|fault| self.fault(fault))
    }

    fn hash_at(&self, transaction: &Transaction<'_>, seq: u64) -> Result<Option<ChainHash>, CommitError> {
        reader::hash_at(transaction, &self.id, seq).map_err(|fault| self.fault(fault))
    }

    pub(super) fn failed(&self, error: rusqlite::Error) -> CommitError {
        self.fault(Fault::Sql(error))
    }

    pub(super) fn fault(&self, fault: Fault) -> CommitError {
        fault.on_commit(&self.path)
    }

    /// Moves a damaged journal out of the way and returns where to; `None` where the file was gone already.
    ///
    /// The next [`Journal::open`] then begins a new journal. Whoever calls this must tell people that state was lost.
    ///
    /// # Errors
    /// The lock is held by another daemon, or the file system said no.
    pub fn set_aside(state_dir: &Path) -> Result<Option<PathBuf>, super::OpenError> {
        recovery::set_aside(state_dir)
    }
}

/// Returns a value as JSON after having made sure that it reads back.
fn recordable<T: Serialize + DeserializeOwned>(what: &str, value: &T) -> Result<String, CommitError> {
    let unreadable = |problem| NotRecordable { what: what.to_owned(), problem };
    Ok(encode(value).map_err(unreadable)?)
}

fn insert_event(connection: &Connection, link: &Link) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO events (seq, at_ms, wall_unix_ms, version, body, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let place = (number(link.seq), link.at.as_millis(), link.wall_unix_ms);
    statement.execute(params![place.0, place.1, place.2, link.version, link.body, link.hash.as_bytes()])?;
    let Some(output) = &link.output else { return Ok(()) };
    let mut statement = connection.prepare_cached("INSERT INTO outputs (seq, text) VALUES (?1, ?2)")?;
    statement.execute(params![place.0, output]).map(drop)
}

/// Stores what the shell is about to be asked. An effect has one row, however often it is asked for again.
fn insert_intent(connection: &Connection, seq: u64, effect: &Effect) -> rusqlite::Result<()> {
    let class = match effect.class() {
        EffectClass::Act => "act",
        EffectClass::Page => "page",
    };
    let payload = serde_json::to_string(effect)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let asked_again = match effect {
        Effect::PrepareStep(_) | Effect::Deliver(_) => "payload = excluded.payload",
        Effect::ReleaseStep(_) => "released_seq = excluded.intended_seq",
        Effect::AbandonStep(_) => "abandoned_seq = excluded.intended_seq",
    };
    let sql = format!(
        "INSERT INTO intents (effect, class, payload, intended_seq) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (effect) DO UPDATE SET {asked_again}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.execute(params![number(effect.id().0), class, payload, number(seq)]).map(drop)
}

/// Reads an event back from its row.
pub(super) fn decode(link: &Link) -> Result<Event, Fault> {
    link.event().map_err(|error| Fault::Damaged(format!("event {} is unreadable: {error}", link.seq)))
}
