//! Triggers' states and incidents: what opens one, what joins it, what ends it.

use std::collections::BTreeMap;

use super::alerts::{is_gone, is_imported};
use super::draft::Draft;
use super::effect::{DeliveryReport, MessageKind};
use super::event::{Cause, Happening};
use super::firing::Firing;
use super::placeholders::fill_text;
use super::state::{Incident, TriggerState};
use crate::engine::evaluation::{Judged, Judgement, Silence, TriggerKey, UnknownReason, Verdict, WindowFill};
use crate::engine::model::{
    IncidentId, Labels, PolicyName, ReceiverName, Severity, SourceName, TargetName, TriggerName,
};
use crate::engine::report::Reason;
use crate::engine::rules::{Clear, Compare, Condition, PAGE_AFTER, Threshold, Trigger, WindowSpec};
use crate::engine::time::Span;

/// How long a trigger may be neither good nor bad before that is an incident of its own (E2).
pub(super) const BLIND_AFTER: Span = PAGE_AFTER;

/// Why most incidents of triggers are over.
pub(super) const NO_LONGER_MET: &str = "the condition is no longer met";

/// The target that incidents of the daemon itself are filed under.
const OWN_TARGET: &str = "rearguard";

impl Draft<'_> {
    /// Takes in what the measurement half says.
    pub(super) fn take_judged(&mut self, judged: &Judged) {
        self.probes.clone_from(&judged.probes);
        for (target, version) in &judged.versions {
            self.take_version(target, version);
        }
        for silence in &judged.silent {
            self.take_silence(silence);
        }
        for source in &judged.answering {
            self.resolve_cause(&Cause::Silent(source.clone()), &format!("source {source} answers again"));
        }
        // Before new triggers fire: a rollback that has just been proven frees its target.
        self.take_checks(&judged.checks);
        self.take_outside(&judged.outside);
        self.take_in_order(judged);
    }

    pub(super) fn take_judgement(&mut self, trigger: &Trigger, judgement: &Judgement) {
        let key = &judgement.key;
        let subject = key.trigger.to_string();
        let state = self.state().triggers.get(key).cloned();
        match (&state, &judgement.verdict) {
            (None, Verdict::Breached) => {
                let evidence = judgement.evidence.clone();
                self.emit(Happening::TriggerPending {
                    key: key.clone(),
                    window: judgement.window.of,
                    evidence,
                });
                self.fire_if_full(trigger, judgement);
            }
            (Some(TriggerState::Pending { .. }), Verdict::Breached) => self.fire_if_full(trigger, judgement),
            (Some(TriggerState::Firing { .. }), Verdict::Breached) => self.go_on(trigger, judgement),
            // A share or a count may hold breaches yet.
            (Some(TriggerState::Pending { .. }), Verdict::Holds) if judgement.window.since.is_some() => {
                self.report.add(subject, filling(&judgement.window));
            }
            (Some(TriggerState::Firing { .. }), Verdict::Holds) if !judgement.may_clear => {
                self.report.add(subject, Reason::NotClear(why_not_clear(trigger)));
            }
            (Some(_), Verdict::Holds) => {
                let evidence = judgement.evidence.clone();
                self.emit(Happening::TriggerCleared { key: key.clone(), evidence, removed: false });
                if let Some(incident) = self.state().open_incident(&Cause::Trigger(key.clone())) {
                    self.resolve_if_quiet(incident, NO_LONGER_MET);
                }
            }
            (_, Verdict::NoData) => self.report.add(subject, Reason::Blind("no data".to_owned())),
            (_, Verdict::Unknown(why)) => self.report.add(subject, Reason::Blind(why.to_string())),
            (None, Verdict::Holds) => {}
        }
        self.take_blindness(trigger, judgement);
    }

    fn fire_if_full(&mut self, trigger: &Trigger, judgement: &Judgement) {
        if !judgement.window.full {
            return self.report.add(trigger.name.to_string(), filling(&judgement.window));
        }
        let firing = self.firing(trigger, judgement);
        match self.outranked_by(trigger, judgement) {
            None => self.fire(firing),
            Some(above) => {
                let (key, since, evidence) = (firing.key.clone(), firing.since, firing.evidence.clone());
                self.emit(Happening::TriggerFiring { key, since, evidence });
                self.report.add(trigger.name.to_string(), Reason::Outranked(above.to_string()));
            }
        }
    }

    /// A level opens its incident once no higher one fires any more.
    pub(super) fn rise(&mut self, trigger: &Trigger, judgement: &Judgement) {
        let cause = Cause::Trigger(judgement.key.clone());
        if trigger.level.is_none() || self.state().open_incident(&cause).is_some() {
            return;
        }
        match self.outranked_by(trigger, judgement) {
            None => {
                let firing = self.firing(trigger, judgement);
                self.follow(firing);
            }
            Some(above) => {
                self.report.add(trigger.name.to_string(), Reason::Outranked(above.to_string()));
            }
        }
    }

    /// Returns the higher level that fires for the same series, if one does.
    pub(super) fn outranked_by(&self, trigger: &Trigger, judgement: &Judgement) -> Option<TriggerName> {
        let above = trigger.level.as_ref().map_or(&[][..], |level| level.above.as_slice());
        let fires = |name: &&TriggerName| {
            let key = TriggerKey { trigger: (*name).clone(), ..judgement.key.clone() };
            matches!(self.state().triggers.get(&key), Some(TriggerState::Firing { .. }))
        };
        above.iter().find(fires).cloned()
    }

    pub(super) fn firing<'f>(&self, trigger: &'f Trigger, judgement: &'f Judgement) -> Firing<'f> {
        let shown = judgement.evidence.as_ref().map_or("no value", |evidence| evidence.shown.as_str());
        let reason = match trigger.window {
            WindowSpec::Sustained { of, .. } if of.is_zero_or_negative() => {
                format!("{}: measured {shown}", trigger.when.text)
            }
            window => format!("{} for {window}: measured {shown}", trigger.when.text),
        };
        let labels = &judgement.key.labels;
        let mut details = self.told_by_probes(trigger);
        if !labels.is_empty() {
            details.push(format!("It speaks of {labels}."));
        }
        if let Some(found) = &judgement.taken_for {
            details.push(format!("Missing data count as a breach here: {}.", words(found)));
        }
        Firing {
            key: &judgement.key,
            then: &trigger.then,
            severity: trigger.severity,
            since: judgement.window.since.unwrap_or(self.now),
            summary: summary_of(trigger, labels, shown, &reason),
            reason,
            details,
            evidence: judgement.evidence.clone(),
            runbook: trigger.runbook.clone(),
            due: trigger.due.clone(),
            barred: self.barred(trigger),
        }
    }

    fn take_blindness(&mut self, trigger: &Trigger, judgement: &Judgement) {
        let cause = Cause::Blind(judgement.key.clone());
        let why = match &judgement.verdict {
            Verdict::Breached if self.is_starved(judgement) => {
                let window = judgement.window;
                let (seen, of) = (window.breached.rounded(), window.of);
                let reason = format!(
                    "{} is breached, but its sources answer too seldom: only {seen} of the last {of} are proven",
                    trigger.name
                );
                let policy = trigger.then.page.clone();
                let (target, severity) = (trigger.target.clone(), trigger.severity);
                let what = Opening { cause, target, severity, reason, policy };
                let notify = self.setup.receivers_of(trigger.then.page.as_ref()).into_iter().collect();
                let advice = "It cannot fire until they answer; nothing is rolled back.";
                return self.open_and_page(what, window.since.unwrap_or(self.now), notify, advice);
            }
            Verdict::Holds | Verdict::Breached => {
                return self.resolve_cause(&cause, "it can be judged again");
            }
            // Where nothing is deployed there is nothing to compare: that is how it should be, and wakes nobody.
            Verdict::Unknown(UnknownReason::NoBaseline(_)) if !self.compares(&trigger.target) => {
                return self.resolve_cause(&cause, "nothing is deployed: there is nothing to compare with");
            }
            // A source that does not answer is an incident of its own; one is enough.
            Verdict::Unknown(UnknownReason::SourceFailed { .. } | UnknownReason::NotYetHeard { .. }) => {
                return;
            }
            Verdict::NoData => "its expression selects nothing".to_owned(),
            Verdict::Unknown(why) => why.to_string(),
        };
        let Some(since) = judgement.blind_since else { return };
        if self.now.since(since) < trigger.no_data.page_after {
            return;
        }
        let notify = self.setup.receivers_of(trigger.then.page.as_ref());
        let reason = format!(
            "{} has been neither good nor bad for {}: {why}",
            trigger.name,
            self.now.since(since).rounded()
        );
        let policy = trigger.then.page.clone();
        let (target, severity) = (trigger.target.clone(), trigger.severity);
        let what = Opening { cause, target, severity, reason, policy };
        self.open_and_page(
            what,
            since,
            notify.into_iter().collect(),
            "It can neither fire nor clear until it is judged again.",
        );
    }

    /// Returns whether a trigger has been breached for long past its window and still cannot fire: answers are missing.
    fn is_starved(&self, judgement: &Judgement) -> bool {
        let window = judgement.window;
        let pending = matches!(self.state().triggers.get(&judgement.key), Some(TriggerState::Pending { .. }));
        // Where observations are counted, time proves nothing.
        pending
            && !window.full
            && window.count.is_none()
            && window.since.is_some_and(|since| self.now.since(since) >= window.of + BLIND_AFTER)
    }

    fn take_silence(&mut self, silence: &Silence) {
        // Nobody asks any more: that is our silence, not the source's.
        if self.state().stopping {
            return;
        }
        let source = &silence.source;
        let blind = |trigger: &&std::sync::Arc<Trigger>| trigger.sources.contains(source);
        let hit: Vec<_> = self.setup.rules.triggers.values().filter(blind).cloned().collect();
        let worst = hit.iter().max_by_key(|trigger| trigger.severity);
        let (target, severity) = match worst {
            Some(trigger) => (trigger.target.clone(), trigger.severity),
            None => (TargetName::from(OWN_TARGET), Severity::Medium),
        };
        let mut notify: Vec<ReceiverName> =
            hit.iter().flat_map(|trigger| self.setup.receivers_of(trigger.then.page.as_ref())).collect();
        notify.sort();
        notify.dedup();
        if notify.is_empty() {
            notify = self.setup.receivers.iter().cloned().collect();
        }
        let why = silence.failure.as_ref().map_or("nothing was heard of it".to_owned(), ToString::to_string);
        let reason =
            format!("source {source} has been silent for {}: {why}", self.now.since(silence.since).rounded());
        let names: Vec<_> = hit.iter().map(|trigger| trigger.name.as_str()).collect();
        let blind = format!("Not judged meanwhile: {}. Silence alone never rolls back.", names.join(", "));
        let policy = worst.and_then(|trigger| trigger.then.page.clone());
        let what = Opening { cause: Cause::Silent(source.clone()), target, severity, reason, policy };
        self.open_and_page(what, silence.since, notify, &blind);
    }

    /// Opens an incident of the daemon's own and tells every receiver but `except`.
    pub(super) fn open_own(&mut self, cause: Cause, severity: Severity, reason: String, advice: &str) {
        let except = match &cause {
            Cause::DeadReceiver(receiver) => Some(receiver.clone()),
            _ => None,
        };
        let notify =
            self.setup.receivers.iter().filter(|name| Some(*name) != except.as_ref()).cloned().collect();
        let what = Opening { cause, target: TargetName::from(OWN_TARGET), severity, reason, policy: None };
        self.open_and_page(what, self.now, notify, advice);
    }

    pub(super) fn open_and_page(
        &mut self,
        what: Opening,
        since: crate::engine::time::Timestamp,
        notify: Vec<ReceiverName>,
        advice: &str,
    ) {
        if self.state().open_incident(&what.cause).is_some() {
            return;
        }
        let incident = IncidentId(self.state().next_incident);
        let summary = format!("{}: {}", what.target, what.reason);
        self.emit(Happening::IncidentOpened {
            incident,
            cause: what.cause,
            target: what.target,
            severity: what.severity,
            reason: what.reason,
            since,
            evidence: None,
            runbook: None,
            notify,
            policy: what.policy,
            due: BTreeMap::new(),
        });
        self.page_incident(incident, MessageKind::Trigger, summary, vec![advice.to_owned()]);
    }

    pub(super) fn receiver_died(&mut self, receiver: &ReceiverName, why: &str) {
        // One that was taken out of the configuration is not missed.
        if !self.setup.receivers.contains(receiver) {
            return;
        }
        let reason = format!("receiver {receiver} refuses messages for good: {why}");
        self.open_own(
            Cause::DeadReceiver(receiver.clone()),
            Severity::High,
            reason,
            "Pages through it are lost until its configuration is mended.",
        );
    }

    pub(super) fn receiver_lives(&mut self, receiver: &ReceiverName) {
        self.resolve_cause(
            &Cause::DeadReceiver(receiver.clone()),
            &format!("receiver {receiver} takes messages again"),
        );
    }

    /// Resolves the open incident of `cause`, if there is one.
    pub(super) fn resolve_cause(&mut self, cause: &Cause, reason: &str) {
        if let Some(incident) = self.state().open_incident(cause) {
            self.resolve(incident, reason);
        }
    }

    /// Resolves a trigger's incident once the trigger is quiet and no rollback of it is in flight.
    pub(super) fn resolve_if_quiet(&mut self, id: IncidentId, reason: &str) {
        let state = self.state();
        let Some(incident) = state.incidents.get(&id) else { return };
        let Cause::Trigger(key) = &incident.cause else { return };
        let loud = state.triggers.contains_key(key);
        if incident.resolved_at.is_none() && !loud && !self.is_busy(id) {
            self.resolve(id, reason);
        }
    }

    /// Returns whether a rollback of the incident is in flight.
    pub(super) fn is_busy(&self, id: IncidentId) -> bool {
        let state = self.state();
        let Some(incident) = state.incidents.get(&id) else { return false };
        incident.ran.values().any(|run| state.rollbacks.get(run).is_some_and(|run| !run.has_ended()))
    }

    fn resolve(&mut self, incident: IncidentId, reason: &str) {
        self.page_resolved(incident, reason);
        let known = self.state().incidents.get(&incident);
        let tasks = known.map(Incident::tasks_to_go_on).unwrap_or_default();
        self.emit(Happening::IncidentResolved { incident, reason: reason.to_owned(), tasks });
    }

    /// Lets go of what rules and sources that are gone have left behind.
    pub(super) fn forget_removed(&mut self) {
        self.forget_deployments();
        let setup = self.setup;
        let gone = |key: &TriggerKey| match is_imported(key) {
            true => is_gone(setup, key),
            false => !setup.rules.triggers.contains_key(&(key.target.clone(), key.trigger.clone())),
        };
        let removed: Vec<TriggerKey> =
            self.state().triggers.keys().filter(|key| gone(key)).cloned().collect();
        for key in removed {
            self.emit(Happening::TriggerCleared { key: key.clone(), evidence: None, removed: true });
        }
        let orphaned: Vec<IncidentId> = {
            let open = self.state().incidents.iter().filter(|(_, incident)| incident.resolved_at.is_none());
            open.filter(|(_, incident)| match &incident.cause {
                Cause::Trigger(key) | Cause::Blind(key) => gone(key),
                Cause::Silent(source) => !self.setup.sources.contains_key::<SourceName>(source),
                Cause::DeadReceiver(receiver) => !self.setup.receivers.contains(receiver),
                Cause::Journal | Cause::StateLost | Cause::Setup => false,
                // It ends with its deployment.
                Cause::OutsideWindow(_) => false,
            })
            .filter(|(_, incident)| {
                let run = |id| self.state().rollbacks.get(id);
                incident.ran.values().filter_map(run).all(super::rollback::Rollback::has_ended)
            })
            .map(|(id, _)| *id)
            .collect()
        };
        for incident in orphaned {
            self.resolve(incident, "it is no longer configured");
        }
    }

    /// Sends again what was decided and not yet delivered; receivers know a message by its id.
    pub(super) fn take_up_deliveries(&mut self) {
        let open: Vec<_> = {
            let pages = self.state().pages.values();
            pages
                .flat_map(|page| {
                    page.outstanding.iter().map(|(id, to)| (*id, to.clone(), page.message.clone()))
                })
                .collect()
        };
        for (effect, receiver, message) in open {
            self.effect(super::Effect::Deliver(super::Delivery { effect, receiver, message }));
        }
    }

    /// Takes in an outcome of a delivery or of a step.
    pub(super) fn take_outcome(
        &mut self,
        effect: crate::engine::model::EffectId,
        outcome: &super::EffectOutcome,
    ) {
        match outcome {
            super::EffectOutcome::Delivery(report) => self.take_delivery(effect, report),
            super::EffectOutcome::Step(ending) => self.take_step_ending(effect, ending),
        }
    }

    fn take_step_ending(&mut self, effect: crate::engine::model::EffectId, ending: &super::StepEnding) {
        let awaited =
            |(id, run): (&_, &super::rollback::Rollback)| (run.awaited() == Some(effect)).then_some(*id);
        let Some(rollback) = self.state().rollbacks.iter().find_map(awaited) else {
            let why = "no rollback awaits this step".to_owned();
            return self.report.add(effect.to_string(), Reason::NotAwaited(why));
        };
        self.emit(Happening::StepEnded { rollback, effect, ending: ending.clone() });
        self.advance(rollback);
    }
}

