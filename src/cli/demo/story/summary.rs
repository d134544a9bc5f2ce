//! The end of the story: how long everything took and what arrived where.

use std::collections::BTreeMap;

use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::telling::between;
use super::{Deed, Item, Paint, seconds, shortened};
use crate::cli::demo::Sabotage;
use crate::cli::demo::arrival::{Arrived, Mail, Page};
use crate::cli::demo::load::Seen;
use crate::effects::printable;
use crate::engine::decision::{Happening, Outcome};
use crate::engine::time::Span;

/// The three parts of a recovery and what they add up to; a part that did not come about is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// From the deployment of the bad version to the decision to roll back.
    pub detection: Option<Span>,
    /// The part of the detection that is the trigger's window: chosen by the rule's author, not by the machine.
    pub window: Option<Span>,
    /// From the decision to the end of the last step.
    pub rollback: Option<Span>,
    /// From the end of the last step to the proof that the application is well.
    pub proof: Option<Span>,
    /// From the deployment to the proof.
    pub recovery: Option<Span>,
}

impl Times {
    /// Takes the times of the first rollback in `items`.
    pub fn of(items: &[Item]) -> Self {
        let deployed = items.iter().find_map(|item| match item {
            Item::Deed { wall_unix_ms, what: Deed::Deployed(_) } => Some(*wall_unix_ms),
            _ => None,
        });
        let mut window = None;
        let (mut decided, mut stepped, mut proven) = (None, None, None);
        for record in items.iter().filter_map(|item| match item {
            Item::Event(record) => Some(record),
            _ => None,
        }) {
            match &record.event.what {
                Happening::TriggerFiring { since, .. } if decided.is_none() => {
                    window = Some(record.event.at.since(*since));
                }
                Happening::RollbackDecided { .. } if decided.is_none() => decided = Some(record.wall_unix_ms),
                Happening::StepEnded { .. } if proven.is_none() => stepped = Some(record.wall_unix_ms),
                Happening::RollbackEnded { outcome: Outcome::Succeeded, .. } if proven.is_none() => {
                    proven = Some(record.wall_unix_ms);
                }
                _ => {}
            }
        }
        let from_to = |from: Option<i64>, to: Option<i64>| Some(between(from?, to?));
        Self {
            detection: from_to(deployed, decided),
            window: decided.and(window),
            rollback: from_to(decided, stepped),
            proof: from_to(stepped, proven),
            recovery: from_to(deployed, proven),
        }
    }

    fn rows(&self) -> Vec<[String; 3]> {
        let shown = |span: Option<Span>| span.map_or_else(|| "never".to_owned(), seconds);
        let window = self.window.map(|window| format!(" ({} of it is the rule's window)", seconds(window)));
        let row = |name: &str, span, words: String| [name.to_owned(), shown(span), words];
        vec![
            row(
                "detection",
                self.detection,
                format!("from the bad deployment to the decision{}", window.unwrap_or_default()),
            ),
            row("rollback", self.rollback, "from the decision to the end of the last step".to_owned()),
            row("proof", self.proof, "from there until fresh samples met every condition".to_owned()),
            row("recovery", self.recovery, "all of it: from the bad deployment to the proof".to_owned()),
        ]
    }
}

/// Returns the summary as it is printed: times, what users saw, what arrived.
pub fn summary(items: &[Item], users: Option<Seen>, width: usize, paint: Paint) -> String {
    let mut rows = Times::of(items).rows();
    let times = rows.len();
    if let Some(users) = users {
        let words = format!("of {} requests since the bad deployment failed", users.requests);
        rows.push(["users".to_owned(), users.failed.to_string(), words]);
    }
    rows.push(pagerduty(items));
    rows.push(mail(items));

    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width.saturating_sub(2)).unwrap_or(u16::MAX)).force_no_tty();
    if paint == Paint::Color {
        table.enforce_styling();
    }
    for (at, [name, value, words]) in rows.into_iter().enumerate() {
        let value = Cell::new(value).set_alignment(comfy_table::CellAlignment::Right);
        let value = if at < times { value.add_attribute(Attribute::Bold) } else { value };
        table.add_row([Cell::new(name), value, Cell::new(printable::line(&words))]);
    }
    // Never narrower than its content: only the words in the last column may wrap.
    for column in [0, 1] {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(10)));
        }
    }
    let rule = paint.apply(Style::new().dimmed(), &"─".repeat(width.saturating_sub(4)));
    let body: Vec<_> = table.lines().map(|line| format!("  {}", line.trim_end())).collect();
    format!("  {rule}\n{}\n  {rule}", body.join("\n"))
}

/// Returns the last line: whether the story came out as it should, and what its point is.
pub fn closing(sabotage: Option<Sabotage>, missing: &[String], paint: Paint) -> String {
    if missing.is_empty() {
        let point = match sabotage {
            None => "rolled back, proven, and whoever is on call knows",
            Some(Sabotage::Actuator) => "the rollback failed, and whoever is on call knows that too",
            Some(Sabotage::Receiver) => "PagerDuty was down, and whoever is on call knows all the same",
            Some(Sabotage::Verify) => "the actuator lied, the proof found out, whoever is on call knows",
        };
        let good = AnsiColor::Green.on_default().bold();
        return format!("  {} {point}", paint.apply(good, "✓ As it should be:"));
    }
    let bad = AnsiColor::Red.on_default().bold();
    let head = paint.apply(bad, "✗ Not as it should be:");
    let lines: Vec<_> = missing.iter().map(|line| format!("    - {}", printable::line(line))).collect();
    format!("  {head}\n{}", lines.join("\n"))
}

fn pages(items: &[Item]) -> impl Iterator<Item = &Page> {
    items.iter().filter_map(|item| match item {
        Item::Arrival(arrival) => match &arrival.what {
            Arrived::Page(page) => Some(page),
            Arrived::Mail(_) => None,
        },
        _ => None,
    })
}

fn mails(items: &[Item]) -> impl Iterator<Item = &Mail> {
    items.iter().filter_map(|item| match item {
        Item::Arrival(arrival) => match &arrival.what {
            Arrived::Mail(mail) => Some(mail),
            Arrived::Page(_) => None,
        },
        _ => None,
    })
}

fn pagerduty(items: &[Item]) -> [String; 3] {
    let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for page in pages(items).filter(|page| page.accepted()) {
        keys.entry(&page.dedup_key).or_default().push(&page.action);
    }
    let journal = items.iter().find_map(|item| match item {
        Item::Event(record) => match &record.event.what {
            Happening::JournalCreated { journal } => Some(journal),
            _ => None,
        },
        _ => None,
    });
    let accepted: usize = keys.values().map(Vec::len).sum();
    let refused = pages(items).count() - accepted;
    let mut words: Vec<_> = keys
        .iter()
        .map(|(key, actions)| format!("{}: {}", shortened(key, journal), actions.join(", ")))
        .collect();
    if refused > 0 {
        words.push(format!("{refused} refused"));
    }
    words.insert(0, "taken".to_owned());
    ["pagerduty".to_owned(), accepted.to_string(), words.join("; ")]
}

fn mail(items: &[Item]) -> [String; 3] {
    let mut readers: Vec<&str> = mails(items).flat_map(|mail| mail.to.iter().map(String::as_str)).collect();
    readers.sort_unstable();
    readers.dedup();
    let words =
        if readers.is_empty() { "taken".to_owned() } else { format!("taken for {}", readers.join(", ")) };
    ["mail".to_owned(), mails(items).count().to_string(), words]
}
