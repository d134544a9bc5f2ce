//! A read-only second connection: what commands and the status page ask the journal.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::chain::{ChainHash, Link};
use super::database;
use super::error::{Fault, OpenError};
use super::ledger::Head;
use super::projection::number;
use super::recovery;
use super::schema::{self, fact};
use super::store::{LastCommit, decode};
use crate::engine::decision::{Cause, EVENT_VERSION, Event, Happening};
use crate::engine::model::{IncidentId, JournalId, Severity, TargetName};
use crate::engine::time::Timestamp;

/// How many events before an incident's opening are searched for the first breach of its trigger.
const BEFORE_OPENING_MAX: usize = 1000;

/// How events are read: with what their steps have printed, as long as that is kept.
const EVENTS: &str =
    "SELECT events.*, outputs.text AS output FROM events LEFT JOIN outputs ON outputs.seq = events.seq";

/// What files of the first version lack, beside them in memory: a reader cannot bring a file to another version.
const LACKING: &str = "
    CREATE TEMP TABLE outputs (seq INTEGER PRIMARY KEY, text TEXT NOT NULL);
    CREATE TEMP TABLE checkpoints (seq INTEGER PRIMARY KEY, first_kept INTEGER, hash TEXT, files TEXT);
";

/// A journal opened for reading; takes no lock and never writes, so it may run beside the daemon.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    id: JournalId,
    pub(super) connection: Connection,
}

/// One event with its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the journal, counted from 1.
    pub seq: u64,
    /// The wall clock at its commit, in milliseconds of Unix time.
    pub wall_unix_ms: i64,
    /// What happened.
    pub event: Event,
}

/// Which incidents are wanted; by default all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentsWanted {
    /// Only those that are open.
    pub open: bool,
    /// Only those that were open at this instant of wall time or later, in milliseconds of Unix time.
    pub since_unix_ms: Option<i64>,
    /// Only those of this target.
    pub target: Option<TargetName>,
}

/// One incident as the incident table has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IncidentRow {
    /// Its id.
    pub id: IncidentId,
    /// What is guarded.
    pub target: TargetName,
    /// What opened it.
    pub cause: Cause,
    /// How bad it is.
    pub severity: Severity,
    /// One line for people.
    pub reason: String,
    /// When it was opened, in engine time.
    pub opened_at: Timestamp,
    /// The same in milliseconds of Unix time.
    pub opened_unix_ms: i64,
    /// How it ended; `None` while it is open.
    pub resolved: Option<Resolution>,
}

/// How an incident ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resolution {
    /// When, in engine time.
    pub at: Timestamp,
    /// The same in milliseconds of Unix time.
    pub unix_ms: i64,
    /// Why it counts as over.
    pub reason: String,
}

/// Why a question to the journal has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{}`: {problem}; `rearguard audit verify` checks the whole file", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    pub problem: String,
}

impl Reader {
    /// Opens the journal in `state_dir`.
    ///
    /// # Errors
    /// There is no journal, it may not be read, it is damaged, or it was written by a newer version.
    pub fn open(state_dir: &Path) -> Result<Self, OpenError> {
        let path = state_dir.join(recovery::FILE);
        if let Err(error) = std::fs::metadata(&path) {
            return Err(OpenError::Storage {
                path,
                problem: error.to_string(),
                remedy: "name the daemon's `state:` directory; the journal is made when the daemon first starts",
            });
        }
        let opened = database::open_to_read(&path).map_err(Fault::Sql);
        let connection = opened.map_err(|fault| fault.on_open(&path))?;
        let version = recovery::check_identity(&connection, &path)?;
        if version < schema::WITH_OUTPUTS {
            connection.execute_batch(LACKING).map_err(|error| Fault::Sql(error).on_open(&path))?;
        }
        let id = recovery::journal_id(&connection).map_err(|fault| fault.on_open(&path))?;
        Ok(Self { path, id, connection })
    }

    /// Returns the journal's identity.
    pub fn id(&self) -> &JournalId {
        &self.id
    }

    /// Returns at most `limit` events that follow event `after`, oldest first; 0 starts at the beginning.
    ///
    /// # Errors
    /// The file cannot be read, or an event in it cannot.
    pub fn events(&self, after: u64, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.records(&format!("{EVENTS} WHERE events.seq > ?1 ORDER BY events.seq LIMIT ?2"), after, limit)
    }

    /// Returns every event of one incident, oldest first; empty where there is no such incident.
    ///
    /// Those are its opening and end, its rollbacks with their steps and proofs, its pages with what became of them,
    /// and what its trigger did, from the first breach on.
    ///
    /// # Errors
    /// The file cannot be read, or an event in it cannot.
    pub fn events_of_incident(&self, incident: IncidentId) -> Result<Vec<Record>, ReadError> {
        let sql = format!(
            "{EVENTS} JOIN incident_events ON incident_events.seq = events.seq
             WHERE incident = ?1 ORDER BY events.seq LIMIT ?2"
        );
        let records = self.records(&sql, incident.0, usize::MAX)?;
        let mut all = self.before_opening(&records)?;
        all.extend(records);
        Ok(all)
    }

