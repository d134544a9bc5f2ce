//! The sample store: what is kept reads back, what is damaged is a gap.

use std::fs;

use rearguard::engine::model::{Labels, METRIC_NAME, Sample, stale_marker};
use rearguard::engine::series::{FailureKind, Observation, SourceFailure};
use rearguard::engine::time::{Span, Timestamp};
use rearguard::journal::{SampleStore, Turn};
use rusqlite::Connection;

fn series(nth: usize) -> Labels {
    Labels::from_pairs([(METRIC_NAME, "http_requests_total".to_owned()), ("path", format!("/é\"{nth}"))])
}

fn scrape(at: i64, series_count: usize) -> Observation {
    let sample = |nth: usize| Sample {
        labels: series(nth),
        at: Timestamp::from_millis(at - (nth % 3) as i64),
        value: nth as f64 / 3.0,
    };
    Observation {
        source: "app".into(),
        at: Timestamp::from_millis(at),
        took: Span::from_millis(12),
        answer: Ok((0..series_count).map(sample).collect()),
        told: None,
    }
}

fn failure(at: i64) -> Observation {
    let failure = SourceFailure { kind: FailureKind::TimedOut, message: "no answer within 3s".to_owned() };
    Observation { answer: Err(failure), ..scrape(at, 0) }
}

/// Returns the turn of whoever heard of it 15 ms after it was asked for.
fn heard(observation: &Observation) -> Turn {
    Turn { at: observation.at + Span::from_millis(15), observation: Some(observation.clone()) }
}

/// Compares bit for bit: NaN does not equal itself.
fn same(left: &[Observation], right: &[Observation]) -> bool {
    format!("{left:?}") == format!("{right:?}")
}

#[test]
fn observations_read_back_in_the_order_in_which_they_were_heard() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, opened) = SampleStore::open(directory.path()).unwrap();
    assert!(opened.created && opened.set_aside.is_none());
    let mut odd = scrape(5000, 3);
    if let Ok(samples) = &mut odd.answer {
        for (sample, value) in samples.iter_mut().zip([f64::NEG_INFINITY, stale_marker(), -0.0]) {
            sample.value = value;
        }
    }
    // The second was asked later and answered earlier.
    let told = [scrape(1000, 20), scrape(3000, 25), failure(2000), scrape(4000, 0), odd];
    for half in [&told[..2], &told[2..]] {
        half.iter().for_each(|observation| store.append(heard(observation)));
        store.flush().unwrap();
    }
    drop(store);
    let (mut store, opened) = SampleStore::open(directory.path()).unwrap();
    assert!(!opened.created);
    let loaded = store.load(Timestamp::ZERO).unwrap();
    assert_eq!(loaded.unreadable, 0);
    let loaded = loaded.observations();
    assert!(same(&loaded, &told), "{loaded:?}");
    let stale = loaded[4].answer.as_ref().unwrap()[1].value;
    assert_eq!(stale.to_bits(), stale_marker().to_bits());
    let later = store.load(Timestamp::from_millis(3000)).unwrap().observations();
    assert_eq!(later.iter().map(|one| one.at.as_millis()).collect::<Vec<_>>(), [3000, 4000, 5000]);
}

#[test]
fn every_turn_reads_back_with_the_time_at_which_it_was_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = SampleStore::open(directory.path()).unwrap();
    let looked = |ms| Turn { at: Timestamp::from_millis(ms), observation: None };
    let slow = Turn { at: Timestamp::from_millis(9000), observation: Some(scrape(2000, 2)) };
    let told = [heard(&scrape(1000, 2)), looked(1500), looked(1500), heard(&failure(1490)), slow];
    told.iter().for_each(|turn| store.append(turn.clone()));
    assert_eq!(store.load(Timestamp::ZERO).unwrap().turns, told);
    store.prune(Timestamp::from_millis(1500)).unwrap();
    assert_eq!(
        store.load(Timestamp::ZERO).unwrap().turns,
        [told[1].clone(), told[2].clone(), told[4].clone()]
    );
    let file = Connection::open(directory.path().join("samples.sqlite")).unwrap();
    file.execute_batch("UPDATE turns SET turn_ms = 1501, at_ms = 1501 WHERE id = 2").unwrap();
    let loaded = store.load(Timestamp::ZERO).unwrap();
    assert_eq!((loaded.turns.len(), loaded.unreadable), (2, 1), "a look is checked as an answer is");
}

