//! A file of an earlier version is brought up to date once, whatever happens meanwhile; one of a later version is left alone.

use std::fs;
use std::path::Path;

use rearguard::engine::decision::Happening;
use rearguard::engine::model::IncidentId;
use rearguard::journal::{Journal, OpenError, Reader, Record};
use rusqlite::Connection;

use crate::crash::{child, run_child};
use crate::story::{commit, note, open};

/// The number of events in the kept file.
const EVENTS: u64 = 23;

/// Makes the journal of a daemon of the first version from its dump.
pub fn first_version(directory: &Path) {
    let dump = include_str!("../files/journal/version-1.sql");
    Connection::open(directory.join("journal.sqlite")).unwrap().execute_batch(dump).unwrap();
}

fn version(directory: &Path) -> i32 {
    let file = Connection::open(directory.join("journal.sqlite")).unwrap();
    file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

fn told(directory: &Path) -> Vec<Record> {
    Reader::open(directory).unwrap().events(0, usize::MAX).unwrap()
}

#[test]
fn fault_09_a_journal_of_the_first_version_is_migrated_once_and_says_what_it_said() {
    let directory = tempfile::tempdir().unwrap();
    first_version(directory.path());
    // A command may come before the daemon: it reads the old file and leaves it as it is.
    let before = told(directory.path());
    let verified = Reader::open(directory.path()).unwrap().verify(None).unwrap();
    assert_eq!((version(directory.path()), before.len() as u64, verified.head.seq), (1, EVENTS, EVENTS));
    let printed = before.iter().find_map(|record| match &record.event.what {
        Happening::StepEnded { ending, .. } => Some(ending.output.clone()),
        _ => None,
    });
    assert_eq!(printed.as_deref(), Some("switching to blue\ndone: 3 of 3 backends"));

    let (mut journal, recovered) = open(directory.path());
    assert_eq!(version(directory.path()), 2);
    assert!(!recovered.created && recovered.damage.is_empty(), "{:?}", recovered.damage);
    assert_eq!(recovered.head, verified.head);
    assert!(recovered.good_setup.is_some() && recovered.clock.is_some());
    assert_eq!(told(directory.path()), before);
    assert_eq!(Reader::open(directory.path()).unwrap().events_of_incident(IncidentId(1)).unwrap().len(), 19);
    let mut late = note(1);
    late.at = recovered.clock.unwrap().engine;
    let head = commit(&mut journal, recovered.head, vec![late]).unwrap();
    assert_eq!(Reader::open(directory.path()).unwrap().verify_chain(), Ok(head));
    drop(journal);
    let (journal, again) = open(directory.path());
    assert_eq!((version(directory.path()), again.head, again.epoch), (2, head, recovered.epoch + 1));
    drop(journal);
}

#[test]
fn fault_09_a_kill_at_any_write_of_the_migration_leaves_a_journal_that_opens() {
    for calls in ["pwrite64,write", "fsync,fdatasync", "ftruncate,rename,unlink,unlinkat"] {
        let (mut killed, mut old) = (0, 0);
        for nth in 1..300 {
            let directory = tempfile::tempdir().unwrap();
            first_version(directory.path());
            let what = format!("{calls}:signal=SIGKILL:when={nth}");
            let Some(output) = run_child(directory.path(), &what, &[], child::OPEN) else { return };
            let found = version(directory.path());
            assert!(found == 1 || found == 2, "{what}: {found}");
            old += u32::from(found == 1);
            let (journal, recovered) = open(directory.path());
            assert_eq!((recovered.head.seq, version(directory.path())), (EVENTS, 2), "{what}");
            assert!(recovered.damage.is_empty(), "{what}: {:?}", recovered.damage);
            assert!(Reader::open(directory.path()).unwrap().verify(None).is_ok(), "{what}");
            drop(journal);
            if output.status.success() {
                break;
            }
            killed += 1;
        }
        println!("{calls}: killed at {killed} places, {old} of them before the migration was durable");
        assert!(killed > 0, "{calls}: the fault was never met");
    }
}

#[test]
fn fault_09_a_newer_file_is_refused_with_what_to_do_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    first_version(directory.path());
    let path = directory.path().join("journal.sqlite");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    let before = fs::read(&path).unwrap();
    for _ in 0..2 {
        let refused = Journal::open(directory.path()).map(drop).unwrap_err();
        let known = matches!(refused, OpenError::Newer { found: 3, known: 2, .. });
        assert!(known, "{refused}");
        let text = refused.to_string();
        assert!(text.contains("schema version 3") && text.contains("run that version again"), "{text}");
        assert!(Reader::open(directory.path()).is_err_and(|error| error.to_string() == text));
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}
