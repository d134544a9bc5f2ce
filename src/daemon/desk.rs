//! Where what comes in over `ingest` is taken to the engine, once its token may say it (E12).

use std::sync::Arc;
use std::sync::mpsc::Sender;

use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};

use super::core::Message;
use crate::config::{Capability, IngestToken};
use crate::engine::decision::{Command, DeploymentNews};
use crate::engine::model::TargetName;
use crate::secret::Secret;

/// The tokens that are known, as hashes.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Known>);

#[derive(Debug)]
struct Known {
    name: String,
    may: Vec<Capability>,
    hash: [u8; 32],
}

impl Tokens {
    /// Takes tokens with their secrets.
    pub fn new(tokens: Vec<(IngestToken, Secret)>) -> Self {
        let known = |(token, secret): (IngestToken, Secret)| Known {
            name: token.name,
            may: token.may,
            hash: hash(secret.expose()),
        };
        Self(tokens.into_iter().map(known).collect())
    }

    /// Returns whose token it is. Every known token is compared, each of them whole: how long that takes tells nothing of
    /// them. What is compared are hashes, so that not even their lengths do.
    fn find(&self, presented: &str) -> Option<&Known> {
        let presented = hash(presented);
        let mut found = None;
        for known in &self.0 {
            let differs =
                known.hash.iter().zip(&presented).fold(0, |differs, (one, other)| differs | (one ^ other));
            if differs == 0 {
                found = Some(known);
            }
        }
        found
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Why something is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The token is unknown.
    Unknown,
    /// The token may not say that.
    Forbidden,
    /// It does not fit; the text says why.
    Denied(String),
    /// The engine is going down.
    Unavailable,
}

/// What stands behind the `ingest` listener.
#[derive(Clone, Debug)]
pub struct Desk {
    inbox: Sender<Message>,
    tokens: watch::Receiver<Arc<Tokens>>,
}

/// Somebody whose token may say something of deployments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcer(String);

impl Desk {
    /// Joins the engine's inbox with who may put something into it.
    pub fn new(inbox: Sender<Message>, tokens: watch::Receiver<Arc<Tokens>>) -> Self {
        Self { inbox, tokens }
    }

    /// Returns who may tell of deployments with this token.
    ///
    /// # Errors
    /// The token is unknown, or may not.
    pub fn announcer(&self, presented: &str) -> Result<Announcer, NotTaken> {
        let tokens = self.tokens.borrow();
        match tokens.find(presented) {
            None => Err(NotTaken::Unknown),
            Some(known) if known.may.contains(&Capability::Deployments) => {
                Ok(Announcer(format!("token {}", known.name)))
            }
            Some(_) => Err(NotTaken::Forbidden),
        }
    }

    /// Tells the engine something of a target's deployment, and waits until it is durable.
    ///
    /// # Errors
    /// It does not fit, or the engine is going down.
    pub async fn tell(
        &self,
        who: Announcer,
        target: TargetName,
        news: DeploymentNews,
    ) -> Result<(), NotTaken> {
        let (tell, answer) = oneshot::channel();
        let command = Command::Deployment { target, news, by: who.0 };
        self.inbox.send(Message::Wanted { command, answer: tell }).map_err(|_| NotTaken::Unavailable)?;
        match answer.await {
            Ok(told) => told.map_err(NotTaken::Denied),
            Err(_) => Err(NotTaken::Unavailable),
        }
    }
}
