//! The HTTP client of one source: its own connection pool, no redirects, and no surprises from the host's set-up.

use std::error::Error;
use std::net::IpAddr;

use reqwest::{Client, ClientBuilder, Url, redirect};

/// How many characters of a network error a message keeps.
const MAX_REASON: usize = 300;

/// Installs `ring` as the process's TLS provider, unless one is installed.
///
/// reqwest panics when it builds a client without one. The program calls this first thing; [`build`] calls it again, so
/// that no order of calls can panic.
pub fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was faster, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

/// Builds the client for `url`.
///
/// Redirects are never followed: credentials must not reach a second host, and a scrape must not be led to an internal
/// address. For plain HTTP no CA certificates are loaded, because a host without any would fail the build. Loopback
/// addresses are never asked through a proxy.
///
/// # Errors
///
/// reqwest's own: for HTTPS, a host without CA certificates.
pub fn build(url: &Url) -> Result<Client, reqwest::Error> {
    builder(url).build()
}

/// Begins the client for `url`, which may be changed yet; see [`build`].
pub fn builder(url: &Url) -> ClientBuilder {
    let builder = builder_with_certificates(url);
    if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder }
}

/// Begins a client that knows the host's certificates, whatever `url` begins with.
pub fn builder_with_certificates(url: &Url) -> ClientBuilder {
    install_crypto_provider();
    let builder = Client::builder()
        .user_agent(concat!("rearguard/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .pool_max_idle_per_host(1);
    if is_loopback(url) { builder.no_proxy() } else { builder }
}

/// Returns whether a URL names this host.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("").trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Prints a URL without what may be secret: user, password, query and fragment.
pub fn redacted(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = if url.query().is_some() { "?…" } else { "" };
    format!("{}://{}{port}{}{query}", url.scheme(), url.host_str().unwrap_or(""), url.path())
}

/// Returns host and port, the port of the scheme where the URL names none: Prometheus' `instance`.
pub fn host_and_port(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or(80);
    format!("{}:{port}", url.host_str().unwrap_or(""))
}

/// Prints the causes of an error without its URL: one line, control characters escaped, cut to a readable length.
pub fn causes(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Some errors repeat their cause; hyper's outermost says nothing that the next does not.
        if causes.last() != Some(&text) && !text.starts_with("client error (") {
            causes.push(text);
        }
        next = cause.source();
    }
    if causes.is_empty() {
        causes.push("no reason given".to_owned());
    }
    causes.join(": ").chars().take(MAX_REASON).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn printed_urls_hold_no_secrets() {
        let cases = [
            ("http://u:p@h:1/m?token=s#f", "http://h:1/m?…", "h:1"),
            ("https://h/metrics", "https://h/metrics", "h:443"),
            ("http://[::1]:9/", "http://[::1]:9/", "[::1]:9"),
            ("http://h", "http://h/", "h:80"),
        ];
        for (text, printed, instance) in cases {
            assert_eq!(redacted(&url(text)), printed);
            assert_eq!(host_and_port(&url(text)), instance);
        }
    }

    #[test]
    fn loopback_is_recognised() {
        for text in ["http://localhost/", "http://127.3.0.1:1/", "http://[::1]/", "http://app.localhost/"] {
            assert!(is_loopback(&url(text)), "{text}");
        }
        for text in ["http://example.com/", "http://10.0.0.1/", "http://localhost.example/"] {
            assert!(!is_loopback(&url(text)), "{text}");
        }
    }

    #[test]
    fn a_client_can_be_built_without_any_preparation() {
        assert!(build(&url("http://127.0.0.1/")).is_ok());
    }
}
