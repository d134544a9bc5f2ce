//! Does a test notice if this number changes? Rule files are changed, one number or comparison at a time, and the tests
//! beside them are run until one fails. What none notices is a limit that nothing holds in its place.
//!
//! The tests that found the earlier changes of a rule come first, then those that name it, then the rest in the order of
//! the file: so a run is the same each time, and most changes cost one test.

mod mutants;

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

pub use mutants::{Change, Mutant};

use super::native::{self, Played, Rehearsal, Unnoticeable};
use super::report::TestReport;
use super::texts::Texts;
use super::{Refused, parse, run_promtool};
use crate::engine::rules::yaml::{self, Node};
use crate::engine::rules::{Diagnostic, Level, SourceFile};
use crate::engine::time::Span;

/// What became of the changes of a test file's rules.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// The tests that fail without any change; if there are any, nothing was changed.
    pub failing: Vec<String>,
    /// Every change, in the order of the rule files.
    pub tried: Vec<(Mutant, Fate)>,
    /// What the test file calls unnoticeable, and a test notices, or nothing is changed to it.
    pub wrong: Vec<Diagnostic>,
    /// The files, for excerpts.
    pub files: Vec<SourceFile>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// This test fails.
    Caught(String),
    /// The rules cannot be loaded any more, for this reason.
    Refused(String),
    /// Every test passes all the same, and the test file says why that must be so.
    Excused(String),
    /// Every test passes all the same.
    Survived,
}

