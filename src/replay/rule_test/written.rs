//! A test file as written: `rule_files`, `evaluation_interval`, `group_eval_order`, `fuzzy_compare`, `tests`.
//!
//! The keys and their defaults are those of `promtool test rules` (`cmd/promtool/unittest.go` of Prometheus 3). A key
//! without a value counts as absent, as there. Everything that is wrong is told at once, at its place.

use std::collections::{BTreeMap, BTreeSet};

use super::notation::{self, NotationError, Values};
use crate::engine::model::Labels;
use crate::engine::promql::{self, Plan, Problem, Scope, literals};
use crate::engine::rules::decode::{self, Fields, Shape, Spanned};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings, Place};
use crate::engine::time::{Span, Timestamp};

/// Time between two evaluations where the file says nothing.
const EVALUATION_INTERVAL: Span = Span::from_secs(60);

const FILE: Shape = Shape {
    what: "a test file",
    keys: &["rule_files", "evaluation_interval", "group_eval_order", "fuzzy_compare", "tests"],
    later: &[],
};
const TEST: Shape = Shape {
    what: "a test",
    keys: &[
        "name",
        "interval",
        "start_timestamp",
        "input_series",
        "external_labels",
        "external_url",
        "alert_rule_test",
        "promql_expr_test",
    ],
    later: &[],
};
const SERIES: Shape = Shape { what: "an input series", keys: &["series", "values"], later: &[] };
const ALERT_TEST: Shape =
    Shape { what: "an alert test", keys: &["eval_time", "alertname", "exp_alerts"], later: &[] };
const ALERT: Shape =
    Shape { what: "an expected alert", keys: &["exp_labels", "exp_annotations"], later: &[] };
const EXPR_TEST: Shape =
    Shape { what: "an expression test", keys: &["expr", "eval_time", "exp_samples"], later: &[] };
const SAMPLE: Shape =
    Shape { what: "an expected sample", keys: &["labels", "value", "histogram"], later: &[] };

/// A file of rule tests.
#[derive(Clone, Debug)]
pub(super) struct TestFile {
    /// Patterns, relative to the file.
    pub(super) rule_files: Vec<Scalar>,
    /// Time between two evaluations of all groups, and the step of subqueries that name none.
    pub(super) evaluation_interval: Span,
    /// Names of groups in the order in which they are evaluated.
    pub(super) group_order: Vec<Spanned<String>>,
    /// Whether values that are neighbours as 64-bit numbers count as equal.
    pub(super) fuzzy: bool,
    pub(super) tests: Vec<Test>,
}

/// One test: series, and what must follow from them.
#[derive(Clone, Debug)]
pub(super) struct Test {
    /// Its name, or `unnamed#3`, counted from 0.
    pub(super) name: String,
    pub(super) place: Place,
    /// The distance of two values of a series.
    pub(super) interval: Span,
    /// The time of the first value, and of the first evaluation.
    pub(super) start: Timestamp,
    pub(super) series: Vec<InputSeries>,
    pub(super) external_labels: Labels,
    pub(super) external_url: String,
    pub(super) alerts: Vec<AlertTest>,
    pub(super) queries: Vec<ExprTest>,
    /// Where it uses native histograms, which are not supported: such a test cannot pass.
    pub(super) histograms: Vec<Place>,
}

#[derive(Clone, Debug)]
pub(super) struct InputSeries {
    pub(super) labels: Labels,
    pub(super) values: Values,
}

/// Which alerts of one name must fire at a time.
#[derive(Clone, Debug)]
pub(super) struct AlertTest {
    pub(super) place: Place,
    /// Since the start.
    pub(super) eval_time: Span,
    pub(super) alertname: String,
    pub(super) expected: Vec<Spanned<ExpectedAlert>>,
}

/// An alert as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpectedAlert {
    /// `alertname` among them.
    pub(super) labels: Labels,
    /// Texts for people; an empty one counts as absent, as an empty label does.
    pub(super) annotations: Labels,
}

