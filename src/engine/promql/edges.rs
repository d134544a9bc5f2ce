//! `anchored` and `smoothed`: ranges that know the values at their edges, in place of extrapolation.
//!
//! A plain range ends at its outermost samples, and `rate` guesses what lies between them and the edges. An anchored
//! range takes the last sample before the range for its left edge; a smoothed one draws lines to the samples on both
//! sides. What lies outside is looked for as far as the lookback goes. The arithmetic is Prometheus' (`extendedRate`
//! and `interpolate` in `promql/functions.go`).

use std::borrow::Cow;

use super::ast::Edges;
use super::evaluate::{EvalError, Evaluation, LOOKBACK, VectorSample};
use super::plan::Window;
use super::selectors::{WindowSeries, Windows};
use crate::engine::series::Point;
use crate::engine::time::{Span, Timestamp};

impl Edges {
    /// Returns the word.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        }
    }

    /// Returns the functions that know what to do with such a range.
    pub(super) fn functions(self) -> &'static [&'static str] {
        match self {
            Self::Anchored => &["changes", "delta", "increase", "rate", "resets"],
            Self::Smoothed => &["delta", "increase", "rate"],
        }
    }

    /// Returns how far after the range samples are looked for.
    pub(super) fn lookahead(self) -> Span {
        match self {
            Self::Anchored => Span::ZERO,
            Self::Smoothed => LOOKBACK,
        }
    }
}

/// The part of a series that a range with edges is about.
pub(super) struct Bounded<'p> {
    /// From the last sample at or before the start; a smoothed one up to the first sample at or after the end.
    points: &'p [Point],
    before_last: Option<Point>,
    start: Timestamp,
    end: Timestamp,
    smoothed: bool,
}

impl<'p> Bounded<'p> {
    /// Returns nothing where no sample lies after the start.
    pub(super) fn new(points: &'p [Point], start: Timestamp, end: Timestamp, edges: Edges) -> Option<Self> {
        let smoothed = edges == Edges::Smoothed;
        let mut last = points.len().checked_sub(1)?;
        let first = points[..last].partition_point(|point| point.at <= start).saturating_sub(1);
        if smoothed {
            last = points[..last].partition_point(|point| point.at < end);
        }
        if points[last].at <= start {
            return None;
        }
        let before_last = last.checked_sub(1).map(|at| points[at]);
        Some(Self { points: &points[first..=last], before_last, start, end, smoothed })
    }

    /// Returns the samples; the first may lie before the range, as its left edge.
    pub(super) fn points(&self) -> &'p [Point] {
        self.points
    }

    /// Returns the value at the start. A counter that was reset on the way to the next sample begins at 0.
    fn left(&self, counter: bool) -> f64 {
        match self.points {
            [first, next, ..] if self.smoothed && first.at < self.start => {
                let from = if counter && next.value < first.value { 0.0 } else { first.value };
                between(*first, from, *next, next.value, self.start)
            }
            [first, ..] => first.value,
            [] => f64::NAN,
        }
    }

    /// Returns the value at the end. A counter that was reset on the way goes on from its value before.
    fn right(&self, counter: bool) -> f64 {
        let Some(last) = self.points.last() else { return f64::NAN };
        match self.before_last {
            Some(before) if self.smoothed && last.at > self.end => {
                let reset = counter && last.value < before.value;
                let to = if reset { last.value + before.value } else { last.value };
                between(before, before.value, *last, to, self.end)
            }
            _ => last.value,
        }
    }

    /// The samples strictly inside of the range.
    fn inside(&self) -> &'p [Point] {
        let first = self.points.partition_point(|point| point.at <= self.start);
        let until = self.points.partition_point(|point| point.at < self.end);
        self.points.get(first..until).unwrap_or_default()
    }

    /// Returns the difference between the edges; resets of a counter are added up.
    pub(super) fn change(&self, counter: bool) -> f64 {
        let (left, right) = (self.left(counter), self.right(counter));
        let mut change = right - left;
        if counter {
            let mut before = left;
            for value in self.inside().iter().map(|point| point.value).chain([right]) {
                if value < before {
                    change += before;
                }
                before = value;
            }
        }
        change
    }

    /// Returns the samples of the range with one at each edge.
    fn with_edges(&self) -> Vec<Point> {
        let left = Point { at: self.start, value: self.left(false) };
        let right = Point { at: self.end, value: self.right(false) };
        [left].into_iter().chain(self.inside().iter().copied()).chain([right]).collect()
    }
}

/// The value at `at` on the line between two points with the given values.
fn between(a: Point, a_value: f64, b: Point, b_value: f64, at: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds within two lookbacks")]
    let part = (at - a.at).as_millis() as f64 / (b.at - a.at).as_millis() as f64;
    a_value + (b_value - a_value) * part
}

