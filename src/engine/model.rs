//! Plain values that every part of the engine speaks in: labels, samples, severities, names and ids.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// Returns whether a label says what is measured: the metric's name, its type (`__type__`) or its unit (`__unit__`).
///
/// Whatever computes something else of a series drops all three, and matching leaves them out. Series have types and
/// units as labels only where their source writes them (a feature flag of Prometheus does).
pub fn describes_metric(label: &str) -> bool {
    label.starts_with("__") && matches!(label, METRIC_NAME | "__type__" | "__unit__")
}

/// A label set: names are unique and sorted, empty values are absent.
///
/// Cheap to clone. Ordered by names and values, so that maps keyed by it iterate the same way in every run (E1).
///
/// All labels stand in one text, so that a set costs one allocation and its copy without the metric's name none: in most
/// sets the name comes first, and the copy only begins behind it.
#[derive(Clone, Default)]
pub struct Labels {
    /// Length and text of each name and value in turn; see [`push_text`].
    packed: Arc<str>,
    /// Where in `packed` the first label begins.
    start: usize,
}

/// Appends a text behind its length, which is written in digits of base 64, lowest first.
///
/// A digit is one byte below 128, bit 6 tells that more follow: so the length is text itself, whatever follows it.
fn push_text(packed: &mut String, text: &str) {
    let mut rest = text.len();
    loop {
        let (digit, more) = (rest % 64, rest >= 64);
        #[expect(clippy::cast_possible_truncation, reason = "digit < 64")]
        packed.push(char::from(digit as u8 | u8::from(more) << 6));
        rest /= 64;
        if !more {
            break packed.push_str(text);
        }
    }
}

/// Takes one text off the front of `packed`.
fn take_text<'p>(packed: &mut &'p str) -> Option<&'p str> {
    let (mut length, mut digits) = (0, 0);
    for byte in packed.bytes() {
        length |= usize::from(byte % 64) << (6 * digits);
        digits += 1;
        if byte < 64 {
            break;
        }
    }
    let text = packed.get(digits..digits + length).filter(|_| digits > 0)?;
    *packed = &packed[digits + length..];
    Some(text)
}

/// Iterates over the labels that are left of a packed text.
struct Pairs<'p>(&'p str);

impl<'p> Iterator for Pairs<'p> {
    type Item = (&'p str, &'p str);

    fn next(&mut self) -> Option<Self::Item> {
        Some((take_text(&mut self.0)?, take_text(&mut self.0)?))
    }
}

impl Labels {
    /// Returns the empty label set.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Collects pairs; sorts them, drops empty values; of a repeated name the last value wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        // Stable: of a repeated name the last one stays last.
        pairs.sort_by(|(left, _), (right, _)| left.as_ref().cmp(right.as_ref()));
        let is_last =
            |at: &usize| pairs.get(at + 1).is_none_or(|(next, _)| next.as_ref() != pairs[*at].0.as_ref());
        let last = (0..pairs.len()).filter(is_last);
        Self::packed(last.map(|at| (pairs[at].0.as_ref(), pairs[at].1.as_ref())))
    }

    /// Packs pairs that are sorted and unique already; drops empty values.
    fn packed<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> Self {
        let mut packed = String::with_capacity(256);
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            push_text(&mut packed, name);
            push_text(&mut packed, value);
        }
        if packed.is_empty() { Self::empty() } else { Self { packed: packed.into(), start: 0 } }
    }

    fn pairs(&self) -> Pairs<'_> {
        Pairs(self.text())
    }

    fn text(&self) -> &str {
        &self.packed[self.start..]
    }

    /// Returns the value of `name`, or `None` where the label is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Returns the metric's name, or `""`.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// Iterates over name and value in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs()
    }

    /// Returns the number of labels.
    pub fn len(&self) -> usize {
        self.pairs().count()
    }

    /// Returns whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.text().is_empty()
    }

    /// Returns a copy that holds only the labels for which `keep` says yes.
    pub fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        Self::packed(self.pairs().filter(|(name, _)| keep(name)))
    }

    /// Appends to `out` what tells sets apart of which only the labels count for which `keep` says yes: the same text for
    /// equal sets, another one for all others. For keys of many sets, without the memory of a set for each.
    pub fn write_filtered(&self, mut keep: impl FnMut(&str) -> bool, out: &mut String) {
        let mut rest = self.text();
        while !rest.is_empty() {
            let label = rest;
            let Some(name) = take_text(&mut rest) else { return };
            if take_text(&mut rest).is_some() && keep(name) {
                out.push_str(&label[..label.len() - rest.len()]);
            }
        }
    }

    /// Returns a copy with `name` set to `value`, or removed where `value` is empty.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let before = self.pairs().take_while(|(key, _)| *key < name);
        let after = self.pairs().skip_while(|(key, _)| *key <= name);
        Self::packed(before.chain(std::iter::once((name, value))).chain(after))
    }

    /// Returns a copy without the metric's name, and without what else [`describes_metric`].
    pub fn without_name(&self) -> Self {
        let mut rest = self.text();
        let nameless = match (take_text(&mut rest), take_text(&mut rest)) {
            (Some(METRIC_NAME), Some(_)) => {
                Self { packed: self.packed.clone(), start: self.packed.len() - rest.len() }
            }
            _ => self.clone(),
        };
        // Names are sorted, so that what describes the metric comes before every label in lower case.
        let mut first_labels = nameless.pairs().take_while(|(name, _)| *name <= "__unit__");
        if first_labels.any(|(name, _)| describes_metric(name)) {
            return nameless.filtered(|name| !describes_metric(name));
        }
        drop(first_labels);
        nameless
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Labels {}

impl std::hash::Hash for Labels {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (left, right) = (self.text(), other.text());
        // As long as both are the same bytes they are the same texts at the same places.
        let same = common_prefix(left.as_bytes(), right.as_bytes());
        let (mut rest, mut skipped) = (left, 0);
        while take_text(&mut rest).is_some() && left.len() - rest.len() <= same {
            skipped = left.len() - rest.len();
        }
        let (mut left, mut right) = (&left[skipped..], &right[skipped..]);
        loop {
            match (take_text(&mut left), take_text(&mut right)) {
                (None, None) => return std::cmp::Ordering::Equal,
                (left, right) if left != right => return left.cmp(&right),
                _ => {}
            }
        }
    }
}

