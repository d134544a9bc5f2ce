//! What follows from imported alerts, as short stories.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::*;
use super::*;
use crate::engine::evaluation::{AlertRuleStanding, Judged};
use crate::engine::model::JournalId;
use crate::engine::promql::{Scope, compile, parse};
use crate::engine::rules::{Group, GroupRule, Place, RuleSet, Then};
use crate::engine::series::{MatchOp, Matcher};
use crate::engine::time::Span;

fn route_to(target: &str, matched: (&str, &str)) -> Route {
    Route {
        matchers: vec![Matcher::new(matched.0, MatchOp::Equal, matched.1).unwrap()],
        target: target.into(),
        then: Then { rollback: Some("back".into()), ..Then::default() },
    }
}

fn rule(name: &str) -> GroupRule {
    let kind = GroupRuleKind::Alert {
        name: name.into(),
        hold: Span::ZERO,
        keep_firing_for: Span::ZERO,
        annotations: Vec::new(),
        rests_on_absence: false,
    };
    let query = compile(&parse("x").unwrap(), &Scope::EVERYTHING).unwrap();
    let (place, labels) = (Place::of_file("r.yml"), Vec::new());
    GroupRule { place, text: "x".to_owned(), query, labels, kind, fingerprint: name.to_owned() }
}

/// Two alerting rules; alerts of `severity="critical"` speak of the armed target `app`.
fn setup() -> Setup {
    let group = Group {
        file: "r.yml".into(),
        name: "g".into(),
        interval: Span::from_secs(60),
        limit: 0,
        query_offset: Span::ZERO,
        rules: vec![rule("Errors"), rule("Slow")],
    };
    let step = Step {
        name: "switch".to_owned(),
        action: StepAction::Exec { argv: vec!["/bin/true".to_owned()] },
        timeout: Span::from_secs(20),
        on_error: OnError::Stop,
        idempotent: false,
    };
    let target = Target {
        mode: Mode::Armed,
        plans: BTreeSet::from(["back".into()]),
        at_most: AtMost { count: 2, per: Span::from_secs(86_400) },
        cooldown: Span::ZERO,
        detect: None,
        deployments: DeploymentSettings::default(),
        reference: BTreeSet::new(),
    };
    Setup {
        rules: RuleSet { groups: vec![Arc::new(group)], ..RuleSet::default() },
        routes: vec![route_to("app", ("severity", "critical"))],
        targets: [("app".into(), target)].into(),
        plans: [("back".into(), Plan { deadline: Span::from_secs(60), steps: vec![step], verify: None })]
            .into(),
        receivers: ["pd".into()].into(),
        ..Setup::default()
    }
}

fn alert(name: &str, labels: &[(&str, &str)], state: AlertState) -> AlertJudgement {
    let labels =
        Labels::from_pairs(labels.iter().copied().chain([("severity", "critical"), (ALERT_NAME, name)]));
    AlertJudgement {
        name: name.into(),
        labels,
        state,
        is_new: true,
        since: Timestamp::ZERO,
        hold: Span::from_secs(60),
        expression: "errors > 0.05".to_owned(),
        value: 0.25,
        annotations: Labels::empty(),
        rests_on_absence: false,
        failing_source: None,
    }
}

fn firing(name: &str) -> AlertJudgement {
    alert(name, &[("pod", "a")], AlertState::Firing)
}

fn standing(name: &str) -> AlertRuleStanding {
    let labels = Labels::from_pairs([("severity", "critical"), (ALERT_NAME, name)]);
    AlertRuleStanding { name: name.into(), labels, undecided: None, failing: None }
}

struct Story {
    setup: Setup,
    state: State,
    now: Timestamp,
    lines: Vec<String>,
    effects: Vec<Effect>,
    report: Vec<String>,
}

impl Story {
    fn new() -> Self {
        let mut state = State::default();
        let what = Happening::JournalCreated { journal: JournalId::new("j") };
        apply(&mut state, &Event { at: Timestamp::ZERO, what }).unwrap();
        let (now, lines, effects, report) = (Timestamp::ZERO, Vec::new(), Vec::new(), Vec::new());
        Self { setup: setup(), state, now, lines, effects, report }
    }

    fn feed(&mut self, input: &Input) {
        let decision = decide(&self.state, &self.setup, self.now, input);
        self.report = decision.report.lines.iter().map(|l| format!("{}: {}", l.subject, l.reason)).collect();
        assert!(!self.report.join("").contains("internal error"), "{:?}", self.report);
        self.lines.clear();
        for event in &decision.events {
            apply(&mut self.state, event).unwrap();
            self.lines.push(event.what.to_string());
        }
        self.effects = decision.effects;
    }

    fn hear(&mut self, active: Vec<AlertJudgement>) {
        self.hear_of(active, vec![standing("Errors"), standing("Slow")]);
    }

