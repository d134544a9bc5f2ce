//! Probes of real servers and programs that behave badly: a bad answer is an answer, and only what could not be asked fails.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rearguard::engine::model::{Labels, SourceName};
use rearguard::engine::series::{FailureKind, Observation};
use rearguard::engine::time::{Span, Timestamp};
use rearguard::probe::{BodyPattern, Expectation, HttpProbe, JsonPath, Method, Probe, Redirects};
use rearguard::sources::probe::{ProbeSettings, Prober};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The timeout of probes that are expected to run into it.
const SHORT: Span = Span::from_millis(300);

/// The timeout of all others: never waited for, unless the machine is very busy.
const LONG: Span = Span::from_secs(20);

/// What a server does with each connection.
#[derive(Clone)]
enum Does {
    Answers(&'static str),
    /// Answers with a body of so many bytes.
    Floods(usize),
    /// Takes the request and says nothing.
    Hangs,
    /// Says the head, promises a body and hangs.
    Stalls,
    /// Waits that long, then answers 204.
    Waits(Duration),
}

/// Starts a server on loopback; returns its address. `{address}` in an answer is filled in.
async fn server(does: Does) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let own = address.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (does, own) = (does.clone(), own.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                let request = String::from_utf8_lossy(&head).into_owned();
                let answer = match does {
                    Does::Answers(_) if request.starts_with("GET /behind ") => {
                        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nbehind".to_owned()
                    }
                    Does::Answers(answer) => answer.replace("{address}", &own).replace("{request}", &request),
                    Does::Floods(bytes) => {
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{}", "x".repeat(bytes))
                    }
                    Does::Hangs => return std::future::pending().await,
                    Does::Stalls => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned(),
                    Does::Waits(time) => {
                        tokio::time::sleep(time).await;
                        "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
                    }
                };
                stream.write_all(answer.as_bytes()).await.ok();
                if matches!(does, Does::Stalls) {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    address
}

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn get(address: &str, expect: Expectation) -> HttpProbe {
    HttpProbe {
        url: format!("http://{address}/health"),
        method: Method::Get,
        headers: Vec::new(),
        redirects: Redirects::Refuse,
        expect,
    }
}

fn status(code: u16) -> Expectation {
    Expectation { status: [code].into(), ..Expectation::default() }
}

fn prober(probe: Probe, timeout: Span) -> Prober {
    let labels = Labels::from_pairs([("region", "eu")]);
    let settings = ProbeSettings { source: SourceName::from("health"), probe, timeout, labels };
    Prober::new(settings).unwrap()
}

async fn ask(probe: Probe, timeout: Span) -> Observation {
    prober(probe, timeout).ask(Timestamp::from_millis(1000)).await
}

/// Asserts that the answer is good or bad and says so in these words.
fn assert_told(observation: &Observation, good: bool, words: &str) {
    let told = observation.told.as_deref().unwrap_or_else(|| panic!("nothing told: {observation:?}"));
    assert_eq!(value(observation, "probe_success"), Some(f64::from(u8::from(good))), "{told}");
    assert!(told.contains(words), "`{words}` in `{told}`");
}

fn value(observation: &Observation, name: &str) -> Option<f64> {
    let samples = observation.answer.as_ref().unwrap_or_else(|failure| panic!("{failure}"));
    samples.iter().find(|sample| sample.labels.metric_name() == name).map(|sample| sample.value)
}

fn assert_not_asked(observation: &Observation, kind: FailureKind, words: &str) {
    let failure = observation.answer.as_ref().expect_err("nobody was asked");
    assert_eq!(failure.kind, kind, "{failure}");
    assert!(
        failure.message.starts_with("nobody was asked: ") && failure.message.contains(words),
        "{failure}"
    );
    assert_eq!(observation.told, None);
}

#[tokio::test]
async fn http_answers_are_good_or_bad() {
    let healthy = "HTTP/1.1 200 OK\r\ncontent-length: 33\r\n\r\n{\"database\":{\"status\":\"healthy\"}}\n";
    let sick = "HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n{\"database\":{\"status\":\"down\"}}";
    let json = || Expectation {
        json: vec![(JsonPath::parse("$.database.status").unwrap(), "healthy".into())],
        ..status(200)
    };
    let body = || Expectation { body: Some(BodyPattern::new("healthy").unwrap()), ..Expectation::default() };
    let plain = Expectation::default;
    let cases = [
        (Does::Answers(healthy), json(), true, "answered 200 in "),
        (Does::Answers(healthy), body(), true, "answered 200 in "),
        (
            Does::Answers(sick),
            json(),
            false,
            r#"answered 200, but $.database.status is "down", expected "healthy""#,
        ),
        (Does::Answers(sick), body(), false, "answered 200, but the answer does not match `healthy`"),
        (
            Does::Answers("HTTP/1.1 503 Service Unavailable\r\n\r\n"),
            status(200),
            false,
            "answered 503, expected 200",
        ),
        (Does::Answers("HTTP/1.1 401 No\r\n\r\n"), status(401), true, "answered 401 in "),
        (
            Does::Answers("HTTP/1.1 302 Found\r\nlocation: /login?token=x\r\n\r\n"),
            plain(),
            false,
            "expected 200 to 299 (a redirect to http://",
        ),
        (Does::Answers("not HTTP at all\r\n\r\n"), plain(), false, "no whole answer"),
        (Does::Answers(""), plain(), false, "no whole answer"),
        (Does::Floods(2_000_000), plain(), true, "answered 200"),
        (Does::Floods(2_000_000), json(), false, "with more than 1048576 bytes"),
        (Does::Floods(900_000), body(), false, "the answer does not match"),
    ];
    for (does, expect, good, words) in cases {
        let observation = ask(Probe::Http(get(&server(does).await, expect)), LONG).await;
        assert_told(&observation, good, words);
        let told = observation.told.unwrap();
        assert!(told.len() < 200 && !told.contains("token"), "{told}");
    }
}

#[tokio::test]
async fn a_probe_shows_the_series_of_blackbox_exporter() {
    let address = server(Does::Answers("HTTP/1.1 503 No\r\n\r\n")).await;
    let observation = ask(Probe::Http(get(&address, status(200))), LONG).await;
    let samples = observation.answer.as_ref().unwrap();
    let names: Vec<_> = samples.iter().map(|sample| sample.labels.metric_name()).collect();
    assert_eq!(names, ["probe_success", "probe_duration_seconds", "probe_http_status_code"]);
    assert_eq!(value(&observation, "probe_http_status_code"), Some(503.0));
    let duration = value(&observation, "probe_duration_seconds").unwrap();
    assert!((0.0..20.0).contains(&duration), "{duration}");
    let labels = samples[0].labels.to_string();
    let expected =
        format!(r#"probe_success{{instance="{address}", job="health", region="eu", source="health"}}"#);
    assert_eq!(labels, expected);
    assert_eq!((samples[0].at, observation.at), (Timestamp::from_millis(1000), Timestamp::from_millis(1000)));
}

#[tokio::test]
async fn silence_is_bad_at_the_timeout() {
    for does in [Does::Hangs, Does::Stalls] {
        let began = Instant::now();
        let observation = ask(Probe::Http(get(&server(does).await, status(200))), SHORT).await;
        assert_told(&observation, false, "no answer within 300ms");
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(observation.took >= SHORT);
    }
}

#[tokio::test]
async fn slowness_is_bad_where_it_is_said() {
    let address = server(Does::Waits(Duration::from_millis(100))).await;
    let slow = |within| Expectation { within: Some(within), ..Expectation::default() };
    let bad = ask(Probe::Http(get(&address, slow(Span::from_millis(20)))), LONG).await;
    assert_told(&bad, false, "expected 20ms at most");
    assert_eq!(value(&bad, "probe_http_status_code"), Some(204.0));
    assert_told(&ask(Probe::Http(get(&address, slow(LONG))), LONG).await, true, "answered 204");
}

#[tokio::test]
async fn refused_connections_are_bad() {
    let address = nobody().await;
    let http = ask(Probe::Http(get(&address, Expectation::default())), LONG).await;
    assert_told(&http, false, "the connection was refused");
    assert_eq!(value(&http, "probe_http_status_code"), Some(0.0));
    let tcp = ask(Probe::Tcp { address, within: None }, LONG).await;
    assert_told(&tcp, false, "the connection was refused");
}

#[tokio::test]
async fn connections_are_good() {
    let address = server(Does::Hangs).await;
    let observation = ask(Probe::Tcp { address: address.clone(), within: None }, LONG).await;
    assert_told(&observation, true, "connected in ");
    let names: Vec<_> =
        observation.answer.as_ref().unwrap().iter().map(|sample| sample.labels.metric_name()).collect();
    assert_eq!(names, ["probe_success", "probe_duration_seconds"]);
    let named = address.replace("127.0.0.1", "localhost");
    assert_told(&ask(Probe::Tcp { address: named, within: None }, LONG).await, true, "connected");
}

#[tokio::test]
async fn names_that_do_not_resolve_are_our_trouble() {
    let probe = || Probe::Http(get("nowhere.invalid", Expectation::default()));
    assert_not_asked(&ask(probe(), LONG).await, FailureKind::Unreachable, "the name does not resolve");
    let tcp = Probe::Tcp { address: "nowhere.invalid:1".to_owned(), within: None };
    assert_not_asked(&ask(tcp, LONG).await, FailureKind::Unreachable, "cannot look nowhere.invalid:1 up");
}

#[tokio::test]
async fn redirects_are_followed_where_it_is_said() {
    let follow = |address: &str, expect| HttpProbe { redirects: Redirects::Follow, ..get(address, expect) };
    let once = server(Does::Answers("HTTP/1.1 302 Found\r\nlocation: /behind\r\n\r\n")).await;
    let behind = Expectation { body: Some(BodyPattern::new("^behind$").unwrap()), ..status(200) };
    assert_told(&ask(Probe::Http(follow(&once, behind)), LONG).await, true, "answered 200");
    let circle = server(Does::Answers("HTTP/1.1 302 Found\r\nlocation: /health\r\n\r\n")).await;
    let observation = ask(Probe::Http(follow(&circle, Expectation::default())), LONG).await;
    assert_told(&observation, false, "redirects without end");
}

#[tokio::test]
async fn method_and_headers_are_sent() {
    let address = server(Does::Answers("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{request}")).await;
    let sent = |pattern: &str, method| HttpProbe {
        method,
        headers: vec![("X-Probe".to_owned(), "yes".to_owned())],
        ..get(
            &address,
            Expectation { body: Some(BodyPattern::new(pattern).unwrap()), ..Expectation::default() },
        )
    };
    let post = Probe::Http(sent("^POST /health (?s:.*)x-probe: yes", Method::Post));
    assert_told(&ask(post, LONG).await, true, "answered 200");
    let head = Probe::Http(HttpProbe { method: Method::Head, ..get(&address, Expectation::default()) });
    assert_told(&ask(head, LONG).await, true, "answered 200");
}

/// Writes a program; returns its path.
fn program(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("probe");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn run(text: &str, timeout: Span) -> Observation {
    let directory = tempfile::tempdir().unwrap();
    // Through the shell's own path, so that a program that is still open for writing in a forked child does not matter.
    let path = program(directory.path(), text);
    let argv = vec!["/bin/sh".to_owned(), path.display().to_string()];
    ask(Probe::Exec { argv, within: None }, timeout).await
}

#[tokio::test]
async fn programs_are_good_or_bad_by_their_exit() {
    let cases = [
        ("exit 0", true, "ended with 0 in "),
        ("echo 41; echo no response >&2; exit 2", false, "ended with 2, expected 0: no response"),
        ("echo only this; exit 1", false, "ended with 1, expected 0: only this"),
        ("exit 3", false, "ended with 3, expected 0"),
        ("kill -SEGV $$", false, "was killed by SIGSEGV"),
        ("printf '\\033[2Jfake\\nlast' >&2; exit 1", false, "expected 0: last"),
        ("printf 'a\\033[2Jb' >&2; exit 1", false, "a\\u{1b}[2Jb"),
    ];
    for (text, good, words) in cases {
        assert_told(&run(text, LONG).await, good, words);
    }
}

#[tokio::test]
async fn a_number_alone_is_a_series() {
    let cases = [
        ("echo 41.5", Some(41.5)),
        ("echo ' -3e2 '; echo noise >&2", Some(-300.0)),
        ("echo 41 42", None),
        ("echo NaN", None),
        ("echo lag: 3", None),
        ("true", None),
    ];
    for (text, expected) in cases {
        assert_eq!(value(&run(text, LONG).await, "probe_value"), expected, "{text}");
    }
    let bad = run("echo 7; exit 1", LONG).await;
    assert_eq!((value(&bad, "probe_value"), value(&bad, "probe_success")), (Some(7.0), Some(0.0)));
}

#[tokio::test]
async fn a_program_sees_nothing_of_our_environment() {
    let observation =
        run("env | grep -vE '^(PATH|PWD|SHLVL|_)=' >&2; pwd | grep -qx / || exit 9; exit 1", LONG).await;
    assert_told(&observation, false, "ended with 1, expected 0");
    assert!(observation.told.unwrap().ends_with("expected 0"), "no variable was printed");
}

#[tokio::test]
async fn a_program_is_ended_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("pid");
    let text = format!("sleep 600 & echo $! > {}; trap '' TERM; wait", mark.display());
    let began = Instant::now();
    let observation = run(&text, SHORT).await;
    assert_told(&observation, false, "no answer within 300ms; the program was ended");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_gone(&mark).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("pid");
    // It holds the pipe open: nobody waits for it.
    let observation = run(&format!("sleep 600 & echo $! > {}; exit 0", mark.display()), LONG).await;
    assert_told(&observation, true, "ended with 0");
    assert!(observation.took < Span::from_secs(10), "{}", observation.took);
    assert_gone(&mark).await;
}

#[tokio::test]
async fn a_question_that_is_given_up_leaves_no_program() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("pid");
    let text = format!("echo $$ > {}; sleep 600", mark.display());
    let asking = tokio::spawn(async move { run(&text, LONG).await });
    while !std::fs::read_to_string(&mark).is_ok_and(|pid| pid.ends_with('\n')) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asking.abort();
    assert!(asking.await.is_err());
    assert_gone(&mark).await;
}

/// Waits until the process is gone, or dead and not reaped yet.
async fn assert_gone(mark: &Path) {
    let pid = std::fs::read_to_string(mark).unwrap().trim().to_owned();
    for _ in 0..400 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("process {pid} is still there");
}

#[tokio::test]
async fn a_flood_of_output_is_bounded() {
    let observation = run("head -c 20000000 /dev/zero; echo done >&2; exit 1", LONG).await;
    assert_told(&observation, false, "ended with 1, expected 0: done");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_our_trouble() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    for path in [directory.path().join("missing"), plain, directory.path().to_owned()] {
        let argv = vec![path.display().to_string()];
        let observation = ask(Probe::Exec { argv, within: None }, LONG).await;
        assert_not_asked(&observation, FailureKind::Unreachable, "cannot start /");
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |probe: Probe, timeout: Span| {
        let source = SourceName::from("health");
        let settings = ProbeSettings { source, probe, timeout, labels: Labels::empty() };
        Prober::new(settings).expect_err("is refused").to_string()
    };
    let http = |url: &str| {
        Probe::Http(HttpProbe { url: url.to_owned(), ..get("127.0.0.1:1", Expectation::default()) })
    };
    let cases = [
        (http("ftp://x/"), LONG, "found `ftp`"),
        (http("nothing"), LONG, "expected a URL"),
        (http("http://x/"), Span::ZERO, "expected a timeout above zero"),
        (Probe::Exec { argv: vec!["true".to_owned()], within: None }, LONG, "the absolute path"),
        (Probe::Exec { argv: Vec::new(), within: None }, LONG, "the absolute path"),
    ];
    for (probe, timeout, words) in cases {
        let told = refused(probe, timeout);
        assert!(told.starts_with("source `health` cannot be probed: ") && told.contains(words), "{told}");
    }
}
