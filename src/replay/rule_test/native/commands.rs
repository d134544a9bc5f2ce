//! Commands of operators and pipelines, as a test writes them: the one place where words become [`Command`]s.

use crate::engine::decision::{Command, Input};
use crate::engine::model::RollbackId;
use crate::engine::rules::decode::{self, Fields, Shape};
use crate::engine::rules::yaml::Node;
use crate::engine::rules::{Diagnostic, Findings};

/// Everything that may stand in an item of `happens`.
pub(super) const HAPPENS: Shape = Shape {
    what: "what happens",
    keys: &[
        "at", "for", "source", "fails", "takes", "is", "says", "restart", "stop", "reload", "clock",
        "journal", "settle", "done", "by",
    ],
    later: &[],
};

/// The keys that are commands.
pub(super) const VERBS: [&str; 1] = ["settle"];

/// Who wants it, where a test does not say so.
const SOMEBODY: &str = "the test";

/// Reads the command `verb`, whose value is `node`.
pub(super) fn read(verb: &str, node: &Node, fields: &Fields<'_>, out: &mut Findings) -> Option<Input> {
    let by = fields.get("by").and_then(|node| decode::text(node, "`by`", out));
    let by = by.map_or(SOMEBODY, |by| &by.value).to_owned();
    match verb {
        "settle" => {
            let done = fields.required("done", out).and_then(|node| decode::boolean(node, "`done`", out))?;
            let written = decode::text(node, "`settle`", out)?;
            let Ok(rollback) = written.value.parse::<RollbackId>() else {
                let message = format!("`{}` is not the id of a rollback", written.value.escape_debug());
                out.push(Diagnostic::error("bad-id", written.place(), message).hint("the first one is `R1`"));
                return None;
            };
            Some(Input::Command(Command::Settle { rollback, done, by }))
        }
        _ => None,
    }
}
