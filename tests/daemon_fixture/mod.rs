//! A daemon as its users have it: files in a directory, a process, people who are paged, and nothing seen but that.

pub mod endpoint;
pub mod mail;
pub mod pager;
pub mod process;
pub mod site;

use std::time::{Duration, Instant};

/// How long anything may take that should be there at once, on a machine that does ten other things.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until `look` sees something, and returns it; panics with `what` where it never does.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(15));
    }
}
