//! The rule file as written: typed, with places, nothing looked up yet.

mod budgets;
mod due;
mod objectives;

pub use budgets::{WrittenBudget, WrittenBurnRate};
pub use objectives::{WrittenObjectives, WrittenPromise, WrittenWeights};
mod triggers;
mod windows;

pub use due::WrittenClock;
pub use triggers::{WrittenClear, WrittenLevel, WrittenTerms, WrittenTrigger};
pub use windows::WrittenWindow;

use super::baseline::{self, WrittenBaseline};
use super::condition::UNITS;
use super::decode::{Shape, choice, list, named, text, texts, wrong_type};
use super::diagnostic::{Diagnostic, Findings, Place};
use super::during::{self, WrittenDuring};
use super::set::Unit;
use super::yaml::{Node, Scalar};
use crate::engine::model::Severity;
use crate::engine::series::Matcher;

/// One rule file. What could not be read has been reported and is absent.
#[derive(Clone, Debug, Default)]
pub struct RuleFile {
    /// What is guarded.
    pub target: Option<Scalar>,
    /// The sources that bare selectors see.
    pub sources: Vec<Scalar>,
    /// What is measured.
    pub indicators: Vec<WrittenIndicator>,
    /// What is promised.
    pub triggers: Vec<WrittenTrigger>,
    /// What is scored.
    pub objectives: Option<Box<WrittenObjectives>>,
    /// What is spent.
    pub budgets: Vec<WrittenBudget>,
}

/// An indicator as written.
#[derive(Clone, Debug)]
pub struct WrittenIndicator {
    /// Its name.
    pub name: Scalar,
    /// What its values mean.
    pub unit: Option<Unit>,
    /// The expression.
    pub expr: Option<Scalar>,
    /// What it means, for people.
    pub description: Option<Scalar>,
    /// How its normal value is taken.
    pub baseline: WrittenBaseline,
}

/// What follows, as written: the block `then`, which is the same everywhere.
#[derive(Clone, Debug, Default)]
pub struct WrittenThen {
    /// The plan that is run.
    pub rollback: Option<Scalar>,
    /// The plan that people are advised to run.
    pub recommend: Option<Scalar>,
    /// When it may be run.
    pub rollback_during: Vec<WrittenDuring>,
    /// The policy that is notified.
    pub page: Option<Scalar>,
    /// Whether anything was written, readable or not.
    pub something: bool,
}

/// A route whose names are not looked up yet.
#[derive(Clone, Debug)]
pub struct WrittenRoute {
    /// Where it is declared.
    pub place: Place,
    /// What the alert's labels must be; `None` where that could not be read, which has been reported.
    pub matchers: Option<Vec<Matcher>>,
    /// The target that such alerts speak of.
    pub target: Option<Scalar>,
    /// What follows.
    pub then: WrittenThen,
}

const FILE: Shape = Shape {
    what: "a rule file",
    keys: &["target", "sources", "indicators", "triggers", "objectives", "budgets", "groups", "interval"],
    later: &["gates"],
};

const INDICATOR: Shape = Shape {
    what: "an indicator",
    keys: &["unit", "expr", "baseline", "description"],
    later: &["good", "total"],
};

const ROLLBACK: Shape = Shape { what: "`rollback`", keys: &["plan", "during"], later: &[] };

const THEN: Shape = Shape { what: "`then`", keys: &["rollback", "recommend", "page"], later: &["veto"] };

/// The severities by the words that rule files use.
pub const SEVERITIES: [(&str, Severity); 4] = [
    ("critical", Severity::Critical),
    ("high", Severity::High),
    ("medium", Severity::Medium),
    ("low", Severity::Low),
];

