//! The engine under virtual time: a clock that moves when something is due, and nothing else.

use std::sync::Arc;

use super::memory::MemoryLedger;
use super::queue::Queue;
use crate::engine::Engine;
use crate::engine::decision::{Effect, Event, Input, Restart, Setup};
use crate::engine::evaluation::SavedMeasurements;
use crate::engine::model::EffectId;
use crate::engine::series::Observation;
use crate::engine::time::{Span, Timestamp};
use crate::journal::{ClockReading, DurableEngine, Fatal, Handled, recover_state};

/// What a process hears, at its time.
#[derive(Clone, Debug)]
pub enum Timed {
    /// A source has answered, or failed.
    Observation(Observation),
    /// Anything else.
    Input(Input),
    /// Other files come into force.
    Setup(Arc<Setup>),
}

/// What the sample store has kept of the measurements before a restart.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// Windows and alerts at the last save.
    pub measurements: SavedMeasurements,
    /// The observations until then, oldest first.
    pub observations: Vec<Observation>,
}

/// One thing that was due, and what came of it.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// What was due; `None` for a deadline of the engine's own.
    pub what: Option<Timed>,
    /// What came of it.
    pub handled: Handled,
}

/// One process's life: an engine, its clocks, and what it will hear.
pub struct Replay {
    engine: DurableEngine<MemoryLedger>,
    clock: ClockReading,
    queue: Queue<Timed>,
    wake_at: Option<Timestamp>,
    /// How far back the next reading of the clock falls.
    slip: Span,
}

impl Replay {
    /// Rebuilds an engine from `ledger` as the daemon does at its start; decides nothing yet.
    ///
    /// Windows that were `saved` are taken up unless the gap since the last commit is longer than they are good for.
    ///
    /// # Errors
    /// Events that do not fit each other.
    pub fn new(
        mut ledger: MemoryLedger,
        setup: Arc<Setup>,
        clock: ClockReading,
        saved: Saved,
    ) -> Result<Self, Fatal> {
        let unreadable = |error: serde_json::Error| crate::engine::decision::IllegalTransition {
            at: clock.engine,
            why: error.to_string(),
        };
        let (snapshot, events) = ledger.read().map_err(unreadable)?;
        let state = recover_state(snapshot, &events)?;
        let gap = Self::gap(&ledger, &clock);
        let mut engine = Engine::new(setup, state, clock.engine);
        engine.restore(saved.measurements.after(gap), &saved.observations);
        let (epoch, head) = (ledger.open(), ledger.head());
        let engine = DurableEngine::new(engine, ledger, epoch, head, Arc::new(|_| {}));
        Ok(Self { engine, clock, queue: Queue::default(), wake_at: None, slip: Span::ZERO })
    }

    /// Comes up: names a new journal, takes up what was left, says which files are in force.
    ///
    /// `alive` are the started steps whose processes are still there.
    ///
    /// # Errors
    /// See [`Fatal`].
    pub fn begin(&mut self, alive: Vec<EffectId>) -> Result<Handled, Fatal> {
        let gap = Self::gap(self.engine.ledger(), &self.clock);
        let mut all = Handled::default();
        if self.engine.head().seq == 0 {
            let journal = self.engine.ledger().journal().clone();
            self.engine.create(self.clock.clone(), journal).map_err(Fatal::Journal)?;
            all.events.extend(self.engine.ledger().events().last().cloned());
        }
        let fingerprint = self.engine.engine().setup().fingerprint.clone();
        let offset = self.clock.wall_offset();
        let inputs = [
            Input::WallClock { offset },
            Input::Restarted(Restart { gap, alive, version: env!("CARGO_PKG_VERSION").to_owned() }),
            Input::SetupLoaded { fingerprint, degraded: None },
        ];
        for input in inputs {
            let handled = self.input(&self.clock.clone(), &input)?;
            all.events.extend(handled.events);
            all.effects.extend(handled.effects);
            all.report.lines.extend(handled.report.lines);
            all.recorded.extend(handled.recorded);
        }
        all.wake_at = self.wake_at;
        Ok(all)
    }

    fn gap(ledger: &MemoryLedger, clock: &ClockReading) -> Span {
        ledger.clock().map_or(Span::ZERO, |last| clock.engine.since(last.engine))
    }

