//! The lock on a state directory: one daemon at a time, and a memory of which journal lives here.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::process::Process;

use super::error::OpenError;
use crate::engine::model::JournalId;

/// The lock file's name. It stays when the daemon goes; only the lock on it counts.
const FILE: &str = "lock";

/// The most that is read of a lock file, in bytes; ours are far smaller.
const MAX_BYTES: u64 = 4096;

/// How often, and how far apart, a lock that is held is tried again: a quarter of a second in all.
const LOCK_TRIES: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The journal that was last opened here.
///
/// Kept outside of the journal, so that a journal that was deleted, or replaced by an older copy of itself, is found out
/// and not taken for a first start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastOpened {
    pub(super) journal: JournalId,
    pub(super) epoch: u64,
}

/// The lock, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(super) struct StateLock {
    path: PathBuf,
    file: File,
}

impl StateLock {
    /// Takes the lock, or says who holds it; returns what the lock file remembers.
    pub(super) fn acquire(state_dir: &Path) -> Result<(Self, Option<LastOpened>), OpenError> {
        check_directory(state_dir)?;
        let path = state_dir.join(FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640);
        let mut file = options.open(&path).map_err(|error| OpenError::file(&path, &error))?;
        let locked = try_lock(&file);
        let mut text = Vec::new();
        Read::by_ref(&mut file)
            .take(MAX_BYTES)
            .read_to_end(&mut text)
            .map_err(|error| OpenError::file(&path, &error))?;
        let text = String::from_utf8_lossy(&text);
        match locked {
            Err(TryLockError::WouldBlock) => return Err(held_by_another(path, &text)),
            Err(TryLockError::Error(error)) => return Err(OpenError::file(&path, &error)),
            Ok(()) => {}
        }
        let last = last_opened(&text);
        let mut lock = Self { path, file };
        lock.record(last.as_ref())?;
        Ok((lock, last))
    }

    /// Writes who holds the lock and which journal lives here.
    pub(super) fn record(&mut self, last: Option<&LastOpened>) -> Result<(), OpenError> {
        // The start in clock ticks since boot tells this process from a later one of the same pid.
        let start = Process::myself().and_then(|process| process.stat()).map_or(0, |stat| stat.starttime);
        let mut text = format!("pid {}\nstart_ticks {start}\n", std::process::id());
        if let Some(last) = last {
            text.push_str(&format!("journal {}\nepoch {}\n", last.journal.as_str(), last.epoch));
        }
        self.overwrite(&text).map_err(|error| OpenError::file(&self.path, &error))
    }

    /// Overwrites before it cuts: a crash in between leaves old lines behind the new ones, never an empty file.
    fn overwrite(&mut self, text: &str) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()
    }
}

impl Drop for StateLock {
    /// Unlocks by word and not by closing: a child process that is just being started still has the file open too, and
    /// would hold the lock until it has become another program.
    fn drop(&mut self) {
        // It ends with the process in any case.
        drop(self.file.unlock());
    }
}

/// Tries for a moment: a daemon that was killed may leave such a child behind, which is gone in milliseconds.
fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
    file.try_lock()
}

/// Checks what can be told apart before anything is written.
fn check_directory(state_dir: &Path) -> Result<(), OpenError> {
    let refused =
        |problem: String, remedy| OpenError::Directory { path: state_dir.to_owned(), problem, remedy };
    match fs::metadata(state_dir) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(refused("it is not a directory".to_owned(), "name a directory in `state:`")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(refused(
            "it does not exist".to_owned(),
            "create it for the daemon's user (under systemd, `StateDirectory=rearguard` does)",
        )),
        Err(error) => Err(OpenError::file(state_dir, &error)),
    }
}

/// Reads `NAME VALUE` lines; what is not there or not ours is as good as absent.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

fn last_opened(text: &str) -> Option<LastOpened> {
    let epoch = field(text, "epoch")?.parse().ok()?;
    Some(LastOpened { journal: JournalId::new(field(text, "journal")?), epoch })
}

fn held_by_another(path: PathBuf, text: &str) -> OpenError {
    let pid: Option<u32> = field(text, "pid").and_then(|pid| pid.parse().ok());
    let since = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
    let since = since.and_then(|time| jiff::Timestamp::try_from(time).ok());
    let mut holder = pid.map_or_else(|| "an unknown process".to_owned(), |pid| format!("process {pid}"));
    if let Some(since) = since {
        holder.push_str(&format!(" since {since:.0}"));
    }
    OpenError::Locked { path, pid, holder }
}
