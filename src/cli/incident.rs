//! `rearguard incident list|show`: read from the journal itself, so that they work when the daemon is down.

use clap::Subcommand;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::{CommandError, DaemonArguments, Exit, Output, client, print, print_json};
use crate::daemon::control::Request;
use crate::engine::decision::Happening;
use crate::engine::model::IncidentId;
use crate::journal::{IncidentRow, Reader, Record};

/// What `incident` takes.
#[derive(Debug, clap::Args)]
pub(super) struct IncidentArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List incidents, newest first
    List {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        daemon: DaemonArguments,
    },
    /// Tell what happened and why, from the first breach to the last message
    Show {
        /// The incident, such as I3
        incident: IncidentId,
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        daemon: DaemonArguments,
    },
    /// Tell that a task of an incident is done, which stops its clock
    Done {
        /// The incident, such as I3
        incident: IncidentId,
        /// The task, as the rule's `due` calls it
        task: String,
        #[command(flatten)]
        daemon: DaemonArguments,
    },
}

pub(super) fn run(arguments: &IncidentArguments) -> Result<Exit, CommandError> {
    match &arguments.action {
        Action::List { limit, output, daemon } => {
            let rows =
                reader(daemon)?.incidents(*limit).map_err(|error| CommandError::failed(error.to_string()))?;
            match output {
                Output::Json => print_json(&rows)?,
                Output::Table => print(&format!("{}\n", table(&rows)))?,
            }
        }
        Action::Show { incident, output, daemon } => {
            let reader = reader(daemon)?;
            let records = reader
                .events_of_incident(*incident)
                .map_err(|error| CommandError::failed(error.to_string()))?;
            if records.is_empty() {
                return Err(CommandError::failed(format!("there is no incident {incident}"))
                    .with_hint("`rearguard incident list` shows which there are"));
            }
            match output {
                Output::Json => print_json(&records)?,
                Output::Table => print(&story(*incident, &records))?,
            }
        }
        Action::Done { incident, task, daemon } => {
            let config = client::locate(&daemon.config)?;
            client::ask(&config.control, &Request::TaskDone { incident: *incident, task: task.clone() })?;
            print(&format!("{incident}: `{task}` is done\n"))?;
        }
    }
    Ok(Exit::Done)
}

fn reader(daemon: &DaemonArguments) -> Result<Reader, CommandError> {
    let config = client::locate(&daemon.config)?;
    Reader::open(&config.state).map_err(|error| CommandError::failed(error.to_string()))
}

fn table(rows: &[IncidentRow]) -> String {
    if rows.is_empty() {
        return "no incidents".to_owned();
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["ID", "OPENED (UTC)", "STATE", "SEVERITY", "TARGET", "WHAT"]);
    for row in rows {
        let state = match &row.resolved {
            None => "OPEN".to_owned(),
            Some(resolution) => format!("resolved after {}", resolution.at.since(row.opened_at).rounded()),
        };
        table.add_row([
            row.id.to_string(),
            utc(row.opened_unix_ms, "%F %T"),
            state,
            row.severity.to_string(),
            row.target.to_string(),
            row.reason.clone(),
        ]);
    }
    table.trim_fmt()
}

/// Returns the incident as a timeline; times are relative to its opening.
fn story(incident: IncidentId, records: &[Record]) -> String {
    let opened = records.iter().find(|record| matches!(record.event.what, Happening::IncidentOpened { .. }));
    let zero = opened.or(records.first()).map_or(0, |record| record.event.at.as_millis());
    let mut text = format!("incident {incident}\n");
    for record in records {
        let after_s = (record.event.at.as_millis() - zero) as f64 / 1000.0;
        let clock = utc(record.wall_unix_ms, "%F %T");
        text.push_str(&format!("{clock}  {after_s:+9.3}s  {}\n", record.event.what));
        if let Happening::StepEnded { ending, .. } = &record.event.what {
            for line in ending.output.lines() {
                text.push_str(&format!("{:33}| {line}\n", ""));
            }
        }
    }
    text
}

fn utc(unix_ms: i64, format: &str) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .map_or_else(|_| format!("{unix_ms} ms"), |at| at.strftime(format).to_string())
}
