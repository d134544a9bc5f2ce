//! `rearguard audit export|verify`: what happened, event by event, and the proof that nobody has changed it.
//!
//! Both read the journal's file alone, so that they work beside a daemon, without one, and on a copy.

mod csv;
mod row;
mod verify;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use self::row::{Row, Rows};
use super::moment::{FORMS, Moment};
use super::{CommandError, DaemonArguments, Exit, Output, client, print};
use crate::engine::model::TargetName;
use crate::journal::Reader;

/// How much is printed in one go, in bytes.
const PAGE_BYTES: usize = 64 * 1024;

/// What `audit` takes.
#[derive(Debug, clap::Args)]
pub(super) struct AuditArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the journal's events, each with what it rests on and its place in the chain
    Export {
        /// Only events since then: `7d` (ago), `2026-11-21`, `2026-11-21T12:00:00Z`
        #[arg(long, value_name = FORMS)]
        since: Option<Moment>,
        /// Only events before then
        #[arg(long, value_name = FORMS)]
        until: Option<Moment>,
        /// Only events of this target
        #[arg(long)]
        target: Option<TargetName>,
        /// Only events of this kind, such as `rollback_decided`, or of a family, such as `rollback`; may be repeated
        #[arg(long)]
        kind: Vec<String>,
        /// How to print: one JSON object a line, or a table for spreadsheets
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        output: Format,
        #[command(flatten)]
        place: Place,
    },
    /// Check that no event was changed, dropped or slipped in; exit code 1 where one was
    Verify {
        /// The head's hash from a page (at least its first 12 digits): it must be in the chain
        #[arg(long, value_name = "HASH", value_parser = verify::anchor)]
        anchor: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the journal is.
#[derive(Clone, Debug, clap::Args)]
struct Place {
    /// The state directory, in place of the one that the daemon's file names: for copies
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
    #[command(flatten)]
    daemon: DaemonArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

pub(super) fn run(arguments: &AuditArguments) -> Result<Exit, CommandError> {
    match &arguments.action {
        Action::Verify { anchor, output, place } => verify::run(&reader(place)?, anchor.as_deref(), *output),
        Action::Export { since, until, target, kind, output, place } => {
            let wanted = Wanted {
                since_unix_ms: since.map(|moment| moment.0),
                until_unix_ms: until.map(|moment| moment.0),
                target: target.as_ref(),
                kinds: kind,
            };
            export(&reader(place)?, &wanted, *output)
        }
    }
}

fn reader(place: &Place) -> Result<Reader, CommandError> {
    let state = match &place.state {
        Some(state) => state.clone(),
        None => client::locate(&place.daemon.config)?.state,
    };
    Reader::open(&state).map_err(|error| CommandError::failed(error.to_string()))
}

/// Which events are wanted.
struct Wanted<'a> {
    since_unix_ms: Option<i64>,
    until_unix_ms: Option<i64>,
    target: Option<&'a TargetName>,
    kinds: &'a [String],
}

impl Wanted<'_> {
    fn has(&self, row: &Row) -> bool {
        let is_kind = |kind: &String| {
            row.kind == *kind
                || row.kind.strip_prefix(kind.as_str()).is_some_and(|rest| rest.starts_with('_'))
        };
        self.since_unix_ms.is_none_or(|since| row.wall_unix_ms >= since)
            && self.until_unix_ms.is_none_or(|until| row.wall_unix_ms < until)
            && self.target.is_none_or(|target| row.target.as_deref() == Some(target.as_str()))
            && (self.kinds.is_empty() || self.kinds.iter().any(is_kind))
    }
}

fn export(reader: &Reader, wanted: &Wanted<'_>, format: Format) -> Result<Exit, CommandError> {
    let failed = |error: crate::journal::ReadError| CommandError::failed(error.to_string());
    let mut rows = Rows::new(reader.files_at_start().map_err(failed)?);
    let (mut printed, mut result, mut broken) = (0_u64, Ok(()), None);
    let mut kinds = BTreeSet::new();
    let mut page = if format == Format::Csv { csv::head() } else { String::new() };
    let read = reader.entries(|entry| {
        if let Some(problem) = &entry.broken {
            broken.get_or_insert_with(|| problem.clone());
        }
        let row = rows.take(entry);
        kinds.insert(row.kind.clone());
        if wanted.has(&row) {
            printed += 1;
            match format {
                Format::Jsonl => page.push_str(&row.json()),
                Format::Csv => page.push_str(&csv::line(&row)),
            }
        }
        if page.len() > PAGE_BYTES {
            result = print(&std::mem::take(&mut page));
        }
        result.is_ok()
    });
    result?;
    print(&page)?;
    read.map_err(failed)?;
    if printed == 0 {
        let known = kinds.into_iter().collect::<Vec<_>>().join(", ");
        eprintln!("note: no event is like that; kinds in this journal: {known}");
    }
    match broken {
        None => Ok(Exit::Done),
        Some(broken) => Err(CommandError::failed(format!("{broken}; what follows it proves nothing"))
            .with_hint("`rearguard audit verify` tells more")),
    }
}
