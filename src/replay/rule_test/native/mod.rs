//! Rule tests in our own format: everything that the daemon would decide, under virtual time.
//!
//! A test says what is measured, what happens besides, and what must follow: verdicts, rollbacks and pages with their
//! times and reasons, and their absence. It is played by the engine that the daemon runs, behind the same ledger; what its
//! rules name of the world is made up where the test does not declare it.
//!
//! ```text
//! file -> written -> stage (rules loaded in a world) -> session -> story -> judge -> report
//! ```

mod behaviour;
mod check;
mod commands;
mod course;
mod expectation;
mod given;
mod happens;
mod judge;
mod outside;
mod probes;
mod session;
mod stage;
mod state;
mod story;
mod world;
mod written;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::report::{FileReport, TestReport};
use super::texts::Texts;
use super::{Ran, Refused};
use crate::engine::rules::yaml::Node;
use crate::engine::rules::{Diagnostic, Findings, SourceFile};
use crate::engine::time::Span;
use happens::Occurrence;
use stage::{Scenery, Stage};
pub(in crate::replay::rule_test) use world::get as key_of;
pub(super) use written::Unnoticeable;
use written::{OWN_FILE_KEYS, OWN_TEST_KEYS, Test, TestFile};

/// No test lasts longer: beyond it a value is mistyped.
const LASTS_MAX: Span = Span::from_secs(400 * 86_400);

/// How much longer a failing test is played at least, to see whether what is missing comes later.
const LOOKS_ON_FOR: Span = Span::from_secs(300);

/// Returns whether a test file is of this format: some key in it belongs to no other.
pub(super) fn is_native(root: &Node) -> bool {
    let has = |node: &Node, keys: &[&str]| keys.iter().any(|key| world::get(node, key).is_some());
    let tests = match world::get(root, "tests") {
        Some(Node::Sequence(tests, _)) => tests.as_slice(),
        _ => &[],
    };
    has(root, &OWN_FILE_KEYS) || tests.iter().any(|test| has(test, &OWN_TEST_KEYS))
}