impl<'s> Windows<'s> {
    /// Returns the series as the result of a query; with edges, each has a point at the start and one at the end.
    pub(super) fn bounded(self, edges: Option<Edges>) -> Vec<WindowSeries<'s>> {
        let Some(edges) = edges else { return self.series };
        let (start, end) = (self.start, self.end);
        let with_edges = |series: WindowSeries<'s>| {
            let points = Bounded::new(&series.points, start, end, edges)?.with_edges();
            Some(WindowSeries { points: Cow::Owned(points), ..series })
        };
        self.series.into_iter().filter_map(with_edges).collect()
    }
}

impl Evaluation<'_> {
    /// The value on the line between the samples before and after; the last one where none has come after yet.
    pub(super) fn smoothed(&self, window: &Window, at: Timestamp) -> Result<Vec<VectorSample>, EvalError> {
        let windows = self.window(window, at)?;
        let at = windows.end;
        let element = |series: WindowSeries<'_>| {
            let after = series.points.partition_point(|point| point.at < at);
            let value = match (after.checked_sub(1).map(|at| series.points[at]), series.points.get(after)) {
                (_, Some(next)) if next.at == at => next.value,
                (Some(before), Some(next)) => between(before, before.value, *next, next.value, at),
                (Some(before), None) => before.value,
                (None, _) => return None,
            };
            Some(VectorSample { labels: series.labels, value })
        };
        Ok(windows.series.into_iter().filter_map(element).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(pairs: &[(i64, f64)]) -> Vec<Point> {
        pairs
            .iter()
            .map(|(at, value)| Point { at: Timestamp::from_millis(at * 1000), value: *value })
            .collect()
    }

    #[test]
    fn edges_are_samples_or_lie_on_lines() {
        // Every 15 s up by one, with a jump from 5 to 9 between 60 s and 75 s.
        let all: Vec<_> = (0..10_i32)
            .map(|step| (i64::from(step) * 15, f64::from(step) + if step < 5 { 1.0 } else { 4.0 }))
            .collect();
        // The end of a range of 60 s, the increase if anchored, if smoothed.
        let cases =
            [(20, 1.0, 4.0 / 3.0), (35, 2.0, 7.0 / 3.0), (65, 4.0, 5.0), (80, 7.0, 7.0), (110, 7.0, 7.0)];
        for (end, anchored, smoothed) in cases {
            let (from, until) =
                (Timestamp::from_millis((end - 60) * 1000), Timestamp::from_millis(end * 1000));
            let seen: Vec<_> = all.iter().copied().filter(|(at, _)| *at <= end).collect();
            let change = |pairs: &[(i64, f64)], edges| {
                Bounded::new(&points(pairs), from, until, edges)
                    .map_or(f64::NAN, |bounded| bounded.change(true))
            };
            assert!((change(&seen, Edges::Anchored) - anchored).abs() < 1e-9, "anchored at {end}");
            assert!((change(&all, Edges::Smoothed) - smoothed).abs() < 1e-9, "smoothed at {end}");
        }
    }

    #[test]
    fn resets_are_added_up_wherever_they_lie() {
        let second = |secs: i64| Timestamp::from_millis(secs * 1000);
        // points, start, end, anchored, smoothed
        type Case<'c> = (&'c [(i64, f64)], i64, i64, f64, f64);
        let cases: &[Case<'_>] = &[
            (&[(0, 10.0), (10, 20.0), (20, 5.0), (30, 7.0)], 0, 30, 17.0, 17.0),
            // A reset across the left edge: half of the way from 0 to 4 is left.
            (&[(0, 10.0), (10, 4.0), (20, 6.0)], 5, 20, 6.0, 4.0),
            // A reset across the right edge: half of the way from 20 to 24.
            (&[(0, 10.0), (10, 20.0), (20, 4.0)], 0, 15, 10.0, 12.0),
        ];
        for (pairs, start, end, anchored, smoothed) in cases {
            let until: Vec<_> = pairs.iter().copied().filter(|(at, _)| at <= end).collect();
            let (from, to) = (second(*start), second(*end));
            let change =
                |points: &[Point], edges| Bounded::new(points, from, to, edges).map(|b| b.change(true));
            assert_eq!(change(&points(&until), Edges::Anchored), Some(*anchored), "{pairs:?}");
            assert_eq!(change(&points(pairs), Edges::Smoothed), Some(*smoothed), "{pairs:?}");
        }
        let before = points(&[(0, 1.0)]);
        assert!(Bounded::new(&before, second(0), second(10), Edges::Anchored).is_none());
        assert!(Bounded::new(&[], second(0), second(10), Edges::Smoothed).is_none());
    }
}