    /// Adds something that will be heard at `at`, or now if that is past.
    pub fn schedule(&mut self, at: Timestamp, what: Timed) {
        self.queue.add(at, what);
    }

    /// Returns when something is due next.
    pub fn next_at(&self) -> Option<Timestamp> {
        let next = [self.queue.next_at(), self.wake_at].into_iter().flatten().min();
        next.map(|at| at.max(self.clock.engine))
    }

    /// Moves on to the next thing that is due and takes it in; `None` where nothing is.
    ///
    /// # Errors
    /// See [`Fatal`]. The process is over then: [`Replay::stop`] gives back what outlives it.
    pub fn step(&mut self) -> Result<Option<Stepped>, Fatal> {
        let Some(at) = self.next_at() else { return Ok(None) };
        self.advance(at);
        let queued = self.queue.next_at().is_some_and(|due| due <= at);
        let what = if queued { self.queue.pop().map(|(_, what)| what) } else { None };
        let handled = self.take(what.as_ref())?;
        Ok(Some(Stepped { what, handled }))
    }

    /// Takes one thing in, now, whether or not anything else is due; `None` is a look at every deadline.
    ///
    /// For callers who know what happened when, in place of [`Replay::step`].
    ///
    /// # Errors
    /// See [`Fatal`].
    pub fn take(&mut self, what: Option<&Timed>) -> Result<Handled, Fatal> {
        let reading = self.reading();
        let handled = match what {
            Some(Timed::Observation(observation)) => self.engine.observe(&reading, observation)?,
            Some(Timed::Input(input)) => self.engine.handle(&reading, input)?,
            Some(Timed::Setup(setup)) => {
                self.engine.engine_mut().replace_setup(Arc::clone(setup), self.clock.engine);
                let fingerprint = setup.fingerprint.clone();
                self.engine.handle(&reading, &Input::SetupLoaded { fingerprint, degraded: None })?
            }
            None => self.engine.wake(&reading)?,
        };
        self.wake_at = handled.wake_at;
        Ok(handled)
    }

    /// Runs until `until`; `answer` says what each effect leads to, and when.
    ///
    /// # Errors
    /// See [`Fatal`].
    pub fn run_until(
        &mut self,
        until: Timestamp,
        mut answer: impl FnMut(Timestamp, &Effect) -> Vec<(Timestamp, Timed)>,
    ) -> Result<Vec<Event>, Fatal> {
        let mut events = Vec::new();
        while self.next_at().is_some_and(|at| at <= until) {
            let Some(stepped) = self.step()? else { break };
            for effect in &stepped.handled.effects {
                for (at, what) in answer(self.clock.engine, effect) {
                    self.schedule(at, what);
                }
            }
            events.extend(stepped.handled.events);
        }
        self.advance(until);
        Ok(events)
    }

    /// Reads the clock, which may be wrong once.
    fn reading(&mut self) -> ClockReading {
        let slip = std::mem::replace(&mut self.slip, Span::ZERO);
        ClockReading { engine: self.clock.engine - slip, ..self.clock.clone() }
    }

    fn input(&mut self, reading: &ClockReading, input: &Input) -> Result<Handled, Fatal> {
        let handled = self.engine.handle(reading, input)?;
        self.wake_at = handled.wake_at;
        Ok(handled)
    }

    /// Lets time pass; an earlier time than now is now (E8).
    pub fn advance(&mut self, to: Timestamp) {
        let ms = to.since(self.clock.engine).as_millis();
        self.clock.engine += Span::from_millis(ms);
        self.clock.boottime_ms += ms;
        self.clock.wall_unix_ms += ms;
    }

    /// Lets the next reading of the host's clock be too early (E8).
    pub fn slip_clock(&mut self, by: Span) {
        self.slip = by;
    }

    /// Sets the wall clock forward, or back; the engine hears of it at once.
    pub fn jump_wall(&mut self, by: Span) {
        self.clock.wall_unix_ms += by.as_millis();
        let offset = self.clock.wall_offset();
        self.schedule(self.clock.engine, Timed::Input(Input::WallClock { offset }));
    }

    /// Returns the clocks.
    pub fn clock(&self) -> &ClockReading {
        &self.clock
    }

    /// Returns the engine, to look at.
    pub fn engine(&self) -> &Engine {
        self.engine.engine()
    }

