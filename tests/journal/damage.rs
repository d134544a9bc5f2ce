//! Damaged, deleted, foreign, newer and full: never a panic, never an empty start in silence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rearguard::journal::{CommitError, GoodSetup, Journal, OpenError, Reader, Recovered};
use rusqlite::Connection;

use crate::story::{commit, note, open, tell_incident};

/// Makes a journal with an incident, and closes it; returns what it recovers to.
fn make(directory: &Path) -> Recovered {
    let (mut journal, recovered) = open(directory);
    tell_incident(&mut journal, recovered.head);
    let files = vec![("rules/a.yaml".to_owned(), "triggers: []".to_owned())];
    journal.save_good_setup(&GoodSetup { fingerprint: "abc".to_owned(), files }).unwrap();
    drop(journal);
    let (journal, recovered) = open(directory);
    drop(journal);
    recovered
}

fn path_of(directory: &Path) -> PathBuf {
    directory.join("journal.sqlite")
}

/// Opens a journal that must be refused as damaged, sets it aside, and opens a new one.
fn refused_and_set_aside(directory: &Path, part: &str) {
    let before = fs::read(path_of(directory)).ok();
    for _ in 0..2 {
        let error = Journal::open(directory).map(drop).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{text}");
        assert!(
            text.contains(part) && text.contains("journal.sqlite") && text.contains("set it aside"),
            "{text}"
        );
    }
    let moved = Journal::set_aside(directory).unwrap();
    assert_eq!(moved.is_some(), before.is_some());
    if let Some(moved) = moved {
        assert_eq!(fs::read(&moved).ok(), before, "the damaged file is kept as it was");
    }
    let (mut journal, recovered) = open(directory);
    assert!(recovered.created && recovered.head.seq == 0 && recovered.epoch == 1);
    assert!(commit(&mut journal, recovered.head, vec![note(1)]).is_ok());
}

#[test]
fn fault_08_damaged_files_are_refused_by_name_and_can_be_set_aside() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &str); 7] = [
        ("zero length", |path| fs::write(path, b"").unwrap(), "0 bytes"),
        ("wrong magic", |path| overwrite(path, 0, b"SQLite format 4\0"), "not a database"),
        ("noise", |path| fs::write(path, vec![0xa5; 40_000]).unwrap(), "not a database"),
        ("half", |path| cut(path, 2), ""),
        ("a quarter", |path| cut(path, 4), ""),
        ("another database", another_database, "not a Rearguard journal"),
        ("deleted", |path| fs::remove_file(path).unwrap(), "it is gone"),
    ];
    for (name, damage, part) in cases {
        println!("{name}");
        let directory = tempfile::tempdir().unwrap();
        make(directory.path());
        damage(&path_of(directory.path()));
        refused_and_set_aside(directory.path(), part);
    }
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let mut content = fs::read(path).unwrap();
    content[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(path, content).unwrap();
}

fn cut(path: &Path, divisor: usize) {
    let content = fs::read(path).unwrap();
    fs::write(path, &content[..content.len() / divisor]).unwrap();
}

fn another_database(path: &Path) {
    fs::remove_file(path).unwrap();
    Connection::open(path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
}

#[test]
fn files_set_aside_do_not_replace_each_other() {
    let directory = tempfile::tempdir().unwrap();
    for nth in 1..=3 {
        make(directory.path());
        let moved = Journal::set_aside(directory.path()).unwrap().unwrap();
        assert_eq!(moved, directory.path().join(format!("journal.sqlite.bad-{nth}")));
    }
}

#[test]
fn an_older_copy_or_another_journal_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let copy = fs::read(path_of(directory.path())).unwrap();
    drop(open(directory.path()));
    fs::write(path_of(directory.path()), copy).unwrap();
    refused_and_set_aside(directory.path(), "older copy, of epoch 2");

    let other = tempfile::tempdir().unwrap();
    make(other.path());
    fs::copy(path_of(other.path()), path_of(directory.path())).unwrap();
    refused_and_set_aside(directory.path(), "the one here before was");
}

#[test]
fn a_log_without_its_file_is_not_applied_to_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("journal.sqlite-wal"), b"log").unwrap();
    let error = Journal::open(directory.path()).map(drop).unwrap_err().to_string();
    assert!(error.contains("its log is still here"), "{error}");
    assert!(Journal::set_aside(directory.path()).unwrap().is_some());
    assert!(open(directory.path()).1.created);
}

