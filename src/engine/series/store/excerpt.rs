//! Copies of a part of the store: what one query needs, taken in a moment, read elsewhere for as long as it takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Interest, Limits, SYNTHETIC, SeriesId, Store};
use crate::engine::model::{Labels, SourceName};
use crate::engine::series::{MatchOp, Point, Selector, Sources};
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

/// Which series there are and which could be: enough to select without the store.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// Ordered by source and labels.
    series: Vec<(SourceName, Labels)>,
    /// What is kept, and since when; `None` where everything is.
    interest: Option<Vec<(Selector, Option<Timestamp>)>>,
    /// The sources that have answered or failed.
    sources: Vec<SourceName>,
}

impl Store {
    /// Lists the series of these names (of all, where `None`) that have a point within `from..=to`.
    ///
    /// What is selected of them, by regular expressions of strangers perhaps, is for others to find out.
    pub fn catalogue(
        &self,
        names: Option<&BTreeSet<Arc<str>>>,
        (from, to): (Timestamp, Timestamp),
    ) -> Catalogue {
        let is_wanted = |id: &SeriesId| {
            names.is_none_or(|names| names.contains(self[*id].labels().metric_name()))
                && self.newest(*id, to).is_some_and(|point| point.at >= from)
        };
        let listed = |id: SeriesId| (self[id].source().clone(), self[id].labels().clone());
        Catalogue {
            series: self.ids().filter(is_wanted).map(listed).collect(),
            interest: self.interest.as_ref().map(|kept| kept.iter().collect()),
            sources: self.sources.keys().cloned().collect(),
        }
    }

    /// Copies every point from `from` on of these series; what is gone by now is left out.
    ///
    /// # Errors
    ///
    /// It would be more than `limit` points; nothing was copied.
    pub fn excerpt(
        &self,
        series: &[(SourceName, Labels)],
        from: Timestamp,
        limit: u64,
    ) -> Result<Vec<SeriesCopy>, TooManySamples> {
        let ids: Vec<SeriesId> =
            series.iter().filter_map(|(source, labels)| self.known(source, labels)).collect();
        let count = |id: &SeriesId| {
            let series = &self[*id];
            series.points.count_since(&self.times[series.times], from) as u64
        };
        let samples = ids.iter().map(count).sum();
        if samples > limit {
            return Err(TooManySamples { samples, limit });
        }
        let copies = ids.into_iter().map(|id| {
            let mut points = self.points(id);
            points.drain(..points.partition_point(|point| point.at < from));
            SeriesCopy { source: self[id].source().clone(), labels: self[id].labels().clone(), points }
        });
        Ok(copies.filter(|copy| !copy.points.is_empty()).collect())
    }

    /// Makes a store of copies that is read by these selectors; nothing in it is ever forgotten.
    pub fn of_copies(copies: Vec<SeriesCopy>, selectors: &[Selector]) -> Self {
        let mut store = Self::new(Limits::default(), Span::from_millis(i64::MAX));
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
}

impl Catalogue {
    /// Returns every series, ordered by source and labels.
    pub fn series(&self) -> &[(SourceName, Labels)] {
        &self.series
    }

    /// Returns since when everything that `selector` could select is kept; `None` where not everything is, or where no
    /// answer has been kept yet.
    pub fn kept_since(&self, selector: &Selector) -> Option<Timestamp> {
        let covering = |(kept, _): &&(Selector, Option<Timestamp>)| kept.covers_labels(selector);
        self.interest.iter().flatten().filter(covering).filter_map(|(_, since)| *since).min()
    }

