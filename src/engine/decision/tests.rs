//! Decisions as short stories: inputs go in by hand, what happened comes out as lines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::engine::evaluation::{
    CheckKey, CheckVerdict, DetectVersion, Evidence, Judged, Judgement, Silence, SourcePace, TriggerKey,
    UnknownReason, Verdict, WindowFill,
};
use crate::engine::model::{IncidentId, JournalId, Labels, ReceiverName, RollbackId};
use crate::engine::promql;
use crate::engine::rules::{
    BaselineSpec, Compare, Comparison, Condition, Indicator, RuleSet, Then, Threshold, Trigger, Unit,
    WindowSpec,
};
use crate::engine::series::{FailureKind, SourceFailure};
use crate::engine::time::Span;

mod due;
mod escalation;

fn condition(text: &str) -> Condition {
    let query = promql::compile(&promql::parse("errors").unwrap(), &promql::Scope::EVERYTHING).unwrap();
    let indicator = Indicator {
        name: "errors".into(),
        unit: Unit::Ratio,
        description: None,
        text: "errors".to_owned(),
        query,
        baseline: BaselineSpec::default(),
    };
    Condition::of(Compare {
        indicator: Arc::new(indicator),
        comparison: Comparison::Greater,
        threshold: Threshold::Fixed(0.02),
        text: text.to_owned(),
    })
}

fn trigger(name: &str) -> Trigger {
    let window =
        WindowSpec::Sustained { of: Span::from_secs(60), coverage: 0.9, max_gap: Span::from_secs(15) };
    Trigger {
        sources: BTreeSet::from(["app".into()]),
        summary: Some("{target}: {value} of requests fail {nonsense}".to_owned()),
        then: Then { rollback: Some("back".into()), page: Some("oncall".into()), ..Then::default() },
        fingerprint: name.to_owned(),
        ..Trigger::new(name.into(), "app".into(), condition("errors > 2%"), window)
    }
}

fn step(name: &str) -> Step {
    Step {
        name: name.to_owned(),
        action: StepAction::Exec {
            argv: vec!["/bin/switch".to_owned(), "{reason}".to_owned(), "x{reason}".to_owned()],
        },
        timeout: Span::from_secs(20),
        on_error: OnError::Stop,
        idempotent: false,
    }
}

/// Two triggers on one armed target; a plan of two steps with one condition to prove it; three receivers, one policy.
pub(super) fn setup() -> Setup {
    let plan = Plan {
        deadline: Span::from_secs(60),
        steps: vec![step("switch"), step("warm")],
        verify: Some(Verify {
            warm_up: Span::from_secs(5),
            within: Span::from_secs(25),
            conditions: vec![condition("errors < 1%")],
            on: BTreeMap::new(),
        }),
    };
    let target = Target {
        mode: Mode::Armed,
        plans: BTreeSet::from(["back".into()]),
        at_most: AtMost { count: 2, per: Span::from_secs(86_400) },
        cooldown: Span::from_secs(600),
        detect: Some(DetectVersion {
            source: "app".into(),
            metric: "m".to_owned(),
            label: "v".to_owned(),
            tells: <_>::default(),
        }),
        deployments: DeploymentSettings::default(),
        reference: BTreeSet::new(),
    };
    let triggers = ["Errors", "Slow"].map(|name| (("app".into(), name.into()), Arc::new(trigger(name))));
    Setup {
        fingerprint: "f".to_owned(),
        rules: RuleSet { triggers: BTreeMap::from(triggers), ..RuleSet::default() },
        targets: BTreeMap::from([("app".into(), target)]),
        plans: BTreeMap::from([("back".into(), plan)]),
        policies: BTreeMap::from([(
            "oncall".into(),
            Policy {
                levels: vec![Level {
                    after: Span::ZERO,
                    notify: vec!["pd".into(), "mail".into()],
                    always: false,
                }],
            },
        )]),
        receivers: BTreeSet::from(["pd".into(), "mail".into(), "spare".into()]),
        sources: BTreeMap::from([(
            "app".into(),
            SourcePace { every: Span::from_secs(5), silent_after: Span::from_secs(60) },
        )]),
        ..Setup::default()
    }
}

