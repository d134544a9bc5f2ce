//! SIGKILL at every named point between a decision and its deed, then a restart, judged from outside alone.
//!
//! For each [`Checkpoint`] the daemon is killed at its first hit, its second, and so on, until a run ends without having
//! been killed. Whatever the point: the incident is paged, no step runs twice, and where a step's start was durable and
//! its end was not, people are asked instead of guessed for. This program is also the daemon that kills itself, which is
//! why it has no test harness.

mod daemon_fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use daemon_fixture::endpoint::{Endpoint, metrics};
use daemon_fixture::eventually;
use daemon_fixture::pager::Event;
use daemon_fixture::process::Daemon;
use daemon_fixture::site::{REARGUARD, Site};
use rearguard::journal::Checkpoint;
use rustix::process::{Signal, getpid, kill_process};

/// The first argument under which this program is the daemon.
const DAEMON: &str = "daemon-that-kills-itself";

/// The name under which test runners know what is in here.
const TEST: &str = "a_kill_at_any_point_loses_no_page_and_runs_no_step_twice";

/// How many worlds there are at a time; they mostly wait.
const WORLDS_AT_A_TIME: usize = 8;

/// After how many failures nothing more is tried.
const FAILURES_MAX: usize = 5;

const POINTS: [Checkpoint; 7] = [
    Checkpoint::BeforeCommit,
    Checkpoint::AfterCommit,
    Checkpoint::BeforeSpawn,
    Checkpoint::AfterSpawn,
    Checkpoint::AfterRelease,
    Checkpoint::BeforeOutcome,
    Checkpoint::AfterAccept,
];

/// The steps of the plan, in order.
const STEPS: [&str; 2] = ["drain", "switch"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == DAEMON) {
        return run_daemon(&arguments[1..]);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            println!("{TEST}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if !filters.is_empty() && !filters.iter().any(|filter| TEST.contains(filter.as_str())) {
        println!("0 passed, 0 failed");
        return ExitCode::SUCCESS;
    }
    kill_everywhere()
}

/// Runs the daemon until the hit `arguments[2]` of the point `arguments[1]`.
fn run_daemon(arguments: &[String]) -> ExitCode {
    let [config, point, last] = arguments else { panic!("{arguments:?}: expected CONFIG POINT HIT") };
    let point = POINTS.into_iter().find(|known| format!("{known:?}") == *point).expect("a known point");
    let last: usize = last.parse().expect("a number");
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let hits = AtomicUsize::new(0);
    let options = rearguard::daemon::Options {
        config: config.into(),
        strict: false,
        gate: PathBuf::from(REARGUARD),
        serve: None,
        ingest: None,
        witness: Arc::new(move |reached| {
            if reached == point && hits.fetch_add(1, Ordering::SeqCst) + 1 == last {
                kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
                // The signal needs a moment to reach this thread; nothing may happen in it.
                loop {
                    std::thread::park();
                }
            }
        }),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.expect("a runtime").block_on(rearguard::daemon::run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is still to be tried, and what came of the rest.
#[derive(Default)]
struct Tally {
    next: BTreeMap<Checkpoint, usize>,
    survived: BTreeSet<Checkpoint>,
    kills: BTreeMap<Checkpoint, usize>,
    in_doubt: BTreeMap<Checkpoint, usize>,
    failures: Vec<String>,
}

impl Tally {
    /// Returns the next kill: the earliest hit of any point that no run has survived.
    fn take(&mut self) -> Option<(Checkpoint, usize)> {
        if self.failures.len() >= FAILURES_MAX {
            return None;
        }
        let open = POINTS.into_iter().filter(|point| !self.survived.contains(point));
        let point = open.min_by_key(|point| self.next.get(point).copied().unwrap_or(1))?;
        let next = self.next.entry(point).or_insert(1);
        *next += 1;
        Some((point, *next - 1))
    }

    fn record(&mut self, point: Checkpoint, hit: usize, lived: Result<Life, String>) {
        match lived {
            Ok(Life::Survived) => {
                self.survived.insert(point);
            }
            Ok(Life::Killed { in_doubt }) => {
                *self.kills.entry(point).or_default() += 1;
                *self.in_doubt.entry(point).or_default() += usize::from(in_doubt);
            }
            Err(why) => {
                println!("FAILED: killed at hit {hit} of {point:?}: {why}\n");
                self.failures.push(format!("{point:?} {hit}"));
            }
        }
    }
}

fn kill_everywhere() -> ExitCode {
    let begun = Instant::now();
    println!("running 1 test: {TEST}");
    // Failed worlds tell of themselves; a backtrace for each would bury that.
    std::panic::set_hook(Box::new(|_| {}));
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..WORLDS_AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some((point, hit)) = tally.lock().expect("not poisoned").take() else { return };
                    let lived = live(point, hit);
                    tally.lock().expect("not poisoned").record(point, hit, lived);
                }
            });
        }
    });
    let mut tally = tally.into_inner().expect("not poisoned");
    println!("{:<14} {:>5}  ended in doubt", "killed at", "times");
    for point in POINTS {
        let kills = tally.kills.get(&point).copied().unwrap_or(0);
        let in_doubt = tally.in_doubt.get(&point).copied().unwrap_or(0);
        println!("{:<14} {kills:>5}  {in_doubt}", format!("{point:?}"));
        if kills == 0 {
            tally.failures.push(format!("{point:?} was never hit"));
        }
    }
    let worlds: usize = tally.kills.values().sum();
    let failed = tally.failures.len();
    println!("{worlds} kills in {:.1} s; {}", begun.elapsed().as_secs_f64(), tally.failures.join(", "));
    println!("{} passed, {} failed", usize::from(failed == 0), usize::from(failed > 0));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What became of a daemon that was to be killed.
