//! Selectors and windows: what of the store an evaluation sees.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::evaluate::{EvalError, Evaluation, LOOKBACK, STEP_WORK, VectorSample};
use super::plan::{Select, Vector, Window, WindowSource};
use super::problem::TextSpan;
use crate::engine::model::{Labels, is_stale_marker};
use crate::engine::series::{Point, Selector, SeriesId, Store};
use crate::engine::time::{Span, Timestamp};

/// The series that a selector selects.
enum Seen<'s> {
    /// As they are.
    Plain(Cow<'s, [SeriesId]>),
    /// Some of them in place of another source's, under the labels that they appear with.
    Moved(Vec<(SeriesId, Labels)>),
}

impl Seen<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Plain(ids) => ids.len(),
            Self::Moved(series) => series.len(),
        }
    }

    /// Calls `each` with every series and its labels.
    fn each<'s, E>(
        &'s self,
        store: &'s Store,
        mut each: impl FnMut(SeriesId, &'s Labels) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Plain(ids) => ids.iter().try_for_each(|id| each(*id, store[*id].labels())),
            Self::Moved(series) => series.iter().try_for_each(|(id, labels)| each(*id, labels)),
        }
    }
}

/// The points of one series within a range of time; at least one, none a staleness marker.
#[derive(Clone, Copy)]
pub(super) struct WindowSeries<'w> {
    pub(super) labels: &'w Labels,
    pub(super) points: &'w [Point],
    /// The instant that the range begins after.
    pub(super) start: Timestamp,
    /// The last instant of the range.
    pub(super) end: Timestamp,
}

impl<'a> Evaluation<'a> {
    pub(super) fn select(
        &self,
        select: &Select,
        at: Timestamp,
        span: TextSpan,
    ) -> Result<Vec<VectorSample>, EvalError> {
        self.instants(select, at, span, |labels, point| VectorSample {
            labels: labels.clone(),
            value: point.value,
        })
    }

    pub(super) fn sample_times(
        &self,
        select: &Select,
        at: Timestamp,
        span: TextSpan,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let vector = self.instants(select, at, span, |labels, point| VectorSample {
            labels: labels.without_name(),
            value: self.wall_seconds(point.at),
        })?;
        super::evaluate::unique(vector, span)
    }

    fn instants(
        &self,
        select: &Select,
        at: Timestamp,
        span: TextSpan,
        sample: impl Fn(&Labels, Point) -> VectorSample,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let at = self.moment(&select.moment, at)?;
        let seen = self.seen(&select.selector);
        self.spend(seen.len(), span)?;
        let oldest = self.cut(at - LOOKBACK);
        let mut vector = Vec::with_capacity(seen.len());
        seen.each(self.store, |id, labels| {
            if let Some(point) = self.store.newest(id, at)
                && point.at > oldest
                && !is_stale_marker(point.value)
            {
                self.saw(point.at);
                vector.push(sample(labels, point));
            }
            Ok(())
        })?;
        Ok(vector)
    }

    /// Returns the later of the instant that a range begins after and the one that fresh eyes begin after.
    fn cut(&self, after: Timestamp) -> Timestamp {
        match self.context.not_before {
            Some(not_before) => after.max(not_before - Span::from_millis(1)),
            None => after,
        }
    }

    /// Calls `each` with every series that has points in the window, in the order of the store or of labels.
    ///
    /// The points lie in memory that the next series overwrites: a window over thousands of series needs no more than
    /// one of them does.
    pub(super) fn each_window(
        &self,
        window: &Window,
        at: Timestamp,
        mut each: impl FnMut(WindowSeries<'_>) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let end = self.moment(&window.moment, at)?;
        let range = self.positive_length(&window.range, at)?;
        let start = self.cut(end - range);
        match &window.source {
            WindowSource::Selector(selector) => {
                // With edges there are points around the range as well.
                let (after, until) = match window.edges {
                    None => (start, end),
                    Some(edges) => (self.cut(end - range - LOOKBACK), end + edges.lookahead()),
                };
                // Taken, not borrowed: what `each` evaluates may need memory of its own.
                let mut points = self.scratch.take();
                let result = self.seen(selector).each(self.store, |id, labels| {
                    points.clear();
                    self.store.read(id, after, until, &mut points);
                    self.spend(points.len() + 1, window.span)?;
                    let Some(last) = points.last() else { return Ok(()) };
                    self.saw(last.at);
                    each(WindowSeries { labels, points: &points, start, end })
                });
                self.scratch.replace(points);
                result
            }
            WindowSource::Subquery { expr, step, nested_steps } => {
                let step = self.positive_length(step, at)?;
                self.afford_steps(end - start, step, *nested_steps, window.span)?;
                let series = self.subquery(expr, step, start, end, window.span)?;
                series
                    .iter()
                    .try_for_each(|(labels, points)| each(WindowSeries { labels, points, start, end }))
            }
        }
    }

    /// Evaluates `expr` at every multiple of `step` (since the Unix epoch) within the range.
    fn subquery(
        &self,
        expr: &Vector,
        step: Span,
        start: Timestamp,
        end: Timestamp,
        span: TextSpan,
    ) -> Result<BTreeMap<Labels, Vec<Point>>, EvalError> {
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
        Ok(series)
    }

    fn seen(&self, selector: &Selector) -> Seen<'a> {
        let store = self.store;
        let moved = &self.context.read_instead;
        if moved.is_empty() {
            return Seen::Plain(store.select(selector));
        }
        let mut seen = Vec::new();
        for id in store.ids() {
            let (source, labels) = (store[id].source(), store[id].labels());
            if !moved.contains_key(source) && selector.selects(source, labels) {
                seen.push((id, labels.clone()));
            }
            for (from, _) in moved.iter().filter(|(_, to)| *to == source) {
                let as_from = match labels.get("job") {
                    Some(job) if job == source.as_str() => labels.with("job", from.as_str()),
                    _ => labels.clone(),
                };
                if selector.selects(from, &as_from) {
                    seen.push((id, as_from));
                }
            }
        }
        seen.sort_by(|(_, left), (_, right)| left.cmp(right));
        Seen::Moved(seen)
    }
}
