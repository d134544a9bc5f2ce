//! Connections: a bounded number of them, each bounded in headers, buffers and time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::daemon::listener::{Listening, Opening};

/// How many connections there may be; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send its headers, and may stay silent between two requests.
const HEADER_PATIENCE: Duration = Duration::from_secs(15);

/// How long one connection lives: a client that reads too slowly does not keep an answer in memory for ever.
const LIFETIME: Duration = Duration::from_secs(300);

/// How long what is under way may take once a connection's time is over.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// How many headers a request may have, and how many bytes are buffered of them.
const HEADERS_MAX: usize = 64;
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// How long to wait before an address that was taken is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Serves until it is over. An address that cannot be had is tried again and again: a watchdog without its window is
/// better than none.
///
/// `what` is what is served, for the log.
pub async fn serve<B>(opening: Opening<B>, what: &'static str, router: impl FnOnce(B) -> Router) {
    let Opening { address, behind, standing, mut over } = opening;
    let router = router(behind);
    let Some(listener) = bind(address, what, &standing, &mut over).await else { return };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            _ = over.changed() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let stream = tokio::select! {
            _ = over.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match stream {
            Ok((stream, _)) => {
                let (router, over) = (router.clone(), over.clone());
                connections.spawn(async move {
                    converse(stream, router, over).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Most often a lack of file descriptors, which goes away with other connections.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until the address can be had; `None` where it is over before.
async fn bind(
    address: SocketAddr,
    what: &'static str,
    standing: &watch::Sender<Listening>,
    over: &mut watch::Receiver<bool>,
) -> Option<TcpListener> {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let address = listener.local_addr().unwrap_or(address);
                tracing::info!(%address, "serving {what}");
                standing.send_replace(Listening::Served(address));
                return Some(listener);
            }
            Err(error) => {
                let why = error.to_string();
                let failing = Listening::Failing { address, why: why.clone() };
                if standing.send_replace(failing.clone()) != failing {
                    tracing::error!(
                        %address, %why,
                        "{what} is not served: the address cannot be had; everything else works, and it is tried again"
                    );
                }
            }
        }
        tokio::select! {
            _ = over.changed() => return None,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Answers the requests of one connection, until its client leaves, its time has passed, or everything ends.
async fn converse(stream: TcpStream, router: Router, mut over: watch::Receiver<bool>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
            return;
        }
        _ = over.changed() => {}
        () = tokio::time::sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    if tokio::time::timeout(LAST_ANSWER, connection).await.is_err() {
        tracing::debug!("an HTTP connection was cut: its client read too slowly");
    }
}
