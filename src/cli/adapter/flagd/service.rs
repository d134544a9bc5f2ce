//! Asks flagd what a flag is: its evaluation API, `flagd.evaluation.v1`, as JSON over HTTP.

use std::time::Duration;

use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::adapter::report::Trouble;
use crate::effects::{http, printable};

/// Limit for an answer, in bytes: it is one value with a few words about it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// flagd, as far as it is asked.
pub(super) struct Flagd {
    client: Client,
    base: Url,
}

/// What flagd says of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) value: Value,
    variant: String,
    reason: String,
}

impl Resolved {
    /// Says it to people.
    pub(super) fn shown(&self) -> String {
        let Self { value, variant, reason } = self;
        format!("{value} (variant {variant}, {reason})")
    }
}

/// An answer. Both forms are in use: fields that are zero are left out by some versions, and `false` is zero.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    value: Option<Value>,
    variant: Option<String>,
    reason: Option<String>,
    code: Option<Value>,
    message: Option<String>,
}

impl Flagd {
    /// # Errors
    ///
    /// Returns why no request can be made of the URL.
    pub(super) fn new(base: &Url) -> Result<Self, String> {
        let client = http::client().map_err(|error| error.to_string())?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(format!("{base}: expected http:// or https://"));
        }
        let mut base = base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { client, base })
    }

    /// Asks for a flag of the type that `like` has, without a context.
    pub(super) async fn resolve(
        &self,
        flag: &str,
        like: &Value,
        limit: Duration,
    ) -> Result<Resolved, Trouble> {
        let method = if like.is_boolean() { "ResolveBoolean" } else { "ResolveString" };
        let url = self
            .base
            .join(&format!("flagd.evaluation.v1.Service/{method}"))
            .map_err(|error| Trouble::lasting(format!("{}: {error}", self.base)))?;
        let request = self.client.post(url).timeout(limit).json(&json!({"flagKey": flag, "context": {}}));
        let no_answer = |error: reqwest::Error| {
            Trouble::passing(format!(
                "flagd does not answer: {}",
                printable::error_chain(&error.without_url())
            ))
        };
        let mut response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(Trouble::lasting(format!(
                    "flagd's answer is longer than {ANSWER_BYTES_MAX} bytes"
                )));
            }
        }
        understood(status.as_u16(), &body, like)
    }
}

/// Makes sense of an answer.
fn understood(status: u16, body: &[u8], like: &Value) -> Result<Resolved, Trouble> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    if status != 200 {
        let answer = answer.unwrap_or_default();
        let code = answer.code.map(|code| code.as_str().map_or_else(|| code.to_string(), str::to_owned));
        let said = [code, answer.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
        let why = format!("flagd answered {status} {said}");
        let may_pass = status == 429 || status == 503 || status == 502;
        return Err(if may_pass { Trouble::passing(why) } else { Trouble::lasting(why) });
    }
    let Some(answer) = answer else {
        return Err(Trouble::lasting("what answered is not flagd: no JSON"));
    };
    let (Some(variant), Some(reason)) = (answer.variant, answer.reason) else {
        return Err(Trouble::lasting("what answered is not flagd: neither a variant nor a reason"));
    };
    let zero = if like.is_boolean() { Value::Bool(false) } else { Value::String(String::new()) };
    let value = answer.value.unwrap_or(zero);
    // What flagd gives instead of an answer of its own.
    if matches!(reason.as_str(), "ERROR" | "DISABLED") {
        return Err(Trouble::lasting(format!("flagd has no value for it: {reason}")));
    }
    Ok(Resolved { value, variant, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_09_only_an_answer_of_flagd_counts_as_read_back() {
        let cases: [(u16, &str, Result<Value, bool>); 10] = [
            (200, r#"{"value":true,"reason":"STATIC","variant":"on","metadata":{}}"#, Ok(json!(true))),
            (200, r#"{"value":false,"reason":"STATIC","variant":"off"}"#, Ok(json!(false))),
            (200, r#"{"reason":"STATIC","variant":"off"}"#, Ok(json!(false))),
            (200, "{}", Err(false)),
            (200, "<html>", Err(false)),
            (200, r#"{"value":true,"reason":"ERROR","variant":"on"}"#, Err(false)),
            (404, r#"{"code":"not_found","message":"Flag not found"}"#, Err(false)),
            (503, "", Err(true)),
            (500, "oops", Err(false)),
            (400, r#"{"code":"invalid_argument","message":"TYPE_MISMATCH"}"#, Err(false)),
        ];
        for (status, body, expected) in cases {
            let found = understood(status, body.as_bytes(), &json!(true));
            let found = found.map(|resolved| resolved.value).map_err(|trouble| trouble.may_pass);
            assert_eq!(found, expected, "{status} {body}");
        }
    }
}