/// What an incident is opened with.
pub(super) struct Opening {
    pub(super) cause: Cause,
    pub(super) target: TargetName,
    pub(super) severity: Severity,
    pub(super) reason: String,
    /// Who is told next if it stays open.
    pub(super) policy: Option<PolicyName>,
}

/// How full a window is, in its own terms.
fn filling(window: &WindowFill) -> Reason {
    match window.count {
        Some((seen, needed)) => Reason::Counting { seen, needed },
        None => Reason::WindowFilling { breached: window.breached, of: window.of },
    }
}

/// What a firing trigger waits for although the promise holds again.
fn why_not_clear(trigger: &Trigger) -> String {
    match &trigger.clear {
        Some(Clear { when: Some(when), hold }) => format!("{} for {hold}", when.text),
        Some(Clear { when: None, hold }) => format!("the promise kept for {hold}"),
        None if !trigger.keep_firing_for.is_zero_or_negative() => {
            format!("{} without a breach", trigger.keep_firing_for)
        }
        None => format!("less than {} in its window", trigger.window),
    }
}

fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Unknown(why) => why.to_string(),
        Verdict::NoData => "its expression selects nothing".to_owned(),
        Verdict::Holds => "the promise holds".to_owned(),
        Verdict::Breached => "the promise is broken".to_owned(),
    }
}

