//! Functions of a range of points: `rate`, `increase`, everything `_over_time`.

use super::super::aggregations::{largest, smallest};
use super::super::ast::Edges;
use super::super::edges::Bounded;
use super::super::evaluate::{EvalError, Evaluation, VectorSample, unique};
use super::super::plan::{Scalar, Window};
use super::super::problem::TextSpan;
use super::super::summation::{Sum, mean, quantile, variance};
use super::regression::{deriv, predict_linear, smoothed};
use crate::engine::series::Point;
use crate::engine::time::{Span, Timestamp};

/// The points of one series with all that a function may want to know.
pub(super) struct Range<'p> {
    /// At least one.
    pub(super) points: &'p [Point],
    /// The instant that the range begins after.
    pub(super) start: Timestamp,
    /// The last instant of the range.
    pub(super) end: Timestamp,
    /// The time of evaluation, which `@` and `offset` do not move.
    pub(super) evaluated_at: Timestamp,
    pub(super) wall_offset: Span,
    /// `anchored` or `smoothed`: there are points around the range as well.
    pub(super) edges: Option<Edges>,
    /// The scalar arguments in order.
    pub(super) params: &'p [f64],
}

impl Range<'_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|point| point.value)
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        pairs(self.points)
    }

    /// Counts neighbours; in an anchored range the sample before it is a neighbour of the first one inside.
    fn count_pairs(&self, counts: impl Fn(f64, f64) -> bool) -> Option<f64> {
        let points = match self.edges {
            None => self.points,
            Some(edges) => Bounded::new(self.points, self.start, self.end, edges)?.points(),
        };
        Some(count(pairs(points).filter(|(before, after)| counts(*before, *after))))
    }

    fn wall_seconds(&self, point: Option<&Point>) -> Option<f64> {
        point.map(|point| (point.at + self.wall_offset).as_secs_f64())
    }
}

fn pairs(points: &[Point]) -> impl Iterator<Item = (f64, f64)> {
    points.windows(2).map(|pair| (pair[0].value, pair[1].value))
}

/// A function of a range: one number per series, or none.
#[derive(Debug)]
pub(in super::super) struct RangeFunction {
    name: &'static str,
    keeps_name: bool,
    compute: fn(&Range<'_>) -> Option<f64>,
}

impl RangeFunction {
    /// Returns the function of that name.
    pub(in super::super) fn named(name: &str) -> Option<&'static Self> {
        FUNCTIONS.iter().find(|function| function.name == name)
    }

    /// What is wrong with the scalar arguments, if something is.
    fn complaint(&self, params: &[f64]) -> Option<String> {
        if self.name != "double_exponential_smoothing" {
            return None;
        }
        let wrong = params.iter().find(|factor| !(**factor > 0.0 && **factor < 1.0))?;
        Some(format!("a smoothing factor must lie between 0 and 1, got {wrong}"))
    }
}

const fn drops(name: &'static str, compute: fn(&Range<'_>) -> Option<f64>) -> RangeFunction {
    RangeFunction { name, keeps_name: false, compute }
}

const fn keeps(name: &'static str, compute: fn(&Range<'_>) -> Option<f64>) -> RangeFunction {
    RangeFunction { name, keeps_name: true, compute }
}

