//! Instants and durations as Go's `time` package writes them. All instants are UTC.

use jiff::Timestamp as Date;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Returns nanoseconds as seconds.
pub(super) fn seconds(nanos: i64) -> f64 {
    // As Go's `Duration.Seconds`: whole seconds apart, so that they are exact.
    const SECOND: i64 = 1_000_000_000;
    (nanos / SECOND) as f64 + (nanos % SECOND) as f64 / 1e9
}

/// Returns an instant from seconds since the epoch, to the millisecond (`FloatToTime`); `None` where it is no number.
pub(super) fn instant(seconds: f64) -> Result<Option<i64>, String> {
    if !seconds.is_finite() {
        return Ok(None);
    }
    let nanos = seconds * 1e9;
    // The bounds of Go's int64, which are not exact as floats.
    if !(-9.223_372_036_854_775e18..=9.223_372_036_854_775e18).contains(&nanos) {
        return Err(format!(
            "{seconds} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is within the bounds that were just checked")]
    Ok(Some((nanos as i64).div_euclid(1_000_000)))
}

/// Returns nanoseconds from seconds, saturating.
#[expect(clippy::cast_possible_truncation, reason = "a float cast to an integer saturates, and NaN is 0")]
pub(super) fn nanos(seconds: f64) -> i64 {
    (seconds * 1e9) as i64
}

pub(super) fn date(millis: i64) -> Result<DateTime, String> {
    let date = Date::from_millisecond(millis).map_err(|_| "the year is out of range".to_owned())?;
    Ok(Offset::UTC.to_datetime(date))
}

/// Writes an instant as Go's `Time.String` does: `2015-06-23 13:19:44.128 +0000 UTC`.
pub(super) fn instant_text(millis: i64) -> String {
    let Ok(date) = date(millis) else { return format!("{millis} ms since the epoch") };
    let fraction = match millis.rem_euclid(1000) {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{fraction} +0000 UTC",
        date.year(),
        date.month(),
        date.day(),
        date.hour(),
        date.minute(),
        date.second()
    )
}

/// Writes a duration as Go's `Duration.String` does: `1h2m3.5s`, `1.5ms`, `0s`.
pub(super) fn duration_text(nanos: i64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (minutes, rest) = (nanos / (60 * SECOND), nanos % (60 * SECOND));
    let text = match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => decimal(nanos, 1_000, "µs"),
        1_000_000..SECOND => decimal(nanos, 1_000_000, "ms"),
        _ => {
            let seconds = decimal(rest, SECOND, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

/// Writes nanoseconds in a unit that is a power of ten of them, without zeros at the end.
fn decimal(nanos: u64, unit: u64, name: &str) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", nanos % unit);
    match fraction.trim_end_matches('0') {
        "" => format!("{}{name}", nanos / unit),
        fraction => format!("{}.{fraction}{name}", nanos / unit),
    }
}

/// Writes one part of a date.
type Writer = fn(&DateTime) -> String;

/// The parts of a layout, longest first where one begins like another (Go's reference time, Mon Jan 2 15:04:05 2006).
const LAYOUT: [(&str, Writer); 31] = [
    ("January", |date| MONTHS[month_index(date)].to_owned()),
    ("Jan", |date| MONTHS[month_index(date)][..3].to_owned()),
    ("Monday", |date| WEEKDAYS[weekday_index(date)].to_owned()),
    ("Mon", |date| WEEKDAYS[weekday_index(date)][..3].to_owned()),
    ("MST", |_| "UTC".to_owned()),
    ("2006", |date| format!("{:04}", date.year())),
    ("-07:00", |_| "+00:00".to_owned()),
    ("-0700", |_| "+0000".to_owned()),
    ("-07", |_| "+00".to_owned()),
    ("Z07:00", |_| "Z".to_owned()),
    ("Z0700", |_| "Z".to_owned()),
    (".000000000", |date| format!(".{:09}", date.subsec_nanosecond())),
    (".000000", |date| format!(".{:06}", date.subsec_nanosecond() / 1_000)),
    (".000", |date| format!(".{:03}", date.millisecond())),
    // Not a padded day with `006` behind it.
    ("_2006", |date| format!("_{:04}", date.year())),
    ("_2", |date| format!("{:>2}", date.day())),
    ("002", |date| format!("{:03}", date.day_of_year())),
    ("01", |date| format!("{:02}", date.month())),
    ("02", |date| format!("{:02}", date.day())),
    ("03", |date| format!("{:02}", (date.hour() + 11) % 12 + 1)),
    ("04", |date| format!("{:02}", date.minute())),
    ("05", |date| format!("{:02}", date.second())),
    ("06", |date| format!("{:02}", date.year().rem_euclid(100))),
    ("15", |date| format!("{:02}", date.hour())),
    ("PM", |date| if date.hour() < 12 { "AM" } else { "PM" }.to_owned()),
    ("pm", |date| if date.hour() < 12 { "am" } else { "pm" }.to_owned()),
    ("1", |date| date.month().to_string()),
    ("2", |date| date.day().to_string()),
    ("3", |date| ((date.hour() + 11) % 12 + 1).to_string()),
    ("4", |date| date.minute().to_string()),
    ("5", |date| date.second().to_string()),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

fn month_index(date: &DateTime) -> usize {
    usize::try_from(date.month() - 1).unwrap_or(0)
}

pub(super) fn weekday_index(date: &DateTime) -> usize {
    usize::try_from(date.weekday().to_sunday_zero_offset()).unwrap_or(0)
}

pub(super) fn month_name(date: &DateTime) -> &'static str {
    MONTHS[month_index(date)]
}

/// Writes an instant in a layout of Go's, such as `2006-01-02 15:04:05`.
pub(super) fn format(date: &DateTime, layout: &str) -> String {
    let mut text = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        match LAYOUT.iter().find(|(part, _)| rest.starts_with(part)) {
            Some((part, write)) => {
                text.push_str(&write(date));
                rest = &rest[part.len()..];
            }
            None => {
                text.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    text
}
