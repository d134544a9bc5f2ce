//! A bad release of a real process, rolled back by really restarting it, and proven by what it does afterwards.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::assert_says;
use crate::daemon_fixture::endpoint::{Endpoint, metrics};
use crate::daemon_fixture::eventually;
use crate::daemon_fixture::site::Site;

/// Where the application's process finds its release and its address.
const HOME: &str = "RELEASED_APPLICATION_HOME";

/// How many requests the application serves, a second.
const REQUESTS_PER_S: f64 = 200.0;

/// The application itself, when this program is started as such: release 2 fails a fifth of its requests.
#[test]
#[ignore = "is the process that another test watches and restarts"]
fn released_application() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let read = |name: &str| std::fs::read_to_string(home.join(name)).unwrap_or_default();
    let (release, begun) = (read("release").trim().to_owned(), Instant::now());
    let failing = if release == "2" { 0.2 } else { 0.001 };
    let answer = move |_: &str| {
        let requests = begun.elapsed().as_secs_f64() * REQUESTS_PER_S;
        let failed = requests * failing;
        metrics(&format!(
            "app_build_info{{version=\"{release}\"}} 1\n\
             http_requests_total{{status=\"200\"}} {}\nhttp_requests_total{{status=\"500\"}} {failed}\n",
            requests - failed
        ))
    };
    // A restart must not move the address.
    let endpoint = match read("address").parse() {
        Ok(address) => Endpoint::start_at(address, answer),
        Err(_) => Endpoint::start(answer),
    };
    std::fs::write(home.join("address"), endpoint.address.to_string()).expect("the home can be written");
    std::fs::write(home.join("pid"), std::process::id().to_string()).expect("the home can be written");
    std::thread::sleep(Duration::from_secs(600));
}

/// Keeps the application running, as systemd would: a process that ends is started again, as the release now says.
struct Supervisor {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Supervisor {
    fn start(home: &Path) -> Self {
        let (over, home) = (Arc::new(AtomicBool::new(false)), home.to_owned());
        let ended = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut child = application(&home);
            while !ended.load(Ordering::SeqCst) {
                if child.try_wait().expect("it is our child").is_some() {
                    child = application(&home);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            child.kill().ok();
            child.wait().ok();
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn application(home: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", "restart::released_application", "--ignored"]).env(HOME, home);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

#[test]
fn a_bad_release_is_rolled_back_by_a_real_restart_and_proven() {
    let site = Site::new();
    site.write("release", "1");
    let supervisor = Supervisor::start(&site.path(""));
    let address = eventually("the application listens", || {
        Some(site.read("address")).filter(|address| !address.is_empty())
    });
    let home = site.path("");
    let (home, restart) = (
        home.display(),
        site.program(
            "restart",
            &format!(
                "#!/bin/sh -eu\ncd {}\nold=$(cat pid)\nprintf %s \"$1\" > release\nkill \"$old\"\n\
             while [ \"$(cat pid)\" = \"$old\" ]; do sleep 0.05; done\n\
             echo \"release $(cat release) runs as process $(cat pid) in place of $old\"\n",
                site.path("").display()
            ),
        ),
    );
    configure(&site, &address, &restart);
    let _daemon = site.start();
    eventually("release 1 is known", || {
        let state = site.status().engine.state;
        (state.targets.get("app")?.version.as_deref() == Some("1")).then_some(())
    });
    let pid = site.read("pid");
    Command::new("/bin/sh")
        .args(["-c", &format!("printf 2 > {home}/release; kill {pid}")])
        .status()
        .expect("release 2 is deployed");
    eventually("the incident is opened and closed again", || {
        site.pager.events().iter().any(|event| event.resolves("-I1")).then_some(())
    });
    drop(supervisor);

    let events = site.pager.events();
    let first = &events[0];
    assert_says(&first.summary, &["app: ", "% of requests fail"]);
    assert!(first.says("Runs 2.") && first.says("Before it ran 1."), "{first:?}");
    let proof = events.iter().find(|event| event.summary.ends_with(", verified")).expect("it is proven");
    assert!(proof.dedup_key == first.dedup_key, "{proof:?}");
    assert!(
        events.iter().all(|event| event.dedup_key == first.dedup_key),
        "nothing else was paged: {events:?}"
    );
    let story = site.told(&["incident", "show", "I1"]);
    assert_says(
        &story,
        &[
            "| release 1 runs as process ",
            &format!("in place of {}", events_pid(&story)),
            "R1 verification begins",
            "error_rate < 2% met (0.1%)",
            "R1 succeeded: every step was done and the verification passed",
            "ErrorRateHigh is quiet again",
            "incident I1 is resolved: the condition is no longer met",
        ],
    );
    assert_eq!(site.read("release"), "1");
}

/// Returns the process that the step says it replaced.
fn events_pid(story: &str) -> &str {
    let (_, rest) = story.split_once("in place of ").expect("the step's output is told");
    rest.split_whitespace().next().expect("a pid")
}

fn configure(site: &Site, address: &str, restart: &Path) {
    site.configure(&format!(
        "\
targets:
  app:
    mode: armed
    plans: [previous]
    deployments: {{ detect: {{ source: app, metric: app_build_info, label: version }} }}
sources:
  app: {{ scrape: 'http://{address}/metrics', every: 250ms, timeout: 250ms }}
rollbacks:
  previous:
    steps: [{{ name: restart, exec: [{}, '{{previous_version}}'], timeout: 30s }}]
    verify: {{ warm_up: 500ms, within: 30s, conditions: ['error_rate < 2%'] }}
",
        restart.display()
    ));
    site.write(
        "rules/app.yaml",
        "\
target: app
sources: [app]
indicators:
  error_rate:
    unit: ratio
    expr: 'sum(rate(http_requests_total{status=~\"5..\"}[2s])) / sum(rate(http_requests_total[2s]))'
triggers:
  - name: ErrorRateHigh
    when: error_rate > 10%
    for: 1s
    severity: critical
    summary: '{target}: {value} of requests fail'
    then: { rollback: previous, page: on-call }
",
    );
}
