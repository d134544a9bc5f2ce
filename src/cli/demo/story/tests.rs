//! Stories made of the engine's own events, told and compared with what they should look like.

use super::*;
use crate::cli::demo::Sabotage;
use crate::cli::demo::arrival::{Arrived, Mail, Page};
use crate::cli::demo::load::Seen;
use crate::engine::decision::{
    Cause, CheckSeen, DeliveryReport, Event, Happening, IncidentFacts, Message, MessageKind, Outcome,
    StepAction, StepEnding, StepOrder, StepResult,
};
use crate::engine::evaluation::{Evidence, TriggerKey};
use crate::engine::model::{JournalId, Labels, Severity, SourceName};

/// When the stories begin on the wall; engine time begins elsewhere, as it does in life.
const START: i64 = 1_790_000_000_000;
const JOURNAL: &str = "5d2c9a1e-7b64-4f0d-9a51-0c1f6f1e2d3c";
const INCIDENT_KEY: &str = "5d2c9a1e-7b64-4f0d-9a51-0c1f6f1e2d3c-I1";
const ROLLBACK_KEY: &str = "5d2c9a1e-7b64-4f0d-9a51-0c1f6f1e2d3c-I1-rollback";

/// A story under construction. Every method takes the milliseconds since its start.
#[derive(Default)]
struct Script {
    items: Vec<Item>,
    deliveries: u64,
}

impl Script {
    fn deed(&mut self, ms: i64, what: Deed) {
        self.items.push(Item::Deed { wall_unix_ms: START + ms, what });
    }

    fn event(&mut self, ms: i64, what: Happening) {
        let event = Event { at: Timestamp::from_millis(500 + ms), what };
        self.items.push(Item::Event(Box::new(Record { seq: 0, wall_unix_ms: START + ms, event })));
    }

    fn page(&mut self, ms: i64, page: Page) {
        self.items.push(Item::Arrival(Arrival { wall_unix_ms: START + ms, what: Arrived::Page(page) }));
    }

    /// Up to the decision: the same in every story.
    fn until_decided(&mut self) {
        self.deed(3, Deed::Started);
        self.event(180, Happening::JournalCreated { journal: JournalId::new(JOURNAL) });
        self.event(
            190,
            Happening::SetupLoaded { fingerprint: "9f86d081884c7d65".to_owned(), degraded: None },
        );
        self.event(900, version("1", None));
        self.deed(950, Deed::Planned { version: Version::Two, at_wall_unix_ms: START + 12_950 });
        self.deed(12_960, Deed::Deployed(Version::Two));
        self.event(13_910, version("2", Some("1")));
        let (window, first) = (Span::from_secs(10), Some(evidence(0.0731, "7.3%")));
        self.event(17_900, Happening::TriggerPending { key: key(), window, evidence: first });
        let (since, evidence) = (Timestamp::from_millis(18_400), Some(evidence(0.2014, "20.1%")));
        self.event(27_905, Happening::TriggerFiring { key: key(), since, evidence: evidence.clone() });
        self.event(
            27_905,
            Happening::IncidentOpened {
                incident: IncidentId(1),
                cause: Cause::Trigger(key()),
                target: "trading-app".into(),
                severity: Severity::Critical,
                reason: "error_rate > 5% for 10s: measured 20.1%".to_owned(),
                since,
                evidence,
                runbook: None,
                notify: vec!["mail".into(), "pagerduty".into()],
                policy: None,
                due: BTreeMap::new(),
            },
        );
        self.event(
            27_905,
            Happening::RollbackDecided {
                rollback: RollbackId(1),
                incident: IncidentId(1),
                target: "trading-app".into(),
                plan: "emergency".into(),
                deadline: Timestamp::from_millis(88_405),
                steps: STEPS.map(str::to_owned).to_vec(),
                plan_fingerprint: String::new(),
            },
        );
    }

    fn step(&mut self, ms: i64, index: usize, took_ms: i64, result: StepResult, output: &str) {
        let (rollback, effect) = (RollbackId(1), EffectId(100 + index as u64));
        self.event(
            ms,
            Happening::StepIntended { order: Box::new(order(index)), index, overdue_at: Timestamp::ZERO },
        );
        let ending = StepEnding { result, took: Span::from_millis(took_ms), output: output.to_owned() };
        self.event(ms + took_ms, Happening::StepEnded { rollback, effect, ending });
    }

