//! Objectives, recommendations and error budgets from the rule file to what follows, under virtual time.

#[path = "virtual_world/armed.rs"]
mod virtual_world;

use std::sync::Arc;

use rearguard::engine::Engine;
use rearguard::engine::decision::setup::SourcePace;
use rearguard::engine::decision::{Cause, Event, Happening, Input, Refusal, Setup, State};
use rearguard::engine::evaluation::Standing;
use rearguard::engine::model::{JournalId, Labels, METRIC_NAME, Sample, SourceName};
use rearguard::engine::rules::compile::{Catalog, compile};
use rearguard::engine::rules::{Diagnostic, Findings, RuleFiles, RuleSet, SourceFile, Verified};
use rearguard::engine::series::{FailureKind, Observation, SourceFailure};
use rearguard::engine::time::{Span, Timestamp};

use virtual_world::armed_app;

const BEGIN: Timestamp = Timestamp::from_millis(10_000_000);
const EVERY: Span = Span::from_secs(5);
const EVERY_5S: SourcePace = SourcePace { every: EVERY, silent_after: Span::from_secs(60) };

fn at(seconds: i64) -> Timestamp {
    BEGIN + Span::from_secs(seconds)
}

fn told(all: &[Diagnostic]) -> Vec<String> {
    all.iter().map(|d| format!("{}:{} {}", d.place.line, d.place.column, d.code)).collect()
}

/// Compiles rule files of one target; returns the rules with the warnings, or the errors.
fn rules(texts: &[&str]) -> Result<(RuleSet, Vec<String>), Vec<String>> {
    let catalog = Catalog {
        targets: [("app".into(), ["back".into()].into())].into(),
        sources: [(SourceName::from("app"), EVERY), (SourceName::from("rearguard"), EVERY)].into(),
        plans: [("back".into(), Verified::Yes)].into(),
        policies: ["oncall".into()].into(),
        ..Catalog::default()
    };
    let files: Vec<SourceFile> =
        texts.iter().enumerate().map(|(at, text)| SourceFile::new(&format!("{at}.yaml"), text)).collect();
    let mut found = Findings::default();
    let compiled = compile(RuleFiles { files: &files, some_unread: false }, &catalog, &mut found);
    match found.conclude(()) {
        Ok(((), warnings)) => Ok((compiled.rules, told(&warnings))),
        Err(problems) => Err(told(&problems)),
    }
}

/// Seven lines of what every test may use; what is tested comes from line 8 on.
fn file(rest: &str) -> String {
    format!(
        "target: app
sources: [app]
indicators:
  avg: {{ unit: seconds, expr: avg }}
  p95: {{ unit: seconds, expr: p95 }}
  rate: {{ unit: ratio, expr: error_rate }}
  count: {{ unit: count, expr: count }}
{rest}"
    )
}

fn setup(rest: &str) -> Setup {
    let (rules, _) = rules(&[&file(rest)]).unwrap_or_else(|problems| panic!("{rest}: {problems:?}"));
    Setup { rules, sources: [("app".into(), EVERY_5S)].into(), ..armed_app(9, Span::ZERO) }
}

struct World {
    engine: Engine,
    events: Vec<Event>,
    now: i64,
}

impl World {
    fn new(rest: &str) -> Self {
        Self::of(setup(rest))
    }

    fn of(setup: Setup) -> Self {
        let engine = Engine::new(Arc::new(setup), State::default(), BEGIN);
        let mut world = Self { engine, events: Vec::new(), now: 0 };
        let journal = Happening::JournalCreated { journal: JournalId::new("j") };
        let created = Event { at: BEGIN, what: journal };
        world.engine.apply(&[created]).expect("a new journal");
        world
    }

