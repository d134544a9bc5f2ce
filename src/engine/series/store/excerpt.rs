//! Copies of a part of the store: what one query needs, taken in a moment, read elsewhere for as long as it takes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Interest, Limits, SYNTHETIC, SeriesId, Store};
use crate::engine::model::{Labels, SourceName};
use crate::engine::series::{MatchOp, Point, Selector};
use crate::engine::time::{Span, Timestamp};

/// One copied series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesCopy {
    /// The source that it came from.
    pub source: SourceName,
    /// Its labels, metric name included.
    pub labels: Labels,
    /// Its points, oldest first, staleness markers among them.
    pub points: Vec<Point>,
}

/// Why a part of the store was not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query needs at least {samples} samples, more than the limit of {limit} (`max_samples`)")]
pub struct TooManySamples {
    /// How many it would be.
    pub samples: u64,
    /// How many it may be.
    pub limit: u64,
}

/// How much of what a selector could select is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// "Nothing" means "there is nothing".
    Everything,
    /// Some series, of others nothing is known.
    Some,
    /// No series, and nothing is known.
    Nothing,
}

impl Store {
    /// Copies every point from `from` on of every series that one of the selectors selects.
    ///
    /// # Errors
    ///
    /// It would be more than `limit` points; nothing was copied.
    pub fn excerpt(
        &self,
        selectors: &[Selector],
        from: Timestamp,
        limit: u64,
    ) -> Result<Vec<SeriesCopy>, TooManySamples> {
        let ids: BTreeSet<SeriesId> =
            selectors.iter().flat_map(|selector| self.select(selector).into_owned()).collect();
        let since = |id: SeriesId| {
            let points = self[id].points();
            points.get(points.partition_point(|point| point.at < from)..).unwrap_or_default()
        };
        let samples = ids.iter().map(|id| since(*id).len() as u64).sum();
        if samples > limit {
            return Err(TooManySamples { samples, limit });
        }
        let copies = ids.into_iter().filter(|id| !since(*id).is_empty()).map(|id| SeriesCopy {
            source: self[id].source().clone(),
            labels: self[id].labels().clone(),
            points: since(id).to_vec(),
        });
        Ok(copies.collect())
    }

    /// Makes a store of copies that is read by these selectors; nothing in it is ever forgotten.
    pub fn of_copies(copies: Vec<SeriesCopy>, selectors: &[Selector]) -> Self {
        let limits = Limits { retention: Span::from_millis(i64::MAX), series_per_source: usize::MAX };
        let mut store = Self::new(limits);
        for SeriesCopy { source, labels, points } in copies {
            let id = store.find_or_create(&source, &labels);
            // Copies are in order: none is refused.
            for point in points {
                let pushed = store.push(id, point);
                debug_assert!(pushed.is_ok(), "copies are in ascending order of time");
            }
        }
        store.set_interest(Interest::Selectors(selectors.to_vec()));
        store
    }

    /// Returns the label sets of what one of the selectors selects (of everything, where there is none) and that has a
    /// point within `from..=to`.
    pub fn label_sets(&self, selectors: &[Selector], from: Timestamp, to: Timestamp) -> BTreeSet<Labels> {
        let ids: BTreeSet<SeriesId> = match selectors {
            [] => self.ids().collect(),
            some => some.iter().flat_map(|selector| self.select(selector).into_owned()).collect(),
        };
        let live = |id: &SeriesId| {
            let points = self[*id].points();
            points.get(points.partition_point(|point| point.at < from)).is_some_and(|point| point.at <= to)
        };
        ids.into_iter().filter(live).map(|id| self[id].labels().clone()).collect()
    }

    /// Returns how much of what `selector` could select is kept, as far as can be told from the selectors themselves.
    ///
    /// Unlike [`Store::keeps`] it also knows that `x{a="b"}` is kept where `x` is.
    pub fn kept(&self, selector: &Selector) -> Kept {
        let Interest::Selectors(wanted) = &self.interest else { return Kept::Everything };
        if selector.metric_name().is_some_and(|name| SYNTHETIC.contains(&name)) {
            return Kept::Everything;
        }
        let covered = |source: &SourceName| {
            wanted.iter().any(|kept| kept.sources().contains(source) && kept.covers(selector))
        };
        let sources = self.sources.keys().filter(|source| reads(selector, source));
        let (yes, no): (BTreeMap<_, _>, BTreeMap<_, _>) =
            sources.map(|source| (source, covered(source))).partition(|(_, covered)| *covered);
        if no.is_empty() && (!yes.is_empty() || wanted.iter().any(|kept| kept.covers(selector))) {
            return Kept::Everything;
        }
        if !yes.is_empty() || !self.select(selector).is_empty() { Kept::Some } else { Kept::Nothing }
    }
}

