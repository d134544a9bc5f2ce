//! Rollouts: abort while an update goes on, undo where it is over.

use serde_json::{Value, json};

use crate::bench::{Answer, Bench};

fn replica_sets(v1: u64, v2: u64) -> Value {
    let set = |version: &str, number: u64, day: u64| {
        json!({
            "metadata": {
                "creationTimestamp": format!("2026-11-{day}T00:00:00Z"),
                "labels": {"rollouts-pod-template-hash": format!("hash-{version}")},
                "annotations": {"rollout.argoproj.io/revision": number.to_string()},
                "ownerReferences": [{"kind": "Rollout", "uid": "r-1"}],
            },
            "spec": {"template": {"spec": {"containers": [{"name": "shop", "image": format!("shop:{version}")}]}}},
            "status": {"availableReplicas": 3},
        })
    };
    json!({"items": [set("v1", v1, 11), set("v2", v2, 12)]})
}

fn rollout(current: &str, stable: &str, status: &Value) -> Value {
    let mut object = json!({
        "metadata": {"name": "shop", "uid": "r-1", "generation": 5},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "shop"}},
            "strategy": {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}},
        },
        "status": {
            "observedGeneration": "5", "currentPodHash": format!("hash-{current}"),
            "stableRS": format!("hash-{stable}"), "phase": "Progressing",
        },
    });
    for (key, value) in status.as_object().expect("an object") {
        object["status"][key] = value.clone();
    }
    object
}

const NAME: &str = "rollouts.argoproj.io/shop.json";

fn bench(object: &Value) -> Bench {
    let bench = Bench::new();
    bench.put(NAME, object);
    bench.put("replicasets/app=shop.json", &replica_sets(1, 2));
    bench
}

fn after(bench: &Bench, what: &str, object: &Value) {
    bench.put(&format!("after/{what}/{NAME}"), object);
}

#[track_caller]
fn undo(bench: &Bench, arguments: &[&str]) -> Answer {
    let kubectl = bench.path("kubectl");
    let mut all = vec!["argo-rollouts", "undo", "--kubectl", kubectl.to_str().expect("UTF-8")];
    all.extend(["--good-version", "v1", "shop"]);
    all.extend(arguments);
    bench.run(&all)
}

fn degraded() -> Value {
    json!({"abort": true, "phase": "Degraded", "message": "RolloutAborted: Rollout aborted update to revision 2"})
}

#[test]
fn s2_04_an_update_that_goes_on_is_aborted_and_degraded_is_what_is_expected() {
    let bench = bench(&rollout("v2", "v1", &json!({"canary": {"weights": {"canary": {"weight": 10}}}})));
    after(&bench, "abort-shop.2", &rollout("v2", "v1", &degraded()));
    undo(&bench, &["--check"]).is(0, "would_do", "would abort: the update to revision 2 (v2) goes on");
    assert!(bench.changes().is_empty());
    let done = undo(&bench, &[]);
    done.is(0, "done", "Degraded is expected after an abort");
    assert_eq!((done.text("from"), done.text("to")), ("revision 2 (v2)", "revision 1 (v1)"));
    assert_eq!(bench.changes(), ["argo rollouts abort shop"]);
    undo(&bench, &[]).is(0, "already_there", "");
}

#[test]
fn s2_04_a_fully_promoted_update_is_undone_and_has_to_be_healthy() {
    let bench = bench(&rollout("v2", "v2", &json!({"phase": "Healthy"})));
    after(
        &bench,
        "undo-shop.2",
        &rollout("v1", "v2", &json!({"phase": "Paused", "message": "CanaryPauseStep"})),
    );
    after(&bench, "undo-shop.4", &rollout("v1", "v1", &json!({"phase": "Healthy"})));
    let done = undo(&bench, &["--promote-full"]);
    done.is(0, "done", "its 2 steps are gone through again; Healthy");
    assert_eq!(
        bench.changes(),
        ["argo rollouts undo shop --to-revision=1", "argo rollouts promote shop --full"]
    );
}

#[test]
fn s2_04_an_abort_that_came_too_late_is_followed_by_an_undo() {
    let bench = bench(&rollout("v2", "v1", &json!({})));
    // The controller takes the abort away.
    after(&bench, "abort-shop", &rollout("v2", "v2", &json!({"phase": "Healthy"})));
    after(&bench, "undo-shop", &rollout("v1", "v1", &json!({"phase": "Healthy"})));
    undo(&bench, &[]).is(0, "done", "is fully promoted");
    assert_eq!(bench.changes(), ["argo rollouts abort shop", "argo rollouts undo shop --to-revision=1"]);
}

#[test]
fn s2_04_a_skipped_rollback_exits_with_0_and_is_no_rollback() {
    let bench = bench(&rollout("v2", "v2", &json!({"phase": "Healthy"})));
    bench.write("skips", "");
    undo(&bench, &[]).is(1, "failed", "still not the good one");
    // It was only the status that had not caught up.
    let bench = self::bench(&rollout("v2", "v2", &json!({"phase": "Healthy"})));
    bench.write("skips", "");
    after(&bench, "undo-shop", &rollout("v1", "v1", &json!({"phase": "Healthy"})));
    undo(&bench, &[]).is(0, "already_there", "Healthy");
}

#[test]
fn s2_04_a_rollout_that_degrades_after_its_undo_or_flips_back_is_a_failure() {
    let bench = bench(&rollout("v2", "v2", &json!({"phase": "Healthy"})));
    let broken =
        json!({"phase": "Degraded", "message": "ProgressDeadlineExceeded: ReplicaSet has timed out"});
    after(&bench, "undo-shop", &rollout("v1", "v2", &broken));
    undo(&bench, &[]).is(1, "failed", "ProgressDeadlineExceeded");

    let bench = self::bench(&rollout("v2", "v2", &json!({"phase": "Healthy"})));
    after(&bench, "undo-shop", &rollout("v1", "v1", &json!({"phase": "Healthy"})));
    after(&bench, "undo-shop.3", &rollout("v2", "v1", &json!({})));
    undo(&bench, &["--watch", "10s"]).is(1, "flipped_back", "make the change in Git");
    assert_eq!(bench.changes(), ["argo rollouts undo shop --to-revision=1"]);
}

#[test]
fn a_missing_plugin_is_found_by_a_check() {
    let bench = bench(&rollout("v2", "v1", &json!({})));
    bench.write("no-plugin", "");
    undo(&bench, &["--check"]).is(1, "failed", "the plugin kubectl-argo-rollouts must be in the PATH");
    undo(&bench, &[]).is(1, "failed", "kubectl-argo-rollouts");
}

#[test]
fn a_paused_rollout_is_resumed_only_after_it_was_aborted() {
    let mut object = rollout("v2", "v1", &json!({}));
    object["spec"]["paused"] = true.into();
    let bench = bench(&object);
    after(&bench, "abort-shop", &rollout("v2", "v1", &degraded()));
    undo(&bench, &[]).is(1, "refused", "give --resume-paused");
    undo(&bench, &["--resume-paused"]).is(0, "done", "");
    let resume = "patch rollouts.argoproj.io shop --type=merge --patch={\"spec\":{\"paused\":false}}";
    assert_eq!(bench.changes(), ["argo rollouts abort shop", resume]);
}