    fn take(&mut self, input: &Input) {
        let decision = self.engine.decide(at(self.now), input);
        // What is recorded can be read back.
        let stored = serde_json::to_string(&decision.events).expect("events are JSON");
        assert_eq!(serde_json::from_str::<Vec<Event>>(&stored).expect("and back"), decision.events);
        self.engine.apply(&decision.events).expect("events fit");
        self.events.extend(decision.events);
    }

    fn answer(&mut self, answer: Result<Vec<Sample>, SourceFailure>) {
        let observation = Observation {
            source: "app".into(),
            at: at(self.now),
            took: Span::from_millis(1),
            answer,
            told: None,
        };
        let input = self.engine.observe(&observation);
        self.take(&input);
    }

    /// Goes to a second and hears the source say this.
    fn hear(&mut self, second: i64, samples: &[(&str, f64)]) {
        self.now = second;
        let sample = |(name, value): &(&str, f64)| Sample {
            labels: Labels::from_pairs([(METRIC_NAME, *name), ("job", "app")]),
            at: at(second),
            value: *value,
        };
        self.answer(Ok(samples.iter().map(sample).collect()));
    }

    fn fail(&mut self, second: i64) {
        self.now = second;
        self.answer(Err(SourceFailure { kind: FailureKind::Unreachable, message: "refused".to_owned() }));
    }

    fn restart(&mut self, rest: &str) {
        let saved = serde_json::to_string(&self.engine.saved_measurements()).expect("it can be saved");
        let state = self.engine.state().clone();
        self.engine = Engine::new(Arc::new(setup(rest)), state, at(self.now));
        self.engine.restore(serde_json::from_str(&saved).expect("and read back"), &[]);
    }

    fn score(&self) -> Option<f64> {
        self.engine.status(at(self.now)).objectives.first().and_then(|look| look.score)
    }

    fn count(&self, is: impl Fn(&Happening) -> bool) -> usize {
        self.events.iter().filter(|event| is(&event.what)).count()
    }

    /// Returns the second of each event that `is`, from the beginning on.
    fn seconds(&self, is: impl Fn(&Happening) -> bool) -> Vec<i64> {
        let those = self.events.iter().filter(|event| is(&event.what));
        those.map(|event| event.at.since(BEGIN).as_millis() / 1000).collect()
    }

    fn own(&self) -> Vec<String> {
        let samples = self.engine.own_samples(at(self.now));
        samples.iter().map(|sample| format!("{} {}", sample.labels, sample.value)).collect()
    }
}

fn decided(what: &Happening) -> bool {
    matches!(what, Happening::RollbackDecided { .. })
}

fn recommended(what: &Happening) -> bool {
    matches!(what, Happening::RollbackRecommended { .. })
}

fn paged(what: &Happening) -> bool {
    matches!(what, Happening::PageDecided { .. })
}

const VIRTUOSO: &str = "objectives:
  window: 5m
  sustained: 3 in 5m
  promises:
    - { name: response time, keep: avg < 100ms, severity: high }
    - { name: p95, keep: p95 < 200ms, severity: medium }
    - { name: errors, keep: rate < 1%, severity: critical }
  then: { critical: { recommend: back, page: oncall } }
";

const GOOD: [(&str, f64); 3] = [("avg", 0.05), ("p95", 0.1), ("error_rate", 0.001)];

fn with(name: &str, value: f64) -> Vec<(&'static str, f64)> {
    GOOD.iter().map(|(own, good)| (*own, if *own == name { value } else { *good })).collect()
}

