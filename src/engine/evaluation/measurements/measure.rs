//! Conditions on what is remembered: whether they are met, for which series, and on what evidence.
//!
//! Kleene's logic throughout: what is not known matters only where it could change the answer.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use super::Measurements;
use crate::engine::evaluation::shown::shown;
use crate::engine::evaluation::verdict::{Evidence, UnknownReason, Verdict};
use crate::engine::evaluation::watch::Watch;
use crate::engine::model::{Labels, SourceName, TargetName, is_stale_marker};
use crate::engine::promql::{EvalContext, EvalError, Evaluated, Value, VectorSample};
use crate::engine::rules::{Across, Compare, Condition, Indicator, Test};
use crate::engine::series::Store;
use crate::engine::time::{Span, Timestamp};

/// Whether something is met, or the verdict that stands in place of an answer; and what it rests on.
pub(super) type Measured = (Result<bool, Verdict>, Option<Evidence>);

/// A value is stale when it is older than so many intervals of its slowest source, ...
const STALE_INTERVALS: i64 = 3;
/// ... and than this: exporters that hand on what others measured lag behind.
const STALE_MIN: Span = Span::from_secs(60);

/// With which eyes conditions are looked at.
#[derive(Clone, Copy)]
pub(super) struct Eyes<'a> {
    /// Whose baselines count.
    pub(super) target: &'a TargetName,
    pub(super) watch: &'a Watch<'a>,
    pub(super) context: &'a EvalContext,
    /// What was seen with these eyes already.
    pub(super) seen: &'a Seen,
}

/// What indicators have given, for one context and as long as nothing goes into the store: one that several conditions
/// read is evaluated once.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By the indicator's place in memory, which is looked up and never iterated over (E1).
    given: RefCell<BTreeMap<*const Indicator, Rc<Result<Evaluated, EvalError>>>>,
}

impl Seen {
    fn evaluate(
        &self,
        indicator: &Arc<Indicator>,
        store: &Store,
        context: &EvalContext,
    ) -> Rc<Result<Evaluated, EvalError>> {
        let mut given = self.given.borrow_mut();
        let evaluate = || Rc::new(indicator.query.evaluate(store, context));
        Rc::clone(given.entry(Arc::as_ptr(indicator)).or_insert_with(evaluate))
    }
}

/// What a condition says about each label set that it yields.
pub(super) struct PerSeries {
    /// By the labels that tell them apart; one entry without labels where there is one answer for all.
    pub(super) each: BTreeMap<Labels, Measured>,
    /// What it says about label sets that are not there.
    pub(super) rest: Measured,
}

/// What one comparison yields.
struct Answers {
    each: BTreeMap<Labels, Measured>,
    rest: Measured,
}

impl Answers {
    fn all(measured: Measured) -> Self {
        Self { each: BTreeMap::new(), rest: measured }
    }

    /// An answer without labels speaks for every label set.
    fn at(&self, labels: &Labels) -> Measured {
        let shared = || self.each.get(&Labels::empty());
        self.each.get(labels).or_else(shared).unwrap_or(&self.rest).clone()
    }
}

impl Measurements {
    /// Returns whether a condition of one series is met, with the evidence of the comparison that decided.
    pub(super) fn measure(&self, condition: &Condition, eyes: Eyes<'_>) -> Measured {
        self.measure_across(condition, &Across::One, eyes)
    }

    /// Returns whether a condition is met over all its series.
    pub(super) fn measure_across(&self, condition: &Condition, across: &Across, eyes: Eyes<'_>) -> Measured {
        let PerSeries { each, rest } = self.measure_each(condition, across, eyes);
        let (needed, of) = match across {
            Across::One | Across::Per(_) => return each.into_values().next().unwrap_or(rest),
            // A series that could not be seen may be the one that is bad: it is one more part, unknown.
            _ if each.is_empty() => return rest,
            Across::Any => (1, 0),
            Across::All => (each.len(), 0),
            Across::Quorum { count, of } => (to_usize(*count), to_usize(*of)),
        };
        if of > 0 && each.len() > of {
            return unknown(UnknownReason::SeveralSeries(each.len()));
        }
        let is_hidden = matches!(rest.0, Err(Verdict::Unknown(_)));
        let missing = if of > 0 { of - each.len() } else { usize::from(is_hidden) };
        let needed = if matches!(across, Across::All) { needed + missing } else { needed };
        let parts = each.into_values().chain(std::iter::repeat_n(rest, missing));
        at_least(needed, parts.collect())
    }

