//! `rearguard adapter argo-rollouts`: takes an Argo Rollout back, by way of `kubectl argo rollouts`.

mod judgement;
mod rollout;

use std::time::Duration;

use clap::Subcommand;
use tokio::time::Instant;

use self::judgement::{Judgement, Seen, aborted, judge, undone};
use self::rollout::Rollout;
use super::budget::ConductArguments;
use super::kubernetes::PinArguments;
use super::kubernetes::kubectl::{ClusterArguments, Kubectl, object_name};
use super::kubernetes::objects::{List, ReplicaSet};
use super::report::{Ending, Outcome, Report, Trouble};

/// How many changes one call makes at most: an abort that came too late, the undo after it, and one more that was skipped.
const CHANGES_MAX: usize = 3;

/// What `adapter argo-rollouts` takes.
#[derive(Debug, clap::Args)]
pub(super) struct RolloutArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Abort the update while it goes on, undo it where it is fully promoted
    Undo {
        #[command(flatten)]
        cluster: ClusterArguments,
        #[command(flatten)]
        conduct: ConductArguments,
        #[command(flatten)]
        undo: UndoArguments,
    },
}

/// What `undo` takes.
#[derive(Debug, clap::Args)]
struct UndoArguments {
    /// The Rollout
    #[arg(value_name = "ROLLOUT", value_parser = object_name)]
    rollout: String,
    #[command(flatten)]
    pin: PinArguments,
    /// Resume a paused Rollout right after it was aborted or undone
    #[arg(long)]
    resume_paused: bool,
    /// Skip the canary's steps on the way back, where an undo would go through them again
    #[arg(long)]
    promote_full: bool,
}

pub(super) async fn run(arguments: &RolloutArguments) -> Report {
    let Action::Undo { cluster, conduct, undo } = &arguments.action;
    let kubectl = Kubectl::new(cluster.clone(), conduct);
    let ending = take_back(&kubectl, conduct, undo).await;
    Report::new("argo-rollouts", "undo", conduct.check, vec![ending])
}

async fn read(kubectl: &Kubectl, name: &str) -> Result<(Rollout, Vec<ReplicaSet>), Trouble> {
    let rollout: Rollout = kubectl.get_patiently(&["rollouts.argoproj.io", name]).await?;
    let selector = format!("--selector={}", rollout.selector());
    let sets: List<ReplicaSet> = kubectl.get_patiently(&["replicasets", &selector]).await?;
    Ok((rollout, sets.items))
}

/// Reads, judges, changes, watches; again where an abort came too late, or where the controller had not caught up.
async fn take_back(kubectl: &Kubectl, conduct: &ConductArguments, arguments: &UndoArguments) -> Ending {
    let name = &arguments.rollout;
    let mut changes = 0;
    loop {
        let (rollout, sets) = match read(kubectl, name).await {
            Ok(read) => read,
            Err(trouble) => return Ending::trouble(name, &trouble),
        };
        let now = jiff::Timestamp::now();
        let judgement = judge(&rollout, &sets, &arguments.pin, arguments.resume_paused, now);
        if conduct.check && !matches!(judgement, Judgement::Wait(_)) {
            return would(kubectl, name, &judgement).await;
        }
        let (from, to) = judgement.between();
        let between = |ending: Ending| ending.between(from.as_deref(), to.as_deref());
        let turn = match &judgement {
            Judgement::Refused { why, .. } => return between(Ending::new(name, Outcome::Refused, why)),
            Judgement::Wait(_) if kubectl.budget.pause().await => continue,
            Judgement::Wait(why) => return Ending::new(name, Outcome::Retry, why),
            _ if changes == CHANGES_MAX => {
                let why = "it was aborted and undone, and is still not the good one";
                return between(Ending::new(name, Outcome::Failed, why));
            }
            _ => act(kubectl, arguments, &judgement, &rollout).await,
        };
        match turn {
            Turn::Over(ending) => return between(ending),
            Turn::Again => changes += 1,
        }
    }
}

/// What a change led to.
enum Turn {
    Over(Ending),
    /// It has to be read and judged anew.
    Again,
}

/// Says what a real run would do, and whether it could.
async fn would(kubectl: &Kubectl, name: &str, judgement: &Judgement) -> Ending {
    let (from, to) = judgement.between();
    let ending = match judgement {
        Judgement::Refused { why, .. } => Ending::new(name, Outcome::Refused, why),
        Judgement::AlreadyThere { why, .. } | Judgement::Aborted { why, .. } => {
            Ending::new(name, Outcome::AlreadyThere, why)
        }
        Judgement::Wait(why) => Ending::new(name, Outcome::Retry, why),
        Judgement::Abort { why, .. } | Judgement::Undo { why, .. } => {
            // The plugin is a program of its own, and may be missing where this runs.
            let what = format!("rollouts.argoproj.io/{name}");
            let able = match kubectl.tell(&["argo", "rollouts", "version", "--short"]).await {
                Ok(_) => kubectl.may("patch", &[&what]).await,
                Err(trouble) => Err(without_plugin(trouble)),
            };
            match able {
                Ok(()) => Ending::new(name, Outcome::WouldDo, format!("would {why}")),
                Err(trouble) => Ending::trouble(name, &trouble),
            }
        }
    };
    ending.between(from.as_deref(), to.as_deref())
}

