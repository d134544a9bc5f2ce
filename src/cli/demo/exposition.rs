//! What the trading app has counted, and how `/metrics` says it: Prometheus' text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::app::Version;

/// The upper bounds of the latency histogram, in seconds; `+Inf` follows.
const BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// The routes that are counted, each with every status that it can answer.
///
/// All of them are there from the start with a zero: a ratio whose numerator has no series yet is "no data", and a
/// counter that appears with 1 hides its first increment from `rate`.
const ROUTES: [(&str, &str, &[u16]); 3] = [
    ("GET", "/api/health", &[200]),
    ("GET", "/api/orders", &[200, 500]),
    ("POST", "/api/orders", &[201, 500]),
];

/// Counters and histograms of one run of the app.
pub struct Metrics {
    requests: BTreeMap<(&'static str, &'static str, u16), u64>,
    durations: BTreeMap<(&'static str, &'static str), Histogram>,
}

/// One latency histogram.
#[derive(Clone, Default)]
struct Histogram {
    /// Observations per bucket, not cumulated; the last one is `+Inf`.
    buckets: [u64; BUCKETS.len() + 1],
    sum_seconds: f64,
}

impl Metrics {
    /// Returns all series at zero, as a process that has just started shows them.
    pub fn at_start() -> Self {
        let mut metrics = Self { requests: BTreeMap::new(), durations: BTreeMap::new() };
        for (method, path, statuses) in ROUTES {
            metrics.durations.insert((method, path), Histogram::default());
            for status in statuses {
                metrics.requests.insert((method, path, *status), 0);
            }
        }
        metrics
    }

    /// Counts one answered request.
    pub fn count(&mut self, method: &'static str, path: &'static str, status: u16, took: Duration) {
        *self.requests.entry((method, path, status)).or_default() += 1;
        let histogram = self.durations.entry((method, path)).or_default();
        let seconds = took.as_secs_f64();
        histogram.buckets[BUCKETS.partition_point(|bound| *bound < seconds)] += 1;
        histogram.sum_seconds += seconds;
    }

    /// Renders everything as text format 0.0.4.
    pub fn render(&self, version: Version) -> String {
        let mut text = String::with_capacity(4096);
        // Writing to a String cannot fail.
        self.write_to(&mut text, version).unwrap_or_default();
        text
    }

    fn write_to(&self, text: &mut String, version: Version) -> std::fmt::Result {
        writeln!(text, "# HELP app_build_info The version that runs.\n# TYPE app_build_info gauge")?;
        writeln!(text, "app_build_info{{version=\"{version}\"}} 1")?;
        writeln!(text, "# HELP http_requests_total Answered requests.\n# TYPE http_requests_total counter")?;
        for ((method, path, status), count) in &self.requests {
            let labels = format!("method=\"{method}\",path=\"{path}\",status=\"{status}\"");
            writeln!(text, "http_requests_total{{{labels}}} {count}")?;
        }
        writeln!(text, "# HELP http_request_duration_seconds Time from request to answer.")?;
        writeln!(text, "# TYPE http_request_duration_seconds histogram")?;
        for ((method, path), histogram) in &self.durations {
            histogram.write_to(text, &format!("method=\"{method}\",path=\"{path}\""))?;
        }
        Ok(())
    }
}

impl Histogram {
    fn write_to(&self, text: &mut String, labels: &str) -> std::fmt::Result {
        let mut cumulated = 0;
        for (at, observations) in self.buckets.iter().enumerate() {
            cumulated += observations;
            let bound = BUCKETS.get(at).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            writeln!(text, "http_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {cumulated}")?;
        }
        writeln!(text, "http_request_duration_seconds_sum{{{labels}}} {}", self.sum_seconds)?;
        writeln!(text, "http_request_duration_seconds_count{{{labels}}} {cumulated}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_from_the_start_and_counts() {
        let mut metrics = Metrics::at_start();
        metrics.count("GET", "/api/orders", 500, Duration::from_millis(5));
        metrics.count("GET", "/api/orders", 200, Duration::from_secs(9));
        let text = metrics.render(Version::Two);
        for line in [
            r#"app_build_info{version="2"} 1"#,
            r#"http_requests_total{method="GET",path="/api/health",status="200"} 0"#,
            r#"http_requests_total{method="GET",path="/api/orders",status="500"} 1"#,
            r#"http_requests_total{method="POST",path="/api/orders",status="500"} 0"#,
            // `le` is inclusive.
            r#"http_request_duration_seconds_bucket{method="GET",path="/api/orders",le="0.005"} 1"#,
            r#"http_request_duration_seconds_bucket{method="GET",path="/api/orders",le="2.5"} 1"#,
            r#"http_request_duration_seconds_bucket{method="GET",path="/api/orders",le="+Inf"} 2"#,
            r#"http_request_duration_seconds_sum{method="GET",path="/api/orders"} 9.005"#,
            r#"http_request_duration_seconds_count{method="GET",path="/api/orders"} 2"#,
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_foreign_parser_reads_every_line_of_it() {
        let text = Metrics::at_start().render(Version::One);
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let scrape = prometheus_parse::Scrape::parse(lines).expect("lines of a string cannot fail");
        let histograms = scrape.samples.iter().filter(|sample| {
            matches!(&sample.value, prometheus_parse::Value::Histogram(buckets) if buckets.len() == BUCKETS.len() + 1)
        });
        assert_eq!(histograms.count(), ROUTES.len());
        let counters = scrape.samples.iter().filter(|sample| sample.metric == "http_requests_total");
        assert_eq!(counters.count(), 5);
    }
}
