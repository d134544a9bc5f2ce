//! One test under virtual time: values are laid into the store, groups are evaluated, alerts and expressions compared.
//!
//! Every group is evaluated at the start and at each `evaluation_interval` after it, whatever interval it declares, up
//! to the last time that is asked for; so does promtool. Values later than the last evaluation are never laid in: an
//! expression that is asked for between two evaluations does not see the values since the first of them.

use super::compare::compare;
use super::report::{Cause, Failure, Item, Subject, TestReport};
use super::written::{AlertTest, ExprTest, Test, TestFile};
use crate::engine::evaluation::groups::{AlertState, GroupContext, Groups, RULES_SOURCE};
use crate::engine::model::{Labels, Sample, SourceName};
use crate::engine::promql::{EvalContext, Value};
use crate::engine::rules::{Group, GroupRuleKind, Place};
use crate::engine::series::{Limits, Store};
use crate::engine::time::{Span, Timestamp};

/// A test file and the groups that it tests, in the order in which they are evaluated.
pub(super) struct Subjects<'a> {
    pub(super) file: &'a TestFile,
    pub(super) groups: &'a [Group],
}

/// Runs one test.
pub(super) fn run(test: &Test, subjects: &Subjects<'_>) -> TestReport {
    let mut report = TestReport {
        name: test.name.clone(),
        line: test.place.line,
        checks: test.checks(),
        failures: Vec::new(),
        timeline: Vec::new(),
    };
    if let Some(place) = test.histograms.first() {
        let message =
            "native histograms (`{{...}}`, `histogram:`) are not supported: this test cannot be run";
        let cause = Cause::Failed { message: message.to_owned() };
        report.failures.push(failure(place, Span::ZERO, Subject::Test, cause));
        return report;
    }
    let mut session = Session::new(test, subjects);
    if session.evaluate_all() {
        session.expressions();
    }
    report.failures = session.failures;
    report
}

/// A series whose values are laid in as time goes by.
struct Input<'a> {
    labels: &'a Labels,
    values: Box<dyn Iterator<Item = Option<f64>> + 'a>,
    /// When the next value is due.
    next: Timestamp,
}

struct Session<'a> {
    test: &'a Test,
    subjects: &'a Subjects<'a>,
    store: Store,
    groups: Groups,
    inputs: Vec<Input<'a>>,
    failures: Vec<Failure>,
}

impl<'a> Session<'a> {
    fn new(test: &'a Test, subjects: &'a Subjects<'a>) -> Self {
        let limits = Limits { series_per_source: usize::MAX, ..Limits::default() };
        let inputs = test.series.iter().map(|series| Input {
            labels: &series.labels,
            values: Box::new(series.values.iter()),
            next: test.start,
        });
        Self {
            test,
            subjects,
            store: Store::new(limits, Span::from_millis(i64::MAX)),
            groups: Groups::default(),
            inputs: inputs.collect(),
            failures: Vec::new(),
        }
    }

    /// Evaluates the groups up to the last time that is asked for, and compares alerts on the way; returns whether every
    /// rule could be evaluated.
    fn evaluate_all(&mut self) -> bool {
        let interval = self.subjects.file.evaluation_interval;
        let last = self.test.last_eval_time();
        let mut alert_tests: Vec<&AlertTest> = self.test.alerts.iter().collect();
        alert_tests.sort_by_key(|test| test.eval_time);
        let mut alert_tests = alert_tests.into_iter().peekable();
        let mut at = Span::ZERO;
        while at <= last {
            self.lay_in(at);
            if !self.evaluate(at) {
                return false;
            }
            // What fires between two evaluations is what the first of them made fire.
            while let Some(test) = alert_tests.next_if(|test| test.eval_time < at + interval) {
                self.alerts(test);
            }
            at += interval;
        }
        true
    }

    /// Lays in the values up to `at`.
    fn lay_in(&mut self, at: Span) {
        // Recorded series and given ones are the same series where their labels are the same, as in Prometheus.
        let source = SourceName::from(RULES_SOURCE);
        let until = self.test.start + at;
        let mut refused = Vec::new();
        for input in &mut self.inputs {
            while input.next <= until {
                let Some(value) = input.values.next() else {
                    input.next = Timestamp::from_millis(i64::MAX);
                    break;
                };
                let labels = input.labels.clone();
                let sample = value.map(|value| Sample { labels, at: input.next, value });
                if sample.is_some_and(|sample| !self.store.append(&source, &sample)) {
                    refused.push((input.labels, input.next));
                }
                input.next += self.test.interval;
            }
        }
        for (labels, when) in refused {
            let message = format!("a rule has written the input series {labels} for this time already");
            let at = when - self.test.start;
            self.failures.push(failure(&self.test.place, at, Subject::Test, Cause::Failed { message }));
        }
    }

