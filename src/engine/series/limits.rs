//! What the store may hold, and what happens to a source that wants more.

use crate::engine::model::{Sample, SourceName};
use crate::engine::time::Span;

/// What root allows of series and samples: the bounds that keep one bad page or one bold rule from eating the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How far back a rule may look; points are kept as long as the farthest reach of the loaded rules, never longer.
    pub reach: Span,
    /// How many series one source may have, those counted that ended but are still within retention.
    pub series_per_source: usize,
    /// How many labels one kept series may have, its name and the source's own labels counted.
    pub labels_per_series: usize,
    /// How many bytes the name or the value of one label of a kept series may have.
    pub label_bytes: usize,
}

impl Default for Limits {
    /// Returns the bounds where nothing is said: enough for any page that is meant to be scraped.
    fn default() -> Self {
        Self {
            reach: Span::from_secs(6 * 3600),
            series_per_source: 200_000,
            labels_per_series: 64,
            label_bytes: 4096,
        }
    }
}

/// A source's answer is beyond a limit; nothing of it was ingested.
///
/// The caller turns it into a failed scrape, so that the series end instead of standing still (E2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// Too many series.
    #[error(
        "source `{source_name}` would have {series} series, more than `limits.series_per_source: {limit}`: raise it, or let the source expose fewer label values"
    )]
    Series {
        /// The source.
        source_name: SourceName,
        /// How many series it would have.
        series: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A series with too many labels.
    #[error(
        "a series of `{metric}` from source `{source_name}` has {labels} labels, more than `limits.labels_per_series: {limit}`: raise it, or let the source expose fewer labels"
    )]
    Labels {
        /// The source.
        source_name: SourceName,
        /// The metric, control characters escaped.
        metric: String,
        /// How many labels the series has.
        labels: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A label whose name or value is too long.
    #[error(
        "label `{label}` of `{metric}` from source `{source_name}` has {bytes} bytes, more than `limits.label_bytes: {limit}`: raise it, or let the source expose shorter values"
    )]
    LabelBytes {
        /// The source.
        source_name: SourceName,
        /// The metric, control characters escaped.
        metric: String,
        /// The label, control characters escaped.
        label: String,
        /// How long its name or value is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
}

impl Limits {
    /// Checks the labels of a series that would be new.
    pub(super) fn check_labels(&self, source: &SourceName, sample: &Sample) -> Result<(), LimitExceeded> {
        let (labels, limit) = (sample.labels.len(), self.labels_per_series);
        if labels > limit {
            let (source_name, metric) = (source.clone(), shown(sample.labels.metric_name()));
            return Err(LimitExceeded::Labels { source_name, metric, labels, limit });
        }
        let limit = self.label_bytes;
        let length = |(name, value): (&str, &str)| name.len().max(value.len());
        match sample.labels.iter().find(|label| length(*label) > limit) {
            None => Ok(()),
            Some((name, value)) => Err(LimitExceeded::LabelBytes {
                source_name: source.clone(),
                metric: shown(sample.labels.metric_name()),
                label: shown(name),
                bytes: length((name, value)),
                limit,
            }),
        }
    }
}

/// Makes foreign text fit for a message: escaped, and cut to a readable length (E11).
fn shown(text: &str) -> String {
    /// Longer than any sensible metric's name.
    const SHOWN_CHARS: usize = 80;
    let cut = if text.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
    text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect::<String>() + cut
}
