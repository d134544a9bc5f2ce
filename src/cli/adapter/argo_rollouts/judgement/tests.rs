//! A Rollout in each of its states, and what is done about it.

use serde_json::{Value, json};

use super::*;

/// The time at which all of these judgements are made.
const NOW: &str = "2026-11-21T12:00:00Z";

fn set(number: u64, version: &str, available: i64) -> ReplicaSet {
    let object = json!({
        "metadata": {
            "name": format!("shop-{version}"),
            "creationTimestamp": format!("2026-11-{:02}T00:00:00Z", 10 + number),
            "labels": {"rollouts-pod-template-hash": format!("hash-{version}")},
            "annotations": {"rollout.argoproj.io/revision": number.to_string()},
            "ownerReferences": [{"kind": "Rollout", "uid": "r-1"}],
        },
        "spec": {"template": {"spec": {"containers": [{"name": "shop", "image": format!("shop:{version}")}]}}},
        "status": {"availableReplicas": available},
    });
    serde_json::from_value(object).unwrap()
}

fn kept_until(mut set: ReplicaSet, deadline: &str) -> ReplicaSet {
    set.metadata.annotations.insert("scale-down-deadline".to_owned(), deadline.to_owned());
    set
}

/// A Rollout that runs `current`, with `stable` before it; `status` and `spec` are laid over.
fn rollout(current: &str, stable: &str, spec: Value, status: Value) -> Rollout {
    let mut object = json!({
        "metadata": {"name": "shop", "uid": "r-1", "generation": 5},
        "spec": {"replicas": 3, "strategy": {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}}},
        "status": {
            "observedGeneration": "5", "phase": "Progressing", "message": "more replicas need to be updated",
            "currentPodHash": format!("hash-{current}"), "stableRS": format!("hash-{stable}"),
        },
    });
    for (part, changes) in [("spec", spec), ("status", status)] {
        for (key, value) in changes.as_object().unwrap() {
            object[part][key] = value.clone();
        }
    }
    serde_json::from_value(object).unwrap()
}

fn good(version: &str) -> PinArguments {
    PinArguments { good_version: Some(version.to_owned()), ..PinArguments::default() }
}

/// Says a judgement in a line.
fn judged(rollout: &Rollout, sets: &[ReplicaSet], pin: &PinArguments, may_resume: bool) -> String {
    match judge(rollout, sets, pin, may_resume, NOW.parse().unwrap()) {
        Judgement::Wait(why) => format!("wait: {why}"),
        Judgement::AlreadyThere { at, .. } => format!("there: {at}"),
        Judgement::Aborted { to, .. } => format!("aborted to {to}"),
        Judgement::Abort { why, .. } => why,
        Judgement::Undo { why, steps_again, .. } => {
            format!("{why}{}", if steps_again { " [again]" } else { "" })
        }
        Judgement::Refused { why, .. } => format!("refused: {why}"),
    }
}

#[test]
fn s2_04_abort_while_it_goes_on_and_undo_where_it_is_fully_promoted() {
    let none = || json!({});
    let sets = [set(1, "v1", 3), set(2, "v2", 1)];
    let gone = [set(1, "v1", 0), set(2, "v2", 3)];
    let cases: [(Rollout, &[ReplicaSet], &str); 12] = [
        (
            rollout("v2", "v1", none(), none()),
            &sets,
            "abort: the update to revision 2 (v2) goes on, back to revision 1 (v1); instant: its 3 pods are there",
        ),
        (
            rollout("v2", "v1", none(), json!({"phase": "Paused", "message": "CanaryPauseStep"})),
            &sets,
            "abort: the update to revision 2 (v2) goes on, back to revision 1 (v1); instant: its 3 pods are there",
        ),
        (
            rollout("v2", "v1", none(), json!({"abort": true, "phase": "Degraded"})),
            &sets,
            "aborted to revision 1 (v1)",
        ),
        (
            rollout("v2", "v1", none(), json!({"promoteFull": true})),
            &sets,
            "undo to revision 1 (v1): it is being promoted in full, where an abort is ignored; instant: its 3 pods are \
             there",
        ),
        (
            rollout("v2", "v2", none(), json!({"phase": "Healthy"})),
            &gone,
            "undo to revision 1 (v1): revision 2 (v2) is fully promoted; its 2 steps are gone through again [again]",
        ),
        (
            rollout("v2", "v2", json!({"rollbackWindow": {"revisions": 3}}), json!({"phase": "Healthy"})),
            &gone,
            "undo to revision 1 (v1): revision 2 (v2) is fully promoted; no steps: within the rollback window of 3 \
             revisions",
        ),
        (
            rollout("v2", "v2", json!({"strategy": {"canary": {}}}), json!({"phase": "Healthy"})),
            &gone,
            "undo to revision 1 (v1): revision 2 (v2) is fully promoted; there are no steps",
        ),
        (rollout("v1", "v1", none(), json!({"phase": "Healthy"})), &sets, "there: revision 1 (v1)"),
        // The way back goes on.
        (rollout("v1", "v2", none(), none()), &sets, "there: revision 1 (v1)"),
        (
            rollout("v1", "v2", none(), json!({"abort": true})),
            &sets,
            "refused: revision 1 (v1) is the good one, but its own update was aborted: 'kubectl argo rollouts retry \
             rollout shop' takes it up again",
        ),
        (
            rollout("v2", "v2", none(), none()),
            &gone[1..],
            "refused: nothing to undo to: revision 2 (v2) is all that the cluster knows of it",
        ),
        (
            rollout("v2", "v1", none(), json!({"observedGeneration": "4"})),
            &sets,
            "wait: the controller has not looked at the newest specification yet",
        ),
    ];
    for (rollout, sets, expected) in cases {
        assert_eq!(judged(&rollout, sets, &good("v1"), false), expected);
    }
}

