//! What is read of Kubernetes' objects: the fields that a judgement needs, and no others.
//!
//! The API server leaves out what is zero or empty, so everything has a default. Source: the API reference of `apps/v1`,
//! `v1` and `discovery.k8s.io/v1`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The label that the Deployment controller adds to the pods of one template.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// A list of objects.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli::adapter) struct List<T> {
    pub(in crate::cli::adapter) items: Vec<T>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli::adapter) struct Metadata {
    pub(in crate::cli::adapter) name: String,
    pub(in crate::cli::adapter) uid: String,
    pub(in crate::cli::adapter) generation: i64,
    pub(in crate::cli::adapter) resource_version: String,
    pub(in crate::cli::adapter) labels: BTreeMap<String, String>,
    pub(in crate::cli::adapter) annotations: BTreeMap<String, String>,
    pub(in crate::cli::adapter) owner_references: Vec<Owner>,
    /// RFC 3339 in UTC, to the second: the order of the texts is the order in time.
    pub(in crate::cli::adapter) creation_timestamp: Option<String>,
    pub(in crate::cli::adapter) deletion_timestamp: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli::adapter) struct Owner {
    uid: String,
}

impl Metadata {
    pub(in crate::cli::adapter) fn is_owned_by(&self, uid: &str) -> bool {
        !uid.is_empty() && self.owner_references.iter().any(|owner| owner.uid == uid)
    }

    /// Returns who keeps the object as it is written in Git, where that is marked on it.
    pub(in crate::cli::adapter) fn gitops(&self) -> Option<String> {
        let marks = [
            ("argocd.argoproj.io/tracking-id", "Argo CD"),
            ("argocd.argoproj.io/instance", "Argo CD"),
            ("kustomize.toolkit.fluxcd.io/name", "Flux"),
            ("helm.toolkit.fluxcd.io/name", "Flux"),
        ];
        marks.iter().find_map(|(mark, who)| {
            let value = self.annotations.get(*mark).or_else(|| self.labels.get(*mark))?;
            let name = value.split(':').next().unwrap_or_default();
            Some(format!("{who} ({name})"))
        })
    }
}

/// A Deployment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli::adapter) struct Deployment {
    pub(in crate::cli::adapter) metadata: Metadata,
    pub(in crate::cli::adapter) spec: DeploymentSpec,
    pub(in crate::cli::adapter) status: DeploymentStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli::adapter) struct DeploymentSpec {
    replicas: Option<i64>,
    pub(in crate::cli::adapter) paused: bool,
    pub(in crate::cli::adapter) selector: LabelSelector,
    pub(in crate::cli::adapter) template: Template,
}

impl DeploymentSpec {
    /// Returns how many pods there should be; the API's default is one.
    pub(in crate::cli::adapter) fn replicas(&self) -> i64 {
        self.replicas.unwrap_or(1)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli::adapter) struct LabelSelector {
    match_labels: BTreeMap<String, String>,
}

impl LabelSelector {
    /// Returns the labels as `kubectl --selector` takes them.
    pub(in crate::cli::adapter) fn as_argument(&self) -> String {
        selector_argument(&self.match_labels)
    }
}

/// Returns labels as `kubectl --selector` takes them.
pub(in crate::cli::adapter) fn selector_argument(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli::adapter) struct DeploymentStatus {
    pub(in crate::cli::adapter) observed_generation: i64,
    pub(in crate::cli::adapter) replicas: i64,
    pub(in crate::cli::adapter) updated_replicas: i64,
    pub(in crate::cli::adapter) available_replicas: i64,
    pub(in crate::cli::adapter) conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli::adapter) struct Condition {
    #[serde(rename = "lastUpdateTime")]
    pub(in crate::cli::adapter) updated_at: String,
    #[serde(rename = "type")]
    pub(in crate::cli::adapter) kind: String,
    pub(in crate::cli::adapter) status: String,
    pub(in crate::cli::adapter) reason: String,
    pub(in crate::cli::adapter) message: String,
}

/// A ReplicaSet: one revision of what owns it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli::adapter) struct ReplicaSet {
    pub(in crate::cli::adapter) metadata: Metadata,
    pub(in crate::cli::adapter) spec: ReplicaSetSpec,
    pub(in crate::cli::adapter) status: ReplicaSetStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli::adapter) struct ReplicaSetSpec {
    pub(in crate::cli::adapter) template: Template,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli::adapter) struct ReplicaSetStatus {
    pub(in crate::cli::adapter) available_replicas: i64,
}

