//! Imported alerts: which target they speak of, what follows from them, and when they are over.
//!
//! They come as a whole, every alert that there is; what is no longer among them is over. That is why nothing is lost
//! with a restart, and why it must be known when absence means nothing: while a rule fails, or a source that it reads
//! does not answer, no alert of it ends (E2).

use std::collections::BTreeMap;

use super::draft::Draft;
use super::event::{Cause, Happening, Refusal};
use super::firing::Firing;
use super::incident::NO_LONGER_MET;
use super::incident::{BLIND_AFTER, Opening};
use super::setup::Setup;
use super::state::TriggerState;
use crate::engine::evaluation::{
    ALERT_NAME, AlertJudgement, AlertRuleStanding, AlertState, AlertsJudged, Evidence, TriggerKey, shown,
};
use crate::engine::model::{IncidentId, Labels, Severity, TargetName, TriggerName};
use crate::engine::report::Reason;
use crate::engine::rules::{GroupRuleKind, Route, Unit};

/// How many alerts of one name have incidents of their own at one target; those beyond it share one.
///
/// One broken rule over a large fleet must not bury everything else under its pages.
const INCIDENTS_PER_NAME: usize = 50;

/// How much of an expression is told to people.
const EXPRESSION_SHOWN: usize = 200;

/// An alert with its route; for those that share an incident, the worst one stands for all.
pub(super) struct Routed<'a> {
    pub(super) alert: &'a AlertJudgement,
    route: &'a Route,
    /// How many there are under this key.
    count: usize,
}

/// Returns whether a trigger's state is that of an imported alert: those carry `alertname`, native ones no label at all.
pub(super) fn is_imported(key: &TriggerKey) -> bool {
    key.labels.get(ALERT_NAME).is_some()
}

/// Returns whether the rule of an imported alert, or its route to the target, is no longer there.
pub(super) fn is_gone(setup: &Setup, key: &TriggerKey) -> bool {
    let rules = setup.rules.groups.iter().flat_map(|group| &group.rules);
    let mut alerts = rules.filter(|rule| matches!(rule.kind, GroupRuleKind::Alert { .. }));
    let routed = match shares(key) {
        // It stands for alerts with other labels, which may take another route each.
        true => setup.routes.iter().any(|route| route.target == key.target),
        false => route(setup, &key.labels).is_some_and(|route| route.target == key.target),
    };
    !routed || !alerts.any(|rule| rule.name() == key.trigger.as_str())
}

/// Returns whether a key has no label but the rule's name.
fn shares(key: &TriggerKey) -> bool {
    key.labels.len() == 1
}

fn shared_key(target: &TargetName, trigger: &TriggerName) -> TriggerKey {
    let labels = Labels::from_pairs([(ALERT_NAME, trigger.as_str())]);
    TriggerKey { target: target.clone(), trigger: trigger.clone(), labels }
}

fn route<'a>(setup: &'a Setup, labels: &Labels) -> Option<&'a Route> {
    setup.routes.iter().find(|route| route.matches(labels))
}

