//! The measurement half: what is remembered of samples and windows, and how an observation becomes verdicts.
//!
//! None of this is event-sourced. It is rebuilt after a restart from recorded observations and saved windows; what is
//! lost on the way is a gap, and a gap proves nothing (E6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::groups::{Groups, RULES_SOURCE};
use super::look::{SourceLook, TriggerLook};
use super::saved::SavedMeasurements;
use super::scopes::Outside;
use super::verdict::{CheckVerdict, Judged, Judgement, ProbeSeen, Silence, TriggerKey, Verdict, WindowFill};
use super::watch::{Check, Watch};
use crate::engine::model::{IndicatorName, Labels, Sample, SourceName, TargetName, TriggerName};
use crate::engine::promql::EvalContext;
use crate::engine::rules::{Across, Condition, Indicator, Trigger};
use crate::engine::series::{FailureKind, Interest, Observation, Selector, SourceFailure, Sources, Store};
use crate::engine::time::{Span, Timestamp};
use judge::{Watched, Windows, key_of};
use measure::{Eyes, Seen};
use promises::Promises;
pub use promises::{SavedBudget, SavedPromises};
use versions::version_selector;

pub use hours::Hours;

/// How long samples are kept at least: Prometheus' lookback, so that `status` can show the last value of anything.
const MIN_RETENTION: Span = Span::from_secs(5 * 60);

/// A window older than this says nothing about now; beyond it, windows are dropped at a restart.
pub const MAX_RESTORE_GAP: Span = Span::from_secs(3600);

/// What is remembered of samples and windows.
#[derive(Clone, Debug)]
pub struct Measurements {
    pub(in crate::engine) store: Store,
    windows: Windows,
    heard: BTreeMap<SourceName, Hearing>,
    retention: Span,
    /// The newest observation: answers that come late are judged no earlier than what was judged before them.
    newest: Timestamp,
    /// What is promised.
    promises: Promises,
    /// The imported groups.
    groups: Groups,
    /// Since when every source has answered or failed; no group is evaluated before.
    ready: Option<Timestamp>,
    /// The sources that have neither answered nor failed since a reload began to need series that were not kept: until
    /// then the absence of those series says nothing.
    unseen: BTreeSet<SourceName>,
    /// What groups have written and nobody has fetched yet.
    recorded: Vec<Observation>,
    /// The indicators whose hours of the day are kept.
    hourly_indicators: Vec<((TargetName, IndicatorName), Arc<Indicator>)>,
    /// What they are at each hour.
    hours: BTreeMap<(TargetName, IndicatorName), Hours>,
    /// The triggers that are not judged now.
    outside: BTreeMap<(TargetName, TriggerName), Outside>,
    /// When series that groups wrote were last looked through for old points.
    retained: Timestamp,
}

/// What is known of a source since this start.
#[derive(Clone, Debug)]
struct Hearing {
    asked_since: Timestamp,
    last_good: Option<Timestamp>,
    /// Since when every answer has been good.
    good_since: Option<Timestamp>,
    /// The second of those answers: from there on a rate over them has a value.
    settled_at: Option<Timestamp>,
    last: Option<Result<(), SourceFailure>>,
    /// What a probe answered last; `None` where it could not ask.
    probe: Option<ProbeSeen>,
}

impl Measurements {
    /// Makes an empty memory; every source counts as asked from `now` on.
    pub fn new(watch: &Watch<'_>, now: Timestamp) -> Self {
        let mut new = Self {
            store: Store::new(watch.memory.limits, MIN_RETENTION),
            windows: Windows::new(),
            heard: BTreeMap::new(),
            retention: MIN_RETENTION,
            newest: now,
            promises: Promises::default(),
            groups: Groups::default(),
            ready: None,
            unseen: BTreeSet::new(),
            recorded: Vec::new(),
            hourly_indicators: Vec::new(),
            hours: BTreeMap::new(),
            outside: BTreeMap::new(),
            retained: now,
        };
        new.rewatch(watch, &[], now);
        new
    }

