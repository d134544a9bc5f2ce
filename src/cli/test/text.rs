//! Results for people: which alert or sample differs, in what, when, and where the expectation stands.
//!
//! `-` is what was expected, `+` what was there. What both have in common is told once and dimmed, so that the lines that
//! differ are all that there is to read.

use std::collections::BTreeSet;

use clap::builder::styling::{AnsiColor, Style as Ansi};

use super::Outcome;
use crate::config::Style;
use crate::effects::printable;
use crate::engine::decision::counted;
use crate::engine::model::{Labels, METRIC_NAME};
use crate::replay::rule_test::{
    Cause, Difference, Failure, FileReport, Item, Sign, Subject, TestReport, TimelineLine,
};

/// More differences of one expectation than this are counted, not shown: the cause is the same.
const DIFFERENCES_MAX: usize = 20;

/// More of an expression than this is not repeated: its line is named.
const EXPRESSION_CHARS_MAX: usize = 100;

pub(super) const GOOD: Ansi = AnsiColor::Green.on_default();
pub(super) const BAD: Ansi = AnsiColor::Red.on_default().bold();
const EXPECTED: Ansi = AnsiColor::Red.on_default();
const GOT: Ansi = AnsiColor::Green.on_default();
const DIM: Ansi = Ansi::new().dimmed();

/// Tells the tests of one file; nothing where none was run.
pub(super) fn file(report: &FileReport, style: Style) -> String {
    if report.tests.is_empty() {
        return String::new();
    }
    let mut text = format!("{}\n", printable::line(&report.file));
    for test in &report.tests {
        text.push_str(&self::test(test, style));
    }
    text
}

fn test(test: &TestReport, style: Style) -> String {
    let name = printable::line(&test.name);
    if test.passed() {
        let word = painted(style, GOOD, "passed");
        let timeline = indented(&timeline(&test.timeline, style), 4);
        return format!("  {word}  {name} ({})\n{timeline}", counted(test.checks, "check"));
    }
    let word = painted(style, BAD, "FAILED");
    let stopped_by = test.failures.iter().find_map(|failure| match failure.subject {
        Subject::Rule { .. } => Some("not run to its end"),
        Subject::Test => Some("cannot be run"),
        Subject::Alert { .. } | Subject::Expression { .. } | Subject::Expectation { .. } => None,
    });
    let how = match stopped_by {
        Some(how) => how.to_owned(),
        None => format!("{} of {}", test.failures.len(), counted(test.checks, "check")),
    };
    let mut text = format!("  {word}  {name} ({how})\n");
    for failure in &test.failures {
        text.push('\n');
        text.push_str(&indented(&self::failure(failure, style), 4));
    }
    if !test.timeline.is_empty() {
        text.push('\n');
        text.push_str(&indented(&timeline(&test.timeline, style), 4));
    }
    text.push('\n');
    text
}

/// Tells one failure: its place and headline, then what differs.
pub(super) fn failure(failure: &Failure, style: Style) -> String {
    let place = format!("{}:{}", printable::line(&failure.file), failure.line);
    let mut text = format!("{}: {}\n", painted(style, Ansi::new().bold(), &place), headline(failure));
    if let Cause::Differs { differences, .. } = &failure.cause {
        for difference in differences.iter().take(DIFFERENCES_MAX) {
            text.push_str(&indented(&self::difference(difference, style), 2));
        }
        if differences.len() > DIFFERENCES_MAX {
            let more = differences.len() - DIFFERENCES_MAX;
            text.push_str(&format!("  and {more} more (`--output json` has them all)\n"));
        }
    }
    if let Some(note) = &failure.note {
        text.push_str(&format!("  note: {}\n", printable::line(note)));
    }
    text
}

