//! Prometheus rule files, loaded as they are: `groups:` of recording and alerting rules.
//!
//! A file is read as written, with places (`written`), then compiled into [`Group`]s that mean what Prometheus means.
//! The keys are those of Prometheus 3 (`model/rulefmt/rulefmt.go`); what it refuses is refused, all problems at once.
//! Stricter than Prometheus are only rules that could never work: an expression that gives no vector, and one that
//! looks at a fixed time which no retention keeps.

mod absence;
mod compile;
mod names;
pub mod routes;
mod written;

use super::diagnostic::{Diagnostic, Findings, SourceFile};
use super::groups::Group;
use super::yaml::{self, Node};
use crate::engine::time::Span;

pub(super) use absence::settle;
pub use names::{is_label_name, is_metric_name};

/// Prometheus' own `global.evaluation_interval`, where nobody says another.
pub const DEFAULT_INTERVAL: Span = Span::from_secs(60);

/// What holds for groups that say nothing themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupDefaults {
    /// Time between two evaluations, and the step of subqueries that name none.
    pub interval: Span,
    /// How much of the past the rules can see.
    pub history: History,
}

/// How much of the past rules can see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// As far back as they reach from now, as in the daemon: a fixed time (`@ 1609746000`) would soon be forgotten.
    #[default]
    Sliding,
    /// All of it, as in rule tests.
    Whole,
}

impl Default for GroupDefaults {
    fn default() -> Self {
        Self { interval: DEFAULT_INTERVAL, history: History::default() }
    }
}

/// Loads one file of groups, without anything of the daemon's; goes on after errors and leaves out what has any.
///
/// The groups are complete only where `out` got no error. Whether an alert rests on absence is told from this file alone;
/// where several files belong together, [`super::compile::compile`] looks at all of them.
pub fn load(file: &SourceFile, defaults: &GroupDefaults, out: &mut Findings) -> Vec<Group> {
    let mut groups = match yaml::parse(file) {
        Ok(Some(root)) => compile(&root, file, defaults, out),
        Ok(None) => {
            let message = "this rule file is empty";
            out.push(Diagnostic::warning("empty-file", file.whole(), message));
            Vec::new()
        }
        Err(problem) => {
            out.push(*problem);
            Vec::new()
        }
    };
    settle(&mut groups);
    groups
}

/// Compiles a file's tree.
pub(super) fn compile(
    root: &Node,
    file: &SourceFile,
    defaults: &GroupDefaults,
    out: &mut Findings,
) -> Vec<Group> {
    let written = match resource_spec(root) {
        Some(Some(spec)) => written::read(spec, out),
        Some(None) => {
            let message = "this PrometheusRule has no `spec`, so it declares no group";
            out.push(
                Diagnostic::error("missing-key", root.place(), message)
                    .hint("the groups stand under `spec:`"),
            );
            Vec::new()
        }
        None => written::read(root, out),
    };
    compile::groups(&written, file, defaults, out)
}

/// Returns the `spec` of a Kubernetes resource of kind `PrometheusRule`, whose groups are a rule file's; `None` for
/// everything else. Who it is and where it came from (`apiVersion`, `metadata`, `status`) says nothing about its rules.
fn resource_spec(root: &Node) -> Option<Option<&Node>> {
    let Node::Mapping(entries, _) = root else { return None };
    let value = |name: &str| entries.iter().find(|(key, _)| key.value == name).map(|(_, node)| node);
    match value("kind")? {
        Node::Scalar(kind) if kind.value == "PrometheusRule" => Some(value("spec")),
        _ => None,
    }
}

/// Returns whether a tree is a file of groups: its top key is `groups`, and none of a native file's keys is there; or it
/// is a resource of kind `PrometheusRule`.
pub fn is_imported(root: &Node) -> bool {
    let Node::Mapping(entries, _) = root else { return false };
    if resource_spec(root).is_some() {
        return true;
    }
    let has = |name: &str| entries.iter().any(|(key, _)| key.value == name);
    has("groups") && !["target", "sources", "indicators", "triggers"].into_iter().any(has)
}

#[cfg(test)]
mod tests;
