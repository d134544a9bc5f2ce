//! What the benches work on: a trading application's page of any size, and rules as people write them.
//!
//! Half of a page's series are an application's requests (counters, histograms, gauges) and half are order books, which
//! no rule selects. One handler in four is busy, and changes at every scrape; the others see one request in ten scrapes, and
//! a level of an order book changes once in sixteen. So from one page to the next a fifth of the numbers is new.
//! Of the first ten rules four aggregate over every request series; all others are scoped to one exchange and handler.
//! Windows of 30 s to 5 m, one scrape a second.

use rearguard::engine::model::{Labels, Sample, SourceName};
use rearguard::engine::promql::{Plan, Scope, compile, parse as parse_promql};
use rearguard::engine::series::{Interest, Limits, Observation, Store};
use rearguard::engine::time::{Span, Timestamp};
use rearguard::sources::exposition::{Format, parse as parse_page};
use rearguard::sources::identity::{LabelConflict, SeriesIdentity};

/// Scrapes that fill the store before anything is measured: the longest window at one scrape a second.
pub const SCRAPES: u32 = 300;

const EXCHANGES: [&str; 4] = ["binance", "bybit", "coinbase", "kraken"];
const BOUNDS: [&str; 12] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
/// Series of one exchange and handler.
const SERIES_PER_HANDLER: usize = 20;

/// A series as the page writes it: its metric's name, its labels.
type Written = (&'static str, Vec<(&'static str, String)>);

/// One application.
pub struct Workload {
    handlers: usize,
    /// Metric name and labels of every series in the page's order.
    series: Vec<Written>,
}

impl Workload {
    /// An application with about so many series.
    pub fn of(series: usize) -> Self {
        let handlers = (series / 2 / SERIES_PER_HANDLER / EXCHANGES.len()).max(1);
        let mut new = Self { handlers, series: Vec::new() };
        for exchange in EXCHANGES {
            (0..handlers).for_each(|handler| new.add_handler(exchange, handler));
        }
        for book in 0..series.saturating_sub(new.series.len()) {
            let labels = vec![
                ("exchange", EXCHANGES[book % EXCHANGES.len()].to_owned()),
                ("level", (book / 8 % 50).to_string()),
                ("side", if book / 4 % 2 == 0 { "bid" } else { "ask" }.to_owned()),
                ("symbol", format!("SYM{}", book / 400)),
            ];
            new.series.push(("orderbook_price", labels));
        }
        new
    }

    fn add_handler(&mut self, exchange: &str, handler: usize) {
        let own = [("exchange", exchange.to_owned()), ("handler", format!("/api/h{handler}"))];
        let mut add = |name, extra: Option<(&'static str, &str)>| {
            let extra = extra.map(|(label, value)| (label, value.to_owned()));
            self.series.push((name, own.iter().cloned().chain(extra).collect()));
        };
        for status in ["200", "404", "500"] {
            add("http_requests_total", Some(("status", status)));
        }
        for bound in BOUNDS {
            add("http_request_duration_seconds_bucket", Some(("le", bound)));
        }
        for name in [
            "http_request_duration_seconds_sum",
            "http_request_duration_seconds_count",
            "cache_hits_total",
            "cache_misses_total",
            "queue_depth",
        ] {
            add(name, None);
        }
    }

    /// The value of every series at one scrape.
    fn values(&self, scrape: u32) -> Vec<f64> {
        let (exchanges, handlers) = (EXCHANGES.len() as u32, self.handlers as u32);
        let pairs = (0..exchanges).flat_map(|exchange| (0..handlers).map(move |h| exchange + h * exchanges));
        let mut values: Vec<f64> = pairs.flat_map(|pair| values_of_handler(scrape, pair)).collect();
        let books = 0..(self.series.len() - values.len()) as u32;
        values.extend(books.map(|book| 100.0 + f64::from((scrape + book) / 16 * 7 % 1000) / 8.0));
        values
    }

    /// The page as it is exposed at one scrape.
    pub fn page(&self, scrape: u32) -> String {
        let line = |((name, labels), value): (&Written, f64)| {
            let labels: Vec<_> = labels.iter().map(|(label, text)| format!("{label}=\"{text}\"")).collect();
            format!("{name}{{{}}} {value}\n", labels.join(","))
        };
        self.series.iter().zip(self.values(scrape)).map(line).collect()
    }