/// One run of decisions: every decision is applied at once, as if its commit had succeeded.
pub(super) struct Story {
    pub(super) setup: Setup,
    pub(super) state: State,
    pub(super) now: Timestamp,
    effects: Vec<Effect>,
    pub(super) lines: Vec<String>,
}

impl Story {
    pub(super) fn new(setup: Setup) -> Self {
        let mut story = Self {
            setup,
            state: State::default(),
            now: Timestamp::ZERO,
            effects: Vec::new(),
            lines: Vec::new(),
        };
        let journal = JournalId::new("j");
        let created = Event { at: story.now, what: Happening::JournalCreated { journal } };
        apply(&mut story.state, &created).unwrap();
        story
    }

    pub(super) fn at(&mut self, seconds: i64) -> &mut Self {
        self.now = Timestamp::from_millis(seconds * 1000);
        self
    }

    /// Feeds one input; returns what the shell is asked to do.
    pub(super) fn feed(&mut self, input: Input) -> Vec<Effect> {
        let decision = decide(&self.state, &self.setup, self.now, &input);
        assert!(!format!("{:?}", decision.report).contains("Illegal"), "{:?}", decision.report);
        for event in &decision.events {
            apply(&mut self.state, event).unwrap();
            self.lines.push(event.what.to_string());
        }
        self.effects.extend(decision.effects.iter().cloned());
        decision.effects
    }

    pub(super) fn judge(&mut self, name: &str, verdict: Verdict, full: bool) -> Vec<Effect> {
        let key = TriggerKey { target: "app".into(), trigger: name.into(), labels: Labels::empty() };
        let blind = matches!(verdict, Verdict::NoData | Verdict::Unknown(_));
        let is_kept = verdict == Verdict::Holds;
        let judgement = Judgement {
            key,
            verdict,
            evidence: Some(evidence(0.123)),
            window: WindowFill {
                of: Span::from_secs(60),
                since: (!is_kept).then_some(Timestamp::ZERO),
                full,
                ..WindowFill::default()
            },
            blind_since: blind.then_some(Timestamp::ZERO),
            may_clear: true,
            taken_for: None,
        };
        self.feed(Input::Judged(Judged { judgements: vec![judgement], ..Judged::default() }))
    }

    pub(super) fn fire(&mut self, name: &str) -> Vec<Effect> {
        self.judge(name, Verdict::Breached, true)
    }

    fn prepared(&self) -> StepOrder {
        let order = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::PrepareStep(order) => Some(order.clone()),
            _ => None,
        });
        order.expect("a step was prepared")
    }

    fn start_step(&mut self) -> EffectId {
        let effect = self.prepared().effect;
        let handle = StepHandle::Process { pid: 7, start_ticks: 1, boot_id: "b".to_owned() };
        let effects = self.feed(Input::EffectStarted { effect, handle });
        assert_eq!(effects, [Effect::ReleaseStep(effect)]);
        effect
    }

    pub(super) fn end_step(&mut self, result: StepResult) -> Vec<Effect> {
        let effect = self.start_step();
        self.finish(effect, result)
    }

    fn finish(&mut self, effect: EffectId, result: StepResult) -> Vec<Effect> {
        let ending = StepEnding { result, took: Span::from_secs(1), output: String::new() };
        self.feed(Input::EffectFinished { effect, outcome: EffectOutcome::Step(ending) })
    }

    pub(super) fn check(&mut self, verdict: Verdict) -> Vec<Effect> {
        let key = CheckKey { rollback: RollbackId(1), condition: 0 };
        let check = CheckVerdict { key, verdict, evidence: Some(evidence(0.05)) };
        self.feed(Input::Judged(Judged { checks: vec![check], ..Judged::default() }))
    }

    pub(super) fn said(&self, needle: &str) -> bool {
        self.lines.iter().any(|line| line.contains(needle))
    }

    /// Returns every message under the key of failed rollbacks.
    pub(super) fn alarms(&self) -> Vec<String> {
        let messages = self.effects.iter().filter_map(|effect| match effect {
            Effect::Deliver(delivery) if delivery.message.dedup_key.ends_with("-rollback") => {
                Some(delivery.message.summary.clone())
            }
            _ => None,
        });
        messages.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn evidence(value: f64) -> Evidence {
    Evidence {
        value,
        threshold: Some(0.02),
        condition: "errors > 2%".to_owned(),
        shown: format!("{}%", value * 100.0),
        newest_sample: None,
        labels: Labels::empty(),
    }
}

fn deliveries(effects: &[Effect]) -> Vec<(EffectId, String, MessageKind)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Deliver(sent) => Some((sent.effect, sent.receiver.to_string(), sent.message.kind)),
            _ => None,
        })
        .collect()
}

