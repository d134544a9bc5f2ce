//! Deployments from the files to the page, under virtual time: scopes, the engine's own series, baselines, restarts.

#[path = "virtual_world/obliging.rs"]
mod virtual_world;

use std::path::PathBuf;
use std::sync::Arc;

use rearguard::config;
use rearguard::engine::decision::{Command, DeploymentNews, Ending, Input, Setup};
use rearguard::engine::model::{JournalId, Labels, METRIC_NAME, Sample};
use rearguard::engine::series::Observation;
use rearguard::engine::time::{Span, Timestamp};
use rearguard::journal::ClockReading;
use rearguard::replay::{MemoryLedger, Replay, Saved, Timed, timeline};

use virtual_world::obliging;

/// 2026-11-20 14:00 UTC, a Friday: 09:00 in New York.
const BEGIN: Timestamp = Timestamp::from_millis(1_795_183_200_000);

const EVERY_S: i64 = 5;

const ROOT: &str = "\
rules: [rules.yaml]
targets:
  shop:
    mode: armed
    plans: [back]
    cooldown: 0s
    at_most: 9 per 24h
    deployments:
      detect: { source: app, metric: build_info, label: version }
      soak: 10m
      window: [releases]
      page: oncall
sources:
  app: { scrape: 'http://127.0.0.1:1/metrics', every: 5s }
rollbacks:
  back: { deadline: 60s, steps: [{ name: restore, exec: [/bin/true], timeout: 20s }] }
receivers:
  pager: { pagerduty: { routing_key: { credential: pager } } }
escalations: { oncall: [{ notify: [pager] }] }
calendars:
  market: { time_zone: America/New_York, days: [mon, tue, wed, thu, fri], from: '09:30', to: '16:00' }
  releases: { time_zone: America/New_York, from: '06:00', to: '20:00' }
";

fn at(seconds: i64) -> Timestamp {
    BEGIN + Span::from_secs(seconds)
}

fn clock(engine: Timestamp) -> ClockReading {
    let ms = engine.as_millis();
    ClockReading { engine, boot_id: "boot".to_owned(), boottime_ms: ms, wall_unix_ms: ms }
}

