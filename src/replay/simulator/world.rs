//! One world, from its first start to the calm at its end.

mod lives;

use std::sync::Arc;

use super::app::{Apps, Health, Mood as SourceMood};
use super::channels::{Channels, Mood as ReceiverMood};
use super::checks::{Checks, Found};
use super::counters::Counters;
use super::faults;
use super::files::{self, Revision};
use super::host::Host;
use super::log::Violation;
use super::random::Random;
use super::steps::Steps;
use super::tally;
use crate::engine::decision::{DeploymentNews, Effect, Event, Happening, Input, Setup};
use crate::engine::model::{EffectId, JournalId, ReceiverName, RollbackId, SourceName};
use crate::engine::series::Observation;
use crate::engine::time::{Span, Timestamp};
use crate::journal::{ChainHash, Handled};
use crate::replay::{CommitFate, Doom, MemoryLedger, Queue, Replay, Saved, Timed, timeline};

/// When every world begins: 2026-11-21 09:00 UTC.
const BEGIN: Timestamp = Timestamp::from_millis(1_795_251_600_000);

/// How often windows and samples are saved; a crash loses what came after.
const SAVE_EVERY: Span = Span::from_secs(10);

/// How long the calm lasts at least, and at most.
const CALM_MIN: Span = Span::from_secs(75);
const CALM_MAX: Span = Span::from_secs(1800);

/// More events than this in one world are a storm.
const EVENTS_MAX: usize = 4000;

/// More inputs than this at one instant are a loop.
const INPUTS_AT_ONCE: u32 = 500;

/// Something that is due in the world outside of the daemon.
#[derive(Clone, Debug)]
pub(super) enum Due {
    Scrape { life: u32, source: SourceName },
    Save { life: u32 },
    Attempt { life: u32, effect: EffectId },
    Deploy { target: usize, health: Health },
    Turn { target: usize, health: Health },
    Isolation { lasts: Span },
    SourceTrouble { source: SourceName, mood: SourceMood, lasts: Span },
    ReceiverTrouble { receiver: ReceiverName, mood: ReceiverMood, lasts: Span },
    JournalTrouble { lasts: Span },
    JournalWorks,
    CommitTrouble(Vec<CommitFate>),
    WallJump(Span),
    ClockSlip(Span),
    Doomed(Doom),
    Crash,
    Stop,
    Exit { life: u32 },
    Restart,
    Reload,
    BadFiles,
    GoodFiles,
    Settle { rollback: RollbackId },
    Tell { target: usize, news: DeploymentNews },
    Calm,
    Look,
}

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// The first thing that must never happen, if it did.
    pub violation: Option<Violation>,
    /// What it contained.
    pub counters: Counters,
    /// The hash over every durable event.
    pub hash: ChainHash,
    /// What happened, in order, with the world's own remarks.
    story: Vec<Line>,
}

#[derive(Clone, Debug)]
enum Line {
    Event(Box<Event>),
    World(Timestamp, String),
}

impl Outcome {
    /// Tells the last `lines` lines of what happened.
    pub fn tail(&self, lines: usize) -> String {
        let from = self.story.len().saturating_sub(lines);
        let told = self.story[from..].iter().map(|line| match line {
            Line::Event(event) => timeline([&**event], BEGIN),
            Line::World(at, remark) => format!("+{}s  -- {remark}\n", at.since(BEGIN).as_secs_f64()),
        });
        told.collect()
    }
}

/// Runs the world of `seed`.
pub fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    let violation = world.live().err();
    let hash = world
        .ledger()
        .map_or_else(|| ChainHash::genesis(&JournalId::new("none")), |ledger| ledger.head().hash);
    Outcome { seed, violation, counters: world.counters, hash, story: world.story }
}

/// A daemon that is up, or what it has left behind.
enum Daemon {
    Up(Box<Replay>),
    Down(Box<MemoryLedger>),
}

