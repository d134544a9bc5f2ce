//! Deployments, Services and replicas, as platforms have them and as their scripts got them wrong.

use serde_json::{Value, json};

use crate::bench::{Answer, Bench};

fn template(version: &str, hash: Option<&str>) -> Value {
    let mut labels = json!({"app": "web"});
    if let Some(hash) = hash {
        labels["pod-template-hash"] = hash.into();
    }
    json!({
        "metadata": {"creationTimestamp": null, "labels": labels},
        "spec": {"containers": [{"name": "web", "image": format!("shop/web:{version}"), "resources": {}}]},
    })
}

/// A Deployment of three pods at rest.
fn deployment(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "generation": 4},
        "spec": {
            "paused": false, "replicas": 3, "selector": {"matchLabels": {"app": name}},
            "template": template(version, None),
        },
        "status": {"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3},
    })
}

fn replica_set(name: &str, revision: u64, earlier: &str, version: &str) -> Value {
    json!({
        "metadata": {
            "name": format!("{name}-{version}"),
            "annotations": {
                "deployment.kubernetes.io/revision": revision.to_string(),
                "deployment.kubernetes.io/revision-history": earlier,
            },
            "ownerReferences": [{"kind": "Deployment", "uid": format!("uid-{name}")}],
        },
        "spec": {"template": template(version, Some(version))},
    })
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// A Deployment that went from v1 to v2, and what becomes of it when it is undone.
fn deployed(bench: &Bench, name: &str) {
    bench.put(&format!("deployment/{name}.json"), &deployment(name, "v2"));
    bench.put(
        &format!("replicasets/app={name}.json"),
        &list(&[replica_set(name, 1, "", "v1"), replica_set(name, 2, "", "v2")]),
    );
    let mut moving = deployment(name, "v1");
    moving["metadata"]["generation"] = 5.into();
    bench.put(&format!("after/undo-{name}/deployment/{name}.json"), &moving);
    bench.put(
        &format!("after/undo-{name}/replicasets/app={name}.json"),
        &list(&[replica_set(name, 3, "1", "v1"), replica_set(name, 2, "", "v2")]),
    );
    moving["status"]["observedGeneration"] = 5.into();
    moving["status"]["updatedReplicas"] = 1.into();
    bench.put(&format!("after/undo-{name}.2/deployment/{name}.json"), &moving);
    bench.put(&format!("after/undo-{name}.3/deployment/{name}.json"), &deployment(name, "v1"));
}

fn paused(bench: &Bench, name: &str) {
    let mut object = deployment(name, "v2");
    object["spec"]["paused"] = true.into();
    bench.put(&format!("deployment/{name}.json"), &object);
    bench.put(&format!("after/resume-{name}/deployment/{name}.json"), &deployment(name, "v2"));
}

#[track_caller]
fn undo(bench: &Bench, arguments: &[&str]) -> Answer {
    let kubectl = bench.path("kubectl");
    let mut all = vec!["kubernetes", "undo", "--kubectl", kubectl.to_str().expect("UTF-8")];
    all.extend(arguments);
    bench.run(&all)
}

#[test]
fn s1_08_an_undo_goes_to_the_pinned_revision_once_and_is_seen_to_hold() {
    let bench = Bench::new();
    deployed(&bench, "web");
    let pins = ["--good-version", "v1", "--bad-version", "v2", "web"];
    let would = undo(&bench, &[&["--check"], &pins[..]].concat());
    would.is(0, "would_do", "would undo to revision 1 (v1), 3 pods");
    assert!(bench.changes().is_empty(), "{:?}", bench.changes());
    let done = undo(&bench, &pins);
    done.is(0, "done", "all 3 pods run it and are available");
    assert_eq!((done.text("from"), done.text("to")), ("revision 2 (v2)", "revision 1 (v1)"));
    assert_eq!(
        (done.text("adapter"), done.text("action"), done.text("target")),
        ("kubernetes", "undo", "web")
    );
    // Called again, a plain `kubectl rollout undo` would go forward to v2.
    undo(&bench, &pins).is(0, "already_there", "the good one already");
    undo(&bench, &["--to-revision", "1", "web"]).is(0, "already_there", "");
    assert_eq!(bench.changes(), ["rollout undo deployment/web --to-revision=1"]);
}

#[test]
fn s1_08_s4_07_what_the_platforms_got_wrong_is_found_by_a_check_and_refused_by_a_run() {
    for check in [&["--check"][..], &[]] {
        let bench = Bench::new();
        deployed(&bench, "web");
        paused(&bench, "web");
        let run = |arguments: &[&str]| undo(&bench, &[check, arguments].concat());
        run(&["--good-version", "v1", "web"]).is(
            1,
            "refused",
            "resume it first with 'kubectl rollout resume deployment/web'",
        );
        run(&["--good-version", "v1", "traider-frontend"]).is(
            1,
            "failed",
            "Error from server (NotFound): deployments.apps \"traider-frontend\" not found",
        );
        // A first revision.
        bench.put("deployment/green.json", &deployment("green", "v2"));
        bench.put("replicasets/app=green.json", &list(&[replica_set("green", 1, "", "v2")]));
        let green = run(&["--good-version", "v1", "green"]);
        green.is(1, "refused", "nothing to undo to: revision 1 (v2) is all that the cluster knows of it");
        assert_eq!(green.text("from"), "revision 1 (v2)");
        // What a plan does not know comes as an empty text.
        run(&["--good-version", "", "--bad-version", "", "green"]).is(1, "refused", "is not known");
        assert!(bench.changes().is_empty(), "{:?}", bench.changes());
    }
}

#[test]
fn s1_08_the_stand_in_refuses_what_kubectl_refuses() {
    // Should a judgement ever let these through, the tests above would see what an incident would.
    let bench = Bench::new();
    deployed(&bench, "web");
    paused(&bench, "web");
    let said = |words: &[&str]| {
        let output = std::process::Command::new(bench.path("kubectl")).args(words).output().expect("runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    };
    let undo = ["rollout", "undo", "deployment/web"];
    let paused = "error: you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again";
    assert_eq!(said(&[&undo[..], &["--to-revision=1"]].concat()), paused);
    assert_eq!(said(&undo), paused);
    let missing = said(&[&undo[..], &["--to-revision=7"]].concat());
    assert_eq!(missing, "error: unable to find specified revision 7 in history");
    bench.put("replicasets/app=web.json", &list(&[replica_set("web", 1, "", "v2")]));
    assert_eq!(said(&undo), "error: no rollout history found for deployment \"web\"");
}

#[test]
fn s1_08_a_paused_deployment_is_resumed_where_that_is_asked_for() {
    let bench = Bench::new();
    deployed(&bench, "web");
    paused(&bench, "web");
    let pins = ["--resume-paused", "--good-version", "v1", "web"];
    undo(&bench, &[&["--check"], &pins[..]].concat()).is(0, "would_do", "would resume it, then undo to");
    undo(&bench, &pins).is(0, "done", "");
    assert_eq!(
        bench.changes(),
        ["rollout resume deployment/web", "rollout undo deployment/web --to-revision=1"]
    );
}

#[test]
fn a_flip_back_by_gitops_is_a_failure_that_says_so() {
    let bench = Bench::new();
    deployed(&bench, "web");
    let mut back = deployment("web", "v2");
    back["metadata"]["annotations"] =
        json!({"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"});
    bench.put("after/undo-web.4/deployment/web.json", &back);
    let flipped = undo(&bench, &["--watch", "10s", "--good-version", "v1", "web"]);
    flipped.is(1, "flipped_back", "Argo CD (shop) keeps it so");
    assert_eq!(bench.changes(), ["rollout undo deployment/web --to-revision=1"], "it is not fought over");
    // And before an incident a check says that this may happen.
    undo(&bench, &["--check", "--good-version", "v1", "web"]).is(0, "would_do", "may set it back");
}

#[test]
fn s4_07_several_deployments_are_undone_all_or_none_and_told_one_by_one() {
    let bench = Bench::new();
    deployed(&bench, "frontend");
    deployed(&bench, "backend");
    let both = undo(&bench, &["--good-version", "v1", "frontend", "backend"]);
    both.is(0, "done", "frontend: all 3 pods");
    assert_eq!(both.json["targets"].as_array().map(Vec::len), Some(2));
    assert_eq!(bench.changes().len(), 2);

    let bench = Bench::new();
    deployed(&bench, "backend");
    let pins = ["--good-version", "v1", "traider-frontend", "backend"];
    let none = undo(&bench, &pins);
    none.is(1, "failed", "traider-frontend: Error from server (NotFound)");
    assert_eq!(none.json["targets"][1]["result"], "not_tried");
    assert!(bench.changes().is_empty(), "half of a rollback is made only where it is asked for");
    let half = undo(&bench, &[&["--partial"], &pins[..]].concat());
    half.is(1, "partial", "");
    assert_eq!(half.json["targets"][0]["result"], "failed");
    assert_eq!(half.json["targets"][1]["result"], "done");
}

#[test]
fn s4_07_a_failure_on_the_way_is_told_of_its_target_and_the_others_go_on() {
    let bench = Bench::new();
    deployed(&bench, "frontend");
    deployed(&bench, "backend");
    bench.write(
        "fail/undo-frontend",
        "Error from server (Forbidden): deployments.apps \"frontend\" is forbidden\n",
    );
    let answer = undo(&bench, &["--good-version", "v1", "frontend", "backend"]);
    answer.is(1, "partial", "frontend: Error from server (Forbidden)");
    assert_eq!(answer.json["targets"][1]["result"], "done");
}

#[test]
fn what_may_pass_is_tried_again_and_ends_as_such() {
    let bench = Bench::new();
    deployed(&bench, "web");
    let refused =
        "The connection to the server 10.0.0.1:443 was refused - did you specify the right host or port?\n";
    bench.write("fail/get-web", refused);
    bench.write("fail/undo-web", refused);
    undo(&bench, &["--good-version", "v1", "web"]).is(0, "done", "");

    // For ever.
    let bench = Bench::new();
    bench.write("fail/get-web", refused);
    let answer = bench.run(&[
        "kubernetes",
        "undo",
        "--kubectl",
        "/bin/false",
        "--timeout",
        "5s",
        "--good-version",
        "v1",
        "web",
    ]);
    answer.is(1, "failed", "failed without a word");
    let slow = bench.path("slow");
    std::fs::write(&slow, "#!/bin/sh\nexec sleep 60\n").expect("written");
    std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    let slow = slow.to_str().expect("UTF-8");
    bench
        .run(&["kubernetes", "undo", "--kubectl", slow, "--timeout", "300ms", "--good-version", "v1", "web"])
        .is(75, "retry", "did not answer within");
    bench.run(&["kubernetes", "undo", "--kubectl", "/no/kubectl", "--good-version", "v1", "web"]).is(
        1,
        "failed",
        "/no/kubectl cannot be run",
    );
}

#[test]
fn an_undo_that_does_not_become_complete_is_a_failure() {
    let bench = Bench::new();
    deployed(&bench, "web");
    let mut stuck = deployment("web", "v1");
    stuck["status"]["availableReplicas"] = 1.into();
    bench.put("after/undo-web.3/deployment/web.json", &stuck);
    undo(&bench, &["--timeout", "700ms", "--good-version", "v1", "web"]).is(
        1,
        "failed",
        "1 of 3 pods are available",
    );
    stuck["status"]["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]);
    bench.put("deployment/web.json", &stuck);
    undo(&bench, &["--good-version", "v1", "web"]).is(
        1,
        "failed",
        "exceeded its progress deadline: timed out",
    );
}

#[test]
fn a_missing_permission_is_found_by_a_check() {
    let bench = Bench::new();
    deployed(&bench, "web");
    bench.write("forbidden", "");
    undo(&bench, &["--check", "--good-version", "v1", "web"]).is(
        1,
        "failed",
        "not permitted to patch deployments/web",
    );
}

fn pods(name: &str, ready: &str) -> Value {
    list(&[json!({
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })])
}

/// A Service on green pods, with blue ones beside them.
fn blue_green(bench: &Bench) {
    let service = |version: &str| {
        json!({
            "metadata": {"name": "shop", "resourceVersion": "77"},
            "spec": {"selector": {"app": "shop", "version": version}},
        })
    };
    let endpoints = |name: &str| {
        list(&[
            json!({"endpoints": [{"conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": name}}]}),
        ])
    };
    bench.put("service/shop.json", &service("green"));
    bench.put("pods/app=shop,version=blue.json", &pods("blue-1", "True"));
    bench.put("pods/app=shop,version=green.json", &pods("green-1", "True"));
    bench.put("endpointslices/any.json", &endpoints("green-1"));
    bench.put("after/patch-shop/service/shop.json", &service("blue"));
    bench.put("after/patch-shop.3/endpointslices/any.json", &endpoints("blue-1"));
}

#[track_caller]
fn switch(bench: &Bench, arguments: &[&str]) -> Answer {
    let kubectl = bench.path("kubectl");
    let mut all = vec!["kubernetes", "switch-service", "--kubectl", kubectl.to_str().expect("UTF-8")];
    all.extend(["shop", "--to"]);
    all.extend(arguments);
    bench.run(&all)
}

#[test]
fn s1_09_a_service_is_never_pointed_at_nothing() {
    let bench = Bench::new();
    blue_green(&bench);
    switch(&bench, &["weight=10"]).is(1, "refused", "weight=10 matches 0 pods, 0 of them ready");
    switch(&bench, &["version=blue", "--min-ready", "2"]).is(1, "refused", "2 needed");
    bench.put("pods/app=shop,version=blue.json", &pods("blue-1", "False"));
    switch(&bench, &["version=blue"]).is(1, "refused", "matches 1 pods, 0 of them ready");
    // Deleted by the clean-up of the deployment before.
    bench.put("pods/app=shop,version=blue.json", &list(&[]));
    switch(&bench, &["version=blue", "--check"]).is(1, "refused", "matches 0 pods");
    assert!(bench.changes().is_empty(), "{:?}", bench.changes());
}

#[test]
fn s1_08_a_service_is_switched_and_its_endpoints_follow() {
    let bench = Bench::new();
    blue_green(&bench);
    switch(&bench, &["version=blue", "--check"]).is(0, "would_do", "matches 1 pods, 1 of them ready");
    // Somebody else was faster: it is read and judged anew.
    bench.write("fail/patch-shop", "Error from server (Conflict): Operation cannot be fulfilled on services \"shop\": the object has been modified; please apply your changes to the latest version and try again\n");
    let done = switch(&bench, &["version=blue"]);
    done.is(0, "done", "1 ready endpoints");
    assert_eq!((done.text("from"), done.text("to")), ("app=shop,version=green", "app=shop,version=blue"));
    let patch = "patch service shop --type=merge --patch={\"metadata\":{\"resourceVersion\":\"77\"},\
                 \"spec\":{\"selector\":{\"app\":\"shop\",\"version\":\"blue\"}}}";
    assert_eq!(bench.changes(), [patch, patch]);
    switch(&bench, &["version=blue"]).is(0, "already_there", "");
}

#[test]
fn s1_08_scaling_out_waits_for_the_pods_and_notices_an_autoscaler() {
    let bench = Bench::new();
    let kubectl = bench.path("kubectl");
    let kubectl = kubectl.to_str().expect("UTF-8");
    let scale = |arguments: &[&str]| {
        let fixed = ["kubernetes", "scale", "--kubectl", kubectl, "--watch", "200ms", "blue"];
        bench.run(&[&fixed[..], arguments].concat())
    };
    let sized = |wanted: i64, available: i64| {
        let mut object = deployment("blue", "v1");
        object["spec"]["replicas"] = wanted.into();
        object["status"]["availableReplicas"] = available.into();
        object
    };
    bench.put("deployment/blue.json", &sized(3, 3));
    bench.put("after/scale-blue/deployment/blue.json", &sized(5, 3));
    bench.put("after/scale-blue.2/deployment/blue.json", &sized(5, 5));
    scale(&["--replicas", "5", "--check"]).is(0, "would_do", "would scale 3 to 5");
    scale(&["--replicas", "5"]).is(0, "done", "5 pods are available");
    assert_eq!(bench.changes(), ["scale deployment/blue --current-replicas=3 --replicas=5"]);
    scale(&["--replicas", "4"]).is(0, "already_there", "5 pods are available");
    bench.put("after/scale-blue.2/deployment/blue.json", &sized(5, 5));
    bench.put("deployment/blue.json", &sized(3, 3));
    bench.put("after/scale-blue.3/deployment/blue.json", &sized(3, 3));
    scale(&["--replicas", "5"]).is(1, "flipped_back", "set back to 3 replicas");
}
