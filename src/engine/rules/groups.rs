//! Imported Prometheus rules: groups of recording and alerting rules, compiled.
//!
//! They mean what Prometheus means: a group is evaluated as a whole at its own interval, one rule after the other, and
//! what a recording rule yields is visible to the rules after it.

use std::sync::Arc;

use super::diagnostic::Place;
use super::set::Then;
use super::template::Template;
use crate::engine::model::{Labels, TargetName};
use crate::engine::promql::Plan as QueryPlan;
use crate::engine::series::Matcher;
use crate::engine::time::Span;

/// Rules that are evaluated together, in order.
#[derive(Clone, Debug)]
pub struct Group {
    /// The file that declares it; a group's name is unique within its file only.
    pub file: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Time between two evaluations.
    pub interval: Span,
    /// How many alerts or series one rule may yield; a rule that yields more fails. Zero is no limit.
    pub limit: usize,
    /// How far before the time of evaluation expressions look.
    pub query_offset: Span,
    /// The rules.
    pub rules: Vec<GroupRule>,
}

/// One rule of a group.
#[derive(Clone, Debug)]
pub struct GroupRule {
    /// Where it is declared.
    pub place: Place,
    /// The expression as written.
    pub text: String,
    /// The expression, compiled.
    pub query: QueryPlan,
    /// Labels that are added to each result, those of the group included; templates are filled in for alerts only.
    pub labels: Vec<(Arc<str>, Template)>,
    /// What it yields.
    pub kind: GroupRuleKind,
    /// Hash of what decides its alerts' state: group, name, expression, labels. Equal across a reload means that the
    /// state is kept; another `for` or other annotations do not lose it.
    pub fingerprint: String,
}

/// What a rule yields.
#[derive(Clone, Debug)]
pub enum GroupRuleKind {
    /// Series under a new name.
    Record {
        /// The metric's name.
        name: Arc<str>,
    },
    /// Alerts, one per label set.
    Alert {
        /// The value of `alertname`.
        name: Arc<str>,
        /// How long the condition must have been there (`for`).
        hold: Span,
        /// How long it keeps firing after the condition has gone.
        keep_firing_for: Span,
        /// Texts for people.
        annotations: Vec<(Arc<str>, Template)>,
        /// Whether the expression can be met by series that are not there (`absent`, `up == 0`): such an alert pages
        /// and never acts (E2).
        rests_on_absence: bool,
    },
}

impl GroupRule {
    /// Returns the value of `alertname`, or the recorded metric's name.
    pub fn name(&self) -> &str {
        match &self.kind {
            GroupRuleKind::Record { name } | GroupRuleKind::Alert { name, .. } => name,
        }
    }
}

/// What follows from imported alerts with certain labels. The first route that matches counts.
#[derive(Clone, Debug)]
pub struct Route {
    /// What the alert's labels must be, all of it; `alertname` is one of them.
    pub matchers: Vec<Matcher>,
    /// The target that such alerts speak of.
    pub target: TargetName,
    /// What follows.
    pub then: Then,
}

impl Route {
    /// Returns whether an alert with these labels takes this route. An absent label is an empty one.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or("")))
    }
}
