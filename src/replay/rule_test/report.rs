//! What became of rule tests: plain values that print as text, JSON and JUnit.

use serde::Serialize;

use crate::engine::model::{Labels, stored_number};
use crate::engine::time::Span;

/// The tests of one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileReport {
    /// The file, as it was given.
    pub file: String,
    /// The tests that were run, in their order.
    pub tests: Vec<TestReport>,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestReport {
    /// Its name, or `unnamed#3`, counted from 0.
    pub name: String,
    /// The line on which it begins.
    pub line: usize,
    /// How many expectations it has.
    pub checks: usize,
    /// What was not as expected, alerts first, in the order of their times. Empty: it passed.
    pub failures: Vec<Failure>,
    /// Everything that happened, with what was expected beside it; tests in promtool's format have none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<TimelineLine>,
}

/// One line of what happened in a test, or should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineLine {
    /// When, since the test's start.
    #[serde(rename = "at_ms")]
    pub at: Span,
    /// Whether it is as it should be.
    pub sign: Sign,
    /// What happened, on one line.
    pub text: String,
    /// The line of the expectation that it belongs to, where it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// Whether a line of a timeline is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// It happened, and nothing speaks against it.
    AsItIs,
    /// It was expected and did not happen, or not then.
    Expected,
    /// It happened, and should not have, or not then.
    Unexpected,
}

/// One thing that was not as expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The file to look at: the test's, or that of a rule that failed.
    pub file: String,
    /// The line of the expectation, or of the rule.
    pub line: usize,
    /// When, since the test's start.
    #[serde(rename = "at_ms")]
    pub at: Span,
    /// What was looked at.
    pub subject: Subject,
    /// What was wrong with it.
    pub cause: Cause,
    /// What helps to understand it.
    pub note: Option<String>,
}

/// What a failure is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Subject {
    /// The alerts of one name.
    Alert {
        /// The value of `alertname`.
        name: String,
    },
    /// An expression.
    Expression {
        /// As written.
        text: String,
    },
    /// A rule that could not be evaluated; nothing after it was looked at.
    Rule {
        /// The alert's or the recorded metric's name.
        name: String,
        /// Its group.
        group: String,
    },
    /// What was expected of a timeline.
    Expectation {
        /// In words.
        text: String,
    },
    /// The test itself could not be run.
    Test,
}

/// Why something is a failure.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// There was something else than expected.
    Differs {
        /// How many were as expected.
        equal: usize,
        /// The others.
        differences: Vec<Difference>,
    },
    /// There was nothing to compare.
    Failed {
        /// Why.
        message: String,
    },
}

/// An alert or a sample that is missing, is not expected, or is not quite as expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// What was expected; `None`: nothing of the kind.
    pub expected: Option<Item>,
    /// What was there; `None`: nothing of the kind.
    pub got: Option<Item>,
    /// What helps to understand it.
    pub note: Option<String>,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Item {
    /// A firing alert.
    Alert {
        /// `alertname` among them.
        labels: Labels,
        /// Texts for people.
        annotations: Labels,
    },
    /// An element of a result.
    Sample {
        /// The metric's name among them.
        labels: Labels,
        /// Its value.
        #[serde(with = "stored_number")]
        value: f64,
    },
}

impl Item {
    /// Returns its labels.
    pub fn labels(&self) -> &Labels {
        match self {
            Self::Alert { labels, .. } | Self::Sample { labels, .. } => labels,
        }
    }
}

impl FileReport {
    /// Returns how many tests failed.
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|test| !test.passed()).count()
    }
}

impl TestReport {
    /// Returns whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}
