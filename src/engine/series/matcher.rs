//! Label matchers, and the selectors that are made of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::pattern::{InvalidPattern, Pattern};
use crate::engine::model::{Labels, METRIC_NAME, SourceName};

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    NotMatches,
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::NotMatches => "!~",
        })
    }
}

/// One condition on one label. A label that is absent has the value `""`.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: Arc<str>,
    op: MatchOp,
    value: Arc<str>,
    /// Present exactly for the two operators that need one.
    pattern: Option<Pattern>,
}

impl Matcher {
    /// Makes a matcher, and compiles its pattern where it has one.
    ///
    /// # Errors
    ///
    /// The value of `=~` or `!~` is not a regular expression.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, InvalidPattern> {
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Matches | MatchOp::NotMatches => Some(Pattern::new(value)?),
        };
        Ok(Self { name: name.into(), op, value: value.into(), pattern })
    }

    /// Returns the label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// Returns what it compares with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns whether a label with this value satisfies the matcher.
    pub fn matches(&self, value: &str) -> bool {
        let equal = self.pattern.as_ref().map_or_else(|| *self.value == *value, |p| p.is_match(value));
        equal == matches!(self.op, MatchOp::Equal | MatchOp::Matches)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op, self.value)
    }
}

/// The sources that a selector may read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sources {
    /// All of them: ad-hoc queries, Prometheus' own test scripts.
    Any,
    /// These and no others, whatever the matchers say.
    Only(BTreeSet<SourceName>),
}

impl Sources {
    /// Returns whether `source` may be read.
    pub fn contains(&self, source: &SourceName) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => names.contains(source),
        }
    }

    /// Returns whether every source of `other` is one of these.
    pub(super) fn cover(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Only(_), Self::Any) => false,
            (Self::Only(names), Self::Only(others)) => names.is_superset(others),
        }
    }
}

/// What a selector selects: matchers within sources. Equal where both are written the same.
#[derive(Clone, Debug)]
pub struct Selector {
    matchers: Arc<[Matcher]>,
    sources: Sources,
    /// The canonical text: what selectors are compared and looked up by.
    key: Arc<str>,
}

impl Selector {
    /// Joins matchers and sources.
    pub fn new(matchers: Vec<Matcher>, sources: Sources) -> Self {
        let mut texts: Vec<_> = matchers.iter().map(Matcher::to_string).collect();
        texts.sort();
        let key = format!("{{{}}} in {sources:?}", texts.join(","));
        Self { matchers: matchers.into(), sources, key: key.into() }
    }

    /// Returns a text that is the same for equal selectors only.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Returns the matchers as written.
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Returns the sources that may be read.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Returns the same matchers over other sources, for what verification reads in place of a moved source.
    pub fn over(&self, sources: Sources) -> Self {
        Self::new(self.matchers.to_vec(), sources)
    }

    /// Returns whether everything that `other` selects is selected here too, as far as their texts tell.
    pub fn covers(&self, other: &Self) -> bool {
        self.sources.cover(&other.sources) && self.covers_labels(other)
    }

    /// Returns whether all labels that `other` selects are selected here too, as far as their texts tell, whatever the
    /// sources.
    pub fn covers_labels(&self, other: &Self) -> bool {
        let implies = |theirs: &Matcher, ours: &Matcher| match theirs.op() {
            MatchOp::Equal => ours.matches(theirs.value()),
            op => op == ours.op() && theirs.value() == ours.value(),
        };
        let implied = |ours: &Matcher| {
            other.matchers.iter().any(|theirs| theirs.name() == ours.name() && implies(theirs, ours))
        };
        self.matchers.iter().all(implied)
    }

    /// Returns the metric name that a series must have, where one is required literally.
    pub fn metric_name(&self) -> Option<&str> {
        let by_name = |matcher: &&Matcher| matcher.name() == METRIC_NAME && matcher.op() == MatchOp::Equal;
        self.matchers.iter().find(by_name).map(Matcher::value)
    }

    /// Returns what names it to people: the metric that it requires, else its matchers.
    pub fn shown(&self) -> String {
        self.metric_name().map_or_else(
            || {
                let matchers: Vec<_> = self.matchers.iter().map(ToString::to_string).collect();
                format!("{{{}}}", matchers.join(","))
            },
            str::to_owned,
        )
    }

    /// Returns whether a series named `name` could be selected; its other labels are not looked at.
    pub fn may_select_name(&self, name: &str) -> bool {
        self.matchers.iter().filter(|m| m.name() == METRIC_NAME).all(|m| m.matches(name))
    }

    /// Returns whether the labels satisfy every matcher; the sources are not looked at.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or("")))
    }

    /// Returns whether a series of `source` with these labels is selected.
    pub fn selects(&self, source: &SourceName, labels: &Labels) -> bool {
        self.sources.contains(source) && self.matches(labels)
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Selector {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_take_an_absent_label_for_an_empty_one() {
        let labels = Labels::from_pairs([(METRIC_NAME, "x"), ("a", "b")]);
        let cases = [
            ("a", MatchOp::Equal, "b", true),
            ("a", MatchOp::Equal, "c", false),
            ("a", MatchOp::NotEqual, "b", false),
            ("z", MatchOp::Equal, "", true),
            ("z", MatchOp::NotEqual, "b", true),
            ("z", MatchOp::Matches, ".*", true),
            ("z", MatchOp::Matches, ".+", false),
            ("a", MatchOp::NotMatches, "b|c", false),
            (METRIC_NAME, MatchOp::Matches, "x|y", true),
        ];
        for (name, op, value, expected) in cases {
            let selected =
                Matcher::new(name, op, value).map(|m| Selector::new(vec![m], Sources::Any).matches(&labels));
            assert_eq!(selected, Ok(expected), "{name}{op}{value}");
        }
    }

    #[test]
    fn selectors_see_their_sources_only() {
        let labels = Labels::from_pairs([(METRIC_NAME, "x")]);
        let app = Sources::Only([SourceName::from("app")].into());
        let selector = Selector::new(Vec::new(), app);
        assert!(selector.selects(&SourceName::from("app"), &labels));
        assert!(!selector.selects(&SourceName::from("blue"), &labels));
        assert_ne!(selector, selector.over(Sources::Any));
    }

    #[test]
    fn a_selector_covers_those_that_select_no_more() {
        let selector = |pairs: &[(&str, &str)], sources: Sources| {
            let matchers = pairs.iter().map(|(n, v)| Matcher::new(n, MatchOp::Equal, v).unwrap());
            Selector::new(matchers.collect(), sources)
        };
        let app = || Sources::Only(["app".into()].into());
        let cases: [(&[_], _, &[_], _, bool); 5] = [
            (&[("a", "1")], Sources::Any, &[("a", "1"), ("b", "2")], Sources::Any, true),
            (&[("a", "1"), ("b", "2")], Sources::Any, &[("a", "1")], Sources::Any, false),
            (&[("a", "1")], Sources::Any, &[("a", "2")], Sources::Any, false),
            (&[("a", "1")], app(), &[("a", "1")], Sources::Any, false),
            (&[("a", "1")], app(), &[("a", "1")], app(), true),
        ];
        for (asked, from, wanted, of, expected) in cases {
            assert_eq!(selector(asked, from).covers(&selector(wanted, of)), expected, "{asked:?} {wanted:?}");
        }
    }
}
