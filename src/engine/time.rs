//! Engine time: integer milliseconds, never read from a clock.
//!
//! A [`Timestamp`] is an instant on the engine's own axis. The daemon feeds it from a boottime clock on top of a
//! persisted base, so it never goes backwards and does not follow the wall clock (E8); rule tests and the simulator
//! feed it from a counter. A [`Span`] is a distance between two of them and may be negative (PromQL's `offset -5m`).

use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An instant of engine time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// A distance in time, in milliseconds; may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

impl Timestamp {
    /// The first instant of the axis.
    pub const ZERO: Self = Self(0);

    /// Returns the instant that lies `ms` milliseconds after [`Timestamp::ZERO`].
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Returns the milliseconds since [`Timestamp::ZERO`].
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the seconds since [`Timestamp::ZERO`], with fractions.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Returns the distance from `earlier` to `self`, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0).max(0))
    }
}

impl Span {
    /// No distance at all.
    pub const ZERO: Self = Self(0);

    /// Returns a span of `ms` milliseconds.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Returns a span of `secs` seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Returns the span in milliseconds.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the span in seconds, with fractions.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Returns the same span for timers of the standard library; negative spans become zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    /// Returns `self` taken `times` times, saturating.
    pub const fn times(self, times: i64) -> Self {
        Self(self.0.saturating_mul(times))
    }

    /// Returns the span as people say it: whole seconds from ten seconds on, tenths from one second on.
    pub const fn rounded(self) -> Self {
        let step = if self.0.abs() >= 10_000 {
            1000
        } else if self.0.abs() >= 1000 {
            100
        } else {
            1
        };
        Self((self.0 + step / 2).div_euclid(step) * step)
    }

    /// Returns whether the span is zero or negative.
    pub const fn is_zero_or_negative(self) -> bool {
        self.0 <= 0
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Timestamp {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Sub for Timestamp {
    type Output = Span;
    fn sub(self, other: Self) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Span {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={}.{:03}s", self.0.div_euclid(1000), self.0.rem_euclid(1000))
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a duration: expected a number with a unit (ms, s, m, h, d, w, y), largest unit first, such as `90s` or `1h30m`"
)]
pub struct InvalidSpan {
    text: String,
}

/// Units in the order in which a duration must name them, with their milliseconds.
///
/// A year has 365 days, as in Prometheus' `model.ParseDuration`.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl FromStr for Span {
    type Err = InvalidSpan;

    /// Parses a Prometheus duration: `90s`, `5m`, `1h30m`, `300ms`, `0`. Each unit at most once, largest first.
    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let invalid = || InvalidSpan { text: text.to_owned() };
        if text == "0" {
            return Ok(Self::ZERO);
        }
        if text.is_empty() {
            return Err(invalid());
        }
        let mut rest = text;
        let mut allowed = &UNITS[..];
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (unit, tail) = tail.split_at(letters);
            let at = allowed.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
            let amount: i64 = number.parse().map_err(|_| invalid())?;
            total =
                amount.checked_mul(allowed[at].1).and_then(|ms| total.checked_add(ms)).ok_or_else(invalid)?;
            allowed = &allowed[at + 1..];
            rest = tail;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    /// Prints the shortest form that parses back: `1m30s`, `250ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        for (unit, ms) in UNITS {
            // Weeks and years read worse than days to people; they are parsed, never printed.
            if matches!(unit, "y" | "w") {
                continue;
            }
            let ms = ms.unsigned_abs();
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_as_prometheus_does() {
        let cases =
            [("90s", 90_000), ("5m", 300_000), ("1h30m", 5_400_000), ("300ms", 300), ("1d", 86_400_000)];
        for (text, ms) in cases {
            assert_eq!(text.parse::<Span>().map(Span::as_millis), Ok(ms), "{text}");
        }
    }

    #[test]
    fn malformed_durations_are_refused() {
        for text in ["", "5", "m", "5x", "1m1h", "1m2m", "-5m", "1.5m", "99999999999999999999s", " 5m"] {
            assert!(text.parse::<Span>().is_err(), "{text:?} must be refused");
        }
    }

    proptest::proptest! {
        #[test]
        fn printed_durations_parse_back(ms in 0_i64..10_000_000_000_000) {
            let span = Span::from_millis(ms);
            proptest::prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
    }
}
