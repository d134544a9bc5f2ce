//! The applications that are guarded, and the sources that tell of them: truth, and what is heard of it.

use std::collections::BTreeMap;

use super::counters::Counters;
use super::files::{REFERENCE, blue_of, probe_of, source_of};
use super::random::Random;
use crate::engine::model::{Labels, Sample, SourceName};
use crate::engine::series::{FailureKind, Observation, PROBE_SUCCESS, SourceFailure};
use crate::engine::time::{Span, Timestamp};

/// How an application does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    /// A third of all requests fail.
    Failing,
    /// No requests arrive.
    Silent,
    /// Nobody listens: its metrics are unreachable, and its probe is bad.
    Dead,
}

/// One application: a version, a health, and counters.
#[derive(Clone, Debug)]
pub(super) struct App {
    version: u64,
    health: Health,
    /// When it was last not good, in true time; `None` for never. While it is not good, this is now.
    last_bad: Option<Timestamp>,
    counted_until: Timestamp,
    good_requests: f64,
    bad_requests: f64,
}

impl App {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            version: 1,
            health: Health::Good,
            last_bad: None,
            counted_until: now,
            good_requests: 0.0,
            bad_requests: 0.0,
        }
    }

    /// Counts what has happened until `now`.
    fn count(&mut self, now: Timestamp) {
        let secs = now.since(self.counted_until).as_secs_f64();
        self.counted_until = now;
        let (good, bad) = match self.health {
            Health::Good => (100.0, 0.2),
            Health::Failing => (66.0, 33.0),
            Health::Silent | Health::Dead => (0.0, 0.0),
        };
        self.good_requests += secs * good;
        self.bad_requests += secs * bad;
        if self.health != Health::Good {
            self.last_bad = Some(now);
        }
    }

    /// Puts another version in place; its counters begin at zero.
    pub(super) fn deploy(&mut self, health: Health, now: Timestamp) {
        self.count(now);
        self.version += 1;
        self.health = health;
        (self.good_requests, self.bad_requests) = (0.0, 0.0);
    }

    /// Changes how the same version does.
    pub(super) fn turn(&mut self, health: Health, now: Timestamp) {
        self.count(now);
        self.health = health;
    }

    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Returns when it was last not good.
    pub(super) fn last_bad(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.count(now);
        self.last_bad
    }
}

/// What a source does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Answers,
    /// Every scrape fails.
    Fails(FailureKind),
    /// The scraper hangs: nothing is heard at all.
    Hangs,
}

/// Every application and every source.
#[derive(Clone, Debug)]
pub(super) struct Apps {
    pub(super) apps: Vec<App>,
    moods: BTreeMap<SourceName, (Mood, Timestamp)>,
    random: Random,
    is_calm: bool,
    /// Until when nothing at all can be reached from here.
    isolated_until: Option<Timestamp>,
}

/// What a scrape leads to: the observation, and how long it takes until it is heard. `None` where nothing ever is.
pub(super) type Scraped = Option<(Observation, Span)>;

impl Apps {
    pub(super) fn new(count: usize, now: Timestamp, random: Random) -> Self {
        let apps = (0..count).map(|_| App::new(now)).collect();
        Self { apps, moods: BTreeMap::new(), random, is_calm: false, isolated_until: None }
    }

    /// Everything works from now on.
    pub(super) fn calm_down(&mut self, now: Timestamp) {
        self.is_calm = true;
        self.isolated_until = None;
        self.moods.clear();
        for app in &mut self.apps {
            if app.health() != Health::Good {
                app.deploy(Health::Good, now);
            }
        }
    }

    /// Puts a source into a mood until a time.
    pub(super) fn set_mood(&mut self, source: SourceName, mood: Mood, until: Timestamp) {
        self.moods.insert(source, (mood, until));
    }

    /// Cuts us off from everything until a time.
    pub(super) fn isolate(&mut self, until: Timestamp) {
        self.isolated_until = Some(until);
    }