#[test]
fn s2_04_an_abort_to_a_stable_version_that_is_not_the_good_one_is_no_rollback() {
    let sets = [set(1, "v1", 0), set(2, "v2", 3), set(3, "v3", 1)];
    let both_bad = rollout("v3", "v2", json!({}), json!({}));
    assert_eq!(
        judged(&both_bad, &sets, &good("v1"), false),
        "undo to revision 1 (v1): the stable ReplicaSet is not the good one; its 2 steps are gone through again [again]"
    );
    let bad = PinArguments { bad_version: Some("v3".to_owned()), ..PinArguments::default() };
    assert!(judged(&both_bad, &sets, &bad, false).starts_with("abort: "));
    let bad = PinArguments { bad_version: Some("v2".to_owned()), ..PinArguments::default() };
    assert_eq!(judged(&both_bad, &sets, &bad, false), "there: revision 3 (v3)");
    assert_eq!(
        judged(&both_bad, &sets, &good("v0"), false),
        "refused: nothing to undo to: none of revision 2 (v2), revision 1 (v1) is version v0"
    );
    assert!(judged(&both_bad, &sets, &PinArguments::default(), false).starts_with("refused: what the good"));
    let paused = rollout("v3", "v2", json!({"paused": true}), json!({}));
    assert!(judged(&paused, &sets, &good("v2"), false).starts_with("refused: the Rollout is paused"));
    assert!(judged(&paused, &sets, &good("v2"), true).starts_with("abort: "));
}

#[test]
fn s1_02_blue_green_says_whether_it_is_an_instant_switch_back_or_a_full_redeploy() {
    let blue_green =
        || json!({"strategy": {"blueGreen": {"activeService": "shop", "scaleDownDelaySeconds": 30}}});
    let promoted = rollout("v2", "v2", blue_green(), json!({"phase": "Healthy"}));
    let kept = |available, until| [kept_until(set(1, "v1", available), until), set(2, "v2", 3)];
    let cases = [
        (
            kept(3, "2026-11-21T12:00:20Z"),
            "instant switch-back: its 3 pods are kept until 2026-11-21T12:00:20Z",
        ),
        (kept(3, "2026-11-21T11:59:59Z"), "full redeploy: its pods are gone"),
        (kept(0, "2026-11-21T12:00:20Z"), "full redeploy: its pods are gone"),
        ([set(1, "v1", 0), set(2, "v2", 3)], "full redeploy: its pods are gone"),
    ];
    for (sets, expected) in cases {
        let found = judged(&promoted, &sets, &good("v1"), false);
        assert_eq!(found, format!("undo to revision 1 (v1): revision 2 (v2) is fully promoted; {expected}"));
    }
    // Switched, but the analysis after it has not passed yet: the old pods are the stable ones still.
    let switched = rollout("v2", "v1", blue_green(), json!({"blueGreen": {"activeSelector": "hash-v2"}}));
    let sets = [set(1, "v1", 3), set(2, "v2", 3)];
    let found = judged(&switched, &sets, &good("v1"), false);
    assert!(found.starts_with("abort: ") && found.ends_with("instant: its 3 pods are there"), "{found}");
    assert_eq!(
        aborted(
            &rollout(
                "v2",
                "v1",
                blue_green(),
                json!({"abort": true, "blueGreen": {"activeSelector": "hash-v2"}})
            ),
            &sets,
            false
        ),
        Seen::Moving("the active Service does not point to the stable pods yet".to_owned())
    );
    let back = json!({"abort": true, "phase": "Degraded", "blueGreen": {"activeSelector": "hash-v1"}});
    assert!(matches!(aborted(&rollout("v2", "v1", blue_green(), back), &sets, false), Seen::There(_)));
}