fn acts(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::PrepareStep(_))).count()
}

#[test]
fn a_breach_that_lasts_rolls_back_proves_it_and_pages() {
    let mut story = Story::new(setup());
    assert!(story.at(1).judge("Errors", Verdict::Breached, false).is_empty(), "the window is not full");
    let effects = story.at(61).fire("Errors");
    assert_eq!(acts(&effects), 1);
    assert_eq!(deliveries(&effects).len(), 2, "the policy's two receivers");
    story.end_step(StepResult::Succeeded);
    story.end_step(StepResult::Succeeded);
    assert!(story.said("verification begins"));
    story.check(Verdict::NoData);
    story.check(Verdict::Holds);
    assert!(story.said("R1 succeeded"), "{:#?}", story.lines);
    assert!(story.alarms().is_empty());
    let closing = story.at(80).judge("Errors", Verdict::Holds, false);
    assert!(story.said("incident I1 is resolved"));
    assert_eq!(deliveries(&closing).iter().filter(|(_, _, kind)| *kind == MessageKind::Resolve).count(), 2);
}

#[test]
fn e10_a_summary_with_a_wrong_placeholder_still_pages_with_the_facts() {
    let mut story = Story::new(setup());
    let effects = story.fire("Errors");
    let Some(Effect::Deliver(sent)) = effects.iter().find(|effect| matches!(effect, Effect::Deliver(_)))
    else {
        panic!("no page in {effects:?}");
    };
    assert_eq!(sent.message.summary, "app: 12.3% of requests fail {nonsense}");
}

#[test]
fn e11_only_whole_arguments_are_placeholders_and_options_cannot_be_smuggled_in() {
    let mut setup = setup();
    let plan = setup.plans.get_mut("back").unwrap();
    plan.steps[0].action =
        StepAction::Exec { argv: ["/x", "{version}", "x{version}"].map(str::to_owned).to_vec() };
    let mut story = Story::new(setup);
    let versions = vec![("app".into(), "--delete $(rm -rf /)".to_owned())];
    story.feed(Input::Judged(Judged { versions, ..Judged::default() }));
    story.fire("Errors");
    let StepAction::Exec { argv } = story.prepared().action else { panic!("an exec step") };
    assert_eq!(argv, ["/x", " --delete $(rm -rf /)", "x{version}"]);
}

#[test]
fn a_partial_rollback_of_what_has_cleared_meanwhile_keeps_its_page_and_sends_one_all_clear() {
    let mut story = Story::new(setup());
    story.at(1).fire("Errors");
    for _ in 0..2 {
        story.at(10).end_step(StepResult::Succeeded);
    }
    assert_eq!(deliveries(&story.at(20).judge("Errors", Verdict::Holds, false)), [], "it still runs");
    let effects = story.at(40).feed(Input::Woke);
    assert!(story.said("R1 is PARTIAL") && story.said("incident I1 is resolved"), "{:#?}", story.lines);
    let sent: Vec<(&str, MessageKind)> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Deliver(sent) if sent.receiver.as_str() == "pd" => {
                Some((sent.message.dedup_key.as_str(), sent.message.kind))
            }
            _ => None,
        })
        .collect();
    assert_eq!(sent, [("j-I1-rollback", MessageKind::Trigger), ("j-I1", MessageKind::Resolve)]);
}