/// Reads a rule file's tree.
pub fn read(root: &Node, out: &mut Findings) -> RuleFile {
    let Some(fields) = FILE.read(root, out) else { return RuleFile::default() };
    if fields.get("groups").is_some() {
        let message = "`groups` are Prometheus' rules, and this file has a target of its own";
        let hint = "move them into a file of their own; `routes` in rearguard.yaml say what follows";
        out.push(Diagnostic::error("mixed-file", fields.key_place("groups"), message).hint(hint));
    }
    if fields.get("interval").is_some() {
        let message = "`interval` would do nothing here: triggers are judged at each answer of their sources";
        let hint = "write how often a source is asked, as its `every` in rearguard.yaml; `groups` of Prometheus have an `interval`";
        out.push(Diagnostic::error("no-interval", fields.key_place("interval"), message).hint(hint));
    }
    let target = fields.required("target", out).and_then(|node| text(node, "`target`", out)).cloned();
    let sources = match fields.required("sources", out) {
        Some(node) => texts(node, "`sources`", out).into_iter().cloned().collect(),
        None => Vec::new(),
    };
    if let Some(Node::Sequence(items, place)) = fields.get("sources")
        && items.is_empty()
    {
        let message = "`sources` names no source, so no indicator can see anything";
        out.push(Diagnostic::error("no-sources", place.clone(), message));
    }
    let indicators = match fields.get("indicators") {
        Some(node) => named(node, "`indicators`", out)
            .into_iter()
            .filter_map(|(name, node)| indicator(name, node, out))
            .collect(),
        None => Vec::new(),
    };
    let triggers = match fields.get("triggers") {
        Some(node) => {
            list(node, "`triggers`", out).iter().filter_map(|node| triggers::trigger(node, out)).collect()
        }
        None => Vec::new(),
    };
    let objectives = fields.get("objectives").and_then(|node| objectives::read(node, out)).map(Box::new);
    let budgets = fields.get("budgets").map_or_else(Vec::new, |node| budgets::read(node, out));
    RuleFile { target, sources, indicators, triggers, objectives, budgets }
}

fn indicator(name: &Scalar, node: &Node, out: &mut Findings) -> Option<WrittenIndicator> {
    if !name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        || name.value.starts_with(|c: char| c.is_ascii_digit())
        || ["and", "or"].contains(&name.value.as_str())
    {
        let message = format!("`{}` cannot be an indicator's name", name.value.escape_debug());
        out.push(
            Diagnostic::error("bad-name", name.place(), message)
                .hint("conditions name it: use letters, digits and `_`, such as `error_rate`"),
        );
    }
    let fields = INDICATOR.read(node, out);
    let (unit, expr) = match &fields {
        Some(fields) => (fields.required("unit", out), fields.required("expr", out)),
        None => (None, None),
    };
    Some(WrittenIndicator {
        name: name.clone(),
        unit: unit.and_then(|node| choice(node, "`unit`", &UNITS, out)),
        expr: expr.and_then(|node| text(node, "`expr`", out)).cloned(),
        description: fields
            .as_ref()
            .and_then(|fields| fields.get("description"))
            .and_then(|node| text(node, "`description`", out))
            .cloned(),
        baseline: fields
            .as_ref()
            .and_then(|fields| fields.get("baseline"))
            .map_or_else(WrittenBaseline::default, |node| baseline::read(node, out)),
    })
}

/// Reads a block `then`.
pub fn read_then(node: &Node, out: &mut Findings) -> WrittenThen {
    let Some(then) = THEN.read(node, out) else {
        // It has been reported, and something was meant to follow.
        return WrittenThen { something: true, ..WrittenThen::default() };
    };
    let supported = ["rollback", "recommend", "page"].iter().any(|key| then.get(key).is_some());
    let (rollback, rollback_during) =
        then.get("rollback").map_or((None, Vec::new()), |node| rollback(node, out));
    WrittenThen {
        rollback,
        rollback_during,
        recommend: then.get("recommend").and_then(|node| text(node, "`recommend`", out)).cloned(),
        page: then.get("page").and_then(|node| text(node, "`page`", out)).cloned(),
        something: supported || then.has_later("veto"),
    }
}

/// Reads a plan's name, or a plan with its times.
fn rollback(node: &Node, out: &mut Findings) -> (Option<Scalar>, Vec<WrittenDuring>) {
    match node {
        Node::Mapping(..) => {
            let Some(fields) = ROLLBACK.read(node, out) else { return (None, Vec::new()) };
            let plan = fields.required("plan", out).and_then(|node| text(node, "`plan`", out)).cloned();
            let during = fields.get("during").map_or_else(Vec::new, |node| during::read(node, out));
            (plan, during)
        }
        Node::Sequence(..) => {
            out.push(wrong_type(node, "`rollback`", "one plan's name"));
            (None, Vec::new())
        }
        Node::Scalar(_) => (text(node, "`rollback`", out).cloned(), Vec::new()),
    }
}
