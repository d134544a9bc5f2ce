//! What reached the outside world: pages and mails, as the stand-ins on the loopback received them.

use tokio::sync::mpsc::UnboundedSender;

/// Something that a stand-in received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, in milliseconds of Unix time.
    pub wall_unix_ms: i64,
    /// What.
    pub what: Arrived,
}

/// A page or a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// An event for PagerDuty.
    Page(Page),
    /// A mail.
    Mail(Mail),
}

/// An event of PagerDuty's Events API v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// `trigger`, `acknowledge` or `resolve`.
    pub action: String,
    /// Events with one key are one incident.
    pub dedup_key: String,
    /// `critical`, `error`, `warning` or `info`; only a `trigger` has one.
    pub severity: Option<String>,
    /// The first line; only a `trigger` has one.
    pub summary: Option<String>,
    /// The HTTP status that it was answered with; 202 means that PagerDuty has it.
    pub answered: u16,
    /// The body as it came.
    pub body: String,
}

impl Page {
    /// Returns whether the event was taken.
    pub fn accepted(&self) -> bool {
        self.answered == 202
    }
}

/// A mail that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The subject, unfolded.
    pub subject: String,
    /// Head and body as they came, without the dots that SMTP stuffs.
    pub text: String,
}

/// Where the stand-ins report what they received.
pub type Arrivals = UnboundedSender<Arrival>;

impl Arrival {
    /// Returns `what` as arrived now.
    pub fn now(what: Arrived) -> Self {
        Self { wall_unix_ms: wall_unix_ms(), what }
    }
}

/// Returns the wall clock in milliseconds of Unix time.
pub fn wall_unix_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