    /// Returns what an incident's trigger did from its first breach until it opened the incident.
    fn before_opening(&self, records: &[Record]) -> Result<Vec<Record>, ReadError> {
        let opening = records.iter().find_map(|record| match &record.event.what {
            Happening::IncidentOpened { cause: Cause::Trigger(key), since, .. } => {
                Some((record.seq, key, *since))
            }
            _ => None,
        });
        let Some((opened, trigger, since)) = opening else { return Ok(Vec::new()) };
        let sql = format!("{EVENTS} WHERE events.seq < ?1 ORDER BY events.seq DESC LIMIT ?2");
        let mut before = self.records(&sql, opened, BEFORE_OPENING_MAX)?;
        before.retain(|record| {
            record.event.at >= since
                && matches!(&record.event.what,
                    Happening::TriggerPending { key, .. } | Happening::TriggerFiring { key, .. } if key == trigger)
        });
        before.reverse();
        Ok(before)
    }

    /// Returns where the journal ends.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn head(&self) -> Result<Head, ReadError> {
        head(&self.connection, &self.id).map_err(|fault| self.failed(&fault))
    }

    /// Returns the hash of the event at `seq`, if it is there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn hash_of(&self, seq: u64) -> Result<Option<ChainHash>, ReadError> {
        hash_at(&self.connection, &self.id, seq).map_err(|fault| self.failed(&fault))
    }

    /// Returns the hash of the files that were in force at the event at `seq`, where it is known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn files_at(&self, seq: u64) -> Result<Option<String>, ReadError> {
        let sql = format!(
            "{EVENTS} WHERE events.seq <= ?1 AND events.body LIKE '%\"setup\\_loaded\"%' ESCAPE '\\'
             ORDER BY events.seq DESC LIMIT ?2"
        );
        let loaded = self.records(&sql, seq, 1)?;
        match loaded.into_iter().next().map(|record| record.event.what) {
            Some(Happening::SetupLoaded { fingerprint, .. }) => Ok(Some(fingerprint)),
            _ => self.files_at_start(),
        }
    }

    /// Returns the newest `limit` incidents that are wanted, newest first.
    ///
    /// # Errors
    /// The file cannot be read, or a row in it cannot.
    pub fn incidents(&self, wanted: &IncidentsWanted, limit: usize) -> Result<Vec<IncidentRow>, ReadError> {
        let read = || -> Result<Vec<IncidentRow>, Fault> {
            let mut statement = self.connection.prepare_cached(
                "SELECT * FROM incidents
                 WHERE (?2 = 0 OR state = 'open')
                   AND (?3 IS NULL OR state = 'open' OR resolved_unix_ms >= ?3)
                   AND (?4 IS NULL OR target = ?4)
                 ORDER BY id DESC LIMIT ?1",
            )?;
            let target = wanted.target.as_ref().map(TargetName::as_str);
            let mut rows =
                statement.query(params![number(limit as u64), wanted.open, wanted.since_unix_ms, target])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(incident_row(row)?);
            }
            Ok(found)
        };
        read().map_err(|fault| self.failed(&fault))
    }

    fn records(&self, sql: &str, first: u64, limit: usize) -> Result<Vec<Record>, ReadError> {
        let read = || -> Result<Vec<Record>, Fault> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![number(first), number(limit as u64)])?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                let link = link(row)?;
                records.push(Record {
                    seq: link.seq,
                    wall_unix_ms: link.wall_unix_ms,
                    event: decode(&link)?,
                });
            }
            Ok(records)
        };
        read().map_err(|fault| self.failed(&fault))
    }

    pub(super) fn failed(&self, fault: &Fault) -> ReadError {
        ReadError { path: self.path.clone(), problem: fault.problem() }
    }
}

/// Reads one row of the event table.
pub(super) fn link(row: &Row<'_>) -> Result<Link, Fault> {
    let seq: i64 = row.get("seq")?;
    let damaged = |what: &str| Fault::Damaged(format!("event {seq} has no valid {what}"));
    let hash: Vec<u8> = row.get("hash")?;
    Ok(Link {
        seq: u64::try_from(seq).map_err(|_| damaged("place"))?,
        at: Timestamp::from_millis(row.get("at_ms")?),
        wall_unix_ms: row.get("wall_unix_ms")?,
        version: row.get("version")?,
        body: row.get("body")?,
        output: row.get("output")?,
        hash: ChainHash::from_bytes(&hash).ok_or_else(|| damaged("hash"))?,
    })
}

