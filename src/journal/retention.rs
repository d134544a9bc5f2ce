//! What is dropped, and when: old events, earlier what steps have printed, and whatever is too much for the disk.
//!
//! Dropping has two parts. First a checkpoint event says what will be gone: the hash at the last event that goes, how many
//! of each kind they are, and the hash of the state that is stored with it. It is chained as every event is, and the head of
//! the chain goes out in pages; so what stays is still proven, and so is that nobody else took the rest away. Then the
//! events go, a few hundred in a transaction. A crash in between leaves some of them, and the next turn goes on.
//!
//! An incident is dropped whole or not at all, and never while it is open, while a rollback of it runs, or while a message
//! of it is on its way.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::chain::ChainHash;
use super::database;
use super::durable::{DurableEngine, Fatal};
use super::error::Fault;
use super::ledger::{ClockReading, CommitError, Head};
use super::outputs;
use super::projection::number;
use super::reader;
use super::schema::{self, fact};
use super::store::{Journal, decode};
use crate::engine::decision::{Event, Happening, JournalCheckpoint};
use crate::engine::time::{Span, Timestamp};

/// A checkpoint for fewer events is not worth its while.
const DROP_MIN: u64 = 100;

/// The most that one checkpoint covers: they are all read once, to be counted, while nothing else is decided.
const DROP_MAX: u64 = 10_000;

/// How far below its limit the file is brought: so that the next event does not lead to the next checkpoint.
const ROOM: f64 = 0.9;

/// How many free pages are given back to the file system in one go.
const PAGES_GIVEN_BACK: u32 = 256;

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events; incidents and everything else that is told of them.
    pub events: Span,
    /// What steps have printed.
    pub outputs: Span,
    /// How large the journal may become, in bytes; the oldest events go first.
    pub journal_bytes: u64,
}

/// What was dropped in one go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many events.
    pub events: u64,
    /// How many outputs of steps, apart from those events'.
    pub outputs: u64,
    /// Whether there is more to drop at once.
    pub more: bool,
}

/// What may go.
#[derive(Clone, Debug, PartialEq)]
struct Due {
    first_kept: u64,
    hash: ChainHash,
    dropped: BTreeMap<String, u64>,
    since_unix_ms: i64,
    until_unix_ms: i64,
    files: Option<String>,
}

impl DurableEngine<Journal> {
    /// Writes a checkpoint if there are events that may go, and returns it; [`Journal::drop_some`] then drops them.
    ///
    /// # Errors
    /// [`Fatal`] as everywhere. The inner error says why no checkpoint was written; nothing has changed then, and later is
    /// as good a time.
    pub fn checkpoint(
        &mut self,
        clock: &ClockReading,
        retention: &Retention,
    ) -> Result<Result<Option<Event>, String>, Fatal> {
        // What could not be written yet is in the state and not in the journal.
        if self.engine().state().journal_lost.is_some() || self.has_backlog() {
            return Ok(Ok(None));
        }
        let prepare = |this: &mut Self| -> Result<Option<(Due, String)>, CommitError> {
            let Some(due) = this.ledger().due(retention, clock.engine)? else { return Ok(None) };
            let (seq, state) = (this.head().seq, this.engine().state().clone());
            this.ledger().snapshot(seq, &state)?;
            let state = serde_json::to_string(&state).unwrap_or_default();
            Ok(Some((due, outputs::sha256(&state))))
        };
        let (due, state) = match prepare(self) {
            Ok(None) => return Ok(Ok(None)),
            Ok(Some(due)) => due,
            Err(error @ CommitError::Fenced { .. }) => return Err(Fatal::Journal(error)),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let what = Happening::JournalCheckpoint(JournalCheckpoint {
            first_kept: due.first_kept,
            hash: due.hash.to_string(),
            dropped: due.dropped,
            since_unix_ms: due.since_unix_ms,
            until_unix_ms: due.until_unix_ms,
            state,
            files: due.files,
        });
        let event = Event { at: clock.engine, what };
        Ok(self.record(clock, event.clone())?.map(|()| Some(event)))
    }
}

impl Journal {
    /// Drops a few of the events before the last checkpoint, and a few outputs that are past their time.
    ///
    /// # Errors
    /// As [`Ledger::commit`](super::Ledger::commit); nothing of this call was dropped then.
    pub fn drop_some(
        &mut self,
        retention: &Retention,
        now: Timestamp,
        limit: u32,
    ) -> Result<Dropped, CommitError> {
        let dropped = self.write(|journal, transaction| {
            journal.fence(transaction, journal.epoch)?;
            let work = || -> Result<Dropped, Fault> {
                let events = drop_events(transaction, journal, limit)?;
                let outputs = drop_outputs(transaction, journal, now - retention.outputs, limit)?;
                let start = reader::start(transaction, &journal.id)?;
                let more = last_checkpoint(transaction)?.is_some_and(|last| last > start.seq + 1);
                Ok(Dropped { events, outputs, more: more || outputs == u64::from(limit) })
            };
            work().map_err(|fault| journal.fault(fault))
        })?;
        if dropped.events > 0
            && let Some(connection) = &self.connection
        {
            // Only a matter of room: what is not given back is used again.
            database::give_back(connection, PAGES_GIVEN_BACK).unwrap_or_default();
        }
        Ok(dropped)
    }