/// Says what to install where `kubectl` does not know the plugin.
fn without_plugin(trouble: Trouble) -> Trouble {
    if !trouble.why.contains("unknown command") {
        return trouble;
    }
    let why = format!("{}: the plugin kubectl-argo-rollouts must be in the PATH of the step", trouble.why);
    Trouble { why, ..trouble }
}

async fn act(kubectl: &Kubectl, arguments: &UndoArguments, judgement: &Judgement, rollout: &Rollout) -> Turn {
    let name = &arguments.rollout;
    let (told, is_abort) = match judgement {
        Judgement::Abort { .. } => (kubectl.tell(&["argo", "rollouts", "abort", name]).await, true),
        Judgement::Undo { revision, .. } => {
            let pinned = format!("--to-revision={revision}");
            (kubectl.tell(&["argo", "rollouts", "undo", name, &pinned]).await, false)
        }
        // Nothing to change; what is there is watched until it is complete.
        _ => return watch(kubectl, arguments, judgement, None).await,
    };
    match told {
        Ok(said) if said.contains("skipped rollback") => {
            // It exits with 0 and has done nothing: the template is the good one's already.
            return if kubectl.budget.pause().await {
                Turn::Again
            } else {
                over(name, Outcome::Retry, &said)
            };
        }
        Ok(_) => {}
        Err(trouble) if trouble.may_pass && kubectl.budget.pause().await => return Turn::Again,
        Err(trouble) => return Turn::Over(Ending::trouble(name, &without_plugin(trouble))),
    }
    if let Err(trouble) = follow_up(kubectl, arguments, judgement, rollout, is_abort).await {
        return Turn::Over(Ending::trouble(name, &trouble));
    }
    watch(kubectl, arguments, judgement, Some((Instant::now(), rollout.degraded()))).await
}

/// Does what has to follow an abort or an undo: lets a paused Rollout go on, skips steps.
async fn follow_up(
    kubectl: &Kubectl,
    arguments: &UndoArguments,
    judgement: &Judgement,
    rollout: &Rollout,
    is_abort: bool,
) -> Result<(), Trouble> {
    let name = &arguments.rollout;
    if rollout.is_paused() {
        // Only now: resumed before, it would go on towards the bad version.
        let patch = "--patch={\"spec\":{\"paused\":false}}";
        kubectl.tell(&["patch", "rollouts.argoproj.io", name, "--type=merge", patch]).await?;
    }
    let has_steps = matches!(judgement, Judgement::Undo { steps_again: true, .. });
    if arguments.promote_full && has_steps && !is_abort {
        kubectl.tell(&["argo", "rollouts", "promote", name, "--full"]).await?;
    }
    Ok(())
}

fn over(name: &str, result: Outcome, why: &str) -> Turn {
    Turn::Over(Ending::new(name, result, why))
}

/// Reads back until it is as it should be and has stayed so for the time of the watch.
///
/// `changed` is when it was changed, and why it was degraded before that.
async fn watch(
    kubectl: &Kubectl,
    arguments: &UndoArguments,
    judgement: &Judgement,
    changed: Option<(Instant, Option<&str>)>,
) -> Turn {
    let name = &arguments.rollout;
    let (since, watch, good) = match changed {
        Some((at, _)) => (at, kubectl.watch(), Outcome::Done),
        None => (Instant::now(), Duration::ZERO, Outcome::AlreadyThere),
    };
    let degraded_before = changed.and_then(|(_, degraded)| degraded);
    let mut was_there = changed.is_none();
    loop {
        let seen = match read(kubectl, name).await {
            Ok((rollout, sets)) => match judgement {
                Judgement::Abort { .. } | Judgement::Aborted { .. } => aborted(&rollout, &sets, was_there),
                Judgement::Undo { hash, .. } | Judgement::AlreadyThere { hash, .. } => {
                    let seen = undone(&rollout, hash, was_there, degraded_before);
                    // On its way counts too: from then on another template is somebody else's.
                    was_there |= rollout.status.current == *hash;
                    seen
                }
                Judgement::Wait(_) | Judgement::Refused { .. } => return Turn::Again,
            },
            Err(trouble) => Seen::Moving(trouble.why),
        };
        match &seen {
            Seen::Promoted => return Turn::Again,
            Seen::Stuck(why) => return over(name, Outcome::Failed, why),
            Seen::FlippedBack(why) => return over(name, Outcome::FlippedBack, why),
            Seen::There(why) if since.elapsed() >= watch => return over(name, good, &judgement.told(why)),
            Seen::There(_) => was_there = true,
            Seen::Moving(_) => {}
        }
        if !kubectl.budget.pause().await {
            let whole = kubectl.budget.shown();
            return match seen {
                Seen::There(why) => {
                    over(name, good, &judgement.told(&format!("{why}; the time for the watch was up")))
                }
                Seen::Moving(why) => over(name, Outcome::Failed, &format!("not back within {whole}: {why}")),
                _ => Turn::Again,
            };
        }
    }
}