    /// Returns whether somebody listens where a source asks.
    fn is_reached(&self, source: &SourceName, now: Timestamp) -> bool {
        let is_dead = |nth: &usize| {
            let is_own = *source == source_of(*nth) || *source == probe_of(*nth);
            is_own && self.apps[*nth].health == Health::Dead
        };
        self.isolated_until.is_none_or(|until| now >= until) && !(0..self.apps.len()).any(|nth| is_dead(&nth))
    }

    /// Asks a source at `now`; `at` is the same instant as the engine tells it.
    pub(super) fn scrape(
        &mut self,
        source: &SourceName,
        now: Timestamp,
        at: Timestamp,
        counters: &mut Counters,
    ) -> Scraped {
        let mood =
            self.moods.get(source).filter(|(_, until)| now < *until).map_or(Mood::Answers, |(mood, _)| *mood);
        let is_reached = self.is_reached(source, now);
        let random = &mut self.random;
        let mut took = random.millis(5, 200);
        let mut kind = None;
        let mut is_missing = false;
        match mood {
            Mood::Hangs => {
                counters.note("scrape missing");
                return None;
            }
            Mood::Fails(failure) => kind = Some(failure),
            Mood::Answers if self.is_calm => {}
            Mood::Answers => match random.below(100) {
                0..3 => kind = Some(random.pick(&FAILURES)),
                3..5 => is_missing = true,
                5..8 => {
                    counters.note("sample late");
                    took = random.millis(1000, 9000);
                }
                8 => {
                    counters.note("scrape missing");
                    return None;
                }
                _ => {}
            },
        }
        let is_probe =
            source.as_str() == REFERENCE || (0..self.apps.len()).any(|nth| *source == probe_of(nth));
        if !is_reached && !is_probe {
            kind = kind.or(Some(FailureKind::Unreachable));
        }
        let answer = match kind {
            Some(kind) => {
                counters.note("source failed");
                Err(SourceFailure { kind, message: format!("no answer: {kind:?}") })
            }
            None if is_probe => {
                counters.note(if is_reached { "probe good" } else { "probe bad" });
                Ok(vec![probed(source, is_reached, at)])
            }
            None => Ok(self.samples(source, now, at, is_missing, counters)),
        };
        Some((Observation { source: source.clone(), at, took, answer, told: None }, took))
    }

    fn samples(
        &mut self,
        source: &SourceName,
        now: Timestamp,
        at: Timestamp,
        is_missing: bool,
        counters: &mut Counters,
    ) -> Vec<Sample> {
        let is_own = |nth: &usize| *source == source_of(*nth) || *source == blue_of(*nth);
        let Some(nth) = (0..self.apps.len()).find(is_own) else { return Vec::new() };
        let app = &mut self.apps[nth];
        app.count(now);
        let sample = |pairs: &[(&str, &str)], value| {
            let own = [("job", source.as_str()), ("instance", "127.0.0.1:8003")];
            Sample { labels: Labels::from_pairs(own.iter().chain(pairs).copied()), at, value }
        };
        let version = app.version.to_string();
        let info = sample(&[("__name__", "app_build_info"), ("version", &version)], 1.0);
        if is_missing {
            counters.note("samples missing");
            return vec![info];
        }
        let total = |status| [("__name__", "http_requests_total"), ("status", status)];
        vec![
            info,
            sample(&total("200"), app.good_requests.floor()),
            sample(&total("500"), app.bad_requests.floor()),
        ]
    }
}

/// Returns what a probe shows.
fn probed(source: &SourceName, is_good: bool, at: Timestamp) -> Sample {
    let own = [("__name__", PROBE_SUCCESS), ("job", source.as_str()), ("source", source.as_str())];
    Sample { labels: Labels::from_pairs(own), at, value: f64::from(u8::from(is_good)) }
}

const FAILURES: [FailureKind; 4] =
    [FailureKind::Unreachable, FailureKind::TimedOut, FailureKind::BadStatus, FailureKind::Malformed];
