//! The tables for people say what the events say.

use std::collections::BTreeMap;

use rearguard::engine::decision::Cause;
use rearguard::engine::model::{IncidentId, Severity};
use rearguard::journal::{IncidentsWanted, Journal, Ledger, Reader};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::story::{batch, commit, event, incident, key, open, tell_incident};

/// Returns the content of every table that is made from events.
pub fn tables(path: &std::path::Path) -> Vec<Vec<Vec<Value>>> {
    let file = Connection::open(path.join("journal.sqlite")).unwrap();
    let rows = |table: &str| {
        let mut statement = file.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect();
        statement.query_map([], row).unwrap().collect::<Result<Vec<Vec<Value>>, _>>().unwrap()
    };
    ["incidents", "rollbacks", "outbox", "incident_events", "intents"].map(rows).to_vec()
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

#[test]
fn rebuilding_gives_what_was_written_on_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let head = tell_incident(&mut journal, recovered.head);
    // Ends without beginnings, and beginnings twice: the record must not fail on them, nor may a rebuild differ.
    let odd: Vec<_> = incident().into_iter().rev().flat_map(|(happenings, _)| happenings).collect();
    let odd = odd.into_iter().map(|what| event(50, what)).collect();
    commit(&mut journal, head, odd).unwrap();
    let before = tables(directory.path());
    assert!(before.iter().all(|table| !table.is_empty()), "{before:?}");

    let scribble = "UPDATE incidents SET reason = 'x'; DELETE FROM outbox; UPDATE intents SET ended_seq = 99";
    Connection::open(directory.path().join("journal.sqlite")).unwrap().execute_batch(scribble).unwrap();
    assert_ne!(tables(directory.path()), before);
    journal.rebuild_projections().unwrap();
    assert_eq!(tables(directory.path()), before);
}

#[test]
fn an_incident_can_be_followed_in_the_tables() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    tell_incident(&mut journal, recovered.head);
    let rows = Reader::open(directory.path()).unwrap().incidents(&IncidentsWanted::default(), 10).unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.id, row.severity, &row.cause), (IncidentId(1), Severity::High, &Cause::Trigger(key())));
    let resolved = row.resolved.as_ref().unwrap();
    assert_eq!(resolved.reason, "error_rate < 1% for 2m");
    assert_eq!(resolved.unix_ms, 1_700_000_001_000);

    let tables = tables(directory.path());
    let (rollbacks, outbox, intents) = (&tables[1], &tables[2], &tables[4]);
    assert_eq!(rollbacks[0][6], text("succeeded"));
    let of = |table: &Vec<Vec<Value>>, column: usize| {
        table.iter().map(|row| row[column].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of(outbox, 5), [text("accepted"), text("dead")]);
    assert_eq!(of(outbox, 6), [text("202"), text("550")]);
    assert_eq!(of(intents, 1), [text("act"), text("page"), text("page")]);
    // Intended with event 5, released with 7, started at 6, ended at 8: places of events.
    let step: Vec<_> = intents[0][3..].to_vec();
    let (null, at) = (Value::Null, Value::Integer);
    assert_eq!(step, [at(5), at(7), null, at(6), at(8)]);
}

#[test]
fn the_newest_incidents_come_first_and_no_more_than_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    open_incidents(&mut journal, recovered.head.seq, 5);
    let rows = Reader::open(directory.path()).unwrap().incidents(&IncidentsWanted::default(), 2).unwrap();
    assert_eq!(rows.iter().map(|row| row.id.0).collect::<Vec<_>>(), [5, 4]);
    assert!(rows.iter().all(|row| row.resolved.is_none()));
}

fn open_incidents(journal: &mut Journal, seq: u64, count: u64) {
    use rearguard::engine::decision::Happening;
    let opened = |nth: u64| Happening::IncidentOpened {
        incident: IncidentId(nth),
        cause: Cause::Journal,
        target: "trading-app".into(),
        severity: Severity::Critical,
        reason: "'; DROP TABLE incidents; --".to_owned(),
        since: rearguard::engine::time::Timestamp::ZERO,
        evidence: None,
        runbook: None,
        notify: Vec::new(),
        policy: None,
        due: BTreeMap::new(),
    };
    let events = (1..=count).map(|nth| event(nth, opened(nth))).collect();
    journal.commit(&batch(journal.epoch(), seq, events)).unwrap();
}
