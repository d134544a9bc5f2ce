//! What must never happen, checked on what the world and the events say.

use std::collections::{BTreeMap, BTreeSet};

use super::channels::Channels;
use super::files::{DEADLINE_MAX, RANGE_MAX, REACH_MAX};
use super::log::{Log, PageSeen, Violation, calls_for_page, is_rollback_page};
use super::steps::{Act, Steps};
use crate::engine::decision::{Cause, Effect, Event, Happening, MessageKind, Mode, Outcome, Setup};
use crate::engine::model::{EffectId, RollbackId, SourceName};
use crate::engine::report::Reason;
use crate::engine::rules::{Trigger, WindowSpec};
use crate::engine::series::Observation;
use crate::engine::time::{Span, Timestamp};
use crate::journal::Handled;
use crate::replay::{MemoryLedger, Timed};

/// How much longer than its limit a source may be silent before its incident is there.
const SILENCE_SLACK: Span = Span::from_secs(15);

/// What a source said, as far as checks need it.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Timestamp,
    is_good: bool,
    has_counters: bool,
}

/// What is known of a source.
#[derive(Clone, Debug, Default)]
struct Hearing {
    /// Everything that was heard, over all lives.
    all: Vec<Heard>,
    /// Since when this life asks it.
    asked_since: Timestamp,
    /// Whether its last answer in this life was good; `None` before the first.
    last_good: Option<bool>,
    good_at: Option<Timestamp>,
}

/// The checks' own memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    pub(super) log: Log,
    hearings: BTreeMap<SourceName, Hearing>,
    /// Steps that somebody has looked at and found not done.
    pub(super) not_done: BTreeSet<EffectId>,
    /// When each rollback first did something, in true time.
    first_acts: BTreeMap<RollbackId, Act>,
}

/// What was found; the first is enough to stop.
pub(super) type Found = Result<(), Violation>;

fn violated(invariant: &'static str, what: String) -> Found {
    Err(Violation::new(invariant, what))
}

impl Checks {
    /// A process has come up on `durable`: what was in memory alone is forgotten.
    pub(super) fn restarted(&mut self, durable: &[Event], setup: &Setup, now: Timestamp) -> Found {
        self.log = Log::default();
        for event in durable {
            self.log.see(event).map_or(Ok(()), Err)?;
        }
        for hearing in self.hearings.values_mut() {
            (hearing.asked_since, hearing.last_good, hearing.good_at) = (now, None, None);
        }
        self.reloaded(setup, now);
        Ok(())
    }

    /// Other files are in force.
    pub(super) fn reloaded(&mut self, setup: &Setup, now: Timestamp) {
        for source in setup.sources.keys() {
            let new = || Hearing { asked_since: now, ..Hearing::default() };
            self.hearings.entry(source.clone()).or_insert_with(new);
        }
        self.hearings.retain(|source, _| setup.sources.contains_key(source));
    }

    /// Notes what a source has said; comes before [`Checks::handled`].
    pub(super) fn heard(&mut self, observation: &Observation) {
        let Some(hearing) = self.hearings.get_mut(&observation.source) else { return };
        let samples = observation.answer.as_ref().map_or(&[][..], Vec::as_slice);
        let has_counters = samples.iter().any(|sample| sample.labels.metric_name() == "http_requests_total");
        let is_good = observation.answer.is_ok();
        hearing.all.push(Heard { at: observation.at, is_good, has_counters });
        hearing.last_good = Some(is_good);
        if is_good {
            hearing.good_at = Some(observation.at);
        }
    }

    /// Checks one decision; `what` is what it was decided on.
    pub(super) fn handled(&mut self, what: Option<&Timed>, handled: &Handled, setup: &Setup) -> Found {
        for (at, event) in handled.events.iter().enumerate() {
            self.bounded(event, setup)?;
            self.seen_well(what, event, setup)?;
            self.log.see(event).map_or(Ok(()), Err)?;
            self.paged(event, &handled.events[at + 1..])?;
            self.answered(event, &handled.events[at + 1..], setup)?;
        }
        for event in &handled.events {
            handed_out(event, &handled.effects)?;
        }
        let mut reasons = handled.report.lines.iter().map(|line| &line.reason);
        if let Some(illegal) = reasons.find(|reason| matches!(reason, Reason::Illegal(_))) {
            return violated("E6", illegal.to_string());
        }
        Ok(())
    }

