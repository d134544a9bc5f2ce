//! `rearguard adapter`: careful actuators that a plan calls as `exec` steps.
//!
//! Every adapter works in the same four movements. It **reads** what is there. It **judges** what it read, in a pure
//! function, and refuses what would do harm or nothing: a way forward to the bad version, a paused Deployment, nothing
//! to go back to. Only then it **changes** something, and at last it **reads back** until the change is seen to hold.
//! With `--check` it stops after the judgement, for drills.
//!
//! Each is safe to call again: what is already as it should be is said to be so and left alone. So a step that calls an
//! adapter may be declared `idempotent`.
//!
//! The answer is one line of JSON on standard output, see [`report`], and an exit code: 0 done, or nothing to do; 1 failed
//! or refused; 75 could not be done now and may be tried again; 2 wrong usage.

mod argo_rollouts;
mod budget;
mod child;
mod flagd;
mod kubernetes;
mod report;
mod systemd;

use clap::Subcommand;

use self::report::Report;
use super::{CommandError, Exit, block_on, print};

/// What `adapter` takes.
#[derive(Debug, clap::Args)]
pub(super) struct AdapterArguments {
    #[command(subcommand)]
    adapter: Adapter,
}

#[derive(Debug, Subcommand)]
enum Adapter {
    /// Undo Deployments to a pinned revision, switch a Service's selector, scale out
    Kubernetes(kubernetes::KubernetesArguments),
    /// Take an Argo Rollout back: abort or undo, as its state demands
    ArgoRollouts(argo_rollouts::RolloutArguments),
    /// Set flags in a flagd flag file, and read them back from flagd
    Flagd(flagd::FlagdArguments),
    /// Restart, start or stop a unit, or switch it back to an earlier release
    Systemd(systemd::SystemdArguments),
}

pub(super) fn run(arguments: AdapterArguments) -> Result<Exit, CommandError> {
    let report = block_on(async move {
        match arguments.adapter {
            Adapter::Kubernetes(arguments) => kubernetes::run(arguments).await,
            Adapter::ArgoRollouts(arguments) => Ok(argo_rollouts::run(&arguments).await),
            Adapter::Flagd(arguments) => flagd::run(&arguments).await,
            Adapter::Systemd(arguments) => systemd::run(&arguments).await,
        }
    })?;
    tell(&report)
}

/// Prints the answer; its result is the exit code.
fn tell(report: &Report) -> Result<Exit, CommandError> {
    let text = serde_json::to_string(report).map_err(|error| CommandError::failed(error.to_string()))?;
    print(&format!("{text}\n"))?;
    Ok(report.exit())
}
