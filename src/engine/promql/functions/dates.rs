//! Parts of dates, in UTC.

use jiff::Timestamp as Date;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A part of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum DatePart {
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Hour,
    Minute,
    Month,
    Year,
}

impl DatePart {
    /// Returns the part that the function of this name gives.
    pub(in super::super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "day_of_month" => Self::DayOfMonth,
            "day_of_week" => Self::DayOfWeek,
            "day_of_year" => Self::DayOfYear,
            "days_in_month" => Self::DaysInMonth,
            "hour" => Self::Hour,
            "minute" => Self::Minute,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// Returns the part of the instant `seconds` after the Unix epoch; NaN outside of the years -9999 to 9999.
    pub(super) fn of(self, seconds: f64) -> f64 {
        if !seconds.is_finite() {
            return f64::NAN;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float cast to an integer saturates, and jiff refuses"
        )]
        let Ok(date) = Date::from_second(seconds as i64) else { return f64::NAN };
        let date: DateTime = Offset::UTC.to_datetime(date);
        match self {
            Self::DayOfMonth => f64::from(date.day()),
            Self::DayOfWeek => f64::from(date.weekday().to_sunday_zero_offset()),
            Self::DayOfYear => f64::from(date.day_of_year()),
            Self::DaysInMonth => f64::from(date.days_in_month()),
            Self::Hour => f64::from(date.hour()),
            Self::Minute => f64::from(date.minute()),
            Self::Month => f64::from(date.month()),
            Self::Year => f64::from(date.year()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_dates() {
        // 2016-02-29T23:59:30Z, a Monday
        let leap = 1_456_790_370.0;
        let cases = [
            ("day_of_month", leap, 29.0),
            ("day_of_week", leap, 1.0),
            ("day_of_year", leap, 60.0),
            ("days_in_month", leap, 29.0),
            ("hour", leap, 23.0),
            ("minute", leap, 59.0),
            ("month", leap, 2.0),
            ("year", leap, 2016.0),
            ("year", -1.0, 1969.0),
            ("hour", 0.9, 0.0),
        ];
        for (name, seconds, expected) in cases {
            assert_eq!(DatePart::named(name).map(|part| part.of(seconds)), Some(expected), "{name}");
        }
        for seconds in [f64::NAN, f64::INFINITY, 1e300] {
            assert!(DatePart::Year.of(seconds).is_nan());
        }
    }
}
