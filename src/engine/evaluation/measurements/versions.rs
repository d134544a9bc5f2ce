//! Which version a target runs, as its own metrics tell it.

use std::collections::BTreeSet;

use super::Measurements;
use crate::engine::evaluation::watch::DetectVersion;
use crate::engine::model::{METRIC_NAME, TargetName, is_stale_marker};
use crate::engine::series::{MatchOp, Matcher, Selector, Sources};

impl Measurements {
    /// Returns the version of a target, where exactly one is told.
    pub(super) fn version(
        &self,
        target: &TargetName,
        detect: &DetectVersion,
    ) -> Option<(TargetName, String)> {
        let selector = version_selector(detect)?;
        let live = |id: &crate::engine::series::SeriesId| {
            let last = self.store.last(*id)?;
            let label = || self.store[*id].labels().get(&detect.label).map(str::to_owned);
            if is_stale_marker(last.value) { None } else { label() }
        };
        let versions: BTreeSet<String> = self.store.select(&selector).iter().filter_map(live).collect();
        // Two versions at once are a deployment under way: nothing is concluded.
        let mut versions = versions.into_iter();
        match (versions.next(), versions.next()) {
            (Some(only), None) => Some((target.clone(), only)),
            _ => None,
        }
    }
}

/// Returns what selects the series that tell the version.
pub(super) fn version_selector(detect: &DetectVersion) -> Option<Selector> {
    let name = Matcher::new(METRIC_NAME, MatchOp::Equal, &detect.metric).ok()?;
    Some(Selector::new(vec![name], Sources::Only(BTreeSet::from([detect.source.clone()]))))
}
