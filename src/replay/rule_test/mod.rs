//! Rule tests under virtual time, in two formats that are told apart by their keys: our own (`native`), and promtool's.
//!
//! In promtool's format a test gives series, evaluates the rule files' groups step by step, and compares alerts and
//! expressions with what it expects. What a file means is what `promtool test rules` of Prometheus 3 makes of it, so that
//! files move both ways. Where that would let a mistake pass in silence this is stricter: rule files that are not there are
//! an error.

mod compare;
pub mod mutation;
mod native;
pub mod notation;
pub mod report;
mod session;
mod texts;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use report::{Cause, Difference, Failure, FileReport, Item, Sign, Subject, TestReport, TimelineLine};

use crate::config::{rule_files, source_file};
use crate::engine::rules::prometheus::{self, GroupDefaults, History};
use crate::engine::rules::yaml::{self, Node};
use crate::engine::rules::{Diagnostic, Findings, Group, GroupRuleKind, SourceFile};
use session::Subjects;
use texts::Texts;
use written::TestFile;

/// What became of a test file that could be run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its tests.
    pub report: FileReport,
    /// What someone should look at.
    pub warnings: Vec<Diagnostic>,
    /// The files, for excerpts.
    pub files: Vec<SourceFile>,
}

/// Why a test file cannot be run.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Every problem, warnings included; at least one is an error.
    pub problems: Vec<Diagnostic>,
    /// The files as far as they could be read, for excerpts.
    pub files: Vec<SourceFile>,
}

/// Reads a test file with the rule files that it names, and runs those of its tests whose name `wanted` accepts.
///
/// # Errors
///
/// Everything that is wrong with the test file and its rule files.
pub fn run(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Ran, Refused> {
    let (files, root) = parse(path)?;
    if native::is_native(&root) {
        native::run(path, &root, files, wanted)
    } else {
        run_promtool(path, &root, files, Texts::default(), wanted)
    }
}

/// Reads a test file's tree.
fn parse(path: &Path) -> Result<(Vec<SourceFile>, Node), Refused> {
    let refused = |problem, files| Refused { problems: vec![problem], files };
    let text = rule_files::read(path).map_err(|problem| refused(*problem, Vec::new()))?;
    let file = source_file(path, &text);
    match yaml::parse(&file) {
        Ok(Some(root)) => Ok((vec![file], root)),
        Ok(None) => {
            let problem = Diagnostic::error("empty-file", file.whole(), "this file is empty");
            Err(refused(problem, vec![file]))
        }
        Err(problem) => Err(refused(*problem, vec![file])),
    }
}

/// Runs a file in promtool's format.
fn run_promtool(
    path: &Path,
    root: &Node,
    mut files: Vec<SourceFile>,
    texts: Texts<'_>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Ran, Refused> {
    let mut out = Findings::default();
    let written = written::read(root, &mut out);
    let groups = written.as_ref().map(|file| load_groups(file, path, texts, &mut files, &mut out));
    let loaded = written.zip(groups);
    if let Some((file, groups)) = &loaded {
        doubt_names(file, groups, &mut out);
    }
    let (file, mut groups, warnings) = match out.conclude(loaded) {
        Ok((Some((file, groups)), warnings)) => (file, groups, warnings),
        Ok((None, problems)) | Err(problems) => return Err(Refused { problems, files }),
    };
    sort_groups(&mut groups, &file);
    let subjects = Subjects { file: &file, groups: &groups };
    let tests = file.tests.iter().filter(|test| wanted(&test.name));
    let tests = tests.map(|test| session::run(test, &subjects)).collect();
    Ok(Ran { report: FileReport { file: path.display().to_string(), tests }, warnings, files })
}

/// Loads the groups of every rule file that a test file names, in the order of files and groups.
fn load_groups(
    file: &TestFile,
    path: &Path,
    texts: Texts<'_>,
    files: &mut Vec<SourceFile>,
    out: &mut Findings,
) -> Vec<Group> {
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let defaults = GroupDefaults { interval: file.evaluation_interval, history: History::Whole };
    let mut groups = Vec::new();
    for (rule_file, pattern) in rule_files::find(&file.rule_files, directory, out) {
        match texts.read(&rule_file) {
            Ok(text) => {
                let source = source_file(&rule_file, &text);
                groups.extend(prometheus::load(&source, &defaults, out));
                files.push(source);
            }
            Err(problem) => out.push(Diagnostic { place: pattern, ..*problem }),
        }
    }
    groups
}

/// Puts the groups that `group_eval_order` names into that order. The others come with the first of it, as in promtool.
fn sort_groups(groups: &mut [Group], file: &TestFile) {
    let order: BTreeMap<&str, usize> =
        file.group_order.iter().enumerate().map(|(at, name)| (name.value.as_str(), at)).collect();
    groups.sort_by_key(|group| order.get(&*group.name).copied().unwrap_or(0));
}

/// Warns of names that nothing has: a test for the absence of an alert that no rule can raise always passes.
fn doubt_names(file: &TestFile, groups: &[Group], out: &mut Findings) {
    let names: BTreeSet<&str> = groups.iter().map(|group| &*group.name).collect();
    for name in file.group_order.iter().filter(|name| !names.contains(name.value.as_str())) {
        let message = format!("no group is called `{}`", name.value.escape_debug());
        out.push(Diagnostic::warning("unknown-name", name.place.clone(), message));
    }
    let rules = groups.iter().flat_map(|group| &group.rules);
    let alerts = rules.filter(|rule| matches!(rule.kind, GroupRuleKind::Alert { .. }));
    let names: BTreeSet<&str> = alerts.map(|rule| rule.name()).collect();
    for test in file.tests.iter().flat_map(|test| &test.alerts) {
        if test.expected.is_empty() && !names.contains(test.alertname.as_str()) {
            let message = format!(
                "no alerting rule is called `{}`: that it does not fire proves nothing",
                test.alertname.escape_debug()
            );
            out.push(Diagnostic::warning("unknown-name", test.place.clone(), message));
        }
    }
}
