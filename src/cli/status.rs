//! `rearguard status`: what is watched, what is waited on, and why nothing was done.

mod promises;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::{CommandError, DaemonArguments, Exit, Output, client, deployment, print, print_json};
use crate::daemon::control::{Answer, Request};
use crate::daemon::core::DaemonStatus;
use crate::daemon::latency::Quantiles;
use crate::daemon::listener::Listening;
use crate::engine::decision::{Mode, State, TriggerState, counted};
use crate::engine::evaluation::{ActiveAlert, AlertState, FailingRule, SourceLook, TriggerLook, Verdict};
use crate::engine::time::{Span, Timestamp};

/// More rollbacks than this in a day say that something else is wrong.
const FREQUENT: usize = 3;
const DAY: Span = Span::from_secs(24 * 3600);

/// How many imported alerts are shown; all of them are in the JSON.
const ALERTS_SHOWN: usize = 20;

/// What `status` takes.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    daemon: DaemonArguments,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(arguments: &StatusArguments) -> Result<Exit, CommandError> {
    let config = client::locate(&arguments.daemon.config)?;
    let Answer::Status(status) = client::ask(&config.control, &Request::Status {})? else {
        return Err(CommandError::failed("the daemon answered something else than its status"));
    };
    match arguments.output {
        Output::Json => print_json(&status)?,
        Output::Table => print(&render(&status))?,
    }
    Ok(Exit::Done)
}

/// Returns the status as people read it: what is wrong first.
fn render(status: &DaemonStatus) -> String {
    let state = &status.engine.state;
    let mut text = format!(
        "rearguard {} (process {}), files {}, journal at event {}\n",
        status.version,
        status.pid,
        status.fingerprint.get(..12).unwrap_or(&status.fingerprint),
        status.journal_seq
    );
    if let Some(why) = &state.degraded {
        text.push_str(&format!("DEGRADED: the files on disk are refused: {why}\n"));
    }
    if let Some(why) = &state.journal_lost {
        text.push_str(&format!("JOURNAL CANNOT BE WRITTEN, no rollbacks: {why}\n"));
    }
    for (receiver, why) in &state.failing_receivers {
        text.push_str(&format!("RECEIVER {receiver} FAILS: {why}\n"));
    }
    match &status.listening {
        Listening::Off => {}
        Listening::Served(address) => text.push_str(&format!("read-only API at http://{address}/\n")),
        Listening::Failing { address, why } => {
            text.push_str(&format!("READ-ONLY API CANNOT LISTEN AT {address}: {why}\n"));
        }
    }
    match &status.ingest {
        Listening::Off => {}
        Listening::Served(address) => {
            text.push_str(&format!("deployments are taken at http://{address}/deployments\n"));
        }
        Listening::Failing { address, why } => {
            text.push_str(&format!("INGEST CANNOT LISTEN AT {address}: {why}\n"));
        }
    }
    section(&mut text, "TARGETS", targets(status));
    if !state.deployments.is_empty() {
        section(&mut text, "DEPLOYMENTS", deployments(state, status.engine.now));
    }
    section(&mut text, "SOURCES", sources(&status.engine.sources, status.engine.now));
    section(&mut text, "TRIGGERS", triggers(&status.engine.triggers, state, status.engine.now));
    if !status.engine.objectives.is_empty() {
        section(&mut text, "OBJECTIVES", promises::objectives(&status.engine.objectives));
    }
    if !status.engine.budgets.is_empty() {
        section(&mut text, "ERROR BUDGETS", promises::budgets(&status.engine.budgets));
    }
    if !status.engine.alerts.is_empty() {
        section(&mut text, "ALERTS OF IMPORTED RULES", alerts(&status.engine.alerts, status.engine.now));
    }
    if !status.engine.failing_rules.is_empty() {
        section(&mut text, "IMPORTED RULES THAT FAIL", failing(&status.engine.failing_rules));
    }
    section(&mut text, "OPEN INCIDENTS", incidents(state, status.engine.now));
    section(&mut text, "LATENCIES", latencies(status));
    text.push_str(&format!(
        "\n{} series, {} samples remembered\n",
        status.engine.series, status.engine.samples
    ));
    text
}

