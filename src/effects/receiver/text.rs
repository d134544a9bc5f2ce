//! What a page says, for a tired reader at three in the morning: what broke, what was done, what to do now.
//!
//! Every receiver shows the same [`Page`]; only the form differs. Facts are data (E11): each is made one printable line
//! here and is escaped once more by the form that shows it.

use crate::effects::printable;
use crate::engine::decision::{Delivery, Message, MessageKind};
use crate::engine::time::Span;

/// The longest line, in characters; a hostile label must not push the runbook off the screen.
const LINE_CHARS_MAX: usize = 600;

/// The longest subject of a mail, in characters.
const SUBJECT_CHARS_MAX: usize = 180;

/// A message as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// How bad, where, what: `HIGH trading-app ErrorRateHigh`.
    pub headline: String,
    /// The first sentence.
    pub summary: String,
    /// Titled groups of lines, the most urgent first.
    pub sections: Vec<Section>,
    /// Where people read what to do; only ever an `http` or `https` address.
    pub runbook: Option<String>,
}

/// A titled group of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The title.
    pub title: &'static str,
    /// The lines, each a sentence or a fact.
    pub lines: Vec<String>,
}

impl Page {
    /// Renders the facts of a message.
    pub fn new(delivery: &Delivery, journal: &str, anchor: &str) -> Self {
        let message = &delivery.message;
        let facts = &message.facts;
        let headline = format!("{} {} {}", status(message), facts.target, facts.cause);
        let sections = [
            Section { title: what_broke_title(message.kind), lines: what_broke(message) },
            Section { title: "WHAT WAS DONE, WHAT TO DO NOW", lines: what_to_do(message) },
            Section { title: "VERSION", lines: versions(message) },
            Section { title: "FOR THE RECORD", lines: record(delivery, journal, anchor) },
        ];
        Self {
            headline: printable::short_line(&headline, LINE_CHARS_MAX),
            summary: summary(message),
            sections: sections.into_iter().filter(|section| !section.lines.is_empty()).collect(),
            runbook: runbook_link(message),
        }
    }

    /// Returns the page as plain text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n\n{}\n", self.headline, self.summary);
        for section in &self.sections {
            text.push_str(&format!("\n{}\n", section.title));
            for line in &section.lines {
                text.push_str(&format!("  {line}\n"));
            }
        }
        text
    }

    /// Returns the page as a small HTML document in which every fact is escaped.
    pub fn to_html(&self) -> String {
        let mut body = format!("<h2>{}</h2>\n<p><b>{}</b></p>\n", html(&self.headline), html(&self.summary));
        for section in &self.sections {
            body.push_str(&format!("<h3>{}</h3>\n<ul>\n", html(section.title)));
            for line in &section.lines {
                body.push_str(&format!("<li>{}</li>\n", html(line)));
            }
            body.push_str("</ul>\n");
        }
        if let Some(link) = &self.runbook {
            body.push_str(&format!("<p><a href=\"{}\">Open the runbook</a></p>\n", html(link)));
        }
        format!("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head><body>\n{body}</body></html>\n")
    }
}

/// Returns the subject of a mail: `[Rearguard] HIGH trading-app: 7.3% of requests fail`.
pub fn subject(message: &Message) -> String {
    let target = message.facts.target.as_str();
    let summary = summary(message);
    // Rules often begin their summaries with the target.
    let said = summary.strip_prefix(target).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&summary);
    printable::short_line(&format!("[Rearguard] {} {target}: {said}", status(message)), SUBJECT_CHARS_MAX)
}

/// Returns the first sentence; the raw facts where the message has none (E10).
pub fn summary(message: &Message) -> String {
    let said = printable::short_line(message.summary.trim(), LINE_CHARS_MAX);
    if said.is_empty() {
        let facts = &message.facts;
        return printable::short_line(
            &format!("{}: {} {}", facts.target, facts.cause, facts.reason),
            LINE_CHARS_MAX,
        );
    }
    said
}

