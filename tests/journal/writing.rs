//! Commit, reopen, conflict, fencing, lock, snapshots.

use std::fs;

use proptest::prelude::*;
use rearguard::engine::decision::Event;
use rearguard::engine::model::IncidentId;
use rearguard::engine::time::Timestamp;
use rearguard::journal::{CommitError, GoodSetup, Journal, Ledger, OpenError, Reader};

use crate::story::{batch, clock, commit, note, open, tell_incident};

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, first) = open(directory.path());
    assert!(first.created && first.epoch == 1 && first.head.seq == 0 && first.clock.is_none());
    let head = tell_incident(&mut journal, first.head);
    drop(journal);

    let (journal, second) = open(directory.path());
    assert_eq!((second.created, second.epoch, second.head), (false, 2, head));
    assert_eq!(second.journal, first.journal);
    assert_eq!(second.clock, Some(clock(1000)));
    assert!(second.damage.is_empty());
    let told: Vec<_> = crate::story::incident().into_iter().flat_map(|(happenings, _)| happenings).collect();
    assert_eq!(second.events.iter().map(|(_, event)| event.what.clone()).collect::<Vec<_>>(), told);
    assert_eq!(second.events.last().map(|(seq, _)| *seq), Some(told.len() as u64));
    drop(journal);
}

#[test]
fn a_batch_without_events_keeps_the_clock() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let mut ticking = batch(1, 0, Vec::new());
    ticking.clock = clock(77_000);
    assert_eq!(journal.commit(&ticking), Ok(recovered.head));
    drop(journal);
    assert_eq!(open(directory.path()).1.clock, Some(clock(77_000)));
}

#[test]
fn a_batch_decided_on_another_head_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let head = commit(&mut journal, recovered.head, vec![note(1), note(2)]).unwrap();
    // Exactly this batch is there already: an attempt whose success was not heard of.
    let again = journal.commit(&batch(1, 0, vec![note(1), note(2)]));
    assert_eq!(again, Err(CommitError::Conflict { expected: 0, head, landed: true }));
    for (expected, events) in [
        (0, vec![note(1), note(3)]),
        (0, vec![note(1)]),
        (0, Vec::new()),
        (1, vec![note(1)]),
        (3, vec![note(3)]),
        (u64::MAX, vec![note(3)]),
    ] {
        let refused = journal.commit(&batch(1, expected, events));
        assert_eq!(refused, Err(CommitError::Conflict { expected, head, landed: false }), "on {expected}");
    }
    assert_eq!(commit(&mut journal, head, vec![note(3)]).map(|head| head.seq), Ok(3));
}

#[test]
fn a_second_opener_fences_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let (mut first, recovered) = open(directory.path());
    let head = commit(&mut first, recovered.head, vec![note(1)]).unwrap();
    // Somebody deletes the lock file of a living daemon, the only way past the lock.
    fs::remove_file(directory.path().join("lock")).unwrap();
    let (mut second, taken_over) = open(directory.path());
    assert_eq!((taken_over.epoch, taken_over.head), (2, head));

    let fenced = CommitError::Fenced { ours: 1, journal: 2 };
    assert_eq!(commit(&mut first, head, vec![note(2)]), Err(fenced.clone()));
    assert_eq!(first.snapshot(1, &1), Err(fenced.clone()));
    assert_eq!(first.save_good_setup(&GoodSetup { fingerprint: String::new(), files: vec![] }), Err(fenced));
    assert!(commit(&mut second, head, vec![note(2)]).is_ok());
}

#[test]
fn a_second_daemon_is_told_who_holds_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let refused = Journal::open(directory.path()).map(drop).unwrap_err();
    let own = std::process::id();
    assert!(matches!(&refused, OpenError::Locked { pid: Some(pid), .. } if *pid == own), "{refused:?}");
    let text = refused.to_string();
    for part in [&format!("process {own} since 20"), "lock", "stop that one", "`state:` directory"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert!(matches!(Journal::set_aside(directory.path()), Err(OpenError::Locked { .. })));
    drop(journal);
    assert_eq!(open(directory.path()).1.epoch, 2);
}