fn section(text: &mut String, title: &str, rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    for row in rows {
        table.add_row(row);
    }
    let body = if table.is_empty() { "  none".to_owned() } else { table.trim_fmt() };
    text.push_str(&format!("\n{title}\n{body}\n"));
}

fn targets(status: &DaemonStatus) -> Vec<Vec<String>> {
    let row = |(name, mode): &(String, Mode)| {
        let known = status.engine.state.targets.get(name.as_str());
        let mode = match mode {
            Mode::Shadow => "shadow: decides and pages, never acts",
            Mode::Armed => "armed",
        };
        let version = known.and_then(|known| known.version.as_deref()).unwrap_or("unknown");
        let doing = match known.and_then(|known| known.in_flight) {
            Some(rollback) => format!("rollback {rollback} in flight"),
            None => format!("{} so far", counted(known.map_or(0, |known| known.begun.len()), "rollback")),
        };
        let recent = known.map_or(0, |known| known.rollbacks_within(DAY, status.engine.now));
        let often = if recent > FREQUENT { format!("{recent} IN 24 HOURS") } else { String::new() };
        let stuck = known.is_some_and(|known| known.deployments.is_past_return(status.engine.now));
        let stuck = if stuck { "PAST ITS POINT OF NO RETURN: rollbacks are refused" } else { "" };
        let version = format!("version {version}");
        vec![name.clone(), mode.to_owned(), version, doing, often, stuck.to_owned()]
    };
    status.targets.iter().map(row).collect()
}

/// The active deployment of each target, or its last one.
fn deployments(state: &State, now: Timestamp) -> Vec<Vec<String>> {
    let last = state.targets.values().filter_map(|target| target.deployments.last);
    let known = last.filter_map(|id| Some((id, state.deployments.get(&id)?)));
    known.map(|(id, deployment)| deployment::cells(id, deployment, now)).collect()
}

fn sources(sources: &[SourceLook], now: Timestamp) -> Vec<Vec<String>> {
    let row = |look: &SourceLook| {
        let state = match (&look.failure, &look.probe, look.heard) {
            (Some(failure), ..) => format!("FAILS: {failure}"),
            (None, Some(probe), _) if probe.good => format!("good: {}", probe.why),
            (None, Some(probe), _) => format!("BAD for {}: {}", now.since(probe.since).rounded(), probe.why),
            (None, None, true) => "answers".to_owned(),
            (None, None, false) => "not heard yet".to_owned(),
        };
        let last = look.last_good.map_or("never".to_owned(), |at| format!("{} ago", now.since(at).rounded()));
        // What a probe answers may be bad.
        let what = if look.probe.is_some() { "last answer" } else { "last good answer" };
        vec![look.source.to_string(), state, format!("{what} {last}")]
    };
    sources.iter().map(row).collect()
}

fn triggers(triggers: &[TriggerLook], state: &State, now: Timestamp) -> Vec<Vec<String>> {
    let row = |look: &TriggerLook| {
        let standing = match state.triggers.get(&look.key) {
            None => "quiet".to_owned(),
            Some(TriggerState::Pending { .. }) => match look.window.count {
                Some((seen, needed)) => format!("pending: {seen} of {needed} breaches"),
                None => {
                    format!("pending: breached for {} of {}", look.window.breached.rounded(), look.window.of)
                }
            },
            Some(TriggerState::Firing { .. }) => "FIRING".to_owned(),
        };
        if let Some(outside) = &look.outside {
            let since = now.since(outside.since).rounded();
            let name = format!("{}/{}", look.key.target, look.key.trigger);
            return vec![
                name,
                "asleep".to_owned(),
                match outside.until.map(|at| at.since(now).rounded()) {
                    None => format!("not judged: only during {}, since {since} ago", outside.scope),
                    Some(left) => {
                        format!(
                            "not judged: only during {}, since {since} ago, again in {left}",
                            outside.scope
                        )
                    }
                },
            ];
        }
        let seen = match (&look.verdict, &look.evidence) {
            (Some(Verdict::Unknown(why)), _) => format!("cannot be judged: {why}"),
            (Some(Verdict::NoData), _) => "no data".to_owned(),
            (Some(_), Some(evidence)) => format!("{}: measured {}", evidence.condition, evidence.shown),
            (Some(Verdict::Holds), None) => "no value, which counts as good".to_owned(),
            (Some(Verdict::Breached), None) => "no value, which counts as bad".to_owned(),
            (None, _) => "not judged yet: a source has not answered".to_owned(),
        };
        let labels = if look.key.labels.is_empty() { String::new() } else { look.key.labels.to_string() };
        vec![format!("{}/{}{labels}", look.key.target, look.key.trigger), standing, seen]
    };
    triggers.iter().map(row).collect()
}

