//! Native triggers from the rule file to what follows, under virtual time: windows, levels, series, missing data.

mod virtual_world;

use std::sync::Arc;

use rearguard::engine::decision::setup::SourcePace;
use rearguard::engine::decision::{Cause, Event, Happening, Setup};
use rearguard::engine::model::{JournalId, Labels, METRIC_NAME, Sample, SourceName};
use rearguard::engine::rules::compile::{Catalog, compile};
use rearguard::engine::rules::{Findings, RuleFiles, RuleSet, SourceFile, Verified};
use rearguard::engine::series::{FailureKind, Observation, SourceFailure};
use rearguard::engine::time::{Span, Timestamp};
use rearguard::journal::ClockReading;
use rearguard::replay::{MemoryLedger, Replay, Saved, Timed};

use virtual_world::{armed_app, obliging};

const BEGIN: Timestamp = Timestamp::from_millis(10_000_000);
const EVERY: Span = Span::from_secs(5);
const SOURCES: [&str; 4] = ["app", "eu", "us", "ap"];

fn at(seconds: i64) -> Timestamp {
    BEGIN + Span::from_secs(seconds)
}

fn clock(engine: Timestamp) -> ClockReading {
    let ms = engine.as_millis();
    ClockReading { engine, boot_id: "boot".to_owned(), boottime_ms: ms, wall_unix_ms: ms }
}

/// Compiles one rule file; returns what is wrong with it, or the rules.
fn rules(text: &str) -> Result<RuleSet, Vec<String>> {
    let catalog = Catalog {
        targets: [("app".into(), ["back".into()].into())].into(),
        sources: SOURCES.map(|name| (SourceName::from(name), EVERY)).into(),
        plans: [("back".into(), Verified::Yes)].into(),
        policies: ["oncall".into()].into(),
        ..Catalog::default()
    };
    let files = [SourceFile::new("rules.yaml", text)];
    let mut found = Findings::default();
    let compiled = compile(RuleFiles { files: &files, some_unread: false }, &catalog, &mut found);
    let told = |all: Vec<rearguard::engine::rules::Diagnostic>| -> Vec<String> {
        all.iter().map(|d| format!("{}:{} {}", d.place.line, d.place.column, d.code)).collect()
    };
    match found.conclude(()) {
        Ok(_) => Ok(compiled.rules),
        Err(problems) => Err(told(problems)),
    }
}

/// Indicators that every test may use; the triggers come below.
fn file(triggers: &str) -> String {
    format!(
        "target: app
sources: [app, eu, us, ap]
indicators:
  errors: {{ unit: ratio, expr: 'errors{{job=\"app\"}}' }}
  latency: {{ unit: seconds, expr: 'latency{{job=\"app\"}}' }}
  traffic: {{ unit: per_second, expr: 'traffic{{job=\"app\"}}' }}
  by_region: {{ unit: ratio, expr: 'by_region{{job=\"app\"}}' }}
  healthy: {{ unit: bool, expr: 'healthy' }}
triggers:
{triggers}"
    )
}

fn setup(triggers: &str) -> Setup {
    let rules = rules(&file(triggers)).unwrap_or_else(|problems| panic!("{triggers}: {problems:?}"));
    let pace = SourcePace { every: EVERY, silent_after: Span::from_secs(3600) };
    Setup {
        rules,
        sources: SOURCES.map(|name| (SourceName::from(name), pace)).into(),
        ..armed_app(9, Span::ZERO)
    }
}

/// One word of a script per tick: a number, `_` where the series is absent, `!` where its source fails; `3x5` is five
/// times 3.
fn ticks(script: &str) -> Vec<&str> {
    let words = script.split_whitespace();
    words
        .flat_map(|word| match word.split_once('x') {
            Some((word, times)) => vec![word; times.parse().expect("a number of ticks")],
            None => vec![word],
        })
        .collect()
}

