//! Rollback steps against real processes and a real HTTP server: at most once, bounded, told apart.

mod effects_fixture;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rearguard::effects::step::{StepRunner, end, gate, is_alive, until_gone};
use rearguard::engine::decision::setup::StepAction;
use rearguard::engine::decision::{StepEnding, StepHandle, StepOrder, StepResult};
use rearguard::engine::model::{EffectId, RollbackId};
use rearguard::engine::time::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use effects_fixture::{JOURNAL, facts};

fn runner() -> StepRunner {
    // A second test in this process finds it installed.
    rustls::crypto::ring::default_provider().install_default().ok();
    StepRunner::new(env!("CARGO_BIN_EXE_rearguard").into(), rearguard::effects::http::client().unwrap())
}

fn order(action: StepAction, timeout_ms: i64) -> StepOrder {
    StepOrder {
        effect: EffectId(40),
        key: format!("{JOURNAL}-E40"),
        rollback: RollbackId(3),
        plan: "emergency".into(),
        step: "reroute traffic".to_owned(),
        action,
        timeout: Span::from_millis(timeout_ms),
        facts: facts(),
    }
}

fn exec(argv: &[&str], timeout_ms: i64) -> StepOrder {
    order(StepAction::Exec { argv: argv.iter().map(|text| (*text).to_owned()).collect() }, timeout_ms)
}

fn shell(script: &str, timeout_ms: i64) -> StepOrder {
    exec(&["/bin/sh", "-c", script], timeout_ms)
}

async fn run(order: &StepOrder) -> StepEnding {
    match runner().prepare(order).await {
        Ok(prepared) => prepared.release().await,
        Err(ending) => ending,
    }
}

fn failed(reason: &str) -> StepResult {
    StepResult::Failed(reason.to_owned())
}

/// Returns whether a process is there and not a zombie.
fn exists(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits, with a bound, until something is so.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn endings_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let plain_file = directory.path().join("plain");
    std::fs::write(&plain_file, "#!/bin/sh\n").unwrap();
    let bad_interpreter = directory.path().join("script");
    std::fs::write(&bad_interpreter, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&bad_interpreter, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (plain_file, bad_interpreter) = (plain_file.to_str().unwrap(), bad_interpreter.to_str().unwrap());
    let no_file = "No such file or directory (os error 2)";
    let cases = [
        (shell("echo done", 5000), StepResult::Succeeded, "done"),
        (shell("echo no >&2; exit 3", 5000), failed("exit code 3"), "no"),
        (shell("kill -SEGV $$", 5000), failed("killed by SIGSEGV"), ""),
        // The codes of the gate, said by the program itself.
        (shell("exit 125", 5000), failed("exit code 125"), ""),
        (shell("exit 127", 5000), failed("exit code 127"), ""),
        (
            exec(&["/no/such/program", "x"], 5000),
            failed(&format!("/no/such/program: not found (or its interpreter is): {no_file}")),
            &format!("rearguard step-gate: /no/such/program: not found (or its interpreter is): {no_file}"),
        ),
        (
            exec(&[plain_file], 5000),
            failed(&format!(
                "{plain_file}: not executable, or not for this user: Permission denied (os error 13)"
            )),
            &format!(
                "rearguard step-gate: {plain_file}: not executable, or not for this user: Permission denied (os error 13)"
            ),
        ),
        (
            exec(&[bad_interpreter], 5000),
            failed(&format!("{bad_interpreter}: not found (or its interpreter is): {no_file}")),
            &format!("rearguard step-gate: {bad_interpreter}: not found (or its interpreter is): {no_file}"),
        ),
        (
            exec(&["sh", "-c", "true"], 5000),
            failed("sh: not an absolute path; name the program as /path/to/program"),
            "",
        ),
        (exec(&[], 5000), failed("the step names no program"), ""),
    ];
    for (order, result, output) in cases {
        let ending = run(&order).await;
        assert_eq!((&ending.result, ending.output.as_str()), (&result, output), "{:?}", order.action);
    }
}

#[tokio::test]
async fn nothing_runs_before_the_release_or_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let canary = directory.path().join("canary");
    let order = shell(&format!("touch {}", canary.display()), 5000);

    let abandoned = runner().prepare(&order).await.unwrap();
    let StepHandle::Process { pid, start_ticks, boot_id } = abandoned.handle() else { panic!("a process") };
    assert!(is_alive(&abandoned.handle()));
    // The same pid with another start or in another boot is another process.
    let boot = boot_id.clone();
    assert!(!is_alive(&StepHandle::Process { pid, start_ticks: start_ticks + 1, boot_id }));
    assert!(!is_alive(&StepHandle::Process { pid, start_ticks, boot_id: format!("{boot}x") }));
    abandoned.abandon().await;
    assert!(!is_alive(&StepHandle::Process { pid, start_ticks, boot_id: boot }));

    // Dropped, as when the daemon dies: the gate sees the end of its input.
    let dropped = runner().prepare(&order).await.unwrap();
    let handle = dropped.handle();
    drop(dropped);
    eventually("the gate has gone", || !is_alive(&handle)).await;
    assert!(!canary.exists());

    let released = runner().prepare(&order).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!canary.exists());
    assert_eq!(released.release().await.result, StepResult::Succeeded);
    assert!(canary.exists());
}

