//! Probes of a test: good unless the test says otherwise, by the values of their series or by what happens to them.

use super::stage::{Loaded, identity};
use crate::engine::model::{Labels, Sample, SourceName};
use crate::engine::series::PROBE_SUCCESS;
use crate::engine::time::{Span, Timestamp};

/// How long a probe took, as blackbox_exporter calls it.
const PROBE_DURATION: &str = "probe_duration_seconds";

/// One answer of a probe, while it is made up.
pub(super) struct Answer<'a> {
    pub(super) source: &'a SourceName,
    pub(super) at: Timestamp,
    pub(super) took: Span,
    /// What the test gives it.
    pub(super) page: Vec<Sample>,
    /// Whether the test says when it is good.
    pub(super) is_given: bool,
    /// Why it is bad, where that is what happens to it.
    pub(super) bad: Option<String>,
}

impl Answer<'_> {
    /// Returns what the probe shows, and what it says in words.
    pub(super) fn finish(mut self, files: &Loaded) -> (Vec<Sample>, Option<String>) {
        if self.bad.is_some() {
            self.page.retain(|sample| sample.labels.metric_name() != PROBE_SUCCESS);
            self.show(PROBE_SUCCESS, 0.0, files);
        } else if !self.is_given {
            self.show(PROBE_SUCCESS, 1.0, files);
        }
        if !self.page.iter().any(|sample| sample.labels.metric_name() == PROBE_DURATION) {
            self.show(PROBE_DURATION, self.took.as_secs_f64(), files);
        }
        let success = self.page.iter().find(|sample| sample.labels.metric_name() == PROBE_SUCCESS);
        let told = match (self.bad, success.map(|sample| sample.value)) {
            (Some(bad), _) => Some(bad),
            (None, Some(1.0)) => Some(format!("good in {}", self.took)),
            (None, Some(_)) => Some("bad".to_owned()),
            (None, None) => None,
        };
        (self.page, told)
    }

    fn show(&mut self, name: &str, value: f64, files: &Loaded) {
        let labels: Labels = identity(self.source, files).attach(name, std::iter::empty());
        self.page.push(Sample { labels, at: self.at, value });
    }
}

/// Returns whether a series of this name says when its probe is good, itself or as an indicator's values.
pub(super) fn says_when_good(name: &str) -> bool {
    name == PROBE_SUCCESS || !name.starts_with("probe_")
}
