//! Imported groups: recording and alerting rules, evaluated as Prometheus evaluates them.
//!
//! A group is evaluated as a whole at one instant, one rule after the other; what a recording rule yields is in the
//! store before the next rule looks. Everything that groups write belongs to the pseudo source [`RULES_SOURCE`]: no
//! `job` is added, and no source may have that name. Nothing in here decides anything: what follows from an alert is the
//! decision half's.
//!
//! Where Prometheus forgets, this does not: alerts survive a restart whatever their `for` (`saved`), and a rule that
//! yields too many alerts fails without ending those that fire.

mod alerts;
mod asked;
mod judged;
mod look;
mod saved;
mod schedule;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use alerts::{ActiveAlert, AlertState};
pub use asked::{Wanted, wanted_by};
pub use judged::SourceStanding;
pub use look::{GroupLook, Health, RuleLook, RuleLookKind};
pub use saved::SavedGroup;
pub use texts::ALERT_NAME;

use crate::engine::model::{Labels, METRIC_NAME, Sample, SourceName, stale_marker};
use crate::engine::promql::{EvalContext, Value, VectorSample};
use crate::engine::rules::{Group, GroupRule, GroupRuleKind, Template};
use crate::engine::series::{Selector, Store};
use crate::engine::time::{Span, Timestamp};
use alerts::{Seen, Terms};

/// The source that the series of recording rules and of alerts belong to. No configured source may have this name.
pub const RULES_SOURCE: &str = "rules";

/// The series that tell the state of alerts, as in Prometheus.
const ALERTS: &str = "ALERTS";

/// The series that tell since when alerts are active, in seconds of Unix time.
const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

/// What names a group: its file, and its name within that file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupId {
    /// The file that declares it.
    pub file: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl GroupId {
    /// Returns the identity of a group.
    pub fn of(group: &Group) -> Self {
        Self { file: Arc::clone(&group.file), name: Arc::clone(&group.name) }
    }
}

/// What an evaluation needs besides rules and samples.
#[derive(Clone, Copy, Debug)]
pub struct GroupContext<'a> {
    /// Wall time minus engine time, for `time()`, `@`, `ALERTS_FOR_STATE` and templates.
    pub wall_offset: Span,
    /// What templates show as `$externalLabels`.
    pub external_labels: &'a Labels,
    /// What templates show as `$externalURL`.
    pub external_url: &'a str,
}

/// What one evaluation of a group gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupOutcome {
    /// Every sample that was written, staleness markers among them: what is worth to be saved.
    pub written: Vec<Sample>,
    /// The rules that failed, by their place in the group, each with the reason.
    pub failed: Vec<(usize, String)>,
}

/// What is remembered of every group: alerts, and which series to end.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    groups: BTreeMap<GroupId, GroupState>,
    /// By recorded metric: the sources that its values come from in the end.
    origins: BTreeMap<Arc<str>, BTreeSet<SourceName>>,
    /// Series of rules that are gone, or from before a restart: they end unless one of the groups that have not been
    /// evaluated since writes them again.
    orphans: BTreeSet<Labels>,
    awaited: BTreeSet<GroupId>,
    /// What the templates of the loaded rules may ask for.
    asked: Vec<Selector>,
}

#[derive(Clone, Debug, Default)]
struct GroupState {
    /// When it was loaded: instants before that are not evaluated.
    since: Timestamp,
    /// The query offset of a group that reads series which no answer has been kept of yet: it is not evaluated.
    held: Option<Span>,
    /// Shifts the instants of evaluation within the interval.
    phase: Span,
    last_evaluated: Option<Timestamp>,
    /// Whether the next evaluation is the first one after a restart.
    resumed: bool,
    rules: BTreeMap<RuleId, RuleState>,
}

/// A rule within its group: the hash of what decides its state, and which of several equal ones it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct RuleId {
    fingerprint: String,
    nth: usize,
}

#[derive(Clone, Debug, Default)]
struct RuleState {
    active: BTreeMap<Labels, ActiveAlert>,
    /// The series that its last good evaluation wrote.
    wrote: BTreeSet<Labels>,
    /// The sources that its selectors have selected from since the rule was loaded.
    reads: BTreeSet<SourceName>,
    /// The last evaluation since this start, failed ones included.
    evaluated_at: Option<Timestamp>,
    /// Why the last evaluation failed, and since when all of them have.
    failing: Option<(Timestamp, String)>,
    /// Which template could not be filled in at the last good evaluation.
    template_failed: Option<String>,
}

impl RuleState {
    /// The one way in which an evaluation of the rule ends.
    fn conclude(&mut self, at: Timestamp, result: &Result<(), String>) {
        self.evaluated_at = Some(at);
        self.failing = match result {
            Ok(()) => None,
            Err(why) => Some((self.failing.as_ref().map_or(at, |(since, _)| *since), why.clone())),
        };
    }
}

