//! The control socket: newline-delimited JSON, one request a line, one answer a line (a stream for followed events).
//!
//! Whoever may connect may change things; who it was is told by the socket's peer credentials, never by the request.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};

use super::core::{DaemonStatus, Message};
use super::listener::Listening;
use super::queries::answer::Answered;
use super::queries::{Queries, Question};
use crate::engine::decision::{Command, DeploymentNews};
use crate::engine::explanation::Explanation;
use crate::engine::model::{IncidentId, RollbackId, TargetName, TriggerName};
use crate::journal::{Reader, Record};

/// How long one request may be: room for the longest expression, escaped.
const REQUEST_BYTES_MAX: usize = 512 * 1024;

/// How many events one answer holds where they are not followed.
const EVENTS_MAX: usize = 10_000;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How things stand.
    Status {},
    /// The journal's events, one [`Record`] a line.
    Events {
        /// Only those after this place.
        after: u64,
        /// Whether to go on as new ones come.
        #[serde(default)]
        follow: bool,
    },
    /// Why a trigger does what it does.
    Explain {
        /// Its name.
        trigger: TriggerName,
    },
    /// The value of an expression.
    Query(Question),
    /// Tell what became of a step in doubt.
    Settle {
        /// The rollback.
        rollback: RollbackId,
        /// Whether the step was done.
        done: bool,
    },
    /// Tell that a task of an incident is done.
    TaskDone {
        /// The incident.
        incident: IncidentId,
        /// The task, as the rule calls it.
        task: String,
    },
    /// Tell something of a target's deployment.
    Deployment {
        /// The target.
        target: TargetName,
        /// What.
        news: DeploymentNews,
    },
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How things stand.
    Status(Box<DaemonStatus>),
    /// One for each label set and level of the trigger.
    Explained(Vec<Explanation>),
    /// The value.
    Answered(Box<Answered>),
    /// It is done.
    Done,
    /// It is not done; the text says why.
    Error(String),
}

/// What stands behind the socket.
#[derive(Clone, Debug)]
pub struct Behind {
    /// The engine.
    pub inbox: Sender<Message>,
    /// Where the journal ends, as it grows.
    pub head: watch::Receiver<u64>,
    /// Where the journal is.
    pub state: PathBuf,
    /// Who answers queries.
    pub queries: Queries,
    /// How the HTTP listener does.
    pub listening: watch::Receiver<Listening>,
    /// How the listener for what comes in does.
    pub ingest: watch::Receiver<Listening>,
}

/// The socket.
pub struct Control {
    path: PathBuf,
    listener: UnixListener,
    behind: Behind,
}

impl Control {
    /// Binds the socket, in place of one that a dead daemon left behind.
    ///
    /// The state directory's lock is held already: whoever left a socket here is gone.
    ///
    /// # Errors
    /// The socket's directory is missing or not writable.
    pub fn bind(path: &Path, behind: Behind) -> std::io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok(Self { path: path.to_owned(), listener, behind })
    }

    /// Serves until it is dropped.
    pub async fn serve(self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let peer = Peer { behind: self.behind.clone() };
                    tokio::spawn(async move {
                        if let Err(error) = peer.serve(stream).await {
                            tracing::debug!(%error, "a control connection ended early");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, socket = %self.path.display(), "a control connection was not accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Best effort: the next daemon replaces it anyway.
        std::fs::remove_file(&self.path).unwrap_or_default();
    }
}

/// One connection.
struct Peer {
    behind: Behind,
}

impl Peer {
    async fn serve(mut self, stream: UnixStream) -> std::io::Result<()> {
        let who = identity(&stream);
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(tokio::io::AsyncReadExt::take(read, REQUEST_BYTES_MAX as u64)).lines();
        while let Some(line) = lines.next_line().await? {
            let answer = match serde_json::from_str::<Request>(&line) {
                Ok(Request::Events { after, follow }) => {
                    self.events(&mut write, after, follow).await?;
                    continue;
                }
                Ok(Request::Status {}) => self.status().await,
                Ok(Request::Explain { trigger }) => self.explain(trigger).await,
                Ok(Request::Query(question)) => {
                    let answered = self.behind.queries.ask(question, None, Box::new).await;
                    answered.map_or_else(|error| Answer::Error(error.to_string()), Answer::Answered)
                }
                Ok(Request::Settle { rollback, done }) => {
                    self.want(Command::Settle { rollback, done, by: who.clone() }).await
                }
                Ok(Request::TaskDone { incident, task }) => {
                    self.want(Command::TaskDone { incident, task, by: who.clone() }).await
                }
                Ok(Request::Deployment { target, news }) => {
                    self.want(Command::Deployment { target, news, by: who.clone() }).await
                }
                Err(error) => Answer::Error(format!("this is not a request: {error}")),
            };
            send(&mut write, &answer).await?;
        }
        Ok(())
    }

    async fn status(&self) -> Answer {
        let (ask, answer) = oneshot::channel();
        if self.behind.inbox.send(Message::Asked(ask)).is_err() {
            return Answer::Error("the engine is going down".to_owned());
        }
        match answer.await {
            Ok(mut status) => {
                status.listening = self.behind.listening.borrow().clone();
                status.ingest = self.behind.ingest.borrow().clone();
                Answer::Status(status)
            }
            Err(_) => Answer::Error("the engine is going down".to_owned()),
        }
    }

    async fn explain(&self, trigger: TriggerName) -> Answer {
        let (answer, explained) = oneshot::channel();
        let sent = self.behind.inbox.send(Message::Explained { trigger, answer }).is_ok();
        match explained.await {
            Ok(explanations) if sent => Answer::Explained(explanations),
            _ => Answer::Error("the engine is going down".to_owned()),
        }
    }

    async fn want(&self, command: Command) -> Answer {
        let (tell, answer) = oneshot::channel();
        if self.behind.inbox.send(Message::Wanted { command, answer: tell }).is_err() {
            return Answer::Error("the engine is going down".to_owned());
        }
        match answer.await {
            Ok(Ok(())) => Answer::Done,
            Ok(Err(why)) => Answer::Error(why),
            Err(_) => Answer::Error("the engine is going down".to_owned()),
        }
    }

    async fn events(
        &mut self,
        write: &mut tokio::net::unix::OwnedWriteHalf,
        mut after: u64,
        follow: bool,
    ) -> std::io::Result<()> {
        loop {
            let state = self.behind.state.clone();
            let records = tokio::task::spawn_blocking(move || read_events(&state, after)).await;
            match records {
                Ok(Ok(records)) => {
                    for record in records {
                        after = record.seq;
                        send(write, &record).await?;
                    }
                }
                Ok(Err(why)) => return send(write, &Answer::Error(why)).await,
                Err(error) => return send(write, &Answer::Error(error.to_string())).await,
            }
            if *self.behind.head.borrow_and_update() > after {
                continue;
            }
            if !follow || self.behind.head.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}

fn read_events(state: &Path, after: u64) -> Result<Vec<Record>, String> {
    let reader = Reader::open(state).map_err(|error| error.to_string())?;
    reader.events(after, EVENTS_MAX).map_err(|error| error.to_string())
}

async fn send(write: &mut tokio::net::unix::OwnedWriteHalf, answer: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer).map_err(std::io::Error::other)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// Names the peer by what the kernel says of it.
fn identity(stream: &UnixStream) -> String {
    match stream.peer_cred() {
        Ok(peer) => format!("uid {}", peer.uid()),
        Err(_) => "somebody unknown".to_owned(),
    }
}