    /// Takes other rules and sources into force. Windows of unchanged rules stay as they are.
    ///
    /// `read_instead` lists what verifications read in place of other sources; those series are kept as well. Returns
    /// what of the sources' series was not kept until now: it starts empty.
    pub fn rewatch(
        &mut self,
        watch: &Watch<'_>,
        read_instead: &[(&Condition, &BTreeMap<SourceName, SourceName>)],
        now: Timestamp,
    ) -> Vec<Selector> {
        let mut selectors: Vec<Selector> = Vec::new();
        let mut retention = MIN_RETENTION;
        let relative = freezing::compared(watch.rules.triggers.values().flat_map(|rule| rule.conditions()));
        for indicator in relative {
            retention = retention.max(indicator.query.reach() + indicator.baseline.over);
        }
        let plain = watch.rules.triggers.values().flat_map(|trigger| trigger.conditions());
        let all = plain.chain(read_instead.iter().map(|(condition, _)| *condition));
        for compare in all.chain(Self::promised(watch)).flat_map(Condition::compares) {
            selectors.extend(compare.indicator.query.selectors().cloned());
            retention = retention.max(compare.indicator.query.reach());
        }
        for (condition, moved) in read_instead {
            let elsewhere = Sources::Only(moved.values().cloned().collect());
            let queries = condition.compares().into_iter().map(|compare| &compare.indicator.query);
            let selected = queries.flat_map(|query| query.selectors());
            selectors.extend(selected.map(|selector| selector.over(elsewhere.clone())));
        }
        for query in Self::budget_queries(watch) {
            selectors.extend(query.selectors().cloned());
            retention = retention.max(query.reach());
        }
        retention = retention.max(self.watch_groups(watch, &mut selectors, now));
        selectors.extend(watch.versions.iter().filter_map(|(_, detect)| version_selector(detect)));
        selectors.extend_from_slice(&watch.memory.keep);
        selectors.sort_by(|left, right| left.key().cmp(right.key()));
        selectors.dedup();
        let begun = self.not_kept_yet(&selectors);
        self.unseen.retain(|source| watch.paces.contains_key(source));
        if !begun.is_empty() {
            self.unseen = watch.paces.keys().cloned().collect();
        }
        self.retention = retention;
        self.store.set_limits(watch.memory.limits, retention);
        self.store.set_interest(Interest::Selectors(selectors));

        let gone: Vec<_> =
            self.heard.keys().filter(|name| !watch.paces.contains_key(*name)).cloned().collect();
        for source in gone {
            self.heard.remove(&source);
            self.store.remove_source(&source);
        }
        for source in watch.paces.keys() {
            let new = || Hearing {
                asked_since: now,
                last_good: None,
                good_since: None,
                settled_at: None,
                last: None,
                probe: None,
            };
            self.heard.entry(source.clone()).or_insert_with(new);
        }
        self.note_ready(now);
        self.promises.retain(watch);
        self.keep_hours(watch.rules);
        self.outside.retain(|id, _| watch.rules.triggers.get(id).is_some_and(|rule| !rule.during.is_empty()));
        self.windows.retain(|key, watched| {
            let rule = watch.rules.triggers.get(&(key.target.clone(), key.trigger.clone()));
            rule.is_some_and(|rule| rule.fingerprint == watched.fingerprint)
        });
        begun
    }

    /// Takes up what was saved before a restart: windows, alerts, and the observations that they were judged on.
    ///
    /// Sources stay unheard: nothing is judged before they have answered anew.
    pub fn restore(&mut self, saved: SavedMeasurements, observations: &[Observation], watch: &Watch<'_>) {
        for observation in observations {
            if observation.source.as_str() == RULES_SOURCE {
                self.restore_recorded(observation);
                continue;
            }
            // What went in before the restart goes in again; the bound on series held then, too.
            if let Err(too_many) = self.store.ingest(observation) {
                let failed = Self::failed_by(observation, too_many.to_string());
                self.ingest_failure(&failed);
            }
        }
        self.store.restarted();
        self.promises.restore(saved.promises, watch);
        self.restore_hours(saved.hours);
        self.groups.restore(saved.groups, self.newest, &self.store);
        for saved in saved.windows {
            let rule = watch.rules.triggers.get(&(saved.key.target.clone(), saved.key.trigger.clone()));
            if rule.is_some_and(|rule| rule.fingerprint == saved.fingerprint) {
                let (key, watched) = Watched::restored(saved);
                self.windows.insert(key, watched);
            }
        }
    }

    /// Returns every window that is not empty and every group, to be saved.
    pub fn saved(&self) -> SavedMeasurements {
        let windows = self.windows.iter().filter_map(|(key, watched)| watched.saved(key));
        SavedMeasurements {
            windows: windows.collect(),
            groups: self.groups.saved(),
            hours: self.hours.iter().map(|(key, hours)| (key.clone(), hours.clone())).collect(),
            promises: self.promises.saved(),
        }
    }

