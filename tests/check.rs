//! What people see when they check their files: every problem at its place, with what to do next.
//!
//! Each directory of `tests/files` is a configuration; what `rearguard check` says about it is in
//! `tests/golden/check/NAME.txt`. After a wanted change run with `BLESS=1` and read the difference.

use std::path::{Path, PathBuf};

use rearguard::config::{self, Style};
use rearguard::engine::rules::Level;

/// Returns what is said about the configuration in `directory`.
fn report(directory: &Path) -> String {
    match config::load(&directory.join("rearguard.yaml")) {
        Ok(loaded) => format!("loads\n\n{}", loaded.render_warnings(Style::Plain)),
        Err(refused) => format!("refused\n\n{}", refused.render(Style::Plain)),
    }
}

#[test]
fn every_configuration_is_answered_as_recorded() {
    let mut directories: Vec<PathBuf> = std::fs::read_dir("tests/files")
        .expect("tests/files is there")
        .map(|entry| entry.expect("can be listed").path())
        .filter(|path| path.join("rearguard.yaml").exists())
        .collect();
    directories.sort();
    assert!(directories.len() >= 9, "the corpus is whole: {directories:?}");
    let mut different = Vec::new();
    for directory in directories {
        let name = directory.file_name().expect("has a name").to_string_lossy().into_owned();
        let golden = PathBuf::from(format!("tests/golden/check/{name}.txt"));
        let actual = report(&directory);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &actual).expect("the golden file can be written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if actual != expected {
            different.push(format!("=== {name}: expected\n{expected}\n=== {name}: actual\n{actual}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn five_mistakes_in_one_file_are_five_located_errors() {
    let refused = config::load(Path::new("tests/files/five/rearguard.yaml")).expect_err("has mistakes");
    let told: Vec<(usize, &str)> =
        refused.problems.iter().map(|problem| (problem.place.line, problem.code)).collect();
    let expected = [
        (6, "bad-expression"),
        (12, "missing-unit"),
        (17, "unknown-indicator"),
        (23, "bad-duration"),
        (28, "unknown-name"),
    ];
    assert_eq!(told, expected);
    assert!(refused.problems.iter().all(|problem| problem.level == Level::Error));
}

#[test]
fn secrets_that_stand_in_the_file_are_never_shown() {
    for file in ["tests/files/root-wrong/rearguard.yaml", "tests/files/probes-wrong/rearguard.yaml"] {
        let refused = config::load(Path::new(file)).expect_err("has mistakes");
        for text in [refused.render(Style::Plain), refused.render(Style::Colored)] {
            for secret in ["0123456789abcdef", "hunter2"] {
                assert!(!text.contains(secret), "{secret} is shown:\n{text}");
            }
        }
    }
}

#[test]
fn every_mistake_about_judging_is_told_at_its_place() {
    let refused = config::load(Path::new("tests/files/judgement/rearguard.yaml")).expect_err("has mistakes");
    let told: Vec<(&str, usize, usize, &str)> = refused
        .problems
        .iter()
        .filter(|problem| problem.level == Level::Error)
        .map(|problem| {
            let file = problem.place.file.rsplit('/').next().unwrap_or_default();
            (file, problem.place.line, problem.place.column, problem.code)
        })
        .collect();
    let expected = [
        ("rearguard.yaml", 18, 79, "bad-date"),
        ("rearguard.yaml", 18, 103, "bad-date"),
        ("rearguard.yaml", 19, 24, "unknown-time-zone"),
        ("rearguard.yaml", 19, 44, "no-days"),
        ("rearguard.yaml", 19, 54, "bad-time"),
        ("depot.yaml", 6, 50, "baseline-without-deployment"),
        ("depot.yaml", 6, 97, "baseline-without-deployment"),
        ("depot.yaml", 7, 13, "duplicate-trigger"),
        ("depot.yaml", 10, 33, "baseline-without-deployment"),
        ("shop.yaml", 3, 1, "no-interval"),
        ("shop.yaml", 9, 38, "cyclic-indicators"),
        ("shop.yaml", 10, 38, "cyclic-indicators"),
        ("shop.yaml", 12, 31, "unknown-indicator"),
        ("shop.yaml", 13, 44, "wrong-unit"),
        ("shop.yaml", 14, 41, "missing-unit"),
        ("shop.yaml", 15, 53, "short-window"),
        ("shop.yaml", 16, 53, "short-window"),
        ("shop.yaml", 18, 13, "duplicate-trigger"),
        ("shop.yaml", 19, 75, "unknown-name"),
        ("shop.yaml", 20, 48, "not-supported-yet"),
        ("shop.yaml", 22, 24, "bad-weight"),
        ("shop.yaml", 22, 44, "bad-weight"),
        ("shop.yaml", 22, 58, "bad-weight"),
        ("shop.yaml", 24, 74, "bad-weight"),
        ("shop.yaml", 25, 15, "duplicate-promise"),
        ("shop.yaml", 26, 39, "wrong-unit"),
        ("shop.yaml", 28, 83, "bad-objective"),
        ("shop.yaml", 29, 83, "bad-objective"),
        ("shop.yaml", 30, 83, "bad-objective"),
        ("shop.yaml", 31, 98, "bad-period"),
    ];
    assert_eq!(told, expected);
}