#[test]
fn a_gate_without_go_exits_with_its_own_code() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let directory = tempfile::tempdir().unwrap();
    let canary = directory.path().join("canary");
    let order = gate::GateOrder {
        argv: vec!["/usr/bin/touch".to_owned(), canary.to_str().unwrap().to_owned()],
        env: Default::default(),
        stdin: String::new(),
    };
    let order = serde_json::to_string(&order).unwrap();
    for input in [
        String::new(),
        "nonsense\ngo\n".to_owned(),
        order.clone(),
        format!("{order}\n"),
        format!("{order}\ngo"),
    ] {
        let mut gate = Command::new(env!("CARGO_BIN_EXE_rearguard"))
            .arg(gate::COMMAND)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        gate.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert_eq!(gate.wait().unwrap().code(), Some(i32::from(gate::NOTHING_RAN)), "{input}");
        assert!(!canary.exists(), "{input}");
    }
}

#[tokio::test]
async fn a_hanging_step_is_terminated_and_its_group_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    // A child that ignores SIGTERM, in the same group, holding the output open.
    let script =
        format!("sh -c 'trap \"\" TERM; sleep 600' & echo $! > {}; echo waiting; wait", pid_file.display());
    let begun = Instant::now();
    let ending = run(&shell(&script, 300)).await;
    assert_eq!(ending.result, StepResult::TimedOut);
    assert_eq!(ending.output, "waiting");
    assert!(begun.elapsed() < Duration::from_secs(2), "SIGTERM was enough for the leader");
    assert!(
        ending.took >= Span::from_millis(300) && ending.took < Span::from_millis(2000),
        "{}",
        ending.took
    );
    let child = std::fs::read_to_string(&pid_file).unwrap();
    eventually("the child has gone too", || !exists(&child)).await;
}

