//! The store: series by source, their recent points, and who may read which.

pub mod excerpt;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::matcher::Selector;
use super::observation::Observation;
use super::points::{Point, Points, Refused};
use crate::engine::model::{Labels, METRIC_NAME, Sample, SourceName, is_stale_marker, stale_marker};
use crate::engine::time::{Span, Timestamp};

/// How far ahead of its observation a sample's own timestamp may lie, as in Prometheus (`scrape.maxAheadTime`).
///
/// Without the bound one wrong clock would block a series until time has caught up.
const MAX_AHEAD: Span = Span::from_secs(600);

/// The series that every observation adds; they are kept whether or not a rule asks for them.
const SYNTHETIC: [&str; 3] = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];

/// What the store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long points are kept; at least the farthest reach of all plans that read the store.
    pub retention: Span,
    /// How many series one source may have, those counted that ended but are still within retention.
    pub series_per_source: usize,
}

/// Which series are kept.
#[derive(Clone, Debug)]
pub enum Interest {
    /// All of them.
    Everything,
    /// Those that one of the selectors selects, and `up`, `scrape_duration_seconds`, `scrape_samples_scraped`.
    Selectors(Vec<Selector>),
}

/// Names one series for as long as it is kept; never reused while anything refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesId(usize);

/// One series and its recent points.
#[derive(Clone, Debug)]
pub struct Series {
    source: SourceName,
    labels: Labels,
    nameless: Labels,
    points: Points,
}

impl Series {
    /// Returns the source that it came from.
    pub fn source(&self) -> &SourceName {
        &self.source
    }

    /// Returns its labels, metric name included.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Returns its labels without the metric name; cheaper than to make them at each evaluation.
    pub fn nameless(&self) -> &Labels {
        &self.nameless
    }

    /// Returns its points, oldest first, staleness markers among them.
    pub fn points(&self) -> &[Point] {
        self.points.as_slice()
    }
}

/// What became of one observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Samples that were appended, the synthetic ones not counted.
    pub appended: usize,
    /// Samples refused because the series already has a later one.
    pub out_of_order: usize,
    /// Samples refused because the series already has one at the same time.
    pub duplicates: usize,
    /// Samples refused because their own timestamp lies more than ten minutes ahead.
    pub too_far_ahead: usize,
    /// Samples that no loaded rule can select.
    pub unwanted: usize,
    /// Series that ended with this observation: absent from the answer, or the source failed.
    pub ended: usize,
}

/// A source has more series than it may; nothing of its answer was ingested.
///
/// The caller turns it into a failed scrape, so that the series end instead of standing still (E2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "source `{source_name}` would have {series} series, its limit is {limit}: raise the limit, or let it expose fewer label values"
)]
pub struct TooManySeries {
    /// The source.
    pub source_name: SourceName,
    /// How many series it would have.
    pub series: usize,
    /// How many it may have.
    pub limit: usize,
}

#[derive(Clone, Debug, Default)]
struct SourceState {
    series: BTreeMap<Labels, SeriesId>,
    /// The series of the last answer, sorted: those that get a marker when the next answer lacks them.
    present: Vec<SeriesId>,
    /// The `instance` that the last answer's samples agreed on; a failed scrape has none of its own.
    instance: Option<String>,
}

/// A selector of the loaded rules with the series that it selects, kept up to date as series come and go.
#[derive(Clone, Debug)]
struct Resolved {
    selector: Selector,
    /// Sorted by source and labels, so that results do not depend on the order of arrival (E1).
    series: Vec<SeriesId>,
}

/// Remembers the recent samples of every series that is of interest.
#[derive(Clone, Debug)]
pub struct Store {
    limits: Limits,
    interest: Interest,
    series: Vec<Option<Series>>,
    free: Vec<SeriesId>,
    sources: BTreeMap<SourceName, SourceState>,
    /// By the selector's key.
    resolved: BTreeMap<Arc<str>, Resolved>,
}