/// Returns the runbook where it is a link that may be clicked.
pub fn runbook_link(message: &Message) -> Option<String> {
    let text = message.facts.runbook.as_deref()?;
    let url = reqwest::Url::parse(text).ok()?;
    // Parsed and printed again: what is not allowed in a URL is percent-encoded now.
    matches!(url.scheme(), "http" | "https").then(|| url.to_string())
}

/// Returns an instant as people write it, in UTC; the bare number where no calendar reaches.
pub fn utc(unix_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(unix_ms);
    at.map_or_else(|_| format!("{unix_ms} ms"), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn status(message: &Message) -> String {
    match message.kind {
        MessageKind::Trigger => message.severity.to_string().to_uppercase(),
        MessageKind::Update => "UPDATE".to_owned(),
        MessageKind::Resolve => "RESOLVED".to_owned(),
    }
}

fn what_broke_title(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Trigger | MessageKind::Update => "WHAT BROKE",
        MessageKind::Resolve => "WHAT WAS BROKEN",
    }
}

fn what_broke(message: &Message) -> Vec<String> {
    let facts = &message.facts;
    let mut lines = Vec::new();
    if facts.reason != message.summary && !facts.reason.is_empty() {
        lines.push(line(&facts.reason));
    }
    match (facts.value, facts.threshold) {
        (Some(value), Some(threshold)) => {
            lines.push(format!("Measured {}, threshold {}.", number(value), number(threshold)));
        }
        (Some(value), None) => lines.push(format!("Measured {}.", number(value))),
        (None, _) => {}
    }
    if !facts.labels.is_empty() {
        lines.push(line(&format!("Series {}", facts.labels)));
    }
    let lasted =
        Span::from_millis(message.decided_unix_ms.saturating_sub(facts.since_unix_ms).max(0) / 1000 * 1000);
    let until = match message.kind {
        MessageKind::Trigger | MessageKind::Update => "before this message",
        MessageKind::Resolve => "until it was resolved",
    };
    lines.push(format!("Since {}, {lasted} {until}.", utc(facts.since_unix_ms)));
    lines
}

fn what_to_do(message: &Message) -> Vec<String> {
    let mut lines: Vec<String> = message.details.iter().map(|detail| line(detail)).collect();
    if let Some(runbook) = &message.facts.runbook {
        lines.push(line(&format!("Runbook: {runbook}")));
    }
    lines
}

fn versions(message: &Message) -> Vec<String> {
    let facts = &message.facts;
    let mut lines = Vec::new();
    if let Some(version) = &facts.version {
        lines.push(line(&format!("Runs {version}.")));
    }
    if let Some(previous) = &facts.previous_version {
        lines.push(line(&format!("Before it ran {previous}.")));
    }
    lines
}

fn record(delivery: &Delivery, journal: &str, anchor: &str) -> Vec<String> {
    let message = &delivery.message;
    let mut lines = vec![
        format!(
            "Message {} of incident {}, decided {}. `rearguard incident show {1}` tells the whole story.",
            delivery.effect,
            message.facts.incident,
            utc(message.decided_unix_ms)
        ),
        line(&format!("Journal {journal}, head {anchor}.")),
    ];
    if message.unjournaled {
        lines.push(
            "Sent from memory: the journal could not be written. No rollback starts until it can.".to_owned(),
        );
    }
    lines
}

fn line(text: &str) -> String {
    printable::short_line(text, LINE_CHARS_MAX)
}

/// Returns a number with at most six significant digits, without trailing zeros.
fn number(value: f64) -> String {
    const SIGNIFICANT_DIGITS: i32 = 6;
    let magnitude = value.abs().log10().floor();
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if !(-5.0..15.0).contains(&magnitude) {
        return format!("{value:.5e}");
    }
    // In range by the test above.
    let decimals = (SIGNIFICANT_DIGITS - 1 - magnitude as i32).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Returns `text` with everything that means something in HTML escaped, for element content and quoted attributes.
fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
