//! `rearguard check`: every problem of every file at once.

use std::io::IsTerminal;
use std::path::PathBuf;

use super::{CONFIG, CommandError, Exit};
use crate::config::{self, Style};

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// The daemon's files; the rule files that they name are checked with them
    #[arg(value_name = "CONFIG", default_value = CONFIG)]
    configs: Vec<PathBuf>,
}

pub(super) fn run(arguments: &CheckArguments) -> Result<Exit, CommandError> {
    let colored = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let style = if colored { Style::Colored } else { Style::Plain };
    let mut exit = Exit::Done;
    for path in &arguments.configs {
        match config::load(path) {
            Ok(loaded) => {
                print!("{}", loaded.render_warnings(style));
                let (rules, warnings) = (loaded.setup.rules.triggers.len(), loaded.warnings.len());
                let files = loaded.files.len();
                let targets = loaded.setup.targets.len();
                println!(
                    "{}: good: {files} files, {targets} targets, {rules} triggers, {warnings} warnings",
                    path.display()
                );
            }
            Err(refused) => {
                exit = Exit::Usage;
                println!("{}", refused.render(style).trim_end());
                let errors = refused
                    .problems
                    .iter()
                    .filter(|problem| problem.level == crate::engine::rules::Level::Error);
                println!("{}: refused: {} errors", path.display(), errors.count());
            }
        }
    }
    Ok(exit)
}
