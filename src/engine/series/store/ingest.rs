//! How an answer of a source becomes points: what is wanted of it, what is new, what has ended.

use std::collections::BTreeSet;

use super::super::limits::LimitExceeded;
use super::super::observation::Observation;
use super::super::points::{Point, Refused};
use super::{SYNTHETIC, SeriesId, Store};
use crate::engine::model::{Labels, METRIC_NAME, Sample, SourceName, is_stale_marker, stale_marker};
use crate::engine::time::{Span, Timestamp};

/// How far ahead of its observation a sample's own timestamp may lie, as in Prometheus (`scrape.maxAheadTime`).
///
/// Without the bound one wrong clock would block a series until time has caught up.
const MAX_AHEAD: Span = Span::from_secs(600);

/// How many series of the last answer are skipped over to find the next sample's, before the map is asked.
const MAX_SKIPPED: usize = 32;

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

impl Store {
    /// Takes in what a source said, or that it failed.
    ///
    /// Adds `up`, `scrape_duration_seconds` and `scrape_samples_scraped`, ends every series that was there the last
    /// time and is not now, and forgets what is older than the retention.
    ///
    /// # Errors
    ///
    /// The source would have more series than it may, or one with labels beyond a limit. Nothing was changed.
    pub fn ingest(&mut self, observation: &Observation) -> Result<Ingested, LimitExceeded> {
        let (source, at) = (&observation.source, observation.at);
        let samples = observation.answer.as_deref().unwrap_or_default();
        let wanted = self.find(source, samples)?;
        let mut counts = Ingested { unwanted: samples.len() - wanted.len(), ..Ingested::default() };

        let state = self.state(source);
        state.since.get_or_insert(at);
        let times = state.times;
        self.times[times].advance(at);
        if let Some(kept) = &mut self.interest {
            kept.observed(source, at);
        }
        self.agree_on_instance(source, samples, &wanted);
        let mut present = self.append_synthetic(observation);
        for (found, sample) in wanted {
            if sample.at > at + MAX_AHEAD {
                counts.too_far_ahead += 1;
                continue;
            }
            // Of two new samples with equal labels the second finds what the first has made.
            let id = found.unwrap_or_else(|| self.find_or_create(source, &sample.labels));
            present.push(id);
            match self.push(id, Point { at: sample.at, value: sample.value }) {
                Ok(()) => counts.appended += 1,
                Err(Refused::OutOfOrder) => counts.out_of_order += 1,
                Err(Refused::Duplicate) => counts.duplicates += 1,
            }
        }
        counts.ended = self.end_vanished(source, present, at);
        self.forget(source, at - self.retention);
        Ok(counts)
    }

    /// Finds the series of every sample that is of interest, where there is one already, and checks the limits.
    fn find<'s>(
        &self,
        source: &SourceName,
        samples: &'s [Sample],
    ) -> Result<Vec<(Option<SeriesId>, &'s Sample)>, LimitExceeded> {
        let state = self.sources.get(source);
        // Pages seldom change their order: the next sample's series is the one that came next the last time.
        let mut expected = state.map_or(&[][..], |state| &state.present);
        expected = &expected[expected.len().min(SYNTHETIC.len())..];
        let mut found = Vec::with_capacity(expected.len());
        let mut new: BTreeSet<&Labels> = BTreeSet::new();
        // Most samples follow others of their family, wanted or not.
        let mut family = ("", self.may_want(""));
        for sample in samples {
            if let [next, rest @ ..] = expected
                && self[*next].labels == sample.labels
            {
                found.push((Some(*next), sample));
                expected = rest;
                continue;
            }
            let name = sample.labels.metric_name();
            if family.0 != name {
                family = (name, self.may_want(name));
            }
            if !family.1 {
                continue;
            }
            let known = state.and_then(|state| state.series.get(&sample.labels)).copied();
            if let Some(known) = known {
                let skipped = expected.iter().take(MAX_SKIPPED).position(|id| *id == known);
                expected = &expected[skipped.map_or(0, |skipped| skipped + 1)..];
            } else if self.wants(source, &sample.labels) {
                self.limits.check_labels(source, sample)?;
                new.insert(&sample.labels);
            } else {
                continue;
            }
            found.push((known, sample));
        }
        let series = state.map_or(0, |state| state.series.len()) + new.len();
        let limit = self.limits.series_per_source;
        // A source whose series only come and go within the limit is never refused for what it already has.
        if new.is_empty() || series <= limit {
            return Ok(found);
        }
        Err(LimitExceeded::Series { source_name: source.clone(), series, limit })
    }

    /// Takes over the `instance` that the samples agree on, unless they are the series of the last answer anyway.
    fn agree_on_instance(
        &mut self,
        source: &SourceName,
        samples: &[Sample],
        wanted: &[(Option<SeriesId>, &Sample)],
    ) {
        let state = self.state(source);
        let as_before = state.instance.is_some() && wanted.iter().all(|(known, _)| known.is_some());
        if !samples.is_empty() && !as_before {
            state.instance = agreed_instance(samples);
        }
    }

    /// Appends what the observation itself says. Ours come first: an exposed metric of the same name loses.
    fn append_synthetic(&mut self, observation: &Observation) -> Vec<SeriesId> {
        let up = observation.answer.is_ok();
        let scraped = observation.answer.as_ref().map_or(0, Vec::len);
        let values = [f64::from(u8::from(up)), observation.took.as_secs_f64(), scraped as f64];
        let state = self.state(&observation.source);
        let instance = state.instance.clone();
        let mut present = Vec::with_capacity(state.present.len());
        for (name, value) in SYNTHETIC.into_iter().zip(values) {
            let labels = Labels::from_pairs([
                (METRIC_NAME, name),
                ("job", observation.source.as_str()),
                ("instance", instance.as_deref().unwrap_or("")),
            ]);
            let id = self.find_or_create(&observation.source, &labels);
            // Refused only where the same instant is told twice; the first word stands.
            if self.push(id, Point { at: observation.at, value }).is_ok() || self.last(id).is_some() {
                present.push(id);
            }
        }
        present
    }

    /// Takes over which series are present now, and puts a marker at the end of every one that was and is not any more;
    /// returns how many there were.
    fn end_vanished(&mut self, source: &SourceName, present: Vec<SeriesId>, at: Timestamp) -> usize {
        let state = self.state(source);
        if state.present == present {
            return 0;
        }
        let now: BTreeSet<_> = present.iter().copied().collect();
        let before: BTreeSet<_> = std::mem::replace(&mut state.present, present).into_iter().collect();
        let mut ended = 0;
        for id in before.difference(&now) {
            let Some(last) = self.last(*id) else { continue };
            if is_stale_marker(last.value) {
                continue;
            }
            // A sample's own timestamp may lie ahead; the marker has to come after it to be seen.
            let at = at.max(last.at + Span::from_millis(1));
            ended += usize::from(self.push(*id, Point { at, value: stale_marker() }).is_ok());
        }
        ended
    }
}

/// Returns the `instance` that all samples carry, if they carry one and the same.
fn agreed_instance(samples: &[Sample]) -> Option<String> {
    let first = samples.first()?.labels.get("instance")?;
    samples.iter().all(|s| s.labels.get("instance") == Some(first)).then(|| first.to_owned())
}