    fn good_steps(&mut self) {
        self.step(27_920, 0, 4, StepResult::Succeeded, "deployments are frozen\n");
        self.step(27_940, 1, 131, StepResult::Succeeded, "the trading app runs version 1 again\n");
        self.step(28_090, 2, 460, StepResult::Succeeded, "caches are warm\n");
        let (not_before, until) = (Timestamp::from_millis(32_050), Timestamp::from_millis(49_050));
        self.event(28_550, Happening::VerificationStarted { rollback: RollbackId(1), not_before, until });
        self.event(31_900, saw(&[(Verdict::NoData, None), (Verdict::NoData, None)]));
    }

    /// A message that both receivers take, or only the mail where PagerDuty is broken.
    fn message(&mut self, ms: i64, kind: MessageKind, dedup_key: &str, summary: &str, pagerduty_works: bool) {
        let message = Box::new(message(kind, dedup_key, summary));
        let (mail, page) = (EffectId(self.deliveries), EffectId(self.deliveries + 1));
        self.deliveries += 2;
        let deliveries = vec![(mail, "mail".into()), (page, "pagerduty".into())];
        self.event(
            ms,
            Happening::PageDecided {
                incident: IncidentId(1),
                message,
                deliveries,
                tried: Vec::new(),
                instead_of: None,
            },
        );
        let told = kind != MessageKind::Resolve;
        let action = if told { "trigger" } else { "resolve" };
        let answered = if pagerduty_works { 202 } else { 500 };
        self.page(
            ms + 12,
            Page {
                action: action.to_owned(),
                dedup_key: dedup_key.to_owned(),
                severity: told.then(|| "critical".to_owned()),
                summary: told.then(|| summary.to_owned()),
                answered,
                body: String::new(),
            },
        );
        let report = if pagerduty_works {
            DeliveryReport::Accepted("202".to_owned())
        } else {
            DeliveryReport::FirstFailure("PagerDuty answered HTTP 500".to_owned())
        };
        self.event(
            ms + 15,
            Happening::DeliveryReported { effect: page, receiver: "pagerduty".into(), report },
        );
        let status = match kind {
            MessageKind::Trigger => "CRITICAL",
            MessageKind::Update => "UPDATE",
            MessageKind::Resolve => "RESOLVED",
        };
        let subject = format!("[Rearguard] {status} {summary}");
        let mail_to = vec!["on-call@demo.example".to_owned()];
        let arrived = Mail { subject, to: mail_to, ..Mail::default() };
        self.items
            .push(Item::Arrival(Arrival { wall_unix_ms: START + ms + 40, what: Arrived::Mail(arrived) }));
        let report = DeliveryReport::Accepted("250 kept".to_owned());
        self.event(ms + 45, Happening::DeliveryReported { effect: mail, receiver: "mail".into(), report });
    }
}

const STEPS: [&str; 3] = ["freeze deployments", "switch back", "warm caches"];

fn version(version: &str, previous: Option<&str>) -> Happening {
    let previous = previous.map(str::to_owned);
    Happening::VersionSeen { target: "trading-app".into(), version: version.to_owned(), previous }
}

fn key() -> TriggerKey {
    TriggerKey { target: "trading-app".into(), trigger: "ErrorRateHigh".into(), labels: Labels::empty() }
}

fn evidence(value: f64, shown: &str) -> Evidence {
    let condition = "error_rate > 5%".to_owned();
    Evidence {
        value,
        threshold: Some(0.05),
        condition,
        shown: shown.to_owned(),
        newest_sample: None,
        labels: Labels::empty(),
    }
}

fn saw(verdicts: &[(Verdict, Option<&str>)]) -> Happening {
    let conditions = ["error_rate < 2%", "avg_response_time < 100ms"];
    let checks = conditions.iter().zip(verdicts).map(|(condition, (verdict, shown))| CheckSeen {
        condition: (*condition).to_owned(),
        verdict: verdict.clone(),
        evidence: shown.map(|shown| evidence(0.0, shown)),
    });
    Happening::VerificationSaw { rollback: RollbackId(1), checks: checks.collect() }
}

fn facts() -> IncidentFacts {
    IncidentFacts {
        incident: IncidentId(1),
        journal: JournalId::new(JOURNAL),
        target: "trading-app".into(),
        cause: "ErrorRateHigh".to_owned(),
        labels: Labels::empty(),
        severity: Severity::Critical,
        reason: String::new(),
        value: None,
        threshold: None,
        since: Timestamp::ZERO,
        since_unix_ms: START,
        version: None,
        previous_version: None,
        runbook: None,
    }
}

