//! The points of one series: a window that slides forward in time and is read as one slice.

use crate::engine::time::Timestamp;

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
///
/// Forgotten points stay in front of `head` until they are half of the memory, so that forgetting costs amortised
/// nothing and a window is always one slice.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    points: Vec<Point>,
    head: usize,
}

impl Points {
    /// Appends a point; it must be later than all others.
    pub(super) fn push(&mut self, point: Point) -> Result<(), Refused> {
        match self.points.last() {
            Some(last) if last.at == point.at => Err(Refused::Duplicate),
            Some(last) if last.at > point.at => Err(Refused::OutOfOrder),
            _ => {
                self.points.push(point);
                Ok(())
            }
        }
    }

    /// Returns the points that are still remembered, oldest first.
    pub(super) fn as_slice(&self) -> &[Point] {
        &self.points[self.head..]
    }

    /// Forgets every point before `horizon`.
    pub(super) fn forget_before(&mut self, horizon: Timestamp) {
        self.head += self.as_slice().partition_point(|point| point.at < horizon);
        if self.head == self.points.len() {
            self.points.clear();
            self.head = 0;
        } else if self.head > self.points.len() / 2 {
            self.points.drain(..self.head);
            self.head = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64) -> Point {
        Point { at: Timestamp::from_millis(at), value: at as f64 }
    }

    #[test]
    fn points_only_go_forward() {
        let mut points = Points::default();
        assert_eq!(points.push(point(10)), Ok(()));
        assert_eq!(points.push(point(10)), Err(Refused::Duplicate));
        assert_eq!(points.push(point(9)), Err(Refused::OutOfOrder));
        assert_eq!(points.push(point(11)), Ok(()));
        assert_eq!(points.as_slice(), [point(10), point(11)]);
    }

    #[test]
    fn forgetting_keeps_the_horizon_itself_and_what_follows() {
        let mut points = Points::default();
        for at in 0..100 {
            assert_eq!(points.push(point(at)), Ok(()));
        }
        for horizon in [0, 1, 40, 51, 99] {
            points.forget_before(Timestamp::from_millis(horizon));
            assert_eq!(points.as_slice().first(), Some(&point(horizon)), "{horizon}");
            assert_eq!(points.as_slice().len(), usize::try_from(100 - horizon).unwrap_or(0));
        }
        points.forget_before(Timestamp::from_millis(100));
        assert_eq!(points.as_slice(), []);
    }
}