impl Store {
    /// Makes an empty store that keeps everything.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            interest: Interest::Everything,
            series: Vec::new(),
            free: Vec::new(),
            sources: BTreeMap::new(),
            resolved: BTreeMap::new(),
        }
    }

    /// Changes the limits; points beyond a shorter retention go at the next observation.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Changes which series are kept. What is no longer of interest is dropped; what newly is starts empty.
    pub fn set_interest(&mut self, interest: Interest) {
        self.interest = interest;
        self.resolved.clear();
        let unwanted: Vec<_> =
            self.ids().filter(|id| !self.wants(self[*id].source(), self[*id].labels())).collect();
        for id in unwanted {
            self.drop_series(id);
        }
        if let Interest::Selectors(selectors) = &self.interest {
            let resolved = selectors
                .iter()
                .map(|s| (s.key().clone(), Resolved { selector: s.clone(), series: self.scan(s) }))
                .collect();
            self.resolved = resolved;
        }
    }

    /// Returns whether a series could be of interest, judged by its name alone: a cheap test before labels are parsed.
    pub fn may_want(&self, metric_name: &str) -> bool {
        match &self.interest {
            Interest::Everything => true,
            Interest::Selectors(selectors) => {
                SYNTHETIC.contains(&metric_name) || selectors.iter().any(|s| s.may_select_name(metric_name))
            }
        }
    }

    /// Returns whether a series is of interest.
    pub fn wants(&self, source: &SourceName, labels: &Labels) -> bool {
        match &self.interest {
            Interest::Everything => true,
            Interest::Selectors(selectors) => {
                SYNTHETIC.contains(&labels.metric_name())
                    || selectors.iter().any(|s| s.selects(source, labels))
            }
        }
    }

    /// Takes in what a source said, or that it failed.
    ///
    /// Adds `up`, `scrape_duration_seconds` and `scrape_samples_scraped`, ends every series that was there the last
    /// time and is not now, and forgets what is older than the retention.
    ///
    /// # Errors
    ///
    /// The source would have more series than it may. Nothing was changed.
    pub fn ingest(&mut self, observation: &Observation) -> Result<Ingested, TooManySeries> {
        let source = &observation.source;
        let samples = observation.answer.as_deref().unwrap_or_default();
        let mut counts = Ingested::default();
        let wanted: Vec<&Sample> = samples
            .iter()
            .filter(|s| self.known(source, &s.labels).is_some() || self.wants(source, &s.labels))
            .collect();
        counts.unwanted = samples.len() - wanted.len();
        self.check_limit(source, &wanted)?;

        if !samples.is_empty() {
            self.state(source).instance = agreed_instance(samples);
        }
        let mut present: Vec<_> = self.append_synthetic(observation);
        for sample in wanted {
            if sample.at > observation.at + MAX_AHEAD {
                counts.too_far_ahead += 1;
                continue;
            }
            let id = self.find_or_create(source, &sample.labels);
            present.push(id);
            match self.push(id, Point { at: sample.at, value: sample.value }) {
                Ok(()) => counts.appended += 1,
                Err(Refused::OutOfOrder) => counts.out_of_order += 1,
                Err(Refused::Duplicate) => counts.duplicates += 1,
            }
        }
        present.sort_unstable();
        present.dedup();
        let before = std::mem::replace(&mut self.state(source).present, present);
        counts.ended = self.end_vanished(source, &before, observation.at);
        self.forget(source, observation.at - self.limits.retention);
        Ok(counts)
    }

    /// Appends one sample outside of any observation: test scripts and recordings, which bring their own markers.
    ///
    /// Returns whether it was appended; an earlier or equal time than the series' last one is refused.
    pub fn append(&mut self, source: &SourceName, sample: &Sample) -> bool {
        let id = self.find_or_create(source, &sample.labels);
        self.push(id, Point { at: sample.at, value: sample.value }).is_ok()
    }

    /// Forgets every point before `now` minus the retention, of all sources: for sources that are asked no more.
    pub fn retain(&mut self, now: Timestamp) {
        let names: Vec<_> = self.sources.keys().cloned().collect();
        for source in names {
            self.forget(&source, now - self.limits.retention);
        }
    }

    /// Drops a source that is no longer configured, with all its series.
    pub fn remove_source(&mut self, source: &SourceName) {
        if let Some(state) = self.sources.get_mut(source) {
            state.present.clear();
            let ids: Vec<_> = state.series.values().copied().collect();
            for id in ids {
                self.drop_series(id);
            }
            self.sources.remove(source);
        }
    }

    /// Returns the series that `selector` selects, ordered by source and labels.
    ///
    /// Free of work for the selectors of the loaded rules, a scan for others.
    pub fn select(&self, selector: &Selector) -> Cow<'_, [SeriesId]> {
        match self.resolved.get(selector.key()) {
            Some(resolved) => Cow::Borrowed(&resolved.series),
            None => Cow::Owned(self.scan(selector)),
        }
    }

    /// Returns whether everything that `selector` could select is kept, so that "nothing" means "there is nothing".
    pub fn keeps(&self, selector: &Selector) -> bool {
        matches!(self.interest, Interest::Everything) || self.resolved.contains_key(selector.key())
    }

    /// Returns the sources that have answered or failed at least once.
    pub fn sources(&self) -> impl Iterator<Item = &SourceName> {
        self.sources.keys()
    }

    /// Iterates over all series, ordered by source and labels.
    pub fn ids(&self) -> impl Iterator<Item = SeriesId> {
        self.sources.values().flat_map(|state| state.series.values().copied())
    }

    /// Returns the number of series.
    pub fn series_count(&self) -> usize {
        self.series.len() - self.free.len()
    }

    /// Returns the number of points of all series, markers included.
    pub fn point_count(&self) -> usize {
        self.series.iter().flatten().map(|series| series.points().len()).sum()
    }

    fn scan(&self, selector: &Selector) -> Vec<SeriesId> {
        let sources = self.sources.iter().filter(|(name, _)| selector.sources().contains(name));
        sources
            .flat_map(|(_, state)| state.series.iter())
            .filter(|(labels, _)| selector.matches(labels))
            .map(|(_, id)| *id)
            .collect()
    }

    fn state(&mut self, source: &SourceName) -> &mut SourceState {
        self.sources.entry(source.clone()).or_default()
    }

    fn known(&self, source: &SourceName, labels: &Labels) -> Option<SeriesId> {
        self.sources.get(source)?.series.get(labels).copied()
    }

    fn check_limit(&self, source: &SourceName, wanted: &[&Sample]) -> Result<(), TooManySeries> {
        let new: BTreeSet<_> =
            wanted.iter().map(|s| &s.labels).filter(|labels| self.known(source, labels).is_none()).collect();
        let known = self.sources.get(source).map_or(0, |state| state.series.len());
        let (series, limit) = (known + new.len(), self.limits.series_per_source);
        // A source whose series only come and go within the limit is never refused for what it already has.
        if new.is_empty() || series <= limit {
            return Ok(());
        }
        Err(TooManySeries { source_name: source.clone(), series, limit })
    }

    fn find_or_create(&mut self, source: &SourceName, labels: &Labels) -> SeriesId {
        if let Some(id) = self.known(source, labels) {
            return id;
        }
        let series = Series {
            source: source.clone(),
            labels: labels.clone(),
            nameless: labels.without_name(),
            points: Points::default(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.series[id.0] = Some(series);
                id
            }
            None => {
                self.series.push(Some(series));
                SeriesId(self.series.len() - 1)
            }
        };
        self.state(source).series.insert(labels.clone(), id);
        let mut resolved = std::mem::take(&mut self.resolved);
        for entry in resolved.values_mut().filter(|entry| entry.selector.selects(source, labels)) {
            let key = |id: &SeriesId| (self[*id].source(), self[*id].labels());
            let at = entry.series.partition_point(|other| key(other) < (source, labels));
            entry.series.insert(at, id);
        }
        self.resolved = resolved;
        id
    }

    fn drop_series(&mut self, id: SeriesId) {
        let Some(series) = self.series[id.0].take() else { return };
        self.free.push(id);
        if let Some(state) = self.sources.get_mut(&series.source) {
            state.series.remove(&series.labels);
            state.present.retain(|other| *other != id);
        }
        for entry in self.resolved.values_mut() {
            entry.series.retain(|other| *other != id);
        }
    }

    fn push(&mut self, id: SeriesId, point: Point) -> Result<(), Refused> {
        self.series[id.0].as_mut().map_or(Ok(()), |series| series.points.push(point))
    }

    /// Appends what the observation itself says. Ours come first: an exposed metric of the same name loses.
    fn append_synthetic(&mut self, observation: &Observation) -> Vec<SeriesId> {
        let up = observation.answer.is_ok();
        let scraped = observation.answer.as_ref().map_or(0, Vec::len);
        let values = [f64::from(u8::from(up)), observation.took.as_secs_f64(), scraped as f64];
        let instance = self.state(&observation.source).instance.clone();
        let mut present = Vec::new();
        for (name, value) in SYNTHETIC.into_iter().zip(values) {
            let labels = Labels::from_pairs([
                (METRIC_NAME, name),
                ("job", observation.source.as_str()),
                ("instance", instance.as_deref().unwrap_or("")),
            ]);
            let id = self.find_or_create(&observation.source, &labels);
            // Refused only where the same instant is told twice; the first word stands.
            if self.push(id, Point { at: observation.at, value }).is_ok() || !self[id].points().is_empty() {
                present.push(id);
            }
        }
        present
    }

    /// Puts a marker at the end of every series of `before` that is no longer present; returns how many there were.
    fn end_vanished(&mut self, source: &SourceName, before: &[SeriesId], at: Timestamp) -> usize {
        let present = std::mem::take(&mut self.state(source).present);
        let mut ended = 0;
        for id in before.iter().filter(|id| present.binary_search(id).is_err()) {
            let Some(last) = self[*id].points().last().copied() else { continue };
            if is_stale_marker(last.value) {
                continue;
            }
            // A sample's own timestamp may lie ahead; the marker has to come after it to be seen.
            let at = at.max(last.at + Span::from_millis(1));
            ended += usize::from(self.push(*id, Point { at, value: stale_marker() }).is_ok());
        }
        self.state(source).present = present;
        ended
    }

    fn forget(&mut self, source: &SourceName, horizon: Timestamp) {
        let Some(state) = self.sources.get(source) else { return };
        let mut emptied = Vec::new();
        for id in state.series.values() {
            let Some(series) = self.series[id.0].as_mut() else { continue };
            series.points.forget_before(horizon);
            if series.points().is_empty() && state.present.binary_search(id).is_err() {
                emptied.push(*id);
            }
        }
        for id in emptied {
            self.drop_series(id);
        }
    }
}

impl std::ops::Index<SeriesId> for Store {
    type Output = Series;

    /// Returns a series.
    ///
    /// # Panics
    ///
    /// The series was dropped since the id was obtained: a bug of the caller, who must not keep ids across changes.
    fn index(&self, id: SeriesId) -> &Series {
        match &self.series[id.0] {
            Some(series) => series,
            None => panic!("series {id:?} was dropped"),
        }
    }
}

/// Returns the `instance` that all samples carry, if they carry one and the same.
fn agreed_instance(samples: &[Sample]) -> Option<String> {
    let first = samples.first()?.labels.get("instance")?;
    samples.iter().all(|s| s.labels.get("instance") == Some(first)).then(|| first.to_owned())
}

#[cfg(test)]
mod tests;