    /// Returns what a condition says about each label set.
    pub(super) fn measure_each(&self, condition: &Condition, across: &Across, eyes: Eyes<'_>) -> PerSeries {
        let compares = condition.compares();
        let answers: Vec<Answers> =
            compares.into_iter().map(|compare| self.compare(compare, across, eyes)).collect();
        let mut keys: BTreeSet<&Labels> = answers.iter().flat_map(|answers| answers.each.keys()).collect();
        let nobody = Labels::empty();
        if keys.len() > 1 {
            keys.remove(&nobody);
        }
        let fold = |labels: &Labels| {
            let mut answers = answers.iter().map(|answers| answers.at(labels));
            test(&condition.test, &mut answers)
        };
        let each = keys.into_iter().map(|labels| (labels.clone(), fold(labels))).collect();
        let mut missing = answers.iter().map(|answers| {
            answers.each.get(&nobody).filter(|_| answers.each.len() == 1).unwrap_or(&answers.rest).clone()
        });
        let rest = test(&condition.test, &mut missing);
        PerSeries { each, rest }
    }

    fn compare(&self, compare: &Compare, across: &Across, eyes: Eyes<'_>) -> Answers {
        let failing = self.failing_sources(compare, eyes.context);
        let hidden = failing.first_key_value().map(|(_, why)| unknown(why.clone()));
        if let (Some(hidden), Across::One) = (&hidden, across) {
            return Answers::all(hidden.clone());
        }
        let evaluated = eyes.seen.evaluate(&compare.indicator, &self.store, eyes.context);
        let evaluated = match evaluated.as_ref() {
            Ok(evaluated) => evaluated,
            Err(error) => return Answers::all(unknown(UnknownReason::Failed(error.to_string()))),
        };
        let threshold = match threshold(compare, eyes) {
            Ok(threshold) => threshold,
            Err(why) => return Answers::all(unknown(UnknownReason::NoBaseline(why))),
        };
        let stale = self.staleness(compare, evaluated, eyes);
        let measured = |value: f64, labels: &Labels| match &stale {
            Some(why) => unknown(why.clone()),
            None => weigh(compare, value, threshold, labels, evaluated.newest_sample),
        };
        let vector = match &evaluated.value {
            Value::Scalar(value) if failing.is_empty() => {
                return Answers::all(measured(*value, &Labels::empty()));
            }
            Value::Scalar(_) => &[],
            Value::Vector(vector) => vector.as_slice(),
            Value::Matrix(_) | Value::String(_) => {
                let why = UnknownReason::Failed("the expression yields no number".to_owned());
                return Answers::all(unknown(why));
            }
        };
        // Where a source fails, only what is told to come from another one is whole.
        let is_whole = |sample: &&VectorSample| {
            failing.is_empty()
                || sample.labels.get("job").is_some_and(|job| failing.keys().all(|name| name.as_str() != job))
        };
        let mut groups: BTreeMap<Labels, Vec<&VectorSample>> = BTreeMap::new();
        for sample in vector.iter().filter(is_whole) {
            groups.entry(key(&sample.labels, across)).or_default().push(sample);
        }
        let each = groups.into_iter().map(|(labels, samples)| {
            let measured = match samples.as_slice() {
                [only] => measured(only.value, &only.labels),
                several => unknown(UnknownReason::SeveralSeries(several.len())),
            };
            (labels, measured)
        });
        let absent = || match self.ended(compare, eyes.context.at) {
            Some(why) => unknown(why),
            None => (Err(Verdict::NoData), None),
        };
        Answers { each: each.collect(), rest: hidden.unwrap_or_else(absent) }
    }

