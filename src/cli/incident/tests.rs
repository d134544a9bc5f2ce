//! The story of an incident as people read it at night, compared with what is recorded in `tests/golden/incident`. After a
//! wanted change run with `BLESS=1` and read the difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::engine::decision::{
    Cause, CheckSeen, DeliveryReport, Event, Happening, IncidentFacts, Message, MessageKind, Outcome,
    Refusal, StepAction, StepEnding, StepHandle, StepOrder, StepResult,
};
use crate::engine::evaluation::{Evidence, TriggerKey, Verdict};
use crate::engine::model::{EffectId, JournalId, Labels, RollbackId, Severity};
use crate::engine::rules::Clock;
use crate::engine::time::{Span, Timestamp};
use crate::journal::{ChainHash, Head};

/// The width of a terminal on a laptop beside a bed.
const WIDTH: usize = 100;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn compare(name: &str, actual: &str) {
    let golden = root().join("tests/golden/incident").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(actual, expected, "{name} is told otherwise");
}

/// Makes a journal from its dump.
fn restore(dump: &str, directory: &Path) {
    let text = std::fs::read_to_string(root().join("tests/files/journal").join(dump)).unwrap();
    rusqlite::Connection::open(directory.join("journal.sqlite")).unwrap().execute_batch(&text).unwrap();
}

#[test]
fn a_real_incident_in_a_file_of_the_first_version_is_told_whole() {
    let directory = tempfile::tempdir().unwrap();
    restore("version-1.sql", directory.path());
    let reader = Reader::open(directory.path()).unwrap();
    let records = reader.events_of_incident(IncidentId(1)).unwrap();
    let story = Story::new(IncidentId(1), &records);
    let sections = story.sections(&surroundings(&reader, &records).unwrap());
    compare("real.txt", &format!("{}\n\n{}", story.heading(), layout::text(&sections, Some(WIDTH))));
    compare("real.md", &layout::markdown(&story.heading(), &sections));
}

/// Events of one incident, a list of seconds and happenings.
fn records(happenings: Vec<(f64, Happening)>) -> Vec<Record> {
    let record = |(nth, (seconds, what)): (usize, (f64, Happening))| {
        let ms = (seconds * 1000.0) as i64;
        let event = Event { at: Timestamp::from_millis(1_000_000 + ms), what };
        Record { seq: nth as u64 + 41, wall_unix_ms: 1_795_229_930_000 + ms, event }
    };
    happenings.into_iter().enumerate().map(record).collect()
}

fn evidence(condition: &str, shown: &str) -> Option<Evidence> {
    Some(Evidence {
        value: 0.1,
        threshold: Some(0.02),
        condition: condition.to_owned(),
        shown: shown.to_owned(),
        newest_sample: None,
        labels: Labels::empty(),
    })
}

fn facts() -> IncidentFacts {
    IncidentFacts {
        incident: IncidentId(7),
        journal: JournalId::new("5d2c9a1e-7b64-4f0d-9a51-0c1f6f1e2d3c"),
        target: "trading-app".into(),
        cause: "ErrorRateHigh".to_owned(),
        labels: Labels::empty(),
        severity: Severity::Critical,
        reason: String::new(),
        value: None,
        threshold: None,
        since: Timestamp::ZERO,
        since_unix_ms: 0,
        version: None,
        previous_version: None,
        runbook: None,
    }
}

fn page(kind: MessageKind, summary: &str, to: &[(u64, &str)]) -> Happening {
    let message = Message {
        kind,
        dedup_key: "key".to_owned(),
        severity: Severity::Critical,
        summary: summary.to_owned(),
        details: Vec::new(),
        facts: facts(),
        decided_unix_ms: 0,
        unjournaled: false,
    };
    Happening::PageDecided {
        incident: IncidentId(7),
        message: Box::new(message),
        deliveries: to.iter().map(|(effect, receiver)| (EffectId(*effect), (*receiver).into())).collect(),
        tried: Vec::new(),
        instead_of: None,
    }
}