#[test]
fn fault_10_a_state_directory_that_cannot_be_used_is_named_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let occupied = directory.path().join("occupied");
    fs::create_dir_all(occupied.join("lock")).unwrap();
    for (path, problem, remedy) in [
        (&missing, "does not exist", "StateDirectory="),
        (&file, "not a directory", "name a directory"),
        (&occupied, "occupied/lock", "check the directory"),
    ] {
        let error = Journal::open(path).map(drop).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains(problem) && error.contains(remedy), "{error}");
    }
    let error = Reader::open(&missing).map(drop).unwrap_err().to_string();
    assert!(error.contains("journal.sqlite") && error.contains("`state:`"), "{error}");
}

#[test]
fn recovery_starts_at_the_newest_snapshot_and_two_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let mut head = recovered.head;
    for nth in 1..=4 {
        head = commit(&mut journal, head, vec![note(nth)]).unwrap();
        journal.snapshot(nth, &format!("state after {nth}")).unwrap();
    }
    head = commit(&mut journal, head, vec![note(5)]).unwrap();
    let past = journal.snapshot(6, &0);
    assert_eq!(past, Err(CommitError::Conflict { expected: 6, head, landed: false }));
    // A state that JSON cannot hold is refused when it is written, not found out at the next start.
    assert!(matches!(journal.snapshot(5, &f64::NAN), Err(CommitError::NotRecordable(_))));
    let setup =
        GoodSetup { fingerprint: "f".to_owned(), files: vec![("a.yaml".to_owned(), "é".to_owned())] };
    journal.save_good_setup(&setup).unwrap();
    drop(journal);

    let (journal, recovered) = open(directory.path());
    let snapshot = recovered.snapshot.unwrap();
    assert_eq!((snapshot.seq, snapshot.state.as_str()), (4, "\"state after 4\""));
    assert_eq!(recovered.events, [(5, note(5))]);
    assert_eq!((recovered.head, recovered.good_setup), (head, Some(setup)));
    drop(journal);
    let file = rusqlite::Connection::open(directory.path().join("journal.sqlite")).unwrap();
    let kept: i64 = file.query_row("SELECT count(*) FROM snapshots", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 2);
}

#[test]
fn a_journal_that_is_deleted_or_replaced_under_a_running_daemon_is_not_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    let (mut journal, recovered) = open(directory.path());
    let head = commit(&mut journal, recovered.head, vec![note(1)]).unwrap();
    fs::rename(&path, directory.path().join("elsewhere")).unwrap();
    for _ in 0..2 {
        let error = commit(&mut journal, head, vec![note(2)]).unwrap_err();
        assert!(matches!(error, CommitError::Storage { .. }), "{error}");
    }
    // It comes back: the next commit reads it anew and goes on.
    fs::rename(directory.path().join("elsewhere"), &path).unwrap();
    assert_eq!(commit(&mut journal, head, vec![note(2)]).map(|head| head.seq), Ok(2));
    // Another journal in its place is not ours to write to.
    let other = tempfile::tempdir().unwrap();
    drop(open(other.path()));
    fs::rename(other.path().join("journal.sqlite"), &path).unwrap();
    for _ in 0..2 {
        let error = commit(&mut journal, head, vec![note(3)]).unwrap_err();
        assert!(matches!(error, CommitError::Storage { .. }), "{error}");
    }
}

