//! The `.test` scripts of Prometheus' `promqltest`: `load`, `clear`, `eval`, and what is expected.
//!
//! What a script says is read here and judged in [`super::judge`]. A line that cannot be read spoils the cases that
//! hang on it and nothing else.

use std::collections::BTreeMap;

use rearguard::engine::model::{Labels, METRIC_NAME, Sample, SourceName, stale_marker};
use rearguard::engine::promql::ast::{Expr, ExprKind};
use rearguard::engine::promql::{self, literals};
use rearguard::engine::series::{Limits, MatchOp, Store};
use rearguard::engine::time::{Span, Timestamp};

use super::judge::{self, Outcome};

/// One `eval` and what became of it.
pub struct Case {
    pub line: usize,
    pub expression: String,
    pub outcome: Outcome,
}

/// One value per time; `None` where there is no sample.
pub type Values = Vec<Option<f64>>;
pub type Matrix = BTreeMap<Labels, BTreeMap<i64, f64>>;

/// Times are in milliseconds.
#[derive(Clone, Copy)]
pub enum When {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

#[derive(Default)]
pub struct Expected {
    pub fails: bool,
    pub ordered: bool,
    pub string: Option<String>,
    pub scalar: Option<f64>,
    /// `expect range vector from A to B step S`: A and S.
    pub range: Option<(i64, i64)>,
    pub series: Vec<(Labels, Values)>,
    /// A native histogram is expected.
    pub histograms: bool,
}

/// What the loads since the last `clear` have left.
pub struct Loaded {
    data: Matrix,
    pub store: Store,
    /// Series that hold native histograms; they are not in the store.
    pub histograms: Vec<Labels>,
    /// Why a load could not be read.
    pub unread: Option<String>,
}

impl Loaded {
    fn nothing() -> Self {
        let data = Matrix::new();
        Self { store: store(&data), data, histograms: Vec::new(), unread: None }
    }

    fn load(&mut self, with_buckets: bool, step: &str, block: &[&str]) {
        if let Err(why) = self.try_load(with_buckets, step, block) {
            self.unread = Some(why);
        }
        self.store = store(&self.data);
    }

    fn try_load(&mut self, with_buckets: bool, step: &str, block: &[&str]) -> Result<(), String> {
        let step = millis(step)?;
        // A series that is given twice within one load has the later values.
        let mut loaded = BTreeMap::new();
        for line in block {
            let (labels, values) = series_line(line)?;
            match values {
                Some(values) => drop(loaded.insert(labels.clone(), values)),
                None => self.histograms.push(labels.clone()),
            }
            // `load_with_nhcb` makes native histograms with custom buckets of classic ones.
            if with_buckets && let Some(name) = labels.metric_name().strip_suffix("_bucket") {
                self.histograms.push(labels.with("le", "").with(METRIC_NAME, name));
            }
        }
        for (labels, values) in loaded {
            let series = self.data.entry(labels).or_default();
            for (at, value) in (0_i64..).zip(values) {
                series.extend(value.map(|value| (at * step, value)));
            }
        }
        Ok(())
    }
}

/// Runs a script.
pub fn run(text: &str) -> Vec<Case> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut loaded = Loaded::nothing();
    let mut cases = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let block: Vec<&str> = lines[at + 1..].iter().take_while(|line| !line.is_empty()).copied().collect();
        let (command, rest) = lines[at].split_once(char::is_whitespace).unwrap_or((lines[at], ""));
        let command = command.to_ascii_lowercase();
        let mut used = block.len();
        match command.as_str() {
            "" => used = 0,
            "clear" => {
                loaded = Loaded::nothing();
                used = 0;
            }
            "load" | "load_with_nhcb" => loaded.load(command.ends_with("nhcb"), rest, &block),
            _ if command == "eval" || command.starts_with("eval_") => {
                cases.push(case(at + 1, &command, rest, &block, &loaded));
            }
            _ => cases.push(Case {
                line: at + 1,
                expression: lines[at].to_owned(),
                outcome: Outcome::Refused("this command is not known".to_owned()),
            }),
        }
        at += 1 + used;
    }
    cases
}

