//! Calendars: times of the week in a time zone, with days that are left out.
//!
//! A calendar is pure: its time zone was looked up when the files were read, and whether an instant is within it depends
//! on nothing else. Each of its days is one stretch of time without a hole, on days at which clocks change too: it begins
//! at the first instant that is called by its beginning, and ends at the last one that is called by its end. A time that
//! the clocks leave out is taken as far into the day as if they had not (RFC 5545).

use std::collections::BTreeSet;

use jiff::Timestamp as Instant;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

/// Times of the week, such as a market's hours.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    /// Where its clock hangs.
    pub time_zone: TimeZone,
    /// The days of the week on which it opens.
    pub days: BTreeSet<DayOfWeek>,
    /// When it opens.
    pub from: Time,
    /// When it closes; at or before `from`, that is on the next day. `None` is the end of the day.
    pub to: Option<Time>,
    /// Dates on which it does not open.
    pub except: BTreeSet<Date>,
}

/// How many days are looked at for the next change: more than a month of excepted days is no calendar that opens.
const LOOK_AHEAD_DAYS: usize = 40;

/// A day of the week; Monday is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayOfWeek(i8);

impl From<Weekday> for DayOfWeek {
    fn from(day: Weekday) -> Self {
        Self(day.to_monday_zero_offset())
    }
}

impl Calendar {
    /// Returns whether it is open at an instant, in milliseconds of Unix time. The first instant is within, the last is not.
    pub fn contains(&self, unix_ms: i64) -> bool {
        let Ok(at) = Instant::from_millisecond(unix_ms) else { return false };
        let today = self.time_zone.to_datetime(at).date();
        // Yesterday's may last until today; where clocks are set back over midnight, tomorrow's has begun.
        let near = [today.yesterday().ok(), Some(today), today.tomorrow().ok()];
        near.into_iter()
            .flatten()
            .any(|date| self.opening(date).is_some_and(|(opens, closes)| opens <= at && at < closes))
    }

    /// Returns when it opens or closes next after an instant, both in milliseconds of Unix time. `None` where it does
    /// neither within a month.
    pub fn next_change(&self, unix_ms: i64) -> Option<i64> {
        let at = Instant::from_millisecond(unix_ms).ok()?;
        let mut date = self.time_zone.to_datetime(at).date().yesterday().ok()?;
        // Where the stretch ends in which it is open now; days that touch are one stretch.
        let mut open_until: Option<Instant> = None;
        for _ in 0..LOOK_AHEAD_DAYS {
            if let Some((opens, closes)) = self.opening(date) {
                match open_until {
                    None if opens > at => return Some(opens.as_millisecond()),
                    None if closes > at => open_until = Some(closes),
                    Some(end) if opens <= end => open_until = Some(end.max(closes)),
                    Some(end) => return Some(end.as_millisecond()),
                    None => {}
                }
            }
            date = date.tomorrow().ok()?;
        }
        // One that is open until the last day that was looked at may go on.
        let last = date.yesterday().ok()?;
        open_until
            .filter(|end| self.time_zone.to_datetime(*end).date() < last)
            .map(|end| end.as_millisecond())
    }

    /// Returns when it opens and closes for `date`; `None` where it does not open.
    fn opening(&self, date: Date) -> Option<(Instant, Instant)> {
        if self.except.contains(&date) || !self.days.contains(&date.weekday().into()) {
            return None;
        }
        let (last, to) = match self.to {
            None => (date.tomorrow().ok()?, Time::midnight()),
            Some(to) if to <= self.from => (date.tomorrow().ok()?, to),
            Some(to) => (date, to),
        };
        let opens = self.time_zone.to_ambiguous_timestamp(date.to_datetime(self.from)).compatible().ok()?;
        let closes = self.time_zone.to_ambiguous_timestamp(last.to_datetime(to)).later().ok()?;
        Some((opens, closes))
    }
}

#[cfg(test)]
mod tests;
