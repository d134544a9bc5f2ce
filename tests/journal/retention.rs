//! What is past its time goes, behind a checkpoint; what stays is proven, and what is under way stays.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rearguard::engine::Engine;
use rearguard::engine::decision::{Event, Happening, JournalCheckpoint, Setup, State};
use rearguard::engine::model::IncidentId;
use rearguard::engine::time::{Span, Timestamp};
use rearguard::journal::{DROPPED, DurableEngine, Head, Journal, Ledger, OpenError, Reader, Retention};
use rusqlite::Connection;

use crate::projections::tables;
use crate::story::{batch, clock, commit, event, incident, note, open, tell_incident};

/// An hour in milliseconds: the distance of the events here.
const HOUR: i64 = 3_600_000;

const DAY: Span = Span::from_secs(86_400);

/// Nothing goes for its size.
const ANY_SIZE: u64 = u64::MAX;

fn keep(events_days: i64, outputs_days: i64) -> Retention {
    Retention { events: DAY.times(events_days), outputs: DAY.times(outputs_days), journal_bytes: ANY_SIZE }
}

/// Commits a note each hour, up to and with hour `last`.
fn pass_hours(journal: &mut Journal, mut head: Head, first: i64, last: i64) -> Head {
    let hourly = |nth: i64| Event { at: Timestamp::from_millis(nth * HOUR), what: note(nth as u64).what };
    for chunk in (first..=last).collect::<Vec<_>>().chunks(100) {
        head = commit(journal, head, chunk.iter().map(|nth| hourly(*nth)).collect()).unwrap();
    }
    head
}

/// Joins a journal with an engine, as the daemon does.
fn engine(journal: Journal, head: Head) -> DurableEngine<Journal> {
    let epoch = journal.epoch();
    let engine = Engine::new(Arc::new(Setup::default()), State::default(), Timestamp::ZERO);
    DurableEngine::new(engine, journal, epoch, head, Arc::new(|_| {}))
}

/// Writes a checkpoint at an hour, and drops everything before it.
fn drop_all(engine: &mut DurableEngine<Journal>, retention: &Retention, hour: i64) -> Option<Event> {
    let checkpoint = engine.checkpoint(&clock(hour * HOUR), retention).unwrap().unwrap();
    while engine.ledger().drop_some(retention, Timestamp::from_millis(hour * HOUR), 100).unwrap().more {}
    checkpoint
}

/// Makes a journal with a note each hour.
pub fn prepare_hours(directory: &Path, last: i64) {
    let (mut journal, recovered) = open(directory);
    pass_hours(&mut journal, recovered.head, 1, last);
}

/// Drops what is older than ten days at that hour, a hundred events at a time.
pub fn drop_before_hour(journal: Journal, head: Head, hour: i64) {
    drop_all(&mut engine(journal, head), &keep(10, 10), hour);
}

fn sql(directory: &Path, sql: &str) {
    Connection::open(directory.join("journal.sqlite")).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn old_events_go_behind_a_checkpoint_and_the_rest_stays_proven_after_every_batch() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let head = pass_hours(&mut journal, recovered.head, 1, 600);
    let old = Reader::open(directory.path()).unwrap().verify(Some("")).unwrap().head.hash.to_string();
    let mut engine = engine(journal, head);
    let retention = keep(10, 10);
    let checkpoint = engine.checkpoint(&clock(600 * HOUR), &retention).unwrap().unwrap().unwrap();
    let Happening::JournalCheckpoint(JournalCheckpoint { first_kept, dropped, .. }) = &checkpoint.what else {
        panic!("{checkpoint:?}")
    };
    assert_eq!((*first_kept, dropped.get("setup_refused")), (360, Some(&359)));
    // Until they are gone there is no second one.
    assert_eq!(engine.checkpoint(&clock(900 * HOUR), &retention), Ok(Ok(None)));
    let mut first = 1;
    loop {
        let now = Timestamp::from_millis(600 * HOUR);
        let dropped = engine.ledger().drop_some(&retention, now, 100).unwrap();
        first += dropped.events;
        let verified = Reader::open(directory.path()).unwrap().verify(None).unwrap();
        assert_eq!((verified.first, verified.head.seq, verified.checkpoint), (first, 601, Some(601)));
        if !dropped.more {
            break;
        }
    }
    assert_eq!(first, 360);
    let head = engine.head();
    drop(engine);
    let (journal, recovered) = open(directory.path());
    assert_eq!(recovered.snapshot.map(|snapshot| snapshot.seq), Some(600));
    assert_eq!((recovered.head, recovered.events.len(), recovered.damage.len()), (head, 1, 0));
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(reader.events(0, 2).unwrap()[0].seq, 360);
    // An old page's hash is still found, a foreign one is not.
    assert_eq!(reader.verify(Some(&old[..16])).unwrap().anchored.unwrap().seq, 600);
    assert_eq!(reader.verify(Some("0123456789abcdef")).unwrap().anchored, None);
    drop(journal);
}

