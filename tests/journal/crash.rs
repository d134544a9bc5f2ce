//! Killed and lied to by the disk at every system call that matters. Needs `strace`; says so where there is none.

use std::path::Path;
use std::process::{Command, Output};

use rearguard::journal::{CommitError, Journal, Ledger, Reader};

use crate::story::{batch, commit, note, open};

/// Names the state directory to the child.
pub const DIRECTORY: &str = "REARGUARD_JOURNAL_CHILD";

/// The events that a child commits, each alone.
const EVENTS: u64 = 6;

/// What a child does.
pub mod child {
    /// Commits notes.
    pub const COMMIT: &str = "crash::child";
    /// Opens the journal, and that is all.
    pub const OPEN: &str = "crash::child_that_opens";
    /// Writes a checkpoint and drops what is before it.
    pub const DROP: &str = "crash::child_that_drops";
}

/// Returns the state directory that a child was given.
fn own_directory() -> std::path::PathBuf {
    std::env::var_os(DIRECTORY).unwrap_or_else(|| panic!("{DIRECTORY} must name a state directory")).into()
}

#[test]
#[ignore = "runs as the child of other tests"]
fn child_that_opens() {
    open(&own_directory());
}

#[test]
#[ignore = "runs as the child of other tests"]
fn child_that_drops() {
    let (journal, recovered) = open(&own_directory());
    crate::retention::drop_before_hour(journal, recovered.head, 600);
}

/// Commits notes one by one and prints each acknowledgement. Goes on after a failed write, as the daemon does.
#[test]
#[ignore = "runs as the child of the tests below"]
fn child() {
    let (mut journal, recovered) = match Journal::open(&own_directory()) {
        Ok(opened) => opened,
        Err(error) => return println!("\nnot opened: {error}"),
    };
    let mut head = recovered.head;
    let mut attempts = 0;
    while head.seq < EVENTS && attempts < 4 * EVENTS {
        attempts += 1;
        match journal.commit(&batch(journal.epoch(), head.seq, vec![note(head.seq + 1)])) {
            Ok(after) | Err(CommitError::Conflict { head: after, landed: true, .. }) => {
                head = after;
                println!("\nacknowledged {}", head.seq);
            }
            Err(CommitError::Storage { problem, .. }) => println!("\nfailed {problem}"),
            Err(other) => panic!("{other}"),
        }
        if head.seq == EVENTS / 2 {
            println!("\nsnapshot {:?}", journal.snapshot(head.seq, &head.seq));
        }
    }
}

fn run(directory: &Path, inject: &str, files: &[&str]) -> Option<Output> {
    run_child(directory, inject, files, child::COMMIT)
}

