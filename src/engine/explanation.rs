//! Why a trigger does what it does: what it sees, how full its window is, what it waits for, what would follow.

use serde::{Deserialize, Serialize};

use crate::engine::decision::{
    Cause, Setup, State, TriggerState, barred_by_absence, outside_again_at, would_roll_back,
};
use crate::engine::evaluation::{Evidence, ProbeSeen, SourceLook, TriggerLook, Verdict, WindowFill};
use crate::engine::model::{IncidentId, PlanName, PolicyName, Severity, TriggerName};
use crate::engine::rules::{Trigger, WindowSpec};
use crate::engine::time::{Span, Timestamp};

/// One trigger over one label set, explained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Engine time.
    pub now: Timestamp,
    /// What it looks like now.
    pub look: TriggerLook,
    /// What is bad when it is met, as written.
    pub condition: String,
    /// The expressions behind it.
    pub expressions: Vec<String>,
    /// The window with every default that it has.
    pub window: String,
    /// How bad it is.
    pub severity: Severity,
    /// The sources that it reads.
    pub sources: Vec<SourceLook>,
    /// Whether it is quiet, pending or firing.
    pub state: Option<TriggerState>,
    /// Its open incident, and why a rollback was not begun for it, if one was not.
    pub incident: Option<(IncidentId, Option<String>)>,
    /// What it waits for before it fires or ends: one sentence each.
    pub waits_for: Vec<String>,
    /// The plan that would be run, and why it would not be run now.
    pub rollback: Option<(PlanName, Option<String>)>,
    /// Who would be told.
    pub page: Option<PolicyName>,
}

/// Explains every trigger of a name; for one with levels, every level.
pub(super) fn explain(
    name: &TriggerName,
    (setup, state): (&Setup, &State),
    (looks, sources): (Vec<TriggerLook>, &[SourceLook]),
    now: Timestamp,
) -> Vec<Explanation> {
    let explained = |look: TriggerLook| {
        let rule = setup.rules.triggers.get(&(look.key.target.clone(), look.key.trigger.clone()))?;
        let is_level_of = rule.level.as_ref().is_some_and(|level| level.trigger == *name);
        (rule.name == *name || is_level_of).then(|| one(rule, look, (setup, state), sources, now))
    };
    looks.into_iter().filter_map(explained).collect()
}

fn one(
    rule: &Trigger,
    look: TriggerLook,
    (setup, state): (&Setup, &State),
    sources: &[SourceLook],
    now: Timestamp,
) -> Explanation {
    let standing = state.triggers.get(&look.key).cloned();
    let open = state.open_incident(&Cause::Trigger(look.key.clone()));
    let incident = open.map(|id| {
        let refused = state.incidents.get(&id).and_then(|incident| incident.refused.as_ref());
        (id, refused.map(|refusal| state.tell_refusal(refusal, now)))
    });
    let fresh = |probe: &ProbeSeen| {
        setup.sources.get(&probe.source).is_some_and(|pace| probe.is_fresh(pace.every, now))
    };
    let probes: Vec<ProbeSeen> = sources.iter().filter_map(|look| look.probe.clone()).filter(fresh).collect();
    let rollback = rule.then.rollback.clone().map(|plan| {
        let absence = barred_by_absence(setup, rule, &probes);
        let refused = would_roll_back(state, setup, now, open, &rule.target, &rule.then).err().or(absence);
        (plan, refused.map(|refusal| state.tell_refusal(&refusal, now)))
    });
    Explanation {
        now,
        condition: rule.when.text.clone(),
        expressions: rule
            .when
            .compares()
            .iter()
            .map(|c| format!("{} = {}", c.indicator.name, c.indicator.text))
            .collect(),
        window: window(&rule.window),
        severity: rule.severity,
        sources: sources.iter().filter(|look| rule.sources.contains(&look.source)).cloned().collect(),
        waits_for: {
            let ends = outside_again_at(state, setup, rule, now);
            waits_for(rule, &look, standing.as_ref(), ends, now)
        },
        state: standing,
        incident,
        rollback,
        page: rule.then.page.clone(),
        look,
    }
}