#[test]
fn a_draft_that_a_crash_left_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    for suffix in ["", "-journal"] {
        fs::write(directory.path().join(format!("journal.sqlite.new{suffix}")), b"cut off").unwrap();
    }
    assert!(open(directory.path()).1.created);
}

#[test]
fn fault_09_a_newer_file_is_refused_and_left_alone() {
    let cases = [
        ("PRAGMA user_version = 99", "schema version 99"),
        // An event of a later version, with the hash that its writer would have given it.
        ("", "event version 7"),
    ];
    for (sql, part) in cases {
        let directory = tempfile::tempdir().unwrap();
        let recovered = make(directory.path());
        let file = Connection::open(path_of(directory.path())).unwrap();
        file.execute_batch(sql).unwrap();
        if sql.is_empty() {
            write_event_of_version_seven(&file, recovered.head.seq);
        }
        drop(file);
        let error = Journal::open(directory.path()).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Newer { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(part) && text.contains("run that version again"), "{text}");
        assert!(path_of(directory.path()).exists());
    }
}

/// Rewrites the last event as version 7, hash and all, by the formula in the documentation of the chain.
fn write_event_of_version_seven(file: &Connection, last: u64) {
    use sha2::{Digest, Sha256};
    let one = |seq: u64, column: &str| -> Vec<u8> {
        let sql = format!("SELECT CAST({column} AS BLOB) FROM events WHERE seq = {seq}");
        file.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let number = |column: &str| -> i64 {
        file.query_row(&format!("SELECT {column} FROM events WHERE seq = {last}"), [], |row| row.get(0))
            .unwrap()
    };
    let body = one(last, "body");
    let hash = Sha256::new()
        .chain_update(one(last - 1, "hash"))
        .chain_update(last.to_be_bytes())
        .chain_update(number("at_ms").to_be_bytes())
        .chain_update(number("wall_unix_ms").to_be_bytes())
        .chain_update(7_u32.to_be_bytes())
        .chain_update((body.len() as u64).to_be_bytes())
        .chain_update(&body)
        .finalize()
        .to_vec();
    let sql = "UPDATE events SET version = 7, hash = ?1 WHERE seq = ?2";
    assert_eq!(file.execute(sql, rusqlite::params![hash, i64::try_from(last).unwrap()]).unwrap(), 1);
}

#[test]
fn an_edited_record_is_found_at_its_place() {
    let edits = [
        ("UPDATE events SET body = replace(body, '12.3%', '0.3%') WHERE seq = 2", 2, true),
        ("UPDATE events SET wall_unix_ms = wall_unix_ms + 1 WHERE seq = 3", 3, true),
        ("UPDATE events SET at_ms = at_ms - 1 WHERE seq = 4", 4, true),
        ("DELETE FROM events WHERE seq = 5", 5, true),
        ("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)", 15, true),
        ("UPDATE events SET seq = seq + 100 WHERE seq = 15", 15, true),
        ("UPDATE facts SET body = '\"another\"' WHERE name = 'journal'", 0, false),
        ("UPDATE facts SET body = '9' WHERE name = 'epoch'", 0, false),
        ("UPDATE facts SET body = replace(body, '1000', '9000') WHERE name = 'last_commit'", 16, true),
        ("DELETE FROM facts WHERE name = 'last_commit'", 16, true),
    ];
    for (sql, seq, readable) in edits {
        let directory = tempfile::tempdir().unwrap();
        let recovered = make(directory.path());
        assert_eq!(recovered.head.seq, 15);
        let file = Connection::open(path_of(directory.path())).unwrap();
        file.execute_batch(sql).unwrap();
        drop(file);
        if readable {
            let broken = Reader::open(directory.path()).unwrap().verify_chain().unwrap_err();
            assert_eq!(broken.seq, seq, "{sql}: {broken}");
        }
        let error = Journal::open(directory.path()).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{sql}: {error}");
    }
}

#[test]
fn an_edit_before_the_snapshot_is_found_by_verification() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let head = tell_incident(&mut journal, recovered.head);
    journal.snapshot(head.seq, &0).unwrap();
    let file = Connection::open(path_of(directory.path())).unwrap();
    file.execute_batch("UPDATE events SET body = replace(body, 'succeeded', 'failed') WHERE seq = 8")
        .unwrap();
    assert_eq!(Reader::open(directory.path()).unwrap().verify_chain().unwrap_err().seq, 8);
}

