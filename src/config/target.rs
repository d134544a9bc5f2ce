//! `targets`: what is guarded, whether decisions act, and how often they may.

use std::str::FromStr;

use super::deployments::{self, WrittenDeployments};
use crate::engine::decision::{AtMost, Mode};
use crate::engine::model::TargetName;
use crate::engine::rules::decode::{Shape, choice, duration, named, text, texts};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings};
use crate::engine::time::Span;

const TARGET: Shape = Shape {
    what: "a target",
    keys: &["mode", "plans", "at_most", "cooldown", "deployments", "reference"],
    later: &["immutable", "approve", "calendar", "labels", "two_key"],
};

const MODES: [(&str, Mode); 2] = [("shadow", Mode::Shadow), ("armed", Mode::Armed)];

/// A day with more rollbacks than this needs people, not a fourth rollback.
const DEFAULT_AT_MOST: AtMost = AtMost { count: 3, per: Span::from_secs(24 * 3600) };
/// A rollback's effect must be seen before the next one is thought of.
const DEFAULT_COOLDOWN: Span = Span::from_secs(600);

/// One target as written, defaults applied; its plans are not looked up yet.
#[derive(Clone, Debug)]
pub(super) struct WrittenTarget {
    pub(super) name: TargetName,
    pub(super) mode: Mode,
    pub(super) plans: Vec<Scalar>,
    /// The probes that tell whether it is us who see nothing.
    pub(super) reference: Vec<Scalar>,
    pub(super) at_most: AtMost,
    pub(super) cooldown: Span,
    pub(super) deployments: WrittenDeployments,
}

/// Reads `targets`. A broken value is reported and stands as its default, so that the target keeps its name.
pub(super) fn read(node: &Node, out: &mut Findings) -> Vec<WrittenTarget> {
    named(node, "`targets`", out).into_iter().map(|(name, node)| target(name, node, out)).collect()
}

fn target(name: &Scalar, node: &Node, out: &mut Findings) -> WrittenTarget {
    let mut target = WrittenTarget {
        name: TargetName::from(name.value.as_str()),
        mode: Mode::Shadow,
        plans: Vec::new(),
        reference: Vec::new(),
        at_most: DEFAULT_AT_MOST,
        cooldown: DEFAULT_COOLDOWN,
        deployments: WrittenDeployments::default(),
    };
    // A name with nothing under it is a target that takes every default.
    if matches!(node, Node::Scalar(scalar) if scalar.is_null()) {
        return target;
    }
    let Some(fields) = TARGET.read(node, out) else { return target };
    if let Some(mode) = fields.get("mode").and_then(|node| choice(node, "`mode`", &MODES, out)) {
        target.mode = mode;
    }
    if let Some(node) = fields.get("plans") {
        target.plans = texts(node, "`plans`", out).into_iter().cloned().collect();
    }
    if let Some(node) = fields.get("reference") {
        target.reference = texts(node, "`reference`", out).into_iter().cloned().collect();
    }
    if let Some(at_most) = fields.get("at_most").and_then(|node| at_most(node, out)) {
        target.at_most = at_most;
    }
    if let Some(cooldown) = fields.get("cooldown").and_then(|node| duration(node, "`cooldown`", out)) {
        target.cooldown = cooldown.value;
    }
    if let Some(node) = fields.get("deployments") {
        target.deployments = deployments::read(node, out);
    }
    if target.mode == Mode::Armed && target.plans.is_empty() && fields.get("plans").is_none() {
        let message = format!("target `{}` is armed and may run no plan", target.name);
        let hint = "add `plans: [PLAN]`, or leave `mode` out";
        out.push(Diagnostic::warning("armed-without-plans", fields.key_place("mode"), message).hint(hint));
    }
    target
}

/// Reads `3 per 24h`.
fn at_most(node: &Node, out: &mut Findings) -> Option<AtMost> {
    let written = text(node, "`at_most`", out)?;
    let mut words = written.value.split_whitespace();
    let (count, per, span) = (words.next(), words.next(), words.next());
    let count = count.and_then(|count| count.parse::<u32>().ok());
    let span = span.and_then(|span| Span::from_str(span).ok()).filter(|span| !span.is_zero_or_negative());
    let (Some(count), Some("per"), Some(per), None) = (count, per, span, words.next()) else {
        let message = format!("`{}` is not a number of rollbacks per time", written.value.escape_debug());
        out.push(Diagnostic::error("bad-limit", written.place(), message).hint("such as `3 per 24h`"));
        return None;
    };
    if count == 0 {
        let message = "this target could never be rolled back";
        let hint = "to forbid rollbacks write `mode: shadow`; `at_most` is 1 or more";
        out.push(Diagnostic::error("bad-limit", written.place(), message).hint(hint));
        return None;
    }
    Some(AtMost { count, per })
}
