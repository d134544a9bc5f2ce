//! `undo`: takes Deployments back to a pinned good revision and watches that they stay there.

use std::time::Duration;

use tokio::time::Instant;

use super::kubectl::{Kubectl, object_name};
use super::objects::{Deployment, List, ReplicaSet, Template};
use super::readiness::{Readiness, gave_up, readiness};
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
    to: String,
    wanted: Template,
    /// None where nothing was to be changed.
    begun: Option<Begun>,
    /// What was said last of how far it is.
    seen: String,
}

impl Watched {
    fn from(&self) -> &str {
        self.begun.as_ref().map_or(&self.to, |begun| &begun.from)
    }
}

/// The first change.
struct Begun {
    at: Instant,
    from: String,
    /// When the controller gave up the rollout that is undone.
    gave_up: Option<String>,
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
            let why = match readiness(&deployment, wanted, None) {
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
    let mut begun: Option<Begun> = None;
    loop {
        let (deployment, sets) = match read(kubectl, name).await {
            Ok(read) => read,
            Err(trouble) => return State::Over(Ending::trouble(name, &trouble)),
        };
        let gave_up = gave_up(&deployment).map(|condition| condition.updated_at.clone());
        let begin = |from: &String| Begun { at: Instant::now(), from: from.clone(), gave_up };
        let judgement = judge(&deployment, &sets, &arguments.pin, arguments.resume_paused);
        let (told, from, to, wanted) = match judgement {
            Judgement::Refused { from, why } => {
                return State::Over(Ending::new(name, Outcome::Refused, why).between(Some(&from), None));
            }
            Judgement::AlreadyThere { at } => {
                let wanted = deployment.spec.template;
                return State::Watched(Watched { to: at, wanted, begun, seen: String::new() });
            }
            Judgement::Resume { at, template } => {
                begun.get_or_insert_with(|| begin(&at));
                (resume(kubectl, name).await, at.clone(), at, template)
            }
            Judgement::Undo { resume: is_paused, from, to, revision, template } => {
                begun.get_or_insert_with(|| begin(&from));
                let told = match is_paused {
                    true => resume_and_undo(kubectl, name, revision).await,
                    false => undo(kubectl, name, revision).await,
                };
                (told, from, to, template)
            }
        };
        let trouble = match told {
            // It exits with 0 and has done nothing: the template was the good one's by then.
            Ok(said) if said.contains("skipped rollback") => Trouble::passing(said),
            Ok(_) => return State::Watched(Watched { to, wanted, begun, seen: String::new() }),
            Err(trouble) => trouble,
        };
        if !trouble.may_pass || !kubectl.budget.pause().await {
            return State::Over(Ending::trouble(name, &trouble).between(Some(&from), Some(&to)));
        }
    }
}

/// Lets the Deployment go on, because kubectl demands it, and takes it back at once.
async fn resume_and_undo(kubectl: &Kubectl, name: &str, revision: u64) -> Result<String, Trouble> {
    resume(kubectl, name).await?;
    undo(kubectl, name, revision).await.map_err(|trouble| {
        let why = format!("it was resumed, but then its undo failed: {}", trouble.why);
        Trouble { why, ..trouble }
    })
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
                    match watched.seen.as_str() {
                        "" => watched.seen = trouble.why,
                        COMPLETE => watched.seen = format!("nobody answers since it was: {}", trouble.why),
                        // What was seen last says more than that nobody answers now.
                        _ => {}
                    }
                    waits = true;
                    continue;
                }
            };
            match look(&deployment, watched, kubectl.watch()) {
                Look::Wait => waits = true,
                Look::Over(result, why) => {
                    let (from, to) = (Some(watched.from()), Some(watched.to.as_str()));
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
    let since = watched.begun.as_ref().map(|begun| begun.at.elapsed());
    let gave_up = watched.begun.as_ref().and_then(|begun| begun.gave_up.as_deref());
    match readiness(deployment, &watched.wanted, gave_up) {
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
    let whole = kubectl.budget.shown();
    match tracked.state {
        State::Over(ending) => ending,
        State::Watched(watched) => {
            let since =
                watched.begun.as_ref().map(|begun| begun.at.elapsed().as_secs_f64()).unwrap_or_default();
            let (result, why) = if watched.seen == COMPLETE {
                let why = format!("all pods run it; the time was up after a watch of {since:.0} s");
                (Outcome::Done, why)
            } else {
                let said = if watched.begun.is_some() { "undone" } else { "the good one already" };
                (Outcome::Failed, format!("{said}, but not complete within {whole}: {}", watched.seen))
            };
            Ending::new(&tracked.name, result, why).between(Some(watched.from()), Some(&watched.to))
        }
    }
}
