//! What systemd is told: ready, status, alive. Without `NOTIFY_SOCKET` every call does nothing.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// How often the house is kept where systemd asks for no watchdog.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// The notifier. The watchdog is fed by the engine's loop and by nothing else: a stopped loop must be noticed.
#[derive(Debug)]
pub struct Systemd {
    every: Duration,
    last: Instant,
    last_status: String,
}

impl Systemd {
    /// Reads from the environment how often systemd wants a sign of life.
    pub fn new() -> Self {
        let every = sd_notify::watchdog_enabled().map_or(HOUSEKEEPING, |limit| (limit / 3).min(HOUSEKEEPING));
        Self { every, last: Instant::now(), last_status: String::new() }
    }

    /// Returns how long the loop may wait before its next sign of life.
    pub fn patience(&self) -> Duration {
        self.every.saturating_sub(self.last.elapsed())
    }

    /// Returns whether a sign of life is due.
    pub fn is_due(&self) -> bool {
        self.last.elapsed() >= self.every
    }

    /// Gives the sign of life.
    pub fn feed(&mut self) {
        self.last = Instant::now();
        tell(&[NotifyState::Watchdog]);
    }

    /// Says that the daemon judges, and what.
    pub fn ready(&mut self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
        status.clone_into(&mut self.last_status);
    }

    /// Shows another line in `systemctl status`.
    pub fn status(&mut self, status: &str) {
        if self.last_status != status {
            tell(&[NotifyState::Status(status)]);
            status.clone_into(&mut self.last_status);
        }
    }
}

impl Default for Systemd {
    fn default() -> Self {
        Self::new()
    }
}

/// Says that the daemon goes down in order.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
