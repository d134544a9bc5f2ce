//! PagerDuty's Events API v2: one request opens or resolves an incident.
//!
//! Limits and replies as PagerDuty documents them ("Send an event", "Events API v2 overview"); where the documents give
//! different advice about retries, the patient one is taken: nothing is given up that may still work.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::text::{self, Page};
use super::{Channel, InvalidReceiver, Receipt, SendError};
use crate::effects::{http, printable};
use crate::engine::decision::{Delivery, Message, MessageKind};
use crate::engine::model::Severity;
use crate::secret::Secret;

/// Where events go unless the settings say otherwise.
pub const DEFAULT_BASE_URL: &str = "https://events.pagerduty.com";

/// Limit for one try, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// PagerDuty's limit for `dedup_key`, in characters.
const DEDUP_KEY_CHARS_MAX: usize = 255;

/// PagerDuty's limit for `payload.summary`, in characters; ours for every other short field.
const SHORT_FIELD_CHARS_MAX: usize = 1024;

/// Limit for a whole event, in bytes. PagerDuty says 512 KB; Alertmanager's reading of it, the careful one, is decimal.
const EVENT_BYTES_MAX: usize = 512_000;

/// What one text is shortened to, in characters, when the whole is too long.
const SHRUNK_CHARS_MAX: usize = 2048;

/// How many characters of a refusal go into the reason.
const ANSWER_CHARS_MAX: usize = 300;

/// What a PagerDuty receiver is made of.
#[derive(Clone, Debug)]
pub struct PagerDutySettings {
    /// The integration key of the service.
    pub routing_key: Secret,
    /// Another region's address, such as `https://events.eu.pagerduty.com`, or a stand-in's.
    pub base_url: Option<String>,
    /// The address of our status page, for the link in the incident.
    pub external_url: Option<String>,
}

/// A PagerDuty service.
#[derive(Debug)]
pub struct PagerDuty {
    enqueue_url: reqwest::Url,
    routing_key: Secret,
    external_url: Option<String>,
    http: reqwest::Client,
}

impl PagerDuty {
    /// Makes the receiver.
    ///
    /// # Errors
    ///
    /// Fails where the key is empty or the base address is not an `http` or `https` URL.
    pub fn new(settings: PagerDutySettings, http: reqwest::Client) -> Result<Self, InvalidReceiver> {
        if settings.routing_key.is_empty() {
            return Err(InvalidReceiver(
                "pagerduty: the routing key is empty; put the integration key there".to_owned(),
            ));
        }
        let base = settings.base_url.as_deref().unwrap_or(DEFAULT_BASE_URL);
        let mut enqueue_url = reqwest::Url::parse(base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| {
                let base = printable::line(base);
                InvalidReceiver(format!("pagerduty: `{base}` is not an address such as {DEFAULT_BASE_URL}"))
            })?;
        let path = format!("{}/v2/enqueue", enqueue_url.path().trim_end_matches('/'));
        enqueue_url.set_path(&path);
        Ok(Self { enqueue_url, routing_key: settings.routing_key, external_url: settings.external_url, http })
    }

    /// Returns the event as JSON, within PagerDuty's limits.
    fn event(&self, delivery: &Delivery, journal: &str, anchor: &str) -> Vec<u8> {
        let message = &delivery.message;
        let mut event = json!({
            "routing_key": self.routing_key.expose(),
            "event_action": action(message.kind),
            "dedup_key": dedup_key(&message.dedup_key),
        });
        if message.kind != MessageKind::Resolve {
            event["payload"] = payload(delivery, journal, anchor);
            event["client"] = json!("Rearguard");
            if let Some(url) = &self.external_url {
                event["client_url"] = json!(url);
            }
            let link = text::runbook_link(message).filter(|link| link.len() <= SHRUNK_CHARS_MAX);
            event["links"] =
                link.map(|href| json!([{ "href": href, "text": "Runbook" }])).unwrap_or(json!([]));
        }
        let body = event.to_string();
        if body.len() <= EVENT_BYTES_MAX {
            return body.into_bytes();
        }
        event["payload"]["custom_details"] = shrunk_details(delivery, journal, anchor);
        event.to_string().into_bytes()
    }

