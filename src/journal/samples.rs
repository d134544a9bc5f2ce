//! What was measured, in `samples.sqlite`: so that windows go on after a restart, and so that what was decided can be
//! decided again.
//!
//! For the second, answers alone would not do: an answer is judged when it is heard, which is later than when it was
//! asked for, and windows become full and sources fall silent between answers. So every [`Turn`] is kept with its time.
//!
//! A store of its own with `synchronous = NORMAL`: it is written once per interval, a power cut may take the last
//! interval, and that is a gap, not a lie. For the same reason a damaged store is set aside and made anew, and a row
//! that does not match its checksum is left out whole (E2: there is no half an answer).

mod codec;
mod row;

use std::collections::{BTreeSet, HashMap};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use self::codec::Numbered;
use self::row::Row;
use super::database::{self, Durability};
use super::error::Fault;
use crate::engine::model::Labels;
use crate::engine::series::Observation;
use crate::engine::time::Timestamp;

/// The store's name in the state directory.
const FILE: &str = "samples.sqlite";

/// Marks the file as ours: "RGSM".
const APPLICATION_ID: i32 = 0x5247_534d;

/// The version of the tables below. A store of another version is set aside: its content is worth a gap.
const VERSION: i32 = 2;

const TABLES: &str = "
    CREATE TABLE labels (
        id INTEGER PRIMARY KEY,
        body TEXT NOT NULL,              -- JSON
        digest BLOB NOT NULL
    ) STRICT;
    CREATE TABLE turns (
        id INTEGER PRIMARY KEY,          -- the order in which they were taken
        turn_ms INTEGER NOT NULL,        -- engine time at which the engine took it
        at_ms INTEGER NOT NULL,          -- engine time at which the source was asked, else turn_ms
        source TEXT,                     -- NULL where nothing was heard: the engine looked at its deadlines
        took_ms INTEGER NOT NULL,
        failure TEXT,                    -- JSON; NULL where there is an answer
        samples BLOB NOT NULL,
        digest BLOB NOT NULL             -- the first 8 bytes of a SHA-256 over the rest
    ) STRICT;
    CREATE INDEX turns_at ON turns (at_ms);
    CREATE TABLE windows (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        body TEXT NOT NULL,              -- JSON
        digest BLOB NOT NULL
    ) STRICT;
";

/// The writer of `samples.sqlite`. Opened after the journal, whose lock covers it.
#[derive(Debug)]
pub struct SampleStore {
    path: PathBuf,
    /// `None` after a failure: the next call opens the file anew.
    connection: Option<Connection>,
    /// Every label set in the file.
    numbers: HashMap<Labels, i64>,
    next_number: i64,
    /// Turns that wait for the next flush.
    pending: Vec<Turn>,
    /// Whether label sets have come since the last look for unused ones.
    grown: bool,
}

/// One turn of the engine on measurements: what it heard, and when it took that in.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The engine time that it was judged and decided at.
    pub at: Timestamp,
    /// What a source said; `None` where the engine looked at its deadlines without having heard anything.
    pub observation: Option<Observation>,
}

/// What opening the store has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SamplesOpened {
    /// Whether the store begins empty.
    pub created: bool,
    /// Where a damaged store was moved and what was wrong with it: its samples are a gap. Only the last one is kept.
    pub set_aside: Option<(PathBuf, String)>,
}

/// Turns that were kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadedSamples {
    /// Those that are sound, in the order in which they were taken.
    pub turns: Vec<Turn>,
    /// How many were damaged and left out: gaps.
    pub unreadable: usize,
}

impl LoadedSamples {
    /// Returns what was heard, in that order.
    pub fn observations(self) -> Vec<Observation> {
        self.turns.into_iter().filter_map(|turn| turn.observation).collect()
    }
}

/// Why samples were not written or read. The daemon goes on: its windows are in memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}`: {problem} (turns not kept for the next restart: {lost}); {remedy}", path.display())]
pub struct SamplesError {
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    pub problem: String,
    /// How many pending turns were dropped, so that memory stays bounded.
    pub lost: usize,
    /// What to do about it.
    pub remedy: &'static str,
}

