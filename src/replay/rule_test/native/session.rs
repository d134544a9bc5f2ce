//! Plays a test: the engine under virtual time, with the sources, steps and receivers that the test describes.

use std::collections::{BTreeMap, BTreeSet};

use super::expectation::{Standing, StatePattern, Want};
use super::happens::{Mood, Occurrence};
use super::outside::Outside;
use super::probes::{Answer, says_when_good};
use super::stage::{Loaded, Stage};
use super::story::{Line, Look, Story, Told};
use super::written::Test;
use crate::engine::decision::{Command, Effect, Happening, Input, Setup, TriggerState};
use crate::engine::evaluation::OWN_SOURCE;
use crate::engine::model::{JournalId, Sample, SourceName};
use crate::engine::promql::{EvalContext, Plan, Value};
use crate::engine::series::{FailureKind, Observation, SourceFailure};
use crate::engine::time::{Span, Timestamp};
use crate::journal::{ClockReading, Fatal, Handled};
use crate::replay::{MemoryLedger, Queue, Replay, Saved, Timed};

/// More inputs than this at one instant are a loop.
const INPUTS_AT_ONCE: u32 = 10_000;

/// What is due outside of the daemon.
#[derive(Clone, Debug)]
enum Due {
    Happens(usize),
    Ask { life: u32, source: SourceName },
    JournalWorks,
    Up,
}

/// A daemon that is up, or what it has left behind.
enum Daemon {
    Up(Box<Replay>),
    Down(Box<MemoryLedger>),
}

struct Session<'t> {
    test: &'t Test,
    stage: &'t Stage,
    now: Timestamp,
    end: Timestamp,
    queue: Queue<Due>,
    daemon: Daemon,
    life: u32,
    /// The files on disk.
    files: Loaded,
    values: Vec<Vec<Option<f64>>>,
    moods: BTreeMap<SourceName, (Mood, Option<Timestamp>)>,
    outside: Outside<'t>,
    /// How far the wall clock has been set from engine time.
    wall_offset: Span,
    saved: Saved,
    at_once: u32,
    story: Story,
}

/// Plays a test to its end, `lasts` after its start.
pub(super) fn play(test: &Test, stage: &Stage, lasts: Span) -> Story {
    let mut queue = Queue::default();
    for (at, happens) in test.happens.iter().enumerate() {
        queue.add(test.start + happens.at, Due::Happens(at));
    }
    let mut session = Session {
        test,
        stage,
        now: test.start,
        end: test.start + lasts,
        queue,
        daemon: Daemon::Down(Box::new(MemoryLedger::new(JournalId::new("test")))),
        life: 0,
        files: stage.loaded.clone(),
        values: Vec::new(),
        moods: BTreeMap::new(),
        outside: Outside::new(&test.steps, &test.deliveries),
        wall_offset: Span::ZERO,
        saved: Saved::default(),
        at_once: 0,
        story: Story { lasted: lasts, ..Story::default() },
    };
    session.values = session.exposed();
    if let Err(fatal) = session.run() {
        session.story.broken = Some((session.now - test.start, fatal));
    }
    session.story
}

