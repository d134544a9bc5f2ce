use super::*;
use crate::engine::model::{METRIC_NAME, is_stale_marker};
use crate::engine::series::{
    FailureKind, LimitExceeded, MatchOp, Matcher, Observation, SourceFailure, Sources,
};

const LIMITS: Limits =
    Limits { reach: Span::from_secs(60), series_per_source: 20, labels_per_series: 5, label_bytes: 12 };
const RETENTION: Span = Span::from_secs(60);

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

fn app() -> SourceName {
    SourceName::from("app")
}

fn labels(name: &str, path: &str) -> Labels {
    Labels::from_pairs([(METRIC_NAME, name), ("job", "app"), ("instance", "h:1"), ("path", path)])
}

fn answer(secs: i64, samples: &[(&str, &str, f64)]) -> Observation {
    let samples = samples
        .iter()
        .map(|(name, path, value)| Sample { labels: labels(name, path), at: at(secs), value: *value })
        .collect();
    Observation { source: app(), at: at(secs), took: Span::from_millis(250), answer: Ok(samples), told: None }
}

fn failure(secs: i64) -> Observation {
    let failure = SourceFailure { kind: FailureKind::TimedOut, message: "no answer within 3s".into() };
    Observation { source: app(), at: at(secs), took: Span::from_secs(3), answer: Err(failure), told: None }
}

fn named(name: &str) -> Selector {
    let matchers = Matcher::new(METRIC_NAME, MatchOp::Equal, name).into_iter().collect();
    Selector::new(matchers, Sources::Any)
}

/// The points of all series of a name as text: `labels: value@second ...`.
fn dump(store: &Store, name: &str) -> Vec<String> {
    let text = |point: &Point| {
        let value = if is_stale_marker(point.value) { "stale".to_owned() } else { point.value.to_string() };
        format!("{value}@{}", point.at.as_secs_f64())
    };
    let line = |id: &SeriesId| {
        let points: Vec<_> = store.points(*id).iter().map(text).collect();
        format!("{}: {}", store[*id].labels(), points.join(" "))
    };
    store.select(&named(name)).iter().map(line).collect()
}