#[test]
fn s0_16_s0_17_every_promise_is_scored_and_a_missing_one_is_no_pass() {
    let without_p95: Vec<_> = GOOD.iter().filter(|(name, _)| *name != "p95").copied().collect();
    // Strict: at the threshold the promise is broken, just inside it is kept.
    let cases: [(Vec<(&str, f64)>, f64); 9] = [
        (GOOD.to_vec(), 100.0),
        (with("p95", 0.2), 90.0),
        (with("p95", 0.1999), 100.0),
        (without_p95, 90.0),
        (with("avg", 0.1), 80.0),
        (with("error_rate", 0.01), 70.0),
        (with("error_rate", 0.00999), 100.0),
        (with("error_rate", f64::NAN), 70.0),
        (vec![], 40.0),
    ];
    for (samples, expected) in cases {
        let mut world = World::new(VIRTUOSO);
        assert_eq!(world.score(), None, "nothing is scored before the first answer");
        world.hear(0, &samples);
        assert_eq!(world.score(), Some(expected), "{samples:?}");
    }
    let mut world = World::new(VIRTUOSO);
    world.hear(0, &GOOD);
    world.fail(5);
    assert_eq!(world.score(), Some(40.0), "a source that fails keeps nothing");
    let look = world.engine.status(at(5)).objectives.remove(0);
    assert!(look.promises.iter().all(|promise| promise.standing == Standing::Unknown), "{look:?}");
    assert_eq!(look.lowest, Some(40.0));
}

#[test]
fn s0_18_three_violations_in_the_window_recommend_and_never_act() {
    let mut world = World::new(VIRTUOSO);
    world.hear(0, &with("error_rate", 0.02));
    world.hear(5, &GOOD);
    world.hear(10, &with("error_rate", 0.02));
    assert_eq!(world.count(recommended), 0, "two are not three");
    world.hear(15, &with("error_rate", 0.02));
    assert_eq!(world.seconds(recommended), [15]);
    let found = world.events.iter().find_map(|event| match &event.what {
        Happening::RollbackRecommended { recommended, reason, violations, unix_ms, .. } => {
            Some((recommended.to_string(), reason.clone(), violations.clone(), *unix_ms))
        }
        _ => None,
    });
    let (plan, reason, violations, unix_ms) = found.expect("it is recommended");
    assert_eq!(plan, "back");
    assert!(reason.contains("rate < 1% is broken for 3 in 5m: measured 2%"), "{reason}");
    assert_eq!(violations, ["objective:errors (rate < 1% is broken)"]);
    assert_eq!(unix_ms, at(15).as_millis());
    let page = world.events.iter().find_map(|event| match &event.what {
        Happening::PageDecided { message, .. } => Some(message.details.join("\n")),
        _ => None,
    });
    assert!(
        page.as_ref().is_some_and(|text| text.contains("RECOMMENDED: roll back app by plan `back`")),
        "{page:?}"
    );
    for tick in 4..20 {
        world.hear(tick * 5, &with("error_rate", 0.02));
    }
    assert_eq!(
        (world.count(recommended), world.count(decided)),
        (1, 0),
        "advice is given once, and not taken"
    );
}

#[test]
fn s0_18_a_violation_that_has_left_the_window_does_not_count() {
    // The third comes when the first is just inside, or just as old as the window.
    for (third, expected) in [(299, 1), (300, 0)] {
        let mut world = World::new(VIRTUOSO);
        for tick in 0..third / 5 {
            let bad = tick == 0 || tick == 30;
            world.hear(tick * 5, &if bad { with("error_rate", 0.02) } else { GOOD.to_vec() });
        }
        world.hear(third, &with("error_rate", 0.02));
        assert_eq!(world.count(recommended), expected, "third at {third}");
    }
}

#[test]
fn s0_18_what_is_not_critical_is_a_warning_to_the_same_people() {
    let mut world = World::new(VIRTUOSO);
    for tick in 0..3 {
        world.hear(tick * 5, &with("avg", 0.2));
    }
    assert_eq!(world.seconds(paged), [10]);
    assert_eq!((world.count(recommended), world.count(decided)), (0, 0));
    let incident = world.engine.state().incidents.values().next().expect("it is an incident");
    assert_eq!(incident.policy.as_ref().map(ToString::to_string), Some("oncall".to_owned()));
}