#[test]
fn e3_two_triggers_at_once_make_one_rollback_and_two_incidents() {
    let mut story = Story::new(setup());
    assert_eq!(acts(&story.fire("Errors")), 1);
    let second = story.fire("Slow");
    assert_eq!(acts(&second), 0);
    assert_eq!(deliveries(&second).len(), 2, "the second trigger pages all the same");
    assert!(story.said("no rollback of app by `back` for I2: R1 holds the target already"));
    assert!(story.alarms().is_empty(), "a joined rollback is not a failed one");
}

#[test]
fn e5_every_bad_end_pages_under_a_key_of_its_own() {
    let fail = || StepResult::Failed("exit code 3".to_owned());
    type Case = (&'static str, fn(&mut Story), &'static str);
    let cases: [Case; 5] = [
        ("step fails", |story| drop(story.end_step(StepResult::Failed("exit code 3".to_owned()))), "FAILED"),
        ("step is ended", |story| drop(story.end_step(StepResult::TimedOut)), "FAILED"),
        (
            "proof does not pass",
            |story| {
                story.end_step(StepResult::Succeeded);
                story.end_step(StepResult::Succeeded);
                story.check(Verdict::Breached);
                story.at(40).feed(Input::Woke);
            },
            "is PARTIAL: the steps are over but the verification did not pass: errors < 1% is 5%",
        ),
        (
            "deadline passes",
            |story| {
                let effect = story.start_step();
                story.at(61).finish(effect, StepResult::Succeeded);
            },
            "TIMED OUT",
        ),
        (
            "nothing is heard",
            |story| {
                story.start_step();
                story.at(31).feed(Input::Woke);
            },
            "is IN DOUBT",
        ),
    ];
    for (name, play, expected) in cases {
        let mut story = Story::new(setup());
        story.fire("Errors");
        play(&mut story);
        let alarms = story.alarms();
        assert!(alarms.len() == 1 && alarms[0].contains(expected), "{name}: {alarms:?}");
    }
    // `continue` goes on, and is partial at best.
    let mut setup = setup();
    setup.plans.get_mut("back").unwrap().steps[0].on_error = OnError::Continue;
    let mut story = Story::new(setup);
    story.fire("Errors");
    story.end_step(fail());
    story.end_step(StepResult::Succeeded);
    story.check(Verdict::Holds);
    assert!(story.alarms()[0].contains("is PARTIAL: the verification passed, but not done: switch"));
}

#[test]
fn e7_cooldown_and_cap_hold_and_each_refusal_pages() {
    let mut story = Story::new(setup());
    for start in [0, 700] {
        story.at(start).fire("Errors");
        story.end_step(StepResult::Succeeded);
        story.end_step(StepResult::Succeeded);
        let key = CheckKey { rollback: *story.state.rollbacks.keys().last().unwrap(), condition: 0 };
        let check = CheckVerdict { key, verdict: Verdict::Holds, evidence: None };
        story.feed(Input::Judged(Judged { checks: vec![check], ..Judged::default() }));
        story.judge("Errors", Verdict::Holds, false);
    }
    assert_eq!(acts(&story.at(900).fire("Errors")), 0);
    assert!(
        story.alarms().iter().any(|alarm| alarm.contains("REFUSED: the target cools down for another 6m40s"))
    );
    story.judge("Errors", Verdict::Holds, false);
    assert_eq!(acts(&story.at(5000).fire("Errors")), 0);
    assert!(story.alarms().iter().any(|alarm| alarm.contains("2 rollbacks in 1d are the target's limit")));
}

#[test]
fn shadow_says_what_it_would_have_done_and_touches_nothing() {
    let mut setup = setup();
    setup.targets.get_mut("app").unwrap().mode = Mode::Shadow;
    let mut story = Story::new(setup);
    let effects = story.fire("Errors");
    assert_eq!(acts(&effects), 0);
    let text = format!("{effects:?}");
    assert!(text.contains("it would have been rolled back now"), "{text}");
    assert!(story.alarms().is_empty());
}

