//! The driver with real time: wiring, the engine's thread, the only clock, reload, signals, systemd, control socket.
//!
//! ```text
//! ask ──────┐                        ┌── dispatch ── steps, receivers
//! control ──┼─> core (engine thread) ┤
//! files ────┤        │ journal       └── systemd
//! signals ──┘        └ samples
//! ```

pub mod ask;
pub mod clock;
pub mod control;
pub mod core;
pub mod desk;
pub mod dispatch;
pub mod files;
pub mod latency;
pub mod listener;
mod log;
pub mod queries;
pub mod retention;
pub mod start;
pub mod systemd;
pub mod wiring;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook_tokio::SignalsInfo;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{self, Loaded, Refused, Style};
use crate::engine::decision::Input;
use crate::engine::rules::Level;
use crate::journal::{Fatal, GoodSetup, Witness};
use ask::Asking;
use clock::Clock;
use control::{Behind, Control};
use core::Message;
use desk::{Desk, Tokens};
use dispatch::Instruction;
use files::Watching;
use listener::{Listener, ReadApi, Serve};
use queries::Queries;
use start::Started;

/// How a daemon is started.
pub struct Options {
    /// `rearguard.yaml`.
    pub config: PathBuf,
    /// Whether bad files end the start, even where a last good set could run.
    pub strict: bool,
    /// This program: steps are started through it.
    pub gate: PathBuf,
    /// What serves `listen:`; without it nothing does.
    pub serve: Option<Serve<ReadApi>>,
    /// What serves `ingest:`; without it nothing does.
    pub ingest: Option<Serve<Desk>>,
    /// Is told of every point at which a crash must lose nothing.
    pub witness: Witness,
}

/// Why a daemon does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The files are bad and there is no good set to run instead; the text lists every problem.
    #[error("{0}")]
    Files(String),
    /// The state directory cannot be used.
    #[error("{0}")]
    State(String),
    /// The host lacks something that the daemon needs.
    #[error("{0}")]
    Host(String),
    /// The engine cannot go on; the process must come back and recover.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

impl From<std::io::Error> for DaemonError {
    fn from(error: std::io::Error) -> Self {
        Self::Host(error.to_string())
    }
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// See [`DaemonError`].
pub async fn run(mut options: Options) -> Result<(), DaemonError> {
    crate::sources::http_client::install_crypto_provider();
    let signals = SignalsInfo::<WithOrigin>::new([SIGTERM, SIGINT, SIGHUP])?;
    let (inbox, messages) = std::sync::mpsc::channel();
    let Started { loaded, degraded, mut core, orders, dispatcher, head, tokens } =
        start::start(&options, &inbox)?;
    let queries = Queries::new(inbox.clone(), loaded.config.query);
    let api = ReadApi { queries: queries.clone(), external_url: loaded.config.external_url.clone() };
    let listener = Listener::open("listen:", loaded.config.listen, options.serve.take(), api);
    let (tokens, known_tokens) = watch::channel(tokens);
    let desk = Desk::new(inbox.clone(), known_tokens);
    let ingest = loaded.config.ingest.as_ref().map(|ingest| ingest.listen);
    let ingest = Listener::open("ingest:", ingest, options.ingest.take(), desk);
    let behind = Behind {
        inbox: inbox.clone(),
        head,
        state: loaded.config.state.clone(),
        queries,
        listening: listener.standing(),
        ingest: ingest.standing(),
    };
    let control = Control::bind(&loaded.config.control, behind).map_err(|error| {
        DaemonError::Host(format!(
            "cannot bind the control socket {}: {error}",
            loaded.config.control.display()
        ))
    })?;
    let clock = core.clock.clone();
    let mut asking = Asking::default();
    if let Err(problems) = asking.follow(&loaded.config, &clock, &inbox) {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        return Err(DaemonError::Files(problems.join("\n")));
    }
    let (instruct, instructions) = mpsc::unbounded_channel();
    let dispatching = tokio::spawn(dispatcher.run(orders, instructions));
    let controlling = tokio::spawn(control.serve());
    let status = core.status_line();
    core.systemd.ready(&status);
    tracing::info!(config = %options.config.display(), "ready: {status}");
    let (over, engine_over) = oneshot::channel();
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let result = core.run(&messages);
        // Nobody listens any more in an orderly stop, which asks for this end.
        over.send(()).unwrap_or_default();
        result
    })?;
    let watching = Watching::new(&rule_files(&loaded));
    let mut daemon = Daemon {
        config: options.config,
        loaded,
        watching,
        asking,
        clock,
        inbox,
        instruct,
        refused: degraded,
        tokens,
    };
    daemon.live(signals, engine_over).await;
    // What is served asks the engine, which is about to go.
    listener.close().await;
    ingest.close().await;
    daemon.stop(dispatching).await;
    controlling.abort();
    match thread.join() {
        Ok(result) => Ok(result?),
        Err(_) => Err(DaemonError::Host("the engine broke off; see the log above".to_owned())),
    }
}