/// Returns what was looked at, when, and how far it is from what was expected, on one line.
pub(super) fn headline(failure: &Failure) -> String {
    let how = match &failure.cause {
        Cause::Failed { message } if matches!(failure.subject, Subject::Expression { .. }) => {
            format!("it fails: {}", printable::line(message))
        }
        Cause::Failed { message } => printable::line(message),
        Cause::Differs { equal: 0, differences } => format!("{} not as expected", differences.len()),
        Cause::Differs { equal, differences } => {
            format!("{} not as expected, {equal} as expected", differences.len())
        }
    };
    let at = failure.at;
    match &failure.subject {
        Subject::Alert { name } => format!("alert {} at {at}: {how}", printable::line(name)),
        Subject::Expression { text } => {
            let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("`{}` at {at}: {how}", printable::short_line(&one_line, EXPRESSION_CHARS_MAX))
        }
        Subject::Rule { name, group } => {
            let (name, group) = (printable::line(name), printable::line(group));
            format!("rule {name} of group {group} cannot be evaluated at {at}: {how}")
        }
        // What is wanted in a whole test has no time of its own.
        Subject::Expectation { text } => format!("{} at {at}: {how}", printable::line(text)),
        Subject::Test => how,
    }
}

/// Tells everything that happened in a test, with what was expected beside it.
pub(super) fn timeline(lines: &[TimelineLine], style: Style) -> String {
    let mut text = String::new();
    for line in lines {
        let (sign, ansi) = match line.sign {
            Sign::AsItIs => (' ', Ansi::new()),
            Sign::Expected => ('-', EXPECTED),
            Sign::Unexpected => ('+', GOT),
        };
        let place = line.line.map_or_else(String::new, |line| format!("  (line {line})"));
        let told = format!("{sign} {:>8}  {}{place}", line.at.to_string(), printable::line(&line.text));
        text.push_str(&painted(style, ansi, &told));
        text.push('\n');
    }
    text
}

fn difference(difference: &Difference, style: Style) -> String {
    match (&difference.expected, &difference.got) {
        (Some(expected), Some(got)) => pair(expected, got, style),
        (Some(missing), None) => {
            let note = difference.note.as_deref().unwrap_or("is expected, and is not there");
            lonely("-", EXPECTED, missing, note, style)
        }
        (None, Some(unexpected)) => lonely("+", GOT, unexpected, unexpected_note(unexpected), style),
        (None, None) => String::new(),
    }
}

fn unexpected_note(item: &Item) -> &'static str {
    match item {
        Item::Alert { .. } => "fires, and is not expected",
        Item::Sample { .. } => "is there, and is not expected",
    }
}

/// Tells what is on one side only.
fn lonely(sign: &str, ansi: Ansi, item: &Item, note: &str, style: Style) -> String {
    let value = match item {
        Item::Sample { value, .. } => format!(" {value}"),
        Item::Alert { .. } => String::new(),
    };
    let line = painted(style, ansi, &format!("{sign} {}{value}", shown(item.labels())));
    format!("{line}\n    {}\n", painted(style, DIM, &printable::line(note)))
}

/// Tells what is alike: what both have in common, then each label, value or text that differs.
fn pair(expected: &Item, got: &Item, style: Style) -> String {
    let (a, b) = (expected.labels(), got.labels());
    let common = a.filtered(|name| a.get(name) == b.get(name));
    let mut text = format!("  {}\n", painted(style, DIM, &shown(&common)));
    let mut push = |sides: (Option<String>, Option<String>)| {
        text.push_str(&two_lines(sides.0.as_deref(), sides.1.as_deref(), style));
    };
    for name in names(a, b) {
        let side = |labels: &Labels| Some(format!("{}={:?}", printable::line(name), labels.get(name)?));
        push((side(a), side(b)));
    }
    match (expected, got) {
        (Item::Sample { value: a, .. }, Item::Sample { value: b, .. }) => {
            let (a, b) = (a.to_string(), b.to_string());
            if a != b {
                push((Some(a), Some(b)));
            }
        }
        (Item::Alert { annotations: a, .. }, Item::Alert { annotations: b, .. }) => {
            for name in names(a, b) {
                let side = |texts: &Labels| Some(format!("{}: {}", printable::line(name), texts.get(name)?));
                push((side(a), side(b)));
            }
        }
        _ => {}
    }
    text
}

/// Returns the names that have different values, in order.
fn names<'a>(a: &'a Labels, b: &'a Labels) -> BTreeSet<&'a str> {
    a.iter().chain(b.iter()).map(|(name, _)| name).filter(|name| a.get(name) != b.get(name)).collect()
}

