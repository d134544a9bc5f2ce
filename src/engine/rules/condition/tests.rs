use super::*;

fn threshold(text: &str, unit: Unit) -> Result<f64, &'static str> {
    match in_unit(text, unit)?.threshold {
        Threshold::Fixed(value) => Ok(value),
        Threshold::OfBaseline { .. } => Err("of-baseline"),
    }
}

fn in_unit(text: &str, unit: Unit) -> Result<InUnit, &'static str> {
    let parsed = parse(text).map_err(|problem| problem.code)?;
    parsed.comparings()[0].threshold_in(unit).map_err(|problem| problem.code)
}

#[test]
fn thresholds_become_the_base_unit() {
    let cases = [
        ("e > 2%", Unit::Ratio, 0.02),
        ("e > 0.02", Unit::Ratio, 0.02),
        ("e>=99.5 %", Unit::Ratio, 0.995),
        ("e > 2.0%", Unit::Percent, 2.0),
        ("l > 200ms", Unit::Milliseconds, 200.0),
        ("l > 0.0298ms", Unit::Milliseconds, 0.0298),
        ("l > 1.5s", Unit::Milliseconds, 1500.0),
        ("l > 1m30s", Unit::Milliseconds, 90_000.0),
        ("t < 1000/min", Unit::PerMinute, 1000.0),
        ("t < 20/s", Unit::PerMinute, 1200.0),
        ("l > 200ms", Unit::Seconds, 0.2),
        ("l > 0.0298ms", Unit::Seconds, 0.000_029_8),
        ("l > 30us", Unit::Seconds, 0.000_03),
        ("l > 1.5s", Unit::Seconds, 1.5),
        ("l > 2m", Unit::Seconds, 120.0),
        ("l > 1m30s", Unit::Seconds, 90.0),
        ("t < 1000/s", Unit::PerSecond, 1000.0),
        ("t < 60/min", Unit::PerSecond, 1.0),
        ("t < 90 /min", Unit::PerSecond, 1.5),
        ("b > 1KiB", Unit::Bytes, 1024.0),
        ("b > 1.5GiB", Unit::Bytes, 1_610_612_736.0),
        ("b > 5MB", Unit::Bytes, 5e6),
        ("c > 1e3", Unit::Count, 1000.0),
        ("c > -3", Unit::Count, -3.0),
        ("h == true", Unit::Bool, 1.0),
        ("h == false", Unit::Bool, 0.0),
        ("h != 0", Unit::Bool, 0.0),
    ];
    for (text, unit, expected) in cases {
        assert_eq!(threshold(text, unit), Ok(expected), "{text}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_kind() {
    let cases = [
        ("l > 200", Unit::Seconds, "missing-unit"),
        ("t > 5", Unit::PerSecond, "missing-unit"),
        ("b > 512", Unit::Bytes, "missing-unit"),
        ("e > 2", Unit::Percent, "missing-unit"),
        ("l > 200", Unit::Milliseconds, "missing-unit"),
        ("t < 1000", Unit::PerMinute, "missing-unit"),
        ("e > 200ms", Unit::Ratio, "wrong-unit"),
        ("c > 5%", Unit::Count, "wrong-unit"),
        ("l > 2%", Unit::Seconds, "wrong-unit"),
        ("l > true", Unit::Seconds, "wrong-unit"),
        ("h == 2", Unit::Bool, "wrong-unit"),
        ("h > 0", Unit::Bool, "bad-comparison"),
        ("e > 1m30s", Unit::Ratio, "wrong-unit"),
        ("e = 2%", Unit::Ratio, "bad-comparison"),
        ("e ≥ 2%", Unit::Ratio, "bad-comparison"),
        ("e-f > 2%", Unit::Ratio, "bad-comparison"),
        ("e, f", Unit::Ratio, "bad-condition"),
        ("(Down", Unit::Ratio, "bad-condition"),
        ("2 of (Down, Slow,)", Unit::Ratio, "bad-condition"),
        ("3 of (Down, Slow)", Unit::Ratio, "bad-quorum"),
        ("e is 5", Unit::Ratio, "bad-comparison"),
        ("e >", Unit::Ratio, "bad-threshold"),
        ("e > 1,5", Unit::Ratio, "bad-threshold"),
        ("e > --5", Unit::Ratio, "bad-threshold"),
        ("e > 1e999", Unit::Ratio, "bad-threshold"),
        ("e > p95", Unit::Ratio, "bad-threshold"),
        ("", Unit::Ratio, "bad-condition"),
        ("2% < e", Unit::Ratio, "bad-condition"),
        ("rate(x[1m]) > 2", Unit::Ratio, "bad-condition"),
        ("e > 2% and", Unit::Ratio, "bad-condition"),
        ("e > 2% && l > 1s", Unit::Ratio, "bad-condition"),
        ("e > 2% l > 1s", Unit::Ratio, "bad-condition"),
        ("(e > 2%", Unit::Ratio, "bad-condition"),
        ("e > 2%)", Unit::Ratio, "bad-condition"),
        ("()", Unit::Ratio, "bad-condition"),
        ("(e > 2%, l > 1s)", Unit::Ratio, "bad-condition"),
        ("2 of e > 2%", Unit::Ratio, "bad-condition"),
        ("3 of (e > 2%, l > 1s)", Unit::Ratio, "bad-quorum"),
        ("0 of (e > 2%)", Unit::Ratio, "bad-quorum"),
        ("e > 2% for 60s", Unit::Ratio, "bad-condition"),
        ("e > 2x", Unit::Ratio, "bad-threshold"),
        ("e > 2x of", Unit::Ratio, "bad-threshold"),
        ("e > 5ms of baseline", Unit::Ratio, "wrong-unit"),
        ("e > 1.5x above baseline", Unit::Ratio, "wrong-unit"),
        ("e == baseline", Unit::Ratio, "bad-comparison"),
        ("e < 100% below baseline", Unit::Ratio, "bad-threshold"),
        ("e < 50% of baseline, at least 1%", Unit::Ratio, "bad-threshold"),
        ("e > 2x baseline, at most 1%", Unit::Ratio, "bad-threshold"),
        ("e > 2x baseline, at least 1ms", Unit::Ratio, "wrong-unit"),
        ("e > 2x baseline, at 1%", Unit::Ratio, "bad-threshold"),
        ("h < 50% of baseline", Unit::Bool, "bad-comparison"),
    ];
    for (text, unit, code) in cases {
        assert_eq!(threshold(text, unit), Err(code), "{text}");
    }
}

#[test]
fn problems_point_at_the_word_that_is_wrong() {
    let cases =
        [("error_rate => 2%", "=>"), ("e > 2% ~ f > 3", "~ f > 3"), ("e > 1,5", "1,5"), ("  2 > e", "2")];
    for (text, word) in cases {
        let problem = parse(text).expect_err(text);
        assert_eq!(&text[problem.span], word, "{text}");
    }
    let text = "e < 1% or l > 2x baseline, at least 5%";
    let parsed = parse(text).expect("parses");
    let problem = parsed.comparings()[1].threshold_in(Unit::Seconds).expect_err("is of another unit");
    assert_eq!(&text[problem.span], "5%");
    let parsed = parse("latency > 200").expect("parses");
    let problem = parsed.comparings()[0].threshold_in(Unit::Seconds).expect_err("has no unit");
    assert_eq!((problem.span, problem.hint.as_deref()), (10..13, Some("write the unit: `200ms` or `200s`?")));
}

#[test]
fn a_ratio_above_one_is_doubted_and_kept() {
    let threshold = in_unit("e > 2", Unit::Ratio).expect("is legal");
    assert_eq!(threshold.threshold, Threshold::Fixed(2.0));
    assert_eq!(threshold.doubt.and_then(|doubt| doubt.hint).as_deref(), Some("did you mean `2%`?"));
}

#[test]
fn baselines_are_taken_as_factors_and_the_bound_in_the_unit() {
    let cases = [
        ("t < 50% of baseline", 0.5, None, false),
        ("t < 0.5 of baseline", 0.5, None, false),
        ("t > 1.5x baseline", 1.5, None, false),
        ("t > 1.5 x baseline", 1.5, None, false),
        ("t > 3x of baseline", 3.0, None, false),
        ("t > 300% of baseline", 3.0, None, false),
        ("t > 200% above baseline", 3.0, None, false),
        ("t < 20% below baseline", 0.8, None, false),
        ("t < baseline", 1.0, None, true),
        ("t > 50% of baseline", 0.5, None, true),
        ("t < 50% of baseline, at most 6000/min", 0.5, Some(100.0), false),
        ("t > 1.5x baseline, at least 5 /s", 1.5, Some(5.0), false),
    ];
    for (text, factor, bound, is_doubted) in cases {
        let threshold = in_unit(text, Unit::PerSecond).expect(text);
        let expected = Threshold::OfBaseline { factor, bound };
        assert_eq!((threshold.threshold, threshold.doubt.is_some()), (expected, is_doubted), "{text}");
    }
    let above = Threshold::OfBaseline { factor: 1.5, bound: Some(0.005) };
    assert_eq!(above.value(Comparison::Greater, Some(0.000_029_8)), Some(0.005), "noise is no breach");
    assert_eq!(above.value(Comparison::Greater, Some(0.01)), Some(0.015));
    assert_eq!(above.value(Comparison::Greater, None), None);
    let below = Threshold::OfBaseline { factor: 0.5, bound: Some(100.0) };
    assert_eq!(below.value(Comparison::Less, Some(1000.0)), Some(100.0));
    assert_eq!(below.value(Comparison::Less, Some(50.0)), Some(25.0));
}

#[test]
fn and_binds_stronger_than_or() {
    fn shape(parsed: &Parsed) -> String {
        let joined = |parts: &[Parsed]| parts.iter().map(shape).collect::<Vec<_>>().join(" ");
        match parsed {
            Parsed::Compare(comparing) => comparing.indicator.clone(),
            Parsed::Fires(named) => format!("!{}", named.name),
            Parsed::All(parts) => format!("all({})", joined(parts)),
            Parsed::Any(parts) => format!("any({})", joined(parts)),
            Parsed::AtLeast { count, of } => format!("{count}({})", joined(of)),
        }
    }
    let cases = [
        ("a > 1 and b > 2 or c > 3", "any(all(a b) c)"),
        ("a > 1 or b > 2 and c > 3", "any(a all(b c))"),
        ("(a > 1 or b > 2) and c > 3", "all(any(a b) c)"),
        ("a > 1 and b > 2 and c > 3", "all(a b c)"),
        ("((a > 1))", "a"),
        ("2 of (a > 1,b > 2 , c > 1.5x baseline, at least 5, d == 1 or e == 1)", "2(a b c any(d e))"),
        ("Down", "!Down"),
        ("Down and a > 1 or Slow/critical", "any(all(!Down a) !Slow/critical)"),
        ("2 of (Down, Slow/critical,budget.x-1 , a > 1)", "2(!Down !Slow/critical !budget.x-1 a)"),
        ("order > 1 and android == 2 or offer > 3", "any(all(order android) offer)"),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).as_ref().map(shape).as_deref(), Ok(expected), "{text}");
    }
    let deep = format!("{}a > 1{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(parse(&deep).map_err(|problem| problem.code).err(), Some("bad-condition"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(
        text in "([a-c]|and|or|2 of|[(),]|[<>=!]{1,2}|[0-9.]{1,3}|%|ms|x|baseline|above|, at least|µ|é|-| ){0,14}",
    ) {
        match parse(&text) {
            Ok(parsed) => {
                for comparing in parsed.comparings() {
                    proptest::prop_assert!(text.get(comparing.span.clone()).is_some());
                    for (_, unit) in UNITS {
                        if let Ok(threshold) = comparing.threshold_in(unit) {
                            let value = threshold.threshold.value(comparing.comparison, Some(1.0));
                            proptest::prop_assert!(value.is_some_and(|value| !value.is_nan()));
                        }
                    }
                }
            }
            Err(problem) => proptest::prop_assert!(text.get(problem.span).is_some()),
        }
    }

    #[test]
    fn what_is_written_is_what_is_compared(number in 0_u32..100_000, name in "[a-z][a-z_]{0,8}") {
        let parsed = parse(&format!("{name} >= {number}ms")).map_err(|p| proptest::test_runner::TestCaseError::fail(p.message))?;
        let comparing = parsed.comparings()[0];
        proptest::prop_assert_eq!(&comparing.indicator, &name);
        proptest::prop_assert_eq!(comparing.comparison, Comparison::GreaterOrEqual);
        let value = comparing.threshold_in(Unit::Seconds).map(|threshold| threshold.threshold);
        proptest::prop_assert_eq!(value, Ok(Threshold::Fixed(f64::from(number) / 1000.0)));
    }
}
