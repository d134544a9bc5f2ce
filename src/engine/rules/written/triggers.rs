//! Triggers as written.

use super::due::{self, WrittenClock};
use super::windows::{WrittenWindow, window};
use super::{SEVERITIES, WrittenThen, read_then};
use crate::engine::model::Severity;
use crate::engine::rules::decode::{
    Fields, Shape, Spanned, check_name, choice, duration, positive_duration, text, texts, wrong_type,
};
use crate::engine::rules::diagnostic::{Diagnostic, Findings};
use crate::engine::rules::during::{self, WrittenDuring};
use crate::engine::rules::set::{Absence, Across, NoData};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::time::Span;

/// A trigger as written.
#[derive(Clone, Debug)]
pub struct WrittenTrigger {
    /// Its name.
    pub name: Scalar,
    /// What is written of it; where there are levels, what they have in common.
    pub terms: WrittenTerms,
    /// The levels, lowest first.
    pub levels: Vec<WrittenLevel>,
}

/// One level of a trigger.
#[derive(Clone, Debug)]
pub struct WrittenLevel {
    /// `warning` or `critical`, with its place.
    pub name: Scalar,
    /// How bad it is where it does not say so itself.
    pub severity: Severity,
    /// What is written of it; the rest is the trigger's.
    pub terms: WrittenTerms,
}

/// What a trigger or one of its levels says. What could not be read has been reported and is absent.
#[derive(Clone, Debug, Default)]
pub struct WrittenTerms {
    /// The condition.
    pub when: Option<Scalar>,
    /// What must be met for it to be judged.
    pub given: Option<Scalar>,
    /// How many observations with a value its window must hold.
    pub min_samples: Option<Spanned<u32>>,
    /// What several series mean.
    pub across: Option<Across>,
    /// The sustained window.
    pub window: Option<Spanned<WrittenWindow>>,
    /// What ends it.
    pub clear: Option<WrittenClear>,
    /// How long it goes on firing.
    pub keep_firing_for: Option<Span>,
    /// What missing data means.
    pub no_data: Option<Spanned<NoData>>,
    /// When it is judged.
    pub during: Option<Vec<WrittenDuring>>,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// The page's first line.
    pub summary: Option<Scalar>,
    /// Where people read what to do.
    pub runbook: Option<Scalar>,
    /// By when what must have happened.
    pub due: Option<Vec<WrittenClock>>,
    /// What follows.
    pub then: Option<WrittenThen>,
}

/// `clear` as written.
#[derive(Clone, Debug)]
pub struct WrittenClear {
    /// What must be met.
    pub when: Option<Scalar>,
    /// For how long.
    pub hold: Span,
}

const TRIGGER: Shape = Shape {
    what: "a trigger",
    keys: &[
        "name",
        "when",
        "given",
        "min_samples",
        "per",
        "series",
        "for",
        "clear",
        "keep_firing_for",
        "no_data",
        "during",
        "levels",
        "severity",
        "summary",
        "runbook",
        "due",
        "then",
    ],
    later: &["labels"],
};

const LEVEL: Shape = Shape {
    what: "a level",
    keys: &[
        "when",
        "given",
        "min_samples",
        "for",
        "clear",
        "keep_firing_for",
        "during",
        "severity",
        "summary",
        "runbook",
        "due",
        "then",
    ],
    later: &[],
};

const LEVELS: Shape = Shape { what: "`levels`", keys: &["warning", "critical"], later: &[] };

const CLEAR: Shape = Shape { what: "`clear`", keys: &["when", "for"], later: &[] };

const NO_DATA: Shape = Shape {
    what: "`no_data`",
    keys: &["unreachable", "absent", "stale", "nan", "no_traffic", "hold", "page_after"],
    later: &[],
};

const ABSENCES: [(&str, Absence); 3] =
    [("hold", Absence::Hold), ("ok", Absence::Ok), ("breach", Absence::Breach)];

/// More samples than this in one window are not waited for.
const MIN_SAMPLES_MAX: u32 = 10_000;