    /// Returns the ledger.
    pub fn ledger(&mut self) -> &mut MemoryLedger {
        self.engine.ledger()
    }

    /// Ends the process at this very point and gives back what outlives it.
    pub fn stop(mut self) -> MemoryLedger {
        let journal = self.engine.ledger().journal().clone();
        std::mem::replace(self.engine.ledger(), MemoryLedger::new(journal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decision::{DeliveryReport, EffectOutcome};
    use crate::engine::evaluation::SourcePace;
    use crate::engine::model::JournalId;
    use crate::replay::timeline;

    const BEGIN: Timestamp = Timestamp::from_millis(1_000_000);

    fn at(seconds: i64) -> Timestamp {
        BEGIN + Span::from_secs(seconds)
    }

    fn clock(engine: Timestamp) -> ClockReading {
        let ms = engine.as_millis();
        ClockReading { engine, boot_id: "boot".to_owned(), boottime_ms: ms, wall_unix_ms: ms }
    }

    /// One source that is asked every 5 s, one receiver.
    fn setup() -> Arc<Setup> {
        let pace = SourcePace { every: Span::from_secs(5), silent_after: Span::from_secs(30) };
        Arc::new(Setup {
            fingerprint: "files".to_owned(),
            sources: [("app".into(), pace)].into(),
            receivers: ["pager".into()].into(),
            ..Setup::default()
        })
    }

    /// A receiver that says yes after a second.
    fn takes(now: Timestamp, effect: &Effect) -> Vec<(Timestamp, Timed)> {
        let outcome = EffectOutcome::Delivery(DeliveryReport::Accepted("202".to_owned()));
        vec![(now + Span::from_secs(1), Timed::Input(Input::EffectFinished { effect: effect.id(), outcome }))]
    }

    fn answer(seconds: i64) -> Timed {
        let (source, at, took) = ("app".into(), at(seconds), Span::ZERO);
        Timed::Observation(Observation { source, at, took, answer: Ok(Vec::new()), told: None })
    }

    #[test]
    fn a_story_in_virtual_time_goes_on_after_a_restart() {
        let ledger = MemoryLedger::new(JournalId::new("test"));
        let mut replay = Replay::new(ledger, setup(), clock(BEGIN), Saved::default()).unwrap();
        assert!(replay.begin(Vec::new()).unwrap().effects.is_empty());
        replay.schedule(at(5), answer(5));
        replay.run_until(at(60), takes).unwrap();
        let before = replay.engine().state().clone();

        let mut replay = Replay::new(replay.stop(), setup(), clock(at(70)), Saved::default()).unwrap();
        assert_eq!(*replay.engine().state(), before);
        assert!(replay.begin(Vec::new()).unwrap().effects.is_empty());
        replay.schedule(at(72), answer(72));
        replay.run_until(at(80), takes).unwrap();
        assert_eq!(
            timeline(replay.ledger().events(), BEGIN),
            "\
+0.000s  journal test begins
+0.000s  daemon starts, 0s after the last record
+0.000s  files in force: files
+35.000s  incident I1 opens, medium, rearguard: source app has been silent for 30s: nothing was heard of it
+35.000s  page to pager: rearguard: source app has been silent for 30s: nothing was heard of it
+36.000s  pager took a message: 202
+70.000s  daemon starts, 34s after the last record
+70.000s  files in force: files
+72.000s  all-clear to pager: rearguard: source app is silent: source app answers again
+72.000s  incident I1 is resolved: source app answers again
+73.000s  pager took a message: 202
"
        );
    }

    #[test]
    fn e8_a_clock_that_slips_does_not_take_events_along() {
        let ledger = MemoryLedger::new(JournalId::new("test"));
        let mut replay = Replay::new(ledger, setup(), clock(BEGIN), Saved::default()).unwrap();
        assert!(replay.begin(Vec::new()).unwrap().effects.is_empty());
        replay.schedule(at(10), Timed::Input(Input::Stopping));
        replay.slip_clock(Span::from_secs(60));
        let events = replay.run_until(at(20), takes).unwrap();
        assert_eq!(events.iter().map(|event| event.at).collect::<Vec<_>>(), [BEGIN]);
        assert_eq!(replay.clock().engine, at(20));
    }
}
