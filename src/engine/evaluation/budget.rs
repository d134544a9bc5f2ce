//! Error budgets: events by the minute, over up to a month, and how fast they burn.
//!
//! Two counters are read at each observation; what they grew by in between is booked into the minute of the later one. A
//! counter that went down (a restart) and time in which nobody looked count as neither good nor bad. What is kept are
//! running sums at the ends of minutes, so that a window is one subtraction; sums older than a day are thinned to one per
//! hour, which loses nothing but where within that hour a window may begin.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::engine::model::stored_number;
use crate::engine::time::{Span, Timestamp};

const MINUTE_MS: i64 = 60_000;

/// Sums are kept for every minute of this time, in minutes.
const FINE_MINUTES: i64 = 24 * 60;

const MINUTES_PER_HOUR: i64 = 60;

/// How many events there were, and how many of them were bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// All of them.
    #[serde(with = "stored_number")]
    pub total: f64,
    /// The bad ones.
    #[serde(with = "stored_number")]
    pub errors: f64,
}

impl Events {
    fn since(self, earlier: Self) -> Self {
        Self { total: self.total - earlier.total, errors: self.errors - earlier.errors }
    }
}

/// What a budget remembers of its events.
///
/// Bounded: a day's and an hour's sums of minutes (1,500) and one per hour of the period (720 for 30 days).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// What both counters showed last, and when: good and total.
    last: Option<(Timestamp, f64, f64)>,
    /// The sum of everything before the first minute.
    before: Events,
    /// Sums from the beginning to the end of a minute, oldest first; minutes without events have none.
    sums: VecDeque<(i64, Events)>,
}

impl Ledger {
    /// Takes in what both counters show at `now`, and forgets what lies before `period`.
    ///
    /// Nothing is booked where time went backwards, a counter went down, or more than `max_gap` lies in between.
    pub fn observe(&mut self, now: Timestamp, good: f64, total: f64, max_gap: Span, period: Span) {
        if let Some((at, good_before, total_before)) = self.last {
            if now < at {
                return;
            }
            let grown = (good - good_before, total - total_before);
            if now.since(at) <= max_gap && grown.0 >= 0.0 && grown.1 > 0.0 {
                // Both are read of one answer; one that counts an event a moment earlier must not make good of bad.
                self.book(now, Events { total: grown.1, errors: (grown.1 - grown.0).max(0.0) }, period);
            }
        }
        self.last = Some((now, good, total));
    }

    fn book(&mut self, now: Timestamp, events: Events, period: Span) {
        let last = self.sums.back().copied();
        let before = last.map_or(self.before, |(_, sum)| sum);
        let sum = Events { total: before.total + events.total, errors: before.errors + events.errors };
        match self.sums.back_mut() {
            Some((minute, last)) if *minute == minute_of(now) => *last = sum,
            _ => self.sums.push_back((minute_of(now), sum)),
        }
        // Once an hour is enough: a bound that is exceeded by an hour's sums is still one.
        if last.is_none_or(|(minute, _)| hour_of(minute) != hour_of(minute_of(now))) {
            self.thin(now, period);
        }
    }

    fn thin(&mut self, now: Timestamp, period: Span) {
        let oldest = minute_of(now) - minutes(period).max(1) - MINUTES_PER_HOUR;
        while let Some((minute, sum)) = self.sums.front()
            && *minute <= oldest
        {
            self.before = *sum;
            self.sums.pop_front();
        }
        let fine_from = minute_of(now) - FINE_MINUTES;
        let next: Vec<i64> = self.sums.iter().skip(1).map(|(minute, _)| *minute).collect();
        let mut next = next.into_iter();
        self.sums.retain(|(minute, _)| {
            // The last sum of an hour is kept, and the one before the finer part, which may begin within an hour.
            next.next().is_none_or(|next| next > fine_from || hour_of(next) != hour_of(*minute))
        });
    }

    /// Returns the events of the last `window`: of the minute that runs now and the whole ones before it. A window of
    /// more than a day may begin up to an hour earlier.
    pub fn within(&self, window: Span, now: Timestamp) -> Events {
        let start = minute_of(now) - minutes(window).max(1);
        let first = self.sums.partition_point(|(minute, _)| *minute <= start);
        let before =
            first.checked_sub(1).and_then(|last| self.sums.get(last)).map_or(self.before, |(_, sum)| *sum);
        self.sums.back().map_or(self.before, |(_, sum)| *sum).since(before)
    }

    /// Returns how many sums are kept.
    pub fn size(&self) -> usize {
        self.sums.len()
    }
}

fn minute_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(MINUTE_MS)
}

fn hour_of(minute: i64) -> i64 {
    minute.div_euclid(MINUTES_PER_HOUR)
}

