//! The demo's course: sets everything up, lets it happen, tells it, judges it, clears everything away.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::styling::Style;
use futures_util::StreamExt;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::process::Child;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout};

use super::app::{Deploy, Health, Version};
use super::arrival::{Arrival, Arrived, wall_unix_ms};
use super::follow::{FollowError, Follower};
use super::judge::{judge, missing};
use super::load::{Load, Seen};
use super::pagerduty::{Condition, PagerDuty};
use super::processes::{AppProcess, start_app, start_daemon, stop};
use super::scenario::{Files, Scenario};
use super::screen::Screen;
use super::smtp::MailServer;
use super::story::{Deed, Item, Sequence, Teller, closing, summary};
use super::{DemoOptions, Sabotage, loopback_client};
use crate::engine::decision::Happening;
use crate::engine::model::IncidentId;

/// How long the daemon may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long version 1 is watched before version 2 goes out: long enough to fill the rules' range of 10 s.
const GOOD_FOR: Duration = Duration::from_secs(12);

/// How long the story may take.
const STORY_LIMIT: Duration = Duration::from_secs(100);

/// How long the story is listened to after it has come to its end: what comes now should not.
const LINGER: Duration = Duration::from_secs(1);

/// The time between two looks at the clock.
const FRAME: Duration = Duration::from_millis(100);

/// How long everything is held back so that it can be told in the order in which it happened.
const HELD_BACK_MS: i64 = 250;

/// How many lines of the daemon's log are shown when it ends too early.
const LOG_LINES_MAX: usize = 20;