/// Returns whether a selector can read a source at all: its sources, and what it says of `job`, which names the source.
fn reads(selector: &Selector, source: &SourceName) -> bool {
    let job = |op| selector.matchers().iter().any(|m| m.name() == "job" && m.op() == op);
    let named = selector.matchers().iter().filter(|matcher| matcher.name() == "job");
    // Only a positive word about `job` tells sources apart for certain: a source's labels may name another job.
    let positive = job(MatchOp::Equal) || job(MatchOp::Matches);
    selector.sources().contains(source)
        && (!positive || named.clone().all(|matcher| matcher.matches(source.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::{METRIC_NAME, Sample};
    use crate::engine::series::{Matcher, Sources};

    fn selector(text: &[(&str, MatchOp, &str)]) -> Selector {
        let matchers =
            text.iter().map(|(name, op, value)| Matcher::new(name, *op, value).expect("a matcher"));
        Selector::new(matchers.collect(), Sources::Any)
    }

    fn named(name: &str) -> (&str, MatchOp, &str) {
        (METRIC_NAME, MatchOp::Equal, name)
    }

    fn store() -> Store {
        let mut store =
            Store::new(Limits { retention: Span::from_secs(1000), series_per_source: usize::MAX });
        for (name, code) in [("x", "200"), ("x", "500"), ("y", "200")] {
            let labels = Labels::from_pairs([(METRIC_NAME, name), ("code", code)]);
            for secs in 0..10_i64 {
                let at = Timestamp::from_millis(secs * 1000);
                let sample = Sample { labels: labels.clone(), at, value: secs as f64 };
                assert!(store.append(&SourceName::from("app"), &sample));
            }
        }
        store
    }

    #[test]
    fn an_excerpt_is_what_the_selectors_select_from_then_on() {
        let store = store();
        let (all, one) = (selector(&[named("x")]), selector(&[named("x"), ("code", MatchOp::Equal, "500")]));
        let from = Timestamp::from_millis(7000);
        // The second selector's series are among the first's.
        let selectors = [all.clone(), one];
        let copies = store.excerpt(&selectors, from, 6).expect("six points");
        let points: Vec<_> = copies.iter().map(|copy| (copy.labels.get("code"), copy.points.len())).collect();
        assert_eq!(points, [(Some("200"), 3), (Some("500"), 3)]);
        assert_eq!(store.excerpt(&selectors, from, 5), Err(TooManySamples { samples: 6, limit: 5 }));
        let copied = Store::of_copies(copies.clone(), &selectors);
        assert_eq!(copied.excerpt(&[all], Timestamp::ZERO, 6), Ok(copies));
        let within =
            |from, to| store.label_sets(&[], Timestamp::from_millis(from), Timestamp::from_millis(to)).len();
        assert_eq!([within(0, 9000), within(9000, 9000), within(9001, 9999), within(-5, -1)], [3, 3, 0, 0]);
    }

    #[test]
    fn what_is_not_kept_is_known() {
        let mut store = store();
        let errors = selector(&[named("x"), ("code", MatchOp::Matches, "5..")]);
        let up = selector(&[named("up")]);
        let everything = selector(&[]);
        assert_eq!(store.kept(&everything), Kept::Everything);
        let app = Sources::Only([SourceName::from("app")].into());
        let z = selector(&[(METRIC_NAME, MatchOp::Matches, "z|w")]);
        store.set_interest(Interest::Selectors(vec![errors.over(app), z]));
        let cases = [
            (errors.clone(), Kept::Everything),
            (selector(&[named("x"), ("code", MatchOp::Equal, "503")]), Kept::Everything),
            (selector(&[named("x"), ("code", MatchOp::Equal, "200")]), Kept::Nothing),
            (selector(&[named("x")]), Kept::Some),
            (selector(&[named("y")]), Kept::Nothing),
            (selector(&[named("z"), ("a", MatchOp::NotEqual, "b")]), Kept::Everything),
            (up, Kept::Everything),
            (everything, Kept::Some),
        ];
        for (selector, expected) in cases {
            assert_eq!(store.kept(&selector), expected, "{}", selector.key());
        }
        // Another source has the same metric, and no rule reads it there.
        let sample =
            Sample { labels: Labels::from_pairs([(METRIC_NAME, "z")]), at: Timestamp::ZERO, value: 1.0 };
        assert!(store.append(&SourceName::from("blue"), &sample));
        assert_eq!(store.kept(&errors), Kept::Some);
        let there =
            |job| selector(&[named("x"), ("code", MatchOp::Equal, "500"), ("job", MatchOp::Equal, job)]);
        assert_eq!(store.kept(&there("app")), Kept::Everything);
        assert_eq!(store.kept(&there("blue")), Kept::Nothing);
    }
}
