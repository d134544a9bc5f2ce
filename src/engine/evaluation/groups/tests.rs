//! Groups as Prometheus evaluates them, over a store that is filled by hand.

use super::*;
use crate::engine::promql::{Scope, compile, parse};
use crate::engine::rules::Place;
use crate::engine::series::{Limits, MatchOp, Matcher, Sources};

const STEP: i64 = 60;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn rule(expr: &str, labels: &[(&str, &str)], kind: GroupRuleKind) -> GroupRule {
    let query = compile(&parse(expr).unwrap(), &Scope::EVERYTHING).unwrap();
    let labels: Vec<_> = labels.iter().map(|(n, v)| (Arc::from(*n), Template::parse(v).unwrap())).collect();
    let mut rule = GroupRule {
        place: Place::of_file("rules.yml"),
        text: expr.to_owned(),
        query,
        labels,
        kind,
        fingerprint: String::new(),
    };
    rule.fingerprint = format!("{} {expr} {:?}", rule.name(), rule.labels);
    rule
}

fn record(name: &str, expr: &str) -> GroupRule {
    rule(expr, &[], GroupRuleKind::Record { name: name.into() })
}

fn alert(name: &str, expr: &str, hold_s: i64, keep_s: i64) -> GroupRule {
    let kind = GroupRuleKind::Alert {
        name: name.into(),
        hold: Span::from_secs(hold_s),
        keep_firing_for: Span::from_secs(keep_s),
        annotations: vec![("summary".into(), Template::parse("it is bad").unwrap())],
        rests_on_absence: false,
    };
    rule(expr, &[("severity", "high")], kind)
}

fn group(rules: Vec<GroupRule>) -> Group {
    Group {
        file: "rules.yml".into(),
        name: "g".into(),
        interval: Span::from_secs(STEP),
        limit: 0,
        query_offset: Span::ZERO,
        rules,
    }
}

/// A store, the state of groups, and what is loaded.
struct Bench {
    store: Store,
    groups: Groups,
}

impl Bench {
    fn new() -> Self {
        let limits = Limits { retention: Span::from_secs(86_400), series_per_source: 1000 };
        Self { store: Store::new(limits), groups: Groups::default() }
    }

    /// Adds a sample of `name` at `seconds`.
    fn put(&mut self, name: &str, seconds: i64, value: f64) {
        let labels = Labels::from_pairs([(METRIC_NAME, name), ("job", "app")]);
        assert!(self.store.append(&"app".into(), &Sample { labels, at: at(seconds), value }));
    }

    fn run(&mut self, group: &Group, seconds: i64) -> GroupOutcome {
        let none = Labels::empty();
        let context = GroupContext { wall_offset: Span::ZERO, external_labels: &none, external_url: "" };
        self.groups.evaluate(group, at(seconds), &mut self.store, &context)
    }

