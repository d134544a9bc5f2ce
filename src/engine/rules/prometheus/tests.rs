use super::*;
use crate::engine::rules::groups::GroupRuleKind;

fn loaded(text: &str, history: History) -> (Vec<Group>, Vec<Diagnostic>) {
    let defaults = GroupDefaults { interval: Span::from_secs(15), history };
    let mut out = Findings::default();
    let groups = load(&SourceFile::new("rules/a.yml", text), &defaults, &mut out);
    (groups, out.into_problems())
}

fn good(text: &str) -> Vec<Group> {
    let (groups, problems) = loaded(text, History::Sliding);
    assert_eq!(problems, [], "{text}");
    groups
}

#[test]
fn a_group_carries_what_was_written_and_the_defaults() {
    let groups = good("groups:
  - { name: plain, rules: [{ record: r, expr: 'sum_over_time(x[5m:])' }] }
  - name: full
    interval: 1m30s
    query_offset: 2s
    limit: 7
    labels: { a: group, b: group, c: '{{ 1 }}' }
    rules:
      - { record: r, expr: x, labels: { b: rule, d: '' } }
      - { alert: A, expr: x > 1, for: 5m, keep_firing_for: 1d, labels: { b: rule }, annotations: { s: t, e: } }
");
    assert_eq!(groups.len(), 2);
    let (plain, full) = (&groups[0], &groups[1]);
    assert_eq!((&*plain.file, &*plain.name), ("rules/a.yml", "plain"));
    assert_eq!((plain.interval, plain.query_offset, plain.limit), (Span::from_secs(15), Span::ZERO, 0));
    assert_eq!((full.interval, full.query_offset, full.limit), (Span::from_secs(90), Span::from_secs(2), 7));
    let labels = |rule: usize| -> Vec<(&str, &str)> {
        full.rules[rule].labels.iter().map(|(name, text)| (&**name, text.text())).collect()
    };
    assert_eq!(labels(0), [("a", "group"), ("b", "rule"), ("c", "{{ 1 }}"), ("d", "")]);
    assert_eq!(
        full.rules[0].labels[2].1.fixed(),
        Some("{{ 1 }}"),
        "a recording rule takes texts as they are"
    );
    assert_eq!(labels(1), [("a", "group"), ("b", "rule"), ("c", "{{ 1 }}")]);
    assert_eq!(full.rules[1].labels[2].1.fixed(), None, "an alert fills templates in");
    let GroupRuleKind::Alert { name, hold, keep_firing_for, annotations, rests_on_absence } =
        &full.rules[1].kind
    else {
        panic!("the second rule is an alert")
    };
    assert_eq!((&**name, *hold, *keep_firing_for), ("A", Span::from_secs(300), Span::from_secs(86_400)));
    let annotations: Vec<_> = annotations.iter().map(|(name, text)| (&**name, text.text())).collect();
    assert_eq!(annotations, [("e", ""), ("s", "t")]);
    assert!(!rests_on_absence);
}

#[test]
fn a_fixed_time_is_taken_where_all_history_is_kept() {
    let text = "groups: [{ name: g, rules: [{ record: r, expr: x @ 100 }, { record: s, expr: x @ end() }] }]";
    let (groups, problems) = loaded(text, History::Whole);
    assert_eq!((groups[0].rules.len(), problems), (2, vec![]));
    let (groups, problems) = loaded(text, History::Sliding);
    assert_eq!(groups[0].rules.len(), 1);
    let told: Vec<_> = problems.iter().map(|problem| (problem.code, problem.place.column)).collect();
    assert_eq!(told, [("bad-expression", 48)]);
}

#[test]
fn a_fingerprint_follows_what_decides_the_state() {
    let base = "groups: [{ name: g, rules: [{ alert: A, expr: x > 1, for: 1m, labels: { l: v }, annotations: { s: t } }] }]";
    let print = |text: &str| good(text)[0].rules[0].fingerprint.clone();
    for (from, to, same) in [
        ("for: 1m", "for: 5m", true),
        ("s: t", "s: u", true),
        ("> 1", "> 2", false),
        ("l: v", "l: w", false),
        ("alert: A", "alert: B", false),
        ("name: g", "name: h", false),
    ] {
        assert_eq!(print(&base.replace(from, to)) == print(base), same, "{from} -> {to}");
    }
    let twins =
        "groups: [{ name: g, rules: [{ alert: A, expr: x }, { alert: A, expr: x }, { alert: A, expr: x }] }]";
    let (groups, problems) = loaded(twins, History::Sliding);
    assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["duplicate-rule"; 2]);
    let prints: std::collections::BTreeSet<_> =
        groups[0].rules.iter().map(|rule| rule.fingerprint.clone()).collect();
    assert_eq!(prints.len(), 3, "equal rules are told apart");
}

