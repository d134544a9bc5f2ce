//! Baselines: the mean of an indicator over the time before a deployment.

use std::collections::{BTreeMap, BTreeSet};

use super::Measurements;
use crate::engine::evaluation::baseline::{Baseline, Mean};
use crate::engine::evaluation::watch::Watch;
use crate::engine::model::{IndicatorName, TargetName};
use crate::engine::promql::{EvalContext, Value};
use crate::engine::rules::{Condition, Indicator, RuleSet, Threshold};
use crate::engine::time::{Span, Timestamp};

/// The most evaluations that one baseline costs; a longer time is sampled more coarsely.
const EVALUATIONS_MAX: i64 = 1000;

/// Returns the indicators that some condition of `target` compares with a baseline.
pub(super) fn compared<'r>(conditions: impl Iterator<Item = &'r Condition>) -> Vec<&'r Indicator> {
    let relative =
        |compare: &&crate::engine::rules::Compare| matches!(compare.threshold, Threshold::OfBaseline { .. });
    let compares = conditions.flat_map(Condition::compares);
    compares.filter(relative).map(|compare| &*compare.indicator).collect()
}

fn of_target<'r>(rules: &'r RuleSet, target: &TargetName) -> BTreeMap<&'r IndicatorName, &'r Indicator> {
    let guarding = rules.triggers.values().filter(|trigger| trigger.target == *target);
    let indicators = compared(guarding.flat_map(|trigger| trigger.conditions()));
    indicators.into_iter().map(|indicator| (&indicator.name, indicator)).collect()
}

impl Measurements {
    /// Freezes every baseline of `target` on what was measured until `until`. `trouble` tells of an indicator why what it
    /// showed then may not be called normal, where something was wrong.
    pub fn freeze(
        &self,
        target: &TargetName,
        until: Timestamp,
        trouble: impl Fn(&Indicator) -> Option<String>,
        watch: &Watch<'_>,
    ) -> Vec<(IndicatorName, Baseline)> {
        let frozen = |(name, indicator): (&IndicatorName, &Indicator)| {
            let mut baseline = self.baseline(indicator, until, trouble(indicator), watch);
            if let Some(hours) = self.hours.get(&(target.clone(), name.clone())) {
                baseline.by_hour = hours.means();
            }
            (name.clone(), baseline)
        };
        of_target(watch.rules, target).into_iter().map(frozen).collect()
    }

    fn baseline(
        &self,
        indicator: &Indicator,
        until: Timestamp,
        trouble: Option<String>,
        watch: &Watch<'_>,
    ) -> Baseline {
        let spec = indicator.baseline;
        let from = until - spec.over;
        let measured = self.measured(indicator, from, until, watch);
        let samples = u32::try_from(measured.values.len()).unwrap_or(u32::MAX);
        let mean = measured.values.iter().sum::<f64>() / f64::from(samples.max(1));
        let shown = |value| crate::engine::evaluation::shown(value, indicator.unit);
        let refusal = match trouble {
            Some(trouble) => Some(trouble),
            None if measured.several > 0 => Some(format!("it had {} series at once", measured.several)),
            None if samples == 0 && measured.nan => Some("it was not a number (no traffic?)".to_owned()),
            None if samples == 0 => Some(format!("there was no sample in the {} before it", spec.over)),
            None if samples < spec.min_samples => {
                Some(format!("only {samples} of {} samples in the {} before it", spec.min_samples, spec.over))
            }
            None if !mean.is_finite() => Some("it was not finite".to_owned()),
            // In this form zero is refused too: nothing is a share of nothing.
            None if mean <= 0.0 => {
                Some(format!("its mean was {}: nothing can be a share of that", shown(mean)))
            }
            None => spec
                .min
                .filter(|min| mean < *min)
                .map(|min| format!("its mean of {} is below {}: that is noise", shown(mean), shown(min))),
        };
        let value = refusal.map_or(Mean::Of(mean), Mean::Refused);
        let (max_age, by_hour) = (spec.max_age, BTreeMap::new());
        Baseline { value, samples, from, until, max_age, by_hour, unit: Some(indicator.unit) }
    }

    /// Evaluates an indicator at the pace of its slowest source; each sample counts once, however long it is looked back to.
    fn measured(
        &self,
        indicator: &Indicator,
        from: Timestamp,
        until: Timestamp,
        watch: &Watch<'_>,
    ) -> Measured {
        let paces = indicator.sources();
        let slowest = paces.iter().filter_map(|source| watch.paces.get(source)).map(|pace| pace.every).max();
        let length = until.since(from).as_millis();
        let least = Span::from_millis((length / EVALUATIONS_MAX).max(1));
        let step = slowest.unwrap_or(least).max(least);
        let mut measured = Measured::default();
        let mut seen: BTreeSet<Timestamp> = BTreeSet::new();
        let mut at = until;
        while at > from {
            let context = EvalContext { wall_offset: watch.wall_offset, ..EvalContext::at(at) };
            if let Ok(evaluated) = indicator.query.evaluate(&self.store, &context) {
                let is_new =
                    evaluated.newest_sample.is_none_or(|newest| newest > from && seen.insert(newest));
                match &evaluated.value {
                    Value::Scalar(value) if is_new => measured.add(*value),
                    Value::Vector(vector) if is_new => match vector.as_slice() {
                        [] => {}
                        [only] => measured.add(only.value),
                        several => measured.several = several.len(),
                    },
                    _ => {}
                }
            }
            at = at - step;
        }
        measured
    }
}

#[derive(Default)]
struct Measured {
    values: Vec<f64>,
    /// Whether there was something that is no number.
    nan: bool,
    /// How many series there were, where there was more than one.
    several: usize,
}

impl Measured {
    fn add(&mut self, value: f64) {
        if value.is_nan() {
            self.nan = true;
        } else {
            self.values.push(value);
        }
    }
}