/// One evaluation of one group.
struct Evaluation<'a> {
    at: Timestamp,
    /// Where expressions look and what results are stamped with: `query_offset` before `at`.
    seen_at: Timestamp,
    context: &'a GroupContext<'a>,
    asked: &'a [Selector],
}

/// The rules of a group with their identities.
fn numbered(group: &Group) -> impl Iterator<Item = (RuleId, &GroupRule)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    group.rules.iter().map(move |rule| {
        let count = counts.entry(&rule.fingerprint).or_default();
        let id = RuleId { fingerprint: rule.fingerprint.clone(), nth: *count };
        *count += 1;
        (id, rule)
    })
}

impl Groups {
    /// Evaluates a group at an instant: recording rules into `store`, alerts into this.
    ///
    /// Times of evaluation must go forward. A rule that fails keeps its alerts as they are and writes nothing; its series
    /// are not ended, as in Prometheus.
    pub fn evaluate(
        &mut self,
        group: &Group,
        at: Timestamp,
        store: &mut Store,
        context: &GroupContext<'_>,
    ) -> GroupOutcome {
        let id = GroupId::of(group);
        let mut state = self.groups.remove(&id).unwrap_or_default();
        state.resume(at, group.interval);
        let seen_at = at - group.query_offset;
        let mut outcome = GroupOutcome::default();
        for (place, (rule_id, rule)) in numbered(group).enumerate() {
            let known = state.rules.entry(rule_id).or_default();
            known.reads.extend(self.reads(rule, store));
            let evaluation = Evaluation { at, seen_at, context, asked: &self.asked };
            let result = evaluation.rule(group, &id, rule, known, store);
            let result = result.and_then(|samples| self.write(known, samples, seen_at, store, &mut outcome));
            known.conclude(at, &result);
            if let Err(why) = result {
                outcome.failed.push((place, why));
            }
            self.note_origin(rule, &known.reads);
        }
        state.last_evaluated = Some(at);
        self.awaited.remove(&id);
        self.groups.insert(id, state);
        self.end_orphans(seen_at, store, &mut outcome);
        outcome
    }

    /// Iterates over all alerts, ordered by group and rule.
    pub fn alerts(&self) -> impl Iterator<Item = &ActiveAlert> {
        self.groups.values().flat_map(|group| group.rules.values()).flat_map(|rule| rule.active.values())
    }

    /// Appends what a rule yielded and ends what it no longer yields.
    fn write(
        &mut self,
        known: &mut RuleState,
        samples: Vec<Sample>,
        seen_at: Timestamp,
        store: &mut Store,
        outcome: &mut GroupOutcome,
    ) -> Result<(), String> {
        let source = SourceName::from(RULES_SOURCE);
        let mut wrote = BTreeSet::new();
        let mut refused = None;
        for sample in samples {
            self.orphans.remove(&sample.labels);
            if store.append(&source, &sample) {
                wrote.insert(sample.labels.clone());
                outcome.written.push(sample);
                continue;
            }
            let same = |written: &&Sample| written.labels == sample.labels && written.at == sample.at;
            let before = outcome.written.iter().find(same).map(|written| written.value.to_bits());
            if before == Some(sample.value.to_bits()) {
                wrote.insert(sample.labels);
            } else {
                refused.get_or_insert(sample.labels);
            }
        }
        for labels in std::mem::take(&mut known.wrote) {
            if !wrote.contains(&labels) {
                let ended = Sample { labels, at: seen_at, value: stale_marker() };
                if store.append(&source, &ended) {
                    outcome.written.push(ended);
                }
            }
        }
        known.wrote = wrote;
        match refused {
            None => Ok(()),
            Some(labels) => Err(format!("another rule has written {labels} for the same time already")),
        }
    }

    /// Returns the sources that a rule's selectors select from now; recorded series count as what they come from.
    fn reads(&self, rule: &GroupRule, store: &Store) -> BTreeSet<SourceName> {
        let mut reads = BTreeSet::new();
        let mut last = None;
        for id in rule.query.selectors().flat_map(|selector| store.select(selector).into_owned()) {
            let series = &store[id];
            let (source, name) = (series.source(), series.labels().metric_name());
            // Series come ordered by source: mostly the same one again.
            if last.as_ref() == Some(&(source, name)) {
                continue;
            }
            if source.as_str() == RULES_SOURCE {
                reads.extend(self.origins.get(name).into_iter().flatten().cloned());
            } else {
                reads.insert(source.clone());
            }
            last = Some((source, name));
        }
        reads
    }