#[test]
fn alerts_that_absence_can_fire_are_known() {
    let cases = [
        ("x > 5", false),
        ("absent(x)", true),
        ("sum(absent_over_time(x[5m])) > 0", true),
        ("x > 1 unless absent(y)", true),
        ("up == 0", true),
        ("avg without (instance) (up) < 0.5", true),
        ("{__name__=~\"up|down\"} == 0", true),
        ("{job=\"app\"} == 0", true),
        ("scrape_samples_scraped < 10", true),
        ("scrape_duration_seconds > 1", false),
        ("probe_success == 0", false),
        ("upstream_errors > 1", false),
        ("x unless y", false),
        ("count(x) < 3", false),
        ("1", true),
        ("vector(1)", true),
        ("vector(0) > 1", false),
        ("(sum(x) or vector(0)) == 0", true),
        ("(sum(x) or vector(0)) > 5", false),
        ("(sum(errors) or vector(0)) / sum(total) > 0.05", false),
        ("time() - x > 300", false),
        ("hour() > 17", true),
        ("x > 5 and on() hour() > 17", false),
        ("(sum(x) or vector(0)) < 1 and on() hour() > 17", true),
        ("vector(scalar(x)) != 1", true),
        ("max_over_time((sum(x) or vector(0))[5m:1m]) == 0", true),
        ("increase(x[5m]) == 0", false),
        ("recorded > 0", true),
        ("twice_recorded > 0", true),
        ("harmless > 0", false),
        ("ALERTS{alertname=\"Gone\"} == 1", true),
    ];
    for (expr, expected) in cases {
        let text = format!(
            "groups: [{{ name: g, rules: [{{ alert: T, expr: '{expr}' }}, {{ record: twice_recorded, expr: sum(recorded) }}, {{ record: recorded, expr: count(up) }}, {{ record: harmless, expr: sum(x) }}, {{ alert: Gone, expr: absent(x) }}] }}]"
        );
        let groups = good(&text);
        let GroupRuleKind::Alert { rests_on_absence, .. } = groups[0].rules[0].kind else {
            panic!("the first rule is an alert")
        };
        assert_eq!(rests_on_absence, expected, "{expr}");
    }
}

#[test]
fn files_are_told_apart_by_their_keys() {
    let cases = [
        ("groups: []", true),
        ("groups:", true),
        ("grups: []\ngroups: []", true),
        ("target: app\nsources: [a]", false),
        ("target: app\ngroups: []", false),
        ("[groups]", false),
        ("groups", false),
    ];
    for (text, expected) in cases {
        let root = yaml::parse(&SourceFile::new("a.yaml", text)).ok().flatten();
        assert_eq!(root.map(|root| is_imported(&root)), Some(expected), "{text}");
    }
}

/// What stands behind `rules:` and `limit:` in forms that YAML allows, with the limit that is read.
#[test]
fn limits_are_read_as_yaml_writes_numbers() {
    let cases = [
        ("1_000", Some(1000)),
        ("0x10", Some(16)),
        ("0o10", Some(8)),
        ("5.0", Some(5)),
        ("1e3", Some(1000)),
        ("!!int \"5\"", Some(5)),
        ("-1", Some(0)),
        ("null", Some(0)),
        ("\"5\"", None),
        ("5.5", None),
        ("many", None),
        ("1e300", None),
    ];
    for (written, expected) in cases {
        let text = format!("groups:\n- name: g\n  limit: {written}\n  rules: []\n---\n");
        let (groups, problems) = loaded(&text, History::Sliding);
        let found = groups.first().filter(|_| problems.is_empty()).map(|group| group.limit);
        assert_eq!(found, expected, "{written}");
    }
}

#[test]
fn a_recording_rule_may_say_that_it_waits_for_nothing() {
    let rule = "{ record: a, expr: !!str 1, for: 0s, keep_firing_for: 0s, annotations: {} }";
    let groups = good(&format!("groups: [{{ name: g, rules: [{rule}] }}]"));
    assert_eq!(groups[0].rules.len(), 1);
}