    fn due(&mut self, retention: &Retention, now: Timestamp) -> Result<Option<Due>, CommitError> {
        self.write(|journal, transaction| {
            due(transaction, journal, retention, now).map_err(|fault| journal.fault(fault))
        })
    }
}

/// Returns what may go now; `None` where it is not worth a checkpoint, or where the last one's is still going.
fn due(
    connection: &Connection,
    journal: &Journal,
    retention: &Retention,
    now: Timestamp,
) -> Result<Option<Due>, Fault> {
    let start = reader::start(connection, &journal.id)?;
    if last_checkpoint(connection)?.is_some_and(|last| last > start.seq + 1) {
        return Ok(None);
    }
    let head = reader::head(connection, &journal.id)?;
    let too_old = first_since(connection, start, head, now - retention.events)?;
    let too_much = first_within(connection, start, head, retention.journal_bytes)?;
    let wanted = too_old.max(too_much).min(start.seq + 1 + DROP_MAX);
    let wanted = wanted.min(first_needed(connection, start, head)?);
    let first_kept = between_stories(connection, wanted)?;
    if first_kept < start.seq + 1 + DROP_MIN {
        return Ok(None);
    }
    count(connection, start, first_kept).map(Some)
}

/// Returns the place that the last checkpoint says is the first to stay.
fn last_checkpoint(connection: &Connection) -> Result<Option<u64>, Fault> {
    let last: Option<i64> =
        connection.query_row("SELECT max(first_kept) FROM checkpoints", [], |row| row.get(0))?;
    Ok(last.and_then(|last| u64::try_from(last).ok()))
}

/// Returns the first event at `since` or later, or the place behind the head. Engine time never goes backwards (E8), so the
/// events are sorted by it.
fn first_since(connection: &Connection, start: Head, head: Head, since: Timestamp) -> Result<u64, Fault> {
    let mut statement = connection.prepare_cached("SELECT at_ms FROM events WHERE seq = ?1")?;
    let (mut from, mut to) = (start.seq + 1, head.seq + 1);
    while from < to {
        let middle = from + (to - from) / 2;
        let at: i64 = statement.query_row([number(middle)], |row| row.get(0))?;
        if at < since.as_millis() {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    Ok(from)
}

/// Returns the first event that may stay if the file is to be no larger than `bytes`, taking all events for equally large.
fn first_within(connection: &Connection, start: Head, head: Head, bytes: u64) -> Result<u64, Fault> {
    let used = database::used_bytes(connection)?;
    if used <= bytes {
        return Ok(start.seq + 1);
    }
    let surplus = (used as f64 - bytes as f64 * ROOM) / used as f64;
    Ok(start.seq + 1 + ((head.seq - start.seq) as f64 * surplus).ceil() as u64)
}

/// Returns the first event of what is still under way: open incidents, rollbacks in flight, messages on their way.
fn first_needed(connection: &Connection, start: Head, head: Head) -> Result<u64, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT events.*, NULL AS output FROM events JOIN (
             SELECT min(seq) AS seq FROM incident_events WHERE incident IN (
                 SELECT id FROM incidents WHERE state = 'open'
                 UNION SELECT incident FROM rollbacks WHERE outcome IS NULL
                 UNION SELECT incident FROM outbox WHERE status IN ('queued', 'failing'))
             GROUP BY incident) USING (seq)",
    )?;
    let mut rows = statement.query([])?;
    let mut first = head.seq + 1;
    while let Some(row) = rows.next()? {
        let link = reader::link(row)?;
        // The story begins with the first breach, before there was an incident.
        let begins = match decode(&link)?.what {
            Happening::IncidentOpened { since, .. } => first_since(connection, start, head, since)?,
            _ => link.seq,
        };
        first = first.min(begins).min(link.seq);
    }
    Ok(first)
}

/// Returns the last place up to `wanted` at which no incident's story is cut in two.
fn between_stories(connection: &Connection, wanted: u64) -> Result<u64, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT min(first) FROM (
             SELECT min(seq) AS first, max(seq) AS last FROM incident_events GROUP BY incident)
         WHERE first < ?1 AND last >= ?1",
    )?;
    let mut place = number(wanted);
    while let Some(before) = statement.query_row([place], |row| row.get::<_, Option<i64>>(0))? {
        place = before;
    }
    Ok(u64::try_from(place).unwrap_or(0))
}

