//! The points of one series, in as little memory as most series need.
//!
//! Between two scrapes most values stay what they were, and all series of a page have the time of the scrape. So times
//! are kept once per source (`Times`), and a series keeps one `Run` of 12 bytes for every *change* of its value:
//! an unchanged sample costs nothing. A series whose samples bring times of their own keeps them as plain points.

use super::times::{Position, Times, grown};
use crate::engine::model::is_stale_marker;
use crate::engine::time::{Span, Timestamp};

/// One value at one time; the value may be the staleness marker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it was measured.
    pub at: Timestamp,
    /// The value.
    pub value: f64,
}

/// Why a point was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The series already has a later point.
    OutOfOrder,
    /// The series already has a point at this time.
    Duplicate,
}

/// Points in strictly ascending order of time.
#[derive(Clone, Debug)]
pub(super) enum Points {
    /// All of them at times of the source's observations.
    Shared(Runs),
    /// At least one had a time of its own.
    Own(Vec<Point>),
}

impl Default for Points {
    fn default() -> Self {
        Self::Shared(Runs::default())
    }
}

impl Points {
    /// Appends a point; it must be later than all others.
    pub(super) fn push(&mut self, times: &Times, point: Point) -> Result<(), Refused> {
        match self.last(times) {
            Some(last) if last.at == point.at => return Err(Refused::Duplicate),
            Some(last) if last.at > point.at => return Err(Refused::OutOfOrder),
            _ => {}
        }
        if let Self::Shared(runs) = self {
            if let Some(position) = times.last_position(point.at) {
                runs.push(position, point.value);
                return Ok(());
            }
            *self = Self::Own(self.all(times));
        }
        if let Self::Own(points) = self {
            if points.len() == points.capacity() {
                points.reserve_exact(grown(points.len()));
            }
            points.push(point);
        }
        Ok(())
    }

    /// Returns the newest point.
    pub(super) fn last(&self, times: &Times) -> Option<Point> {
        match self {
            Self::Shared(runs) => runs.newest_before(runs.end).map(|found| at_time(times, found)),
            Self::Own(points) => points.last().copied(),
        }
    }

    /// Returns the newest point that is not later than `until`, which may be a staleness marker.
    pub(super) fn newest(&self, times: &Times, until: Timestamp) -> Option<Point> {
        match self {
            Self::Shared(runs) => {
                runs.newest_before(times.position_after(until)).map(|found| at_time(times, found))
            }
            Self::Own(points) => points[..points.partition_point(|point| point.at <= until)].last().copied(),
        }
    }

    /// Appends to `out` the points after `after` and not after `until`, staleness markers left out.
    pub(super) fn read(&self, times: &Times, after: Timestamp, until: Timestamp, out: &mut Vec<Point>) {
        match self {
            Self::Shared(runs) => {
                let positions = times.position_after(after)..times.position_after(until);
                runs.each_within(positions, |positions, value| {
                    if !is_stale_marker(value) {
                        for at in times.range(positions) {
                            out.push(Point { at: *at, value });
                        }
                    }
                });
            }
            Self::Own(points) => {
                let first = points.partition_point(|point| point.at <= after);
                let end = points.partition_point(|point| point.at <= until);
                let inside = points.get(first..end).unwrap_or_default();
                out.extend(inside.iter().filter(|point| !is_stale_marker(point.value)));
            }
        }
    }

    /// Returns every point, staleness markers among them.
    pub(super) fn all(&self, times: &Times) -> Vec<Point> {
        match self {
            Self::Shared(runs) => {
                let mut all = Vec::with_capacity(self.len());
                runs.each_within(0..runs.end, |positions, value| {
                    all.extend(times.range(positions).iter().map(|at| Point { at: *at, value }));
                });
                all
            }
            Self::Own(points) => points.clone(),
        }
    }

    /// Returns the number of points.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Shared(runs) => runs.count_from(0),
            Self::Own(points) => points.len(),
        }
    }

    /// Returns the number of points that are not earlier than `from`.
    pub(super) fn count_since(&self, times: &Times, from: Timestamp) -> usize {
        match self {
            Self::Shared(runs) => runs.count_from(times.position_after(from - Span::from_millis(1))),
            Self::Own(points) => points.len() - points.partition_point(|point| point.at < from),
        }
    }

    /// Returns whether there is no point.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Shared(runs) => runs.runs.is_empty(),
            Self::Own(points) => points.is_empty(),
        }
    }

    /// Forgets every point before `horizon`, of whose times `first` is the first position that is left.
    pub(super) fn forget_before(&mut self, horizon: Timestamp, first: Position) {
        match self {
            Self::Shared(runs) => runs.forget_before(first),
            Self::Own(points) => {
                points.drain(..points.partition_point(|point| point.at < horizon));
            }
        }
    }
}

