//! The engine's thread: the one place where inputs meet, decisions become durable, and the watchdog is fed.
//!
//! Every wake-up has a cause in [`Message`]. Nothing in here waits for the network; effects leave over a channel.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use super::clock::Clock;
use super::latency::{Latencies, LatencyReport};
use super::listener::Listening;
use super::log;
use super::queries::{self, Need};
use super::retention::Keeper;
use super::systemd::Systemd;
use crate::config;
use crate::engine::Status;
use crate::engine::decision::{Command, Effect, Input, Setup, counted};
use crate::engine::evaluation::SavedMeasurements;
use crate::engine::explanation::Explanation;
use crate::engine::model::TriggerName;
use crate::engine::series::Observation;
use crate::engine::time::{Span, Timestamp};
use crate::journal::{ClockReading, DurableEngine, Fatal, GoodSetup, Handled, Journal, SampleStore, Turn};

/// How often the loop turns when nothing happens: saves measurements, looks at the wall clock, feeds the watchdog.
const IDLE_TURN: Duration = Duration::from_secs(1);

/// How far the wall clock may drift from engine time before that is an event of its own.
const WALL_DRIFT: Span = Span::from_secs(1);

/// How often samples are dropped that no rule looks back to.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// After how many events the state is stored whole, so that a restart is quick.
const SNAPSHOT_EVERY: u64 = 500;

/// One reason to wake up.
#[derive(Debug)]
pub enum Message {
    /// A source has answered or failed.
    Observed {
        /// What it said.
        observation: Observation,
        /// When it was there.
        arrived: Instant,
    },
    /// Something else happened.
    Happened(Input),
    /// Somebody wants something, and an answer.
    Wanted {
        /// What.
        command: Command,
        /// `Err` says why not.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Somebody wants to know how things stand.
    Asked(oneshot::Sender<Box<DaemonStatus>>),
    /// Somebody wants to know why a trigger does what it does.
    Explained {
        /// Its name.
        trigger: TriggerName,
        /// One for each of its label sets and levels; none where there is no such trigger.
        answer: oneshot::Sender<Vec<Explanation>>,
    },
    /// A query needs something to read.
    Needed(Need),
    /// Another set of files comes into force.
    Files {
        /// The set.
        setup: Arc<Setup>,
        /// Its files, to be kept as the last good ones.
        files: GoodSetup,
        /// Why the files on disk are refused all the same, if `rearguard.yaml` is.
        degraded: Option<String>,
        /// How long the journal keeps what.
        retention: config::Retention,
    },
    /// The end: everything is saved and the loop returns.
    Stop,
}

/// What the shell must do, with the anchor that goes into every page.
#[derive(Debug)]
pub struct Orders {
    /// The effects, in order.
    pub effects: Vec<Effect>,
    /// The hash of the journal's head, in hexadecimal.
    pub anchor: String,
}

/// How things stand, for `status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// The version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The configuration file.
    pub config: PathBuf,
    /// The hash of the files in force.
    pub fingerprint: String,
    /// Where the journal ends.
    pub journal_seq: u64,
    /// The hash of its head.
    pub journal_head: String,
    /// What is watched and waited on.
    pub engine: Status,
    /// The mode of every target.
    pub targets: Vec<(String, crate::engine::decision::Mode)>,
    /// How long things take.
    pub latencies: LatencyReport,
    /// How the HTTP listener does; filled in by the control socket, as the engine does not know.
    #[serde(default)]
    pub listening: Listening,
    /// How the listener for what comes in does; filled in there too.
    #[serde(default)]
    pub ingest: Listening,
}

/// The engine's thread.
pub struct Core {
    pub(super) engine: DurableEngine<Journal>,
    pub(super) samples: SampleStore,
    pub(super) clock: Clock,
    pub(super) orders: mpsc::UnboundedSender<Orders>,
    pub(super) head: watch::Sender<u64>,
    pub(super) systemd: Systemd,
    pub(super) config: PathBuf,
    pub(super) latencies: Latencies,
    pub(super) wake_at: Option<Timestamp>,
    pub(super) snapshot_seq: u64,
    pub(super) saved: SavedMeasurements,
    pub(super) pruned: Instant,
    pub(super) keeper: Keeper,
}

