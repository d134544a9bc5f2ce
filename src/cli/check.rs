//! `rearguard check`: every problem of every file at once.

use std::io::IsTerminal;
use std::path::PathBuf;

use super::{CONFIG, CommandError, Exit, print};
use crate::config::{self, Style};
use crate::engine::decision::counted;

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
                let counts = [
                    counted(loaded.files.len(), "file"),
                    counted(loaded.setup.targets.len(), "target"),
                    counted(loaded.setup.rules.triggers.len(), "trigger"),
                    counted(loaded.warnings.len(), "warning"),
                ];
                print(&format!(
                    "{}{}: good: {}\n",
                    loaded.render_warnings(style),
                    path.display(),
                    counts.join(", ")
                ))?;
            }
            Err(refused) => {
                exit = Exit::Usage;
                print(&format!("{}\n", refused.render(style).trim_end()))?;
                if refused.files.first().is_some_and(|file| is_rule_file(file.text())) {
                    print(&format!(
                        "hint: {} looks like a rule file; name the rearguard.yaml whose `rules:` lead to it\n",
                        path.display()
                    ))?;
                }
            }
        }
    }
    Ok(exit)
}

/// Returns whether a file that was given for `rearguard.yaml` is one of the files that it names.
fn is_rule_file(text: &str) -> bool {
    text.lines().any(|line| ["indicators:", "triggers:", "groups:"].iter().any(|key| line.starts_with(key)))
}
