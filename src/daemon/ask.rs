//! Asks the sources, each on a schedule of its own, phase-aligned on the monotonic clock.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::clock::Clock;
use super::core::Message;
use crate::config::{Source, SourceKind};
use crate::engine::model::SourceName;
use crate::engine::series::{Observation, PROBE_SUCCESS};
use crate::engine::time::{Span, Timestamp};
use crate::sources::probe::{ProbeSettings, Prober};
use crate::sources::scrape::{ScrapeSettings, Scraper};

/// The tasks that ask, by source.
#[derive(Debug, Default)]
pub struct Asking {
    tasks: BTreeMap<SourceName, (Source, JoinHandle<()>)>,
}

impl Asking {
    /// Starts asking what is new or changed, stops asking what is gone; the rest keeps its rhythm.
    ///
    /// # Errors
    /// Every source whose settings cannot be used. Those that can are asked all the same.
    pub fn follow(
        &mut self,
        wanted: &BTreeMap<SourceName, Source>,
        clock: &Clock,
        inbox: &Sender<Message>,
    ) -> Result<(), Vec<String>> {
        self.tasks.retain(|name, (settings, task)| {
            let stays = wanted.get(name) == Some(settings) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        let mut unusable = Vec::new();
        for (name, source) in wanted {
            if self.tasks.contains_key(name) {
                continue;
            }
            match Asker::new(name, source) {
                Ok(asker) => {
                    let task = tokio::spawn(ask(asker, source.every.to_std(), clock.clone(), inbox.clone()));
                    self.tasks.insert(name.clone(), (source.clone(), task));
                }
                Err(problem) => unusable.push(problem),
            }
        }
        if unusable.is_empty() { Ok(()) } else { Err(unusable) }
    }

    /// Stops asking.
    pub fn stop(&mut self) {
        for (_, task) in std::mem::take(&mut self.tasks).into_values() {
            task.abort();
        }
    }
}

/// Whoever asks one source.
#[derive(Debug)]
pub enum Asker {
    /// For its exposition text.
    Scraper(Box<Scraper>),
    /// Whether it is good.
    Prober(Box<Prober>),
}

impl Asker {
    /// Makes one of a source's settings.
    ///
    /// # Errors
    /// What about the settings cannot be used.
    pub fn new(name: &SourceName, source: &Source) -> Result<Self, String> {
        let (timeout, labels) = (source.timeout, source.labels.clone());
        match &source.kind {
            SourceKind::Scrape { url } => {
                let settings = ScrapeSettings { labels, ..ScrapeSettings::new(name.clone(), url, timeout) };
                let scraper = Scraper::new(settings).map_err(|problem| problem.to_string())?;
                Ok(Self::Scraper(Box::new(scraper)))
            }
            SourceKind::Probe(probe) => {
                let settings = ProbeSettings { source: name.clone(), probe: probe.clone(), timeout, labels };
                let prober = Prober::new(settings).map_err(|problem| problem.to_string())?;
                Ok(Self::Prober(Box::new(prober)))
            }
        }
    }

    async fn ask(&self, at: Timestamp, wall_offset: Span) -> Observation {
        match self {
            Self::Scraper(scraper) => scraper.scrape(at, wall_offset).await,
            Self::Prober(prober) => prober.ask(at).await,
        }
    }
}

async fn ask(asker: Asker, every: Duration, clock: Clock, inbox: Sender<Message>) {
    let mut ticks = tokio::time::interval(every);
    // A tick that was missed is gone: two scrapes at once would tell nothing new.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut standing = Standing::Good;
    loop {
        ticks.tick().await;
        let observation = asker.ask(clock.now(), clock.wall_offset()).await;
        tell_change(&observation, &mut standing);
        if inbox.send(Message::Observed { observation, arrived: Instant::now() }).is_err() {
            return;
        }
    }
}

/// Logs that a source begins to fail or to be bad, or answers well again: that may become an incident much later.
fn tell_change(observation: &Observation, before: &mut Standing) {
    let source = &observation.source;
    let told = observation.told.as_deref().unwrap_or_default();
    let standing = Standing::of(observation);
    match (&observation.answer, standing) {
        (Err(failure), _) if *before != standing => tracing::warn!(%source, %failure, "source fails"),
        (_, Standing::Bad) if *before != standing => tracing::warn!(%source, told, "probe is bad"),
        (_, Standing::Good) if *before != standing => {
            tracing::info!(%source, told, "source answers well again")
        }
        _ => {}
    }
    *before = standing;
}

/// How a source stands by its last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// A probe's answer was bad.
    Bad,
    Fails,
}

impl Standing {
    fn of(observation: &Observation) -> Self {
        let Ok(samples) = &observation.answer else { return Self::Fails };
        // Whoever tells nothing is no probe.
        let mut success = samples.iter().filter(|_| observation.told.is_some());
        let success = success.find(|sample| sample.labels.metric_name() == PROBE_SUCCESS);
        if success.is_some_and(|success| success.value != 1.0) { Self::Bad } else { Self::Good }
    }
}
