//! The host's clocks: true time, what the daemon makes of it, and what a reboot and a wrong wall clock do to both.

use crate::engine::time::{Span, Timestamp};
use crate::journal::ClockReading;

/// The clocks of the host on which the daemon runs.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// True time.
    pub(super) now: Timestamp,
    boots: u32,
    booted_at: Timestamp,
    /// How wrong the wall clock is.
    wall_error: Span,
    /// True time minus engine time.
    lag: Span,
    /// How much true time and engine time have moved against each other, in all.
    pub(super) unseen: Span,
}

impl Host {
    pub(super) fn new(now: Timestamp) -> Self {
        let zero = Span::ZERO;
        Self { now, boots: 1, booted_at: now, wall_error: zero, lag: zero, unseen: zero }
    }

    pub(super) fn to_engine(&self, at: Timestamp) -> Timestamp {
        at - self.lag
    }

    pub(super) fn to_true(&self, at: Timestamp) -> Timestamp {
        at + self.lag
    }

    pub(super) fn jump_wall(&mut self, by: Span) {
        self.wall_error += by;
    }

    pub(super) fn reboot(&mut self) {
        self.boots += 1;
        self.booted_at = self.now;
    }

    /// Reads the clocks for a new process. As the daemon does it: within a boot the boottime clock tells how long it was
    /// away, across boots only the wall clock can, and where that went backwards no time has passed.
    pub(super) fn resume(&mut self, last: Option<&ClockReading>) -> ClockReading {
        let boot_id = format!("boot-{}", self.boots);
        let boottime_ms = self.now.since(self.booted_at).as_millis();
        let wall_unix_ms = (self.now + self.wall_error).as_millis();
        let engine = match last {
            None => self.now,
            Some(last) if last.boot_id == boot_id => {
                last.engine + Span::from_millis((boottime_ms - last.boottime_ms).max(0))
            }
            Some(last) => last.engine + Span::from_millis((wall_unix_ms - last.wall_unix_ms).max(0)),
        };
        let lag = self.now - engine;
        let moved = (lag - self.lag).as_millis().abs();
        self.unseen += Span::from_millis(moved);
        self.lag = lag;
        ClockReading { engine, boot_id, boottime_ms, wall_unix_ms }
    }
}