/// The window in its long form.
fn window(spec: &WindowSpec) -> String {
    match spec {
        WindowSpec::Sustained { of, .. } if of.is_zero_or_negative() => {
            "fires at the first breach".to_owned()
        }
        WindowSpec::Sustained { of, coverage, max_gap } => format!(
            "breached at every observation for {of}, {} of it observed; one verdict speaks for {max_gap}",
            percent(*coverage)
        ),
        WindowSpec::Share { share, of, coverage, max_gap } => format!(
            "breached for {} of {of}, {} of it observed; one verdict speaks for {max_gap}",
            percent(*share),
            percent(*coverage)
        ),
        WindowSpec::Count { count, of } => format!("breached at {count} observations within {of}"),
        WindowSpec::InARow { count } => format!("breached at {count} observations in a row"),
        WindowSpec::Nominal { of, every, .. } => {
            let needed = spec.needed().unwrap_or_default();
            format!(
                "breached at {needed} observations of the last {of}, as a script counts them every {every}"
            )
        }
    }
}

fn percent(share: f64) -> String {
    crate::engine::evaluation::shown(share, crate::engine::rules::Unit::Ratio)
}

/// What has to happen before something changes.
fn waits_for(
    rule: &Trigger,
    look: &TriggerLook,
    state: Option<&TriggerState>,
    ends: Option<Timestamp>,
    now: Timestamp,
) -> Vec<String> {
    if let Some(outside) = &look.outside {
        let since = now.since(outside.since).rounded();
        let next = outside
            .until
            .map_or_else(String::new, |at| format!("; it is again in {}", at.since(now).rounded()));
        return vec![format!(
            "it is judged during {} only, which it has not been for {since}{next}",
            outside.scope
        )];
    }
    let mut waits = Vec::new();
    match &look.verdict {
        None => waits.push("every source that it reads must have answered once".to_owned()),
        Some(Verdict::Unknown(why)) => waits.push(format!("it cannot be judged: {why}")),
        Some(Verdict::NoData) => waits.push("its expression must select something".to_owned()),
        Some(Verdict::Holds) if state.is_none() => waits.push(format!("a breach: {}", nearness(look))),
        Some(Verdict::Holds) => {
            let end = rule.clear.as_ref().map_or_else(
                || "its window must no longer hold as much as it takes".to_owned(),
                |clear| match &clear.when {
                    Some(when) => format!("to end: {} for {}", when.text, clear.hold),
                    None => format!("to end: the promise kept for {}", clear.hold),
                },
            );
            waits.push(end);
        }
        Some(Verdict::Breached) if look.window.full => {
            waits.push("the promise must hold again before it ends".to_owned());
        }
        Some(Verdict::Breached) => waits.push(missing(&look.window)),
    }
    if let Some(at) = ends {
        waits.push(format!("its time is over in {}", at.since(now).rounded()));
    }
    waits
}

/// How far the value is from its threshold.
fn nearness(look: &TriggerLook) -> String {
    match &look.evidence {
        Some(evidence) => format!("now {}", seen(evidence)),
        None => "there is no value now".to_owned(),
    }
}

fn seen(evidence: &Evidence) -> String {
    format!("{} against {}", evidence.shown, evidence.condition)
}

/// What a window that fills still lacks.
fn missing(window: &WindowFill) -> String {
    match window.count {
        Some((seen, needed)) => {
            format!("{} more breaches: there are {seen} of {needed}", needed.saturating_sub(seen))
        }
        None => {
            let left = Span::from_millis((window.of.as_millis() - window.breached.as_millis()).max(0));
            format!(
                "up to {} more of breach: {} of {} are proven",
                left.rounded(),
                window.breached.rounded(),
                window.of
            )
        }
    }
}
