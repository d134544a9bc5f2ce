//! `rearguard test --mutate`: every limit and window of the shipped rules is held in its place by a test, and what no test
//! notices is told.
//!
//! What is printed of a file with gaps is in `tests/golden/rule_mutations`. After a wanted change run with `BLESS=1` and read
//! the difference.

use std::path::Path;
use std::process::Command;

/// Runs the command; returns how it ended and what it printed.
fn mutate(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rearguard"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("test")
        .args(arguments)
        .output()
        .expect("runs");
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().expect("ends by itself"), String::from_utf8(printed).expect("is text"))
}

/// Every threshold and window one unit up and down, every comparison the other way at its limit: a test fails, by name.
/// The tests pass without a change, or this would end at once.
#[test]
fn a_test_notices_every_change_of_a_shipped_limit() {
    /// Changes that mean the same: each has its reason beside the tests, and there must not be many.
    const UNNOTICEABLE_MAX: usize = 13;
    /// So many there were; fewer would mean that some are no longer found.
    const CAUGHT_MIN: usize = 550;
    let (code, printed) = mutate(&["rules", "--mutate"]);
    let unnoticed: Vec<&str> = printed.lines().filter(|line| !line.contains("   caught by \"")).collect();
    assert_eq!(code, 0, "{}", unnoticed.join("\n"));
    let caught = printed.lines().count() - unnoticed.len();
    assert!(caught >= CAUGHT_MIN, "{caught} changes were caught");
    let excused = unnoticed.iter().filter(|line| line.contains("   unnoticeable: ")).count();
    assert!(excused <= UNNOTICEABLE_MAX, "{excused} changes are called unnoticeable");
}

#[test]
fn what_no_test_notices_is_told_with_its_place() {
    let (code, printed) = mutate(&["tests/files/rule_mutations", "--mutate"]);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rule_mutations/shop.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(golden.parent().expect("has a directory")).expect("created");
        std::fs::write(&golden, &printed).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(printed, expected);
    assert_eq!(code, 1);
}

#[test]
fn rules_are_chosen_by_name_and_nothing_to_change_is_wrong_usage() {
    let file = "tests/files/rule_mutations/shop.test.yaml";
    let (code, printed) = mutate(&[file, "--mutate=^Slow$"]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("Slow: ") && !printed.contains("Errors: "), "{printed}");
    let cases: [(&[&str], &str); 3] = [
        (&[file, "--mutate=nothing"], "there was nothing to change"),
        (&[file, "--mutate=("], "--mutate is not a regular expression"),
        (&[file, "--mutate", "--timeline"], "cannot be used with"),
    ];
    for (arguments, said) in cases {
        let (code, printed) = mutate(arguments);
        assert_eq!(code, 2, "{arguments:?}: {printed}");
        assert!(printed.contains(said), "{arguments:?}: {printed}");
    }
}

/// Where a test fails anyway, that one fails after a change proves nothing.
#[test]
fn nothing_is_changed_where_a_test_fails_without_a_change() {
    let (code, printed) = mutate(&["tests/files/rule_tests/failing/differences.test.yaml", "--mutate"]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("FAILS without a change") && !printed.contains("caught by"), "{printed}");
}
