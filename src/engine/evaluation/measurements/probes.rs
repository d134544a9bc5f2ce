//! Probes: what they answered last, and since when.

use super::Measurements;
use crate::engine::evaluation::verdict::ProbeSeen;
use crate::engine::evaluation::watch::Watch;
use crate::engine::series::{Observation, PROBE_SUCCESS};
use crate::engine::time::Timestamp;

impl Measurements {
    /// Returns every probe whose last answer still speaks for `now`.
    pub(super) fn probes(&self, watch: &Watch<'_>, now: Timestamp) -> Vec<ProbeSeen> {
        let fresh = |probe: &&ProbeSeen| {
            watch.paces.get(&probe.source).is_some_and(|pace| probe.is_fresh(pace.every, now))
        };
        self.heard.values().filter_map(|hearing| hearing.probe.as_ref()).filter(fresh).cloned().collect()
    }
}

/// Returns what a probe answered, after what it answered before; `None` where it is no probe or nobody was asked.
pub(super) fn seen(
    observation: &Observation,
    before: Option<ProbeSeen>,
    watch: &Watch<'_>,
) -> Option<ProbeSeen> {
    let source = watch.probes.get(&observation.source)?;
    let samples = observation.answer.as_ref().ok()?;
    let success = samples.iter().find(|sample| sample.labels.metric_name() == PROBE_SUCCESS)?;
    let good = success.value == 1.0;
    let at = observation.at;
    let since = before.filter(|before| before.good == good).map_or(at, |before| before.since);
    let why = observation.told.clone().unwrap_or_else(|| format!("{PROBE_SUCCESS} is {}", success.value));
    Some(ProbeSeen { source: source.clone(), at, good, since, why })
}