    /// Remembers where the values under a rule's metrics come from.
    fn note_origin(&mut self, rule: &GroupRule, reads: &BTreeSet<SourceName>) {
        let names: &[&str] = match &rule.kind {
            GroupRuleKind::Record { name } => &[name],
            GroupRuleKind::Alert { .. } => &[ALERTS, ALERTS_FOR_STATE],
        };
        for name in names {
            let known = self.origins.get(*name).is_some_and(|known| known.is_superset(reads));
            if !known {
                self.origins.entry(Arc::from(*name)).or_default().extend(reads.iter().cloned());
            }
        }
    }

    /// Ends the series that nobody has written again, once everybody had the chance to.
    fn end_orphans(&mut self, at: Timestamp, store: &mut Store, outcome: &mut GroupOutcome) {
        if !self.awaited.is_empty() {
            return;
        }
        let source = SourceName::from(RULES_SOURCE);
        for labels in std::mem::take(&mut self.orphans) {
            let ended = Sample { labels, at, value: stale_marker() };
            if store.append(&source, &ended) {
                outcome.written.push(ended);
            }
        }
    }
}

impl Evaluation<'_> {
    /// Evaluates one rule: moves its alerts on, and returns the samples that it yields.
    fn rule(
        &self,
        group: &Group,
        id: &GroupId,
        rule: &GroupRule,
        known: &mut RuleState,
        store: &Store,
    ) -> Result<Vec<Sample>, String> {
        let results = self.results(rule, store)?;
        match &rule.kind {
            GroupRuleKind::Record { name } => self.record(name, rule, results, group.limit),
            GroupRuleKind::Alert { name, hold, keep_firing_for, annotations, .. } => {
                let mut failed = None;
                let seen = self.seen(rule, annotations, &results, store, &mut failed)?;
                known.template_failed = failed;
                let terms = Terms {
                    group: id,
                    rule: name,
                    hold: *hold,
                    keep_firing_for: *keep_firing_for,
                    limit: group.limit,
                };
                alerts::advance(&mut known.active, seen, &terms, self.at)?;
                Ok(known.active.values().flat_map(|alert| self.told(alert)).collect())
            }
        }
    }

    fn results(&self, rule: &GroupRule, store: &Store) -> Result<Vec<VectorSample>, String> {
        let context = EvalContext { wall_offset: self.context.wall_offset, ..EvalContext::at(self.seen_at) };
        let evaluated = rule.query.evaluate(store, &context).map_err(|error| error.to_string())?;
        match evaluated.value {
            Value::Vector(vector) => Ok(vector),
            Value::Scalar(value) => Ok(vec![VectorSample { labels: Labels::empty(), value }]),
            Value::Matrix(_) | Value::String(_) => Err("rule result is not a vector or scalar".to_owned()),
        }
    }

    fn record(
        &self,
        name: &str,
        rule: &GroupRule,
        results: Vec<VectorSample>,
        limit: usize,
    ) -> Result<Vec<Sample>, String> {
        if limit > 0 && results.len() > limit {
            return Err(format!("exceeded limit of {limit} with {} series", results.len()));
        }
        let mut seen = BTreeSet::new();
        let mut samples = Vec::with_capacity(results.len());
        for result in results {
            let named = result.labels.with(METRIC_NAME, name);
            let labels =
                rule.labels.iter().fold(named, |labels, (name, value)| labels.with(name, value.text()));
            if !seen.insert(labels.clone()) {
                return Err(format!(
                    "vector contains metrics with the same labelset after applying rule labels: {labels}"
                ));
            }
            samples.push(Sample { labels, at: self.seen_at, value: result.value });
        }
        Ok(samples)
    }

    /// Returns what an alerting rule's results are as alerts.
    fn seen(
        &self,
        rule: &GroupRule,
        annotations: &[(Arc<str>, Template)],
        results: &[VectorSample],
        store: &Store,
        failed: &mut Option<String>,
    ) -> Result<BTreeMap<Labels, Seen>, String> {
        let mut seen = BTreeMap::new();
        for result in results {
            let labels = self.alert_labels(rule, result, store, failed);
            let annotations = self.annotations(annotations, result, store, failed);
            if seen.insert(labels.clone(), Seen { annotations, value: result.value }).is_some() {
                return Err(format!(
                    "vector contains metrics with the same labelset after applying alert labels: {labels}"
                ));
            }
        }
        Ok(seen)
    }

    /// Returns the samples that tell an alert's state.
    fn told(&self, alert: &ActiveAlert) -> [Sample; 2] {
        let state = alert.labels.with(METRIC_NAME, ALERTS).with("alertstate", &alert.state.to_string());
        let since = alert.labels.with(METRIC_NAME, ALERTS_FOR_STATE);
        let active_ms = (alert.active_at + self.context.wall_offset).as_millis();
        [
            Sample { labels: state, at: self.seen_at, value: 1.0 },
            // Whole seconds, as in Prometheus.
            Sample { labels: since, at: self.seen_at, value: active_ms.div_euclid(1000) as f64 },
        ]
    }
}

#[cfg(test)]
mod tests;
