//! The daemon's lives: what it does by the clock, how it ends, how it comes up again, and the calm at the end.

use std::sync::Arc;

use super::super::channels::Tried;
use super::super::checks::Found;
use super::super::log::Violation;
use super::super::{faults, files, tally};
use super::{CALM_MAX, CALM_MIN, Daemon, Due, SAVE_EVERY, World};
use crate::engine::decision::{Command, DeploymentNews, EffectOutcome, Input, Phase, State};
use crate::engine::model::{EffectId, JournalId, RollbackId, SourceName};
use crate::engine::time::Span;
use crate::journal::{Checkpoint, CommitError, Fatal, recover_state};
use crate::replay::{MemoryLedger, Replay, Timed};

/// Samples older than this are not saved: no rule reaches as far back.
const SAMPLES_KEPT: Span = Span::from_secs(300);

impl World {
    pub(super) fn scrape(&mut self, source: &SourceName) {
        let Some(pace) = self.files.sources.get(source).copied() else { return };
        if self.stopped_life == Some(self.life) {
            return;
        }
        let (now, at) = (self.host.now, self.host.to_engine(self.host.now));
        let scraped = self.apps.scrape(source, now, at, &mut self.counters);
        let mut next = now + pace.every;
        if let Some((observation, took)) = scraped
            && let Daemon::Up(replay) = &mut self.daemon
        {
            replay.schedule(at + took, Timed::Observation(observation));
            // A source is asked again once it has answered.
            next = next.max(now + took);
        }
        self.queue.add(next, Due::Scrape { life: self.life, source: source.clone() });
    }

    pub(super) fn save(&mut self) -> Found {
        let Daemon::Up(replay) = &mut self.daemon else { return Ok(()) };
        if self.stopped_life != Some(self.life) {
            self.checks.silence_told(replay.engine().setup(), self.host.to_engine(self.host.now))?;
        }
        self.saved.measurements = replay.engine().saved_measurements();
        self.saved.observations.append(&mut self.unsaved);
        let oldest = self.host.to_engine(self.host.now) - SAMPLES_KEPT;
        self.saved.observations.retain(|observation| observation.at >= oldest);
        self.queue.add(self.host.now + SAVE_EVERY, Due::Save { life: self.life });
        Ok(())
    }

    pub(super) fn attempt(&mut self, effect: EffectId) {
        let Daemon::Up(replay) = &mut self.daemon else { return };
        let receivers = &self.files.receivers;
        let tried =
            self.channels.attempt(effect, self.host.now, |name| receivers.contains(name), &mut self.counters);
        let again = match tried {
            Tried::Told(after, report, again) => {
                let outcome = EffectOutcome::Delivery(report);
                let at = self.host.to_engine(self.host.now + after);
                replay.schedule(at, Timed::Input(Input::EffectFinished { effect, outcome }));
                again
            }
            Tried::Again(after) => Some(after),
            Tried::Gone => None,
        };
        if let Some(after) = again {
            self.queue.add(self.host.now + after, Due::Attempt { life: self.life, effect });
        }
    }

    /// A pipeline tells of its deployment; nobody hears it while the daemon is down.
    pub(super) fn tell(&mut self, target: usize, news: DeploymentNews) {
        let Daemon::Up(replay) = &mut self.daemon else { return };
        let command =
            Command::Deployment { target: files::target_name(target), news, by: "token ci".to_owned() };
        let now = self.host.to_engine(self.host.now);
        replay.schedule(now, Timed::Input(Input::Command(command)));
    }

