//! Asks the sources, each on a schedule of its own, phase-aligned on the monotonic clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::clock::Clock;
use super::core::Message;
use crate::config::{Config, Scrape, WatchedUnit};
use crate::engine::model::SourceName;
use crate::engine::series::Observation;
use crate::sources::scrape::{InvalidScrapeSettings, ScrapeSettings, Scraper};
use crate::sources::unit::{UNITS, UnitWatch};

/// The tasks that ask, by source.
#[derive(Debug, Default)]
pub struct Asking {
    tasks: BTreeMap<SourceName, (Asked, JoinHandle<()>)>,
}

/// What is asked, and how.
#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Scrape(Scrape),
    Unit(WatchedUnit),
}

impl Asking {
    /// Starts asking what is new or changed, stops asking what is gone; the rest keeps its rhythm.
    ///
    /// # Errors
    /// Every source whose settings cannot be used. Those that can are asked all the same.
    pub fn follow(
        &mut self,
        config: &Config,
        clock: &Clock,
        inbox: &Sender<Message>,
    ) -> Result<(), Vec<InvalidScrapeSettings>> {
        let scrapes = config.sources.iter().map(|(name, scrape)| (name, Asked::Scrape(scrape.clone())));
        let units = config.units.iter().map(|(name, unit)| (name, Asked::Unit(unit.clone())));
        let wanted: BTreeMap<&SourceName, Asked> = scrapes.chain(units).collect();
        self.tasks.retain(|name, (settings, task)| {
            let stays = wanted.get(name) == Some(settings) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        let mut unusable = Vec::new();
        for (name, asked) in wanted {
            if self.tasks.contains_key(name) {
                continue;
            }
            let (clock, inbox) = (clock.clone(), inbox.clone());
            let task = match &asked {
                Asked::Scrape(scrape) => match scraper(name, scrape) {
                    Ok(scraper) => tokio::spawn(ask(scraper, scrape.every.to_std(), clock, inbox)),
                    Err(problem) => {
                        unusable.push(problem);
                        continue;
                    }
                },
                Asked::Unit(unit) => {
                    let watch = UnitWatch::new(name.clone(), &unit.unit, Path::new(UNITS));
                    tokio::spawn(look(watch, unit.every.to_std(), clock, inbox))
                }
            };
            self.tasks.insert(name.clone(), (asked, task));
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

/// Makes a scraper of a source's settings.
///
/// # Errors
/// Everything about the settings that cannot be used.
pub fn scraper(name: &SourceName, scrape: &Scrape) -> Result<Scraper, InvalidScrapeSettings> {
    let mut settings = ScrapeSettings::new(name.clone(), &scrape.url, scrape.timeout);
    settings.labels = scrape.labels.clone();
    Scraper::new(settings)
}

async fn ask(scraper: Scraper, every: Duration, clock: Clock, inbox: Sender<Message>) {
    let mut ticks = tokio::time::interval(every);
    // A tick that was missed is gone: two scrapes at once would tell nothing new.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let observation = scraper.scrape(clock.now(), clock.wall_offset()).await;
        tell_change(&observation, &mut failing);
        if inbox.send(Message::Observed { observation, arrived: Instant::now() }).is_err() {
            return;
        }
    }
}

/// Looks at a unit: a link in memory is read at once.
async fn look(watch: UnitWatch, every: Duration, clock: Clock, inbox: Sender<Message>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let observation = watch.look(clock.now());
        tell_change(&observation, &mut failing);
        if inbox.send(Message::Observed { observation, arrived: Instant::now() }).is_err() {
            return;
        }
    }
}

/// Logs that a source begins to fail, or answers again: its silence becomes an incident much later.
fn tell_change(observation: &Observation, failing: &mut bool) {
    let source = &observation.source;
    match &observation.answer {
        Err(failure) if !*failing => tracing::warn!(%source, %failure, "source fails"),
        Ok(_) if *failing => tracing::info!(%source, "source answers again"),
        _ => {}
    }
    *failing = observation.answer.is_err();
}
