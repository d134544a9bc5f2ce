//! `rearguard run`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use super::logging::{self, LogFormat};
use super::{CommandError, Exit};
use crate::daemon::{self, DaemonError, Options};
use crate::{ingest, web};

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    daemon: super::DaemonArguments,
    /// Refuse to start with bad files, even where the last good ones could run
    #[arg(long)]
    strict: bool,
    /// How log lines look; by default systemd's journal gets fields, a terminal gets text
    #[arg(long, value_name = "FORMAT")]
    log: Option<LogFormat>,
}

pub(super) async fn run(arguments: RunArguments) -> Result<Exit, CommandError> {
    logging::start(arguments.log);
    let options = Options {
        config: arguments.daemon.config,
        strict: arguments.strict,
        // Also right after an upgrade has replaced the file: a step is started by the program that decided it.
        gate: PathBuf::from("/proc/self/exe"),
        serve: Some(Box::new(|opening| tokio::spawn(web::serve(opening)))),
        ingest: Some(Box::new(|opening| tokio::spawn(ingest::serve(opening)))),
        witness: Arc::new(|_| {}),
    };
    match daemon::run(options).await {
        Ok(()) => Ok(Exit::Done),
        Err(error @ DaemonError::Files(_)) => Err(CommandError::usage(error.to_string())
            .with_hint("`rearguard check` shows the same without starting")),
        Err(error) => Err(CommandError::failed(error.to_string())),
    }
}