impl Draft<'_> {
    /// Ends what is no longer among the alerts that there are, and looks at the rules that fail.
    pub(super) fn end_alerts(&mut self, judged: &AlertsJudged, routed: &BTreeMap<TriggerKey, Routed<'_>>) {
        self.end_vanished(judged, routed);
        self.take_failing_rules(judged);
    }

    /// Sorts alerts by what they lead to. What has no route is shown and leads nowhere.
    pub(super) fn routed<'b>(&mut self, judged: &'b AlertsJudged) -> BTreeMap<TriggerKey, Routed<'b>>
    where
        Self: 'b,
    {
        let setup = self.setup;
        let mut routed: BTreeMap<TriggerKey, Routed<'b>> = BTreeMap::new();
        let mut late = Vec::new();
        let mut counts: BTreeMap<(&TargetName, &TriggerName), usize> = BTreeMap::new();
        let known = |key: &TriggerKey| self.state().triggers.contains_key(key);
        for alert in &judged.active {
            let Some(route) = route(setup, &alert.labels) else { continue };
            let (target, trigger) = (route.target.clone(), alert.name.clone());
            let key = TriggerKey { target, trigger, labels: alert.labels.clone() };
            if known(&key) && !shares(&key) {
                *counts.entry((&route.target, &alert.name)).or_default() += 1;
                join(&mut routed, key, alert, route);
            } else {
                late.push((key, alert, route));
            }
        }
        // Those that have an incident keep it; the others get one while there is room.
        for (key, alert, route) in late {
            let count = counts.entry((&route.target, &alert.name)).or_default();
            let twice = routed.contains_key(&key);
            if !twice && *count >= INCIDENTS_PER_NAME {
                join(&mut routed, shared_key(&route.target, &alert.name), alert, route);
            } else {
                *count += usize::from(!twice);
                join(&mut routed, key, alert, route);
            }
        }
        let lost = |alert: &&AlertJudgement| alert.is_new && alert.state == AlertState::Firing;
        for alert in judged.active.iter().filter(lost) {
            if route(setup, &alert.labels).is_none() {
                let why = "it fires, and no route matches its labels: nobody is paged".to_owned();
                self.report.add(alert.labels.to_string(), Reason::Denied(why));
            }
        }
        routed
    }

    pub(super) fn take_alert(&mut self, key: &TriggerKey, routed: &Routed<'_>) {
        let alert = routed.alert;
        match (self.state().triggers.get(key), alert.state) {
            (None, state) => {
                let (window, evidence) = (alert.hold, evidence_of(alert));
                self.emit(Happening::TriggerPending { key: key.clone(), window, evidence });
                if state == AlertState::Firing {
                    self.fire(firing(key, routed));
                }
            }
            (Some(TriggerState::Pending { .. }), AlertState::Firing) => self.fire(firing(key, routed)),
            (Some(TriggerState::Firing { .. }), AlertState::Firing) => self.act_after_all(key, routed),
            // A reload that raised `for` does not take back what was told.
            (Some(_), AlertState::Pending) => {}
        }
        if alert.state == AlertState::Pending {
            let breached = self.now.since(alert.since).rounded();
            self.report.add(key.trigger.to_string(), Reason::WindowFilling { breached, of: alert.hold });
        }
    }

    /// Begins the rollback that a source's silence or our own isolation kept from beginning, once that is over.
    fn act_after_all(&mut self, key: &TriggerKey, routed: &Routed<'_>) {
        let Some(plan) = &routed.route.then.rollback else { return };
        let waiting = |incident: &IncidentId| {
            let known = self.state().incidents.get(incident);
            known.is_some_and(|known| {
                matches!(known.refused, Some(Refusal::SourceFailed(_) | Refusal::Isolated(_)))
                    && !known.ran.contains_key(plan)
            })
        };
        let incident = self.state().open_incident(&Cause::Trigger(key.clone())).filter(waiting);
        if let Some(incident) = incident
            && routed.alert.failing_source.is_none()
            && self.isolated_alert(key).is_none()
        {
            self.begin_rollback(incident, &firing(key, routed));
        }
    }

    /// Ends what is no longer there, unless its absence means nothing.
    fn end_vanished(&mut self, judged: &AlertsJudged, routed: &BTreeMap<TriggerKey, Routed<'_>>) {
        let here = self.state().triggers.keys();
        let vanished: Vec<TriggerKey> =
            here.filter(|key| is_imported(key) && !routed.contains_key(key)).cloned().collect();
        for key in vanished {
            let mut rules = judged.rules.iter().filter(|rule| rule.name == key.trigger);
            if let Some(why) = rules.find_map(|rule| rule.undecided.as_ref()) {
                let why = format!("it is no longer seen, which proves nothing: {why}");
                self.report.add(key.trigger.to_string(), Reason::Blind(why));
                continue;
            }
            self.emit(Happening::TriggerCleared { key: key.clone(), evidence: None, removed: false });
            if let Some(incident) = self.state().open_incident(&Cause::Trigger(key)) {
                self.resolve_if_quiet(incident, NO_LONGER_MET);
            }
        }
    }

    /// A rule that cannot be evaluated for long is an incident where its alerts would be one (E10).
    fn take_failing_rules(&mut self, judged: &AlertsJudged) {
        let setup = self.setup;
        for rule in &judged.rules {
            let Some((since, why)) = &rule.failing else { continue };
            let Some(route) = route(setup, &rule.labels) else { continue };
            if self.now.since(*since) < BLIND_AFTER {
                continue;
            }
            let lasted = self.now.since(*since).rounded();
            let what = Opening {
                cause: Cause::Blind(shared_key(&route.target, &rule.name)),
                target: route.target.clone(),
                severity: severity_of(&rule.labels),
                reason: format!("{} has not been evaluated for {lasted}: {why}", rule.name),
                policy: route.then.page.clone(),
            };
            let notify = setup.receivers_of(route.then.page.as_ref()).into_iter().collect();
            let advice = "It can neither fire nor end until it can be evaluated again.";
            self.open_and_page(what, *since, notify, advice);
        }
        let works = |key: &TriggerKey| {
            let mut rules = judged.rules.iter().filter(|rule| rule.name == key.trigger);
            let decided = |rule: &AlertRuleStanding| rule.failing.is_none() && rule.undecided.is_none();
            is_imported(key) && rules.all(decided)
        };
        let open = self.state().incidents.values().filter(|incident| incident.resolved_at.is_none());
        let over: Vec<Cause> = open
            .filter(|incident| matches!(&incident.cause, Cause::Blind(key) if works(key)))
            .map(|incident| incident.cause.clone())
            .collect();
        for cause in over {
            self.resolve_cause(&cause, "it can be evaluated again");
        }
    }
}

