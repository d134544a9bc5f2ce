//! Follows a running daemon's events over its control socket.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use crate::journal::Record;

/// The time between two tries to reach a daemon that is still starting.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The connection broke.
    #[error("the control socket broke: {0}")]
    Broken(#[from] std::io::Error),
    /// The daemon said something else than an event.
    #[error("expected an event on the control socket, got `{line}`: {source}")]
    NotAnEvent {
        /// What it said, shortened.
        line: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The events of a daemon, as they are committed.
pub struct Follower {
    lines: Lines<BufReader<OwnedReadHalf>>,
    /// Kept because the daemon ends the answer when the asking side hangs up.
    _asking: tokio::net::unix::OwnedWriteHalf,
}

impl Follower {
    /// Connects to the socket at `path` as soon as somebody listens there, and asks for every event from the first on.
    ///
    /// Waits for ever; the caller sets the limit.
    ///
    /// # Errors
    ///
    /// When the daemon hangs up before it was asked.
    pub async fn connect(path: &Path) -> Result<Self, FollowError> {
        let stream = loop {
            match UnixStream::connect(path).await {
                Ok(stream) => break stream,
                // Not there yet, or not listening yet.
                Err(_) => tokio::time::sleep(TRY_EVERY).await,
            }
        };
        let (answers, mut asking) = stream.into_split();
        let request = serde_json::json!({ "events": { "after": 0, "follow": true } });
        asking.write_all(format!("{request}\n").as_bytes()).await?;
        Ok(Self { lines: BufReader::new(answers).lines(), _asking: asking })
    }

    /// Returns the next event, or `None` when the daemon has hung up. May be dropped and called again.
    ///
    /// # Errors
    ///
    /// When the connection breaks or says something else than an event.
    pub async fn next(&mut self) -> Result<Option<Record>, FollowError> {
        let Some(line) = self.lines.next_line().await? else { return Ok(None) };
        let record = serde_json::from_str(&line)
            .map_err(|source| FollowError::NotAnEvent { line: line.chars().take(200).collect(), source })?;
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn events_are_asked_for_and_followed_until_the_daemon_hangs_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("control.sock");
        let listening = path.clone();
        let daemon = tokio::spawn(async move {
            // The follower comes first and has to wait.
            tokio::time::sleep(2 * TRY_EVERY).await;
            let listener = UnixListener::bind(listening).expect("a socket");
            let (stream, _) = listener.accept().await.expect("a follower");
            let (asked, mut answering) = stream.into_split();
            let mut asked = BufReader::new(asked).lines();
            let request = asked.next_line().await.expect("a request").expect("a request");
            let event = r#"{"seq":1,"wall_unix_ms":5,"event":{"at":7,"what":"stopping"}}"#;
            answering.write_all(format!("{event}\n{{}}\n").as_bytes()).await.expect("it listens");
            request
        });
        let mut follower = Follower::connect(&path).await.expect("a daemon");
        let record = follower.next().await.expect("an event").expect("an event");
        assert_eq!((record.seq, record.wall_unix_ms, record.event.at.as_millis()), (1, 5, 7));
        let error = follower.next().await.expect_err("`{}` is no event");
        assert!(error.to_string().contains("`{}`"), "{error}");
        assert_eq!(follower.next().await.expect("an end"), None);
        let request = daemon.await.expect("the daemon ends");
        assert_eq!(request, r#"{"events":{"after":0,"follow":true}}"#);
    }
}