    /// E7: armed, cooled down, and not too often.
    fn bounded(&self, event: &Event, setup: &Setup) -> Found {
        let Happening::RollbackDecided { rollback, target, .. } = &event.what else { return Ok(()) };
        let guarded = setup.targets.get(target).filter(|guarded| guarded.mode == Mode::Armed);
        let Some(guarded) = guarded else {
            return violated("E7", format!("{rollback} begins at {target}, which is not armed"));
        };
        if let Some(ended) = self.log.last_ended.get(target)
            && event.at < *ended + guarded.cooldown
        {
            return violated("E7", format!("{rollback} begins at {target} while it cools down"));
        }
        let recent =
            |(at, begun): &(_, Timestamp)| at == target && event.at.since(*begun) < guarded.at_most.per;
        let count = 1 + self.log.decided.values().filter(|decided| recent(decided)).count();
        if count > usize::try_from(guarded.at_most.count).unwrap_or(usize::MAX) {
            return violated("E7", format!("{rollback} is the {count}th within {}", guarded.at_most.per));
        }
        Ok(())
    }

    /// E2: nothing begins, clears or passes but on a good answer of every source that it needs.
    fn seen_well(&self, what: Option<&Timed>, event: &Event, setup: &Setup) -> Found {
        match &event.what {
            Happening::TriggerFiring { key, .. } | Happening::TriggerCleared { key, removed: false, .. } => {
                let Some(rule) = setup.rules.triggers.get(&(key.target.clone(), key.trigger.clone())) else {
                    return violated("E2", format!("`{}`, but there is no such rule", event.what));
                };
                let fires = matches!(event.what, Happening::TriggerFiring { .. });
                for source in &rule.sources {
                    self.rests_on(what, event, rule, source)?;
                    // What a probe answered stands by itself.
                    if !setup.probes.contains(source) {
                        self.seen_twice(source, event)?;
                    }
                    if fires {
                        self.covered(source, what, event, rule.window)?;
                    }
                }
                Ok(())
            }
            Happening::RollbackEnded { rollback, outcome: Outcome::Succeeded | Outcome::Partial, reason }
                if reason.contains("the verification passed") =>
            {
                self.proven(*rollback, what, event, setup)
            }
            Happening::RollbackEnded { rollback, outcome: Outcome::Succeeded, .. }
                if self.log.not_before.contains_key(rollback) =>
            {
                violated("E2", format!("`{}`, but its verification did not pass", event.what))
            }
            _ => Ok(()),
        }
    }

    /// The last answer was good: it is this one, or it still speaks for now. Only an answer clears.
    fn rests_on(&self, what: Option<&Timed>, event: &Event, rule: &Trigger, source: &SourceName) -> Found {
        let hearing = self.hearings.get(source);
        if hearing.and_then(|hearing| hearing.last_good) != Some(true) {
            return violated("E2", format!("`{}` while {source} does not answer", event.what));
        }
        let speaks = |hearing: &Hearing| {
            hearing.good_at.is_some_and(|at| Some(event.at.since(at)) <= rule.window.max_gap())
        };
        match what {
            Some(Timed::Observation(observation)) if rule.sources.contains(&observation.source) => Ok(()),
            None if matches!(event.what, Happening::TriggerFiring { .. }) && hearing.is_some_and(speaks) => {
                Ok(())
            }
            other => violated("E2", format!("`{}` on {other:?}", event.what)),
        }
    }

