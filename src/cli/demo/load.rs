//! The load generator: users who place and list orders at the trading app, forty requests a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// The time between two requests.
const EVERY: Duration = Duration::from_millis(25);

/// How many requests may be under way; more are not begun, so that a hanging app does not fill the memory.
const IN_FLIGHT_MAX: usize = 200;

/// What the users have seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests that got an answer or none.
    pub requests: u64,
    /// Those that were answered with an error, or not at all.
    pub failed: u64,
}

impl Seen {
    /// Returns what has been seen since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self { requests: self.requests - earlier.requests, failed: self.failed - earlier.failed }
    }
}

/// Running users; they stop when this is dropped.
pub struct Load {
    counted: Arc<Counted>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counted {
    requests: AtomicU64,
    failed: AtomicU64,
}

impl Load {
    /// Starts sending requests to `app`.
    pub fn start(client: reqwest::Client, app: String) -> Self {
        let counted = Arc::new(Counted::default());
        let task = tokio::spawn(send_forever(client, app, Arc::clone(&counted)));
        Self { counted, task }
    }

    /// Returns what the users have seen so far.
    pub fn seen(&self) -> Seen {
        // Failures are read first, so that there are never more of them than requests.
        let failed = self.counted.failed.load(Ordering::SeqCst);
        Seen { requests: self.counted.requests.load(Ordering::SeqCst), failed }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send_forever(client: reqwest::Client, app: String, counted: Arc<Counted>) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for number in 0_u64.. {
        ticks.tick().await;
        let Ok(permit) = Arc::clone(&in_flight).try_acquire_owned() else { continue };
        let request = match number {
            n if n % 20 == 19 => client.get(format!("{app}/api/health")),
            n if n % 4 == 3 => client.post(format!("{app}/api/orders")),
            _ => client.get(format!("{app}/api/orders")),
        };
        let counted = Arc::clone(&counted);
        tokio::spawn(async move {
            let answer = request.send().await;
            counted.requests.fetch_add(1, Ordering::SeqCst);
            if !answer.is_ok_and(|answer| answer.status().is_success()) {
                counted.failed.fetch_add(1, Ordering::SeqCst);
            }
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::app::{AppOptions, router};
    use super::*;

    #[tokio::test]
    async fn users_send_requests_and_count_what_they_see() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move { axum::serve(listener, router(AppOptions { seed: 7 })).await });
        let load = Load::start(super::super::loopback_client().expect("a client"), url);
        let enough = async {
            while load.seen().requests < 10 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            server.abort();
            while load.seen().failed < 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), enough).await.expect("ten requests, then a failure");
        let seen = load.seen();
        assert!(seen.failed < seen.requests, "{seen:?}");
    }
}