/// The exit code of a program that was interrupted, as shells have it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Why there is no story.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot {doing}: {source}")]
    Io { doing: &'static str, source: std::io::Error },
    #[error("cannot {doing}: {source}")]
    Http { doing: &'static str, source: reqwest::Error },
    #[error("{0}")]
    Follow(#[from] FollowError),
    #[error("the daemon did not answer on its control socket within {} s; it said:\n{log}", START_LIMIT.as_secs())]
    NoAnswer { log: String },
    #[error("the daemon ended too early ({status}); it said:\n{log}")]
    Ended { status: String, log: String },
}

fn io(doing: &'static str) -> impl Fn(std::io::Error) -> DemoError {
    move |source| DemoError::Io { doing, source }
}

fn http(doing: &'static str) -> impl Fn(reqwest::Error) -> DemoError {
    move |source| DemoError::Http { doing, source }
}

/// How the telling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The story is complete, or its time is up.
    Told,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// How the demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The story came out as it should.
    Good,
    /// It did not.
    Bad,
    /// Nobody knows: it was cut short.
    Interrupted,
}

/// Runs the demo: tells the story on standard output and exits with 0 only if it came out as it should.
pub async fn run(options: DemoOptions) -> ExitCode {
    let files = match Files::create() {
        Ok(files) => files,
        Err(error) => {
            eprintln!("rearguard demo: cannot make a directory: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match play(options, &files).await {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Ok(Outcome::Bad) => {
            eprintln!("\n  The daemon's log and what arrived are in {}", files.directory.display());
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("rearguard demo: {error}\n  The files are in {}", files.directory.display());
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = files.remove() {
        eprintln!("rearguard demo: cannot remove {}: {error}", files.directory.display());
        return ExitCode::FAILURE;
    }
    code
}

async fn play(options: DemoOptions, files: &Files) -> Result<Outcome, DemoError> {
    let mut stage = Stage::set_up(options, files).await?;
    let played = stage.play().await;
    let stopped = stage.clear().await;
    let outcome = played?;
    stopped?;
    Ok(outcome)
}

/// Everything that runs while the story is told.
struct Stage<'a> {
    options: DemoOptions,
    files: &'a Files,
    executable: PathBuf,
    client: reqwest::Client,
    app: AppProcess,
    daemon: Child,
    pagerduty: PagerDuty,
    mail: MailServer,
    arrivals: UnboundedReceiver<Arrival>,
    signals: Signals,
    load: Load,
    seen_at_deployment: Option<Seen>,
    sequence: Sequence,
    items: Vec<Item>,
    teller: Teller,
    screen: Screen,
}

impl<'a> Stage<'a> {
    async fn set_up(options: DemoOptions, files: &'a Files) -> Result<Self, DemoError> {
        let signals = Signals::new([SIGINT, SIGTERM]).map_err(io("listen for Ctrl-C"))?;
        let executable = std::env::current_exe().map_err(io("find this program"))?;
        let client = loopback_client().map_err(http("make an HTTP client"))?;
        let (sender, arrivals) = unbounded_channel();
        let condition = match options.sabotage {
            Some(Sabotage::Receiver) => Condition::Broken,
            _ => Condition::Working,
        };
        let pagerduty =
            PagerDuty::start(condition, sender.clone()).await.map_err(io("start the PagerDuty stand-in"))?;
        let mail = MailServer::start(sender).await.map_err(io("start the mail server"))?;
        let app = start_app(&executable).await.map_err(io("start the trading app"))?;
        let scenario = Scenario {
            executable: &executable,
            app_url: &app.url,
            pagerduty_url: &pagerduty.url,
            smtp: &mail.address.to_string(),
            sabotage: options.sabotage,
        };
        files.write(&scenario).map_err(io("write the configuration"))?;
        let daemon = start_daemon(&executable, &files.config, &files.log).map_err(io("start the daemon"))?;
        let load = Load::start(client.clone(), app.url.clone());
        let (teller, screen) = (Teller::new(wall_unix_ms()), Screen::of_stdout());
        Ok(Self {
            options,
            files,
            executable,
            client,
            app,
            daemon,
            pagerduty,
            mail,
            arrivals,
            signals,
            load,
            seen_at_deployment: None,
            sequence: Sequence::default(),
            items: Vec::new(),
            teller,
            screen,
        })
    }

    /// Tells the story and returns whether it came out as it should.
    async fn play(&mut self) -> Result<Outcome, DemoError> {
        self.introduce();
        self.sequence.put(deed(Deed::Started));
        let mut follower = self.connect().await?;
        let told = self.tell(&mut follower, STORY_LIMIT).await;
        self.tell_until(i64::MAX);
        self.screen.clear();
        if told? == Ended::Interrupted {
            self.screen.text("\n  interrupted");
            return Ok(Outcome::Interrupted);
        }
        let missing = judge(self.options.sabotage, &self.items, self.running_version().await);
        let missing = missing.err().unwrap_or_default();
        self.conclude(&missing);
        if self.options.keep {
            self.keep(&mut follower).await?;
        }
        Ok(if missing.is_empty() { Outcome::Good } else { Outcome::Bad })
    }

    async fn connect(&mut self) -> Result<Follower, DemoError> {
        let control = self.files.control.clone();
        tokio::select! {
            connected = timeout(START_LIMIT, Follower::connect(&control)) => match connected {
                Ok(follower) => Ok(follower?),
                Err(_) => Err(DemoError::NoAnswer { log: self.log() }),
            },
            status = self.daemon.wait() => Err(self.daemon_ended(status)),
        }
    }

    /// Lets the story happen until it is complete, `limit` is over or somebody interrupts it.
    async fn tell(&mut self, follower: &mut Follower, limit: Duration) -> Result<Ended, DemoError> {
        let limit = Instant::now() + limit;
        let mut deployment = Some(Instant::now() + GOOD_FOR);
        self.sequence.put(deed(Deed::Planned {
            version: Version::Two,
            at_wall_unix_ms: wall_unix_ms() + i64::try_from(GOOD_FOR.as_millis()).unwrap_or(0),
        }));
        let mut complete_since: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if now > limit || complete_since.is_some_and(|since| now > since + LINGER) {
                return Ok(Ended::Told);
            }
            if deployment.is_some_and(|at| now >= at) {
                deployment = None;
                self.deploy().await?;
            }
            if self.step(follower).await? == Ended::Interrupted {
                return Ok(Ended::Interrupted);
            }
            if complete_since.is_none() && missing(self.options.sabotage, &self.items).is_empty() {
                complete_since = Some(Instant::now());
            }
        }
    }

    /// Waits for the next thing that happens, at most for one frame, and tells it.
    async fn step(&mut self, follower: &mut Follower) -> Result<Ended, DemoError> {
        tokio::select! {
            record = follower.next() => match record? {
                Some(record) => self.sequence.put(Item::Event(Box::new(record))),
                None => {
                    let status = self.daemon.wait().await;
                    return Err(self.daemon_ended(status));
                }
            },
            Some(arrival) = self.arrivals.recv() => self.sequence.put(Item::Arrival(arrival)),
            Some(_) = self.signals.next() => return Ok(Ended::Interrupted),
            status = self.daemon.wait() => return Err(self.daemon_ended(status)),
            () = tokio::time::sleep(FRAME) => {}
        }
        let now = wall_unix_ms();
        self.tell_until(now - HELD_BACK_MS);
        self.screen.show(&self.teller, now);
        Ok(Ended::Told)
    }

    /// Tells everything that happened no later than `wall_unix_ms` and has not been told.
    fn tell_until(&mut self, wall_unix_ms: i64) {
        while let Some(item) = self.sequence.next(wall_unix_ms) {
            self.tell_item(item);
        }
    }

    fn tell_item(&mut self, item: Item) {
        if let Item::Arrival(arrival) = &item {
            self.file(arrival);
        }
        let lines = self.teller.tell(&item);
        self.screen.lines(&lines);
        self.items.push(item);
    }

    /// Keeps what arrived where people can read it in full.
    fn file(&mut self, arrival: &Arrival) {
        let number = self.items.iter().filter(|item| matches!(item, Item::Arrival(_))).count() + 1;
        let kept = match &arrival.what {
            Arrived::Page(page) => self.files.keep_received(&format!("{number:02}-page.json"), &page.body),
            Arrived::Mail(mail) => self.files.keep_received(&format!("{number:02}-mail.eml"), &mail.text),
        };
        if let Err(error) = kept {
            self.screen.text(&format!("  cannot keep what arrived: {error}"));
        }
    }

    async fn deploy(&mut self) -> Result<(), DemoError> {
        let wish = Deploy { version: Version::Two };
        let request = self.client.post(format!("{}/admin/deploy", self.app.url)).json(&wish);
        let answer = request.send().await.and_then(reqwest::Response::error_for_status);
        answer.map_err(http("deploy version 2"))?;
        self.seen_at_deployment = Some(self.load.seen());
        self.sequence.put(deed(Deed::Deployed(Version::Two)));
        Ok(())
    }

    /// Asks the app itself: the journal is not the judge of its own success.
    async fn running_version(&self) -> Option<Version> {
        let answer = self.client.get(format!("{}/api/health", self.app.url)).send().await.ok()?;
        answer.json::<Health>().await.ok().map(|health| health.version)
    }

    fn introduce(&mut self) {
        let bold = Style::new().bold();
        let title = self.screen.paint.apply(bold, "Rearguard demo");
        self.screen.text(&format!("\n  {title}  a bad deployment, a rollback, a page: in about a minute\n"));
        let daemon = self.daemon.id().map(|pid| format!(" (pid {pid})")).unwrap_or_default();
        let mut cast = vec![
            ("trading app", format!("{}, version 1 is good, version 2 is not", self.app.url)),
            ("rearguard", format!("daemon{daemon}, scrapes it every second and may roll it back")),
            ("rule", "error_rate > 5% for 10s: roll back and page whoever is on call".to_owned()),
            ("rollback", "freeze deployments, switch back, warm caches, then prove it".to_owned()),
            ("pagerduty", format!("stand-in at {}", self.pagerduty.url)),
            ("mail", format!("stand-in at {}", self.mail.address)),
        ];
        cast.extend(self.options.sabotage.map(|sabotage| ("sabotage", sabotage.to_string())));
        let dim = Style::new().dimmed();
        for (name, text) in cast {
            let name = self.screen.paint.apply(dim, &format!("{name:12}"));
            self.screen.text(&format!("  {name} {text}"));
        }
        self.screen.text("");
    }

    fn conclude(&mut self, missing: &[String]) {
        let users = self.seen_at_deployment.map(|before| self.load.seen().since(before));
        let (width, paint) = (self.screen.width, self.screen.paint);
        self.screen.text(&format!("\n{}", summary(&self.items, users, width, paint)));
        self.screen.text(&closing(self.options.sabotage, missing, paint));
    }

    /// Leaves everything running and goes on telling until somebody presses Ctrl-C.
    async fn keep(&mut self, follower: &mut Follower) -> Result<(), DemoError> {
        let (program, config) = (self.executable.display(), self.files.config.display());
        self.screen.text("\n  Everything is left running until Ctrl-C. From another terminal:\n");
        let incident = self.items.iter().find_map(incident_opened);
        let show = incident.map(|incident| format!("incident show {incident}"));
        for command in ["status", "incident list"].into_iter().chain(show.as_deref()) {
            self.screen.text(&format!("    {program} {command} --config {config}"));
        }
        self.screen.text(&format!("    curl {}/metrics", self.app.url));
        self.screen.text(&format!("    less {}/received/*\n", self.files.directory.display()));
        while self.step(follower).await? == Ended::Told {}
        self.screen.clear();
        Ok(())
    }

    fn daemon_ended(&self, status: std::io::Result<std::process::ExitStatus>) -> DemoError {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        DemoError::Ended { status, log: self.log() }
    }

    /// The end of the daemon's log.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(&self.files.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }

    /// Stops the daemon first: an app that goes away under its eyes would be one more incident.
    async fn clear(mut self) -> Result<(), DemoError> {
        stop(&mut self.daemon).await.map_err(io("stop the daemon"))?;
        stop(&mut self.app.child).await.map_err(io("stop the trading app"))
    }
}

fn incident_opened(item: &Item) -> Option<IncidentId> {
    match item {
        Item::Event(record) => match record.event.what {
            Happening::IncidentOpened { incident, .. } => Some(incident),
            _ => None,
        },
        _ => None,
    }
}

fn deed(what: Deed) -> Item {
    Item::Deed { wall_unix_ms: wall_unix_ms(), what }
}
