//! Imported rules from the sample to the page, under virtual time: groups at their own interval, restarts, sources that
//! fail.

mod virtual_world;

use std::sync::Arc;

use rearguard::config::{Style, load_texts};
use rearguard::engine::decision::Setup;
use rearguard::engine::decision::setup::SourcePace;
use rearguard::engine::evaluation::{AlertState, groups::Health};
use rearguard::engine::model::{JournalId, Labels, METRIC_NAME, Sample};
use rearguard::engine::promql::{Scope, compile, parse};
use rearguard::engine::rules::{Group, GroupRule, GroupRuleKind, Place, Route, RuleSet, Template, Then};
use rearguard::engine::series::{FailureKind, MatchOp, Matcher, Observation, SourceFailure};
use rearguard::engine::time::{Span, Timestamp};
use rearguard::journal::ClockReading;
use rearguard::replay::{MemoryLedger, Replay, Saved, Timed, timeline};

use virtual_world::{armed_app, obliging};

const BEGIN: Timestamp = Timestamp::from_millis(10_000_000);

/// How often the source is asked.
const EVERY_S: i64 = 5;

fn at(seconds: i64) -> Timestamp {
    BEGIN + Span::from_secs(seconds)
}

fn clock(engine: Timestamp) -> ClockReading {
    let ms = engine.as_millis();
    ClockReading { engine, boot_id: "boot".to_owned(), boottime_ms: ms, wall_unix_ms: ms }
}

fn rule(expr: &str, kind: GroupRuleKind) -> GroupRule {
    let query = compile(&parse(expr).unwrap(), &Scope::EVERYTHING).unwrap();
    let labels = match kind {
        GroupRuleKind::Record { .. } => Vec::new(),
        GroupRuleKind::Alert { .. } => vec![("severity".into(), Template::literal("critical"))],
    };
    let place = Place::of_file("rules.yml");
    let mut rule =
        GroupRule { place, text: expr.to_owned(), query, labels, kind, fingerprint: String::new() };
    rule.fingerprint = format!("{} {expr}", rule.name());
    rule
}

fn alert(name: &str, expr: &str, hold_s: i64) -> GroupRule {
    let kind = GroupRuleKind::Alert {
        name: name.into(),
        hold: Span::from_secs(hold_s),
        keep_firing_for: Span::ZERO,
        annotations: vec![("summary".into(), Template::literal("requests fail"))],
        rests_on_absence: expr.contains("absent"),
    };
    rule(expr, kind)
}

/// One source, one armed target with a plan of one step, one group every 15 s.
fn setup(rules: Vec<GroupRule>) -> Setup {
    let group = Group {
        file: "rules.yml".into(),
        name: "app".into(),
        interval: Span::from_secs(15),
        limit: 0,
        query_offset: Span::ZERO,
        rules,
    };
    let route = Route {
        matchers: vec![Matcher::new("severity", MatchOp::Equal, "critical").unwrap()],
        target: "app".into(),
        then: Then { rollback: Some("back".into()), page: Some("oncall".into()), ..Then::default() },
    };
    let pace = SourcePace { every: Span::from_secs(EVERY_S), silent_after: Span::from_secs(60) };
    Setup {
        rules: RuleSet { groups: vec![Arc::new(group)], ..RuleSet::default() },
        routes: vec![route],
        sources: [("app".into(), pace)].into(),
        ..armed_app(3, Span::from_secs(60))
    }
}

/// What the source says: a value, or nothing at all.
fn answer(seconds: i64, errors: Option<f64>) -> Observation {
    let labels = Labels::from_pairs([(METRIC_NAME, "errors"), ("job", "app")]);
    let answer = match errors {
        Some(value) => Ok(vec![Sample { labels, at: at(seconds), value }]),
        None => {
            Err(SourceFailure { kind: FailureKind::Unreachable, message: "connection refused".to_owned() })
        }
    };
    Observation { source: "app".into(), at: at(seconds), took: Span::ZERO, answer, told: None }
}

/// One life of a daemon, and what its sample store has kept.
struct Life {
    replay: Replay,
    saved: Saved,
}

impl Life {
    fn begin(ledger: MemoryLedger, setup: &Setup, seconds: i64, saved: Saved) -> Self {
        let mut replay =
            Replay::new(ledger, Arc::new(setup.clone()), clock(at(seconds)), saved.clone()).unwrap();
        for effect in replay.begin(Vec::new()).unwrap().effects {
            obliging(at(seconds), &effect).into_iter().for_each(|(at, what)| replay.schedule(at, what));
        }
        Self { replay, saved }
    }