const FUNCTIONS: &[RangeFunction] = &[
    drops("avg_over_time", |range| Some(mean(range.values()))),
    drops("changes", |range| {
        range.count_pairs(|before, after| before != after && !(before.is_nan() && after.is_nan()))
    }),
    drops("count_over_time", |range| Some(count(range.values()))),
    drops("delta", |range| extrapolated(range, Extrapolation::Delta)),
    drops("deriv", deriv),
    drops("double_exponential_smoothing", smoothed),
    keeps("first_over_time", |range| range.values().next()),
    drops("idelta", |range| instant(range, false)),
    drops("increase", |range| extrapolated(range, Extrapolation::Increase)),
    drops("irate", |range| instant(range, true)),
    keeps("last_over_time", |range| range.values().last()),
    drops("mad_over_time", |range| {
        let median = quantile(0.5, range.values().collect());
        Some(quantile(0.5, range.values().map(|value| (value - median).abs()).collect()))
    }),
    drops("max_over_time", |range| Some(largest(range.values()))),
    drops("min_over_time", |range| Some(smallest(range.values()))),
    drops("predict_linear", predict_linear),
    drops("present_over_time", |_| Some(1.0)),
    drops("quantile_over_time", |range| {
        let q = range.params.first().copied().unwrap_or(f64::NAN);
        Some(quantile(q, range.values().collect()))
    }),
    drops("rate", |range| extrapolated(range, Extrapolation::Rate)),
    drops("resets", |range| range.count_pairs(|before, after| after < before)),
    drops("stddev_over_time", |range| Some(variance(range.values()).sqrt())),
    drops("stdvar_over_time", |range| Some(variance(range.values()))),
    drops("sum_over_time", |range| Some(range.values().collect::<Sum>().value())),
    drops("ts_of_first_over_time", |range| range.wall_seconds(range.points.first())),
    drops("ts_of_last_over_time", |range| range.wall_seconds(range.points.last())),
    drops("ts_of_max_over_time", |range| {
        range.wall_seconds(extreme(range.points, |value, most| value >= most))
    }),
    drops("ts_of_min_over_time", |range| {
        range.wall_seconds(extreme(range.points, |value, least| value <= least))
    }),
];

#[expect(clippy::cast_precision_loss, reason = "no range has 2^53 points")]
fn count(items: impl Iterator) -> f64 {
    items.count() as f64
}

