//! Objectives and error budgets: what is booked, how well promises are kept, and what of it is told as series.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::Measurements;
use super::judge::key_of;
use super::measure::{Eyes, Seen};
use crate::engine::evaluation::budget::{Events, Ledger};
use crate::engine::evaluation::look::{BudgetLook, BurnLook, ObjectiveLook, PromiseLook};
use crate::engine::evaluation::own::OWN_SOURCE;
use crate::engine::evaluation::score::{Share, Standing, score};
use crate::engine::evaluation::shown::shown;
use crate::engine::evaluation::verdict::{Evidence, UnknownReason, Verdict};
use crate::engine::evaluation::watch::Watch;
use crate::engine::model::{BudgetName, Labels, METRIC_NAME, Sample, SourceName, TargetName};
use crate::engine::promql::{EvalContext, Plan as QueryPlan, Value};
use crate::engine::rules::{Budget, BurnRate, Condition, Objectives, Promise, Trigger, Unit};
use crate::engine::time::{Span, Timestamp};

/// How many changes of a score are remembered; older ones are forgotten first.
const SCORES_REMEMBERED: usize = 1000;

/// What is remembered of promises: counted events, and the scores of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    meters: BTreeMap<(TargetName, BudgetName), Meter>,
    scores: BTreeMap<TargetName, VecDeque<(Timestamp, f64)>>,
}

/// What a budget has counted.
#[derive(Clone, Debug)]
struct Meter {
    fingerprint: String,
    ledger: Ledger,
    /// Why it could not be counted last time, if it could not.
    blind: Option<Verdict>,
}

/// What of promises outlives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedPromises {
    /// The budgets' events.
    pub budgets: Vec<SavedBudget>,
    /// Scores of late by target, oldest first; each holds until the next.
    pub scores: Vec<(TargetName, Vec<(Timestamp, f64)>)>,
}

/// One budget's events, as they are saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedBudget {
    /// Whose.
    pub target: TargetName,
    /// Its name.
    pub budget: BudgetName,
    /// The hash of what was counted; other events are not taken up.
    pub fingerprint: String,
    /// The events.
    pub ledger: Ledger,
}

impl Promises {
    /// Forgets what no rule asks for any more.
    pub(super) fn retain(&mut self, watch: &Watch<'_>) {
        let budgets = &watch.rules.budgets;
        self.meters.retain(|key, meter| {
            budgets.get(key).is_some_and(|budget| budget.fingerprint == meter.fingerprint)
        });
        self.scores.retain(|target, _| watch.rules.objectives.contains_key(target));
    }

    pub(super) fn saved(&self) -> SavedPromises {
        let budgets = self.meters.iter().map(|((target, budget), meter)| SavedBudget {
            target: target.clone(),
            budget: budget.clone(),
            fingerprint: meter.fingerprint.clone(),
            ledger: meter.ledger.clone(),
        });
        let scores = self.scores.iter();
        SavedPromises {
            budgets: budgets.collect(),
            scores: scores.map(|(target, past)| (target.clone(), past.iter().copied().collect())).collect(),
        }
    }

    pub(super) fn restore(&mut self, saved: SavedPromises, watch: &Watch<'_>) {
        for SavedBudget { target, budget, fingerprint, ledger } in saved.budgets {
            self.meters.insert((target, budget), Meter { fingerprint, ledger, blind: None });
        }
        self.scores.extend(saved.scores.into_iter().map(|(target, past)| (target, past.into())));
        self.retain(watch);
    }
}

impl Measurements {
    /// Returns every expression that budgets read, beside those of triggers.
    pub(super) fn budget_queries<'w>(watch: &'w Watch<'_>) -> impl Iterator<Item = &'w QueryPlan> {
        watch.rules.budgets.values().flat_map(|budget| [&budget.good, &budget.total])
    }

    /// Returns every condition of promises, beside those of triggers.
    pub(super) fn promised<'w>(watch: &'w Watch<'_>) -> impl Iterator<Item = &'w Condition> {
        let promises = watch.rules.objectives.values().flat_map(|objectives| &objectives.promises);
        promises.flat_map(|promise| std::iter::once(&promise.keep).chain(&promise.warn))
    }

