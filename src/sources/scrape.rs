//! A scrape: asks one endpoint for its page, within a time and a size, and keeps all of it or nothing.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::OnceCell;

use super::exposition::recall::Recalled;
use super::exposition::{self, Format, KnownNumbers, Page, PageError, PageSample, excerpt};
use super::http_client;
use super::identity::{LabelConflict, SeriesIdentity};
use crate::engine::model::{Labels, METRIC_NAME, Sample, SourceName};
use crate::engine::series::{FailureKind, Observation, SourceFailure};
use crate::engine::time::{Span, Timestamp};

/// The default limit of a page, in bytes after decompression.
pub const DEFAULT_MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The default limit of a page's samples: about what the default limit of bytes can hold.
pub const DEFAULT_MAX_SAMPLES: usize = 200_000;

/// What we ask for: text 0.0.4 first, because its names need no negotiation; then OpenMetrics; then anything.
const ACCEPTED: &str = "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1";

/// How far ahead of the scrape a page's own timestamp may lie; Prometheus' `maxAheadTime`.
const MAX_AHEAD: Span = Span::from_secs(600);

/// Whether the page's own timestamps count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageTimestamps {
    /// They do, converted to engine time. Prometheus' default.
    #[default]
    Honor,
    /// Every sample carries the time of the scrape.
    Ignore,
}

/// What a scraper must know.
#[derive(Clone, Debug)]
pub struct ScrapeSettings {
    /// The source's name; the `job` label.
    pub source: SourceName,
    /// The endpoint, `http` or `https`.
    pub url: String,
    /// The time for everything: connecting, headers, the whole body.
    pub timeout: Span,
    /// Labels to put on every series, beside `job` and `instance`.
    pub labels: Labels,
    /// The most bytes a page may have, counted after decompression.
    pub max_body_bytes: usize,
    /// The most samples a page may have.
    pub max_samples: usize,
    /// What happens to scraped labels that the source sets too.
    pub conflict: LabelConflict,
    /// Whether the page's own timestamps count.
    pub timestamps: PageTimestamps,
}

impl ScrapeSettings {
    /// Makes settings with the default limits and without extra labels.
    pub fn new(source: SourceName, url: &str, timeout: Span) -> Self {
        Self {
            source,
            url: url.to_owned(),
            timeout,
            labels: Labels::empty(),
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_samples: DEFAULT_MAX_SAMPLES,
            conflict: LabelConflict::default(),
            timestamps: PageTimestamps::default(),
        }
    }
}

/// Why settings cannot work; all reasons at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source `{source_name}` cannot be scraped: {}", problems.join("; "))]
pub struct InvalidScrapeSettings {
    /// The source.
    pub source_name: SourceName,
    /// What was expected, one entry per mistake.
    pub problems: Vec<String>,
}

/// Scrapes one endpoint, again and again, over a connection that is kept.
#[derive(Debug)]
pub struct Scraper {
    settings: ScrapeSettings,
    url: Url,
    identity: SeriesIdentity,
    /// Built at the first scrape and, where that fails, at the next: a missing CA store is a failed scrape, not a daemon
    /// that does not start.
    client: OnceCell<Client>,
    memory: Mutex<Memory>,
}

/// What the last page came to.
#[derive(Debug, Default)]
struct Memory {
    numbers: KnownNumbers,
    series: Recalled<Labels>,
    /// Whether no two of the series have the same labels.
    are_distinct: bool,
}

/// A page as it came from the network.
struct Answer {
    body: Vec<u8>,
    format: Format,
}

impl Scraper {
    /// Checks the settings; opens nothing yet.
    ///
    /// # Errors
    ///
    /// [`InvalidScrapeSettings`] with everything that is wrong with them.
    pub fn new(settings: ScrapeSettings) -> Result<Self, InvalidScrapeSettings> {
        let mut problems = Vec::new();
        let url = parse_url(&settings.url).map_err(|problem| problems.push(problem)).ok();
        if settings.timeout.is_zero_or_negative() {
            problems.push(format!("expected a timeout above zero, found {}", settings.timeout));
        }
        if settings.max_body_bytes == 0 || settings.max_samples == 0 {
            problems.push("expected limits of bytes and samples above zero".to_owned());
        }
        if settings.labels.get(METRIC_NAME).is_some() {
            problems.push(format!("expected labels without `{METRIC_NAME}`"));
        }
        match url {
            Some(url) if problems.is_empty() => {
                let instance = http_client::host_and_port(&url);
                let identity =
                    SeriesIdentity::new(&settings.source, &instance, &settings.labels, settings.conflict);
                Ok(Self { settings, url, identity, client: OnceCell::new(), memory: Mutex::default() })
            }
            _ => Err(InvalidScrapeSettings { source_name: settings.source, problems }),
        }
    }