/// The last point whose value beats all before it.
fn extreme(points: &[Point], beats: impl Fn(f64, f64) -> bool) -> Option<&Point> {
    points.iter().reduce(
        |best, point| {
            if beats(point.value, best.value) || best.value.is_nan() { point } else { best }
        },
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extrapolation {
    /// A gauge's difference.
    Delta,
    /// A counter's increase.
    Increase,
    /// A counter's increase per second.
    Rate,
}

/// The change over the range, extrapolated to its edges (`extrapolatedRate` in Prometheus).
///
/// An edge that is farther away than 1.1 average intervals is one where the series began or ended: there only half an
/// interval is added. A counter is never extrapolated below zero.
fn extrapolated(range: &Range<'_>, kind: Extrapolation) -> Option<f64> {
    if let Some(edges) = range.edges {
        return bounded(range, edges, kind);
    }
    let [first, .., last] = range.points else { return None };
    let counter = kind != Extrapolation::Delta;
    let mut change = last.value - first.value;
    if counter {
        change +=
            range.pairs().filter(|(before, after)| after < before).map(|(before, _)| before).sum::<f64>();
    }
    let mut to_start = (first.at - range.start).as_secs_f64();
    let mut to_end = (range.end - last.at).as_secs_f64();
    let sampled = (last.at - first.at).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "no range has 2^53 points")]
    let average = sampled / (range.points.len() - 1) as f64;
    let threshold = average * 1.1;
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if counter {
        let to_zero =
            if change > 0.0 && first.value >= 0.0 { sampled * (first.value / change) } else { to_start };
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if kind == Extrapolation::Rate {
        factor /= (range.end - range.start).as_secs_f64();
    }
    Some(change * factor)
}

/// The change between the edges of the range, where they are known: nothing to extrapolate.
fn bounded(range: &Range<'_>, edges: Edges, kind: Extrapolation) -> Option<f64> {
    let change =
        Bounded::new(range.points, range.start, range.end, edges)?.change(kind != Extrapolation::Delta);
    let seconds = if kind == Extrapolation::Rate { (range.end - range.start).as_secs_f64() } else { 1.0 };
    Some(change / seconds)
}

/// The change between the last two points; per second for a counter (`instantValue` in Prometheus).
fn instant(range: &Range<'_>, rate: bool) -> Option<f64> {
    let [.., before, last] = range.points else { return None };
    if !rate {
        return Some(last.value - before.value);
    }
    let change = if last.value < before.value { last.value } else { last.value - before.value };
    Some(change / (last.at - before.at).as_secs_f64())
}

impl Evaluation<'_> {
    pub(in super::super) fn rolling(
        &self,
        function: &RangeFunction,
        window: &Window,
        params: &[Scalar],
        at: Timestamp,
        span: TextSpan,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let params = params.iter().map(|param| self.scalar(param, at)).collect::<Result<Vec<_>, _>>()?;
        let windows = self.window(window, at)?;
        if let Some(complaint) = function.complaint(&params) {
            return Err(EvalError::new(span, complaint));
        }
        let element = |series: &super::super::selectors::WindowSeries<'_>| {
            let range = Range {
                points: &series.points,
                start: windows.start,
                end: windows.end,
                evaluated_at: at,
                wall_offset: self.context.wall_offset,
                edges: window.edges,
                params: &params,
            };
            let labels = if function.keeps_name { &series.labels } else { &series.nameless };
            (function.compute)(&range).map(|value| VectorSample { labels: labels.clone(), value })
        };
        let vector: Vec<_> = windows.series.iter().filter_map(element).collect();
        if function.keeps_name { Ok(vector) } else { unique(vector, span) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute(name: &str, points: &[(i64, f64)], start: i64, end: i64, params: &[f64]) -> Option<f64> {
        let points: Vec<_> = points
            .iter()
            .map(|(secs, value)| Point { at: Timestamp::from_millis(secs * 1000), value: *value })
            .collect();
        let range = Range {
            points: &points,
            start: Timestamp::from_millis(start * 1000),
            end: Timestamp::from_millis(end * 1000),
            evaluated_at: Timestamp::from_millis(end * 1000),
            wall_offset: Span::from_secs(1000),
            edges: None,
            params,
        };
        RangeFunction::named(name).and_then(|function| (function.compute)(&range))
    }

    #[test]
    fn counters_extrapolate_as_in_prometheus() {
        // points, start, end, increase
        type Case<'c> = (&'c [(i64, f64)], i64, i64, Option<f64>);
        let cases: &[Case<'_>] = &[
            (&[(10, 5.0)], 0, 10, None),
            (&[(10, 0.0), (20, 10.0)], 0, 20, Some(10.0)),
            (&[(10, 100.0), (20, 110.0)], 0, 20, Some(20.0)),
            (&[(10, 100.0), (20, 110.0)], -100, 20, Some(15.0)),
            (&[(10, 100.0), (20, 110.0)], 10, 100, Some(15.0)),
            (&[(10, 3.0), (20, 1.0)], 10, 20, Some(1.0)),
            (&[(10, 1.0), (20, 21.0)], 0, 20, Some(21.0)),
        ];
        for (points, start, end, expected) in cases {
            let found = compute("increase", points, *start, *end, &[]);
            assert_eq!(found, *expected, "{points:?} in {start}..{end}");
            let seconds = f64::from(i32::try_from(end - start).unwrap_or(1));
            let rate = compute("rate", points, *start, *end, &[]);
            assert_eq!(rate.map(|rate| (rate * seconds * 1e9).round()), expected.map(|e| (e * 1e9).round()));
        }
    }

    #[test]
    fn functions_over_time() {
        let points = &[(1, 2.0), (2, 4.0), (3, f64::NAN), (4, f64::NAN), (5, 4.0), (6, 1.0)];
        let cases: &[(&str, &[f64], f64)] = &[
            ("count_over_time", &[], 6.0),
            ("changes", &[], 4.0),
            ("resets", &[], 1.0),
            ("first_over_time", &[], 2.0),
            ("last_over_time", &[], 1.0),
            ("max_over_time", &[], 4.0),
            ("min_over_time", &[], 1.0),
            ("present_over_time", &[], 1.0),
            ("irate", &[], 1.0),
            ("idelta", &[], -3.0),
            ("ts_of_max_over_time", &[], 1005.0),
            ("ts_of_min_over_time", &[], 1006.0),
            ("ts_of_first_over_time", &[], 1001.0),
            ("quantile_over_time", &[1.0], 4.0),
        ];
        for (name, params, expected) in cases {
            assert_eq!(compute(name, points, 0, 6, params), Some(*expected), "{name}");
        }
        assert!(compute("sum_over_time", points, 0, 6, &[]).is_some_and(f64::is_nan));
    }
}
