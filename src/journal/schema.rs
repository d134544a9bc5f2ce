//! The tables of `journal.sqlite`, as a list of steps from each version to the next.

use rusqlite::{Connection, Transaction};
use sha2::{Digest, Sha256};

use super::error::Fault;

/// Marks the file as ours: "RGJL".
pub(super) const APPLICATION_ID: i32 = 0x5247_4a4c;

/// What brings a file of version `n` to version `n + 1`. Steps are never edited once released: files were made by them.
const STEPS: &[&str] = &[VERSION_1, VERSION_2];

const VERSION_1: &str = "
    -- What happened, hash-chained; never updated.
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,          -- engine time
        wall_unix_ms INTEGER NOT NULL,   -- the wall clock at the commit, a label
        version INTEGER NOT NULL,        -- of the event types
        body TEXT NOT NULL,              -- JSON
        hash BLOB NOT NULL
    ) STRICT;
    -- What the shell was asked to do. started_seq and ended_seq are places of events.
    CREATE TABLE intents (
        effect INTEGER PRIMARY KEY,
        class TEXT NOT NULL,             -- act, page
        payload TEXT NOT NULL,           -- JSON of the effect
        intended_seq INTEGER NOT NULL,
        released_seq INTEGER,
        abandoned_seq INTEGER,
        started_seq INTEGER,
        ended_seq INTEGER
    ) STRICT;
    -- Engine state at a place, so that recovery need not apply every event.
    CREATE TABLE snapshots (
        seq INTEGER PRIMARY KEY,
        state TEXT NOT NULL,
        hash BLOB NOT NULL,              -- of the event at seq
        digest BLOB NOT NULL             -- SHA-256(seq big endian || hash || state)
    ) STRICT;
    -- Single values: journal, epoch, last_commit, good_setup, start.
    CREATE TABLE facts (
        name TEXT PRIMARY KEY,
        body TEXT NOT NULL,              -- JSON
        digest BLOB NOT NULL             -- SHA-256(name || 0x00 || body)
    ) STRICT, WITHOUT ROWID;

    -- From here on: projections, rebuilt from the events.
    CREATE TABLE incidents (
        id INTEGER PRIMARY KEY,
        target TEXT NOT NULL,
        cause TEXT NOT NULL,             -- JSON
        severity TEXT NOT NULL,
        reason TEXT NOT NULL,
        state TEXT NOT NULL,             -- open, resolved
        opened_at_ms INTEGER NOT NULL,   -- engine time
        opened_unix_ms INTEGER NOT NULL,
        resolved_at_ms INTEGER,
        resolved_unix_ms INTEGER,
        resolution TEXT
    ) STRICT;
    CREATE INDEX incidents_open ON incidents (cause) WHERE state = 'open';
    CREATE TABLE rollbacks (
        id INTEGER PRIMARY KEY,
        incident INTEGER NOT NULL,
        target TEXT NOT NULL,
        plan TEXT NOT NULL,
        decided_unix_ms INTEGER NOT NULL,
        ended_unix_ms INTEGER,
        outcome TEXT,                    -- NULL while it runs
        reason TEXT
    ) STRICT;
    CREATE TABLE outbox (
        effect INTEGER PRIMARY KEY,
        incident INTEGER NOT NULL,
        receiver TEXT NOT NULL,
        kind TEXT NOT NULL,              -- trigger, resolve
        dedup_key TEXT NOT NULL,
        status TEXT NOT NULL,            -- queued, failing, accepted, dead
        last_report TEXT,
        decided_unix_ms INTEGER NOT NULL,
        reported_unix_ms INTEGER
    ) STRICT;
    CREATE TABLE incident_events (
        incident INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (incident, seq)
    ) STRICT, WITHOUT ROWID;
";

const VERSION_2: &str = "
    -- What steps have printed; the event at seq holds its hash. Dropped before the events are.
    CREATE TABLE outputs (
        seq INTEGER PRIMARY KEY,
        text TEXT NOT NULL
    ) STRICT;
    -- A projection: what was said before events were dropped. The event at seq says it.
    CREATE TABLE checkpoints (
        seq INTEGER PRIMARY KEY,
        first_kept INTEGER NOT NULL,     -- every event before this one was to be dropped
        hash TEXT NOT NULL,              -- of the event before first_kept, hexadecimal
        files TEXT                       -- fingerprint of the files in force before first_kept
    ) STRICT;
";

/// The version from which on there are `outputs` and `checkpoints`.
pub(super) const WITH_OUTPUTS: i32 = 2;

/// The version that this program writes.
pub(super) fn newest() -> i32 {
    i32::try_from(STEPS.len()).unwrap_or(i32::MAX)
}

/// Brings the file from `version` to the newest one; all of it in the caller's transaction, so a crash leaves the old.
pub(super) fn migrate(transaction: &Transaction<'_>, version: i32) -> rusqlite::Result<()> {
    let done = usize::try_from(version).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", newest())
}

/// The names of single values.
pub(super) mod fact {
    /// The journal's identity.
    pub(in super::super) const JOURNAL: &str = "journal";
    /// How often the file has been opened by a daemon; the last opener's number fences all others.
    pub(in super::super) const EPOCH: &str = "epoch";
    /// Clocks and head at the last commit.
    pub(in super::super) const LAST_COMMIT: &str = "last_commit";
    /// The last set of files that was good.
    pub(in super::super) const GOOD_SETUP: &str = "good_setup";
    /// The last event that was dropped and its hash: the chain begins behind it.
    pub(in super::super) const START: &str = "start";
}

/// Stores a single value with its checksum.
pub(super) fn put_fact(connection: &Connection, name: &str, body: &str) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare_cached("INSERT OR REPLACE INTO facts (name, body, digest) VALUES (?1, ?2, ?3)")?;
    statement.execute(rusqlite::params![name, body, fact_digest(name, body)]).map(drop)
}

/// Reads a single value and checks it.
pub(super) fn get_fact(connection: &Connection, name: &str) -> Result<Option<String>, Fault> {
    let mut statement = connection.prepare_cached("SELECT body, digest FROM facts WHERE name = ?1")?;
    let mut rows = statement.query([name])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (body, digest): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
    if digest == fact_digest(name, &body) {
        Ok(Some(body))
    } else {
        Err(Fault::Damaged(format!("the stored {name} does not match its checksum")))
    }
}

/// Reads a single value that must be there.
pub(super) fn need_fact<T: serde::de::DeserializeOwned>(
    connection: &Connection,
    name: &str,
) -> Result<T, Fault> {
    let body = get_fact(connection, name)?.ok_or_else(|| Fault::Damaged(format!("the {name} is missing")))?;
    serde_json::from_str(&body).map_err(|error| Fault::Damaged(format!("the {name} is unreadable: {error}")))
}

fn fact_digest(name: &str, body: &str) -> [u8; 32] {
    Sha256::new().chain_update(name).chain_update([0]).chain_update(body).finalize().into()
}

/// Returns the checksum of a snapshot.
pub(super) fn snapshot_digest(seq: u64, hash: &[u8], state: &str) -> [u8; 32] {
    Sha256::new().chain_update(seq.to_be_bytes()).chain_update(hash).chain_update(state).finalize().into()
}