    fn first(setup: &Setup) -> Self {
        Self::begin(MemoryLedger::new(JournalId::new("test")), setup, 0, Saved::default())
    }

    /// The source says the same from `from` to before `to`; all of it happens.
    fn live(&mut self, from: i64, to: i64, errors: Option<f64>) {
        for seconds in (from..to).step_by(usize::try_from(EVERY_S).unwrap()) {
            let observation = answer(seconds, errors);
            self.saved.observations.push(observation.clone());
            self.replay.schedule(at(seconds), Timed::Observation(observation));
        }
        while self.replay.next_at().is_some_and(|next| next < at(to)) {
            let Some(stepped) = self.replay.step().unwrap() else { break };
            self.saved.observations.extend(stepped.handled.recorded);
            for effect in &stepped.handled.effects {
                for (at, what) in obliging(self.replay.clock().engine, effect) {
                    self.replay.schedule(at, what);
                }
            }
        }
        self.replay.advance(at(to));
        self.saved.measurements = self.replay.engine().saved_measurements();
    }

    /// Dies, and comes up again `down` later.
    fn restart(self, setup: &Setup, seconds: i64) -> Self {
        Self::begin(self.replay.stop(), setup, seconds, self.saved)
    }

    fn story(&mut self) -> String {
        timeline(self.replay.ledger().events(), BEGIN)
    }

    fn states(&self) -> Vec<(String, AlertState)> {
        let alerts = self.replay.engine().alerts_look().into_iter();
        alerts.map(|alert| (alert.rule.to_string(), alert.state)).collect()
    }

    fn open(&self) -> usize {
        let incidents = self.replay.engine().state().incidents.values();
        incidents.filter(|incident| incident.resolved_at.is_none()).count()
    }
}

/// Returns the seconds after the beginning at which a line of the story is told.
fn told_at(story: &str, needle: &str) -> f64 {
    let line = story.lines().find(|line| line.contains(needle));
    let line = line.unwrap_or_else(|| panic!("no `{needle}` in\n{story}"));
    line.trim_start_matches('+').split('s').next().and_then(|text| text.parse().ok()).expect("a time")
}

#[test]
fn an_imported_alert_rolls_back_and_pages_at_the_groups_own_instants() {
    let recorded = rule("max by (job) (errors)", GroupRuleKind::Record { name: "job:errors".into() });
    let setup = setup(vec![recorded, alert("ErrorsHigh", "job:errors > 0.1", 30)]);
    let mut life = Life::first(&setup);
    life.live(0, 60, Some(0.01));
    assert_eq!(life.states(), []);
    life.live(60, 180, Some(0.5));
    let story = life.story();
    let (pending, fires) = (told_at(&story, "is pending"), told_at(&story, "FIRES"));
    assert!((60.0..75.0).contains(&pending), "{story}");
    assert!((fires - pending - 30.0).abs() < 1e-6, "`for` is exact: {pending} {fires}\n{story}");
    assert!((told_at(&story, "rollback R1 of app by `back`") - fires).abs() < 1e-6, "{story}");
    assert!(story.contains("page to pager: requests fail"), "{story}");
    assert_eq!(life.open(), 1);
    life.live(180, 240, Some(0.01));
    let story = life.story();
    assert!((180.0..195.0).contains(&told_at(&story, "ErrorsHigh is quiet again")), "{story}");
    assert_eq!(life.open(), 0);
    assert_eq!(story.matches("rollback R").count(), 1, "{story}");
    let look = life.replay.engine().rules_look();
    assert!(look[0].rules.iter().all(|rule| rule.health == Health::Ok), "{look:?}");
}

#[test]
fn e6_a_restart_neither_ends_nor_repeats_an_alert_whatever_its_for() {
    let setup = setup(vec![alert("ErrorsHigh", "errors > 0.1", 30)]);
    let mut life = Life::first(&setup);
    life.live(0, 120, Some(0.5));
    assert_eq!((life.states().len(), life.open()), (1, 1));
    // A minute, an hour, a day: it fires on, and nobody is told again.
    for (down, up) in [(120, 180), (240, 3900), (3960, 90_000)] {
        let before = life.story().matches("FIRES").count();
        life = life.restart(&setup, up);
        assert_eq!(life.states(), [("ErrorsHigh".to_owned(), AlertState::Firing)], "down from {down}");
        life.live(up, up + 60, Some(0.5));
        assert_eq!(life.states(), [("ErrorsHigh".to_owned(), AlertState::Firing)]);
        assert_eq!((life.story().matches("FIRES").count(), life.open()), (before, 1));
    }
    life = life.restart(&setup, 100_000);
    life.live(100_000, 100_060, Some(0.0));
    assert_eq!((life.states().len(), life.open()), (0, 0), "{}", life.story());
}