/// What an expression must give at a time.
#[derive(Clone, Debug)]
pub(super) struct ExprTest {
    pub(super) place: Place,
    pub(super) eval_time: Span,
    pub(super) text: String,
    pub(super) query: Plan,
    pub(super) expected: Vec<Spanned<ExpectedSample>>,
}

/// A sample as it must be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExpectedSample {
    pub(super) labels: Labels,
    pub(super) value: f64,
}

impl Test {
    /// Returns the last time that is asked for; groups are evaluated up to it.
    pub(super) fn last_eval_time(&self) -> Span {
        let alerts = self.alerts.iter().map(|test| test.eval_time);
        alerts.chain(self.queries.iter().map(|test| test.eval_time)).max().unwrap_or(Span::ZERO)
    }

    /// Returns how many expectations it has.
    pub(super) fn checks(&self) -> usize {
        self.alerts.len() + self.queries.len()
    }
}

/// Reads a test file's tree; it is complete only where `out` got no error.
pub(super) fn read(root: &Node, out: &mut Findings) -> Option<TestFile> {
    let fields = FILE.read(root, out)?;
    let evaluation_interval = interval(&fields, "evaluation_interval", out).unwrap_or(EVALUATION_INTERVAL);
    let rule_files = present(&fields, "rule_files").map(|node| decode::texts(node, "`rule_files`", out));
    let order = present(&fields, "group_eval_order");
    let order = order.map(|node| decode::texts(node, "`group_eval_order`", out)).unwrap_or_default();
    let tests = items(&fields, "tests", out).iter().enumerate();
    let tests: Vec<Test> =
        tests.filter_map(|(number, node)| test(node, number, evaluation_interval, out)).collect();
    if present(&fields, "tests").is_none() {
        let problem = Diagnostic::warning("no-tests", fields.place(), "there are no tests in this file");
        out.push(problem.hint("tests stand in a list under `tests:`"));
    }
    let fuzzy = present(&fields, "fuzzy_compare");
    Some(TestFile {
        rule_files: rule_files.unwrap_or_default().into_iter().cloned().collect(),
        evaluation_interval,
        group_order: group_order(&order, out),
        fuzzy: fuzzy.and_then(|node| decode::boolean(node, "`fuzzy_compare`", out)).unwrap_or(false),
        tests,
    })
}

fn group_order(names: &[&Scalar], out: &mut Findings) -> Vec<Spanned<String>> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(&name.value) {
            let message = format!("the group `{}` is listed twice", name.value.escape_debug());
            out.push(Diagnostic::error("duplicate-name", name.place(), message));
        }
    }
    names.iter().map(|name| Spanned::new(name.value.clone(), name.place())).collect()
}

fn test(node: &Node, number: usize, evaluation_interval: Span, out: &mut Findings) -> Option<Test> {
    let fields = TEST.read(node, out)?;
    let name = present(&fields, "name").and_then(|node| decode::text(node, "the test's name", out));
    let mut histograms = Vec::new();
    let start = present(&fields, "start_timestamp").and_then(|node| start_timestamp(node, out));
    let url = present(&fields, "external_url").and_then(|node| decode::text(node, "`external_url`", out));
    let alerts = items(&fields, "alert_rule_test", out);
    let alerts = alerts.iter().filter_map(|node| alert_test(node, out)).collect();
    let scope = Scope { default_step: evaluation_interval, ..Scope::EVERYTHING };
    let queries = items(&fields, "promql_expr_test", out);
    let queries = queries.iter().filter_map(|node| expr_test(node, &scope, &mut histograms, out)).collect();
    Some(Test {
        name: name.map_or_else(|| format!("unnamed#{number}"), |name| name.value.clone()),
        place: fields.place(),
        interval: interval(&fields, "interval", out).unwrap_or(evaluation_interval),
        start: start.unwrap_or(Timestamp::ZERO),
        series: input_series(&fields, &mut histograms, out),
        external_labels: Labels::from_pairs(texts_by_name(&fields, "external_labels", out)),
        external_url: url.map(|url| url.value.clone()).unwrap_or_default(),
        alerts,
        queries,
        histograms,
    })
}

