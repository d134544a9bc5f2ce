use super::*;

fn threshold(text: &str, unit: Unit) -> Result<f64, &'static str> {
    let comparing = parse(text).map_err(|problem| problem.code)?;
    comparing.threshold_in(unit).map(|threshold| threshold.value).map_err(|problem| problem.code)
}

#[test]
fn thresholds_become_the_base_unit() {
    let cases = [
        ("e > 2%", Unit::Ratio, 0.02),
        ("e > 0.02", Unit::Ratio, 0.02),
        ("e>=99.5 %", Unit::Ratio, 0.995),
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
        ("e > 200ms", Unit::Ratio, "wrong-unit"),
        ("c > 5%", Unit::Count, "wrong-unit"),
        ("l > 2%", Unit::Seconds, "wrong-unit"),
        ("l > true", Unit::Seconds, "wrong-unit"),
        ("h == 2", Unit::Bool, "wrong-unit"),
        ("h > 0", Unit::Bool, "bad-comparison"),
        ("e > 1m30s", Unit::Ratio, "wrong-unit"),
        ("e = 2%", Unit::Ratio, "bad-comparison"),
        ("e ≥ 2%", Unit::Ratio, "bad-comparison"),
        ("e", Unit::Ratio, "bad-comparison"),
        ("e is 5", Unit::Ratio, "bad-comparison"),
        ("e >", Unit::Ratio, "bad-threshold"),
        ("e > 1,5", Unit::Ratio, "bad-threshold"),
        ("e > --5", Unit::Ratio, "bad-threshold"),
        ("e > 1e999", Unit::Ratio, "bad-threshold"),
        ("e > p95", Unit::Ratio, "bad-threshold"),
        ("", Unit::Ratio, "bad-condition"),
        ("2% < e", Unit::Ratio, "bad-condition"),
        ("rate(x[1m]) > 2", Unit::Ratio, "bad-condition"),
        ("e > 2% and l > 1s", Unit::Ratio, "bad-condition"),
        ("e > 2% for 60s", Unit::Ratio, "bad-condition"),
        ("e < 50% of baseline", Unit::Ratio, "not-supported-yet"),
        ("e < baseline", Unit::Ratio, "not-supported-yet"),
    ];
    for (text, unit, code) in cases {
        assert_eq!(threshold(text, unit), Err(code), "{text}");
    }
}

#[test]
fn problems_point_at_the_word_that_is_wrong() {
    let cases =
        [("error_rate => 2%", "=>"), ("e > 2% or f > 3", "or f > 3"), ("e > 1,5", "1,5"), ("  2 > e", "2")];
    for (text, word) in cases {
        let problem = parse(text).expect_err(text);
        assert_eq!(&text[problem.span], word, "{text}");
    }
    let seconds = parse("latency > 200").map(|comparing| comparing.threshold_in(Unit::Seconds));
    let problem = seconds.expect("parses").expect_err("has no unit");
    assert_eq!((problem.span, problem.hint.as_deref()), (10..13, Some("write the unit: `200ms` or `200s`?")));
}

#[test]
fn a_ratio_above_one_is_doubted_and_kept() {
    let threshold = parse("e > 2").expect("parses").threshold_in(Unit::Ratio).expect("is legal");
    assert_eq!(threshold.value, 2.0);
    assert_eq!(threshold.doubt.and_then(|doubt| doubt.hint).as_deref(), Some("did you mean `2%`?"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z0-9<>=!%/. µé,+-]{0,24}") {
        match parse(&text) {
            Ok(comparing) => {
                for (_, unit) in UNITS {
                    if let Ok(threshold) = comparing.threshold_in(unit) {
                        proptest::prop_assert!(!threshold.value.is_nan());
                    }
                }
            }
            Err(problem) => proptest::prop_assert!(text.get(problem.span).is_some()),
        }
    }

    #[test]
    fn what_is_written_is_what_is_compared(number in 0_u32..100_000, name in "[a-z][a-z_]{0,8}") {
        let comparing = parse(&format!("{name} >= {number}ms")).map_err(|p| proptest::test_runner::TestCaseError::fail(p.message))?;
        proptest::prop_assert_eq!(&comparing.indicator, &name);
        proptest::prop_assert_eq!(comparing.comparison, Comparison::GreaterOrEqual);
        let value = comparing.threshold_in(Unit::Seconds).map(|threshold| threshold.value);
        proptest::prop_assert_eq!(value, Ok(f64::from(number) / 1000.0));
    }
}
