//! PromQL against scripts: our own in `tests/promql`, and Prometheus' own where `$REARGUARD_CONFORMANCE` holds them.
//!
//! A case may be refused with an error; it must never be answered wrongly. Our own scripts and the `*.core.test` ones
//! must pass as a whole. `$REARGUARD_PROMQL_TESTS` names one more directory of scripts.

#[path = "promql/data.rs"]
mod data;
#[path = "promql/judge.rs"]
mod judge;
#[path = "promql/script.rs"]
mod script;

use std::path::{Path, PathBuf};

use judge::Outcome;

/// The scripts of a directory, by name.
fn scripts(directory: &Path) -> Vec<(String, String)> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no scripts", directory.display());
    let read = |file: PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, String::from_utf8_lossy(&bytes).into_owned())
    };
    files.into_iter().map(read).collect()
}

/// Runs every script of a directory; returns what went wrong, as lines.
fn run_directory(directory: &Path, must_pass: impl Fn(&str) -> bool) -> Vec<String> {
    let mut report = format!("{}\n", directory.display());
    let mut complaints = Vec::new();
    let mut totals = [0; 4];
    for (name, text) in scripts(directory) {
        let mut counts = [0; 4];
        let mut refused = String::new();
        for case in script::run(&text) {
            let told = |what: &str, why: &str| {
                format!("  {name}:{}: {what}: {}\n    {why}\n", case.line, case.expression)
            };
            match &case.outcome {
                Outcome::Passed => counts[0] += 1,
                Outcome::Refused(why) => {
                    counts[1] += 1;
                    refused += &told("refused", why);
                    complaints.extend(must_pass(&name).then(|| told("refused", why)));
                }
                Outcome::Histograms => {
                    counts[2] += 1;
                    refused += &told("not asked", "native histograms");
                }
                Outcome::Wrong(why) => {
                    counts[3] += 1;
                    complaints.push(told("wrong", why));
                }
            }
        }
        report += &counted(&name, counts);
        report += &refused;
        for (total, count) in totals.iter_mut().zip(counts) {
            *total += count;
        }
    }
    print!("{report}{}", counted("all", totals));
    complaints
}

fn counted(name: &str, [passed, refused, histograms, wrong]: [usize; 4]) -> String {
    let total = passed + refused + histograms + wrong;
    format!(
        "{name:36} passed {passed:4} of {total:4}  refused {refused:3}  histograms {histograms:3}  wrong {wrong:3}\n"
    )
}

fn assert_nothing_wrong(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} cases:\n{}", complaints.len(), complaints.concat());
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
    let complaints = run_directory(Path::new(&directory), |name| !name.ends_with(".ext.test"));
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

#[test]
fn what_the_runner_cannot_read_is_refused_and_spoils_nothing_else() {
    let sound = "clear\nload 1m\n  x 1\n\neval instant at 0 x\n  x 1\n\n";
    let strange = [
        "frobnicate 5\n\n",
        "eval\n\n",
        "eval instant\n\n",
        "eval instant at 5q x\n\n",
        "eval range from 0 to 1m x\n\n",
        "eval range from 0 to 1m step 0 1\n\n",
        "eval range from 0 to 1000d step 1ms 1\n\n",
        "eval instant at 0 1\n  expect miracle\n\n",
        "eval instant at 0 1\n  expect range vector from 0 to\n\n",
        "eval instant at 0 x\n  x{a=\"b} 1\n\n",
        "load\n  x 1\n\neval instant at 0 x\n  x 1\n\n",
        "load 1m\n  x 1xy\n\neval instant at 0 x\n  x 1\n\n",
        "load 1m\n  x 1x99999999999\n\neval instant at 0 x\n  x 1\n\n",
        "load 1m\n  x{a=~\"b\"} 1\n\neval instant at 0 x\n  x 1\n\n",
        "load 1m\n  {\n\neval instant at 0 x\n  x 1\n\n",
    ];
    for script in strange {
        let cases = script::run(&format!("{script}{sound}{script}"));
        let outcomes: Vec<_> = cases.iter().map(|case| &case.outcome).collect();
        assert!(
            matches!(outcomes.as_slice(), [Outcome::Refused(_), Outcome::Passed, Outcome::Refused(_)]),
            "{script}"
        );
    }
}