/// Returns the value of `key`; nothing behind the colon is as good as no key.
fn present<'n>(fields: &Fields<'n>, key: &str) -> Option<&'n Node> {
    fields.get(key).filter(|node| !matches!(node, Node::Scalar(scalar) if scalar.is_null()))
}

fn items<'n>(fields: &Fields<'n>, key: &str, out: &mut Findings) -> &'n [Node] {
    present(fields, key).map_or(&[], |node| decode::list(node, &format!("`{key}`"), out))
}

/// Reads a duration; zero counts as absent.
fn interval(fields: &Fields<'_>, key: &str, out: &mut Findings) -> Option<Span> {
    let span = present(fields, key).and_then(|node| decode::duration(node, &format!("`{key}`"), out))?;
    Some(span.value).filter(|span| !span.is_zero_or_negative())
}

fn eval_time(fields: &Fields<'_>, out: &mut Findings) -> Span {
    let node = present(fields, "eval_time");
    node.and_then(|node| decode::duration(node, "`eval_time`", out)).map_or(Span::ZERO, |span| span.value)
}

/// Reads a mapping from names to texts that may be empty; numbers and booleans are texts too.
fn texts_by_name(fields: &Fields<'_>, key: &str, out: &mut Findings) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let Some(node) = present(fields, key) else { return texts };
    let Node::Mapping(entries, _) = node else {
        out.push(decode::wrong_type(node, &format!("`{key}`"), "a mapping from names to texts"));
        return texts;
    };
    for (name, value) in entries {
        let Node::Scalar(text) = value else {
            out.push(decode::wrong_type(value, &format!("`{}`", name.value.escape_debug()), "a text"));
            continue;
        };
        let text = if text.is_null() { "" } else { &text.value };
        if texts.insert(name.value.clone(), text.to_owned()).is_some() {
            let message = format!("the name `{}` is used twice", name.value.escape_debug());
            out.push(Diagnostic::error("duplicate-key", name.place(), message));
        }
    }
    texts
}

/// Reads seconds since 1970, with fractions, or RFC 3339.
pub(super) fn start_timestamp(node: &Node, out: &mut Findings) -> Option<Timestamp> {
    /// 31 December 9999: what RFC 3339 can say.
    const SECONDS_MAX: f64 = 253_402_300_799.0;
    let scalar = decode::text(node, "`start_timestamp`", out)?;
    let seconds = literals::parse_float(&scalar.value).filter(|seconds| seconds.abs() <= SECONDS_MAX);
    let parsed = match seconds {
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        Some(seconds) => Some((seconds * 1000.0).round() as i64),
        None => scalar.value.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
    };
    if parsed.is_none() {
        let message = format!("`{}` is not a time", scalar.value.escape_debug());
        let problem = Diagnostic::error("bad-time", scalar.place(), message);
        out.push(problem.hint("write seconds since 1970, or RFC 3339 such as `2026-11-21T09:30:00Z`"));
    }
    parsed.map(Timestamp::from_millis)
}

fn input_series(fields: &Fields<'_>, histograms: &mut Vec<Place>, out: &mut Findings) -> Vec<InputSeries> {
    let mut seen: BTreeMap<Labels, (usize, usize)> = BTreeMap::new();
    let mut all: Vec<InputSeries> = Vec::new();
    for node in items(fields, "input_series", out) {
        let Some(fields) = SERIES.read(node, out) else { continue };
        let series = fields.required("series", out).and_then(|node| decode::text(node, "`series`", out));
        let labels = series.and_then(|scalar| stored_series(scalar, out));
        let values = present(&fields, "values").map(|node| values(node, histograms, out));
        let (Some(labels), Some(values)) = (labels, values.unwrap_or(Some(Values::default()))) else {
            continue;
        };
        let line = fields.place().line;
        if let Some((at, first)) = seen.insert(labels.clone(), (all.len(), line)) {
            let message = format!("{labels} is given twice: the values on line {first} are not used");
            out.push(Diagnostic::warning("duplicate-series", fields.key_place("series"), message));
            all[at].values = Values::default();
        }
        all.push(InputSeries { labels, values });
    }
    all
}