/// Changes the rules that a test file tests, of those whose name `wanted` accepts, and runs its tests on each change.
///
/// # Errors
///
/// Everything that is wrong with the test file and its rule files.
pub fn run(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Mutation, Refused> {
    let files = super::run(path, |_| false)?.files;
    let player = Player::new(path)?;
    let every: Vec<usize> = (0..player.tests.len()).collect();
    let alone = in_parallel(&every, |at| player.play(&[*at], Texts::default()));
    let alone: Result<Vec<Vec<Played>>, _> = alone.into_iter().collect();
    let alone = alone.map_err(|problems| Refused { problems, files: files.clone() })?;
    let alone: Vec<Played> = alone.into_iter().flatten().collect();
    let failing = alone.iter().filter(|played| !played.passed);
    let failing: Vec<String> = failing.map(|played| player.tests[played.at].0.clone()).collect();
    if !failing.is_empty() {
        return Ok(Mutation { failing, tried: Vec::new(), wrong: Vec::new(), files });
    }
    let mut rules = Vec::new();
    for file in files.iter().skip(1).filter(|file| !has_own_tests(file, path)) {
        let Ok(Some(root)) = yaml::parse(file) else { continue };
        let mut mutants = mutants::of(file, &root);
        mutants.retain(|mutant| wanted(&mutant.rule));
        let of_one = mutants.chunk_by(|a, b| a.rule == b.rule);
        rules.extend(of_one.map(|mutants| (file.clone(), mutants.to_vec())));
    }
    let tried = in_parallel(&rules, |(file, mutants)| try_all(file, mutants, &player, &alone));
    let mut tried: Vec<(Mutant, Fate)> = tried.into_iter().flatten().collect();
    let mut wrong = Vec::new();
    for unnoticeable in player.unnoticeable().iter().filter(|change| wanted(&change.rule.value)) {
        let is_meant = |mutant: &Mutant| {
            mutant.rule == unnoticeable.rule.value && mutant.after == unnoticeable.change.value
        };
        match tried.iter_mut().find(|(mutant, fate)| *fate == Fate::Survived && is_meant(mutant)) {
            Some((_, fate)) => *fate = Fate::Excused(unnoticeable.because.value.clone()),
            None => wrong.push(not_unnoticeable(unnoticeable)),
        }
    }
    Ok(Mutation { failing, tried, wrong, files })
}

fn not_unnoticeable(change: &Unnoticeable) -> Diagnostic {
    let message = "a test notices this change, or there is none like it";
    let hint = "write the rule's name, and the whole value after the change; take out what is noticed";
    Diagnostic::error("noticed-change", change.change.place(), message).hint(hint)
}

/// Returns whether the tests of a rule file stand elsewhere, in the file of the same name: there it is changed.
fn has_own_tests(file: &SourceFile, path: &Path) -> bool {
    let own = ["test.yaml", "test.yml"].map(|extension| Path::new(file.name()).with_extension(extension));
    own.iter().any(|own| own != path && own.exists())
}

/// Works on every item, as many at once as the host has processors; the results are in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, item)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    items.get(at).map(|item| (at, item))
                } {
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Tries the changes of one rule; `alone` is what became of each test without any change.
fn try_all(file: &SourceFile, mutants: &[Mutant], player: &Player, alone: &[Played]) -> Vec<(Mutant, Fate)> {
    let Some(rule) = mutants.first().map(|mutant| mutant.rule.as_str()) else { return Vec::new() };
    let judges = |played: &&Played| played.judged.iter().any(|trigger| is_of(trigger, rule));
    let mut order: Vec<&Played> = alone.iter().filter(judges).collect();
    if order.is_empty() {
        // It is no trigger by itself: any test may notice.
        order = alone.iter().collect();
    }
    order.sort_by_key(|played| (!player.tests[played.at].1.contains(rule), played.lasts));
    let mut order: Vec<usize> = order.into_iter().map(|played| played.at).collect();
    let mut tried = Vec::new();
    for mutant in mutants {
        let changed = mutant.apply(file);
        let fate = match player.play(&order, Texts::with(&changed)) {
            Ok(played) => match played.last().filter(|last| !last.passed) {
                Some(Played { at, .. }) => {
                    order.retain(|other| other != at);
                    order.insert(0, *at);
                    Fate::Caught(player.tests[*at].0.clone())
                }
                None => Fate::Survived,
            },
            Err(problems) => {
                let why = problems.into_iter().find(|problem| problem.level == Level::Error);
                Fate::Refused(why.map(|problem| problem.message).unwrap_or_default())
            }
        };
        tried.push((mutant.clone(), fate));
    }
    tried
}

/// Returns whether a trigger is what a rule is judged by: itself, one of its levels, a promise, a burn rate of a budget.
fn is_of(trigger: &str, rule: &str) -> bool {
    let name = trigger.split_once(':').map_or(trigger, |(_, name)| name);
    name.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A test file that is run again and again.
struct Player {
    path: PathBuf,
    files: Vec<SourceFile>,
    root: Node,
    /// The names of its tests, and their texts.
    tests: Vec<(String, String)>,
    /// In our own format, what need not be read again.
    rehearsal: Option<Rehearsal>,
}

impl Player {
    fn new(path: &Path) -> Result<Self, Refused> {
        let (files, root) = parse(path)?;
        let tests = files.first().map_or_else(Vec::new, |file| named_texts(file, &root));
        let native = files.first().filter(|_| native::is_native(&root));
        let rehearsal = native.and_then(|file| Rehearsal::read(path, &root, file.clone()));
        Ok(Self { path: path.to_owned(), files, root, tests, rehearsal })
    }

    fn unnoticeable(&self) -> &[Unnoticeable] {
        self.rehearsal.as_ref().map_or(&[], Rehearsal::unnoticeable)
    }

    /// Plays these tests in this order until one fails; tells of every one that was played.
    fn play(&self, order: &[usize], texts: Texts<'_>) -> Result<Vec<Played>, Vec<Diagnostic>> {
        if let Some(rehearsal) = &self.rehearsal {
            return rehearsal.play(order, texts);
        }
        // These cost next to nothing: all of them are run.
        let ran = run_promtool(&self.path, &self.root, self.files.clone(), texts, |_| true);
        let tests = ran.map_err(|refused| refused.problems)?.report.tests;
        let passed = |at: usize| tests.get(at).is_some_and(TestReport::passed);
        let played =
            |at: &usize| Played { at: *at, passed: passed(*at), lasts: Span::ZERO, judged: BTreeSet::new() };
        let until = order.iter().position(|at| !passed(*at)).map_or(order.len(), |first| first + 1);
        Ok(order[..until].iter().map(played).collect())
    }
}

/// Returns the tests of a file: their names, and what stands between the begin of one and that of the next.
fn named_texts(file: &SourceFile, root: &Node) -> Vec<(String, String)> {
    let Some(Node::Sequence(tests, _)) = native::key_of(root, "tests") else { return Vec::new() };
    let begins: Vec<usize> = tests.iter().map(|test| test.place().span.start).collect();
    let ends = begins.iter().skip(1).copied().chain([file.text().len()]);
    let texts = begins.iter().zip(ends).map(|(begin, end)| file.text().get(*begin..end).unwrap_or_default());
    let name = |(at, test): (usize, &Node)| match native::key_of(test, "name") {
        Some(Node::Scalar(name)) => name.value.clone(),
        _ => format!("unnamed#{at}"),
    };
    tests.iter().enumerate().map(name).zip(texts.map(str::to_owned)).collect()
}
