//! A rule test file as written. Names are looked up later, when the rules are loaded ([`super::check`]).

use std::collections::BTreeMap;

use super::behaviour::{self, Behaviour, DeliveryRun, StepRun};
use super::course::Course;
use super::expectation::{self, Expectation};
use super::happens::{self, Happens};
use super::story::is_called;
use crate::engine::evaluation::TriggerKey;
use crate::engine::model::Labels;
use crate::engine::rules::decode::{self, Fields, Shape, Spanned};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings, Place};
use crate::engine::time::{Span, Timestamp};

use super::super::notation::NotationError;
use super::super::written::{located, start_timestamp, whole_series};

const FILE: Shape = Shape {
    what: "a rule test file",
    keys: &["rules", "world", "start", "unnoticeable", "tests"],
    later: &[],
};
const UNNOTICEABLE: Shape =
    Shape { what: "a change that no test can notice", keys: &["rule", "change", "because"], later: &[] };
const TEST: Shape = Shape {
    what: "a test",
    keys: &[
        "name",
        "world",
        "start",
        "until",
        "series",
        "indicators",
        "happens",
        "steps",
        "deliveries",
        "expect",
    ],
    later: &[],
};

/// The keys of a file that only this format has.
pub(super) const OWN_FILE_KEYS: [&str; 3] = ["rules", "world", "start"];
/// The keys of a test that only this format has.
pub(super) const OWN_TEST_KEYS: [&str; 7] =
    ["series", "indicators", "happens", "steps", "deliveries", "expect", "until"];

/// When a test begins that does not say so: a Monday, noon, far from every change of the clocks (2026-01-05 12:00 UTC).
const START: Timestamp = Timestamp::from_millis(1_767_614_400_000);

/// A file of rule tests.
#[derive(Clone, Debug)]
pub(super) struct TestFile {
    /// Patterns, relative to the file; `None`: the file of the same name.
    pub(super) rules: Option<Vec<Scalar>>,
    /// What is declared of `rearguard.yaml`.
    pub(super) world: Option<Node>,
    /// Changes of the rules that mean nothing.
    pub(super) unnoticeable: Vec<Unnoticeable>,
    pub(super) tests: Vec<Test>,
}

/// A change of a limit or a window that no test can notice, and why: the rule means the same after it.
#[derive(Clone, Debug)]
pub(in crate::replay::rule_test) struct Unnoticeable {
    /// The trigger, promise, budget or gate.
    pub(in crate::replay::rule_test) rule: Scalar,
    /// What is written there after the change.
    pub(in crate::replay::rule_test) change: Scalar,
    /// Why that is the same.
    pub(in crate::replay::rule_test) because: Scalar,
}

/// One test: what is measured, what happens, and what must follow.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) place: Place,
    /// The wall clock at its begin; engine time begins there too.
    pub(super) start: Timestamp,
    pub(super) until: Option<Span>,
    /// What lies over the file's world.
    pub(super) world: Option<Node>,
    pub(super) series: Vec<GivenSeries>,
    pub(super) indicators: Vec<GivenIndicator>,
    pub(super) happens: Vec<Happens>,
    pub(super) steps: BTreeMap<String, Spanned<Behaviour<StepRun>>>,
    pub(super) deliveries: BTreeMap<String, Spanned<Behaviour<DeliveryRun>>>,
    pub(super) expect: Vec<Expectation>,
}

impl Test {
    /// Returns whether an expectation names this trigger.
    pub(super) fn names(&self, key: &TriggerKey) -> bool {
        self.expect.iter().filter_map(|expected| expected.want.trigger()).any(|name| is_called(key, name))
    }
}

/// A series that a source exposes.
#[derive(Clone, Debug)]
pub(super) struct GivenSeries {
    /// Whose; `None`: of the only source.
    pub(super) source: Option<Scalar>,
    pub(super) place: Place,
    pub(super) labels: Labels,
    pub(super) course: Course,
}

/// An indicator whose value is given in place of what it would measure.
#[derive(Clone, Debug)]
pub(super) struct GivenIndicator {
    pub(super) name: Scalar,
    /// Read once its unit is known.
    pub(super) course: Scalar,
}

/// Reads a file's tree.
pub(super) fn read(root: &Node, out: &mut Findings) -> Option<TestFile> {
    let fields = FILE.read(root, out)?;
    let rules =
        fields.get("rules").map(|node| decode::texts(node, "`rules`", out).into_iter().cloned().collect());
    let start = fields.get("start").and_then(|node| start_timestamp(node, out));
    let nodes = fields.required("tests", out).map_or(&[][..], |node| decode::list(node, "`tests`", out));
    let tests = nodes.iter().filter_map(|node| test(node, start.unwrap_or(START), out)).collect();
    if nodes.is_empty() {
        out.push(Diagnostic::warning("no-tests", fields.place(), "there are no tests in this file"));
    }
    let unnoticeable = items(&fields, "unnoticeable", out);
    let unnoticeable = unnoticeable.iter().filter_map(|node| unnoticeable_change(node, out)).collect();
    Some(TestFile { rules, world: fields.get("world").cloned(), unnoticeable, tests })
}