/// Adds an alert under a key; of several the furthest, then the worst, stands for all.
fn join<'a>(
    routed: &mut BTreeMap<TriggerKey, Routed<'a>>,
    key: TriggerKey,
    alert: &'a AlertJudgement,
    route: &'a Route,
) {
    let rank = |alert: &AlertJudgement| (alert.state, severity_of(&alert.labels));
    match routed.get_mut(&key) {
        None => {
            routed.insert(key, Routed { alert, route, count: 1 });
        }
        Some(known) => {
            known.count += 1;
            if rank(alert) > rank(known.alert) {
                (known.alert, known.route) = (alert, route);
            }
        }
    }
}

/// Reads the label `severity`, in the words that are in use; anything else is medium.
pub(super) fn severity_of(labels: &Labels) -> Severity {
    match labels.get("severity").unwrap_or_default().to_ascii_lowercase().as_str() {
        "critical" | "page" | "emergency" => Severity::Critical,
        "high" | "error" => Severity::High,
        "low" | "info" | "none" => Severity::Low,
        _ => Severity::Medium,
    }
}

fn evidence_of(alert: &AlertJudgement) -> Option<Evidence> {
    // A NaN has no place in a record.
    (!alert.value.is_nan()).then(|| Evidence {
        value: alert.value,
        threshold: None,
        condition: expression(alert),
        shown: shown(alert.value, Unit::Count),
        newest_sample: None,
        labels: alert.labels.clone(),
    })
}

fn expression(alert: &AlertJudgement) -> String {
    let mut letters = alert.expression.chars();
    let mut text: String = letters.by_ref().take(EXPRESSION_SHOWN).collect();
    if letters.next().is_some() {
        text.push_str("...");
    }
    text
}

/// Returns what a firing alert leads to: texts from its annotations, the raw facts where there are none (E10).
fn firing<'a>(key: &'a TriggerKey, routed: &Routed<'a>) -> Firing<'a> {
    let alert = routed.alert;
    let annotation = |name: &str| alert.annotations.get(name).filter(|text| !text.trim().is_empty());
    let others = alert.labels.filtered(|name| name != ALERT_NAME);
    let mut who = if others.is_empty() { alert.name.to_string() } else { format!("{} {others}", alert.name) };
    if routed.count > 1 {
        who.push_str(&format!(" and {} more", routed.count - 1));
    }
    let lasted =
        if alert.hold.is_zero_or_negative() { String::new() } else { format!(" for {}", alert.hold) };
    let value = shown(alert.value, Unit::Count);
    let reason = format!("{who}: {}{lasted}: measured {value}", expression(alert));
    let description = annotation("description").or_else(|| annotation("message"));
    let summary = match annotation("summary").or(description) {
        Some(text) => text.lines().find(|line| !line.trim().is_empty()).unwrap_or(text).trim().to_owned(),
        None => format!("{}: {who}", key.target),
    };
    let mut details = Vec::new();
    if let Some(text) = description.filter(|text| text.trim() != summary) {
        details.push(text.trim().to_owned());
    }
    let told = ["summary", "description", "message", "runbook", "runbook_url"];
    let rest = alert.annotations.iter().filter(|(name, _)| !told.contains(name));
    details.extend(rest.map(|(name, text)| format!("{name}: {text}")));
    if routed.count > 1 {
        details.push(format!("{} alerts of this rule are told together.", routed.count));
    }
    Firing {
        key,
        then: &routed.route.then,
        severity: severity_of(&alert.labels),
        since: alert.since,
        reason,
        summary,
        details,
        evidence: evidence_of(alert),
        runbook: annotation("runbook_url").or_else(|| annotation("runbook")).map(str::to_owned),
        due: BTreeMap::new(),
        barred: match &alert.failing_source {
            _ if alert.rests_on_absence => Some(Refusal::RestsOnAbsence),
            Some(source) => Some(Refusal::SourceFailed(source.clone())),
            None => None,
        },
    }
}

#[cfg(test)]
mod tests;
