//! The demo from end to end: real processes, real time, a real rollback. About a minute of waiting, little computing.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// More than a demo may take: its own limit is 100 s, and it stops its children in order.
const LIMIT: Duration = Duration::from_secs(180);

/// A running demo; killed when a test fails before its end.
struct Demo {
    child: Child,
    lines: BufReader<ChildStdout>,
    said: String,
}

impl Demo {
    fn start(arguments: &[&str], temporary: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rearguard"));
        command.arg("demo").args(arguments).env("TMPDIR", temporary).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the demo starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines, said: String::new() }
    }

    /// Reads on until a line contains `text`; the demo's own time limit bounds the wait.
    fn until(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let length = self.lines.read_line(&mut line).expect("text");
            self.said.push_str(&line);
            assert!(length > 0, "the demo ended before it said `{text}`:\n{}", self.said);
            if line.contains(text) {
                return line;
            }
        }
    }

    fn interrupt(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::INT).expect("the demo runs");
    }

    /// Waits for the end and returns the exit code and all that was said.
    fn end(mut self) -> (Option<i32>, String) {
        self.lines.read_to_string(&mut self.said).expect("text");
        let limit = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return (status.code(), std::mem::take(&mut self.said));
            }
            assert!(Instant::now() < limit, "the demo does not end:\n{}", self.said);
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It has ended already where the test has passed.
        self.child.kill().unwrap_or_default();
    }
}

/// Returns what lies in `directory`.
fn left_behind(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("it is there");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// Asserts that `said` contains every text, in this order.
fn assert_tells(said: &str, texts: &[&str]) {
    let mut rest = said;
    for text in texts {
        let at = rest.find(text).unwrap_or_else(|| panic!("`{text}` is missing or too early in\n{said}"));
        rest = &rest[at + text.len()..];
    }
}

#[test]
fn sabotaged_parts_fail_and_the_story_tells_how() {
    let cases: [(&str, &[&str]); 3] = [
        ("actuator", &["window full", "✗ step 2/3     switch back failed", "✗ failed", "-rollback: "]),
        ("verify", &["✓ step 2/3     switch back", "does not hold", "✗ partial", "-rollback: "]),
        (
            "receiver",
            &["✗ pagerduty    answers 500", "! delivery", "✓ rolled back", "✓ resolved", "0  taken"],
        ),
    ];
    thread::scope(|scope| {
        for (part, texts) in cases {
            scope.spawn(move || {
                let temporary = tempfile::tempdir().expect("a directory");
                let (code, said) = Demo::start(&["--sabotage", part], temporary.path()).end();
                assert_eq!(code, Some(0), "--sabotage {part}:\n{said}");
                assert_tells(&said, texts);
                assert_tells(&said, &["← mail", "✓ As it should be"]);
                assert_eq!(left_behind(temporary.path()), Vec::<String>::new(), "--sabotage {part}");
            });
        }
    });
}

#[test]
fn a_kept_demo_can_be_looked_at_with_the_other_commands() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut demo = Demo::start(&["--keep"], temporary.path());
    let mut shown = Vec::new();
    demo.until("left running until Ctrl-C");
    for command in ["status", "incident list", "incident show"] {
        let line = demo.until(command);
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        let output = Command::new(program).args(words).output().expect("the command runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}{text}{}", String::from_utf8_lossy(&output.stderr));
        shown.push(text);
    }
    assert!(shown[0].contains("trading-app"), "{}", shown[0]);
    assert!(shown[1].contains("I1"), "{}", shown[1]);
    assert!(shown[2].contains("switch back"), "{}", shown[2]);
    demo.interrupt();
    let (code, said) = demo.end();
    assert_eq!(code, Some(0), "{said}");
    assert_tells(
        &said,
        &[
            "version 2 goes out",
            "first breach",
            "window full",
            "decision",
            "← pagerduty    trigger",
            "✓ step 3/3",
            "▶ proof",
            "✓ rolled back",
            "✓ resolved",
            "← pagerduty    resolve",
            "detection",
            "recovery",
            "✓ As it should be",
        ],
    );
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut demo = Demo::start(&[], temporary.path());
    let daemon = demo.until("daemon (pid ");
    let pid =
        daemon.split_once("(pid ").and_then(|(_, rest)| rest.split_once(')')).expect("a pid").0.to_owned();
    demo.until("runs version 1");
    assert!(Path::new("/proc").join(&pid).exists(), "the daemon runs");
    demo.interrupt();
    let (code, said) = demo.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(!Path::new("/proc").join(&pid).exists(), "the daemon has gone down");
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
}