/// A daemon that is up.
struct Daemon {
    config: PathBuf,
    loaded: Loaded,
    watching: Watching,
    asking: Asking,
    clock: Clock,
    inbox: Sender<Message>,
    instruct: mpsc::UnboundedSender<Instruction>,
    /// Why the files on disk were refused when they were last read, if they were.
    refused: Option<NotInForce>,
    /// Who may say what over `ingest`.
    tokens: watch::Sender<Arc<Tokens>>,
}

/// Why the files on disk are not the ones in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotInForce {
    /// The first problem and how many there are, on one line.
    pub problem: String,
    /// Whether `rearguard.yaml` itself is what is bad: rule files alone cannot mend that.
    pub root: bool,
}

impl NotInForce {
    /// Says in one line why files are refused.
    fn because(refused: &Refused, root: &Path) -> Self {
        let errors = refused.problems.iter().filter(|problem| problem.level == Level::Error);
        let named = root.display().to_string();
        let root = errors.clone().any(|problem| *problem.place.file == *named);
        let first = errors.clone().next().map_or("unknown".to_owned(), |problem| {
            format!(
                "{}:{}:{}: {}",
                problem.place.file, problem.place.line, problem.place.column, problem.message
            )
        });
        let problem = match errors.count() {
            0 | 1 => first,
            count => format!("{first} (and {} more)", count - 1),
        };
        Self { problem, root }
    }
}

