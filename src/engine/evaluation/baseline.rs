//! What an indicator was before a deployment: what relative thresholds are relative to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::evaluation::shown;
use crate::engine::model::stored_number;
use crate::engine::rules::Unit;
use crate::engine::time::{Span, Timestamp};

/// Until this age the traffic is taken as the same; beyond it, only the same hour of day is comparable.
pub const SAME_TRAFFIC: Span = Span::from_secs(6 * 3600);

/// What is known of an indicator before a deployment's switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Its mean, or why there is none that may be relied on.
    pub value: Mean,
    /// How many samples went into it.
    pub samples: u32,
    /// The first of them.
    pub from: Timestamp,
    /// When it was frozen.
    pub until: Timestamp,
    /// How old it may become.
    pub max_age: Span,
    /// The means of the hours of the day (UTC, 0 to 23) before it was frozen, where they are kept.
    pub by_hour: BTreeMap<u8, f64>,
    /// What the value means; `None` of one that was frozen before this was written down.
    #[serde(default)]
    pub unit: Option<Unit>,
}

/// A mean, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mean {
    /// In the indicator's base unit.
    Of(#[serde(with = "stored_number")] f64),
    /// Why not.
    Refused(String),
}

impl Baseline {
    /// Returns the mean as people read it, or why there is none.
    ///
    /// # Errors
    /// Why there is none that may be relied on.
    pub fn told(&self) -> Result<String, &str> {
        match (&self.value, self.unit) {
            (Mean::Of(value), Some(unit)) => Ok(shown(*value, unit)),
            (Mean::Of(value), None) => Ok(value.to_string()),
            (Mean::Refused(why), _) => Err(why),
        }
    }

    /// Returns the value to compare with at `now`; `wall_offset` tells which hour of the day that is.
    ///
    /// # Errors
    /// Why nothing may be compared with it.
    pub fn value_at(&self, now: Timestamp, wall_offset: Span) -> Result<f64, String> {
        let value = match &self.value {
            Mean::Of(value) => *value,
            Mean::Refused(why) => return Err(why.clone()),
        };
        let age = now.since(self.until);
        if age > self.max_age {
            return Err(format!("it is {} old, {} is its limit", age.rounded(), self.max_age));
        }
        let hour = hour_of_day(now, wall_offset);
        if age <= SAME_TRAFFIC || hour == hour_of_day(self.until, wall_offset) {
            return Ok(value);
        }
        self.by_hour.get(&hour).copied().ok_or_else(|| {
            format!("it is {} old, and this hour of the day ({hour}:00 UTC) was not measured", age.rounded())
        })
    }
}

/// Returns the hour of the day, in UTC.
pub fn hour_of_day(at: Timestamp, wall_offset: Span) -> u8 {
    let ms = (at + wall_offset).as_millis().rem_euclid(86_400_000);
    u8::try_from(ms / 3_600_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_baselines_count_at_the_same_hour_of_day_only_and_not_beyond_their_limit() {
        let h = |hours: i64| Timestamp::from_millis(hours * 3_600_000);
        let baseline = |value, by_hour: &[(u8, f64)]| Baseline {
            value,
            samples: 20,
            from: h(8),
            until: h(9),
            max_age: Span::from_secs(48 * 3600),
            by_hour: by_hour.iter().copied().collect(),
            unit: None,
        };
        let plain = baseline(Mean::Of(10.0), &[]);
        // (hours, value).
        let cases = [
            (9, Some(10.0)),
            (15, Some(10.0)),
            (16, None),
            (32, None),
            (33, Some(10.0)),
            (57, Some(10.0)),
            (58, None),
        ];
        for (hours, expected) in cases {
            assert_eq!(plain.value_at(h(hours), Span::ZERO).ok(), expected, "at {hours} h");
        }
        assert_eq!(
            plain.value_at(h(16), Span::ZERO).unwrap_err(),
            "it is 7h old, and this hour of the day (16:00 UTC) was not measured"
        );
        let hourly = baseline(Mean::Of(10.0), &[(16, 4.0)]);
        assert_eq!(hourly.value_at(h(16), Span::ZERO), Ok(4.0));
        assert_eq!(hourly.value_at(h(58), Span::ZERO).unwrap_err(), "it is 2d1h old, 2d is its limit");
        let refused = baseline(Mean::Refused("no samples".to_owned()), &[(16, 4.0)]);
        assert_eq!(refused.value_at(h(9), Span::ZERO), Err("no samples".to_owned()));
    }

    #[test]
    fn the_hour_of_day_follows_the_wall_clock() {
        assert_eq!(hour_of_day(Timestamp::ZERO, Span::ZERO), 0);
        assert_eq!(hour_of_day(Timestamp::ZERO, Span::from_secs(-1)), 23);
        assert_eq!(hour_of_day(Timestamp::from_millis(86_400_000 * 3 + 3_599_999), Span::from_secs(3600)), 1);
    }

    #[test]
    fn it_is_told_in_its_unit_and_one_of_before_that_was_written_down_can_be_read() {
        let text = r#"{"value": {"of": 0.000029834}, "samples": 20, "from": 0, "until": 9, "max_age": 60000, "by_hour": {}}"#;
        let old: Baseline = serde_json::from_str(text).unwrap();
        assert_eq!(old.told(), Ok("0.000029834".to_owned()));
        let new = Baseline { unit: Some(Unit::Seconds), ..old };
        assert_eq!(new.told(), Ok("29.8us".to_owned()));
        let refused = Baseline { value: Mean::Refused("no traffic".to_owned()), ..new };
        assert_eq!(refused.told(), Err("no traffic"));
    }
}