    /// Returns the labels that every series of this source carries.
    pub fn identity(&self) -> &SeriesIdentity {
        &self.identity
    }

    /// Asks once; returns after the timeout at the latest, plus the time to read a page that has arrived.
    ///
    /// `at` is the time of the scrape in engine time; wall time is `at + wall_offset`, which is what the page's own
    /// timestamps are converted by.
    pub async fn scrape(&self, at: Timestamp, wall_offset: Span) -> Observation {
        let began = Instant::now();
        let answer = match tokio::time::timeout(self.settings.timeout.to_std(), self.fetch()).await {
            Ok(fetched) => fetched.and_then(|answer| self.read(&answer, at, wall_offset)),
            Err(_) => Err(self.failure(
                FailureKind::TimedOut,
                format_args!("no whole answer within {}", self.settings.timeout),
            )),
        };
        let took = Span::from_millis(i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX));
        Observation { source: self.settings.source.clone(), at, took, answer, told: None }
    }

    /// Fetches the whole page.
    async fn fetch(&self) -> Result<Answer, SourceFailure> {
        let client = self
            .client
            .get_or_try_init(|| async { http_client::build(&self.url) })
            .await
            .map_err(|error| self.network_failure(&error))?;
        let response = match self.ask(client).await {
            // A server may close a kept connection in the instant in which we use it: ask once more, as Go's client does.
            Err(error) if is_cut_before_headers(&error) => self.ask(client).await,
            answered => answered,
        };
        let response = response.map_err(|error| self.network_failure(&error))?;
        let format = self.check_head(&response)?;
        let body = self.body(response).await?;
        if body.is_empty() {
            return Err(self.failure(FailureKind::Malformed, format_args!("the page is empty")));
        }
        Ok(Answer { body, format })
    }

    async fn ask(&self, client: &Client) -> reqwest::Result<Response> {
        let seconds = self.settings.timeout.as_secs_f64().to_string();
        client
            .get(self.url.clone())
            .header(ACCEPT, ACCEPTED)
            // Some exporters trim their own work to it.
            .header("X-Prometheus-Scrape-Timeout-Seconds", seconds)
            .send()
            .await
    }

    /// Checks status, encoding, type and announced length, and returns the format.
    fn check_head(&self, response: &Response) -> Result<Format, SourceFailure> {
        let status = response.status();
        if status.is_redirection() {
            let to = self.redirect_target(response);
            let what = format_args!(
                "answered {status}, a redirect to {to}, which is refused; configure the final address"
            );
            return Err(self.failure(FailureKind::BadStatus, what));
        }
        if status != StatusCode::OK {
            return Err(
                self.failure(FailureKind::BadStatus, format_args!("answered {status}, expected 200 OK"))
            );
        }
        // Gzip has been taken off by now, header included.
        if let Some(encoding) = header(response, CONTENT_ENCODING).filter(|encoding| encoding != "identity") {
            let what =
                format_args!("the page is encoded as `{}`, which was not asked for", excerpt(&encoding));
            return Err(self.failure(FailureKind::Malformed, what));
        }
        if response.content_length().is_some_and(|length| length > self.settings.max_body_bytes as u64) {
            return Err(self.too_large());
        }
        self.format(header(response, CONTENT_TYPE).as_deref())
    }

    fn redirect_target(&self, response: &Response) -> String {
        match header(response, LOCATION) {
            Some(location) => match self.url.join(&location) {
                Ok(target) => excerpt(&http_client::redacted(&target)),
                Err(_) => "an invalid address".to_owned(),
            },
            None => "nowhere".to_owned(),
        }
    }

    /// Chooses the format by Content-Type; without one the page is taken as text 0.0.4.
    fn format(&self, content_type: Option<&str>) -> Result<Format, SourceFailure> {
        let Some(content_type) = content_type else { return Ok(Format::Text) };
        let media_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match media_type.as_str() {
            "" | "text/plain" => Ok(Format::Text),
            "application/openmetrics-text" => Ok(Format::OpenMetrics),
            "text/html" | "application/xhtml+xml" => {
                Err(self.failure(FailureKind::Malformed, format_args!("got HTML, not metrics")))
            }
            other => {
                let other = excerpt(other);
                let what = format_args!(
                    "got Content-Type `{other}`, expected text/plain or application/openmetrics-text"
                );
                Err(self.failure(FailureKind::Malformed, what))
            }
        }
    }

    /// Collects the body, decompressed, up to the limit.
    async fn body(&self, mut response: Response) -> Result<Vec<u8>, SourceFailure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.network_failure(&error))? {
            if body.len() + chunk.len() > self.settings.max_body_bytes {
                return Err(self.too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Reads the page and puts the source's labels and engine time on its samples.
    fn read(&self, answer: &Answer, at: Timestamp, wall_offset: Span) -> Result<Vec<Sample>, SourceFailure> {
        // What is remembered is replaced as a whole, so it is good even where a panic has come between.
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let page = exposition::parse_next(
            &answer.body,
            answer.format,
            self.settings.max_samples,
            &mut memory.numbers,
        )
        .map_err(|error| self.failure(kind_of(&error), format_args!("{error}")))?;
        Ok(self.samples(&page, at, wall_offset, &mut memory))
    }

    /// Keeps what Prometheus would store: of samples with equal labels and time the first, and none from the far future.
    fn samples(&self, page: &Page<'_>, at: Timestamp, wall_offset: Span, memory: &mut Memory) -> Vec<Sample> {
        let labels = self.labels(page, memory);
        let sample = |(scraped, labels): (PageSample<'_>, Labels)| {
            let measured = match (scraped.wall_timestamp, self.settings.timestamps) {
                (Some(wall), PageTimestamps::Honor) => Timestamp::from_millis(wall) - wall_offset,
                _ => at,
            };
            (measured <= at + MAX_AHEAD).then_some(Sample { labels, at: measured, value: scraped.value })
        };
        let mut samples: Vec<Sample> = page.samples().zip(labels).filter_map(sample).collect();
        if !memory.are_distinct {
            let mut seen = HashSet::with_capacity(samples.len());
            samples.retain(|sample| seen.insert((sample.labels.clone(), sample.at)));
        }
        samples
    }

    /// Joins every series of a page with the source's labels, and remembers them for the next page.
    fn labels(&self, page: &Page<'_>, memory: &mut Memory) -> Vec<Labels> {
        let mut are_known = memory.series.len() == page.len();
        let labels_of = |(place, scraped): (usize, PageSample<'_>)| {
            memory.series.get(place, scraped.series).cloned().unwrap_or_else(|| {
                are_known = false;
                let pairs = scraped.labels.iter().map(|(name, value)| (&**name, &**value));
                self.identity.attach(scraped.name, pairs)
            })
        };
        let labels: Vec<Labels> = page.samples().enumerate().map(labels_of).collect();
        if !are_known {
            let mut seen = HashSet::with_capacity(labels.len());
            memory.are_distinct = labels.iter().all(|labels| seen.insert(labels));
            let texts = page.samples().map(|scraped| scraped.series);
            memory.series = texts.zip(labels.iter().cloned()).collect();
        }
        labels
    }

    fn too_large(&self) -> SourceFailure {
        let limit = self.settings.max_body_bytes;
        self.failure(
            FailureKind::TooLarge,
            format_args!("the page is larger than {limit} bytes; raise max_body_bytes"),
        )
    }

    /// Describes an error of the network or of the protocol.
    fn network_failure(&self, error: &reqwest::Error) -> SourceFailure {
        let kind = if error.is_timeout() {
            FailureKind::TimedOut
        } else if error.is_connect() || error.is_dns() || error.is_builder() {
            FailureKind::Unreachable
        } else {
            FailureKind::Malformed
        };
        let what = match kind {
            FailureKind::TimedOut => "timed out",
            FailureKind::Unreachable => "cannot connect",
            _ => "the answer is broken or cut off",
        };
        self.failure(kind, format_args!("{what}: {}", http_client::causes(error)))
    }

    fn failure(&self, kind: FailureKind, what: std::fmt::Arguments<'_>) -> SourceFailure {
        SourceFailure { kind, message: format!("{}: {what}", http_client::redacted(&self.url)) }
    }
}

/// Parses a URL that can be scraped.
fn parse_url(text: &str) -> Result<Url, String> {
    // The text may hold a password: it is not repeated.
    let url = Url::parse(text)
        .map_err(|error| format!("expected a URL such as http://host:port/metrics: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("expected a URL with http or https, found `{}`", url.scheme()));
    }
    Ok(url)
}

/// Returns a header as text, `None` where it is absent.
fn header(response: &Response, name: reqwest::header::HeaderName) -> Option<String> {
    response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Returns whether the connection ended before an answer began.
fn is_cut_before_headers(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}

/// Tells a limit from bad text.
fn kind_of(error: &PageError) -> FailureKind {
    match error {
        PageError::TooManySamples { .. } | PageError::LineTooLarge { .. } => FailureKind::TooLarge,
        PageError::Malformed(_) | PageError::NumberLost { .. } => FailureKind::Malformed,
    }
}
