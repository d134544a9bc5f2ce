//! Triggers: what an observation means for each of their windows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Measurements;
use super::measure::{Eyes, Measured, PerSeries, Seen};
use crate::engine::evaluation::saved::SavedWindow;
use crate::engine::evaluation::verdict::{
    Evidence, Judgement, TriggerKey, UnknownReason, Verdict, WindowFill,
};
use crate::engine::evaluation::watch::Watch;
use crate::engine::evaluation::window::{Mark, Window};
use crate::engine::model::{Labels, SourceName};
use crate::engine::promql::EvalContext;
use crate::engine::rules::{Absence, Across, Trigger, WindowSpec};
use crate::engine::time::{Span, Timestamp};

/// How many label sets one trigger follows: a label of unbounded values must not fill the memory.
const LABEL_SETS_MAX: usize = 100;
/// What clears covers as much of its time as what fires.
const CLEAR_COVERAGE: f64 = 0.9;
/// One verdict speaks for at most this many of its slowest source's intervals.
const GAP_INTERVALS: i64 = 3;

/// What is remembered of one trigger over one label set.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    pub(super) fingerprint: String,
    pub(super) window: Window,
    /// How long what clears has been met.
    clear: Window,
    /// The first observation since the last breach that held.
    quiet_since: Option<Timestamp>,
    /// Whether it has fired and not cleared since.
    fired: bool,
    /// The last observations with a value, as many as `min_samples` asks for.
    samples: VecDeque<Timestamp>,
    /// The sources that have answered since the last observation that was counted.
    round: BTreeSet<SourceName>,
    /// Since when values could be counted: the first verdict, or the last observation at which there was nothing to compare
    /// with because nothing was deployed.
    countable_since: Option<Timestamp>,
    pub(super) blind_since: Option<Timestamp>,
    pub(super) last: Option<(Verdict, Option<Evidence>, WindowFill)>,
}

/// One observation, as far as windows are concerned.
#[derive(Clone, Copy)]
struct Instant<'a> {
    now: Timestamp,
    source: &'a SourceName,
}

impl Watched {
    fn of(rule: &Trigger) -> Self {
        Self { fingerprint: rule.fingerprint.clone(), ..Self::default() }
    }

    /// Takes up what was saved; what was measured since is not known.
    pub(super) fn restored(saved: SavedWindow) -> (TriggerKey, Self) {
        let watched = Self {
            fingerprint: saved.fingerprint,
            window: saved.window,
            clear: saved.clear,
            quiet_since: saved.quiet_since,
            fired: saved.fired,
            samples: saved.samples,
            ..Self::default()
        };
        (saved.key, watched)
    }

    /// Returns what is worth to be saved, if anything.
    pub(super) fn saved(&self, key: &TriggerKey) -> Option<SavedWindow> {
        let is_empty = self.window == Window::default()
            && self.clear == Window::default()
            && self.samples.is_empty()
            && !self.fired;
        (!is_empty).then(|| SavedWindow {
            key: key.clone(),
            fingerprint: self.fingerprint.clone(),
            window: self.window.clone(),
            clear: self.clear.clone(),
            quiet_since: self.quiet_since,
            fired: self.fired,
            samples: self.samples.clone(),
        })
    }

    /// Returns whether nothing would be lost if the label set were forgotten.
    fn is_idle(&self) -> bool {
        !self.fired && self.last.as_ref().is_none_or(|(_, _, window)| window.since.is_none())
    }

    /// Moves the window on. Where observations are counted and several sources are read, one observation is an answer of
    /// each of them: the same value is not counted twice.
    fn fill(&mut self, rule: &Trigger, at: Instant<'_>, mark: Mark) -> WindowFill {
        self.round.insert(at.source.clone());
        // The first verdict comes when every source has answered.
        let is_first = self.last.is_none();
        let is_counted = matches!(
            rule.window,
            WindowSpec::Count { .. } | WindowSpec::InARow { .. } | WindowSpec::Nominal { .. }
        );
        if is_counted && !is_first && !self.round.is_superset(&rule.sources) {
            return self.window.fill(&rule.window, at.now);
        }
        self.round.clear();
        self.window.observe(&rule.window, at.now, mark)
    }

