//! `rearguard adapter flagd`: sets flags in a flag file that flagd watches, and reads them back from flagd.
//!
//! A flag is set when flagd *says* so, not when the file does: flagd may watch another file, may not have seen the change,
//! or a targeting rule may decide otherwise. So each flag is asked for over flagd's evaluation API before the next is set.

mod file;
mod service;

use std::path::PathBuf;

use clap::Subcommand;
use reqwest::Url;

use self::file::{FlagFile, Judgement};
use self::service::Flagd;
use super::budget::{Budget, ConductArguments};
use super::report::{Ending, Outcome, Report};
use crate::cli::CommandError;

/// What `adapter flagd` takes.
#[derive(Debug, clap::Args)]
pub(super) struct FlagdArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Set flags, one after the other; stops at the first that does not read back
    Set {
        #[command(flatten)]
        conduct: ConductArguments,
        #[command(flatten)]
        set: SetArguments,
    },
}

/// What `set` takes.
#[derive(Debug, clap::Args)]
struct SetArguments {
    /// The flag file in JSON; flagd must watch it where it is, since it is replaced by a new one
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Where flagd's evaluation API answers
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8013")]
    url: Url,
    /// A flag that must never be touched; may be given more than once
    #[arg(long, value_name = "NAME")]
    immutable: Vec<String>,
    /// Take the targeting rules of the flags away, which would decide otherwise
    #[arg(long)]
    drop_targeting: bool,
    /// The flags with their variant, or `true` or `false`, in the order in which they are set
    #[arg(required = true, value_name = "NAME=VARIANT", value_parser = setting)]
    settings: Vec<Setting>,
}

/// A flag and what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    name: String,
    wanted: String,
}

fn setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((name, wanted)) if !name.is_empty() && !wanted.is_empty() => {
            Ok(Setting { name: name.to_owned(), wanted: wanted.to_owned() })
        }
        _ => Err("expected a flag and its variant, such as READ_ONLY_MODE=on".to_owned()),
    }
}

pub(super) async fn run(arguments: &FlagdArguments) -> Result<Report, CommandError> {
    let Action::Set { conduct, set } = &arguments.action;
    let budget = Budget::new(conduct);
    let flagd = Flagd::new(&set.url).map_err(CommandError::usage)?;
    let mut endings = judged(set, &flagd, &budget).await;
    let is_clear = endings.iter().all(|ending| ending.result == Outcome::WouldDo || is_there(ending));
    if !conduct.check && is_clear {
        endings = set_in_order(set, &flagd, &budget).await;
    }
    Ok(Report::new("flagd", "set", conduct.check, endings))
}

fn is_there(ending: &Ending) -> bool {
    ending.result == Outcome::AlreadyThere
}

/// Reads the file and asks flagd; says of each flag what would be done. Nothing is set where one of them is refused.
async fn judged(set: &SetArguments, flagd: &Flagd, budget: &Budget) -> Vec<Ending> {
    let file = match FlagFile::read(&set.file) {
        Ok(file) => file,
        Err(why) => {
            return set.settings.iter().map(|one| Ending::new(&one.name, Outcome::Failed, &why)).collect();
        }
    };
    let writable = file.writable();
    let mut endings = Vec::new();
    for setting in &set.settings {
        let judgement = file.judge(&setting.name, &setting.wanted, &set.immutable, set.drop_targeting);
        let ending = match judgement {
            Judgement::Refused(why) => Ending::new(&setting.name, Outcome::Refused, why),
            Judgement::Set { from, to, value, change } => {
                match flagd.resolve(&setting.name, &value, budget.for_a_read()).await {
                    Err(trouble) => Ending::trouble(&setting.name, &trouble),
                    Ok(resolved) if change.is_none() && resolved.value == value => {
                        Ending::new(&setting.name, Outcome::AlreadyThere, "flagd says so already")
                    }
                    Ok(resolved) => match &writable {
                        Ok(()) => {
                            let why = format!("would set it; flagd says {} now", resolved.shown());
                            Ending::new(&setting.name, Outcome::WouldDo, why)
                        }
                        Err(why) => Ending::new(&setting.name, Outcome::Failed, why),
                    },
                }
                .between(Some(&from), Some(&to))
            }
        };
        endings.push(ending);
    }
    endings
}

/// Sets one flag after the other; what follows one that does not read back is not tried.
async fn set_in_order(set: &SetArguments, flagd: &Flagd, budget: &Budget) -> Vec<Ending> {
    let mut endings: Vec<Ending> = Vec::new();
    for setting in &set.settings {
        let failed = endings.iter().find(|ending| ending.result != Outcome::Done && !is_there(ending));
        let ending = match failed {
            Some(failed) => {
                let why = format!("not tried, because {} did not come to be", failed.target);
                Ending::new(&setting.name, Outcome::NotTried, why)
            }
            None => set_one(set, setting, flagd, budget).await,
        };
        endings.push(ending);
    }
    endings
}

async fn set_one(set: &SetArguments, setting: &Setting, flagd: &Flagd, budget: &Budget) -> Ending {
    let name = &setting.name;
    // Read anew: the flag before this one changed the file, and so may somebody else have.
    let file = match FlagFile::read(&set.file) {
        Ok(file) => file,
        Err(why) => return Ending::new(name, Outcome::Failed, why),
    };
    let judgement = file.judge(name, &setting.wanted, &set.immutable, set.drop_targeting);
    let (from, to, value, change) = match judgement {
        Judgement::Refused(why) => return Ending::new(name, Outcome::Refused, why),
        Judgement::Set { from, to, value, change } => (from, to, value, change),
    };
    let between = |ending: Ending| ending.between(Some(&from), Some(&to));
    let is_written = change.is_some();
    if let Some(text) = change
        && let Err(trouble) = file.replace(&text)
    {
        return between(Ending::trouble(name, &trouble));
    }
    let written = if is_written { "written to the file" } else { "the file says so already" };
    let mut asked = 0;
    loop {
        let said = match flagd.resolve(name, &value, budget.for_a_read()).await {
            Ok(resolved) if resolved.value == value => {
                let result = if is_written || asked > 0 { Outcome::Done } else { Outcome::AlreadyThere };
                return between(Ending::new(name, result, format!("flagd says {}", resolved.shown())));
            }
            Ok(resolved) => format!("flagd says {}", resolved.shown()),
            Err(trouble) => trouble.why,
        };
        asked += 1;
        if !budget.pause().await {
            let whole = budget.shown();
            let why = format!("{written}, but it did not read back within {whole}: {said}");
            return between(Ending::new(name, Outcome::Failed, why));
        }
    }
}
