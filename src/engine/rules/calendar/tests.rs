//! Literal instants around both changes of the clocks.

use super::*;

fn calendar(zone: &str, days: &[Weekday], from: &str, to: Option<&str>, except: &[&str]) -> Calendar {
    Calendar {
        time_zone: TimeZone::get(zone).unwrap(),
        days: days.iter().map(|day| DayOfWeek::from(*day)).collect(),
        from: from.parse().unwrap(),
        to: to.map(|to| to.parse().unwrap()),
        except: except.iter().map(|date| date.parse().unwrap()).collect(),
    }
}

const WORKDAYS: [Weekday; 5] =
    [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
const ALL: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

/// Checks instants in UTC; `+` is within, `-` is not.
fn check(calendar: &Calendar, instants: &[&str]) {
    for line in instants {
        let (expected, at) = (line.starts_with('+'), &line[1..]);
        let at: Instant = at.parse().unwrap();
        assert_eq!(calendar.contains(at.as_millisecond()), expected, "{line}");
    }
}

#[test]
fn s3_12_market_hours_follow_new_york_over_both_changes_of_the_clocks() {
    let market = calendar("America/New_York", &WORKDAYS, "09:30", Some("16:00"), &["2026-11-26"]);
    check(
        &market,
        &[
            // The Friday before 8 March 2026 is in winter time (UTC-5), the Monday after it in summer time (UTC-4).
            "-2026-03-06T14:29:59.999Z",
            "+2026-03-06T14:30:00Z",
            "+2026-03-06T20:59:59.999Z",
            "-2026-03-06T21:00:00Z",
            "-2026-03-07T15:00:00Z",
            "-2026-03-08T15:00:00Z",
            "-2026-03-09T13:29:59.999Z",
            "+2026-03-09T13:30:00Z",
            "+2026-03-09T19:59:59.999Z",
            "-2026-03-09T20:00:00Z",
            // And back on 1 November.
            "+2026-10-30T13:30:00Z",
            "-2026-10-30T20:00:00Z",
            "-2026-11-02T14:29:59.999Z",
            "+2026-11-02T14:30:00Z",
            "-2026-11-02T21:00:00Z",
            // Thanksgiving, and the day after it.
            "-2026-11-26T15:00:00Z",
            "+2026-11-27T15:00:00Z",
        ],
    );
}

#[test]
fn a_day_with_a_change_of_the_clocks_is_one_stretch_without_a_hole() {
    // 1 November 2026: 01:30 comes twice, at 05:30Z and at 06:30Z.
    let night = calendar("America/New_York", &ALL, "01:30", Some("03:00"), &[]);
    check(
        &night,
        &[
            "-2026-11-01T05:29:59Z",
            "+2026-11-01T05:30:00Z",
            "+2026-11-01T06:10:00Z",
            "+2026-11-01T07:59:59Z",
            "-2026-11-01T08:00:00Z",
        ],
    );
    let until = calendar("America/New_York", &ALL, "00:00", Some("01:30"), &[]);
    check(&until, &["+2026-11-01T04:00:00Z", "+2026-11-01T06:29:59Z", "-2026-11-01T06:30:00Z"]);
    // 8 March 2026: 02:00 to 03:00 is left out; 02:30 is 150 minutes into the day all the same.
    let gap = calendar("America/New_York", &ALL, "02:30", Some("04:00"), &[]);
    check(
        &gap,
        &["-2026-03-08T07:29:59Z", "+2026-03-08T07:30:00Z", "+2026-03-08T07:59:59Z", "-2026-03-08T08:00:00Z"],
    );
    // Whole days of 23 and 25 hours.
    let sundays = calendar("America/New_York", &[Weekday::Sunday], "00:00", None, &[]);
    check(
        &sundays,
        &[
            "-2026-03-08T04:59:59Z",
            "+2026-03-08T05:00:00Z",
            "+2026-03-09T03:59:59Z",
            "-2026-03-09T04:00:00Z",
            "+2026-11-01T04:00:00Z",
            "+2026-11-02T04:59:59Z",
            "-2026-11-02T05:00:00Z",
        ],
    );
}

#[test]
fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
    let night = calendar("Europe/London", &[Weekday::Friday], "22:00", Some("06:00"), &["2026-11-27"]);
    check(
        &night,
        &[
            "-2026-11-20T21:59:59Z",
            "+2026-11-20T22:00:00Z",
            "+2026-11-21T05:59:59Z",
            "-2026-11-21T06:00:00Z",
            // Saturday night does not belong to it, and the excepted Friday opens neither that day nor the next.
            "-2026-11-21T23:00:00Z",
            "-2026-11-27T23:00:00Z",
            "-2026-11-28T03:00:00Z",
        ],
    );
    // From a time to the same time is a whole day.
    let day = calendar("UTC", &[Weekday::Friday], "08:00", Some("08:00"), &[]);
    check(
        &day,
        &["-2026-11-20T07:59:59Z", "+2026-11-20T08:00:00Z", "+2026-11-21T07:59:59Z", "-2026-11-21T08:00:00Z"],
    );
}