/// A pod template, whole.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(in crate::cli::adapter) struct Template(Value);

impl Template {
    /// Returns a label of the pods.
    pub(in crate::cli::adapter) fn label(&self, key: &str) -> Option<&str> {
        self.0.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    /// Returns the image of the named container; without a name that of the pod's default container, as `kubectl logs`
    /// chooses it: the annotated one, else the first.
    pub(in crate::cli::adapter) fn image(&self, container: Option<&str>) -> Option<&str> {
        let annotations = self.0.get("metadata").and_then(|metadata| metadata.get("annotations"));
        let annotated = annotations
            .and_then(|annotations| annotations.get("kubectl.kubernetes.io/default-container"))
            .and_then(Value::as_str);
        let containers = self.0.get("spec")?.get("containers")?.as_array()?;
        let found = match container.or(annotated) {
            Some(name) => containers
                .iter()
                .find(|container| container.get("name").and_then(Value::as_str) == Some(name))?,
            None => containers.first()?,
        };
        found.get("image")?.as_str()
    }

    /// Returns whether both make the same pods, as the Deployment controller compares them: but for the hash label.
    pub(in crate::cli::adapter) fn is_same_as(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }

    fn essence(&self) -> Value {
        let mut value = self.0.clone();
        let labels = value.get_mut("metadata").and_then(|metadata| metadata.get_mut("labels"));
        if let Some(Value::Object(labels)) = labels {
            labels.remove(TEMPLATE_HASH);
        }
        without_empty(value)
    }
}

/// Returns the value without fields that are null or empty: to the API server those are the same as absent ones.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, without_empty(value)));
            let is_there = |(_, value): &(String, Value)| match value {
                Value::Null => false,
                Value::Object(fields) => !fields.is_empty(),
                Value::Array(items) => !items.is_empty(),
                _ => true,
            };
            Value::Object(fields.filter(is_there).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_empty).collect()),
        other => other,
    }
}

/// A Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli::adapter) struct Service {
    pub(in crate::cli::adapter) metadata: Metadata,
    pub(in crate::cli::adapter) spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli::adapter) struct ServiceSpec {
    pub(in crate::cli::adapter) selector: BTreeMap<String, String>,
}

/// A pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli::adapter) struct Pod {
    pub(in crate::cli::adapter) metadata: Metadata,
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    conditions: Vec<Condition>,
}

impl Pod {
    /// Returns whether the pod takes traffic: ready, and not on its way out.
    pub(in crate::cli::adapter) fn is_ready(&self) -> bool {
        let is_ready = |condition: &Condition| condition.kind == "Ready" && condition.status == "True";
        self.metadata.deletion_timestamp.is_none() && self.status.conditions.iter().any(is_ready)
    }
}

/// A part of a Service's endpoints.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli::adapter) struct EndpointSlice {
    // Null where there are none.
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Endpoint {
    conditions: EndpointConditions,
    target_ref: Option<TargetRef>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointConditions {
    ready: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TargetRef {
    name: String,
}

impl EndpointSlice {
    /// Returns the names of what takes traffic. Not known is to be read as ready, says the API.
    pub(in crate::cli::adapter) fn ready(&self) -> impl Iterator<Item = &str> {
        let is_ready = |endpoint: &&Endpoint| endpoint.conditions.ready != Some(false);
        self.endpoints
            .iter()
            .flatten()
            .filter(is_ready)
            .map(|endpoint| endpoint.target_ref.as_ref().map_or("", |target| target.name.as_str()))
    }
}