#[test]
fn a_file_may_act_where_it_says_so() {
    let mut world = World::new(&VIRTUOSO.replace("recommend: back", "rollback: back"));
    for tick in 0..3 {
        world.hear(tick * 5, &with("error_rate", 0.02));
    }
    assert_eq!((world.seconds(decided), world.count(recommended)), (vec![10], 0));
}

#[test]
fn a_trigger_may_recommend_too() {
    let mut world = World::new(
        "triggers:\n  - { name: Slow, when: avg > 1s, then: { recommend: back, page: oncall } }\n",
    );
    world.hear(0, &[("avg", 2.0)]);
    assert_eq!((world.count(recommended), world.count(decided)), (1, 0));
}

#[test]
fn a_promise_about_which_nothing_is_known_for_long_is_an_incident() {
    let mut world = World::new(VIRTUOSO);
    for tick in 0..=13 {
        world.hear(tick * 5, &GOOD[..2]);
    }
    let blind = world.engine.state().incidents.values().filter(
        |incident| matches!(&incident.cause, Cause::Blind(key) if key.trigger.as_str() == "objective:errors"),
    );
    assert_eq!(blind.count(), 1);
    assert_eq!((world.count(recommended), world.count(decided)), (0, 0), "absence never acts");
    assert_eq!(world.score(), Some(70.0));
}

#[test]
fn violations_and_scores_outlive_a_restart() {
    let mut world = World::new(VIRTUOSO);
    world.hear(0, &with("error_rate", 0.02));
    world.hear(5, &with("error_rate", 0.02));
    world.restart(VIRTUOSO);
    assert_eq!(world.score(), None, "nothing is scored before the first answer");
    world.hear(60, &with("error_rate", 0.02));
    assert_eq!(world.seconds(recommended), [60]);
    world.hear(65, &GOOD);
    let look = world.engine.status(at(65)).objectives.remove(0);
    assert_eq!((look.score, look.lowest), (Some(100.0), Some(70.0)));
    // Once the window has passed, the lowest score is of no interest any more.
    world.hear(365, &GOOD);
    let look = world.engine.status(at(365)).objectives.remove(0);
    assert_eq!((look.score, look.lowest), (Some(100.0), Some(100.0)));
}

#[test]
fn s3_03_shares_are_weighted_with_warnings_and_keys() {
    let rest = "objectives:
  scoring: weighted
  promises:
    - { name: response time, keep: p95 < 2s, warn: p95 < 5s, weight: 2 }
    - { name: errors, keep: rate < 1%, severity: critical, key: true }
    - { name: throughput, keep: count > 100 }
  then: { critical: { page: oncall } }
";
    let all = |p95, rate, count| [("p95", p95), ("error_rate", rate), ("count", count)];
    let cases = [
        (all(1.0, 0.0, 101.0), 100.0),
        (all(2.0, 0.0, 101.0), 75.0),
        (all(5.0, 0.0, 101.0), 50.0),
        (all(1.0, 0.0, 100.0), 75.0),
        (all(1.0, 0.01, 101.0), 0.0),
    ];
    for (samples, expected) in cases {
        let mut world = World::new(rest);
        world.hear(0, &samples);
        assert_eq!(world.score(), Some(expected), "{samples:?}");
        let standing = world.engine.status(at(0)).objectives[0].promises[0].standing;
        let p95 = samples[0].1;
        let wanted = if p95 < 2.0 {
            Standing::Kept
        } else if p95 < 5.0 {
            Standing::Warned
        } else {
            Standing::Broken
        };
        assert_eq!(standing, wanted, "{samples:?}");
    }
    // What is half kept is no violation.
    let mut world = World::new(rest);
    for tick in 0..10 {
        world.hear(tick * 5, &all(3.0, 0.0, 101.0));
    }
    assert_eq!(world.count(paged), 0);
    for tick in 10..13 {
        world.hear(tick * 5, &all(6.0, 0.0, 101.0));
    }
    assert_eq!(world.seconds(paged), [60]);
}