/// Loads a set whose rule file has these triggers.
fn setup(triggers: &str) -> Setup {
    let rules = format!(
        "\
target: shop
sources: [app, rearguard]
indicators:
  errors: {{ unit: ratio, expr: errors }}
  faults: {{ unit: ratio, expr: \"errors{{job='app'}}\" }}
  speed: {{ unit: per_second, expr: speed, baseline: {{ over: 2m, min_samples: 20 }} }}
  lasts: {{ unit: seconds, expr: rearguard_deployment_duration_seconds }}
  rollbacks: {{ unit: count, expr: rearguard_rollbacks_in_24h }}
  success: {{ unit: ratio, expr: rearguard_deployment_success_ratio }}
triggers:
{triggers}
"
    );
    let files =
        vec![(PathBuf::from("rearguard.yaml"), ROOT.to_owned()), (PathBuf::from("rules.yaml"), rules)];
    let loaded = config::load_texts(files)
        .unwrap_or_else(|refused| panic!("{}", refused.render(config::Style::Plain)));
    loaded.setup
}

/// One life of a daemon, and what its sample store has kept.
struct Life {
    replay: Replay,
    setup: Arc<Setup>,
    saved: Saved,
}

impl Life {
    fn first(setup: Setup) -> Self {
        Self::begin(MemoryLedger::new(JournalId::new("test")), Arc::new(setup), 0, Saved::default())
    }

    fn begin(ledger: MemoryLedger, setup: Arc<Setup>, seconds: i64, saved: Saved) -> Self {
        let mut replay = Replay::new(ledger, Arc::clone(&setup), clock(at(seconds)), saved.clone()).unwrap();
        for effect in replay.begin(Vec::new()).unwrap().effects {
            obliging(at(seconds), &effect).into_iter().for_each(|(at, what)| replay.schedule(at, what));
        }
        Self { replay, setup, saved }
    }

    /// Dies, and comes up again at `seconds`: what is durable is what was in memory (E6).
    fn restart(mut self, seconds: i64) -> Self {
        let before = self.replay.engine().state().clone();
        let (snapshot, events) = self.replay.ledger().read().unwrap();
        assert_eq!(rearguard::journal::recover_state(snapshot, &events).unwrap(), before);
        Self::begin(self.replay.stop(), self.setup, seconds, self.saved)
    }

    fn tell(&mut self, seconds: i64, news: DeploymentNews) {
        let command = Command::Deployment { target: "shop".into(), news, by: "uid 1000".to_owned() };
        self.replay.schedule(at(seconds), Timed::Input(Input::Command(command)));
    }

    /// The source says the same from `from` to before `to`; all of it happens.
    fn live(&mut self, from: i64, to: i64, version: &str, errors: f64, speed: f64) {
        for seconds in (from..to).step_by(usize::try_from(EVERY_S).unwrap()) {
            let sample = |name: &str, version: &str, value| {
                let labels = [(METRIC_NAME, name), ("job", "app"), ("version", version)];
                Sample { labels: Labels::from_pairs(labels), at: at(seconds), value }
            };
            let answer = vec![
                sample("errors", "", errors),
                sample("speed", "", speed),
                sample("build_info", version, 1.0),
            ];
            let observation = Observation {
                source: "app".into(),
                at: at(seconds),
                took: Span::ZERO,
                answer: Ok(answer),
                told: None,
            };
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

    /// Returns the lines that hold one of the words, without those of deliveries.
    fn story(&mut self, words: &[&str]) -> Vec<String> {
        let all = timeline(self.replay.ledger().events(), BEGIN);
        let told = all.lines().filter(|line| words.iter().any(|word| line.contains(word)));
        told.filter(|line| !line.contains("took a message")).map(str::to_owned).collect()
    }
}

fn start(version: &str) -> DeploymentNews {
    DeploymentNews::Start { version: version.to_owned(), previous: None }
}

const FINISH: DeploymentNews = DeploymentNews::Finish { ending: Ending::RolledOut };

#[test]
fn s2_03_outside_of_a_deployment_it_pages_and_within_one_it_acts() {
    let triggers = "  - { name: Errors, when: errors > 1%, for: 30s, then: { rollback: { plan: back, during: deployment }, page: oncall } }";
    let mut outside = Life::first(setup(triggers));
    outside.live(0, 60, "v1", 0.02, 9.0);
    assert_eq!(
        outside.story(&["rollback", "page"]),
        [
            "+30.000s  no rollback of shop by `back` for I1: it is wanted during deployment only",
            "+30.000s  page to pager: shop: Errors: errors > 1% for 30s: measured 2%",
        ]
    );
    let mut within = Life::first(setup(triggers));
    within.live(0, 60, "v1", 0.0, 9.0);
    within.tell(60, start("v2"));
    within.live(60, 120, "v1", 0.02, 9.0);
    let story = within.story(&["rollback", "deployment"]);
    assert_eq!(
        story[0],
        "+60.000s  deployment D1 of shop begins: version v2 (before: v1), announced by uid 1000"
    );
    assert_eq!(story[1], "+90.000s  rollback R1 of shop by `back` for I1: 1 step");
    assert!(
        story.iter().any(|line| line == "+91.000s  deployment D1 was ROLLED BACK: R1 succeeded"),
        "{story:#?}"
    );
}

#[test]
fn a_trigger_is_judged_within_its_times_only_and_its_window_begins_anew() {
    let triggers =
        "  - { name: Errors, when: errors > 1%, for: 30s, during: [deployment], then: { page: oncall } }";
    let mut life = Life::first(setup(triggers));
    life.live(0, 100, "v1", 0.02, 9.0);
    assert_eq!(life.story(&["Errors"]), [""; 0], "no deployment, no verdict");
    let look = life.replay.engine().trigger_looks().remove(0);
    let outside = look.outside.expect("it is asleep");
    assert_eq!((outside.scope.as_str(), outside.since), ("deployment", at(0)));
    life.tell(100, start("v2"));
    life.tell(150, FINISH);
    // The deployment is told at 100 s, before the answer of that second: the window fills from there.
    life.live(100, 800, "v1", 0.02, 9.0);
    assert_eq!(
        life.story(&["Errors", "incident"]),
        [
            "+100.000s  shop/Errors is pending, fires after 30s: errors > 1%, measured 2%",
            "+130.000s  shop/Errors FIRES: errors > 1%, measured 2%",
            "+130.000s  incident I1 opens, high, shop: errors > 1% for 30s: measured 2%",
            "+130.000s  page to pager: shop: Errors: errors > 1% for 30s: measured 2%",
            "+755.000s  shop/Errors is no longer judged: it is judged during deployment only",
            "+755.000s  all-clear to pager: shop: Errors: it is out of scope: judged during deployment only",
            "+755.000s  incident I1 is resolved: it is out of scope: judged during deployment only",
        ]
    );
    // Across a restart it stays asleep, and the state is its events.
    let mut life = life.restart(805);
    life.live(805, 900, "v1", 0.02, 9.0);
    assert_eq!(life.story(&["Errors"]).len(), 5);
}

#[test]
fn s1_01_a_stage_is_judged_once_it_has_settled_and_until_the_next_one() {
    let triggers = "  - { name: Errors, when: errors > 1%, during: stage 25%, then: { page: oncall } }";
    let mut life = Life::first(setup(triggers));
    let stage = |share, settle| DeploymentNews::Stage { share, name: None, settle: Span::from_secs(settle) };
    life.tell(10, start("v2"));
    life.tell(20, stage(0.1, 0));
    life.tell(60, stage(0.25, 30));
    life.tell(120, stage(0.5, 0));
    life.live(0, 200, "v1", 0.02, 9.0);
    assert_eq!(
        life.story(&["shop/Errors"]),
        [
            "+90.000s  shop/Errors is pending: errors > 1%, measured 2%",
            "+90.000s  shop/Errors FIRES: errors > 1%, measured 2%",
            "+120.000s  shop/Errors is no longer judged: it is judged during stage 25% only",
        ]
    );
}

#[test]
fn s3_12_a_calendar_opens_and_closes_a_trigger_to_the_second() {
    let triggers = "  - { name: Errors, when: errors > 1%, during: market, then: { page: oncall } }\n  - { name: Night, when: errors > 1%, during: not market, then: { page: oncall } }";
    let mut life = Life::first(setup(triggers));
    // The market opens half an hour after the beginning, and closes seven hours after it.
    life.live(1790, 1810, "v1", 0.02, 9.0);
    life.live(25_190, 25_210, "v1", 0.02, 9.0);
    let fires: Vec<String> = life.story(&["FIRES", "no longer judged"]);
    let told: Vec<&str> =
        fires.iter().map(|line| line.split(": errors").next().unwrap_or_default()).collect();
    assert_eq!(
        told,
        [
            "+1790.000s  shop/Night FIRES",
            "+1800.000s  shop/Night is no longer judged: it is judged during not market only",
            "+1800.000s  shop/Errors FIRES",
            "+25200.000s  shop/Errors is no longer judged: it is judged during market only",
            "+25200.000s  shop/Night FIRES",
        ]
    );
}

#[test]
fn s3_12_a_calendar_acts_at_its_boundary_itself_and_not_at_the_next_answer() {
    let triggers = "  - { name: Errors, when: faults > 1%, for: 30s, during: market, then: { page: oncall } }\n  - { name: Row, when: faults > 1%, for: 2 in a row, during: market, then: { page: oncall } }";
    let mut life = Life::first(setup(triggers));
    // Answers come at 1797 s, 1802 s and so on: the market opens at 1800 s, and closes at 25,200 s.
    life.live(1787, 1797, "v1", 0.02, 9.0);
    let explained = life.replay.engine().explain(&"Errors".into(), at(1797)).remove(0);
    assert_eq!(
        explained.waits_for,
        ["it is judged during market only, which it has not been for 28m57s; it is again in 3s"]
    );
    life.live(1797, 1842, "v1", 0.02, 9.0);
    let explained = life.replay.engine().explain(&"Errors".into(), at(1842)).remove(0);
    assert_eq!(explained.waits_for.last().unwrap(), "its time is over in 6h29m18s");
    life.live(25_187, 25_207, "v1", 0.02, 9.0);
    assert_eq!(
        life.story(&["shop/"]).iter().map(|line| line.split(": ").next().unwrap()).collect::<Vec<_>>(),
        [
            "+1800.000s  shop/Errors is pending, fires after 30s",
            "+1802.000s  shop/Row is pending",
            "+1807.000s  shop/Row FIRES",
            "+1830.000s  shop/Errors FIRES",
            "+25200.000s  shop/Errors is no longer judged",
            "+25200.000s  shop/Row is no longer judged",
        ]
    );
}

#[test]
fn s4_03_a_deployment_that_takes_too_long_fires_while_it_still_runs() {
    let triggers = "  - { name: DeploymentTimeout, when: lasts > 30m, then: { page: oncall } }";
    let mut life = Life::first(setup(triggers));
    life.tell(10, start("v2"));
    life.live(0, 1820, "v1", 0.0, 9.0);
    // Every answer of the built-in source is taken at its own time: 0, 5, 10, ...
    assert_eq!(
        life.story(&["FIRES"]),
        ["+1815.000s  shop/DeploymentTimeout FIRES: lasts > 30m, measured 1805s"]
    );
    let setup = setup(triggers);
    let mut quick = Life::first(setup);
    quick.tell(10, start("v2"));
    quick.tell(1805, FINISH);
    quick.live(0, 1900, "v1", 0.0, 9.0);
    assert_eq!(quick.story(&["FIRES"]), [""; 0], "it took 1795 s, and goes on soaking");
}

#[test]
fn s4_04_the_fourth_rollback_of_a_day_fires() {
    let triggers = "  - { name: FrequentRollbacks, when: rollbacks > 3, then: { page: oncall } }\n  - { name: Errors, when: errors > 1%, then: { rollback: back } }";
    let mut life = Life::first(setup(triggers));
    for nth in 0..4 {
        life.live(nth * 600, nth * 600 + 300, "v1", 0.0, 9.0);
        assert_eq!(life.story(&["FrequentRollbacks FIRES"]), [""; 0], "after {nth}");
        life.live(nth * 600 + 300, nth * 600 + 600, "v1", 0.02, 9.0);
    }
    assert_eq!(life.story(&["rollback R4"]).len(), 1);
    assert_eq!(
        life.story(&["FrequentRollbacks FIRES"]),
        ["+2100.000s  shop/FrequentRollbacks FIRES: rollbacks > 3, measured 4"]
    );
    // A restart forgets none of them.
    let mut life = life.restart(2500);
    life.live(2500, 2600, "v1", 0.0, 9.0);
    assert_eq!(life.story(&["FrequentRollbacks is quiet"]), [""; 0]);
}

#[test]
fn s4_02_the_success_ratio_counts_every_deployment_that_ended() {
    let triggers = "  - { name: DeploymentFailure, when: success < 95%, then: { page: oncall } }";
    let mut life = Life::first(setup(triggers));
    life.tell(10, start("v2"));
    life.tell(20, FINISH);
    life.live(0, 640, "v1", 0.0, 9.0);
    life.tell(650, start("v3"));
    life.tell(660, DeploymentNews::Finish { ending: Ending::Failed });
    life.live(640, 700, "v1", 0.0, 9.0);
    assert_eq!(
        life.story(&["FIRES", "D1 succeeded", "D2 FAILED"]),
        [
            "+620.000s  deployment D1 succeeded: its soak is over",
            "+660.000s  deployment D2 FAILED: uid 1000 says so",
            "+660.000s  shop/DeploymentFailure FIRES: success < 95%, measured 50%",
        ]
    );
}

const COLLAPSE: &str =
    "  - { name: Collapse, when: speed < 50% of baseline, for: 30s, then: { page: oncall } }";

#[test]
fn s0_07_the_baseline_is_what_was_before_the_switch() {
    let mut life = Life::first(setup(COLLAPSE));
    life.live(0, 300, "v1", 0.0, 10.0);
    // The new version shows at 300 s, and half of the traffic is gone with the same answer.
    life.live(300, 360, "v2", 0.0, 4.9);
    assert_eq!(
        life.story(&["baseline"]),
        [
            "+300.000s  shop: baseline of speed is 10/s, the mean of 24 samples",
            "+300.000s  shop/Collapse is pending, fires after 30s: speed < 50% of baseline, measured 4.9/s",
            "+330.000s  shop/Collapse FIRES: speed < 50% of baseline, measured 4.9/s",
            "+330.000s  incident I1 opens, high, shop: speed < 50% of baseline for 30s: measured 4.9/s",
            "+330.000s  page to pager: shop: Collapse: speed < 50% of baseline for 30s: measured 4.9/s",
        ]
    );
    // Half exactly is not below half.
    let mut life = Life::first(setup(COLLAPSE));
    life.live(0, 300, "v1", 0.0, 10.0);
    life.live(300, 400, "v2", 0.0, 5.0);
    assert_eq!(life.story(&["Collapse"]), [""; 0]);
}

#[test]
fn a_baseline_that_cannot_be_relied_on_is_refused_with_its_reason() {
    let cases: [(&str, i64, f64, &str); 4] = [
        ("too few", 60, 10.0, "only 12 of 20 samples in the 2m before it"),
        ("nothing", 0, 10.0, "there was no sample in the 2m before it"),
        ("zero", 300, 0.0, "its mean was 0/s: nothing can be a share of that"),
        ("no number", 300, f64::NAN, "it was not a number (no traffic?)"),
    ];
    for (case, seconds, speed, why) in cases {
        let mut life = Life::first(setup(COLLAPSE));
        life.live(0, seconds, "v1", 0.0, speed);
        life.tell(seconds, start("v2"));
        life.live(seconds + 5, seconds + 100, "v1", 0.0, 1.0);
        let story = life.story(&["baseline"]);
        assert_eq!(
            story.first().and_then(|line| line.split_once(": ")).unwrap().1,
            format!("NO baseline of speed: {why}"),
            "{case}"
        );
        assert_eq!(life.story(&["FIRES"]), [""; 0], "{case}");
        assert!(
            life.story(&["cannot be judged", "neither good nor bad"]).iter().any(|line| line.contains(why)),
            "{case}: people hear that it cannot be judged: {:#?}",
            life.story(&[""])
        );
    }
}

#[test]
fn what_was_measured_in_an_incident_is_no_baseline() {
    // What is high is about everything; what is not is about what it reads.
    let cases = [
        ("errors > 1%", "critical", false),
        ("errors > 1%", "high", false),
        ("errors > 1%", "medium", true),
        ("errors > 1%", "low", true),
        ("speed > 1/s", "low", false),
        ("errors > 5% or speed > 1/s", "low", false),
    ];
    for (when, severity, is_normal) in cases {
        let triggers = format!(
            "{COLLAPSE}\n  - {{ name: Never, when: {when}, severity: {severity}, then: {{ page: oncall }} }}"
        );
        let mut life = Life::first(setup(&triggers));
        life.live(0, 300, "v1", 0.02, 10.0);
        life.tell(300, start("v2"));
        life.live(300, 310, "v1", 0.02, 10.0);
        let expected = match is_normal {
            true => "+300.000s  shop: baseline of speed is 10/s, the mean of 23 samples",
            false => "+300.000s  shop: NO baseline of speed: incident I1 was open before it (Never)",
        };
        assert_eq!(life.story(&["baseline of"]), [expected], "{when}, {severity}");
    }
}

#[test]
fn what_cannot_be_known_before_a_deployment_is_not_blindness_at_its_start() {
    let terms = "name: Collapse, when: speed < 50% of baseline, for: 2m, min_samples: 20, no_data: hold";
    let told = |deployed: &[f64]| {
        let mut life = Life::first(setup(&format!("  - {{ {terms}, then: {{ page: oncall }} }}")));
        life.live(0, 600, "v1", 0.0, 10.0);
        life.tell(600, start("v2"));
        for (nth, from) in (600..1000).step_by(5).enumerate() {
            life.live(from, from + 5, "v1", 0.0, deployed[nth % deployed.len()]);
        }
        life.story(&["neither good nor bad", "FIRES"])
    };
    // The window holds twenty values 100 s later at the earliest, and until then nobody is woken.
    assert_eq!(told(&[10.0]), [""; 0]);
    // Three in four values are none: 120 s after the last look without anything to compare with, at 595 s, the
    // window should have held twenty of them, and a minute later that is told.
    let story = told(&[10.0, f64::NAN, f64::NAN, f64::NAN]);
    let [opened, page] = story.as_slice() else { panic!("{story:#?}") };
    assert!(opened.starts_with("+775.000s  incident I1 opens"), "{opened}");
    assert!(opened.contains("neither good nor bad for 1m") && page.contains("page to pager"), "{story:#?}");
}

#[test]
fn baselines_and_deployments_outlive_a_restart() {
    let mut life = Life::first(setup(COLLAPSE));
    life.live(0, 300, "v1", 0.0, 10.0);
    life.tell(300, start("v2"));
    life.live(300, 310, "v1", 0.0, 10.0);
    let mut life = life.restart(320);
    life.live(320, 400, "v1", 0.0, 1.0);
    assert_eq!(life.story(&["FIRES"]).len(), 1, "{:#?}", life.story(&[""]));
    assert_eq!(life.replay.engine().state().deployments.len(), 1);
}
