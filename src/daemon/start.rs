//! From nothing to a daemon that can decide: files, journal, state, measurements.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::sync::{mpsc, watch};

use super::clock::Clock;
use super::core::{Core, Message, Orders};
use super::desk::Tokens;
use super::dispatch::Dispatcher;
use super::latency::Latencies;
use super::retention::Keeper;
use super::systemd::Systemd;
use super::{DaemonError, NotInForce, Options, good_setup, wiring};
use crate::config::{self, Loaded, Refused, Style};
use crate::effects::receiver::Receiver;
use crate::effects::step::is_alive;
use crate::engine::Engine;
use crate::engine::decision::{Input, Phase, Restart, State};
use crate::engine::evaluation::{MAX_RESTORE_GAP, SavedMeasurements};
use crate::engine::model::ReceiverName;
use crate::engine::time::Span;
use crate::journal::{
    ClockReading, DurableEngine, GoodSetup, Journal, OpenError, Recovered, SampleStore, recover_state,
};

/// Where the journal lies if not even that can be read: systemd's `StateDirectory=`, else where the unit puts it.
const STATE_OF_LAST_RESORT: &str = "/var/lib/rearguard";

/// Everything that the daemon runs on.
pub struct Started {
    /// The files in force.
    pub loaded: Loaded,
    /// Why they are not the ones on disk, if they are not.
    pub degraded: Option<NotInForce>,
    /// The engine's thread, not started yet.
    pub core: Core,
    /// What the engine wants done.
    pub orders: mpsc::UnboundedReceiver<Orders>,
    /// Who does it.
    pub dispatcher: Dispatcher,
    /// Where the journal ends, as it grows.
    pub head: watch::Receiver<u64>,
    /// Who may say what over `ingest`.
    pub tokens: Arc<Tokens>,
}

/// Loads, opens, recovers. Nothing is asked and nobody is told before all of it has worked.
///
/// # Errors
/// See [`DaemonError`].
pub fn start(options: &Options, inbox: &Sender<Message>) -> Result<Started, DaemonError> {
    let on_disk = config::load(&options.config);
    let state = state_directory(&on_disk);
    let (journal, recovered, lost) = open(&state).map_err(|error| match &on_disk {
        // Whoever mistyped the file's name wants to hear of that first.
        Err(refused) => {
            let files = refused.render(Style::Plain);
            DaemonError::Files(format!("{}\n\nno last good files either: {error}", files.trim_end()))
        }
        Ok(_) => error,
    })?;
    let (loaded, mut degraded) = choose(on_disk, recovered.good_setup.as_ref(), options)?;
    for line in loaded.render_warnings(Style::Plain).lines() {
        tracing::warn!("{line}");
    }
    let (receivers, mut unusable) = usable_receivers(&loaded);
    let (tokens, unread) = usable_tokens(&loaded);
    unusable.extend(unread);
    if !unusable.is_empty() {
        // As long as somebody can be paged, a watchdog that watches is better than none.
        if options.strict || receivers.is_empty() {
            return Err(DaemonError::Files(unusable.join("\n")));
        }
        for problem in unusable.iter().flat_map(|problem| problem.lines()) {
            tracing::error!("{problem}");
        }
        let first = unusable[0].lines().next().unwrap_or_default().to_owned();
        degraded = degraded.or(Some(NotInForce { problem: first, root: true }));
    }
    let clock = Clock::resume(recovered.clock.as_ref())
        .map_err(|error| DaemonError::Host(format!("the kernel does not tell its boot id: {error}")))?;
    let (orders, waiting_orders) = mpsc::unbounded_channel();
    let (head, watched_head) = watch::channel(recovered.head.seq);
    let dispatcher = Dispatcher::new(
        options.gate.clone(),
        receivers,
        inbox.clone(),
        recovered.journal.clone(),
        Arc::clone(&options.witness),
    )
    .map_err(|error| DaemonError::Host(error.to_string()))?;
    // A start is one instant, so that it can be told again as one.
    let now = clock.read();
    let mut core = core(options, &loaded, journal, &recovered, (clock, &now), (orders, head))?;
    let told = degraded.as_ref().map(|degraded| degraded.problem.clone());
    begin(&mut core, &loaded, (&recovered, &now), told, lost)?;
    let head = watched_head;
    Ok(Started { loaded, degraded, core, orders: waiting_orders, dispatcher, head, tokens: Arc::new(tokens) })
}