/// Reads the labels of a series that samples are stored under.
fn stored_series(scalar: &Scalar, out: &mut Findings) -> Option<Labels> {
    let labels = whole_series(scalar, out)?;
    if labels.is_empty() {
        let problem = Diagnostic::error("bad-series", scalar.place(), "a series needs at least one label");
        out.push(problem.hint("write it as `up{job=\"app\"}`"));
        return None;
    }
    Some(labels)
}

/// Reads a scalar that holds the labels of one series and nothing else.
pub(super) fn whole_series(scalar: &Scalar, out: &mut Findings) -> Option<Labels> {
    let text = &scalar.value;
    let problem = match notation::series(text) {
        Ok((labels, end)) if text[end..].trim().is_empty() => return Some(labels),
        Ok((_, end)) => {
            let rest = text[end..].trim_start();
            let span = promql::TextSpan::new(text.len() - rest.len(), text.len());
            Problem::new(span, "nothing may follow the series")
        }
        Err(problem) => problem,
    };
    out.push(located(scalar, "bad-series", &problem));
    None
}

fn values(node: &Node, histograms: &mut Vec<Place>, out: &mut Findings) -> Option<Values> {
    let Node::Scalar(scalar) = node else {
        let problem = decode::wrong_type(node, "`values`", "a text such as `0 1 2x3`");
        out.push(problem.hint("values stand in one text, with blanks between them"));
        return None;
    };
    match Values::parse(&scalar.value) {
        Ok(values) => Some(values),
        Err(NotationError::Wrong(problem)) => {
            out.push(located(scalar, "bad-values", &problem));
            None
        }
        Err(NotationError::Histogram(span)) => {
            histograms.push(scalar.place_within(span.start..span.end));
            None
        }
    }
}

fn alert_test(node: &Node, out: &mut Findings) -> Option<AlertTest> {
    let fields = ALERT_TEST.read(node, out)?;
    let name = fields.required("alertname", out).and_then(|node| decode::text(node, "`alertname`", out));
    let eval_time = eval_time(&fields, out);
    let mut expected = Vec::new();
    for node in items(&fields, "exp_alerts", out) {
        let Some(fields) = ALERT.read(node, out) else { continue };
        let labels = Labels::from_pairs(texts_by_name(&fields, "exp_labels", out));
        let annotations = Labels::from_pairs(texts_by_name(&fields, "exp_annotations", out));
        let alert = ExpectedAlert {
            labels: name.map_or(labels.clone(), |name| labels.with("alertname", &name.value)),
            annotations,
        };
        expected.push(Spanned::new(alert, fields.place()));
    }
    Some(AlertTest { place: fields.place(), eval_time, alertname: name?.value.clone(), expected })
}

fn expr_test(
    node: &Node,
    scope: &Scope,
    histograms: &mut Vec<Place>,
    out: &mut Findings,
) -> Option<ExprTest> {
    let fields = EXPR_TEST.read(node, out)?;
    let eval_time = eval_time(&fields, out);
    let text = fields.required("expr", out).and_then(|node| decode::text(node, "`expr`", out));
    let expected: Vec<_> = items(&fields, "exp_samples", out)
        .iter()
        .filter_map(|node| expected_sample(node, histograms, out))
        .collect();
    let text = text?;
    let compiled = promql::parse(&text.value).and_then(|expr| promql::compile(&expr, scope));
    let query = match compiled {
        Ok(query) => query,
        Err(problems) => {
            out.extend(problems.iter().map(|problem| located(text, "bad-expression", problem)));
            return None;
        }
    };
    let place = fields.place();
    Some(ExprTest { place, eval_time, text: text.value.trim().to_owned(), query, expected })
}

