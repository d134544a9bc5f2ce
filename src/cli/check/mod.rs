//! `rearguard check`: every problem of every file at once, and everything that will hurt later.

mod alone;
mod explain;
mod page;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{CONFIG, CommandError, Exit, Output, print, print_json};
use crate::config::{self, Loaded, Refused, Style, source_file};
use crate::engine::decision::counted;
use crate::engine::rules::lint::Facts;
use crate::engine::rules::lint::facts::{Exposed, Origin};
use crate::engine::rules::lint::files::{self, Surroundings};
use crate::engine::rules::prometheus::{self, GroupDefaults};
use crate::engine::rules::yaml::{self, Node};
use crate::engine::rules::{Diagnostic, Findings, Level, Place, SourceFile};

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// The daemon's files (the rule files that they name are checked with them), or rule files alone
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// The daemon's file, as other commands take it; without any PATH it is /etc/rearguard/rearguard.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// A page as a source exposes it (`-`: standard input): checked itself, and the rules against it
    #[arg(long, value_name = "FILE")]
    metrics: Vec<PathBuf>,

    /// Exit with 3 where there are warnings
    #[arg(long, visible_alias = "warnings-as-errors")]
    strict: bool,

    /// Say what a lint means and what to do about it; without a name, list all
    #[arg(long, value_name = "LINT", num_args = 0..=1, default_missing_value = "")]
    explain: Option<String>,

    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

/// What was said about one PATH or page.
struct Report {
    /// What people call it.
    name: String,
    /// Whether it can be used.
    good: bool,
    /// The exit code where it cannot.
    exit: Exit,
    /// What it holds, in a few words.
    counts: Vec<String>,
    problems: Vec<Diagnostic>,
    files: Vec<SourceFile>,
}

/// What the pages hold together.
struct Pages {
    count: usize,
    exposed: Vec<Exposed>,
}

pub(super) fn run(arguments: &CheckArguments) -> Result<Exit, CommandError> {
    if let Some(name) = &arguments.explain {
        return explain::run(name);
    }
    let mut reports = Vec::new();
    let mut pages = Pages { count: arguments.metrics.len(), exposed: Vec::new() };
    for path in &arguments.metrics {
        let (report, series) = page::check(path)?;
        reports.push(report);
        pages.exposed.extend(series);
    }
    let mut paths: Vec<PathBuf> = arguments.config.iter().chain(&arguments.paths).cloned().collect();
    if paths.is_empty() && pages.count == 0 {
        paths.push(PathBuf::from(CONFIG));
    }
    // Pages that cannot be read say nothing about rules.
    let pages = Some(&pages).filter(|pages| pages.count > 0 && reports.iter().all(|report| report.good));
    let (mut rule_files, mut groups) = (Vec::new(), Vec::new());
    for path in paths {
        match kind(&path) {
            Kind::Config => reports.push(config_file(&path, pages)),
            Kind::NativeRules(file) => rule_files.push(file),
            Kind::Groups => groups.push(path),
            Kind::Tests(file) => reports.push(of_tests(file)),
        }
    }
    reports.extend(alone::check(rule_files, &of_unknown_sources(pages)));
    reports.extend(imported(&groups, pages));
    match arguments.output {
        Output::Table => print_for_people(&reports)?,
        Output::Json => print_for_programs(&reports)?,
    }
    Ok(exit_of(&reports, arguments.strict))
}

/// Returns the worst of what was found.
fn exit_of(reports: &[Report], strict: bool) -> Exit {
    let refused = |exit: Exit| reports.iter().any(|report| !report.good && report.exit == exit);
    let warned = reports.iter().flat_map(|report| &report.problems).any(|one| one.level == Level::Warning);
    if refused(Exit::Usage) {
        Exit::Usage
    } else if refused(Exit::Failed) {
        Exit::Failed
    } else if strict && warned {
        Exit::Warned
    } else {
        Exit::Done
    }
}

/// What a PATH names.
enum Kind {
    /// The daemon's file, or nothing that can be read: its loading says what is wrong.
    Config,
    /// A rule file of ours.
    NativeRules(SourceFile),
    /// A file of Prometheus rule groups.
    Groups,
    /// A file of rule tests: `rules/*.yaml` in a shell means those beside the rules, too.
    Tests(SourceFile),
}

fn kind(path: &Path) -> Kind {
    let Ok(text) = std::fs::read_to_string(path) else { return Kind::Config };
    let file = source_file(path, &text);
    match yaml::parse(&file) {
        Ok(Some(root)) if prometheus::is_imported(&root) => Kind::Groups,
        Ok(Some(Node::Mapping(entries, _))) => {
            let has = |key: &str| entries.iter().any(|(name, _)| name.value == key);
            let is_native = ["indicators", "triggers", "objectives", "budgets"].into_iter().any(has);
            match has("targets") {
                false if is_native => Kind::NativeRules(file),
                false if has("tests") => Kind::Tests(file),
                _ => Kind::Config,
            }
        }
        // Not YAML: the first key tells what it was meant to be.
        Err(_) if text.lines().any(|line| line.starts_with("groups:")) => Kind::Groups,
        _ => Kind::Config,
    }
}

/// Says who reads a file of rule tests: nothing of it is checked here.
fn of_tests(file: SourceFile) -> Report {
    let name = file.name().to_owned();
    let counts = vec![format!("a rule test, which `rearguard test {name}` runs")];
    Report { name, good: true, exit: Exit::Done, counts, problems: Vec::new(), files: vec![file] }
}

/// What pages say about rules whose sources are not known.
fn of_unknown_sources(pages: Option<&Pages>) -> Surroundings {
    let facts = pages.map(|pages| Facts::new(&pages.exposed, Origin::default()));
    Surroundings { facts, ..Surroundings::default() }
}