#[test]
fn e4_a_refused_intent_is_no_act_and_pages_from_memory() {
    let mut story = Story::new(setup());
    let refused = story.feed(Input::IntentRefused { reason: "disk full".to_owned(), epoch: 2 });
    assert_eq!(deliveries(&refused).len(), 3, "every receiver hears that the journal is lost");
    let effects = story.fire("Errors");
    assert_eq!(acts(&effects), 0);
    assert!(story.alarms()[0].contains("REFUSED: the journal cannot be written: disk full"));
    let unjournaled = |effect: &Effect| matches!(effect, Effect::Deliver(sent) if sent.message.unjournaled);
    assert!(effects.iter().all(unjournaled), "{effects:?}");
    story.feed(Input::JournalRestored);
    assert!(story.said("is resolved: the journal can be written again"));
}

#[test]
fn e4_a_started_step_is_in_doubt_after_a_restart_until_it_is_settled() {
    let mut story = Story::new(setup());
    story.fire("Errors");
    let effect = story.start_step();
    let effects = story.at(20).feed(Input::Restarted(Restart {
        gap: Span::from_secs(20),
        alive: Vec::new(),
        version: String::new(),
    }));
    assert_eq!(acts(&effects), 0, "never run again by itself");
    assert!(story.alarms()[0].contains("IN DOUBT"));
    assert_eq!(acts(&story.fire("Slow")), 0, "the target stays locked");
    // Told again, so that nobody forgets.
    let again = story.at(20 + 15 * 60).feed(Input::Woke);
    assert_eq!(deliveries(&again).len(), 4, "both incidents that count on this run");
    story.now = Timestamp::from_millis(30_000 + 15 * 60_000);
    let settle = Command::Settle { rollback: RollbackId(1), done: true, by: "uid 0".to_owned() };
    story.feed(Input::Command(settle.clone()));
    assert!(story.said("is settled as done by uid 0"));
    assert!(story.said("R1 TIMED OUT"), "the deadline is long past: the rest is not begun");
    let decision = decide(&story.state, &story.setup, story.now, &Input::Command(settle));
    assert!(decision.events.is_empty(), "nothing is in doubt any more");
    assert!(!decision.report.lines.is_empty(), "and that is said");
    // A report that comes after all changes nothing.
    assert!(story.finish(effect, StepResult::Succeeded).is_empty());
}

#[test]
fn e4_a_step_that_never_started_and_an_idempotent_one_run_after_a_restart() {
    let restart =
        || Input::Restarted(Restart { gap: Span::from_secs(2), alive: Vec::new(), version: String::new() });
    let mut story = Story::new(setup());
    story.fire("Errors");
    let before = story.prepared();
    assert_eq!(acts(&story.at(2).feed(restart())), 1);
    assert_eq!(story.prepared().key, before.key, "the same effect: whoever runs it twice is refused");

    let mut setup = setup();
    setup.plans.get_mut("back").unwrap().steps[0].idempotent = true;
    let mut story = Story::new(setup);
    story.fire("Errors");
    let before = story.start_step();
    assert_eq!(acts(&story.at(2).feed(restart())), 1);
    assert_ne!(story.prepared().effect, before, "another run, another key");

    let mut story = Story::new(self::setup());
    story.fire("Errors");
    assert_eq!(acts(&story.at(100).feed(restart())), 0, "after the deadline the decision no longer stands");
    assert!(story.alarms()[0].contains("TIMED OUT"));
}

#[test]
fn e2_unknown_neither_fires_nor_clears_and_becomes_an_incident_when_it_lasts() {
    let unknown = || Verdict::Unknown(UnknownReason::NotANumber);
    let mut story = Story::new(setup());
    story.fire("Errors");
    assert!(story.at(30).judge("Errors", unknown(), false).is_empty());
    assert!(!story.said("is quiet again"), "unknown is not healthy");
    let effects = story.at(60).judge("Errors", unknown(), false);
    assert!(story.said("Errors has been neither good nor bad for 1m"), "{:#?}", story.lines);
    assert_eq!(acts(&effects), 0);
    assert!(story.at(70).judge("Errors", unknown(), false).is_empty(), "once");
    story.at(80).judge("Errors", Verdict::Breached, true);
    assert!(story.said("incident I2 is resolved: it can be judged again"));
}