/// Runs those tests of a file whose name `wanted` accepts; `files` holds the file itself.
///
/// # Errors
///
/// Everything that is wrong with the test file, its world and its rule files.
pub(super) fn run(
    path: &Path,
    root: &Node,
    mut files: Vec<SourceFile>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Ran, Refused> {
    let mut out = Findings::default();
    let played = match (written::read(root, &mut out), files.first().cloned()) {
        (Some(written), Some(file)) => {
            let scenery = Scenery::read(path, &file, &written, Texts::default(), &mut files, &mut out);
            let set = |test: Test| {
                let stage = set(&test, &scenery, &mut files, &mut out);
                (test, stage)
            };
            let tests = written.tests.iter().filter(|test| !scenery.is_empty() && wanted(&test.name));
            Some(tests.cloned().map(set).collect::<Vec<_>>())
        }
        _ => None,
    };
    let (played, warnings) = match told_once(out).conclude(played) {
        Ok((Some(played), warnings)) => (played, warnings),
        Ok((None, problems)) | Err(problems) => return Err(Refused { problems, files }),
    };
    let tests = played.iter();
    let tests =
        tests.filter_map(|(test, stage)| stage.as_ref().map(|(stage, lasts)| play(test, stage, *lasts)));
    let report = FileReport { file: path.display().to_string(), tests: tests.collect() };
    Ok(Ran { report, warnings, files })
}

/// A test file that is played again and again, with rule files that differ.
pub(super) struct Rehearsal {
    path: PathBuf,
    file: SourceFile,
    written: TestFile,
}

impl Rehearsal {
    /// Reads a test file's tree; `None` where it is wrong, which running it tells.
    pub(super) fn read(path: &Path, root: &Node, file: SourceFile) -> Option<Self> {
        let written = written::read(root, &mut Findings::default())?;
        Some(Self { path: path.to_owned(), file, written })
    }

    /// Returns the changes of the rules that mean nothing.
    pub(super) fn unnoticeable(&self) -> &[Unnoticeable] {
        &self.written.unnoticeable
    }

    /// Plays these tests in this order until one fails; tells of every one that was played.
    ///
    /// # Errors
    ///
    /// What is wrong with the rule files or the test.
    pub(super) fn play(&self, order: &[usize], texts: Texts<'_>) -> Result<Vec<Played>, Vec<Diagnostic>> {
        let (mut files, mut out) = (Vec::new(), Findings::default());
        let scenery = Scenery::read(&self.path, &self.file, &self.written, texts, &mut files, &mut out);
        let mut all = Vec::new();
        for at in order {
            let Some(test) = self.written.tests.get(*at) else { continue };
            let stage = set(test, &scenery, &mut files, &mut out);
            let Some((stage, lasts)) = stage.filter(|_| !out.has_errors()) else {
                return Err(out.into_problems());
            };
            let story = session::play(test, &stage, lasts);
            // Nobody reads why it failed: what would come later is not looked for.
            let longer = || story.clone();
            let passed = judge::judge(test, &story, longer).0.is_empty();
            all.push(Played { at: *at, passed, lasts, judged: stage.judged() });
            if !passed {
                break;
            }
        }
        Ok(all)
    }
}

/// What became of a test that was played without a report.
pub(super) struct Played {
    /// Its number in the file, from 0.
    pub(super) at: usize,
    pub(super) passed: bool,
    /// How long it lasts.
    pub(super) lasts: Span,
    /// The triggers that it has to do with.
    pub(super) judged: BTreeSet<String>,
}

/// Loads what a test is played on, and finds out how long it lasts.
fn set(
    test: &Test,
    scenery: &Scenery<'_>,
    files: &mut Vec<SourceFile>,
    out: &mut Findings,
) -> Option<(Stage, Span)> {
    let stage = scenery.set(test, files, out)?;
    check::check(test, &stage, out);
    let every = |source| stage.loaded.setup.sources.get(source).map_or(Span::ZERO, |pace| pace.every);
    let courses = stage.series.iter().map(|(source, _, course)| course.lasts(every(source)));
    let happens = test.happens.iter().map(|happens| match &happens.what {
        Occurrence::Source { lasts, .. } | Occurrence::Journal { lasts } => {
            happens.at + lasts.unwrap_or(Span::ZERO)
        }
        Occurrence::Restart { down, .. } => happens.at + *down,
        _ => happens.at,
    });
    let expected = test.expect.iter().filter_map(|expected| expected.want.last());
    let lasts = courses.chain(happens).chain(expected).chain(test.until).max().unwrap_or(Span::ZERO);
    if lasts.is_zero_or_negative() && test.expect.iter().all(|expected| expected.want.last().is_none()) {
        let message = "nothing says how long this test lasts";
        let hint = "write `until: 10m`, or give its values a length: `3% for 60s`";
        out.push(Diagnostic::error("no-length", test.place.clone(), message).hint(hint));
    }
    if lasts > LASTS_MAX {
        let message = format!("this test lasts {lasts}, more than {LASTS_MAX}");
        out.push(Diagnostic::error("too-long", test.place.clone(), message));
        return None;
    }
    Some((stage, lasts))
}

fn play(test: &Test, stage: &Stage, lasts: Span) -> TestReport {
    let story = session::play(test, stage, lasts);
    let longer = || session::play(test, stage, lasts + lasts.max(LOOKS_ON_FOR));
    let (failures, timeline) = judge::judge(test, &story, longer);
    TestReport {
        name: test.name.clone(),
        line: test.place.line,
        checks: test.expect.len(),
        failures,
        timeline,
    }
}

/// Each test loads the rules anew, in a world of its own: what is wrong with them is told once.
fn told_once(found: Findings) -> Findings {
    let mut told: Vec<Diagnostic> = Vec::new();
    for problem in found.into_problems() {
        if !told.contains(&problem) {
            told.push(problem);
        }
    }
    let mut out = Findings::default();
    out.extend(told);
    out
}