fn intended(effect: u64, index: usize, step: &str, argv: &[&str]) -> Happening {
    let order = StepOrder {
        effect: EffectId(effect),
        key: String::new(),
        rollback: RollbackId(2),
        plan: "emergency".into(),
        step: step.to_owned(),
        action: StepAction::Exec { argv: argv.iter().map(|word| (*word).to_owned()).collect() },
        timeout: Span::from_secs(20),
        facts: facts(),
    };
    Happening::StepIntended { order: Box::new(order), index, overdue_at: Timestamp::ZERO }
}

fn reported(effect: u64, report: DeliveryReport) -> Happening {
    Happening::DeliveryReported { effect: EffectId(effect), receiver: "pager".into(), report }
}

/// A night on which nothing goes well, with text from outside that wants to be more than text.
#[expect(clippy::too_many_lines, reason = "one night, told in order")]
fn bad_night() -> Vec<Record> {
    let (incident, rollback) = (IncidentId(7), RollbackId(2));
    let key = TriggerKey {
        target: "trading-app".into(),
        trigger: "ErrorRateHigh".into(),
        labels: Labels::from_pairs([("zone", "b\u{1b}[2J")]),
    };
    let condition = "error_rate > 2%";
    let handle = || StepHandle::Process { pid: 4711, start_ticks: 9, boot_id: "boot".to_owned() };
    let ended = |effect, result, took_ms, output: &str| Happening::StepEnded {
        rollback,
        effect: EffectId(effect),
        ending: StepEnding { result, took: Span::from_millis(took_ms), output: output.to_owned() },
    };
    let due = BTreeMap::from([
        (Clock::Rollback, Timestamp::from_millis(1_300_000)),
        (Clock::Resolved, Timestamp::from_millis(1_600_000)),
        (Clock::Task("call the exchange".to_owned()), Timestamp::from_millis(1_900_000)),
    ]);
    let check = |condition: &str, verdict, shown: &str| CheckSeen {
        condition: condition.to_owned(),
        verdict,
        evidence: evidence(condition, shown),
    };
    records(vec![
        (
            -60.0,
            Happening::TriggerPending {
                key: key.clone(),
                window: Span::from_secs(60),
                evidence: evidence(condition, "11.8%"),
            },
        ),
        (
            0.0,
            Happening::TriggerFiring {
                key: key.clone(),
                since: Timestamp::from_millis(940_000),
                evidence: evidence(condition, "12.3%"),
            },
        ),
        (
            0.0,
            Happening::IncidentOpened {
                incident,
                cause: Cause::Trigger(key),
                target: "trading-app".into(),
                severity: Severity::Critical,
                reason: "error_rate > 2% for 1m: measured 12.3%, and the reason goes on for longer than any \
                     terminal is wide, as reasons do that people have written"
                    .to_owned(),
                since: Timestamp::from_millis(940_000),
                evidence: evidence(condition, "12.3%"),
                runbook: Some("https://runbooks.example/error-rate".to_owned()),
                notify: vec!["pager".into(), "mail".into()],
                policy: Some("trading-oncall".into()),
                due,
            },
        ),
        (
            0.0,
            Happening::RollbackDecided {
                rollback,
                incident,
                target: "trading-app".into(),
                plan: "emergency".into(),
                deadline: Timestamp::from_millis(1_060_000),
                steps: ["reroute", "restore", "reset caches"].map(str::to_owned).to_vec(),
                plan_fingerprint: String::new(),
            },
        ),
        (
            0.0,
            page(MessageKind::Trigger, "trading-app: ErrorRateHigh: 12.3%", &[(11, "pager"), (12, "mail")]),
        ),
        (0.0, intended(10, 0, "reroute", &["/usr/local/bin/lb-switch", "blue", "12.3% of requests fail"])),
        (0.02, Happening::StepStarted { rollback, effect: EffectId(10), handle: handle() }),
        (0.8, reported(11, DeliveryReport::FirstFailure("connection refused".to_owned()))),
        (1.2, ended(10, StepResult::Succeeded, 1180, "switched to blue\n\u{1b}[31m3 of 3\nTIMELINE\n")),
        (1.2, intended(13, 1, "restore", &["/usr/local/bin/deploy", "stable"])),
        (1.22, Happening::StepStarted { rollback, effect: EffectId(13), handle: handle() }),
        (
            9.0,
            Happening::StepInDoubt {
                rollback,
                effect: EffectId(13),
                why: "the daemon restarted while it ran".to_owned(),
            },
        ),
        (9.0, page(MessageKind::Trigger, "trading-app: rollback R2 IS IN DOUBT", &[(14, "pager")])),
        (9.5, reported(11, DeliveryReport::Accepted("202".to_owned()))),
        (9.6, reported(12, DeliveryReport::Dead("550 no such user".to_owned()))),
        (605.0, Happening::Escalated { incident, level: 2, notify: vec!["chat".into()] }),
        (
            700.0,
            Happening::TaskDone {
                incident,
                task: "call the exchange".to_owned(),
                by: "uid 1000\n= root".to_owned(),
            },
        ),
        (
            725.0,
            Happening::StepSettled { rollback, effect: EffectId(13), done: true, by: "uid 1000".to_owned() },
        ),
        (
            725.0,
            Happening::VerificationStarted {
                rollback,
                not_before: Timestamp::from_millis(1_725_000),
                until: Timestamp::from_millis(1_760_000),
            },
        ),
        (
            726.0,
            Happening::VerificationSaw {
                rollback,
                checks: vec![
                    check("error_rate < 1%", Verdict::Breached, "3.1%"),
                    check("avg_response_time < 100ms", Verdict::Holds, "41ms"),
                ],
            },
        ),
        (
            730.0,
            Happening::VerificationSaw {
                rollback,
                checks: vec![
                    check("error_rate < 1%", Verdict::Breached, "1.2%"),
                    check("avg_response_time < 100ms", Verdict::Holds, "40ms"),
                ],
            },
        ),
        (
            760.0,
            Happening::RollbackEnded {
                rollback,
                outcome: Outcome::TimedOut,
                reason: "the deadline of 60s has passed".to_owned(),
            },
        ),
        (
            760.0,
            Happening::Overdue {
                incident,
                clock: Clock::Resolved,
                due_at: Timestamp::from_millis(1_600_000),
            },
        ),
        (
            3700.0,
            Happening::RollbackNotBegun {
                incident,
                target: "trading-app".into(),
                plan: "emergency".into(),
                refusal: Refusal::AlreadyRun(rollback),
            },
        ),
    ])
}