    /// Counts the observations with a value within the window; returns how many there are.
    fn count_samples(&mut self, rule: &Trigger, now: Timestamp, has_value: bool) -> u32 {
        let needed = usize::try_from(rule.min_samples).unwrap_or(usize::MAX);
        if has_value {
            self.samples.push_back(now);
        }
        while self.samples.len() > needed
            || self.samples.front().is_some_and(|at| now.since(*at) > rule.window.of())
        {
            self.samples.pop_front();
        }
        u32::try_from(self.samples.len()).unwrap_or(u32::MAX)
    }
}

impl Measurements {
    /// Judges a trigger on a new observation of `source`: one judgement, or one per label set.
    pub(super) fn judge(
        &mut self,
        rule: &Trigger,
        source: &SourceName,
        watch: &Watch<'_>,
        (context, seen): (&EvalContext, &Seen),
    ) -> Vec<Judgement> {
        let now = context.at;
        // Time before a source's first answer is not absence: nothing that needs it is judged yet.
        let is_heard = |source| self.heard.get(source).is_some_and(|hearing| hearing.last.is_some());
        if !rule.sources.iter().all(is_heard) {
            return Vec::new();
        }
        // Neither is the time before the first answer that a new rule's series are kept of.
        if self.windows_of(rule).next().is_none() && !self.unseen.is_disjoint(&rule.sources) {
            return Vec::new();
        }
        let eyes = Eyes { target: &rule.target, watch, context, seen };
        let at = Instant { now, source };
        if let Across::Per(_) = rule.across {
            return self.judge_each(rule, eyes, at);
        }
        let measured = match &rule.burn_rate {
            Some(rate) => self.burns(rule, rate, watch, now),
            None => self.measure_across(&rule.when, &rule.across, eyes),
        };
        let given = rule.given.as_ref().map(|given| self.measure(given, eyes));
        let clear = rule.clear.as_ref().and_then(|clear| clear.when.as_ref());
        let clear = clear.map(|when| self.measure_across(when, &rule.across, eyes));
        vec![self.judge_one(rule, Labels::empty(), measured, given, clear, eyes, at)]
    }

    /// Judges each label set by itself; one that is no longer there has no data.
    fn judge_each(&mut self, rule: &Trigger, eyes: Eyes<'_>, at: Instant<'_>) -> Vec<Judgement> {
        let PerSeries { mut each, rest } = self.measure_each(&rule.when, &rule.across, eyes);
        let clear = rule.clear.as_ref().and_then(|clear| clear.when.as_ref());
        let given = rule.given.as_ref().map(|given| self.measure_each(given, &rule.across, eyes));
        let clear = clear.map(|when| self.measure_each(when, &rule.across, eyes));
        let known: Vec<(Labels, bool)> =
            self.windows_of(rule).map(|(key, watched)| (key.labels.clone(), watched.is_idle())).collect();
        // While the source fails nobody knows whether it is gone; and where absence is a breach it must not be forgotten.
        let is_gone = matches!(rest.0, Err(Verdict::NoData | Verdict::Unknown(UnknownReason::Stale { .. })))
            && rest.0.as_ref().is_err_and(|verdict| taken_as(rule, verdict) != Verdict::Breached);
        let mut forgotten = Vec::new();
        for (labels, is_idle) in &known {
            if labels.is_empty() || each.contains_key(labels) {
                continue;
            }
            if *is_idle && is_gone {
                let key = key_of(rule, labels.clone());
                self.windows.remove(&key);
                forgotten.push(Judgement::quiet(key));
            } else {
                each.insert(labels.clone(), rest.clone());
            }
        }
        let is_known = |labels: &Labels| known.iter().any(|(known, _)| known == labels);
        let count = each.len();
        if count > LABEL_SETS_MAX {
            let mut free =
                LABEL_SETS_MAX.saturating_sub(each.keys().filter(|labels| is_known(labels)).count());
            each.retain(|labels, _| {
                let is_taken = is_known(labels) || free > 0;
                free = free.saturating_sub(usize::from(!is_known(labels)));
                is_taken
            });
        }
        // The trigger as a whole is judged, too: what it cannot tell of any series must not go unheard.
        let whole = match count {
            0 => rest,
            _ if count > LABEL_SETS_MAX => {
                (Err(Verdict::Unknown(UnknownReason::TooManyLabelSets(count))), None)
            }
            _ => (Ok(false), None),
        };
        each.entry(Labels::empty()).or_insert(whole);
        let at_labels = |answers: &Option<PerSeries>, labels: &Labels| -> Option<Measured> {
            let answers = answers.as_ref()?;
            let shared = || answers.each.get(&Labels::empty());
            Some(answers.each.get(labels).or_else(shared).unwrap_or(&answers.rest).clone())
        };
        let judge = |(labels, measured): (Labels, Measured)| {
            // What is said of the trigger as a whole needs no traffic.
            let given = at_labels(&given, &labels).filter(|_| !labels.is_empty());
            let clear = at_labels(&clear, &labels);
            self.judge_one(rule, labels, measured, given, clear, eyes, at)
        };
        forgotten.extend(each.into_iter().map(judge).collect::<Vec<_>>());
        forgotten
    }