    /// A rate needs two samples within its range.
    fn seen_twice(&self, source: &SourceName, event: &Event) -> Found {
        let heard = self.hearings.get(source).map_or(&[][..], |hearing| hearing.all.as_slice());
        let last = heard.last().map_or(event.at, |heard| heard.at);
        let counted = |heard: &&Heard| {
            heard.is_good && heard.has_counters && heard.at <= last && last.since(heard.at) <= RANGE_MAX
        };
        match heard.iter().filter(counted).count() {
            0 | 1 => violated("E2", format!("`{}` on fewer than two samples", event.what)),
            _ => Ok(()),
        }
    }

    /// The window before `event` was really looked at.
    fn covered(&self, source: &SourceName, what: Option<&Timed>, event: &Event, window: WindowSpec) -> Found {
        let Some(hearing) = self.hearings.get(source) else { return Ok(()) };
        let (WindowSpec::Sustained { of, coverage, max_gap }
        | WindowSpec::Share { of, coverage, max_gap, .. }) = window
        else {
            return Ok(());
        };
        let end = match what {
            Some(Timed::Observation(observation)) => observation.at,
            _ => event.at,
        };
        let mut good: Vec<_> = hearing
            .all
            .iter()
            .filter(|heard| heard.is_good && heard.at <= end)
            .map(|heard| heard.at)
            .collect();
        good.push(end);
        good.sort_unstable();
        let looked = good.windows(2).map(|pair| {
            let until = pair[1].min(pair[0] + max_gap);
            until.since(pair[0].max(end - of))
        });
        let looked = looked.fold(Span::ZERO, |total, span| total + span);
        if looked.as_secs_f64() + 0.001 < of.as_secs_f64() * coverage {
            return violated("E2", format!("`{}`, but only {looked} of {of} were looked at", event.what));
        }
        Ok(())
    }

    /// A verification passes on fresh counters alone, and on two of them at least: a rate needs two.
    fn proven(&self, rollback: RollbackId, what: Option<&Timed>, event: &Event, setup: &Setup) -> Found {
        let Some(Timed::Observation(observation)) = what else {
            return violated("E2", format!("`{}` on {what:?}", event.what));
        };
        let Some(not_before) = self.log.not_before.get(&rollback) else {
            return violated("E2", format!("`{}` without a verification", event.what));
        };
        let read_elsewhere = setup
            .plans
            .values()
            .filter_map(|plan| plan.verify.as_ref())
            .any(|verify| verify.on.values().any(|source| *source == observation.source));
        let is_own = self.log.decided.get(&rollback).is_some_and(|(target, _)| {
            observation.source.as_str().replace("app-", "target-") == target.as_str()
        });
        if !is_own && !read_elsewhere {
            return violated("E2", format!("`{}` on what {} said", event.what, observation.source));
        }
        let fresh = self.hearings.get(&observation.source).map_or(0, |hearing| {
            let fresh = |heard: &&Heard| heard.is_good && heard.has_counters && heard.at >= *not_before;
            hearing.all.iter().filter(fresh).count()
        });
        if observation.answer.is_err() || fresh < 2 {
            return violated("E2", format!("`{}` on {fresh} fresh answers", event.what));
        }
        Ok(())
    }

    /// E5: the page stands behind what calls for it, in the same decision.
    fn paged(&self, event: &Event, later: &[Event]) -> Found {
        let Some((of, text)) = calls_for_page(event, later, &self.log) else { return Ok(()) };
        let paged = later.iter().any(|later| {
            let Happening::PageDecided { incident, message, .. } = &later.what else { return false };
            is_rollback_page(message, *incident, of)
        });
        if paged { Ok(()) } else { violated("E5", format!("no page follows `{text}`")) }
    }