#[test]
fn what_was_dropped_by_hand_is_found() {
    let edits = [
        ("DELETE FROM events WHERE seq = 360", 360, "it is missing"),
        ("DELETE FROM events WHERE seq <= 400", 360, "it is missing"),
        ("UPDATE facts SET body = replace(body, '359', '358') WHERE name = 'start'", 360, "checksum"),
        ("UPDATE snapshots SET state = state || ' ' WHERE seq = 600", 601, "state that is kept"),
    ];
    for (edit, seq, problem) in edits {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, recovered) = open(directory.path());
        let head = pass_hours(&mut journal, recovered.head, 1, 600);
        let mut engine = engine(journal, head);
        drop_all(&mut engine, &keep(10, 10), 600).unwrap();
        drop(engine);
        sql(directory.path(), edit);
        let broken = Reader::open(directory.path()).unwrap().verify(None).unwrap_err();
        assert!(broken.problem.contains(problem), "{edit}: {broken}");
        assert!(problem == "checksum" || broken.seq == seq, "{edit}: {broken}");
    }
}

#[test]
fn a_beginning_that_no_checkpoint_speaks_of_is_no_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    pass_hours(&mut journal, recovered.head, 1, 9);
    drop(journal);
    let file = Connection::open(directory.path().join("journal.sqlite")).unwrap();
    // Somebody who knows the format drops the first five events and says where the chain begins.
    let hash: Vec<u8> =
        file.query_row("SELECT hash FROM events WHERE seq = 5", [], |row| row.get(0)).unwrap();
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = format!(r#"{{"seq":5,"hash":"{hash}"}}"#);
    let digest = {
        use sha2::{Digest, Sha256};
        Sha256::new().chain_update("start").chain_update([0]).chain_update(&body).finalize().to_vec()
    };
    file.execute("DELETE FROM events WHERE seq <= 5", []).unwrap();
    file.execute("INSERT INTO facts VALUES ('start', ?1, ?2)", rusqlite::params![body, digest]).unwrap();
    drop(file);
    let broken = Reader::open(directory.path()).unwrap().verify(None).unwrap_err();
    assert_eq!(broken.seq, 1);
    assert!(broken.problem.contains("events 1 to 5 are missing, and no checkpoint"), "{broken}");
    let refused = Journal::open(directory.path()).map(drop).unwrap_err();
    assert!(refused.to_string().contains("no snapshot"), "{refused}");
}