#[test]
fn e2_a_silent_source_is_one_incident_and_rolls_nothing_back() {
    let mut story = Story::new(setup());
    let failure = SourceFailure { kind: FailureKind::Unreachable, message: "connection refused".to_owned() };
    let silent = vec![Silence { source: "app".into(), since: Timestamp::ZERO, failure: Some(failure) }];
    let judged = Judged { silent, ..Judged::default() };
    let effects = story.at(60).feed(Input::Judged(judged.clone()));
    assert_eq!((acts(&effects), deliveries(&effects).len()), (0, 2));
    assert!(story.said("source app has been silent for 1m: connection refused"));
    assert!(story.at(65).feed(Input::Judged(judged)).is_empty(), "once");
    story.feed(Input::Judged(Judged { answering: vec!["app".into()], ..Judged::default() }));
    assert!(story.said("incident I1 is resolved: source app answers again"));
}

#[test]
fn e9_when_a_channel_fails_the_next_is_tried_once_and_a_dead_one_is_told_elsewhere() {
    let mut story = Story::new(setup());
    let sent = deliveries(&story.fire("Errors"));
    let report = |effect, report| Input::EffectFinished { effect, outcome: EffectOutcome::Delivery(report) };
    let first = story.feed(report(sent[0].0, DeliveryReport::FirstFailure("503".to_owned())));
    let fallback = deliveries(&first);
    assert_eq!(fallback.len(), 1);
    assert_eq!(fallback[0].1, "spare");
    let second = story.feed(report(fallback[0].0, DeliveryReport::Dead("401".to_owned())));
    let told: BTreeSet<_> = deliveries(&second).into_iter().map(|(_, receiver, _)| receiver).collect();
    assert_eq!(
        told,
        ["mail", "pd"].map(str::to_owned).into(),
        "that it is dead; the page itself was with both"
    );
    assert!(story.said("receiver spare refuses messages for good: 401"));
    assert!(story.feed(report(fallback[0].0, DeliveryReport::Accepted(String::new()))).is_empty());
    // A restart sends what is still out, and nothing else.
    let out = story.state.pages.values().map(|page| page.outstanding.len()).sum::<usize>();
    let again =
        story.feed(Input::Restarted(Restart { gap: Span::ZERO, alive: Vec::new(), version: String::new() }));
    assert_eq!(deliveries(&again).len(), out);
}

#[test]
fn e8_time_never_goes_backwards() {
    let mut story = Story::new(setup());
    story.at(100).fire("Errors");
    let decision = decide(&story.state, &story.setup, Timestamp::ZERO, &Input::Stopping);
    assert!(decision.events.iter().all(|event| event.at >= story.now));
    let late = Event { at: Timestamp::ZERO, what: Happening::Stopping };
    assert!(apply(&mut story.state, &late).is_err());
}

#[test]
fn e6_state_survives_its_own_record() {
    let mut story = Story::new(setup());
    story.fire("Errors");
    story.start_step();
    let text = serde_json::to_string(&story.state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), story.state);
}

#[test]
fn a_removed_rule_closes_its_incident_but_not_while_its_rollback_runs() {
    let mut story = Story::new(setup());
    story.fire("Errors");
    story.setup.rules.triggers.clear();
    let loaded = || Input::SetupLoaded { fingerprint: "g".to_owned(), degraded: None };
    story.feed(loaded());
    assert!(!story.said("incident I1 is resolved"));
    story.end_step(StepResult::Failed("no".to_owned()));
    assert!(story.said("incident I1 is resolved"), "{:#?}", story.lines);
}

