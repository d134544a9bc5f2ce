//! Conditions on what is remembered: whether they are met, and on what evidence.

use std::collections::BTreeSet;

use super::Measurements;
use crate::engine::evaluation::shown::shown;
use crate::engine::evaluation::verdict::{Evidence, UnknownReason, Verdict};
use crate::engine::evaluation::watch::Watch;
use crate::engine::model::{SourceName, TargetName};
use crate::engine::promql::{EvalContext, Value};
use crate::engine::rules::{Compare, Condition, Test};

/// Whether something is met, or the verdict that stands in place of an answer; and what it rests on.
type Measured = (Result<bool, Verdict>, Option<Evidence>);

impl Measurements {
    /// Returns whether a condition is met, or the verdict that stands in place of an answer, with the evidence of the
    /// comparison that decided.
    pub(super) fn measure(
        &self,
        condition: &Condition,
        sources: &BTreeSet<SourceName>,
        target: &TargetName,
        watch: &Watch<'_>,
        context: &EvalContext,
    ) -> Measured {
        for source in sources {
            match self.heard.get(source).and_then(|hearing| hearing.last.as_ref()) {
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    return unknown(UnknownReason::SourceFailed {
                        source: source.clone(),
                        failure: failure.clone(),
                    });
                }
                None => return unknown(UnknownReason::NotYetHeard { source: source.clone() }),
            }
        }
        self.test(&condition.test, target, watch, context)
    }

    /// Kleene's logic: what is not known matters only where it could change the answer.
    fn test(&self, test: &Test, target: &TargetName, watch: &Watch<'_>, context: &EvalContext) -> Measured {
        let each = |parts: &[Test]| -> Vec<Measured> {
            parts.iter().map(|part| self.test(part, target, watch, context)).collect()
        };
        match test {
            Test::Compare(compare) => self.compare(compare, target, watch, context),
            Test::All(parts) => at_least(parts.len(), each(parts)),
            Test::Any(parts) => at_least(1, each(parts)),
            Test::AtLeast { count, of } => at_least(*count, each(of)),
        }
    }

    fn compare(
        &self,
        compare: &Compare,
        target: &TargetName,
        watch: &Watch<'_>,
        context: &EvalContext,
    ) -> Measured {
        let evaluated = match compare.indicator.query.evaluate(&self.store, context) {
            Ok(evaluated) => evaluated,
            Err(error) => return unknown(UnknownReason::Failed(error.to_string())),
        };
        let value = match &evaluated.value {
            Value::Scalar(value) => *value,
            Value::Vector(vector) => match vector.as_slice() {
                [] => return (Err(Verdict::NoData), None),
                [only] => only.value,
                several => return unknown(UnknownReason::SeveralSeries(several.len())),
            },
            Value::Matrix(_) | Value::String(_) => {
                return unknown(UnknownReason::Failed("the expression yields no number".to_owned()));
            }
        };
        let baseline = watch.baselines.get(&(target.clone(), compare.indicator.name.clone()));
        let baseline = baseline.map(|baseline| baseline.value_at(context.at, context.wall_offset));
        let Some(threshold) =
            compare.threshold.value(compare.comparison, baseline.clone().and_then(Result::ok))
        else {
            let why = baseline.and_then(Result::err).unwrap_or_else(|| "none was taken".to_owned());
            return unknown(UnknownReason::NoBaseline(why));
        };
        let evidence = Evidence {
            value,
            threshold: Some(threshold),
            condition: compare.text.clone(),
            shown: shown(value, compare.indicator.unit),
            newest_sample: evaluated.newest_sample,
        };
        match compare.comparison.met(value, threshold) {
            Some(met) => (Ok(met), Some(evidence)),
            // A NaN has no place in a record: JSON knows none, and it is no evidence.
            None => unknown(UnknownReason::NotANumber),
        }
    }
}

fn unknown(why: UnknownReason) -> Measured {
    (Err(Verdict::Unknown(why)), None)
}

/// Returns whether `count` of the parts are met, with the first part that speaks for the answer.
fn at_least(count: usize, parts: Vec<Measured>) -> Measured {
    let met = parts.iter().filter(|(met, _)| *met == Ok(true)).count();
    let missed = parts.iter().filter(|(met, _)| *met == Ok(false)).count();
    let answer = if met >= count {
        Some(true)
    } else if missed + count > parts.len() {
        Some(false)
    } else {
        None
    };
    let speaks = |(met, _): &Measured| match answer {
        Some(answer) => *met == Ok(answer),
        None => met.is_err(),
    };
    parts.into_iter().find(speaks).unwrap_or((Err(Verdict::NoData), None))
}
