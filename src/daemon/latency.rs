//! How long things take, as quantiles over the daemon's life.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::engine::model::SourceName;

/// One microsecond to one minute, two significant digits: 10 KB a histogram.
const LOWEST_US: u64 = 1;
const HIGHEST_US: u64 = 60_000_000;
const DIGITS: u8 = 2;

/// The histograms of one daemon.
#[derive(Debug, Default)]
pub struct Latencies {
    scrapes: BTreeMap<SourceName, Latency>,
    engine_loop: Latency,
    sample_to_act: Latency,
}

/// One distribution of durations.
#[derive(Debug)]
struct Latency(Option<Histogram<u32>>);

/// A distribution in four numbers, all in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many durations.
    pub count: u64,
    /// Half of them were shorter.
    pub p50_us: u64,
    /// 99 of 100 were shorter.
    pub p99_us: u64,
    /// None was longer.
    pub max_us: u64,
}

/// Every distribution; what has never been measured is absent, not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyReport {
    /// From asking a source to its whole answer.
    pub scrapes: BTreeMap<SourceName, Quantiles>,
    /// One turn of the engine's loop, waiting not counted.
    pub engine_loop: Option<Quantiles>,
    /// From a sample's arrival to the durable intent of the act that follows from it.
    pub sample_to_act: Option<Quantiles>,
}

impl Default for Latency {
    fn default() -> Self {
        // The bounds are constants that the library accepts; without a histogram nothing is measured, nothing breaks.
        Self(Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, DIGITS).ok())
    }
}

impl Latency {
    fn record(&mut self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(HIGHEST_US);
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(took_us);
        }
    }

    /// Returns the quantiles; `None` where nothing was recorded, because an empty histogram claims that p99 is 0.
    fn quantiles(&self) -> Option<Quantiles> {
        let histogram = self.0.as_ref().filter(|histogram| !histogram.is_empty())?;
        Some(Quantiles {
            count: histogram.len(),
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            max_us: histogram.max(),
        })
    }
}

impl Latencies {
    /// Adds the duration of one scrape.
    pub fn scraped(&mut self, source: &SourceName, took: Duration) {
        self.scrapes.entry(source.clone()).or_default().record(took);
    }

    /// Adds the duration of one turn of the engine's loop.
    pub fn turned(&mut self, took: Duration) {
        self.engine_loop.record(took);
    }

    /// Adds the time from a sample's arrival to a durable act.
    pub fn acted(&mut self, took: Duration) {
        self.sample_to_act.record(took);
    }

    /// Returns every distribution.
    pub fn report(&self) -> LatencyReport {
        let scrapes =
            self.scrapes.iter().filter_map(|(name, latency)| Some((name.clone(), latency.quantiles()?)));
        LatencyReport {
            scrapes: scrapes.collect(),
            engine_loop: self.engine_loop.quantiles(),
            sample_to_act: self.sample_to_act.quantiles(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_is_absent_and_never_a_perfect_zero() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.report(), LatencyReport::default());
        latencies.turned(Duration::from_micros(1500));
        latencies.turned(Duration::from_secs(600));
        let report = latencies.report().engine_loop.unwrap();
        assert_eq!(report.count, 2);
        assert!((1490..=1510).contains(&report.p50_us), "{report:?}");
        assert!(report.max_us >= HIGHEST_US, "longer than the bound counts as the bound: {report:?}");
    }
}