/// Runs a child under `strace` with a fault in calls on `files` (on all, where none is named), or returns `None` where
/// `strace` cannot do it.
pub fn run_child(directory: &Path, inject: &str, files: &[&str], child: &str) -> Option<Output> {
    let own = std::env::current_exe().unwrap();
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={inject}")])
        .args(files.iter().flat_map(|file| ["-P".into(), directory.join(file)]))
        .arg(own)
        .args(["--ignored", "--exact", child, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .output();
    match output {
        Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("PTRACE") => Some(output),
        _ => {
            println!("skipped: `strace` is not there or may not trace");
            None
        }
    }
}

/// Makes sure that everything that was acknowledged is there, once and in order, and that the journal goes on.
fn check(directory: &Path, output: &Output, what: &str) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let acknowledged = text.lines().filter_map(|line| line.strip_prefix("acknowledged "));
    let acknowledged = acknowledged.filter_map(|seq| seq.parse::<u64>().ok()).max().unwrap_or(0);
    let (mut journal, recovered) = Journal::open(directory).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(recovered.damage.is_empty(), "{what}: {:?}", recovered.damage);
    assert!(recovered.head.seq >= acknowledged, "{what}: {acknowledged} acknowledged, {:?}", recovered.head);
    let head = commit(&mut journal, recovered.head, vec![note(recovered.head.seq + 1)]).unwrap();
    let reader = Reader::open(directory).unwrap();
    assert_eq!(reader.verify_chain(), Ok(head), "{what}");
    let told = reader.events(0, usize::MAX).unwrap();
    let told: Vec<_> = told.into_iter().map(|record| record.event).collect();
    assert_eq!(told, (1..=head.seq).map(note).collect::<Vec<_>>(), "{what}");
    acknowledged
}

#[test]
fn fault_01_killed_at_every_write_it_loses_nothing_that_was_acknowledged() {
    for calls in ["pwrite64,write", "fsync,fdatasync", "ftruncate,rename,unlink,unlinkat"] {
        for nth in 1..400 {
            let directory = tempfile::tempdir().unwrap();
            let what = format!("{calls}:signal=SIGKILL:when={nth}");
            let Some(output) = run(directory.path(), &what, &[]) else { return };
            let acknowledged = check(directory.path(), &output, &what);
            if output.status.success() {
                assert_eq!(acknowledged, EVENTS, "{what}: {output:?}");
                println!("{calls}: killed at {} places", nth - 1);
                assert!(nth > 1, "{calls}: the fault was never met");
                break;
            }
        }
    }
}

#[test]
fn fault_06_and_07_a_disk_that_fails_once_or_for_a_while_is_not_believed() {
    let files = ["journal.sqlite", "journal.sqlite-wal"];
    let faults = [
        ("fsync,fdatasync", "EIO", "{n}"),
        ("fsync,fdatasync", "EIO", "{n}..{n}+3"),
        ("pwrite64", "ENOSPC", "{n}"),
        ("pwrite64", "EIO", "{n}..{n}+6"),
        ("pread64", "EIO", "{n}"),
    ];
    for (calls, error, when) in faults {
        let mut met = 0;
        for nth in 1..200_u32 {
            let directory = tempfile::tempdir().unwrap();
            drop(open(directory.path()));
            let last = nth + if when.ends_with('3') { 3 } else { 6 };
            let when = match when {
                "{n}" => nth.to_string(),
                _ => format!("{nth}..{last}"),
            };
            let what = format!("{calls}:error={error}:when={when}");
            let Some(output) = run(directory.path(), &what, &files) else { return };
            assert!(output.status.success(), "{what}: {output:?}");
            let acknowledged = check(directory.path(), &output, &what);
            let text = String::from_utf8_lossy(&output.stdout);
            if text.contains("not opened: ") || text.contains("\nfailed ") || text.contains("snapshot Err") {
                met += 1;
            } else if acknowledged == EVENTS && nth > 40 {
                break;
            }
        }
        println!("{calls} {error} {when}: {met} faults were met and reported");
        assert!(met > 2, "{calls} {error}: the faults were never met");
    }
}

#[test]
fn fault_01_killed_while_old_events_are_dropped_it_opens_and_what_stays_is_proven() {
    let prepared = tempfile::tempdir().unwrap();
    crate::retention::prepare_hours(prepared.path(), 600);
    for calls in ["pwrite64,write", "fsync,fdatasync"] {
        let (mut killed, mut halves) = (0, 0);
        // Each place is far from the next: what is between is alike.
        for nth in (1..).step_by(3) {
            let directory = tempfile::tempdir().unwrap();
            for file in std::fs::read_dir(prepared.path()).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
            }
            let what = format!("{calls}:signal=SIGKILL:when={nth}");
            let Some(output) = run_child(directory.path(), &what, &[], child::DROP) else { return };
            let (journal, recovered) = open(directory.path());
            assert!(recovered.damage.is_empty(), "{what}: {:?}", recovered.damage);
            let verified = Reader::open(directory.path()).unwrap().verify(None).unwrap();
            assert!(verified.first <= 360 && verified.head.seq >= 600, "{what}: {verified:?}");
            halves += u32::from(verified.first > 1 && verified.first < 360);
            // The next life goes on where this one was ended.
            crate::retention::drop_before_hour(journal, recovered.head, 600);
            let verified = Reader::open(directory.path()).unwrap().verify(None).unwrap();
            assert_eq!((verified.first, verified.head.seq), (360, 601), "{what}");
            if output.status.success() {
                break;
            }
            killed += 1;
        }
        println!("{calls}: killed at {killed} places, {halves} times with some of the events gone");
        assert!(killed > 3, "{calls}: the fault was never met");
    }
}
