//! The demo's trading app: real HTTP and a real `/metrics`; version 1 is good, version 2 turns bad after a moment.
//!
//! It runs as a process of its own. A deployment does not restart that process, it swaps the app's whole state: the
//! counters start again at zero, as they do after a restart, and requests that were under way are counted nowhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};

use super::exposition::Metrics;

/// What the app prints on its first line, followed by its address.
pub const ANNOUNCEMENT: &str = "trading app on ";

/// The time for which version 2 looks good.
const GOOD_FOR: Duration = Duration::from_secs(3);

/// The time that version 2 takes from good to as bad as it gets.
const WORSENS_FOR: Duration = Duration::from_secs(4);

/// The share of orders that fail in a healthy version.
const ERRORS_WHEN_GOOD: f64 = 0.001;

/// The share of orders that fail when version 2 is as bad as it gets.
const ERRORS_WHEN_BAD: f64 = 0.22;

/// Settings of `rearguard demo-app`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct AppOptions {
    /// Where its random numbers start.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
}

/// The releases of the trading app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// The good one.
    #[serde(rename = "1")]
    One,
    /// The one that turns bad.
    #[serde(rename = "2")]
    Two,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::One => "1",
            Self::Two => "2",
        })
    }
}

/// The body of `POST /admin/deploy`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Deploy {
    /// The release that shall run.
    pub version: Version,
}

/// The answer of `GET /api/health`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Health {
    /// The release that runs.
    pub version: Version,
    /// Whether new releases are refused.
    pub frozen: bool,
}

/// One run of one release: everything that a restart would lose.
struct Run {
    number: u64,
    version: Version,
    since: Instant,
    metrics: Metrics,
}

struct Inner {
    seed: u64,
    orders: u64,
    frozen: bool,
    run: Run,
}

type App = Arc<Mutex<Inner>>;

/// How one order goes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fate {
    fails: bool,
    takes: Duration,
}

/// Returns how the order that drew `draw` goes in `version`, `age` after its deployment.
fn fate(version: Version, age: Duration, draw: u64) -> Fate {
    let decay = match version {
        Version::One => 0.0,
        Version::Two => (age.saturating_sub(GOOD_FOR).as_secs_f64() / WORSENS_FOR.as_secs_f64()).min(1.0),
    };
    let error_share = ERRORS_WHEN_GOOD + decay * (ERRORS_WHEN_BAD - ERRORS_WHEN_GOOD);
    let (for_error, for_time) = (unit_interval(mix(draw)), unit_interval(mix(draw ^ u64::MAX)));
    let millis = 2.0 + 6.0 * for_time + decay * (60.0 + 340.0 * for_time);
    Fate { fails: for_error < error_share, takes: Duration::from_secs_f64(millis / 1000.0) }
}

/// Scrambles a counter into a random number: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014). Good enough for a demo, and the same on every machine.
fn mix(counter: u64) -> u64 {
    let mut bits = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Maps random bits to a number from 0 up to, and without, 1.
fn unit_interval(bits: u64) -> f64 {
    // 53 bits are what a double's mantissa holds.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

impl Run {
    fn start(number: u64, version: Version) -> Self {
        Self { number, version, since: Instant::now(), metrics: Metrics::at_start() }
    }
}

/// Returns the app with version 1 running.
pub fn router(options: AppOptions) -> Router {
    let inner = Inner { seed: options.seed, orders: 0, frozen: false, run: Run::start(0, Version::One) };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/api/orders", get(orders).post(orders))
        .route("/api/health", get(health))
        .route("/admin/deploy", post(deploy))
        .route("/admin/freeze", post(freeze).delete(thaw))
        .route("/admin/warm-caches", post(warm_caches))
        .with_state(Arc::new(Mutex::new(inner)))
}

/// Runs the app on a free port of the loopback until standard input ends, which is when the parent is gone.
///
/// # Errors
///
/// When no port can be had or serving fails.
pub async fn run_app(options: AppOptions) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{ANNOUNCEMENT}http://{}", listener.local_addr()?);
    let (gone, parent_is_gone) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        // Both an end and an error of the pipe say that nobody holds its other end any more.
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap_or_default();
        drop(gone);
    });
    tokio::select! {
        served = axum::serve(listener, router(options)) => served,
        _ = parent_is_gone => Ok(()),
    }
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let app = app.lock().await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.run.metrics.render(app.run.version))
}

