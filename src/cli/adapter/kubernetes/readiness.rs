//! Whether a Deployment has become what it was told to be: the judgement of reading back.

use super::objects::{Deployment, Template};

/// How far a Deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// All pods are of the wanted template and available; no others are left.
    Complete,
    /// Not yet, and what is missing.
    Moving(String),
    /// Will not become so by itself.
    Stuck(String),
    /// Its template is another one again.
    FlippedBack,
}

/// Returns how far the Deployment is on its way to `wanted`.
///
/// The counts are those that `kubectl rollout status` goes by. A Deployment without pods is complete at once, as there.
pub(super) fn readiness(deployment: &Deployment, wanted: &Template) -> Readiness {
    let (spec, status) = (&deployment.spec, &deployment.status);
    if !spec.template.is_same_as(wanted) {
        return Readiness::FlippedBack;
    }
    if spec.paused {
        return Readiness::Stuck("it is paused".to_owned());
    }
    if status.observed_generation < deployment.metadata.generation {
        return Readiness::Moving("its controller has not seen the change yet".to_owned());
    }
    let gave_up = status
        .conditions
        .iter()
        .find(|condition| condition.kind == "Progressing" && condition.reason == "ProgressDeadlineExceeded");
    if let Some(condition) = gave_up {
        return Readiness::Stuck(format!("it exceeded its progress deadline: {}", condition.message));
    }
    let replicas = spec.replicas();
    if status.updated_replicas < replicas {
        return Readiness::Moving(format!("{} of {replicas} pods are updated", status.updated_replicas));
    }
    if status.replicas > status.updated_replicas {
        let old = status.replicas - status.updated_replicas;
        return Readiness::Moving(format!("{old} old pods are still there"));
    }
    if status.available_replicas < status.updated_replicas {
        let available = status.available_replicas;
        return Readiness::Moving(format!("{available} of {} pods are available", status.updated_replicas));
    }
    Readiness::Complete
}

#[cfg(test)]
mod tests {
    use super::super::fixture::deployment;
    use super::super::objects::Condition;
    use super::*;

    #[test]
    fn a_rollout_is_complete_when_no_old_pod_is_left_and_all_are_available() {
        type Change = fn(&mut Deployment);
        let moving = |text: &str| Readiness::Moving(text.to_owned());
        let cases: [(Change, Readiness); 8] = [
            (|_| {}, Readiness::Complete),
            (|web| web.metadata.generation = 5, moving("its controller has not seen the change yet")),
            (|web| web.status.updated_replicas = 1, moving("1 of 3 pods are updated")),
            (|web| web.status.replicas = 4, moving("1 old pods are still there")),
            (|web| web.status.available_replicas = 2, moving("2 of 3 pods are available")),
            (|web| web.spec.paused = true, Readiness::Stuck("it is paused".to_owned())),
            (
                |web| {
                    web.status.conditions.push(Condition {
                        kind: "Progressing".to_owned(),
                        status: "False".to_owned(),
                        reason: "ProgressDeadlineExceeded".to_owned(),
                        message: "ReplicaSet \"web-1\" has timed out progressing.".to_owned(),
                    });
                },
                Readiness::Stuck(
                    "it exceeded its progress deadline: ReplicaSet \"web-1\" has timed out progressing."
                        .to_owned(),
                ),
            ),
            (|web| web.spec.template = deployment("web", "v2").spec.template, Readiness::FlippedBack),
        ];
        let wanted = deployment("web", "v1").spec.template;
        for (change, expected) in cases {
            let mut web = deployment("web", "v1");
            change(&mut web);
            assert_eq!(readiness(&web, &wanted), expected);
        }
    }
}