/// Returns a source's answer at one tick. A series is named `errors region=eu`, on source `app`; `healthy` of `eu` is
/// named `eu: healthy`.
fn answer(source: &str, tick: usize, series: &[(&str, &str)]) -> Observation {
    let now = at(i64::try_from(tick).expect("few ticks") * 5);
    let mut samples = Vec::new();
    let mut fails = false;
    for (name, script) in series {
        let (of, name) = name.split_once(": ").unwrap_or(("app", name));
        let words = ticks(script);
        if of != source || words.is_empty() {
            continue;
        }
        let word = words[tick.min(words.len() - 1)];
        fails |= word == "!";
        if let Ok(value) = word.parse::<f64>() {
            let mut parts = name.split_whitespace();
            let labels =
                Labels::from_pairs([(METRIC_NAME, parts.next().unwrap_or_default()), ("job", source)]);
            let labels = parts
                .filter_map(|part| part.split_once('='))
                .fold(labels, |labels, (name, value)| labels.with(name, value));
            samples.push(Sample { labels, at: now, value });
        }
    }
    let refused =
        || SourceFailure { kind: FailureKind::Unreachable, message: "connection refused".to_owned() };
    let answer = if fails { Err(refused()) } else { Ok(samples) };
    Observation { source: source.into(), at: now, took: Span::ZERO, answer, told: None }
}

/// Feeds the scripts and tells what triggers and incidents did, with the second.
fn story(triggers: &str, series: &[(&str, &str)]) -> Vec<String> {
    story_with_restart(triggers, series, None)
}

/// The same; before the given tick the daemon dies, and is back at once.
fn story_with_restart(triggers: &str, series: &[(&str, &str)], restart: Option<usize>) -> Vec<String> {
    lived(triggers, series, restart).ledger().events().iter().filter_map(told).collect()
}

/// Feeds the scripts and returns the engine as it is then.
fn lived(triggers: &str, series: &[(&str, &str)], restart: Option<usize>) -> Replay {
    let setup = Arc::new(setup(triggers));
    let mut saved = Saved::default();
    let ledger = MemoryLedger::new(JournalId::new("test"));
    let mut replay = Replay::new(ledger, Arc::clone(&setup), clock(at(0)), saved.clone()).expect("starts");
    let started = replay.begin(Vec::new()).expect("begins");
    assert!(started.effects.is_empty(), "{:?}", started.effects);
    let length = series.iter().map(|(_, script)| ticks(script).len()).max().unwrap_or(0);
    for tick in 0..length {
        let now = at(i64::try_from(tick).expect("few ticks") * 5);
        if restart == Some(tick) {
            saved.measurements = replay.engine().saved_measurements();
            replay =
                Replay::new(replay.stop(), Arc::clone(&setup), clock(now), saved.clone()).expect("starts");
            for effect in replay.begin(Vec::new()).expect("begins").effects {
                obliging(now, &effect).into_iter().for_each(|(at, what)| replay.schedule(at, what));
            }
        }
        for source in SOURCES {
            let observation = answer(source, tick, series);
            saved.observations.push(observation.clone());
            replay.schedule(now, Timed::Observation(observation));
        }
        while replay.next_at().is_some_and(|next| next < now + EVERY) {
            let Some(stepped) = replay.step().expect("goes on") else { break };
            for effect in &stepped.handled.effects {
                for (at, what) in obliging(replay.clock().engine, effect) {
                    replay.schedule(at, what);
                }
            }
        }
    }
    replay
}

fn told(event: &Event) -> Option<String> {
    let what = match &event.what {
        Happening::TriggerFiring { key, .. } if key.labels.is_empty() => format!("{} fires", key.trigger),
        Happening::TriggerFiring { key, .. } => format!("{} fires {}", key.trigger, key.labels),
        Happening::TriggerCleared { key, .. } if key.labels.is_empty() => format!("{} clears", key.trigger),
        Happening::TriggerCleared { key, .. } => format!("{} clears {}", key.trigger, key.labels),
        Happening::IncidentOpened { cause: Cause::Blind(key), .. } => format!("{} is blind", key.trigger),
        Happening::IncidentOpened { cause: Cause::Trigger(key), .. } => format!("{} is told", key.trigger),
        Happening::RollbackDecided { .. } => "rollback".to_owned(),
        Happening::RollbackNotBegun { refusal, .. } => format!("no rollback: {refusal:?}"),
        _ => return None,
    };
    Some(format!("{}s {what}", event.at.since(BEGIN).as_millis() / 1000))
}

