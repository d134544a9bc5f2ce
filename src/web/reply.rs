//! Answers in Prometheus' envelope: `{"status": "success", "data": ...}`, or what went wrong and of what kind.

use std::fmt;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::daemon::queries::QueryError;
use crate::daemon::queries::answer::Envelope as AnswerEnvelope;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    /// What was asked cannot be understood.
    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "bad_data", message: message.into() }
    }

    /// There is nothing at this path.
    pub(super) fn not_found() -> Self {
        let message = "there is nothing at this path".to_owned();
        Self { status: StatusCode::NOT_FOUND, kind: "not_found", message }
    }

    /// Only GET and POST are served: nothing can be changed here (E12).
    pub(super) fn method() -> Self {
        let message = "only GET and POST: nothing can be changed here".to_owned();
        Self { status: StatusCode::METHOD_NOT_ALLOWED, kind: "bad_data", message }
    }

    /// It came by a name that this host is not known by.
    pub(super) fn misdirected() -> Self {
        let message =
            "this listener is not known by the name in `Host`: ask by address, or name it in `external_url`";
        Self { status: StatusCode::MISDIRECTED_REQUEST, kind: "bad_data", message: message.to_owned() }
    }

    /// The request is longer than anybody needs.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, kind: "bad_data", message: message.into() }
    }

    /// The client takes too long.
    pub(super) fn too_slow(message: impl Into<String>) -> Self {
        Self { status: StatusCode::REQUEST_TIMEOUT, kind: "timeout", message: message.into() }
    }

    /// A mistake of ours; the log has it.
    pub(super) fn internal() -> Self {
        let message = "internal error; see the daemon's log".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "internal", message }
    }
}

impl From<QueryError> for Refusal {
    /// The codes are those of Prometheus' API.
    fn from(error: QueryError) -> Self {
        let (status, kind) = match error {
            QueryError::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data"),
            QueryError::Execution(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
            QueryError::Timeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            QueryError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            QueryError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let message = match &error {
            QueryError::BadData(why) => format!("invalid parameter \"query\": {why}"),
            other => other.to_string(),
        };
        Self { status, kind, message }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Envelope<'a> {
            status: &'a str,
            error_type: &'a str,
            error: &'a str,
        }
        let envelope = Envelope { status: "error", error_type: self.kind, error: &self.message };
        json(self.status, serde_json::to_vec(&envelope).unwrap_or_default().into())
    }
}

/// Writes a success: whole, before any of it is sent.
pub(super) fn success(data: &impl Serialize, warnings: &[String], infos: &[String]) -> Bytes {
    // Text and numbers in maps with text keys can always be written.
    serde_json::to_vec(&AnswerEnvelope::new(data, warnings, infos)).unwrap_or_default().into()
}

/// Sends JSON, told as nothing else (E11).
pub(super) fn json(status: StatusCode, body: Bytes) -> Response {
    typed(status, HeaderValue::from_static("application/json"), body)
}

/// Sends one line of plain text.
pub(super) fn line(status: StatusCode, text: &'static str) -> Response {
    typed(status, HeaderValue::from_static("text/plain; charset=utf-8"), Bytes::from_static(text.as_bytes()))
}

fn typed(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
