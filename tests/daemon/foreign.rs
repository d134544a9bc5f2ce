//! Endpoints that we did not write: Debian's Prometheus and its node exporter, with rules that real metrics breach.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rearguard::engine::decision::Happening;
use rearguard::journal::Reader;

use crate::assert_says;
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::site::Site;

/// A program of others, ended with the test.
struct Foreign(Child);

impl Foreign {
    /// Starts `program` with `{}` in its arguments replaced by a free address, and returns that as well.
    fn start(program: &str, arguments: &[&str]) -> (Self, String) {
        // Free a moment ago; the kernel does not give it to others so soon.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.expect("a free address").to_string();
        let arguments = arguments.iter().map(|argument| argument.replace("{}", &address));
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let foreign = Self(command.spawn().expect("it starts"));
        eventually(&format!("{program} listens"), || std::net::TcpStream::connect(&address).ok());
        (foreign, address)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// How often the endpoint is scraped, in milliseconds.
const EVERY_MS: i64 = 1000;

/// How long the condition must be met, in milliseconds.
const FOR_MS: i64 = 2000;

#[test]
fn a_rule_over_the_node_exporters_metrics_acts_once_and_pages() {
    let program = "/usr/bin/prometheus-node-exporter";
    if !Path::new(program).exists() {
        return println!("skipped: {program} is not installed (Debian: prometheus-node-exporter)");
    }
    let (_exporter, address) = Foreign::start(program, &["--web.listen-address={}"]);
    // Load on the machine itself: there is always some.
    judge(&address, r#"sum(increase(node_cpu_seconds_total{mode!="idle"}[10s]))"#, "> 0");
}

#[test]
fn a_rule_over_prometheus_own_metrics_acts_once_and_pages() {
    let program = "/usr/bin/prometheus";
    if !Path::new(program).exists() {
        return println!("skipped: {program} is not installed (Debian: prometheus)");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("prometheus.yml");
    std::fs::write(&config, "scrape_configs: []\n").expect("a file");
    let config = format!("--config.file={}", config.display());
    let storage = format!("--storage.tsdb.path={}", directory.path().join("data").display());
    let (_prometheus, address) = Foreign::start(program, &["--web.listen-address={}", &config, &storage]);
    // Our own scrapes push it up, second by second.
    judge(&address, r#"sum(increase(promhttp_metric_handler_requests_total{code="200"}[10s]))"#, "> 2");
}

/// Runs a daemon over the endpoint until the condition has led to a step and to pages, and asks it what happened.
fn judge(address: &str, expression: &str, condition: &str) {
    let site = Site::new();
    let step = site.program(
        "step",
        &format!("#!/bin/sh\necho \"$(date +%s%3N) $REARGUARD_STEP\" >> {}\n", site.path("steps").display()),
    );
    site.configure(&format!(
        "\
targets:
  host: {{ mode: armed, plans: [relieve] }}
sources:
  theirs: {{ scrape: 'http://{address}/metrics', every: {EVERY_MS}ms, timeout: {EVERY_MS}ms }}
rollbacks:
  relieve: {{ steps: [{{ name: shed load, exec: [{}], timeout: 20s }}] }}
",
        step.display()
    ));
    site.write(
        "rules/host.yaml",
        &format!(
            "\
target: host
sources: [theirs]
indicators:
  activity: {{ unit: count, expr: '{expression}' }}
triggers:
  - name: Busy
    when: activity {condition}
    for: {FOR_MS}ms
    severity: high
    summary: '{{target}} does something: {{value}}'
    then: {{ rollback: relieve, page: on-call }}
"
        ),
    );
    let _daemon = site.start();
    eventually("the step runs", || (!site.read("steps").is_empty()).then_some(()));
    let pages = eventually("what became of it is paged", || {
        let pages: Vec<_> =
            site.pager.events().into_iter().filter(|page| page.dedup_key.ends_with("-I1")).collect();
        pages.iter().any(|page| page.says("rolled back by `relieve`")).then_some(pages)
    });
    assert!(pages[0].summary.starts_with("host does something: "), "{}", pages[0].summary);
    assert!(pages[0].says("Rollback R1 by plan `relieve` has begun."), "{:?}", pages[0]);
    let body = &pages[0].body;
    let expected = [
        ("/routing_key", "0123456789abcdef0123456789abcdef"),
        ("/event_action", "trigger"),
        ("/payload/severity", "error"),
        ("/payload/source", "host"),
        ("/client", "Rearguard"),
    ];
    for (field, value) in expected {
        assert_eq!(body.pointer(field).and_then(|found| found.as_str()), Some(value), "{field}: {body}");
    }
    eventually("both mails arrive", || (site.mail.subjects().len() >= 2).then_some(()));
    assert_says(&site.mail.subjects()[0], &["[Rearguard] HIGH host", "does something: "]);

    assert_eq!(timely(&site), "shed load", "a step that ran");
    let scraped = |site: &Site| site.status().latencies.scrapes["theirs"].count;
    let before = scraped(&site);
    eventually("the condition stays met for a while", || (scraped(&site) >= before + 4).then_some(()));
    assert_eq!(site.read("steps").lines().count(), 1, "once, although the condition is still met");
    explained(&site, condition);
}

/// Checks that the step began within the window and two intervals of the first breach; returns its name.
fn timely(site: &Site) -> String {
    let journal = Reader::open(&site.path("state")).map(|reader| reader.events(0, 1000));
    let records = journal.expect("the journal opens").expect("it can be read");
    let breach = records.iter().find(|record| matches!(record.event.what, Happening::TriggerPending { .. }));
    let breach = breach.expect("it was pending first").wall_unix_ms;
    let steps = site.read("steps");
    let (ran_at, name) = steps.trim_end().split_once(' ').expect("a time and a name");
    let took = ran_at.parse::<i64>().expect("milliseconds") - breach;
    // The breach was seen a little before it was written down.
    let allowed = FOR_MS - EVERY_MS / 2..=FOR_MS + 2 * EVERY_MS;
    assert!(allowed.contains(&took), "the step began {took} ms after the first breach");
    name.to_owned()
}

/// Checks that the commands tell what happened and why.
fn explained(site: &Site, condition: &str) {
    let story = site.told(&["incident", "show", "I1"]);
    assert_says(
        &story,
        &[
            &format!("host/Busy is pending, fires after 2s: activity {condition}, measured "),
            &format!("host/Busy FIRES: activity {condition}, measured "),
            &format!("incident I1 opens, high, host: activity {condition} for 2s: measured "),
            "rollback R1 of host by `relieve` for I1: 1 step",
            "page to mail, pager: host does something: ",
            "R1 step 1 `shed load` is intended, 20s allowed",
            "starts as process",
            "is done after",
            "R1 succeeded: every step was done; the plan has no verification",
            "pager took a message",
            "mail took a message",
        ],
    );
    assert_says(&site.told(&["incident", "list"]), &["I1", "OPEN", "high", "host", "activity"]);
    let status = site.told(&["status"]);
    assert_says(
        &status,
        &["armed", "theirs", "answers", "host/Busy", "FIRING", "OPEN INCIDENTS", "R1 succeeded"],
    );
}
