//! The read-only API and `rearguard query`: asked as Grafana, promtool and people ask, and as nobody should.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rearguard::daemon::listener::Listening;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::application::Application;
use crate::assert_says;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::process::Daemon;
use crate::daemon_fixture::site::Site;

const PAGE: &str = "\
# TYPE orders_total counter
orders_total{venue=\"north\",code=\"200\"} 90
orders_total{venue=\"south\",code=\"500\"} 10
broken 1
unwatched 5
";

/// A daemon that watches one application and listens.
struct Watched {
    site: Site,
    daemon: Daemon,
    _app: Application,
    address: SocketAddr,
}

impl Watched {
    fn start(query: &str) -> Self {
        let (site, app) = (Site::new(), Application::start(PAGE));
        configure(&site, &app, "127.0.0.1:0", query);
        let daemon = site.start();
        let address = eventually("the API is served and a rule fires", || match site.status().listening {
            Listening::Served(address) => site.told(&["status"]).contains("FIRING").then_some(address),
            _ => None,
        });
        Self { site, daemon, _app: app, address }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = ask(self.address, "GET", path, "");
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
    }

    fn post(&self, path: &str, form: &str) -> (u16, Value) {
        let (status, body) = ask(self.address, "POST", path, form);
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
    }

    /// Returns the data of an answer without warnings.
    fn data(&self, path: &str) -> Value {
        let (status, mut answer) = self.get(path);
        assert_eq!((status, &answer["status"]), (200, &json!("success")), "{path}: {answer}");
        assert_eq!(answer.get("warnings"), None, "{path}: {answer}");
        answer["data"].take()
    }
}

fn configure(site: &Site, app: &Application, listen: &str, query: &str) {
    site.configure(&format!(
        "\
listen: '{listen}'
{query}
targets: {{ shop: {{}} }}
sources:
  app: {{ scrape: '{}', every: 250ms, timeout: 250ms }}
",
        app.url()
    ));
    site.write(
        "rules/shop.yaml",
        "\
target: shop
sources: [app]
indicators:
  orders: { unit: count, expr: sum(orders_total) }
  broken: { unit: count, expr: broken }
triggers:
  - { name: Starved, when: orders < 1, severity: high, then: { page: on-call } }
  - { name: Broken, when: broken > 0, severity: critical, summary: 'it is broken', then: { page: on-call } }
",
    );
}

/// Asks over HTTP as plainly as can be; returns the status and the body.
fn ask(address: SocketAddr, method: &str, path: &str, form: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = converse(address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    if !path.starts_with("/-/") {
        let head = head.to_ascii_lowercase();
        assert_says(&head, &["content-type: application/json", "x-content-type-options: nosniff"]);
    }
    (head[9..12].parse().expect("a status"), body.to_owned())
}

fn converse(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    // A server that has seen enough may close before everything is sent.
    stream.write_all(request).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_api_speaks_as_prometheus_does() {
    let watched = Watched::start("");
    queries_are_answered(&watched);
    what_there_is_to_ask_about(&watched);
    rules_and_alerts_are_shown(&watched);
    promtool_is_content(&watched);
    the_command_line_needs_no_listener(&watched.site);
    let Watched { daemon, site, .. } = watched;
    assert!(daemon.stop().success());
    assert!(!site.read("log").contains("broke off"), "{}", site.read("log"));
}

fn queries_are_answered(watched: &Watched) {
    let data = watched.data("/api/v1/query?query=sum%20by%20(venue)%20(orders_total)");
    assert_eq!(data["resultType"], "vector");
    assert_eq!(data["result"][0]["metric"], json!({ "venue": "north" }));
    assert_eq!(data["result"][0]["value"][1], "90");
    let now = data["result"][0]["value"][0].as_f64().expect("a time");
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert!((wall.as_secs_f64() - now).abs() < 60.0, "{now} is about now");
    let scalar = watched.data("/api/v1/query?query=1%2B1&time=1435781430.781");
    assert_eq!(scalar, json!({ "resultType": "scalar", "result": [1_435_781_430.781, "2"] }));
    let (start, end) = (now - 1.0, now);
    let data = watched
        .data(&format!("/api/v1/query_range?query=sum(orders_total)&start={start:.3}&end={end:.3}&step=0.5"));
    assert_eq!((&data["resultType"], &data["result"][0]["metric"]), (&json!("matrix"), &json!({})));
    let values = data["result"][0]["values"].as_array().expect("values");
    assert!((1..=3).contains(&values.len()) && values.iter().all(|value| value[1] == "100"), "{values:?}");
    let posted = watched.post("/api/v1/query", "query=orders_total%7Bcode%3D%22500%22%7D").1;
    assert_eq!(posted["data"]["result"][0]["metric"]["job"], "app", "{posted}");
    let limited = watched.get("/api/v1/query?query=orders_total&limit=1").1;
    assert_eq!(limited["warnings"], json!(["results truncated due to limit"]));
    assert_eq!(limited["data"]["result"].as_array().map(Vec::len), Some(1));
    // Nothing is empty in silence.
    let unkept = watched.get("/api/v1/query?query=unwatched%20%2B%20orders_total").1;
    assert_eq!(unkept["data"]["result"], json!([]));
    let warning =
        "series of `unwatched` are not kept: no loaded rule selects them; add it to `keep:` of its source";
    assert_eq!(unkept["warnings"], json!([warning]));
    let old = watched.get(&format!("/api/v1/query?query=orders_total%20offset%201d&time={now}")).1;
    assert_says(&old["infos"].to_string(), &["samples are kept for 5m", "looks back further"]);
    let young = watched.get("/api/v1/query?query=count_over_time(orders_total[6m])").1;
    assert_says(
        &young["infos"].to_string(),
        &["series of `orders_total` are kept since", "looks back further"],
    );
}

fn what_there_is_to_ask_about(watched: &Watched) {
    let series = watched.data("/api/v1/series?match[]=orders_total&match[]=up");
    assert_eq!(series.as_array().map(Vec::len), Some(3), "{series}");
    assert_eq!(series[0]["venue"], "north");
    let names = watched.data("/api/v1/labels?match[]=orders_total");
    assert_eq!(names, json!(["__name__", "code", "instance", "job", "venue"]));
    assert_eq!(watched.data("/api/v1/label/venue/values"), json!(["north", "south"]));
    let all = watched.data("/api/v1/label/__name__/values");
    assert_says(&all.to_string(), &["orders_total", "broken", "up", "scrape_duration_seconds"]);
    assert!(!all.to_string().contains("unwatched"), "{all}");
    assert_eq!(watched.data("/api/v1/labels?start=0&end=1"), json!([]));
    let metadata = watched.get("/api/v1/metadata").1;
    assert_eq!(metadata["data"], json!({}));
    assert_says(&metadata["warnings"].to_string(), &["not kept"]);
    assert_eq!(watched.data("/api/v1/status/buildinfo")["application"], "rearguard");
    assert_eq!(ask(watched.address, "GET", "/-/healthy", "").0, 200);
    assert_eq!(ask(watched.address, "GET", "/-/ready", "").0, 200);
}

fn rules_and_alerts_are_shown(watched: &Watched) {
    let groups = watched.data("/api/v1/rules?type=alert");
    let group = &groups["groups"][0];
    assert_eq!((&group["name"], &group["rules"][1]["name"]), (&json!("shop"), &json!("Starved")));
    let broken = &group["rules"][0];
    let expected = [
        ("type", json!("alerting")),
        ("state", json!("firing")),
        ("health", json!("ok")),
        ("query", json!("(broken) > 0")),
        ("labels", json!({ "severity": "critical", "target": "shop" })),
        ("annotations", json!({ "summary": "it is broken" })),
    ];
    for (field, value) in expected {
        assert_eq!(broken[field], value, "{field}: {broken}");
    }
    assert_eq!(group["rules"][1]["state"], "inactive");
    assert_eq!(watched.data("/api/v1/rules?type=record"), json!({ "groups": [] }));
    let alerts = watched.data("/api/v1/alerts");
    let alert = &alerts["alerts"][0];
    assert_eq!(
        (&alert["state"], &alert["value"], &alert["labels"]["alertname"]),
        (&json!("firing"), &json!("1e+00"), &json!("Broken"))
    );
    assert!(alert["activeAt"].as_str().is_some_and(|at| at.starts_with("20")), "{alert}");
}

fn promtool_is_content(watched: &Watched) {
    if !Path::new("/usr/bin/promtool").exists() {
        return println!("skipped: promtool is not installed (Debian: prometheus)");
    }
    let server = format!("http://{}", watched.address);
    let cases: [(&[&str], &[&str]); 5] = [
        (&["instant", &server, "sum(orders_total)"], &["{} => 100 @["]),
        (&["range", "--step=1s", &server, "broken"], &["broken{", "job=\"app\"", "1 @["]),
        (&["series", "--match=orders_total", &server], &["__name__=\"orders_total\"", "venue=\"south\""]),
        (&["labels", &server, "venue"], &["north\nsouth"]),
        (&["labels", &server, "__name__"], &["orders_total"]),
    ];
    for (arguments, expected) in cases {
        let output =
            Command::new("/usr/bin/promtool").arg("query").args(arguments).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {told}{}", String::from_utf8_lossy(&output.stderr));
        assert_says(&told, expected);
    }
}

fn the_command_line_needs_no_listener(site: &Site) {
    let told = site.told(&["query", "sum by (code) (orders_total)"]);
    assert_eq!(told, "{code=\"200\"}  90\n{code=\"500\"}  10\n");
    let json: Value =
        serde_json::from_str(&site.told(&["query", "--output", "json", "scalar(broken)"])).expect("JSON");
    assert_eq!((&json["status"], &json["data"]["result"][1]), (&json!("success"), &json!("1")));
    let unkept = site.run(&["query", "unwatched"]);
    assert_eq!((unkept.status.code(), unkept.stdout.len()), (Some(0), 0));
    let told = String::from_utf8_lossy(&unkept.stderr).into_owned();
    assert_says(&told, &["warning: series of `unwatched` are not kept", "note: the result is empty"]);
    let bad = site.run(&["query", "sum(raet(orders_total[1m]))"]);
    assert_eq!(bad.status.code(), Some(2));
    assert_says(&String::from_utf8_lossy(&bad.stderr), &["sum(raet(", "^^^^", "did you mean `rate`?"]);
    let many = site.run(&["query", "orders_total + on (job) orders_total"]);
    assert_eq!(many.status.code(), Some(1), "{}", String::from_utf8_lossy(&many.stderr));
}

#[test]
fn what_is_too_much_is_refused_by_the_limits_name() {
    let watched = Watched::start("query: { max_samples: 4, concurrency: 1 }");
    let refused = |path: &str| {
        let (status, answer) = watched.get(path);
        assert_eq!((status, &answer["errorType"]), (422, &json!("execution")), "{path}: {answer}");
        answer["error"].as_str().unwrap_or_default().to_owned()
    };
    let many = eventually("more than four samples", || {
        let (status, answer) = watched.get("/api/v1/query?query=sum(orders_total)");
        (status == 422).then(|| answer["error"].to_string())
    });
    assert_says(&many, &["more than the limit of 4 (`max_samples`)"]);
    let made = refused("/api/v1/query?query=sum_over_time(vector(1)[5s:1s])");
    assert_says(&made, &["makes more than 4 samples (`max_samples`)"]);
    let touched = refused("/api/v1/query?query=count_over_time(up[30d:1ms])");
    assert_says(&touched, &["touches more than 50000000 samples", "`max_samples`"]);
    let result = refused("/api/v1/query_range?query=vector(1)&start=0&end=5&step=1");
    assert_says(&result, &["5 samples, more than the limit of 4 (`max_samples`)"]);
    let told = String::from_utf8_lossy(&watched.site.run(&["query", "orders_total"]).stderr).into_owned();
    assert_says(&told, &["`max_samples`"]);
}

#[test]
fn bad_requests_are_answered_at_once_and_change_nothing() {
    let watched = Watched::start("");
    let begun = Instant::now();
    let (parentheses, long) = ("(".repeat(20_000), "a".repeat(1_000_000));
    let forms = [
        ("/api/v1/query", String::new(), 400),
        ("/api/v1/query", format!("query={parentheses}1"), 400),
        ("/api/v1/query", format!("query={}", "-".repeat(20_000)), 400),
        ("/api/v1/query", format!("query={long}"), 400),
        ("/api/v1/query", "query=%ff%fe".to_owned(), 400),
        ("/api/v1/query", "query=up&time=yesterday".to_owned(), 400),
        ("/api/v1/query", "query=up&timeout=-1".to_owned(), 400),
        ("/api/v1/query", "query=up&limit=some".to_owned(), 400),
        ("/api/v1/query", "query=up&lookback_delta=1m".to_owned(), 400),
        ("/api/v1/query", format!("query=up&{}", "a=1&".repeat(2000)), 400),
        ("/api/v1/query", format!("query={}", "a".repeat(3_000_000)), 413),
        ("/api/v1/query", "query=up%20%2B%20on%20()%20{job=%22app%22}".to_owned(), 422),
        ("/api/v1/query", format!("query=up{}", "%2Bup{a=~%22x%22}".repeat(65)), 400),
        ("/api/v1/query_range", "query=up&start=0&end=10".to_owned(), 400),
        ("/api/v1/query_range", "query=up&start=0&end=10&step=0".to_owned(), 400),
        ("/api/v1/query_range", "query=up&start=10&end=0&step=1".to_owned(), 400),
        ("/api/v1/query_range", "query=up&start=0&end=100000&step=1".to_owned(), 400),
        ("/api/v1/query_range", "query=up[5m]&start=0&end=10&step=1".to_owned(), 400),
        ("/api/v1/series", String::new(), 400),
        ("/api/v1/series", "match[]=sum(up)".to_owned(), 400),
        ("/api/v1/rules", String::new(), 405),
        ("/api/v1/admin/tsdb/delete_series", String::new(), 404),
    ];
    for (path, form, expected) in forms {
        let (status, answer) = watched.post(path, &form);
        let shown = &form[..form.len().min(60)];
        assert_eq!((status, &answer["status"]), (expected, &json!("error")), "{path} {shown}: {answer}");
        assert!(answer["error"].to_string().len() < 2000, "{path} {shown}: a refusal is short");
    }
    for method in ["DELETE", "PUT", "PATCH"] {
        assert_eq!(ask(watched.address, method, "/api/v1/query?query=up", "").0, 405, "{method}");
    }
    assert_eq!(watched.get("/api/v1/label/%ff/values").0, 400);
    assert_eq!(watched.get("/nowhere/%3Cscript%3E").0, 404);
    // A name that a stranger may have pointed at this host: a browser would hand over what it reads.
    let rebound = b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_says(&converse(watched.address, rebound), &["HTTP/1.1 421 ", "`external_url`"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "answered at once: {:?}", begun.elapsed());

    // Minutes of work: nobody waits for that, and nobody else has to.
    let slow = "query=count_over_time(vector(1)[5h:1s])&start=0&end=10000&step=1&timeout=50ms";
    let (status, answer) = watched.post("/api/v1/query_range", slow);
    assert_eq!((status, &answer["errorType"]), (503, &json!("timeout")), "{answer}");
    assert_says(&answer.to_string(), &["longer than 50ms (`query.timeout`)"]);

    // A client that says nothing, one that goes on for ever, and one that talks nonsense harm nobody.
    let _silent: Vec<_> = (0..10).map(|_| TcpStream::connect(watched.address).expect("it listens")).collect();
    let headers = format!("GET / HTTP/1.1\r\n{}\r\n", "X-Header: x\r\n".repeat(5000));
    assert!(!converse(watched.address, headers.as_bytes()).contains("200 OK"));
    assert!(!converse(watched.address, b"\x16\x03\x01\x00\xff not HTTP\r\n\r\n").contains("200 OK"));
    assert_eq!(ask(watched.address, "GET", "/-/ready", "").0, 200);
    assert_says(&watched.site.told(&["status"]), &["FIRING", "answers"]);
}

#[test]
fn a_taken_address_keeps_nobody_from_watching() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free address");
    let address = taken.local_addr().expect("an address");
    let (site, app) = (Site::new(), Application::start(PAGE));
    configure(&site, &app, &address.to_string(), "");
    let daemon = site.start();
    site.status();
    eventually("it watches all the same", || site.told(&["status"]).contains("FIRING").then_some(()));
    assert_says(&site.told(&["status"]), &[&format!("READ-ONLY API CANNOT LISTEN AT {address}: ")]);
    assert_says(&site.read("log"), &["the read-only API is not served"]);
    drop(taken);
    eventually("it is served once the address is free", || {
        (site.status().listening == Listening::Served(address)).then_some(())
    });
    // Another address takes a restart; everything else is in force.
    configure(&site, &app, "127.0.0.1:1", "");
    daemon.signal(Signal::HUP);
    eventually("the log says so", || site.read("log").contains("change with a restart only").then_some(()));
    assert!(daemon.stop().success());
}
