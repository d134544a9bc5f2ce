//! What is read of a Rollout: the fields that a judgement needs.
//!
//! Source: the API of `argoproj.io/v1alpha1`. What is zero or empty is left out there.

use serde::Deserialize;
use serde_json::Value;

use crate::cli::adapter::kubernetes::objects::{LabelSelector, Metadata};

/// A Rollout.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rollout {
    pub(super) metadata: Metadata,
    spec: Spec,
    pub(super) status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    replicas: Option<i64>,
    paused: bool,
    selector: Option<LabelSelector>,
    strategy: Strategy,
    rollback_window: Option<RollbackWindow>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Strategy {
    canary: Option<Canary>,
    blue_green: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Canary {
    steps: Vec<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RollbackWindow {
    revisions: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    observed_generation: String,
    pub(super) abort: bool,
    pub(super) promote_full: bool,
    pub(super) phase: String,
    pub(super) message: String,
    #[serde(rename = "stableRS")]
    pub(super) stable: String,
    #[serde(rename = "currentPodHash")]
    pub(super) current: String,
    blue_green: BlueGreenStatus,
    canary: CanaryStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BlueGreenStatus {
    active_selector: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct CanaryStatus {
    weights: Option<Weights>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Weights {
    canary: Weight,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Weight {
    weight: i64,
}

impl Rollout {
    /// Returns how many pods there should be; the API's default is one.
    pub(super) fn replicas(&self) -> i64 {
        self.spec.replicas.unwrap_or(1)
    }

    /// Returns whether somebody paused it by hand; a pause of its steps is something else.
    pub(super) fn is_paused(&self) -> bool {
        self.spec.paused
    }

    /// Returns the pods' labels as `kubectl --selector` takes them; empty where a Deployment that it refers to has them.
    pub(super) fn selector(&self) -> String {
        self.spec.selector.as_ref().map(LabelSelector::as_argument).unwrap_or_default()
    }

    pub(super) fn is_blue_green(&self) -> bool {
        self.spec.strategy.blue_green.is_some()
    }

    pub(super) fn steps(&self) -> usize {
        self.spec.strategy.canary.as_ref().map_or(0, |canary| canary.steps.len())
    }

    /// Returns how many revisions back an undo skips the steps.
    pub(super) fn rollback_window(&self) -> usize {
        self.spec.rollback_window.as_ref().map_or(0, |window| window.revisions)
    }

    /// Returns whether the controller has looked at the newest specification. Its status speaks of that one only then.
    pub(super) fn is_observed(&self) -> bool {
        // Controllers before 1.0 wrote a hash there, which says nothing to us.
        let observed: Option<i64> = self.status.observed_generation.parse().ok();
        !self.status.current.is_empty()
            && observed.is_none_or(|observed| observed >= self.metadata.generation)
    }

    /// Returns why it is degraded, if it is.
    pub(super) fn degraded(&self) -> Option<&str> {
        (self.status.phase == "Degraded").then_some(self.status.message.as_str())
    }

    /// Returns whether what is wanted is all that is served.
    pub(super) fn is_fully_promoted(&self) -> bool {
        self.status.stable == self.status.current
    }

    /// Returns the hash of the pods that a blue/green Rollout serves.
    pub(super) fn active(&self) -> &str {
        &self.status.blue_green.active_selector
    }

    /// Returns the canary's share of the traffic in percent, where a traffic router knows it.
    pub(super) fn canary_weight(&self) -> Option<i64> {
        self.status.canary.weights.as_ref().map(|weights| weights.canary.weight)
    }
}
