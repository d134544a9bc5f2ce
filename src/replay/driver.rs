//! The engine under virtual time: a clock that moves when something is due, and nothing else.

use std::sync::Arc;

use super::memory::MemoryLedger;
use super::queue::Queue;
use crate::engine::Engine;
use crate::engine::decision::{Effect, Event, Input, Restart, Setup};
use crate::engine::evaluation::{MAX_RESTORE_GAP, SavedWindow};
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
    /// The windows at the last save.
    pub windows: Vec<SavedWindow>,
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
    /// `saved` is taken up unless the gap since the last commit is longer than windows are good for.
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
        if gap <= MAX_RESTORE_GAP {
            engine.restore(saved.windows, &saved.observations);
        }
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
        let offset = self.wall_offset();
        let inputs = [
            Input::Restarted(Restart { gap, alive }),
            Input::WallClock { offset },
            Input::SetupLoaded { fingerprint, degraded: None },
        ];
        for input in inputs {
            let handled = self.input(&self.clock.clone(), &input)?;
            all.events.extend(handled.events);
            all.effects.extend(handled.effects);
            all.report.lines.extend(handled.report.lines);
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
        let reading = self.reading();
        let handled = match &what {
            Some(Timed::Observation(observation)) => {
                let handled = self.engine.observe(&reading, observation)?;
                self.wake_at = handled.wake_at;
                handled
            }
            Some(Timed::Input(input)) => self.input(&reading, input)?,
            Some(Timed::Setup(setup)) => {
                self.engine.engine_mut().replace_setup(Arc::clone(setup), self.clock.engine);
                let fingerprint = setup.fingerprint.clone();
                self.input(&reading, &Input::SetupLoaded { fingerprint, degraded: None })?
            }
            None => {
                let handled = self.engine.wake(&reading)?;
                self.wake_at = handled.wake_at;
                handled
            }
        };
        Ok(Some(Stepped { what, handled }))
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
        let offset = self.wall_offset();
        self.schedule(self.clock.engine, Timed::Input(Input::WallClock { offset }));
    }

    fn wall_offset(&self) -> Span {
        Span::from_millis(self.clock.wall_unix_ms - self.clock.engine.as_millis())
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