fn case(line: usize, command: &str, rest: &str, block: &[&str], loaded: &Loaded) -> Case {
    let read = header(rest).and_then(|header| Ok((header, expectation(command, block)?)));
    let (expression, outcome) = match read {
        Ok(((when, expression), expected)) => (expression, judge::judge(loaded, when, expression, &expected)),
        Err(why) => (rest, Outcome::Refused(format!("the script cannot be read: {why}"))),
    };
    Case { line, expression: expression.to_owned(), outcome }
}

/// A time or a step: a duration or a number of seconds, with a sign.
fn millis(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let (sign, magnitude) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    if let Ok(span) = magnitude.parse::<Span>() {
        return Ok(sign * span.as_millis());
    }
    let seconds = literals::parse_number(text).filter(|seconds| seconds.abs() < 1e12);
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    seconds.map(|seconds| (seconds * 1000.0).round() as i64).ok_or_else(|| format!("{text:?} is no time"))
}

fn store(data: &Matrix) -> Store {
    let limits = Limits { retention: Span::from_millis(i64::MAX), series_per_source: usize::MAX };
    let mut store = Store::new(limits);
    for (labels, points) in data {
        let source = SourceName::from(labels.get("job").unwrap_or("none"));
        for (at, value) in points {
            let sample = Sample { labels: labels.clone(), at: Timestamp::from_millis(*at), value: *value };
            assert!(store.append(&source, &sample), "points come in order");
        }
    }
    store
}

/// Splits `name{a="b"} 1 2 3` into labels and values; no values where they are native histograms.
fn series_line(line: &str) -> Result<(Labels, Option<Values>), String> {
    let mut quote = None;
    let mut escaped = false;
    let mut open = false;
    let mut end = line.len();
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(q), '\\') if q != '`' => escaped = true,
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => open = true,
            (None, '}') => {
                end = at + 1;
                break;
            }
            (None, _) if c.is_whitespace() && !open && !opens_labels(&line[at..]) => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let (labels, values) = (labels(line[..end].trim())?, &line[end..]);
    if values.contains("{{") {
        return Ok((labels, None));
    }
    let mut all = Values::new();
    for item in values.split_whitespace() {
        all.extend(items(item)?);
    }
    Ok((labels, Some(all)))
}

fn opens_labels(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.starts_with('{') && !rest.starts_with("{{")
}

const PADDING: &str = "__padding__";

fn labels(description: &str) -> Result<Labels, String> {
    if description
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|inner| inner.trim().is_empty())
    {
        return Ok(Labels::empty());
    }
    let not_a_series = || format!("{description:?} is no series");
    // All labels may be empty, which is a series but no selector.
    let padded = match description.strip_suffix('}').map(str::trim_end) {
        Some(head) if head.ends_with('{') => format!("{head}{PADDING}=\"x\"}}"),
        Some(head) => format!("{},{PADDING}=\"x\"}}", head.trim_end_matches(',')),
        None => description.to_owned(),
    };
    let Ok(Expr { kind: ExprKind::Selector(selector), .. }) = promql::parse(&padded) else {
        return Err(not_a_series());
    };
    if selector.range.is_some() || selector.matchers.iter().any(|matcher| matcher.op != MatchOp::Equal) {
        return Err(not_a_series());
    }
    let pairs = selector.matchers.into_iter().map(|matcher| (matcher.name, matcher.value));
    let named = selector.name.into_iter().map(|name| (METRIC_NAME.to_owned(), name));
    Ok(Labels::from_pairs(named.chain(pairs).filter(|(name, _)| name != PADDING)))
}

/// The most values that one item may stand for.
const MAX_VALUES: usize = 1_000_000;