enum Life {
    /// It ended before that hit.
    Survived,
    /// It was killed, and all is well after the restart.
    Killed {
        /// Whether people had to say what became of a step.
        in_doubt: bool,
    },
}

fn live(point: Checkpoint, hit: usize) -> Result<Life, String> {
    catch_unwind(|| World::new().live(point, hit)).map_err(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// An application that is broken from the start and good once the last step ran.
struct World {
    site: Site,
    app: Endpoint,
}

impl World {
    fn new() -> Self {
        let site = Site::new();
        let healed = site.path("healed");
        let app = Endpoint::start(move |_| {
            metrics(&format!("app_error_ratio {}\n", if healed.exists() { 0 } else { 1 }))
        });
        let (steps, healed) = (site.path("steps"), site.path("healed"));
        let step = site.program(
            "step",
            &format!(
                "#!/bin/sh\necho \"$REARGUARD_EFFECT $REARGUARD_STEP\" >> {}\n\
                 [ \"$REARGUARD_STEP\" = {} ] && : > {}\nsleep 0.1\n",
                steps.display(),
                STEPS[1],
                healed.display()
            ),
        );
        let (url, step) = (app.url("/metrics"), step.display());
        site.configure(&format!(
            "\
targets:
  app: {{ mode: armed, plans: [back] }}
sources:
  app: {{ scrape: '{url}', every: 250ms, timeout: 250ms }}
rollbacks:
  back:
    deadline: 5m
    steps:
      - {{ name: {}, exec: [{step}], timeout: 20s }}
      - {{ name: {}, exec: [{step}], timeout: 20s }}
    verify: {{ warm_up: 300ms, within: 1m, conditions: ['errors < 5%'] }}
",
            STEPS[0], STEPS[1]
        ));
        site.write(
            "rules/app.yaml",
            "\
target: app
sources: [app]
indicators:
  errors: { unit: ratio, expr: app_error_ratio }
triggers:
  - { name: Errors, when: errors > 5%, for: 1s, severity: critical, then: { rollback: back, page: on-call } }
",
        );
        Self { site, app }
    }

    /// Lives through a kill at this hit of this point, and all that follows; panics where something is not as promised.
    fn live(&self, point: Checkpoint, hit: usize) -> Life {
        let mut first = self.start_killer(point, hit);
        let ended = eventually("the first daemon is killed or brings it to an end", || {
            first.ended().or_else(|| self.is_over().then(ExitStatus::default))
        });
        if ended.success() {
            let stopped = first.stop();
            if stopped.success() {
                self.judge();
                return Life::Survived;
            }
            assert_killed(stopped);
        } else {
            assert_killed(ended);
        }
        let second = self.site.start();
        let in_doubt = eventually("the second daemon brings it to an end, or asks", || {
            let events = self.site.pager.events();
            if self.is_over() {
                return Some(None);
            }
            events.into_iter().find(|event| event.triggers("-I1-rollback")).map(Some)
        });
        match point {
            Checkpoint::AfterRelease | Checkpoint::BeforeOutcome => {
                assert!(in_doubt.is_some(), "a step that was let go and whose end is not stored is in doubt");
            }
            Checkpoint::BeforeSpawn | Checkpoint::AfterSpawn => {
                assert!(in_doubt.is_none(), "a step that was never let go is not in doubt: {in_doubt:?}");
            }
            Checkpoint::BeforeCommit | Checkpoint::AfterCommit | Checkpoint::AfterAccept => {}
        }
        if let Some(page) = &in_doubt {
            self.settle(page);
        }
        self.site.status();
        let stopped = second.stop();
        assert!(stopped.success(), "the second daemon stops in order: {stopped}");
        self.judge();
        Life::Killed { in_doubt: in_doubt.is_some() }
    }

    fn start_killer(&self, point: Checkpoint, hit: usize) -> Daemon {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.arg(DAEMON).arg(self.site.config()).arg(format!("{point:?}")).arg(hit.to_string());
        Daemon::start(&mut command, &self.site.path("log"))
    }

    /// Returns whether everybody has been told that it is over.
    fn is_over(&self) -> bool {
        self.site.pager.events().iter().any(|event| event.resolves("-I1"))
            && self.site.mail.subjects().iter().any(|subject| subject.contains("RESOLVED"))
    }

    /// Does what a human does who is asked: looks what became of the step, and says so.
    fn settle(&self, page: &Event) {
        assert!(page.summary.contains("IN DOUBT"), "{}", page.summary);
        assert!(page.says("rearguard rollback settle R1 --done | --not-done"), "{page:?}");
        let story = self.site.told(&["incident", "show", "I1"]);
        let started = story.lines().filter_map(|line| line.split_once(" starts as process "));
        let pid = started.map(|(_, pid)| pid.to_owned()).next_back().expect("a step was started");
        eventually("the step's process is gone", || (!Path::new("/proc").join(&pid).exists()).then_some(()));
        let ran = self.ran();
        let scrapes = self.app.answered();
        eventually("the daemon goes on watching", || (self.app.answered() > scrapes + 3).then_some(()));
        assert_eq!(self.ran(), ran, "nothing more is done while a step is in doubt");
        let doubtful = story.matches(" starts as process ").count() - 1;
        let answer = if ran.len() > doubtful { "--done" } else { "--not-done" };
        self.site.told(&["rollback", "settle", "R1", answer]);
        eventually("the rollback goes on and the incident ends", || self.is_over().then_some(()));
    }

    /// Returns the key and the name of every step that ran, in order.
    fn ran(&self) -> Vec<(String, String)> {
        let steps = self.site.read("steps");
        let split = |line: &str| line.split_once(' ').map(|(key, name)| (key.to_owned(), name.to_owned()));
        steps.lines().filter_map(split).collect()
    }

    /// Judges the whole story by what the outside has seen.
    fn judge(&self) {
        let ran = self.ran();
        let names: Vec<&str> = ran.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, STEPS, "every step ran once, in order");
        let keys: BTreeSet<&str> = ran.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys.len(), ran.len(), "no idempotency key is used twice: {ran:?}");

        let events = self.site.pager.events();
        let paged = |suffix: &str| events.iter().find(|event| event.triggers(suffix));
        let first = paged("-I1").expect("the incident is paged");
        assert!(first.says("Rollback R1 by plan `back` has begun."), "{first:?}");
        let proven =
            events.iter().any(|event| event.triggers("-I1") && event.summary.ends_with(", verified"));
        assert!(proven, "people are told that the rollback worked");
        let key = first.dedup_key.as_str();
        let others: Vec<_> = events.iter().filter(|event| !event.dedup_key.starts_with(key)).collect();
        assert!(others.is_empty(), "one incident, not several: {others:?}");
        if paged("-I1-rollback").is_some() {
            let closed = events.iter().any(|event| event.resolves("-I1-rollback"));
            assert!(closed, "the key under which people were asked is closed again");
        }
        let mails = self.site.mail.subjects();
        assert!(mails.iter().any(|subject| subject.contains("CRITICAL app")), "mailed: {mails:?}");
    }
}

fn assert_killed(status: ExitStatus) {
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "the first daemon ended by itself: {status}");
}