    #[expect(clippy::too_many_arguments, reason = "each is one independent fact of the observation")]
    fn judge_one(
        &mut self,
        rule: &Trigger,
        labels: Labels,
        (met, evidence): Measured,
        given: Option<Measured>,
        clear: Option<Measured>,
        eyes: Eyes<'_>,
        at: Instant<'_>,
    ) -> Judgement {
        // A trigger's condition says what is bad.
        let found = match (given.map(|(met, _)| met), met) {
            (Some(Ok(false)), _) => Verdict::Unknown(UnknownReason::NoTraffic),
            (Some(Err(verdict)), _) | (_, Err(verdict)) => verdict,
            (_, Ok(true)) => Verdict::Breached,
            (_, Ok(false)) => Verdict::Holds,
        };
        let mut verdict = taken_as(rule, &found);
        let taken_for = (verdict != found).then(|| found.clone());
        let key = key_of(rule, labels);
        let good = rule.sources.iter().filter_map(|source| self.heard.get(source)?.good_since).max();
        let watched = self.windows.entry(key.clone()).or_insert_with(|| Watched::of(rule));
        // Where nothing is deployed there is no baseline, and that is how it should be.
        let is_idle = matches!(found, Verdict::Unknown(UnknownReason::NoBaseline(_)))
            && !eyes.watch.deployed.contains(&rule.target);
        if is_idle {
            watched.countable_since = Some(at.now);
        }
        let countable_since = *watched.countable_since.get_or_insert(at.now);
        let mut window = watched.fill(rule, at, mark_of(&verdict));
        let mut starts = good.unwrap_or(at.now);
        if rule.min_samples > 0 {
            let has_value = evidence.is_some() && matches!(verdict, Verdict::Breached | Verdict::Holds);
            let seen = watched.count_samples(rule, at.now, has_value);
            if has_value && seen < rule.min_samples {
                verdict = Verdict::Unknown(UnknownReason::TooFewSamples { seen, needed: rule.min_samples });
                window.full = false;
                // A window that has just begun to fill cannot hold as many; once it could have, too few are too few.
                starts = starts.max(countable_since) + rule.window.of();
            }
        }
        let may_clear = watched.may_clear(rule, &verdict, window, clear, eyes, at.now);
        watched.fired |= window.full && verdict == Verdict::Breached;
        if may_clear && watched.fired {
            (watched.fired, watched.window, watched.clear) = (false, Window::default(), Window::default());
        }
        // Time in which a source failed is the source's own incident; blindness counts from its first good answer on. Time
        // without anything to compare with is none: it counts from the deployment's beginning on.
        let excused = is_idle || matches!(verdict, Verdict::Unknown(UnknownReason::SourceFailed { .. }));
        watched.blind_since = match (mark_of(&verdict), excused) {
            (Mark::Uncovered, false) => Some(watched.blind_since.unwrap_or(at.now).max(starts)),
            (Mark::Uncovered, true) => Some(at.now),
            _ => None,
        };
        watched.last = Some((verdict.clone(), evidence.clone(), window));
        let blind_since = watched.blind_since;
        Judgement { key, verdict, evidence, window, blind_since, may_clear, taken_for }
    }

