//! `due`: by when what must have happened once a trigger has fired.

use std::collections::BTreeMap;

use super::super::decode::{not_supported, positive_duration, titled};
use super::super::diagnostic::{Diagnostic, Findings};
use super::super::set::Clock;
use super::super::yaml::Node;
use crate::engine::time::Span;

/// How long the name of a task may be, in bytes: it stands in the first lines of pages.
const TASK_MAX: usize = 64;

/// Reads `due`. Names that are none of Rearguard's own clocks are tasks of people.
///
/// `rolls_back` tells whether a rollback follows at all.
pub(super) fn read(node: &Node, rolls_back: bool, out: &mut Findings) -> BTreeMap<Clock, Span> {
    let mut clocks = BTreeMap::new();
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
        if !rolls_back && matches!(clock, Clock::Rollback | Clock::Verified) {
            let message = format!("nothing is rolled back when this fires, so `{clock}` is always overdue");
            let hint = "name a plan, `then: { rollback: PLAN }`, or call it a task of people by another name";
            out.push(Diagnostic::error("clock-without-rollback", name.place(), message).hint(hint));
        }
        if let Some(within) = positive_duration(node, &format!("`{clock}`"), out) {
            clocks.insert(clock, within.value);
        }
    }
    clocks
}