struct World {
    host: Host,
    queue: Queue<Due>,
    daemon: Daemon,
    life: u32,
    /// The last life that was told to go down: it asks no source any more.
    stopped_life: Option<u32>,
    /// The files on disk.
    files: Arc<Setup>,
    revisions: u64,
    apps: Apps,
    steps: Steps,
    channels: Channels,
    checks: Checks,
    counters: Counters,
    saved: Saved,
    unsaved: Vec<Observation>,
    calm_since: Option<Timestamp>,
    is_over: bool,
    doom: Option<Doom>,
    at_once: (Timestamp, u32),
    story: Vec<Line>,
    random: Random,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let files = Arc::new(files::draw(&mut random.fork()));
        let mut queue = Queue::default();
        let end = BEGIN + random.secs(400, 1100);
        faults::draw(&mut queue, &files, BEGIN, end, &mut random.fork());
        queue.add(BEGIN, Due::Restart);
        queue.add(end, Due::Calm);
        let apps = Apps::new(files.targets.len(), BEGIN, random.fork());
        let ledger = MemoryLedger::new(JournalId::new(&format!("world-{seed}")));
        Self {
            host: Host::new(BEGIN),
            queue,
            daemon: Daemon::Down(Box::new(ledger)),
            life: 0,
            stopped_life: None,
            files,
            revisions: 0,
            apps,
            steps: Steps::new(random.fork()),
            channels: Channels::new(random.fork()),
            checks: Checks::default(),
            counters: Counters::default(),
            saved: Saved::default(),
            unsaved: Vec::new(),
            calm_since: None,
            is_over: false,
            doom: None,
            at_once: (BEGIN, 0),
            story: Vec::new(),
            random,
        }
    }

    fn live(&mut self) -> Found {
        while !self.is_over {
            let inside = match &self.daemon {
                Daemon::Up(replay) => replay.next_at().map(|at| self.host.to_true(at)),
                Daemon::Down(_) => None,
            };
            match (inside, self.queue.next_at()) {
                (Some(inside), outside) if outside.is_none_or(|outside| inside < outside) => {
                    self.move_to(inside)?;
                    self.step()?;
                }
                (_, Some(outside)) => {
                    self.move_to(outside)?;
                    let Some((_, due)) = self.queue.pop() else { break };
                    self.meet(due)?;
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn move_to(&mut self, at: Timestamp) -> Found {
        self.host.now = at.max(self.host.now);
        if self.at_once.0 == self.host.now {
            self.at_once.1 += 1;
        } else {
            self.at_once = (self.host.now, 0);
        }
        let now = self.host.to_engine(self.host.now);
        if let Daemon::Up(replay) = &mut self.daemon {
            replay.advance(now);
        }
        let events = self.ledger().map_or(0, |ledger| ledger.events().len());
        if self.at_once.1 > INPUTS_AT_ONCE || events > EVENTS_MAX {
            let what =
                format!("it does not come to rest: {} inputs at once, {events} events", self.at_once.1);
            return Err(Violation::new("E9", what));
        }
        Ok(())
    }

    fn ledger(&mut self) -> Option<&mut MemoryLedger> {
        match &mut self.daemon {
            Daemon::Up(replay) => Some(replay.ledger()),
            Daemon::Down(ledger) => Some(ledger),
        }
    }

    fn remark(&mut self, text: String) {
        self.story.push(Line::World(self.host.to_engine(self.host.now), text));
    }

    /// Lets the daemon take in what is due inside it.
    fn step(&mut self) -> Found {
        let Daemon::Up(replay) = &mut self.daemon else { return Ok(()) };
        match replay.step() {
            Ok(Some(stepped)) => {
                if let Some(Timed::Observation(observation)) = &stepped.what {
                    self.checks.heard(observation);
                    self.unsaved.push(observation.clone());
                }
                self.unsaved.extend(stepped.handled.recorded.iter().cloned());
                if let Some(Timed::Setup(setup)) = &stepped.what {
                    let now = self.host.to_engine(self.host.now);
                    self.checks.reloaded(setup, now);
                }
                self.take(stepped.what.as_ref(), &stepped.handled)
            }
            Ok(None) => Ok(()),
            Err(fatal) => self.ended_by(&fatal),
        }
    }

    /// Checks a decision and does what it asks for.
    fn take(&mut self, what: Option<&Timed>, handled: &Handled) -> Found {
        self.story.extend(handled.events.iter().cloned().map(|event| Line::Event(Box::new(event))));
        let Daemon::Up(replay) = &mut self.daemon else { return Ok(()) };
        let (setup, state) = (Arc::clone(replay.engine().setup()), replay.engine().state());
        for event in &handled.events {
            tally::event(event, state, &setup, &mut self.counters);
        }
        self.note_late_ends(&handled.events);
        self.checks.handled(what, handled, &setup)?;
        for event in &handled.events {
            self.look_at(event)?;
        }
        // A process may die between any two effects.
        let dies_at = (self.calm_since.is_none() && handled.effects.len() > 1 && self.random.chance(1))
            .then(|| self.random.below(handled.effects.len() as u64));
        for (nth, effect) in handled.effects.iter().enumerate() {
            if dies_at == Some(nth as u64) {
                self.counters.note("crash between effects");
                return self.crash();
            }
            self.hand_out(effect, &setup)?;
        }
        Ok(())
    }

    fn note_late_ends(&mut self, events: &[Event]) {
        for event in events {
            if let Happening::StepEnded { rollback, .. } = &event.what
                && self.checks.log.in_doubt.contains_key(rollback)
            {
                self.counters.note("step's end came after its doubt");
            }
        }
    }

    /// What the world makes of an event: people settle doubts, and trouble comes when it hurts most.
    fn look_at(&mut self, event: &Event) -> Found {
        match &event.what {
            Happening::RollbackDecided { target, .. } => {
                let nth = (0..self.apps.apps.len()).find(|nth| files::target_name(*nth) == *target);
                let now = self.host.now;
                let last_bad = nth.and_then(|nth| self.apps.apps[nth].last_bad(now));
                Checks::was_bad(event, last_bad, now, self.host.unseen)?;
            }
            Happening::StepInDoubt { rollback, .. } => {
                let after = self.random.secs(15, 400);
                self.queue.add(self.host.now + after, Due::Settle { rollback: *rollback });
            }
            Happening::TriggerPending { window, .. } if self.calm_since.is_none() => {
                let late = self.host.now + (*window - self.random.secs(1, 4)).max(Span::from_millis(1));
                match self.random.below(100) {
                    0..5 => self.queue.add(late, Due::JournalTrouble { lasts: self.random.secs(5, 90) }),
                    5..9 => self.queue.add(late, Due::Stop),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn hand_out(&mut self, effect: &Effect, setup: &Setup) -> Found {
        let Daemon::Up(replay) = &mut self.daemon else { return Ok(()) };
        let now = self.host.now;
        match effect {
            Effect::PrepareStep(order) => {
                if let Some((after, input)) = self.steps.prepare(order, &mut self.counters) {
                    replay.schedule(self.host.to_engine(now + after), Timed::Input(input));
                }
            }
            Effect::ReleaseStep(effect) => {
                let Some(released) = self.steps.release(*effect, now, &mut self.counters) else {
                    return Ok(());
                };
                if let Some((after, input)) = released.reply {
                    replay.schedule(self.host.to_engine(now + after), Timed::Input(input));
                }
                let act = released.act;
                self.checks.acted(&act, replay.ledger(), &self.steps, setup, self.host.unseen)?;
                let nth = (0..self.apps.apps.len()).find(|nth| files::target_name(*nth) == act.target);
                if let Some(nth) = nth.filter(|_| released.cures) {
                    self.apps.apps[nth].deploy(Health::Good, now);
                    self.counters.note("counter reset");
                    // A cure that does not last.
                    if self.random.chance(25) {
                        let again = self.random.secs(10, 150);
                        self.queue.add(now + again, Due::Turn { target: nth, health: Health::Failing });
                    }
                }
            }
            Effect::AbandonStep(effect) => {
                self.counters.note("step abandoned");
                self.steps.abandon(*effect);
            }
            Effect::Deliver(delivery) => {
                let first = self.channels.dispatch(delivery).map_err(|what| Violation::new("E9", what))?;
                if let Some(after) = first {
                    self.queue.add(now + after, Due::Attempt { life: self.life, effect: delivery.effect });
                }
            }
        }
        Ok(())
    }

    fn meet(&mut self, due: Due) -> Found {
        let now = self.host.now;
        match due {
            Due::Scrape { life, source } if life == self.life => self.scrape(&source),
            Due::Save { life } if life == self.life => return self.save(),
            Due::Attempt { life, effect } if life == self.life => self.attempt(effect),
            Due::Exit { life } if life == self.life => {
                self.counters.note("orderly stop");
                return self.crash();
            }
            Due::Scrape { .. } | Due::Save { .. } | Due::Attempt { .. } | Due::Exit { .. } => {}
            Due::Restart => return self.restart(),
            Due::Settle { rollback } => self.settle(rollback),
            Due::Tell { target, news } => self.tell(target, news),
            Due::Calm => self.calm_down(),
            Due::Look => return self.look(),
            // Nothing goes wrong any more.
            _ if self.calm_since.is_some() => {}
            Due::Deploy { target, health } => {
                self.remark(format!("target {target}: new version, {health:?}"));
                self.apps.apps[target].deploy(health, now);
                self.counters.note("counter reset");
            }
            Due::Turn { target, health } => {
                self.remark(format!("target {target} turns {health:?}"));
                self.apps.apps[target].turn(health, now);
            }
            Due::Isolation { lasts } => {
                self.remark(format!("cut off from everything for {lasts}"));
                self.counters.note("isolation");
                self.apps.isolate(now + lasts);
            }
            Due::SourceTrouble { source, mood, lasts } => {
                self.remark(format!("{source}: {mood:?} for {lasts}"));
                self.counters.note("source outage");
                self.apps.set_mood(source, mood, now + lasts);
            }
            Due::ReceiverTrouble { receiver, mood, lasts } => {
                self.remark(format!("{receiver}: {mood:?} for {lasts}"));
                self.channels.set_mood(receiver, mood, now + lasts);
            }
            trouble => return self.host_trouble(trouble),
        }
        Ok(())
    }

    fn host_trouble(&mut self, due: Due) -> Found {
        let now = self.host.now;
        let engine_now = self.host.to_engine(now);
        match due {
            Due::JournalTrouble { lasts } => {
                self.remark(format!("the disk fails for {lasts}"));
                self.ledger().into_iter().for_each(|ledger| ledger.set_down(true));
                self.queue.add(now + lasts, Due::JournalWorks);
            }
            Due::JournalWorks => {
                self.remark("the disk works again".to_owned());
                self.ledger().into_iter().for_each(|ledger| ledger.set_down(false));
            }
            Due::CommitTrouble(fates) => {
                self.counters.note("commit landed in spite of its error");
                self.ledger().into_iter().for_each(|ledger| ledger.set_fates(fates.clone()));
            }
            Due::Doomed(doom) => {
                self.doom = Some(doom);
                self.ledger().into_iter().for_each(|ledger| ledger.set_doom(Some(doom)));
            }
            Due::WallJump(by) => {
                self.counters.note("wall clock jumped");
                self.host.jump_wall(by);
                if let Daemon::Up(replay) = &mut self.daemon {
                    replay.jump_wall(by);
                }
            }
            Due::ClockSlip(by) => {
                self.counters.note("clock went backwards");
                if let Daemon::Up(replay) = &mut self.daemon {
                    replay.slip_clock(by);
                }
            }
            Due::Crash => return self.crash(),
            Due::Stop => {
                let grace = self.random.secs(1, 25);
                if let Daemon::Up(replay) = &mut self.daemon {
                    self.stopped_life = Some(self.life);
                    replay.schedule(engine_now, Timed::Input(Input::Stopping));
                    self.queue.add(now + grace, Due::Exit { life: self.life });
                }
            }
            Due::Reload => self.reload(),
            Due::BadFiles => {
                let problem = "rules/app.yaml:3: expected a duration".to_owned();
                if let Daemon::Up(replay) = &mut self.daemon {
                    replay.schedule(engine_now, Timed::Input(Input::SetupRefused { problem }));
                    self.queue.add(now + self.random.secs(10, 200), Due::GoodFiles);
                }
            }
            Due::GoodFiles => {
                let fingerprint = self.files.fingerprint.clone();
                if let Daemon::Up(replay) = &mut self.daemon {
                    let input = Input::SetupLoaded { fingerprint, degraded: None };
                    replay.schedule(engine_now, Timed::Input(input));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn reload(&mut self) {
        self.revisions += 1;
        let Some((new, revision)) = files::revise(&self.files, self.revisions, &mut self.random) else {
            return;
        };
        self.remark(format!("reload: {revision:?}"));
        self.counters.note("reload");
        match revision {
            Revision::RuleRemoved | Revision::SourceRemoved => {
                self.counters.note("reload that removed a rule")
            }
            Revision::RuleChanged => self.counters.note("reload that changed a rule"),
            _ => {}
        }
        self.files = Arc::new(new);
        let now = self.host.to_engine(self.host.now);
        if let Daemon::Up(replay) = &mut self.daemon {
            replay.schedule(now, Timed::Setup(Arc::clone(&self.files)));
        }
    }
}