impl Daemon {
    /// Waits for signals and for files to change, until somebody wants the end.
    async fn live(&mut self, mut signals: SignalsInfo<WithOrigin>, mut engine_over: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut engine_over => return,
                () = self.watching.changed() => self.reload_rules(),
                origin = signals.next() => {
                    let Some(origin) = origin else { return };
                    let sender = origin.process.map_or("the kernel".to_owned(), |from| {
                        format!("process {} of uid {}", from.pid, from.uid)
                    });
                    if origin.signal == SIGHUP {
                        tracing::info!(%sender, "told to reload");
                        self.reload_everything();
                    } else {
                        tracing::info!(%sender, signal = origin.signal, "told to stop");
                        return;
                    }
                }
            }
        }
    }

    /// Reads the rule files again; `rearguard.yaml` stays as it is in force (E12).
    fn reload_rules(&mut self) {
        let Some((path, text)) = self.loaded.files.first().cloned() else { return };
        match config::load_rules(&path, text) {
            Ok(loaded) => self.take_into_force(loaded, self.refused.clone().filter(|refused| refused.root)),
            // What root wrote is refused already, and that is what people are told.
            Err(_) if self.refused.as_ref().is_some_and(|refused| refused.root) => {}
            Err(refused) => self.refuse(&refused),
        }
        // A source whose asking broke off is asked again.
        if let Err(problems) = self.asking.follow(&self.loaded.config, &self.clock, &self.inbox) {
            for problem in problems {
                tracing::error!(%problem, "this source is not asked");
            }
        }
        self.watching.follow(&rule_files(&self.loaded));
    }

    /// Reads every file again.
    fn reload_everything(&mut self) {
        let loaded = match config::load(&self.config) {
            Ok(loaded) => loaded,
            Err(refused) => {
                let because = NotInForce::because(&refused, &self.config).problem;
                tracing::warn!("the files on disk are refused, the old ones stay: {because}");
                return self.refuse(&refused);
            }
        };
        let receivers = match start::receivers(&loaded) {
            Ok(receivers) => receivers,
            Err(problem) => return self.refuse_because(problem.to_string()),
        };
        let tokens = match start::tokens(&loaded) {
            Ok(tokens) => tokens,
            Err(problem) => return self.refuse_because(problem.to_string()),
        };
        if loaded.config.state != self.loaded.config.state
            || loaded.config.control != self.loaded.config.control
        {
            return self.refuse_because("`state` and `control` change with a restart only".to_owned());
        }
        if loaded.config.listen != self.loaded.config.listen
            || loaded.config.query != self.loaded.config.query
        {
            tracing::warn!("`listen` and `query` change with a restart only; everything else is in force");
        }
        if let Err(problems) = self.asking.follow(&loaded.config, &self.clock, &self.inbox) {
            for problem in problems {
                tracing::error!(%problem, "this source is not asked");
            }
        }
        let address = |config: &config::Config| config.ingest.as_ref().map(|ingest| ingest.listen);
        if address(&loaded.config) != address(&self.loaded.config) {
            tracing::warn!("the address of `ingest` changes with a restart only; its tokens are in force");
        }
        self.tokens.send_replace(tokens);
        if self.instruct.send(Instruction::Receivers(receivers)).is_err() {
            tracing::error!("the dispatcher is gone; restart the daemon");
        }
        self.take_into_force(loaded, None);
        self.watching.follow(&rule_files(&self.loaded));
    }

    /// Takes a set into force. `still` is what stays refused all the same.
    fn take_into_force(&mut self, loaded: Loaded, still: Option<NotInForce>) {
        let before = std::mem::replace(&mut self.refused, still.clone());
        // Files were touched, or the poll came round: nothing has changed.
        if before == still && loaded.setup.fingerprint == self.loaded.setup.fingerprint {
            return;
        }
        let warnings = loaded.render_warnings(Style::Plain);
        for line in warnings.lines() {
            tracing::warn!("{line}");
        }
        self.tell(Message::Files {
            setup: Arc::new(loaded.setup.clone()),
            files: good_setup(&loaded),
            degraded: still.map(|still| still.problem),
            retention: loaded.config.retention,
        });
        self.loaded = loaded;
    }

    fn refuse(&mut self, refused: &Refused) {
        let because = NotInForce::because(refused, &self.config);
        if self.refused.as_ref() == Some(&because) {
            return;
        }
        for line in refused.render(Style::Plain).lines() {
            tracing::error!("{line}");
        }
        self.stay(because);
    }

    fn refuse_because(&mut self, problem: String) {
        self.stay(NotInForce { problem, root: true });
    }

    fn stay(&mut self, because: NotInForce) {
        let problem = because.problem.clone();
        self.refused = Some(because);
        self.tell(Message::Happened(Input::SetupRefused { problem }));
    }

    fn tell(&self, message: Message) {
        if self.inbox.send(message).is_err() {
            tracing::error!("the engine is gone");
        }
    }

    /// Stops in order: no new acts, running steps end, everything is saved.
    async fn stop(mut self, dispatching: tokio::task::JoinHandle<()>) {
        systemd::stopping();
        self.asking.stop();
        self.tell(Message::Happened(Input::Stopping));
        // Once the engine answers, every order from before its stop is with the dispatcher.
        let (asked, answered) = oneshot::channel();
        self.tell(Message::Asked(asked));
        if answered.await.is_err() {
            tracing::error!("the engine is gone; what it last wanted is taken up at the next start");
        }
        // Where the dispatcher is gone already there is nothing to wait for.
        self.instruct.send(Instruction::Stop).unwrap_or_default();
        if let Err(error) = dispatching.await {
            tracing::error!(%error, "the dispatcher broke off");
        }
        self.tell(Message::Stop);
    }
}

/// Returns the rule files of a set.
fn rule_files(loaded: &Loaded) -> Vec<PathBuf> {
    loaded.files.iter().skip(1).map(|(path, _)| path.clone()).collect()
}

/// Returns a set as the journal keeps it.
fn good_setup(loaded: &Loaded) -> GoodSetup {
    let files = loaded.files.iter().map(|(path, text)| (path.display().to_string(), text.clone())).collect();
    GoodSetup { fingerprint: loaded.setup.fingerprint.clone(), files }
}
