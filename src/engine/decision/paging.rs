//! Who is told what: messages, their receivers, and what follows when a receiver says no (E5, E9).

use std::collections::BTreeSet;

use super::draft::Draft;
use super::effect::{Delivery, DeliveryReport, Effect, IncidentFacts, Message, MessageKind};
use super::event::{Cause, Happening, Outcome, Refusal};
use super::rollback::Phase;
use super::state::{Incident, State};
use crate::engine::model::{EffectId, IncidentId, JournalId, Labels, ReceiverName, RollbackId, Severity};
use crate::engine::report::Reason;
use crate::engine::rules::Clock;
use crate::engine::time::Timestamp;

/// What was done about a message before it goes to another channel.
#[derive(Default)]
struct Before {
    /// The receivers that had it already and are not tried again.
    tried: BTreeSet<ReceiverName>,
    /// The delivery that it makes up for.
    instead_of: Option<EffectId>,
}

impl State {
    pub(super) fn report_delivery(
        &mut self,
        effect: EffectId,
        receiver: &ReceiverName,
        report: &DeliveryReport,
    ) -> Result<(), String> {
        let found = self.pages.iter_mut().find(|(_, page)| page.outstanding.contains_key(&effect));
        let Some((first, page)) = found else {
            return Err(format!("no delivery {effect} is outstanding"));
        };
        let first = *first;
        match report {
            DeliveryReport::FirstFailure(why) | DeliveryReport::Dead(why) => {
                self.failing_receivers.insert(receiver.clone(), why.clone());
            }
            DeliveryReport::Accepted(_) => {
                page.accepted = true;
                self.failing_receivers.remove(receiver);
            }
        }
        if !matches!(report, DeliveryReport::FirstFailure(_)) {
            page.outstanding.remove(&effect);
            if page.outstanding.is_empty() {
                self.pages.remove(&first);
            }
        }
        Ok(())
    }
}

