//! `due`: by when what must have happened once a trigger has fired.

use super::super::decode::{not_supported, positive_duration, titled};
use super::super::diagnostic::{Diagnostic, Findings, Place};
use super::super::set::Clock;
use super::super::yaml::Node;
use crate::engine::time::Span;

/// How long the name of a task may be, in bytes: it stands in the first lines of pages.
const TASK_MAX: usize = 64;

/// One clock of `due`.
#[derive(Clone, Debug)]
pub struct WrittenClock {
    /// Where it stands.
    pub place: Place,
    /// What it waits for.
    pub clock: Clock,
    /// How long it waits.
    pub within: Span,
}

/// Reads `due`. Names that are none of Rearguard's own clocks are tasks of people.
pub(super) fn read(node: &Node, out: &mut Findings) -> Vec<WrittenClock> {
    let mut clocks = Vec::new();
    for (name, node) in titled(node, "`due`", out) {
        let clock = match name.value.as_str() {
            "rollback" => Clock::Rollback,
            "verified" => Clock::Verified,
            "resolved" => Clock::Resolved,
            "acknowledged" => {
                out.push(not_supported(name.place(), "due: { acknowledged: ... }"));
                continue;
            }
            task if task.trim().is_empty() || task.len() > TASK_MAX || task.chars().any(char::is_control) => {
                let message = format!("`{}` is no name of a task", task.escape_debug());
                let hint = format!("say in up to {TASK_MAX} bytes on one line what people must have done");
                out.push(Diagnostic::error("bad-name", name.place(), message).hint(hint));
                continue;
            }
            task => Clock::Task(task.to_owned()),
        };
        if let Some(within) = positive_duration(node, &format!("`{clock}`"), out) {
            clocks.push(WrittenClock { place: name.place(), clock, within: within.value });
        }
    }
    clocks
}
