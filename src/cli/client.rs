//! Talks to a running daemon over its control socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::CommandError;
use crate::config::{self, Config, Refused, Style};
use crate::daemon::control::{Answer, Request};

/// How long a daemon may take to answer: its engine turns at least once a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the daemon's file, to know where the daemon and its journal are.
///
/// Files with mistakes tell that too, and are no reason to refuse: the daemon runs the last good ones meanwhile, and that
/// is when people want to ask it.
pub(super) fn locate(file: &Path) -> Result<Config, CommandError> {
    match config::load(file) {
        Ok(loaded) => Ok(loaded.config),
        Err(Refused { config: Some(config), .. }) => {
            eprintln!("note: the files on disk have mistakes; `rearguard check` lists them");
            Ok(*config)
        }
        Err(refused) => Err(CommandError::usage(refused.render(Style::Plain)).with_hint(
            "this file tells where the daemon's socket is; mend it or name another with --config",
        )),
    }
}

/// Asks one thing.
pub(super) fn ask(socket: &Path, request: &Request) -> Result<Answer, CommandError> {
    ask_within(socket, request, PATIENCE)
}

/// Asks one thing whose answer may take a while.
pub(super) fn ask_within(
    socket: &Path,
    request: &Request,
    patience: Duration,
) -> Result<Answer, CommandError> {
    let shown = socket.display();
    let stream = UnixStream::connect(socket).map_err(|error| {
        CommandError::failed(format!("no daemon answers at {shown}: {error}"))
            .with_hint("is it running? `systemctl status rearguard`; are you allowed to write to the socket?")
    })?;
    let broken =
        |error: std::io::Error| CommandError::failed(format!("the daemon at {shown} broke off: {error}"));
    stream.set_read_timeout(Some(patience)).map_err(broken)?;
    let mut line = serde_json::to_vec(request).map_err(|error| CommandError::failed(error.to_string()))?;
    line.push(b'\n');
    (&stream).write_all(&line).map_err(broken)?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).map_err(broken)?;
    match serde_json::from_str(&answer) {
        Ok(Answer::Error(why)) => Err(CommandError::failed(why)),
        Ok(answer) => Ok(answer),
        Err(error) => {
            Err(CommandError::failed(format!("the daemon at {shown} answered something else: {error}"))
                .with_hint("are daemon and command of the same version?"))
        }
    }
}