/// Counts what would go.
fn count(connection: &Connection, start: Head, first_kept: u64) -> Result<Due, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT body, wall_unix_ms, hash FROM events WHERE seq > ?1 AND seq < ?2 ORDER BY seq",
    )?;
    let mut rows = statement.query([number(start.seq), number(first_kept)])?;
    let mut due = Due {
        first_kept,
        hash: start.hash,
        dropped: BTreeMap::new(),
        since_unix_ms: i64::MAX,
        until_unix_ms: 0,
        files: files_before(connection, start)?,
    };
    while let Some(row) = rows.next()? {
        let (body, wall, hash): (String, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let kind = kind_of(&body).to_owned();
        if kind == "setup_loaded"
            && let Ok(Event { what: Happening::SetupLoaded { fingerprint, .. }, .. }) =
                serde_json::from_str(&body)
        {
            due.files = Some(fingerprint);
        }
        *due.dropped.entry(kind).or_default() += 1;
        due.since_unix_ms = due.since_unix_ms.min(wall);
        due.until_unix_ms = due.until_unix_ms.max(wall);
        due.hash = ChainHash::from_bytes(&hash)
            .ok_or_else(|| Fault::Damaged("an event has no valid hash".to_owned()))?;
    }
    Ok(due)
}

/// Returns the files that were in force where the chain begins now.
fn files_before(connection: &Connection, start: Head) -> Result<Option<String>, Fault> {
    let mut statement = connection.prepare("SELECT files FROM checkpoints WHERE first_kept = ?1")?;
    let mut rows = statement.query([number(start.seq + 1)])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?.flatten())
}

/// Returns the name of what happened from an event's JSON: `{"at":1,"what":"stopping"}`, `{"at":1,"what":{"NAME":...}}`.
fn kind_of(body: &str) -> &str {
    let what = body.split_once("\"what\":").map_or("", |(_, what)| what);
    what.split('"').nth(1).unwrap_or("unknown")
}

/// Drops the oldest events before the last checkpoint's first; with the last of them, what was told of them.
fn drop_events(connection: &Connection, journal: &Journal, limit: u32) -> Result<u64, Fault> {
    let start = reader::start(connection, &journal.id)?;
    let Some(first_kept) = last_checkpoint(connection)?.filter(|last| *last > start.seq + 1) else {
        return Ok(0);
    };
    let last = (start.seq + u64::from(limit)).min(first_kept - 1);
    let hash = reader::hash_at(connection, &journal.id, last)?
        .ok_or_else(|| Fault::Damaged(format!("event {last} is missing")))?;
    let body = serde_json::to_string(&Head { seq: last, hash }).unwrap_or_default();
    schema::put_fact(connection, fact::START, &body)?;
    for sql in ["DELETE FROM events WHERE seq <= ?1", "DELETE FROM outputs WHERE seq <= ?1"] {
        connection.execute(sql, [number(last)])?;
    }
    if last + 1 == first_kept {
        connection.execute("DELETE FROM incident_events WHERE seq <= ?1", [number(last)])?;
        connection.execute("DELETE FROM checkpoints WHERE seq <= ?1", [number(last)])?;
        connection.execute("DELETE FROM snapshots WHERE seq < ?1", [number(last)])?;
        connection.execute("DELETE FROM intents WHERE intended_seq <= ?1", [number(last)])?;
        connection.execute_batch(
            "DELETE FROM incidents WHERE id NOT IN (SELECT incident FROM incident_events);
             DELETE FROM rollbacks WHERE incident NOT IN (SELECT id FROM incidents);
             DELETE FROM outbox WHERE incident NOT IN (SELECT id FROM incidents);",
        )?;
    }
    Ok(last - start.seq)
}

/// Drops outputs of steps that ended before `before`, as long as nothing that is under way needs them.
fn drop_outputs(
    connection: &Connection,
    journal: &Journal,
    before: Timestamp,
    limit: u32,
) -> Result<u64, Fault> {
    let (start, head) = (reader::start(connection, &journal.id)?, reader::head(connection, &journal.id)?);
    let oldest: Option<i64> = connection.query_row("SELECT min(seq) FROM outputs", [], |row| row.get(0))?;
    let first = first_since(connection, start, head, before)?;
    // Nearly always: then nothing more is looked up.
    if oldest.is_none_or(|oldest| oldest >= number(first)) {
        return Ok(0);
    }
    // Recovery applies what follows the newest snapshot, outputs and all.
    let snapshot: Option<i64> =
        connection.query_row("SELECT max(seq) FROM snapshots", [], |row| row.get(0))?;
    let first = number(first.min(first_needed(connection, start, head)?)).min(snapshot.unwrap_or(0) + 1);
    let gone = connection.execute(
        "DELETE FROM outputs WHERE seq IN (SELECT seq FROM outputs WHERE seq < ?1 ORDER BY seq LIMIT ?2)",
        params![first, limit],
    )?;
    Ok(gone as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_what_happened_is_read_from_its_json() {
        for (body, kind) in [
            (r#"{"at":1,"what":"stopping"}"#, "stopping"),
            (r#"{"at":1,"what":{"setup_refused":{"problem":"\"what\":"}}}"#, "setup_refused"),
            ("{}", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(kind_of(body), kind);
        }
    }
}
