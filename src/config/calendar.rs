//! `calendars`: times of the week in a time zone. Zones are looked up here, so that the engine needs no tables.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

use crate::engine::model::CalendarName;
use crate::engine::rules::decode::{Fields, Shape, choice, list, named, text, texts};
use crate::engine::rules::diagnostic::nearest;
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Calendar, DayOfWeek, Diagnostic, Findings};

const CALENDAR: Shape =
    Shape { what: "a calendar", keys: &["time_zone", "days", "from", "to", "except"], later: &[] };

/// Words of `during` that mean something already.
const RESERVED: [&str; 4] = ["deployment", "soak", "stage", "not"];

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// The calendars by name; one that is broken has been reported and keeps its name.
pub(super) type Calendars = BTreeMap<CalendarName, Option<Calendar>>;

/// Reads `calendars`.
pub(super) fn read(node: &Node, out: &mut Findings) -> Calendars {
    let read = |(name, node): (&Scalar, &Node), out: &mut Findings| {
        if RESERVED.contains(&name.value.as_str()) {
            let message =
                format!("a calendar cannot be called `{}`: the word has a meaning in `during`", name.value);
            out.push(Diagnostic::error("reserved-name", name.place(), message).hint("give it another name"));
        }
        (CalendarName::from(name.value.as_str()), calendar(node, out))
    };
    named(node, "`calendars`", out).into_iter().map(|entry| read(entry, out)).collect()
}

fn calendar(node: &Node, out: &mut Findings) -> Option<Calendar> {
    let fields = CALENDAR.read(node, out)?;
    let time_zone = fields.required("time_zone", out).and_then(|node| zone(node, out));
    let days = match fields.get("days") {
        Some(node) => days(node, out),
        None => Some(DAYS.iter().map(|(_, day)| DayOfWeek::from(*day)).collect()),
    };
    let from = time(&fields, "from", out);
    let to = time(&fields, "to", out);
    let except = fields.get("except").map_or(Some(BTreeSet::new()), |node| dates(node, out));
    // The end of a day is where nothing, or `24:00`, is written.
    let from = from?.map_or(Some(Time::midnight()), |from| match from {
        Clock::At(at) => Some(at),
        Clock::EndOfDay => {
            let message = "a day cannot begin at its end";
            let hint = "write `from: \"00:00\"` and name the next day";
            out.push(Diagnostic::error("bad-time", fields.key_place("from"), message).hint(hint));
            None
        }
    });
    let to = to?.and_then(|to| match to {
        Clock::At(at) => Some(at),
        Clock::EndOfDay => None,
    });
    Some(Calendar { time_zone: time_zone?, days: days?, from: from?, to, except: except? })
}

fn zone(node: &Node, out: &mut Findings) -> Option<TimeZone> {
    let written = text(node, "`time_zone`", out)?;
    // A file of one's own (`/etc/localtime`) or an offset would mean another time after the next change of the clocks.
    let found = jiff::tz::db().get(&written.value).ok();
    if found.is_none() {
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        let message = format!("there is no time zone `{}`", written.value.escape_debug());
        let hint = match nearest(&written.value, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "IANA's names, such as `America/New_York`, `Europe/London` or `UTC`".to_owned(),
        };
        out.push(Diagnostic::error("unknown-time-zone", written.place(), message).hint(hint));
    }
    found
}

fn days(node: &Node, out: &mut Findings) -> Option<BTreeSet<DayOfWeek>> {
    let items = list(node, "`days`", out);
    if matches!(node, Node::Sequence(items, _) if items.is_empty()) {
        let message = "`days` names no day: the calendar would never open";
        out.push(
            Diagnostic::error("no-days", node.place(), message).hint("such as `[mon, tue, wed, thu, fri]`"),
        );
        return None;
    }
    let read: Vec<Option<Weekday>> = items.iter().map(|item| choice(item, "a day", &DAYS, out)).collect();
    let days: Option<BTreeSet<DayOfWeek>> = read.into_iter().map(|day| day.map(DayOfWeek::from)).collect();
    days.filter(|days| !days.is_empty())
}

/// A time of the day as it is written.
enum Clock {
    At(Time),
    EndOfDay,
}

/// Reads a time of the day; the outer `None` is a mistake that has been told.
fn time(fields: &Fields<'_>, key: &str, out: &mut Findings) -> Option<Option<Clock>> {
    let Some(node) = fields.get(key) else { return Some(None) };
    let written = text(node, &format!("`{key}`"), out)?;
    if written.value == "24:00" {
        return Some(Some(Clock::EndOfDay));
    }
    let parts = written.value.split_once(':').filter(|(hour, minute)| {
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_digit());
        digits(hour) && digits(minute)
    });
    let parsed =
        parts.and_then(|(hour, minute)| Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok());
    if parsed.is_none() {
        let message = format!("`{}` is no time of the day", written.value.escape_debug());
        let hint = "hours and minutes, two digits each: `\"09:30\"`; the end of the day is `\"24:00\"`";
        out.push(Diagnostic::error("bad-time", written.place(), message).hint(hint));
    }
    parsed.map(|at| Some(Clock::At(at)))
}

fn dates(node: &Node, out: &mut Findings) -> Option<BTreeSet<Date>> {
    let mut dates = BTreeSet::new();
    let mut all_good = matches!(node, Node::Sequence(..));
    for written in texts(node, "`except`", out) {
        match written.value.parse::<Date>() {
            Ok(date) if written.value == date.to_string() => {
                dates.insert(date);
            }
            parsed => {
                let what = if parsed.is_err() && looks_like_a_date(&written.value) {
                    "there is no such day"
                } else {
                    "it is no date"
                };
                let message = format!("`{}`: {what}", written.value.escape_debug());
                let hint = "year, month and day, such as `2026-11-26`";
                out.push(Diagnostic::error("bad-date", written.place(), message).hint(hint));
                all_good = false;
            }
        }
    }
    all_good.then_some(dates)
}

fn looks_like_a_date(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [4, 2, 2] && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}
