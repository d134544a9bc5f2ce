use super::*;

fn spec(of_s: i64) -> WindowSpec {
    WindowSpec::Sustained { of: Span::from_secs(of_s), coverage: 0.9, max_gap: Span::from_secs(15) }
}

/// Feeds `script` to a plain window; returns the firing seconds.
fn fires(of_s: i64, every_s: i64, script: &str) -> Vec<i64> {
    fires_by(&spec(of_s), every_s, script)
}

/// Feeds `script` (`B`reached, `H`olds, `?` unknown, `.` no observation) every `every_s`; returns the firing seconds.
fn fires_by(spec: &WindowSpec, every_s: i64, script: &str) -> Vec<i64> {
    let mut window = Window::default();
    let mut fired = Vec::new();
    for (step, letter) in script.chars().enumerate() {
        let now_s = i64::try_from(step).unwrap() * every_s;
        let mark = match letter {
            'B' => Mark::Breached,
            'H' => Mark::Holds,
            '?' => Mark::Uncovered,
            _ => continue,
        };
        if window.observe(spec, Timestamp::from_millis(now_s * 1000), mark).full {
            fired.push(now_s);
        }
    }
    fired
}

#[test]
fn fires_at_the_first_observation_that_is_the_window_s_length_after_the_first_breach() {
    assert_eq!(fires(60, 5, "BBBBBBBBBBBBBB"), [60, 65]);
    assert_eq!(fires(0, 5, "HB"), [5], "a window of zero fires at the first breach");
    assert_eq!(fires(7, 5, "HBBBB"), [15, 20], "between two observations nothing is known");
}

#[test]
fn one_healthy_observation_starts_the_window_anew() {
    assert_eq!(fires(20, 5, "BBBBHBBBBB"), [45]);
    assert_eq!(fires(20, 5, "BBHBBHBBHBBH"), [0_i64; 0]);
}

#[test]
fn unknown_time_neither_resets_nor_feeds_the_clock() {
    // One of twelve unknown: 55 of 60 s are proven, more than 90 %.
    assert_eq!(fires(60, 5, "BBBBB?BBBBBBB").first(), Some(&60));
    // Three in a row: 45 of 60 s. The window slides until enough of it is proven.
    assert_eq!(fires(60, 5, "BBB???BBBBBBBBBBBBB").first(), Some(&85));
    assert_eq!(fires(20, 5, "BB??????????"), [0_i64; 0], "nothing fires from what was not seen");
}

#[test]
fn a_gap_is_covered_for_max_gap_and_no_longer() {
    // 10 s without an observation are within max_gap.
    assert_eq!(fires(60, 5, "BBBB.BBBBBBBB").first(), Some(&60));
    // After 10 minutes of nothing, the first breach is where the window begins.
    let script = format!("BBBB{}BBBBBBBBBBBBBB", ".".repeat(120));
    assert_eq!(fires(60, 5, &script).first(), Some(&(124 * 5 + 60)));
}

#[test]
fn between_two_observations_it_is_full_as_soon_as_the_last_verdict_proves_it() {
    let (mut window, spec) = (Window::default(), spec(10));
    let at = |ms| Timestamp::from_millis(ms);
    for ms in [0, 5000, 9999] {
        assert!(!window.observe(&spec, at(ms), Mark::Breached).full);
    }
    assert_eq!(window.due(&spec), Some(at(10_000)));
    assert!(window.fill(&spec, at(10_000)).full);
    window.observe(&spec, at(10_001), Mark::Uncovered);
    assert_eq!(window.due(&spec), None, "an unknown verdict proves nothing");
}

/// What the window means, second by second, without any cleverness.
fn slow_model(of_s: i64, marks: &[(i64, Mark)]) -> Vec<i64> {
    let (coverage, max_gap) = (0.9, 15);
    let mut fired = Vec::new();
    for (at, &(now, mark)) in marks.iter().enumerate() {
        if mark != Mark::Breached {
            continue;
        }
        let seen = &marks[..=at];
        let held = seen.iter().rposition(|(_, mark)| *mark == Mark::Holds).map_or(0, |held| held + 1);
        let seen = &seen[held..];
        let breached_at = |second: i64, upto: usize| {
            let ruling = seen[..upto].iter().rev().find(|(from, _)| *from <= second);
            ruling.is_some_and(|(from, mark)| *mark == Mark::Breached && second < from + max_gap)
        };
        let proven =
            |now: i64, upto: usize| (now - of_s..now).filter(|second| breached_at(*second, upto)).count();
        // The window begins anew at a breach before which nothing in the window is proven.
        let since = (0..seen.len()).rev().find(|&i| seen[i].1 == Mark::Breached && proven(seen[i].0, i) == 0);
        let Some(since) = since.map(|i| seen[i].0) else { continue };
        let needed = of_s as f64 * coverage;
        if now - since >= of_s && proven(now, seen.len()) as f64 >= needed {
            fired.push(now);
        }
    }
    fired
}