/// Makes every receiver that the files name.
///
/// # Errors
/// Every secret that cannot be read, and every receiver that cannot be made.
pub fn receivers(loaded: &Loaded) -> Result<BTreeMap<ReceiverName, Receiver>, DaemonError> {
    let (receivers, problems) = usable_receivers(loaded);
    if problems.is_empty() { Ok(receivers) } else { Err(DaemonError::Files(problems.join("\n"))) }
}

/// Reads every token of the `ingest` listener.
///
/// # Errors
/// Every one that cannot be read or is too short.
pub fn tokens(loaded: &Loaded) -> Result<Arc<Tokens>, DaemonError> {
    match usable_tokens(loaded) {
        (tokens, None) => Ok(Arc::new(tokens)),
        (_, Some(problems)) => Err(DaemonError::Files(problems)),
    }
}

/// Reads every token that can be read, and says why the others cannot.
fn usable_tokens(loaded: &Loaded) -> (Tokens, Option<String>) {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let (read, unread) = config::read_tokens(&loaded.config, credentials.as_deref());
    let files: Vec<_> = loaded.files.iter().map(|(path, text)| config::source_file(path, text)).collect();
    let problems = config::render(&unread, &files, Style::Plain).trim_end().to_owned();
    (Tokens::new(read), (!unread.is_empty()).then_some(problems))
}

/// Makes every receiver that can be made, and says why the others cannot.
fn usable_receivers(loaded: &Loaded) -> (BTreeMap<ReceiverName, Receiver>, Vec<String>) {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let (secrets, unread) = config::read_each_secret(&loaded.config, credentials.as_deref());
    let mut problems = Vec::new();
    if !unread.is_empty() {
        let files: Vec<_> = loaded.files.iter().map(|(path, text)| config::source_file(path, text)).collect();
        problems.push(config::render(&unread, &files, Style::Plain).trim_end().to_owned());
    }
    let (made, unmade) = wiring::receivers(&loaded.config, &secrets);
    problems.extend(unmade);
    (made, problems)
}

fn state_directory(on_disk: &Result<Loaded, Refused>) -> PathBuf {
    let known = match on_disk {
        Ok(loaded) => Some(loaded.config.state.clone()),
        Err(refused) => refused.config.as_ref().map(|config| config.state.clone()),
    };
    known.unwrap_or_else(|| {
        std::env::var_os("STATE_DIRECTORY").map_or_else(|| STATE_OF_LAST_RESORT.into(), PathBuf::from)
    })
}

/// Opens the journal; one that is damaged is set aside, loudly. Returns what was lost, if anything was.
fn open(state: &Path) -> Result<(Journal, Recovered, Vec<String>), DaemonError> {
    let refused = |error: OpenError| DaemonError::State(error.to_string());
    match Journal::open(state) {
        Ok((journal, mut recovered)) => {
            let lost = std::mem::take(&mut recovered.damage);
            Ok((journal, recovered, lost))
        }
        Err(damaged @ OpenError::Corrupt { .. }) => {
            tracing::error!(%damaged, "the journal is damaged");
            let aside = Journal::set_aside(state).map_err(refused)?;
            let (journal, recovered) = Journal::open(state).map_err(refused)?;
            let kept =
                aside.map_or("it was gone".to_owned(), |aside| format!("it is kept as {}", aside.display()));
            Ok((
                journal,
                recovered,
                vec![format!("the journal was damaged ({damaged}) and begins anew; {kept}")],
            ))
        }
        Err(error) => Err(refused(error)),
    }
}

/// Chooses the files on disk, or the last good ones where those are bad. Returns why, in the second case.
fn choose(
    on_disk: Result<Loaded, Refused>,
    last_good: Option<&GoodSetup>,
    options: &Options,
) -> Result<(Loaded, Option<NotInForce>), DaemonError> {
    let refused = match on_disk {
        Ok(loaded) => return Ok((loaded, None)),
        Err(refused) => refused,
    };
    let rendered = refused.render(Style::Plain);
    let fallback = last_good.filter(|_| !options.strict).and_then(|good| {
        let files = good.files.iter().map(|(path, text)| (PathBuf::from(path), text.clone())).collect();
        config::load_texts(files).ok()
    });
    let Some(loaded) = fallback else { return Err(DaemonError::Files(rendered)) };
    for line in rendered.lines() {
        tracing::error!("{line}");
    }
    Ok((loaded, Some(NotInForce::because(&refused, &options.config))))
}

