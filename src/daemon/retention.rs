//! When the journal drops what is past its time: now and then, a little at a time, never while something is decided.

use std::time::{Duration, Instant};

use crate::config;
use crate::engine::decision::Event;
use crate::journal::{ClockReading, DurableEngine, Fatal, Journal, Retention};

/// How often it is looked whether something is past its time.
const EVERY: Duration = Duration::from_secs(3600);

/// How long after a start the first look waits: a daemon that has just come up has other things to do.
const FIRST: Duration = Duration::from_secs(60);

/// How many events go in one transaction.
const AT_ONCE: u32 = 500;

/// The pause between two transactions while something is being dropped.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps the journal within its limits.
#[derive(Debug)]
pub struct Keeper {
    retention: Retention,
    due: Instant,
}

impl Keeper {
    /// Begins with these limits.
    pub fn new(retention: &config::Retention) -> Self {
        Self { retention: limits(retention), due: Instant::now() + FIRST }
    }

    /// Goes on with other limits.
    pub fn follow(&mut self, retention: &config::Retention) {
        self.retention = limits(retention);
    }

    /// Returns how long there is nothing to do.
    pub fn patience(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Does what is due; returns the checkpoint, if one was written.
    ///
    /// # Errors
    /// See [`Fatal`]. What cannot be written now is tried again later.
    pub fn turn(
        &mut self,
        engine: &mut DurableEngine<Journal>,
        clock: &ClockReading,
    ) -> Result<Option<Event>, Fatal> {
        if self.due > Instant::now() {
            return Ok(None);
        }
        self.due = Instant::now() + EVERY;
        let checkpoint = match engine.checkpoint(clock, &self.retention)? {
            Ok(checkpoint) => checkpoint,
            Err(problem) => {
                tracing::warn!(%problem, "nothing is dropped from the journal");
                return Ok(None);
            }
        };
        match engine.ledger().drop_some(&self.retention, clock.engine, AT_ONCE) {
            // There may be more than one checkpoint covers.
            Ok(dropped) if dropped.more || dropped.events > 0 => self.due = Instant::now() + PAUSE,
            Ok(_) => {}
            Err(problem) => tracing::warn!(%problem, "nothing is dropped from the journal"),
        }
        Ok(checkpoint)
    }
}

fn limits(retention: &config::Retention) -> Retention {
    let config::Retention { events, outputs, journal_bytes } = *retention;
    Retention { events, outputs, journal_bytes }
}