fn incident_row(row: &Row<'_>) -> Result<IncidentRow, Fault> {
    let id: i64 = row.get("id")?;
    let unreadable = |what: &dyn fmt::Display| Fault::Damaged(format!("incident {id}: {what}"));
    let cause: String = row.get("cause")?;
    let severity: String = row.get("severity")?;
    let resolved_at: Option<i64> = row.get("resolved_at_ms")?;
    let resolved = match resolved_at {
        Some(at) => Some(Resolution {
            at: Timestamp::from_millis(at),
            unix_ms: row.get("resolved_unix_ms")?,
            reason: row.get("resolution")?,
        }),
        None => None,
    };
    let severity = serde_json::from_value(serde_json::Value::String(severity));
    Ok(IncidentRow {
        id: IncidentId(u64::try_from(id).map_err(|error| unreadable(&error))?),
        target: TargetName::from(row.get::<_, String>("target")?),
        cause: serde_json::from_str(&cause).map_err(|error| unreadable(&error))?,
        severity: severity.map_err(|error: serde_json::Error| unreadable(&error))?,
        reason: row.get("reason")?,
        opened_at: Timestamp::from_millis(row.get("opened_at_ms")?),
        opened_unix_ms: row.get("opened_unix_ms")?,
        resolved,
    })
}

/// Follows the chain from `head` to its end, checks every link, and hands each event to `each`.
///
/// `head` always names the last event that was right, also after an error.
pub(super) fn walk(
    connection: &Connection,
    head: &mut Head,
    mut each: impl FnMut(Link, Event) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut statement =
        connection.prepare_cached(&format!("{EVENTS} WHERE events.seq > ?1 ORDER BY events.seq"))?;
    let mut rows = statement.query([number(head.seq)])?;
    while let Some(row) = rows.next()? {
        let link = link(row)?;
        link.check(*head).map_err(Fault::Break)?;
        if link.version > EVENT_VERSION {
            return Err(Fault::NewerEvent(link.version));
        }
        let event = decode(&link)?;
        *head = Head { seq: link.seq, hash: link.hash };
        each(link, event)?;
    }
    Ok(())
}

/// Hands every stored event to `each`, sound or not, oldest first.
pub(super) fn each_link(
    connection: &Connection,
    mut each: impl FnMut(Result<Link, Fault>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(&format!("{EVENTS} ORDER BY events.seq"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(link(row))?;
    }
    Ok(())
}

/// Returns the first event, if there is one.
pub(super) fn first_link(connection: &Connection) -> Result<Option<Link>, Fault> {
    let mut statement = connection.prepare_cached(&format!("{EVENTS} ORDER BY events.seq LIMIT 1"))?;
    let mut rows = statement.query([])?;
    rows.next()?.map(link).transpose()
}

/// Returns what stands before the first event: the journal's identity, or the last event that was dropped.
pub(super) fn start(connection: &Connection, journal: &JournalId) -> Result<Head, Fault> {
    match schema::get_fact(connection, fact::START)? {
        None => Ok(Head { seq: 0, hash: ChainHash::genesis(journal) }),
        Some(body) => serde_json::from_str(&body)
            .map_err(|error| Fault::Damaged(format!("where the chain begins is unreadable: {error}"))),
    }
}

/// Returns where the event table ends.
pub(super) fn head(connection: &Connection, journal: &JournalId) -> Result<Head, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return start(connection, journal) };
    let (seq, hash): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
    match (u64::try_from(seq), ChainHash::from_bytes(&hash)) {
        (Ok(seq), Some(hash)) => Ok(Head { seq, hash }),
        _ => Err(Fault::Damaged(format!("event {seq} has no valid place or hash"))),
    }
}

/// Returns the hash of the event at `seq`, if it is there, or of what stands before the first.
pub(super) fn hash_at(connection: &Connection, id: &JournalId, seq: u64) -> Result<Option<ChainHash>, Fault> {
    let start = start(connection, id)?;
    if seq == start.seq {
        return Ok(Some(start.hash));
    }
    let mut statement = connection.prepare_cached("SELECT hash FROM events WHERE seq = ?1")?;
    let mut rows = statement.query([number(seq)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let hash: Vec<u8> = row.get(0)?;
    Ok(ChainHash::from_bytes(&hash))
}

/// Returns the clocks and the head of the last commit, if there has been one.
pub(super) fn last_commit(connection: &Connection) -> Result<Option<LastCommit>, Fault> {
    let body = schema::get_fact(connection, fact::LAST_COMMIT)?;
    let read = body.map(|body| serde_json::from_str(&body)).transpose();
    read.map_err(|error| Fault::Damaged(format!("the last commit's record is unreadable: {error}")))
}