#[test]
fn what_can_be_done_without_is_reported_and_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(directory.path());
    let mut head = recovered.head;
    for nth in 1..=3 {
        head = commit(&mut journal, head, vec![note(nth)]).unwrap();
        journal.snapshot(nth, &nth).unwrap();
    }
    journal.save_good_setup(&GoodSetup { fingerprint: "abc".to_owned(), files: vec![] }).unwrap();
    drop(journal);
    let file = Connection::open(path_of(directory.path())).unwrap();
    file.execute_batch(
        "UPDATE snapshots SET state = '4' WHERE seq = 3;
         UPDATE facts SET body = replace(body, 'abc', 'abd') WHERE name = 'good_setup'",
    )
    .unwrap();
    drop(file);
    let (journal, recovered) = open(directory.path());
    assert_eq!(recovered.snapshot.map(|snapshot| snapshot.seq), Some(2));
    assert_eq!(recovered.events, [(3, note(3))]);
    assert_eq!(recovered.good_setup, None);
    assert_eq!(recovered.damage.len(), 2, "{:?}", recovered.damage);
    drop(journal);
}

#[test]
fn fault_08_no_flipped_bit_makes_it_panic_or_lie() {
    let directory = tempfile::tempdir().unwrap();
    let sound = make(directory.path());
    let content = fs::read(path_of(directory.path())).unwrap();
    let (mut refused, mut accepted) = (0, 0);
    // A stride that is prime to page and row sizes, so that all kinds of places are hit.
    for (nth, at) in (0..content.len()).step_by(127).enumerate() {
        let copy = tempfile::tempdir().unwrap();
        let mut flipped = content.clone();
        flipped[at] ^= 1 << (nth % 8);
        fs::write(path_of(copy.path()), flipped).unwrap();
        match Journal::open(copy.path()) {
            Ok((_journal, recovered)) => {
                accepted += 1;
                assert_eq!(recovered.events, sound.events, "byte {at}");
                assert_eq!((recovered.head, &recovered.clock), (sound.head, &sound.clock), "byte {at}");
                assert!(recovered.good_setup == sound.good_setup || !recovered.damage.is_empty());
                assert!(!recovered.created && recovered.epoch == sound.epoch + 1, "byte {at}");
            }
            Err(OpenError::Corrupt { .. } | OpenError::Newer { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    println!("{refused} refused; {accepted} in places that are not believed or not used");
    assert!(refused > 20, "only {refused} of {} flips were found", refused + accepted);
}

#[test]
fn fault_07_and_10_a_full_and_a_read_only_file_system_are_survived() {
    let directory = tempfile::tempdir().unwrap();
    let mount = Mount::new(directory.path().join("small"));
    let Some(mount) = mount else {
        println!("skipped: a file system of a fixed size needs the right to mount tmpfs");
        return;
    };
    let (mut journal, recovered) = open(&mount.0);
    let mut head = commit(&mut journal, recovered.head, vec![note(1)]).unwrap();
    let filler = mount.0.join("filler");
    drop(fs::write(&filler, vec![0; 4 << 20]));
    let mut failures = 0;
    let mut next = 2;
    for _ in 0..40 {
        let events: Vec<_> = (next..next + 20).map(note).collect();
        match commit(&mut journal, head, events) {
            Ok(after) => (head, next) = (after, next + 20),
            Err(CommitError::Storage { .. }) => failures += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(failures > 0, "the file system was never full");
    fs::remove_file(&filler).unwrap();
    head = commit(&mut journal, head, vec![note(next)]).unwrap();
    let told = Reader::open(&mount.0).unwrap().events(0, usize::MAX).unwrap();
    let told: Vec<_> = told.into_iter().map(|record| record.event).collect();
    assert_eq!(told, (1..=next).map(note).collect::<Vec<_>>());
    assert_eq!(head.seq, next);
    drop(journal);

    assert!(mount.read_only());
    // Who may only read, reads: on a medium like this one there is no room for what readers share.
    assert_eq!(Reader::open(&mount.0).unwrap().verify_chain(), Ok(head));
    let error = Journal::open(&mount.0).map(drop).unwrap_err().to_string();
    assert!(error.contains("Read-only file system") && error.contains("make it writable"), "{error}");
}

/// A small tmpfs, unmounted at the end.
struct Mount(PathBuf);

impl Mount {
    fn new(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=600k", "tmpfs"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }

    fn read_only(&self) -> bool {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}
