//! Why a state directory cannot be used, each with what to do next.

use std::path::{Path, PathBuf};

use super::chain::ChainBreak;
use super::database;
use super::ledger::CommitError;

/// Why a journal cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The state directory is missing or cannot be written.
    #[error("state directory `{}`: {problem}; {remedy}", path.display())]
    Directory {
        /// The directory, or the file in it that could not be written.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Another daemon runs on this state directory.
    #[error(
        "`{}` is held by {holder}: another daemon runs on this state directory; stop that one, or give this one a `state:` directory of its own",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The other daemon's pid, where the lock file tells it.
        pid: Option<u32>,
        /// The same for people, with the time at which it took the lock.
        holder: String,
    },
    /// The journal was written by a later version.
    #[error(
        "`{}` was written by a newer Rearguard ({what} {found}; this one knows up to {known}): run that version again, or name another `state:` directory",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Which version it is that is newer.
        what: &'static str,
        /// The version in the file.
        found: i64,
        /// The newest one that this program reads.
        known: i64,
    },
    /// The journal is damaged, gone, or an older copy of itself.
    ///
    /// [`Journal::set_aside`](super::Journal::set_aside) makes room for a new one.
    #[error(
        "`{}` is damaged: {problem}; set it aside (it is kept) to begin a new journal: the incidents, cooldowns and pages in it are then forgotten",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file system said no.
    #[error("cannot open `{}`: {problem}; {remedy}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        problem: String,
        /// What to do about it.
        remedy: &'static str,
    },
}

impl OpenError {
    /// Names a failed file operation in the state directory.
    pub(super) fn file(path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
        let remedy = match error.kind() {
            PermissionDenied | ReadOnlyFilesystem => "make it writable for the daemon's user",
            StorageFull => "free space on its file system",
            _ => "check the directory and the kernel's log",
        };
        Self::Directory { path: path.to_owned(), problem: error.to_string(), remedy }
    }
}

/// What can go wrong between SQLite and us, before it is known who asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite said no.
    Sql(rusqlite::Error),
    /// The content does not bear out its own checksums.
    Damaged(String),
    /// The chain does not hold.
    Break(ChainBreak),
    /// An event of a version that this program does not know.
    NewerEvent(u32),
    /// Nothing: whoever reads has seen enough.
    Enough,
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    /// Says it as the reason for which `path` cannot be opened.
    pub(super) fn on_open(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Sql(error) if !database::is_damage(&error) => {
                OpenError::Storage { path, problem: error.to_string(), remedy: database::remedy(&error) }
            }
            Self::NewerEvent(found) => OpenError::Newer {
                path,
                what: "event version",
                found: found.into(),
                known: crate::engine::decision::EVENT_VERSION.into(),
            },
            other => OpenError::Corrupt { path, problem: other.problem() },
        }
    }

    /// Says it as the reason for which `path` was not written.
    pub(super) fn on_commit(self, path: &Path) -> CommitError {
        let remedy = match &self {
            Self::Sql(error) => database::remedy(error),
            _ => "restart the daemon: it checks the whole file and sets it aside if it must",
        };
        CommitError::Storage { path: path.to_owned(), problem: self.problem(), remedy }
    }

    /// Returns what is wrong, for people.
    pub(super) fn problem(&self) -> String {
        match self {
            Self::Sql(error) => error.to_string(),
            Self::Damaged(what) => what.clone(),
            Self::Break(broken) => broken.to_string(),
            Self::NewerEvent(version) => format!("it has events of version {version}"),
            Self::Enough => "it was read no further".to_owned(),
        }
    }
}
