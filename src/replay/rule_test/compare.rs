//! What was expected laid beside what was there.
//!
//! Both are sets: the order means nothing. What is left when the equal ones are taken out is paired by likeness, so that
//! a wrong label is told as a wrong label, not as one alert missing and another too many.

use super::report::{Cause, Difference, Item};
use crate::engine::model::Labels;

/// Above this many comparisons likeness is not looked for: nobody reads so many differences.
const PAIRS_MAX: usize = 40_000;

/// Compares two sets; `None` where they are equal. `note` explains what was expected and is missing.
pub(super) fn compare(
    expected: Vec<Item>,
    got: Vec<Item>,
    fuzzy: bool,
    note: impl Fn(&Item) -> Option<String>,
) -> Option<Cause> {
    let (equal, mut missing, mut unexpected) = without_equal(expected, got, fuzzy);
    if missing.is_empty() && unexpected.is_empty() {
        return None;
    }
    let mut differences: Vec<Difference> = Vec::new();
    for (missing_at, unexpected_at) in pairs(&missing, &unexpected) {
        let (expected, got) = (missing[missing_at].take(), unexpected[unexpected_at].take());
        differences.push(Difference { expected, got, note: None });
    }
    for expected in missing.into_iter().flatten() {
        let note = note(&expected);
        differences.push(Difference { expected: Some(expected), got: None, note });
    }
    for got in unexpected.into_iter().flatten() {
        differences.push(Difference { expected: None, got: Some(got), note: None });
    }
    Some(Cause::Differs { equal, differences })
}

type Left = Vec<Option<Item>>;

/// Takes out what is equal; returns how many pairs that were, and what is left on both sides.
fn without_equal(expected: Vec<Item>, got: Vec<Item>, fuzzy: bool) -> (usize, Left, Left) {
    let mut got: Left = got.into_iter().map(Some).collect();
    // By labels, so that thousands of equal series are not compared with each other.
    got.sort_by(|a, b| labels_of(a).cmp(&labels_of(b)));
    let mut missing = Vec::new();
    let mut equal = 0;
    for expected in expected {
        let start = got.partition_point(|got| labels_of(got) < Some(expected.labels()));
        let same_labels = got[start..].iter_mut().take_while(|got| labels_of(got) == Some(expected.labels()));
        match same_labels.into_iter().find(|got| got.as_ref().is_some_and(|got| same(&expected, got, fuzzy)))
        {
            Some(found) => {
                *found = None;
                equal += 1;
                got.retain(Option::is_some);
            }
            None => missing.push(Some(expected)),
        }
    }
    (equal, missing, got)
}

fn labels_of(item: &Option<Item>) -> Option<&Labels> {
    item.as_ref().map(Item::labels)
}

fn same(expected: &Item, got: &Item, fuzzy: bool) -> bool {
    match (expected, got) {
        (Item::Sample { labels: a, value: x }, Item::Sample { labels: b, value: y }) => {
            a == b && same_value(*x, *y, fuzzy)
        }
        (expected, got) => expected == got,
    }
}

/// Returns whether two values count as equal. `fuzzy` lets neighbours pass, as `fuzzy_compare` does in promtool; unlike
/// there a NaN equals a NaN, for else no test could expect one.
fn same_value(a: f64, b: f64, fuzzy: bool) -> bool {
    #[expect(clippy::float_cmp, reason = "a test says exactly what it expects")]
    let equal = a == b || (fuzzy && (a.next_up() == b || a.next_down() == b));
    equal || (a.is_nan() && b.is_nan())
}