    /// E5: a trigger that fires is told, and its rollback is begun or refused, unless one is under way for it.
    fn answered(&self, event: &Event, later: &[Event], setup: &Setup) -> Found {
        let Happening::TriggerFiring { key, .. } = &event.what else { return Ok(()) };
        let cause = Cause::Trigger(key.clone());
        let opened = later.iter().find_map(|later| match &later.what {
            Happening::IncidentOpened { incident, cause: opened, .. } if *opened == cause => Some(*incident),
            _ => None,
        });
        let Some(of) = opened.or_else(|| self.log.open_as(&cause)) else {
            return violated("E5", format!("`{}` without an incident", event.what));
        };
        if self.log.is_under_way(of) {
            return Ok(());
        }
        let is_paged = later
            .iter()
            .any(|later| matches!(&later.what, Happening::PageDecided { incident, .. } if *incident == of));
        let is_decided = later.iter().any(|later| match &later.what {
            Happening::RollbackDecided { incident, .. } | Happening::RollbackNotBegun { incident, .. } => {
                *incident == of
            }
            _ => false,
        });
        let rule = setup.rules.triggers.get(&(key.target.clone(), key.trigger.clone()));
        let wants_rollback = rule.is_some_and(|rule| rule.then.rollback.is_some());
        if !is_paged || (wants_rollback && !is_decided) {
            return violated("E5", format!("nothing follows `{}`", event.what));
        }
        Ok(())
    }

    /// E2: nothing begins at an application that was fine all along. `reach` is how far back the engine may see.
    pub(super) fn was_bad(event: &Event, last_bad: Option<Timestamp>, now: Timestamp, unseen: Span) -> Found {
        let reach = REACH_MAX + unseen + Span::from_secs(60);
        match last_bad {
            Some(at) if now.since(at) <= reach => Ok(()),
            other => violated("E2", format!("`{}`, but it was last bad {other:?}, now is {now}", event.what)),
        }
    }

    /// E2: a source that has been silent for too long is an incident, at whatever instant one looks.
    pub(super) fn silence_told(&self, setup: &Setup, now: Timestamp) -> Found {
        for (source, pace) in &setup.sources {
            let Some(hearing) = self.hearings.get(source) else { continue };
            let since = hearing.good_at.unwrap_or(hearing.asked_since).max(hearing.asked_since);
            if now.since(since) > pace.silent_after + SILENCE_SLACK
                && self.log.open_as(&Cause::Silent(source.clone())).is_none()
            {
                return violated("E2", format!("{source} has been silent since {since}, now is {now}"));
            }
        }
        Ok(())
    }

    /// E4, E3, E7: something was done to the world. Was it written down before, and is it the first time?
    pub(super) fn acted(
        &mut self,
        act: &Act,
        ledger: &MemoryLedger,
        steps: &Steps,
        setup: &Setup,
        unseen: Span,
    ) -> Found {
        written_ahead(act, ledger)?;
        once(act, ledger, steps, setup, &self.not_done)?;
        if steps.runs_besides(&act.target, act.rollback, act.at) {
            return violated("E3", format!("{} acts at {} beside another", act.rollback, act.target));
        }
        self.first_acts.entry(act.rollback).or_insert_with(|| act.clone());
        let Some(guarded) = setup.targets.get(&act.target) else { return Ok(()) };
        // From its decision to its first act a rollback takes no longer than its deadline. Across a reboot only the wall
        // clock tells how much time has passed, and it may be wrong.
        let per = guarded.at_most.per - DEADLINE_MAX - unseen;
        let recent = |first: &&Act| first.target == act.target && act.at.since(first.at) < per;
        let count = self.first_acts.values().filter(recent).count();
        if count > usize::try_from(guarded.at_most.count).unwrap_or(usize::MAX) {
            return violated("E7", format!("{count} rollbacks acted at {} within {per}", act.target));
        }
        Ok(())
    }