    /// Books what the budgets' counters grew by.
    pub(super) fn count_events(&mut self, heard: &SourceName, watch: &Watch<'_>, now: Timestamp) {
        for (key, budget) in &watch.rules.budgets {
            if !budget.sources.contains(heard) {
                continue;
            }
            let counted = self.counters(budget, watch, now);
            let meter = self.promises.meters.entry(key.clone()).or_insert_with(|| Meter {
                fingerprint: budget.fingerprint.clone(),
                ledger: Ledger::default(),
                blind: None,
            });
            match counted {
                Ok((good, total)) => {
                    meter.ledger.observe(now, good, total, budget.max_gap, budget.period);
                    meter.blind = None;
                }
                Err(why) => meter.blind = Some(why),
            }
        }
    }

    fn counters(&self, budget: &Budget, watch: &Watch<'_>, now: Timestamp) -> Result<(f64, f64), Verdict> {
        for source in &budget.sources {
            let last = self.heard.get(source).and_then(|hearing| hearing.last.clone());
            let source = source.clone();
            match last {
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    return Err(Verdict::Unknown(UnknownReason::SourceFailed { source, failure }));
                }
                None => return Err(Verdict::Unknown(UnknownReason::NotYetHeard { source })),
            }
        }
        let context = EvalContext { wall_offset: watch.wall_offset, ..EvalContext::at(now) };
        Ok((self.counter(&budget.good, &context)?, self.counter(&budget.total, &context)?))
    }

    fn counter(&self, query: &QueryPlan, context: &EvalContext) -> Result<f64, Verdict> {
        let failed = |why: String| Verdict::Unknown(UnknownReason::Failed(why));
        let evaluated = query.evaluate(&self.store, context).map_err(|error| failed(error.to_string()))?;
        let value = match &evaluated.value {
            Value::Scalar(value) => *value,
            Value::Vector(vector) => match vector.as_slice() {
                [] => return Err(Verdict::NoData),
                [only] => only.value,
                several => return Err(Verdict::Unknown(UnknownReason::SeveralSeries(several.len()))),
            },
            Value::Matrix(_) | Value::String(_) => {
                return Err(failed("the expression yields no number".to_owned()));
            }
        };
        if value.is_finite() { Ok(value) } else { Err(Verdict::Unknown(UnknownReason::NotANumber)) }
    }

    /// Returns whether a budget burns too fast, with the rate of its long window.
    pub(super) fn burns(
        &self,
        rule: &Trigger,
        rate: &BurnRate,
        watch: &Watch<'_>,
        now: Timestamp,
    ) -> (Result<bool, Verdict>, Option<Evidence>) {
        let key = (rule.target.clone(), rate.budget.clone());
        let (Some(budget), Some(meter)) = (watch.rules.budgets.get(&key), self.promises.meters.get(&key))
        else {
            return (Err(Verdict::NoData), None);
        };
        if let Some(why) = &meter.blind {
            return (Err(why.clone()), None);
        }
        let look = burn_look(budget, rate, &meter.ledger, now);
        let evidence = look.long_rate.map(|long| Evidence {
            value: long,
            threshold: Some(rate.above),
            condition: rule.when.text.clone(),
            shown: told(&look),
            newest_sample: Some(now),
            labels: Labels::empty(),
        });
        (Ok(look.burns), evidence)
    }

    /// Keeps the scores that this observation may have changed.
    pub(super) fn keep_scores(&mut self, heard: &SourceName, watch: &Watch<'_>, now: Timestamp) {
        for (target, objectives) in &watch.rules.objectives {
            let reads = |promise: &Promise| rule_of(objectives, promise, watch);
            let mut rules = objectives.promises.iter().filter_map(reads);
            if !rules.any(|rule| rule.sources.contains(heard)) {
                continue;
            }
            let Some(now_scored) = self.objective_look(objectives, watch, now).score else { continue };
            let past = self.promises.scores.entry(target.clone()).or_default();
            if past.back().is_none_or(|(_, last)| (*last - now_scored).abs() > f64::EPSILON) {
                past.push_back((now, now_scored));
            }
            // The last one from before the window still held when it began.
            let start = now - objectives.window;
            while past.len() > SCORES_REMEMBERED || past.get(1).is_some_and(|(at, _)| *at <= start) {
                past.pop_front();
            }
        }
    }

    /// Returns how well every target keeps its promises.
    pub fn objectives(&self, watch: &Watch<'_>, now: Timestamp) -> Vec<ObjectiveLook> {
        let all = watch.rules.objectives.values();
        all.map(|objectives| self.objective_look(objectives, watch, now)).collect()
    }

    fn objective_look(&self, objectives: &Objectives, watch: &Watch<'_>, now: Timestamp) -> ObjectiveLook {
        let look = |promise: &Promise| {
            let (standing, seen) = self.kept(objectives, promise, watch, now)?;
            let share = Share {
                standing,
                severity: promise.severity,
                weight: promise.weight,
                is_key: promise.is_key,
            };
            let (name, keep) = (promise.name.clone(), promise.keep.text.clone());
            Some((share, PromiseLook { name, keep, severity: promise.severity, standing, seen }))
        };
        // Before every promise was looked at once, there is nothing to score: time before the first answer is not absence.
        let all: Option<Vec<(Share, PromiseLook)>> = objectives.promises.iter().map(look).collect();
        let (shares, promises): (Vec<_>, Vec<_>) = all.unwrap_or_default().into_iter().unzip();
        let now_scored = score(&objectives.scoring, &shares);
        let past = self.promises.scores.get(&objectives.target).into_iter().flatten();
        let lowest = past.map(|(_, score)| *score).chain(now_scored).min_by(f64::total_cmp);
        ObjectiveLook {
            target: objectives.target.clone(),
            score: now_scored,
            lowest,
            window: objectives.window,
            promises,
        }
    }

    /// Returns how well a promise is kept, and on what evidence; `None` before it was judged once.
    fn kept(
        &self,
        objectives: &Objectives,
        promise: &Promise,
        watch: &Watch<'_>,
        now: Timestamp,
    ) -> Option<(Standing, String)> {
        let rule = rule_of(objectives, promise, watch)?;
        let (verdict, evidence, _) = self.windows.get(&key_of(rule, Labels::empty()))?.last.as_ref()?;
        let silent = rule.sources.iter().find(|source| {
            let heard = self.heard.get(*source).and_then(|hearing| hearing.last_good);
            let pace = watch.paces.get(*source);
            pace.is_some_and(|pace| heard.is_none_or(|last| now.since(last) >= pace.silent_after))
        });
        if let Some(source) = silent {
            return Some((Standing::Unknown, format!("source {source} is silent")));
        }
        let measured = || evidence.as_ref().map_or(String::new(), |evidence| evidence.shown.clone());
        Some(match verdict {
            Verdict::Breached => (Standing::Broken, measured()),
            Verdict::NoData => (Standing::Unknown, "no data".to_owned()),
            Verdict::Unknown(why) => (Standing::Unknown, why.to_string()),
            Verdict::Holds if promise.warn.is_none() => (Standing::Kept, measured()),
            // One of both is met; which one decides between whole and half.
            Verdict::Holds => {
                let context = EvalContext { wall_offset: watch.wall_offset, ..EvalContext::at(now) };
                let eyes = Eyes { target: &rule.target, watch, context: &context, seen: &Seen::default() };
                let (kept, evidence) = self.measure(&promise.keep, eyes);
                let shown = evidence.map_or_else(measured, |evidence| evidence.shown);
                (if kept == Ok(true) { Standing::Kept } else { Standing::Warned }, shown)
            }
        })
    }

    /// Returns what every error budget looks like.
    pub fn budgets(&self, watch: &Watch<'_>, now: Timestamp) -> Vec<BudgetLook> {
        let look = |(key, budget): (&(TargetName, BudgetName), &std::sync::Arc<Budget>)| {
            let nothing = Ledger::default();
            let meter = self.promises.meters.get(key);
            let ledger = meter.map_or(&nothing, |meter| &meter.ledger);
            let Events { total, errors } = ledger.within(budget.period, now);
            let burn_rates = watch.rules.triggers.values().filter(|rule| rule.target == key.0);
            let burn_rates = burn_rates.filter_map(|rule| rule.burn_rate.as_ref());
            BudgetLook {
                target: budget.target.clone(),
                budget: budget.name.clone(),
                objective: budget.objective,
                period: budget.period,
                total,
                errors,
                remaining: budget.burn_rate(errors, total).map(|spent| 1.0 - spent),
                blind: meter.and_then(|meter| meter.blind.clone()),
                burn_rates: burn_rates
                    .filter(|rate| rate.budget == budget.name)
                    .map(|rate| burn_look(budget, rate, ledger, now))
                    .collect(),
            }
        };
        watch.rules.budgets.iter().map(look).collect()
    }

    /// Returns what Rearguard's own source tells of promises and budgets; what is not known has no sample.
    pub fn own_samples(&self, watch: &Watch<'_>, now: Timestamp) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut add = |name: &str, target: &TargetName, more: &[(&str, &str)], value: f64| {
            let own = [(METRIC_NAME, name), ("job", OWN_SOURCE), ("target", target.as_str())];
            let labels = Labels::from_pairs(own.into_iter().chain(more.iter().copied()));
            samples.push(Sample { labels, value, at: now });
        };
        for look in self.objectives(watch, now) {
            let Some(score) = look.score else { continue };
            add("rearguard_compliance_score", &look.target, &[], score);
            for promise in &look.promises {
                let met = match promise.standing {
                    Standing::Kept => 1.0,
                    Standing::Warned | Standing::Broken => 0.0,
                    Standing::Unknown => continue,
                };
                add("rearguard_objective_met", &look.target, &[("objective", &promise.name)], met);
            }
        }
        for look in self.budgets(watch, now) {
            let budget = look.budget.as_str();
            if let Some(remaining) = look.remaining {
                add("rearguard_error_budget_remaining_ratio", &look.target, &[("budget", budget)], remaining);
            }
            let rates = look.burn_rates.iter();
            let windows: BTreeMap<Span, f64> = rates
                .flat_map(|rate| [(rate.long, rate.long_rate), (rate.short, rate.short_rate)])
                .filter_map(|(window, rate)| Some((window, rate?)))
                .collect();
            for (window, rate) in windows {
                let window = window.to_string();
                let labels = [("budget", budget), ("window", window.as_str())];
                add("rearguard_error_budget_burn_rate", &look.target, &labels, rate);
            }
        }
        samples
    }
}

