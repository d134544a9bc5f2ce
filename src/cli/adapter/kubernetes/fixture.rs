//! Objects as `kubectl get --output=json` shows them, for the tests of this module.

use serde_json::{Value, json};

use super::objects::{Deployment, ReplicaSet};

/// An image of that tag, or with that digest.
fn template(version: &str, hash: Option<&str>) -> Value {
    let image =
        if version.starts_with('@') { format!("shop/web{version}") } else { format!("shop/web:{version}") };
    let mut labels = json!({"app": "web", "app.kubernetes.io/version": version});
    if let Some(hash) = hash {
        labels["pod-template-hash"] = hash.into();
    }
    json!({
        "metadata": {"creationTimestamp": null, "labels": labels},
        "spec": {
            "containers": [
                {"name": "web", "image": image, "resources": {}},
                {"name": "proxy", "image": "mesh/proxy:v1"},
            ],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    })
}

/// A Deployment of three pods that runs `version` and is at rest.
pub(in crate::cli::adapter) fn deployment(name: &str, version: &str) -> Deployment {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "uid": "d-1", "generation": 4, "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template(version, None)},
        "status": {
            "observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "conditions": [{"type": "Available", "status": "True"}],
        },
    });
    serde_json::from_value(object).unwrap()
}

/// A ReplicaSet of that Deployment.
pub(in crate::cli::adapter) fn replica_set(number: &str, earlier: &str, version: &str) -> ReplicaSet {
    let object = json!({
        "metadata": {
            "name": format!("web-{version}"),
            "annotations": {
                "deployment.kubernetes.io/revision": number,
                "deployment.kubernetes.io/revision-history": earlier,
            },
            "ownerReferences": [{"kind": "Deployment", "uid": "d-1", "controller": true}],
        },
        "spec": {"replicas": 0, "template": template(version, Some("6b7f"))},
        "status": {"replicas": 0},
    });
    serde_json::from_value(object).unwrap()
}
