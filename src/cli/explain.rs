//! `rearguard explain`: what a trigger sees, how full its window is, what it waits for, why it did or did not act.

use super::{CommandError, DaemonArguments, Exit, Output, client, print, print_json};
use crate::daemon::control::{Answer, Request};
use crate::engine::decision::TriggerState;
use crate::engine::evaluation::{Evidence, SourceLook, Verdict};
use crate::engine::explanation::Explanation;
use crate::engine::model::TriggerName;
use crate::engine::time::Timestamp;

/// What `explain` takes.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArguments {
    /// The trigger, such as `ErrorRateHigh`; one with levels is explained level by level
    trigger: String,
    #[command(flatten)]
    daemon: DaemonArguments,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(arguments: &ExplainArguments) -> Result<Exit, CommandError> {
    let config = client::locate(&arguments.daemon.config)?;
    let request = Request::Explain { trigger: TriggerName::from(arguments.trigger.as_str()) };
    let Answer::Explained(explanations) = client::ask(&config.control, &request)? else {
        return Err(CommandError::failed("the daemon answered something else than an explanation"));
    };
    if explanations.is_empty() {
        return Err(CommandError::failed(format!("there is no trigger `{}`", arguments.trigger))
            .with_hint("`rearguard status` lists them; imported alerts are explained there"));
    }
    match arguments.output {
        Output::Json => print_json(&explanations)?,
        Output::Table => print(&explanations.iter().map(render).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(Exit::Done)
}

/// One explanation as people read it: how it stands, then why.
fn render(explained: &Explanation) -> String {
    let key = &explained.look.key;
    let labels = if key.labels.is_empty() { String::new() } else { key.labels.to_string() };
    let mut lines = vec![
        format!("{}/{}{labels}, {}: {}", key.target, key.trigger, explained.severity, standing(explained)),
        field("when", &explained.condition),
        field("for", &explained.window),
    ];
    lines.extend(explained.expressions.iter().map(|expression| field("reads", expression)));
    lines.extend(explained.sources.iter().map(|look| field("source", &source(look, explained.now))));
    lines.push(field("sees", &seen(explained)));
    lines.extend(explained.waits_for.iter().map(|what| field("waits for", what)));
    if let Some((incident, refused)) = &explained.incident {
        let why = refused.as_ref().map_or_else(String::new, |why| format!("; it was not rolled back: {why}"));
        lines.push(field("incident", &format!("{incident} is open{why}")));
    }
    lines.push(field("then", &consequence(explained)));
    lines.join("\n") + "\n"
}

fn field(name: &str, value: &str) -> String {
    format!("  {name:<10} {value}")
}

fn standing(explained: &Explanation) -> String {
    let ago = |since: &Timestamp| explained.now.since(*since).rounded();
    match &explained.state {
        _ if explained.look.outside.is_some() => "asleep".to_owned(),
        None => "quiet".to_owned(),
        Some(TriggerState::Pending { since }) => format!("pending for {}", ago(since)),
        Some(TriggerState::Firing { since }) => format!("FIRING, breached since {} ago", ago(since)),
    }
}

fn source(look: &SourceLook, now: Timestamp) -> String {
    let last = match look.last_good {
        // What a probe answers may be bad.
        Some(at) if look.probe.is_some() => format!("answered {} ago", now.since(at).rounded()),
        Some(at) => format!("answered well {} ago", now.since(at).rounded()),
        None => "has never answered well".to_owned(),
    };
    let failing = look.failure.as_ref().map_or_else(String::new, |failure| format!(", and fails: {failure}"));
    let told = look.probe.as_ref().map_or_else(String::new, |probe| match probe.good {
        true => format!(": {}", probe.why),
        false => format!(": BAD for {}, {}", now.since(probe.since).rounded(), probe.why),
    });
    format!("{} {last}{failing}{told}", look.source)
}

fn seen(explained: &Explanation) -> String {
    let evidence = explained.look.evidence.as_ref().map(|evidence| measured(evidence, explained.now));
    match (&explained.look.verdict, evidence) {
        (None, _) => "nothing yet".to_owned(),
        (Some(Verdict::Holds), Some(measured)) => format!("{measured}: the promise holds"),
        (Some(Verdict::Breached), Some(measured)) => format!("{measured}: the promise is BROKEN"),
        (Some(Verdict::Holds), None) => "no value, which counts as good".to_owned(),
        (Some(Verdict::Breached), None) => "no value, which counts as bad".to_owned(),
        (Some(Verdict::NoData), _) => "no data: the expression selects nothing".to_owned(),
        (Some(Verdict::Unknown(why)), _) => format!("it cannot be said: {why}"),
    }
}

fn measured(evidence: &Evidence, now: Timestamp) -> String {
    let age =
        evidence.age(now).map_or_else(String::new, |age| format!(", from samples {} old", age.rounded()));
    format!("{}{age}", evidence.shown)
}

fn consequence(explained: &Explanation) -> String {
    let rollback = match &explained.rollback {
        None => "no rollback".to_owned(),
        Some((plan, None)) => format!("rollback `{plan}` would be begun"),
        Some((plan, Some(why))) => format!("rollback `{plan}` would NOT be begun now: {why}"),
    };
    match &explained.page {
        Some(policy) => format!("{rollback}; policy `{policy}` is told"),
        None => format!("{rollback}; every receiver is told"),
    }
}