fn at_time(times: &Times, (position, value): (Position, f64)) -> Point {
    Point { at: times.at(position), value }
}

/// The bit of [`Run::start`] that tells a gap.
const GAP: Position = 1 << 31;

/// From one position on, until the next run: the same value at every observation, or nothing at all.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: Position,
    /// The value's bits in two halves: a whole would be aligned, and a third of the memory empty.
    bits: [u32; 2],
}

impl Run {
    fn new(start: Position, value: f64) -> Self {
        let bits = value.to_bits();
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        Self { start, bits: [bits as u32, (bits >> 32) as u32] }
    }

    fn gap(start: Position) -> Self {
        Self { start: start | GAP, bits: [0; 2] }
    }

    fn start(self) -> Position {
        self.start & !GAP
    }

    /// The value; `None` for a gap.
    fn value(self) -> Option<f64> {
        let [low, high] = self.bits.map(u64::from);
        (self.start & GAP == 0).then(|| f64::from_bits(low | high << 32))
    }
}

/// Values at positions. Neither the first nor the last run is a gap, and no two neighbours are.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    /// The position behind the last point.
    end: Position,
}

impl Runs {
    /// Appends a value at a position that is not before the end.
    fn push(&mut self, position: Position, value: f64) {
        let goes_on = self.end == position;
        let last = self.runs.last().and_then(|run| run.value());
        if goes_on && last.is_some_and(|last| last.to_bits() == value.to_bits()) {
            self.end += 1;
            return;
        }
        if !goes_on && !self.runs.is_empty() {
            self.add(Run::gap(self.end));
        }
        self.add(Run::new(position, value));
        self.end = position + 1;
    }

    fn add(&mut self, run: Run) {
        if self.runs.len() == self.runs.capacity() {
            self.runs.reserve_exact(if self.runs.is_empty() { 1 } else { grown(self.runs.len()) });
        }
        self.runs.push(run);
    }

    /// Returns the newest value before a position, with its own position.
    fn newest_before(&self, position: Position) -> Option<(Position, f64)> {
        let (run, before) = if position >= self.end {
            (*self.runs.last()?, self.end)
        } else {
            let until = self.runs.partition_point(|run| run.start() < position);
            let run = *self.runs[..until].last()?;
            match run.value() {
                Some(_) => (run, position),
                None => (*self.runs[..until - 1].last()?, run.start()),
            }
        };
        Some((before - 1, run.value()?))
    }

    /// Calls `each` with every run of one value within a range of positions.
    fn each_within(
        &self,
        positions: std::ops::Range<Position>,
        mut each: impl FnMut(std::ops::Range<Position>, f64),
    ) {
        let end = positions.end.min(self.end);
        if positions.start >= end {
            return;
        }
        let first = self.runs.partition_point(|run| run.start() <= positions.start).saturating_sub(1);
        let Some((mut run, following)) = self.runs[first..].split_first() else { return };
        let mut start = run.start().max(positions.start);
        if start >= end {
            return;
        }
        for next in following {
            let stop = next.start().min(end);
            if let Some(value) = run.value() {
                each(start..stop, value);
            }
            if stop == end {
                return;
            }
            (run, start) = (next, stop);
        }
        // The last run is never a gap, and goes on to the end.
        if let Some(value) = run.value() {
            each(start..end, value);
        }
    }

    fn count_from(&self, position: Position) -> usize {
        let mut count = 0;
        self.each_within(position..self.end, |positions, _| count += positions.len());
        count
    }

