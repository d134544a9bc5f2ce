//! The daemon's own settings, resolved: paths absolute, defaults applied, names checked, secrets still references.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::credentials::SecretRef;
use crate::engine::model::{Labels, ReceiverName, SourceName};
use crate::engine::time::Span;
use crate::probe::Probe;

/// What the shell needs of `rearguard.yaml`; what decisions depend on is in the engine's `Setup`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file itself.
    pub file: PathBuf,
    /// Where the journal lives.
    pub state: PathBuf,
    /// The socket for everything that changes something.
    pub control: PathBuf,
    /// Where the read-only API is served; nowhere, where absent.
    pub listen: Option<SocketAddr>,
    /// Where what comes in is taken, and from whom; nowhere, where absent.
    pub ingest: Option<Ingest>,
    /// What one query may cost.
    pub query: QueryLimits,
    /// How long the journal keeps what.
    pub retention: Retention,
    /// The address by which people reach the status page, for links in pages.
    pub external_url: Option<String>,
    /// What is asked.
    pub sources: BTreeMap<SourceName, Source>,
    /// The units whose starts are deployments.
    pub units: BTreeMap<SourceName, WatchedUnit>,
    /// The channels that page.
    pub receivers: BTreeMap<ReceiverName, Receiver>,
}

/// The listener for what comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may say what.
    pub tokens: Vec<IngestToken>,
}

/// A token, and what whoever has it may say. None may roll back, arm or disarm (E12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestToken {
    /// The name under which what it says is recorded.
    pub name: String,
    /// What it may say.
    pub may: Vec<Capability>,
    /// The token itself.
    pub token: SecretRef,
}

/// What a token may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Announce deployments, and tell how they go.
    Deployments,
}

/// What queries over the API and the control socket may cost the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// How long one query may take; a query may ask for less.
    pub timeout: Span,
    /// How many samples one query may hold at once: those copied for it, those of its subqueries, those of its result.
    pub max_samples: u64,
    /// How many queries are evaluated at the same time; a few more wait, the rest is refused.
    pub concurrency: u64,
}

impl Default for QueryLimits {
    /// Two minutes are Prometheus' default; beside a latency-sensitive application 30 s are plenty. Two million samples
    /// are 32 MB, and two queries keep a core free on the smallest hosts.
    fn default() -> Self {
        Self { timeout: Span::from_secs(30), max_samples: 2_000_000, concurrency: 2 }
    }
}

/// A systemd unit that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedUnit {
    /// Its name, such as `trading-app.service`.
    pub unit: String,
    /// Time between two looks at it.
    pub every: Span,
}

/// How long the journal keeps what, and how large it may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events, and incidents with them.
    pub events: Span,
    /// What steps have printed.
    pub outputs: Span,
    /// The size of the journal's file, in bytes, at which the oldest events go first.
    pub journal_bytes: u64,
}

impl Default for Retention {
    /// A year is what auditors ask for; what a step printed is of use while people still work on its incident.
    fn default() -> Self {
        let days = |count: i64| Span::from_secs(count * 86_400);
        Self { events: days(365), outputs: days(90), journal_bytes: 1_000_000_000 }
    }
}

/// A source that is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What is asked of whom.
    pub kind: SourceKind,
    /// Time between two questions.
    pub every: Span,
    /// Limit for one answer; no longer than `every`.
    pub timeout: Span,
    /// Labels that every series of the source carries besides `job` and `instance`.
    pub labels: Labels,
}

/// What a source is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// For its exposition text.
    Scrape {
        /// Where that is.
        url: String,
    },
    /// Whether it is good.
    Probe(Probe),
}

/// A channel that pages.
#[derive(Clone, Debug, PartialEq)]
pub enum Receiver {
    /// PagerDuty's Events API v2.
    PagerDuty(PagerDuty),
    /// Mail over SMTP.
    Email(Email),
}

impl Receiver {
    /// Returns the secret that the receiver needs, if it needs one.
    pub fn secret(&self) -> Option<&SecretRef> {
        match self {
            Self::PagerDuty(pagerduty) => Some(&pagerduty.routing_key),
            Self::Email(email) => email.credentials.as_ref().map(|(_, password)| password),
        }
    }
}

/// A PagerDuty service.
#[derive(Clone, Debug, PartialEq)]
pub struct PagerDuty {
    /// The integration key.
    pub routing_key: SecretRef,
    /// Another region's address, such as `https://events.eu.pagerduty.com`.
    pub base_url: Option<String>,
}

/// People behind a mail server.
#[derive(Clone, Debug, PartialEq)]
pub struct Email {
    /// The server's name or address.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// User name and password, where the server wants them.
    pub credentials: Option<(String, SecretRef)>,
    /// The sender.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// Begins in the clear and must be upgraded before anything is said (port 587).
    StartTls,
    /// TLS from the first byte (port 465).
    Implicit,
    /// None; only to this host.
    Plain,
}