#[test]
fn e6_without_any_samples_left_what_fired_is_still_an_incident() {
    let setup = setup(vec![alert("ErrorsHigh", "errors > 0.1", 30)]);
    let mut life = Life::first(&setup);
    life.live(0, 120, Some(0.5));
    life.saved = Saved::default();
    life = life.restart(&setup, 150);
    life.live(150, 170, Some(0.5));
    assert_eq!(life.states(), [("ErrorsHigh".to_owned(), AlertState::Pending)]);
    assert_eq!(life.open(), 1);
    life.live(170, 300, Some(0.5));
    assert_eq!((life.story().matches("FIRES").count(), life.open()), (1, 1), "{}", life.story());
}

#[test]
fn e2_a_source_that_fails_neither_ends_an_alert_nor_acts() {
    let setup = setup(vec![alert("ErrorsHigh", "errors > 0.1", 0), alert("Gone", "absent(errors)", 0)]);
    let mut life = Life::first(&setup);
    life.live(0, 60, Some(0.5));
    assert_eq!(life.open(), 1);
    // The series ends with the first failure: Prometheus' alert is over, the incident is not.
    life.live(60, 110, None);
    assert_eq!(life.states(), [("Gone".to_owned(), AlertState::Firing)]);
    let story = life.story();
    assert!(!story.contains("ErrorsHigh is quiet"), "{story}");
    assert_eq!(life.open(), 2, "the second one is `Gone`: {story}");
    assert!(story.contains("for I2: absence never acts by itself"), "{story}");
    assert_eq!(story.matches("rollback R").count(), 1, "{story}");
    life.live(110, 150, Some(0.0));
    assert_eq!(life.open(), 0, "{}", life.story());
}

#[test]
fn time_before_the_first_answer_is_not_absence() {
    let setup = setup(vec![alert("Gone", "absent(errors)", 0)]);
    let mut life = Life::first(&setup);
    life.live(0, 40, None);
    // `live` has begun with a failure at 0 s: that is an answer. Without any there is nothing to judge.
    assert_eq!(life.open(), 1, "{}", life.story());
    let mut life = Life::first(&setup);
    life.replay.advance(at(50));
    life.live(50, 50, None);
    assert_eq!((life.states().len(), life.open()), (0, 0));
    life.live(50, 90, Some(0.0));
    assert_eq!((life.states().len(), life.open()), (0, 0), "{}", life.story());
}

/// What a reload begins to need was there all the time, and is not kept yet: that is no absence either.
#[test]
fn e2_time_before_the_first_answer_that_is_kept_is_not_absence() {
    let before = setup(vec![alert("Other", "other == 1", 0)]);
    let after = setup(vec![alert("Other", "other == 1", 0), alert("Gone", "absent(errors)", 0)]);
    // One of these lies between an answer and an instant of the group.
    for reload in 30..45 {
        let mut life = Life::first(&before);
        life.replay.schedule(at(reload), Timed::Setup(Arc::new(after.clone())));
        life.live(0, 90, Some(0.0));
        assert!(life.story().contains("files in force"), "{}", life.story());
        assert!(!life.story().contains("FIRES"), "reload at {reload} s: {}", life.story());
    }
    let mut life = Life::first(&before);
    life.replay.schedule(at(31), Timed::Setup(Arc::new(setup(vec![alert("Gone", "absent(others)", 0)]))));
    life.live(0, 90, Some(0.0));
    assert_eq!(life.open(), 1, "what is absent still fires: {}", life.story());
}