fn config_file(path: &Path, pages: Option<&Pages>) -> Report {
    let name = path.display().to_string();
    match config::load(path) {
        Ok(loaded) => {
            let surroundings = surroundings(&loaded.config, pages);
            let Loaded { setup, files: texts, warnings, .. } = loaded;
            let files: Vec<_> = texts.iter().map(|(path, text)| source_file(path, text)).collect();
            let mut counts = vec![
                counted(files.len(), "file"),
                counted(setup.targets.len(), "target"),
                counted(setup.rules.triggers.len(), "trigger"),
            ];
            if !setup.rules.groups.is_empty() {
                counts.push(counted(setup.rules.groups.len(), "group"));
            }
            let problems = files::lint(&files, &surroundings, warnings);
            Report { name, good: true, exit: Exit::Done, counts, problems, files }
        }
        Err(Refused { problems, files, config }) => {
            let surroundings =
                config.map_or_else(Surroundings::default, |config| surroundings(&config, pages));
            let problems = files::lint(&files, &surroundings, problems);
            Report { name, good: false, exit: Exit::Usage, counts: Vec::new(), problems, files }
        }
    }
}

fn surroundings(config: &config::Config, pages: Option<&Pages>) -> Surroundings {
    let paces = config.sources.iter().map(|(name, scrape)| (name.clone(), scrape.every)).collect();
    let added =
        config.sources.values().flat_map(|scrape| scrape.labels.iter()).map(|(name, _)| name.to_owned());
    let mut names = config.sources.keys();
    let facts = pages.map(|pages| {
        let origin = Origin {
            source: names.next().filter(|_| config.sources.len() == 1).cloned(),
            added: Some(added.collect()),
            others: config.sources.len() > pages.count,
        };
        Facts::new(&pages.exposed, origin)
    });
    Surroundings { paces, facts }
}

/// Checks rule files on their own, together: what one records another may read.
fn imported(paths: &[PathBuf], pages: Option<&Pages>) -> Vec<Report> {
    let mut files = Vec::new();
    let mut out = Findings::default();
    let mut counts = Vec::new();
    for path in paths {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let name = path.display().to_string();
                let message = format!("cannot read {name}: {error}");
                out.push(Diagnostic::error("unreadable-file", Place::of_file(&name), message));
                String::new()
            }
        };
        let file = source_file(path, &text);
        let groups = prometheus::load(&file, &GroupDefaults::default(), &mut out);
        let rules = groups.iter().map(|group| group.rules.len()).sum();
        counts.push(vec![counted(groups.len(), "group"), counted(rules, "rule")]);
        files.push(file);
    }
    let problems = files::lint(&files, &of_unknown_sources(pages), out.into_problems());
    in_each_file(&files, counts, &problems)
}

/// Returns a report for each of the files that were checked together; `counts` is in their order.
fn in_each_file(files: &[SourceFile], counts: Vec<Vec<String>>, problems: &[Diagnostic]) -> Vec<Report> {
    let report = |(file, counts): (&SourceFile, Vec<String>)| {
        let own = |problem: &&Diagnostic| &*problem.place.file == file.name();
        let problems: Vec<Diagnostic> = problems.iter().filter(own).cloned().collect();
        let good = problems.iter().all(|problem| problem.level != Level::Error);
        let name = file.name().to_owned();
        Report { name, good, exit: Exit::Usage, counts, problems, files: vec![file.clone()] }
    };
    files.iter().zip(counts).map(report).collect()
}

fn print_for_people(reports: &[Report]) -> Result<(), CommandError> {
    let colored = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let style = if colored { Style::Colored } else { Style::Plain };
    for report in reports {
        let rendered = config::render(&report.problems, &report.files, style);
        if report.good {
            let count = |level| report.problems.iter().filter(|problem| problem.level == level).count();
            let mut counts = report.counts.clone();
            counts.push(counted(count(Level::Warning), "warning"));
            if count(Level::Note) > 0 {
                counts.push(counted(count(Level::Note), "note"));
            }
            let shown = if report.problems.is_empty() { "" } else { &rendered };
            print(&format!("{shown}{}: good: {}\n", report.name, counts.join(", ")))?;
        } else {
            print(&format!("{}\n", rendered.trim_end()))?;
        }
    }
    let lints: BTreeSet<&str> =
        reports.iter().flat_map(|report| &report.problems).map(|problem| problem.code).collect();
    if let Some(lint) = lints.into_iter().find(|code| explain::is_known(code)) {
        print(&format!("more about a warning: rearguard check --explain {lint}\n"))?;
    }
    Ok(())
}

/// One PATH or page, for programs.
#[derive(Serialize)]
struct Told<'r> {
    path: &'r str,
    good: bool,
    problems: Vec<ToldProblem<'r>>,
}

/// One problem, for programs.
#[derive(Serialize)]
struct ToldProblem<'r> {
    code: &'r str,
    level: &'static str,
    file: &'r str,
    line: usize,
    column: usize,
    message: &'r str,
    hint: Option<&'r str>,
}

impl<'r> From<&'r Diagnostic> for ToldProblem<'r> {
    fn from(problem: &'r Diagnostic) -> Self {
        let level = match problem.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        let Place { file, line, column, .. } = &problem.place;
        let hint = problem.hint.as_deref();
        Self {
            code: problem.code,
            level,
            file,
            line: *line,
            column: *column,
            message: &problem.message,
            hint,
        }
    }
}

fn print_for_programs(reports: &[Report]) -> Result<(), CommandError> {
    let told: Vec<Told<'_>> = reports
        .iter()
        .map(|report| Told {
            path: &report.name,
            good: report.good,
            problems: report.problems.iter().map(ToldProblem::from).collect(),
        })
        .collect();
    print_json(&told)
}
