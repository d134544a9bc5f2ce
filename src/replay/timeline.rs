//! What happened, as text: for people, golden files and failed simulations.

use std::fmt::Write as _;

use crate::engine::decision::Event;
use crate::engine::time::Timestamp;

/// Tells `events`, one line each, with their distance from `origin`.
pub fn timeline<'a>(events: impl IntoIterator<Item = &'a Event>, origin: Timestamp) -> String {
    let mut text = String::new();
    for event in events {
        let ms = (event.at - origin).as_millis();
        let sign = if ms < 0 { '-' } else { '+' };
        let (secs, millis) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
        // Writing to a String cannot fail.
        writeln!(text, "{sign}{secs}.{millis:03}s  {}", event.what).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decision::Happening;
    use crate::engine::time::Span;

    #[test]
    fn one_line_per_event_whatever_is_in_it() {
        let origin = Timestamp::from_millis(60_000);
        let event = |ms, what| Event { at: Timestamp::from_millis(ms), what };
        let events = [
            event(59_999, Happening::WallClockMoved { offset: Span::from_secs(3600) }),
            event(72_300, Happening::JournalLost { reason: "disk\nfull".to_owned(), ids_from: 0 }),
        ];
        let told =
            "-0.001s  wall clock is 1h from engine time\n+12.300s  JOURNAL CANNOT BE WRITTEN: disk\\nfull\n";
        assert_eq!(timeline(&events, origin), told);
    }
}