/// Native rules are judged at each answer of any of their sources: one that is new waits for all of them.
#[test]
fn e2_a_new_native_rule_waits_for_the_answer_that_is_kept() {
    let load = |expr: &str| {
        let root = "rules: [r.yaml]\ntargets: { shop: {} }\nsources:\n  app: { scrape: 'http://127.0.0.1:1/' }\n  db: { scrape: 'http://127.0.0.1:2/' }\n";
        let rules = format!(
            "target: shop\nsources: [app, db]\nindicators: {{ x: {{ unit: count, expr: '{expr}' }} }}\ntriggers: [{{ name: Few, when: x < 1, severity: high }}]\n"
        );
        let files = [("rearguard.yaml", root.to_owned()), ("r.yaml", rules)];
        let loaded = load_texts(files.map(|(path, text)| (path.into(), text)).into());
        Arc::new(loaded.unwrap_or_else(|refused| panic!("{}", refused.render(Style::Plain))).setup)
    };
    let said = |source: &str, seconds| {
        let mut observation = answer(seconds, Some(5.0));
        observation.source = source.into();
        Timed::Observation(observation)
    };
    // `app` answers first, and has none of the series that the new rule needs; `db` has them.
    for reload in 31..37 {
        let ledger = MemoryLedger::new(JournalId::new("test"));
        let mut replay = Replay::new(ledger, load("count(up)"), clock(at(0)), Saved::default()).unwrap();
        let _begun = replay.begin(Vec::new()).unwrap();
        let kept = load("sum(errors) or vector(0)");
        replay.schedule(at(reload), Timed::Setup(kept));
        for seconds in (0..60).step_by(5) {
            replay.schedule(
                at(seconds),
                Timed::Observation(Observation { answer: Ok(Vec::new()), ..answer(seconds, None) }),
            );
            replay.schedule(at(seconds + 2), said("db", seconds + 2));
        }
        replay.run_until(at(58), obliging).unwrap();
        let story = timeline(replay.ledger().events(), BEGIN);
        assert_eq!(story.matches("files in force").count(), 2, "{story}");
        assert!(!story.contains("FIRES"), "reload at {reload} s: {story}");
    }
}

#[test]
fn e2_a_query_offset_does_not_look_at_the_time_before_the_first_answer() {
    let mut files = setup(vec![alert("Gone", "absent(errors)", 0)]);
    let group = Arc::make_mut(&mut files.rules.groups[0]);
    group.query_offset = Span::from_secs(60);
    let mut life = Life::first(&files);
    life.live(0, 200, Some(0.0));
    assert_eq!((life.states().len(), life.open()), (0, 0), "{}", life.story());
    life.live(200, 300, None);
    assert_eq!(life.states().len(), 1, "absence is seen a minute late: {}", life.story());
}

#[test]
fn a_group_is_evaluated_at_its_interval_though_nothing_is_heard() {
    let mut files = setup(vec![alert("Always", "vector(1)", 30)]);
    files.sources.clear();
    let mut life = Life::first(&files);
    life.live(0, 0, None);
    while life.replay.next_at().is_some_and(|next| next < at(100)) {
        let _stepped = life.replay.step().unwrap();
    }
    let story = life.story();
    let fires = told_at(&story, "FIRES") - told_at(&story, "is pending");
    assert!((fires - 30.0).abs() < 1e-6, "{story}");
}

#[test]
fn recorded_series_go_on_after_a_restart() {
    let recorded = rule("errors", GroupRuleKind::Record { name: "r".into() });
    // Needs six values of the recorded series, which are there after the restart only if they were saved.
    let setup = setup(vec![recorded, alert("Long", "count_over_time(r[100s]) >= 6", 0)]);
    let mut life = Life::first(&setup);
    life.live(0, 74, Some(0.5));
    assert_eq!(life.states(), []);
    life = life.restart(&setup, 80);
    life.live(80, 115, Some(0.5));
    assert_eq!(life.states(), [("Long".to_owned(), AlertState::Firing)], "{}", life.story());
}

#[test]
fn e2_the_first_answer_of_a_source_that_was_away_ends_nothing() {
    // As a rate, this needs two samples within its range.
    let text = "count_over_time(errors[12s]) > 1 and errors > 0.1";
    let setup = setup(vec![alert("ErrorsHigh", text, 0)]);
    for from in 100..115 {
        let mut life = Life::first(&setup);
        life.live(0, 60, Some(0.5));
        assert_eq!(life.open(), 1);
        life.live(60, from, None);
        life.live(from, from + 60, Some(0.5));
        let story = life.story();
        assert!(!story.contains("is quiet again"), "answers from {from} s on\n{story}");
        // The same with a restart in place of a failure.
        let mut life = life.restart(&setup, from + 100);
        life.live(from + 103, from + 160, Some(0.5));
        let story = life.story();
        assert!(!story.contains("is quiet again"), "answers from {from} s on\n{story}");
        life.live(from + 160, from + 200, Some(0.0));
        assert_eq!(life.open(), 0);
    }
}