    /// Evaluates an expression, printed as `labels value`.
    fn ask(&self, expr: &str, seconds: i64) -> Vec<String> {
        let plan = compile(&parse(expr).unwrap(), &Scope::EVERYTHING).unwrap();
        match plan.evaluate(&self.store, &EvalContext::at(at(seconds))).unwrap().value {
            Value::Vector(vector) => vector.iter().map(|s| format!("{} {}", s.labels, s.value)).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn states(&self) -> Vec<String> {
        self.groups.alerts().map(|alert| format!("{} {}", alert.rule, alert.state)).collect()
    }
}

/// One letter per evaluation: `1` present, `0` absent; expected: `p`ending, `f`iring, `.` nothing.
#[test]
fn alerts_come_and_go_as_in_prometheus() {
    let cases = [
        ("for 0 fires at once and ends at once", 0, 0, "0110", ".ff."),
        ("a hold of two intervals", 120, 0, "111110", "ppfff."),
        ("absent while pending starts anew", 120, 0, "1101111", "pp.ppff"),
        ("a hold that is no multiple of the interval", 90, 0, "1111", "ppff"),
        ("kept for two intervals, from the first absent evaluation on", 0, 120, "100000", "fff..."),
        ("seen again while kept", 0, 120, "10010000", "ffffff.."),
        ("pending is never kept", 60, 120, "1000", "p..."),
    ];
    for (what, hold, keep, present, expected) in cases {
        let mut bench = Bench::new();
        let group = group(vec![alert("A", "bad == 1", hold, keep)]);
        let mut seen = String::new();
        for (turn, letter) in present.chars().enumerate() {
            let now = i64::try_from(turn).unwrap() * STEP;
            bench.put("bad", now, if letter == '1' { 1.0 } else { 0.0 });
            assert_eq!(bench.run(&group, now).failed, []);
            seen.push(match bench.groups.alerts().next().map(|alert| alert.state) {
                None => '.',
                Some(AlertState::Pending) => 'p',
                Some(AlertState::Firing) => 'f',
            });
        }
        assert_eq!(seen, expected, "{what}");
    }
}

#[test]
fn the_alert_series_tell_the_state_and_end_with_it() {
    let mut bench = Bench::new();
    let group = group(vec![alert("A", "bad == 1", 60, 0)]);
    for (now, value) in [(0, 1.0), (60, 1.0), (120, 0.0)] {
        bench.put("bad", now, value);
    }
    bench.run(&group, 0);
    let told = r#"{alertname="A", alertstate="pending", job="app", severity="high"} 1"#;
    assert_eq!(bench.ask("ALERTS", 0), [format!("ALERTS{told}")]);
    bench.run(&group, 60);
    assert_eq!(bench.ask("ALERTS", 60), [format!("ALERTS{}", told.replace("pending", "firing"))]);
    assert_eq!(
        bench.ask("ALERTS_FOR_STATE", 60),
        [r#"ALERTS_FOR_STATE{alertname="A", job="app", severity="high"} 0"#]
    );
    bench.run(&group, 120);
    assert_eq!(bench.ask("{alertname='A'}", 120), [""; 0], "both series have ended");
    assert_eq!(bench.ask("{alertname='A'}", 119).len(), 2, "up to then they are there");
}

#[test]
fn what_is_recorded_is_seen_by_the_next_rule_and_ends_when_it_vanishes() {
    let mut bench = Bench::new();
    let mut both = group(vec![record("job:x", "x > 1"), record("double", "job:x * 2")]);
    bench.put("x", 0, 3.0);
    bench.put("x", 60, 0.0);
    bench.run(&both, 0);
    assert_eq!(bench.ask("double", 0), [r#"double{job="app"} 6"#]);
    let written = bench.run(&both, 60).written;
    assert_eq!(written.len(), 2, "two markers: {written:?}");
    assert_eq!(bench.ask("double", 60), [""; 0]);
    // A scalar is a series without labels.
    both.rules = vec![record("now", "time()")];
    bench.run(&both, 120);
    assert_eq!(bench.ask("now", 120), ["now 120"]);
}

#[test]
fn expressions_look_back_by_the_query_offset() {
    let mut bench = Bench::new();
    let mut late = group(vec![record("y", "x"), alert("A", "x > 1", 0, 0)]);
    late.query_offset = Span::from_secs(30);
    bench.put("x", 70, 5.0);
    bench.run(&late, 90);
    assert!(bench.states().is_empty(), "at 60 s there was no sample yet");
    bench.put("x", 100, 7.0);
    bench.run(&late, 150);
    assert_eq!(bench.ask("y", 120), [r#"y{job="app"} 7"#], "stamped with the time that it speaks of");
    assert_eq!(bench.groups.alerts().next().map(|alert| alert.active_at), Some(at(150)));
}

#[test]
fn a_rule_that_fails_keeps_its_alerts_and_ends_no_series() {
    let mut bench = Bench::new();
    // Two series with one label set, once the name is gone.
    let mut many = group(vec![alert("A", "{__name__=~'a|b'} > 0", 0, 0), record("r", "{__name__=~'a|b'}")]);
    bench.put("a", 0, 1.0);
    assert_eq!(bench.run(&many, 0).failed, []);
    assert_eq!(bench.states(), ["A firing"]);
    bench.put("b", 60, 1.0);
    let failed = bench.run(&many, 60).failed;
    assert_eq!(failed.iter().filter(|(_, why)| why.contains("same labelset")).count(), 2, "{failed:?}");
    assert_eq!(bench.states(), ["A firing"]);
    assert_eq!(bench.ask("r", 60).len(), 1, "no marker");

    // More than the limit: alerts that fire go on.
    let mut bench = Bench::new();
    many.limit = 1;
    many.rules =
        vec![alert("A", "label_replace({__name__=~'a|b'}, 'n', '$1', '__name__', '(.*)') > 0", 0, 0)];
    bench.put("a", 0, 1.0);
    bench.run(&many, 0);
    bench.put("b", 60, 1.0);
    let failed = bench.run(&many, 60).failed;
    assert_eq!(failed, [(0, "exceeded limit of 1 with 2 alerts".to_owned())]);
    assert_eq!(bench.states(), ["A firing"]);
    // The view says so.
    let look = bench.groups.look(&[Arc::new(many)]);
    assert_eq!((look[0].rules[0].health, look[0].last_evaluation), (Health::Err, Some(at(60))));
}

#[test]
fn a_reload_that_raises_for_makes_a_young_alert_wait_again() {
    let mut bench = Bench::new();
    bench.put("bad", 0, 1.0);
    bench.run(&group(vec![alert("A", "bad == 1", 60, 0)]), 0);
    bench.run(&group(vec![alert("A", "bad == 1", 60, 0)]), 60);
    assert_eq!(bench.states(), ["A firing"]);
    let raised = group(vec![alert("A", "bad == 1", 180, 0)]);
    bench.groups.load(&[Arc::new(raised.clone())], at(70));
    bench.run(&raised, 120);
    assert_eq!(bench.states(), ["A pending"]);
    bench.run(&raised, 180);
    assert_eq!(bench.states(), ["A firing"]);
}

#[test]
fn series_of_removed_rules_end_once_every_group_had_the_chance_to_write_them() {
    let mut bench = Bench::new();
    bench.put("x", 0, 1.0);
    bench.run(&group(vec![record("old", "x"), record("moved", "x")]), 0);
    let mut other = group(vec![record("moved", "x")]);
    other.name = "other".into();
    bench.groups.load(&[Arc::new(other.clone())], at(30));
    bench.put("x", 60, 1.0);
    bench.run(&other, 60);
    assert_eq!(bench.ask("old", 60), [""; 0]);
    assert_eq!(bench.ask("moved", 60).len(), 1);
}

/// After a restart: saved, restored at `down` seconds later, evaluated at the next instant.
#[test]
fn alerts_outlive_a_restart_whatever_their_for() {
    let cases = [
        ("fires on, however short its `for`", 0, 1, 30, 60, "firing"),
        ("fires on after hours", 0, 1, 7200, 7260, "firing"),
        ("pending keeps its time; a stop between two evaluations costs nothing", 120, 2, 30, 120, "firing"),
        ("pending keeps its time; a stop over one evaluation costs that one", 120, 2, 70, 180, "firing"),
        ("pending keeps its time; the stop does not count", 120, 2, 600, 660, "pending"),
        ("pending of long ago is forgotten", 60, 1, 3700, 3720, "pending"),
    ];
    for (what, hold, turns, down, next, expected) in cases {
        let mut bench = Bench::new();
        let group = Arc::new(group(vec![alert("A", "bad == 1", hold, 0)]));
        bench.groups.load(&[Arc::clone(&group)], at(0));
        for turn in 0..turns {
            bench.put("bad", turn * STEP, 1.0);
            bench.run(&group, turn * STEP);
        }
        let text = serde_json::to_string(&bench.groups.saved()).unwrap();
        let saved: Vec<SavedGroup> = serde_json::from_str(&text).unwrap();
        assert_eq!(saved, bench.groups.saved());

        bench.groups = Groups::default();
        let up = at((turns - 1) * STEP + down);
        bench.groups.load(&[Arc::clone(&group)], up);
        bench.groups.restore(saved, up, &bench.store);
        bench.put("bad", next, 1.0);
        bench.run(&group, next);
        assert_eq!(bench.states(), [format!("A {expected}")], "{what}");
        assert_eq!(bench.ask("ALERTS", next).len(), 1, "{what}: series of the life before have ended");
    }
}

#[test]
fn a_pending_alert_waits_for_what_is_left_after_a_restart() {
    let group = Arc::new(group(vec![alert("A", "bad == 1", 180, 0)]));
    let mut bench = Bench::new();
    for now in [0, 60, 120] {
        bench.put("bad", now, 1.0);
        bench.run(&group, now);
    }
    let saved = bench.groups.saved();
    bench.groups = Groups::default();
    bench.groups.load(&[Arc::clone(&group)], at(1000));
    bench.groups.restore(saved, at(1000), &bench.store);
    // It had waited for 120 s.
    for (now, state) in [(1020, "A pending"), (1080, "A firing")] {
        bench.put("bad", now, 1.0);
        bench.run(&group, now);
        assert_eq!(bench.states(), [state]);
        assert_eq!(bench.groups.alerts().next().map(|alert| alert.active_at), Some(at(900)));
    }
}

#[test]
fn groups_are_due_at_their_own_instants_and_made_up_for_once() {
    let mut bench = Bench::new();
    let group = Arc::new(group(vec![record("y", "x")]));
    let groups = [Arc::clone(&group)];
    let phase = schedule::phase(&group);
    assert!(phase < Span::from_secs(STEP));
    bench.groups.load(&groups, at(600));
    let first = bench.groups.next_due(&groups, at(600), at(600)).unwrap();
    assert_eq!((first - phase).as_millis() % (STEP * 1000), 0, "a whole number of intervals");
    assert!(first > at(600) && first <= at(660));
    let due = |bench: &Bench, now| -> Vec<Timestamp> {
        bench.groups.due(&groups, at(600), now).into_iter().map(|(at, _)| at).collect()
    };
    assert_eq!(due(&bench, first - Span::from_millis(1)), []);
    assert_eq!(due(&bench, first + Span::from_secs(5)), [first], "a late wake-up speaks of the instant");
    bench.run(&group, 0);
    bench.groups.evaluate(
        &group,
        first,
        &mut bench.store,
        &GroupContext { wall_offset: Span::ZERO, external_labels: &Labels::empty(), external_url: "" },
    );
    assert_eq!(due(&bench, first + Span::from_secs(5)), []);
    let late = first + Span::from_secs(10 * STEP + 7);
    assert_eq!(due(&bench, late), [first + Span::from_secs(10 * STEP)], "once, at the last one");
    assert_eq!(bench.groups.next_due(&groups, at(600), late), Some(first + Span::from_secs(10 * STEP)));
    assert_eq!(bench.groups.due(&groups, late, late).len(), 0, "not before sources have answered");
}

#[test]
fn rules_know_the_sources_that_they_rest_on_in_the_end() {
    let mut bench = Bench::new();
    let group = Arc::new(group(vec![record("y", "x"), alert("A", "y > 0", 0, 0)]));
    bench.put("x", 0, 1.0);
    bench.run(&group, 0);
    let saved = serde_json::to_value(bench.groups.saved()).unwrap();
    let reads = saved[0]["rules"].as_array().unwrap().iter().map(|rule| rule["reads"].clone());
    assert_eq!(reads.collect::<Vec<_>>(), [serde_json::json!(["app"]), serde_json::json!(["app"])]);
}

#[test]
fn the_store_is_asked_to_keep_what_groups_select_and_write() {
    let mut late = group(vec![record("y", "rate(x[10m])"), alert("A", "y > 0", 0, 0)]);
    late.query_offset = Span::from_secs(60);
    let wanted = wanted_by([&late]);
    let names: BTreeSet<_> = wanted.selectors.iter().filter_map(Selector::metric_name).collect();
    assert_eq!(names, ["ALERTS", "ALERTS_FOR_STATE", "x", "y"].into());
    assert_eq!(wanted.reach, Span::from_secs(660));
}

#[test]
fn a_selector_covers_those_that_select_no_more() {
    let selector = |pairs: &[(&str, &str)], sources: Sources| {
        let matchers = pairs.iter().map(|(n, v)| Matcher::new(n, MatchOp::Equal, v).unwrap());
        Selector::new(matchers.collect(), sources)
    };
    let app = || Sources::Only(["app".into()].into());
    let cases: [(&[_], _, &[_], _, bool); 5] = [
        (&[("a", "1")], Sources::Any, &[("a", "1"), ("b", "2")], Sources::Any, true),
        (&[("a", "1"), ("b", "2")], Sources::Any, &[("a", "1")], Sources::Any, false),
        (&[("a", "1")], Sources::Any, &[("a", "2")], Sources::Any, false),
        (&[("a", "1")], app(), &[("a", "1")], Sources::Any, false),
        (&[("a", "1")], app(), &[("a", "1")], app(), true),
    ];
    for (asked, from, wanted, of, expected) in cases {
        assert_eq!(covers(&selector(asked, from), &selector(wanted, of)), expected, "{asked:?} {wanted:?}");
    }
}