/// Pairs what is alike, the most alike first.
fn pairs(missing: &Left, unexpected: &Left) -> Vec<(usize, usize)> {
    if missing.len().saturating_mul(unexpected.len()) > PAIRS_MAX {
        return Vec::new();
    }
    let mut candidates = Vec::new();
    for (at, expected) in missing.iter().enumerate() {
        for (other, got) in unexpected.iter().enumerate() {
            let likeness = expected.as_ref().zip(got.as_ref()).map_or(0, |(a, b)| likeness(a, b));
            if likeness > 0 {
                candidates.push((usize::MAX - likeness, at, other));
            }
        }
    }
    candidates.sort_unstable();
    let (mut used, mut used_other) = (vec![false; missing.len()], vec![false; unexpected.len()]);
    let mut pairs = Vec::new();
    for (_, at, other) in candidates {
        if !used[at] && !used_other[other] {
            (used[at], used_other[other]) = (true, true);
            pairs.push((at, other));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// Counts what two items have in common; equal labels outweigh everything.
fn likeness(a: &Item, b: &Item) -> usize {
    if a.labels() == b.labels() {
        return usize::MAX;
    }
    let shared = in_common(a.labels(), b.labels());
    match (a, b) {
        (Item::Alert { annotations: a, .. }, Item::Alert { annotations: b, .. }) => shared + in_common(a, b),
        _ => shared,
    }
}

fn in_common(a: &Labels, b: &Labels) -> usize {
    a.iter().filter(|(name, value)| b.get(name) == Some(*value)).count()
}

#[cfg(test)]
mod tests {
    use super::super::notation;
    use super::*;

    fn sample(text: &str) -> Item {
        let (labels, end) = notation::series(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        Item::Sample { labels, value: text[end..].trim().parse().unwrap_or_else(|_| panic!("{text}")) }
    }

    /// Tells a comparison: `a|b` for a pair, `a|` for what is missing.
    fn told(expected: &[&str], got: &[&str], fuzzy: bool) -> (usize, Vec<String>) {
        let all = |texts: &[&str]| texts.iter().map(|text| sample(text)).collect::<Vec<_>>();
        let note = |_: &Item| Some("note".to_owned());
        let Some(Cause::Differs { equal, differences }) = compare(all(expected), all(got), fuzzy, note)
        else {
            return (expected.len(), Vec::new());
        };
        let side = |item: &Option<Item>| match item {
            Some(Item::Sample { labels, value }) => format!("{labels} {value}"),
            _ => String::new(),
        };
        let tell = |d: &Difference| {
            assert_eq!(d.note.is_some(), d.got.is_none(), "what is missing is explained");
            format!("{}|{}", side(&d.expected), side(&d.got))
        };
        (equal, differences.iter().map(tell).collect())
    }

    #[test]
    fn sets_are_compared_and_what_is_alike_is_paired() {
        let none: &[&str] = &[];
        assert_eq!(told(none, none, false), (0, vec![]));
        assert_eq!(told(&["a 1", "b 2"], &["b 2", "a 1"], false), (2, vec![]));
        assert_eq!(told(&["{} 1"], &["{} 2"], false), (0, vec!["{} 1|{} 2".to_owned()]));
        assert_eq!(told(&["a 1", "a 1"], &["a 1"], false), (1, vec!["a 1|".to_owned()]));
        assert_eq!(told(&["a 1"], &["b 1"], false), (0, vec!["a 1|".to_owned(), "|b 1".to_owned()]));
        let expected = ["m{a=\"1\", b=\"1\"} 1", "m{a=\"2\", b=\"2\"} 2", "n 3"];
        let got = ["m{a=\"2\", b=\"9\"} 2", "m{a=\"1\", b=\"1\"} 7", "n 3", "o 4"];
        let differences = [
            "m{a=\"1\", b=\"1\"} 1|m{a=\"1\", b=\"1\"} 7",
            "m{a=\"2\", b=\"2\"} 2|m{a=\"2\", b=\"9\"} 2",
            "|o 4",
        ];
        assert_eq!(told(&expected, &got, false), (1, differences.map(str::to_owned).to_vec()));
    }

    #[test]
    fn values_are_equal_or_neighbours_where_that_is_asked_for() {
        let third = 0.1 + 0.2;
        for (a, b, exactly, fuzzily) in [
            (1.0, 1.0, true, true),
            (0.3, third, false, true),
            (0.3, f64::next_up(third), false, false),
            (0.0, -0.0, true, true),
            (f64::NAN, f64::NAN, true, true),
            (f64::NAN, 1.0, false, false),
            (f64::INFINITY, f64::MAX, false, true),
        ] {
            assert_eq!((same_value(a, b, false), same_value(a, b, true)), (exactly, fuzzily), "{a} {b}");
            assert_eq!(same_value(b, a, true), fuzzily, "{b} {a}");
        }
    }
}