/// Asserts that a trigger's life is as told; pending triggers that never fired are left out.
fn assert_story(triggers: &str, series: &[(&str, &str)], expected: &[&str]) {
    let story = story(triggers, series);
    let is_told = |line: &&String| !line.ends_with(" is told");
    let fired: Vec<&String> = story.iter().filter(is_told).collect();
    assert_eq!(fired, expected, "{triggers}\n{series:?}");
}

const PAGE: &str = "then: { page: oncall }";

/// One trigger of one line, which only pages.
fn trigger(terms: &str) -> String {
    format!("  - {{ name: T, {terms}, {PAGE} }}\n")
}

#[test]
fn every_form_of_a_window_fires_at_its_time() {
    let fires = |window: &str, script: &str| -> Option<String> {
        let story = story(&trigger(&format!("when: errors > 2%, for: {window}")), &[("errors", script)]);
        story.into_iter().find(|line| line.ends_with("T fires"))
    };
    let nominal = |of| format!("80% of nominal samples in {of}s every 5s");
    let constant = "0.03x60";
    let four_of_five = &"0.03x4 0 ".repeat(20);
    let rows: [(&str, &str, Option<&str>); 16] = [
        ("60s", constant, Some("60s T fires")),
        ("60s", "0x3 0.03x20", Some("75s T fires")),
        ("60s", "0.02x60", None),
        ("80% of 60s", constant, Some("54s T fires")),
        ("80% of 60s", "0x13 0.03x20", Some("113s T fires")),
        ("80% of 60s", &format!("0x13 {four_of_five}"), Some("123s T fires")),
        ("3 in 5m", "0.03 0x10 0.03 0x10 0.03 0", Some("110s T fires")),
        ("3 in 5m", "0.03 0x30 0.03 0x30 0.03 0", None),
        ("11 in a row", "0.03x10 0 0.03x11", Some("105s T fires")),
        ("{ share: 50%, of: 60s, coverage: 100% }", constant, Some("60s T fires")),
        ("{ of: 60s, coverage: 50%, max_gap: 20s }", "0.03x3 _x3 0.03x8", Some("60s T fires")),
        (&nominal(60), constant, Some("45s T fires")),
        (&nominal(60), four_of_five, Some("55s T fires")),
        (&nominal(120), constant, Some("95s T fires")),
        (&nominal(180), constant, Some("140s T fires")),
        (&nominal(30), constant, Some("20s T fires")),
    ];
    for (window, script, expected) in rows {
        assert_eq!(fires(window, script).as_deref(), expected, "for: {window}: {script}");
    }
}

#[test]
fn windows_outlive_a_restart() {
    let script = [("errors", "0.03x12 0.03x40")];
    for (window, expected) in [
        ("60s", 60),
        ("80% of 60s", 54),
        ("12 in a row", 55),
        ("5 in 60s", 20),
        ("90% of nominal samples in 60s every 5s", 50),
    ] {
        let triggers = trigger(&format!("when: errors > 2%, for: {window}"));
        for restart in [None, Some(1), Some(3), Some(9)] {
            let story = story_with_restart(&triggers, &script, restart);
            assert_eq!(story[0], format!("{expected}s T fires"), "{window}, restart before tick {restart:?}");
            assert_eq!(story.len(), 2, "{story:?}");
        }
    }
}