proptest::proptest! {
    #[test]
    fn equals_a_slow_obvious_model(of_s in 1_i64..90, steps in proptest::collection::vec((1_i64..25, 0..6_u8), 1..60)) {
        let mut now = 0;
        let marks: Vec<(i64, Mark)> = steps.iter().map(|&(gap, kind)| {
            now += gap;
            (now, match kind { 0 => Mark::Holds, 1 => Mark::Uncovered, _ => Mark::Breached })
        }).collect();
        let (mut window, spec) = (Window::default(), spec(of_s));
        let fired: Vec<i64> = marks.iter().filter(|(at, mark)| {
            window.observe(&spec, Timestamp::from_millis(at * 1000), *mark).full
        }).map(|(at, _)| *at).collect();
        proptest::prop_assert_eq!(fired, slow_model(of_s, &marks));
    }
}

const SECOND: Span = Span::from_secs(1);

fn share(percent: f64, of_s: i64) -> WindowSpec {
    WindowSpec::Share {
        share: percent / 100.0,
        of: SECOND.times(of_s),
        coverage: 0.9,
        max_gap: Span::from_secs(15),
    }
}

fn nominal(of_s: i64) -> WindowSpec {
    WindowSpec::Nominal { share: 0.8, of: SECOND.times(of_s), every: SECOND.times(5) }
}

/// Repeats `pattern` for ten minutes of a tick of 5 s; returns the first firing second.
fn first(spec: &WindowSpec, pattern: &str) -> Option<i64> {
    fires_by(spec, 5, &pattern.repeat(600 / 5 / pattern.len())).first().copied()
}

#[test]
fn the_nominal_form_fires_when_the_scripts_do() {
    // S0-02 to S0-05: window in seconds, then when it fires under a constant breach, 9 of 10, 4 of 5, and 3 of 4.
    let rows = [
        ("S0-02 error rate", 60, Some(45), None, Some(55), Some(60)),
        ("S0-03 response time", 120, Some(95), None, Some(115), None),
        ("S0-04 throughput", 180, Some(140), Some(155), Some(175), None),
        ("S0-05 availability", 30, Some(20), None, Some(25), Some(25)),
    ];
    for (name, of, constant, nine_of_ten, four_of_five, three_of_four) in rows {
        let spec = nominal(of);
        assert_eq!(first(&spec, "B"), constant, "{name}: constant");
        if nine_of_ten.is_some() {
            assert_eq!(first(&spec, "BBBBBBBBBH"), nine_of_ten, "{name}: 9 of 10");
        }
        assert_eq!(first(&spec, "BBBBH"), four_of_five, "{name}: 4 of 5");
        assert_eq!(first(&spec, "BBBH"), three_of_four, "{name}: 3 of 4");
        assert_eq!(first(&spec, "H"), None, "{name}: healthy");
    }
}

#[test]
fn a_share_of_time_fires_as_soon_as_it_is_proven() {
    // Never seen before: 54 of 60 s must be covered, the last verdict speaks until then.
    assert_eq!(first(&share(80.0, 60), "B"), Some(55));
    let healthy_before = |pattern: &str| {
        let script = format!("{}{}", "H".repeat(24), pattern.repeat(120 / pattern.len()));
        fires_by(&share(80.0, 60), 5, &script).first().map(|at| at - 24 * 5)
    };
    // Watched before: 48 of 60 s are breached 48 s after the first breach; at observations, that is 50 s.
    assert_eq!(healthy_before("B"), Some(50));
    assert_eq!(healthy_before("BBBBH"), Some(60), "48 of 60 s, the last breach just before a healthy one");
    assert_eq!(healthy_before("BBBH"), None, "45 of 60 s are 75 %");
    assert_eq!(first(&share(80.0, 60), "BH"), None);
    // Slow collection: every 7 s in place of every 5 s changes nothing about time (S0-06).
    let slow = |every| fires_by(&share(80.0, 60), every, &"B".repeat(60)).first().copied();
    assert_eq!((slow(7), slow(9), slow(15)), (Some(56), Some(54), Some(60)));
    assert_eq!(slow(20), None, "15 of each 20 s are not 90 %");
}

