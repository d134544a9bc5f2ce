//! What people read who got an expression wrong: `tests/golden/promql_errors.txt` holds wrong expressions, and below each
//! where it is wrong, what is wrong, and what to write instead. After a wanted change run with `BLESS=1` and read the
//! difference.

use std::fmt::Write as _;

use rearguard::engine::promql::{self, Problem, Scope};

/// The file is read for its expressions, and compared as a whole.
const TABLE: &str = "tests/golden/promql_errors.txt";

/// Everything that is wrong with an expression, whether it is told when it is parsed or when it is compiled.
fn problems(expression: &str) -> Vec<Problem> {
    let compiled = promql::parse(expression).and_then(|expr| promql::compile(&expr, &Scope::EVERYTHING));
    compiled.err().unwrap_or_default()
}

/// The expression with marks under every place, and what is said of it.
fn block(expression: &str) -> String {
    let mut told = format!("{expression}\n");
    for problem in problems(expression) {
        let before = expression[..problem.span.start].chars().count();
        let marked = expression[problem.span.start..problem.span.end].chars().count().max(1);
        let _infallible = writeln!(told, "{}{} {}", " ".repeat(before), "^".repeat(marked), problem.message);
        if let Some(hint) = problem.hint {
            let _infallible = writeln!(told, "{}= {hint}", " ".repeat(before));
        }
    }
    told
}

#[test]
fn wrong_expressions_are_told_where_and_why_and_what_to_write() {
    let table = std::fs::read_to_string(TABLE).expect("the table can be read");
    let (head, blocks) = table.split_once("\n\n").expect("a head, an empty line, blocks");
    let expressions: Vec<&str> = blocks.split("\n\n").filter_map(|block| block.lines().next()).collect();
    let blocks: Vec<String> = expressions.iter().map(|expression| block(expression)).collect();
    let actual = format!("{head}\n\n{}", blocks.join("\n"));
    let blessed = std::env::var_os("BLESS").is_some();
    if blessed {
        std::fs::write(TABLE, &actual).expect("the golden file can be written");
    }
    let right: Vec<_> = expressions.iter().filter(|expression| problems(expression).is_empty()).collect();
    assert!(right.is_empty(), "these are not wrong: {right:?}");
    assert!(expressions.len() >= 60, "only {} expressions", expressions.len());
    assert!(blessed || actual == table, "the answers are no longer those of {TABLE}:\n{actual}");
}