/// The furthest first.
fn alerts(alerts: &[ActiveAlert], now: Timestamp) -> Vec<Vec<String>> {
    let mut alerts: Vec<&ActiveAlert> = alerts.iter().collect();
    alerts.sort_by_key(|alert| std::cmp::Reverse(alert.state));
    let more = alerts.len().saturating_sub(ALERTS_SHOWN);
    let row = |alert: &&ActiveAlert| {
        let standing = match (alert.state, alert.keep_since) {
            (AlertState::Pending, _) => "pending".to_owned(),
            (AlertState::Firing, None) => "FIRING".to_owned(),
            (AlertState::Firing, Some(since)) => {
                format!("FIRING, kept: not seen for {}", now.since(since).rounded())
            }
        };
        let since = format!("for {}", now.since(alert.active_at).rounded());
        vec![alert.rule.to_string(), standing, since, alert.labels.to_string()]
    };
    let mut rows: Vec<_> = alerts.iter().take(ALERTS_SHOWN).map(row).collect();
    if more > 0 {
        rows.push(vec![format!("and {more} more")]);
    }
    rows
}

fn failing(rules: &[FailingRule]) -> Vec<Vec<String>> {
    let row = |rule: &FailingRule| vec![rule.group.name.to_string(), rule.rule.clone(), rule.why.clone()];
    rules.iter().map(row).collect()
}

fn incidents(state: &State, now: Timestamp) -> Vec<Vec<String>> {
    let open = state.incidents.iter().filter(|(_, incident)| incident.resolved_at.is_none());
    open.map(|(id, incident)| {
        let run = incident.ran.values().next_back().and_then(|run| Some((run, state.rollbacks.get(run)?)));
        let rollback = match run {
            Some((id, run)) => format!("rollback {id} {}", run.phase),
            None => match (&incident.refused, &incident.recommended) {
                (Some(refusal), _) => format!("no rollback: {refusal}"),
                (None, Some(plan)) => format!("RECOMMENDED: roll back by {plan}"),
                (None, None) => String::new(),
            },
        };
        let since = format!("for {}", now.since(incident.since).rounded());
        vec![id.to_string(), incident.severity.to_string(), since, incident.reason.clone(), rollback]
    })
    .collect()
}

fn latencies(status: &DaemonStatus) -> Vec<Vec<String>> {
    let shown = |quantiles: &Quantiles| {
        let ms = |us: u64| format!("{:.1}ms", us as f64 / 1000.0);
        format!(
            "p50 {}, p99 {}, max {} ({} times)",
            ms(quantiles.p50_us),
            ms(quantiles.p99_us),
            ms(quantiles.max_us),
            quantiles.count
        )
    };
    let report = &status.latencies;
    let mut rows: Vec<Vec<String>> = report
        .scrapes
        .iter()
        .map(|(name, latency)| vec![format!("scrape of {name}"), shown(latency)])
        .collect();
    rows.extend(report.engine_loop.iter().map(|latency| vec!["engine's loop".to_owned(), shown(latency)]));
    rows.extend(report.sample_to_act.iter().map(|latency| vec!["sample to act".to_owned(), shown(latency)]));
    rows
}