fn unnoticeable_change(node: &Node, out: &mut Findings) -> Option<Unnoticeable> {
    let fields = UNNOTICEABLE.read(node, out)?;
    let mut words = |key| fields.required(key, out).and_then(|node| decode::text(node, key, out)).cloned();
    let (rule, change, because) = (words("rule"), words("change"), words("because"));
    Some(Unnoticeable { rule: rule?, change: change?, because: because? })
}

fn test(node: &Node, start: Timestamp, out: &mut Findings) -> Option<Test> {
    let fields = TEST.read(node, out)?;
    let name = fields.required("name", out).and_then(|node| decode::text(node, "the test's name", out));
    let own_start = fields.get("start").and_then(|node| start_timestamp(node, out));
    let until = fields.get("until").and_then(|node| decode::positive_duration(node, "`until`", out));
    let expect = fields.required("expect", out).map_or(&[][..], |node| decode::list(node, "`expect`", out));
    if matches!(fields.get("expect"), Some(Node::Sequence(items, _)) if items.is_empty()) {
        let message = "a test that expects nothing can never fail";
        let hint = "such as `- { at: 60s, fires: TRIGGER }` or `- { never: rollback }`";
        out.push(Diagnostic::error("no-expectations", fields.key_place("expect"), message).hint(hint));
    }
    Some(Test {
        place: fields.place(),
        start: own_start.unwrap_or(start),
        until: until.map(|until| until.value),
        world: fields.get("world").cloned(),
        series: fields.get("series").map_or_else(Vec::new, |node| series(node, out)),
        indicators: indicators(&fields, out),
        happens: items(&fields, "happens", out).iter().flat_map(|node| happens::read(node, out)).collect(),
        steps: behaviours(&fields, "steps", behaviour::step, out),
        deliveries: behaviours(&fields, "deliveries", behaviour::delivery, out),
        expect: expect.iter().filter_map(|node| expectation::read(node, out)).collect(),
        name: name?.value.clone(),
    })
}

fn items<'n>(fields: &Fields<'n>, key: &str, out: &mut Findings) -> &'n [Node] {
    fields.get(key).map_or(&[], |node| decode::list(node, &format!("`{key}`"), out))
}

/// Reads series with their courses; where there are several sources they stand below the sources' names.
fn series(node: &Node, out: &mut Findings) -> Vec<GivenSeries> {
    let Node::Mapping(entries, _) = node else {
        let problem = decode::wrong_type(node, "`series`", "a mapping from series to what they do");
        out.push(problem.hint("such as `'errors_total{code=\"500\"}': 0+3x20`"));
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut add = |source: Option<&Scalar>, name: &Scalar, node: &Node, out: &mut Findings| {
        let labels = whole_series(name, out);
        let course = decode::text(node, "what a series does", out).and_then(|text| course(text, out));
        if let (Some(labels), Some(course)) = (labels, course) {
            all.push(GivenSeries { source: source.cloned(), place: name.place(), labels, course });
        }
    };
    for (name, value) in entries {
        match value {
            Node::Mapping(entries, _) => {
                entries.iter().for_each(|(series, value)| add(Some(name), series, value, out));
            }
            value => add(None, name, value, out),
        }
    }
    all
}

fn course(text: &Scalar, out: &mut Findings) -> Option<Course> {
    report(text, Course::parse(&text.value, None), out)
}

/// Reports a course that cannot be read.
pub(super) fn report(
    text: &Scalar,
    read: Result<Course, NotationError>,
    out: &mut Findings,
) -> Option<Course> {
    match read {
        Ok(course) => Some(course),
        Err(NotationError::Wrong(problem)) => {
            out.push(located(text, "bad-values", &problem));
            None
        }
        Err(NotationError::Histogram(span)) => {
            let place = text.place_within(span.start..span.end);
            let message = "native histograms (`{{...}}`) are not supported";
            out.push(
                Diagnostic::error("bad-values", place, message).hint("give the classic buckets as series"),
            );
            None
        }
    }
}

fn indicators(fields: &Fields<'_>, out: &mut Findings) -> Vec<GivenIndicator> {
    let Some(node) = fields.get("indicators") else { return Vec::new() };
    let entries = decode::named(node, "`indicators`", out);
    let given = |(name, node): (&Scalar, &Node)| {
        let course = decode::text(node, "what an indicator does", out)?.clone();
        Some(GivenIndicator { name: name.clone(), course })
    };
    entries.into_iter().filter_map(given).collect()
}

/// Reads how things of a kind behave, by their names.
fn behaviours<R>(
    fields: &Fields<'_>,
    key: &str,
    run: fn(&Node, &mut Findings) -> Option<R>,
    out: &mut Findings,
) -> BTreeMap<String, Spanned<Behaviour<R>>> {
    let mut all = BTreeMap::new();
    let Some(node) = fields.get(key) else { return all };
    let Node::Mapping(entries, _) = node else {
        out.push(decode::wrong_type(node, &format!("`{key}`"), "a mapping from names"));
        return all;
    };
    for (name, node) in entries {
        if let Some(behaviour) = behaviour::read(node, run, out) {
            all.insert(name.value.clone(), Spanned::new(behaviour, name.place()));
        }
    }
    all
}
