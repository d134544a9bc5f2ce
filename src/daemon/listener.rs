//! The HTTP listeners as the daemon sees them: it opens a door, says what is behind it, and closes it again.
//!
//! What is served there is not the daemon's business: whoever starts the daemon brings it along ([`Serve`]).

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::queries::Queries;

/// How long requests that are under way may take once the daemon stops.
const PATIENCE: Duration = Duration::from_secs(3);

/// What serves a listener, given what it needs.
pub type Serve<B> = Box<dyn FnOnce(Opening<B>) -> JoinHandle<()> + Send>;

/// What the read-only API needs of the daemon.
#[derive(Debug)]
pub struct ReadApi {
    /// What it asks.
    pub queries: Queries,
    /// By which address people reach it from outside.
    pub external_url: Option<String>,
}

/// What a server gets.
#[derive(Debug)]
pub struct Opening<B> {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it asks, or tells.
    pub behind: B,
    /// Where it says how it does.
    pub standing: watch::Sender<Listening>,
    /// Becomes true when it must stop.
    pub over: watch::Receiver<bool>,
}

/// How the listener does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listening {
    /// There is none: the files say no address.
    #[default]
    Off,
    /// It is served.
    Served(SocketAddr),
    /// It is not, and tried again: the watchdog watches all the same.
    Failing {
        /// Where it should listen.
        address: SocketAddr,
        /// Why it does not.
        why: String,
    },
}

/// A listener that is served, or none.
#[derive(Debug)]
pub(super) struct Listener {
    standing: watch::Receiver<Listening>,
    serving: Option<(JoinHandle<()>, watch::Sender<bool>)>,
}

impl Listener {
    /// Opens it, where there is an address and somebody who serves it.
    pub(super) fn open<B>(
        key: &str,
        address: Option<SocketAddr>,
        serve: Option<Serve<B>>,
        behind: B,
    ) -> Self {
        let (standing, watched) = watch::channel(Listening::Off);
        let Some((address, serve)) = address.zip(serve) else {
            tracing::info!("no `{key}` in rearguard.yaml: nothing is served there over HTTP");
            return Self { standing: watched, serving: None };
        };
        let (end, over) = watch::channel(false);
        let serving = serve(Opening { address, behind, standing, over });
        Self { standing: watched, serving: Some((serving, end)) }
    }

    /// Returns where one can look how it does.
    pub(super) fn standing(&self) -> watch::Receiver<Listening> {
        self.standing.clone()
    }

    /// Takes no more requests, and ends those under way in time.
    pub(super) async fn close(self) {
        let Some((mut serving, end)) = self.serving else { return };
        end.send_replace(true);
        match tokio::time::timeout(PATIENCE, &mut serving).await {
            Ok(Err(error)) => tracing::error!(%error, "the HTTP listener broke off"),
            Ok(Ok(())) => {}
            Err(_) => serving.abort(),
        }
    }
}
