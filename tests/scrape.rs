//! Scrapes of real sockets that behave badly: each ends in time, with the right kind of failure, and with no half page.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rearguard::engine::model::{Labels, Sample, SourceName};
use rearguard::engine::series::{FailureKind, Observation};
use rearguard::engine::time::{Span, Timestamp};
use rearguard::sources::scrape::{PageTimestamps, ScrapeSettings, Scraper};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The timeout of scrapes that are expected to run into it.
const SHORT: Span = Span::from_millis(400);

/// The timeout of all others: never waited for, unless the machine is very busy.
const LONG: Span = Span::from_secs(20);

/// What a bad server does after it has read the request's head; it closes the connection at the end.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    /// The same bytes each 20 ms, for ever.
    Drip(&'static str),
    /// The same bytes as fast as they are taken, for ever.
    Flood(&'static str),
    /// Ends with RST instead of FIN.
    Reset,
    /// Reads the next request on the same connection.
    NextRequest,
}

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// A server on loopback that counts connections and plays one script for each.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Starts a server that plays `scripts` in turn, the last one again and again.
    async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let at = counter.fetch_add(1, Ordering::SeqCst).min(scripts.len() - 1);
                tokio::spawn(play(stream, scripts[at].clone()));
            }
        });
        Self { address, connections }
    }

    fn url(&self) -> String {
        format!("http://user:hunter2@{}/metrics?token=hunter2", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Plays a script; errors mean that the scraper has hung up, which ends it.
async fn play(mut stream: TcpStream, script: Vec<Step>) {
    let mut is_open = !read_head(&mut stream).await.is_empty();
    for step in script {
        let done = match step {
            Step::Send(bytes) => stream.write_all(&bytes).await,
            Step::Drip(text) => loop {
                if let Err(error) = stream.write_all(text.as_bytes()).await {
                    break Err(error);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            },
            Step::Flood(text) => loop {
                if let Err(error) = stream.write_all(text.as_bytes()).await {
                    break Err(error);
                }
            },
            Step::Reset => stream.set_zero_linger(),
            Step::NextRequest => {
                is_open = !read_head(&mut stream).await.is_empty();
                Ok(())
            }
        };
        if done.is_err() || !is_open {
            return;
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return Vec::new(),
        }
    }
    head
}

/// A whole answer with the right length.
fn page(content_type: &str, body: &str) -> Step {
    answer("200 OK", &format!("Content-Type: {content_type}\r\n"), body.as_bytes())
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Step {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Step::Send(bytes)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn settings(url: &str) -> ScrapeSettings {
    ScrapeSettings::new(SourceName::from("app"), url, LONG)
}

async fn scrape_once(settings: ScrapeSettings) -> Observation {
    Scraper::new(settings).unwrap().scrape(Timestamp::from_millis(5000), Span::ZERO).await
}

fn printed(samples: &[Sample]) -> Vec<String> {
    samples.iter().map(|sample| format!("{} {} {}", sample.labels, sample.value, sample.at)).collect()
}

/// The bad answers: name, script, kind of failure, part of the message.
#[expect(clippy::too_many_lines, reason = "a table, one case after the other")]
fn bad_answers() -> Vec<(&'static str, Vec<Step>, FailureKind, &'static str)> {
    use FailureKind::{BadStatus, Malformed, TimedOut, TooLarge};
    let ok = "HTTP/1.1 200 OK\r\n";
    let text = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    let head = |more: &str| format!("{text}{more}\r\n");
    let chunked = head("Transfer-Encoding: chunked\r\n");
    let zipped = |body: &[u8]| answer("200 OK", "Content-Encoding: gzip\r\n", body);
    let bomb = gzip(&vec![b'\n'; 4 << 20]);
    let nested = gzip(&gzip(&vec![b'\n'; 4 << 20]));
    let mut cut_gzip = gzip(b"a 1\nb 2\n");
    cut_gzip.truncate(cut_gzip.len() - 9);
    vec![
        ("says nothing", vec![Step::NextRequest], TimedOut, "no whole answer within 400ms"),
        ("drips its status line", vec![Step::Drip("H")], TimedOut, "no whole answer"),
        ("drips headers without end", vec![send(ok), Step::Drip("X: y\r\n")], TimedOut, "no whole answer"),
        ("floods headers", vec![send(ok), Step::Flood("X: y\r\n")], Malformed, "broken or cut off"),
        (
            "floods one header",
            vec![send(ok), send("X: "), Step::Flood("yyyyyyyy")],
            Malformed,
            "broken or cut off",
        ),
        ("drips the body", vec![send(&head("")), Step::Drip("#")], TimedOut, "no whole answer"),
        (
            "stops in mid-body",
            vec![send(&head("Content-Length: 9\r\n")), send("a 1\n"), Step::NextRequest],
            TimedOut,
            "no whole",
        ),
        (
            "floods the body",
            vec![send(&head("")), Step::Flood("aaaaaaa 1\n")],
            TooLarge,
            "larger than 65536 bytes",
        ),
        (
            "announces too much",
            vec![send(&head("Content-Length: 65537\r\n")), Step::NextRequest],
            TooLarge,
            "larger than",
        ),
        ("closes at once", vec![], Malformed, "broken or cut off"),
        ("resets at once", vec![Step::Reset], Malformed, "broken or cut off"),
        (
            "resets in mid-body",
            vec![send(&head("Content-Length: 9\r\n")), send("a 1\n"), Step::Reset],
            Malformed,
            "cut off",
        ),
        (
            "closes in mid-body",
            vec![send(&head("Content-Length: 9\r\n")), send("a 1\nb 2\n")],
            Malformed,
            "cut off",
        ),
        (
            "announces too little",
            vec![send(&head("Content-Length: 6\r\n")), send("a 1\nb 23\n")],
            Malformed,
            "line 2, column 3",
        ),
        (
            "has no length and is cut",
            vec![send(&head("")), send("a 1\nb 2")],
            Malformed,
            "line feed; the page may be cut off",
        ),
        ("cuts a chunk", vec![send(&chunked), send("9\r\na 1\n")], Malformed, "cut off"),
        ("leaves out the last chunk", vec![send(&chunked), send("4\r\na 1\n\r\n")], Malformed, "cut off"),
        ("sends a bad chunk size", vec![send(&chunked), send("zz\r\na 1\n")], Malformed, "cut off"),
        ("speaks no HTTP", vec![send("SSH-2.0-OpenSSH\r\n")], Malformed, "broken or cut off"),
        (
            "sends HTML",
            vec![page("text/html; charset=utf-8", "<html>a 1</html>")],
            Malformed,
            "got HTML, not metrics",
        ),
        ("sends HTML as text", vec![page("text/plain", "<html>\na 1\n")], Malformed, "line 1, column 1"),
        (
            "sends JSON",
            vec![page("application/json", "{}")],
            Malformed,
            "got Content-Type `application/json`",
        ),
        ("sends a hostile type", vec![page("x\"\t\u{1b}[2J", "a 1\n")], Malformed, ""),
        ("sends nothing", vec![page("text/plain", "")], Malformed, "the page is empty"),
        (
            "sends one bad line",
            vec![page("text/plain", "a 1\nb{x=\"\u{1b}\n2\"} oops\nc 3\n")],
            Malformed,
            "line 2, column 5: expected a closing `\"`, in `b{x=\"\\u{1b}`",
        ),
        (
            "sends no EOF",
            vec![page("application/openmetrics-text; version=1.0.0", "a 1\n")],
            Malformed,
            "expected `# EOF`",
        ),
        (
            "sends invalid UTF-8",
            vec![answer("200 OK", "", b"a{b=\"\xff\"} 1\n")],
            Malformed,
            "expected UTF-8",
        ),
        (
            "sends too many samples",
            vec![page("text/plain", &"a 1\n".repeat(101))],
            TooLarge,
            "more than 100 samples",
        ),
        (
            "sends too many labels",
            vec![page("text/plain", &format!("a{{{}}} 1\n", many_labels()))],
            TooLarge,
            "labels",
        ),
        (
            "is down",
            vec![answer("503 Service Unavailable", "", b"a 1\n")],
            BadStatus,
            "answered 503 Service Unavailable",
        ),
        ("has no content", vec![send("HTTP/1.1 204 No Content\r\n\r\n")], BadStatus, "answered 204"),
        (
            "sends a part",
            vec![answer("206 Partial Content", "Content-Range: bytes 0-3/9\r\n", b"a 1\n")],
            BadStatus,
            "answered 206",
        ),
        ("wants a password", vec![answer("401 Unauthorized", "", b"")], BadStatus, "answered 401"),
        ("bombs", vec![zipped(&bomb)], TooLarge, "larger than 65536 bytes"),
        (
            "bombs nested",
            vec![answer("200 OK", "Content-Encoding: gzip, gzip\r\n", &nested)],
            Malformed,
            "not asked for",
        ),
        ("cuts its gzip", vec![zipped(&cut_gzip)], Malformed, "cut off"),
        ("sends no gzip", vec![zipped(b"a 1\n")], Malformed, "broken"),
        (
            "sends zstd",
            vec![answer("200 OK", "Content-Encoding: zstd\r\n", b"(\xb5/\xfd")],
            Malformed,
            "encoded as `zstd`",
        ),
    ]
}

fn many_labels() -> String {
    (0..300).map(|at| format!("l{at}=\"x\"")).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn bad_answers_fail_in_time_with_their_kind_and_without_secrets() {
    let runs = bad_answers().into_iter().map(|(name, script, kind, part)| async move {
        let server = Server::start(vec![script]).await;
        let began = Instant::now();
        let timeout = if kind == FailureKind::TimedOut { SHORT } else { LONG };
        let limits =
            ScrapeSettings { timeout, max_body_bytes: 65_536, max_samples: 100, ..settings(&server.url()) };
        let observation = scrape_once(limits).await;
        (name, kind, part, observation, began.elapsed())
    });
    // At once: one bad source does not delay another.
    for (name, kind, part, observation, took) in futures_util::future::join_all(runs).await {
        let Err(failure) = observation.answer else { panic!("{name}: {:?}", observation.answer) };
        println!("{name}: {:?} {failure}", failure.kind);
        assert_eq!(failure.kind, kind, "{name}: {failure}");
        assert!(failure.message.contains(part), "{name}: {failure}");
        assert!(failure.message.starts_with("http://127.0.0.1:"), "{name}: {failure}");
        assert!(
            failure.message.contains("/metrics?…: ") && !failure.message.contains("hunter2"),
            "{name}: {failure}"
        );
        assert!(!failure.message.chars().any(char::is_control), "{name}: {failure}");
        // Generous, because the machine may be busy: what matters is that servers that never end do not hold us.
        assert!(took < LONG.to_std(), "{name}: {took:?}");
    }
}

#[tokio::test]
async fn redirects_are_refused_and_the_second_host_is_never_asked() {
    let second = Server::start(vec![vec![page("text/plain", "a 1\n")]]).await;
    let targets = [
        format!("http://u:hunter2@{}/x?hunter2", second.address),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        "/metrics".to_owned(),
    ];
    for target in targets {
        for status in
            ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
        {
            let location = format!("Location: {target}\r\n");
            let server = Server::start(vec![vec![answer(status, &location, b"a 1\n")]]).await;
            let observation = scrape_once(settings(&server.url())).await;
            let failure = observation.answer.unwrap_err();
            assert_eq!(failure.kind, FailureKind::BadStatus);
            assert!(failure.message.contains("redirect") && failure.message.contains("refused"), "{failure}");
            assert!(!failure.message.contains("hunter2"), "{failure}");
            assert_eq!(server.connections(), 1);
        }
    }
    assert_eq!(second.connections(), 0);
}

#[tokio::test]
async fn nobody_at_home_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut urls = vec![format!("http://{address}/"), format!("https://{address}/")];
    // A proxy would resolve the name for us.
    let proxies = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    if proxies.iter().all(|name| std::env::var_os(name).is_none()) {
        urls.push("http://no-such-host.invalid/".to_owned());
    }
    for url in urls {
        let failure = scrape_once(settings(&url)).await.answer.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreachable, "{failure}");
        assert!(failure.message.contains("cannot connect: "), "{failure}");
        println!("{failure}");
    }
}

#[tokio::test]
async fn a_page_is_read_with_the_source_s_labels_and_times() {
    let body = "# TYPE h histogram\nh_bucket{le=\"0.50\"} 1\nh_bucket{le=\"+Inf\"} 2\nm{job=\"x\",path=\"/{id}\"} 3 104000\n";
    let server = Server::start(vec![vec![page("text/plain; version=0.0.4", body)]]).await;
    let labels = Labels::from_pairs([("dc", "eu")]);
    let with_labels = ScrapeSettings { labels, ..settings(&server.url()) };
    let scraper = Scraper::new(with_labels.clone()).unwrap();
    // Engine time 5 s is wall time 105 s: the page's 104 s are engine time 4 s.
    let observation = scraper.scrape(Timestamp::from_millis(5000), Span::from_secs(100)).await;
    assert_eq!(observation.source, SourceName::from("app"));
    assert_eq!(observation.at, Timestamp::from_millis(5000));
    assert!(observation.took <= LONG);
    let own = format!("dc=\"eu\", {{}}instance=\"{}\", job=\"app\"", server.address);
    let expected = [
        format!("h_bucket{{{}, le=\"0.50\"}} 1 t=5.000s", own.replace("{}", "")),
        format!("h_bucket{{{}, le=\"+Inf\"}} 2 t=5.000s", own.replace("{}", "")),
        format!("m{{{}, path=\"/{{id}}\"}} 3 t=4.000s", own.replace("{}", "exported_job=\"x\", ")),
    ];
    assert_eq!(printed(&observation.answer.unwrap()), expected);

    let ignoring = ScrapeSettings { timestamps: PageTimestamps::Ignore, ..with_labels };
    let samples = scrape_once(ignoring).await.answer.unwrap();
    assert!(samples.iter().all(|sample| sample.at == Timestamp::from_millis(5000)));
}

#[tokio::test]
async fn duplicates_and_the_far_future_are_left_out_as_in_prometheus() {
    // 4102444800000 is the year 2100; NaN and infinities are kept as they are.
    let body = "a 1\na 2\na 3 1000\na 4 1000\nb 5 4102444800000\nc{x=\"\"} 6\nc 7\nd NaN\ne +Inf\nf 8 605000\nf 9 605001\n";
    let server = Server::start(vec![vec![page("text/plain", body)]]).await;
    let samples = scrape_once(settings(&server.url())).await.answer.unwrap();
    let short: Vec<_> = samples
        .iter()
        .map(|sample| format!("{} {} {}", sample.labels.metric_name(), sample.value, sample.at))
        .collect();
    let expected = [
        "a 1 t=5.000s",
        "a 3 t=1.000s",
        "c 6 t=5.000s",
        "d NaN t=5.000s",
        "e inf t=5.000s",
        "f 8 t=605.000s",
    ];
    assert_eq!(short, expected);
}

#[tokio::test]
async fn a_page_is_kept_as_it_would_be_without_the_pages_before() {
    let bodies = [
        "a 1\nb{x=\"1\"} 2\n",
        "a 1\nb{x=\"1\"} 3\n",
        // Two samples of one series, told apart by their times and then not.
        "a 1 1000\na 2 2000\n",
        "a 1 1000\na 2 2000\n",
        "a 1\na 2\n",
        "a 1\n",
        "b{x=\"1\"} 3\na 1\n",
        "a 1\nb{x=\"2\"} 3\nc 4102444800000 4102444800000\n",
        "c 1\nb{x=\"2\",y=\"\"} 3\nb{x=\"2\"} 4\n",
    ];
    let script = |bodies: &[&str]| -> Vec<Step> {
        bodies.iter().flat_map(|body| [page("text/plain", body), Step::NextRequest]).collect()
    };
    let kept = Server::start(vec![script(&[bodies, bodies].concat())]).await;
    let scraper = Scraper::new(settings(&kept.url())).unwrap();
    for body in [bodies, bodies].concat() {
        let seen = scraper.scrape(Timestamp::from_millis(5000), Span::ZERO).await;
        let alone = Server::start(vec![script(&[body])]).await;
        let expected = scrape_once(settings(&alone.url())).await;
        let of = |observation: Observation, server: &Server| {
            let lines = printed(&observation.answer.unwrap());
            lines.iter().map(|line| line.replace(&server.address.to_string(), "HOST")).collect::<Vec<_>>()
        };
        assert_eq!(of(seen, &kept), of(expected, &alone), "{body}");
    }
}

#[tokio::test]
async fn both_formats_every_transfer_and_odd_heads_are_read() {
    let zipped = answer("200 OK", "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", &gzip(b"a 1\n"));
    let scripts = [
        vec![answer("200 OK", "", b"a 1\n")],
        vec![answer("200 OK", "Content-Type: \r\n", b"a 1\n")],
        vec![page("TEXT/PLAIN; charset=utf-8; version=1.0.0", "a 1\n")],
        vec![page("application/openmetrics-text; version=1.0.0; charset=utf-8", "a 1\n# EOF\n")],
        vec![zipped],
        vec![send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na 1\r\n1\r\n\n\r\n0\r\n\r\n")],
        vec![send("HTTP/1.0 200 OK\r\n\r\na 1\n")],
    ];
    for script in scripts {
        let server = Server::start(vec![script.clone()]).await;
        let samples = scrape_once(settings(&server.url())).await.answer;
        assert_eq!(samples.map(|samples| samples.len()), Ok(1), "{script:?}");
    }
    // A page that says nothing is an answer all the same.
    let server = Server::start(vec![vec![page("text/plain", "# nothing yet\n")]]).await;
    assert_eq!(scrape_once(settings(&server.url())).await.answer, Ok(vec![]));
}

#[tokio::test]
async fn the_connection_is_kept_and_a_closed_one_is_replaced() {
    let good = || page("text/plain", "a 1\n");
    // The first connection answers twice and closes; the next scrape must not fail for that.
    let first = vec![good(), Step::NextRequest, good(), Step::NextRequest];
    let server = Server::start(vec![first, vec![good(), Step::NextRequest]]).await;
    let scraper = Scraper::new(settings(&server.url())).unwrap();
    for (round, connections) in [(1, 1), (2, 1), (3, 2)] {
        let observation = scraper.scrape(Timestamp::from_millis(round), Span::ZERO).await;
        assert!(observation.answer.is_ok(), "round {round}: {:?}", observation.answer);
        assert_eq!(server.connections(), connections, "round {round}");
    }
}

#[tokio::test]
async fn the_request_prefers_text_and_asks_for_gzip() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let request = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        String::from_utf8(read_head(&mut stream).await).unwrap().to_ascii_lowercase()
    });
    assert!(scrape_once(settings(&url)).await.answer.is_err());
    let head = request.await.unwrap();
    assert!(head.starts_with("get /metrics http/1.1\r\n"), "{head}");
    let accept =
        "accept: text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n";
    for part in
        [accept, "accept-encoding: gzip\r\n", "user-agent: rearguard/", "scrape-timeout-seconds: 20\r\n"]
    {
        assert!(head.contains(part), "{part:?} in {head}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused_all_at_once_without_secrets() {
    let bad = ScrapeSettings {
        timeout: Span::ZERO,
        labels: Labels::from_pairs([("__name__", "x")]),
        max_samples: 0,
        ..settings("ftp://user:hunter2@host/")
    };
    let message = Scraper::new(bad).map(|_| ()).unwrap_err().to_string();
    for part in
        ["source `app`", "http or https, found `ftp`", "timeout above zero", "limits", "without `__name__`"]
    {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert!(!message.contains("hunter2"));
    for url in ["", "host:1/metrics", "http://", "/metrics"] {
        assert!(Scraper::new(settings(url)).is_err(), "{url}");
    }
}
