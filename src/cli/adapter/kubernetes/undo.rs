//! `undo`: takes Deployments back to a pinned good revision and watches that they stay there.

use std::time::Duration;

use tokio::time::Instant;

use super::kubectl::{Kubectl, object_name};
use super::objects::{Deployment, List, ReplicaSet, Template};
use super::readiness::{Readiness, readiness};
use super::revisions::{Judgement, PinArguments, judge};
use crate::cli::CommandError;
use crate::cli::adapter::budget::ConductArguments;
use crate::cli::adapter::report::{Ending, Outcome, Trouble};

/// What `undo` takes.
#[derive(Debug, clap::Args)]
pub(super) struct UndoArguments {
    /// The Deployments, in the order in which they are undone
    #[arg(required = true, value_name = "DEPLOYMENT", value_parser = object_name)]
    deployments: Vec<String>,
    #[command(flatten)]
    pin: PinArguments,
    /// Resume a paused Deployment right before its undo, which kubectl refuses otherwise
    #[arg(long)]
    resume_paused: bool,
    /// Undo those that can be undone even if others cannot; by default it is all or none
    #[arg(long)]
    partial: bool,
}

impl UndoArguments {
    /// # Errors
    ///
    /// Several Deployments have their numbers each for itself, so no one number can be meant.
    pub(super) fn validate(&self) -> Result<(), CommandError> {
        if self.deployments.len() > 1 && self.pin.to_revision.is_some() {
            return Err(CommandError::usage("--to-revision is the number of one Deployment, not of several")
                .with_hint("give --good-version, or call the adapter once for each"));
        }
        Ok(())
    }
}

/// A Deployment on its way.
struct Tracked {
    name: String,
    state: State,
}

enum State {
    /// Was changed, or was seen to be as it should be; is watched.
    Watched(Watched),
    Over(Ending),
}

struct Watched {
    from: String,
    to: String,
    wanted: Template,
    /// None where nothing was changed.
    changed_at: Option<Instant>,
    /// What was said last of how far it is.
    seen: String,
}

pub(super) async fn run(
    kubectl: &Kubectl,
    conduct: &ConductArguments,
    arguments: &UndoArguments,
) -> Vec<Ending> {
    let mut judged = Vec::new();
    for name in &arguments.deployments {
        judged.push(considered(kubectl, conduct, arguments, name).await);
    }
    let is_bad =
        |ending: &&Ending| matches!(ending.result, Outcome::Refused | Outcome::Failed | Outcome::Retry);
    let bad: Vec<String> = judged.iter().filter(is_bad).map(|ending| ending.target.clone()).collect();
    if conduct.check {
        return judged;
    }
    let is_held_back = !bad.is_empty() && !arguments.partial;
    let mut all = Vec::new();
    for ending in judged {
        let name = ending.target.clone();
        let state = if is_bad(&&ending) {
            State::Over(ending)
        } else if is_held_back {
            let why = format!("left alone because of {}; --partial would undo it alone", bad.join(", "));
            State::Over(Ending::new(&name, Outcome::NotTried, why))
        } else {
            change(kubectl, arguments, &name).await
        };
        all.push(Tracked { name, state });
    }
    watch(kubectl, &mut all).await;
    all.into_iter().map(|tracked| ending(kubectl, tracked)).collect()
}

async fn read(kubectl: &Kubectl, name: &str) -> Result<(Deployment, Vec<ReplicaSet>), Trouble> {
    let deployment: Deployment = kubectl.get_patiently(&["deployment", name]).await?;
    let selector = format!("--selector={}", deployment.spec.selector.as_argument());
    let sets: List<ReplicaSet> = kubectl.get_patiently(&["replicasets", &selector]).await?;
    Ok((deployment, sets.items))
}