/// Returns how many bytes two texts begin with in common, eight at a time.
fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    let (chunks, others) = (left.as_chunks::<8>().0, right.as_chunks::<8>().0);
    let start = 8 * chunks.iter().zip(others).take_while(|(left, right)| left == right).count();
    let rest = left[start..].iter().zip(&right[start..]);
    start + rest.take_while(|(left, right)| left == right).count()
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.pairs()).finish()
    }
}

impl fmt::Display for Labels {
    /// Prints `name{a="b"}` as Prometheus does; values are escaped, so a hostile value stays inside its quotes (E11).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric_name())?;
        let rest: Vec<_> = self.iter().filter(|(name, _)| *name != METRIC_NAME).collect();
        if rest.is_empty() && !self.metric_name().is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        for (at, (name, value)) in rest.into_iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Self::from_pairs(map))
    }
}

/// One measured value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series, metric name included.
    pub labels: Labels,
    /// When it was measured, in engine time.
    pub at: Timestamp,
    /// The value; [`is_stale_marker`] tells Prometheus' "series ended" from a plain NaN.
    pub value: f64,
}

/// The bits of Prometheus' staleness marker, a NaN that no arithmetic yields (`model/value/value.go`).
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Returns the value that marks the end of a series.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Returns whether `value` is the staleness marker.
pub fn is_stale_marker(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// Stores numbers so that every one of them can be read back: for `#[serde(with = "stored_number")]`.
///
/// JSON has no NaN and no infinity, and serde_json writes both as `null`, which no number reads back: one error ratio
/// of `+Inf` in the evidence would make an event unreadable. They are stored as text, `"NaN"`, `"inf"`, `"-inf"`.
pub mod stored_number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// A number as it is stored.
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Finite(f64),
        Named(String),
    }

    impl Stored {
        fn of(value: f64) -> Self {
            if value.is_finite() { Self::Finite(value) } else { Self::Named(value.to_string()) }
        }

        fn value<E: serde::de::Error>(self) -> Result<f64, E> {
            match self {
                Self::Finite(value) => Ok(value),
                Self::Named(name) => name.parse().map_err(|_| E::custom(format!("`{name}` is not a number"))),
            }
        }
    }

    /// Writes a number.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Stored::of(*value).serialize(serializer)
    }

    /// Reads a number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Stored::deserialize(deserializer)?.value()
    }

    /// The same for a number that may be absent.
    pub mod optional {
        use super::{Deserialize, Deserializer, Serialize, Serializer, Stored};

        /// Writes a number or nothing.
        pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
            value.map(Stored::of).serialize(serializer)
        }

        /// Reads a number or nothing.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
            Option::<Stored>::deserialize(deserializer)?.map(Stored::value).transpose()
        }
    }
}

/// How bad it is; the order runs from `Low` to `Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Look at it some day. PagerDuty: info.
    Low,
    /// Look at it today. PagerDuty: warning.
    Medium,
    /// Look at it now. PagerDuty: error.
    High,
    /// Money is being lost. PagerDuty: critical.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// Makes a newtype around a shared string, so that a plan's name is never taken for a target's.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )+};
}

names! {
    /// The name of a target: the thing that is guarded and rolled back.
    TargetName,
    /// The name of a source of samples; the `job` label of its series.
    SourceName,
    /// The name of an indicator.
    IndicatorName,
    /// The name of a trigger.
    TriggerName,
    /// The name of a rollback plan.
    PlanName,
    /// The name of a receiver.
    ReceiverName,
    /// The name of an escalation policy.
    PolicyName,
    /// The name of a calendar: times of the week in a time zone.
    CalendarName,
    /// The name of an error budget.
    BudgetName,
}