#[test]
fn conditions_are_joined_and_what_is_not_known_matters_only_where_it_could_change_the_answer() {
    let cases = [
        ("errors > 2% and latency > 1s", "0.03", "2", true),
        ("errors > 2% and latency > 1s", "0.03", "1", false),
        ("errors > 2% or latency > 1s", "0.03", "1", true),
        ("errors > 2% or latency > 1s", "0.03", "_", true),
        ("errors > 2% or latency > 1s", "0.01", "_", false),
        ("errors > 2% and latency > 1s", "0.03", "_", false),
        ("errors > 2% and (latency > 1s or traffic < 1/s)", "0.03", "1", false),
        ("2 of (errors > 2%, latency > 1s, traffic > 1/s)", "0.03", "2", true),
        ("2 of (errors > 2%, latency > 1s, traffic > 1/s)", "0.03", "_", false),
        ("2 of (errors > 2%, latency > 1s, traffic > 60/min)", "0.03", "0.2", false),
    ];
    for (when, errors, latency, fires) in cases {
        let series = [
            ("errors", format!("{errors}x3")),
            ("latency", format!("{latency}x3")),
            ("traffic", "1x3".to_owned()),
        ];
        let series: Vec<_> = series.iter().map(|(name, script)| (*name, script.as_str())).collect();
        let story = story(&trigger(&format!("when: '{when}'")), &series);
        assert_eq!(!story.is_empty(), fires, "{when} at {errors} and {latency}: {story:?}");
    }
}

#[test]
fn each_way_of_having_no_data_means_what_the_trigger_says() {
    let cases = [
        ("", "0.03x2 _x20", vec!["0s T fires", "70s T is blind"]),
        (", no_data: ok", "0.03x2 _x20", vec!["0s T fires", "10s T clears"]),
        (", no_data: { absent: ok }", "0.03x2 _x20", vec!["0s T fires", "70s T is blind"]),
        (", no_data: { stale: ok }", "0.03x2 _x20", vec!["0s T fires", "10s T clears"]),
        (", no_data: { absent: breach }", "_x20", vec!["0s T fires"]),
        (", no_data: { stale: breach }", "0 _x20", vec!["5s T fires"]),
        (", no_data: { nan: breach }", "0 NaNx20", vec!["5s T fires"]),
        (", no_data: { nan: ok }", "0 NaNx20", vec![]),
        (", no_data: { page_after: 30s }", "0 NaNx20", vec!["35s T is blind"]),
        (", no_data: { unreachable: breach }", "0 !x20", vec!["5s T fires"]),
        (", no_data: { absent: breach }", "0 !x20", vec![]),
        (", no_data: { hold: true, page_after: 2m }", "0 _x20", vec![]),
        (", given: traffic > 1/s", "0.03x20", vec!["60s T is blind"]),
        (", given: traffic > 1/s, no_data: { no_traffic: ok }", "0.03x20", vec![]),
        (", given: traffic >= 1/s", "0.03x20", vec!["0s T fires"]),
        (", for: 20s, min_samples: 5", "0.03x20", vec!["20s T fires"]),
        (", for: 80% of 20s, min_samples: 3", "_x3 0.03x4 0", vec!["33s T fires", "40s T clears"]),
        (", for: 2 in 30s, min_samples: 4", "0.03x20", vec!["15s T fires"]),
    ];
    for (terms, script, expected) in cases {
        let triggers = trigger(&format!("when: errors > 2%{terms}"));
        assert_story(&triggers, &[("errors", script), ("traffic", "1x20")], &expected);
    }
}

#[test]
fn missing_data_never_acts_even_where_it_counts_as_a_breach() {
    let rule =
        "  - { name: T, when: errors > 2%, no_data: breach, then: { rollback: back, page: oncall } }\n";
    assert_story(rule, &[("errors", "0 _x5")], &["5s T fires", "5s no rollback: RestsOnAbsence"]);
    let rule = "  - { name: T, when: errors > 2%, then: { rollback: back, page: oncall } }\n";
    assert_story(rule, &[("errors", "0 _x5")], &[]);
    assert_story(rule, &[("errors", "0 0.03x5")], &["5s T fires", "5s rollback"]);
}

