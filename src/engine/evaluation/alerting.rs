//! What imported alerts say, as the decision half hears it: all of them at once, so that nothing hangs on a message lost.

use super::groups::AlertState;
use crate::engine::model::{Labels, SourceName, TriggerName};
use crate::engine::time::{Span, Timestamp};

/// Every imported alert as it stands; comes whenever at least one group was evaluated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertsJudged {
    /// The alerts of every rule that has been evaluated since the start.
    pub active: Vec<AlertJudgement>,
    /// How every alerting rule stands, in the order of the rules.
    pub rules: Vec<AlertRuleStanding>,
}

/// One alert.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertJudgement {
    /// The rule's name, which is also the label `alertname`.
    pub name: TriggerName,
    /// Every label, `alertname` among them.
    pub labels: Labels,
    /// How far it has come.
    pub state: AlertState,
    /// Whether it came to this state at the evaluation that this speaks of.
    pub is_new: bool,
    /// Since when the condition has been there.
    pub since: Timestamp,
    /// `for`
    pub hold: Span,
    /// The expression on one line.
    pub expression: String,
    /// The last value.
    pub value: f64,
    /// Texts for people.
    pub annotations: Labels,
    /// Whether series that are not there can make it fire: it never acts then (E2).
    pub rests_on_absence: bool,
    /// A source that the rule reads and that does not answer now: it does not act meanwhile (E2).
    pub failing_source: Option<SourceName>,
}

/// How one alerting rule stands.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRuleStanding {
    /// Its name.
    pub name: TriggerName,
    /// The labels that it adds, templates as written, with `alertname`: what can be said of its alerts without any.
    pub labels: Labels,
    /// Why an alert of it that is no longer there must not be taken for over.
    pub undecided: Option<String>,
    /// Since when it cannot be evaluated, and why; a source that does not answer is not meant.
    pub failing: Option<(Timestamp, String)>,
}