#[test]
fn unknown_time_is_neither_breached_nor_healthy_in_a_share() {
    let spec = share(50.0, 60);
    assert_eq!(fires_by(&spec, 5, "BBBBBBHHHHHHH"), [0_i64; 0], "a healthy verdict never fires");
    assert_eq!(fires_by(&spec, 5, &format!("{}B", "?".repeat(30))), [0_i64; 0]);
    assert_eq!(fires_by(&spec, 5, &format!("BB{}", "?".repeat(30))), [0_i64; 0], "nothing fires from a gap");
    // 5 of 60 s unknown: they must be made up for by breaches, the share is of the whole window.
    let script = format!("{}?{}", "H".repeat(12), "B".repeat(12));
    assert_eq!(fires_by(&spec, 5, &script).first(), Some(&95), "30 of 60 s by then");
    // 6 of 60 s unknown, which coverage allows: 45 s of breach are 83 % of what was seen and 75 % of the window.
    let (eighty, mut window) = (share(80.0, 60), Window::default());
    let at = |s: i64| Timestamp::from_millis(s * 1000);
    let script = [(0, Mark::Holds), (60, Mark::Holds), (66, Mark::Uncovered), (72, Mark::Breached)];
    for (s, mark) in script {
        window.observe(&eighty, at(s), mark);
    }
    for s in (77..=117).step_by(5) {
        assert!(!window.observe(&eighty, at(s), Mark::Breached).full, "{s}");
    }
    assert_eq!(window.due(&eighty), Some(at(120)), "48 of 60 s");
}

#[test]
fn a_share_becomes_full_between_two_observations() {
    let (mut window, spec) = (Window::default(), share(80.0, 60));
    for tick in 0..24 {
        window.observe(&spec, Timestamp::from_millis(tick * 5000), Mark::Holds);
    }
    for tick in 24..34 {
        assert!(!window.observe(&spec, Timestamp::from_millis(tick * 5000), Mark::Breached).full);
    }
    let due = Timestamp::from_millis(120_000 + 48_000);
    assert_eq!(window.due(&spec), Some(due));
    assert!(window.fill(&spec, due).full);
    assert!(!window.fill(&spec, due - Span::from_millis(1)).full, "no earlier than it is proven");
}

#[test]
fn observations_are_counted_and_not_ticks() {
    let count = |count, of_s| WindowSpec::Count { count, of: SECOND.times(of_s) };
    assert_eq!(fires_by(&count(3, 300), 5, "BHHBHHHBHHB"), [35, 50]);
    assert_eq!(fires_by(&count(3, 30), 5, "BHBHBHHHBHH"), [20], "the first is 40 s old at the next");
    assert_eq!(fires_by(&count(2, 30), 30, "BBB"), [0_i64; 0], "a breach of exactly that age has left");
    assert_eq!(fires_by(&count(1, 30), 5, "HBH"), [5]);
    let row = |count| WindowSpec::InARow { count };
    assert_eq!(
        fires_by(&row(11), 5, "BBBBBBBBBBHBBBBBBBBBBB"),
        [21 * 5],
        "S3-01: ten do not, one success resets"
    );
    assert_eq!(fires_by(&row(3), 5, "BB??BB"), [20, 25], "what is not known is neither");
    let (mut window, hours) = (Window::default(), |h: i64| Timestamp::from_millis(h * 3_600_000));
    for (at, full) in [(0, false), (1, true), (3, false), (4, true)] {
        assert_eq!(window.observe(&row(2), hours(at), Mark::Breached).full, full, "hour {at}");
    }
}