fn minutes(span: Span) -> i64 {
    span.as_millis().div_euclid(MINUTE_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GAP: Span = Span::from_secs(15);
    const MONTH: Span = Span::from_secs(30 * 24 * 3600);
    const HOUR: Span = Span::from_secs(3600);

    fn at(secs: i64) -> Timestamp {
        Timestamp::ZERO + Span::from_secs(secs)
    }

    #[test]
    fn what_nobody_saw_grow_counts_as_neither() {
        // Seconds, good, total; then the events and errors of the last hour.
        type Case = (&'static [(i64, f64, f64)], f64, f64);
        let cases: [Case; 7] = [
            (&[(0, 90.0, 100.0)], 0.0, 0.0),
            (&[(0, 0.0, 0.0), (5, 9.0, 10.0)], 10.0, 1.0),
            // The gap's events are lost, what comes after counts.
            (&[(0, 0.0, 0.0), (16, 0.0, 500.0), (21, 5.0, 505.0)], 5.0, 0.0),
            (&[(0, 0.0, 0.0), (15, 0.0, 500.0)], 500.0, 500.0),
            // A restart of what counts.
            (&[(0, 90.0, 100.0), (5, 1.0, 2.0), (10, 2.0, 4.0)], 2.0, 1.0),
            (&[(0, 90.0, 100.0), (5, 1.0, 200.0)], 0.0, 0.0),
            // More good ones than there were: a moment between two counters, and no credit for later.
            (&[(0, 0.0, 0.0), (5, 6.0, 5.0), (10, 6.0, 10.0)], 10.0, 5.0),
        ];
        for (shown, total, errors) in cases {
            let mut ledger = Ledger::default();
            for (secs, good, total) in shown {
                ledger.observe(at(*secs), *good, *total, GAP, MONTH);
            }
            assert_eq!(ledger.within(HOUR, at(21)), Events { total, errors }, "{shown:?}");
        }
    }

    #[test]
    fn a_month_of_minutes_is_bounded_and_loses_no_event() {
        let mut ledger = Ledger::default();
        let minutes = 40 * 24 * 60;
        for minute in 0..=minutes {
            let count = minute as f64;
            ledger.observe(at(minute * 60), count * 0.5, count, Span::from_secs(60), MONTH);
        }
        let now = at(minutes * 60);
        assert!(ledger.size() <= 1440 + 720 + 64, "{}", ledger.size());
        let month = ledger.within(MONTH, now);
        assert!((43_200.0..=43_260.0).contains(&month.total), "{month:?}");
        assert_eq!(month.errors * 2.0, month.total);
        assert_eq!(ledger.within(HOUR, now).total, 60.0);
        let json = serde_json::to_string(&ledger).expect("it can be stored");
        assert!(json.len() < 200_000, "{}", json.len());
        assert_eq!(serde_json::from_str::<Ledger>(&json).expect("and read back"), ledger);
    }

    proptest! {
        /// Against a list of every event with its minute.
        #[test]
        fn windows_are_those_of_a_slow_model(
            steps in proptest::collection::vec(
                (prop_oneof![1i64..20, 1i64..7200, 7200i64..90_000], 0u16..50, 0u16..50, 0u8..20), 1..120
            ),
            windows in proptest::collection::vec(1i64..43_200, 1..6),
        ) {
            let (mut now, mut good, mut total) = (0i64, 0.0, 0.0);
            let mut ledger = Ledger::default();
            let mut events: Vec<(i64, f64, f64)> = Vec::new();
            let gap = Span::from_secs(7200);
            ledger.observe(at(now), good, total, gap, MONTH);
            for (wait, more_good, more_bad, fate) in steps {
                now += wait;
                if fate == 0 {
                    (good, total) = (0.0, 0.0);
                } else {
                    good += f64::from(more_good);
                    total += f64::from(more_good) + f64::from(more_bad);
                    if wait <= 7200 {
                        let grown = f64::from(more_good) + f64::from(more_bad);
                        events.push((now.div_euclid(60), grown, f64::from(more_bad)));
                    }
                }
                // A reset to where it was already is none.
                ledger.observe(at(now), good, total, gap, MONTH);
                for window in &windows {
                    let sum = |minutes: i64| {
                        let inside = events.iter().filter(|(at, _, _)| *at > now.div_euclid(60) - minutes);
                        inside.fold((0.0, 0.0), |sum, (_, total, bad)| (sum.0 + total, sum.1 + bad))
                    };
                    let seen = ledger.within(Span::from_secs(window * 60), at(now));
                    let exact = sum(*window);
                    if *window <= FINE_MINUTES {
                        prop_assert_eq!((seen.total, seen.errors), exact);
                    } else {
                        let longer = sum(window + MINUTES_PER_HOUR);
                        prop_assert!(exact.0 <= seen.total && seen.total <= longer.0, "{:?} {:?} {:?}", exact, seen, longer);
                        prop_assert!(exact.1 <= seen.errors && seen.errors <= longer.1);
                    }
                }
            }
            prop_assert!(ledger.size() <= 1440 + 720 + 64);
        }
    }
}
