//! The only clock. Engine time = persisted base + boottime; it never goes backwards and does not follow the wall (E8).

use rustix::time::{ClockId, clock_gettime};

use crate::engine::time::{Span, Timestamp};
use crate::journal::ClockReading;

/// The host's clocks, on top of where engine time stood before.
#[derive(Clone, Debug)]
pub struct Clock {
    boot_id: String,
    /// Engine time minus boottime, in milliseconds.
    base_ms: i64,
}

impl Clock {
    /// Goes on from the last reading, or begins at the wall clock's time where there is none.
    ///
    /// Within one boot the boottime clock says how long the daemon was away, suspends included. Across boots only the
    /// wall clock can; where that went backwards, no time at all has passed.
    ///
    /// # Errors
    /// The kernel does not tell its boot id: `/proc` is not mounted.
    pub fn resume(last: Option<&ClockReading>) -> std::io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let (boottime, wall) = (boottime_ms(), wall_unix_ms());
        let engine_now = match last {
            None => wall,
            Some(last) => {
                let away = if last.boot_id == boot_id {
                    boottime - last.boottime_ms
                } else {
                    wall - last.wall_unix_ms
                };
                last.engine.as_millis() + away.max(0)
            }
        };
        Ok(Self { boot_id, base_ms: engine_now - boottime })
    }

    /// Reads every clock.
    pub fn read(&self) -> ClockReading {
        let boottime = boottime_ms();
        ClockReading {
            engine: Timestamp::from_millis(self.base_ms + boottime),
            boot_id: self.boot_id.clone(),
            boottime_ms: boottime,
            wall_unix_ms: wall_unix_ms(),
        }
    }

    /// Reads engine time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.base_ms + boottime_ms())
    }

    /// Returns wall time minus engine time.
    pub fn wall_offset(&self) -> Span {
        self.read().wall_offset()
    }
}

fn boottime_ms() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

fn wall_unix_ms() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(boot_id: &str, engine_ms: i64, boottime_ms: i64, wall_unix_ms: i64) -> ClockReading {
        ClockReading {
            engine: Timestamp::from_millis(engine_ms),
            boot_id: boot_id.to_owned(),
            boottime_ms,
            wall_unix_ms,
        }
    }

    #[test]
    fn e8_engine_time_goes_on_within_a_boot_whatever_the_wall_clock_did() {
        let here = Clock::resume(None).unwrap();
        let now = here.read();
        let ten_s_ago = reading(&now.boot_id, 5_000, now.boottime_ms - 10_000, now.wall_unix_ms + 86_400_000);
        let away = Clock::resume(Some(&ten_s_ago)).unwrap().now().as_millis() - 5_000;
        assert!((10_000..20_000).contains(&away), "{away}");
    }

    #[test]
    fn e8_a_wall_clock_that_went_backwards_across_a_boot_does_not_take_engine_time_along() {
        let now = Clock::resume(None).unwrap().read();
        let tomorrow = reading("another boot", 5_000, 1, now.wall_unix_ms + 86_400_000);
        assert!(Clock::resume(Some(&tomorrow)).unwrap().now() >= Timestamp::from_millis(5_000));
    }
}