fn order(index: usize) -> StepOrder {
    StepOrder {
        effect: EffectId(100 + index as u64),
        key: String::new(),
        rollback: RollbackId(1),
        plan: "emergency".into(),
        step: STEPS[index].to_owned(),
        action: StepAction::Exec { argv: Vec::new() },
        timeout: Span::from_secs(10),
        facts: facts(),
    }
}

fn message(kind: MessageKind, dedup_key: &str, summary: &str) -> Message {
    Message {
        kind,
        dedup_key: dedup_key.to_owned(),
        severity: Severity::Critical,
        summary: summary.to_owned(),
        details: Vec::new(),
        facts: facts(),
        decided_unix_ms: START,
        unjournaled: false,
    }
}

fn ended(outcome: Outcome, reason: &str) -> Happening {
    Happening::RollbackEnded { rollback: RollbackId(1), outcome, reason: reason.to_owned() }
}

/// Returns the story as it should come out under `sabotage`.
pub fn story(sabotage: Option<Sabotage>) -> Vec<Item> {
    let mut script = Script::default();
    let pagerduty_works = sabotage != Some(Sabotage::Receiver);
    script.until_decided();
    let alert = "trading-app: 20.1% of requests fail";
    script.message(27_905, MessageKind::Trigger, INCIDENT_KEY, alert, pagerduty_works);
    match sabotage {
        None | Some(Sabotage::Receiver) => {
            script.good_steps();
            script.event(33_905, saw(&[(Verdict::Holds, Some("0%")), (Verdict::Holds, Some("5.2ms"))]));
            let reason = "every step was done and the verification passed";
            script.event(33_905, ended(Outcome::Succeeded, reason));
            let done = "trading-app: rolled back by `emergency` in 6s, verified";
            script.message(33_905, MessageKind::Update, INCIDENT_KEY, done, pagerduty_works);
            let evidence = Some(evidence(0.031, "3.1%"));
            script.event(36_900, Happening::TriggerCleared { key: key(), evidence, removed: false });
            let reason = "the condition is no longer met".to_owned();
            let over = "trading-app: ErrorRateHigh: the condition is no longer met";
            script.message(36_900, MessageKind::Resolve, INCIDENT_KEY, over, pagerduty_works);
            script.event(
                36_900,
                Happening::IncidentResolved {
                    incident: IncidentId(1),
                    reason,
                    tasks: std::collections::BTreeMap::new(),
                },
            );
        }
        Some(Sabotage::Actuator) => {
            script.step(27_920, 0, 4, StepResult::Succeeded, "deployments are frozen\n");
            let refused = "the load balancer refuses the switch";
            script.step(27_940, 1, 93, StepResult::Failed("exit code 1".to_owned()), refused);
            script.event(28_040, ended(Outcome::Failed, "step `switch back` failed: exit code 1"));
            let failed = "trading-app: rollback `emergency` FAILED: step `switch back` failed: exit code 1";
            script.message(28_040, MessageKind::Trigger, ROLLBACK_KEY, failed, true);
        }
        Some(Sabotage::Verify) => {
            script.good_steps();
            script
                .event(33_905, saw(&[(Verdict::Breached, Some("22%")), (Verdict::Breached, Some("245ms"))]));
            let reason = "the steps are over but the verification did not pass: error_rate < 2%: 22%";
            script.event(48_550, ended(Outcome::Partial, reason));
            let partial = "trading-app: rollback `emergency` is PARTIAL: the verification did not pass";
            script.message(48_550, MessageKind::Trigger, ROLLBACK_KEY, partial, true);
        }
    }
    in_order(script.items)
}

/// Puts items into the order in which they happened and numbers the events.
fn in_order(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by_key(Item::wall_unix_ms);
    let records = items.iter_mut().filter_map(|item| match item {
        Item::Event(record) => Some(record),
        _ => None,
    });
    records.zip(1..).for_each(|(record, seq)| record.seq = seq);
    items
}

