//! A stand-in for PagerDuty on the loopback: speaks Events API v2 as far as a sender can tell.
//!
//! Field rules and answers are those of PagerDuty's public description of `POST /v2/enqueue`: 202 with the dedup key, 400
//! with a list of what is wrong, 5xx when it is their fault and the sender shall try again.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::arrival::{Arrival, Arrivals, Arrived, Page};

/// The longest summary that PagerDuty keeps, in characters.
const SUMMARY_MAX: usize = 1024;

/// The length of an integration's routing key.
const ROUTING_KEY_LENGTH: usize = 32;

/// Whether the stand-in works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Takes what is valid.
    Working,
    /// Answers 500 to everything.
    Broken,
}

/// A running stand-in; it stops when this is dropped.
pub struct PagerDuty {
    /// The address that stands in for `https://events.pagerduty.com`.
    pub url: String,
    task: JoinHandle<()>,
}

impl PagerDuty {
    /// Starts listening on a free port of the loopback.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start(condition: Condition, arrivals: Arrivals) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/v2/enqueue", post(enqueue)).with_state((condition, arrivals));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the PagerDuty stand-in stopped: {error}");
            }
        });
        Ok(Self { url, task })
    }
}

impl Drop for PagerDuty {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn enqueue(State((condition, arrivals)): State<(Condition, Arrivals)>, body: String) -> Response {
    let mut problems = Vec::new();
    let mut page = read_event(&body, &mut problems);
    let (status, answer) = match condition {
        Condition::Broken => {
            (StatusCode::INTERNAL_SERVER_ERROR, json!({ "status": "error", "message": "sabotaged" }))
        }
        Condition::Working if problems.is_empty() => (
            StatusCode::ACCEPTED,
            json!({ "status": "success", "message": "Event processed", "dedup_key": page.dedup_key }),
        ),
        Condition::Working => (
            StatusCode::BAD_REQUEST,
            json!({ "status": "invalid event", "message": "Event object is invalid", "errors": problems }),
        ),
    };
    page.answered = status.as_u16();
    page.body = body;
    // Nobody listens only while the demo ends.
    arrivals.send(Arrival::now(Arrived::Page(page))).unwrap_or_default();
    (status, Json(answer)).into_response()
}

/// Reads an event as far as it goes and adds what is wrong with it to `problems`.
fn read_event(body: &str, problems: &mut Vec<String>) -> Page {
    let event: Value = serde_json::from_str(body).unwrap_or_else(|error| {
        problems.push(format!("the body is not JSON: {error}"));
        Value::Null
    });
    let text = |at: &str| event.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let mut need = |met: bool, problem: &str| {
        if !met {
            problems.push(problem.to_owned());
        }
    };

    let key_length = text("/routing_key").map_or(0, |key| key.len());
    need(key_length == ROUTING_KEY_LENGTH, "'routing_key' must be a string of 32 characters");
    let action = text("/event_action").unwrap_or_default();
    let known = ["trigger", "acknowledge", "resolve"].contains(&action.as_str());
    need(known, "'event_action' must be one of trigger, acknowledge, resolve");
    let dedup_key = text("/dedup_key");
    need(dedup_key.as_ref().is_none_or(|key| key.len() <= 255), "'dedup_key' has more than 255 characters");
    let (summary, severity) = (text("/payload/summary"), text("/payload/severity"));
    if action == "trigger" {
        let length = summary.as_ref().map_or(0, |summary| summary.chars().count());
        need((1..=SUMMARY_MAX).contains(&length), "'payload.summary' must have 1 to 1024 characters");
        let known =
            severity.as_deref().is_some_and(|s| ["critical", "error", "warning", "info"].contains(&s));
        need(known, "'payload.severity' must be one of critical, error, warning, info");
        need(
            text("/payload/source").is_some_and(|source| !source.is_empty()),
            "'payload.source' must not be empty",
        );
    } else {
        need(dedup_key.as_ref().is_some_and(|key| !key.is_empty()), "'dedup_key' is missing");
    }
    // PagerDuty makes up a key where the sender gives none; a watchdog that resolves must give one.
    let dedup_key = dedup_key.unwrap_or_else(|| "made-up-by-the-stand-in".to_owned());
    Page { action, dedup_key, severity, summary, answered: 0, body: String::new() }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn trigger() -> Value {
        json!({ "routing_key": KEY, "event_action": "trigger", "dedup_key": "J-I1",
            "payload": { "summary": "18% fail", "source": "trading-app", "severity": "critical" } })
    }

    /// Returns `event` with the value at `pointer` replaced.
    fn with(mut event: Value, pointer: &str, value: Value) -> Value {
        *event.pointer_mut(pointer).expect("the field is there") = value;
        event
    }

    async fn send(condition: Condition, body: String) -> (u16, Value, Page) {
        let (arrivals, mut received) = mpsc::unbounded_channel();
        let sink = PagerDuty::start(condition, arrivals).await.expect("a loopback port");
        let client = super::super::loopback_client().expect("a client");
        let answer =
            client.post(format!("{}/v2/enqueue", sink.url)).body(body).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let answer = answer.json().await.expect("a JSON body");
        let Some(Arrival { what: Arrived::Page(page), .. }) = received.recv().await else {
            panic!("the stand-in reports what it received");
        };
        (status, answer, page)
    }

    #[tokio::test]
    async fn valid_events_are_accepted_under_their_key() {
        let resolve = json!({ "routing_key": KEY, "event_action": "resolve", "dedup_key": "J-I1" });
        for (event, action) in [(trigger(), "trigger"), (resolve, "resolve")] {
            let (status, answer, page) = send(Condition::Working, event.to_string()).await;
            assert_eq!(
                (status, &answer["status"], &answer["dedup_key"]),
                (202, &json!("success"), &json!("J-I1"))
            );
            assert_eq!(
                (page.action.as_str(), page.dedup_key.as_str(), page.accepted()),
                (action, "J-I1", true)
            );
        }
    }

    #[tokio::test]
    async fn invalid_events_are_refused_with_what_is_wrong() {
        let cases = [
            ("{".to_owned(), "not JSON"),
            (with(trigger(), "/routing_key", json!("short")).to_string(), "routing_key"),
            (with(trigger(), "/event_action", json!("page")).to_string(), "event_action"),
            (with(trigger(), "/payload/summary", json!("")).to_string(), "summary"),
            (with(trigger(), "/payload/summary", json!("x".repeat(1025))).to_string(), "summary"),
            (with(trigger(), "/payload/severity", json!("high")).to_string(), "severity"),
            (with(trigger(), "/payload/source", Value::Null).to_string(), "source"),
            (with(trigger(), "/dedup_key", json!("x".repeat(256))).to_string(), "dedup_key"),
            (json!({ "routing_key": KEY, "event_action": "resolve" }).to_string(), "dedup_key"),
        ];
        for (body, wrong) in cases {
            let (status, answer, page) = send(Condition::Working, body.clone()).await;
            assert_eq!(status, 400, "{body}");
            assert!(
                answer["errors"][0].as_str().is_some_and(|text| text.contains(wrong)),
                "{body}: {answer}"
            );
            assert!(!page.accepted());
        }
    }

    #[tokio::test]
    async fn a_broken_stand_in_refuses_everything_and_still_reports_it() {
        let (status, _, page) = send(Condition::Broken, trigger().to_string()).await;
        assert_eq!((status, page.answered, page.action.as_str()), (500, 500, "trigger"));
    }
}
