//! What happens in a test besides its series: sources that fail, restarts, reloads, commands.

use std::fmt;

use super::commands;
use crate::engine::decision::Input;
use crate::engine::rules::decode::{self, Fields, Shape};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings};
use crate::engine::series::{FailureKind, SourceFailure};
use crate::engine::time::Span;

/// The keys that tell what happens; exactly one of these and of [`commands::VERBS`] stands in each item.
const VERBS: [&str; 6] = ["source", "restart", "stop", "reload", "clock", "journal"];

const RELOAD: Shape = Shape { what: "a reload", keys: &["rules", "world"], later: &[] };

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) struct Happens {
    /// When, since the test's start.
    pub(super) at: Span,
    pub(super) what: Occurrence,
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Occurrence {
    /// A source behaves otherwise for a while, or from now on.
    Source { source: Scalar, mood: Mood, lasts: Option<Span> },
    /// The daemon ends and comes up again.
    Restart { down: Span, in_order: bool },
    /// Other files come into force.
    Reload(Reload),
    /// The wall clock jumps.
    Clock(Span),
    /// The journal cannot be written.
    Journal { lasts: Option<Span> },
    /// Somebody wants something.
    Input(Box<Input>),
}

/// How a source behaves.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mood {
    /// It answers after this time.
    Answers(Span),
    /// It is a probe, and its answer is bad; the text says why.
    Bad(String),
    /// Its answer is a failure.
    Fails(SourceFailure),
    /// Nothing is heard of it at all.
    Silent,
}

/// Files that come into force.
#[derive(Clone, Debug)]
pub(super) struct Reload {
    /// Patterns, relative to the test file; `None`: the same rules.
    pub(super) rules: Option<Vec<Scalar>>,
    /// What lies over the test's world.
    pub(super) world: Option<Node>,
}

const FAILURES: [(&str, (FailureKind, &str)); 5] = [
    ("unreachable", (FailureKind::Unreachable, "connection refused")),
    ("timed out", (FailureKind::TimedOut, "no whole answer in time")),
    ("bad status", (FailureKind::BadStatus, "status 500")),
    ("malformed", (FailureKind::Malformed, "the page is cut off")),
    ("too large", (FailureKind::TooLarge, "the page is too large")),
];

/// The same does not happen more often in one test: beyond it a number is mistyped.
const TIMES_MAX: u32 = 10_000;

/// Reads one item of `happens`; with `every` and `times` it happens again and again.
pub(super) fn read(node: &Node, out: &mut Findings) -> Vec<Happens> {
    let Some(fields) = commands::HAPPENS.read(node, out) else { return Vec::new() };
    let first = once(&fields, out);
    let (Some(first), Some((every, times))) = (first, repeated(&fields, out)) else { return Vec::new() };
    let later = |nth: u32| Span::from_millis(every.as_millis().saturating_mul(i64::from(nth)));
    let nth = |nth: u32| Happens { at: first.at + later(nth), what: first.what.clone() };
    (0..times).map(nth).collect()
}

/// Reads how often it happens, and how far apart.
fn repeated(fields: &Fields<'_>, out: &mut Findings) -> Option<(Span, u32)> {
    let (every, times) = match (fields.get("every"), fields.get("times")) {
        (None, None) => return Some((Span::ZERO, 1)),
        (Some(every), Some(times)) => (every, times),
        (every, _) => {
            let key = if every.is_some() { "every" } else { "times" };
            let message = "`every` and `times` belong together";
            let hint = "such as `every: 10s, times: 20`";
            out.push(Diagnostic::error("missing-key", fields.key_place(key), message).hint(hint));
            return None;
        }
    };
    let every = decode::positive_duration(every, "`every`", out)?.value;
    let text = decode::text(times, "`times`", out)?;
    let count = text.value.parse().ok().filter(|count| (1..=TIMES_MAX).contains(count));
    if count.is_none() {
        out.push(decode::wrong_type(times, "`times`", &format!("a whole number from 1 to {TIMES_MAX}")));
    }
    Some((every, count?))
}

fn once(fields: &Fields<'_>, out: &mut Findings) -> Option<Happens> {
    let at = fields.required("at", out).and_then(|node| decode::duration(node, "`at`", out));
    let verbs: Vec<&str> =
        VERBS.into_iter().chain(commands::VERBS).filter(|verb| fields.get(verb).is_some()).collect();
    let [verb] = verbs.as_slice() else {
        let message = match verbs.as_slice() {
            [] => "nothing happens here".to_owned(),
            several => format!("{} things happen at once here: `{}`", several.len(), several.join("`, `")),
        };
        let hint = "one of `source`, `restart`, `stop`, `reload`, `clock`, `journal`, or a command";
        out.push(Diagnostic::error("bad-happening", fields.place(), message).hint(hint));
        return None;
    };
    let what = occurrence(verb, fields, out)?;
    Some(Happens { at: at?.value, what })
}