/// Acceptance row S2-03: 1 % errors are a burn rate of 1 where 99 % are promised.
fn budget(enforcement: &str) -> String {
    format!(
        "budgets:
  availability:
    good: good
    total: total
    objective: 99%
    period: 1d
    enforcement: {enforcement}
    burn_rates: [{{ long: 30m, short: 5m, above: 1, severity: critical }}]
    then: {{ critical: {{ rollback: back, page: oncall }} }}
"
    )
}

impl World {
    fn count_events(&mut self, second: i64, good: f64, bad: f64) {
        self.hear(second, &[("good", good), ("total", good + bad)]);
    }
}

#[test]
fn s2_03_a_budget_burns_where_enough_events_are_bad() {
    // Good and bad events within one interval; whether it acts.
    let cases = [
        (97.0, 2.0, false), // 99 events
        (98.0, 2.0, true),
        (99.0, 1.0, false),
        (900.0, 1.0, false),  // one is an accident
        (990.0, 10.0, false), // exactly 1 % is what was promised
        (989.0, 11.0, true),
    ];
    for (good, bad, acts) in cases {
        let mut world = World::new(&budget("strict"));
        world.count_events(0, 0.0, 0.0);
        world.count_events(5, good, bad);
        assert_eq!(world.count(decided), usize::from(acts), "{good} good, {bad} bad");
        let look = world.engine.status(at(5)).budgets.remove(0);
        assert_eq!((look.total, look.errors), (good + bad, bad));
    }
}

#[test]
fn a_permissive_budget_pages_and_never_acts() {
    let mut world = World::new(&budget("permissive"));
    world.count_events(0, 0.0, 0.0);
    world.count_events(5, 50.0, 50.0);
    let refused =
        |what: &Happening| matches!(what, Happening::RollbackNotBegun { refusal: Refusal::Permissive, .. });
    assert_eq!((world.count(refused), world.count(decided), world.count(paged)), (1, 0, 1));
}

#[test]
fn a_burning_budget_ends_with_its_short_window_and_outlives_a_restart() {
    let rest = budget("permissive");
    let mut world = World::new(&rest);
    world.count_events(0, 0.0, 0.0);
    world.count_events(5, 50.0, 50.0);
    world.restart(&rest);
    // The restart took less than a gap: nothing is lost.
    world.count_events(10, 150.0, 50.0);
    let look = world.engine.status(at(10)).budgets.remove(0);
    assert_eq!((look.total, look.errors), (200.0, 50.0));
    assert_eq!(look.remaining.map(|left| left.round()), Some(-24.0));
    for tick in 3..=62 {
        world.count_events(tick * 5, 150.0 + tick as f64, 50.0);
    }
    let open = world.engine.state().incidents.values().filter(|incident| incident.resolved_at.is_none());
    assert_eq!(open.count(), 0, "the short window has seen nothing bad for its five minutes");
    // A gap, and a counter that begins anew, count as neither.
    let before = world.engine.status(at(310)).budgets.remove(0).total;
    world.count_events(400, 150.0, 900.0);
    world.count_events(405, 0.0, 0.0);
    let after = world.engine.status(at(405)).budgets.remove(0).total;
    assert!((before - after).abs() < 1e-9, "{before} {after}");
}

#[test]
fn a_budget_that_cannot_be_counted_is_told() {
    let mut world = World::new(&budget("strict"));
    for tick in 0..=13 {
        world.hear(tick * 5, &[("total", 100.0 * tick as f64)]);
    }
    let blind = world.engine.state().incidents.values();
    assert_eq!(blind.filter(|incident| matches!(incident.cause, Cause::Blind(_))).count(), 1);
    assert_eq!(world.count(decided), 0, "absence never acts");
    assert_eq!(world.own(), Vec::<String>::new());
}