    /// Somebody on call looks at a step in doubt, and says what became of it.
    pub(super) fn settle(&mut self, rollback: RollbackId) {
        let again = self.host.now + Span::from_secs(60);
        let Daemon::Up(replay) = &mut self.daemon else {
            return self.queue.add(again, Due::Settle { rollback });
        };
        let phase = replay.engine().state().rollbacks.get(&rollback).map(|run| run.phase.clone());
        let Some(Phase::InDoubt { effect, .. }) = phase else { return };
        // Now and then what a step had done is found wanting, and is to be done again.
        let done = self.steps.inspect(effect) && !self.random.chance(20);
        if !done {
            self.checks.not_done.insert(effect);
        }
        let command = Command::Settle { rollback, done, by: "ana (uid 1000)".to_owned() };
        let now = self.host.to_engine(self.host.now);
        replay.schedule(now, Timed::Input(Input::Command(command)));
        // The wish may be lost with the process.
        self.queue.add(again, Due::Settle { rollback });
    }

    /// The engine has given up: because it was killed, or because the ledger had moved on.
    pub(super) fn ended_by(&mut self, fatal: &Fatal) -> Found {
        let killed = self.ledger().is_some_and(|ledger| ledger.has_killed());
        match fatal {
            Fatal::Journal(CommitError::Fenced { .. }) if killed => {
                let name = match self.doom.take().map(|doom| doom.point) {
                    Some(Checkpoint::BeforeCommit) => "crash before commit",
                    _ => "crash after commit, before effects",
                };
                self.counters.note(name);
                self.die();
                Ok(())
            }
            Fatal::Journal(CommitError::Conflict { .. }) => {
                self.counters.note("process ended by a conflict");
                self.die();
                Ok(())
            }
            other => Err(Violation::new("E6", format!("the daemon cannot go on: {other}"))),
        }
    }

    /// The process ends between two inputs or two effects: what is durable is what was in memory (E6).
    pub(super) fn crash(&mut self) -> Found {
        let Daemon::Up(replay) = &mut self.daemon else { return Ok(()) };
        let live = replay.engine().state().clone();
        let in_memory_only = replay.ledger().events().len() != self.checks.log.seen;
        if in_memory_only {
            self.counters.note("crash with decisions in memory only");
        } else {
            recovers_to(replay.ledger(), &live)?;
        }
        self.die();
        Ok(())
    }

    fn die(&mut self) {
        self.remark("the daemon dies".to_owned());
        self.counters.note("crash");
        self.life += 1;
        self.unsaved.clear();
        self.steps.daemon_died();
        self.channels.daemon_died();
        let placeholder = Daemon::Down(Box::new(MemoryLedger::new(JournalId::new("none"))));
        if let Daemon::Up(replay) = std::mem::replace(&mut self.daemon, placeholder) {
            self.daemon = Daemon::Down(Box::new(replay.stop()));
        }
        let is_calm = self.calm_since.is_some();
        let down = if is_calm { Span::from_secs(1) } else { faults::downtime(&mut self.random) };
        if down > Span::from_secs(3600) {
            self.counters.note("long downtime");
        }
        if !is_calm && self.random.chance(12) {
            self.counters.note("reboot");
            self.host.reboot();
            self.steps.host_died();
            if self.random.chance(40) {
                self.host.jump_wall(-self.random.secs(1, 7200));
            }
        }
        self.queue.add(self.host.now + down, Due::Restart);
    }