impl SampleStore {
    /// Opens the store in `state_dir`; makes one where there is none or a damaged one.
    ///
    /// # Errors
    /// The file system said no; the daemon may run without the store.
    pub fn open(state_dir: &Path) -> Result<(Self, SamplesOpened), SamplesError> {
        let mut store = Self {
            path: state_dir.join(FILE),
            connection: None,
            numbers: HashMap::new(),
            next_number: 1,
            pending: Vec::new(),
            grown: true,
        };
        let opened = store.reopen().map_err(|fault| store.give_up(&fault, 0))?;
        Ok((store, opened))
    }

    /// Takes a turn; it is written at the next [`SampleStore::flush`].
    pub fn append(&mut self, turn: Turn) {
        self.pending.push(turn);
    }

    /// Writes everything that was appended, in one transaction.
    ///
    /// # Errors
    /// What was pending is dropped (a gap), so that a full disk does not fill the memory. The next flush opens the file
    /// anew; if it had to be set aside for that, the returned value says so.
    pub fn flush(&mut self) -> Result<SamplesOpened, SamplesError> {
        let pending = std::mem::take(&mut self.pending);
        let write = |store: &mut Self| -> Result<SamplesOpened, Fault> {
            let opened = store.reopen_if_needed()?;
            store.write(&pending)?;
            Ok(opened)
        };
        write(self).map_err(|fault| self.give_up(&fault, pending.len()))
    }

