//! What comes in over HTTP: deployments, told by pipelines. One token per capability, and nothing without one.
//!
//! Nothing here can roll back, arm or disarm, whatever the token (E12): there is no way from a request to such a command.
//! A token is looked at before anything else of a request is read. Bodies are JSON, small, strict.
//!
//! | request | body |
//! |---|---|
//! | `POST /deployments` | `{"target": "shop", "version": "v42", "previous": "v41"}` |
//! | `POST /deployments/shop/stage` | `{"share": 0.25, "name": "canary", "settle": "30s"}` |
//! | `POST /deployments/shop/progress` | `{"share": 0.4}` |
//! | `POST /deployments/shop/finish` | `{}`, `{"ending": "failed"}`, `{"ending": "abandoned"}` |
//! | `POST /deployments/shop/no-return` | `{}` |

mod reply;

use std::str::FromStr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tower_http::catch_panic::CatchPanicLayer;

use crate::daemon::desk::{Announcer, Desk};
use crate::daemon::listener::Opening;
use crate::engine::decision::{DeploymentNews, Ending};
use crate::engine::model::TargetName;
use crate::engine::time::Span;
use crate::web::server;
use reply::Refusal;

/// How long a body may be: names and a few numbers.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// How long a client may take to send its body.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// Serves what may be told until it is over.
pub async fn serve(opening: Opening<Desk>) {
    server::serve(opening, "what comes in (ingest)", router).await;
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/deployments", post(start))
        .route("/deployments/{target}/stage", post(stage))
        .route("/deployments/{target}/progress", post(progress))
        .route("/deployments/{target}/finish", post(finish))
        .route("/deployments/{target}/no-return", post(no_return))
        .fallback(|| async { Refusal::not_found() })
        .method_not_allowed_fallback(|| async { Refusal::method() })
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a request broke off; the panic is above");
            Refusal::internal().into_response()
        }))
        .with_state(desk)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StartBody {
    target: String,
    version: String,
    #[serde(default)]
    previous: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageBody {
    share: f64,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    settle: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgressBody {
    share: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FinishBody {
    #[serde(default)]
    ending: Ending,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn start(State(desk): State<Desk>, request: Request) -> Result<Response, Refusal> {
    let (who, body): (_, StartBody) = read(&desk, request).await?;
    let news = DeploymentNews::Start { version: body.version, previous: body.previous };
    tell(&desk, who, &body.target, news).await
}

async fn stage(
    State(desk): State<Desk>,
    Path(target): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (who, body): (_, StageBody) = read(&desk, request).await?;
    let settle = body.settle.map_or(Ok(Span::ZERO), |settle| Span::from_str(&settle));
    let settle = settle.map_err(|error| Refusal::bad_request(format!("`settle`: {error}")))?;
    tell(&desk, who, &target, DeploymentNews::Stage { share: body.share, name: body.name, settle }).await
}

async fn progress(
    State(desk): State<Desk>,
    Path(target): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (who, body): (_, ProgressBody) = read(&desk, request).await?;
    tell(&desk, who, &target, DeploymentNews::Progress { share: body.share }).await
}

async fn finish(
    State(desk): State<Desk>,
    Path(target): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (who, body): (_, FinishBody) = read(&desk, request).await?;
    tell(&desk, who, &target, DeploymentNews::Finish { ending: body.ending }).await
}

async fn no_return(
    State(desk): State<Desk>,
    Path(target): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (who, Nothing {}) = read(&desk, request).await?;
    tell(&desk, who, &target, DeploymentNews::PointOfNoReturn {}).await
}

async fn tell(desk: &Desk, who: Announcer, target: &str, news: DeploymentNews) -> Result<Response, Refusal> {
    desk.tell(who, TargetName::from(target), news).await?;
    Ok(reply::done())
}

/// Looks at the token, and only then reads the body.
async fn read<T: DeserializeOwned>(desk: &Desk, request: Request) -> Result<(Announcer, T), Refusal> {
    let who = desk.announcer(bearer(request.headers()).ok_or_else(Refusal::no_token)?)?;
    let text = body(request.into_body()).await?;
    // An empty body says nothing, as `{}` does.
    let text = if text.trim().is_empty() { "{}" } else { text.as_str() };
    let read =
        serde_json::from_str(text).map_err(|error| Refusal::bad_request(format!("the body: {error}")))?;
    Ok((who, read))
}

/// Returns the token of `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let only = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, token) = only.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

async fn body(body: Body) -> Result<String, Refusal> {
    let bytes = match tokio::time::timeout(BODY_PATIENCE, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return Err(Refusal::too_large(BODY_BYTES_MAX)),
        Err(_) => return Err(Refusal::too_slow()),
    };
    String::from_utf8(bytes.into()).map_err(|_| Refusal::bad_request("the body is not UTF-8"))
}