#[test]
fn s2_04_degraded_is_expected_after_an_abort_and_a_failure_after_an_undo() {
    let sets = [set(1, "v1", 3), set(2, "v2", 1)];
    let state = |current: &str, stable: &str, status: Value| rollout(current, stable, json!({}), status);
    let moving = |text: &str| Seen::Moving(text.to_owned());
    let degraded = json!({"abort": true, "phase": "Degraded", "message": "RolloutAborted: Rollout aborted update to revision 2"});
    let there =
        Seen::There("all traffic is on the stable pods; Degraded is expected after an abort".to_owned());
    assert_eq!(aborted(&state("v2", "v1", degraded), &sets, false), there);
    let weight = json!({"abort": true, "canary": {"weights": {"canary": {"weight": 10}}}});
    assert_eq!(
        aborted(&state("v2", "v1", weight), &sets, false),
        moving("the canary still has 10 % of the traffic")
    );
    let short = [set(1, "v1", 2), set(2, "v2", 1)];
    assert_eq!(
        aborted(&state("v2", "v1", json!({"abort": true})), &short, false),
        moving("2 of 3 stable pods are available")
    );
    assert_eq!(
        aborted(&state("v2", "v1", json!({})), &sets, false),
        moving("the abort is not in its status yet")
    );
    // The controller took the abort away, because the update had been fully promoted.
    assert_eq!(aborted(&state("v2", "v2", json!({"phase": "Healthy"})), &sets, false), Seen::Promoted);
    assert!(matches!(aborted(&state("v2", "v1", json!({})), &sets, true), Seen::FlippedBack(_)));

    let undone = |current: &str, stable: &str, status: Value, was_there| {
        undone(&state(current, stable, status), "hash-v1", was_there, Some("RolloutAborted"))
    };
    assert_eq!(undone("v1", "v1", json!({"phase": "Healthy"}), false), Seen::There("Healthy".to_owned()));
    assert!(matches!(undone("v1", "v2", json!({"phase": "Healthy"}), false), Seen::Moving(_)));
    assert_eq!(
        undone("v1", "v2", json!({"phase": "Degraded", "message": "ProgressDeadlineExceeded"}), false),
        Seen::Stuck("Degraded: ProgressDeadlineExceeded".to_owned())
    );
    // What it was before the undo.
    let aborted_before = json!({"phase": "Degraded", "message": "RolloutAborted"});
    assert!(matches!(undone("v1", "v2", aborted_before, false), Seen::Moving(_)));
    assert_eq!(
        undone("v1", "v2", json!({"phase": "Paused", "message": "CanaryPauseStep"}), false),
        moving("Paused: CanaryPauseStep; --promote-full skips the steps")
    );
    assert!(matches!(undone("v2", "v2", json!({"phase": "Healthy"}), false), Seen::Moving(_)));
    assert!(matches!(undone("v2", "v2", json!({"phase": "Healthy"}), true), Seen::FlippedBack(_)));
    let unseen = json!({"observedGeneration": "4", "phase": "Healthy"});
    assert!(matches!(undone("v1", "v1", unseen, false), Seen::Moving(_)));
}

#[test]
fn the_rollback_window_is_counted_as_the_controller_does() {
    let window = |revisions: usize| {
        rollout("v4", "v4", json!({"rollbackWindow": {"revisions": revisions}}), json!({}))
    };
    let sets = [set(1, "v1", 0), set(2, "v2", 0), set(3, "v3", 0), set(4, "v4", 3)];
    for (revisions, skips) in [(0, false), (1, false), (2, false), (3, true)] {
        let found = judged(&window(revisions), &sets, &good("v1"), false);
        assert_eq!(!found.ends_with("[again]"), skips, "{revisions}: {found}");
    }
    assert!(!judged(&window(1), &sets, &good("v3"), false).ends_with("[again]"));
}