    /// Takes in one observation and judges whatever needs its source.
    pub fn observe(&mut self, observation: &Observation, watch: &Watch<'_>) -> Judged {
        self.newest = self.newest.max(observation.at);
        let now = self.newest;
        let source = &observation.source;
        if !self.heard.contains_key(source) {
            return Judged::default();
        }
        let mut answer = observation.answer.as_ref().map(|_| ()).map_err(Clone::clone);
        if let Err(too_many) = self.store.ingest(observation) {
            let failed = Self::failed_by(observation, too_many.to_string());
            answer = failed.answer.as_ref().map(|_| ()).map_err(Clone::clone);
            self.ingest_failure(&failed);
        }
        if let Some(hearing) = self.heard.get_mut(source) {
            if answer.is_ok() {
                if hearing.last == Some(Ok(())) {
                    hearing.settled_at.get_or_insert(now);
                } else {
                    (hearing.good_since, hearing.settled_at) = (Some(now), None);
                }
                hearing.last_good = Some(now);
            }
            hearing.last = Some(answer);
            hearing.probe = probes::seen(observation, hearing.probe.take(), watch);
        }
        self.unseen.remove(source);
        self.note_ready(now);
        self.count_events(source, watch, now);
        self.note_hours(source, watch, now);
        let rules = watch.rules.triggers.values().filter(|rule| rule.sources.contains(source));
        let (within, mut outside) = self.within_scope(rules, watch, now);
        let (mut judgements, left) = self.cross_boundaries(Some(source), watch, now);
        outside.extend(left);
        let context = EvalContext { wall_offset: watch.wall_offset, ..EvalContext::at(now) };
        let seen = Seen::default();
        let judge = |rule: &Arc<Trigger>| self.judge(rule, source, watch, (&context, &seen));
        judgements.extend(within.into_iter().flat_map(judge));
        let checks = watch.checks.iter().filter_map(|check| self.check(check, source, watch, now)).collect();
        self.keep_scores(source, watch, now);
        let mut judged = self.look(watch, now);
        judged.judgements = judgements;
        judged.checks = checks;
        judged.outside = outside;
        judged.versions =
            watch.versions.iter().filter_map(|(target, detect)| self.version(target, detect)).collect();
        judged
    }

    /// Looks at what has changed by itself: triggers whose time has come or is over, and all that [`Measurements::look`]
    /// looks at.
    pub fn wake(&mut self, watch: &Watch<'_>, now: Timestamp) -> Judged {
        let (entered, outside) = self.cross_boundaries(None, watch, now);
        let mut judged = self.look(watch, now);
        // What was judged just now has its own window in it already.
        let is_new = |due: &Judgement| entered.iter().all(|judgement| judgement.key != due.key);
        judged.judgements.retain(is_new);
        judged.judgements.extend(entered);
        judged.outside = outside;
        judged
    }

    /// Evaluates the groups that are due; returns what they say, which windows have become full since the last
    /// observation, which sources are silent now and which answer.
    pub fn look(&mut self, watch: &Watch<'_>, now: Timestamp) -> Judged {
        let alerts = self.evaluate_due(watch, now);
        let due = |(key, watched): (&TriggerKey, &Watched)| {
            let rule = watch.rules.triggers.get(&(key.target.clone(), key.trigger.clone()))?;
            let (verdict, evidence, before) = watched.last.as_ref()?;
            let window = watched.window.fill(&rule.window, now);
            let judgement = || Judgement {
                key: key.clone(),
                verdict: verdict.clone(),
                evidence: evidence.clone(),
                window,
                blind_since: watched.blind_since,
                may_clear: false,
                taken_for: None,
            };
            (*verdict == Verdict::Breached && window.full && !before.full).then(judgement)
        };
        let judgements = self.windows.iter().filter_map(due).collect();
        let probes = self.probes(watch, now);
        let mut judged = Judged { judgements, alerts, probes, ..Judged::default() };
        for (source, hearing) in &self.heard {
            if matches!(hearing.last, Some(Ok(()))) {
                judged.answering.push(source.clone());
            }
            let since = hearing.last_good.unwrap_or(hearing.asked_since);
            let Some(pace) = watch.paces.get(source) else { continue };
            if now.since(since) >= pace.silent_after {
                let failure = hearing.last.clone().and_then(Result::err);
                judged.silent.push(Silence { source: source.clone(), since, failure });
            }
        }
        // A source whose last answer was good but lies too far back is silent, not answering.
        judged.answering.retain(|source| judged.silent.iter().all(|silence| silence.source != *source));
        judged
    }

    /// Returns when the next group is due, the next window becomes full or the next source silent if nothing is heard
    /// before. A group that is due already is not forgotten: it is due now.
    pub fn wake_at(&self, watch: &Watch<'_>, now: Timestamp) -> Option<Timestamp> {
        let silent = self.heard.iter().filter_map(|(source, hearing)| {
            let since = hearing.last_good.unwrap_or(hearing.asked_since);
            watch.paces.get(source).map(|pace| since + pace.silent_after)
        });
        let full = watch.rules.triggers.values().flat_map(|rule| {
            self.windows_of(rule).filter_map(|(_, watched)| watched.window.due(&rule.window))
        });
        silent.chain(full).filter(|at| *at > now).chain(self.next_evaluation(watch, now)).min()
    }