    /// Returns how much of what `selector` could select is kept, as far as can be told from the selectors themselves.
    ///
    /// Unlike [`Store::keeps`] it also knows that `x{a="b"}` is kept where `x` is, and looks at each source that has
    /// answered. Of `own`, the source of what rules write, everything is kept.
    pub fn kept(&self, selector: &Selector, own: &SourceName) -> Kept {
        let Some(wanted) = &self.interest else { return Kept::Everything };
        let of_rules = Sources::Only([own.clone()].into());
        if selector.metric_name().is_some_and(|name| SYNTHETIC.contains(&name))
            || wanted.iter().any(|(kept, _)| *kept.sources() == of_rules && kept.covers_labels(selector))
        {
            return Kept::Everything;
        }
        let covered = |source: &SourceName| {
            wanted.iter().any(|(kept, _)| kept.sources().contains(source) && kept.covers_labels(selector))
        };
        let sources = self.sources.iter().filter(|source| *source != own && reads(selector, source));
        let (yes, no): (Vec<bool>, Vec<bool>) = sources.map(covered).partition(|covered| *covered);
        if no.is_empty() && (!yes.is_empty() || wanted.iter().any(|(kept, _)| kept.covers_labels(selector))) {
            return Kept::Everything;
        }
        let has_any = || self.series.iter().any(|(source, labels)| selector.selects(source, labels));
        if !yes.is_empty() || has_any() { Kept::Some } else { Kept::Nothing }
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
    use crate::engine::series::Matcher;

    fn selector(text: &[(&str, MatchOp, &str)]) -> Selector {
        let matchers =
            text.iter().map(|(name, op, value)| Matcher::new(name, *op, value).expect("a matcher"));
        Selector::new(matchers.collect(), Sources::Any)
    }

    fn named(name: &str) -> (&str, MatchOp, &str) {
        (METRIC_NAME, MatchOp::Equal, name)
    }

    fn store() -> Store {
        let mut store = Store::new(Limits::default(), Span::from_secs(1000));
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

    fn millis(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// Everything that there is, at any time.
    fn all(store: &Store) -> Catalogue {
        store.catalogue(None, (millis(i64::MIN), millis(i64::MAX)))
    }

    #[test]
    fn an_excerpt_is_what_the_selectors_select_from_then_on() {
        let store = store();
        let (x, one) = (selector(&[named("x")]), selector(&[named("x"), ("code", MatchOp::Equal, "500")]));
        // The second selector's series are among the first's.
        let selectors = [x, one];
        let mut chosen = all(&store).series().to_vec();
        chosen.retain(|(source, labels)| selectors.iter().any(|selector| selector.selects(source, labels)));
        let copies = store.excerpt(&chosen, millis(7000), 6).expect("six points");
        let points: Vec<_> = copies.iter().map(|copy| (copy.labels.get("code"), copy.points.len())).collect();
        assert_eq!(points, [(Some("200"), 3), (Some("500"), 3)]);
        assert_eq!(store.excerpt(&chosen, millis(7000), 5), Err(TooManySamples { samples: 6, limit: 5 }));
        let copied = Store::of_copies(copies.clone(), &selectors);
        assert_eq!(copied.excerpt(&chosen, Timestamp::ZERO, 6), Ok(copies));
    }

    #[test]
    fn a_catalogue_lists_names_within_a_time() {
        let store = store();
        let within = |from, to| store.catalogue(None, (millis(from), millis(to))).series().len();
        assert_eq!([within(0, 9000), within(9000, 9000), within(9001, 9999), within(-5, -1)], [3, 3, 0, 0]);
        let names = BTreeSet::from(["y".into(), "z".into()]);
        assert_eq!(store.catalogue(Some(&names), (millis(0), millis(9000))).series().len(), 1);
    }

    #[test]
    fn what_is_not_kept_is_known() {
        let own = SourceName::from("rules");
        let mut store = store();
        let errors = selector(&[named("x"), ("code", MatchOp::Matches, "5..")]);
        let up = selector(&[named("up")]);
        let everything = selector(&[]);
        assert_eq!(all(&store).kept(&everything, &own), Kept::Everything);
        let app = Sources::Only([SourceName::from("app")].into());
        let z = selector(&[(METRIC_NAME, MatchOp::Matches, "z|w")]);
        let recorded = selector(&[named("job:x:rate")]);
        let wanted = vec![errors.over(app), z, recorded.over(Sources::Only([own.clone()].into()))];
        store.set_interest(Interest::Selectors(wanted));
        let sample = Sample {
            labels: Labels::from_pairs([(METRIC_NAME, "job:x:rate")]),
            at: Timestamp::ZERO,
            value: 1.0,
        };
        assert!(store.append(&own, &sample));
        let cases = [
            (errors.clone(), Kept::Everything),
            (selector(&[named("x"), ("code", MatchOp::Equal, "503")]), Kept::Everything),
            (selector(&[named("x"), ("code", MatchOp::Equal, "200")]), Kept::Nothing),
            (selector(&[named("x")]), Kept::Some),
            (selector(&[named("y")]), Kept::Nothing),
            (selector(&[named("z"), ("a", MatchOp::NotEqual, "b")]), Kept::Everything),
            (up, Kept::Everything),
            // Rules write it, and nobody else.
            (recorded, Kept::Everything),
            (everything, Kept::Some),
        ];
        for (selector, expected) in cases {
            assert_eq!(all(&store).kept(&selector, &own), expected, "{}", selector.key());
        }
        // Another source has the same metric, and no rule reads it there.
        let sample =
            Sample { labels: Labels::from_pairs([(METRIC_NAME, "z")]), at: Timestamp::ZERO, value: 1.0 };
        assert!(store.append(&SourceName::from("blue"), &sample));
        assert_eq!(all(&store).kept(&errors, &own), Kept::Some);
        let there =
            |job| selector(&[named("x"), ("code", MatchOp::Equal, "500"), ("job", MatchOp::Equal, job)]);
        assert_eq!(all(&store).kept(&there("app"), &own), Kept::Everything);
        assert_eq!(all(&store).kept(&there("blue"), &own), Kept::Nothing);
    }
}
