//! What indicators are at each hour of the day, over the last days: mornings are compared with mornings.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Measurements;
use crate::engine::evaluation::baseline::hour_of_day;
use crate::engine::evaluation::watch::Watch;
use crate::engine::model::{IndicatorName, SourceName, TargetName};
use crate::engine::promql::{EvalContext, Value};
use crate::engine::rules::{Indicator, RuleSet, Threshold};
use crate::engine::time::{Span, Timestamp};

/// How often an indicator is looked at: sixty values an hour make a mean.
const LOOK_EVERY: Span = Span::from_secs(60);

/// How many days of an hour count: a week, so that one odd day does not rule.
const DAYS: usize = 7;

/// How many values a day's hour must have: half of it.
const VALUES_MIN: u32 = 30;

/// The hours of the day of one indicator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hours {
    /// The expression that was measured: another one begins anew.
    text: String,
    /// When it was last looked at.
    looked_at: Option<Timestamp>,
    /// The last days of each hour (UTC), newest last.
    hours: BTreeMap<u8, VecDeque<HourOfDay>>,
}

/// One hour of one day.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct HourOfDay {
    /// Days since 1970.
    day: i64,
    sum: f64,
    count: u32,
}

impl Hours {
    /// Adds a value that was measured at `at`.
    fn add(&mut self, at: Timestamp, wall_offset: Span, value: f64) {
        let day = (at + wall_offset).as_millis().div_euclid(86_400_000);
        let days = self.hours.entry(hour_of_day(at, wall_offset)).or_default();
        match days.back_mut() {
            Some(today) if today.day == day => {
                today.sum += value;
                today.count += 1;
            }
            _ => days.push_back(HourOfDay { day, sum: value, count: 1 }),
        }
        while days.len() > DAYS {
            days.pop_front();
        }
    }

    /// Returns the mean of each hour that was measured well enough on some day.
    pub(super) fn means(&self) -> BTreeMap<u8, f64> {
        let mean = |(hour, days): (&u8, &VecDeque<HourOfDay>)| {
            let good = days.iter().filter(|day| day.count >= VALUES_MIN);
            let means: Vec<f64> = good.map(|day| day.sum / f64::from(day.count)).collect();
            let mean = means.iter().sum::<f64>() / means.len() as f64;
            (mean.is_finite() && mean > 0.0).then_some((*hour, mean))
        };
        self.hours.iter().filter_map(mean).collect()
    }
}

/// Returns the indicators whose hours are kept, with what they are compared at.
pub(super) fn kept(rules: &RuleSet) -> BTreeMap<(TargetName, IndicatorName), Arc<Indicator>> {
    let mut kept = BTreeMap::new();
    for trigger in rules.triggers.values() {
        for compare in trigger.conditions().flat_map(|condition| condition.compares()) {
            let relative = matches!(compare.threshold, Threshold::OfBaseline { .. });
            if relative && compare.indicator.baseline.time_of_day {
                let key = (trigger.target.clone(), compare.indicator.name.clone());
                kept.insert(key, Arc::clone(&compare.indicator));
            }
        }
    }
    kept
}

impl Measurements {
    /// Looks at every indicator whose hours are kept and that reads `source`. What is measured in an incident or during a
    /// deployment is not what is normal.
    pub(super) fn note_hours(&mut self, source: &SourceName, watch: &Watch<'_>, now: Timestamp) {
        for (key, indicator) in &self.hourly_indicators {
            let known = self.hours.entry(key.clone()).or_default();
            let is_due = known.looked_at.is_none_or(|at| now.since(at) >= LOOK_EVERY);
            if !is_due || watch.disturbed.contains(key) || !indicator.sources().contains(source) {
                continue;
            }
            known.looked_at = Some(now);
            let context = EvalContext { wall_offset: watch.wall_offset, ..EvalContext::at(now) };
            let value = match indicator.query.evaluate(&self.store, &context).map(|evaluated| evaluated.value)
            {
                Ok(Value::Scalar(value)) => Some(value),
                Ok(Value::Vector(vector)) if vector.len() == 1 => vector.first().map(|only| only.value),
                _ => None,
            };
            if let Some(value) = value.filter(|value| value.is_finite()) {
                known.add(now, watch.wall_offset, value);
            }
        }
    }

    /// Keeps the hours of the indicators in force, and lets go of the others.
    pub(super) fn keep_hours(&mut self, rules: &RuleSet) {
        self.hourly_indicators = kept(rules).into_iter().collect();
        let wanted: BTreeMap<_, _> =
            self.hourly_indicators.iter().map(|(key, known)| (key, &known.text)).collect();
        self.hours.retain(|key, hours| wanted.get(key).is_some_and(|text| **text == hours.text));
        for (key, indicator) in &self.hourly_indicators {
            self.hours
                .entry(key.clone())
                .or_insert_with(|| Hours { text: indicator.text.clone(), ..Hours::default() });
        }
    }

    /// Takes up what was saved of the indicators in force.
    pub(super) fn restore_hours(&mut self, saved: Vec<((TargetName, IndicatorName), Hours)>) {
        for (key, hours) in saved {
            if let Some(known) = self.hours.get_mut(&key).filter(|known| known.text == hours.text) {
                *known = hours;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_the_mean_of_its_days_and_needs_half_an_hour_of_values() {
        let mut hours = Hours::default();
        let at = |day: i64, hour: i64, minute: i64| {
            Timestamp::from_millis(((day * 24 + hour) * 60 + minute) * 60_000)
        };
        for day in 0..9 {
            for minute in 0..60 {
                // 100 in the first two days, which are forgotten, then 10, 20, ...
                let value = if day < 2 { 100.0 } else { (day - 1) as f64 * 10.0 };
                hours.add(at(day, 9, minute), Span::ZERO, value);
            }
            for minute in 0..29 {
                hours.add(at(day, 10, minute), Span::ZERO, 5.0);
            }
        }
        assert_eq!(hours.means(), BTreeMap::from([(9, 40.0)]));
        hours.add(at(8, 10, 29), Span::ZERO, 5.0);
        assert_eq!(
            hours.means(),
            BTreeMap::from([(9, 40.0), (10, 5.0)]),
            "thirty values of one day are enough"
        );
        let text = serde_json::to_string(&hours).unwrap();
        assert_eq!(serde_json::from_str::<Hours>(&text).unwrap(), hours);
    }
}
