//! Sustained windows: a promise must be broken for a while before it counts.
//!
//! Two families. *Time*: `60s` is what it is in Prometheus, breached at every observation for 60 s, counted from the first
//! breach; `80% of 60s` is 48 s of breach within the last 60 s. A verdict speaks for the time after it until the next
//! verdict, but for no longer than `max_gap`; time that nothing speaks for counts neither as breached nor as healthy, and
//! a window fires only where enough of it is covered: the share is of the whole window, so what was not seen makes it
//! harder to prove and never easier. *Observations*: `3 in 5m`, `11 in a row`, and the nominal form count breaches and
//! nothing else. Nothing ever fires from a gap alone: the last verdict must be a breach.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::verdict::WindowFill;
use crate::engine::rules::WindowSpec;
use crate::engine::time::{Span, Timestamp};

/// Observations in a row that lie further apart than this are not in a row any more; restarts drop windows after the
/// same time.
const ROW_BREAKS_AFTER: Span = Span::from_secs(3600);

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
    /// The first breach that still counts.
    since: Option<Timestamp>,
    /// The observations that it needs, oldest first.
    marks: VecDeque<(Timestamp, Mark)>,
}

/// The terms of a window over time.
#[derive(Clone, Copy)]
struct Terms {
    /// `None` asks for every observation.
    share: Option<f64>,
    of: Span,
    coverage: f64,
    max_gap: Span,
}

/// The terms of a window over observations.
#[derive(Clone, Copy)]
struct Tally {
    needed: u32,
    /// How old a breach may be; `None` where only the row counts.
    within: Option<Span>,
    /// Whether a breach of exactly that age still counts.
    is_closed: bool,
}

/// The two families of windows.
#[derive(Clone, Copy)]
enum Kind {
    Time(Terms),
    Observations(Tally),
}

fn kind(spec: &WindowSpec) -> Kind {
    let needed = spec.needed().unwrap_or(1);
    match *spec {
        WindowSpec::Sustained { of, coverage, max_gap } => {
            Kind::Time(Terms { share: None, of, coverage, max_gap })
        }
        WindowSpec::Share { share, of, coverage, max_gap } => {
            Kind::Time(Terms { share: Some(share), of, coverage, max_gap })
        }
        WindowSpec::Count { of, .. } => {
            Kind::Observations(Tally { needed, within: Some(of), is_closed: false })
        }
        WindowSpec::InARow { .. } => Kind::Observations(Tally { needed, within: None, is_closed: false }),
        // The scripts that this stands in for count a sample whose age is the window's length.
        WindowSpec::Nominal { of, .. } => {
            Kind::Observations(Tally { needed, within: Some(of), is_closed: true })
        }
    }
}

/// Returns whether `part` is at least `share` of `whole`, exactly: shares are written in percent, and a hundredth of a
/// percent of a percent is as fine as they get.
fn is_share(part: Span, share: f64, whole: Span) -> bool {
    const WHOLE: i128 = 1_000_000;
    #[expect(clippy::cast_possible_truncation, reason = "a share is at most 1: at most a million")]
    let millionths = (share * 1e6).round() as i128;
    i128::from(part.as_millis()) * WHOLE >= millionths * i128::from(whole.as_millis())
}

impl Window {
    /// Takes in one observation and returns how full the window is with it.
    ///
    /// `now` must not be older than the observation before it; an older one is left out.
    pub fn observe(&mut self, spec: &WindowSpec, now: Timestamp, mark: Mark) -> WindowFill {
        if self.marks.back().is_some_and(|(last, _)| now < *last) {
            return self.fill(spec, now);
        }
        match kind(spec) {
            Kind::Time(terms) if terms.share.is_some() => self.observe_share(terms, now, mark),
            Kind::Time(terms) => self.observe_sustained(terms, now, mark),
            Kind::Observations(tally) => self.observe_counted(tally, now, mark),
        }
        self.fill(spec, now)
    }

    fn observe_sustained(&mut self, terms: Terms, now: Timestamp, mark: Mark) {
        match mark {
            Mark::Holds => *self = Self::default(),
            Mark::Breached | Mark::Uncovered => {
                // A breach so long ago that nothing of it is left in the window proves nothing about this one.
                if mark == Mark::Breached && self.time(Mark::Breached, terms, now).is_zero_or_negative() {
                    *self = Self::default();
                }
                if mark == Mark::Breached {
                    self.since.get_or_insert(now);
                }
                if self.since.is_some() {
                    self.marks.push_back((now, mark));
                }
            }
        }
        self.drop_old(terms, now);
    }

    fn observe_share(&mut self, terms: Terms, now: Timestamp, mark: Mark) {
        self.marks.push_back((now, mark));
        self.drop_old(terms, now);
        // What was healthy before the first breach proves that the time was watched, so it stays.
        let breaches = self.marks.iter().filter(|(_, mark)| *mark == Mark::Breached);
        self.since = breaches.map(|(at, _)| *at).find(|at| *at + terms.max_gap > now - terms.of);
    }