#[test]
fn a_firing_trigger_ends_when_it_says() {
    let cases = [
        ("", "0.03 0x5", vec!["0s T fires", "5s T clears"]),
        (", for: 3 in 60s", "0.03x3 0x15", vec!["10s T fires", "60s T clears"]),
        (", for: 80% of 60s", "0x12 0.03x12 0x12", vec!["108s T fires", "135s T clears"]),
        (", clear: { when: errors < 1%, for: 20s }", "0.03 0.015x9 0x9", vec!["0s T fires", "70s T clears"]),
        (
            ", clear: { when: errors < 1%, for: 20s }",
            "0.03 0x3 0.015 0x9",
            vec!["0s T fires", "45s T clears"],
        ),
        (", clear: { for: 20s }", "0.03 0x9", vec!["0s T fires", "25s T clears"]),
        (", for: 3 in 60s, clear: { for: 10s }", "0.03x3 0x9 0.03 0", vec!["10s T fires", "25s T clears"]),
        (", keep_firing_for: 30s", "0.03 0x9", vec!["0s T fires", "35s T clears"]),
        (", keep_firing_for: 30s", "0.03 0x3 0.03 0x9", vec!["0s T fires", "55s T clears"]),
    ];
    for (terms, script, expected) in cases {
        assert_story(&trigger(&format!("when: errors > 2%{terms}")), &[("errors", script)], &expected);
    }
}

#[test]
fn levels_fire_by_themselves_and_the_higher_one_is_told() {
    let rule = "  - name: Slow
    for: 10s
    levels:
      warning: { when: latency > 2s, then: { page: oncall } }
      critical: { when: latency > 5s, for: 10s, then: { rollback: back, page: oncall } }
";
    let told = |script: &str| story(rule, &[("latency", script)]);
    assert_eq!(told("2x9"), [""; 0]);
    assert_eq!(told("3x4"), ["10s Slow/warning fires", "10s Slow/warning is told"]);
    let both =
        ["10s Slow/critical fires", "10s Slow/critical is told", "10s rollback", "10s Slow/warning fires"];
    assert_eq!(told("6x4"), both, "one incident, not two");
    let rises = ["10s Slow/warning fires", "10s Slow/warning is told", "25s Slow/critical fires"];
    assert_eq!(told("3x3 6x4")[..3], rises);
    let falls = ["15s Slow/critical clears", "15s Slow/warning is told"];
    assert_eq!(told("6x3 3x4")[4..], falls, "the lower one is told once the higher one is quiet");
}

#[test]
fn of_what_fires_at_once_the_worst_acts_and_then_what_stands_first_in_the_file() {
    let one = |name: &str, severity: &str| {
        format!(
            "  - {{ name: {name}, when: errors > 2%, severity: {severity}, then: {{ rollback: back, page: oncall }} }}\n"
        )
    };
    // By their names they would act in the order A, B, C.
    let cases = [
        ([("A", "medium"), ("B", "high"), ("C", "critical")], ["C", "B", "A"]),
        ([("C", "high"), ("A", "high"), ("B", "high")], ["C", "A", "B"]),
        ([("B", "low"), ("C", "high"), ("A", "low")], ["C", "B", "A"]),
    ];
    for (written, order) in cases {
        let triggers: String = written.iter().map(|(name, severity)| one(name, severity)).collect();
        let mut expected = Vec::new();
        for (nth, name) in order.into_iter().enumerate() {
            expected.extend([format!("5s {name} fires"), format!("5s {name} is told")]);
            expected.push(match nth {
                0 => "5s rollback".to_owned(),
                _ => "5s no rollback: Joined(RollbackId(1))".to_owned(),
            });
        }
        assert_eq!(story(&triggers, &[("errors", "0 0.03")]), expected, "{written:?}");
    }
}

