//! `rollbacks`: what may be executed, with budgets and proof.

mod step;

use crate::engine::decision::Step;
use crate::engine::decision::link::{DeclaredPlan, DeclaredVerify};
use crate::engine::model::PlanName;
use crate::engine::rules::decode::{Fields, Shape, duration, list, named, positive_duration, text, texts};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings, Place, Verified};
use crate::engine::time::Span;

const PLAN: Shape = Shape {
    what: "a rollback plan",
    keys: &["deadline", "steps", "verify"],
    later: &["require", "otherwise", "cooldown", "at_most", "approve", "point_of_no_return", "description"],
};
const VERIFY: Shape = Shape {
    what: "`verify`",
    keys: &["warm_up", "within", "conditions", "on"],
    later: &["probes", "steps", "for", "settle"],
};

/// One plan as written.
#[derive(Clone, Debug)]
pub(super) struct WrittenPlan {
    pub(super) name: PlanName,
    pub(super) verified: Verified,
    /// The pairs under `verify.on`, for looking the sources up.
    pub(super) on: Vec<(Scalar, Scalar)>,
    /// Absent where something in it is broken.
    pub(super) plan: Option<DeclaredPlan>,
}

/// Reads `rollbacks`; a broken plan keeps its name.
pub(super) fn read(node: &Node, out: &mut Findings) -> Vec<WrittenPlan> {
    named(node, "`rollbacks`", out).into_iter().map(|(name, node)| plan(name, node, out)).collect()
}

fn plan(name: &Scalar, node: &Node, out: &mut Findings) -> WrittenPlan {
    let plan_name = PlanName::from(name.value.as_str());
    let Some(fields) = PLAN.read(node, out) else {
        return WrittenPlan { name: plan_name, verified: Verified::Yes, on: Vec::new(), plan: None };
    };
    let steps = fields.required("steps", out).and_then(|node| steps(name, node, out));
    let mut on = Vec::new();
    let verify = fields.get("verify").map(|node| verify(node, &mut on, out));
    let verified = if verify.is_some() { Verified::Yes } else { Verified::No };
    let deadline = fields.get("deadline").map(|node| positive_duration(node, "`deadline`", out));
    let plan = match (steps, verify, deadline) {
        (None, ..) | (_, Some(None), _) | (_, _, Some(None)) => None,
        (Some(steps), verify, deadline) => {
            let verify = verify.flatten();
            let budgets = steps.iter().fold(Span::ZERO, |sum, step| sum + step.timeout);
            let looking = verify.as_ref().map_or(Span::ZERO, |verify| verify.warm_up + verify.within);
            let written = deadline.flatten();
            if let Some(deadline) = &written {
                check_deadline(deadline.value, &deadline.place, budgets, verify.as_ref(), out);
            }
            let deadline = written.map_or(budgets + looking, |deadline| deadline.value);
            Some(DeclaredPlan { place: name.place(), deadline, steps, verify })
        }
    };
    WrittenPlan { name: plan_name, verified, on, plan }
}

/// Doubts a deadline that a run within all its steps' budgets can miss before it has verified anything.
fn check_deadline(
    deadline: Span,
    place: &Place,
    budgets: Span,
    verify: Option<&DeclaredVerify>,
    out: &mut Findings,
) {
    let needed = budgets + verify.map_or(Span::ZERO, |verify| verify.warm_up);
    let too_short = if verify.is_some() { deadline <= needed } else { deadline < needed };
    if too_short {
        let message = format!("the steps may take {budgets} and the plan ends after {deadline}");
        let hint = match verify {
            Some(_) => {
                "nothing would be verified after slow steps: make `deadline` longer or the timeouts shorter"
            }
            None => "a slow step would be cut off: make `deadline` longer or the timeouts shorter",
        };
        out.push(Diagnostic::warning("short-deadline", place.clone(), message).hint(hint));
    }
}

/// Reads the steps; `None` where there are none or one of them is broken: half a plan must not run.
fn steps(plan: &Scalar, node: &Node, out: &mut Findings) -> Option<Vec<Step>> {
    let items = list(node, "`steps`", out);
    if matches!(node, Node::Sequence(items, _) if items.is_empty()) {
        let message = format!("plan `{}` has no steps", plan.value);
        out.push(Diagnostic::error("no-steps", node.place(), message));
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut whole = !items.is_empty();
    for item in items {
        match step::read(item, out) {
            Some((name, step)) => {
                if steps.iter().any(|earlier| earlier.name == step.name) {
                    let message = format!("two steps of this plan are called `{}`", step.name);
                    out.push(
                        Diagnostic::error("duplicate-step", name, message)
                            .hint("the record of a rollback names its steps: call them differently"),
                    );
                }
                steps.push(step);
            }
            None => whole = false,
        }
    }
    whole.then_some(steps)
}

fn verify(node: &Node, on: &mut Vec<(Scalar, Scalar)>, out: &mut Findings) -> Option<DeclaredVerify> {
    let fields = VERIFY.read(node, out)?;
    let warm_up = match fields.get("warm_up") {
        Some(node) => duration(node, "`warm_up`", out).map(|span| span.value),
        None => Some(Span::ZERO),
    };
    let within = fields.required("within", out).and_then(|node| positive_duration(node, "`within`", out));
    if let (Some(warm_up), Some(within)) = (warm_up, &within)
        && within.value <= warm_up
    {
        let message = format!(
            "verification ends {} after the last step, before its warm-up of {warm_up}",
            within.value
        );
        let hint = "`within` counts from the end of the last step and includes the warm-up";
        out.push(Diagnostic::error("bad-duration", within.place.clone(), message).hint(hint));
    }
    let conditions = conditions(&fields, out);
    if let Some(node) = fields.get("on") {
        for (instead_of, node) in named(node, "`on`", out) {
            on.extend(text(node, "a source's name", out).map(|read| (instead_of.clone(), read.clone())));
        }
    }
    let within = within?;
    Some(DeclaredVerify {
        warm_up: warm_up?,
        within: within.value,
        within_place: within.place,
        conditions: conditions?,
        on: on.iter().map(|(from, to)| (from.value.as_str().into(), to.value.as_str().into())).collect(),
    })
}

fn conditions(fields: &Fields<'_>, out: &mut Findings) -> Option<Vec<Scalar>> {
    let written = if fields.has_later("probes") {
        fields.get("conditions")
    } else {
        fields.required("conditions", out)
    };
    let node = written?;
    if matches!(node, Node::Sequence(items, _) if items.is_empty()) {
        let message = "a verification without conditions proves nothing";
        let hint = "write what must hold, such as `conditions: [\"error_rate < 1%\"]`, or leave `verify` out";
        out.push(Diagnostic::error("no-conditions", node.place(), message).hint(hint));
    }
    Some(texts(node, "`conditions`", out).into_iter().cloned().collect())
}
