//! Sustained windows: a promise must be broken for a while before it counts.
//!
//! `for: 60s` means what it means in Prometheus: breached at every observation for 60 s, counted from the first breach.
//! Time that was not observed counts neither as breached nor as healthy: a verdict speaks for the time after it until the
//! next verdict, but for no longer than `max_gap`; and the window fires only where enough of it is covered. A failed
//! scrape therefore neither resets the clock nor feeds it, and nothing ever fires from a gap alone.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::verdict::WindowFill;
use crate::engine::rules::WindowSpec;
use crate::engine::time::{Span, Timestamp};

/// What one observation means for a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Proven broken.
    Breached,
    /// Proven kept.
    Holds,
    /// Not known.
    Uncovered,
}

/// One trigger's window over one label set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first breach since the promise last held.
    since: Option<Timestamp>,
    /// Observations since then, oldest first; none older than the window needs.
    marks: VecDeque<(Timestamp, Mark)>,
}

impl Window {
    /// Takes in one observation and returns how full the window is with it.
    ///
    /// `now` must not be older than the observation before it; an older one is left out.
    pub fn observe(&mut self, spec: &WindowSpec, now: Timestamp, mark: Mark) -> WindowFill {
        if self.marks.back().is_some_and(|(last, _)| now < *last) {
            return self.fill(spec, now);
        }
        match mark {
            Mark::Holds => {
                self.marks.clear();
                self.since = None;
            }
            Mark::Breached | Mark::Uncovered => {
                // A breach so long ago that nothing of it is left in the window proves nothing about this one.
                if mark == Mark::Breached && self.breached_time(spec, now).is_zero_or_negative() {
                    self.marks.clear();
                    self.since = None;
                }
                if mark == Mark::Breached {
                    self.since.get_or_insert(now);
                }
                if self.since.is_some() {
                    self.marks.push_back((now, mark));
                }
            }
        }
        self.drop_old(spec, now);
        self.fill(spec, now)
    }

    /// Returns when the window will be full by the last verdict alone, if it speaks for long enough: between two
    /// observations a window is full at the earliest instant at which that is proven.
    pub fn due(&self, spec: &WindowSpec) -> Option<Timestamp> {
        let (last, mark) = *self.marks.back()?;
        let due = self.since? + spec.of();
        (mark == Mark::Breached && due > last && due <= last + max_gap(spec)).then_some(due)
    }

    /// Returns how full the window is.
    pub fn fill(&self, spec: &WindowSpec, now: Timestamp) -> WindowFill {
        let breached = self.breached_time(spec, now);
        let seen_now =
            matches!(self.marks.back(), Some((at, Mark::Breached)) if now.since(*at) <= max_gap(spec));
        let long_enough = self.since.is_some_and(|since| now.since(since) >= spec.of());
        let needed = spec.of().as_secs_f64() * coverage(spec);
        let full = seen_now && long_enough && breached.as_secs_f64() >= needed;
        WindowFill { of: spec.of(), breached, since: self.since, full }
    }

    /// Returns how much of the window that ends at `now` is proven to be breached.
    fn breached_time(&self, spec: &WindowSpec, now: Timestamp) -> Span {
        let start = now - spec.of();
        let ends = self.marks.iter().skip(1).map(|(at, _)| *at).chain([now]);
        let mut total = Span::ZERO;
        for ((from, mark), next) in self.marks.iter().zip(ends) {
            if *mark == Mark::Breached {
                let until = next.min(*from + max_gap(spec)).min(now);
                total += until.since((*from).max(start));
            }
        }
        total
    }

    /// Drops what lies before the window, but the one observation that speaks for its beginning.
    fn drop_old(&mut self, spec: &WindowSpec, now: Timestamp) {
        let start = now - spec.of();
        while self.marks.get(1).is_some_and(|(second, _)| *second <= start) {
            self.marks.pop_front();
        }
    }
}

fn max_gap(spec: &WindowSpec) -> Span {
    spec.max_gap().unwrap_or(Span::ZERO)
}

fn coverage(spec: &WindowSpec) -> f64 {
    match *spec {
        WindowSpec::Sustained { coverage, .. } | WindowSpec::Share { coverage, .. } => coverage,
        WindowSpec::Count { .. } | WindowSpec::InARow { .. } | WindowSpec::Nominal { .. } => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(of_s: i64) -> WindowSpec {
        WindowSpec::Sustained { of: Span::from_secs(of_s), coverage: 0.9, max_gap: Span::from_secs(15) }
    }

    /// Feeds `script` (`B`reached, `H`olds, `?` unknown, `.` no observation) every `every_s`; returns the firing seconds.
    fn fires(of_s: i64, every_s: i64, script: &str) -> Vec<i64> {
        let (mut window, spec) = (Window::default(), spec(of_s));
        let mut fired = Vec::new();
        for (step, letter) in script.chars().enumerate() {
            let now_s = i64::try_from(step).unwrap() * every_s;
            let mark = match letter {
                'B' => Mark::Breached,
                'H' => Mark::Holds,
                '?' => Mark::Uncovered,
                _ => continue,
            };
            if window.observe(&spec, Timestamp::from_millis(now_s * 1000), mark).full {
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
            let since =
                (0..seen.len()).rev().find(|&i| seen[i].1 == Mark::Breached && proven(seen[i].0, i) == 0);
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
}
