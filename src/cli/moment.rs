//! An instant as people write it on a command line.

use std::str::FromStr;

use crate::engine::time::Span;

/// An instant of wall time, in milliseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) i64);

/// The place of `--since` and the like in help texts.
pub(super) const FORMS: &str = "WHEN";

impl FromStr for Moment {
    type Err = String;

    /// Reads `7d` (that long ago), `2026-11-21`, or `2026-11-21T12:00:00Z`.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text, jiff::Timestamp::now())
    }
}

impl Moment {
    fn read(text: &str, now: jiff::Timestamp) -> Result<Self, String> {
        if let Ok(ago) = text.parse::<Span>() {
            return Ok(Self(now.as_millisecond().saturating_sub(ago.as_millis())));
        }
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(at.as_millisecond()));
        }
        let day = text.parse::<jiff::civil::Date>().ok();
        let midnight = day.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
        midnight.map(|at| Self(at.timestamp().as_millisecond())).ok_or_else(|| {
            "expected how long ago, such as `7d` or `1h30m`, a day in UTC, such as `2026-11-21`, or an instant, such \
             as `2026-11-21T12:00:00Z`"
                .to_owned()
        })
    }
}

/// Returns an instant of wall time in UTC.
pub(super) fn utc(unix_ms: i64, format: &str) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .map_or_else(|_| format!("{unix_ms} ms"), |at| at.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_in_three_forms_and_refused_in_all_others() {
        let now = jiff::Timestamp::from_millisecond(1_790_000_000_000).unwrap();
        for (text, expected) in [
            ("7d", Some(1_790_000_000_000 - 7 * 86_400_000)),
            ("0", Some(1_790_000_000_000)),
            ("2026-11-21", Some(1_795_219_200_000)),
            ("2026-11-21T01:00:00+01:00", Some(1_795_219_200_000)),
            ("2026-11-21T00:00:00.5Z", Some(1_795_219_200_500)),
            ("2026-13-21", None),
            ("yesterday", None),
            ("-7d", None),
            ("", None),
        ] {
            let read = Moment::read(text, now);
            assert_eq!(read.as_ref().ok().map(|moment| moment.0), expected, "{text:?}");
            assert!(read.is_ok() || read.unwrap_err().contains("`7d`"));
        }
    }
}