/// Tells the two sides of one difference. Lines that both begin or end with are left out.
fn two_lines(expected: Option<&str>, got: Option<&str>, style: Style) -> String {
    let a: Vec<&str> = expected.map(|text| text.lines().collect()).unwrap_or_default();
    let b: Vec<&str> = got.map(|text| text.lines().collect()).unwrap_or_default();
    let same = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    // The first line names what it is, and stays.
    let first = if a.len() > 1 && b.len() > 1 { same(&mut a.iter().zip(&b)) } else { 0 };
    let shortest = a.len().min(b.len()) - first.min(a.len().min(b.len()));
    let last = if shortest > 1 { same(&mut a.iter().rev().zip(b.iter().rev())).min(shortest) } else { 0 };
    let mut text = String::new();
    if first > 0 {
        text.push_str(&format!("    {}\n", printable::line(a[0])));
    }
    if first > 1 {
        text.push_str("    ...\n");
    }
    for (sign, ansi, lines, other) in [("-", EXPECTED, &a, &b), ("+", GOT, &b, &a)] {
        for (at, line) in lines.iter().enumerate().take(lines.len() - last).skip(first) {
            let line = printable::line(line);
            let twin = other.get(at).map(|twin| printable::line(twin));
            let marked = marked(&line, twin.as_deref(), ansi, style);
            text.push_str(&format!("    {} {marked}\n", painted(style, ansi, sign)));
        }
    }
    if last > 0 {
        text.push_str("    ...\n");
    }
    text
}

/// Paints a line, and what of it is not in its twin most of all.
fn marked(line: &str, twin: Option<&str>, ansi: Ansi, style: Style) -> String {
    let Some(twin) = twin else { return painted(style, ansi, line) };
    let same = |pair: &(char, char)| pair.0 == pair.1;
    let bytes = |pairs: &mut dyn Iterator<Item = (char, char)>| {
        pairs.take_while(same).map(|(c, _)| c.len_utf8()).sum::<usize>()
    };
    let start = bytes(&mut line.chars().zip(twin.chars()));
    let rest = (&line[start..], &twin[start..]);
    let end = line.len() - bytes(&mut rest.0.chars().rev().zip(rest.1.chars().rev()));
    let parts = [(&line[..start], ansi), (&line[start..end], ansi.bold().underline()), (&line[end..], ansi)];
    parts
        .iter()
        .filter(|(part, _)| !part.is_empty())
        .map(|(part, ansi)| painted(style, *ansi, part))
        .collect()
}

/// Returns the labels as people write them: alerts by their name, as metrics.
fn shown(labels: &Labels) -> String {
    match labels.get("alertname") {
        Some(name) if labels.get(METRIC_NAME).is_none() => {
            let named = labels.with(METRIC_NAME, &printable::line(name)).with("alertname", "");
            named.to_string()
        }
        _ => labels.to_string(),
    }
}

/// Tells how it ended, on one line.
pub(super) fn summary(outcomes: &[Outcome], style: Style) -> String {
    let tests = || outcomes.iter().flat_map(|outcome| &outcome.report.tests);
    let checks = tests().map(|test| test.checks).sum::<usize>();
    let failed = tests().filter(|test| !test.passed()).count();
    let refused = outcomes.iter().filter(|outcome| outcome.is_refused()).count();
    let counts = format!(
        "{}, {}, {}",
        counted(outcomes.len(), "file"),
        counted(tests().count(), "test"),
        counted(checks, "check")
    );
    let mut bad = Vec::new();
    if failed > 0 {
        bad.push(format!("{} FAILED", counted(failed, "test")));
    }
    if refused > 0 {
        bad.push(format!("{} CANNOT BE RUN", counted(refused, "file")));
    }
    if bad.is_empty() {
        format!("{}: {counts}\n", painted(style, GOOD, "passed"))
    } else {
        format!("{}: {counts}\n", painted(style, BAD, &bad.join(", ")))
    }
}

pub(super) fn painted(style: Style, ansi: Ansi, text: &str) -> String {
    match style {
        Style::Colored => format!("{ansi}{text}{ansi:#}"),
        Style::Plain => text.to_owned(),
    }
}

fn indented(text: &str, columns: usize) -> String {
    text.lines().map(|line| format!("{:columns$}{line}\n", "")).collect()
}