    /// Returns what every trigger looks like.
    pub fn triggers(&self, watch: &Watch<'_>) -> Vec<TriggerLook> {
        let blank = |rule: &Trigger| TriggerLook {
            key: key_of(rule, Labels::empty()),
            verdict: None,
            evidence: None,
            window: WindowFill { of: rule.window.of(), ..WindowFill::default() },
            outside: self.outside.get(&(rule.target.clone(), rule.name.clone())).cloned(),
        };
        let seen = |(key, watched): (&TriggerKey, &Watched)| {
            let (verdict, evidence, window) = watched.last.clone()?;
            Some(TriggerLook { key: key.clone(), verdict: Some(verdict), evidence, window, outside: None })
        };
        let mut looks = Vec::new();
        for rule in watch.rules.triggers.values() {
            let before = looks.len();
            // Beside its series, the trigger as a whole is shown where something is wrong with it.
            let is_told = |(key, watched): &(&TriggerKey, &Watched)| {
                let last = watched.last.as_ref().map(|(verdict, _, _)| verdict);
                !matches!(rule.across, Across::Per(_))
                    || !key.labels.is_empty()
                    || last != Some(&Verdict::Holds)
            };
            looks.extend(self.windows_of(rule).filter(is_told).filter_map(seen));
            if looks.len() == before {
                looks.push(blank(rule));
            }
        }
        looks
    }

    /// Returns what every source looks like.
    pub fn sources(&self) -> Vec<SourceLook> {
        let look = |(source, hearing): (&SourceName, &Hearing)| SourceLook {
            source: source.clone(),
            last_good: hearing.last_good,
            failure: hearing.last.clone().and_then(Result::err),
            heard: hearing.last.is_some(),
            probe: hearing.probe.clone(),
        };
        self.heard.iter().map(look).collect()
    }

    /// Returns how far back the rules look: older samples are of no use.
    pub fn retention(&self) -> Span {
        self.retention
    }

    /// Returns the part of an observation that some rule can select: what is worth to be saved.
    pub fn kept_of(&self, observation: &Observation) -> Observation {
        let kept = |samples: &Vec<Sample>| {
            samples
                .iter()
                .filter(|sample| self.store.wants(&observation.source, &sample.labels))
                .cloned()
                .collect()
        };
        Observation {
            source: observation.source.clone(),
            at: observation.at,
            took: observation.took,
            answer: observation.answer.as_ref().map(kept).map_err(Clone::clone),
            told: observation.told.clone(),
        }
    }

    /// Returns the number of series and of points that are remembered.
    pub fn size(&self) -> (usize, usize) {
        (self.store.series_count(), self.store.point_count())
    }

    fn failed_by(observation: &Observation, message: String) -> Observation {
        let failure = SourceFailure { kind: FailureKind::TooLarge, message };
        Observation { answer: Err(failure), ..observation.clone() }
    }

    fn ingest_failure(&mut self, failed: &Observation) {
        // A failure adds three series of its own and ends all others; the bound cannot be what refuses it.
        let taken = self.store.ingest(failed);
        debug_assert!(taken.is_ok(), "a failed scrape is always taken in");
    }

    fn check(
        &self,
        check: &Check<'_>,
        heard: &SourceName,
        watch: &Watch<'_>,
        now: Timestamp,
    ) -> Option<CheckVerdict> {
        let read: BTreeSet<SourceName> = check
            .condition
            .sources()
            .into_iter()
            .map(|source| check.read_instead.get(&source).cloned().unwrap_or(source))
            .collect();
        if !read.contains(heard) {
            return None;
        }
        let context = EvalContext {
            not_before: Some(check.not_before),
            wall_offset: watch.wall_offset,
            read_instead: check.read_instead.clone(),
            ..EvalContext::at(now)
        };
        let (met, evidence) = if now < check.not_before {
            (Err(Verdict::NoData), None)
        } else {
            let seen = Seen::default();
            let eyes = Eyes { target: check.target, watch, context: &context, seen: &seen };
            self.measure(check.condition, eyes)
        };
        // A verification's condition says what is good.
        let verdict = match met {
            Ok(true) => Verdict::Holds,
            Ok(false) => Verdict::Breached,
            Err(verdict) => verdict,
        };
        Some(CheckVerdict { key: check.key, verdict, evidence })
    }
}

mod freezing;
mod hours;
mod imported;
mod judge;
mod measure;
mod probes;
mod promises;
mod scope;
mod versions;

#[cfg(test)]
mod tests;
