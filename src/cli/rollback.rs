//! `rearguard rollback settle`: says what became of a step whose end nobody knows.

use clap::Subcommand;

use super::{CommandError, DaemonArguments, Exit, client, print};
use crate::daemon::control::Request;
use crate::engine::model::RollbackId;

/// What `rollback` takes.
#[derive(Debug, clap::Args)]
pub(super) struct RollbackArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what became of the step that is in doubt; the plan goes on from there
    #[command(
        group = clap::ArgGroup::new("outcome").args(["done", "not_done"]).required(true),
        override_usage = "rearguard rollback settle <--done|--not-done> <ROLLBACK>"
    )]
    Settle {
        /// The rollback, such as R3
        rollback: RollbackId,
        /// The step was done
        #[arg(long)]
        done: bool,
        /// The step was not done: it is run again if the plan's deadline allows
        #[arg(long)]
        not_done: bool,
        #[command(flatten)]
        daemon: DaemonArguments,
    },
}

pub(super) fn run(arguments: &RollbackArguments) -> Result<Exit, CommandError> {
    let Action::Settle { rollback, done, daemon, .. } = &arguments.action;
    let config = client::locate(&daemon.config)?;
    client::ask(&config.control, &Request::Settle { rollback: *rollback, done: *done })?;
    print(&format!("{rollback} is settled as {}\n", if *done { "done" } else { "not done" }))?;
    Ok(Exit::Done)
}
