//! The store: series by source, their recent points, and who may read which.

pub mod excerpt;
mod ingest;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::interest::{Interest, Resolved, Selectors};
use super::limits::Limits;
use super::matcher::Selector;
use super::points::{Point, Points, Refused};
use super::times::Times;
use crate::engine::model::{Labels, Sample, SourceName};
use crate::engine::time::{Span, Timestamp};

pub use ingest::Ingested;

/// The series that every observation adds; they are kept whether or not a rule asks for them.
pub const SYNTHETIC: [&str; 3] = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];

/// Names one series for as long as it is kept; never reused while anything refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesId(u32);

/// One series; its points are read through the [`Store`], which knows their times.
#[derive(Clone, Debug)]
pub struct Series {
    source: SourceName,
    labels: Labels,
    /// Which of the store's times are those of its source.
    times: usize,
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
}

#[derive(Clone, Debug, Default)]
struct SourceState {
    /// Which of the store's times are its own.
    times: usize,
    series: BTreeMap<Labels, SeriesId>,
    /// The series of the last answer in its order: those that get a marker when the next answer lacks them, and where
    /// the next answer's series are looked for first.
    present: Vec<SeriesId>,
    /// The `instance` that the last answer's samples agreed on; a failed scrape has none of its own.
    instance: Option<String>,
    /// The first observation.
    since: Option<Timestamp>,
}

/// Remembers the recent samples of every series that is of interest.
#[derive(Clone, Debug)]
pub struct Store {
    limits: Limits,
    retention: Span,
    /// `None` where everything is kept.
    interest: Option<Selectors>,
    series: Vec<Option<Series>>,
    free: Vec<SeriesId>,
    sources: BTreeMap<SourceName, SourceState>,
    /// The times of each source's observations.
    times: Vec<Times>,
}

impl Store {
    /// Makes an empty store that keeps everything for so long.
    ///
    /// `retention` is at least the farthest reach of all plans that read the store.
    pub fn new(limits: Limits, retention: Span) -> Self {
        Self {
            limits,
            retention,
            interest: None,
            series: Vec::new(),
            free: Vec::new(),
            sources: BTreeMap::new(),
            times: Vec::new(),
        }
    }

    /// Changes the limits, and how long points are kept; those beyond a shorter retention go with the next observations.
    pub fn set_limits(&mut self, limits: Limits, retention: Span) {
        self.limits = limits;
        self.retention = retention;
    }

    /// Returns how long points are kept.
    pub fn retention(&self) -> Span {
        self.retention
    }

    /// Changes which series are kept. What is no longer of interest is dropped; what newly is starts empty.
    pub fn set_interest(&mut self, interest: Interest) {
        let Interest::Selectors(selectors) = interest else {
            self.interest = None;
            return;
        };
        let kept = Selectors::new(&selectors, |selector| Resolved {
            selector: selector.clone(),
            series: self.scan(selector),
            since: self.kept_since(selector),
        });
        self.interest = Some(kept);
        let unwanted: BTreeSet<_> =
            self.ids().filter(|id| !self.wants(self[*id].source(), self[*id].labels())).collect();
        self.drop_series(&unwanted);
    }

    /// Returns whether a series could be of interest, judged by its name alone: a cheap test before labels are parsed.
    pub fn may_want(&self, metric_name: &str) -> bool {
        let selected =
            |kept: &Selectors| SYNTHETIC.contains(&metric_name) || kept.may_select_name(metric_name);
        self.interest.as_ref().is_none_or(selected)
    }