#[test]
fn several_series_are_judged_as_the_trigger_says() {
    let series =
        |eu: &'static str, us: &'static str| [("by_region region=eu", eu), ("by_region region=us", us)];
    let cases = [
        ("", series("0.03x20", "0.03x20"), vec!["60s T is blind"]),
        (", series: any", series("0.03x2", "0x2"), vec!["0s T fires"]),
        (", series: all", series("0.03x2", "0x2"), vec![]),
        (", series: all", series("0.03x2", "0.03x2"), vec!["0s T fires"]),
        (", series: 2 of 3", series("0.03x2", "0x2"), vec![]),
        (", series: 2 of 3", series("0.03x2", "0.03x2"), vec!["0s T fires"]),
        (", series: 1 of 1", series("0.03x20", "0.03x20"), vec!["60s T is blind"]),
        (", per: [region]", series("0.03x2", "0x2"), vec![r#"0s T fires {region="eu"}"#]),
        (
            ", for: 10s, per: [region]",
            series("0.03x4 0x2", "0x1 0.03x5"),
            vec![
                r#"10s T fires {region="eu"}"#,
                r#"15s T fires {region="us"}"#,
                r#"20s T clears {region="eu"}"#,
            ],
        ),
        // What vanishes while it fires is no data, and not over.
        (
            ", per: [region]",
            series("0.03x2 _x20", "0x22"),
            vec![r#"0s T fires {region="eu"}"#, "70s T is blind"],
        ),
        (", per: [region]", series("0x2 _x20", "0x22"), vec![]),
        // All of them at once are told once.
        (", per: [region]", series("0x2 _x20", "0x2 _x20"), vec!["70s T is blind"]),
        (
            ", per: [region], no_data: { absent: breach }",
            series("0x2 _x20", "0x22"),
            vec![r#"10s T fires {region="eu"}"#],
        ),
        // A blind series that goes is no longer blind: the other way round it would be for ever.
        (", per: [region]", series("NaNx15 _x5", "0x20"), vec!["60s T is blind"]),
        (", per: [region]", series("_x20", "_x20"), vec!["60s T is blind"]),
    ];
    for (terms, series, expected) in cases {
        assert_story(&trigger(&format!("when: by_region > 2%{terms}")), &series, &expected);
    }
}

#[test]
fn a_quorum_of_sources_does_without_one_that_does_not_answer() {
    let regions = |eu: &'static str, us: &'static str, ap: &'static str| {
        [("eu: healthy", eu), ("us: healthy", us), ("ap: healthy", ap)]
    };
    let cases = [
        ("series: 2 of 3", regions("0x3", "0x3", "1x3"), vec!["0s T fires"]),
        ("series: 2 of 3", regions("0x3", "1x3", "1x3"), vec![]),
        ("series: 2 of 3", regions("0x3", "0x3", "!x3"), vec!["0s T fires"]),
        ("series: 2 of 3", regions("0x3", "1x3", "!x3"), vec![]),
        ("series: any", regions("0x3", "1x3", "!x3"), vec!["0s T fires"]),
        ("series: all", regions("0x3", "0x3", "!x3"), vec![]),
    ];
    for (terms, series, expected) in cases {
        assert_story(&trigger(&format!("when: healthy == false, {terms}")), &series, &expected);
    }
    // Three sources are heard per tick, and one of them all of the time: a row of three takes three ticks.
    let row = trigger("when: healthy == false, series: any, for: 3 in a row");
    assert_story(&row, &regions("0x9", "1x9", "1x9"), &["10s T fires"]);
}

#[test]
fn labels_without_bound_do_not_fill_the_memory() {
    let names: Vec<String> = (0..150).map(|n| format!("by_region region=r{n:03}")).collect();
    let series: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "0.03x14")).collect();
    let story = story(&trigger("when: by_region > 2%, per: [region]"), &series);
    assert_eq!(story.iter().filter(|line| line.contains("T fires")).count(), 100);
    assert!(story.contains(&"60s T is blind".to_owned()), "that there are more is told: {story:?}");
}

#[test]
fn bad_triggers_are_told_where_they_are_all_at_once() {
    // The terms, the word that is pointed at, and the kind of problem.
    let cases = [
        ("when: nothing > 2%", "nothing", "unknown-indicator"),
        ("when: errors > 200ms", "200ms", "wrong-unit"),
        ("when: 'errors > 2% and latency > 5'", "5'", "missing-unit"),
        ("when: latency > 60/min", "60/min", "wrong-unit"),
        ("when: errors > 2%, given: traffic > 1", "1,", "missing-unit"),
        ("when: errors > 2%, clear: { when: errors < 1s }", "1s", "wrong-unit"),
        ("when: errors > 2%, for: 9s", "9s", "short-window"),
        ("when: errors > 2%, for: 80% of 9s", "80%", "short-window"),
        ("when: errors > 2%, for: 61 in 5m", "61 in", "never-fills"),
        ("when: errors > 2%, for: 100% of nominal samples in 60s every 4s", "100%", "never-fills"),
        ("when: errors > 2%, for: { of: 60s, max_gap: 4s }", "{ of", "never-fills"),
        ("when: errors > 2%, for: 3 of 5m", "3 of", "bad-window"),
        ("when: errors > 2%, for: { of: 60s, share: 120% }", "120%", "bad-window"),
        ("when: errors > 2%, for: 60", "60,", "bad-duration"),
        ("when: errors > 2%, for: 60s, min_samples: 14", "14", "bad-min-samples"),
        ("when: errors > 2%, min_samples: 2", "2,", "bad-min-samples"),
        ("when: errors > 2%, per: [region], series: any", "series", "conflicting-keys"),
        ("when: errors > 2%, series: 4 of 3", "4 of", "unknown-value"),
        ("when: errors > 2%, no_data: maybe", "maybe", "unknown-value"),
        ("when: errors > 2%, clear: {}", "{}", "missing-key"),
        ("levels: {}", "{}", "missing-key"),
        ("levels: { warning: { for: 60s } }", "{ for", "missing-key"),
        ("levels: { high: { when: errors > 2% } }", "high", "unknown-key"),
    ];
    for (terms, word, code) in cases {
        let text = file(&trigger(terms));
        let (line, written) = text.lines().enumerate().last().expect("has lines");
        let column = written.find(terms).and_then(|at| Some(at + written[at..].find(word)?)).expect(terms);
        let expected = format!("{}:{} {code}", line + 1, column + 1);
        let problems = rules(&text).err().unwrap_or_default();
        assert_eq!(problems, [expected], "{terms}");
    }
    let all: String = ["for: 9s", "for: 3 of 5m", "series: none"]
        .iter()
        .enumerate()
        .map(|(nth, terms)| format!("  - {{ name: T{nth}, when: errors > 2%, {terms}, {PAGE} }}\n"))
        .chain(["  - { name: T0, when: errors > 2%, then: { page: oncall } }\n".to_owned()])
        .collect();
    let problems = rules(&file(&all)).err().unwrap_or_default();
    let codes: Vec<&str> = problems.iter().filter_map(|problem| problem.split(' ').next_back()).collect();
    assert_eq!(codes, ["short-window", "bad-window", "unknown-value", "duplicate-trigger"]);
}

#[test]
fn what_a_trigger_waits_for_and_why_it_does_not_act_is_explained() {
    let cases = [
        ("0.01x4", "a breach: now 1% against errors > 2%", "would be begun"),
        ("0.03x4", "up to 45s more of breach: 15s of 1m are proven", "would be begun"),
        (
            "0.03x16",
            "the promise must hold again before it ends",
            "it was run for this incident before, as R1",
        ),
        ("!x2", "it cannot be judged: source app failed: connection refused", "would be begun"),
    ];
    let terms = "when: errors > 2%, for: 60s, then: { rollback: back, page: oncall }";
    for (script, waits_for, refused) in cases {
        let replay = lived(&format!("  - {{ name: T, {terms} }}\n"), &[("errors", script)], None);
        let explained = replay.engine().explain(&"T".into(), replay.clock().engine);
        let [only] = explained.as_slice() else { panic!("{script}: {explained:?}") };
        let (_, why_not) = only.rollback.clone().expect("one is wanted");
        let why_not = why_not.unwrap_or_else(|| "would be begun".to_owned());
        assert_eq!(
            (only.waits_for.join("; "), why_not),
            (waits_for.to_owned(), refused.to_owned()),
            "{script}"
        );
    }
    let replay = lived(&trigger("when: errors > 2%"), &[("errors", "0")], None);
    assert_eq!(replay.engine().explain(&"Nobody".into(), at(0)), []);
    let levels =
        "  - { name: T, levels: { warning: { when: errors > 1% }, critical: { when: errors > 2% } } }\n";
    let replay = lived(levels, &[("errors", "0")], None);
    let names =
        replay.engine().explain(&"T".into(), at(0)).into_iter().map(|e| e.look.key.trigger.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["T/critical", "T/warning"]);
}
