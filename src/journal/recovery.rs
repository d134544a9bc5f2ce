//! Opening a journal: take the lock, check everything that is about to be believed, begin a new epoch.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::chain::ChainHash;
use super::database::{self, Durability};
use super::error::{Fault, OpenError};
use super::ledger::{ClockReading, Head};
use super::lock::{LastOpened, StateLock};
use super::reader;
use super::schema::{self, fact};
use super::store::{GoodSetup, Journal};
use crate::engine::decision::Event;
use crate::engine::model::JournalId;

/// The journal's name in the state directory.
pub(super) const FILE: &str = "journal.sqlite";

/// What a journal remembers when it is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovered {
    /// The journal's identity.
    pub journal: JournalId,
    /// Whether this opening made the journal.
    pub created: bool,
    /// The epoch that this opening began; every batch carries it.
    pub epoch: u64,
    /// Where the journal ends. At 0 the first thing to commit is `JournalCreated`.
    pub head: Head,
    /// The newest sound snapshot.
    pub snapshot: Option<Snapshot>,
    /// Every event after the snapshot, with its place.
    pub events: Vec<(u64, Event)>,
    /// The clocks at the last commit.
    pub clock: Option<ClockReading>,
    /// The last set of files that was good.
    pub good_setup: Option<GoodSetup>,
    /// What was found damaged and could be done without; each line belongs into a page: the disk is not to be trusted.
    pub damage: Vec<String>,
}

/// Engine state at a place in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The event after which the state was like this.
    pub seq: u64,
    /// The state, as JSON.
    pub state: String,
}

impl Journal {
    /// Opens the journal in `state_dir`, or makes one; begins a new epoch, which fences every earlier opener.
    ///
    /// The directory must exist. Everything that is handed out has been checked: the file's structure, the chain from
    /// the snapshot on, the checksums of the rest.
    ///
    /// # Errors
    /// See [`OpenError`]. A damaged journal is never taken for an empty one.
    pub fn open(state_dir: &Path) -> Result<(Self, Recovered), OpenError> {
        let (mut lock, last) = StateLock::acquire(state_dir)?;
        let path = state_dir.join(FILE);
        let created = ensure_file(&path, last.as_ref())?;
        let mut connection = database::open_to_write(&path, Durability::Full)
            .map_err(|error| Fault::Sql(error).on_open(&path))?;
        let version = check_identity(&connection, &path)?;
        let mut recovered = prepare(&mut connection, version)
            .and_then(|()| read(&connection))
            .map_err(|fault| fault.on_open(&path))?;
        check_age(&path, &recovered, last.as_ref())?;
        recovered.created = created;
        recovered.epoch =
            begin_epoch(&mut connection, recovered.epoch).map_err(|fault| fault.on_open(&path))?;
        let now = LastOpened { journal: recovered.journal.clone(), epoch: recovered.epoch };
        lock.record(Some(&now))?;
        let file = database::file_identity(&path).map_err(|error| OpenError::file(&path, &error))?;
        let id = recovered.journal.clone();
        let journal =
            Self { path, id, epoch: recovered.epoch, connection: Some(connection), file, _lock: lock };
        Ok((journal, recovered))
    }
}

/// Makes the file if this is the first start; returns whether it did.
fn ensure_file(path: &Path, last: Option<&LastOpened>) -> Result<bool, OpenError> {
    let corrupt = |problem: String| Err(OpenError::Corrupt { path: path.to_owned(), problem });
    match fs::metadata(path) {
        // SQLite takes an empty file for an empty database, and so would begin anew in silence.
        Ok(metadata) if metadata.len() == 0 => corrupt("it is empty (0 bytes)".to_owned()),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if let Some(last) = last {
                return corrupt(format!(
                    "it is gone; journal {} with epoch {} was here before",
                    last.journal.as_str(),
                    last.epoch
                ));
            }
            if database::sidecars(path).iter().any(|file| file.exists()) {
                return corrupt("it is gone, but its log is still here".to_owned());
            }
            create(path)?;
            Ok(true)
        }
        Err(error) => Err(OpenError::file(path, &error)),
    }
}

