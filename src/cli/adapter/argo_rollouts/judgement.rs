//! Abort or undo: what a Rollout's state demands.
//!
//! An abort sends the traffic back to the stable ReplicaSet while an update goes on. The specification keeps the bad
//! version, and `Degraded` is the state that is expected then. Once the update is fully promoted, the bad version *is* the
//! stable one: the controller takes an abort away again, and only an undo goes back. An undo is an update itself, and goes
//! through the steps again, unless the pods of the old version are still there or within the rollback window.

use jiff::Timestamp;

use super::rollout::Rollout;
use crate::cli::adapter::kubernetes::objects::ReplicaSet;
use crate::cli::adapter::kubernetes::{PinArguments, Revision, revisions};

/// The annotation with a ReplicaSet's revision.
const REVISION: &str = "rollout.argoproj.io/revision";

/// The annotation with the numbers that it had before.
const EARLIER: &str = "rollout.argoproj.io/revision-history";

/// The label with the hash by which a Rollout's status names a ReplicaSet.
const HASH: &str = "rollouts-pod-template-hash";

/// The annotation that says until when the pods of an earlier version are kept.
const SCALE_DOWN_DEADLINE: &str = "scale-down-deadline";

/// What is to be done with a Rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Its status does not speak of its specification yet.
    Wait(String),
    /// The good revision is what it runs, or is on its way to.
    AlreadyThere {
        at: String,
        hash: String,
        why: String,
    },
    /// It was aborted already.
    Aborted {
        from: String,
        to: String,
        why: String,
    },
    Abort {
        from: String,
        to: String,
        why: String,
    },
    Undo {
        from: String,
        to: String,
        revision: u64,
        hash: String,
        steps_again: bool,
        why: String,
    },
    Refused {
        from: Option<String>,
        why: String,
    },
}

impl Judgement {
    /// Returns what is there and what should be.
    pub(super) fn between(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::Wait(_) => (None, None),
            Self::AlreadyThere { at, .. } => (Some(at.clone()), Some(at.clone())),
            Self::Aborted { from, to, .. } | Self::Abort { from, to, .. } | Self::Undo { from, to, .. } => {
                (Some(from.clone()), Some(to.clone()))
            }
            Self::Refused { from, .. } => (from.clone(), None),
        }
    }

    /// Says what was done and what was seen then.
    pub(super) fn told(&self, seen: &str) -> String {
        match self {
            Self::Abort { why, .. } | Self::Undo { why, .. } => format!("{why}; {seen}"),
            _ => seen.to_owned(),
        }
    }
}

fn hash(set: &ReplicaSet) -> &str {
    set.metadata.labels.get(HASH).map_or("", String::as_str)
}

/// Decides what is to be done.
pub(super) fn judge(
    rollout: &Rollout,
    sets: &[ReplicaSet],
    pin: &PinArguments,
    may_resume: bool,
    now: Timestamp,
) -> Judgement {
    if !rollout.is_observed() {
        return Judgement::Wait("the controller has not looked at the newest specification yet".to_owned());
    }
    let revisions = revisions(&rollout.metadata.uid, sets, REVISION, EARLIER);
    let of = |wanted: &str| revisions.iter().find(|revision| hash(revision.set) == wanted);
    let (Some(current), stable) = (of(&rollout.status.current), of(&rollout.status.stable)) else {
        return Judgement::Wait("the ReplicaSet of the newest revision is not there yet".to_owned());
    };
    let named = |revision: &Revision| pin.named(Some(revision.number), &revision.set.spec.template);
    let accepts = |revision: &Revision| pin.accepts(&revision.numbers, &revision.set.spec.template);
    let from = named(current);
    let refused = |why: String| Judgement::Refused { from: Some(from.clone()), why };
    if let Some(objection) = pin.objection() {
        return refused(objection);
    }
    if rollout.is_paused() && !may_resume {
        return refused(
            "the Rollout is paused (spec.paused) and would stay so; give --resume-paused".to_owned(),
        );
    }
    if accepts(current) {
        return already(rollout, current, from);
    }
    if let Some(stable) = stable.filter(|stable| !rollout.is_fully_promoted() && accepts(stable)) {
        return back_to_stable(rollout, stable, from, named(stable));
    }
    let Some(good) = revisions.iter().find(|revision| revision.number != current.number && accepts(revision))
    else {
        let others: Vec<String> =
            revisions.iter().filter(|one| one.number != current.number).map(named).collect();
        return refused(if others.is_empty() {
            format!("nothing to undo to: {from} is all that the cluster knows of it")
        } else {
            format!("nothing to undo to: none of {} is {}", others.join(", "), pin.describe())
        });
    };
    let (how, steps_again) = way_back(rollout, sets, good, stable, now);
    let to = named(good);
    let why = match rollout.is_fully_promoted() {
        true => format!("undo to {to}: {from} is fully promoted; {how}"),
        false => format!("undo to {to}: the stable ReplicaSet is not the good one; {how}"),
    };
    Judgement::Undo { from, to, revision: good.number, hash: hash(good.set).to_owned(), steps_again, why }
}

/// The newest revision is the good one: nothing to do, unless the way to it was cut off.
fn already(rollout: &Rollout, current: &Revision, from: String) -> Judgement {
    if rollout.status.abort && !rollout.is_fully_promoted() {
        let name = &rollout.metadata.name;
        let why = format!(
            "{from} is the good one, but its own update was aborted: 'kubectl argo rollouts retry rollout {name}' takes \
             it up again"
        );
        return Judgement::Refused { from: Some(from), why };
    }
    let hash = hash(current.set).to_owned();
    Judgement::AlreadyThere { at: from, hash, why: "it is the good one already".to_owned() }
}