    pub(super) fn restart(&mut self) -> Found {
        let placeholder = Daemon::Down(Box::new(MemoryLedger::new(JournalId::new("none"))));
        let Daemon::Down(mut ledger) = std::mem::replace(&mut self.daemon, placeholder) else {
            return Ok(());
        };
        let clock = self.host.resume(ledger.clock());
        let now = clock.engine;
        self.remark("the daemon starts".to_owned());
        self.checks.restarted(ledger.events(), &self.files, now)?;
        // Half of the time there is a snapshot of what the last process remembered.
        let state = recover_state(None, ledger.events()).map_err(|error| unfit(&error.to_string()))?;
        if ledger.head().seq > 0 && self.random.chance(50) {
            ledger.save_snapshot(&state).map_err(|error| unfit(&error.to_string()))?;
        }
        recovers_to(&ledger, &state)?;
        tally::recovered(&state, &mut self.counters);
        self.note_lost_answers();
        let (saved, files) = (self.saved.clone(), Arc::clone(&self.files));
        let mut replay =
            Replay::new(*ledger, files, clock, saved).map_err(|fatal| unfit(&fatal.to_string()))?;
        let begun = replay.begin(self.steps.alive(self.host.now));
        self.daemon = Daemon::Up(Box::new(replay));
        for source in self.files.sources.keys() {
            let first = self.host.now + self.random.millis(0, 3000);
            self.queue.add(first, Due::Scrape { life: self.life, source: source.clone() });
        }
        self.queue.add(self.host.now + SAVE_EVERY, Due::Save { life: self.life });
        match begun {
            Ok(handled) => {
                let known = self.checks.log.place_of.clone();
                let again = |event: &crate::engine::decision::Event| match &event.what {
                    crate::engine::decision::Happening::StepIntended { order, .. } => {
                        known.contains_key(&order.effect)
                    }
                    _ => false,
                };
                if handled.events.iter().any(again) {
                    self.counters.note("restart that took an intent up again");
                }
                self.take(None, &handled)
            }
            Err(fatal) => self.ended_by(&fatal),
        }
    }

    /// Counts messages that have arrived without the journal knowing.
    fn note_lost_answers(&mut self) {
        let log = &self.checks.log;
        let lost = log.pages.iter().any(|page| {
            page.deliveries.iter().any(|(effect, receiver)| {
                !log.over.contains_key(effect) && self.channels.has_taken(receiver, *effect, &page.message)
            })
        });
        if lost {
            self.counters.note("crash after a receiver's yes");
        }
    }

    /// From here on everything works.
    pub(super) fn calm_down(&mut self) {
        self.remark("calm: everything works from here on".to_owned());
        let now = self.host.now;
        self.calm_since = Some(now);
        self.doom = None;
        self.apps.calm_down(now);
        self.steps.calm_down();
        self.channels.calm_down();
        if let Some(ledger) = self.ledger() {
            ledger.set_down(false);
            ledger.set_fates([]);
            ledger.set_doom(None);
        }
        self.queue.add(now + CALM_MIN, Due::Look);
    }

    /// Looks whether the world has come to rest, and whether everything that was owed has been paid.
    pub(super) fn look(&mut self) -> Found {
        let now = self.host.now;
        self.queue.add(now + Span::from_secs(10), Due::Look);
        let Daemon::Up(replay) = &mut self.daemon else { return Ok(()) };
        let (state, setup) = (replay.engine().state(), Arc::clone(replay.engine().setup()));
        let in_flight = state.rollbacks.values().any(|rollback| !rollback.has_ended());
        let owes = in_flight || !state.pages.is_empty() || state.journal_lost.is_some();
        let calm = self.calm_since.map_or(Span::ZERO, |since| now.since(since));
        if owes && calm > CALM_MAX + Span::from_secs(7200) {
            let (pages, journal) = (state.pages.len(), &state.journal_lost);
            let what =
                format!("no rest after {calm} of calm: {pages} pages, in flight: {in_flight}, {journal:?}");
            return Err(Violation::new("E9", what));
        }
        if owes || calm < CALM_MIN {
            return Ok(());
        }
        let live = state.clone();
        recovers_to(replay.ledger(), &live)?;
        self.checks.delivered(&self.channels, &setup)?;
        self.is_over = true;
        Ok(())
    }
}

fn unfit(why: &str) -> Violation {
    Violation::new("E6", format!("what is durable cannot be read back: {why}"))
}

/// E6: snapshot and events, read back from text, give `live`; so do all events alone.
fn recovers_to(ledger: &MemoryLedger, live: &State) -> Found {
    let (snapshot, events) = ledger.read().map_err(|error| unfit(&error.to_string()))?;
    let recovered = recover_state(snapshot, &events).map_err(|error| unfit(&error.to_string()))?;
    if recovered == *live {
        return Ok(());
    }
    Err(Violation::new("E6", format!("recovered:\n{recovered:?}\nin memory:\n{live:?}")))
}