#[test]
fn going_down_begins_no_step_and_the_restart_takes_the_plan_up() {
    let mut story = Story::new(setup());
    story.fire("Errors");
    let effect = story.start_step();
    story.feed(Input::Stopping);
    assert_eq!(acts(&story.finish(effect, StepResult::Succeeded)), 0);
    let effects = story.at(10).feed(Input::Restarted(Restart {
        gap: Span::from_secs(5),
        alive: Vec::new(),
        version: String::new(),
    }));
    assert_eq!(acts(&effects), 1);
    assert_eq!(story.prepared().step, "warm");
}

#[test]
fn e9_a_page_goes_on_to_another_channel_although_its_incident_is_over() {
    let mut story = Story::new(setup());
    let sent = deliveries(&story.fire("Errors"));
    story.end_step(StepResult::Failed("no".to_owned()));
    story.judge("Errors", Verdict::Holds, false);
    assert!(story.said("incident I1 is resolved"));
    let outcome = EffectOutcome::Delivery(DeliveryReport::Dead("401".to_owned()));
    let moved = story.feed(Input::EffectFinished { effect: sent[0].0, outcome });
    let spare: Vec<_> = deliveries(&moved).into_iter().filter(|(_, to, _)| to == "spare").collect();
    let kinds: Vec<_> = spare.iter().map(|(_, _, kind)| *kind).collect();
    // The last one tells that the first receiver is dead.
    assert_eq!(
        kinds,
        [MessageKind::Trigger, MessageKind::Resolve, MessageKind::Trigger],
        "{:#?}",
        story.lines
    );
    let ids: BTreeSet<_> = deliveries(&story.effects).into_iter().map(|(id, ..)| id).collect();
    assert_eq!(ids.len(), deliveries(&story.effects).len(), "no id leaves twice");
}

#[test]
fn e9_what_left_unjournaled_and_was_forgotten_lends_its_ids_to_nothing() {
    let before = Story::new(setup()).state;
    let mut used = BTreeSet::new();
    for epoch in [1, 2] {
        // A process whose decisions all die with it.
        let mut story = Story { state: before.clone(), ..Story::new(setup()) };
        story.feed(Input::IntentRefused { reason: "disk full".to_owned(), epoch });
        story.fire("Errors");
        for (id, ..) in deliveries(&story.effects) {
            assert!(used.insert(id), "{id} leaves twice");
        }
    }
    let mut story = Story { state: before, ..Story::new(setup()) };
    story.feed(Input::IntentRefused { reason: "disk full".to_owned(), epoch: 3 });
    // What was lost has landed after all; the next process loses the journal, too, before it could say so.
    let lost_before = Story { state: story.state.clone(), ..Story::new(setup()) };
    for epoch in [4, 5] {
        let mut story = Story { state: lost_before.state.clone(), ..Story::new(setup()) };
        story.feed(Input::IntentRefused { reason: "disk full".to_owned(), epoch });
        for (id, ..) in deliveries(&story.fire("Errors")) {
            assert!(used.insert(id), "{id} leaves twice");
        }
    }
    story.feed(Input::JournalRestored);
    let sent = deliveries(&story.fire("Errors"));
    assert!(sent.iter().all(|(id, ..)| !used.contains(id)));
    assert!(story.said("incident I1 opens"), "the usual numbers go on: {:#?}", story.lines);
}

#[test]
fn e5_a_trigger_that_fires_again_after_its_rollback_is_paged_and_runs_nothing() {
    let mut story = Story::new(setup());
    story.fire("Errors");
    // It is quiet for a moment while the rollback runs, and pending again when that ends.
    story.judge("Errors", Verdict::Holds, false);
    story.judge("Errors", Verdict::Breached, false);
    story.end_step(StepResult::Failed("no".to_owned()));
    assert!(!story.said("incident I1 is resolved"));
    let effects = story.fire("Errors");
    assert_eq!(acts(&effects), 0);
    assert!(story.said("no rollback of app by `back` for I1: it was run for this incident before, as R1"));
    assert!(story.alarms().iter().any(|alarm| alarm.contains("REFUSED")), "{:?}", story.alarms());
}