#[test]
fn an_instant_beyond_all_dates_is_in_no_calendar() {
    let always = calendar("UTC", &ALL, "00:00", None, &[]);
    assert!(always.contains(0));
    assert!(!always.contains(i64::MAX) && !always.contains(i64::MIN));
}

#[test]
fn s3_12_the_next_change_is_told_over_both_changes_of_the_clocks_and_over_holidays() {
    let market = calendar("America/New_York", &WORKDAYS, "09:30", Some("16:00"), &["2026-11-26"]);
    let night = calendar("America/New_York", &ALL, "01:30", Some("03:00"), &[]);
    let sundays = calendar("America/New_York", &[Weekday::Sunday], "00:00", None, &[]);
    let once = calendar("UTC", &[Weekday::Friday], "08:00", Some("09:00"), &["2026-11-27", "2026-12-04"]);
    let cases = [
        // From Friday's close in winter time to Monday's opening in summer time, and back.
        (&market, "2026-03-06T20:59:59.999Z", "2026-03-06T21:00:00Z"),
        (&market, "2026-03-06T21:00:00Z", "2026-03-09T13:30:00Z"),
        (&market, "2026-10-30T20:00:00Z", "2026-11-02T14:30:00Z"),
        (&market, "2026-11-02T14:30:00Z", "2026-11-02T21:00:00Z"),
        // Thanksgiving is left out.
        (&market, "2026-11-25T21:00:00Z", "2026-11-27T14:30:00Z"),
        // The night in which 01:30 comes twice, and days of 23 and 25 hours.
        (&night, "2026-11-01T05:29:59Z", "2026-11-01T05:30:00Z"),
        (&night, "2026-11-01T05:30:00Z", "2026-11-01T08:00:00Z"),
        (&sundays, "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),
        (&sundays, "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
        (&once, "2026-11-20T09:00:00Z", "2026-12-11T08:00:00Z"),
    ];
    for (calendar, at, expected) in cases {
        let at: Instant = at.parse().unwrap();
        let next = calendar.next_change(at.as_millisecond()).map(|ms| Instant::from_millisecond(ms).unwrap());
        assert_eq!(next, Some(expected.parse().unwrap()), "after {at}");
    }
    let always = calendar("UTC", &ALL, "00:00", None, &[]);
    assert_eq!(always.next_change(0), None, "days that touch are one stretch");
    assert_eq!(always.next_change(i64::MAX), None);
}

proptest::proptest! {
    /// Against a look at every minute.
    #[test]
    fn nothing_changes_before_the_next_change_and_then_it_does(
        zone in proptest::sample::select(vec!["America/New_York", "Europe/London", "Australia/Lord_Howe", "UTC"]),
        days in proptest::sample::subsequence(ALL.to_vec(), 1..=7),
        from in 0..24_i8,
        to in proptest::option::of(0..24_i8),
        minute in 0..525_600_i64,
    ) {
        let mut calendar = calendar(zone, &days, "00:00", None, &[]);
        calendar.from = Time::constant(from, 30, 0, 0);
        calendar.to = to.map(|to| Time::constant(to, 0, 0, 0));
        // 2026 holds both changes of every zone.
        let at = 1_767_225_600_000 + minute * 60_000;
        let is_open = calendar.contains(at);
        let next = calendar.next_change(at);
        let last = next.unwrap_or(at + 9 * 86_400_000);
        let mut looked = at;
        while looked < last {
            proptest::prop_assert_eq!(calendar.contains(looked), is_open, "at {} of {:?}", looked, next);
            looked += 60_000;
        }
        if let Some(next) = next {
            proptest::prop_assert_ne!(calendar.contains(next), is_open);
        }
    }
}