fn expected_sample(
    node: &Node,
    histograms: &mut Vec<Place>,
    out: &mut Findings,
) -> Option<Spanned<ExpectedSample>> {
    let fields = SAMPLE.read(node, out)?;
    if fields.get("histogram").is_some() {
        histograms.push(fields.key_place("histogram"));
    }
    let labels = match present(&fields, "labels") {
        None => Some(Labels::empty()),
        Some(Node::Scalar(scalar)) => whole_series(scalar, out),
        Some(other) => {
            let problem = decode::wrong_type(other, "`labels`", "a text such as `up{job=\"app\"}`");
            out.push(problem.hint("quote it: the braces of PromQL are no mapping"));
            None
        }
    };
    let value = present(&fields, "value").map_or(Some(0.0), |node| number(node, out));
    Some(Spanned::new(ExpectedSample { labels: labels?, value: value? }, fields.place()))
}

/// Reads a number as YAML or PromQL write it: `1.5`, `1e3`, `.nan`, `-Inf`.
fn number(node: &Node, out: &mut Findings) -> Option<f64> {
    let scalar = decode::text(node, "`value`", out)?;
    let text = scalar.value.trim();
    let undotted = match text.to_ascii_lowercase().as_str() {
        ".nan" => Some(f64::NAN),
        ".inf" | "+.inf" => Some(f64::INFINITY),
        "-.inf" => Some(f64::NEG_INFINITY),
        _ => None,
    };
    let value = undotted.or_else(|| literals::parse_number(text));
    if value.is_none() {
        out.push(decode::wrong_type(node, "`value`", "a number"));
    }
    value
}

