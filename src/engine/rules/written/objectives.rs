//! `objectives:` as written.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{SEVERITIES, WrittenThen, read_then};
use crate::engine::model::Severity;
use crate::engine::rules::decode::{Shape, Spanned, boolean, choice, list, positive_duration, text};
use crate::engine::rules::diagnostic::{Diagnostic, Findings, Place};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::time::Span;

/// The promises of one target, as written.
#[derive(Clone, Debug)]
pub struct WrittenObjectives {
    /// Where they begin.
    pub place: Place,
    /// How far back the score is shown.
    pub window: Option<Spanned<Span>>,
    /// How many violations within which time count as sustained.
    pub sustained: Option<Spanned<(u32, Span)>>,
    /// Whether shares are weighted in place of penalties.
    pub is_weighted: bool,
    /// What broken promises cost.
    pub weights: Option<WrittenWeights>,
    /// The promises that could be read.
    pub promises: Vec<WrittenPromise>,
    /// What follows, by severity.
    pub then: BTreeMap<Severity, WrittenThen>,
}

/// What broken promises cost, as far as it is written.
#[derive(Clone, Debug)]
pub struct WrittenWeights {
    /// Where they begin.
    pub place: Place,
    /// By the words that they are written with: severities and `unknown`.
    pub by_word: BTreeMap<&'static str, f64>,
}

/// One promise as written.
#[derive(Clone, Debug)]
pub struct WrittenPromise {
    /// Its name, in people's words.
    pub name: Scalar,
    /// What must hold.
    pub keep: Option<Scalar>,
    /// What must hold at least.
    pub warn: Option<Scalar>,
    /// How bad it is when it is broken.
    pub severity: Severity,
    /// Whether the whole fails with it.
    pub key: Option<Spanned<bool>>,
    /// What it weighs.
    pub weight: Option<Spanned<f64>>,
}

const OBJECTIVES: Shape = Shape {
    what: "`objectives`",
    keys: &["window", "sustained", "scoring", "weights", "promises", "then"],
    later: &[],
};

const WEIGHTS: Shape =
    Shape { what: "`weights`", keys: &["critical", "high", "medium", "low", "unknown"], later: &[] };

const PROMISE: Shape =
    Shape { what: "a promise", keys: &["name", "keep", "warn", "severity", "key", "weight"], later: &[] };

const BY_SEVERITY: Shape =
    Shape { what: "`then` by severity", keys: &["critical", "high", "medium", "low"], later: &[] };

/// Longer names than this are cut in pages and series.
const NAME_MAX: usize = 64;

/// Reads `objectives:`.
pub(super) fn read(node: &Node, out: &mut Findings) -> Option<WrittenObjectives> {
    let fields = OBJECTIVES.read(node, out)?;
    let promises = fields.required("promises", out);
    if let Some(Node::Sequence(items, place)) = promises
        && items.is_empty()
    {
        let message = "`promises` is empty: there is nothing to score";
        out.push(Diagnostic::error("no-promises", place.clone(), message));
    }
    let promises = promises.map_or(&[][..], |node| list(node, "`promises`", out));
    let scoring = fields.get("scoring");
    let words = [("penalty", false), ("weighted", true)];
    Some(WrittenObjectives {
        place: fields.place(),
        window: fields.get("window").and_then(|node| positive_duration(node, "`window`", out)),
        sustained: fields.get("sustained").and_then(|node| sustained(node, out)),
        is_weighted: scoring.and_then(|node| choice(node, "`scoring`", &words, out)).unwrap_or(false),
        weights: fields.get("weights").and_then(|node| weights(node, out)),
        promises: promises.iter().filter_map(|node| promise(node, out)).collect(),
        then: fields.get("then").map_or_else(BTreeMap::new, |node| by_severity(node, out)),
    })
}

/// Reads `then`, one block per severity.
pub(super) fn by_severity(node: &Node, out: &mut Findings) -> BTreeMap<Severity, WrittenThen> {
    let Some(fields) = BY_SEVERITY.read(node, out) else { return BTreeMap::new() };
    let written =
        |(word, severity): &(&str, Severity)| fields.get(word).map(|node| (*severity, read_then(node, out)));
    SEVERITIES.iter().filter_map(written).collect()
}

fn weights(node: &Node, out: &mut Findings) -> Option<WrittenWeights> {
    let fields = WEIGHTS.read(node, out)?;
    let mut by_word = BTreeMap::new();
    for word in WEIGHTS.keys {
        let Some(node) = fields.get(word) else { continue };
        let Some(value) = weight(node, &format!("the weight `{word}`"), out) else { continue };
        if *word == "unknown" && value.value <= 0.0 {
            let message = "`unknown` must weigh something: what nobody knows of is never kept";
            out.push(Diagnostic::error("bad-weight", value.place, message).hint("the default is 5"));
            continue;
        }
        by_word.insert(*word, value.value);
    }
    Some(WrittenWeights { place: fields.place(), by_word })
}

fn promise(node: &Node, out: &mut Findings) -> Option<WrittenPromise> {
    let fields = PROMISE.read(node, out)?;
    let name = fields.required("name", out).and_then(|node| text(node, "`name`", out)).cloned();
    if let Some(name) = &name
        && (name.value.chars().count() > NAME_MAX || name.value.chars().any(char::is_control))
    {
        let message = format!("`{}` cannot be a promise's name", name.value.escape_debug());
        out.push(
            Diagnostic::error("bad-name", name.place(), message)
                .hint(format!("use one line of up to {NAME_MAX} characters, such as `response time`")),
        );
    }
    let keep = fields.required("keep", out).and_then(|node| text(node, "`keep`", out)).cloned();
    let severity = fields.get("severity").and_then(|node| choice(node, "`severity`", &SEVERITIES, out));
    let key = fields.get("key").and_then(|node| {
        boolean(node, "`key`", out).map(|value| Spanned::new(value, fields.key_place("key")))
    });
    Some(WrittenPromise {
        name: name?,
        keep,
        warn: fields.get("warn").and_then(|node| text(node, "`warn`", out)).cloned(),
        severity: severity.unwrap_or(Severity::High),
        key,
        weight: fields.get("weight").and_then(|node| weight(node, "`weight`", out)),
    })
}

/// Reads a number that is not negative.
pub(super) fn weight(node: &Node, what: &str, out: &mut Findings) -> Option<Spanned<f64>> {
    let scalar = text(node, what, out)?;
    match scalar.value.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Some(Spanned::new(value, scalar.place())),
        _ => {
            let message =
                format!("{what} must be a number from 0 on, found `{}`", scalar.value.escape_debug());
            let hint =
                "what weighs nothing is `0`; nothing can make a score better than it would be without it";
            out.push(Diagnostic::error("bad-weight", scalar.place(), message).hint(hint));
            None
        }
    }
}

/// Reads `3 in 5m`.
fn sustained(node: &Node, out: &mut Findings) -> Option<Spanned<(u32, Span)>> {
    let scalar = text(node, "`sustained`", out)?;
    let parts = scalar.value.split_once(" in ");
    let read = parts.and_then(|(count, of)| {
        let (count, of) = (count.trim().parse().ok()?, Span::from_str(of.trim()).ok()?);
        (count > 0 && !of.is_zero_or_negative()).then_some((count, of))
    });
    if read.is_none() {
        let message = format!("`sustained` cannot be `{}`", scalar.value.escape_debug());
        out.push(
            Diagnostic::error("bad-window", scalar.place(), message)
                .hint("write how many violations within which time: `3 in 5m`"),
        );
    }
    read.map(|read| Spanned::new(read, scalar.place()))
}
