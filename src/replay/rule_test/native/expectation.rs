//! What a test expects: events at their times, states, and what must not happen.

mod words;

use crate::engine::decision::{MessageKind, Outcome, StepResult};
use crate::engine::promql::{self, Plan, Scope};
use crate::engine::rules::decode::{self, Fields, Shape};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings, Place};
use crate::engine::time::Span;

use super::super::written::located;
use super::story::with_labels;

const EXPECT: Shape = Shape {
    what: "an expectation",
    keys: &[
        "at", "fires", "pending", "clears", "rollback", "ends", "refused", "because", "step", "page", "kind",
        "says", "incident", "is", "event", "value", "trigger", "verdict", "window", "query", "never", "only",
    ],
    later: &[],
};

/// What may stand beside each verb, besides `at`.
const BESIDE: [(&str, &[&str]); 12] = [
    ("fires", &["value"]),
    ("pending", &["value"]),
    ("clears", &["value"]),
    ("rollback", &["ends", "refused", "because"]),
    ("step", &["ends", "because"]),
    ("page", &["kind", "says"]),
    ("incident", &["is"]),
    ("event", &[]),
    ("trigger", &["is", "verdict", "value", "window", "because"]),
    ("query", &["is"]),
    ("never", &[]),
    ("only", &[]),
];

/// Something that is expected.
#[derive(Clone, Debug)]
pub(super) struct Expectation {
    pub(super) place: Place,
    pub(super) want: Want,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub(super) enum Want {
    /// It happens at that time.
    Event(When, Pattern),
    /// It is so once everything that is due at that time has happened.
    State(Span, StatePattern),
    /// It does not happen, in the whole test or in that time.
    Never(Option<When>, Pattern),
    /// Of these kinds nothing happens but what is expected.
    Only(Vec<Kind>),
}

/// When something must happen: at one instant, or within a range that includes both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    pub(super) from: Span,
    pub(super) to: Span,
}

/// The kinds of events that expectations tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Fires,
    Pending,
    Clears,
    Rollback,
    Step,
    Page,
    Incident,
    /// Any line of the timeline.
    Event,
}

const KINDS: [(&str, Kind); 8] = [
    ("fires", Kind::Fires),
    ("pending", Kind::Pending),
    ("clears", Kind::Clears),
    ("rollback", Kind::Rollback),
    ("step", Kind::Step),
    ("page", Kind::Page),
    ("incident", Kind::Incident),
    ("event", Kind::Event),
];

/// An event, as far as a test describes it.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) kind: Kind,
    /// The trigger, plan, step or receiver; a part of the text of an incident or an event. `None`: any.
    pub(super) name: Option<Scalar>,
    /// The measured value, as people see it.
    pub(super) value: Option<String>,
    /// How a rollback or a step ends; `None`: its begin.
    pub(super) ends: Option<End>,
    /// A part of the reason why a rollback is not begun.
    pub(super) refused: Option<String>,
    /// A part of the reason of an end.
    pub(super) because: Option<String>,
    /// What a message does.
    pub(super) message: MessageKind,
    /// A part of what a message says.
    pub(super) says: Option<String>,
    /// Whether it is about an incident's end.
    pub(super) resolved: bool,
}

/// How a rollback or a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Succeeded,
    Failed,
    TimedOut,
    Partial,
    Refused,
    InDoubt,
}

const ENDS: [(&str, End); 6] = [
    ("succeeded", End::Succeeded),
    ("failed", End::Failed),
    ("timed out", End::TimedOut),
    ("partial", End::Partial),
    ("refused", End::Refused),
    ("in doubt", End::InDoubt),
];

const MESSAGES: [(&str, MessageKind); 3] =
    [("page", MessageKind::Trigger), ("update", MessageKind::Update), ("all-clear", MessageKind::Resolve)];

