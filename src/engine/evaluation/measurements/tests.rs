use super::*;
use crate::engine::evaluation::baseline::{Baseline, Mean};
use crate::engine::evaluation::verdict::{Evidence, UnknownReason};
use crate::engine::evaluation::watch::{Disturbed, Memory, SourcePace};
use crate::engine::model::{IndicatorName, METRIC_NAME, TargetName};
use crate::engine::rules::compile::{Catalog, compile};
use crate::engine::rules::{Findings, RuleFiles, RuleSet, SourceFile};

type Baselines = BTreeMap<(TargetName, IndicatorName), Baseline>;

const START: Timestamp = Timestamp::from_millis(1_000_000);
const EVERY: Span = Span::from_secs(5);

fn rules(when: &str) -> RuleSet {
    let text = format!(
        "target: app\nsources: [app]\nindicators:\n  throughput: {{ unit: per_second, expr: throughput }}\n  latency: {{ unit: milliseconds, expr: latency }}\ntriggers:\n  - {{ name: T, when: '{when}', then: {{ page: ops }} }}\n"
    );
    let catalog = Catalog {
        targets: [("app".into(), BTreeSet::new())].into(),
        sources: [("app".into(), EVERY)].into(),
        policies: ["ops".into()].into(),
        ..Catalog::default()
    };
    let mut found = Findings::default();
    let files = [SourceFile::new("rules.yaml", &text)];
    let compiled = compile(RuleFiles { files: &files, some_unread: false }, &catalog, &mut found);
    found.conclude(()).unwrap_or_else(|problems| panic!("{when}: {problems:?}"));
    compiled.rules
}

/// Returns what one answer of the source means.
fn judged(
    when: &str,
    values: &[(&str, f64)],
    age: Span,
    baselines: &Baselines,
) -> (Verdict, Option<Evidence>) {
    let (rules, paces) =
        (rules(when), BTreeMap::from([("app".into(), SourcePace { every: EVERY, silent_after: EVERY })]));
    let (memory, labels) = (Memory::default(), Labels::empty());
    let watch = Watch {
        rules: &rules,
        paces: &paces,
        probes: &BTreeSet::new(),
        versions: Vec::new(),
        memory: &memory,
        checks: Vec::new(),
        disturbed: Disturbed::default(),
        deployed: BTreeSet::new(),
        scopes: BTreeMap::new(),
        baselines,
        evaluates_groups: true,
        external_labels: &labels,
        external_url: "",
        wall_offset: Span::ZERO,
    };
    let mut measurements = Measurements::new(&watch, START);
    let samples = values.iter().map(|(name, value)| Sample {
        labels: Labels::from_pairs([(METRIC_NAME, *name), ("job", "app")]),
        at: START - age,
        value: *value,
    });
    let answer = Ok(samples.collect());
    let observation = Observation { source: "app".into(), at: START, took: Span::ZERO, answer, told: None };
    let mut judgements = measurements.observe(&observation, &watch).judgements;
    assert_eq!(judgements.len(), 1, "{when}");
    let only = judgements.remove(0);
    (only.verdict, only.evidence)
}

fn baseline(value: Mean) -> Baselines {
    let known = Baseline {
        value,
        samples: 120,
        from: START - Span::from_secs(600),
        until: START,
        max_age: Span::from_secs(86_400),
        by_hour: BTreeMap::new(),
        unit: None,
    };
    ["throughput", "latency"].map(|name| (("app".into(), name.into()), known.clone())).into()
}

#[test]
fn relative_thresholds_need_a_baseline_that_may_be_relied_on() {
    let of = |value: f64| baseline(Mean::Of(value));
    let no_baseline = |why: &str| Verdict::Unknown(UnknownReason::NoBaseline(why.to_owned()));
    let refused = baseline(Mean::Refused("an incident was open".to_owned()));
    let cases = [
        ("throughput < 50% of baseline", 499.0, of(1000.0), Verdict::Breached),
        ("throughput < 50% of baseline", 500.0, of(1000.0), Verdict::Holds),
        ("throughput < 50% of baseline, at most 100/s", 150.0, of(1000.0), Verdict::Holds),
        ("throughput < 50% of baseline, at most 100/s", 99.0, of(1000.0), Verdict::Breached),
        ("throughput < 50% of baseline", 0.0, Baselines::new(), no_baseline("none was taken")),
        ("throughput < 50% of baseline", 0.0, refused.clone(), no_baseline("an incident was open")),
        // What is known alone decides where it can.
        ("throughput < 50% of baseline or throughput < 1/s", 0.0, refused.clone(), Verdict::Breached),
        ("throughput < 50% of baseline and throughput < 1/s", 1.0, refused, Verdict::Holds),
    ];
    for (when, value, baselines, expected) in cases {
        let (verdict, _) = judged(when, &[("throughput", value)], Span::ZERO, &baselines);
        assert_eq!(verdict, expected, "{when} at {value}");
    }
    // S0-21: a baseline of 0.0298 ms; half as much again is noise, five milliseconds are not.
    let tiny = of(0.0298);
    for (value, is_bad) in [(0.0447, false), (0.0448, true)] {
        let (verdict, evidence) = judged("latency > 1.5x baseline", &[("latency", value)], Span::ZERO, &tiny);
        assert_eq!(verdict == Verdict::Breached, is_bad, "{value}");
        assert!(evidence.is_some_and(|seen| seen.threshold.is_some_and(|at| (at - 0.0447).abs() < 1e-12)));
    }
    let floored = "latency > 1.5x baseline, at least 5ms";
    assert_eq!(judged(floored, &[("latency", 4.0)], Span::ZERO, &tiny).0, Verdict::Holds);
    assert_eq!(judged(floored, &[("latency", 5.1)], Span::ZERO, &tiny).0, Verdict::Breached);
}

#[test]
fn evidence_is_that_of_the_comparison_that_decided() {
    let seen = |when: &str, throughput: f64, latency: f64| {
        let (verdict, evidence) =
            judged(when, &[("throughput", throughput), ("latency", latency)], EVERY, &Baselines::new());
        let evidence = evidence.expect("there is a value");
        assert_eq!((evidence.age(START), evidence.labels.get("job")), (Some(EVERY), Some("app")));
        (verdict == Verdict::Breached, evidence.condition.clone(), evidence.margin().unwrap_or_default())
    };
    let either = "throughput < 10/s or latency > 200ms";
    assert_eq!(seen(either, 20.0, 250.0), (true, "latency > 200ms".to_owned(), 50.0));
    assert_eq!(seen(either, 5.0, 250.0), (true, "throughput < 10/s".to_owned(), -5.0));
    let both = "throughput < 10/s and latency > 200ms";
    assert_eq!(seen(both, 5.0, 100.0), (false, "latency > 200ms".to_owned(), -100.0));
}

#[test]
fn a_value_that_an_exporter_shows_for_minutes_is_stale() {
    for (age_s, is_stale) in [(0, false), (60, false), (61, true), (240, true)] {
        let age = Span::from_secs(age_s);
        let (verdict, _) = judged("latency > 200ms", &[("latency", 300.0)], age, &Baselines::new());
        let expected =
            if is_stale { Verdict::Unknown(UnknownReason::Stale { age }) } else { Verdict::Breached };
        assert_eq!(verdict, expected, "{age_s}");
    }
}
