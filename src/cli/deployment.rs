//! `rearguard deployment`: announces deployments, and tells which there are.

use std::str::FromStr;

use clap::Subcommand;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::{CommandError, DaemonArguments, Exit, Output, client, print, print_json};
use crate::daemon::control::{Answer, Request};
use crate::daemon::core::DaemonStatus;
use crate::engine::decision::{Deployment, DeploymentNews, DeploymentPhase, Ending, Origin};
use crate::engine::evaluation::shown;
use crate::engine::model::{DeploymentId, TargetName};
use crate::engine::rules::Unit;
use crate::engine::time::{Span, Timestamp};

/// What `deployment` takes.
#[derive(Debug, clap::Args)]
pub(super) struct DeploymentArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say that a deployment begins: baselines are frozen, rules with `during: deployment` are judged
    Start {
        /// What is deployed to
        target: String,
        /// What comes
        version: String,
        /// What it replaces; by default what the target shows
        #[arg(long)]
        previous: Option<String>,
        #[command(flatten)]
        daemon: DaemonArguments,
    },
    /// Say that the new version gets another part of the traffic
    Stage {
        /// What is deployed to
        target: String,
        /// The part, such as 25%
        share: Share,
        /// What people call the stage
        #[arg(long)]
        name: Option<String>,
        /// How long the stage is not judged yet, such as 30s
        #[arg(long, default_value = "0s")]
        settle: Span,
        #[command(flatten)]
        daemon: DaemonArguments,
    },
    /// Say how far the deployment is; its end is estimated from that
    Progress {
        /// What is deployed to
        target: String,
        /// The part that is done, such as 40%
        share: Share,
        #[command(flatten)]
        daemon: DaemonArguments,
    },
    /// Say that the deployment is rolled out, or that it will not be
    #[command(group = clap::ArgGroup::new("ending").args(["failed", "abandoned"]))]
    Finish {
        /// What is deployed to
        target: String,
        /// It failed
        #[arg(long)]
        failed: bool,
        /// It was given up
        #[arg(long)]
        abandoned: bool,
        #[command(flatten)]
        daemon: DaemonArguments,
    },
    /// Say that the version before is gone: from now on rollbacks are refused, and people are paged instead
    NoReturn {
        /// What was deployed to
        target: String,
        #[command(flatten)]
        daemon: DaemonArguments,
    },
    /// List the deployments under way and the last ones that are over
    List {
        #[command(flatten)]
        daemon: DaemonArguments,
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// A part of the whole on the command line: `25%`, `0.25`.
#[derive(Clone, Copy, Debug)]
struct Share(f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
            None => text.parse(),
        };
        match parsed {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err("a part of the whole, such as `25%` or `0.25`".to_owned()),
        }
    }
}

pub(super) fn run(arguments: &DeploymentArguments) -> Result<Exit, CommandError> {
    let (target, news, daemon) = match &arguments.action {
        Action::List { daemon, output } => return list(daemon, *output),
        Action::Start { target, version, previous, daemon } => {
            (target, DeploymentNews::Start { version: version.clone(), previous: previous.clone() }, daemon)
        }
        Action::Stage { target, share, name, settle, daemon } => {
            (target, DeploymentNews::Stage { share: share.0, name: name.clone(), settle: *settle }, daemon)
        }
        Action::Progress { target, share, daemon } => {
            (target, DeploymentNews::Progress { share: share.0 }, daemon)
        }
        Action::Finish { target, failed, abandoned, daemon } => {
            let ending = match (failed, abandoned) {
                (true, _) => Ending::Failed,
                (_, true) => Ending::Abandoned,
                _ => Ending::RolledOut,
            };
            (target, DeploymentNews::Finish { ending }, daemon)
        }
        Action::NoReturn { target, daemon } => (target, DeploymentNews::PointOfNoReturn {}, daemon),
    };
    let config = client::locate(&daemon.config)?;
    let target = TargetName::from(target.as_str());
    client::ask(&config.control, &Request::Deployment { target: target.clone(), news })?;
    let status = status(daemon)?;
    let last = status.engine.state.targets.get(&target).and_then(|known| known.deployments.last);
    let told = last.and_then(|id| Some((id, status.engine.state.deployments.get(&id)?)));
    let Some((id, deployment)) = told else { return Ok(Exit::Done) };
    if let Some(window) = &deployment.outside {
        eprintln!("warning: {id} began outside of {window}");
    }
    print(&format!("{id}: {target} {}, {}\n", deployment.version, standing(deployment, status.engine.now)))?;
    Ok(Exit::Done)
}

