//! By which name a request came: a page on the web must not read this API through a browser beside it.
//!
//! A name that anybody can register may point at this host (DNS rebinding), and a browser then sends what it is told to
//! ask for. Addresses, names without a dot and the host of `external_url` cannot be taken over like that. Where the
//! listener is on more than loopback everybody in the network can ask anyway, by whatever name this host has there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::reply::Refusal;

/// The names that requests may come by.
#[derive(Clone, Debug)]
pub(super) struct KnownHosts {
    any: bool,
    external: Option<Arc<str>>,
}

impl KnownHosts {
    /// Takes the listener's address, and the address by which people reach it from outside.
    pub(super) fn new(address: SocketAddr, external_url: Option<&str>) -> Self {
        let external = external_url.and_then(|url| url.parse::<Uri>().ok());
        let external = external.as_ref().and_then(Uri::host).map(Arc::from);
        Self { any: !address.ip().is_loopback(), external }
    }

    fn knows(&self, written: &str) -> bool {
        let Ok(authority) = written.parse::<Authority>() else { return false };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().is_ok()
            || !host.contains('.')
            || self.external.as_ref().is_some_and(|external| external.eq_ignore_ascii_case(host))
    }
}

/// Refuses requests that came by a name which nobody here knows.
pub(super) async fn check(
    State(known): State<KnownHosts>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    // Whoever sends none is no browser.
    let written = request.headers().get(header::HOST).map_or(Ok(""), HeaderValue::to_str);
    match written {
        _ if known.any => Ok(next.run(request).await),
        Ok("") => Ok(next.run(request).await),
        Ok(host) if known.knows(host) => Ok(next.run(request).await),
        _ => Err(Refusal::misdirected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_strangers_could_own_are_not_known() {
        let known = |address: &str, host| {
            let external = Some("https://Rearguard.example:8443/watch");
            KnownHosts::new(address.parse().expect("an address"), external).knows(host)
        };
        let cases = [
            ("127.0.0.1:9187", true),
            ("127.0.0.1", true),
            ("[::1]:9187", true),
            ("localhost:9187", true),
            ("metrics", true),
            ("rearguard.example", true),
            ("REARGUARD.EXAMPLE:443", true),
            ("rearguard.example.evil.example", false),
            ("evil.example:9187", false),
            ("127.0.0.1.evil.example", false),
            ("a b", false),
        ];
        for (host, expected) in cases {
            assert_eq!(known("127.0.0.1:9187", host), expected, "{host}");
        }
        assert!(KnownHosts::new("0.0.0.0:9187".parse().expect("an address"), None).any);
    }
}