/// The thresholds with their units, as people write them.
fn thresholds(condition: &Condition) -> String {
    let written = |compare: &&Compare| match compare.threshold {
        Threshold::Fixed(value) => crate::engine::evaluation::shown(value, compare.indicator.unit),
        Threshold::OfBaseline { factor, bound: Some(bound) } => {
            let bound = crate::engine::evaluation::shown(bound, compare.indicator.unit);
            format!("{factor}x baseline, bound {bound}")
        }
        relative @ Threshold::OfBaseline { .. } => relative.to_string(),
    };
    condition.compares().iter().map(written).collect::<Vec<_>>().join(", ")
}

fn summary_of(trigger: &Trigger, labels: &Labels, shown: &str, reason: &str) -> String {
    let value_of = |name: &str| {
        Some(match name {
            "target" => trigger.target.to_string(),
            "trigger" => trigger.name.to_string(),
            "labels" => labels.to_string(),
            "severity" => trigger.severity.to_string(),
            "value" => shown.to_owned(),
            "threshold" => thresholds(&trigger.when),
            "condition" => trigger.when.text.clone(),
            "window" => trigger.window.to_string(),
            _ => return None,
        })
    };
    match &trigger.summary {
        Some(template) => fill_text(template, value_of),
        None if labels.is_empty() => format!("{}: {}: {reason}", trigger.target, trigger.name),
        None => format!("{}: {} {labels}: {reason}", trigger.target, trigger.name),
    }
}

impl DeliveryReport {
    /// Returns whether nothing more will be heard of the delivery.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::FirstFailure(_))
    }
}
