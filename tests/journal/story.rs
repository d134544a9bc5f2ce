//! Events and batches that the tests are made of.

use std::collections::BTreeMap;
use std::path::Path;

use rearguard::engine::decision::{
    Cause, Delivery, DeliveryReport, Effect, Event, Happening, IncidentFacts, Message, MessageKind, Outcome,
    StepAction, StepEnding, StepHandle, StepOrder, StepResult,
};
use rearguard::engine::evaluation::{Evidence, TriggerKey};
use rearguard::engine::model::{EffectId, IncidentId, JournalId, Labels, RollbackId, Severity};
use rearguard::engine::time::{Span, Timestamp};
use rearguard::journal::{Batch, ClockReading, CommitError, Head, Journal, Ledger, Recovered};

/// Opens a journal that is expected to be sound.
pub fn open(directory: &Path) -> (Journal, Recovered) {
    Journal::open(directory).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns an event that can be told from every other one.
pub fn note(nth: u64) -> Event {
    event(nth, Happening::SetupRefused { problem: format!("event {nth}") })
}

pub fn event(nth: u64, what: Happening) -> Event {
    Event { at: Timestamp::from_millis(i64::try_from(nth).unwrap() * 1000), what }
}

pub fn clock(ms: i64) -> ClockReading {
    ClockReading {
        engine: Timestamp::from_millis(ms),
        boot_id: "boot".to_owned(),
        boottime_ms: ms,
        wall_unix_ms: 1_700_000_000_000 + ms,
    }
}

pub fn batch(epoch: u64, expected_seq: u64, events: Vec<Event>) -> Batch {
    Batch { epoch, expected_seq, clock: clock(1000), events, intents: Vec::new() }
}

/// Commits events on `head` and returns the new one.
pub fn commit(journal: &mut Journal, head: Head, events: Vec<Event>) -> Result<Head, CommitError> {
    let batch = batch(journal.epoch(), head.seq, events);
    journal.commit(&batch)
}

pub fn facts(incident: u64) -> IncidentFacts {
    IncidentFacts {
        incident: IncidentId(incident),
        journal: JournalId::new("journal"),
        target: "trading-app".into(),
        cause: "ErrorRateHigh".to_owned(),
        labels: Labels::empty(),
        severity: Severity::High,
        reason: "12.3% of requests fail".to_owned(),
        value: Some(f64::INFINITY),
        threshold: Some(0.02),
        since: Timestamp::ZERO,
        since_unix_ms: 0,
        version: Some("2".to_owned()),
        previous_version: None,
        runbook: None,
    }
}

pub fn message(incident: u64, kind: MessageKind) -> Message {
    Message {
        kind,
        dedup_key: format!("journal-I{incident}"),
        severity: Severity::High,
        summary: "trading-app: 12.3% of requests fail".to_owned(),
        details: vec!["rolled back".to_owned()],
        facts: facts(incident),
        decided_unix_ms: 0,
        unjournaled: false,
    }
}

pub fn key() -> TriggerKey {
    TriggerKey {
        target: "trading-app".into(),
        trigger: "ErrorRateHigh".into(),
        labels: Labels::from_pairs([("zone", "b"), ("instance", "127.0.0.1:8003")]),
    }
}

fn order(effect: u64) -> StepOrder {
    StepOrder {
        effect: EffectId(effect),
        key: format!("journal-E{effect}"),
        rollback: RollbackId(1),
        plan: "emergency".into(),
        step: "reroute".to_owned(),
        action: StepAction::Exec { argv: vec!["/bin/true".to_owned()] },
        timeout: Span::from_secs(5),
        facts: facts(1),
    }
}

/// Returns one incident from its trigger to its end, in batches with their intents.
#[expect(clippy::too_many_lines, reason = "the story of one incident, told in order")]
pub fn incident() -> Vec<(Vec<Happening>, Vec<Effect>)> {
    let evidence = Some(Evidence {
        value: f64::INFINITY,
        threshold: Some(0.1 + 0.2),
        condition: "error_rate > 2%".to_owned(),
        shown: "12.3%".to_owned(),
        newest_sample: Some(Timestamp::from_millis(900)),
        labels: rearguard::engine::model::Labels::empty(),
    });
    let (incident, rollback, effect) = (IncidentId(1), RollbackId(1), EffectId(1));
    let page = message(1, MessageKind::Trigger);
    let delivery = |effect| Delivery { effect, receiver: "pd".into(), message: page.clone() };
    let opened = Happening::IncidentOpened {
        incident,
        cause: Cause::Trigger(key()),
        target: "trading-app".into(),
        severity: Severity::High,
        reason: "12.3% of requests fail".to_owned(),
        since: Timestamp::ZERO,
        evidence: evidence.clone(),
        runbook: None,
        notify: vec!["pd".into()],
        policy: None,
        due: BTreeMap::new(),
    };
    let decided = Happening::RollbackDecided {
        rollback,
        incident,
        target: "trading-app".into(),
        plan: "emergency".into(),
        deadline: Timestamp::from_millis(60_000),
        steps: vec!["reroute".to_owned()],
        plan_fingerprint: String::new(),
    };
    let intended = Happening::StepIntended {
        order: Box::new(order(1)),
        index: 0,
        overdue_at: Timestamp::from_millis(9000),
    };
    let paged = Happening::PageDecided {
        incident,
        message: Box::new(page.clone()),
        deliveries: vec![(EffectId(2), "pd".into()), (EffectId(3), "mail".into())],
        tried: Vec::new(),
        instead_of: None,
    };
    let report = |effect, report| Happening::DeliveryReported {
        effect: EffectId(effect),
        receiver: "pd".into(),
        report,
    };
    let handle = StepHandle::Process { pid: 7, start_ticks: 9, boot_id: "boot".to_owned() };
    let ending = StepEnding {
        result: StepResult::Succeeded,
        took: Span::from_secs(1),
        output: "switched\u{1b}[0m".to_owned(),
    };
    vec![
        (
            vec![Happening::TriggerFiring { key: key(), since: Timestamp::ZERO, evidence }, opened, decided],
            vec![],
        ),
        (
            vec![intended, paged],
            vec![
                Effect::PrepareStep(order(1)),
                Effect::Deliver(delivery(EffectId(2))),
                Effect::Deliver(delivery(EffectId(3))),
            ],
        ),
        (
            vec![
                Happening::StepStarted { rollback, effect, handle },
                report(2, DeliveryReport::FirstFailure("timed out".to_owned())),
            ],
            vec![Effect::ReleaseStep(effect)],
        ),
        (
            vec![
                Happening::StepEnded { rollback, effect, ending },
                report(2, DeliveryReport::Accepted("202".to_owned())),
                report(2, DeliveryReport::FirstFailure("heard of too late".to_owned())),
                report(3, DeliveryReport::Dead("550".to_owned())),
            ],
            vec![],
        ),
        (
            vec![
                Happening::RollbackEnded {
                    rollback,
                    outcome: Outcome::Succeeded,
                    reason: "proven".to_owned(),
                },
                Happening::TriggerCleared { key: key(), evidence: None, removed: false },
                Happening::IncidentResolved {
                    incident,
                    reason: "error_rate < 1% for 2m".to_owned(),
                    tasks: std::collections::BTreeMap::new(),
                },
                Happening::Stopping,
            ],
            vec![],
        ),
    ]
}

/// Commits [`incident`] and returns the head behind it.
pub fn tell_incident(journal: &mut Journal, mut head: Head) -> Head {
    for (happenings, intents) in incident() {
        let events = happenings.into_iter().zip(1..).map(|(what, nth)| event(nth, what)).collect();
        let batch = Batch { intents, ..batch(journal.epoch(), head.seq, events) };
        head = journal.commit(&batch).unwrap();
    }
    head
}
