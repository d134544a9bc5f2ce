//! `check --explain`: what a lint means.

use super::super::{CommandError, Exit, print};
use crate::engine::rules::diagnostic::nearest;
use crate::engine::rules::lint::catalog::{Explanation, LINTS, WARNINGS};
use crate::sources::exposition::lint::LINTS as PAGE_LINTS;

/// The catalogs with what they are about.
const CATALOGS: [(&str, &[Explanation]); 3] = [
    ("Lints on rules", LINTS),
    ("Other warnings about rearguard.yaml and its rule files", WARNINGS),
    ("Lints on pages (--metrics)", PAGE_LINTS),
];

/// How the names are set off in the list.
const NAME_WIDTH: usize = 26;

/// Returns whether there is something to say about this kind of problem.
pub(super) fn is_known(name: &str) -> bool {
    all().any(|(lint, _)| lint.name == name)
}

/// Every lint, with whether it is about pages.
fn all() -> impl Iterator<Item = (&'static Explanation, bool)> {
    let pages = CATALOGS.len() - 1;
    CATALOGS
        .iter()
        .enumerate()
        .flat_map(move |(at, (_, lints))| lints.iter().map(move |lint| (lint, at == pages)))
}

/// Explains one lint, or lists all where `name` is empty.
pub(super) fn run(name: &str) -> Result<Exit, CommandError> {
    if name.is_empty() {
        print(&list())?;
        return Ok(Exit::Done);
    }
    match all().find(|(lint, _)| lint.name == name) {
        Some((lint, on_pages)) => {
            print(&text(lint, on_pages))?;
            Ok(Exit::Done)
        }
        None => {
            print(&list())?;
            let unknown = CommandError::usage(format!("there is no lint `{}`", name.escape_debug()));
            Err(match nearest(name, all().map(|(lint, _)| lint.name)) {
                Some(near) => unknown.with_hint(format!("did you mean `{near}`?")),
                None => unknown.with_hint("all of them are listed above"),
            })
        }
    }
}

fn list() -> String {
    let mut text = String::new();
    for (title, lints) in CATALOGS {
        text.push_str(&format!("{title}:\n"));
        for lint in lints {
            text.push_str(&format!("  {:NAME_WIDTH$} {}\n", lint.name, lint.finds));
        }
        text.push('\n');
    }
    text.push_str("rearguard check --explain LINT says why one matters and what to write instead\n");
    text
}

fn text(lint: &Explanation, on_pages: bool) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let silence = if on_pages {
        "A page is what the application says: nothing in it can silence a lint.".to_owned()
    } else {
        format!(
            "To allow it at one place, write on the line or directly above it, with your reason:\n\n    # rearguard: allow {}",
            lint.name
        )
    };
    format!(
        "{}: {}\n\n{}\n\nNot so:\n\n{}\nBut so:\n\n{}\n{silence}\n",
        lint.name,
        lint.finds,
        lint.why,
        indented(lint.bad),
        indented(lint.good)
    )
}
