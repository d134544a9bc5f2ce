//! Addresses as written: HTTP URLs and mail addresses.

use std::net::IpAddr;

use reqwest::Url;

use super::credentials::SECRET_IN_TEXT;
use crate::engine::rules::yaml::Scalar;
use crate::engine::rules::{Diagnostic, Findings};

/// Checks an `http` or `https` URL that names a host and carries no password.
pub(super) fn url(written: &Scalar, what: &str, out: &mut Findings) -> Option<Url> {
    let bad = |message: String| Diagnostic::error("bad-url", written.place(), message);
    let problem = match Url::parse(&written.value) {
        Err(error) => {
            bad(format!("{what} is not a URL: {error}")).hint("such as `http://127.0.0.1:8080/metrics`")
        }
        Ok(url) if url.password().is_some() || !url.username().is_empty() => {
            let message = format!("{what} carries a user name or password");
            Diagnostic::error(SECRET_IN_TEXT, written.place(), message)
                .hint("take it out of the URL, and replace it: it has been seen")
        }
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            bad(format!("{what} must begin with `http://` or `https://`, not with `{}:`", url.scheme()))
                .hint("such as `http://127.0.0.1:8080/metrics`")
        }
        Ok(url) => return Some(url),
    };
    out.push(problem);
    None
}

/// Returns whether `host` is this host itself, whoever answers name lookups.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Checks a mail address, with or without a name in front.
pub(super) fn mailbox(written: &Scalar, what: &str, out: &mut Findings) -> Option<String> {
    match written.value.parse::<lettre::message::Mailbox>() {
        Ok(_) => Some(written.value.clone()),
        Err(error) => {
            let message = format!("{what} `{}` is not a mail address: {error}", written.value.escape_debug());
            out.push(
                Diagnostic::error("bad-address", written.place(), message)
                    .hint("such as `oncall@example.com`"),
            );
            None
        }
    }
}
