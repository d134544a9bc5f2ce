//! Sustained windows as rules ask for them: how long, how often or how many times in a row a promise must be broken.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::time::Span;

/// A sustained window.
///
/// `coverage` is the share of the window that must have been observed, 0 to 1; `max_gap` is how long one verdict speaks
/// for the time after it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowSpec {
    /// `60s`: breached at every observation for that long, as in Prometheus; zero fires at the first breach.
    Sustained {
        /// Its length.
        of: Span,
        /// The share of it that must have been observed.
        coverage: f64,
        /// How long one verdict speaks.
        max_gap: Span,
    },
    /// `80% of 60s`: a share of the whole time, of which time that was not observed is no part that counts.
    Share {
        /// The share, 0 to 1.
        share: f64,
        /// Its length.
        of: Span,
        /// The share of it that must have been observed.
        coverage: f64,
        /// How long one verdict speaks.
        max_gap: Span,
    },
    /// `3 in 5m`: so many observations.
    Count {
        /// How many.
        count: u32,
        /// Within this span, sliding.
        of: Span,
    },
    /// `11 in a row`: so many observations with none in between that holds.
    InARow {
        /// How many.
        count: u32,
    },
    /// `80% of nominal samples in 60s every 5s`: literally what scripts do that count breaching samples in a list and
    /// compare with what the list would hold if every tick came in time.
    Nominal {
        /// The share, 0 to 1.
        share: f64,
        /// Samples of this age or younger count.
        of: Span,
        /// The time between two ticks, as the script takes it.
        every: Span,
    },
}

impl WindowSpec {
    /// Returns its length; zero where it has none.
    pub fn of(&self) -> Span {
        match *self {
            Self::Sustained { of, .. }
            | Self::Share { of, .. }
            | Self::Count { of, .. }
            | Self::Nominal { of, .. } => of,
            Self::InARow { .. } => Span::ZERO,
        }
    }

    /// Returns how long one verdict speaks for the time after it, where time is what counts.
    pub fn max_gap(&self) -> Option<Span> {
        match *self {
            Self::Sustained { max_gap, .. } | Self::Share { max_gap, .. } => Some(max_gap),
            Self::Count { .. } | Self::InARow { .. } | Self::Nominal { .. } => None,
        }
    }

    /// Returns how many breaching observations it takes, where observations are counted.
    pub fn needed(&self) -> Option<u32> {
        match *self {
            Self::Count { count, .. } | Self::InARow { count } => Some(count),
            Self::Nominal { share, of, every } => Some(nominal(share, of, every)),
            Self::Sustained { .. } | Self::Share { .. } => None,
        }
    }
}

/// Returns the smallest whole number that is not below `share * of / every`, one at least.
fn nominal(share: f64, of: Span, every: Span) -> u32 {
    // A share is written in percent: in whole millionths the product is exact, and 0.8 * 60 / 5 is 9.6 and not above it.
    #[expect(clippy::cast_possible_truncation, reason = "a share is at most 1: at most a million")]
    let millionths = (share * 1e6).round() as i128;
    let whole = i128::from(every.as_millis()).max(1) * 1_000_000;
    let needed = (millionths * i128::from(of.as_millis()) + whole - 1).div_euclid(whole);
    u32::try_from(needed.max(1)).unwrap_or(u32::MAX)
}

impl fmt::Display for WindowSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 1e8).round() / 1e6;
        match *self {
            Self::Sustained { of, .. } => write!(f, "{of}"),
            Self::Share { share, of, .. } => write!(f, "{}% of {of}", percent(share)),
            Self::Count { count, of } => write!(f, "{count} in {of}"),
            Self::InARow { count } => write!(f, "{count} in a row"),
            Self::Nominal { share, of, every } => {
                write!(f, "{}% of nominal samples in {of} every {every}", percent(share))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nominal_form_needs_what_the_scripts_need() {
        // Window in seconds, tick in seconds, samples needed: 9.6, 19.2, 28.8 and 4.8 rounded up, and a whole number.
        for (of, every, needed) in
            [(60, 5, 10), (120, 5, 20), (180, 5, 29), (30, 5, 5), (50, 5, 8), (1, 5, 1)]
        {
            let spec =
                WindowSpec::Nominal { share: 0.8, of: Span::from_secs(of), every: Span::from_secs(every) };
            assert_eq!(spec.needed(), Some(needed), "{spec}");
        }
    }
}
