//! Notices that rule files have changed.
//!
//! Never the file itself is watched but every directory on the way to it: editors and ConfigMaps replace files, and a
//! watch on a file dies with it. What happened does not matter, only that something did; then it is quiet for 300 ms, and
//! the files are read again. A poll makes up for what inotify cannot see (network file systems, exhausted limits).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How long nothing must have happened before files are read again: saving a file is several events.
const QUIET: Duration = Duration::from_millis(300);

/// How often files are read again whether or not anything was noticed.
const POLL: Duration = Duration::from_secs(60);

/// How many links are followed on the way to one file, as in Linux.
const LINKS_MAX: usize = 40;

/// Watches the directories that lead to a set of files.
pub struct Watching {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    noticed: mpsc::Receiver<()>,
}

impl Watching {
    /// Begins to watch; without inotify only the poll is left, which is logged.
    pub fn new(files: &[PathBuf]) -> Self {
        let (notice, noticed) = mpsc::channel(1);
        let on_event = move |event: notify::Result<notify::Event>| {
            // Our own reading is an access too: to look again for that would never end.
            let matters = event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_)));
            if matters {
                // Full means that somebody will look anyway.
                notice.try_send(()).unwrap_or_default();
            }
        };
        let watcher = notify::recommended_watcher(on_event);
        let watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "files are only polled once a minute")).ok();
        let mut watching = Self { watcher, watched: BTreeSet::new(), noticed };
        watching.follow(files);
        watching
    }

    /// Watches what leads to `files` now, and no longer what does not.
    pub fn follow(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = files.iter().flat_map(|file| directories_to(file)).collect();
        for gone in self.watched.difference(&wanted) {
            // A directory that is gone has taken its watch along.
            watcher.unwatch(gone).unwrap_or_default();
        }
        let mut watched = BTreeSet::new();
        for directory in wanted {
            // Again, also where it is watched already: it may be another directory of the same name by now.
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(directory);
                }
                Err(error) => tracing::debug!(%error, directory = %directory.display(), "not watched"),
            }
        }
        self.watched = watched;
    }

    /// Waits until files should be read again.
    pub async fn changed(&mut self) {
        match tokio::time::timeout(POLL, self.noticed.recv()).await {
            Ok(Some(())) => {
                while tokio::time::timeout(QUIET, self.noticed.recv()).await.is_ok_and(|more| more.is_some())
                {
                }
            }
            // Without a watcher the channel is closed at once: only the poll is left.
            Ok(None) => tokio::time::sleep(POLL).await,
            Err(_) => {}
        }
    }
}

/// Returns the directory of `file` and of every link that leads to it.
fn directories_to(file: &Path) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let mut hop = file.to_owned();
    for _ in 0..LINKS_MAX {
        let Some(parent) = hop.parent().map(Path::to_owned) else { break };
        let next = match std::fs::read_link(&hop) {
            Ok(target) => Some(parent.join(target)),
            // A link further up: the same file by its directory's real path.
            Err(_) => std::fs::read_link(&parent).ok().map(|target| {
                let above = parent.parent().unwrap_or(Path::new("/"));
                above.join(target).join(hop.file_name().unwrap_or_default())
            }),
        };
        // The directory's own entry matters where the directory is a link.
        directories.extend(parent.parent().map(Path::to_owned).filter(|_| parent.is_symlink()));
        directories.push(parent);
        match next {
            Some(next) => hop = next,
            None => break,
        }
    }
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_on_the_way_to_a_file_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("mount/v1")).unwrap();
        std::fs::write(at("mount/v1/rules.yaml"), "").unwrap();
        std::os::unix::fs::symlink("v1", at("mount/data")).unwrap();
        std::os::unix::fs::symlink("data/rules.yaml", at("mount/rules.yaml")).unwrap();
        let directories = directories_to(&at("mount/rules.yaml"));
        for expected in ["mount", "mount/data", "mount/v1"] {
            assert!(directories.contains(&at(expected)), "{expected} in {directories:?}");
        }
    }
}