#[tokio::test]
async fn a_step_that_ignores_sigterm_is_killed() {
    let begun = Instant::now();
    let ending = run(&shell("trap '' TERM; exec >&- 2>&-; while :; do sleep 0.1; done", 200)).await;
    assert_eq!(ending.result, StepResult::TimedOut);
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn what_a_step_leaves_behind_neither_delays_nor_survives_it() {
    let directory = tempfile::tempdir().unwrap();
    let (in_group, escaped) = (directory.path().join("in_group"), directory.path().join("escaped"));
    let script = format!(
        "sleep 600 & echo $! > {}; setsid sleep 60 & echo $! > {}; echo done",
        in_group.display(),
        escaped.display()
    );
    let begun = Instant::now();
    let ending = run(&shell(&script, 60_000)).await;
    assert_eq!((ending.result, ending.output.as_str()), (StepResult::Succeeded, "done"));
    assert!(begun.elapsed() < Duration::from_secs(2));
    let in_group = std::fs::read_to_string(in_group).unwrap();
    eventually("the member of the group has gone", || !exists(&in_group)).await;
    // Out of reach without a cgroup; ended here so that the test leaves nothing.
    let escaped = std::fs::read_to_string(escaped).unwrap();
    let escaped = rustix::process::Pid::from_raw(escaped.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(escaped, rustix::process::Signal::KILL).ok();
}

#[tokio::test]
async fn a_flood_of_output_neither_stalls_nor_grows() {
    let before = resident_kib();
    let ending = run(&shell("head -c 200000000 /dev/zero | tr '\\0' 'x'; echo; echo end", 60_000)).await;
    let grown = resident_kib().saturating_sub(before);
    assert_eq!(ending.result, StepResult::Succeeded);
    assert!(ending.output.ends_with("\nend"), "{}", ending.output);
    assert!(ending.output.starts_with("[1999"), "{}", &ending.output[..100]);
    assert!(ending.output.chars().count() < 5000);
    assert!(grown < 8 * 1024, "grew by {grown} KiB");
}

/// Returns this process' resident memory.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn an_endless_flood_ends_at_its_budget() {
    let ending = run(&exec(&["/usr/bin/yes", "\u{1b}[31mred"], 300)).await;
    assert_eq!(ending.result, StepResult::TimedOut);
    assert!(ending.output.ends_with("\\u{1b}[31mred"), "{}", ending.output);
    assert!(ending.took < Span::from_secs(2), "{}", ending.took);
}

/// Everything hostile that a label can hold, and 64 KiB of it.
fn hostile(canary: &Path) -> String {
    let canary = canary.display();
    format!(
        "; touch {canary} $(touch {canary}) `touch {canary}` \n touch {canary}\r\n--option ../.. ' \" \\ \u{202e}rtl {}",
        "x".repeat(10_000)
    )
}

#[tokio::test]
async fn hostile_facts_arrive_as_one_literal_value() {
    let directory = tempfile::tempdir().unwrap();
    let (canary, out) = (directory.path().join("canary"), directory.path().join("out"));
    let text = hostile(&canary);
    let script = "printf '%s' \"$REARGUARD_REASON\" > \"$0/env\"; printf '%s' \"$1\" > \"$0/arg\"; \
                  printf '%s' \"$#\" > \"$0/count\"; cat > \"$0/stdin\"";
    std::fs::create_dir(&out).unwrap();
    let mut order = exec(&["/bin/sh", "-c", script, out.to_str().unwrap(), &text], 5000);
    order.facts.reason = text.clone();
    order.facts.labels = rearguard::engine::model::Labels::from_pairs([("path", text.as_str())]);
    assert_eq!(run(&order).await.result, StepResult::Succeeded);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(read("env"), text);
    assert_eq!(read("arg"), text);
    assert_eq!(read("count"), "1");
    let brief: serde_json::Value = serde_json::from_str(&read("stdin")).unwrap();
    assert_eq!(brief["incident"]["reason"], text);
    assert_eq!(brief["incident"]["labels"]["path"], text);
    assert_eq!(brief["step"], "reroute traffic");
    assert!(!canary.exists());
}

#[tokio::test]
async fn nul_and_oversized_values_still_run() {
    let mut order = exec(
        &[
            "/bin/sh",
            "-c",
            "printf '%s|%s' \"$REARGUARD_REASON\" \"$0\"; echo; echo ${#REARGUARD_TRIGGER}",
            "a\0b",
        ],
        5000,
    );
    order.facts.reason = "before\0after".to_owned();
    order.facts.cause = "🚨".repeat(100_000);
    let ending = run(&order).await;
    assert_eq!(ending.result, StepResult::Succeeded, "{}", ending.output);
    assert!(ending.output.starts_with("before\\0after|a\\0b\n"), "{}", ending.output);
}

#[tokio::test]
async fn the_environment_is_what_is_documented_and_nothing_else() {
    let mut order = exec(&["/usr/bin/env"], 5000);
    order.facts.value = None;
    let ending = run(&order).await;
    let mut lines: Vec<_> = ending.output.lines().collect();
    lines.sort_unstable();
    let expected = [
        "LANG=C.UTF-8",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        &format!("REARGUARD_EFFECT={JOURNAL}-E40"),
        &format!("REARGUARD_INCIDENT={JOURNAL}-I12"),
        "REARGUARD_LABELS={}",
        "REARGUARD_PLAN=emergency",
        "REARGUARD_PREVIOUS_VERSION=v41",
        "REARGUARD_REASON=error_rate 7.3% > 2% for 60s",
        &format!("REARGUARD_ROLLBACK={JOURNAL}-R3"),
        "REARGUARD_SEVERITY=high",
        "REARGUARD_SINCE=2026-11-21T02:30:05.25Z",
        "REARGUARD_STEP=reroute traffic",
        "REARGUARD_TARGET=trading-app",
        "REARGUARD_THRESHOLD=0.02",
        "REARGUARD_TIMEOUT_MS=5000",
        "REARGUARD_TRIGGER=ErrorRateHigh",
        "REARGUARD_VALUE=",
        "REARGUARD_VERSION=v42",
    ];
    assert_eq!(lines, expected);
}

/// A step goes on, and may print, when the daemon that started it is gone; a later one ends it by its handle.
#[tokio::test]
async fn a_running_step_outlives_its_daemon_and_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    let marker: PathBuf = directory.path().join("marker");
    let script =
        format!("sleep 0.3; echo printed after the daemon died; echo > {}; sleep 600", marker.display());
    let prepared = runner().prepare(&shell(&script, 60_000)).await.unwrap();
    let handle = prepared.handle();
    // The daemon's death, as seen by the step: its future and with it the pipe's reading end are gone.
    let cut_short = tokio::time::timeout(Duration::from_millis(100), prepared.release()).await;
    assert!(cut_short.is_err());
    eventually("the step has gone on past its output", || marker.exists()).await;
    assert!(is_alive(&handle));
    end(&handle).await;
    tokio::time::timeout(Duration::from_secs(5), until_gone(&handle)).await.unwrap();
    assert!(!is_alive(&handle));
    // Nothing to end any more, and no error.
    end(&handle).await;
}