#[test]
fn an_open_incident_keeps_its_whole_story_and_a_closed_one_goes_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let head = tell_incident(&mut journal, recovered.head);
    let head = pass_hours(&mut journal, head, 1, 300);
    // Another one opens at hour 300 and stays open; its trigger was pending since hour 299.
    let opened = incident().swap_remove(0).0.into_iter().map(|what| match what {
        Happening::IncidentOpened { cause, target, severity, reason, evidence, .. } => {
            let since = Timestamp::from_millis(299 * HOUR);
            let incident = IncidentId(2);
            let (notify, due) = (Vec::new(), std::collections::BTreeMap::new());
            let (runbook, policy) = (None, None);
            Happening::IncidentOpened {
                incident,
                cause,
                target,
                severity,
                reason,
                since,
                evidence,
                runbook,
                notify,
                policy,
                due,
            }
        }
        other => other,
    });
    let opened = opened.filter(|what| matches!(what, Happening::IncidentOpened { .. }));
    let opened = opened.map(|what| Event { at: Timestamp::from_millis(300 * HOUR), what }).collect();
    let head = commit(&mut journal, head, opened).unwrap();
    let head = pass_hours(&mut journal, head, 301, 900);
    let mut engine = engine(journal, head);
    let before = tables(directory.path());
    assert_eq!(before[0].len(), 2);
    let checkpoint = drop_all(&mut engine, &keep(1, 1), 900).unwrap();
    let Happening::JournalCheckpoint(JournalCheckpoint { first_kept, .. }) = checkpoint.what else {
        panic!()
    };
    // Fifteen events of the first incident, then one per hour.
    assert_eq!(first_kept, 15 + 299);
    let kept = tables(directory.path());
    assert_eq!(kept[0].len(), 1, "only the open incident is left");
    assert!(kept[1].is_empty() && kept[2].is_empty() && kept[4].is_empty(), "{kept:?}");
    engine.ledger().rebuild_projections().unwrap();
    assert_eq!(tables(directory.path()), kept);
    // Nothing more goes as long as it is open.
    assert_eq!(drop_all(&mut engine, &keep(1, 1), 2000), None);
    let resolved = Happening::IncidentResolved {
        incident: IncidentId(2),
        reason: "over".to_owned(),
        tasks: std::collections::BTreeMap::new(),
    };
    let (epoch, head) = (engine.ledger().epoch(), engine.head());
    let batch =
        batch(epoch, head.seq, vec![Event { at: Timestamp::from_millis(900 * HOUR), what: resolved }]);
    let head = engine.ledger().commit(&batch).unwrap();
    drop(engine);
    let (journal, _) = open(directory.path());
    let mut engine = self::engine(journal, head);
    assert!(drop_all(&mut engine, &keep(1, 1), 2000).is_some());
    assert!(tables(directory.path())[0].is_empty());
    assert!(Reader::open(directory.path()).unwrap().verify(None).is_ok());
}

#[test]
fn a_storys_end_is_not_cut_off_from_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let mut head = pass_hours(&mut journal, recovered.head, 1, 200);
    let mut hour = 200;
    // An incident whose events are spread over fifteen hours.
    for (happenings, intents) in incident() {
        for (nth, what) in happenings.into_iter().enumerate() {
            hour += 1;
            let intents = if nth == 0 { intents.clone() } else { Vec::new() };
            let events = vec![Event { at: Timestamp::from_millis(hour * HOUR), what }];
            let batch = rearguard::journal::Batch { intents, ..batch(1, head.seq, events) };
            head = journal.commit(&batch).unwrap();
        }
    }
    let head = pass_hours(&mut journal, head, hour + 1, 300);
    let mut engine = engine(journal, head);
    // Its age would cut it at hour 208.
    let checkpoint = drop_all(&mut engine, &keep(1, 1), 232).unwrap();
    let Happening::JournalCheckpoint(JournalCheckpoint { first_kept, .. }) = checkpoint.what else {
        panic!()
    };
    // Its first event, the trigger's firing, belongs to no incident yet.
    assert_eq!(first_kept, 202);
    assert_eq!(tables(directory.path())[0].len(), 1);
}

