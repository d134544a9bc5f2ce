//! PromQL against scripts: our own in `tests/promql`, and Prometheus' own where `$REARGUARD_CONFORMANCE` holds them.
//!
//! A case may be refused with an error; it must never be answered wrongly. Our own scripts and the `*.core.test` ones
//! must pass as a whole. `$REARGUARD_PROMQL_TESTS` names one more directory of scripts.

#[path = "promql/script.rs"]
mod script;

use std::path::{Path, PathBuf};

use script::Outcome;

/// Runs every script of a directory; returns what went wrong, as lines.
fn run_directory(directory: &Path, must_pass: impl Fn(&str) -> bool) -> Vec<String> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no scripts", directory.display());
    let mut complaints = Vec::new();
    let mut totals = [0; 3];
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut counts = [0; 3];
        for case in script::run(&text) {
            let (at, line) = match &case.outcome {
                Outcome::Passed => (0, None),
                Outcome::Refused(why) => {
                    let line = format!("{name}:{}: refused: {}\n    {why}", case.line, case.expression);
                    (1, must_pass(&name).then_some(line))
                }
                Outcome::Wrong(why) => {
                    (2, Some(format!("{name}:{}: wrong: {}\n    {why}", case.line, case.expression)))
                }
            };
            counts[at] += 1;
            complaints.extend(line);
        }
        println!("{name:32} passed {:4}  refused {:4}  wrong {:4}", counts[0], counts[1], counts[2]);
        for (total, count) in totals.iter_mut().zip(counts) {
            *total += count;
        }
    }
    println!("{:32} passed {:4}  refused {:4}  wrong {:4}", "all", totals[0], totals[1], totals[2]);
    complaints
}

fn assert_nothing_wrong(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} cases:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn our_own_scripts_pass() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql");
    assert_nothing_wrong(&run_directory(&directory, |_| true));
}

#[test]
fn prometheus_core_scripts_pass_and_no_other_is_answered_wrongly() {
    let Some(root) = std::env::var_os("REARGUARD_CONFORMANCE") else {
        println!("skipped: $REARGUARD_CONFORMANCE names no directory with Prometheus' test scripts");
        return;
    };
    let complaints = run_directory(&Path::new(&root).join("promql"), |name| name.ends_with(".core.test"));
    assert_nothing_wrong(&complaints);
}

#[test]
fn further_scripts_are_not_answered_wrongly() {
    let Some(directory) = std::env::var_os("REARGUARD_PROMQL_TESTS") else {
        println!("skipped: $REARGUARD_PROMQL_TESTS names no directory of further scripts");
        return;
    };
    let complaints = run_directory(Path::new(&directory), |name| name.ends_with(".core.test"));
    assert_nothing_wrong(&complaints);
}

#[test]
fn the_runner_notices_wrong_answers() {
    let load = "load 1m\n  x{a=\"b\"} 1 2\n  x{a=\"c\"} 3\n\n";
    let wrong = [
        "eval instant at 0 x\n  x{a=\"b\"} 1\n",
        "eval instant at 0 x{a=\"b\"}\n  x{a=\"b\"} 1.001\n",
        "eval instant at 0 x{a=\"b\"}\n  {a=\"b\"} 1\n",
        "eval instant at 0 x{a=\"b\"}\n",
        "eval instant at 0 sort(x)\n  expect ordered\n  x{a=\"c\"} 3\n  x{a=\"b\"} 1\n",
        "eval instant at 0 1 + 1\n  3\n",
        "eval instant at 0 x\n  expect fail\n",
        "eval range from 0 to 1m step 1m x{a=\"b\"}\n  x{a=\"b\"} 1 _\n",
        "eval instant at 0 \"a\"\n  expect string \"b\"\n",
    ];
    for script in wrong {
        let cases = script::run(&format!("{load}{script}"));
        assert!(matches!(cases.as_slice(), [case] if matches!(case.outcome, Outcome::Wrong(_))), "{script}");
    }
    let refused = script::run(&format!("{load}eval instant at 0 info(x)\n  x 1\n"));
    assert!(matches!(refused.as_slice(), [case] if matches!(case.outcome, Outcome::Refused(_))));
}
