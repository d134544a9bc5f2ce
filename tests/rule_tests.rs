//! `rearguard test`: our own format says what happened beside what was expected; promtool's unit tests mean here what they
//! mean there; what differs is told.
//!
//! Own cases are in `tests/files/rule_tests`: files that pass, that fail, that cannot be run. What is printed is in
//! `tests/golden/rule_tests`. After a wanted change run with `BLESS=1` and read the difference. Other projects' cases
//! are read from the directory that `$REARGUARD_CONFORMANCE` names.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a run printed, and how it ended.
struct Printed {
    code: i32,
    out: String,
    err: String,
}

fn test(arguments: &[&str]) -> Printed {
    let output = Command::new(env!("CARGO_BIN_EXE_rearguard"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("test")
        .args(arguments)
        .output()
        .expect("runs");
    Printed {
        code: output.status.code().expect("ends by itself"),
        out: String::from_utf8(output.stdout).expect("is text"),
        err: String::from_utf8(output.stderr).expect("is text"),
    }
}

/// Compares a text with what is recorded; returns both where they differ.
fn differs(name: &str, actual: &str) -> Option<String> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rule_tests").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(golden.parent().expect("has a directory")).expect("created");
        std::fs::write(&golden, actual).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    (actual != expected).then(|| format!("=== {name}: expected\n{expected}\n=== {name}: actual\n{actual}"))
}

#[test]
fn our_files_are_answered_as_recorded() {
    let cases = [
        ("passing", "text", 0, "passing.txt"),
        ("failing", "text", 1, "failing.txt"),
        ("invalid", "text", 2, "invalid.txt"),
        ("failing", "json", 1, "failing.json"),
        ("", "junit", 2, "all.xml"),
    ];
    let mut wrong = Vec::new();
    for (directory, output, code, golden) in cases {
        let printed = test(&[&format!("tests/files/rule_tests/{directory}"), "--output", output]);
        if printed.code != code {
            wrong.push(format!("{directory} ends with {}, not {code}: {}", printed.code, printed.err));
        }
        wrong.extend(differs(golden, &printed.out));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn json_says_what_failed_and_where() {
    let printed = test(&["tests/files/rule_tests/failing/differences.test.yaml", "--output", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&printed.out).expect("is JSON");
    assert_eq!(answer["passed"], false);
    let failure = &answer["files"][0]["tests"][0]["failures"][0];
    assert_eq!((failure["line"].as_u64(), failure["at_ms"].as_i64()), (Some(12), Some(360_000)));
    assert_eq!(failure["subject"], serde_json::json!({ "kind": "alert", "name": "InstanceDown" }));
    let invalid = test(&["tests/files/rule_tests/invalid", "--output", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&invalid.out).expect("is JSON");
    assert_eq!((invalid.code, &answer["passed"]), (2, &serde_json::json!(false)));
    assert_eq!(answer["files"][0]["problems"][0]["code"], "empty-file");
    assert!(invalid.err.contains("error[empty-file]"), "{}", invalid.err);
}

#[test]
fn a_timeline_is_told_to_programs_too_and_of_a_passed_test_where_asked_for() {
    let file = "tests/files/rule_tests/failing/timeline.test.yaml";
    let printed = test(&[file, "--output", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&printed.out).expect("is JSON");
    let tests = answer["files"][0]["tests"].as_array().expect("is a list");
    let timeline = tests[0]["timeline"].as_array().expect("is a list");
    let missing: Vec<_> = timeline.iter().filter(|line| line["sign"] == "expected").collect();
    assert_eq!(missing[0]["text"], "ErrorRateHigh fires");
    assert_eq!((missing[0]["at_ms"].as_i64(), missing[0]["line"].as_u64()), (Some(30_000), Some(7)));
    let passed = tests.iter().find(|test| test["name"] == "this one passes").expect("is there");
    assert!(passed.get("timeline").is_none(), "{passed}");
    let printed = test(&[file, "--run", "passes", "--timeline"]);
    assert_eq!(printed.code, 0);
    assert!(
        printed.out.contains("left out, for this test gives them nothing to read: Down"),
        "{}",
        printed.out
    );
}

/// Every shipped rule file has tests beside it, and they pass.
#[test]
fn the_shipped_rules_pass_their_tests() {
    let mut rules = 0;
    for entry in std::fs::read_dir("rules").expect("is there") {
        let path = entry.expect("can be listed").path();
        let name = path.to_string_lossy().into_owned();
        if name.ends_with(".yaml") && !name.ends_with(".test.yaml") {
            rules += 1;
            assert!(path.with_extension("test.yaml").exists(), "{name} has no tests beside it");
        }
    }
    assert!(rules > 1, "{rules} rule files are shipped");
    let printed = test(&["rules"]);
    assert_eq!(printed.code, 0, "{}{}", printed.out, printed.err);
}

/// One test with everything in it, twice, gives the same twice (E1).
#[test]
fn a_test_is_played_the_same_each_time() {
    let file = "tests/files/rule_tests/passing/native.test.yaml";
    let (first, second) = (test(&[file, "--timeline"]), test(&[file, "--timeline"]));
    assert!(first.out.lines().count() > 150, "{}", first.out);
    assert_eq!(first.out, second.out);
}

#[test]
fn tests_are_chosen_by_name() {
    let file = "tests/files/rule_tests/failing/differences.test.yaml";
    let cases: [(&[&str], usize, i32); 3] = [
        (&["--run", "nothing"], 1, 0),
        (&["--run", "^nothing", "--run", "several"], 2, 1),
        (&["--run", "differ"], 3, 1),
    ];
    for (run, tests, code) in cases {
        let printed = test(&[&[file], run].concat());
        let ran =
            printed.out.lines().filter(|line| line.starts_with("  passed") || line.starts_with("  FAILED"));
        assert_eq!((ran.count(), printed.code), (tests, code), "{run:?}: {}", printed.out);
    }
}

#[test]
fn a_run_without_tests_is_wrong_usage_and_never_a_pass() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().to_str().expect("is text");
    let empty = directory.path().join("none.yaml");
    std::fs::write(&empty, "tests: []\n").expect("written");
    let cases: [(&[&str], &str); 6] = [
        (&[], "required"),
        (&[place], "holds no test files"),
        (&["tests/none.yaml"], "no test was run"),
        (&[empty.to_str().expect("is text")], "no test was run"),
        (&["tests/files/rule_tests/passing", "--run", "unheard-of"], "no test's name fits --run unheard-of"),
        (&["tests/files/rule_tests/passing", "--run", "("], "--run is not a regular expression"),
    ];
    for (arguments, said) in cases {
        let printed = test(arguments);
        let all = format!("{}{}", printed.out, printed.err);
        let is_unreadable = arguments == ["tests/none.yaml"] && all.contains("cannot read tests/none.yaml");
        assert_eq!(printed.code, 2, "{arguments:?}: {all}");
        assert!(all.contains(said) || is_unreadable, "{arguments:?}: {all}");
    }
}

/// promtool, where it is installed, must say the same. Debian's may be older than the format: what it does not know
/// (`fuzzy_compare`, `start_timestamp`, quoted names, ranges that are open on the left) is not asked.
#[test]
fn promtool_agrees() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("SKIPPED: promtool is not installed");
        return;
    }
    let cases = [
        ("passing/shop", 0),
        ("passing/ordered", 0),
        ("failing/differences", 1),
        ("failing/between", 1),
        ("failing/rule-fails", 1),
        ("invalid/mistakes", 1),
    ];
    for (name, code) in cases {
        let file = format!("tests/files/rule_tests/{name}.test.yaml");
        let theirs = Command::new("promtool").args(["test", "rules", &file]).output().expect("runs");
        let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
        assert_eq!(theirs.status.code(), Some(code), "promtool on {file}: {said}");
        assert_eq!(test(&[&file]).code.min(1), code, "{file}");
    }
}

/// Returns the unit tests of other projects; says what is skipped where there are none.
fn conformance() -> Option<PathBuf> {
    let Some(directory) = std::env::var_os("REARGUARD_CONFORMANCE") else {
        println!("SKIPPED: other projects' rule tests; REARGUARD_CONFORMANCE names no directory of them");
        return None;
    };
    Some(Path::new(&directory).join("unit"))
}

#[test]
fn other_projects_tests_pass_and_fail_as_they_do_there() {
    let Some(directory) = conformance() else { return };
    let run = |name: &str, run: &[&str]| {
        let file = directory.join(name);
        test(&[&[file.to_str().expect("is text")], run].concat())
    };
    for name in ["failing.yml", "bad-promql.yml", "rules_run.yml"] {
        let printed = run(name, &[]);
        assert_eq!(printed.code, 1, "{name}: {}{}", printed.out, printed.err);
    }
    // Native histograms are not supported: the test that uses them fails, and says why; the others pass.
    let printed = run("unittest.yml", &["--output", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&printed.out).expect("is JSON");
    let tests = answer["files"][0]["tests"].as_array().expect("has tests");
    assert_eq!(tests.len(), 5);
    for test in tests {
        let failures = test["failures"].as_array().expect("is a list");
        let unsupported = |failure: &serde_json::Value| {
            failure["cause"]["message"].as_str().is_some_and(|message| message.contains("native histograms"))
        };
        let is_first = test["name"] == "unnamed#0";
        assert!(failures.iter().all(unsupported) && failures.is_empty() != is_first, "{test:#}");
    }
    let chosen = run("rules_run.yml", &["--run", "correct"]);
    assert_eq!(chosen.code, 0, "{}", chosen.out);
}
