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