/// What a trigger or an expression must be like.
#[derive(Clone, Debug)]
pub(super) enum StatePattern {
    /// A trigger.
    Trigger {
        name: Scalar,
        is: Option<Standing>,
        verdict: Option<VerdictWord>,
        value: Option<String>,
        /// How full its window is.
        window: Option<Fill>,
        /// A part of the reason why it does not act.
        because: Option<String>,
    },
    /// An expression over everything that is remembered.
    Query { text: String, plan: Box<Plan>, is: Option<f64> },
}

/// How full a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// How much of it is proven to be breached.
    Time(Span),
    /// How many breaches it holds of how many it takes.
    Count(u32, u32),
}

/// Where a trigger stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Quiet,
    Pending,
    Firing,
}

const STANDINGS: [(&str, Standing); 3] =
    [("quiet", Standing::Quiet), ("pending", Standing::Pending), ("firing", Standing::Firing)];

/// A verdict without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VerdictWord {
    Holds,
    Breached,
    NoData,
    Unknown,
    /// Not judged yet.
    None,
}

const VERDICTS: [(&str, VerdictWord); 5] = [
    ("holds", VerdictWord::Holds),
    ("breached", VerdictWord::Breached),
    ("no data", VerdictWord::NoData),
    ("unknown", VerdictWord::Unknown),
    ("none", VerdictWord::None),
];

impl Want {
    /// Returns the last time that it speaks of.
    pub(super) fn last(&self) -> Option<Span> {
        match self {
            Self::Event(when, _) | Self::Never(Some(when), _) => Some(when.to),
            Self::State(at, _) => Some(*at),
            Self::Never(None, _) | Self::Only(_) => None,
        }
    }
}

impl Want {
    /// Returns the trigger that it names.
    pub(super) fn trigger(&self) -> Option<&str> {
        let name = match self {
            Self::Event(_, pattern) | Self::Never(_, pattern) => match pattern.kind {
                Kind::Fires | Kind::Pending | Kind::Clears => pattern.name.as_ref()?,
                _ => return None,
            },
            Self::State(_, StatePattern::Trigger { name, .. }) => name,
            Self::State(_, StatePattern::Query { .. }) | Self::Only(_) => return None,
        };
        Some(with_labels(&name.value).map_or(name.value.as_str(), |(bare, _)| bare))
    }
}

impl When {
    pub(super) fn contains(self, at: Span) -> bool {
        self.from <= at && at <= self.to
    }
}

/// Reads one expectation.
pub(super) fn read(node: &Node, out: &mut Findings) -> Option<Expectation> {
    let fields = EXPECT.read(node, out)?;
    let verb = verb(&fields, out)?;
    let when = fields.get("at").map(|node| when(node, out));
    let place = fields.place();
    let want = match verb {
        "never" => {
            let pattern = never(fields.get("never")?, out)?;
            Want::Never(when.flatten(), pattern)
        }
        "only" => {
            let kinds = decode::list(fields.get("only")?, "`only`", out);
            let kind = |node: &Node| decode::choice(node, "a kind of event", &KINDS, out);
            Want::Only(kinds.iter().filter_map(kind).collect())
        }
        "trigger" | "query" => {
            let at = fields.required("at", out).and(when).flatten();
            let state = state(verb, &fields, out)?;
            let at = at?;
            if at.from != at.to {
                let message = "a state is looked at at one time";
                out.push(Diagnostic::error("bad-time", fields.key_place("at"), message));
            }
            Want::State(at.from, state)
        }
        verb => {
            let pattern = pattern(verb, &fields, out)?;
            fields.required("at", out)?;
            Want::Event(when.flatten()?, pattern)
        }
    };
    Some(Expectation { place, want })
}