/// Expands `5`, `_`, `_x3`, `stale`, `1x3`, `1+2x3`.
fn items(item: &str) -> Result<Values, String> {
    let number =
        |text: &str| literals::parse_float(text).ok_or_else(|| format!("{text:?} in {item:?} is no number"));
    let count = |text: &str| match text.parse::<usize>() {
        Ok(count) if count < MAX_VALUES => Ok(count),
        _ => Err(format!("{text:?} in {item:?} is no number of values")),
    };
    if item == "_" {
        return Ok(vec![None]);
    }
    if let Some(times) = item.strip_prefix("_x") {
        return Ok(vec![None; count(times)?]);
    }
    if item == "stale" {
        return Ok(vec![Some(stale_marker())]);
    }
    let Some((head, times)) = item.rsplit_once('x') else { return Ok(vec![Some(number(item)?)]) };
    let sign = head
        .char_indices()
        .skip(1)
        .find(|(at, c)| matches!(c, '+' | '-') && !head[..*at].ends_with(['e', 'E', '+', '-']));
    let (start, step) = match sign {
        Some((at, _)) => (number(&head[..at])?, number(head[at..].trim_start_matches('+'))?),
        None => (number(head)?, 0.0),
    };
    let mut value = start;
    let mut values = vec![Some(value)];
    for _ in 0..count(times)? {
        value += step;
        values.push(Some(value));
    }
    Ok(values)
}

/// The words of a line, one after the other.
struct Words<'t>(&'t str);

impl<'t> Words<'t> {
    fn next(&mut self) -> &'t str {
        let rest = self.0.trim_start();
        let (word, tail) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        self.0 = tail.trim_start();
        word
    }

    fn eat(&mut self, keyword: &str) -> bool {
        let found = self.0.split_whitespace().next() == Some(keyword);
        if found {
            self.next();
        }
        found
    }

    fn time_after(&mut self, keyword: &str) -> Result<i64, String> {
        if self.eat(keyword) {
            millis(self.next())
        } else {
            Err(format!("expected `{keyword}` before {:?}", self.0))
        }
    }
}

/// Splits `instant at 5m EXPR`, `instant EXPR` or `range from 0 to 1m step 10s EXPR`.
fn header(rest: &str) -> Result<(When, &str), String> {
    let mut words = Words(rest);
    let when = match words.next() {
        "instant" if words.0.starts_with("at ") => When::Instant(words.time_after("at")?),
        "instant" => When::Instant(0),
        "range" => {
            let (start, end) = (words.time_after("from")?, words.time_after("to")?);
            When::Range { start, end, step: words.time_after("step")? }
        }
        other => return Err(format!("expected `instant` or `range`, found {other:?}")),
    };
    Ok((when, words.0))
}

fn expectation(command: &str, block: &[&str]) -> Result<Expected, String> {
    let mut expected = Expected {
        fails: command.ends_with("_fail"),
        ordered: command.ends_with("_ordered"),
        ..Expected::default()
    };
    for line in block {
        let mut words = Words(line);
        match words.next() {
            "expect" => expect(&mut words, &mut expected)?,
            "expected_fail_message" | "expected_fail_regexp" => {}
            _ if line.starts_with("{{") => expected.histograms = true,
            only if words.0.is_empty() && literals::parse_float(only).is_some() => {
                expected.scalar = literals::parse_float(only);
            }
            _ => match series_line(line)? {
                (labels, Some(values)) => expected.series.push((labels, values)),
                (_, None) => expected.histograms = true,
            },
        }
    }
    Ok(expected)
}

fn expect(words: &mut Words<'_>, expected: &mut Expected) -> Result<(), String> {
    match words.next() {
        "fail" => expected.fails = true,
        "ordered" => expected.ordered = true,
        // Annotations are not kept.
        "warn" | "info" | "no_warn" | "no_info" => {}
        "string" => match promql::parse(words.0) {
            Ok(Expr { kind: ExprKind::Text(text), .. }) => expected.string = Some(text),
            _ => return Err(format!("{:?} is no string", words.0)),
        },
        "range" if words.eat("vector") => {
            let start = words.time_after("from")?;
            words.time_after("to")?;
            expected.range = Some((start, words.time_after("step")?));
        }
        other => return Err(format!("cannot expect {other:?}")),
    }
    Ok(())
}
