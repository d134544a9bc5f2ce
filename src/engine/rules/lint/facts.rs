//! What the sources expose, taken from pages that someone saved: which series there are, and of what type.
//!
//! The pages hold one moment. So facts say what exists, never what a value is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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
    /// Labels that sources add to what they scrape.
    added: BTreeSet<String>,
    /// Whether `job` of the series in the store is the one that the daemon would give.
    knows_job: bool,
    store: Store,
}

#[derive(Clone, Debug, Default)]
struct Metric {
    kind: Option<Kind>,
    series: Vec<Labels>,
}

/// The instant at which the pages are looked at; anything would do that leaves room for ranges before it.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
/// Two points this far apart lie in every range that is not a mistake of its own.
const STEP: Span = Span::from_secs(1);

impl Facts {
    /// Takes what pages hold. `source` is the only source that they can come from, where there is only one, and
    /// `added` names labels that sources add beside `job` and `instance`.
    pub fn new(
        exposed: &[Exposed],
        source: Option<&SourceName>,
        added: impl IntoIterator<Item = String>,
    ) -> Self {
        let limits = Limits { retention: Span::from_secs(3600), series_per_source: usize::MAX };
        let mut store = Store::new(limits);
        let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
        let job = source.cloned().unwrap_or_else(|| SourceName::from("page"));
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
            added: ["job", "instance"].map(str::to_owned).into_iter().chain(added).collect(),
            knows_job: source.is_some(),
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
        self.elsewhere.contains(name)
    }

    /// Returns whether a label is set by the source, so that the pages say nothing about it.
    pub(super) fn is_added(&self, label: &str) -> bool {
        self.added.contains(label)
    }

    pub(super) fn knows_job(&self) -> bool {
        self.knows_job
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

    /// Returns every label that the selected series can have; `None` where nothing is selected or it comes from elsewhere.
    pub(super) fn label_names(&self, name: &str, matchers: &[Matcher]) -> Option<BTreeSet<String>> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut found = false;
        for labels in self.selected(name, matchers).filter(|_| !self.is_elsewhere(name)) {
            found = true;
            names.extend(labels.iter().map(|(name, _)| name.to_owned()));
        }
        found.then(|| {
            names.extend(self.added.iter().cloned());
            names
        })
    }
}
