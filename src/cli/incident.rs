//! `rearguard incident list|show|export`: read from the journal itself, so that they work when the daemon is down.

mod layout;
mod run;
mod story;
#[cfg(test)]
mod tests;

use clap::{Subcommand, ValueEnum};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use self::layout::Section;
use self::run::{RunRecord, Runs};
use self::story::{Story, Surroundings};
use super::moment::{FORMS, Moment, utc};
use super::{CommandError, DaemonArguments, Exit, Output, client, print, print_json};
use crate::daemon::control::Request;
use crate::engine::model::{IncidentId, TargetName};
use crate::journal::{IncidentRow, IncidentsWanted, ReadError, Reader, Record};

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
        /// Only those that are open
        #[arg(long)]
        open: bool,
        /// Only those that were open since then: `7d` (ago), `2026-11-21`, `2026-11-21T12:00:00Z`
        #[arg(long, value_name = FORMS)]
        since: Option<Moment>,
        /// Only those of this target
        #[arg(long)]
        target: Option<TargetName>,
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
    /// Print the whole story as a document
    Export {
        /// The incident, such as I3
        incident: IncidentId,
        /// How to print
        #[arg(long, value_enum, default_value_t = Document::Md)]
        output: Document,
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

/// What a story is printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Document {
    /// Markdown
    Md,
    /// JSON, with every event
    Json,
}

/// A story for programs.
#[derive(Debug, Serialize)]
struct Exported<'a> {
    heading: String,
    rollbacks: Vec<RunRecord>,
    sections: Vec<Section>,
    events: &'a [Record],
}

pub(super) fn run(arguments: &IncidentArguments) -> Result<Exit, CommandError> {
    match &arguments.action {
        Action::List { limit, open, since, target, output, daemon } => {
            let since_unix_ms = since.map(|moment| moment.0);
            let wanted = IncidentsWanted { open: *open, since_unix_ms, target: target.clone() };
            let rows = reader(daemon)?.incidents(&wanted, *limit).map_err(failed)?;
            match output {
                Output::Json => print_json(&rows)?,
                Output::Table => print(&format!("{}\n", table(&rows)))?,
            }
        }
        Action::Show { incident, output, daemon } => {
            let reader = reader(daemon)?;
            let records = records(&reader, *incident)?;
            match output {
                Output::Json => print_json(&records)?,
                Output::Table => {
                    let story = Story::new(*incident, &records);
                    let sections = story.sections(&surroundings(&reader, &records).map_err(failed)?);
                    // Where nobody looks at a terminal, lines stay whole: they can be searched.
                    let width = Table::new().width().map(usize::from);
                    print(&format!("{}\n\n{}", story.heading(), layout::text(&sections, width)))?;
                }
            }
        }
        Action::Export { incident, output, daemon } => {
            let reader = reader(daemon)?;
            let records = records(&reader, *incident)?;
            let story = Story::new(*incident, &records);
            let sections = story.sections(&surroundings(&reader, &records).map_err(failed)?);
            match output {
                Document::Md => print(&layout::markdown(&story.heading(), &sections))?,
                Document::Json => {
                    let (heading, rollbacks) = (story.heading(), Runs::of(&story).records());
                    print_json(&Exported { heading, rollbacks, sections, events: &records })?;
                }
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

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn failed(error: ReadError) -> CommandError {
    CommandError::failed(error.to_string())
}

fn reader(daemon: &DaemonArguments) -> Result<Reader, CommandError> {
    let config = client::locate(&daemon.config)?;
    Reader::open(&config.state).map_err(|error| CommandError::failed(error.to_string()))
}

fn records(reader: &Reader, incident: IncidentId) -> Result<Vec<Record>, CommandError> {
    let records = reader.events_of_incident(incident).map_err(failed)?;
    if records.is_empty() {
        return Err(CommandError::failed(format!("there is no incident {incident}"))
            .with_hint("`rearguard incident list` shows which there are"));
    }
    Ok(records)
}

fn surroundings(reader: &Reader, records: &[Record]) -> Result<Surroundings, ReadError> {
    let (first, last) = (records.first(), records.last());
    Ok(Surroundings {
        journal: reader.id().as_str().to_owned(),
        head: reader.head()?,
        last_hash: last.map(|last| reader.hash_of(last.seq)).transpose()?.flatten(),
        files: first.map(|first| reader.files_at(first.seq)).transpose()?.flatten(),
    })
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