/// An update goes on, and what was stable before it is the good one.
fn back_to_stable(rollout: &Rollout, stable: &Revision, from: String, to: String) -> Judgement {
    let available = stable.set.status.available_replicas;
    let pods = match available >= rollout.replicas() {
        true => format!("instant: its {available} pods are there"),
        false => {
            format!("only {available} of its {} pods are there, the others come anew", rollout.replicas())
        }
    };
    if rollout.status.promote_full {
        // The controller ignores an abort after `promote --full`; the way back to the stable template needs no steps.
        let why = format!("undo to {to}: it is being promoted in full, where an abort is ignored; {pods}");
        let (revision, hash) = (stable.number, hash(stable.set).to_owned());
        return Judgement::Undo { from, to, revision, hash, steps_again: false, why };
    }
    if rollout.status.abort {
        return Judgement::Aborted { from, to, why: "it was aborted already".to_owned() };
    }
    let why = format!("abort: the update to {from} goes on, back to {to}; {pods}");
    Judgement::Abort { from, to, why }
}

/// Says how fast an undo to `good` will be, and whether it goes through the steps again.
fn way_back(
    rollout: &Rollout,
    sets: &[ReplicaSet],
    good: &Revision,
    stable: Option<&Revision>,
    now: Timestamp,
) -> (String, bool) {
    let available = good.set.status.available_replicas;
    if rollout.is_blue_green() {
        let deadline = good.set.metadata.annotations.get(SCALE_DOWN_DEADLINE);
        let is_kept =
            deadline.and_then(|text| text.parse::<Timestamp>().ok()).is_some_and(|until| until > now);
        return if is_kept && available >= rollout.replicas() {
            let until = deadline.map_or("", String::as_str);
            (format!("instant switch-back: its {available} pods are kept until {until}"), false)
        } else {
            ("full redeploy: its pods are gone".to_owned(), false)
        };
    }
    let steps = rollout.steps();
    let window = rollout.rollback_window();
    let created = |set: &ReplicaSet| set.metadata.creation_timestamp.clone();
    // As the controller counts: ReplicaSets that were made after the good one and before the stable one.
    let is_between = |set: &&ReplicaSet, stable: &Revision| {
        created(good.set) < created(set) && created(set) < created(stable.set)
    };
    let is_within = stable.is_some_and(|stable| {
        created(good.set) < created(stable.set)
            && sets.iter().filter(|set| is_between(set, stable)).count() < window
    });
    match (steps, is_within) {
        (0, _) => ("there are no steps".to_owned(), false),
        (_, true) => (format!("no steps: within the rollback window of {window} revisions"), false),
        _ => (format!("its {steps} steps are gone through again"), true),
    }
}

/// What a reading shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    There(String),
    Moving(String),
    Stuck(String),
    FlippedBack(String),
    /// The abort came too late: the update is fully promoted.
    Promoted,
}

/// Judges a Rollout that was aborted; `was_there` says that an earlier reading showed it back.
pub(super) fn aborted(rollout: &Rollout, sets: &[ReplicaSet], was_there: bool) -> Seen {
    let status = &rollout.status;
    if !rollout.is_observed() && !was_there {
        return Seen::Moving("the controller has not looked at it yet".to_owned());
    }
    if !status.abort {
        return match (rollout.is_fully_promoted(), was_there) {
            (_, true) => Seen::FlippedBack("the abort was taken away: the update goes on again".to_owned()),
            (true, false) => Seen::Promoted,
            (false, false) => Seen::Moving("the abort is not in its status yet".to_owned()),
        };
    }
    let stable = sets.iter().find(|set| hash(set) == status.stable);
    let available = stable.map_or(0, |set| set.status.available_replicas);
    if rollout.is_blue_green() && rollout.active() != status.stable {
        return Seen::Moving("the active Service does not point to the stable pods yet".to_owned());
    }
    if let Some(weight @ 1..) = rollout.canary_weight() {
        return Seen::Moving(format!("the canary still has {weight} % of the traffic"));
    }
    if available < rollout.replicas() {
        return Seen::Moving(format!("{available} of {} stable pods are available", rollout.replicas()));
    }
    Seen::There(format!("all traffic is on the stable pods; {} is expected after an abort", status.phase))
}

/// Judges a Rollout that was undone to the ReplicaSet with this hash; `was_there` says that an earlier reading showed it on
/// its way there.
///
/// `degraded_before` is why it was degraded before the change. That stays for a moment and says nothing of the undo.
pub(super) fn undone(
    rollout: &Rollout,
    wanted: &str,
    was_there: bool,
    degraded_before: Option<&str>,
) -> Seen {
    let status = &rollout.status;
    if !rollout.is_observed() {
        return Seen::Moving("the controller has not looked at it yet".to_owned());
    }
    if status.current != wanted {
        let who = rollout.metadata.gitops().unwrap_or_else(|| "something".to_owned());
        return match was_there {
            true => Seen::FlippedBack(format!(
                "the template was set to another one again: {who} keeps it so; make the change in Git, or turn its \
                 automatic sync off first"
            )),
            false => Seen::Moving("the controller does not know of the undo yet".to_owned()),
        };
    }
    match status.phase.as_str() {
        "Healthy" if rollout.is_fully_promoted() => Seen::There("Healthy".to_owned()),
        "Degraded" if degraded_before != Some(&status.message) => {
            Seen::Stuck(format!("Degraded: {}", status.message))
        }
        phase => {
            let hint = if phase == "Paused" { "; --promote-full skips the steps" } else { "" };
            Seen::Moving(format!("{phase}: {}{hint}", status.message))
        }
    }
}

#[cfg(test)]
mod tests;