#[test]
fn outputs_go_earlier_and_the_chain_does_not_mind() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let head = tell_incident(&mut journal, recovered.head);
    let head = pass_hours(&mut journal, head, 1, 50);
    let printed = |directory: &Path| {
        let story = Reader::open(directory).unwrap().events_of_incident(IncidentId(1)).unwrap();
        story.into_iter().find_map(|record| match record.event.what {
            Happening::StepEnded { ending, .. } => Some(ending.output),
            _ => None,
        })
    };
    assert_eq!(printed(directory.path()).as_deref(), Some("switched\u{1b}[0m"));
    let mut engine = engine(journal, head);
    let retention = keep(300, 1);
    let now = Timestamp::from_millis(50 * HOUR);
    // What follows the newest snapshot is recovered with what it printed.
    assert_eq!(engine.ledger().drop_some(&retention, now, 10).unwrap().outputs, 0);
    engine.ledger().snapshot(head.seq, &State::default()).unwrap();
    assert_eq!(engine.ledger().drop_some(&retention, now, 10).unwrap().outputs, 1);
    assert_eq!(printed(directory.path()).as_deref(), Some(DROPPED));
    assert_eq!(Reader::open(directory.path()).unwrap().verify_chain(), Ok(head));
    drop(engine);
    assert_eq!(open(directory.path()).1.head, head);
}

#[test]
fn an_output_that_was_edited_is_found() {
    for edit in [
        "UPDATE outputs SET text = 'nothing was done'",
        "INSERT INTO outputs (seq, text) VALUES (1, 'said by nobody')",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, recovered) = open(directory.path());
        tell_incident(&mut journal, recovered.head);
        drop(journal);
        sql(directory.path(), edit);
        let broken = Reader::open(directory.path()).unwrap().verify_chain().unwrap_err();
        assert!(broken.problem.contains("printed"), "{broken}");
        assert!(matches!(Journal::open(directory.path()), Err(OpenError::Corrupt { .. })));
    }
}

#[test]
fn a_journal_that_is_too_large_loses_its_oldest_events_and_its_file_shrinks() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let mut head = recovered.head;
    for nth in 0..20 {
        let long = |nth: u64| event(nth, Happening::SetupRefused { problem: "x".repeat(1000) });
        head = commit(&mut journal, head, (nth * 100..nth * 100 + 100).map(long).collect()).unwrap();
    }
    let mut engine = engine(journal, head);
    let retention = Retention { journal_bytes: 1_000_000, ..keep(300, 300) };
    let begun = std::time::Instant::now();
    let checkpoint = drop_all(&mut engine, &retention, 1).unwrap();
    println!("a checkpoint, and all that was too much dropped, in {:?}", begun.elapsed());
    let Happening::JournalCheckpoint(JournalCheckpoint { first_kept, .. }) = checkpoint.what else {
        panic!()
    };
    assert!((1100..1500).contains(&first_kept), "{first_kept}");
    assert_eq!(drop_all(&mut engine, &retention, 1), None, "it fits now");
    drop(engine);
    let size = fs::metadata(directory.path().join("journal.sqlite")).unwrap().len();
    assert!(size < 1_400_000, "{size} bytes");
    assert!(Reader::open(directory.path()).unwrap().verify(None).is_ok());
}

#[test]
fn without_a_sound_snapshot_a_journal_without_its_beginning_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let head = pass_hours(&mut journal, recovered.head, 1, 600);
    let mut engine = engine(journal, head);
    drop_all(&mut engine, &keep(10, 10), 600).unwrap();
    // The checkpoint's snapshot outlives newer ones.
    let late = Event { at: Timestamp::from_millis(601 * HOUR), what: note(1).what };
    let mut head = engine.head();
    for _ in 0..3 {
        let batch = batch(1, head.seq, vec![late.clone()]);
        head = engine.ledger().commit(&batch).unwrap();
        engine.ledger().snapshot(head.seq, &State::default()).unwrap();
    }
    drop(engine);
    sql(directory.path(), "UPDATE snapshots SET digest = x'00' WHERE seq > 600");
    let (journal, recovered) = open(directory.path());
    assert_eq!(recovered.snapshot.map(|snapshot| snapshot.seq), Some(600));
    assert_eq!(recovered.damage.len(), 2);
    drop(journal);
    sql(directory.path(), "UPDATE snapshots SET digest = x'00'");
    let refused = Journal::open(directory.path()).map(drop).unwrap_err();
    assert!(matches!(&refused, OpenError::Corrupt { .. }), "{refused}");
    assert!(refused.to_string().contains("no snapshot of what they led to is sound"), "{refused}");
}
