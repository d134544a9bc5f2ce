//! Asks the sources, each on a schedule of its own, phase-aligned on the monotonic clock.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::clock::Clock;
use super::core::Message;
use crate::config::Scrape;
use crate::engine::model::SourceName;
use crate::engine::series::Observation;
use crate::sources::scrape::{InvalidScrapeSettings, ScrapeSettings, Scraper};

/// The tasks that ask, by source.
#[derive(Debug, Default)]
pub struct Asking {
    tasks: BTreeMap<SourceName, (Scrape, JoinHandle<()>)>,
}

impl Asking {
    /// Starts asking what is new or changed, stops asking what is gone; the rest keeps its rhythm.
    ///
    /// # Errors
    /// Every source whose settings cannot be used. Those that can are asked all the same.
    pub fn follow(
        &mut self,
        wanted: &BTreeMap<SourceName, Scrape>,
        clock: &Clock,
        inbox: &Sender<Message>,
    ) -> Result<(), Vec<InvalidScrapeSettings>> {
        self.tasks.retain(|name, (settings, task)| {
            let stays = wanted.get(name) == Some(settings) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        let mut unusable = Vec::new();
        for (name, scrape) in wanted {
            if self.tasks.contains_key(name) {
                continue;
            }
            match scraper(name, scrape) {
                Ok(scraper) => {
                    let task =
                        tokio::spawn(ask(scraper, scrape.every.to_std(), clock.clone(), inbox.clone()));
                    self.tasks.insert(name.clone(), (scrape.clone(), task));
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
