//! The times of one source's observations, which most of its series share.

use std::ops::Range;

use crate::engine::time::Timestamp;

/// Where in the [`Times`] of its source a point lies; grows by one with every observation.
pub(super) type Position = u32;

/// Positions beyond this are not given out: the bit above marks gaps in [`super::points::Points`].
const MAX_POSITION: Position = (1 << 31) - 2;

/// The times of observations in strictly ascending order, each with its [`Position`].
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    times: Vec<Timestamp>,
    /// The position of the first of `times`.
    first: Position,
}

impl Times {
    /// Adds the time of an observation, unless it is there already or one is later.
    ///
    /// At one observation per second positions last for 68 years; after that nothing is added, and series keep times of
    /// their own.
    pub(super) fn advance(&mut self, at: Timestamp) {
        if self.end() <= MAX_POSITION && self.times.last().is_none_or(|last| *last < at) {
            if self.times.len() == self.times.capacity() {
                self.times.reserve_exact(grown(self.times.len()));
            }
            self.times.push(at);
        }
    }

    /// Returns the position of the last observation if it was at this time.
    pub(super) fn last_position(&self, at: Timestamp) -> Option<Position> {
        (self.times.last() == Some(&at)).then(|| self.end() - 1)
    }

    /// Returns the position of the first time after `at`; [`Times::end`] where there is none.
    pub(super) fn position_after(&self, at: Timestamp) -> Position {
        match self.times.last() {
            Some(last) if *last > at => self.first + position(self.times.partition_point(|time| *time <= at)),
            _ => self.end(),
        }
    }

    /// Returns the time at a position that has not been forgotten.
    pub(super) fn at(&self, at: Position) -> Timestamp {
        self.times[(at - self.first) as usize]
    }

    /// Returns the times at a range of positions that have not been forgotten.
    pub(super) fn range(&self, positions: Range<Position>) -> &[Timestamp] {
        &self.times[(positions.start - self.first) as usize..(positions.end - self.first) as usize]
    }

    /// Returns the position behind the last one.
    pub(super) fn end(&self) -> Position {
        self.first + position(self.times.len())
    }

    /// Returns whether at least an eighth of the times lies before `horizon`: then it is worth the way through all series.
    /// Without any times it always is.
    pub(super) fn are_old(&self, horizon: Timestamp) -> bool {
        self.times.get(self.times.len() / 8).is_none_or(|time| *time < horizon)
    }

    /// Forgets times before `horizon`; returns the first position that is left, which every series has to follow.
    pub(super) fn forget_before(&mut self, horizon: Timestamp) -> Position {
        let old = self.times.partition_point(|time| *time < horizon);
        self.times.drain(..old);
        self.first += position(old);
        self.first
    }
}

/// How many more elements a full vector of so many makes room for: a quarter, because windows stop growing when they are
/// full and slack is memory that is never used.
pub(super) fn grown(len: usize) -> usize {
    (len / 4).max(2)
}

/// A number of times as a difference of positions.
fn position(count: usize) -> Position {
    // There are never more times than positions.
    Position::try_from(count).unwrap_or(MAX_POSITION)
}