    /// Returns the sources of a comparison that do not answer, each with the reason that it gives for not knowing.
    fn failing_sources(
        &self,
        compare: &Compare,
        context: &EvalContext,
    ) -> BTreeMap<SourceName, UnknownReason> {
        let mut failing = BTreeMap::new();
        for source in compare.indicator.sources() {
            let source = context.read_instead.get(&source).cloned().unwrap_or(source);
            let why = match self.heard.get(&source).and_then(|hearing| hearing.last.as_ref()) {
                Some(Ok(())) => continue,
                Some(Err(failure)) => {
                    UnknownReason::SourceFailed { source: source.clone(), failure: failure.clone() }
                }
                None => UnknownReason::NotYetHeard { source: source.clone() },
            };
            failing.insert(source, why);
        }
        failing
    }

    /// Returns why a value is too old to be believed, if it is: exporters that set timestamps of their own can show the
    /// same sample for minutes.
    fn staleness(&self, compare: &Compare, evaluated: &Evaluated, eyes: Eyes<'_>) -> Option<UnknownReason> {
        // An expression that looks back on purpose is as old as it wants to be.
        if compare.indicator.text.contains("offset") {
            return None;
        }
        let paces =
            compare.indicator.sources().into_iter().filter_map(|source| eyes.watch.paces.get(&source));
        let slowest = paces.map(|pace| pace.every).max().unwrap_or(Span::ZERO);
        let age = eyes.context.at.since(evaluated.newest_sample?);
        (age > slowest.times(STALE_INTERVALS).max(STALE_MIN)).then_some(UnknownReason::Stale { age })
    }

    /// Returns that there was something and is no longer, if all that the comparison selects has ended.
    fn ended(&self, compare: &Compare, now: Timestamp) -> Option<UnknownReason> {
        let mut youngest = None;
        for selector in compare.indicator.query.selectors() {
            for id in self.store.select(selector).iter() {
                let last = self.store.last(*id)?;
                if !is_stale_marker(last.value) {
                    return None;
                }
                youngest = youngest.max(Some(last.at));
            }
        }
        youngest.map(|at| UnknownReason::Stale { age: now.since(at) })
    }
}

/// Returns the labels by which series are told apart.
fn key(labels: &Labels, across: &Across) -> Labels {
    match across {
        Across::One => Labels::empty(),
        Across::Per(names) => labels.filtered(|name| names.iter().any(|wanted| wanted == name)),
        Across::Any | Across::All | Across::Quorum { .. } => labels.without_name(),
    }
}

fn threshold(compare: &Compare, eyes: Eyes<'_>) -> Result<f64, String> {
    let name = (eyes.target.clone(), compare.indicator.name.clone());
    let baseline = eyes.watch.baselines.get(&name);
    let baseline = baseline.map(|known| known.value_at(eyes.context.at, eyes.watch.wall_offset));
    match (compare.threshold.value(compare.comparison, baseline.clone().and_then(Result::ok)), baseline) {
        (Some(threshold), _) => Ok(threshold),
        (None, Some(Err(why))) => Err(why),
        (None, _) => Err("none was taken".to_owned()),
    }
}

fn weigh(
    compare: &Compare,
    value: f64,
    threshold: f64,
    labels: &Labels,
    newest_sample: Option<Timestamp>,
) -> Measured {
    match compare.comparison.met(value, threshold) {
        Some(met) => {
            let evidence = Evidence {
                value,
                threshold: Some(threshold),
                condition: compare.text.clone(),
                shown: shown(value, compare.indicator.unit),
                newest_sample,
                labels: labels.clone(),
            };
            (Ok(met), Some(evidence))
        }
        // A NaN has no place in a record: JSON knows none, and it is no evidence.
        None => unknown(UnknownReason::NotANumber),
    }
}

/// Folds a condition over what its comparisons say, in the order of the text.
fn test(test_of: &Test, answers: &mut dyn Iterator<Item = Measured>) -> Measured {
    let mut each = |parts: &[Test]| -> Vec<Measured> {
        let mut measured = Vec::new();
        for part in parts {
            measured.push(test(part, answers));
        }
        measured
    };
    match test_of {
        Test::All(parts) => at_least(parts.len(), each(parts)),
        Test::Any(parts) => at_least(1, each(parts)),
        Test::AtLeast { count, of } => at_least(*count, each(of)),
        Test::Compare(_) => answers.next().unwrap_or((Err(Verdict::NoData), None)),
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

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
