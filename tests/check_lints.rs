//! What people see of the lints: `rearguard check` as a command, with its exit code.
//!
//! What each call prints is in `tests/golden/check_lints/NAME.txt`. After a wanted change run with `BLESS=1` and read the
//! difference.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs `rearguard check` and returns its exit code and what it printed.
fn check(arguments: &[&str], input: &[u8]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rearguard"))
        .arg("check")
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rearguard starts");
    // A command that does not read its input may be gone already.
    drop(child.stdin.take().expect("is piped").write_all(input));
    let output = child.wait_with_output().expect("rearguard ends");
    let printed =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("is UTF-8")).concat();
    (output.status.code(), printed)
}

const NATIVE: &str = "tests/files/lint/native/rearguard.yaml";
const ALERTS: &str = "tests/files/lint/alerts.yml";
const PAGE: &str = "tests/files/lint/page.prom.txt";

#[test]
fn every_call_is_answered_as_recorded() {
    let calls: &[(&str, &[&str])] = &[
        ("native", &[NATIVE]),
        ("native-with-page", &[NATIVE, "--metrics", PAGE]),
        ("alerts", &[ALERTS]),
        ("alerts-with-page", &["--strict", "--metrics", PAGE, ALERTS]),
        ("page", &["--strict", "--metrics", PAGE]),
        ("untidy-page", &["--warnings-as-errors", "--metrics", "tests/files/lint/untidy.prom.txt"]),
        ("broken-page", &["--metrics", "tests/files/lint/broken.prom.txt"]),
        ("explain", &["--explain", "never-fires"]),
        ("explain-unknown", &["--explain", "nevr-fires"]),
        ("json", &["--output", "json", "--strict", "--config", "tests/files/warnings/rearguard.yaml"]),
        ("rule-file-of-ours", &["tests/files/lint/native/rules/shop.yaml"]),
    ];
    let mut different = Vec::new();
    for (name, arguments) in calls {
        let (exit, printed) = check(arguments, b"");
        let actual = format!("{printed}[exit {}]\n", exit.unwrap_or(-1));
        let golden = PathBuf::from(format!("tests/golden/check_lints/{name}.txt"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &actual).expect("the golden file can be written");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if actual != expected {
            different.push(format!("=== {name}: expected\n{expected}\n=== {name}: actual\n{actual}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn exit_codes_say_what_was_found() {
    let clean = fs::read(PAGE).expect("is there");
    let cases: &[(&[&str], &[u8], i32)] = &[
        (&["tests/files/example/rearguard.yaml"], b"", 0),
        (&["--strict", "tests/files/example/rearguard.yaml"], b"", 0),
        (&["--config", "tests/files/example/rearguard.yaml"], b"", 0),
        (&["tests/files/warnings/rearguard.yaml"], b"", 0),
        (&["--strict", "tests/files/warnings/rearguard.yaml"], b"", 3),
        (&["tests/files/five/rearguard.yaml"], b"", 2),
        (&["tests/files/none/rearguard.yaml"], b"", 2),
        // Rule files of ours alone: what is wrong with them, and what is doubtful.
        (&["tests/files/example/rules/trading.yaml"], b"", 0),
        (&["--strict", "tests/files/example/rules/trading.yaml"], b"", 0),
        (&["tests/files/lint/native/rules/shop.yaml"], b"", 0),
        (&["--strict", "tests/files/lint/native/rules/shop.yaml"], b"", 3),
        (&["tests/files/five/rules/trading.yaml"], b"", 2),
        // The same triggers for the same target, twice.
        (&["tests/files/example/rules/trading.yaml", "tests/files/five/rules/trading.yaml"], b"", 2),
        (&["rules/virtuoso.yaml", "rules/virtuoso.promises.yaml", "rules/virtuoso.test.yaml"], b"", 0),
        (&["--metrics", "-"], &clean, 0),
        (&["--metrics", "-"], b"x 1", 1),
        (&["--metrics", "-"], b"", 0),
        // Without HELP: a note, which `--strict` does not count.
        (&["--strict", "--metrics", "-"], b"x 1\n", 0),
        (&["--metrics", "-"], b"x 1\n# EOF\n", 0),
        (&["--metrics", "-", "tests/files/five/rearguard.yaml"], b"x", 2),
        (&["--metrics", "tests/files/none"], b"", 2),
        (&["--explain"], b"", 0),
        (&["--explain", "nothing-of-the-kind"], b"", 2),
    ];
    for (arguments, input, expected) in cases {
        let (exit, printed) = check(arguments, input);
        assert_eq!(exit, Some(*expected), "{arguments:?}\n{printed}");
    }
}

#[test]
fn nothing_is_doubtful_about_the_rules_that_are_shipped() {
    let mut found = 0;
    for entry in fs::read_dir("rules").expect("is there") {
        let path = entry.expect("can be listed").path();
        if path.to_string_lossy().ends_with(".test.yaml") {
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let (exit, printed) = check(&["--strict", &path.to_string_lossy()], b"");
        // That there is no rearguard.yaml beside them is no doubt about them.
        let is_lint = |line: &&str| {
            (line.starts_with("warning[") || line.starts_with("note["))
                && !line.starts_with("note[checked-alone]")
        };
        let lints = printed.lines().filter(is_lint).count();
        assert_eq!((exit, lints), (Some(0), 0), "{}\n{printed}", path.display());
        found += 1;
    }
    assert!(found > 1, "{found} rule files are shipped");
}

/// Returns the files of one folder of the conformance data, or `None` where none is configured.
fn conformance(folder: &str) -> Option<Vec<PathBuf>> {
    let Some(root) = std::env::var_os("REARGUARD_CONFORMANCE") else {
        println!("skipped {folder}: REARGUARD_CONFORMANCE is not set");
        return None;
    };
    let folder = Path::new(&root).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("can be listed").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    Some(files)
}

#[test]
fn pages_of_the_conformance_data_pass_and_fail() {
    for (folder, expected) in [("exposition/accept", Some(0)), ("exposition/reject", Some(1))] {
        let Some(files) = conformance(folder) else { return };
        for file in &files {
            let (exit, printed) = check(&["--metrics", &file.to_string_lossy()], b"");
            assert_eq!(exit, expected, "{}\n{printed}", file.display());
        }
        println!("{folder}: {} pages", files.len());
    }
}

#[test]
fn rule_files_of_the_conformance_data_pass_and_fail() {
    for (folder, expected) in [("rules/good", Some(0)), ("rules/bad", Some(2))] {
        let Some(files) = conformance(folder) else { return };
        for file in &files {
            let (exit, printed) = check(&[&file.to_string_lossy()], b"");
            assert_eq!(exit, expected, "{}\n{printed}", file.display());
            // The alerts of test.yaml compare nothing: they do fire at 0 errors. All else is left alone.
            let is_known = |line: &str| {
                line.starts_with("warning[always-fires]") || line.starts_with("warning[duplicate-rule]")
            };
            let told: Vec<&str> = printed.lines().filter(|line| line.starts_with("warning[")).collect();
            let allowed = if file.ends_with("test.yaml") { 6 } else { 0 };
            assert!(
                expected == Some(2) || (told.len() <= allowed && told.iter().all(|line| is_known(line))),
                "{}\n{printed}",
                file.display()
            );
        }
        println!("{folder}: {} files", files.len());
    }
}

/// Returns the sources of a part of the program.
fn sources(directory: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("can be listed") {
        let path = entry.expect("can be listed").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn every_warning_can_be_explained() {
    let (_, listed) = check(&["--explain"], b"");
    let mut files = Vec::new();
    for part in ["src/engine", "src/config", "src/cli/check"] {
        sources(Path::new(part), &mut files);
    }
    let mut found = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("is text");
        let program = text.split("#[cfg(test)]").next().unwrap_or_default();
        for call in program.split("Diagnostic::warning(").skip(1) {
            let Some(name) = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
            else {
                continue;
            };
            let is_listed = listed.lines().any(|line| line.split_whitespace().next() == Some(name));
            assert!(is_listed, "{}: nothing explains `{name}`: add it to lint/catalog", file.display());
            found += 1;
        }
    }
    assert!(found > 15, "the warnings are found: {found}");
}