#[test]
fn an_answer_adds_its_samples_and_what_the_scrape_itself_says() {
    let mut store = Store::new(LIMITS, RETENTION);
    let counts = store.ingest(&answer(5, &[("x", "/a", 1.0), ("x", "/b", 2.0)]));
    assert_eq!(counts, Ok(Ingested { appended: 2, ..Ingested::default() }));
    assert_eq!(
        dump(&store, "x"),
        [
            r#"x{instance="h:1", job="app", path="/a"}: 1@5"#,
            r#"x{instance="h:1", job="app", path="/b"}: 2@5"#
        ]
    );
    assert_eq!(dump(&store, "up"), [r#"up{instance="h:1", job="app"}: 1@5"#]);
    assert_eq!(
        dump(&store, "scrape_duration_seconds"),
        [r#"scrape_duration_seconds{instance="h:1", job="app"}: 0.25@5"#]
    );
    assert_eq!(
        dump(&store, "scrape_samples_scraped"),
        [r#"scrape_samples_scraped{instance="h:1", job="app"}: 2@5"#]
    );
}

#[test]
fn a_series_that_vanishes_ends_once_and_may_come_back() {
    let mut store = Store::new(LIMITS, RETENTION);
    let steps = [
        answer(0, &[("x", "/a", 1.0), ("x", "/b", 1.0)]),
        answer(5, &[("x", "/a", 2.0)]),
        answer(10, &[("x", "/a", 3.0)]),
        answer(15, &[("x", "/a", 4.0), ("x", "/b", 5.0)]),
    ];
    let ended: Vec<_> = steps.iter().map(|step| store.ingest(step).map(|counts| counts.ended)).collect();
    assert_eq!(ended, [Ok(0), Ok(1), Ok(0), Ok(0)]);
    assert_eq!(dump(&store, "x")[1], r#"x{instance="h:1", job="app", path="/b"}: 1@0 stale@5 5@15"#);
}

#[test]
fn a_failure_ends_every_series_and_up_keeps_the_last_known_instance() {
    let mut store = Store::new(LIMITS, RETENTION);
    for step in [answer(0, &[("x", "/a", 1.0)]), failure(5), failure(10), answer(15, &[("x", "/a", 2.0)])] {
        assert!(store.ingest(&step).is_ok());
    }
    assert_eq!(dump(&store, "x"), [r#"x{instance="h:1", job="app", path="/a"}: 1@0 stale@5 2@15"#]);
    assert_eq!(dump(&store, "up"), [r#"up{instance="h:1", job="app"}: 1@0 0@5 0@10 1@15"#]);
}

#[test]
fn a_source_that_starts_by_failing_hands_over_to_the_series_with_an_instance() {
    let mut store = Store::new(LIMITS, RETENTION);
    for step in [failure(0), answer(5, &[("x", "/a", 1.0)])] {
        assert!(store.ingest(&step).is_ok());
    }
    assert_eq!(
        dump(&store, "up"),
        [r#"up{instance="h:1", job="app"}: 1@5"#, r#"up{job="app"}: 0@0 stale@5"#]
    );
}

#[test]
fn samples_without_one_common_instance_give_up_none() {
    let mut store = Store::new(LIMITS, RETENTION);
    let mut observation = answer(0, &[("x", "/a", 1.0), ("x", "/b", 1.0)]);
    if let Ok(samples) = &mut observation.answer {
        samples[1].labels = samples[1].labels.with("instance", "h:2");
    }
    assert!(store.ingest(&observation).is_ok());
    assert_eq!(dump(&store, "up"), [r#"up{job="app"}: 1@0"#]);
}

#[test]
fn late_duplicate_and_future_samples_are_refused_and_counted() {
    let mut store = Store::new(LIMITS, RETENTION);
    let mut observation =
        answer(10, &[("x", "/a", 1.0), ("x", "/a", 2.0), ("x", "/a", 3.0), ("y", "/a", 4.0)]);
    if let Ok(samples) = &mut observation.answer {
        samples[2].at = at(9);
        samples[3].at = at(611);
    }
    let expected =
        Ingested { appended: 1, duplicates: 1, out_of_order: 1, too_far_ahead: 1, ..Ingested::default() };
    assert_eq!(store.ingest(&observation), Ok(expected));
    assert_eq!(dump(&store, "x"), [r#"x{instance="h:1", job="app", path="/a"}: 1@10"#]);
}

#[test]
fn the_marker_comes_after_a_sample_whose_own_time_lies_ahead() {
    let mut store = Store::new(LIMITS, RETENTION);
    let mut ahead = answer(0, &[("x", "/a", 1.0)]);
    if let Ok(samples) = &mut ahead.answer {
        samples[0].at = at(30);
    }
    assert!(store.ingest(&ahead).is_ok() && store.ingest(&failure(5)).is_ok());
    assert_eq!(dump(&store, "x"), [r#"x{instance="h:1", job="app", path="/a"}: 1@30 stale@30.001"#]);
}

#[test]
fn points_beyond_the_retention_go_and_empty_series_with_them() {
    let mut store = Store::new(LIMITS, RETENTION);
    for secs in 0..=90 {
        let samples: &[_] =
            if secs < 10 { &[("x", "/a", 1.0), ("y", "/a", 1.0)] } else { &[("x", "/a", 1.0)] };
        assert!(store.ingest(&answer(secs, samples)).is_ok());
    }
    assert_eq!(dump(&store, "y"), [] as [String; 0]);
    let kept = 4 * 61..4 * 70;
    assert!(kept.contains(&store.point_count()), "30 to 90 s of four series, and up to an eighth more");
    store.retain(at(200));
    assert_eq!(store.point_count(), 0);
}

#[test]
fn too_many_series_are_refused_as_a_whole() {
    let mut store = Store::new(Limits { series_per_source: 4, ..LIMITS }, RETENTION);
    assert!(store.ingest(&answer(0, &[("x", "/a", 1.0)])).is_ok());
    let refused = store.ingest(&answer(5, &[("x", "/a", 2.0), ("x", "/b", 1.0)]));
    assert_eq!(refused, Err(LimitExceeded::Series { source_name: app(), series: 5, limit: 4 }));
    assert_eq!(dump(&store, "up"), [r#"up{instance="h:1", job="app"}: 1@0"#]);
    assert!(store.ingest(&answer(10, &[("x", "/a", 3.0)])).is_ok(), "what is there may stay");
}

#[test]
fn only_what_a_selector_selects_is_kept_and_new_interest_starts_empty() {
    let mut store = Store::new(LIMITS, RETENTION);
    store.set_interest(Interest::Selectors(vec![named("x")]));
    assert!(store.may_want("x") && store.may_want("up") && !store.may_want("y"));
    let counts = store.ingest(&answer(0, &[("x", "/a", 1.0), ("y", "/a", 1.0)]));
    assert_eq!(counts, Ok(Ingested { appended: 1, unwanted: 1, ..Ingested::default() }));
    assert!(store.keeps(&named("x")) && !store.keeps(&named("y")));

    store.set_interest(Interest::Selectors(vec![named("y")]));
    assert_eq!(dump(&store, "x"), [] as [String; 0]);
    assert_eq!(dump(&store, "y"), [] as [String; 0]);
    assert!(store.ingest(&answer(5, &[("x", "/a", 2.0), ("y", "/a", 2.0)])).is_ok());
    assert_eq!(dump(&store, "y"), [r#"y{instance="h:1", job="app", path="/a"}: 2@5"#]);
    assert_eq!(dump(&store, "up").len(), 1, "what the scrape itself says is always kept");
}

#[test]
fn a_resolved_selector_sees_the_same_as_a_scan_in_the_same_order() {
    let mut resolved = Store::new(LIMITS, RETENTION);
    resolved.set_interest(Interest::Selectors(vec![named("x")]));
    let mut scanned = Store::new(LIMITS, RETENTION);
    for (secs, paths) in [(0, ["/c", "/a"]), (5, ["/b", "/d"]), (70, ["/a", "/e"])] {
        let samples: Vec<_> = paths.iter().map(|path| ("x", *path, 1.0)).collect();
        assert!(resolved.ingest(&answer(secs, &samples)).is_ok());
        assert!(scanned.ingest(&answer(secs, &samples)).is_ok());
        assert_eq!(dump(&resolved, "x"), dump(&scanned, "x"), "{secs}");
    }
}

#[test]
fn labels_beyond_a_limit_refuse_the_answer_and_name_the_limit() {
    let cases = [
        (&[("x", "/a")][..], None),
        (&[("y", "/a"), ("a_long_name_of_17", "")], None),
        (&[("x", "/a-long-path-"), ("x", "/b")], Some("label `path` of `x` from source `app` has 13 bytes")),
        (&[("x", "/a")], Some("a series of `x` from source `app` has 6 labels")),
    ];
    for (at_case, (series, expected)) in cases.into_iter().enumerate() {
        let mut store = Store::new(LIMITS, RETENTION);
        store.set_interest(Interest::Selectors(vec![named("x")]));
        let samples: Vec<_> = series.iter().map(|(name, path)| (*name, *path, 1.0)).collect();
        let mut observation = answer(0, &samples);
        if let Ok(samples) = &mut observation.answer
            && at_case == 3
        {
            samples[0].labels = samples[0].labels.with("a", "1").with("b", "2");
        }
        let refused = store.ingest(&observation).err().map(|error| error.to_string());
        match expected {
            None => assert_eq!(refused, None),
            Some(text) => assert!(refused.as_ref().is_some_and(|told| told.starts_with(text)), "{refused:?}"),
        }
        assert_eq!(store.series_count() > 0, expected.is_none(), "nothing was changed");
    }
}

#[test]
fn a_selector_is_kept_since_the_first_observation_that_it_was_wanted_at() {
    let b = |name| {
        let matchers = [(METRIC_NAME, name), ("path", "/b")];
        let matcher = |(name, value)| Matcher::new(name, MatchOp::Equal, value).ok();
        Selector::new(matchers.into_iter().filter_map(matcher).collect(), Sources::Only([app()].into()))
    };
    let mut store = Store::new(LIMITS, RETENTION);
    store.set_interest(Interest::Selectors(vec![named("x")]));
    assert_eq!((store.keeps(&named("x")), store.kept_since(&named("x"))), (true, None));
    assert!(store.ingest(&answer(5, &[("x", "/a", 1.0)])).is_ok());
    store.set_interest(Interest::Selectors(vec![named("x"), b("x"), b("y")]));
    assert!(store.ingest(&failure(10)).is_ok());
    let since = |store: &Store| [named("x"), b("x"), b("y"), named("y")].map(|s| store.kept_since(&s));
    assert_eq!(since(&store), [Some(at(5)), Some(at(5)), Some(at(10)), None]);
    assert_eq!([b("y"), named("y")].map(|s| store.keeps(&s)), [true, false]);

    store.set_interest(Interest::Selectors(vec![b("x"), b("y")]));
    store.restarted();
    assert_eq!(since(&store), [None; 4], "nothing tells whether the earlier process looked for it");
    assert!(store.ingest(&answer(15, &[("x", "/b", 1.0)])).is_ok());
    assert_eq!(since(&store), [None, Some(at(15)), Some(at(15)), None]);
    store.restarted();
    assert_eq!(since(&store), [None, Some(at(15)), None, None]);
}

proptest::proptest! {
    /// Whatever the order of a page and however it changes, the store holds what a map of lists would.
    #[test]
    fn pages_in_any_order_are_remembered_as_they_were(
        pages in proptest::collection::vec(proptest::collection::vec((0..7usize, 0..3u8), 0..9), 1..12),
    ) {
        const PATHS: [&str; 7] = ["/a", "/b", "/c", "/d", "/e", "/f", "/g"];
        let mut store = Store::new(LIMITS, RETENTION);
        let mut plain: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (second, page) in pages.iter().enumerate() {
            let secs = second as i64;
            let samples: Vec<_> = page.iter().map(|(at, value)| ("x", PATHS[*at], f64::from(*value))).collect();
            proptest::prop_assert!(store.ingest(&answer(secs, &samples)).is_ok());
            let mut first: BTreeMap<&str, f64> = BTreeMap::new();
            for (_, path, value) in samples {
                first.entry(path).or_insert(value);
            }
            for (path, points) in &mut plain {
                if !first.contains_key(path) && points.last().is_some_and(|last| !last.starts_with("stale")) {
                    points.push(format!("stale@{secs}"));
                }
            }
            for (path, value) in first {
                plain.entry(path).or_default().push(format!("{value}@{secs}"));
            }
        }
        let expected: Vec<_> = plain
            .iter()
            .map(|(path, points)| format!("{}: {}", labels("x", path), points.join(" ")))
            .collect();
        proptest::prop_assert_eq!(dump(&store, "x"), expected);
    }
}

#[test]
fn a_removed_source_leaves_nothing() {
    let mut store = Store::new(LIMITS, RETENTION);
    assert!(store.ingest(&answer(0, &[("x", "/a", 1.0)])).is_ok());
    store.remove_source(&app());
    assert_eq!((store.series_count(), store.point_count(), store.sources().count()), (0, 0, 0));
}
