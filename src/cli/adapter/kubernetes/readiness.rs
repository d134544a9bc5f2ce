//! Whether a Deployment has become what it was told to be: the judgement of reading back.

use super::objects::{Condition, Deployment, Template};

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

/// Returns when the controller gave the rollout up, and what it said then.
pub(super) fn gave_up(deployment: &Deployment) -> Option<&Condition> {
    let gave_up = |condition: &&Condition| {
        condition.kind == "Progressing" && condition.reason == "ProgressDeadlineExceeded"
    };
    deployment.status.conditions.iter().find(gave_up)
}

/// Returns how far the Deployment is on its way to `wanted`.
///
/// `gave_up_before` is when the controller gave up the rollout *before* a change. That condition stays for a moment after an
/// undo, until there is progress, and says nothing of it.
///
/// The counts are those that `kubectl rollout status` goes by. A Deployment without pods is complete at once, as there.
pub(super) fn readiness(
    deployment: &Deployment,
    wanted: &Template,
    gave_up_before: Option<&str>,
) -> Readiness {
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
    let given_up =
        gave_up(deployment).filter(|condition| gave_up_before != Some(condition.updated_at.as_str()));
    if let Some(condition) = given_up {
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
                        updated_at: String::new(),
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
            assert_eq!(readiness(&web, &wanted, None), expected);
        }
    }

    #[test]
    fn that_the_bad_rollout_was_given_up_says_nothing_of_the_undo() {
        let mut web = deployment("web", "v1");
        web.status.updated_replicas = 2;
        web.status.conditions.push(Condition {
            kind: "Progressing".to_owned(),
            reason: "ProgressDeadlineExceeded".to_owned(),
            updated_at: "2026-11-21T12:00:00Z".to_owned(),
            ..Condition::default()
        });
        let wanted = web.spec.template.clone();
        assert!(matches!(readiness(&web, &wanted, Some("2026-11-21T12:00:00Z")), Readiness::Moving(_)));
        assert!(matches!(readiness(&web, &wanted, Some("2026-11-21T11:00:00Z")), Readiness::Stuck(_)));
    }
}
