//! A step as an HTTP request: sent once, never again by itself.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use tokio::time::{Instant, timeout};

use super::output::Tail;
use super::{environment, span};
use crate::effects::{http, printable};
use crate::engine::decision::{StepEnding, StepOrder, StepResult};

/// The header by which a server can tell a repeated request from a new one.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// How many characters of an answer go into the reason.
const ANSWER_CHARS_MAX: usize = 200;

/// A request that is built and not yet sent.
#[derive(Debug)]
pub(super) struct Ready {
    client: reqwest::Client,
    request: reqwest::Request,
}

impl Ready {
    /// Builds the request; its body is the given one, or the JSON that describes the incident.
    pub(super) fn new(
        client: &reqwest::Client,
        order: &StepOrder,
        method: &str,
        url: &str,
        body: Option<&str>,
    ) -> Result<Self, String> {
        let method = reqwest::Method::from_bytes(method.as_bytes())
            .map_err(|_| format!("`{}` is not an HTTP method", printable::short_line(method, 40)))?;
        let body = body.map_or_else(|| environment::brief(order), str::to_owned);
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok();
        let content_type = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
        let request = client
            .request(method, url)
            .header(IDEMPOTENCY_KEY, &order.key)
            .header(CONTENT_TYPE, content_type)
            .body(body)
            .build()
            .map_err(|error| format!("the request cannot be built: {}", http::no_answer(error)))?;
        Ok(Self { client: client.clone(), request })
    }

    /// Sends the request; an answer of 2xx within `budget` is success.
    pub(super) async fn send(self, budget: Duration) -> StepEnding {
        let started = Instant::now();
        let answer = timeout(budget, async {
            let mut response = self.client.execute(self.request).await.map_err(http::no_answer)?;
            let body = http::body_start(&mut response).await;
            Ok::<_, String>((response.status(), body))
        });
        let (result, output) = match answer.await {
            Err(_) => (StepResult::TimedOut, String::new()),
            Ok(Err(reason)) => (StepResult::Failed(format!("no answer: {reason}")), String::new()),
            Ok(Ok((status, body))) => {
                let mut tail = Tail::default();
                tail.push(&body);
                let start = printable::short_line(String::from_utf8_lossy(&body).trim(), ANSWER_CHARS_MAX);
                let result = if status.is_success() {
                    StepResult::Succeeded
                } else {
                    StepResult::Failed(http::refusal(status, &start))
                };
                (result, tail.render())
            }
        };
        StepEnding { result, took: span(started.elapsed()), output }
    }
}
