//! How steps and receivers behave in a test: what becomes of each thing that is asked of them.

use crate::engine::decision::{DeliveryReport, StepResult};
use crate::engine::rules::Findings;
use crate::engine::rules::decode::{self, Shape};
use crate::engine::rules::yaml::Node;
use crate::engine::time::Span;

const STEP: Shape = Shape { what: "a step's run", keys: &["takes", "ends", "says"], later: &[] };
const DELIVERY: Shape = Shape { what: "a delivery", keys: &["takes", "ends", "says"], later: &[] };

/// How long a step runs of which nothing is said.
const STEP_TAKES: Span = Span::from_secs(1);

/// What becomes of the first, the second, ... of several; the last one goes on for all that follow.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Behaviour<R>(Vec<R>);

impl<R> Behaviour<R> {
    /// Returns what becomes of the `nth`, counted from 0.
    pub(super) fn nth(&self, nth: usize) -> Option<&R> {
        self.0.get(nth).or_else(|| self.0.last())
    }
}

/// One run of a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StepRun {
    pub(super) takes: Span,
    pub(super) ends: StepEnd,
    /// What it prints.
    pub(super) says: String,
}

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepEnd {
    Succeeds,
    Fails,
    /// Does not end by itself: its time limit ends it.
    Hangs,
    /// Ran, and nothing more is ever heard of it.
    IsLost,
    /// Could not be begun.
    CannotStart,
}

const STEP_ENDS: [(&str, StepEnd); 5] = [
    ("succeeds", StepEnd::Succeeds),
    ("fails", StepEnd::Fails),
    ("hangs", StepEnd::Hangs),
    ("is lost", StepEnd::IsLost),
    ("cannot start", StepEnd::CannotStart),
];

impl Default for StepRun {
    fn default() -> Self {
        Self { takes: STEP_TAKES, ends: StepEnd::Succeeds, says: String::new() }
    }
}

impl StepRun {
    /// Returns after how long a run within `limit` ends, and how; `None` where nothing is heard of it.
    pub(super) fn ending(&self, limit: Span) -> Option<(Span, StepResult)> {
        match self.ends {
            StepEnd::IsLost => None,
            StepEnd::Hangs => Some((limit, StepResult::TimedOut)),
            _ if self.takes > limit => Some((limit, StepResult::TimedOut)),
            StepEnd::Succeeds => Some((self.takes, StepResult::Succeeded)),
            StepEnd::Fails => Some((self.takes, StepResult::Failed("exit code 1".to_owned()))),
            StepEnd::CannotStart => {
                Some((Span::ZERO, StepResult::Failed("it could not be started".to_owned())))
            }
        }
    }
}

/// One delivery.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DeliveryRun {
    pub(super) takes: Span,
    pub(super) ends: DeliveryEnd,
    /// What the receiver answers.
    pub(super) says: Option<String>,
}

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryEnd {
    Accepted,
    /// The first try fails, and so do all others.
    Fails,
    /// Will never be taken.
    Refused,
    /// Nothing is heard of it.
    Hangs,
}

const DELIVERY_ENDS: [(&str, DeliveryEnd); 4] = [
    ("accepts", DeliveryEnd::Accepted),
    ("fails", DeliveryEnd::Fails),
    ("refuses", DeliveryEnd::Refused),
    ("hangs", DeliveryEnd::Hangs),
];

impl Default for DeliveryRun {
    fn default() -> Self {
        Self { takes: Span::ZERO, ends: DeliveryEnd::Accepted, says: None }
    }
}

impl DeliveryRun {
    /// Returns what is reported of it, and after how long.
    pub(super) fn report(&self) -> Option<(Span, DeliveryReport)> {
        let says = |otherwise: &str| self.says.clone().unwrap_or_else(|| otherwise.to_owned());
        let report = match self.ends {
            DeliveryEnd::Accepted => DeliveryReport::Accepted(says("accepted")),
            DeliveryEnd::Fails => DeliveryReport::FirstFailure(says("503 Service Unavailable")),
            DeliveryEnd::Refused => DeliveryReport::Dead(says("400 Bad Request")),
            DeliveryEnd::Hangs => return None,
        };
        Some((self.takes, report))
    }
}

/// Reads one behaviour, or a list of them: for the first, the second, ...
pub(super) fn read<R>(
    node: &Node,
    run: fn(&Node, &mut Findings) -> Option<R>,
    out: &mut Findings,
) -> Option<Behaviour<R>> {
    let runs = match node {
        Node::Sequence(items, _) if !items.is_empty() => {
            items.iter().filter_map(|item| run(item, out)).collect()
        }
        node => vec![run(node, out)?],
    };
    Some(Behaviour(runs))
}

/// Reads how a step runs: `fails`, or `{ takes: 4s, ends: fails, says: ... }`.
pub(super) fn step(node: &Node, out: &mut Findings) -> Option<StepRun> {
    if !matches!(node, Node::Mapping(..)) {
        let ends = decode::choice(node, "how a step ends", &STEP_ENDS, out)?;
        return Some(StepRun { ends, ..StepRun::default() });
    }
    let fields = STEP.read(node, out)?;
    let takes = fields.get("takes").and_then(|node| decode::duration(node, "`takes`", out));
    let ends = fields.get("ends").and_then(|node| decode::choice(node, "how a step ends", &STEP_ENDS, out));
    let says = fields.get("says").and_then(|node| decode::text(node, "`says`", out));
    Some(StepRun {
        takes: takes.map_or(STEP_TAKES, |takes| takes.value),
        ends: ends.unwrap_or(StepEnd::Succeeds),
        says: says.map(|says| says.value.clone()).unwrap_or_default(),
    })
}

/// Reads how a delivery goes: `refuses`, or `{ takes: 2s, ends: accepts, says: ... }`.
pub(super) fn delivery(node: &Node, out: &mut Findings) -> Option<DeliveryRun> {
    if !matches!(node, Node::Mapping(..)) {
        let ends = decode::choice(node, "how a delivery ends", &DELIVERY_ENDS, out)?;
        return Some(DeliveryRun { ends, ..DeliveryRun::default() });
    }
    let fields = DELIVERY.read(node, out)?;
    let takes = fields.get("takes").and_then(|node| decode::duration(node, "`takes`", out));
    let ends =
        fields.get("ends").and_then(|node| decode::choice(node, "how a delivery ends", &DELIVERY_ENDS, out));
    let says = fields.get("says").and_then(|node| decode::text(node, "`says`", out));
    Some(DeliveryRun {
        takes: takes.map_or(Span::ZERO, |takes| takes.value),
        ends: ends.unwrap_or(DeliveryEnd::Accepted),
        says: says.map(|says| says.value.clone()),
    })
}
