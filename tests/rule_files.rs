//! Prometheus rule files load as they are, and what Prometheus refuses is refused with file, line and reason.
//!
//! Own cases are in `tests/files/prometheus_rules`; what is said about the bad ones is in
//! `tests/golden/prometheus_rules/NAME.txt`. After a wanted change run with `BLESS=1` and read the difference. Other
//! projects' cases are read from the directory that `$REARGUARD_CONFORMANCE` names.

use std::path::{Path, PathBuf};

use rearguard::config::{self, Style, source_file};
use rearguard::engine::rules::prometheus::{GroupDefaults, load};
use rearguard::engine::rules::{Diagnostic, Findings, Group, Level};

/// A file's groups, and everything that is said about it.
struct Answer {
    groups: Vec<Group>,
    problems: Vec<Diagnostic>,
    rendered: String,
}

fn answer(path: &Path) -> Answer {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = source_file(Path::new(path.file_name().expect("has a name")), &text);
    let mut out = Findings::default();
    let groups = load(&file, &GroupDefaults::default(), &mut out);
    let problems = out.into_problems();
    let rendered = config::render(&problems, std::slice::from_ref(&file), Style::Plain);
    Answer { groups, problems, rendered }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("can be listed").path()).collect();
    files.sort();
    files
}

fn is_refused(answer: &Answer) -> bool {
    answer.problems.iter().any(|problem| problem.level == Level::Error)
}

#[test]
fn our_good_files_load() {
    let files = files(Path::new("tests/files/prometheus_rules/good"));
    assert!(files.len() >= 5, "the corpus is whole: {files:?}");
    let counts: Vec<(String, usize, usize)> = files
        .iter()
        .map(|path| {
            let answer = answer(path);
            assert!(!is_refused(&answer), "{}", answer.rendered);
            let rules = answer.groups.iter().map(|group| group.rules.len()).sum();
            let name = path.file_name().expect("has a name").to_string_lossy().into_owned();
            (name, answer.groups.len(), rules)
        })
        .collect();
    let expected = [
        ("anchors.yaml", 1, 3),
        ("empty.yaml", 0, 0),
        ("no-groups.yaml", 0, 0),
        ("resource.yaml", 1, 1),
        ("shop.yml", 3, 3),
        ("twins.yaml", 1, 2),
    ];
    assert_eq!(counts, expected.map(|(name, groups, rules)| (name.to_owned(), groups, rules)));
}

#[test]
fn our_bad_files_are_refused_as_recorded() {
    let files = files(Path::new("tests/files/prometheus_rules/bad"));
    assert!(files.len() >= 5, "the corpus is whole: {files:?}");
    let mut different = Vec::new();
    for path in files {
        let answer = answer(&path);
        assert!(is_refused(&answer), "{} must be refused", path.display());
        let name = path.file_stem().expect("has a name").to_string_lossy().into_owned();
        let golden = PathBuf::from(format!("tests/golden/prometheus_rules/{name}.txt"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &answer.rendered).expect("the golden file can be written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if answer.rendered != expected {
            different.push(format!("=== {name}: expected\n{expected}\n=== actual\n{}", answer.rendered));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn other_projects_files_are_taken_or_refused() {
    let Some(root) = std::env::var_os("REARGUARD_CONFORMANCE") else {
        println!("skipped: rule files of other projects, because $REARGUARD_CONFORMANCE names no directory");
        return;
    };
    let rules = Path::new(&root).join("rules");
    let mut wrong = Vec::new();
    let (good, bad) = (files(&rules.join("good")), files(&rules.join("bad")));
    assert!(!good.is_empty() && !bad.is_empty(), "{} holds no files", rules.display());
    for path in &good {
        let answer = answer(path);
        if is_refused(&answer) {
            wrong.push(format!("{} must load\n{}", path.display(), answer.rendered));
        }
    }
    for path in &bad {
        let answer = answer(path);
        let name = path.file_name().expect("has a name").to_string_lossy();
        let located = answer.problems.iter().any(|problem| {
            let place = &problem.place;
            problem.level == Level::Error && *place.file == *name && !problem.message.is_empty()
        });
        if !located {
            wrong.push(format!("{} must be refused with file, line and reason", path.display()));
        } else if std::env::var_os("SHOW").is_some() {
            println!("{}", answer.rendered);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
