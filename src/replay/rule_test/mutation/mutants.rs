//! What can be changed in a rule file: every comparison the other way at its limit, every threshold and every window by one
//! unit in the last place that is written, up and down.
//!
//! `2%` becomes `3%` and `1%`, `0.5%` becomes `0.6%` and `0.4%`, `1h30m` becomes `1h31m` and `1h29m`, `3 in 5m` becomes `4 in 5m`,
//! `2 in 5m`, `3 in 6m` and `3 in 4m`. What indicators measure is not changed, nor what a baseline is taken from: tests give
//! indicators their values.

use std::collections::BTreeSet;
use std::ops::Range;

use regex::Regex;

use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Place, SourceFile};

/// Blocks of a rule file in which there is something to notice.
const BLOCKS: [&str; 5] = ["triggers", "objectives", "budgets", "gates", "groups"];

/// Keys whose value is a condition, a window, a time, a count or a share.
const VALUES: [&str; 28] = [
    "when",
    "given",
    "keep",
    "warn",
    "expr",
    "fail_at_once",
    "pass_if_mean",
    "conditions",
    "for",
    "keep_firing_for",
    "min_samples",
    "series",
    "page_after",
    "share",
    "of",
    "coverage",
    "max_gap",
    "window",
    "settle",
    "sustained",
    "weight",
    "objective",
    "period",
    "min_events",
    "min_errors",
    "long",
    "short",
    "above",
];

/// Keys with a value of a different kind for each of their own keys.
const TABLES: [&str; 2] = ["due", "weights"];

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Whether the limit itself belongs to it; of `==`, what is meant at all.
    Comparison,
    /// A number by one unit in its last place.
    Number,
}

/// One change of a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// The trigger, promise, budget, gate or alert that it is in.
    pub rule: String,
    /// Where it is.
    pub place: Place,
    /// What is changed.
    pub change: Change,
    /// The value as written, on one line.
    pub before: String,
    /// The value after the change, on one line.
    pub after: String,
    /// What stands at the place instead.
    replacement: String,
}

impl Mutant {
    /// Returns the file with the change in it.
    pub fn apply(&self, file: &SourceFile) -> SourceFile {
        let mut text = file.text().to_owned();
        text.replace_range(self.place.span.clone(), &self.replacement);
        SourceFile::new(file.name(), &text)
    }
}

/// Returns every change of a rule file, in the order of the text.
pub(super) fn of(file: &SourceFile, root: &Node) -> Vec<Mutant> {
    let tokens = Regex::new(TOKEN).expect("a constant that a test uses");
    let mut finder = Finder { file, tokens, seen: BTreeSet::new(), mutants: Vec::new() };
    if let Node::Mapping(entries, _) = root {
        for (key, node) in entries.iter().filter(|(key, _)| BLOCKS.contains(&key.value.as_str())) {
            finder.walk(&key.value, &key.value, node);
        }
    }
    finder.mutants.sort_by_key(|mutant| mutant.place.span.start);
    finder.mutants
}

/// What a condition, a window or an expression is made of. Names, quoted texts and matchers are passed over; of a number
/// with several units (`1h30m`) the last is meant.
const TOKEN: &str = concat!(
    r#"[\p{Alphabetic}_][\w:]*|"[^"]*"|'[^']*'|\{[^}]*\}"#,
    r"|(?:\d+[a-z]+)*(?<number>\d+(?:\.\d+)?)",
    r"|(?<comparison>>=|<=|==|!=|>|<)",
);

struct Finder<'f> {
    file: &'f SourceFile,
    tokens: Regex,
    /// Where something was found: what an alias repeats is changed once.
    seen: BTreeSet<usize>,
    mutants: Vec<Mutant>,
}

impl Finder<'_> {
    /// Goes down to the values; `rule` is the nearest name above.
    fn walk(&mut self, rule: &str, key: &str, node: &Node) {
        match node {
            Node::Mapping(entries, _) => {
                let name = entries.iter().find(|(key, _)| ["name", "alert"].contains(&key.value.as_str()));
                let rule = match name {
                    Some((_, Node::Scalar(name))) => &name.value,
                    _ => rule,
                };
                for (own, node) in entries {
                    match key {
                        // Here the keys are the names.
                        "budgets" | "gates" => self.walk(&own.value, "", node),
                        table if TABLES.contains(&table) => self.walk(rule, "for", node),
                        _ => self.walk(rule, &own.value, node),
                    }
                }
            }
            Node::Sequence(items, _) => items.iter().for_each(|item| self.walk(rule, key, item)),
            Node::Scalar(scalar) if VALUES.contains(&key) => self.scalar(rule, scalar),
            Node::Scalar(_) => {}
        }
    }

    fn scalar(&mut self, rule: &str, scalar: &Scalar) {
        let tokens = self.tokens.clone();
        for found in tokens.captures_iter(&scalar.value) {
            if let Some(number) = found.name("number") {
                for shifted in shifted(number.as_str()) {
                    self.add(rule, scalar, number.range(), shifted, Change::Number);
                }
            } else if let Some(comparison) = found.name("comparison") {
                let flipped = flipped(comparison.as_str()).to_owned();
                self.add(rule, scalar, comparison.range(), flipped, Change::Comparison);
            }
        }
        self.seen.insert(scalar.place().span.start);
    }

    fn add(&mut self, rule: &str, scalar: &Scalar, at: Range<usize>, replacement: String, change: Change) {
        let place = scalar.place_within(at.clone());
        // Where escapes hide what was written, and where an alias repeats it, nothing is changed.
        let is_itself = self.file.text().get(place.span.clone()) == scalar.value.get(at.clone());
        if !is_itself || self.seen.contains(&scalar.place().span.start) {
            return;
        }
        let mut after = scalar.value.clone();
        after.replace_range(at, &replacement);
        let before = on_one_line(&scalar.value);
        let after = on_one_line(&after);
        self.mutants.push(Mutant { rule: rule.to_owned(), place, change, before, after, replacement });
    }
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the comparison that differs in what it says of the limit.
fn flipped(comparison: &str) -> &'static str {
    match comparison {
        ">" => ">=",
        ">=" => ">",
        "<" => "<=",
        "<=" => "<",
        "==" => "!=",
        _ => "==",
    }
}