/// Reads a trigger.
pub(super) fn trigger(node: &Node, out: &mut Findings) -> Option<WrittenTrigger> {
    let fields = TRIGGER.read(node, out)?;
    let name = fields.required("name", out).and_then(|node| text(node, "`name`", out)).cloned();
    if let Some(name) = &name {
        check_name(name, out);
    }
    let mut terms = terms(&fields, out);
    terms.across = across(&fields, out);
    terms.no_data = fields.get("no_data").and_then(|node| no_data(node, out));
    let levels = fields.get("levels").map(|node| levels(node, &terms, out));
    if levels.is_none() {
        fields.required("when", out);
    }
    Some(WrittenTrigger { name: name?, terms, levels: levels.unwrap_or_default() })
}

fn terms(fields: &Fields<'_>, out: &mut Findings) -> WrittenTerms {
    let mut words =
        |key: &str| fields.get(key).and_then(|node| text(node, &format!("`{key}`"), out)).cloned();
    let (when, given) = (words("when"), words("given"));
    let (summary, runbook) = (words("summary"), words("runbook"));
    WrittenTerms {
        when,
        given,
        min_samples: fields.get("min_samples").and_then(|node| min_samples(node, out)),
        across: None,
        window: fields.get("for").and_then(|node| window(node, out)),
        clear: fields.get("clear").and_then(|node| clear(node, out)),
        keep_firing_for: fields
            .get("keep_firing_for")
            .and_then(|node| positive_duration(node, "`keep_firing_for`", out))
            .map(|span| span.value),
        no_data: None,
        during: fields.get("during").map(|node| during::read(node, out)),
        severity: fields.get("severity").and_then(|node| choice(node, "`severity`", &SEVERITIES, out)),
        summary,
        runbook,
        due: fields.get("due").map(|node| due::read(node, out)),
        then: fields.get("then").map(|node| read_then(node, out)),
    }
}

fn levels(node: &Node, shared: &WrittenTerms, out: &mut Findings) -> Vec<WrittenLevel> {
    let Some(fields) = LEVELS.read(node, out) else { return Vec::new() };
    let mut found = Vec::new();
    for (name, severity) in [("warning", Severity::Medium), ("critical", Severity::Critical)] {
        let Some(level) = fields.get(name) else { continue };
        let Some(own) = LEVEL.read(level, out) else { continue };
        if shared.when.is_none() {
            own.required("when", out);
        }
        let Some(key) = fields.key(name) else { continue };
        found.push(WrittenLevel { name: key.clone(), severity, terms: terms(&own, out) });
    }
    if matches!(node, Node::Mapping(written, _) if written.is_empty()) {
        let message = "`levels` names no level";
        out.push(
            Diagnostic::error("missing-key", fields.place(), message)
                .hint("write `warning`, `critical`, or both"),
        );
    }
    found
}

/// Reads a whole number from 1 on.
fn min_samples(node: &Node, out: &mut Findings) -> Option<Spanned<u32>> {
    let scalar = text(node, "`min_samples`", out)?;
    match scalar.value.parse::<u32>() {
        Ok(count) if (1..=MIN_SAMPLES_MAX).contains(&count) => Some(Spanned::new(count, scalar.place())),
        _ => {
            let expected = format!("a whole number from 1 to {MIN_SAMPLES_MAX}");
            out.push(wrong_type(node, "`min_samples`", &expected));
            None
        }
    }
}

/// Reads `per` and `series`, which say what several series mean.
fn across(fields: &Fields<'_>, out: &mut Findings) -> Option<Across> {
    let per = fields.get("per").map(|node| per(node, out));
    let series = fields.get("series").map(|node| series(node, out));
    if per.is_some() && series.is_some() {
        let message = "`per` judges each series by itself, `series` all of them together";
        out.push(
            Diagnostic::error("conflicting-keys", fields.key_place("series"), message)
                .hint("keep one of them; aggregate the rest away in the indicator's expression"),
        );
        return None;
    }
    per.or(series).flatten()
}

fn per(node: &Node, out: &mut Findings) -> Option<Across> {
    let mut labels: Vec<String> = Vec::new();
    for label in texts(node, "`per`", out) {
        let name = &label.value;
        let good = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !good || labels.contains(name) {
            let message = format!("`per`: `{}` is not a label's name, or named twice", name.escape_debug());
            out.push(Diagnostic::error("bad-name", label.place(), message));
            continue;
        }
        labels.push(name.clone());
    }
    if labels.is_empty() {
        if let Node::Sequence(_, place) = node {
            let message = "`per` names no label";
            out.push(
                Diagnostic::error("missing-value", place.clone(), message).hint("such as `per: [region]`"),
            );
        }
        return None;
    }
    labels.sort_unstable();
    Some(Across::Per(labels))
}