impl Draft<'_> {
    /// Collects what is known of an incident.
    pub(super) fn facts(&self, id: IncidentId) -> Option<IncidentFacts> {
        let state = self.state();
        let incident = state.incidents.get(&id)?;
        let target = state.targets.get(&incident.target);
        let labels = match &incident.cause {
            Cause::Trigger(key) | Cause::Blind(key) => key.labels.clone(),
            _ => Labels::empty(),
        };
        Some(IncidentFacts {
            incident: id,
            journal: state.journal.clone().unwrap_or_else(|| JournalId::new("no-journal")),
            target: incident.target.clone(),
            cause: incident.cause.to_string(),
            labels,
            severity: incident.severity,
            reason: incident.reason.clone(),
            value: incident.evidence.as_ref().map(|evidence| evidence.value),
            threshold: incident.evidence.as_ref().and_then(|evidence| evidence.threshold),
            since: incident.since,
            since_unix_ms: (incident.since + state.wall_offset).as_millis(),
            version: target.and_then(|target| target.version.clone()),
            previous_version: target.and_then(|target| target.previous_version.clone()),
            runbook: incident.runbook.clone(),
        })
    }

    /// Tells the incident's own receivers.
    pub(super) fn page_incident(
        &mut self,
        id: IncidentId,
        kind: MessageKind,
        summary: String,
        details: Vec<String>,
    ) {
        let Some(facts) = self.facts(id) else { return };
        let key = id.global(&facts.journal);
        let severity = facts.severity;
        self.page(id, kind, key, severity, summary, details);
    }

    /// Tells the next level of an incident's policy, which has not heard of it so far.
    pub(super) fn page_level(&mut self, id: IncidentId, level: usize, receivers: BTreeSet<ReceiverName>) {
        let (Some(facts), Some(incident)) = (self.facts(id), self.state().incidents.get(&id)) else { return };
        let open = self.now.since(incident.opened_at).rounded();
        let mut details = vec![format!("Nobody has ended it: level {level} of its policy is told.")];
        details.extend(self.run_lines(incident));
        let summary = format!("{}: open for {open}: {}", facts.target, facts.reason);
        let (key, severity) = (id.global(&facts.journal), facts.severity);
        let message = self.message(facts, MessageKind::Trigger, key, severity, summary, details);
        self.send(id, message, &receivers, &Before::default());
    }

    /// Tells that a clock of an incident is over, under a key of its own.
    pub(super) fn page_overdue(&mut self, id: IncidentId, clock: &Clock, due_at: Timestamp) {
        let (Some(facts), Some(incident)) = (self.facts(id), self.state().incidents.get(&id)) else { return };
        let within = incident.allowed(clock, due_at);
        let summary =
            format!("{}: OVERDUE: {} within {within}: {}", facts.target, clock.missed(), facts.reason);
        let mut details = self.run_lines(incident);
        if let (Some(refused), true) = (&incident.refused, *clock == Clock::Rollback) {
            details.push(format!("No rollback was begun: {}", self.explain(refused)));
        }
        if let Clock::Task(task) = clock {
            details.push(format!("Look whether somebody is on it. In time, `rearguard incident done {id} '{task}'` stops the clock."));
        }
        if incident.resolved_at.is_some() {
            details.push("The incident itself is over.".to_owned());
        }
        let key = overdue_key(&facts);
        let severity = facts.severity;
        self.page(id, MessageKind::Trigger, key, severity, summary, details);
    }

    fn run_lines(&self, incident: &Incident) -> Vec<String> {
        let runs = incident.ran.values().filter_map(|id| Some((id, self.state().rollbacks.get(id)?)));
        runs.map(|(id, run)| format!("Rollback {id} by plan `{}` {}.", run.plan, run.phase)).collect()
    }

    /// Tells what became of a rollback: under the incident's own key if it worked, else under a key of its own,
    /// because an incident that somebody has acknowledged notifies nobody any more (E5).
    pub(super) fn page_rollback(&mut self, id: RollbackId) {
        let Some(rollback) = self.state().rollbacks.get(&id).cloned() else { return };
        let Some(facts) = self.facts(rollback.incident) else { return };
        let took = self.now.since(rollback.begun_at).rounded();
        let (summary, fine) = match &rollback.phase {
            Phase::Ended { outcome: Outcome::Succeeded, .. } => {
                let plan = self.setup.plans.get(&rollback.plan);
                let proof = match plan.is_some_and(|plan| plan.verify.is_some()) {
                    true => "verified",
                    false => "NOT verified: the plan has no verification",
                };
                (format!("{}: rolled back by `{}` in {took}, {proof}", rollback.target, rollback.plan), true)
            }
            Phase::Ended { outcome, reason, .. } => {
                (format!("{}: rollback `{}` {outcome}: {reason}", rollback.target, rollback.plan), false)
            }
            Phase::InDoubt { why, .. } => {
                (format!("{}: rollback `{}` is IN DOUBT: {why}", rollback.target, rollback.plan), false)
            }
            _ => return,
        };
        let mut details = vec![format!("Began because: {}", facts.reason)];
        details.extend(rollback.step_lines().into_iter().map(|line| format!("Step {line}")));
        details.extend(rollback.last_words());
        if let Phase::InDoubt { .. } = rollback.phase {
            let settle = format!("rearguard rollback settle {id} --done | --not-done");
            details.push(format!(
                "Nothing more is done to {} until you say what became of it: {settle}",
                rollback.target
            ));
        } else if !fine {
            details.push(format!(
                "Rearguard will not try again for this incident: look at {} now.",
                rollback.target
            ));
        }
        if fine {
            self.page_incident(rollback.incident, MessageKind::Update, summary, details);
        } else {
            // Also whoever was told that this run would mend their incident too.
            let joined = self.state().incidents.iter().filter(|(_, incident)| {
                incident.resolved_at.is_none() && incident.refused == Some(Refusal::Joined(id))
            });
            let told: Vec<IncidentId> =
                std::iter::once(rollback.incident).chain(joined.map(|(joined, _)| *joined)).collect();
            for incident in told {
                let key = format!("{}-rollback", incident.global(&facts.journal));
                let (summary, details) = (summary.clone(), details.clone());
                self.told_now.insert(key.clone());
                self.page(incident, MessageKind::Trigger, key, Severity::Critical, summary, details);
            }
        }
    }

    /// Tells that a rollback that was wanted was refused (E5).
    pub(super) fn page_refusal(&mut self, id: IncidentId, plan: &str, why: &str) {
        let Some(facts) = self.facts(id) else { return };
        let summary = format!("{}: rollback `{plan}` was REFUSED: {why}", facts.target);
        let details = vec![
            format!("It was wanted because: {}", facts.reason),
            format!("Nothing was done to {}: look at it now.", facts.target),
        ];
        let key = format!("{}-rollback", id.global(&facts.journal));
        self.page(id, MessageKind::Trigger, key, Severity::Critical, summary, details);
    }

    /// Closes every key that an incident has opened at receivers.
    pub(super) fn page_resolved(&mut self, id: IncidentId, reason: &str) {
        let Some(facts) = self.facts(id) else { return };
        let Some(incident) = self.state().incidents.get(&id) else { return };
        let summary = format!("{}: {}: {reason}", facts.target, facts.cause);
        let lasted = self.now.since(incident.since).rounded();
        let details = vec![format!("It lasted {lasted}. It had been opened because: {}", facts.reason)];
        // A page that would be taken back in the instant in which it goes out would reach nobody. That a rollback did not
        // work out calls for somebody although the condition has cleared meanwhile: that page is left to whoever takes it,
        // and there is one all-clear.
        let told_now = self.told_now.clone();
        for (key, receivers) in incident.open_keys.clone() {
            if told_now.contains(&key) {
                continue;
            }
            let (facts, severity) = (facts.clone(), facts.severity);
            let (summary, details) = (summary.clone(), details.clone());
            let message = self.message(facts, MessageKind::Resolve, key, severity, summary, details);
            self.send(id, message, &receivers, &Before::default());
        }
    }

    /// Closes the page about what was late at an incident that is over.
    pub(super) fn page_not_late(&mut self, id: IncidentId, reason: &str) {
        let (Some(facts), Some(incident)) = (self.facts(id), self.state().incidents.get(&id)) else { return };
        let key = overdue_key(&facts);
        let Some(receivers) = incident.open_keys.get(&key).cloned() else { return };
        let summary = format!("{}: {}: {reason}", facts.target, facts.cause);
        let details = vec!["Nothing is late any more; the incident itself is over.".to_owned()];
        let severity = facts.severity;
        let message = self.message(facts, MessageKind::Resolve, key, severity, summary, details);
        self.send(id, message, &receivers, &Before::default());
    }

    fn page(
        &mut self,
        id: IncidentId,
        kind: MessageKind,
        dedup_key: String,
        severity: Severity,
        summary: String,
        details: Vec<String>,
    ) {
        let (Some(facts), Some(incident)) = (self.facts(id), self.state().incidents.get(&id)) else { return };
        let receivers: BTreeSet<ReceiverName> = incident.notify.iter().cloned().collect();
        let message = self.message(facts, kind, dedup_key, severity, summary, details);
        self.send(id, message, &receivers, &Before::default());
    }

    fn message(
        &self,
        facts: IncidentFacts,
        kind: MessageKind,
        dedup_key: String,
        severity: Severity,
        summary: String,
        details: Vec<String>,
    ) -> Message {
        let state = self.state();
        let decided_unix_ms = (self.now + state.wall_offset).as_millis();
        let unjournaled = state.journal_lost.is_some();
        Message { kind, dedup_key, severity, summary, details, facts, decided_unix_ms, unjournaled }
    }

    /// Gives a message to `receivers`; `before` tells who had it already.
    fn send(
        &mut self,
        incident: IncidentId,
        message: Message,
        receivers: &BTreeSet<ReceiverName>,
        before: &Before,
    ) {
        if receivers.is_empty() {
            let why = format!("no receiver is configured for: {}", message.summary);
            return self.report.add(incident.to_string(), Reason::Denied(why));
        }
        let first = self.state().next_effect;
        let deliveries: Vec<(EffectId, ReceiverName)> =
            (first..).map(EffectId).zip(receivers.iter().cloned()).collect();
        let decided = self.emit(Happening::PageDecided {
            incident,
            message: Box::new(message.clone()),
            deliveries: deliveries.clone(),
            tried: before.tried.iter().cloned().collect(),
            instead_of: before.instead_of,
        });
        // Ids that are not recorded would be given out again.
        if !decided {
            return;
        }
        for (effect, receiver) in deliveries {
            self.effect(Effect::Deliver(Delivery { effect, receiver, message: message.clone() }));
        }
    }

    /// Takes in what became of a delivery. When a channel fails, the next one is tried at once.
    pub(super) fn take_delivery(&mut self, effect: EffectId, report: &DeliveryReport) {
        let found =
            self.state().pages.values().find_map(|page| {
                page.outstanding.get(&effect).map(|receiver| (page.clone(), receiver.clone()))
            });
        let Some((page, receiver)) = found else {
            // Another delivery report of an effect that a restart dispatched twice.
            return self
                .report
                .add(effect.to_string(), Reason::NotAwaited("delivery is over already".to_owned()));
        };
        self.emit(Happening::DeliveryReported { effect, receiver: receiver.clone(), report: report.clone() });
        match report {
            DeliveryReport::Accepted(_) => self.receiver_lives(&receiver),
            DeliveryReport::FirstFailure(_) | DeliveryReport::Dead(_) => {
                let dead = matches!(report, DeliveryReport::Dead(_));
                let forwarded = page.forwarded.contains(&effect);
                if !forwarded && (!page.accepted || dead) {
                    self.try_next_channel(&page, effect, &receiver);
                }
                if let DeliveryReport::Dead(why) = report {
                    self.receiver_died(&receiver, why);
                }
            }
        }
    }

    /// Sends a page that a channel did not take to one that it was not given to yet.
    fn try_next_channel(&mut self, page: &super::state::Page, effect: EffectId, failed: &ReceiverName) {
        let state = self.state();
        let next = self
            .setup
            .receivers
            .iter()
            .filter(|receiver| !page.receivers.contains(*receiver) && *receiver != failed)
            // One that works, if there is one.
            .min_by_key(|receiver| state.failing_receivers.contains_key(*receiver))
            .cloned();
        // A resolve matters only where the incident was opened.
        if let Some(next) = next
            && page.message.kind != MessageKind::Resolve
        {
            let mut message = page.message.clone();
            message.details.push(format!("Sent here because receiver {failed} did not take it."));
            let next = BTreeSet::from([next]);
            let before = Before { tried: page.receivers.clone(), instead_of: Some(effect) };
            self.send(page.incident, message.clone(), &next, &before);
            // Nobody has told this receiver that it is over, and nobody else will.
            let incident = self.state().incidents.get(&page.incident);
            if incident.is_some_and(|incident| incident.resolved_at.is_some()) {
                message.kind = MessageKind::Resolve;
                message.summary.push_str(": over by now");
                self.send(page.incident, message, &next, &before);
            }
        }
    }
}

/// The key of pages about clocks that are over.
fn overdue_key(facts: &IncidentFacts) -> String {
    format!("{}-overdue", facts.incident.global(&facts.journal))
}