/// Forms that scripts are written in, each with all of its cases passing.
#[test]
fn every_way_to_write_a_script_is_read() {
    let scripts = [
        "# comment\n\nload 1m\n\tx{a=\"b\"}\t1 2\n\neval\tinstant\tat\t1m\tx\n\tx{a=\"b\"}\t2\n",
        "load 1m\n  x 1\n# a comment ends the block\neval instant at 0 x\n  x 1\n",
        "load 1m\n  x 1\n\neval instant at 0 y\n\nclear\neval instant at 0 x\n",
        "load 60\n  x 010 1e1 +1 -1-1x1 .5 5. Inf -inf nan _x2 1\n\neval range from 0 to 11 step 1m x\n  x 8\n",
        "load 1m\n  x 010 1e1 +1 -1-1x1 .5 5. Inf -inf nan _x2 1\n\neval instant at 12m sum_over_time(x[13m])\n  {} NaN\n",
        "load 1m\n  x 1x3\n\nEVAL instant at 1m30s count_over_time(x[1h30m]) # how many\n  {} 2\n",
        "load 1m\n  {\"x.y\", \"a b\"='c'} 1\n\neval instant at 0 {\"x.y\"}\n  {__name__=\"x.y\", \"a b\"=`c`} 1\n",
        "load 1m\n  x{a=\"\"} 1\n\neval instant at 0 {__name__=\"x\"}\n  x{b=\"\",} 1\n",
        "eval instant 1 + 0x10\n  0x11\n",
        "eval instant at -5m time()\n  -300\n",
        "eval instant at 50 1_000 * 1m\n  60_000\n",
        "eval range from 0 to 2m step 1m 1\n  {} 1x2\n",
        "eval range from 0s to 2m step 30s time() > 60\n  expect fail\n",
        "load 1m\n  x 1\n  x 2\n\neval instant at 0 x\n  x 2\n",
        "load 1m\n  x 1\n\nload 2m\n  x _ 3\n\neval instant at 2m x\n  x 3\n",
        "load 1m\n  x 1 stale\n\neval range from 0 to 1m step 1m x\n  x 1 _\n",
        "load 1m\n  x{a=\"1\"} 1\n  x{a=\"2\"} 2\n\neval_ordered instant at 0 sort_desc(x)\n  x{a=\"2\"} 2\n  x{a=\"1\"} 1\n",
        "eval_fail instant at 0 rate(x)\n  expected_fail_message unexpected\n\neval_fail instant at 0 1 +\n  expected_fail_regexp .*\n",
        "eval_warn instant at 0 vector(1)\n  {} 1\n\neval_info instant at 0 vector(1)\n  {} 1\n",
        "eval instant at 0 vector(1)\n  expect no_warn\n  expect warn msg: some text\n  expect info regex: .*\n  {} 1\n",
        "eval instant at 0 1 == 1\n  expect fail regex: .*bool.*\n",
        "eval instant at 0 'a b'\n  expect string \"a b\"\n",
        "load 1m\n  x 1 2 3\n\neval instant at 2m x[2m]\n  expect range vector from 1m to 2m step 1m\n  x 2 3\n",
        "load 1m\n  x 1 _ 3\n\neval instant at 2m x[1h]\n  expect range vector from 0 to 2m step 1m\n  expect no_info\n  x 1 _ 3\n",
    ];
    let mut complaints = String::new();
    for script in scripts {
        let told: Vec<_> = script::run(script).iter().map(|case| told(&case.outcome)).collect();
        if told.is_empty() || told.iter().any(|told| told != "passed") {
            complaints += &format!("{script}{told:?}\n\n");
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Histograms => "histograms".to_owned(),
        Outcome::Refused(why) => format!("refused: {why}"),
        Outcome::Wrong(why) => format!("wrong: {why}"),
    }
}

#[test]
fn native_histograms_are_told_from_what_can_be_asked_beside_them() {
    let load = "load 1m\n  h {{schema:0 sum:5 count:4}}x3\n  x{a=\"{{\"} 0x10\n\n";
    let cases = [
        ("eval instant at 0 h\n  h {{schema:0}}\n", "histograms"),
        ("eval instant at 0 {__name__=~\"h|x\"}\n  x{a=\"{{\"} 0\n", "histograms"),
        ("eval instant at 10m x\n  x{a=\"{{\"} 0\n", "passed"),
        ("eval instant at 10m nothing\n  {{}}\n", "histograms"),
        ("load_with_nhcb 1m\n  c_bucket{le=\"1\"} 1\n\neval instant at 0 c\n  c {{}}\n", "histograms"),
        (
            "load_with_nhcb 1m\n  c_bucket{le=\"1\"} 1\n\neval instant at 0 c_bucket\n  c_bucket{le=\"1\"} 1\n",
            "passed",
        ),
    ];
    for (script, expected) in cases {
        let outcomes: Vec<_> = script::run(&format!("{load}{script}"))
            .into_iter()
            .map(|case| told(&case.outcome).split(':').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(outcomes, [expected], "{script}");
    }
}