    /// Returns what is remembered of a trigger, by label set.
    pub(super) fn windows_of(&self, rule: &Trigger) -> impl Iterator<Item = (&TriggerKey, &Watched)> {
        let first = key_of(rule, Labels::empty());
        let is_own = |key: &TriggerKey| key.target == rule.target && key.trigger == rule.name;
        self.windows.range(first..).take_while(move |(key, _)| is_own(key))
    }
}

impl Watched {
    /// Returns whether a firing trigger ends with this observation.
    fn may_clear(
        &mut self,
        rule: &Trigger,
        verdict: &Verdict,
        window: WindowFill,
        clear: Option<Measured>,
        eyes: Eyes<'_>,
        now: Timestamp,
    ) -> bool {
        match verdict {
            Verdict::Breached => self.quiet_since = None,
            Verdict::Holds => {
                self.quiet_since.get_or_insert(now);
            }
            Verdict::NoData | Verdict::Unknown(_) => {}
        }
        let is_clear = match &rule.clear {
            // What it fired on is no longer in its window.
            None => !window.still,
            Some(terms) => {
                // The window of what clears is filled by what is good.
                let mark = match (verdict, clear.map(|(met, _)| met)) {
                    (Verdict::Breached, _) | (_, Some(Ok(false))) => Mark::Holds,
                    (Verdict::Holds, None) | (_, Some(Ok(true))) => Mark::Breached,
                    _ => Mark::Uncovered,
                };
                let paces = rule.sources.iter().filter_map(|source| eyes.watch.paces.get(source));
                let every = paces.map(|pace| pace.every).max().unwrap_or(Span::ZERO);
                let spec = WindowSpec::Sustained {
                    of: terms.hold,
                    coverage: CLEAR_COVERAGE,
                    max_gap: every.times(GAP_INTERVALS),
                };
                self.clear.observe(&spec, now, mark).full
            }
        };
        let is_kept = !rule.keep_firing_for.is_zero_or_negative()
            && self.quiet_since.is_none_or(|since| now.since(since) < rule.keep_firing_for);
        *verdict == Verdict::Holds && is_clear && !is_kept
    }
}

/// Returns what a verdict counts as by the trigger's `no_data`.
fn taken_as(rule: &Trigger, verdict: &Verdict) -> Verdict {
    let terms = rule.no_data;
    let absence = match verdict {
        Verdict::NoData => terms.absent,
        Verdict::Unknown(UnknownReason::SourceFailed { .. }) => terms.unreachable,
        Verdict::Unknown(UnknownReason::Stale { .. }) => terms.stale,
        Verdict::Unknown(UnknownReason::NotANumber) => terms.nan,
        Verdict::Unknown(UnknownReason::NoTraffic) => terms.no_traffic,
        // What a rule or its expression gets wrong is never taken for an answer.
        Verdict::Holds | Verdict::Breached | Verdict::Unknown(_) => Absence::Hold,
    };
    match absence {
        Absence::Hold => verdict.clone(),
        Absence::Ok => Verdict::Holds,
        Absence::Breach => Verdict::Breached,
    }
}

fn mark_of(verdict: &Verdict) -> Mark {
    match verdict {
        Verdict::Breached => Mark::Breached,
        Verdict::Holds => Mark::Holds,
        Verdict::NoData | Verdict::Unknown(_) => Mark::Uncovered,
    }
}

/// Returns the key of a trigger over one label set; without `per` it has none.
pub(super) fn key_of(rule: &Trigger, labels: Labels) -> TriggerKey {
    TriggerKey { target: rule.target.clone(), trigger: rule.name.clone(), labels }
}

/// What is remembered of triggers.
pub(super) type Windows = BTreeMap<TriggerKey, Watched>;
