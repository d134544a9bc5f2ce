use super::*;
use crate::engine::model::Severity;
use crate::engine::rules::{Comparison, Test, Threshold, Trigger, Unit, WindowSpec};

fn catalog() -> Catalog {
    Catalog {
        targets: [("app".into(), ["undo".into()].into())].into(),
        sources: [("fast".into(), Span::from_secs(5)), ("slow".into(), Span::from_secs(20))].into(),
        probes: BTreeSet::new(),
        references: BTreeMap::new(),
        plans: [("undo".into(), Verified::Yes), ("other".into(), Verified::Yes)].into(),
        policies: ["ops".into()].into(),
        calendars: ["market".into()].into(),
        limits: Limits { reach: Span::from_secs(600), ..Limits::default() },
        summary_placeholders: &["value"],
        group_defaults: GroupDefaults::default(),
    }
}

fn compiled(texts: &[&str]) -> (Compiled, Result<Vec<String>, Vec<String>>) {
    let files: Vec<_> =
        texts.iter().enumerate().map(|(at, text)| SourceFile::new(&format!("{at}.yaml"), text)).collect();
    let mut out = Findings::default();
    let compiled = compile(RuleFiles { files: &files, some_unread: false }, &catalog(), &mut out);
    let told = |all: Vec<Diagnostic>| -> Vec<String> {
        all.iter().map(|d| format!("{}:{} {}", d.place.file, d.place.line, d.code)).collect()
    };
    let result = match out.conclude(()) {
        Ok(((), warnings)) => Ok(told(warnings)),
        Err(problems) => Err(told(problems)),
    };
    (compiled, result)
}

/// A file of one indicator and one trigger.
fn file(expr: &str, trigger: &str) -> String {
    format!(
        "target: app\nsources: [fast, slow]\nindicators:\n  i: {{ unit: ratio, expr: '{expr}' }}\ntriggers:\n  - {{ name: T, {trigger} }}\n"
    )
}

fn only_trigger(text: &str) -> Trigger {
    let (compiled, result) = compiled(&[text]);
    assert!(result.is_ok(), "{text}: {result:?}");
    let triggers: Vec<_> = compiled.rules.triggers.into_values().collect();
    assert_eq!(triggers.len(), 1, "{text}");
    Trigger::clone(&triggers[0])
}