/// Returns a number one unit in its last place higher, and lower.
fn shifted(number: &str) -> Vec<String> {
    let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    // Longer numbers than this are no limits that anybody wrote.
    let Ok(units) = digits.parse::<i64>() else { return Vec::new() };
    [units.checked_add(1), units.checked_sub(1)]
        .into_iter()
        .flatten()
        .map(|units| {
            let sign = if units < 0 { "-" } else { "" };
            let digits = format!("{:0width$}", units.unsigned_abs(), width = decimals + 1);
            let (whole, rest) = digits.split_at(digits.len() - decimals);
            if rest.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rules::yaml;

    fn changes(text: &str) -> Vec<String> {
        let file = SourceFile::new("a.yaml", text);
        let root = yaml::parse(&file).expect("is YAML").expect("is something");
        let mutants = of(&file, &root);
        for mutant in &mutants {
            let changed = mutant.apply(&file);
            assert!(yaml::parse(&changed).is_ok(), "{}", changed.text());
            assert_ne!(changed.text(), text);
        }
        let told = |mutant: &Mutant| format!("{} {}: {}", mutant.place.line, mutant.rule, mutant.after);
        mutants.iter().map(told).collect()
    }

    #[test]
    fn numbers_are_shifted_in_their_last_place() {
        let cases = [
            ("2", ["3", "1"]),
            ("0.5", ["0.6", "0.4"]),
            ("1.0", ["1.1", "0.9"]),
            ("9.99", ["10.00", "9.98"]),
            ("0", ["1", "-1"]),
            ("0.0", ["0.1", "-0.1"]),
            ("100", ["101", "99"]),
        ];
        for (number, expected) in cases {
            assert_eq!(shifted(number), expected, "{number}");
        }
    }

    #[test]
    fn every_comparison_threshold_and_window_is_changed_and_nothing_else() {
        let text = "\
target: shop99
indicators: { p95: { unit: seconds, expr: up > 1 } }
triggers:
  - name: Slow1
    when: p95 > 200ms and (ok == true or p99 < 3x baseline)
    for: 80% of 1m30s
    during: stage 10%
    clear: { for: 11 in a row }
    summary: more than 5
    due: { rollback: 2m }
objectives:
  promises: [{ name: p95, keep: 'p95 <= 0.5%' }]
budgets: { errors: { objective: 99.9% } }
groups:
  - interval: 15s
    rules: [{ alert: E5, expr: 'rate(e{code=~\"5..\"}[5m]) > 0.1', for: 0s }]
";
        let expected = [
            "5 Slow1: p95 >= 200ms and (ok == true or p99 < 3x baseline)",
            "5 Slow1: p95 > 201ms and (ok == true or p99 < 3x baseline)",
            "5 Slow1: p95 > 199ms and (ok == true or p99 < 3x baseline)",
            "5 Slow1: p95 > 200ms and (ok != true or p99 < 3x baseline)",
            "5 Slow1: p95 > 200ms and (ok == true or p99 <= 3x baseline)",
            "5 Slow1: p95 > 200ms and (ok == true or p99 < 4x baseline)",
            "5 Slow1: p95 > 200ms and (ok == true or p99 < 2x baseline)",
            "6 Slow1: 81% of 1m30s",
            "6 Slow1: 79% of 1m30s",
            "6 Slow1: 80% of 1m31s",
            "6 Slow1: 80% of 1m29s",
            "8 Slow1: 12 in a row",
            "8 Slow1: 10 in a row",
            "10 Slow1: 3m",
            "10 Slow1: 1m",
            "12 p95: p95 < 0.5%",
            "12 p95: p95 <= 0.6%",
            "12 p95: p95 <= 0.4%",
            "13 errors: 100.0%",
            "13 errors: 99.8%",
            "16 E5: rate(e{code=~\"5..\"}[6m]) > 0.1",
            "16 E5: rate(e{code=~\"5..\"}[4m]) > 0.1",
            "16 E5: rate(e{code=~\"5..\"}[5m]) >= 0.1",
            "16 E5: rate(e{code=~\"5..\"}[5m]) > 0.2",
            "16 E5: rate(e{code=~\"5..\"}[5m]) > 0.0",
            "16 E5: 1s",
            "16 E5: -1s",
        ];
        assert_eq!(changes(text), expected);
    }

    #[test]
    fn what_an_alias_repeats_is_changed_once() {
        let text = "triggers:\n  - { name: A, when: &w a > 1 }\n  - { name: B, when: *w }\n";
        assert_eq!(changes(text), ["2 A: a >= 1", "2 A: a > 2", "2 A: a > 0"]);
    }
}
