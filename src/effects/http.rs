//! The HTTP client that steps and receivers share, and what both need from an answer.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::printable;

/// How much of an answer's body is read, in bytes; nobody's success needs more.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Time within which a connection must stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no HTTP client.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client could be built: {0}")]
pub struct NoClient(String);

/// Builds the client: no redirects, so that neither a body nor a credential goes where nobody sent it.
///
/// A host without CA certificates still gets a client, which can speak plain HTTP and fails each TLS handshake: pages
/// over other channels must not depend on a package that is missing.
///
/// # Errors
///
/// Fails where even that client cannot be built, which means that the host has no usable resolver or sockets.
///
/// # Panics
///
/// Panics where no rustls provider has been installed; the program installs one first thing.
pub fn client() -> Result<reqwest::Client, NoClient> {
    let builder = || {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("rearguard/", env!("CARGO_PKG_VERSION")))
    };
    let built = builder().build().or_else(|_| builder().tls_certs_only([]).build());
    built.map_err(|error| NoClient(printable::error_chain(&error)))
}

/// Reads the start of a body, capped after decompression; an error while reading ends the text.
pub(super) async fn body_start(response: &mut reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = BODY_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == BODY_BYTES_MAX {
            break;
        }
    }
    body
}

/// Returns the reason for a request that got no answer, without its URL: a path or query may be a secret.
pub(super) fn no_answer(error: reqwest::Error) -> String {
    printable::short_line(&printable::error_chain(&error.without_url()), 300)
}

/// Returns an answer as people read it: `HTTP 503: the start of its body`.
pub(super) fn refusal(status: reqwest::StatusCode, body: &str) -> String {
    let code = status.as_u16();
    if body.is_empty() { format!("HTTP {code}") } else { format!("HTTP {code}: {body}") }
}

/// Returns how long the server asks us to wait: seconds or an HTTP date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(SystemTime::from(at).duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200);
        let cases = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sat, 21 Nov 2026 00:01:30 GMT", Some(90)),
            ("Fri, 20 Nov 2026 00:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ];
        for (text, seconds) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
