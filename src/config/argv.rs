//! `exec` as written: a program and its arguments, never a shell line (E11).

use crate::engine::rules::decode::{texts, wrong_type};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings};

/// Reads a program with its arguments, one by one; `None` where there is none or a part of it is broken.
pub(super) fn read<'n>(node: &'n Node, out: &mut Findings) -> Option<Vec<&'n Scalar>> {
    if let Node::Scalar(scalar) = node {
        let words: Vec<&str> = scalar.value.split_whitespace().collect();
        let hint = format!("there is no shell; write the words one by one: `[{}]`", words.join(", "));
        out.push(wrong_type(node, "`exec`", "a list: the program and its arguments").hint(hint));
        return None;
    }
    let argv = texts(node, "`exec`", out);
    let Node::Sequence(items, _) = node else { return None };
    let Some(program) = argv.first() else {
        if items.is_empty() {
            let message = "`exec` names no program";
            let hint = "`exec: [/path/to/program, argument]`";
            out.push(Diagnostic::error("no-program", node.place(), message).hint(hint));
        }
        return None;
    };
    if !program.value.starts_with('/') {
        let message = format!("`{}` is not an absolute path", program.value.escape_debug());
        out.push(
            Diagnostic::error("relative-program", program.place(), message)
                .hint("write where the program is: what runs in production must not depend on a search path"),
        );
    }
    (items.len() == argv.len()).then_some(argv)
}