    fn forget_before(&mut self, first: Position) {
        if self.end <= first {
            *self = Self::default();
            return;
        }
        let mut old = self.runs.partition_point(|run| run.start() <= first).saturating_sub(1);
        // A gap in front says nothing.
        old += usize::from(self.runs[old].value().is_none());
        self.runs.drain(..old);
        let run = &mut self.runs[0];
        run.start = run.start.max(first);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::model::stale_marker;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn point(ms: i64) -> Point {
        Point { at: at(ms), value: ms as f64 }
    }

    #[test]
    fn points_only_go_forward() {
        for shared in [true, false] {
            let (mut points, mut times) = (Points::default(), Times::default());
            let mut push = |points: &mut Points, ms| {
                if shared {
                    times.advance(at(ms));
                }
                (points.push(&times, point(ms)), points.all(&times).len())
            };
            assert_eq!(push(&mut points, 10), (Ok(()), 1));
            assert_eq!(push(&mut points, 10), (Err(Refused::Duplicate), 1));
            assert_eq!(push(&mut points, 9), (Err(Refused::OutOfOrder), 1));
            assert_eq!(push(&mut points, 11), (Ok(()), 2));
            assert_eq!(matches!(points, Points::Shared(_)), shared);
        }
    }

    #[test]
    fn a_value_that_stays_costs_one_run() {
        let (mut points, mut times) = (Points::default(), Times::default());
        for ms in 0..1000 {
            times.advance(at(ms));
            let value = if ms < 500 { 0.0 } else { -0.0 };
            assert_eq!(points.push(&times, Point { at: at(ms), value }), Ok(()));
        }
        let Points::Shared(runs) = &points else { panic!("a shared time was taken for an own one") };
        assert_eq!((runs.runs.len(), points.len()), (2, 1000));
        assert_eq!(size_of::<Run>(), 12);
    }

    /// One step of a source: time passes, and the series has a value or none, at the source's time or its own.
    fn steps() -> impl Strategy<Value = Vec<(i64, Option<u64>, i64)>> {
        let special = [
            0,
            1 << 63,
            1.5f64.to_bits(),
            f64::NAN.to_bits(),
            f64::NAN.to_bits() | 1,
            stale_marker().to_bits(),
        ];
        let bits = prop_oneof![4 => prop::sample::select(special.to_vec()), 1 => any::<u64>()];
        let own = prop_oneof![40 => Just(0), 1 => -3..3i64];
        prop::collection::vec((0..4i64, prop::option::weighted(0.8, bits), own), 0..60)
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_bit_for_bit(steps in steps(), horizon in 0..60i64, window in (0..150i64, 0..150i64)) {
            let (mut points, mut times, mut now) = (Points::default(), Times::default(), 0);
            let mut plain: Vec<Point> = Vec::new();
            for (pause, bits, own) in steps {
                now += pause;
                times.advance(at(now));
                let Some(bits) = bits else { continue };
                let point = Point { at: at(now + own), value: f64::from_bits(bits) };
                let expected = match plain.last() {
                    Some(last) if last.at == point.at => Err(Refused::Duplicate),
                    Some(last) if last.at > point.at => Err(Refused::OutOfOrder),
                    _ => {
                        plain.push(point);
                        Ok(())
                    }
                };
                prop_assert_eq!(points.push(&times, point), expected);
            }
            let exact = |points: &[Point]| -> Vec<_> {
                points.iter().map(|point| (point.at, point.value.to_bits())).collect()
            };
            for _ in 0..2 {
                prop_assert_eq!(exact(&points.all(&times)), exact(&plain));
                prop_assert_eq!((points.len(), points.is_empty()), (plain.len(), plain.is_empty()));
                for until in -1..160 {
                    let newest = plain.iter().rfind(|point| point.at <= at(until)).copied();
                    let found = points.newest(&times, at(until));
                    prop_assert_eq!(exact(found.as_slice()), exact(newest.as_slice()), "until {}", until);
                    let since = plain.iter().filter(|point| point.at >= at(until)).count();
                    prop_assert_eq!(points.count_since(&times, at(until)), since, "since {}", until);
                }
                let (after, until) = (at(window.0), at(window.1));
                let inside = |p: &&Point| p.at > after && p.at <= until && !is_stale_marker(p.value);
                let expected: Vec<_> = plain.iter().filter(inside).copied().collect();
                let mut read = Vec::new();
                points.read(&times, after, until, &mut read);
                prop_assert_eq!(exact(&read), exact(&expected));

                // Once more, after what is old has been forgotten.
                let first = times.forget_before(at(horizon));
                points.forget_before(at(horizon), first);
                plain.retain(|point| point.at >= at(horizon));
            }
        }
    }
}