    /// Judges an answer: only 202 with `"status": "success"` is PagerDuty's yes.
    ///
    /// A captive portal answers 200 with a page of its own; a broken proxy answers 202 with half a body.
    fn judge(&self, status: StatusCode, body: &[u8], after: Option<Duration>) -> Result<Receipt, SendError> {
        let said = String::from_utf8_lossy(body);
        let said = printable::short_line(self.routing_key.redact(said.trim()).as_str(), ANSWER_CHARS_MAX);
        let reason = format!("PagerDuty answered {}", http::refusal(status, &said));
        match status.as_u16() {
            202 => match serde_json::from_slice::<Accepted>(body) {
                Ok(accepted) if accepted.status == "success" => {
                    let words = self.routing_key.redact(accepted.message.trim());
                    let words = printable::short_line(words.as_str(), ANSWER_CHARS_MAX);
                    Ok(Receipt(format!("PagerDuty says: {words}")))
                }
                _ => Err(SendError::retry(format!("{reason} (202, but not PagerDuty's `success`)"))),
            },
            // A proxy's or a limiter's words, not a judgement about this event.
            407 | 408 | 425 | 429 => Err(SendError::Retry { after, reason }),
            400..=499 => Err(SendError::Never { reason }),
            500..=599 => Err(SendError::Retry { after, reason }),
            _ => Err(SendError::retry(format!("{reason} (is something between us and PagerDuty?)"))),
        }
    }
}

impl Channel for PagerDuty {
    async fn send(&self, delivery: &Delivery, journal: &str, anchor: &str) -> Result<Receipt, SendError> {
        let request = self
            .http
            .post(self.enqueue_url.clone())
            .timeout(TIMEOUT)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(self.event(delivery, journal, anchor));
        let mut response = request.send().await.map_err(|error| {
            SendError::retry(format!("PagerDuty cannot be reached: {}", http::no_answer(error)))
        })?;
        let after = http::retry_after(response.headers(), SystemTime::now());
        let body = http::body_start(&mut response).await;
        self.judge(response.status(), &body, after)
    }
}

/// PagerDuty's answer, as far as it matters.
#[derive(Deserialize)]
struct Accepted {
    status: String,
    #[serde(default)]
    message: String,
}

fn action(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Trigger | MessageKind::Update => "trigger",
        MessageKind::Resolve => "resolve",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "info",
    }
}

/// Returns the key, hashed where it is too long; trigger and resolve get the same one.
fn dedup_key(key: &str) -> String {
    if key.chars().count() <= DEDUP_KEY_CHARS_MAX {
        return key.to_owned();
    }
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn payload(delivery: &Delivery, journal: &str, anchor: &str) -> Value {
    let message = &delivery.message;
    let facts = &message.facts;
    let short = |text: &str| printable::short_line(text, SHORT_FIELD_CHARS_MAX);
    json!({
        "summary": short(&text::summary(message)),
        "source": short(facts.target.as_str()),
        "severity": severity(message.severity),
        "timestamp": rfc3339(message.decided_unix_ms),
        "component": short(facts.target.as_str()),
        "class": short(&facts.cause),
        "custom_details": details(delivery, journal, anchor),
    })
}

/// Returns every fact, and the page as people read it.
fn details(delivery: &Delivery, journal: &str, anchor: &str) -> Value {
    let Message { details, facts, unjournaled, .. } = &delivery.message;
    json!({
        "page": Page::new(delivery, journal, anchor).to_text(),
        "details": details,
        "reason": facts.reason,
        "trigger": facts.cause,
        "labels": facts.labels,
        "value": facts.value,
        "threshold": facts.threshold,
        "since": rfc3339(facts.since_unix_ms),
        "version": facts.version,
        "previous_version": facts.previous_version,
        "runbook": facts.runbook,
        "incident": facts.incident.to_string(),
        "message": delivery.effect.to_string(),
        "journal": journal,
        "journal_head": anchor,
        "unjournaled": unjournaled,
    })
}

/// Returns the facts that a reader needs most, each cut: together they fit whatever the labels hold.
fn shrunk_details(delivery: &Delivery, journal: &str, anchor: &str) -> Value {
    let Message { details, facts, .. } = &delivery.message;
    let cut = |text: &str| printable::shorten(text, SHRUNK_CHARS_MAX);
    json!({
        "note": "shortened to fit PagerDuty's limit; the journal has everything",
        "details": details.iter().take(10).map(|line| cut(line)).collect::<Vec<_>>(),
        "reason": cut(&facts.reason),
        "labels": cut(&facts.labels.to_string()),
        "value": facts.value,
        "threshold": facts.threshold,
        "since": rfc3339(facts.since_unix_ms),
        "incident": facts.incident.to_string(),
        "message": delivery.effect.to_string(),
        "journal": cut(journal),
        "journal_head": cut(anchor),
    })
}

fn rfc3339(unix_ms: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(unix_ms).ok().map(|at| at.to_string())
}

#[cfg(test)]
mod tests;