/// Finds the one key that says what is expected, and reports what does not belong beside it.
fn verb(fields: &Fields<'_>, out: &mut Findings) -> Option<&'static str> {
    let verbs: Vec<_> = BESIDE.iter().filter(|(verb, _)| fields.get(verb).is_some()).collect();
    let [(verb, beside)] = verbs.as_slice() else {
        let message = match verbs.as_slice() {
            [] => "nothing is expected here".to_owned(),
            several => {
                let names: Vec<_> = several.iter().map(|(verb, _)| format!("`{verb}`")).collect();
                format!("this is several expectations in one: {}", names.join(", "))
            }
        };
        let hint = "one of `fires`, `clears`, `rollback`, `page`, `trigger`, `never`, `only`, ... each";
        out.push(Diagnostic::error("bad-expectation", fields.place(), message).hint(hint));
        return None;
    };
    let foreign = EXPECT.keys.iter().filter(|key| **key != "at" && *key != verb && !beside.contains(key));
    for key in foreign.filter(|key| fields.get(key).is_some()) {
        let message = format!("`{key}` means nothing beside `{verb}`");
        let listed: Vec<_> = beside.iter().map(|key| format!("`{key}`")).collect();
        let hint = match listed.as_slice() {
            [] => "take it out".to_owned(),
            listed => format!("beside `{verb}` may stand {}", listed.join(", ")),
        };
        out.push(Diagnostic::error("bad-expectation", fields.key_place(key), message).hint(hint));
    }
    Some(verb)
}

/// Reads what must not happen: a kind of event, or an event as it is expected elsewhere.
fn never(node: &Node, out: &mut Findings) -> Option<Pattern> {
    if let Node::Scalar(_) = node {
        let kind = decode::choice(node, "`never`", &KINDS, out)?;
        return Some(Pattern::any(kind));
    }
    let fields = EXPECT.read(node, out)?;
    let verb = verb(&fields, out)?;
    if fields.get("at").is_some() || !KINDS.iter().any(|(word, _)| *word == verb) {
        let message = "`never` takes one event";
        let hint =
            "such as `never: { page: pager }`; a time stands beside it: `{ at: 0s to 60s, never: ... }`";
        out.push(Diagnostic::error("bad-expectation", node.place(), message).hint(hint));
        return None;
    }
    pattern(verb, &fields, out)
}

impl Pattern {
    /// Returns what any event of a kind fits.
    pub(super) fn any(kind: Kind) -> Self {
        Self {
            kind,
            name: None,
            value: None,
            ends: None,
            refused: None,
            because: None,
            message: MessageKind::Trigger,
            says: None,
            resolved: false,
        }
    }
}

fn pattern(verb: &str, fields: &Fields<'_>, out: &mut Findings) -> Option<Pattern> {
    let kind = KINDS.iter().find(|(word, _)| *word == verb).map(|(_, kind)| *kind)?;
    let name = decode::text(fields.get(verb)?, &format!("`{verb}`"), out)?.clone();
    let mut words = |key: &str| {
        let node = fields.get(key)?;
        decode::text(node, &format!("`{key}`"), out).map(|scalar| scalar.value.clone())
    };
    let (value, refused, because, says) = (words("value"), words("refused"), words("because"), words("says"));
    let ends = fields.get("ends").and_then(|node| decode::choice(node, "`ends`", &ENDS, out));
    let message = fields.get("kind").and_then(|node| decode::choice(node, "`kind`", &MESSAGES, out));
    let resolved = match (kind, fields.get("is")) {
        (Kind::Incident, Some(node)) => {
            decode::choice(node, "`is`", &[("opened", false), ("resolved", true)], out)
        }
        _ => None,
    };
    Some(Pattern {
        name: Some(name),
        value,
        ends,
        refused,
        because,
        message: message.unwrap_or(MessageKind::Trigger),
        says,
        resolved: resolved.unwrap_or(false),
        ..Pattern::any(kind)
    })
}

fn state(verb: &str, fields: &Fields<'_>, out: &mut Findings) -> Option<StatePattern> {
    let text = decode::text(fields.get(verb)?, &format!("`{verb}`"), out)?;
    if verb == "query" {
        let is = fields.required("is", out).and_then(|node| number(node, out));
        let compiled = promql::parse(&text.value).and_then(|expr| promql::compile(&expr, &Scope::EVERYTHING));
        return match compiled {
            Ok(plan) => {
                let text = text.value.trim().to_owned();
                Some(StatePattern::Query { text, plan: Box::new(plan), is: is? })
            }
            Err(problems) => {
                out.extend(problems.iter().map(|problem| located(text, "bad-expression", problem)));
                None
            }
        };
    }
    let mut words = |key: &str| {
        let node = fields.get(key)?;
        decode::text(node, &format!("`{key}`"), out).map(|scalar| scalar.value.clone())
    };
    let (value, because) = (words("value"), words("because"));
    if ["is", "verdict", "value", "window", "because"].iter().all(|key| fields.get(key).is_none()) {
        let message = "what is it with this trigger? One of `is`, `verdict`, `value`, `window`, `because`";
        out.push(Diagnostic::error("bad-expectation", fields.place(), message).hint("such as `is: firing`"));
    }
    let window = fields.get("window").and_then(|node| fill(node, out));
    Some(StatePattern::Trigger {
        name: text.clone(),
        is: fields.get("is").and_then(|node| decode::choice(node, "`is`", &STANDINGS, out)),
        verdict: fields.get("verdict").and_then(|node| decode::choice(node, "`verdict`", &VERDICTS, out)),
        value,
        window,
        because,
    })
}

/// Reads `40s`, or `3 of 5`.
fn fill(node: &Node, out: &mut Findings) -> Option<Fill> {
    let scalar = decode::text(node, "`window`", out)?;
    let Some((count, of)) = scalar.value.split_once(" of ") else {
        return decode::duration(node, "`window`", out).map(|span| Fill::Time(span.value));
    };
    match (count.trim().parse(), of.trim().parse()) {
        (Ok(count), Ok(of)) => Some(Fill::Count(count, of)),
        _ => {
            let hint = "how much of it is breached, such as `40s`; where breaches are counted, `3 of 5`";
            out.push(decode::wrong_type(node, "`window`", "a time or a count").hint(hint));
            None
        }
    }
}

/// Reads what an expression must give: a number, or `nothing`.
fn number(node: &Node, out: &mut Findings) -> Option<Option<f64>> {
    let scalar = decode::text(node, "`is`", out)?;
    if scalar.value == "nothing" {
        return Some(None);
    }
    let value = promql::literals::parse_number(scalar.value.trim());
    if value.is_none() {
        out.push(decode::wrong_type(node, "`is`", "a number or `nothing`"));
    }
    value.map(Some)
}

/// Reads `45s`, or `40s to 50s`.
fn when(node: &Node, out: &mut Findings) -> Option<When> {
    let scalar = decode::text(node, "`at`", out)?;
    let Some((from, to)) = scalar.value.split_once(" to ") else {
        let at = decode::duration(node, "`at`", out)?.value;
        return Some(When { from: at, to: at });
    };
    match (from.trim().parse::<Span>(), to.trim().parse::<Span>()) {
        (Ok(from), Ok(to)) if from <= to => Some(When { from, to }),
        (Ok(_), Ok(_)) => {
            let message = format!("`{}` ends before it begins", scalar.value);
            out.push(Diagnostic::error("bad-time", scalar.place(), message));
            None
        }
        (Err(error), _) | (_, Err(error)) => {
            let problem = Diagnostic::error("bad-time", scalar.place(), format!("`at`: {error}"));
            out.push(problem.hint("one time such as `45s`, or a range such as `40s to 50s`"));
            None
        }
    }
}

impl End {
    /// Returns whether a rollback ended so.
    pub(super) fn is_outcome(self, outcome: Outcome) -> bool {
        self == match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Partial => Self::Partial,
            Outcome::Failed => Self::Failed,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Refused => Self::Refused,
        }
    }

    /// Returns whether a step ended so.
    pub(super) fn is_result(self, result: &StepResult) -> bool {
        self == match result {
            StepResult::Succeeded => Self::Succeeded,
            StepResult::Failed(_) => Self::Failed,
            StepResult::TimedOut => Self::TimedOut,
        }
    }
}
