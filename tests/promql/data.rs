//! Series in the notation of Prometheus' `promqltest` scripts, and a store that holds them.

use std::collections::BTreeMap;

use rearguard::engine::model::{Labels, METRIC_NAME, Sample, SourceName, stale_marker};
use rearguard::engine::promql::ast::{Expr, ExprKind};
use rearguard::engine::promql::{self, literals};
use rearguard::engine::series::{Limits, MatchOp, Store};
use rearguard::engine::time::{Span, Timestamp};

/// One value per time; `None` where there is no sample.
pub type Values = Vec<Option<f64>>;
pub type Matrix = BTreeMap<Labels, BTreeMap<i64, f64>>;

/// What the loads since the last `clear` have left.
pub struct Loaded {
    pub data: Matrix,
    pub store: Store,
    /// Series that hold native histograms; they are not in the store.
    pub histograms: Vec<Labels>,
    /// Why a load could not be read.
    pub unread: Option<String>,
}

impl Loaded {
    pub fn nothing() -> Self {
        let data = Matrix::new();
        Self { store: store(&data), data, histograms: Vec::new(), unread: None }
    }

    pub fn load(&mut self, with_buckets: bool, step: &str, block: &[&str]) {
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

/// A time or a step: a duration or a number of seconds, with a sign.
pub fn millis(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let (sign, magnitude) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    if let Ok(span) = magnitude.parse::<Span>() {
        return Ok(sign * span.as_millis());
    }
    let seconds = literals::parse_number(text).filter(|seconds| seconds.abs() < 1e12);
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    seconds.map(|seconds| (seconds * 1000.0).round() as i64).ok_or_else(|| format!("{text:?} is no time"))
}

/// A store with everything in it.
pub fn store(data: &Matrix) -> Store {
    let limits = Limits { series_per_source: usize::MAX, ..Limits::default() };
    let mut store = Store::new(limits, Span::from_millis(i64::MAX));
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
pub fn series_line(line: &str) -> Result<(Labels, Option<Values>), String> {
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
        |text: &str| literals::parse_number(text).ok_or_else(|| format!("{text:?} in {item:?} is no number"));
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