/// Tells the story of `sabotage` from its first to its last line.
fn tell(sabotage: Option<Sabotage>, width: usize, paint: Paint) -> String {
    let items = &story(sabotage);
    let mut teller = Teller::new(START);
    let mut out: Vec<String> =
        items.iter().flat_map(|item| teller.tell(item)).map(|line| line.render(width, paint)).collect();
    out.push(summary(items, Some(Seen { requests: 812, failed: 131 }), width, paint));
    out.push(closing(sabotage, &[], paint));
    out.join("\n") + "\n"
}

#[test]
fn stories_look_as_they_should() {
    let cases = [
        (None, 100, include_str!("golden/good.txt")),
        (Some(Sabotage::Receiver), 100, include_str!("golden/receiver.txt")),
        (Some(Sabotage::Actuator), 80, include_str!("golden/actuator.txt")),
        (Some(Sabotage::Verify), 120, include_str!("golden/verify.txt")),
    ];
    for (sabotage, width, golden) in cases {
        let told = tell(sabotage, width, Paint::Plain);
        assert!(told == golden, "{sabotage:?} looks like this now:\n{told}");
        let too_long = told.lines().find(|line| line.chars().count() > width);
        assert_eq!(too_long, None, "no line is longer than {width} columns");
    }
}

#[test]
fn what_is_heard_of_late_is_told_in_its_place() {
    let whole = story(None);
    let mut sequence = Sequence::default();
    // Every arrival overtakes the events of the 300 ms before it.
    let mut heard = whole.clone();
    heard.sort_by_key(|item| item.wall_unix_ms() - if matches!(item, Item::Arrival(_)) { 300 } else { 0 });
    assert!(heard != whole);
    heard.into_iter().for_each(|item| sequence.put(item));
    assert_eq!(sequence.next(START), None, "nothing happened before the story");
    let told: Vec<_> = std::iter::from_fn(|| sequence.next(i64::MAX)).collect();
    assert!(told == whole, "everything is told, in its place");
}

#[test]
fn colors_change_nothing_but_colors() {
    let colored = tell(None, 100, Paint::Color);
    let escape = regex::Regex::new("\u{1b}\\[[0-9;]*m").expect("an expression");
    let stripped: Vec<_> =
        colored.lines().map(|line| escape.replace_all(line, "").trim_end().to_owned()).collect();
    assert!(colored.contains('\u{1b}'));
    assert_eq!(stripped.join("\n") + "\n", tell(None, 100, Paint::Plain));
}

#[test]
fn bars_are_up_while_something_is_waited_for_and_only_then() {
    let mut teller = Teller::new(START);
    let mut seen = Vec::new();
    for item in story(None) {
        teller.tell(&item);
        let label = teller.waiting().map_or("", |waiting| waiting.label);
        if seen.last() != Some(&label) {
            seen.push(label);
        }
    }
    assert_eq!(seen, ["", "all is well", "", "window", "", "step", "", "step", "", "step", "", "proof", ""]);
}

#[test]
fn what_is_unexpected_is_told_too() {
    let silent = Happening::IncidentOpened {
        incident: IncidentId(2),
        cause: Cause::Silent(SourceName::from("app")),
        target: "trading-app".into(),
        severity: Severity::High,
        reason: "source app has been silent for 5s: connection refused".to_owned(),
        since: Timestamp::ZERO,
        evidence: None,
        runbook: None,
        notify: Vec::new(),
        policy: None,
        due: BTreeMap::new(),
    };
    let doubt = Happening::StepInDoubt {
        rollback: RollbackId(1),
        effect: EffectId(9),
        why: "nothing was heard of it".to_owned(),
    };
    let cases = [
        (
            silent,
            "incident     I2 at trading-app, high: source app has been silent for 5s: connection refused",
        ),
        (doubt, "step         E9: in doubt, nobody knows how it ended: nothing was heard of it"),
        (
            Happening::JournalLost { reason: "disk full".to_owned(), ids_from: 0 },
            "journal      cannot be written: disk full",
        ),
        (Happening::SetupRefused { problem: "a\u{1b}[2Jb".to_owned() }, r"rules        refused: a\u{1b}[2Jb"),
    ];
    for (what, expected) in cases {
        let mut script = Script::default();
        script.event(1_000, what);
        let lines = Teller::new(START).tell(&script.items[0]);
        let told: Vec<_> = lines.iter().map(|line| line.render(120, Paint::Plain)).collect();
        assert_eq!(told.len(), 1);
        assert!(told[0].ends_with(expected), "{} does not end with {expected}", told[0]);
    }
}