/// Reads and judges; changes nothing.
async fn considered(
    kubectl: &Kubectl,
    conduct: &ConductArguments,
    arguments: &UndoArguments,
    name: &str,
) -> Ending {
    let (deployment, sets) = match read(kubectl, name).await {
        Ok(read) => read,
        Err(trouble) => return Ending::trouble(name, &trouble),
    };
    let judgement = judge(&deployment, &sets, &arguments.pin, arguments.resume_paused);
    if conduct.check
        && !matches!(judgement, Judgement::Refused { .. })
        && let Err(trouble) = kubectl.may("patch", &[&format!("deployments/{name}")]).await
    {
        return Ending::trouble(name, &trouble);
    }
    match judgement {
        Judgement::AlreadyThere { at } => {
            let wanted = &deployment.spec.template;
            let why = match readiness(&deployment, wanted) {
                Readiness::Moving(seen) | Readiness::Stuck(seen) => {
                    format!("it is the good one already, but {seen}")
                }
                _ => "it is the good one already".to_owned(),
            };
            Ending::new(name, Outcome::AlreadyThere, why).between(Some(&at), Some(&at))
        }
        Judgement::Resume { at, .. } => {
            let why = format!("would resume it; {at} is the good one");
            Ending::new(name, Outcome::WouldDo, why).between(Some(&at), Some(&at))
        }
        Judgement::Undo { resume, from, to, .. } => {
            let first = if resume { "resume it, then " } else { "" };
            let replicas = deployment.spec.replicas();
            let kept = deployment.metadata.gitops();
            let mut why = format!("would {first}undo to {to}, {replicas} pods");
            if let Some(kept) = kept {
                why.push_str(&format!("; {kept} keeps it as it is in Git and may set it back"));
            }
            Ending::new(name, Outcome::WouldDo, why).between(Some(&from), Some(&to))
        }
        Judgement::Refused { from, why } => {
            Ending::new(name, Outcome::Refused, why).between(Some(&from), None)
        }
    }
}

/// Reads anew, judges anew, and changes; again while what went wrong may pass.
///
/// A change whose answer was lost is not repeated blindly: the next reading tells whether it was made. After an undo its
/// revision has another number, so repeating the command would not even find it.
async fn change(kubectl: &Kubectl, arguments: &UndoArguments, name: &str) -> State {
    let mut changed_at = None;
    let mut first_from = None;
    loop {
        let (deployment, sets) = match read(kubectl, name).await {
            Ok(read) => read,
            Err(trouble) => return State::Over(Ending::trouble(name, &trouble)),
        };
        let judgement = judge(&deployment, &sets, &arguments.pin, arguments.resume_paused);
        let (told, from, to, wanted) = match judgement {
            Judgement::Refused { from, why } => {
                return State::Over(Ending::new(name, Outcome::Refused, why).between(Some(&from), None));
            }
            Judgement::AlreadyThere { at } => {
                let from = first_from.unwrap_or_else(|| at.clone());
                let wanted = deployment.spec.template;
                return State::Watched(Watched { from, to: at, wanted, changed_at, seen: String::new() });
            }
            Judgement::Resume { at, template } => (resume(kubectl, name).await, at.clone(), at, template),
            Judgement::Undo { resume: is_paused, from, to, revision, template } => {
                let told = match is_paused {
                    true => resume(kubectl, name).await,
                    false => Ok(String::new()),
                };
                let told = match told {
                    Ok(_) => undo(kubectl, name, revision).await,
                    Err(trouble) => Err(trouble),
                };
                (told, from, to, template)
            }
        };
        match told {
            // It exits with 0 and has done nothing.
            Ok(said) if said.contains("skipped rollback") => {
                if !kubectl.budget.pause().await {
                    return State::Over(
                        Ending::new(name, Outcome::Retry, said).between(Some(&from), Some(&to)),
                    );
                }
                continue;
            }
            _ => {
                changed_at = Some(Instant::now());
                first_from.get_or_insert_with(|| from.clone());
            }
        }
        match told {
            Ok(_) => {
                let from = first_from.unwrap_or(from);
                return State::Watched(Watched { from, to, wanted, changed_at, seen: String::new() });
            }
            Err(trouble) if trouble.may_pass && kubectl.budget.pause().await => {}
            Err(trouble) => {
                return State::Over(Ending::trouble(name, &trouble).between(Some(&from), Some(&to)));
            }
        }
    }
}

