//! `rearguard test`: rule tests, and what differs from what they expect.

mod json;
mod junit;
mod mutate;
mod text;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use regex::RegexSet;

use super::{CommandError, Exit, print, print_json};
use crate::config::{self, Style};
use crate::engine::rules::{Diagnostic, Level, SourceFile};
use crate::replay::rule_test::{self, FileReport};

/// What `test` takes.
#[derive(Debug, clap::Args)]
pub(super) struct TestArguments {
    /// Test files; of a directory, every `*.test.yaml` within
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Run only the tests in whose name this regular expression is found; may be given several times
    #[arg(long, value_name = "REGEX")]
    run: Vec<String>,
    /// Show what happened in tests that passed, too
    #[arg(long)]
    timeline: bool,
    /// Does a test notice? Change every limit and window of the rules, one at a time, and run the tests on each change; only
    /// of rules in whose name REGEX is found
    #[arg(
        long,
        value_name = "REGEX",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with_all = ["run", "timeline", "output"]
    )]
    mutate: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = TestOutput::Text)]
    output: TestOutput,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TestOutput {
    /// For people
    Text,
    /// For programs
    Json,
    /// For pipelines: JUnit's XML
    Junit,
}

/// What became of one file.
struct Outcome {
    /// Without tests where the file could not be run.
    report: FileReport,
    /// Every problem of the test file and its rule files.
    problems: Vec<Diagnostic>,
    files: Vec<SourceFile>,
}

impl Outcome {
    fn of(path: &Path, wanted: &RegexSet) -> Self {
        match rule_test::run(path, |name| wanted.is_empty() || wanted.is_match(name)) {
            Ok(ran) => Self { report: ran.report, problems: ran.warnings, files: ran.files },
            Err(refused) => {
                let report = FileReport { file: path.display().to_string(), tests: Vec::new() };
                Self { report, problems: refused.problems, files: refused.files }
            }
        }
    }

    fn is_refused(&self) -> bool {
        self.problems.iter().any(|problem| problem.level == Level::Error)
    }

    fn render_problems(&self, style: Style) -> String {
        if self.problems.is_empty() {
            return String::new();
        }
        config::render(&self.problems, &self.files, style)
    }
}

pub(super) fn run(arguments: &TestArguments) -> Result<Exit, CommandError> {
    let wanted = RegexSet::new(&arguments.run)
        .map_err(|error| CommandError::usage(format!("--run is not a regular expression: {error}")))?;
    let colored = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let style = if colored { Style::Colored } else { Style::Plain };
    let files = test_files(&arguments.files)?;
    if let Some(rules) = &arguments.mutate {
        return mutate::run(&files, rules, style);
    }
    let mut outcomes = Vec::new();
    for path in files {
        let mut outcome = Outcome::of(&path, &wanted);
        if !arguments.timeline {
            outcome
                .report
                .tests
                .iter_mut()
                .filter(|test| test.passed())
                .for_each(|test| test.timeline.clear());
        }
        match arguments.output {
            TestOutput::Text => {
                print(&outcome.render_problems(style))?;
                print(&text::file(&outcome.report, style))?;
            }
            // Standard output belongs to the program that reads it.
            TestOutput::Json | TestOutput::Junit => {
                write!(std::io::stderr(), "{}", outcome.render_problems(Style::Plain)).unwrap_or_default();
            }
        }
        outcomes.push(outcome);
    }
    match arguments.output {
        TestOutput::Text => print(&text::summary(&outcomes, style))?,
        TestOutput::Json => print_json(&json::Answer::of(&outcomes))?,
        TestOutput::Junit => print(&junit::document(&outcomes))?,
    }
    conclude(&outcomes, arguments)
}

/// Returns what the end means; that nothing was run is never a pass.
fn conclude(outcomes: &[Outcome], arguments: &TestArguments) -> Result<Exit, CommandError> {
    let tests = || outcomes.iter().flat_map(|outcome| &outcome.report.tests);
    if outcomes.iter().any(Outcome::is_refused) {
        return Ok(Exit::Usage);
    }
    if tests().count() == 0 {
        let error = CommandError::usage("no test was run");
        return Err(match arguments.run.as_slice() {
            [] => error,
            patterns => error.with_hint(format!("no test's name fits --run {}", patterns.join(" --run "))),
        });
    }
    Ok(if tests().all(|test| test.passed()) { Exit::Done } else { Exit::Failed })
}

/// Returns the test files that the arguments mean, in their order.
fn test_files(arguments: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut files = Vec::new();
    for path in arguments {
        if !path.is_dir() {
            // Reading a file that is not there says why.
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        find_tests(path, &mut files)?;
        if files.len() == before {
            let error = CommandError::usage(format!("{} holds no test files", path.display()));
            return Err(error.with_hint("test files are called `NAME.test.yaml`; others have to be named"));
        }
    }
    Ok(files)
}

/// Adds every test file below a directory, in the order of names. Links to directories are not followed.
fn find_tests(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), CommandError> {
    let unreadable =
        |error: std::io::Error| CommandError::usage(format!("cannot list {}: {error}", directory.display()));
    let mut entries = std::fs::read_dir(directory)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().map_err(unreadable)?.is_dir() {
            find_tests(&entry.path(), files)?;
        } else if !name.starts_with('.') && (name.ends_with(".test.yaml") || name.ends_with(".test.yml")) {
            files.push(entry.path());
        }
    }
    Ok(())
}