fn surrounded() -> Surroundings {
    let hash = ChainHash::genesis(&JournalId::new("x"));
    Surroundings {
        journal: "5d2c9a1e-7b64-4f0d-9a51-0c1f6f1e2d3c".to_owned(),
        head: Head { seq: 99, hash },
        last_hash: Some(hash),
        files: Some("0123456789abcdef".to_owned()),
    }
}

#[test]
fn a_bad_night_is_told_whole_on_a_hundred_columns() {
    let records = bad_night();
    let story = Story::new(IncidentId(7), &records);
    let sections = story.sections(&surrounded());
    let text = format!("{}\n\n{}", story.heading(), layout::text(&sections, Some(WIDTH)));
    compare("bad-night.txt", &text);
    compare("bad-night.md", &layout::markdown(&story.heading(), &sections));
    for line in text.lines() {
        // Hashes stay whole.
        assert!(line.chars().count() <= WIDTH, "{line}");
    }
    assert!(!text.contains('\u{1b}'), "nothing from outside steers the terminal");
    assert_eq!(text.lines().filter(|line| line.starts_with("TIMELINE")).count(), 1);
}

#[test]
fn every_event_of_an_incident_is_in_its_timeline() {
    let records = bad_night();
    let sections = Story::new(IncidentId(7), &records).sections(&surrounded());
    let timeline = sections.iter().find(|section| section.title.starts_with("TIMELINE")).unwrap();
    let told: Vec<&str> =
        timeline.rows.iter().filter_map(|row| row.cells.get(2)).map(String::as_str).collect();
    let all: Vec<String> = records.iter().map(|record| record.event.what.to_string()).collect();
    assert_eq!(told, all);
    // Two days.
    assert_eq!(timeline.rows.len(), all.len() + 1);
}