/// Shows a problem within a scalar where the scalar was written.
pub(super) fn located(scalar: &Scalar, code: &'static str, problem: &Problem) -> Diagnostic {
    let place = scalar.place_within(problem.span.start..problem.span.end);
    Diagnostic::error(code, place, problem.message.clone()).maybe_hint(problem.hint.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rules::SourceFile;
    use crate::engine::rules::yaml;

    fn parsed(text: &str, out: &mut Findings) -> Option<TestFile> {
        let root = yaml::parse(&SourceFile::new("t.yaml", text)).ok().flatten();
        read(&root.unwrap_or_else(|| panic!("{text} is YAML")), out)
    }

    fn problems(text: &str) -> Vec<String> {
        let mut out = Findings::default();
        let _file = parsed(text, &mut out);
        let told = |d: Diagnostic| format!("{}:{} {} {}", d.place.line, d.place.column, d.code, d.message);
        out.into_problems().into_iter().map(told).collect()
    }

    fn good(text: &str) -> TestFile {
        let mut out = Findings::default();
        let file = parsed(text, &mut out);
        assert!(!out.has_errors(), "{text}: {:?}", out.into_problems());
        file.unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn what_is_not_said_has_promtools_defaults() {
        let file = good("tests:\n- {}\n- {name: x, interval: 0s, start_timestamp: , alert_rule_test: }\n");
        assert_eq!(file.evaluation_interval, Span::from_secs(60));
        let names: Vec<&str> = file.tests.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["unnamed#0", "x"]);
        for test in &file.tests {
            assert_eq!((test.interval, test.start), (Span::from_secs(60), Timestamp::ZERO));
            assert_eq!((test.checks(), test.last_eval_time()), (0, Span::ZERO));
        }
        let file = good("evaluation_interval: 5s\ntests: [{alert_rule_test: [{alertname: A}]}]\n");
        assert_eq!(file.tests[0].interval, Span::from_secs(5));
        assert_eq!(file.tests[0].alerts[0].eval_time, Span::ZERO);
    }

    #[test]
    fn times_and_numbers_are_read_in_each_of_their_forms() {
        let starts = [("90", 90_000), ("1.5", 1500), ("1970-01-01T00:01:00+00:00", 60_000), ("-1", -1000)];
        for (text, ms) in starts {
            let file = good(&format!("tests: [{{start_timestamp: {text:?}}}]\n"));
            assert_eq!(file.tests[0].start, Timestamp::from_millis(ms), "{text}");
        }
        let numbers = [("1e3", 1000.0), ("0x10", 16.0), (".inf", f64::INFINITY), ("-Inf", f64::NEG_INFINITY)];
        for (text, value) in numbers {
            let yaml =
                format!("tests: [{{promql_expr_test: [{{expr: x, exp_samples: [{{value: {text}}}]}}]}}]\n");
            assert_eq!(good(&yaml).tests[0].queries[0].expected[0].value.value, value, "{text}");
        }
    }

    #[test]
    fn labels_and_annotations_are_texts_and_alertname_is_implied() {
        let file = good(
            "tests: [{alert_rule_test: [{alertname: A, exp_alerts: [{}, {exp_labels: {a: 1, b: true, c: }, exp_annotations: {d: '', e: \" f\\n\"}}]}]}]\n",
        );
        let expected = &file.tests[0].alerts[0].expected;
        assert_eq!(expected[0].value.labels, Labels::from_pairs([("alertname", "A")]));
        assert_eq!(
            expected[1].value.labels,
            Labels::from_pairs([("alertname", "A"), ("a", "1"), ("b", "true")])
        );
        assert_eq!(expected[1].value.annotations, Labels::from_pairs([("e", " f\n")]));
    }

    #[test]
    fn native_histograms_are_noted_and_no_error_of_the_file() {
        let file = good(
            "tests:\n- input_series: [{series: h, values: '1 {{schema:1}}'}]\n  promql_expr_test: [{expr: h, exp_samples: [{histogram: x}]}]\n- {}\n",
        );
        let lines: Vec<usize> = file.tests[0].histograms.iter().map(|place| place.line).collect();
        assert_eq!(lines, [3, 2]);
        assert!(file.tests[1].histograms.is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_its_place() {
        let text = "\
rule_file: [a.yml]
evaluation_interval: 5
group_eval_order: [a, a]
tests:
  - names: x
    start_timestamp: yesterday
    input_series:
      - { series: 'up{job=\"x}', values: '1 2' }
      - { series: 'up', values: '1 oops' }
      - { series: '{}', values: 1 }
      - { series: 'up 1', values: 1 }
      - { values: [1] }
      - { series: 'b', values: 1 }
      - { series: 'b', values: 2 }
    external_labels: [a]
    alert_rule_test:
      - { eval_time: 1 }
      - { alertname: A, exp_alerts: [ { exp_label: {} } ] }
    promql_expr_test:
      - { expr: 'sum(up' }
      - { expr: up, exp_samples: [ { labels: { a: b }, value: one } ] }
";
        let expected = [
            "1:1 unknown-key unknown key `rule_file` in a test file",
            "2:22 bad-duration",
            "3:23 duplicate-name",
            "5:5 unknown-key",
            "6:22 bad-time",
            "8:27 bad-series this quote is never closed",
            "9:36 bad-values found `oops`",
            "10:19 bad-series a series needs at least one label",
            "11:23 bad-series nothing may follow",
            "12:9 missing-key",
            "12:19 wrong-type",
            "14:11 duplicate-series b is given twice: the values on line 13",
            "15:22 wrong-type",
            "17:9 missing-key",
            "17:22 bad-duration",
            "18:41 unknown-key",
            "20:24 bad-expression",
            "21:46 wrong-type",
            "21:63 wrong-type",
        ];
        let found = problems(text);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        let wrong: Vec<_> =
            found.iter().zip(expected).filter(|(found, due)| !found.starts_with(due)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(problems("{}\n"), ["1:1 no-tests there are no tests in this file"]);
    }

    #[test]
    fn a_series_that_is_given_twice_has_the_later_values() {
        let file = good("tests: [{input_series: [{series: a, values: 1}, {series: a, values: 2}]}]\n");
        let counts: Vec<u64> = file.tests[0].series.iter().map(|series| series.values.count()).collect();
        assert_eq!(counts, [0, 1]);
    }
}
