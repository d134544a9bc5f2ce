//! What a daemon has left behind, lived through again in virtual time: the same inputs at the same engine times.
//!
//! What it heard, and when it looked at its deadlines, is in its store of samples. Everything else that happened to it is
//! in its journal, as the event that was its first consequence. Nothing else goes in: no clock, no other event.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::Path;
use std::sync::Arc;

use rearguard::engine::decision::{EffectOutcome, Event, Happening, Input, Restart, Setup};
use rearguard::engine::evaluation::OWN_SOURCE;
use rearguard::engine::model::JournalId;
use rearguard::engine::time::{Span, Timestamp};
use rearguard::journal::{ClockReading, Reader, SampleStore, Turn};
use rearguard::replay::{MemoryLedger, Replay, Saved, Timed};

/// How long a daemon may take to look at a deadline that has passed, on a busy machine.
const LATENESS_MAX: Span = Span::from_secs(3);

/// What a daemon has left behind.
pub struct Record {
    pub journal: JournalId,
    pub events: Vec<Event>,
    pub turns: Vec<Turn>,
}

/// Everything that was in force at some time, by its hash.
pub type Setups = BTreeMap<String, Arc<Setup>>;

impl Record {
    /// Reads what is in the state directory of a daemon that has ended.
    pub fn read(state: &Path) -> Self {
        let reader = Reader::open(state).expect("there is a journal");
        let events = reader.events(0, usize::MAX).expect("it can be read");
        let (mut samples, _) = SampleStore::open(state).expect("there is a store of samples");
        let loaded = samples.load(Timestamp::ZERO).expect("it can be read");
        assert_eq!(loaded.unreadable, 0);
        Self {
            journal: reader.id().clone(),
            events: events.into_iter().map(|record| record.event).collect(),
            turns: loaded.turns,
        }
    }

    /// Lives through it again and returns what is decided now.
    pub fn lived_again(&self, setups: &Setups) -> Vec<Event> {
        let mut ledger = MemoryLedger::new(self.journal.clone());
        let mut saved = Saved::default();
        let starts: Vec<usize> =
            (0..self.events.len()).filter(|at| restart(&self.events[*at]).is_some()).collect();
        let mut turns = self.turns.iter().peekable();
        for (nth, start) in starts.iter().enumerate() {
            let end = starts.get(nth + 1).copied();
            let mut life = Life::begin(self, (*start, end), setups, (ledger, saved.clone()));
            life.go_on(&mut turns, setups, &mut saved);
            saved.measurements = life.replay.engine().saved_measurements();
            ledger = life.replay.stop();
        }
        ledger.events().to_vec()
    }
}

/// One process of the daemon.
struct Life<'a> {
    replay: Replay,
    /// What happens to it beside what it hears, each with its place in the journal.
    inputs: Vec<(usize, &'a Event)>,
    /// When the next process begins.
    until: Option<Timestamp>,
}

impl<'a> Life<'a> {
    /// Comes up at the restart in place `start` of the journal; the next one is in place `end`.
    fn begin(
        record: &'a Record,
        (start, end): (usize, Option<usize>),
        setups: &Setups,
        (ledger, saved): (MemoryLedger, Saved),
    ) -> Self {
        let events = &record.events[..end.unwrap_or(record.events.len())];
        let begun = &events[start];
        // A start is one instant; the files in force are the last thing that it hears of.
        let (loaded, setup) = (start..events.len())
            .find_map(|at| Some((at, in_force(&events[at], setups)?)))
            .expect("every start takes files into force");
        assert_eq!(events[loaded].at, begun.at);
        let wall_offset = events[..start].iter().rev().find_map(|event| match &event.what {
            Happening::WallClockMoved { offset } => Some(*offset),
            _ => None,
        });
        let ms = begun.at.as_millis();
        let clock = ClockReading {
            engine: begun.at,
            boot_id: "replayed".to_owned(),
            boottime_ms: ms,
            wall_unix_ms: ms + wall_offset.unwrap_or(Span::ZERO).as_millis(),
        };
        let mut replay = Replay::new(ledger, setup, clock, saved).expect("it recovers");
        let restart = restart(begun).expect("a restart");
        let _done_once_before = replay.begin(restart.alive.clone()).expect("it begins");
        let inputs = (loaded + 1..events.len()).map(|at| (at, &events[at]));
        let inputs = inputs.filter(|(_, event)| cause(event, setups).is_some()).collect();
        Self { replay, inputs, until: end.map(|end| record.events[end].at) }
    }

    /// Takes in what happened until the next process, in the order in which it happened.
    fn go_on<'t>(
        &mut self,
        turns: &mut Peekable<impl Iterator<Item = &'t Turn>>,
        setups: &Setups,
        saved: &mut Saved,
    ) {
        let mut inputs = std::mem::take(&mut self.inputs).into_iter().peekable();
        loop {
            let turn = turns.peek().filter(|turn| self.until.is_none_or(|until| turn.at < until));
            let told = self.replay.ledger().events().len();
            let input_first = match (turn, inputs.peek()) {
                (None, None) => return,
                (Some(turn), Some((place, event))) if turn.at == event.at => told == *place,
                (Some(turn), Some((_, event))) => event.at < turn.at,
                (turn, _) => turn.is_none(),
            };
            if input_first {
                let (_, event) = inputs.next().expect("it was there");
                self.take(event.at, cause(event, setups).as_ref());
                continue;
            }
            let turn = turns.next().expect("it was there");
            saved.observations.extend(turn.observation.clone());
            match &turn.observation {
                // What the engine said of itself it says again.
                Some(own) if own.source.as_str() == OWN_SOURCE => {}
                heard => self.take(turn.at, heard.clone().map(Timed::Observation).as_ref()),
            }
        }
    }

    fn take(&mut self, at: Timestamp, what: Option<&Timed>) {
        if let Some(due) = self.replay.next_at() {
            assert!(due + LATENESS_MAX > at, "a deadline at {due} was not looked at until {at}");
        }
        self.replay.advance(at);
        let _done_once_before = self.replay.take(what).expect("it goes on");
    }
}

fn restart(event: &Event) -> Option<&Restart> {
    match &event.what {
        Happening::Restarted(restart) => Some(restart),
        _ => None,
    }
}

fn in_force(event: &Event, setups: &Setups) -> Option<Arc<Setup>> {
    match &event.what {
        Happening::SetupLoaded { fingerprint, degraded: None } => Some(Arc::clone(&setups[fingerprint])),
        _ => None,
    }
}

/// Returns what an event is the first consequence of, where that came from outside and was no measurement.
fn cause(event: &Event, setups: &Setups) -> Option<Timed> {
    let finished = |effect, outcome| Input::EffectFinished { effect, outcome };
    Some(Timed::Input(match &event.what {
        Happening::SetupLoaded { .. } => return in_force(event, setups).map(Timed::Setup),
        Happening::SetupRefused { problem } => Input::SetupRefused { problem: problem.clone() },
        Happening::WallClockMoved { offset } => Input::WallClock { offset: *offset },
        Happening::Stopping => Input::Stopping,
        Happening::StepStarted { effect, handle, .. } => {
            Input::EffectStarted { effect: *effect, handle: handle.clone() }
        }
        Happening::StepEnded { effect, ending, .. } => finished(*effect, EffectOutcome::Step(ending.clone())),
        Happening::DeliveryReported { effect, report, .. } => {
            finished(*effect, EffectOutcome::Delivery(report.clone()))
        }
        _ => return None,
    }))
}