impl Core {
    /// Turns until it is told to stop.
    ///
    /// # Errors
    /// See [`Fatal`]: the process must end and come back.
    pub fn run(mut self, inbox: &Receiver<Message>) -> Result<(), Fatal> {
        loop {
            let message = match inbox.recv_timeout(self.patience()) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return self.finish(),
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
            };
            let turn = Instant::now();
            // A deadline that passes while a message is taken must not be forgotten with the old plan.
            let planned = self.wake_at;
            if let Some(message) = message {
                self.take(message)?;
            }
            let now = self.clock.now();
            if [planned, self.wake_at].into_iter().flatten().any(|at| at <= now) {
                let clock = self.clock.read();
                self.samples.append(Turn { at: clock.engine, observation: None });
                let handled = self.engine.wake(&clock)?;
                self.hand_out(handled);
            }
            self.keep_house()?;
            self.latencies.turned(turn.elapsed());
        }
    }

    fn patience(&self) -> Duration {
        let until = self.wake_at.map_or(IDLE_TURN, |at| at.since(self.clock.now()).to_std());
        until.min(IDLE_TURN).min(self.systemd.patience()).min(self.keeper.patience())
    }

    fn take(&mut self, message: Message) -> Result<(), Fatal> {
        let clock = self.clock.read();
        match message {
            Message::Observed { observation, arrived } => {
                self.latencies.scraped(&observation.source, observation.took.to_std());
                let kept = self.engine.engine().kept_of(&observation);
                self.samples.append(Turn { at: clock.engine, observation: Some(kept) });
                if let Err(failure) = &observation.answer {
                    tracing::debug!(source = %observation.source, %failure, "source failed");
                }
                let handled = self.engine.observe(&clock, &observation)?;
                if handled.effects.iter().any(|effect| matches!(effect, Effect::PrepareStep(_))) {
                    self.latencies.acted(arrived.elapsed());
                }
                self.hand_out(handled);
            }
            Message::Happened(input) => self.handle(&clock, &input)?,
            Message::Wanted { command, answer } => {
                let handled = self.engine.handle(&clock, &Input::Command(command))?;
                let denied = handled.events.is_empty().then(|| match handled.report.lines.first() {
                    Some(line) => line.reason.to_string(),
                    None => "nothing came of it".to_owned(),
                });
                // Whoever asked may be gone; what was decided stands all the same.
                drop(answer.send(denied.map_or(Ok(()), Err)));
                self.hand_out(handled);
            }
            Message::Asked(answer) => drop(answer.send(Box::new(self.status()))),
            Message::Explained { trigger, answer } => {
                drop(answer.send(self.engine.engine().explain(&trigger, clock.engine)));
            }
            Message::Needed(need) => queries::hand_out(need, self.engine.engine(), self.clock.now()),
            Message::Files { setup, files, degraded, retention } => {
                self.keeper.follow(&retention);
                let fingerprint = setup.fingerprint.clone();
                let begun = self.engine.engine_mut().replace_setup(setup, clock.engine);
                log::begun(&begun);
                self.handle(&clock, &Input::SetupLoaded { fingerprint, degraded })?;
                if let Err(error) = self.engine.ledger().save_good_setup(&files) {
                    tracing::error!(%error, "the files in force could not be kept for the next start");
                }
            }
            Message::Stop => {}
        }
        Ok(())
    }

    /// Decides on one input and hands out what follows.
    ///
    /// # Errors
    /// See [`Fatal`].
    pub(super) fn handle(&mut self, clock: &ClockReading, input: &Input) -> Result<(), Fatal> {
        let handled = self.engine.handle(clock, input)?;
        self.hand_out(handled);
        Ok(())
    }

    fn hand_out(&mut self, handled: Handled) {
        let head = self.engine.head();
        self.wake_at = handled.wake_at;
        for written in handled.recorded {
            self.samples.append(Turn { at: written.at, observation: Some(written) });
        }
        for event in &handled.events {
            log::event(event);
        }
        for line in &handled.report.lines {
            tracing::debug!(subject = %line.subject, reason = %line.reason, "not done");
        }
        if !handled.events.is_empty() {
            self.head.send_replace(head.seq);
            self.systemd.status(&self.status_line());
        }
        if !handled.effects.is_empty() {
            let orders = Orders { effects: handled.effects, anchor: head.hash.to_string() };
            if self.orders.send(orders).is_err() {
                tracing::error!("the dispatcher is gone; effects are taken up again at the next start");
            }
        }
    }

    /// What must be done now and then, whatever happens.
    fn keep_house(&mut self) -> Result<(), Fatal> {
        self.follow_wall_clock(&self.clock.read())?;
        // A journal that was lost is tried again, even if nothing happens.
        if self.engine.engine().state().journal_lost.is_some() {
            self.handle(&self.clock.read(), &Input::Woke)?;
        }
        let seq = self.engine.head().seq;
        if seq >= self.snapshot_seq + SNAPSHOT_EVERY {
            self.snapshot();
        }
        if let Some(checkpoint) = self.keeper.turn(&mut self.engine, &self.clock.read())? {
            log::event(&checkpoint);
            self.snapshot_seq = self.engine.head().seq;
            self.head.send_replace(self.snapshot_seq);
        }
        if self.systemd.is_due() {
            self.save_measurements();
            self.systemd.feed();
        }
        Ok(())
    }

    /// Tells the engine where the wall clock stands, once it stands elsewhere.
    pub(super) fn follow_wall_clock(&mut self, clock: &ClockReading) -> Result<(), Fatal> {
        let offset = clock.wall_offset();
        let drift = offset - self.engine.engine().state().wall_offset;
        if drift > WALL_DRIFT || drift < -WALL_DRIFT {
            self.handle(clock, &Input::WallClock { offset })?;
        }
        Ok(())
    }

    fn save_measurements(&mut self) {
        let measured = self.engine.engine().saved_measurements();
        let saved = if measured == self.saved { Ok(()) } else { self.samples.save_windows(&measured) };
        match saved.and_then(|()| self.samples.flush()) {
            Ok(opened) => {
                self.saved = measured;
                if let Some((aside, why)) = opened.set_aside {
                    tracing::warn!(aside = %aside.display(), %why, "the store of samples was damaged and begins anew");
                }
            }
            // Losing an interval is a gap, not a lie.
            Err(error) => {
                tracing::warn!(%error, "samples could not be saved; a restart now would leave a gap")
            }
        }
        if self.pruned.elapsed() >= PRUNE_EVERY {
            self.pruned = Instant::now();
            let keep = self.engine.engine().retention();
            if let Err(error) = self.samples.prune(self.clock.now() - keep) {
                tracing::warn!(%error, "old samples could not be dropped");
            }
        }
    }

    fn snapshot(&mut self) {
        let seq = self.engine.head().seq;
        // What could not be written yet is in the state but not in the journal: no snapshot of that.
        if self.engine.engine().state().journal_lost.is_some() {
            return;
        }
        let state = self.engine.engine().state().clone();
        match self.engine.ledger().snapshot(seq, &state) {
            Ok(()) => self.snapshot_seq = seq,
            Err(error) => tracing::warn!(%error, "no snapshot; the next start reads more events"),
        }
    }

    fn finish(mut self) -> Result<(), Fatal> {
        self.snapshot();
        self.save_measurements();
        Ok(())
    }

    fn status(&self) -> DaemonStatus {
        let engine = self.engine.engine();
        let setup = engine.setup();
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            config: self.config.clone(),
            fingerprint: setup.fingerprint.clone(),
            journal_seq: self.engine.head().seq,
            journal_head: self.engine.head().hash.to_string(),
            engine: engine.status(self.clock.now()),
            targets: setup.targets.iter().map(|(name, target)| (name.to_string(), target.mode)).collect(),
            latencies: self.latencies.report(),
            listening: Listening::Off,
            ingest: Listening::Off,
        }
    }

    /// Says in one line what systemd shows.
    pub(super) fn status_line(&self) -> String {
        let engine = self.engine.engine();
        let state = engine.state();
        let open = state.incidents.values().filter(|incident| incident.resolved_at.is_none()).count();
        let triggers = engine.setup().rules.triggers.len();
        let armed = engine.setup().targets.values();
        let armed = armed.filter(|target| target.mode == crate::engine::decision::Mode::Armed).count();
        let mut line = format!(
            "{}, {} armed, {}",
            counted(triggers, "trigger"),
            counted(armed, "target"),
            counted(open, "open incident")
        );
        if state.degraded.is_some() {
            line.push_str("; DEGRADED: files on disk are bad");
        }
        if state.journal_lost.is_some() {
            line.push_str("; JOURNAL CANNOT BE WRITTEN: no rollbacks");
        }
        line
    }
}