    /// Returns the turns whose source was asked at `since` or later, in the order in which they were taken.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(&mut self, since: Timestamp) -> Result<LoadedSamples, SamplesError> {
        self.flush()?;
        self.read(since).map_err(|fault| self.give_up(&fault, 0))
    }

    /// Forgets turns whose source was asked before `before`, and label sets that no observation has any more.
    ///
    /// Meant to be called a few times per hour: looking for unused label sets reads the whole store.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn prune(&mut self, before: Timestamp) -> Result<(), SamplesError> {
        self.flush()?;
        self.remove(before).map_err(|fault| self.give_up(&fault, 0))
    }

    /// Stores the engine's windows as they are now, in place of those stored before.
    ///
    /// # Errors
    /// The file cannot be written, or the windows are not JSON.
    pub fn save_windows(&mut self, windows: &impl Serialize) -> Result<(), SamplesError> {
        let write = |store: &mut Self| -> Result<(), Fault> {
            let body = json(windows)?;
            store.reopen_if_needed()?;
            let digest = first_eight(Sha256::new().chain_update(&body));
            let sql = "INSERT OR REPLACE INTO windows (id, body, digest) VALUES (1, ?1, ?2)";
            store.connection()?.execute(sql, params![body, digest])?;
            Ok(())
        };
        write(self).map_err(|fault| self.give_up(&fault, 0))
    }

    /// Returns the windows that were stored last, if any were.
    ///
    /// # Errors
    /// The file cannot be read, or the windows are damaged: they begin empty then.
    pub fn load_windows<T: DeserializeOwned>(&mut self) -> Result<Option<T>, SamplesError> {
        let read = |store: &mut Self| -> Result<Option<T>, Fault> {
            store.reopen_if_needed()?;
            let mut statement = store.connection()?.prepare("SELECT body, digest FROM windows")?;
            let mut rows = statement.query([])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let (body, digest): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
            if digest != first_eight(Sha256::new().chain_update(&body)) {
                return Err(Fault::Damaged("the stored windows do not match their checksum".to_owned()));
            }
            let windows = serde_json::from_str(&body);
            windows.map(Some).map_err(|error| Fault::Damaged(format!("the stored windows: {error}")))
        };
        read(self).map_err(|fault| self.give_up(&fault, 0))
    }

    fn connection(&self) -> Result<&Connection, Fault> {
        self.connection.as_ref().ok_or_else(|| Fault::Damaged("the store is not open".to_owned()))
    }

    fn reopen_if_needed(&mut self) -> Result<SamplesOpened, Fault> {
        if self.connection.is_some() { Ok(SamplesOpened::default()) } else { self.reopen() }
    }

    /// Opens the file, or sets it aside and makes a new one.
    fn reopen(&mut self) -> Result<SamplesOpened, Fault> {
        let (file, set_aside) = match OpenFile::open(&self.path) {
            Ok(file) => (file, None),
            Err(Fault::Sql(error)) if !database::is_damage(&error) => return Err(Fault::Sql(error)),
            Err(fault) => {
                let to = set_aside(&self.path)?;
                (OpenFile::open(&self.path)?, Some((to, fault.problem())))
            }
        };
        self.numbers = file.numbers;
        self.next_number = file.next_number;
        self.connection = Some(file.connection);
        Ok(SamplesOpened { created: file.created, set_aside })
    }

    /// Writes turns and the label sets that are new in them.
    ///
    /// After an error the numbers given out here are not in the file; they are read anew with it.
    fn write(&mut self, turns: &[Turn]) -> Result<(), Fault> {
        let Some(connection) = &self.connection else {
            return Err(Fault::Damaged("it is not open".to_owned()));
        };
        let transaction = connection.unchecked_transaction()?;
        {
            let mut keep_labels =
                transaction.prepare_cached("INSERT INTO labels (id, body, digest) VALUES (?1, ?2, ?3)")?;
            let mut keep = transaction.prepare_cached(
                "INSERT INTO turns (turn_ms, at_ms, source, took_ms, failure, samples, digest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for turn in turns {
                let answer = turn.observation.as_ref().map(|observation| observation.answer.as_deref());
                let samples = answer.and_then(Result::ok).unwrap_or_default();
                let mut numbered = Vec::with_capacity(samples.len());
                for sample in samples {
                    let labels = match self.numbers.get(&sample.labels) {
                        Some(number) => *number,
                        None => {
                            let number = self.next_number;
                            let body = json(&sample.labels)?;
                            keep_labels.execute(params![number, body, labels_digest(number, &body)])?;
                            self.numbers.insert(sample.labels.clone(), number);
                            self.next_number += 1;
                            self.grown = true;
                            number
                        }
                    };
                    numbered.push(Numbered { labels, at: sample.at, value: sample.value });
                }
                let row = Row::of(turn, numbered)?;
                let digest = row.digest();
                keep.execute(params![
                    row.turn_ms,
                    row.at_ms,
                    row.source,
                    row.took_ms,
                    row.failure,
                    row.samples,
                    digest
                ])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(&self, since: Timestamp) -> Result<LoadedSamples, Fault> {
        let sets: HashMap<i64, &Labels> = self.numbers.iter().map(|(set, number)| (*number, set)).collect();
        let mut statement = self.connection()?.prepare(
            "SELECT turn_ms, at_ms, source, took_ms, failure, samples, digest FROM turns
             WHERE at_ms >= ?1 ORDER BY id",
        )?;
        let mut rows = statement.query([since.as_millis()])?;
        let mut loaded = LoadedSamples::default();
        while let Some(row) = rows.next()? {
            let digest: Vec<u8> = row.get(6)?;
            let row = Row {
                turn_ms: row.get(0)?,
                at_ms: row.get(1)?,
                source: row.get(2)?,
                took_ms: row.get(3)?,
                failure: row.get(4)?,
                samples: row.get(5)?,
            };
            match row.turn(&digest, &sets) {
                Some(turn) => loaded.turns.push(turn),
                None => loaded.unreadable += 1,
            }
        }
        Ok(loaded)
    }

    fn remove(&mut self, before: Timestamp) -> Result<(), Fault> {
        let transaction = self.connection()?.unchecked_transaction()?;
        transaction.execute("DELETE FROM turns WHERE at_ms < ?1", [before.as_millis()])?;
        let unused = if self.grown { unused_labels(&transaction, &self.numbers)? } else { BTreeSet::new() };
        for number in &unused {
            transaction.prepare_cached("DELETE FROM labels WHERE id = ?1")?.execute([number])?;
        }
        transaction.commit()?;
        self.numbers.retain(|_, number| !unused.contains(number));
        // Without new label sets there is nothing that could grow, so nothing is looked for.
        self.grown = false;
        Ok(())
    }

    /// Names what went wrong and drops the connection: it is not trusted after a failure, and numbers given out may not
    /// have reached the file.
    fn give_up(&mut self, fault: &Fault, lost: usize) -> SamplesError {
        let remedy = match fault {
            Fault::Sql(error) => database::remedy(error),
            _ => "nothing needs to be done; the windows fill again",
        };
        self.connection = None;
        self.numbers.clear();
        SamplesError { path: self.path.clone(), problem: fault.problem(), lost, remedy }
    }
}

/// The file, opened and checked, with what is read of it once.
struct OpenFile {
    connection: Connection,
    created: bool,
    numbers: HashMap<Labels, i64>,
    next_number: i64,
}

impl OpenFile {
    fn open(path: &Path) -> Result<Self, Fault> {
        if !path.exists() {
            make_empty(path).map_err(|error| {
                let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
                Fault::Sql(rusqlite::Error::SqliteFailure(failure, Some(error.to_string())))
            })?;
        }
        let mut connection = database::open_to_write(path, Durability::Normal)?;
        let (application, version) = database::identity(&connection)?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let created = (application, version, tables) == (0, 0, 0);
        if created {
            database::use_wal(&connection)?;
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        } else if (application, version) != (APPLICATION_ID, VERSION) {
            return Err(Fault::Damaged(format!("it is not a sample store of version {VERSION}")));
        } else if let Some(problem) = database::quick_check(&connection)? {
            return Err(Fault::Damaged(problem));
        }
        let (numbers, last) = read_labels(&connection)?;
        Ok(Self { connection, created, numbers, next_number: last + 1 })
    }
}

/// Makes an empty file, which SQLite takes for an empty database.
fn make_empty(path: &Path) -> std::io::Result<()> {
    // A log without its file is of another file; SQLite would apply it to the new one.
    database::sidecars(path).iter().try_for_each(|file| database::remove_if_there(file))?;
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(path).map(drop)
}

/// Reads the label sets and the last number given out. A damaged one is left out, and so will be what refers to it.
fn read_labels(connection: &Connection) -> Result<(HashMap<Labels, i64>, i64), Fault> {
    let mut numbers = HashMap::new();
    let mut last = 0;
    let mut statement = connection.prepare("SELECT id, body, digest FROM labels ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (body, digest): (String, Vec<u8>) = (row.get(1)?, row.get(2)?);
        last = row.get(0)?;
        if digest == labels_digest(last, &body)
            && let Ok(labels) = serde_json::from_str(&body)
        {
            numbers.insert(labels, last);
        }
    }
    Ok((numbers, last))
}

/// Returns the numbers of label sets that no observation has.
fn unused_labels(connection: &Connection, numbers: &HashMap<Labels, i64>) -> Result<BTreeSet<i64>, Fault> {
    let mut unused: BTreeSet<i64> = numbers.values().copied().collect();
    let mut statement = connection.prepare("SELECT at_ms, samples FROM turns")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let at = Timestamp::from_millis(row.get(0)?);
        for sample in codec::decode(at, row.get_ref(1)?.as_blob().unwrap_or_default()).unwrap_or_default() {
            unused.remove(&sample.labels);
        }
    }
    Ok(unused)
}

/// Moves a damaged store aside, in place of the one before: disk space stays bounded.
fn set_aside(path: &Path) -> Result<PathBuf, Fault> {
    let to = database::with_suffix(path, ".bad");
    let moved = database::sidecars(&to)
        .iter()
        .try_for_each(|file| database::remove_if_there(file))
        .and_then(|()| database::move_aside(path, &to));
    moved.map_err(|error| Fault::Damaged(format!("it is damaged and cannot be moved: {error}")))?;
    Ok(to)
}

fn json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Damaged(format!("it is not JSON: {error}")))
}

fn labels_digest(number: i64, body: &str) -> [u8; 8] {
    first_eight(Sha256::new().chain_update(number.to_be_bytes()).chain_update(body))
}

fn first_eight(hasher: Sha256) -> [u8; 8] {
    let whole: [u8; 32] = hasher.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = whole;
    [a, b, c, d, e, f, g, h]
}