impl Session<'_> {
    /// Returns the values of every series, on the grid of its source's answers.
    fn exposed(&self) -> Vec<Vec<Option<f64>>> {
        let values = |(source, _, course): &(SourceName, _, super::course::Course)| {
            let every = self.every(source);
            let count = (self.end - self.test.start).as_millis() / every.as_millis().max(1) + 1;
            course.values(every, usize::try_from(count).unwrap_or(0))
        };
        self.stage.series.iter().map(values).collect()
    }

    fn every(&self, source: &SourceName) -> Span {
        self.files.setup.sources.get(source).map_or(Span::from_secs(5), |pace| pace.every)
    }

    fn run(&mut self) -> Result<(), String> {
        let mut looks = self.times_to_look_at();
        if !self.stage.left_out.is_empty() {
            let names: Vec<&str> = self.stage.left_out.iter().map(String::as_str).collect();
            self.remark(format!("left out, for this test gives them nothing to read: {}", names.join(", ")));
        }
        self.come_up()?;
        loop {
            let inside = match &self.daemon {
                Daemon::Up(replay) => replay.next_at(),
                Daemon::Down(_) => None,
            };
            let outside = self.queue.next_at();
            let next = [inside, outside].into_iter().flatten().min().filter(|at| *at <= self.end);
            while let Some(at) = looks.first().copied().filter(|at| next.is_none_or(|next| *at < next)) {
                looks.remove(&at);
                self.move_to(at)?;
                self.look();
            }
            let Some(next) = next else { return Ok(()) };
            self.move_to(next)?;
            if outside.is_some_and(|outside| outside <= next) {
                if let Some((_, due)) = self.queue.pop() {
                    self.meet(due)?;
                }
            } else {
                self.step()?;
            }
        }
    }

    /// Returns the times at which expectations are to be compared or explained.
    fn times_to_look_at(&self) -> BTreeSet<Timestamp> {
        let times = self.test.expect.iter().filter_map(|expected| expected.want.last());
        times.map(|at| self.test.start + at).collect()
    }

    fn move_to(&mut self, at: Timestamp) -> Result<(), String> {
        self.at_once = if at > self.now { 0 } else { self.at_once + 1 };
        self.now = at.max(self.now);
        if let Daemon::Up(replay) = &mut self.daemon {
            replay.advance(self.now);
        }
        if self.at_once > INPUTS_AT_ONCE {
            return Err(format!(
                "it does not come to rest: more than {INPUTS_AT_ONCE} things happen at once"
            ));
        }
        Ok(())
    }

    fn since_start(&self) -> Span {
        self.now - self.test.start
    }

    fn remark(&mut self, remark: String) {
        self.story.lines.push(Line { at: self.since_start(), told: Told::World(remark) });
    }

    /// Lets the daemon take in what is due inside it.
    fn step(&mut self) -> Result<(), String> {
        let Daemon::Up(replay) = &mut self.daemon else { return Ok(()) };
        let Some(stepped) = replay.step().map_err(told)? else { return Ok(()) };
        if let Some(Timed::Observation(observation)) = &stepped.what {
            self.saved.observations.push(observation.clone());
        }
        self.saved.observations.extend(stepped.handled.recorded.iter().cloned());
        self.take(&stepped.handled);
        Ok(())
    }

    /// Notes a decision and does what it asks for.
    fn take(&mut self, handled: &Handled) {
        let at = self.since_start();
        for line in &handled.report.lines {
            self.story.note_reason(at, &line.subject, &line.reason);
        }
        let told: Vec<_> = handled.events.iter().filter(|event| self.is_told(&event.what)).collect();
        for event in told {
            self.story.lines.push(Line { at, told: Told::Event(Box::new(event.clone())) });
        }
        let Daemon::Up(replay) = &mut self.daemon else { return };
        for effect in &handled.effects {
            for (after, input) in self.outside.answer(effect, self.now) {
                replay.schedule(self.now + after, Timed::Input(input));
            }
            if let Effect::AbandonStep(effect) = effect {
                self.outside.abandon(*effect);
            }
        }
    }

    /// Returns whether an event is worth a line: not the beginning that every test has, and not that a receiver of which
    /// nothing is said takes what it is given.
    fn is_told(&self, what: &Happening) -> bool {
        match what {
            Happening::JournalCreated { .. } => false,
            Happening::Restarted(_) | Happening::SetupLoaded { .. } => self.now > self.test.start,
            Happening::DeliveryReported { receiver, .. } => {
                self.test.deliveries.contains_key(receiver.as_str())
            }
            _ => true,
        }
    }

    fn meet(&mut self, due: Due) -> Result<(), String> {
        match due {
            Due::Happens(at) => self.happen(at),
            Due::Ask { life, source } => {
                if life == self.life {
                    self.ask(&source);
                }
                Ok(())
            }
            Due::JournalWorks => {
                self.remark("the journal can be written again".to_owned());
                self.set_journal_down(false);
                Ok(())
            }
            Due::Up => self.come_up(),
        }
    }

    fn happen(&mut self, at: usize) -> Result<(), String> {
        let Some(happens) = self.test.happens.get(at) else { return Ok(()) };
        match &happens.what {
            Occurrence::Source { source, mood, lasts } => {
                let until = lasts.map(|lasts| self.now + lasts);
                let how_long = lasts.map_or_else(String::new, |lasts| format!(" for {lasts}"));
                self.remark(format!("source {} {mood}{how_long}", source.value));
                self.moods.insert(SourceName::from(source.value.as_str()), (mood.clone(), until));
            }
            Occurrence::Restart { down, in_order } => return self.go_down(*down, *in_order),
            Occurrence::Reload(_) => {
                if let Some(loaded) = self.stage.reloads.get(&at) {
                    self.remark("the files on disk change".to_owned());
                    self.files = loaded.clone();
                    let setup = std::sync::Arc::clone(&loaded.setup);
                    self.schedule(Timed::Setup(setup));
                    self.ask_new_sources();
                }
            }
            Occurrence::Clock(by) => {
                self.remark(format!("the wall clock jumps by {by}"));
                self.wall_offset += *by;
                if let Daemon::Up(replay) = &mut self.daemon {
                    replay.jump_wall(*by);
                }
            }
            Occurrence::Journal { lasts } => {
                self.remark("the journal cannot be written".to_owned());
                self.set_journal_down(true);
                if let Some(lasts) = lasts {
                    self.queue.add(self.now + *lasts, Due::JournalWorks);
                }
            }
            Occurrence::Input(input) => {
                if matches!(self.daemon, Daemon::Down(_)) {
                    self.remark("a command finds no daemon".to_owned());
                }
                let mut input = (**input).clone();
                // Where there is one target only, a test need not name it.
                if let Input::Command(Command::Deployment { target, .. }) = &mut input
                    && target.as_str().is_empty()
                    && let Some(only) = self.files.setup.targets.keys().next()
                {
                    target.clone_from(only);
                }
                self.schedule(Timed::Input(input));
            }
        }
        Ok(())
    }

    fn schedule(&mut self, what: Timed) {
        if let Daemon::Up(replay) = &mut self.daemon {
            replay.schedule(self.now, what);
        }
    }

    fn set_journal_down(&mut self, is_down: bool) {
        match &mut self.daemon {
            Daemon::Up(replay) => replay.ledger().set_down(is_down),
            Daemon::Down(ledger) => ledger.set_down(is_down),
        }
    }

    /// Asks a source, which answers as its mood is.
    fn ask(&mut self, source: &SourceName) {
        if !self.files.setup.sources.contains_key(source) {
            return;
        }
        let mood = match self.moods.get(source) {
            Some((mood, until)) if until.is_none_or(|until| self.now < until) => mood.clone(),
            _ => Mood::Answers(Span::ZERO),
        };
        let timeout = self.files.scrapes.get(source).map_or(self.every(source), |scrape| scrape.timeout);
        let is_probe = self.files.setup.probes.contains(source);
        let late = format!("no whole answer within {timeout}");
        let (took, answer, bad) = match mood {
            Mood::Silent => return self.ask_again(source, Span::ZERO),
            Mood::Fails(failure) => (Span::ZERO, Err(failure), None),
            Mood::Bad(why) => (Span::ZERO, Ok(self.page(source)), Some(why)),
            Mood::Answers(takes) if takes > timeout && is_probe => {
                (timeout, Ok(self.page(source)), Some(late))
            }
            Mood::Answers(takes) if takes > timeout => {
                (timeout, Err(SourceFailure { kind: FailureKind::TimedOut, message: late }), None)
            }
            Mood::Answers(takes) => (takes, Ok(self.page(source)), None),
        };
        let (answer, told) = match answer {
            Ok(page) if is_probe => {
                let mut own = self.stage.series.iter().filter(|(whose, ..)| whose == source);
                let is_given = own.any(|(_, labels, _)| says_when_good(labels.metric_name()));
                let (page, told) =
                    Answer { source, at: self.now, took, page, is_given, bad }.finish(&self.files);
                (Ok(page), told)
            }
            answer => (answer, None),
        };
        let observation = Observation { source: source.clone(), at: self.now, took, answer, told };
        if let Daemon::Up(replay) = &mut self.daemon {
            replay.schedule(self.now + took, Timed::Observation(observation));
        }
        self.ask_again(source, took);
    }

    /// A source is asked again by its rhythm, and not before it has answered.
    fn ask_again(&mut self, source: &SourceName, took: Span) {
        let next = self.now + self.every(source).max(took);
        self.queue.add(next, Due::Ask { life: self.life, source: source.clone() });
    }

    /// Returns what a source exposes now.
    fn page(&self, source: &SourceName) -> Vec<Sample> {
        let every = self.every(source).as_millis().max(1);
        let nth = usize::try_from(self.since_start().as_millis() / every).unwrap_or(usize::MAX);
        let own = self.stage.series.iter().zip(&self.values).filter(|((whose, ..), _)| whose == source);
        let sample =
            |((_, labels, _), values): (&(_, crate::engine::model::Labels, _), &Vec<Option<f64>>)| {
                let value = values.get(nth).copied().flatten()?;
                Some(Sample { labels: labels.clone(), at: self.now, value })
            };
        own.filter_map(sample).collect()
    }

    /// The daemon ends, killed or in order, and comes up again later.
    fn go_down(&mut self, down: Span, in_order: bool) -> Result<(), String> {
        if in_order {
            self.schedule(Timed::Input(Input::Stopping));
            while matches!(&self.daemon, Daemon::Up(replay) if replay.next_at().is_some_and(|at| at <= self.now))
            {
                self.move_to(self.now)?;
                self.step()?;
            }
        }
        let how = if in_order { "stops" } else { "is killed" };
        self.remark(format!("the daemon {how}, and is down for {down}"));
        self.life += 1;
        let nobody = Daemon::Down(Box::new(MemoryLedger::new(JournalId::new("test"))));
        self.daemon = match std::mem::replace(&mut self.daemon, nobody) {
            Daemon::Up(replay) => {
                self.saved.measurements = replay.engine().saved_measurements();
                Daemon::Down(Box::new(replay.stop()))
            }
            down => down,
        };
        self.queue.add(self.now + down, Due::Up);
        Ok(())
    }

    fn come_up(&mut self) -> Result<(), String> {
        let nobody = Daemon::Down(Box::new(MemoryLedger::new(JournalId::new("test"))));
        let ledger = match std::mem::replace(&mut self.daemon, nobody) {
            Daemon::Down(ledger) => ledger,
            up => {
                self.daemon = up;
                return Ok(());
            }
        };
        let ms = self.now.as_millis();
        let clock = ClockReading {
            engine: self.now,
            boot_id: "test".to_owned(),
            boottime_ms: ms,
            wall_unix_ms: ms + self.wall_offset.as_millis(),
        };
        let setup = std::sync::Arc::clone(&self.files.setup);
        let saved = std::mem::take(&mut self.saved);
        // What is kept is worth keeping for the next time, too.
        self.saved.observations.clone_from(&saved.observations);
        let mut replay = Replay::new(*ledger, setup, clock, saved).map_err(told)?;
        let handled = replay.begin(self.outside.running(self.now)).map_err(told)?;
        self.daemon = Daemon::Up(Box::new(replay));
        self.outside.daemon_ended();
        self.take(&handled);
        for source in asked(&self.files.setup).cloned().collect::<Vec<_>>() {
            self.queue.add(self.now, Due::Ask { life: self.life, source });
        }
        Ok(())
    }

    /// A reload may bring sources that nobody asks yet.
    fn ask_new_sources(&mut self) {
        let before = &self.stage.loaded.setup.sources;
        let new = asked(&self.files.setup).filter(|source| !before.contains_key(*source));
        for source in new.cloned().collect::<Vec<_>>() {
            self.queue.add(self.now, Due::Ask { life: self.life, source });
        }
    }

    /// Looks at everything once all that is due now has happened.
    fn look(&mut self) {
        let Daemon::Up(replay) = &self.daemon else {
            self.story.looks.insert(self.since_start(), Look::default());
            return;
        };
        let engine = replay.engine();
        let standing =
            |look: &crate::engine::evaluation::TriggerLook| match engine.state().triggers.get(&look.key) {
                None => Standing::Quiet,
                Some(TriggerState::Pending { .. }) => Standing::Pending,
                Some(TriggerState::Firing { .. }) => Standing::Firing,
            };
        let triggers =
            engine.trigger_looks().into_iter().map(|look| (look.clone(), standing(&look))).collect();
        let context = EvalContext { wall_offset: engine.state().wall_offset, ..EvalContext::at(self.now) };
        let asked = self.test.expect.iter().filter_map(|expected| match &expected.want {
            Want::State(at, StatePattern::Query { text, plan, .. }) if *at == self.since_start() => {
                Some((text, &**plan))
            }
            _ => None,
        });
        let query = |(text, plan): (&String, &Plan)| {
            let values = plan.evaluate(engine.store(), &context).map_err(|error| error.to_string());
            let values = values.and_then(|evaluated| match evaluated.value {
                Value::Scalar(value) => Ok(vec![value]),
                Value::Vector(vector) => Ok(vector.into_iter().map(|sample| sample.value).collect()),
                Value::Matrix(_) | Value::String(_) => Err("it gives no number".to_owned()),
            });
            (text.clone(), values)
        };
        let look = Look { triggers: Some(triggers), queries: asked.map(query).collect() };
        self.story.looks.insert(self.since_start(), look);
    }
}

fn told(fatal: Fatal) -> String {
    format!("the daemon cannot go on: {fatal}")
}

/// The sources that somebody has to ask: not the one that is built in, which answers by itself.
fn asked(setup: &Setup) -> impl Iterator<Item = &SourceName> {
    setup.sources.keys().filter(|source| source.as_str() != OWN_SOURCE)
}
