//! Channels that page: PagerDuty and email.
//!
//! A receiver tries one delivery once and says what became of the try; the [outbox](super::outbox) tries again.

pub mod email;
pub mod pagerduty;
pub mod text;

use std::future::Future;
use std::time::Duration;

use crate::engine::decision::Delivery;

pub use email::{Email, EmailSettings, TlsMode};
pub use pagerduty::{PagerDuty, PagerDutySettings};

/// The receiver's yes, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt(pub String);

/// Why a try brought no yes. Reasons are one printable line and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may work later.
    #[error("{reason}")]
    Retry {
        /// How long the receiver asks to be left alone.
        after: Option<Duration>,
        /// What went wrong.
        reason: String,
    },
    /// It will never work: the message or the configuration is refused.
    #[error("{reason}")]
    Never {
        /// What was refused, and why.
        reason: String,
    },
}

impl SendError {
    /// Returns the error of a try that may be repeated at any time.
    pub(crate) fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { after: None, reason: reason.into() }
    }

    /// Returns the error of a try that must not be repeated.
    pub(crate) fn never(reason: impl Into<String>) -> Self {
        Self::Never { reason: reason.into() }
    }
}

/// Why a receiver cannot be made out of its settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidReceiver(pub String);

/// One way to bring a message to people.
pub trait Channel: Send + Sync + 'static {
    /// Tries once; bounded in time by the channel itself.
    ///
    /// `journal` is the journal's id and `anchor` the hash of its head, which goes out with every message so that the
    /// chain of events has anchors outside.
    ///
    /// # Errors
    ///
    /// Returns whether trying again makes sense, and the reason.
    fn send(
        &self,
        delivery: &Delivery,
        journal: &str,
        anchor: &str,
    ) -> impl Future<Output = Result<Receipt, SendError>> + Send;
}

/// A configured receiver.
#[derive(Debug)]
pub enum Receiver {
    /// PagerDuty's Events API v2.
    PagerDuty(PagerDuty),
    /// Mail over SMTP.
    Email(Email),
}

impl Channel for Receiver {
    async fn send(&self, delivery: &Delivery, journal: &str, anchor: &str) -> Result<Receipt, SendError> {
        match self {
            Self::PagerDuty(pagerduty) => pagerduty.send(delivery, journal, anchor).await,
            Self::Email(email) => email.send(delivery, journal, anchor).await,
        }
    }
}