    fn hear_of(&mut self, active: Vec<AlertJudgement>, rules: Vec<AlertRuleStanding>) {
        let alerts = Some(AlertsJudged { active, rules });
        self.feed(&Input::Judged(Judged { alerts, ..Judged::default() }));
    }

    fn said(&self, needle: &str) -> bool {
        self.lines.iter().any(|line| line.contains(needle))
    }

    fn acts(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::PrepareStep(_))).count()
    }

    fn first_page(&self) -> Message {
        let page = self.effects.iter().find_map(|effect| match effect {
            Effect::Deliver(delivery) => Some(delivery.message.clone()),
            _ => None,
        });
        page.expect("a page")
    }

    fn open(&self) -> usize {
        self.state.incidents.values().filter(|incident| incident.resolved_at.is_none()).count()
    }
}

#[test]
fn an_alert_waits_fires_rolls_back_and_ends_as_a_trigger_does() {
    let mut story = Story::new();
    story.hear(vec![alert("Errors", &[("pod", "a")], AlertState::Pending)]);
    assert!(story.said("is pending, fires after 1m"), "{:?}", story.lines);
    assert_eq!((story.open(), story.acts()), (0, 0));
    story.hear(vec![firing("Errors")]);
    assert_eq!((story.open(), story.acts()), (1, 1), "{:?}", story.lines);
    let page = story.first_page();
    assert_eq!(page.severity, Severity::Critical);
    assert_eq!(page.summary, r#"app: Errors {pod="a", severity="critical"}"#, "the raw facts");
    assert_eq!((page.facts.value, page.facts.threshold), (Some(0.25), None));
    assert!(page.facts.reason.ends_with("errors > 0.05 for 1m: measured 0.25"), "{}", page.facts.reason);
    story.hear(vec![firing("Errors")]);
    assert!(story.lines.is_empty(), "nothing new: {:?}", story.lines);
    // The same alert of another pod, while the rollback runs: an incident that joins it.
    story.hear(vec![firing("Errors"), alert("Errors", &[("pod", "b")], AlertState::Firing)]);
    assert!(story.said("R1 holds the target already"), "{:?}", story.lines);
    story.hear(Vec::new());
    assert!(story.said("is quiet again"));
    assert_eq!(story.open(), 1, "the incident that is being rolled back waits for its end");
}

#[test]
fn annotations_are_the_words_of_the_page() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 4] = [
        (&[("summary", "5% fail"), ("description", "long\ntext")], "5% fail", &["long\ntext"]),
        (&[("description", "first\nsecond")], "first", &["first\nsecond"]),
        (&[("message", "one line"), ("dashboard", "https://d")], "one line", &["dashboard: https://d"]),
        (&[("summary", " ")], r#"app: Errors {pod="a", severity="critical"}"#, &[]),
    ];
    for (annotations, summary, details) in cases {
        let mut story = Story::new();
        let all = annotations.iter().copied().chain([("runbook_url", "https://r")]);
        story.hear(vec![AlertJudgement { annotations: Labels::from_pairs(all), ..firing("Errors") }]);
        let page = story.first_page();
        assert_eq!((page.summary.as_str(), page.facts.runbook.as_deref()), (summary, Some("https://r")));
        assert_eq!(page.details[1..], *details, "after what was done");
    }
}

#[test]
fn severities_are_read_in_the_words_that_are_in_use() {
    let cases = [
        ("critical", Severity::Critical),
        ("Critical", Severity::Critical),
        ("page", Severity::Critical),
        ("error", Severity::High),
        ("high", Severity::High),
        ("warning", Severity::Medium),
        ("", Severity::Medium),
        ("sev2", Severity::Medium),
        ("info", Severity::Low),
        ("none", Severity::Low),
    ];
    for (word, severity) in cases {
        assert_eq!(severity_of(&Labels::from_pairs([("severity", word)])), severity, "{word}");
    }
}

#[test]
fn e2_absence_never_acts_and_says_so() {
    let mut story = Story::new();
    story.hear(vec![AlertJudgement { rests_on_absence: true, ..firing("Errors") }]);
    assert_eq!((story.open(), story.acts()), (1, 0));
    assert!(story.said("absence never acts by itself"), "{:?}", story.lines);
    assert!(story.first_page().details[0].contains("absence never acts by itself"));
    // A shadow would say that it would have acted; it would not.
    let mut story = Story::new();
    story.setup.targets.values_mut().for_each(|target| target.mode = Mode::Shadow);
    story.hear(vec![AlertJudgement { rests_on_absence: true, ..firing("Errors") }]);
    assert!(story.said("absence never acts by itself"), "{:?}", story.lines);
}