#[test]
fn scores_and_budgets_are_told_as_series() {
    let rest = format!("{VIRTUOSO}{}", budget("strict"));
    let mut world = World::new(&rest);
    let at_first: Vec<_> = GOOD[..2].iter().copied().chain([("good", 0.0), ("total", 0.0)]).collect();
    world.hear(0, &at_first);
    let later: Vec<_> = GOOD[..2].iter().copied().chain([("good", 199.0), ("total", 200.0)]).collect();
    world.hear(5, &later);
    assert_eq!(
        world.own(),
        [
            r#"rearguard_compliance_score{job="rearguard", target="app"} 70"#,
            r#"rearguard_objective_met{job="rearguard", objective="response time", target="app"} 1"#,
            r#"rearguard_objective_met{job="rearguard", objective="p95", target="app"} 1"#,
            r#"rearguard_error_budget_remaining_ratio{budget="availability", job="rearguard", target="app"} 0.5"#,
            r#"rearguard_error_budget_burn_rate{budget="availability", job="rearguard", target="app", window="5m"} 0.5"#,
            r#"rearguard_error_budget_burn_rate{budget="availability", job="rearguard", target="app", window="30m"} 0.5"#,
        ]
    );
}

#[test]
fn the_default_burn_rates_are_the_workbook_s() {
    let text = file(
        "budgets:\n  b: { good: good, total: total, objective: 99.9%, then: { low: { page: oncall } } }\n",
    );
    let (rules, warnings) = rules(&[&text]).expect("it loads");
    assert_eq!(warnings, Vec::<String>::new());
    let told: Vec<String> = rules
        .triggers
        .values()
        .map(|rule| format!("{} {} {}", rule.name, rule.severity, rule.when.text))
        .collect();
    assert_eq!(
        told,
        [
            "budget:b/1h critical error budget b burns faster than 14.4 over 1h and 5m",
            "budget:b/3d low error budget b burns faster than 1 over 3d and 6h",
            "budget:b/6h high error budget b burns faster than 6 over 6h and 30m",
        ]
    );
}

const WRONG_OBJECTIVES: &str = "objectives:
  window: 0s
  sustained: often
  scoring: best
  weights: { critical: -1, unknown: 0, other: 3 }
  promises:
    - { name: a, keep: nothing < 1% }
    - { name: a, keep: rate < 200ms }
    - { name: b, keep: rate < 200ms, warn: rate < 2%, key: maybe, weight: -2 }
    - { keep: rate < 1% }
  then: { fatal: {}, critical: { recommend: forward, page: nobody } }
";

const WRONG_BUDGETS: &str = "budgets:
  all: { good: good, total: total, objective: 100% }
  none: { good: good, total: total, objective: -3%, period: 60d }
  rates: { good: 'sum(rate(good[5m]))', total: 'sum(', objective: 99% }
  windows:
    { good: g, total: t, objective: 99%, period: 1d, burn_rates: [
      { long: 5m, short: 5m, above: 2, severity: low },
      { long: 2d, short: 5m, above: 2, severity: low },
      { long: 1h, short: 5s, above: 2, severity: low },
      { long: 1h, short: 5m, above: -2, severity: low },
      { long: 1h, short: 5m, severity: low } ] }
";