/// The identity of one journal; the first half of every id, so that ids of two journals never meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JournalId(Arc<str>);

impl JournalId {
    /// Wraps an identity that the shell drew when it created the journal.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// Returns the identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first eight characters, enough for people.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// Makes a numbered id that is unique within its journal.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Returns the id as the world outside sees it: journal, kind, number.
            pub fn global(self, journal: &JournalId) -> String {
                format!("{}-{self}", journal.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!(concat!($prefix, "{}"), self.0))
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix($prefix).unwrap_or(text).parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// The id of an incident: `I12`.
    IncidentId = "I",
    /// The id of one run of a rollback plan: `R3`.
    RollbackId = "R",
    /// The id of a deployment: `D7`.
    DeploymentId = "D",
    /// The id of an effect: `E40`. Global form: the step unit's name and its idempotency key.
    EffectId = "E",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_unique_and_without_empty_values() {
        let labels = Labels::from_pairs([("b", "1"), ("a", "x"), ("c", ""), ("b", "2")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "x"), ("b", "2")]);
        assert_eq!(labels.with("a", "").with("aa", "y").to_string(), r#"{aa="y", b="2"}"#);
    }

    #[test]
    fn the_copy_without_a_name_is_the_set_that_never_had_one() {
        for first in ["", "A", "Z"] {
            let named = Labels::from_pairs([(METRIC_NAME, "x"), (first, "1"), ("a", "2")]);
            let nameless = Labels::from_pairs([(first, "1"), ("a", "2")]);
            assert_eq!(named.without_name(), nameless, "{first}");
            assert_eq!(named.without_name().cmp(&nameless), std::cmp::Ordering::Equal);
            assert_eq!(nameless.without_name(), nameless);
            assert_eq!((named.len(), nameless.len(), named.metric_name()), (3, 2, "x"));
        }
        assert!(Labels::from_pairs([(METRIC_NAME, "x")]).without_name().is_empty());
        let described =
            [("A", "1"), (METRIC_NAME, "x"), ("__type__", "counter"), ("__unit__", "s"), ("a", "2")];
        for from in [0, 1, 2, 3] {
            let bare = Labels::from_pairs(described[from..].iter().copied()).without_name();
            assert_eq!(bare.get("a"), Some("2"));
            assert_eq!(bare.len(), 1 + usize::from(from == 0), "{bare}");
        }
    }

    proptest::proptest! {
        #[test]
        fn packed_labels_are_the_map_that_they_stand_for(
            pairs in proptest::collection::vec(("[a-c\\x00-\\x7fä]{0,2}", "(?s).{0,3}|x{63,66}|y{4095,4097}"), 0..6),
            others in proptest::collection::vec(("[a-c]{0,2}", "[ab]{0,2}"), 0..4),
        ) {
            use std::collections::BTreeMap;
            let map = |pairs: &[(String, String)]| -> BTreeMap<String, String> {
                let last: BTreeMap<_, _> = pairs.iter().cloned().collect();
                last.into_iter().filter(|(_, value)| !value.is_empty()).collect()
            };
            let (left, right) = (map(&pairs), map(&others));
            let (labels, other) = (Labels::from_pairs(pairs.iter().cloned()), Labels::from_pairs(others.iter().cloned()));
            let read: BTreeMap<_, _> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            proptest::prop_assert_eq!(&read, &left);
            proptest::prop_assert_eq!(labels.len(), left.len());
            proptest::prop_assert_eq!(labels.cmp(&other), left.iter().cmp(right.iter()));
            proptest::prop_assert_eq!(labels == other, left == right);
            for (name, value) in &right {
                let mut changed = left.clone();
                changed.insert(name.clone(), value.clone());
                proptest::prop_assert_eq!(labels.with(name, value), Labels::from_pairs(changed));
                proptest::prop_assert_eq!(labels.get(name), left.get(name).map(String::as_str));
            }
        }
    }

    #[test]
    fn every_number_reads_back_from_its_stored_form() {
        #[derive(Serialize, Deserialize)]
        struct Row {
            #[serde(with = "stored_number")]
            value: f64,
            #[serde(with = "stored_number::optional", default)]
            threshold: Option<f64>,
        }
        for value in [0.0, -0.0, 0.1 + 0.2, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            for threshold in [None, Some(value)] {
                let text = serde_json::to_string(&Row { value, threshold }).unwrap();
                let back: Row = serde_json::from_str(&text).unwrap();
                assert_eq!(back.value.to_bits(), value.to_bits(), "{text}");
                assert_eq!(back.threshold.map(f64::to_bits), threshold.map(f64::to_bits), "{text}");
            }
        }
    }

    #[test]
    fn the_stale_marker_is_a_nan_of_its_own() {
        assert!(stale_marker().is_nan() && is_stale_marker(stale_marker()));
        assert!(!is_stale_marker(f64::NAN));
    }
}