fn series(node: &Node, out: &mut Findings) -> Option<Across> {
    let scalar = text(node, "`series`", out)?;
    let words: Vec<&str> = scalar.value.split_whitespace().collect();
    let quorum = match words.as_slice() {
        ["any"] => return Some(Across::Any),
        ["all"] => return Some(Across::All),
        [count, "of", of] => count.parse().ok().zip(of.parse().ok()),
        _ => None,
    };
    match quorum {
        Some((count, of)) if count >= 1 && count <= of => Some(Across::Quorum { count, of }),
        _ => {
            let message = format!("`series` cannot be `{}`", scalar.value.escape_debug());
            out.push(
                Diagnostic::error("unknown-value", scalar.place(), message)
                    .hint("write `any`, `all`, or how many of how many: `2 of 3`"),
            );
            None
        }
    }
}

fn clear(node: &Node, out: &mut Findings) -> Option<WrittenClear> {
    let fields = CLEAR.read(node, out)?;
    if fields.get("when").is_none() && fields.get("for").is_none() {
        let message = "`clear` says nothing";
        out.push(
            Diagnostic::error("missing-key", fields.place(), message)
                .hint("such as `clear: { when: error_rate < 1%, for: 2m }`"),
        );
        return None;
    }
    let hold = match fields.get("for") {
        Some(node) => duration(node, "`for`", out)?.value,
        None => Span::ZERO,
    };
    let when = match fields.get("when") {
        Some(node) => Some(text(node, "`when`", out)?.clone()),
        None => None,
    };
    Some(WrittenClear { when, hold })
}

fn no_data(node: &Node, out: &mut Findings) -> Option<Spanned<NoData>> {
    if matches!(node, Node::Scalar(_)) {
        let absence = choice(node, "`no_data`", &ABSENCES, out)?;
        return Some(Spanned::new(NoData::all(absence), node.place()));
    }
    let fields = NO_DATA.read(node, out)?;
    let mut meaning = |key: &str| match fields.get(key) {
        Some(node) => choice(node, &format!("`{key}`"), &ABSENCES, out).unwrap_or_default(),
        None => Absence::Hold,
    };
    let mut read = NoData {
        unreachable: meaning("unreachable"),
        absent: meaning("absent"),
        stale: meaning("stale"),
        nan: meaning("nan"),
        no_traffic: meaning("no_traffic"),
        ..NoData::default()
    };
    if let Some(node) = fields.get("hold") {
        let is_true = matches!(node, Node::Scalar(scalar) if scalar.plain && scalar.value == "true");
        if !is_true {
            out.push(wrong_type(node, "`hold`", "`true`").hint("what is not named holds anyway"));
        }
    }
    if let Some(after) =
        fields.get("page_after").and_then(|node| positive_duration(node, "`page_after`", out))
    {
        read.page_after = after.value;
    }
    Some(Spanned::new(read, fields.place()))
}

impl WrittenTerms {
    /// Returns these terms, and `shared` where they say nothing.
    #[must_use]
    pub fn or(self, shared: &Self) -> Self {
        Self {
            when: self.when.or_else(|| shared.when.clone()),
            given: self.given.or_else(|| shared.given.clone()),
            min_samples: self.min_samples.or_else(|| shared.min_samples.clone()),
            across: self.across.or_else(|| shared.across.clone()),
            window: self.window.or_else(|| shared.window.clone()),
            clear: self.clear.or_else(|| shared.clear.clone()),
            keep_firing_for: self.keep_firing_for.or(shared.keep_firing_for),
            no_data: self.no_data.or_else(|| shared.no_data.clone()),
            during: self.during.or_else(|| shared.during.clone()),
            // A level has a severity of its own.
            severity: self.severity,
            summary: self.summary.or_else(|| shared.summary.clone()),
            runbook: self.runbook.or_else(|| shared.runbook.clone()),
            due: self.due.or_else(|| shared.due.clone()),
            then: self.then.or_else(|| shared.then.clone()),
        }
    }
}