#[test]
fn e2_a_source_that_fails_keeps_an_alert_from_acting_until_it_answers() {
    let mut story = Story::new();
    let blind = AlertJudgement { failing_source: Some("app".into()), ..firing("Errors") };
    story.hear(vec![blind.clone()]);
    assert_eq!((story.open(), story.acts()), (1, 0));
    assert!(story.said("source app does not answer"), "{:?}", story.lines);
    story.hear(vec![blind]);
    assert!(story.lines.is_empty(), "told once: {:?}", story.lines);
    story.hear(vec![firing("Errors")]);
    assert_eq!((story.open(), story.acts()), (1, 1), "{:?}", story.lines);
    story.hear(vec![firing("Errors")]);
    assert!(story.lines.is_empty(), "begun once: {:?}", story.lines);
}

#[test]
fn e2_an_alert_does_not_end_while_its_absence_means_nothing() {
    let mut story = Story::new();
    story.setup.routes[0].then.rollback = None;
    story.hear(vec![firing("Errors")]);
    let undecided = Some("source app does not answer".to_owned());
    let rules = vec![AlertRuleStanding { undecided, ..standing("Errors") }, standing("Slow")];
    story.hear_of(Vec::new(), rules);
    assert_eq!(story.open(), 1);
    assert!(story.report[0].contains("proves nothing: source app does not answer"), "{:?}", story.report);
    story.hear(Vec::new());
    assert_eq!(story.open(), 0, "{:?}", story.lines);
}

#[test]
fn an_alert_without_a_route_is_told_once_and_pages_nobody() {
    let mut story = Story::new();
    let labels = Labels::from_pairs([("severity", "warning"), (ALERT_NAME, "Errors")]);
    let lost = AlertJudgement { labels, ..firing("Errors") };
    story.hear(vec![lost.clone()]);
    assert!(story.report.iter().any(|line| line.contains("no route matches")), "{:?}", story.report);
    assert!(story.lines.is_empty() && story.effects.is_empty());
    story.hear(vec![AlertJudgement { is_new: false, ..lost }]);
    assert!(story.report.is_empty(), "{:?}", story.report);
}

#[test]
fn what_a_reload_removes_is_over() {
    let removals: [fn(&mut Setup); 3] = [
        |setup| setup.rules.groups.clear(),
        |setup| setup.routes.clear(),
        |setup| setup.routes[0].target = "other".into(),
    ];
    for remove in removals {
        let mut story = Story::new();
        story.setup.routes[0].then.rollback = None;
        story.hear(vec![firing("Errors")]);
        story.feed(&Input::SetupLoaded { fingerprint: "1".to_owned(), degraded: None });
        assert_eq!(story.open(), 1, "the same files again");
        remove(&mut story.setup);
        story.feed(&Input::SetupLoaded { fingerprint: "2".to_owned(), degraded: None });
        assert!(story.said("its rule was removed"), "{:?}", story.lines);
        assert_eq!(story.open(), 0);
    }
}

#[test]
fn a_rule_that_fails_for_long_is_an_incident_where_its_alerts_would_be() {
    let mut story = Story::new();
    let failing = Some((Timestamp::ZERO, "many-to-many matching".to_owned()));
    let fails = || AlertRuleStanding {
        failing: failing.clone(),
        undecided: Some("it fails".to_owned()),
        ..standing("Errors")
    };
    story.hear_of(Vec::new(), vec![fails(), standing("Slow")]);
    assert_eq!(story.open(), 0, "once is no incident");
    story.now = Timestamp::from_millis(60_000);
    story.hear_of(Vec::new(), vec![fails(), standing("Slow")]);
    assert_eq!((story.open(), story.acts()), (1, 0));
    assert!(story.said("Errors has not been evaluated for 1m: many-to-many matching"), "{:?}", story.lines);
    // The files are read again: it is still there.
    story.feed(&Input::SetupLoaded { fingerprint: "1".to_owned(), degraded: None });
    assert_eq!(story.open(), 1);
    story.hear(Vec::new());
    assert_eq!(story.open(), 0);
}

#[test]
fn beyond_a_bound_alerts_share_an_incident() {
    let mut story = Story::new();
    story.setup.routes[0].then.rollback = None;
    let pods: Vec<String> = (0..INCIDENTS_PER_NAME + 30).map(|nth| format!("pod-{nth:03}")).collect();
    let all = |pods: &[String]| -> Vec<AlertJudgement> {
        pods.iter().map(|pod| alert("Errors", &[("pod", pod)], AlertState::Firing)).collect()
    };
    story.hear(all(&pods));
    assert_eq!(story.open(), INCIDENTS_PER_NAME + 1);
    assert!(story.said("and 29 more"), "{:?}", story.lines.last());
    story.hear(all(&pods));
    assert!(story.lines.is_empty(), "{:?}", story.lines);
    // Others end; those that have an incident keep it.
    story.hear(all(&pods[..10]));
    assert_eq!(story.open(), 10);
    assert!(!story.said("FIRES"), "{:?}", story.lines);
}