#[test]
fn a_file_that_somebody_locks_is_a_storage_error_and_then_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let other = rusqlite::Connection::open(directory.path().join("journal.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = commit(&mut journal, recovered.head, vec![note(1)]).unwrap_err().to_string();
    assert!(error.contains("locked") && error.contains("sqlite3"), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(commit(&mut journal, recovered.head, vec![note(1)]).map(|head| head.seq), Ok(1));
}

#[test]
fn a_reader_reads_beside_the_writer() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(reader.events(0, 10), Ok(vec![]));
    let head = tell_incident(&mut journal, recovered.head);
    let all = reader.events(0, usize::MAX).unwrap();
    assert_eq!(all.len() as u64, head.seq);
    assert_eq!(reader.events(2, 3).unwrap(), all[2..5]);
    assert_eq!(reader.verify_chain(), Ok(head));
    assert_eq!(all[0].wall_unix_ms, clock(1000).wall_unix_ms);
    // From the trigger's first breach on; the daemon's going down is no part of it.
    assert_eq!(reader.events_of_incident(IncidentId(1)).unwrap(), all[..all.len() - 1]);
    assert_eq!(reader.events_of_incident(IncidentId(2)), Ok(vec![]));
    // It needs neither the writer nor the lock.
    drop(journal);
    assert_eq!(Reader::open(directory.path()).unwrap().verify_chain(), Ok(head));
}

/// What may happen to a journal.
#[derive(Clone, Debug)]
enum Step {
    Commit(usize),
    WrongHead(u64),
    WrongEpoch,
    Snapshot,
    Restart,
    Disturb,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..4).prop_map(Step::Commit),
        2 => (1_u64..5).prop_map(Step::WrongHead),
        1 => Just(Step::WrongEpoch),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
        1 => Just(Step::Disturb),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_acknowledged_event_is_ever_lost(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.sqlite");
        let (mut journal, recovered) = open(directory.path());
        let mut head = recovered.head;
        let mut acknowledged: Vec<Event> = Vec::new();
        for step in steps {
            let next = acknowledged.len() as u64 + 1;
            match step {
                Step::Commit(count) => {
                    let events: Vec<_> = (next..next + count as u64).map(note).collect();
                    head = commit(&mut journal, head, events.clone()).unwrap();
                    acknowledged.extend(events);
                }
                Step::WrongHead(off) => {
                    let epoch = journal.epoch();
                    let refused = journal.commit(&batch(epoch, head.seq + off, vec![note(999)]));
                    let right = matches!(refused, Err(CommitError::Conflict { head: at, landed: false, .. }) if at == head);
                    prop_assert!(right, "{:?}", refused);
                }
                Step::WrongEpoch => {
                    let epoch = journal.epoch() + 1;
                    let refused = journal.commit(&batch(epoch, head.seq, vec![note(999)]));
                    let fenced = matches!(refused, Err(CommitError::Fenced { .. }));
                    prop_assert!(fenced);
                }
                Step::Snapshot => journal.snapshot(head.seq, &acknowledged).unwrap(),
                Step::Restart => {
                    drop(journal);
                    let (opened, recovered) = open(directory.path());
                    prop_assert_eq!(recovered.head, head);
                    let mut told: Vec<Event> = recovered.snapshot
                        .map_or_else(Vec::new, |snapshot| serde_json::from_str(&snapshot.state).unwrap());
                    told.extend(recovered.events.into_iter().map(|(_, event)| event));
                    prop_assert_eq!(&told, &acknowledged);
                    journal = opened;
                }
                Step::Disturb => {
                    std::fs::rename(&path, directory.path().join("away")).unwrap();
                    let refused = commit(&mut journal, head, vec![note(999)]);
                    let failed = matches!(refused, Err(CommitError::Storage { .. }));
                    prop_assert!(failed);
                    std::fs::rename(directory.path().join("away"), &path).unwrap();
                }
            }
        }
        drop(journal);
        let reader = Reader::open(directory.path()).unwrap();
        prop_assert_eq!(reader.verify_chain(), Ok(head));
        let told = reader.events(0, usize::MAX).unwrap();
        let told: Vec<Event> = told.into_iter().map(|record| record.event).collect();
        prop_assert_eq!(told, acknowledged);
    }
}

#[test]
fn engine_time_of_an_event_is_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let mut early = note(0);
    early.at = Timestamp::from_millis(-5);
    commit(&mut journal, recovered.head, vec![early.clone()]).unwrap();
    assert_eq!(Reader::open(directory.path()).unwrap().events(0, 1).unwrap()[0].event, early);
}
