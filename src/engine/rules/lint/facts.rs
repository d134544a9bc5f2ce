//! What the sources expose, taken from pages that someone saved: which series there are, and of what type.
//!
//! The pages hold one moment. So facts say what exists, never what a value is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::diagnostic::nearest;
use crate::engine::model::{Labels, METRIC_NAME, Sample, SourceName};
use crate::engine::series::{Limits, Matcher, Store};
use crate::engine::time::{Span, Timestamp};

/// What a metric is by its TYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A bucket of a histogram: a counter with a bound.
    Bucket,
    /// A quantile of a summary.
    Quantile,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Bucket => "histogram",
            Self::Quantile => "summary",
        })
    }
}

/// One series of a page, and its metric's type where the page tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposed {
    /// The labels, metric name included, without those that the source adds.
    pub labels: Labels,
    /// The type.
    pub kind: Option<Kind>,
    /// The value.
    pub value: f64,
}

/// What the pages hold.
#[derive(Clone, Debug)]
pub struct Facts {
    metrics: BTreeMap<String, Metric>,
    /// Metrics that come from elsewhere: recorded by rules, or made by the scraper itself.
    elsewhere: BTreeSet<String>,
    /// Every label of the pages.
    labels: BTreeSet<String>,
    origin: Origin,
    store: Store,
}

#[derive(Clone, Debug, Default)]
struct Metric {
    kind: Option<Kind>,
    series: Vec<Labels>,
}

/// Where pages come from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The only source that they can come from, where there is only one.
    pub source: Option<SourceName>,
    /// Labels that sources add to what they scrape, beside `job` and `instance`; `None` where that is not known.
    pub added: Option<BTreeSet<String>>,
    /// Whether there may be sources whose pages were not given.
    pub others: bool,
}

/// The instant at which the pages are looked at; anything would do that leaves room for ranges before it.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
/// Labels that every source adds.
const OWN_LABELS: [&str; 2] = ["job", "instance"];
/// Two points this far apart lie in every range that is not a mistake of its own.
const STEP: Span = Span::from_secs(1);

impl Facts {
    /// Takes what pages hold.
    pub fn new(exposed: &[Exposed], origin: Origin) -> Self {
        let limits = Limits { retention: Span::from_secs(3600), series_per_source: usize::MAX };
        let mut store = Store::new(limits);
        let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
        let job = origin.source.clone().unwrap_or_else(|| SourceName::from("page"));
        let up = Exposed {
            labels: Labels::from_pairs([(METRIC_NAME, "up")]),
            kind: Some(Kind::Gauge),
            value: 1.0,
        };
        for series in exposed.iter().chain([&up]) {
            let full = series.labels.with("job", job.as_str()).with("instance", "page:80");
            for at in [NOW - STEP, NOW] {
                // A series that stands twice on a page is told elsewhere; the first counts.
                store.append(&job, &Sample { labels: full.clone(), at, value: series.value });
            }
            let metric = metrics.entry(series.labels.metric_name().to_owned()).or_default();
            metric.kind = metric.kind.or(series.kind);
            metric.series.push(series.labels.clone());
        }
        let elsewhere = ["scrape_duration_seconds", "scrape_samples_scraped", "ALERTS", "ALERTS_FOR_STATE"];
        Self {
            metrics,
            elsewhere: elsewhere.map(str::to_owned).into(),
            labels: exposed
                .iter()
                .flat_map(|one| one.labels.iter())
                .map(|(name, _)| name.to_owned())
                .collect(),
            origin,
            store,
        }
    }

    /// Returns the same facts with metrics that rules record: a page does not show them.
    #[must_use]
    pub fn with_recorded(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.elsewhere.extend(names);
        self
    }

    /// Returns a metric's type.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.metrics.get(name).filter(|_| !self.elsewhere.contains(name))?.kind
    }

    /// Returns whether series of that name are not on the pages' account.
    pub(super) fn is_elsewhere(&self, name: &str) -> bool {
        // Probes are not scraped: what they yield is on no page.
        self.elsewhere.contains(name) || name.starts_with("probe_")
    }

    /// Returns whether a label is set by the source, so that the pages say nothing about it.
    pub(super) fn is_added(&self, label: &str) -> bool {
        match &self.origin.added {
            _ if OWN_LABELS.contains(&label) => true,
            Some(added) => added.contains(label),
            // It may be, unless it is a label of the pages or a slip of the pen away from one.
            None => nearest(label, self.labels.iter().map(String::as_str)).is_none(),
        }
    }

    /// Returns whether `job` of the series in the store is the one that the daemon would give.
    pub(super) fn knows_job(&self) -> bool {
        self.origin.source.is_some()
    }

    /// Returns whether a metric that is not here may be on another page.
    pub(super) fn may_have_others(&self) -> bool {
        self.origin.others
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the metrics' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.metrics.keys().map(String::as_str)
    }

    /// Returns every series of a metric; `None` where the pages do not know it.
    pub(super) fn series(&self, name: &str) -> Option<&[Labels]> {
        self.metrics.get(name).map(|metric| metric.series.as_slice())
    }

    /// Returns the series of a metric that satisfy all matchers but those on labels that sources add.
    pub(super) fn selected<'f>(
        &'f self,
        name: &str,
        matchers: &'f [Matcher],
    ) -> impl Iterator<Item = &'f Labels> {
        let judged =
            move |matcher: &&Matcher| !self.is_added(matcher.name()) && matcher.name() != METRIC_NAME;
        self.series(name).into_iter().flatten().filter(move |labels| {
            matchers
                .iter()
                .filter(judged)
                .all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or("")))
        })
    }

    /// Returns the values that a label has among the selected series.
    pub(super) fn values(&self, name: &str, matchers: &[Matcher], label: &str) -> BTreeSet<&str> {
        let but_own: Vec<Matcher> =
            matchers.iter().filter(|matcher| matcher.name() != label).cloned().collect();
        let mut values = BTreeSet::new();
        for labels in self.series(name).into_iter().flatten() {
            let selected = but_own.iter().all(|matcher| {
                self.is_added(matcher.name())
                    || matcher.name() == METRIC_NAME
                    || matcher.matches(labels.get(matcher.name()).unwrap_or(""))
            });
            if selected {
                values.extend(labels.get(label));
            }
        }
        values
    }

    /// Returns every label that the selected series can have; `None` where nothing is selected, or
    /// where it is not known what the source adds.
    pub(super) fn label_names(&self, name: &str, matchers: &[Matcher]) -> Option<BTreeSet<String>> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut found = false;
        for labels in self.selected(name, matchers).filter(|_| !self.is_elsewhere(name)) {
            found = true;
            names.extend(labels.iter().map(|(name, _)| name.to_owned()));
        }
        let added = self.origin.added.as_ref().filter(|_| found)?;
        names.extend(added.iter().cloned().chain(OWN_LABELS.map(str::to_owned)));
        Some(names)
    }
}