async fn orders(State(app): State<App>, method: Method) -> Response {
    let started = Instant::now();
    let (run, fate) = {
        let mut app = app.lock().await;
        app.orders += 1;
        let draw = app.seed.wrapping_add(app.orders);
        (app.run.number, fate(app.run.version, app.run.since.elapsed(), draw))
    };
    tokio::time::sleep(fate.takes).await;
    let (method, good) =
        if method == Method::POST { ("POST", StatusCode::CREATED) } else { ("GET", StatusCode::OK) };
    let status = if fate.fails { StatusCode::INTERNAL_SERVER_ERROR } else { good };
    let mut app = app.lock().await;
    if app.run.number == run {
        app.run.metrics.count(method, "/api/orders", status.as_u16(), started.elapsed());
    }
    let body = if fate.fails { "the order book does not answer\n" } else { "{\"orders\":[]}\n" };
    (status, body).into_response()
}

async fn health(State(app): State<App>) -> Json<Health> {
    let mut app = app.lock().await;
    app.run.metrics.count("GET", "/api/health", 200, Duration::from_micros(200));
    Json(Health { version: app.run.version, frozen: app.frozen })
}

async fn deploy(State(app): State<App>, Json(wish): Json<Deploy>) -> Response {
    let mut app = app.lock().await;
    // Frozen means: nothing new goes out. The way back stays open.
    if app.frozen && wish.version == Version::Two {
        return (StatusCode::CONFLICT, "deployments are frozen: DELETE /admin/freeze first\n")
            .into_response();
    }
    if app.run.version != wish.version {
        app.run = Run::start(app.run.number + 1, wish.version);
    }
    Json(Health { version: app.run.version, frozen: app.frozen }).into_response()
}

async fn freeze(State(app): State<App>) -> &'static str {
    app.lock().await.frozen = true;
    "deployments are frozen\n"
}

async fn thaw(State(app): State<App>) -> &'static str {
    app.lock().await.frozen = false;
    "deployments are open\n"
}

async fn warm_caches() -> &'static str {
    tokio::time::sleep(Duration::from_millis(400)).await;
    "caches are warm\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of failing orders and the mean latency in milliseconds over 4,000 draws.
    fn observed(version: Version, age_secs: f64) -> (f64, f64) {
        let age = Duration::from_secs_f64(age_secs);
        let fates: Vec<_> = (0..4_000).map(|draw| fate(version, age, draw)).collect();
        let failed = fates.iter().filter(|fate| fate.fails).count() as f64;
        let millis: f64 = fates.iter().map(|fate| fate.takes.as_secs_f64() * 1000.0).sum();
        (failed / 4_000.0, millis / 4_000.0)
    }

    #[test]
    fn version_1_is_good_and_version_2_turns_bad() {
        let cases = [
            (Version::One, 60.0, 0.0..=0.004, 3.0..=8.0),
            (Version::Two, 2.9, 0.0..=0.004, 3.0..=8.0),
            (Version::Two, 5.0, 0.08..=0.14, 90.0..=150.0),
            (Version::Two, 7.0, 0.18..=0.26, 200.0..=280.0),
            (Version::Two, 600.0, 0.18..=0.26, 200.0..=280.0),
        ];
        for (version, age_secs, errors, millis) in cases {
            let (error_share, mean_millis) = observed(version, age_secs);
            assert!(errors.contains(&error_share), "{version:?} at {age_secs} s: {error_share} fail");
            assert!(millis.contains(&mean_millis), "{version:?} at {age_secs} s: {mean_millis} ms");
        }
    }

    async fn start() -> (String, reqwest::Client) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router(AppOptions { seed: 7 })).await });
        (url, super::super::loopback_client().expect("a client"))
    }

    async fn body(response: Result<reqwest::Response, reqwest::Error>) -> (u16, String) {
        let response = response.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    #[tokio::test]
    async fn a_deployment_swaps_the_version_and_resets_the_counters() {
        let (url, client) = start().await;
        for _ in 0..3 {
            body(client.post(format!("{url}/api/orders")).send().await).await;
        }
        let counted = r#"http_requests_total{method="POST",path="/api/orders",status="201"}"#;
        let (_, before) = body(client.get(format!("{url}/metrics")).send().await).await;
        assert!(before.contains(&format!("{counted} 3")), "{before}");

        let deploy = |version| client.post(format!("{url}/admin/deploy")).json(&Deploy { version }).send();
        assert_eq!(body(deploy(Version::Two).await).await.0, 200);
        let (_, after) = body(client.get(format!("{url}/metrics")).send().await).await;
        assert!(after.contains(&format!("{counted} 0")) && after.contains(r#"version="2""#), "{after}");

        assert_eq!(body(client.post(format!("{url}/admin/freeze")).send().await).await.0, 200);
        assert_eq!(body(deploy(Version::One).await).await.0, 200, "the way back stays open");
        assert_eq!(body(deploy(Version::Two).await).await.0, 409, "nothing new goes out");
        let (status, _) = body(
            client
                .post(format!("{url}/admin/deploy"))
                .json(&serde_json::json!({"version": "3"}))
                .send()
                .await,
        )
        .await;
        assert_eq!(status, 422);
    }
}