fn occurrence(verb: &str, fields: &Fields<'_>, out: &mut Findings) -> Option<Occurrence> {
    let node = fields.get(verb)?;
    let lasts = fields.get("for").and_then(|node| decode::positive_duration(node, "`for`", out));
    let lasts = lasts.map(|lasts| lasts.value);
    match verb {
        "source" => {
            let source = decode::text(node, "`source`", out)?.clone();
            Some(Occurrence::Source { source, mood: mood(fields, out)?, lasts })
        }
        "restart" | "stop" => {
            let down = decode::duration(node, &format!("`{verb}`"), out)?.value;
            Some(Occurrence::Restart { down, in_order: verb == "stop" })
        }
        "reload" => reload(node, out).map(Occurrence::Reload),
        "clock" => clock(node, out).map(Occurrence::Clock),
        "journal" => {
            decode::choice(node, "`journal`", &[("fails", ())], out)?;
            Some(Occurrence::Journal { lasts })
        }
        command => commands::read(command, node, fields, out).map(|input| Occurrence::Input(Box::new(input))),
    }
}

fn mood(fields: &Fields<'_>, out: &mut Findings) -> Option<Mood> {
    let says = fields.get("says").and_then(|node| decode::text(node, "`says`", out));
    let moods = (fields.get("fails"), fields.get("takes"), fields.get("is"));
    match moods {
        (Some(node), None, None) => {
            let (kind, words) = decode::choice(node, "`fails`", &FAILURES, out)?;
            let message = says.map_or(words, |says| &says.value).to_owned();
            Some(Mood::Fails(SourceFailure { kind, message }))
        }
        (None, Some(node), None) => Some(Mood::Answers(decode::duration(node, "`takes`", out)?.value)),
        (None, None, Some(node)) => {
            let why = says.map_or("answered 503, expected 200", |says| &says.value).to_owned();
            let moods = [Mood::Silent, Mood::Answers(Span::ZERO), Mood::Bad(why)];
            let nth = decode::choice(node, "`is`", &[("silent", 0_usize), ("well", 1), ("bad", 2)], out)?;
            moods.into_iter().nth(nth)
        }
        _ => {
            let message = "what is it with this source? One of `fails`, `takes` and `is`";
            let hint = "`fails: unreachable`, `takes: 2s`, `is: silent`, `is: bad` (a probe), `is: well`; `for: 30s` says how long";
            out.push(Diagnostic::error("bad-happening", fields.place(), message).hint(hint));
            None
        }
    }
}

fn reload(node: &Node, out: &mut Findings) -> Option<Reload> {
    if matches!(node, Node::Sequence(..)) {
        let rules = decode::texts(node, "`reload`", out).into_iter().cloned().collect();
        return Some(Reload { rules: Some(rules), world: None });
    }
    let fields = RELOAD.read(node, out)?;
    let rules = fields.get("rules").map(|node| decode::texts(node, "`rules`", out));
    let rules = rules.map(|rules| rules.into_iter().cloned().collect());
    Some(Reload { rules, world: fields.get("world").cloned() })
}

/// Reads `1h` or `-1h`.
fn clock(node: &Node, out: &mut Findings) -> Option<Span> {
    let scalar = decode::text(node, "`clock`", out)?;
    let (back, size) = match scalar.value.strip_prefix('-') {
        Some(size) => (true, size),
        None => (false, scalar.value.trim_start_matches('+')),
    };
    match size.parse::<Span>() {
        Ok(span) => Some(if back { -span } else { span }),
        Err(error) => {
            let problem = Diagnostic::error("bad-duration", scalar.place(), format!("`clock`: {error}"));
            out.push(problem.hint("by how much the wall clock jumps: `1h`, `-90s`"));
            None
        }
    }
}

impl fmt::Display for Mood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answers(Span::ZERO) => f.write_str("answers well"),
            Self::Answers(takes) => write!(f, "takes {takes} to answer"),
            Self::Bad(why) => write!(f, "is bad: {why}"),
            Self::Fails(failure) => write!(f, "fails: {failure}"),
            Self::Silent => f.write_str("is silent"),
        }
    }
}
