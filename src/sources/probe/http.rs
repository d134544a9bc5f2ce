//! An HTTP request, and whether its answer is as expected.

use std::error::Error;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Response, Url, redirect};
use tokio::sync::OnceCell;

use super::{Asked, Found, connection, is_own, not_asked};
use crate::engine::series::{FailureKind, SourceFailure};
use crate::probe::expectation::printable;
use crate::probe::{HttpProbe, Method, Redirects};
use crate::sources::http_client;

/// The largest body that is looked at, in bytes after decompression: a health check answers with far less.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How many redirects are followed, where they are.
const REDIRECTS_MAX: usize = 5;

/// Asks one address.
#[derive(Debug)]
pub(super) struct HttpAsker {
    probe: HttpProbe,
    url: Url,
    headers: HeaderMap,
    /// Built at the first question and, where that fails, at the next.
    client: OnceCell<Client>,
}

/// A body, as far as it is looked at.
enum Body {
    Whole(Vec<u8>),
    TooLarge,
}

impl HttpAsker {
    pub(super) fn new(probe: HttpProbe) -> Result<Self, String> {
        let url = Url::parse(&probe.url).map_err(|error| format!("expected a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("expected a URL with http or https, found `{}`", url.scheme()));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &probe.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
            let value = HeaderValue::try_from(value.as_str()).map_err(|error| error.to_string())?;
            headers.append(name, value);
        }
        Ok(Self { probe, url, headers, client: OnceCell::new() })
    }

    /// Returns host and port.
    pub(super) fn instance(&self) -> String {
        http_client::host_and_port(&self.url)
    }

    /// Asks over a connection of its own: one that was kept would not tell that nobody listens any more.
    pub(super) async fn ask(&self) -> Asked {
        let client = self.client.get_or_try_init(|| async { self.client() }).await.map_err(|error| {
            not_asked(FailureKind::Unreachable, &format!("no HTTP client: {}", causes(&error)))
        })?;
        let method = match self.probe.method {
            Method::Get => reqwest::Method::GET,
            Method::Head => reqwest::Method::HEAD,
            Method::Post => reqwest::Method::POST,
        };
        let request = client.request(method, self.url.clone()).headers(self.headers.clone());
        match request.send().await {
            Ok(response) => self.judge(response).await,
            Err(error) => unanswered(&error),
        }
    }

    fn client(&self) -> reqwest::Result<Client> {
        let client = match self.probe.redirects {
            Redirects::Refuse => http_client::builder(&self.url),
            // They may lead to https, for which certificates are needed.
            Redirects::Follow => http_client::builder_with_certificates(&self.url)
                .redirect(redirect::Policy::limited(REDIRECTS_MAX)),
        };
        client.pool_max_idle_per_host(0).build()
    }

    async fn judge(&self, response: Response) -> Asked {
        let expect = &self.probe.expect;
        let status = response.status().as_u16();
        let found = |verdict| Found { verdict, status: Some(status), value: None };
        if let Err(mut why) = expect.check_status(status) {
            if response.status().is_redirection() && self.probe.redirects == Redirects::Refuse {
                let to = response.headers().get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()));
                let to = to.and_then(|to| self.url.join(&to).ok()).map(|to| http_client::redacted(&to));
                let to = printable(&to.unwrap_or_else(|| "nowhere".to_owned()));
                why.push_str(&format!(" (a redirect to {to}, which is not followed)"));
            }
            return Ok(found(Err(why)));
        }
        let verdict = match body(response).await {
            Err(error) if !expect.reads_body() && error.is_decode() => Ok(()),
            Err(error) => Err(format!("answered {status}, and the body was cut off: {}", causes(&error))),
            Ok(Body::TooLarge) if expect.reads_body() => Err(format!(
                "answered {status} with more than {BODY_BYTES_MAX} bytes, which is not looked at"
            )),
            Ok(Body::Whole(body)) if expect.reads_body() => {
                expect.check_body(&body).map_err(|why| format!("answered {status}, but {why}"))
            }
            Ok(_) => Ok(()),
        };
        Ok(found(verdict.map(|()| format!("answered {status}"))))
    }
}

/// Collects the body, decompressed, up to the limit.
async fn body(mut response: Response) -> reqwest::Result<Body> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Ok(Body::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Body::Whole(body))
}

/// Tells what is wrong with us from what is wrong with the one that was asked.
fn unanswered(error: &reqwest::Error) -> Asked {
    let failure = |why: String| -> SourceFailure { not_asked(FailureKind::Unreachable, &why) };
    if error.is_builder() {
        return Err(failure(causes(error)));
    }
    if error.is_dns() {
        return Err(failure(format!("the name does not resolve: {}", causes(error))));
    }
    match io_cause(error) {
        Some(cause) if is_own(cause) => Err(failure(format!("no connection: {cause}"))),
        Some(cause) if error.is_connect() => Ok(Found::bad(connection(cause))),
        _ if error.is_redirect() => Ok(Found::bad(format!("redirects without end: {}", causes(error)))),
        _ => Ok(Found::bad(format!("no whole answer: {}", causes(error)))),
    }
}

fn io_cause(error: &reqwest::Error) -> Option<&std::io::Error> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<std::io::Error>().filter(|io| io.raw_os_error().is_some()) {
            return Some(io);
        }
        next = cause.source();
    }
    None
}

/// Prints the causes of an error without its URL.
fn causes(error: &reqwest::Error) -> String {
    http_client::causes(error)
}
