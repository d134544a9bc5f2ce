//! `rearguard adapter systemd`: units, and releases behind a symbolic link, by way of `systemctl`.

mod release;
mod unit;

use std::path::PathBuf;

use clap::Subcommand;

use self::release::ReleaseArguments;
use self::unit::{Judgement, Properties, Seen, Wish, judge, seen};
use super::budget::{Budget, ConductArguments};
use super::child;
use super::report::{Ending, Outcome, Report, Trouble};
use crate::cli::CommandError;
use crate::engine::time::Span;

/// What of a unit is asked for.
const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,Type,Result,NRestarts,InvocationID,\
                          NeedDaemonReload,ActiveEnterTimestamp";

/// What `adapter systemd` takes.
#[derive(Debug, clap::Args)]
pub(super) struct SystemdArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Restart a unit and see that it stays active
    Restart(UnitArguments),
    /// Start a unit that is not active
    Start(UnitArguments),
    /// Stop a unit
    Stop(UnitArguments),
    /// Point a symbolic link back to the directory of a good release, and restart the unit that runs it
    SwitchRelease {
        #[command(flatten)]
        unit: UnitArguments,
        #[command(flatten)]
        release: ReleaseArguments,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct UnitArguments {
    #[command(flatten)]
    conduct: ConductArguments,
    /// The program
    #[arg(long, value_name = "PROGRAM", default_value = "systemctl")]
    systemctl: PathBuf,
    /// How long the unit has to stay active without a restart
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    watch: Span,
    /// The unit, such as trading-app.service
    #[arg(value_name = "UNIT", value_parser = unit_name)]
    unit: String,
}

/// Takes the name of one unit: no option, no path, and no pattern that would mean several.
fn unit_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    if !text.is_empty() && text.len() <= 255 && text.chars().all(fits) && !text.starts_with(['-', '.']) {
        return Ok(text.to_owned());
    }
    Err("expected the name of one unit, such as trading-app.service".to_owned())
}

pub(super) async fn run(arguments: &SystemdArguments) -> Result<Report, CommandError> {
    let (action, unit) = match &arguments.action {
        Action::Restart(unit) => ("restart", unit),
        Action::Start(unit) => ("start", unit),
        Action::Stop(unit) => ("stop", unit),
        Action::SwitchRelease { unit, .. } => ("switch-release", unit),
    };
    let systemctl = Systemctl { arguments: unit.clone(), budget: Budget::new(&unit.conduct) };
    let ending = match &arguments.action {
        Action::Restart(_) => systemctl.bring(Wish::Restart, None).await,
        Action::Start(_) => systemctl.bring(Wish::Start, None).await,
        Action::Stop(_) => systemctl.bring(Wish::Stop, None).await,
        Action::SwitchRelease { release, .. } => release::run(&systemctl, release).await,
    };
    Ok(Report::new("systemd", action, unit.conduct.check, vec![ending]))
}

/// systemd, one of its units, and the time that is left.
struct Systemctl {
    arguments: UnitArguments,
    budget: Budget,
}

impl Systemctl {
    /// Reads the unit's properties.
    async fn show(&self) -> Result<Properties, Trouble> {
        let words = ["show", "--timestamp=us+utc", PROPERTIES, "--", &self.arguments.unit];
        let said = child::run(&self.arguments.systemctl, &words, self.budget.for_a_read()).await?;
        if !said.succeeded {
            return Err(trouble(said.last_words()));
        }
        Ok(Properties::parse(&said.output))
    }

    /// Tells systemd, which answers when the job is done.
    async fn tell(&self, verb: &str) -> Result<(), Trouble> {
        let words = ["--no-ask-password", verb, "--", &self.arguments.unit];
        let said = child::run(&self.arguments.systemctl, &words, self.budget.left()).await?;
        if said.succeeded { Ok(()) } else { Err(trouble(said.last_words())) }
    }

    /// Reads, judges, changes, and sees that it stays so. `stale` says why an active unit needs its restart.
    async fn bring(&self, wish: Wish, stale: Option<&str>) -> Ending {
        let unit = &self.arguments.unit;
        let before = match self.show().await {
            Ok(before) => before,
            Err(trouble) => return Ending::trouble(unit, &trouble),
        };
        let from = before.state();
        let between = |ending: Ending| ending.between(Some(&from), Some(wish.wanted()));
        match judge(&before, wish) {
            Judgement::Refused(why) => between(Ending::new(unit, Outcome::Refused, why)),
            Judgement::AlreadyThere => {
                between(Ending::new(unit, Outcome::AlreadyThere, format!("it is {from} already")))
            }
            Judgement::Do(why) if self.arguments.conduct.check => {
                between(Ending::new(unit, Outcome::WouldDo, format!("would {why}")))
            }
            Judgement::Do(_) => {
                let told = self.tell(wish.verb()).await;
                let ending = self.watch(wish, &before, told).await;
                let why =
                    stale.map_or_else(|| ending.why.clone(), |stale| format!("{stale}; {}", ending.why));
                between(Ending::new(unit, ending.result, why))
            }
        }
    }

    /// Reads back until the unit is as wished and has stayed so.
    async fn watch(&self, wish: Wish, before: &Properties, told: Result<(), Trouble>) -> Ending {
        let unit = &self.arguments.unit;
        if let Err(trouble) = &told
            && !trouble.may_pass
        {
            // What became of it is in the unit's state; that a job failed says systemctl.
            let state = self.show().await.map(|now| format!("; it is {}", now.state())).unwrap_or_default();
            return Ending::new(unit, Outcome::Failed, format!("{}{state}", trouble.why));
        }
        let since = tokio::time::Instant::now();
        let mut first: Option<Properties> = None;
        loop {
            let now = match self.show().await {
                Ok(now) => seen(wish, before, first.as_ref(), &now).map_there(|| first = Some(now)),
                Err(trouble) => Seen::Moving(trouble.why),
            };
            match &now {
                Seen::There(why) if since.elapsed() >= self.arguments.watch.to_std() => {
                    return Ending::new(unit, Outcome::Done, why);
                }
                Seen::Wrong(why) => return Ending::new(unit, Outcome::Failed, why),
                _ => {}
            }
            if !self.budget.pause().await {
                return match now {
                    Seen::There(why) => {
                        Ending::new(unit, Outcome::Done, format!("{why}; the time for the watch was up"))
                    }
                    Seen::Moving(why) | Seen::Wrong(why) => {
                        let told = told.err().map(|trouble| format!("{}; ", trouble.why)).unwrap_or_default();
                        Ending::new(unit, Outcome::Failed, format!("{told}the time is up, and {why}"))
                    }
                };
            }
        }
    }
}

/// Tells what may pass from what lasts, by what `systemctl` says.
fn trouble(why: String) -> Trouble {
    let may_pass =
        ["Failed to connect to bus", "Connection timed out", "Transport endpoint is not connected"];
    match may_pass.iter().any(|text| why.contains(text)) {
        true => Trouble::passing(why),
        false => Trouble::lasting(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_unit() {
        for name in ["trading-app.service", "app@1.service", "dev-sda\\x20.device", "app"] {
            assert_eq!(unit_name(name).as_deref(), Ok(name));
        }
        for name in ["", "*", "app*", "--all", "/etc/passwd", "a b", "app[0-9]", "app?"] {
            assert!(unit_name(name).is_err(), "{name}");
        }
    }
}