/// Makes a journal under another name and renames it, so that a crash leaves either none or a whole one.
fn create(path: &Path) -> Result<(), OpenError> {
    let draft = database::with_suffix(path, ".new");
    let io = |error: std::io::Error| OpenError::file(&draft, &error);
    // What a crash has left here was never a journal.
    for suffix in ["", "-journal", "-wal", "-shm"] {
        database::remove_if_there(&database::with_suffix(&draft, suffix)).map_err(io)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(&draft).map_err(io)?;
    fill(&draft).map_err(|error| Fault::Sql(error).on_open(&draft))?;
    fs::rename(&draft, path).map_err(io)?;
    database::sync_directory_of(path).map_err(io)
}

fn fill(draft: &Path) -> rusqlite::Result<()> {
    let mut connection = database::open_to_write(draft, Durability::Full)?;
    // Only an empty file can be told to. Then what is dropped one day makes the file smaller.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let transaction = connection.transaction()?;
    schema::migrate(&transaction, 0)?;
    let id = format!("\"{}\"", uuid::Uuid::new_v4());
    schema::put_fact(&transaction, fact::JOURNAL, &id)?;
    schema::put_fact(&transaction, fact::EPOCH, "0")?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// Makes sure that the file is a journal of a version that this program knows; returns that version.
pub(super) fn check_identity(connection: &Connection, path: &Path) -> Result<i32, OpenError> {
    let identity = database::identity(connection).map_err(|error| Fault::Sql(error).on_open(path))?;
    let path = path.to_owned();
    match identity {
        (schema::APPLICATION_ID, found) if found > schema::newest() => Err(OpenError::Newer {
            path,
            what: "schema version",
            found: found.into(),
            known: schema::newest().into(),
        }),
        (schema::APPLICATION_ID, found) if found > 0 => Ok(found),
        _ => Err(OpenError::Corrupt {
            path,
            problem: "it is an SQLite file, but not a Rearguard journal".to_owned(),
        }),
    }
}

/// Checks the file's structure and brings it to the newest schema.
fn prepare(connection: &mut Connection, version: i32) -> Result<(), Fault> {
    if let Some(problem) = database::quick_check(connection)? {
        return Err(Fault::Damaged(problem));
    }
    database::use_wal(connection)?;
    if version < schema::newest() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        schema::migrate(&transaction, version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Reads and checks what a journal remembers.
fn read(connection: &Connection) -> Result<Recovered, Fault> {
    let journal = journal_id(connection)?;
    let mut damage = Vec::new();
    let start = reader::start(connection, &journal)?;
    check_first(connection, &journal, start)?;
    let (snapshot, mut head) = newest_snapshot(connection, &journal, &mut damage)?;
    if snapshot.is_none() && start.seq > 0 {
        return Err(Fault::Damaged(format!(
            "its first {} events were dropped, as its retention says, and no snapshot of what they led to is sound",
            start.seq
        )));
    }
    let mut events = Vec::new();
    reader::walk(connection, &mut head, |link, event| {
        events.push((link.seq, event));
        Ok(())
    })?;
    let last = reader::last_commit(connection)?;
    match &last {
        Some(last) if last.head != head => {
            return Err(Fault::Damaged(format!(
                "the last commit ended at event {}, the file ends at {}",
                last.head.seq, head.seq
            )));
        }
        None if head.seq > 0 => return Err(Fault::Damaged("there are events without a commit".to_owned())),
        _ => {}
    }
    let good_setup = good_setup(connection, &mut damage)?;
    let epoch = schema::need_fact(connection, fact::EPOCH)?;
    let clock = last.map(|last| last.clock);
    Ok(Recovered { journal, created: false, epoch, head, snapshot, events, clock, good_setup, damage })
}

/// Returns the journal's identity as the file has it.
pub(super) fn journal_id(connection: &Connection) -> Result<JournalId, Fault> {
    schema::need_fact(connection, fact::JOURNAL)
}

/// Checks the first event, which ties the chain to the journal's identity also where a snapshot spares the rest.
fn check_first(connection: &Connection, journal: &JournalId, start: Head) -> Result<(), Fault> {
    let first = reader::first_link(connection)?;
    match first.map(|link| link.check(start)) {
        Some(Err(_)) => Err(Fault::Damaged(format!(
            "its first event does not belong to journal {}, or it was changed",
            journal.as_str()
        ))),
        _ => Ok(()),
    }
}

/// Returns the newest snapshot that is sound, and the head at its place.
fn newest_snapshot(
    connection: &Connection,
    journal: &JournalId,
    damage: &mut Vec<String>,
) -> Result<(Option<Snapshot>, Head), Fault> {
    let mut statement =
        connection.prepare("SELECT seq, state, hash, digest FROM snapshots ORDER BY seq DESC")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, state): (i64, String) = (row.get(0)?, row.get(1)?);
        let (hash, digest): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
        let seq = u64::try_from(seq).unwrap_or(u64::MAX);
        let here = reader::hash_at(connection, journal, seq)?;
        match (here, ChainHash::from_bytes(&hash)) {
            (Some(here), Some(kept))
                if here == kept && digest == schema::snapshot_digest(seq, &hash, &state) =>
            {
                return Ok((Some(Snapshot { seq, state }), Head { seq, hash: here }));
            }
            _ => damage.push(format!("the snapshot at event {seq} is damaged; state was built without it")),
        }
    }
    Ok((None, Head { seq: 0, hash: ChainHash::genesis(journal) }))
}

fn good_setup(connection: &Connection, damage: &mut Vec<String>) -> Result<Option<GoodSetup>, Fault> {
    let body = match schema::get_fact(connection, fact::GOOD_SETUP) {
        Err(Fault::Damaged(problem)) => {
            damage.push(format!("{problem}; there is no last good set of files until the next good load"));
            return Ok(None);
        }
        other => other?,
    };
    match body.map(|body| serde_json::from_str(&body)).transpose() {
        Ok(setup) => Ok(setup),
        Err(error) => {
            damage.push(format!("the last good set of files is unreadable: {error}"));
            Ok(None)
        }
    }
}

/// Makes sure that the file is not an older copy of the journal that was here: ids would be given out twice, and a step
/// unit or a page of the same id would pass for done.
fn check_age(path: &Path, recovered: &Recovered, last: Option<&LastOpened>) -> Result<(), OpenError> {
    let Some(last) = last else { return Ok(()) };
    let problem = if last.journal != recovered.journal {
        format!(
            "it is journal {}; the one here before was {}",
            recovered.journal.as_str(),
            last.journal.as_str()
        )
    } else if recovered.epoch < last.epoch {
        format!("it is an older copy, of epoch {}; epoch {} was here before", recovered.epoch, last.epoch)
    } else {
        return Ok(());
    };
    Err(OpenError::Corrupt { path: path.to_owned(), problem })
}

fn begin_epoch(connection: &mut Connection, before: u64) -> Result<u64, Fault> {
    let epoch = before + 1;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u64 = schema::need_fact(&transaction, fact::EPOCH)?;
    if found != before {
        return Err(Fault::Damaged(format!("its epoch went from {before} to {found} while it was opened")));
    }
    schema::put_fact(&transaction, fact::EPOCH, &epoch.to_string())?;
    transaction.commit()?;
    Ok(epoch)
}

/// See [`Journal::set_aside`].
pub(super) fn set_aside(state_dir: &Path) -> Result<Option<PathBuf>, OpenError> {
    let (mut lock, _) = StateLock::acquire(state_dir)?;
    let path = state_dir.join(FILE);
    let moved = path.exists() || database::sidecars(&path).iter().any(|file| file.exists());
    let taken = |to: &Path| to.exists() || database::sidecars(to).iter().any(|file| file.exists());
    let name = |nth: u32| database::with_suffix(&path, &format!(".bad-{nth}"));
    let mut nth = 1;
    while taken(&name(nth)) {
        nth += 1;
    }
    let to = name(nth);
    if moved {
        database::move_aside(&path, &to).map_err(|error| OpenError::file(&path, &error))?;
    }
    lock.record(None)?;
    Ok(moved.then_some(to))
}