    /// The observations that scrapes of the page yield, without parsing: what the engine alone costs.
    pub fn observations(&self, scrapes: std::ops::Range<u32>) -> impl Iterator<Item = Observation> + '_ {
        let identity = identity();
        let attach = |(name, labels): &Written| {
            identity.attach(name, labels.iter().map(|(label, text)| (*label, &**text)))
        };
        let known: Vec<Labels> = self.series.iter().map(attach).collect();
        scrapes.map(move |scrape| {
            let sample =
                |(labels, value): (&Labels, f64)| Sample { labels: labels.clone(), at: at(scrape), value };
            let answer = Ok(known.iter().zip(self.values(scrape)).map(sample).collect());
            Observation { source: source(), at: at(scrape), took: Span::from_millis(3), answer, told: None }
        })
    }

    /// A store that keeps what these plans select, filled with [`SCRAPES`] scrapes.
    pub fn store(&self, plans: &[Plan]) -> Store {
        let mut store = empty_store(plans);
        for observation in self.observations(0..SCRAPES) {
            store.ingest(&observation).expect("within the limits");
        }
        store
    }

    /// So many typical rules.
    pub fn rules(&self, count: usize) -> Vec<Plan> {
        let scope = Scope::of([source()]);
        let plan = |at| {
            let text = self.rule(at);
            let expr = parse_promql(&text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
            compile(&expr, &scope).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
        };
        (0..count).map(plan).collect()
    }

    /// The text of one of them.
    pub fn rule(&self, at: usize) -> String {
        let global = [
            "sum(rate(http_requests_total{status=~\"5..\"}[1m])) / sum(rate(http_requests_total[1m]))",
            "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))",
            "histogram_quantile(0.99, sum by (le, exchange) (rate(http_request_duration_seconds_bucket[30s])))",
            "sum(rate(http_request_duration_seconds_sum[1m])) / sum(rate(http_request_duration_seconds_count[1m]))",
        ];
        if let Some(text) = global.get(at) {
            return (*text).to_owned();
        }
        let exchange = EXCHANGES[at % EXCHANGES.len()];
        let own =
            format!("exchange=\"{exchange}\", handler=\"/api/h{}\"", at / EXCHANGES.len() % self.handlers);
        match at % 6 {
            0 => format!(
                "sum(rate(http_requests_total{{status=~\"5..\", {own}}}[1m])) / sum(rate(http_requests_total{{{own}}}[1m]))"
            ),
            1 => format!(
                "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{{{own}}}[1m])))"
            ),
            2 => format!("avg_over_time(queue_depth{{{own}}}[5m])"),
            3 => format!(
                "rate(cache_hits_total{{{own}}}[1m]) / (rate(cache_hits_total{{{own}}}[1m]) + rate(cache_misses_total{{{own}}}[1m]))"
            ),
            4 => format!("absent(queue_depth{{{own}}})"),
            _ => format!("max_over_time(queue_depth{{{own}}}[30s])"),
        }
    }
}

/// The values of one handler of one exchange, in the order of its series.
fn values_of_handler(scrape: u32, pair: u32) -> impl Iterator<Item = f64> {
    let requests = if pair.is_multiple_of(4) { scrape * (3 + pair % 40) } else { (scrape + pair) / 10 };
    let statuses = [requests - requests / 50, requests / 70, requests / 50].map(f64::from);
    let below = move |at: usize| (u64::from(requests) * (at as u64 + 1).min(9) / 9) as f64;
    let others = [
        f64::from(requests) * 0.0123,
        f64::from(requests),
        f64::from(requests / 2),
        f64::from(requests / 3),
        f64::from(requests * 7 % 17),
    ];
    statuses.into_iter().chain((0..BOUNDS.len()).map(below)).chain(others)
}

/// A store that keeps what these plans select.
pub fn empty_store(plans: &[Plan]) -> Store {
    let mut store = Store::new(Limits::default(), Span::from_secs(300));
    store.set_interest(Interest::Selectors(plans.iter().flat_map(Plan::selectors).cloned().collect()));
    store
}

/// Reads a page and puts the source's labels on it.
pub fn read(page: &str, scrape: u32) -> Observation {
    let page = parse_page(page.as_bytes(), Format::Text, usize::MAX).expect("a valid page");
    let identity = identity();
    let samples = page.samples().map(|sample| {
        let pairs = sample.labels.iter().map(|(name, value)| (&**name, &**value));
        Sample { labels: identity.attach(sample.name, pairs), at: at(scrape), value: sample.value }
    });
    let answer = Ok(samples.collect());
    Observation { source: source(), at: at(scrape), took: Span::from_millis(3), answer, told: None }
}

/// The instant of a scrape.
pub fn at(scrape: u32) -> Timestamp {
    Timestamp::from_millis(i64::from(scrape) * 1000)
}

fn source() -> SourceName {
    SourceName::from("app")
}

fn identity() -> SeriesIdentity {
    SeriesIdentity::new(&source(), "127.0.0.1:8003", &Labels::empty(), LabelConflict::Export)
}
