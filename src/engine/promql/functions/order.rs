//! Sorting by labels, in the order that people expect: `disk2` before `disk10`.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::evaluate::VectorSample;

/// Sorts by the values of `names`, one after the other; what is equal in them by all labels.
pub(super) fn sort_by_labels(vector: &mut [VectorSample], names: &[Arc<str>], descending: bool) {
    let order = |a: &VectorSample, b: &VectorSample| {
        let value = |sample: &VectorSample, name: &str| sample.labels.get(name).unwrap_or("").to_owned();
        names
            .iter()
            .map(|name| natural(&value(a, name), &value(b, name)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.labels.cmp(&b.labels))
    };
    vector.sort_by(|a, b| if descending { order(b, a) } else { order(a, b) });
}

/// Compares texts part by part: digits as numbers, the rest as text; the texts as such where all parts are equal.
///
/// Prometheus (`facette/natsort`) compares numbers beyond 64 bits as text, which is no order at all; here they are
/// numbers like all others.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (parts(a), parts(b));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => part_order(a, b),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn part_order(a: &str, b: &str) -> Ordering {
    let number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    if !(number(a) && number(b)) {
        return a.cmp(b);
    }
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Splits into runs of digits and runs of anything else.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digits = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (part, tail) = rest.split_at(end);
        rest = tail;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_count_as_numbers() {
        let sorted =
            ["", "02", "2", "4m5", "4m600", "4m1000", "10", "99999999999999999999", "a", "a1", "a1b", "b"];
        assert!(sorted.is_sorted_by(|a, b| natural(a, b).is_lt()));
        assert_eq!(natural("1.2.3", "1.11.3"), Ordering::Less);
        assert_eq!(natural("4m600", "4m1000"), Ordering::Less);
        assert_eq!(natural("01", "1").reverse(), natural("1", "01"));
    }

    proptest::proptest! {
        #[test]
        fn the_order_is_total(a in "[0-9a]{0,6}", b in "[0-9a]{0,6}", c in "[0-9a]{0,6}") {
            let le = |a: &str, b: &str| natural(a, b).is_le();
            proptest::prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            proptest::prop_assert!(!(le(&a, &b) && le(&b, &c)) || le(&a, &c));
        }
    }
}
