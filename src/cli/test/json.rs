//! Results for programs.

use serde::Serialize;

use super::Outcome;
use crate::engine::rules::{Diagnostic, Level};
use crate::replay::rule_test::TestReport;

/// What is printed.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    /// Whether every file could be run and every test passed.
    passed: bool,
    files: Vec<File<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    file: &'a str,
    /// Empty where the file could not be run: then one of the problems is an error.
    tests: &'a [TestReport],
    problems: Vec<Problem<'a>>,
}

#[derive(Serialize)]
struct Problem<'a> {
    level: &'static str,
    code: &'static str,
    file: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
    hint: Option<&'a str>,
}

impl<'a> Answer<'a> {
    /// Collects the results.
    pub(super) fn of(outcomes: &'a [Outcome]) -> Self {
        let good = |outcome: &Outcome| !outcome.is_refused() && outcome.report.failed() == 0;
        let files = outcomes.iter().map(|outcome| File {
            file: &outcome.report.file,
            tests: &outcome.report.tests,
            problems: outcome.problems.iter().map(Problem::of).collect(),
        });
        Self { passed: outcomes.iter().all(good), files: files.collect() }
    }
}

impl<'a> Problem<'a> {
    fn of(diagnostic: &'a Diagnostic) -> Self {
        let level = match diagnostic.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        Self {
            level,
            code: diagnostic.code,
            file: &diagnostic.place.file,
            line: diagnostic.place.line,
            column: diagnostic.place.column,
            message: &diagnostic.message,
            hint: diagnostic.hint.as_deref(),
        }
    }
}
