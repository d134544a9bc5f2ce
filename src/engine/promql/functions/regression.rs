//! Functions that fit a line or a trend to a range.

use super::range::Range;
use crate::engine::promql::summation::Sum;
use crate::engine::series::Point;
use crate::engine::time::Timestamp;

/// The slope of the least-squares line, per second.
pub(super) fn deriv(range: &Range<'_>) -> Option<f64> {
    let [first, _, ..] = range.points else { return None };
    Some(line(range.points, first.at).0)
}

/// What the least-squares line says for the first argument's number of seconds after the time of evaluation.
pub(super) fn predict_linear(range: &Range<'_>) -> Option<f64> {
    let ([_, _, ..], [ahead, ..]) = (range.points, range.params) else { return None };
    let (slope, intercept) = line(range.points, range.evaluated_at);
    Some(slope * ahead + intercept)
}

/// Slope per second, and the value at `origin` (`linearRegression` in Prometheus).
fn line(points: &[Point], origin: Timestamp) -> (f64, f64) {
    let mut n = 0.0;
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for point in points {
        let x = (point.at - origin).as_secs_f64();
        n += 1.0;
        x_sum.add(x);
        y_sum.add(point.value);
        xy_sum.add(x * point.value);
        xx_sum.add(x * x);
    }
    let constant = points.first().map_or(f64::NAN, |point| point.value);
    #[expect(
        clippy::float_cmp,
        reason = "a line through equal values is exact, whatever rounding would make of it"
    )]
    if points.iter().all(|point| point.value == constant) {
        return if constant.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, constant) };
    }
    let (x, y) = (x_sum.compensated(), y_sum.compensated());
    let covariance = xy_sum.compensated() - x * y / n;
    let variance = xx_sum.compensated() - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// Holt's double exponential smoothing with the arguments smoothing factor and trend factor.
pub(super) fn smoothed(range: &Range<'_>) -> Option<f64> {
    let ([first, second, ..], [smoothing, trending]) = (range.points, range.params) else { return None };
    let (mut before, mut level) = (0.0, first.value);
    let mut trend = second.value - first.value;
    for (at, point) in range.points.iter().enumerate().skip(1) {
        if at > 1 {
            trend = trending * (level - before) + (1.0 - trending) * trend;
        }
        let next = smoothing * point.value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}