#[tokio::test]
async fn a_gate_that_cannot_be_started_is_a_failure_with_a_reason() {
    runner();
    let runner = StepRunner::new("/no/such/gate".into(), rearguard::effects::http::client().unwrap());
    let ending = runner.prepare(&shell("true", 1000)).await.err().unwrap();
    assert_eq!(
        ending.result,
        failed("no process for the step (starting /no/such/gate): No such file or directory (os error 2)")
    );
}

/// Answers one request with `reply` and returns what was asked; an empty reply never answers.
async fn server(reply: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/deploy/stable?token=geheim", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.ends_with(b"}") {
            let length = stream.read(&mut buffer).await.unwrap();
            request.extend_from_slice(&buffer[..length]);
        }
        if reply.is_empty() {
            std::future::pending::<()>().await;
        }
        stream.write_all(reply.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, asked)
}

fn http(url: &str, body: Option<&str>, timeout_ms: i64) -> StepOrder {
    let action =
        StepAction::Http { method: "POST".to_owned(), url: url.to_owned(), body: body.map(str::to_owned) };
    order(action, timeout_ms)
}

#[tokio::test]
async fn http_steps_succeed_on_2xx_alone() {
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n", StepResult::Succeeded, "ok"),
        ("HTTP/1.1 204 No Content\r\n\r\n", StepResult::Succeeded, ""),
        (
            "HTTP/1.1 503 Nope\r\ncontent-length: 9\r\n\r\nno \u{1b}[1m\r\n",
            failed("HTTP 503: no \\u{1b}[1m"),
            "no \\u{1b}[1m",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
            failed("HTTP 302"),
            "",
        ),
    ];
    for (reply, result, output) in cases {
        let (url, asked) = server(reply).await;
        let ending = run(&http(&url, None, 5000)).await;
        assert_eq!((&ending.result, ending.output.as_str()), (&result, output), "{reply}");
        let request = asked.await.unwrap();
        assert!(request.starts_with("POST /deploy/stable?token=geheim HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("\r\nidempotency-key: {JOURNAL}-E40\r\n")), "{request}");
        assert!(request.contains("\r\ncontent-type: application/json\r\n"), "{request}");
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let brief: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(brief["incident"]["cause"], "ErrorRateHigh");
    }
}

#[tokio::test]
async fn http_steps_time_out_and_keep_their_urls_to_themselves() {
    let (url, asked) = server("").await;
    let ending = run(&http(&url, Some("{\"own\": \"body\"}"), 200)).await;
    assert_eq!(ending.result, StepResult::TimedOut);
    asked.abort();

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let ending = run(&http(&format!("http://{closed}/?token=geheim"), None, 2000)).await;
    let StepResult::Failed(reason) = ending.result else { panic!("refused") };
    assert!(reason.starts_with("no answer: ") && reason.contains("refused"), "{reason}");
    assert!(!reason.contains("geheim"), "{reason}");

    let ending = run(&http("not a url ?token=geheim", None, 2000)).await;
    let StepResult::Failed(reason) = ending.result else { panic!("refused") };
    assert!(reason.starts_with("the request cannot be built") && !reason.contains("geheim"), "{reason}");
}
