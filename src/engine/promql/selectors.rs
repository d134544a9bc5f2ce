//! Selectors and windows: what of the store an evaluation sees.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::evaluate::{EvalError, Evaluation, LOOKBACK, STEP_WORK, VectorSample};
use super::plan::{Select, Vector, Window, WindowSource};
use super::problem::TextSpan;
use crate::engine::model::{Labels, is_stale_marker};
use crate::engine::series::{Point, Selector, Series};
use crate::engine::time::{Span, Timestamp};

/// A selected series under the labels that it appears with.
struct Seen<'s> {
    series: &'s Series,
    /// Present where the series is read in place of another source's.
    relabelled: Option<Labels>,
}

impl Seen<'_> {
    fn labels(&self) -> Labels {
        self.relabelled.as_ref().unwrap_or(self.series.labels()).clone()
    }

    fn nameless(&self) -> Labels {
        self.relabelled.as_ref().map_or_else(|| self.series.nameless().clone(), Labels::without_name)
    }
}

/// The points of several series within the same range of time.
pub(super) struct Windows<'s> {
    /// The instant that the range begins after.
    pub(super) start: Timestamp,
    /// The last instant of the range.
    pub(super) end: Timestamp,
    /// The series that have at least one point.
    pub(super) series: Vec<WindowSeries<'s>>,
}

/// The points of one series; at least one, none a staleness marker.
pub(super) struct WindowSeries<'s> {
    pub(super) labels: Labels,
    pub(super) nameless: Labels,
    pub(super) points: Cow<'s, [Point]>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn select(
        &self,
        select: &Select,
        at: Timestamp,
        span: TextSpan,
    ) -> Result<Vec<VectorSample>, EvalError> {
        self.instants(select, at, span, |seen, point| VectorSample {
            labels: seen.labels(),
            value: point.value,
        })
    }

    pub(super) fn sample_times(
        &self,
        select: &Select,
        at: Timestamp,
        span: TextSpan,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let vector = self.instants(select, at, span, |seen, point| VectorSample {
            labels: seen.nameless(),
            value: self.wall_seconds(point.at),
        })?;
        super::evaluate::unique(vector, span)
    }

    fn instants(
        &self,
        select: &Select,
        at: Timestamp,
        span: TextSpan,
        sample: impl Fn(&Seen<'_>, Point) -> VectorSample,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let at = self.moment(&select.moment, at)?;
        let seen = self.seen(&select.selector);
        self.spend(seen.len(), span)?;
        let oldest = self.cut(at - LOOKBACK);
        let mut vector = Vec::with_capacity(seen.len());
        for series in &seen {
            let points = series.series.points();
            let before = points.partition_point(|point| point.at <= at);
            if let Some(point) = points[..before].last()
                && point.at > oldest
                && !is_stale_marker(point.value)
            {
                self.saw(point.at);
                vector.push(sample(series, *point));
            }
        }
        Ok(vector)
    }

    /// Returns the later of the instant that a range begins after and the one that fresh eyes begin after.
    fn cut(&self, after: Timestamp) -> Timestamp {
        match self.context.not_before {
            Some(not_before) => after.max(not_before - Span::from_millis(1)),
            None => after,
        }
    }

    pub(super) fn window(&self, window: &Window, at: Timestamp) -> Result<Windows<'a>, EvalError> {
        let end = self.moment(&window.moment, at)?;
        let range = self.positive_length(&window.range, at)?;
        let start = self.cut(end - range);
        let series = match (&window.source, window.edges) {
            (WindowSource::Selector(selector), None) => {
                self.raw_windows(selector, start, end, window.span)?
            }
            (WindowSource::Selector(selector), Some(edges)) => {
                let before = self.cut(end - range - LOOKBACK);
                self.raw_windows(selector, before, end + edges.lookahead(), window.span)?
            }
            (WindowSource::Subquery { expr, step, nested_steps }, _) => {
                let step = self.positive_length(step, at)?;
                self.afford_steps(end - start, step, *nested_steps, window.span)?;
                self.subquery_windows(expr, step, start, end, window.span)?
            }
        };
        Ok(Windows { start, end, series })
    }

    fn raw_windows(
        &self,
        selector: &Selector,
        start: Timestamp,
        end: Timestamp,
        span: TextSpan,
    ) -> Result<Vec<WindowSeries<'a>>, EvalError> {
        let seen = self.seen(selector);
        let mut windows = Vec::with_capacity(seen.len());
        for series in &seen {
            let points = series.series.points();
            let first = points.partition_point(|point| point.at <= start);
            let until = points.partition_point(|point| point.at <= end);
            let inside = points.get(first..until).unwrap_or_default();
            self.spend(inside.len() + 1, span)?;
            let points = if inside.iter().any(|point| is_stale_marker(point.value)) {
                Cow::Owned(inside.iter().filter(|point| !is_stale_marker(point.value)).copied().collect())
            } else {
                Cow::Borrowed(inside)
            };
            let Some(last) = points.last() else { continue };
            self.saw(last.at);
            windows.push(WindowSeries { labels: series.labels(), nameless: series.nameless(), points });
        }
        Ok(windows)
    }

    /// Evaluates `expr` at every multiple of `step` (since the Unix epoch) within the range.
    fn subquery_windows(
        &self,
        expr: &Vector,
        step: Span,
        start: Timestamp,
        end: Timestamp,
        span: TextSpan,
    ) -> Result<Vec<WindowSeries<'a>>, EvalError> {
        let mut series: BTreeMap<Labels, Vec<Point>> = BTreeMap::new();
        let wall = (start + self.context.wall_offset).as_millis();
        let step_ms = step.as_millis().max(1);
        let first = Timestamp::from_millis(wall.div_euclid(step_ms).saturating_mul(step_ms)) + step;
        let mut at = first - self.context.wall_offset;
        while at <= end {
            let vector = self.vector(expr, at)?;
            self.spend(vector.len() + STEP_WORK, span)?;
            self.hold(vector.len(), span)?;
            for sample in vector {
                series.entry(sample.labels).or_default().push(Point { at, value: sample.value });
            }
            at += step;
        }
        let window = |(labels, points): (Labels, Vec<Point>)| WindowSeries {
            nameless: labels.without_name(),
            labels,
            points: Cow::Owned(points),
        };
        Ok(series.into_iter().map(window).collect())
    }

    fn seen(&self, selector: &Selector) -> Vec<Seen<'a>> {
        let store = self.store;
        if self.context.read_instead.is_empty() {
            let ids = store.select(selector);
            return ids.iter().map(|id| Seen { series: &store[*id], relabelled: None }).collect();
        }
        let moved = &self.context.read_instead;
        let mut seen = Vec::new();
        for series in store.ids().map(|id| &store[id]) {
            let (source, labels) = (series.source(), series.labels());
            if !moved.contains_key(source) && selector.selects(source, labels) {
                seen.push(Seen { series, relabelled: None });
            }
            for (from, _) in moved.iter().filter(|(_, to)| *to == source) {
                let as_from = match labels.get("job") {
                    Some(job) if job == source.as_str() => labels.with("job", from.as_str()),
                    _ => labels.clone(),
                };
                if selector.selects(from, &as_from) {
                    seen.push(Seen { series, relabelled: Some(as_from) });
                }
            }
        }
        seen.sort_by_key(Seen::labels);
        seen
    }
}