async fn resume(kubectl: &Kubectl, name: &str) -> Result<String, Trouble> {
    kubectl.tell(&["rollout", "resume", &format!("deployment/{name}")]).await
}

async fn undo(kubectl: &Kubectl, name: &str, revision: u64) -> Result<String, Trouble> {
    let pinned = format!("--to-revision={revision}");
    kubectl.tell(&["rollout", "undo", &format!("deployment/{name}"), &pinned]).await
}

/// Reads back, all in turn, until each is complete and has stayed so for the time of the watch.
async fn watch(kubectl: &Kubectl, all: &mut [Tracked]) {
    loop {
        let mut waits = false;
        for tracked in all.iter_mut() {
            let State::Watched(watched) = &mut tracked.state else { continue };
            let deployment: Deployment = match kubectl.get(&["deployment", &tracked.name]).await {
                Ok(deployment) => deployment,
                Err(trouble) => {
                    watched.seen = trouble.why;
                    waits = true;
                    continue;
                }
            };
            match look(&deployment, watched, kubectl.watch()) {
                Look::Wait => waits = true,
                Look::Over(result, why) => {
                    let (from, to) = (Some(watched.from.as_str()), Some(watched.to.as_str()));
                    tracked.state = State::Over(Ending::new(&tracked.name, result, why).between(from, to));
                }
            }
        }
        if !waits || !kubectl.budget.pause().await {
            return;
        }
    }
}

/// What a reading means.
enum Look {
    Wait,
    Over(Outcome, String),
}

fn look(deployment: &Deployment, watched: &mut Watched, watch: Duration) -> Look {
    let since = watched.changed_at.map(|at| at.elapsed());
    match readiness(deployment, &watched.wanted) {
        Readiness::Complete => match since {
            None => Look::Over(Outcome::AlreadyThere, "it is the good one already".to_owned()),
            Some(since) if since >= watch => {
                let why = format!(
                    "all {} pods run it and are available; watched for {:.0} s",
                    deployment.status.available_replicas,
                    since.as_secs_f64()
                );
                Look::Over(Outcome::Done, why)
            }
            Some(_) => {
                watched.seen = COMPLETE.to_owned();
                Look::Wait
            }
        },
        Readiness::Moving(seen) => {
            watched.seen = seen;
            Look::Wait
        }
        Readiness::Stuck(why) => Look::Over(Outcome::Failed, why),
        Readiness::FlippedBack => {
            let who = deployment.metadata.gitops().unwrap_or_else(|| "something".to_owned());
            let after = since.unwrap_or_default().as_secs_f64();
            let why = format!(
                "the template was set to another one again {after:.0} s after the undo: {who} keeps it so; make the \
                 change in Git, or turn its automatic sync off first"
            );
            Look::Over(Outcome::FlippedBack, why)
        }
    }
}

/// What is said of a Deployment that is complete while it is still watched.
const COMPLETE: &str = "complete";

/// Returns how it ended, also where the time was up first.
fn ending(kubectl: &Kubectl, tracked: Tracked) -> Ending {
    let whole = kubectl.budget.whole().as_secs_f64();
    match tracked.state {
        State::Over(ending) => ending,
        State::Watched(watched) => {
            let since = watched.changed_at.map(|at| at.elapsed().as_secs_f64()).unwrap_or_default();
            let (result, why) = if watched.seen == COMPLETE {
                let why = format!("all pods run it; the time was up after a watch of {since:.0} s");
                (Outcome::Done, why)
            } else {
                let said = if watched.changed_at.is_some() { "undone" } else { "the good one already" };
                (Outcome::Failed, format!("{said}, but not complete within {whole:.0} s: {}", watched.seen))
            };
            Ending::new(&tracked.name, result, why).between(Some(&watched.from), Some(&watched.to))
        }
    }
}