#[test]
fn pruning_forgets_old_observations_and_label_sets_that_nobody_has() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = SampleStore::open(directory.path()).unwrap();
    let told = [scrape(1000, 50), scrape(2000, 10), scrape(3000, 10)];
    told.iter().for_each(|observation| store.append(heard(observation)));
    store.prune(Timestamp::from_millis(2000)).unwrap();
    let labels = |expected: i64| {
        let file = Connection::open(directory.path().join("samples.sqlite")).unwrap();
        let count: i64 = file.query_row("SELECT count(*) FROM labels", [], |row| row.get(0)).unwrap();
        assert_eq!(count, expected);
    };
    labels(10);
    // A label set that was forgotten comes back under another number.
    store.append(heard(&told[0]));
    store.flush().unwrap();
    labels(50);
    let loaded = store.load(Timestamp::ZERO).unwrap();
    assert!(same(&loaded.observations(), &[told[1].clone(), told[2].clone(), told[0].clone()]));
}

#[test]
fn windows_are_replaced_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = SampleStore::open(directory.path()).unwrap();
    assert_eq!(store.load_windows::<Vec<u32>>(), Ok(None));
    store.save_windows(&vec![1, 2]).unwrap();
    store.save_windows(&vec![3]).unwrap();
    assert_eq!(store.load_windows::<Vec<u32>>(), Ok(Some(vec![3])));
    let file = Connection::open(directory.path().join("samples.sqlite")).unwrap();
    file.execute_batch("UPDATE windows SET body = '[4]'").unwrap();
    let error = store.load_windows::<Vec<u32>>().unwrap_err().to_string();
    assert!(error.contains("checksum"), "{error}");
}

#[test]
fn a_damaged_store_is_set_aside_and_says_so() {
    type Damage = fn(&[u8]) -> Vec<u8>;
    let cases: [(&str, Damage); 3] = [
        ("noise", |_| vec![0x5a; 9000]),
        ("half", |content| content[..content.len() / 2].to_vec()),
        ("another version", |content| {
            // The schema version is at byte 60 of the header (SQLite's file format, section 1.3).
            [&content[..60], &[0, 0, 0, 9], &content[64..]].concat()
        }),
    ];
    for (name, damage) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("samples.sqlite");
        let (mut store, _) = SampleStore::open(directory.path()).unwrap();
        (1..50).for_each(|nth| store.append(heard(&scrape(nth * 1000, 30))));
        store.flush().unwrap();
        drop(store);
        let damaged = damage(&fs::read(&path).unwrap());
        fs::write(&path, &damaged).unwrap();
        let (mut store, opened) = SampleStore::open(directory.path()).unwrap();
        let (to, why) = opened.set_aside.unwrap_or_else(|| panic!("{name}: taken for sound"));
        assert!(opened.created && !why.is_empty());
        assert_eq!(fs::read(to).unwrap(), damaged, "{name}");
        store.append(heard(&scrape(1000, 3)));
        assert_eq!(store.load(Timestamp::ZERO).unwrap().turns.len(), 1);
    }
}

#[test]
fn a_damaged_row_is_left_out_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = SampleStore::open(directory.path()).unwrap();
    [scrape(1000, 2), scrape(2000, 3), failure(3000), scrape(4000, 2)]
        .iter()
        .for_each(|one| store.append(heard(one)));
    store.flush().unwrap();
    drop(store);
    let file = Connection::open(directory.path().join("samples.sqlite")).unwrap();
    file.execute_batch(
        "UPDATE turns SET took_ms = 0 WHERE at_ms = 1000;
         UPDATE labels SET body = replace(body, 'total', 'count') WHERE id = 3;
         UPDATE turns SET failure = NULL WHERE at_ms = 3000",
    )
    .unwrap();
    let (mut store, _) = SampleStore::open(directory.path()).unwrap();
    let loaded = store.load(Timestamp::ZERO).unwrap();
    assert_eq!(loaded.unreadable, 3);
    assert!(same(&loaded.observations(), &[scrape(4000, 2)]));
    // The label set that could not be read is given a number of its own again.
    store.append(heard(&scrape(5000, 3)));
    assert_eq!(store.load(Timestamp::from_millis(5000)).unwrap().turns.len(), 1);
}

#[test]
fn a_store_that_cannot_be_written_loses_a_gap_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = SampleStore::open(directory.path()).unwrap();
    store.append(heard(&scrape(1000, 2)));
    store.flush().unwrap();
    let other = Connection::open(directory.path().join("samples.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.append(heard(&scrape(2000, 5)));
    let error = store.flush().unwrap_err();
    assert_eq!(error.lost, 1, "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    let told = [scrape(3000, 5), scrape(4000, 1)];
    told.iter().for_each(|one| store.append(heard(one)));
    let loaded = store.load(Timestamp::from_millis(1500)).unwrap();
    let loaded = loaded.observations();
    assert!(same(&loaded, &told), "{loaded:?}");
}
