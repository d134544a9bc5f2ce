use super::*;
use crate::engine::model::{METRIC_NAME, Sample, stale_marker};
use crate::engine::promql::parse;
use crate::engine::series::{Interest, Limits};
use crate::engine::time::Timestamp;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

fn sources(names: &[&str]) -> Scope {
    Scope::of(names.iter().map(|name| SourceName::from(*name)))
}

fn plan(text: &str, scope: &Scope) -> Plan {
    let expr = parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    compile(&expr, scope).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

/// Two sources with the same metrics: `app` counts 1 per second, `blue` 2 per second; both every 10 s from 0 to 100 s.
fn store() -> Store {
    let mut store = Store::new(Limits::default(), Span::from_secs(86_400));
    for (job, slope) in [("app", 1.0), ("blue", 2.0)] {
        for step in 0..=10_i64 {
            let labels = Labels::from_pairs([(METRIC_NAME, "x"), ("job", job), ("instance", job)]);
            let value = slope * at(step * 10).as_secs_f64();
            assert!(store.append(&SourceName::from(job), &Sample { labels, at: at(step * 10), value }));
        }
    }
    store
}

/// The value as text: labels and values in order.
fn answer(text: &str, scope: &Scope, context: &EvalContext) -> String {
    match plan(text, scope).evaluate(&store(), context) {
        Err(error) => error.to_string(),
        Ok(evaluated) => match evaluated.value {
            Value::Scalar(value) => format!("{value}"),
            Value::String(text) => format!("{text:?}"),
            Value::Vector(vector) => {
                vector.iter().map(|s| format!("{} {}", s.labels, s.value)).collect::<Vec<_>>().join("; ")
            }
            Value::Matrix(series) => {
                let points = |s: &MatrixSeries| {
                    s.points
                        .iter()
                        .map(|p| format!("{}@{}", p.value, p.at.as_secs_f64()))
                        .collect::<Vec<_>>()
                        .join(" ")
                };
                series.iter().map(|s| format!("{} {}", s.labels, points(s))).collect::<Vec<_>>().join("; ")
            }
        },
    }
}

#[test]
fn a_scope_is_an_implicit_restriction_to_its_sources() {
    let context = EvalContext::at(at(100));
    let cases = [
        ("sum(x)", &["app"][..], "{} 100"),
        ("sum(x)", &["app", "blue"], "{} 300"),
        (r#"x{job="blue"}"#, &["app", "blue"], r#"x{instance="blue", job="blue"} 200"#),
        (r#"x{job!="blue"}"#, &["app", "blue"], r#"x{instance="app", job="app"} 100"#),
        ("absent(x)", &["app"], ""),
        (r#"absent(y{a="b"})"#, &["app"], r#"{a="b"} 1"#),
    ];
    for (text, names, expected) in cases {
        assert_eq!(answer(text, &sources(names), &context), expected, "{text} in {names:?}");
    }
    assert_eq!(answer("sum(x)", &Scope::EVERYTHING, &context), "{} 300");
}

#[test]
fn what_a_plan_selects_and_how_far_it_reaches() {
    let scope = sources(&["app", "blue", "health"]);
    // text, reach in seconds, sources
    let cases = [
        ("x", 300, "app blue health"),
        ("x offset 1m", 360, "app blue health"),
        ("x offset -10m", 0, "app blue health"),
        ("rate(x[1m])", 60, "app blue health"),
        (r#"rate(x{job="app"}[1h] offset 1m)"#, 3660, "app"),
        (r#"sum(x{job=~"a.*|b.*"})"#, 300, "app blue"),
        ("max_over_time(rate(x[1m])[10m:30s] offset 5m)", 960, "app blue health"),
        ("sum_over_time(x[10m:])", 900, "app blue health"),
        (r#"a{job="app"} / b{job="blue"}"#, 300, "app blue"),
        ("1 + 1", 0, ""),
        ("vector(time())", 0, ""),
    ];
    for (text, reach, expected) in cases {
        let plan = plan(text, &scope);
        assert_eq!(plan.reach(), Span::from_secs(reach), "{text}");
        let Sources::Only(names) = plan.sources() else { panic!("{text} has a bound") };
        let names: Vec<_> = names.iter().map(SourceName::as_str).collect();
        assert_eq!(names.join(" "), expected, "{text}");
    }
    assert_eq!(plan("x", &Scope::EVERYTHING).sources(), Sources::Any);
    assert_eq!(plan("x + x + rate(x[5m])", &scope).selectors().count(), 1);
    assert_eq!(plan("x @ 100 + x @ start()", &scope).pinned(), [TextSpan::new(0, 7)]);
}

#[test]
fn what_is_not_evaluated_is_refused_with_its_place() {
    let scope = sources(&["app"]);
    // text, place, part of the message
    let cases = [
        ("1 + info(x)", (4, 11), "`info` is not evaluated by this version"),
        ("histogram_count(x)", (0, 18), "`histogram_count`"),
        ("x </ x", (2, 4), "`</`"),
        ("x >/ 1", (2, 4), "`>/`"),
        ("deriv(x[5m] anchored)", (6, 20), "can only be used with changes, delta, increase, rate, resets"),
        (
            "changes(x[5m] smoothed)",
            (8, 22),
            "can only be used with delta, increase, rate, not with `changes`",
        ),
        ("absent_over_time(x[5m] smoothed)", (17, 31), "not with `absent_over_time`"),
        ("timestamp(x smoothed)", (10, 20), "a smoothed value"),
        ("x[step() + 1e300]", (2, 16), "out of range"),
        ("sum by (__name__) (rate(x[5m]))", (19, 30), "drops the metric name"),
        (r#"label_replace(-x, "a", "$1", "__name__", "(.*)")"#, (14, 16), "drops the metric name"),
        ("x == on(__name__) x * 2", (18, 23), "drops the metric name"),
        (r#"x{job="blue"}"#, (0, 13), "none of the sources in scope (`app`)"),
        (r#"label_replace(x, "", "", "", "")"#, (17, 19), "must not be empty"),
        (r#"label_replace(x, "a", "", "", "(")"#, (30, 33), "invalid regular expression"),
    ];
    for (text, (start, end), message) in cases {
        let problems = parse(text).and_then(|expr| compile(&expr, &scope)).err().unwrap_or_default();
        let Some(first) = problems.first() else { panic!("{text} must be refused") };
        assert_eq!(first.span, TextSpan::new(start, end), "{text}: {first}");
        assert!(first.to_string().contains(message), "{text}: {first}");
    }
    let expr = parse("info(x) + histogram_sum(x) + y{job='z'}");
    let problems = expr.and_then(|expr| compile(&expr, &scope)).err().unwrap_or_default();
    assert_eq!(problems.len(), 3, "all at once: {problems:?}");
}

#[test]
fn every_function_is_either_evaluated_or_refused_by_name() {
    let mut refused = Vec::new();
    for function in super::super::catalog::FUNCTIONS {
        let args: Vec<_> = (0..function.at_least.max(1).min(function.at_most))
            .filter_map(|index| function.param(index))
            .map(|param| match param {
                super::super::ValueType::Scalar => "0.5",
                super::super::ValueType::String => "'a'",
                super::super::ValueType::Vector => "x",
                super::super::ValueType::Matrix => "x[5m]",
            })
            .collect();
        let text = format!("{}({})", function.name, args.join(", "));
        match parse(&text).and_then(|expr| compile(&expr, &Scope::EVERYTHING)) {
            Ok(plan) => assert!(plan.evaluate(&store(), &EvalContext::at(at(100))).is_ok(), "{text}"),
            Err(problems) => {
                assert!(problems.iter().all(|p| p.message.contains("not evaluated")), "{text}: {problems:?}");
                refused.push(function.name);
            }
        }
    }
    let expected =
        ["histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum", "info"];
    assert_eq!(refused, expected);
}

#[test]
fn fresh_eyes_see_nothing_older() {
    let context =
        |not_before: i64| EvalContext { not_before: Some(at(not_before)), ..EvalContext::at(at(100)) };
    let cases = [
        ("count_over_time(x[1m])", 95, "{instance=\"app\", job=\"app\"} 1"),
        ("count_over_time(x[1m])", 90, "{instance=\"app\", job=\"app\"} 2"),
        ("count_over_time(x[1m])", 0, "{instance=\"app\", job=\"app\"} 6"),
        ("x", 100, "x{instance=\"app\", job=\"app\"} 100"),
        ("x", 101, ""),
        ("x offset 10s", 95, ""),
        ("x @ 50", 95, ""),
        // One per second over what was seen; over the whole minute it would be a third of that.
        ("round(rate(x[1m]), 0.01)", 80, "{instance=\"app\", job=\"app\"} 1"),
        ("rate(x[1m])", 95, ""),
        ("count_over_time(x[1m:10s])", 90, "{instance=\"app\", job=\"app\"} 2"),
        ("count_over_time(vector(1)[1m:10s])", 90, "{} 2"),
    ];
    for (text, not_before, expected) in cases {
        assert_eq!(
            answer(text, &sources(&["app"]), &context(not_before)),
            expected,
            "{text} from {not_before}"
        );
    }
}

#[test]
fn another_source_is_read_under_the_name_of_the_moved_one() {
    let moved = EvalContext {
        read_instead: [(SourceName::from("app"), SourceName::from("blue"))].into(),
        ..EvalContext::at(at(100))
    };
    let cases = [
        ("x", &["app"][..], r#"x{instance="blue", job="app"} 200"#),
        (r#"x{job="app"}"#, &["app"], r#"x{instance="blue", job="app"} 200"#),
        ("sum by (job) (rate(x[1m]))", &["app"], r#"{job="app"} 2"#),
        ("count(x)", &["app", "blue"], "{} 2"),
        (r#"x{job="blue"}"#, &["app", "blue"], r#"x{instance="blue", job="blue"} 200"#),
        (r#"x{instance="app"}"#, &["app"], ""),
    ];
    for (text, names, expected) in cases {
        assert_eq!(answer(text, &sources(names), &moved), expected, "{text} in {names:?}");
    }
}

#[test]
fn time_is_wall_time() {
    // Ten o'clock in the evening of the first day, 79,200 s after the epoch; the engine counts from its own start.
    let context = EvalContext { wall_offset: Span::from_secs(79_105), ..EvalContext::at(at(95)) };
    let cases = [
        ("time()", "79200"),
        ("hour()", "{} 22"),
        ("timestamp(x)", r#"{instance="app", job="app"} 79195"#),
        ("timestamp(-x)", r#"{instance="app", job="app"} 79200"#),
        ("x @ 79155", r#"x{instance="app", job="app"} 50"#),
        ("x @ 22h", r#"x{instance="app", job="app"} 90"#),
        ("start()", "79200"),
        // Steps are multiples of 30 s of wall time: 79,140 and 79,170 and 79,200.
        ("sum_over_time(vector(time())[90s:30s])", "{} 237510"),
        ("ts_of_last_over_time(x[1m])", r#"{instance="app", job="app"} 79195"#),
    ];
    for (text, expected) in cases {
        assert_eq!(answer(text, &sources(&["app"]), &context), expected, "{text}");
    }
}

#[test]
fn the_newest_sample_is_the_newest_that_was_seen() {
    let cases = [
        ("x", 105, Some(100)),
        ("x offset 1m", 105, Some(40)),
        ("rate(x[1m])", 75, Some(70)),
        ("x offset 1m + x offset 30s", 100, Some(70)),
        ("nothing", 100, None),
        ("x", 500, None),
        ("1", 100, None),
    ];
    for (text, now, expected) in cases {
        let evaluated = plan(text, &Scope::EVERYTHING).evaluate(&store(), &EvalContext::at(at(now)));
        assert_eq!(evaluated.map(|e| e.newest_sample), Ok(expected.map(at)), "{text} at {now}");
    }
}

#[test]
fn ranges_are_left_open_and_markers_end_a_series() {
    let mut store = store();
    let labels = Labels::from_pairs([(METRIC_NAME, "x"), ("job", "app"), ("instance", "app")]);
    assert!(store.append(&SourceName::from("app"), &Sample { labels, at: at(110), value: stale_marker() }));
    let scope = sources(&["app"]);
    let count = |text: &str, now: i64| match plan(text, &scope).evaluate(&store, &EvalContext::at(at(now))) {
        Ok(Evaluated { value: Value::Vector(vector), .. }) => vector.first().map(|s| s.value),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(count("x", 109), Some(100.0));
    assert_eq!(count("x", 110), None);
    assert_eq!(count("count_over_time(x[20s])", 110), Some(1.0), "markers are skipped, 90 s is outside");
    assert_eq!(count("count_over_time(x[20001ms])", 110), Some(2.0));
    assert_eq!(count("last_over_time(x[1m])", 120), Some(100.0));
}

#[test]
fn a_bare_range_is_a_matrix() {
    let scope = sources(&["app"]);
    let context = EvalContext::at(at(100));
    assert_eq!(answer("x[20s]", &scope, &context), r#"x{instance="app", job="app"} 90@90 100@100"#);
    assert_eq!(answer("x[20s:20s]", &scope, &context), r#"x{instance="app", job="app"} 100@100"#);
    assert_eq!(answer("('a')", &scope, &context), "\"a\"");
}

#[test]
fn resolved_selectors_and_scans_give_the_same() {
    let scope = sources(&["app", "blue"]);
    let plan = plan("sum by (job) (rate(x[1m])) + x offset 10s", &scope);
    let mut resolved = store();
    resolved.set_interest(Interest::Selectors(plan.selectors().cloned().collect()));
    let context = EvalContext::at(at(100));
    assert_eq!(plan.evaluate(&resolved, &context), plan.evaluate(&store(), &context));
}

#[test]
fn labels_do_not_grow_without_bound() {
    let nested = |call: &dyn Fn(&str) -> String| (0..60).fold("x".to_owned(), |inner, _| call(&inner));
    let doubled = nested(&|inner| format!(r#"label_replace({inner}, "job", "$1$1", "job", "(.*)")"#));
    let joined = nested(&|inner| format!(r#"label_join({inner}, "job", "", "job", "job")"#));
    for text in [doubled, joined] {
        let told = answer(&text, &Scope::EVERYTHING, &EvalContext::at(at(100)));
        assert!(told.contains("longer than 65536 bytes"), "{told}");
    }
}

#[test]
fn too_much_work_is_an_error_and_not_a_hang() {
    let deep = "sum_over_time(sum_over_time(vector(1)[1d:1ms])[1d:1ms])";
    let context = EvalContext::at(at(100_000));
    // Counted in steps, so it takes the same number of them on every machine.
    let cheap = plan("count_over_time(vector(1)[100s:1ms])", &Scope::EVERYTHING);
    assert!(cheap.evaluate(&store(), &context).is_ok());
    let error = plan(deep, &Scope::EVERYTHING).evaluate(&store(), &context).err();
    assert!(error.is_some_and(|error| error.message.contains("touches more than")));
}

#[test]
fn the_tallest_plans_fit_a_small_stack() {
    let wrapped = |open: &str, close: &str, n: usize| open.repeat(n) + "x" + &close.repeat(n);
    let texts = [
        vec!["x"; 250].join(" + "),
        vec!["x"; 250].join(" or "),
        vec!["1"; 250].join(" * "),
        wrapped("abs(", ")", 119),
        wrapped("-(", ")", 119),
        wrapped("x / (", ")", 119),
        wrapped("x + abs(", ")", 119),
        wrapped("x or sum by (a) (", ")", 119),
        wrapped("sum(", ")", 119),
        wrapped("histogram_quantile(0.5, ", ")", 119),
        wrapped("sum_over_time(", "[1s:1s])", 119),
        wrapped("label_replace(", ", 'a', 'b', 'c', 'd')", 119),
        wrapped("vector(scalar(", "))", 59),
    ];
    for text in texts {
        let plan = plan(&text, &sources(&["app"]));
        assert!(plan.clone().evaluate(&store(), &EvalContext::at(at(100))).is_ok(), "{text:.60}");
    }
}