    /// E5, E9: at the end every page has arrived, or died and was sent elsewhere.
    pub(super) fn delivered(&self, channels: &Channels, setup: &Setup) -> Found {
        for (at, page) in self.log.pages.iter().enumerate() {
            let taken = |page: &PageSeen| {
                let mut to = page.deliveries.iter();
                to.any(|(effect, receiver)| channels.has_taken(receiver, *effect, &page.message))
            };
            let key = &page.message.dedup_key;
            for (effect, receiver) in &page.deliveries {
                let has_died = self.log.over.get(effect) == Some(&false);
                let arrived = channels.has_taken(receiver, *effect, &page.message);
                if !arrived && !has_died {
                    let what = format!("{effect} to {receiver} was lost: `{}`", page.message.summary);
                    return violated("E9", what);
                }
                if has_died
                    && !arrived
                    && page.message.kind != MessageKind::Resolve
                    && setup.receivers.len() > 1
                {
                    // Not only that one: whoever else was told of it may have died, too.
                    let same = || {
                        let is_same = |(nth, other): &(usize, &PageSeen)| {
                            other.incident == page.incident
                                && other.message.dedup_key == *key
                                && (*nth >= at || other.message.summary == page.message.summary)
                        };
                        self.log.pages.iter().enumerate().filter(is_same).map(|(_, page)| page)
                    };
                    let tried: BTreeSet<_> =
                        same().flat_map(|page| page.deliveries.iter().map(|(_, to)| to)).collect();
                    let nobody_is_left = setup.receivers.iter().all(|receiver| tried.contains(receiver));
                    if !nobody_is_left && !same().any(taken) {
                        let which = if key.ends_with("-rollback") { "E5" } else { "E9" };
                        let what = format!("{effect} died at {receiver} alone: `{}`", page.message.summary);
                        return violated(which, what);
                    }
                }
            }
        }
        channels.confused().map_or(Ok(()), |what| violated("E9", what))
    }
}

/// Every delivery of a page that was decided was handed out with it.
fn handed_out(event: &Event, effects: &[Effect]) -> Found {
    let Happening::PageDecided { deliveries, message, .. } = &event.what else { return Ok(()) };
    for (id, to) in deliveries {
        let is_it = |effect: &Effect| matches!(effect, Effect::Deliver(delivery) if delivery.effect == *id && delivery.receiver == *to);
        if !effects.iter().any(is_it) {
            return violated("E9", format!("{id} to {to} was not handed out: `{}`", message.summary));
        }
    }
    Ok(())
}

/// Intent and start of the act are durable.
fn written_ahead(act: &Act, ledger: &MemoryLedger) -> Found {
    let events = || ledger.events().iter().map(|event| &event.what);
    let intended =
        events().any(|what| matches!(what, Happening::StepIntended { order, .. } if order.key == act.key));
    let begun =
        events().any(|what| matches!(what, Happening::StepStarted { effect, .. } if *effect == act.effect));
    let written = |effect: &Effect| matches!(effect, Effect::PrepareStep(order) if order.key == act.key);
    if !intended || !ledger.intents().iter().any(written) {
        return violated("E4", format!("{} was done without a durable intent", act.key));
    }
    if !begun {
        return violated("E4", format!("{} was done before its start was durable", act.key));
    }
    Ok(())
}

/// No key twice; no step twice, unless that does no harm or somebody has said that it was not done.
fn once(
    act: &Act,
    ledger: &MemoryLedger,
    steps: &Steps,
    setup: &Setup,
    not_done: &BTreeSet<EffectId>,
) -> Found {
    let before: Vec<&Act> = steps.acts().iter().take(steps.acts().len() - 1).collect();
    if before.iter().any(|other| other.key == act.key) {
        return violated("E4", format!("{} was done twice", act.key));
    }
    let place_of = |effect: EffectId| {
        ledger.events().iter().find_map(|event| match &event.what {
            Happening::StepIntended { order, index, .. } if order.effect == effect => {
                Some((order.rollback, *index, order.plan.clone()))
            }
            _ => None,
        })
    };
    let Some((rollback, index, plan)) = place_of(act.effect) else { return Ok(()) };
    let idempotent =
        setup.plans.get(&plan).and_then(|plan| plan.steps.get(index)).is_none_or(|step| step.idempotent);
    for other in before {
        let same = place_of(other.effect).is_some_and(|place| place.0 == rollback && place.1 == index);
        if same && !idempotent && !not_done.contains(&other.effect) {
            return violated(
                "E4",
                format!("step {index} of {rollback} was done as {} and {}", other.key, act.key),
            );
        }
    }
    Ok(())
}
