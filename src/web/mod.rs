//! What the daemon shows over HTTP: read-only, the API that Prometheus' clients speak (Grafana, promtool).
//!
//! Nothing can be changed here, whoever asks (E12): there is no route that does, and only GET and POST (for long
//! queries) are answered. What comes in and what metrics say is data (E11): answers are JSON and told as JSON.
//!
//! - `host`: by which names it answers.
//! - `parameters`: query strings and forms, strictly.
//! - `reply`: the envelope of answers and errors.
//! - `query`, `series`, `rules`: the endpoints.
//! - `server`: connections, with limits on their number, size and time.

mod host;
pub mod parameters;
mod query;
mod reply;
mod rules;
mod series;
pub mod server;

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;

use crate::daemon::listener::{Opening, ReadApi};
use crate::daemon::queries::Queries;
use host::KnownHosts;
use reply::Refusal;

/// Serves the read-only API until it is over.
pub async fn serve(opening: Opening<ReadApi>) {
    let known = KnownHosts::new(opening.address, opening.behind.external_url.as_deref());
    server::serve(opening, "the read-only API", |behind: ReadApi| router(behind.queries, known)).await;
}

/// The version of Prometheus whose language and API are spoken; clients choose their requests by it.
const PROMETHEUS_LEVEL: &str = "3.14.0";

/// How long the engine may take to show that it turns.
const ALIVE_PATIENCE: Duration = Duration::from_secs(2);

/// Returns everything that is served.
fn router(queries: Queries, known: KnownHosts) -> Router {
    Router::new()
        .route("/api/v1/query", both(query::instant))
        .route("/api/v1/query_range", both(query::range))
        .route("/api/v1/series", both(series::series))
        .route("/api/v1/labels", both(series::labels))
        .route("/api/v1/label/{name}/values", get(series::values))
        .route("/api/v1/metadata", get(metadata))
        .route("/api/v1/rules", get(rules::rules))
        .route("/api/v1/alerts", get(rules::alerts))
        .route("/api/v1/status/buildinfo", get(build_info))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .fallback(|| async { Refusal::not_found() })
        .method_not_allowed_fallback(|| async { Refusal::method() })
        .layer(middleware::from_fn_with_state(known, host::check))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a request broke off; the panic is above");
            Refusal::internal().into_response()
        }))
        .with_state(queries)
}

/// Serves GET and, for long forms, POST.
fn both<H, T>(handler: H) -> MethodRouter<Queries>
where
    H: axum::handler::Handler<T, Queries>,
    T: 'static,
{
    get(handler.clone()).post(handler)
}

/// Sources keep no TYPE and HELP lines: there is nothing to tell but that.
async fn metadata() -> Response {
    let warning = "TYPE and HELP are not kept: look at the source's own page".to_owned();
    reply::json(StatusCode::OK, reply::success(&json!({}), &[warning], &[]))
}

async fn build_info() -> Response {
    let info = json!({
        "version": PROMETHEUS_LEVEL,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "application": "rearguard",
        "applicationVersion": env!("CARGO_PKG_VERSION"),
    });
    reply::json(StatusCode::OK, reply::success(&info, &[], &[]))
}

async fn healthy() -> Response {
    reply::line(StatusCode::OK, "Rearguard is Healthy.\n")
}

/// Ready is who turns: an engine that hangs is not.
async fn ready(State(queries): State<Queries>) -> Response {
    match tokio::time::timeout(ALIVE_PATIENCE, queries.is_alive()).await {
        Ok(true) => reply::line(StatusCode::OK, "Rearguard is Ready.\n"),
        _ => reply::line(StatusCode::SERVICE_UNAVAILABLE, "Rearguard's engine does not answer.\n"),
    }
}