    fn observe_counted(&mut self, tally: Tally, now: Timestamp, mark: Mark) {
        let is_row = tally.within.is_none();
        let last_breach = self.marks.iter().rev().find(|(_, mark)| *mark == Mark::Breached);
        if is_row
            && (mark == Mark::Holds || last_breach.is_some_and(|(at, _)| now.since(*at) > ROW_BREAKS_AFTER))
        {
            *self = Self::default();
        }
        // An observation that is no breach says only that the last one was none.
        self.marks.retain(|(_, mark)| *mark == Mark::Breached);
        let needed = usize::try_from(tally.needed).unwrap_or(usize::MAX);
        while self.marks.front().is_some_and(|(at, _)| !tally.counts(*at, now)) {
            self.marks.pop_front();
        }
        if mark == Mark::Breached && self.marks.len() >= needed {
            self.marks.pop_front();
        }
        if mark == Mark::Breached || !self.marks.is_empty() {
            self.marks.push_back((now, mark));
        }
        let oldest = self.marks.front().filter(|(_, mark)| *mark == Mark::Breached).map(|(at, _)| *at);
        // A row that goes on for longer than is needed is remembered by its beginning.
        self.since = if is_row { oldest.and(self.since).or(oldest) } else { oldest };
    }

    /// Returns when the window will be full by the last verdict alone, if it speaks for long enough: between two
    /// observations a window is full at the earliest instant at which that is proven.
    pub fn due(&self, spec: &WindowSpec) -> Option<Timestamp> {
        let Kind::Time(terms) = kind(spec) else { return None };
        let (last, mark) = *self.marks.back()?;
        let end = last + terms.max_gap;
        if mark != Mark::Breached || !self.is_full(terms, end) || self.is_full(terms, last) {
            return None;
        }
        // While the last verdict is a breach and speaks, breached time does not shrink and healthy time does not grow:
        // once full, full until `end`.
        let (mut before, mut after) = (last, end);
        while after.since(before) > Span::from_millis(1) {
            let middle = before + Span::from_millis(after.since(before).as_millis() / 2);
            if self.is_full(terms, middle) {
                after = middle;
            } else {
                before = middle;
            }
        }
        Some(after)
    }

    /// Returns how full the window is.
    pub fn fill(&self, spec: &WindowSpec, now: Timestamp) -> WindowFill {
        match kind(spec) {
            Kind::Time(terms) => WindowFill {
                of: terms.of,
                breached: self.time(Mark::Breached, terms, now),
                covered: self.time(Mark::Breached, terms, now) + self.time(Mark::Holds, terms, now),
                since: self.since,
                count: None,
                still: self.is_bad(terms, now),
                full: self.is_full(terms, now),
            },
            Kind::Observations(tally) => {
                let counted =
                    self.marks.iter().filter(|(at, mark)| *mark == Mark::Breached && tally.counts(*at, now));
                let counted = u32::try_from(counted.count()).unwrap_or(u32::MAX);
                let still = counted >= tally.needed;
                let seen_now = matches!(self.marks.back(), Some((_, Mark::Breached)));
                WindowFill {
                    of: spec.of(),
                    breached: Span::ZERO,
                    covered: Span::ZERO,
                    since: self.since,
                    count: Some((counted, tally.needed)),
                    still,
                    full: still && seen_now,
                }
            }
        }
    }

    fn is_full(&self, terms: Terms, now: Timestamp) -> bool {
        let seen_now =
            matches!(self.marks.back(), Some((at, Mark::Breached)) if now.since(*at) <= terms.max_gap);
        let covered = || self.time(Mark::Breached, terms, now) + self.time(Mark::Holds, terms, now);
        seen_now && self.is_bad(terms, now) && is_share(covered(), terms.coverage, terms.of)
    }

    /// Returns whether the window is as bad as it takes, whatever the last verdict said and however much was covered.
    fn is_bad(&self, terms: Terms, now: Timestamp) -> bool {
        let Some(since) = self.since else { return false };
        let Some(share) = terms.share else { return now.since(since) >= terms.of };
        is_share(self.time(Mark::Breached, terms, now), share, terms.of)
    }

    /// Returns how much of the window that ends at `now` is proven to be what `wanted` says.
    fn time(&self, wanted: Mark, terms: Terms, now: Timestamp) -> Span {
        let start = now - terms.of;
        let ends = self.marks.iter().skip(1).map(|(at, _)| *at).chain([now]);
        let mut total = Span::ZERO;
        for ((from, mark), next) in self.marks.iter().zip(ends) {
            if *mark == wanted {
                let (from, until) = ((*from).max(start), next.min(*from + terms.max_gap).min(now));
                if until > from {
                    total += until.since(from);
                }
            }
        }
        total
    }

    /// Drops what lies before the window, but the one observation that speaks for its beginning.
    fn drop_old(&mut self, terms: Terms, now: Timestamp) {
        let start = now - terms.of;
        while self.marks.get(1).is_some_and(|(second, _)| *second <= start) {
            self.marks.pop_front();
        }
    }
}

impl Tally {
    fn counts(&self, at: Timestamp, now: Timestamp) -> bool {
        let age = now.since(at);
        self.within.is_none_or(|within| if self.is_closed { age <= within } else { age < within })
    }
}

#[cfg(test)]
mod tests;