fn status(daemon: &DaemonArguments) -> Result<Box<DaemonStatus>, CommandError> {
    let config = client::locate(&daemon.config)?;
    match client::ask(&config.control, &Request::Status {})? {
        Answer::Status(status) => Ok(status),
        _ => Err(CommandError::failed("the daemon answered something else than its status")),
    }
}

/// A deployment as programs read it; times are milliseconds of Unix time, durations are seconds.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: String,
    #[serde(flatten)]
    deployment: &'a Deployment,
    /// `running`, `soaking`, or how it ended.
    standing: &'a str,
    started_unix_ms: i64,
    duration_seconds: Option<f64>,
    remaining_seconds: f64,
}

fn list(daemon: &DaemonArguments, output: Output) -> Result<Exit, CommandError> {
    let status = status(daemon)?;
    let (state, now) = (&status.engine.state, status.engine.now);
    match output {
        Output::Table => print(&format!("{}\n", table(state.deployments.iter(), now)))?,
        Output::Json => {
            let row = |(id, deployment): (&DeploymentId, _)| row(*id, deployment, now, state.wall_offset);
            print_json(&state.deployments.iter().map(row).collect::<Vec<_>>())?;
        }
    }
    Ok(Exit::Done)
}

fn row(id: DeploymentId, deployment: &Deployment, now: Timestamp, wall_offset: Span) -> Row<'_> {
    Row {
        id: id.to_string(),
        deployment,
        standing: match &deployment.phase {
            DeploymentPhase::Running => "running",
            DeploymentPhase::Soaking { .. } => "soaking",
            DeploymentPhase::Ended { result, .. } => result.word(),
        },
        started_unix_ms: (deployment.started_at + wall_offset).as_millis(),
        duration_seconds: deployment.duration(now).map(Span::as_secs_f64),
        remaining_seconds: deployment.remaining(now).as_secs_f64(),
    }
}

/// Returns deployments as people read them, the newest first.
pub(super) fn table<'a>(
    deployments: impl DoubleEndedIterator<Item = (&'a DeploymentId, &'a Deployment)>,
    now: Timestamp,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["ID", "TARGET", "VERSION", "BEGAN", "BY", "STANDING"]);
    for (id, deployment) in deployments.rev() {
        table.add_row(cells(*id, deployment, now));
    }
    if table.is_empty() { "no deployments".to_owned() } else { table.trim_fmt() }
}

/// Returns one deployment's line of a table.
pub(super) fn cells(id: DeploymentId, deployment: &Deployment, now: Timestamp) -> Vec<String> {
    let version = match &deployment.previous {
        Some(previous) => format!("{previous} -> {}", deployment.version),
        None => deployment.version.clone(),
    };
    let by = match &deployment.origin {
        Origin::Announced { by } => by.clone(),
        Origin::Detected => "detected".to_owned(),
    };
    let began = format!("{} ago", now.since(deployment.started_at).rounded());
    vec![id.to_string(), deployment.target.to_string(), version, began, by, standing(deployment, now)]
}

fn standing(deployment: &Deployment, now: Timestamp) -> String {
    match &deployment.phase {
        DeploymentPhase::Running => {
            let mut text = "running".to_owned();
            if let Some(stage) = deployment.stage() {
                let name = stage.name.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
                text.push_str(&format!(", stage {}{name}", shown(stage.share, Unit::Ratio)));
                let settled = stage.at + stage.settle;
                if settled > now {
                    text.push_str(&format!(", settles for another {}", settled.since(now).rounded()));
                }
            }
            if let Some(progress) = deployment.progress {
                let left = deployment.remaining(now).rounded();
                let done = shown(progress.share, Unit::Ratio);
                text.push_str(&format!(", {done} done, about {left} left"));
            }
            text
        }
        DeploymentPhase::Soaking { until } => {
            format!("rolled out, soaks for another {}", until.since(now).rounded())
        }
        DeploymentPhase::Ended { result, reason, .. } => format!("{result}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_whole_is_a_percentage_or_a_number() {
        for (text, share) in
            [("25%", 0.25), ("0.25", 0.25), ("100%", 1.0), ("0", 0.0), ("1", 1.0), ("0.5%", 0.005)]
        {
            assert_eq!(text.parse::<Share>().unwrap().0.to_bits(), f64::to_bits(share), "{text}");
        }
        for text in ["", "%", "101%", "-1%", "25", "NaN", "a quarter"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