    /// Evaluates every group once; returns whether every rule could be evaluated.
    fn evaluate(&mut self, at: Span) -> bool {
        let context = GroupContext {
            wall_offset: Span::ZERO,
            external_labels: &self.test.external_labels,
            external_url: &self.test.external_url,
        };
        let mut good = true;
        for group in self.subjects.groups {
            let outcome = self.groups.evaluate(group, self.test.start + at, &mut self.store, &context);
            for (rule, message) in outcome.failed {
                let Some(rule) = group.rules.get(rule) else { continue };
                good = false;
                let given =
                    |name: &str| self.test.series.iter().any(|series| series.labels.metric_name() == name);
                let message = match &rule.kind {
                    GroupRuleKind::Record { name } if given(name) => {
                        format!("{message}; the test's `input_series` give `{name}` too")
                    }
                    _ => message,
                };
                let subject = Subject::Rule { name: rule.name().to_owned(), group: group.name.to_string() };
                self.failures.push(failure(&rule.place, at, subject, Cause::Failed { message }));
            }
        }
        good
    }

    /// Compares the alerts of one name that fire after the last evaluation.
    fn alerts(&mut self, test: &AlertTest) {
        let of_name = || self.groups.alerts().filter(|alert| *alert.rule == *test.alertname);
        let item = |labels: &Labels, annotations: &Labels| Item::Alert {
            labels: labels.clone(),
            annotations: annotations.clone(),
        };
        let firing = of_name().filter(|alert| alert.state == AlertState::Firing);
        let got = firing.map(|alert| item(&alert.labels, &alert.annotations)).collect();
        let expected =
            test.expected.iter().map(|alert| item(&alert.value.labels, &alert.value.annotations)).collect();
        let note = |missing: &Item| {
            let Some(hold) = self.hold(&test.alertname) else {
                return Some(format!("no alerting rule is called {}", test.alertname));
            };
            let pending = of_name().find(|alert| alert.labels == *missing.labels())?;
            let since = pending.active_at - self.test.start;
            Some(format!("pending since {since}, not firing: `for` is {hold}"))
        };
        if let Some(cause) = compare(expected, got, false, note) {
            let subject = Subject::Alert { name: test.alertname.clone() };
            self.failures.push(failure(&test.place, test.eval_time, subject, cause));
        }
    }

    /// Returns the `for` of the alerting rule of that name.
    fn hold(&self, alertname: &str) -> Option<Span> {
        let rules = self.subjects.groups.iter().flat_map(|group| &group.rules);
        rules.filter(|rule| rule.name() == alertname).find_map(|rule| match &rule.kind {
            GroupRuleKind::Alert { hold, .. } => Some(*hold),
            GroupRuleKind::Record { .. } => None,
        })
    }

    /// Compares what the expressions give.
    fn expressions(&mut self) {
        for test in &self.test.queries {
            let cause = match self.samples(test) {
                Ok(got) => {
                    let expected = test.expected.iter().map(|sample| Item::Sample {
                        labels: sample.value.labels.clone(),
                        value: sample.value.value,
                    });
                    let fuzzy = self.subjects.file.fuzzy;
                    compare(expected.collect(), got, fuzzy, |_| None)
                }
                Err(message) => Some(Cause::Failed { message }),
            };
            if let Some(cause) = cause {
                let subject = Subject::Expression { text: test.text.clone() };
                let failed = failure(&test.place, test.eval_time, subject, cause);
                self.failures.push(Failure { note: self.unseen(test), ..failed });
            }
        }
    }

    /// Says so where there are values before the time of the expression that were never laid in.
    fn unseen(&self, test: &ExprTest) -> Option<String> {
        let interval = self.subjects.file.evaluation_interval;
        let last = self.test.last_eval_time().as_millis() / interval.as_millis().max(1);
        let last = interval.times(last);
        let due = |input: &Input<'_>| input.next <= self.test.start + test.eval_time;
        let unseen = test.eval_time > last && self.inputs.iter().any(due);
        unseen.then(|| {
            let at = test.eval_time;
            format!("values after {last} are not there: no evaluation is between {last} and {at}, and values come with evaluations, every {interval}")
        })
    }

    /// Returns what an expression gives; a number is a sample without labels.
    fn samples(&self, test: &ExprTest) -> Result<Vec<Item>, String> {
        let context = EvalContext::at(self.test.start + test.eval_time);
        let evaluated = test.query.evaluate(&self.store, &context).map_err(|error| error.to_string())?;
        match evaluated.value {
            Value::Vector(vector) => Ok(vector
                .into_iter()
                .map(|sample| Item::Sample { labels: sample.labels, value: sample.value })
                .collect()),
            Value::Scalar(value) => Ok(vec![Item::Sample { labels: Labels::empty(), value }]),
            Value::Matrix(_) => Err("the result is a range vector, not samples".to_owned()),
            Value::String(_) => Err("the result is a text, not samples".to_owned()),
        }
    }
}

fn failure(place: &Place, at: Span, subject: Subject, cause: Cause) -> Failure {
    Failure { file: place.file.to_string(), line: place.line, at, subject, cause, note: None }
}