#[test]
fn mistakes_are_told_at_their_places_all_at_once() {
    let expected: [(&str, &[&str]); 5] = [
        (
            WRONG_OBJECTIVES,
            &[
                "9:11 bad-duration",
                "10:14 bad-window",
                "11:12 unknown-value",
                "12:24 bad-weight",
                "12:37 bad-weight",
                "12:40 unknown-key",
                "14:24 unknown-indicator",
                "15:15 duplicate-promise",
                "16:31 wrong-unit",
                "16:44 not-weighted",
                "16:60 wrong-type",
                "16:75 bad-weight",
                "17:7 missing-key",
                "18:11 unknown-key",
                "18:45 unknown-name",
                "18:60 unknown-name",
            ],
        ),
        (
            WRONG_BUDGETS,
            &[
                "9:3 no-consequence",
                "9:47 bad-objective",
                "10:3 no-consequence",
                "10:48 bad-objective",
                "10:61 bad-period",
                "11:3 no-consequence",
                "11:18 not-a-counter",
                "11:53 bad-expression",
                "12:3 no-consequence",
                "14:26 bad-burn-rate",
                "15:15 bad-burn-rate",
                "16:26 bad-burn-rate",
                "17:37 bad-weight",
                "18:7 missing-key",
            ],
        ),
        (
            "objectives: { sustained: 3 in 10s, promises: [{ name: a, keep: rate < 1% }] }\n",
            &["8:13 no-consequence", "8:26 never-fills"],
        ),
        ("objectives: { promises: [] }\n", &["8:13 no-consequence", "8:25 no-promises"]),
        ("objectives: { window: 5m }\n", &["8:13 missing-key", "8:13 no-consequence"]),
    ];
    for (text, places) in expected {
        let found = rules(&[&file(text)]).expect_err("it is refused");
        assert_eq!(found, places, "{text}");
    }
    let one =
        file("objectives: { promises: [{ name: a, keep: rate < 1% }], then: { low: { page: oncall } } }\n");
    assert_eq!(rules(&[&one, &one]).err(), Some(vec!["8:13 duplicate-objectives".to_owned()]));
}

#[test]
fn doubts_are_told_and_do_not_refuse() {
    let cases = [
        // 1 / (1 - 90 %) is 10: 14.4 is beyond it, 6 is not; at 93.1 % it is 14.49.
        (
            "budgets:\n  b: { good: g, total: t, objective: 90%, then: { low: { page: oncall } } }\n",
            "9:38 impossible-burn-rate",
        ),
        ("budgets:\n  b: { good: g, total: t, objective: 93.1%, then: { low: { page: oncall } } }\n", ""),
        (
            "objectives: { sustained: 3 in 11s, promises: [{ name: a, keep: rate < 1% }], then: { low: { page: oncall } } }\n",
            "",
        ),
        ("objectives: { promises: [{ name: a, keep: rate < 1% }] }\n", "8:13 no-consequence"),
    ];
    for (text, expected) in cases {
        let (_, warnings) = rules(&[&file(text)]).expect("it loads");
        assert_eq!(warnings.join(" "), expected, "{text}");
    }
}

#[test]
fn a_trigger_may_watch_the_score() {
    let rest = format!(
        "{VIRTUOSO}{}",
        "triggers:
  - { name: Poor, when: score < 71, for: 2 in a row, then: { page: oncall } }
"
    );
    let text = file(&rest).replace("sources: [app]", "sources: [app, rearguard]").replace(
        "expr: count }",
        "expr: count }\n  score: { unit: count, expr: rearguard_compliance_score }",
    );
    let (rules, _) = rules(&[&text]).expect("it loads");
    assert!(
        rules.triggers.values().any(|rule| rule.sources.contains("rearguard")),
        "{:?}",
        rules.triggers.keys()
    );
    let mut setup = setup(VIRTUOSO);
    setup.rules = rules;
    setup.sources.insert("rearguard".into(), EVERY_5S);
    let mut world = World::of(setup);
    let mut fired = Vec::new();
    for tick in 0..4 {
        world.hear(tick * 5, &with("error_rate", 0.02));
        world.now += 1;
        let input = world.engine.look(at(world.now));
        world.take(&input);
        let is_firing = |what: &Happening| matches!(what, Happening::TriggerFiring { key, .. } if key.trigger.as_str() == "Poor");
        fired = world.seconds(is_firing);
    }
    // Selectors without a source read both, so that the promises wait for the first answer of both; then the score is
    // told at 6 s and again at 11 s.
    assert_eq!(fired, [11]);
}
