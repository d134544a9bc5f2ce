//! `rearguard adapter kubernetes`: Deployments, Services, replicas, by way of `kubectl`.

pub(super) mod kubectl;
pub(super) mod objects;
mod readiness;
mod revisions;
mod scale;
mod service;
mod undo;

#[cfg(test)]
mod fixture;

use clap::Subcommand;

use self::kubectl::{ClusterArguments, Kubectl};
pub(super) use self::revisions::{PinArguments, Revision, revisions};
use super::budget::ConductArguments;
use super::report::Report;
use crate::cli::CommandError;

/// What `adapter kubernetes` takes.
#[derive(Debug, clap::Args)]
pub(super) struct KubernetesArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take Deployments back to a pinned good revision, never to whichever came before
    Undo {
        #[command(flatten)]
        cluster: ClusterArguments,
        #[command(flatten)]
        conduct: ConductArguments,
        #[command(flatten)]
        undo: undo::UndoArguments,
    },
    /// Point a Service at other pods, if ready ones are there
    SwitchService {
        #[command(flatten)]
        cluster: ClusterArguments,
        #[command(flatten)]
        conduct: ConductArguments,
        #[command(flatten)]
        switch: service::SwitchArguments,
    },
    /// Bring a Deployment to at least so many replicas
    Scale {
        #[command(flatten)]
        cluster: ClusterArguments,
        #[command(flatten)]
        conduct: ConductArguments,
        #[command(flatten)]
        scale: scale::ScaleArguments,
    },
}

pub(super) async fn run(arguments: KubernetesArguments) -> Result<Report, CommandError> {
    let (action, check, endings) = match arguments.action {
        Action::Undo { cluster, conduct, undo } => {
            undo.validate()?;
            ("undo", conduct.check, undo::run(&Kubectl::new(cluster, &conduct), &conduct, &undo).await)
        }
        Action::SwitchService { cluster, conduct, switch } => {
            let kubectl = Kubectl::new(cluster, &conduct);
            ("switch-service", conduct.check, vec![service::run(&kubectl, &conduct, &switch).await])
        }
        Action::Scale { cluster, conduct, scale } => {
            let kubectl = Kubectl::new(cluster, &conduct);
            ("scale", conduct.check, vec![scale::run(&kubectl, &conduct, &scale).await])
        }
    };
    Ok(Report::new("kubernetes", action, check, endings))
}
