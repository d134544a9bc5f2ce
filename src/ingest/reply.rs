//! Answers: `{"status": "success"}`, or what was not taken and why. Always JSON, told as nothing else (E11).

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::daemon::desk::NotTaken;

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// What was sent cannot be understood.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Nobody is named.
    pub(super) fn no_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "a token is needed: `Authorization: Bearer TOKEN`")
    }

    /// There is nothing at this path.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this path; `POST /deployments` begins one")
    }

    /// Things are told here, not asked.
    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "only POST: things are told here, not asked")
    }

    /// The body is longer than anybody needs.
    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {limit} bytes, or was cut off"),
        )
    }

    /// The client takes too long.
    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to come")
    }

    /// A mistake of ours; the log has it.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error; see the daemon's log")
    }
}

impl From<NotTaken> for Refusal {
    fn from(reason: NotTaken) -> Self {
        match reason {
            NotTaken::Unknown => Self::new(StatusCode::UNAUTHORIZED, "this token is not known"),
            NotTaken::Forbidden => Self::new(StatusCode::FORBIDDEN, "this token may not say that"),
            NotTaken::Denied(why) => Self::new(StatusCode::CONFLICT, why),
            NotTaken::Unavailable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the engine is going down; try again")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = typed(self.status, &json!({ "status": "error", "error": self.message }));
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Says that it is taken, and durable.
pub(super) fn done() -> Response {
    typed(StatusCode::OK, &json!({ "status": "success" }))
}

fn typed(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