fn rule_of<'w>(objectives: &Objectives, promise: &Promise, watch: &Watch<'w>) -> Option<&'w Trigger> {
    let key = (objectives.target.clone(), promise.trigger.clone());
    watch.rules.triggers.get(&key).map(|rule| &**rule)
}

fn burn_look(budget: &Budget, rate: &BurnRate, ledger: &Ledger, now: Timestamp) -> BurnLook {
    let burned = |window: Span| {
        let Events { total, errors } = ledger.within(window, now);
        budget.burn_rate(errors, total)
    };
    let Events { total, errors } = ledger.within(rate.long, now);
    let (long_rate, short_rate) = (burned(rate.long), burned(rate.short));
    let enough = total >= budget.min_events && errors >= budget.min_errors;
    let above = |rate_now: Option<f64>| rate_now.is_some_and(|rate_now| rate_now > rate.above);
    BurnLook {
        long: rate.long,
        short: rate.short,
        above: rate.above,
        long_rate,
        short_rate,
        total,
        errors,
        enough,
        burns: enough && above(long_rate) && above(short_rate),
    }
}

fn told(look: &BurnLook) -> String {
    let rate = |rate: Option<f64>| rate.map_or("nothing".to_owned(), |rate| shown(rate, Unit::Count));
    format!(
        "{} over {} and {} over {} ({} of {} events bad)",
        rate(look.long_rate),
        look.long,
        rate(look.short_rate),
        look.short,
        look.errors.round(),
        look.total.round()
    )
}
