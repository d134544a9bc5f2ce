use super::*;
use crate::engine::model::{Severity, TriggerName};
use crate::engine::rules::{Comparison, Test, Threshold, Trigger, Unit, WindowSpec};

fn catalog() -> Catalog {
    Catalog {
        undeployed: BTreeSet::new(),
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

/// A file with an indicator `i` and triggers of the given names and conditions.
fn triggers(rules: &[(&str, &str)]) -> String {
    let line = |(name, when): &(&str, &str)| {
        format!("  - {{ name: {name}, when: '{when}', for: 1m, then: {{ page: ops }} }}\n")
    };
    let lines: String = rules.iter().map(line).collect();
    format!(
        "target: app\nsources: [fast]\nindicators: {{ i: {{ unit: ratio, expr: x }} }}\ntriggers:\n{lines}"
    )
}

#[test]
fn triggers_may_name_others_and_stand_behind_them() {
    let text =
        triggers(&[("Both", "2 of (A, B, i > 5%)"), ("A", "i > 1%"), ("All", "Both and A"), ("B", "i > 2%")]);
    let text = text.replace("name: B,", "name: B, no_data: breach,");
    let (compiled, result) = compiled(&[&text]);
    assert_eq!(result, Ok(vec![]));
    let of = |name: &str| {
        let rule = &compiled.rules.triggers[&("app".into(), name.into())];
        (rule.reads.rank, rule.rests_on_absence(), rule.sources.len())
    };
    let all = ["A", "B", "Both", "All"].map(of);
    assert_eq!(all, [(0, false, 1), (0, true, 1), (1, true, 1), (2, true, 1)]);
    // Another window below is another window here.
    let print = |text: &str| {
        let (compiled, _) = super::tests::compiled(&[text]);
        compiled.rules.triggers[&("app".into(), "All".into())].fingerprint.clone()
    };
    assert_ne!(print(&text), print(&text.replace("when: \'i > 1%", "when: \'i > 3%")));
    assert_eq!(print(&text), print(&text.replace("page: ops", "page: ops, rollback: undo")));
}

#[test]
fn one_with_levels_is_any_of_them() {
    let text = triggers(&[("Any", "L"), ("One", "L/critical")])
        + "  - { name: L, levels: { warning: { when: i > 1% }, critical: { when: i > 2% } }, then: { page: ops } }\n";
    let (compiled, result) = compiled(&[&text]);
    assert_eq!(result, Ok(vec![]));
    let named = |name: &str| -> Vec<&str> {
        let rule = &compiled.rules.triggers[&("app".into(), name.into())];
        rule.when.named().into_iter().map(TriggerName::as_str).collect()
    };
    assert_eq!(named("Any"), ["L/critical", "L/warning"]);
    assert_eq!(named("One"), ["L/critical"]);
}

#[test]
fn names_that_mean_no_trigger_are_told_at_their_place() {
    type Case<'c> = (&'c [(&'c str, &'c str)], &'c [&'c str]);
    let cases: [Case<'_>; 8] = [
        (&[("A", "2 of (B, C)"), ("B", "i > 1%")], &["0.yaml:5 unknown-trigger"]),
        (&[("A", "i")], &["0.yaml:5 bad-comparison"]),
        (&[("A", "A")], &["0.yaml:5 cyclic-triggers"]),
        (
            &[("A", "B"), ("B", "C or i > 1%"), ("C", "A")],
            &["0.yaml:5 cyclic-triggers", "0.yaml:6 cyclic-triggers", "0.yaml:7 cyclic-triggers"],
        ),
        // What is behind a circle, or behind what is broken, is not blamed for it.
        (&[("A", "A"), ("B", "A")], &["0.yaml:5 cyclic-triggers"]),
        (&[("A", "j > 1%"), ("B", "A")], &["0.yaml:5 unknown-indicator"]),
        (&[("A", "i > 1%"), ("B", "A/critical")], &["0.yaml:6 unknown-trigger"]),
        (&[("A", "i > 1%"), ("B", "A\', given: \'A")], &["0.yaml:6 bad-condition"]),
    ];
    for (rules, expected) in cases {
        let (_, result) = compiled(&[&triggers(rules)]);
        assert_eq!(result, Err(expected.iter().map(|text| (*text).to_owned()).collect()), "{rules:?}");
    }
    let per = triggers(&[("A", "i > 1%"), ("B", "A\', per: [job], clear: { when: \'A\' }, summary: \'x")]);
    let (_, result) = compiled(&[&per]);
    assert_eq!(result, Err(vec!["0.yaml:6 bad-condition".to_owned()]));
    let per = triggers(&[("A", "i > 1%"), ("B", "A\', per: [job], summary: \'x")]);
    assert_eq!(compiled(&[&per]).1, Err(vec!["0.yaml:6 bad-condition".to_owned()]));
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