fn core(
    options: &Options,
    loaded: &Loaded,
    journal: Journal,
    recovered: &Recovered,
    (clock, now): (Clock, &ClockReading),
    (orders, head): (mpsc::UnboundedSender<Orders>, watch::Sender<u64>),
) -> Result<Core, DaemonError> {
    let (mut samples, opened) =
        SampleStore::open(&loaded.config.state).map_err(|error| DaemonError::State(error.to_string()))?;
    if let Some((aside, why)) = opened.set_aside {
        tracing::warn!(aside = %aside.display(), %why, "the store of samples was damaged and begins anew");
    }
    let state = state_of(recovered)?;
    let gap = gap(recovered.clock.as_ref(), now);
    let mut engine = Engine::new(Arc::new(loaded.setup.clone()), state, now.engine);
    restore(&mut engine, &mut samples, now, gap);
    let snapshot_seq = recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
    let epoch = recovered.epoch;
    Ok(Core {
        engine: DurableEngine::new(engine, journal, epoch, recovered.head, Arc::clone(&options.witness)),
        samples,
        clock,
        orders,
        head,
        systemd: Systemd::new(),
        config: options.config.clone(),
        latencies: Latencies::default(),
        wake_at: None,
        snapshot_seq,
        saved: SavedMeasurements::default(),
        pruned: std::time::Instant::now(),
        keeper: Keeper::new(&loaded.config.retention),
    })
}

fn state_of(recovered: &Recovered) -> Result<State, DaemonError> {
    let snapshot = recovered.snapshot.as_ref().map(|snapshot| serde_json::from_str(&snapshot.state));
    let snapshot = snapshot.transpose().map_err(|error| {
        DaemonError::State(format!("the journal's snapshot cannot be read by this version: {error}"))
    })?;
    let events = recovered.events.iter().map(|(_, event)| event);
    Ok(recover_state(snapshot, events).map_err(crate::journal::Fatal::from)?)
}

fn gap(last: Option<&ClockReading>, now: &ClockReading) -> Span {
    last.map_or(Span::ZERO, |last| now.engine.since(last.engine))
}

/// Takes up measurements; after too long a gap they say nothing about now.
fn restore(engine: &mut Engine, samples: &mut SampleStore, now: &ClockReading, gap: Span) {
    if gap > MAX_RESTORE_GAP {
        tracing::info!(%gap, "windows are not taken up: the daemon was down for too long");
    }
    let saved = match samples.load_windows::<SavedMeasurements>() {
        Ok(saved) => saved.unwrap_or_default().after(gap),
        Err(error) => {
            tracing::warn!(%error, "windows and alerts cannot be taken up; they begin anew");
            SavedMeasurements::default()
        }
    };
    match samples.load(now.engine - engine.retention()) {
        // Measured in a future that has not come: the clock of the last life ran ahead of what its journal knows.
        Ok(loaded) if loaded.turns.iter().any(|turn| turn.at > now.engine) => {
            tracing::warn!("samples are not taken up: they are younger than the journal's clock");
        }
        Ok(loaded) => engine.restore(saved, &loaded.observations()),
        Err(error) => tracing::warn!(%error, "samples cannot be taken up; there is a gap"),
    }
}

/// Tells the engine what it woke up to, in the order in which it must know: what time it is, what was left, and only
/// then what is new. In another order a page that the new files call for would be taken up as one that was left.
fn begin(
    core: &mut Core,
    loaded: &Loaded,
    (recovered, now): (&Recovered, &ClockReading),
    degraded: Option<String>,
    lost: Vec<String>,
) -> Result<(), DaemonError> {
    if recovered.head.seq == 0 {
        core.engine
            .create(now.clone(), recovered.journal.clone())
            .map_err(|error| DaemonError::State(error.to_string()))?;
    }
    core.follow_wall_clock(now)?;
    let runs = core.engine.engine().state().rollbacks.values();
    let alive = runs.filter_map(|run| match &run.phase {
        Phase::Started { effect, handle, .. } if is_alive(handle) => Some(*effect),
        _ => None,
    });
    let restart = Restart {
        gap: gap(recovered.clock.as_ref(), now),
        alive: alive.collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    core.handle(now, &Input::Restarted(restart))?;
    let fingerprint = loaded.setup.fingerprint.clone();
    let good = degraded.is_none();
    core.handle(now, &Input::SetupLoaded { fingerprint, degraded })?;
    if good && let Err(error) = core.engine.ledger().save_good_setup(&good_setup(loaded)) {
        tracing::error!(%error, "the files in force could not be kept for the next start");
    }
    for problem in lost {
        core.handle(now, &Input::StateLost { problem })?;
    }
    Ok(())
}
