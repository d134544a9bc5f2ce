//! `limits` and the `keep` of sources: what may be remembered of samples, and what must be although no rule selects it.

use crate::engine::model::{METRIC_NAME, SourceName};
use crate::engine::promql::ast::{ExprKind, Shift, VectorSelector};
use crate::engine::promql::{self, LOOKBACK, Problem, Scope};
use crate::engine::rules::decode::{Fields, Shape, positive_duration, text, texts};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings};
use crate::engine::series::{Limits, MatchOp, Matcher, Selector, Sources};
use crate::engine::time::Span;

const LIMITS: Shape = Shape {
    what: "`limits`",
    keys: &["reach", "series_per_source", "labels_per_series", "label_bytes"],
    later: &[],
};

/// Reads `limits`; what is not written or is wrong keeps its default.
pub(super) fn limits(node: &Node, out: &mut Findings) -> Limits {
    let mut limits = Limits::default();
    let Some(fields) = LIMITS.read(node, out) else { return limits };
    if let Some(reach) = fields.get("reach").and_then(|node| positive_duration(node, "`reach`", out)) {
        if reach.value < LOOKBACK {
            let message = format!("`reach: {}` would refuse every rule", reach.value);
            let hint = format!("a plain metric name looks back {LOOKBACK}: at least `reach: {LOOKBACK}`");
            out.push(Diagnostic::error("bad-limit", reach.place, message).hint(hint));
        } else {
            limits.reach = reach.value;
        }
    }
    for (key, limit) in [
        ("series_per_source", &mut limits.series_per_source),
        ("labels_per_series", &mut limits.labels_per_series),
        ("label_bytes", &mut limits.label_bytes),
    ] {
        if let Some(count) = count(&fields, key, out) {
            *limit = count;
        }
    }
    limits
}

/// Longer than this nothing is remembered.
const HISTORY_MAX: Span = Span::from_secs(366 * 24 * 3600);

/// Reads `history`.
pub(super) fn history(node: &Node, out: &mut Findings) -> Span {
    let Some(history) = positive_duration(node, "`history`", out) else { return Span::ZERO };
    if history.value > HISTORY_MAX {
        let message = format!("a history of {} is longer than a year", history.value);
        let hint = "at most `history: 1y`; what must be kept for longer belongs into a database of metrics";
        out.push(Diagnostic::error("bad-history", history.place, message).hint(hint));
        return Span::ZERO;
    }
    history.value
}

fn count(fields: &Fields<'_>, key: &str, out: &mut Findings) -> Option<usize> {
    let written = text(fields.get(key)?, &format!("`{key}`"), out)?;
    let count = written.value.parse().ok().filter(|count| *count > 0);
    if count.is_none() {
        let message =
            format!("`{key}` must be a whole number above zero, found `{}`", written.value.escape_debug());
        out.push(Diagnostic::error("bad-limit", written.place(), message));
    }
    count
}

/// Reads a source's `keep`: PromQL selectors, or metric names with `*` for any text.
pub(super) fn keep(node: &Node, source: &SourceName, out: &mut Findings) -> Vec<Selector> {
    texts(node, "`keep`", out).into_iter().flat_map(|written| kept(written, source, out)).collect()
}

fn kept(written: &Scalar, source: &SourceName, out: &mut Findings) -> Vec<Selector> {
    let sources = Sources::Only([source.clone()].into());
    let is_pattern = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '*');
    if written.value.contains('*') && written.value.chars().all(is_pattern) {
        // Every other character of a name is itself in a regular expression.
        let matcher = Matcher::new(METRIC_NAME, MatchOp::Matches, &written.value.replace('*', ".*"));
        return matcher.map(|matcher| Selector::new(vec![matcher], sources)).into_iter().collect();
    }
    match selector(&written.value, source) {
        Ok(selectors) => selectors,
        Err(problems) => {
            out.extend(problems.into_iter().map(|problem| {
                let place = written.place_within(problem.span.start..problem.span.end);
                Diagnostic::error("bad-selector", place, problem.message).maybe_hint(problem.hint)
            }));
            Vec::new()
        }
    }
}

fn selector(text: &str, source: &SourceName) -> Result<Vec<Selector>, Vec<Problem>> {
    let expr = promql::parse(text)?;
    let plan = promql::compile(&expr, &Scope::of([source.clone()]))?;
    let is_plain = |selector: &VectorSelector| selector.range.is_none() && selector.shift == Shift::default();
    match &expr.kind {
        ExprKind::Selector(written) if is_plain(written) => Ok(plan.selectors().cloned().collect()),
        _ => {
            let problem = Problem::new(expr.span, "series can be kept, but not what is computed from them");
            Err(vec![problem.with_hint("a metric alone, such as `http_requests_total` or `http_*`")])
        }
    }
}
