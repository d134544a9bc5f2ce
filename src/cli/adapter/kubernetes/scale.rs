//! `scale`: brings a Deployment to at least so many replicas. In an incident nobody wants fewer by accident.

use tokio::time::Instant;

use super::kubectl::{Kubectl, object_name};
use super::objects::Deployment;
use crate::cli::adapter::budget::ConductArguments;
use crate::cli::adapter::report::{Ending, Outcome, Trouble};

/// What `scale` takes.
#[derive(Debug, clap::Args)]
pub(super) struct ScaleArguments {
    /// The Deployment
    #[arg(value_name = "DEPLOYMENT", value_parser = object_name)]
    deployment: String,
    /// How many there should be at least
    #[arg(long, value_name = "N")]
    replicas: u32,
    /// Exactly so many: go down, too, and to none
    #[arg(long)]
    exactly: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Judgement {
    /// It has that many, or more.
    AlreadyThere,
    /// The number is to be changed from what was read.
    Scale {
        from: i64,
    },
    Refused(String),
}

fn judge(deployment: &Deployment, wanted: i64, exactly: bool) -> Judgement {
    let from = deployment.spec.replicas();
    if wanted == 0 && !exactly {
        return Judgement::Refused("at least 0 replicas is no demand; --exactly takes all away".to_owned());
    }
    let is_there = if exactly { from == wanted } else { from >= wanted };
    if is_there { Judgement::AlreadyThere } else { Judgement::Scale { from } }
}

/// Returns what is missing, if anything is.
fn missing(deployment: &Deployment, wanted: i64) -> Option<String> {
    let status = &deployment.status;
    if status.observed_generation < deployment.metadata.generation {
        return Some("its controller has not seen the change yet".to_owned());
    }
    let available = status.available_replicas;
    (available < wanted).then(|| format!("{available} of {wanted} pods are available"))
}

pub(super) async fn run(kubectl: &Kubectl, conduct: &ConductArguments, arguments: &ScaleArguments) -> Ending {
    let name = &arguments.deployment;
    let wanted = i64::from(arguments.replicas);
    let mut scaled: Option<(Instant, i64)> = None;
    loop {
        let deployment: Deployment = match kubectl.get_patiently(&["deployment", name]).await {
            Ok(deployment) => deployment,
            Err(trouble) => return Ending::trouble(name, &trouble),
        };
        let first = scaled.map_or(deployment.spec.replicas(), |(_, first)| first);
        let between = |ending: Ending| {
            ending.between(Some(&format!("{first} replicas")), Some(&format!("{wanted} replicas")))
        };
        match judge(&deployment, wanted, arguments.exactly) {
            Judgement::Refused(why) => return Ending::new(name, Outcome::Refused, why),
            Judgement::Scale { from } if conduct.check => {
                let what = format!("deployments/{name}");
                return between(match kubectl.may("patch", &[&what, "--subresource=scale"]).await {
                    Ok(()) => Ending::new(name, Outcome::WouldDo, format!("would scale {from} to {wanted}")),
                    Err(trouble) => Ending::trouble(name, &trouble),
                });
            }
            Judgement::Scale { .. } if let Some((at, _)) = scaled => {
                let after = at.elapsed().as_secs_f64();
                let now = deployment.spec.replicas();
                let why = format!(
                    "set back to {now} replicas {after:.0} s later: GitOps or an autoscaler keeps it so"
                );
                return between(Ending::new(name, Outcome::FlippedBack, why));
            }
            Judgement::Scale { from } => match scale(kubectl, name, from, wanted).await {
                Ok(()) => scaled = Some((Instant::now(), from)),
                Err(trouble) if trouble.may_pass && kubectl.budget.pause().await => continue,
                Err(trouble) => return between(Ending::trouble(name, &trouble)),
            },
            Judgement::AlreadyThere => {
                let missing = missing(&deployment, wanted);
                let is_watched = scaled.is_none_or(|(at, _)| at.elapsed() >= kubectl.watch());
                if missing.is_none() && (is_watched || conduct.check) {
                    let result = if scaled.is_some() { Outcome::Done } else { Outcome::AlreadyThere };
                    let why = format!("{} pods are available", deployment.status.available_replicas);
                    return between(Ending::new(name, result, why));
                }
                if !kubectl.budget.pause().await {
                    return between(match missing {
                        Some(why) => Ending::new(name, Outcome::Failed, format!("the time is up, and {why}")),
                        None => Ending::new(name, Outcome::Done, "available; the time for the watch was up"),
                    });
                }
            }
        }
    }
}

/// Scales, if there are still as many as were read.
async fn scale(kubectl: &Kubectl, name: &str, from: i64, to: i64) -> Result<(), Trouble> {
    let deployment = format!("deployment/{name}");
    let (precondition, replicas) = (format!("--current-replicas={from}"), format!("--replicas={to}"));
    match kubectl.tell(&["scale", &deployment, &precondition, &replicas]).await {
        Ok(_) => Ok(()),
        Err(trouble) if trouble.why.contains("Expected replicas to be") => Err(Trouble::passing(trouble.why)),
        Err(trouble) => Err(trouble),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::deployment;
    use super::*;

    #[test]
    fn s1_08_scaling_out_never_takes_pods_away() {
        let web = deployment("web", "v1");
        assert_eq!(judge(&web, 5, false), Judgement::Scale { from: 3 });
        assert_eq!(judge(&web, 3, false), Judgement::AlreadyThere);
        assert_eq!(judge(&web, 2, false), Judgement::AlreadyThere);
        assert_eq!(judge(&web, 2, true), Judgement::Scale { from: 3 });
        assert_eq!(judge(&web, 0, true), Judgement::Scale { from: 3 });
        assert!(matches!(judge(&web, 0, false), Judgement::Refused(_)));
        assert_eq!(missing(&web, 3), None);
        assert_eq!(missing(&web, 5).as_deref(), Some("3 of 5 pods are available"));
    }
}