/// What each form means, second by second and observation by observation, without any cleverness.
fn slow(spec: &WindowSpec, marks: &[(i64, Mark)], now: i64) -> bool {
    let seen: Vec<_> = marks.iter().filter(|(at, _)| *at <= now).copied().collect();
    let Some(&(last, Mark::Breached)) = seen.last() else { return false };
    let breaches =
        |from: i64| seen.iter().filter(|(at, mark)| *mark == Mark::Breached && *at >= from).count();
    let seconds = |span: Span| span.as_millis() / 1000;
    let needed = usize::try_from(spec.needed().unwrap_or(0)).unwrap();
    match *spec {
        WindowSpec::Sustained { .. } => unreachable!("it has a model of its own"),
        WindowSpec::Share { share, of, coverage, max_gap } => {
            let (of, max_gap) = (seconds(of), seconds(max_gap));
            let is = |second: i64, wanted: Mark| {
                let ruling = seen.iter().rev().find(|(at, _)| *at <= second);
                ruling.is_some_and(|(at, mark)| *mark == wanted && second < at + max_gap)
            };
            let time = |wanted| (now - of..now).filter(|second| is(*second, wanted)).count() as f64;
            let (breached, covered) = (time(Mark::Breached), time(Mark::Breached) + time(Mark::Holds));
            let tiny = 1e-9;
            now - last <= max_gap
                && covered + tiny >= of as f64 * coverage
                && breached + tiny >= share * of as f64
        }
        WindowSpec::Count { of, .. } => breaches(now - seconds(of) + 1) >= needed,
        WindowSpec::Nominal { of, .. } => breaches(now - seconds(of)) >= needed,
        WindowSpec::InARow { .. } => {
            let held = seen.iter().rposition(|(_, mark)| *mark == Mark::Holds).map_or(0, |held| held + 1);
            seen[held..].iter().filter(|(_, mark)| *mark == Mark::Breached).count() >= needed
        }
    }
}

fn any_spec() -> impl proptest::strategy::Strategy<Value = WindowSpec> {
    use proptest::prelude::*;
    let secs = |range: std::ops::Range<i64>| range.prop_map(Span::from_secs);
    let percent = || (1..=20_u32).prop_map(|twentieth| f64::from(twentieth) / 20.0);
    prop_oneof![
        (percent(), percent(), secs(1..90), secs(1..25)).prop_map(|(share, coverage, of, max_gap)| {
            WindowSpec::Share { share, of, coverage, max_gap }
        }),
        (1..6_u32, secs(1..90)).prop_map(|(count, of)| WindowSpec::Count { count, of }),
        (1..6_u32).prop_map(|count| WindowSpec::InARow { count }),
        (percent(), secs(5..90), secs(1..9))
            .prop_map(|(share, of, every)| { WindowSpec::Nominal { share, of, every } }),
    ]
}

proptest::proptest! {
    /// Random jitter and gaps; the window is saved and read back in the middle, as a restart does.
    #[test]
    fn every_form_equals_a_slow_obvious_model(
        spec in any_spec(),
        steps in proptest::collection::vec((1_i64..25, 0..6_u8), 1..50),
        restart in 0..50_usize,
    ) {
        let mut now = 0;
        let marks: Vec<(i64, Mark)> = steps.iter().map(|&(gap, kind)| {
            now += gap;
            (now, match kind { 0 => Mark::Uncovered, 1 | 2 => Mark::Holds, _ => Mark::Breached })
        }).collect();
        let at = |second: i64| Timestamp::from_millis(second * 1000);
        let is_time = matches!(spec, WindowSpec::Share { .. });
        let mut window = Window::default();
        for (nth, (second, mark)) in marks.iter().enumerate() {
            let fill = window.observe(&spec, at(*second), *mark);
            proptest::prop_assert_eq!(fill.full, slow(&spec, &marks[..=nth], *second), "at {}", second);
            // An observation from before the last one changes nothing.
            let before = window.clone();
            window.observe(&spec, at(*second - 1), Mark::Holds);
            proptest::prop_assert_eq!(&window, &before);
            if nth == restart {
                let saved = serde_json::to_string(&window).unwrap();
                window = serde_json::from_str(&saved).unwrap();
            }
            let due = window.due(&spec);
            let next = marks.get(nth + 1).map_or(*second + 30, |(next, _)| *next);
            if is_time {
                for between in *second + 1..next {
                    let full = window.fill(&spec, at(between)).full;
                    proptest::prop_assert_eq!(full, slow(&spec, &marks[..=nth], between), "{}", between);
                    let is_due = fill.full || due.is_some_and(|due| due <= at(between));
                    proptest::prop_assert!(!full || is_due, "{} is full, due {:?}", between, due);
                }
            }
        }
    }
}