#[test]
fn a_trigger_carries_what_was_written_and_the_defaults() {
    let trigger = only_trigger(&file("avg(x)", r#"when: i >= 2%, then: { rollback: undo, page: ops }"#));
    assert_eq!((trigger.name.as_str(), trigger.target.as_str()), ("T", "app"));
    let Test::Compare(compare) = &trigger.when.test else { panic!("{:?}", trigger.when) };
    assert_eq!(compare.comparison, Comparison::GreaterOrEqual);
    assert_eq!(compare.indicator.unit, Unit::Ratio);
    assert_eq!((compare.threshold, trigger.when.text.as_str()), (Threshold::Fixed(0.02), "i >= 2%"));
    assert_eq!(trigger.severity, Severity::High);
    assert_eq!(
        trigger.then,
        Then { rollback: Some("undo".into()), page: Some("ops".into()), ..Then::default() }
    );
    let window = WindowSpec::Sustained { of: Span::ZERO, coverage: 0.9, max_gap: Span::from_secs(60) };
    assert_eq!(trigger.window, window);
}

#[test]
fn a_trigger_is_judged_by_the_sources_that_its_expression_reads() {
    let cases = [
        ("avg(x)", vec!["fast", "slow"], 60),
        (r#"avg(x{job="fast"})"#, vec!["fast"], 15),
        (r#"avg(x{job="slow"}) / avg(y{job="fast"})"#, vec!["fast", "slow"], 60),
    ];
    for (expr, sources, max_gap_s) in cases {
        let trigger = only_trigger(&file(expr, "when: i > 1%, for: 1m, then: { page: ops }"));
        assert_eq!(trigger.sources.iter().map(SourceName::as_str).collect::<Vec<_>>(), sources, "{expr}");
        assert_eq!(trigger.window.max_gap(), Some(Span::from_secs(max_gap_s)), "{expr}");
    }
}

#[test]
fn the_fingerprint_follows_what_fills_the_window_and_nothing_else() {
    let print = |expr: &str, trigger: &str| only_trigger(&file(expr, trigger)).fingerprint;
    let base = print("avg(x)", "when: i > 2%, for: 1m, then: { page: ops }");
    let same = ["when: i > 0.02, for: 60s, severity: low, summary: s, runbook: r, then: { rollback: undo }"];
    for trigger in same {
        assert_eq!(print("avg(x)", trigger), base, "{trigger}");
    }
    let different = [
        ("avg(x)", "when: i > 3%, for: 1m, then: { page: ops }"),
        ("avg(x)", "when: i >= 2%, for: 1m, then: { page: ops }"),
        ("avg(x)", "when: i > 2%, for: 2m, then: { page: ops }"),
        ("avg(y)", "when: i > 2%, for: 1m, then: { page: ops }"),
    ];
    for (expr, trigger) in different {
        assert_ne!(print(expr, trigger), base, "{expr} {trigger}");
    }
}

#[test]
fn a_rule_may_look_back_as_far_as_is_allowed_and_no_farther() {
    for (expr, allowed) in
        [("x", true), ("rate(x[5m] offset 5m)", true), ("rate(x[10m1s])", false), ("x offset 6m", false)]
    {
        let text = file(&format!("avg({expr})"), "when: i > 1%, then: { page: ops }");
        let files = [SourceFile::new("0.yaml", &text)];
        let mut out = Findings::default();
        compile(RuleFiles { files: &files, some_unread: false }, &catalog(), &mut out);
        let told = out.conclude(()).err().unwrap_or_default();
        let told: Vec<_> =
            told.iter().map(|d| (d.place.line, d.message.as_str(), d.hint.as_deref())).collect();
        match told.as_slice() {
            [] => assert!(allowed, "{expr}"),
            [(4, message, Some(hint))] => {
                assert!(!allowed && message.contains("kept for 10m at most"), "{message}");
                assert!(hint.contains("limits: { reach: 1"), "{hint}");
            }
            other => panic!("{expr}: {other:?}"),
        }
    }
}

#[test]
fn names_mean_what_their_file_says() {
    let a = "target: app\nsources: [fast]\nindicators: { i: { unit: ratio, expr: a } }\ntriggers:\n  - { name: A, when: i > 1%, then: { page: ops } }\n";
    let b = a.replace("expr: a", "expr: b").replace("name: A", "name: B");
    let (compiled, result) = compiled(&[a, &b]);
    assert_eq!(result, Ok(vec![]));
    let texts: Vec<_> = compiled.rules.triggers.values().map(|t| t.when.expressions()[0]).collect();
    assert_eq!(texts, ["a", "b"]);
    let target = TargetName::from("app");
    assert!(matches!(
        compiled.indicators.for_targets([&target], "i"),
        Lookup::Refused("ambiguous-indicator", ..)
    ));
}

#[test]
fn problems_across_files_are_told_once_each() {
    let good = file("avg(x)", "when: i > 1%, then: { page: ops }");
    let cases: [(&[&str], &[&str]); 7] = [
        (&[&good, &good], &["1.yaml:6 duplicate-trigger"]),
        (&[&good.replace("avg(x)", "avg(")], &["0.yaml:4 bad-expression"]),
        (&[&good.replace("avg(x)", "avg(rate(x[5m] offset 5m1s))")], &["0.yaml:4 bad-expression"]),
        (&[&good.replace("target: app", "target: ap")], &["0.yaml:1 unknown-name"]),
        (&[&good.replace("fast, slow", "fst")], &["0.yaml:2 unknown-name"]),
        (&[&good.replace("page: ops", "rollback: other")], &["0.yaml:6 plan-not-allowed"]),
        (
            &[&good, &good.replace("  i:", "  j:").replace("name: T", "name: U")],
            &["1.yaml:6 unknown-indicator"],
        ),
    ];
    for (texts, expected) in cases {
        let (_, result) = compiled(texts);
        assert_eq!(result, Err(expected.iter().map(|text| (*text).to_owned()).collect()), "{texts:?}");
    }
}

#[test]
fn what_decides_how_a_window_fills_is_in_the_fingerprint() {
    let of = |terms: &str| only_trigger(&file("avg(x)", terms)).fingerprint;
    let plain = of("when: i >= 2%, for: 60s, then: { page: ops }");
    // Saved windows of earlier versions carry it: target, name, sources, expression, unit, comparison, threshold, window.
    assert_eq!(plain, "60984faf31fe58667857f14d6400fc865a9ce52607017799cca261c51a63b954");
    let same = [
        "when: i >= 2%, for: 60s, severity: low, summary: s, runbook: r, then: { rollback: undo }",
        "when: i >= 2%, for: 1m, no_data: { page_after: 5m }, then: { page: ops }",
        "when: (i >= 0.02), for: { of: 60s, coverage: 90%, max_gap: 60s }, then: { page: ops }",
    ];
    for terms in same {
        assert_eq!(of(terms), plain, "{terms}");
    }
    let others = [
        "for: 60s, when: i > 2%",
        "for: 60s, when: i >= 3%",
        "for: 60s, when: i >= 2x baseline",
        "for: 60s, when: 'i >= 2x baseline, at least 2%'",
        "for: 60s, when: i >= 2% and i >= 2%",
        "for: 60s, when: i >= 2% or i >= 2%",
        "for: 60s, when: '1 of (i >= 2%)'",
        "for: 61s, when: i >= 2%",
        "for: 100% of 60s, when: i >= 2%",
        "for: 3 in 60s, when: i >= 2%",
        "for: 3 in a row, when: i >= 2%",
        "for: 80% of nominal samples in 60s every 20s, when: i >= 2%",
        "for: { of: 60s, coverage: 80% }, when: i >= 2%",
        "for: { of: 60s, max_gap: 50s }, when: i >= 2%",
        "for: 60s, when: i >= 2%, given: i > 0",
        "for: 60s, when: i >= 2%, min_samples: 2",
        "for: 60s, when: i >= 2%, per: [job]",
        "for: 60s, when: i >= 2%, series: any",
        "for: 60s, when: i >= 2%, series: 2 of 3",
        "for: 60s, when: i >= 2%, clear: { for: 10s }",
        "for: 60s, when: i >= 2%, clear: { when: i < 1% }",
        "for: 60s, when: i >= 2%, keep_firing_for: 10s",
        "for: 60s, when: i >= 2%, no_data: { nan: ok }",
    ];
    let mut seen = BTreeSet::from([plain]);
    for terms in others {
        assert!(seen.insert(of(&format!("{terms}, then: {{ page: ops }}"))), "{terms}");
    }
}
