//! Conditions, compiled: comparisons of indicators, joined by `and`, `or` and `N of (...)`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Indicator;
use crate::engine::model::{SourceName, TriggerName};
use crate::engine::series::Sources;

/// What is compared, as a whole.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What must be met.
    pub test: Test,
    /// The condition as written, for people.
    pub text: String,
}

/// One comparison, or several joined. `All` and `Any` have two parts at least.
#[derive(Clone, Debug)]
pub enum Test {
    /// `indicator op threshold`
    Compare(Compare),
    /// `ErrorRateHigh`: another trigger of the target fires.
    Fires(TriggerName),
    /// `a and b`: each must be met.
    All(Vec<Test>),
    /// `a or b`: one must be met.
    Any(Vec<Test>),
    /// `2 of (a, b, c)`: so many must be met.
    AtLeast {
        /// How many; at least one, at most as many as there are.
        count: usize,
        /// Of which.
        of: Vec<Test>,
    },
}

/// What a condition is made of.
#[derive(Clone, Copy, Debug)]
pub enum Part<'c> {
    /// A comparison.
    Compare(&'c Compare),
    /// A trigger that fires.
    Fires(&'c TriggerName),
}

/// `indicator op threshold`.
#[derive(Clone, Debug)]
pub struct Compare {
    /// What is measured.
    pub indicator: Arc<Indicator>,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub threshold: Threshold,
    /// The comparison as written, for people.
    pub text: String,
}

/// What a value is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// A number in the indicator's base unit (ratio, seconds, per second, bytes).
    Fixed(f64),
    /// A multiple of what the indicator was before the deployment.
    OfBaseline {
        /// `50% of baseline` is 0.5, `1.5x baseline` is 1.5.
        factor: f64,
        /// The absolute bound beside it, in the base unit. For `>` the larger of both counts (`at least 5ms`), for `<` the
        /// smaller (`at most 100/s`): a tiny baseline is no reason to act on noise.
        bound: Option<f64>,
    },
}

impl Condition {
    /// Makes a condition of one comparison.
    pub fn of(compare: Compare) -> Self {
        let text = compare.text.clone();
        Self { test: Test::Compare(compare), text }
    }

    /// Returns everything that it joins, in the order of the text.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut all = Vec::new();
        self.test.collect(&mut all);
        all
    }

    /// Returns every comparison, in the order of the text.
    pub fn compares(&self) -> Vec<&Compare> {
        let compare = |part| match part {
            Part::Compare(compare) => Some(compare),
            Part::Fires(_) => None,
        };
        self.parts().into_iter().filter_map(compare).collect()
    }

    /// Returns every trigger that it names, in the order of the text.
    pub fn named(&self) -> Vec<&TriggerName> {
        let named = |part| match part {
            Part::Compare(_) => None,
            Part::Fires(trigger) => Some(trigger),
        };
        self.parts().into_iter().filter_map(named).collect()
    }

    /// Returns the sources whose observations can change what any of its indicators yields.
    pub fn sources(&self) -> BTreeSet<SourceName> {
        self.compares().into_iter().flat_map(|compare| compare.indicator.sources()).collect()
    }

    /// Returns every indicator's expression, in the order of the text.
    pub fn expressions(&self) -> Vec<&str> {
        self.compares().into_iter().map(|compare| compare.indicator.text.as_str()).collect()
    }
}

impl Test {
    fn collect<'t>(&'t self, all: &mut Vec<Part<'t>>) {
        match self {
            Self::Compare(compare) => all.push(Part::Compare(compare)),
            Self::Fires(trigger) => all.push(Part::Fires(trigger)),
            // The depth is bounded where conditions are parsed.
            Self::All(parts) | Self::Any(parts) | Self::AtLeast { of: parts, .. } => {
                parts.iter().for_each(|part| part.collect(all));
            }
        }
    }
}

impl Threshold {
    /// Returns the number to compare with; `baseline` is what the indicator was, where that is known.
    pub fn value(self, comparison: Comparison, baseline: Option<f64>) -> Option<f64> {
        match self {
            Self::Fixed(value) => Some(value),
            Self::OfBaseline { factor, bound } => {
                let relative = baseline? * factor;
                Some(match bound {
                    None => relative,
                    Some(bound) if comparison.is_above() => relative.max(bound),
                    Some(bound) => relative.min(bound),
                })
            }
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(value) => write!(f, "{value}"),
            Self::OfBaseline { factor, bound: None } => write!(f, "{factor}x baseline"),
            Self::OfBaseline { factor, bound: Some(bound) } => write!(f, "{factor}x baseline, bound {bound}"),
        }
    }
}

impl Indicator {
    /// Returns the sources whose observations can change what it yields.
    pub fn sources(&self) -> BTreeSet<SourceName> {
        match self.query.sources() {
            Sources::Only(names) => names,
            // Only where the file's own sources are missing, which is an error.
            Sources::Any => BTreeSet::new(),
        }
    }
}

/// A comparison operator. A NaN meets none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Comparison {
    /// Returns whether large values meet it.
    pub fn is_above(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual)
    }

    /// Returns whether `value op threshold`; `None` for a NaN, which is neither above nor below (E2).
    pub fn met(self, value: f64, threshold: f64) -> Option<bool> {
        if value.is_nan() || threshold.is_nan() {
            return None;
        }
        Some(match self {
            Self::Less => value < threshold,
            Self::LessOrEqual => value <= threshold,
            Self::Greater => value > threshold,
            Self::GreaterOrEqual => value >= threshold,
            #[expect(clippy::float_cmp, reason = "the author of the rule asked for exact equality")]
            Self::Equal => value == threshold,
            #[expect(clippy::float_cmp, reason = "the author of the rule asked for exact inequality")]
            Self::NotEqual => value != threshold,
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        })
    }
}
