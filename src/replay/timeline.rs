//! What happened, as text: for people, golden files and failed simulations.

use std::fmt::Write as _;

use crate::engine::decision::Event;
use crate::engine::time::Timestamp;

/// Tells `events`, one line each, with their distance from `origin`.
pub fn timeline<'a>(events: impl IntoIterator<Item = &'a Event>, origin: Timestamp) -> String {
    let mut text = String::new();
    for event in events {
        // Writing to a String cannot fail.
        writeln!(text, "{}", line(event, origin)).unwrap_or_default();
    }
    text
}

fn line(event: &Event, origin: Timestamp) -> String {
    let ms = (event.at - origin).as_millis();
    let sign = if ms < 0 { '-' } else { '+' };
    let (secs, millis) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    format!("{sign}{secs}.{millis:03}s  {}", event.what)
}

/// Tells two timelines as one where they differ; `None` where they are the same, event for event.
///
/// Lines of both begin with a blank, of `left` alone with `-`, of `right` alone with `+`. An event that differs in what
/// its line does not say is told whole.
pub fn timeline_difference(left: &[Event], right: &[Event], origin: Timestamp) -> Option<String> {
    if left == right {
        return None;
    }
    // How many events the rests from here on have in common.
    let mut common = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for l in (0..left.len()).rev() {
        for r in (0..right.len()).rev() {
            common[l][r] = if left[l] == right[r] {
                common[l + 1][r + 1] + 1
            } else {
                common[l + 1][r].max(common[l][r + 1])
            };
        }
    }
    let told = |event: &Event, others: &[Event]| {
        let line = line(event, origin);
        let twin = others.iter().any(|other| other != event && line == self::line(other, origin));
        if twin { format!("{line}\n    {event:?}") } else { line }
    };
    let (mut l, mut r, mut text) = (0, 0, String::new());
    while l < left.len() || r < right.len() {
        let (sign, event) = match (left.get(l), right.get(r)) {
            (Some(both), Some(other)) if both == other => (' ', line(both, origin)),
            (Some(lonely), other) if other.is_none() || common[l + 1][r] >= common[l][r + 1] => {
                ('-', told(lonely, right))
            }
            (_, Some(lonely)) => ('+', told(lonely, left)),
            _ => break,
        };
        // Writing to a String cannot fail.
        writeln!(text, "{sign} {event}").unwrap_or_default();
        l += usize::from(sign != '+');
        r += usize::from(sign != '-');
    }
    Some(text)
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

    #[test]
    fn two_timelines_are_laid_beside_each_other() {
        let event = |ms, what| Event { at: Timestamp::from_millis(ms), what };
        let moved = |ms| event(ms, Happening::WallClockMoved { offset: Span::from_secs(3600) });
        let lost = |ids_from| event(5000, Happening::JournalLost { reason: "full".to_owned(), ids_from });
        let stopping = event(9000, Happening::Stopping);
        let left = [moved(1000), moved(2000), lost(1), stopping.clone()];
        let right = [moved(2001), lost(2), stopping.clone(), stopping];
        assert_eq!(timeline_difference(&left, &left, Timestamp::ZERO), None);
        let told = timeline_difference(&left, &right, Timestamp::ZERO).unwrap();
        let told: Vec<&str> = told.lines().filter(|line| !line.starts_with("    ")).collect();
        assert_eq!(
            told,
            [
                "- +1.000s  wall clock is 1h from engine time",
                "- +2.000s  wall clock is 1h from engine time",
                "- +5.000s  JOURNAL CANNOT BE WRITTEN: full",
                "+ +2.001s  wall clock is 1h from engine time",
                "+ +5.000s  JOURNAL CANNOT BE WRITTEN: full",
                "  +9.000s  daemon goes down in order",
                "+ +9.000s  daemon goes down in order",
            ]
        );
    }
}