    /// Returns whether a series is of interest.
    pub fn wants(&self, source: &SourceName, labels: &Labels) -> bool {
        let selected =
            |kept: &Selectors| SYNTHETIC.contains(&labels.metric_name()) || kept.selects(source, labels);
        self.interest.as_ref().is_none_or(selected)
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
            self.forget(&source, now - self.retention);
        }
    }

    /// Takes note that what was ingested so far is an earlier process' memory, which kept what *its* rules selected.
    ///
    /// A selector that selects nothing of it may be new: it counts as kept from the next observation on.
    pub fn restarted(&mut self) {
        if let Some(kept) = &mut self.interest {
            kept.doubt_unseen();
        }
    }

    /// Drops a source that is no longer configured, with all its series.
    pub fn remove_source(&mut self, source: &SourceName) {
        if let Some(state) = self.sources.get(source) {
            let ids = state.series.values().copied().collect();
            self.drop_series(&ids);
        }
        if let Some(state) = self.sources.remove(source) {
            self.times[state.times] = Times::default();
        }
    }

    /// Returns the series that `selector` selects, ordered by source and labels.
    ///
    /// Free of work for the selectors of the loaded rules, a scan for others.
    pub fn select(&self, selector: &Selector) -> Cow<'_, [SeriesId]> {
        match self.interest.as_ref().and_then(|kept| kept.get(selector)) {
            Some(resolved) => Cow::Borrowed(&resolved.series),
            None => Cow::Owned(self.scan(selector)),
        }
    }

    /// Returns whether everything that `selector` could select is kept, so that "nothing" means "there is nothing".
    pub fn keeps(&self, selector: &Selector) -> bool {
        self.interest.as_ref().is_none_or(|kept| kept.covering(selector).is_some())
    }

    /// Returns since when everything that `selector` could select is kept: the first observation of one of its sources
    /// since some loaded rule asks for it. `None` where that has not come yet, or where not everything is kept.
    ///
    /// A window that begins before says less than it seems to. Points go after the retention all the same.
    pub fn kept_since(&self, selector: &Selector) -> Option<Timestamp> {
        match &self.interest {
            Some(kept) => kept.covering(selector)?.since,
            None => {
                let read = self.sources.iter().filter(|(source, _)| selector.sources().contains(source));
                read.filter_map(|(_, state)| state.since).min()
            }
        }
    }

    /// Returns the newest point of a series that is not later than `until`; it may be a staleness marker.
    pub fn newest(&self, id: SeriesId, until: Timestamp) -> Option<Point> {
        let series = &self[id];
        series.points.newest(&self.times[series.times], until)
    }

    /// Appends to `out` a series' points after `after` and not after `until`, oldest first, without staleness markers.
    pub fn read(&self, id: SeriesId, after: Timestamp, until: Timestamp, out: &mut Vec<Point>) {
        let series = &self[id];
        series.points.read(&self.times[series.times], after, until, out);
    }

    /// Returns every point of a series, oldest first, staleness markers among them.
    pub fn points(&self, id: SeriesId) -> Vec<Point> {
        let series = &self[id];
        series.points.all(&self.times[series.times])
    }

    /// Returns the newest point of a series; it may be a staleness marker.
    pub fn last(&self, id: SeriesId) -> Option<Point> {
        let series = &self[id];
        series.points.last(&self.times[series.times])
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
        self.series.iter().flatten().map(|series| series.points.len()).sum()
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
        if !self.sources.contains_key(source) {
            let is_free = |slot: &usize| self.sources.values().all(|state| state.times != *slot);
            let slot = (0..self.times.len()).find(is_free).unwrap_or(self.times.len());
            if slot == self.times.len() {
                self.times.push(Times::default());
            }
            self.sources.insert(source.clone(), SourceState { times: slot, ..SourceState::default() });
        }
        self.sources.entry(source.clone()).or_default()
    }

    fn known(&self, source: &SourceName, labels: &Labels) -> Option<SeriesId> {
        self.sources.get(source)?.series.get(labels).copied()
    }

    fn find_or_create(&mut self, source: &SourceName, labels: &Labels) -> SeriesId {
        if let Some(id) = self.known(source, labels) {
            return id;
        }
        let times = self.state(source).times;
        let series =
            Series { source: source.clone(), labels: labels.clone(), times, points: Points::default() };
        let id = self.free.pop().unwrap_or_else(|| {
            self.series.push(None);
            // Four thousand million series need more memory than there is.
            SeriesId(u32::try_from(self.series.len() - 1).unwrap_or(u32::MAX))
        });
        self.series[id.0 as usize] = Some(series);
        self.state(source).series.insert(labels.clone(), id);
        if let Some(mut kept) = self.interest.take() {
            let key = |id: &SeriesId| (self[*id].source(), self[*id].labels());
            kept.add(id, source, labels, |series| {
                series.partition_point(|other| key(other) < (source, labels))
            });
            self.interest = Some(kept);
        }
        id
    }

    fn drop_series(&mut self, ids: &BTreeSet<SeriesId>) {
        if ids.is_empty() {
            return;
        }
        for id in ids {
            let Some(series) = self.series[id.0 as usize].take() else { continue };
            self.free.push(*id);
            if let Some(state) = self.sources.get_mut(&series.source) {
                state.series.remove(&series.labels);
            }
        }
        for state in self.sources.values_mut() {
            state.present.retain(|id| !ids.contains(id));
        }
        if let Some(kept) = &mut self.interest {
            kept.drop(|id| ids.contains(&id));
        }
    }

    fn push(&mut self, id: SeriesId, point: Point) -> Result<(), Refused> {
        let Some(series) = &mut self.series[id.0 as usize] else { return Ok(()) };
        series.points.push(&self.times[series.times], point)
    }

    /// Forgets points before `horizon`, once there are enough of them to be worth the way.
    fn forget(&mut self, source: &SourceName, horizon: Timestamp) {
        let Some(state) = self.sources.get(source) else { return };
        if !self.times[state.times].are_old(horizon) {
            return;
        }
        let first = self.times[state.times].forget_before(horizon);
        let mut emptied = BTreeSet::new();
        for id in state.series.values() {
            let Some(series) = self.series[id.0 as usize].as_mut() else { continue };
            series.points.forget_before(horizon, first);
            if series.points.is_empty() {
                emptied.insert(*id);
            }
        }
        if !emptied.is_empty() {
            // Present is also a series whose samples were all refused.
            for id in &state.present {
                emptied.remove(id);
            }
            self.drop_series(&emptied);
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
        match &self.series[id.0 as usize] {
            Some(series) => series,
            None => panic!("series {id:?} was dropped"),
        }
    }
}

#[cfg(test)]
mod tests;
