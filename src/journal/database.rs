//! SQLite files as such: how they are opened, checked, and moved out of the way.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long a writer waits for somebody who has locked the file with `sqlite3`.
///
/// Long enough for a careless `UPDATE` by hand, short enough that a page is not late: it goes out from memory then.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// SQLite's own code for a read past the end of the file (`sqlite3.h`, `SQLITE_IOERR_SHORT_READ`).
const SHORT_READ: i32 = 522;

/// How durable a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Synced when it returns.
    Full,
    /// Synced now and then; a power cut may take the last commits, never the file's consistency.
    Normal,
}

/// Opens an existing file for reading and writing, in WAL mode.
pub(super) fn open_to_write(path: &Path, durability: Durability) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(
        None,
        "synchronous",
        match durability {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
        },
    )?;
    Ok(connection)
}

/// Opens an existing file for reading only.
///
/// Beside a log SQLite needs the file that it shares with the writer, and makes it if it is not there. Whoever may not
/// write in the directory, of a daemon that is down or on a copy of its files, reads the main file alone: with no log beside
/// it, that is all there is.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let first_read: rusqlite::Result<i32> =
        connection.pragma_query_value(None, "schema_version", |row| row.get(0));
    let [log, _] = sidecars(path);
    match first_read {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && !log.exists() => {
            let access = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            open(Path::new(&immutable(path)), access)
        }
        // Whatever else it is, whoever reads next is told.
        _ => Ok(connection),
    }
}

/// Names a file so that SQLite takes it for one that nobody writes to.
fn immutable(path: &Path) -> std::ffi::OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut name = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => name.extend(format!("%{byte:02x}").bytes()),
            byte => name.push(*byte),
        }
    }
    name.extend(b"?immutable=1");
    std::ffi::OsString::from_vec(name)
}

fn open(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A damaged page is then an error at once and not a wrong answer; the schema's text is data and calls nothing.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Brings the file into WAL mode: readers never block the writer, and a commit is one sync.
pub(super) fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_SHMOPEN),
        Some("its file system has no shared memory for a write-ahead log; use a local disk".to_owned()),
    ))
}

/// Lets SQLite check the file's structure; returns what is wrong with it.
pub(super) fn quick_check(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((said != "ok").then_some(said))
}

/// Returns the file's application id and schema version.
pub(super) fn identity(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((application, version))
}

/// Returns whether the error means that the file's content is bad, not that the file system is.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                || failure.extended_code == SHORT_READ
                // A table or column that is not there: the schema's page is not what we wrote.
                || failure.code == ErrorCode::Unknown
        }
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

/// Returns what to do about an error.
pub(super) fn remedy(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "free space on its file system",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "make it and its directory readable and writable for this user"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "end the program that keeps it locked, such as an open `sqlite3`"
        }
        _ => "check the file system and the kernel's log",
    }
}

/// Returns how many bytes of the file hold something; the rest is free and used again.
pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let value = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = value("page_count")?.saturating_sub(value("freelist_count")?);
    Ok(u64::try_from(pages.saturating_mul(value("page_size")?)).unwrap_or(0))
}

/// Gives free pages at the end of the file back to the file system, a few at a time.
pub(super) fn give_back(connection: &Connection, pages: u32) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Names the two files that SQLite keeps beside its main file.
pub(super) fn sidecars(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| with_suffix(path, suffix))
}

/// Appends to a file's name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns device and inode: whether a path still names the file that was opened.
pub(super) fn file_identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Moves a database and the files beside it to `to`, so that `sqlite3` can still open it there.
///
/// The main file goes first: a crash in between leaves a log without its file, which is found, and never a file without
/// the end of its log, which would pass for whole.
pub(super) fn move_aside(path: &Path, to: &Path) -> io::Result<()> {
    rename_if_there(path, to)?;
    for (from, to) in sidecars(path).iter().zip(&sidecars(to)) {
        rename_if_there(from, to)?;
    }
    sync_directory_of(path)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a file that may not be there.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a rename durable.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
