//! Probes: a question whose answer is good or bad, and a bad one is an answer too.
//!
//! A refused connection, a time-out, a wrong status or body is what the probed thing says: the observation succeeds, with
//! `probe_success 0` and a reason. It fails only where nobody was asked: out of descriptors, no program, no route, a name
//! that does not resolve (E2). The series are called as blackbox_exporter calls them.

mod exec;
mod http;
mod tcp;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::identity::{LabelConflict, SeriesIdentity};
use crate::engine::model::{Labels, Sample, SourceName};
use crate::engine::series::{FailureKind, Observation, PROBE_SUCCESS, SourceFailure};
use crate::engine::time::{Span, Timestamp};
use crate::probe::Probe;
use crate::probe::expectation::{check_within, printable};

/// How many characters of a reason are kept.
const REASON_CHARS: usize = 300;

/// What a prober must know.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSettings {
    /// The source's name; the labels `job` and `source`.
    pub source: SourceName,
    /// What is asked.
    pub probe: Probe,
    /// The time for everything.
    pub timeout: Span,
    /// Labels to put on every series, beside `job`, `instance` and `source`.
    pub labels: Labels,
}

/// Why settings cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source `{source_name}` cannot be probed: {problem}")]
pub struct InvalidProbeSettings {
    /// The source.
    pub source_name: SourceName,
    /// What was expected.
    pub problem: String,
}

/// Asks one question, again and again.
#[derive(Debug)]
pub struct Prober {
    settings: ProbeSettings,
    identity: SeriesIdentity,
    asker: Asker,
}

/// Who asks.
#[derive(Debug)]
enum Asker {
    Http(Box<http::HttpAsker>),
    Tcp { address: String },
    Exec { argv: Vec<String> },
}

/// What an asker found out.
struct Found {
    /// What is good about it in words, or what is bad.
    verdict: Result<String, String>,
    /// The status of an HTTP answer.
    status: Option<u16>,
    /// The number that a program printed.
    value: Option<f64>,
}

impl Found {
    fn bad(why: impl Into<String>) -> Self {
        Self { verdict: Err(why.into()), status: None, value: None }
    }
}

/// What was found out, or why nobody was asked.
type Asked = Result<Found, SourceFailure>;

impl Prober {
    /// Checks the settings; asks nobody yet.
    ///
    /// # Errors
    ///
    /// [`InvalidProbeSettings`] with what is wrong with them.
    pub fn new(settings: ProbeSettings) -> Result<Self, InvalidProbeSettings> {
        let invalid =
            |problem: String| InvalidProbeSettings { source_name: settings.source.clone(), problem };
        if settings.timeout.is_zero_or_negative() {
            return Err(invalid(format!("expected a timeout above zero, found {}", settings.timeout)));
        }
        let (asker, instance) = match &settings.probe {
            Probe::Http(probe) => {
                let asker = http::HttpAsker::new(probe.clone()).map_err(invalid)?;
                let instance = asker.instance();
                (Asker::Http(Box::new(asker)), instance)
            }
            Probe::Tcp { address, .. } => (Asker::Tcp { address: address.clone() }, address.clone()),
            Probe::Exec { argv, .. } => match argv.first() {
                Some(program) if program.starts_with('/') => {
                    (Asker::Exec { argv: argv.clone() }, program.clone())
                }
                _ => return Err(invalid("expected the absolute path of a program".to_owned())),
            },
        };
        let own = [("source", settings.source.as_str())];
        let labels = Labels::from_pairs(own.into_iter().chain(settings.labels.iter()));
        let identity = SeriesIdentity::new(&settings.source, &instance, &labels, LabelConflict::Export);
        Ok(Self { settings, identity, asker })
    }

    /// Asks once; returns after the timeout at the latest, plus the time to end a program that does not end by itself.
    pub async fn ask(&self, at: Timestamp) -> Observation {
        let began = Instant::now();
        let budget = self.settings.timeout.to_std();
        let asked = match &self.asker {
            // It ends its program before it returns.
            Asker::Exec { argv } => exec::ask(argv, budget).await,
            Asker::Http(asker) => self.in_time(asker.ask(), budget).await,
            Asker::Tcp { address } => self.in_time(tcp::ask(address), budget).await,
        };
        let took = span(began.elapsed());
        let (answer, told) = match asked {
            Ok(found) => self.read(found, at, took),
            Err(failure) => (Err(failure), None),
        };
        Observation { source: self.settings.source.clone(), at, took, answer, told }
    }

    async fn in_time(&self, asking: impl Future<Output = Asked>, budget: Duration) -> Asked {
        tokio::time::timeout(budget, asking)
            .await
            .unwrap_or_else(|_| Ok(Found::bad(format!("no answer within {}", self.settings.timeout))))
    }

    /// Returns the samples of what was found out, and what it was in words.
    fn read(
        &self,
        found: Found,
        at: Timestamp,
        took: Span,
    ) -> (Result<Vec<Sample>, SourceFailure>, Option<String>) {
        let within = match &self.settings.probe {
            Probe::Http(probe) => probe.expect.within,
            Probe::Tcp { within, .. } | Probe::Exec { within, .. } => *within,
        };
        let verdict = found.verdict.and_then(|good| check_within(took, within).map(|()| good));
        let is_http = matches!(self.settings.probe, Probe::Http(_));
        let status = found.status.map(f64::from).or(is_http.then_some(0.0));
        let values = [
            (PROBE_SUCCESS, Some(f64::from(u8::from(verdict.is_ok())))),
            ("probe_duration_seconds", Some(took.as_secs_f64())),
            ("probe_http_status_code", status),
            ("probe_value", found.value),
        ];
        let sample = |(name, value): (&str, Option<f64>)| {
            Some(Sample { labels: self.identity.attach(name, std::iter::empty()), at, value: value? })
        };
        let told = match verdict {
            Ok(good) if took.is_zero_or_negative() => format!("{good} in less than 1ms"),
            Ok(good) => format!("{good} in {took}"),
            Err(bad) => bad,
        };
        (Ok(values.into_iter().filter_map(sample).collect()), Some(told))
    }
}

fn span(elapsed: Duration) -> Span {
    Span::from_millis(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// Returns the failure of a question that could not be asked.
fn not_asked(kind: FailureKind, why: &str) -> SourceFailure {
    let why: String = why.chars().take(REASON_CHARS).collect();
    SourceFailure { kind, message: format!("nobody was asked: {}", printable(&why)) }
}

/// Returns whether an error of a socket is our own: what was to be asked has not been reached, nor could it be.
///
/// Descriptors, memory and ports are used up, the network is down or has no route, or we are not allowed to.
fn is_own(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let own = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::PERM,
        Errno::ACCESS,
    ];
    own.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Returns what a refused or lost connection is in words.
fn connection(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "the connection was refused".to_owned(),
        ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
        _ => format!("no connection: {}", printable(&error.to_string())),
    }
}
