//! Indicators that are named in expressions: an expression reads metrics, never other indicators.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::engine::promql::ast::ExprKind;
use crate::engine::promql::{self, Expr};
use crate::engine::rules::diagnostic::{Diagnostic, Findings};
use crate::engine::rules::written::WrittenIndicator;

/// Tells where an expression names another indicator of its file, and refuses indicators that do so in a circle.
///
/// An indicator may well be called as a metric that it reads itself: `queue_length: { expr: queue_length }`. Only where
/// the other indicator reads no metric of its own name does the name say that the indicator is meant.
pub(super) fn check(indicators: &[WrittenIndicator], out: &mut Findings) {
    let mut names: BTreeMap<&str, Vec<(String, Range<usize>)>> = BTreeMap::new();
    for indicator in indicators {
        // What does not parse is told where it is compiled.
        let parsed = indicator.expr.as_ref().and_then(|expr| promql::parse(&expr.value).ok());
        let mut selected = Vec::new();
        if let Some(expr) = &parsed {
            collect(expr, &mut selected);
        }
        names.insert(&indicator.name.value, selected);
    }
    let is_meant = |name: &str| {
        names.get(name).is_some_and(|selected| selected.iter().all(|(metric, _)| metric != name))
    };
    for indicator in indicators {
        let (own, Some(expr)) = (indicator.name.value.as_str(), &indicator.expr) else { continue };
        for (metric, span) in names.get(own).into_iter().flatten() {
            if metric == own || !is_meant(metric) {
                continue;
            }
            let place = expr.place_within(span.clone());
            let hint = "write the other indicator's expression out here; a condition can compare both: `a > 1 and b > 1`";
            let found = if leads_to(metric, own, &names, &is_meant) {
                let message = format!("`{own}` and `{metric}` refer to each other in a circle");
                Diagnostic::error("cyclic-indicators", place, message)
                    .hint("expressions read metrics and no indicators: name the metric that is measured")
            } else {
                let message = format!("`{metric}` is an indicator, and expressions read metrics only");
                Diagnostic::warning("indicator-in-expression", place, message).hint(hint)
            };
            out.push(found);
        }
    }
}

/// Returns whether one can come from the expression of `from` to the name `to`.
fn leads_to(
    from: &str,
    to: &str,
    names: &BTreeMap<&str, Vec<(String, Range<usize>)>>,
    is_meant: &impl Fn(&str) -> bool,
) -> bool {
    let mut seen = vec![from.to_owned()];
    let mut next = 0;
    while let Some(name) = seen.get(next).cloned() {
        next += 1;
        for (metric, _) in names.get(name.as_str()).into_iter().flatten() {
            if metric == to {
                return true;
            }
            if is_meant(metric) && !seen.contains(metric) {
                seen.push(metric.clone());
            }
        }
    }
    false
}

/// Collects the metrics that an expression selects by nothing but their names.
fn collect(expr: &Expr, found: &mut Vec<(String, Range<usize>)>) {
    if let ExprKind::Selector(selector) = &expr.kind
        && let Some(name) = &selector.name
        && selector.matchers.is_empty()
    {
        found.push((name.to_string(), expr.span.start..expr.span.end));
    }
    // The height is bounded where expressions are parsed.
    expr.for_each_child(&mut |child| collect(child, found));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rules::SourceFile;
    use crate::engine::rules::written;
    use crate::engine::rules::yaml;

    fn told(indicators: &[(&str, &str)]) -> Vec<&'static str> {
        let lines =
            indicators.iter().map(|(name, expr)| format!("  {name}: {{ unit: count, expr: '{expr}' }}\n"));
        let text = format!("target: a\nsources: [b]\nindicators:\n{}", lines.collect::<String>());
        let Ok(Some(root)) = yaml::parse(&SourceFile::new("a.yaml", &text)) else { panic!("{text} is YAML") };
        let mut out = Findings::default();
        let read = written::read(&root, &mut out);
        check(&read.indicators, &mut out);
        out.into_problems().into_iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn only_what_can_mean_an_indicator_is_told() {
        const CYCLE: &str = "cyclic-indicators";
        const NAMED: &str = "indicator-in-expression";
        type Case<'c> = (&'c [(&'c str, &'c str)], &'c [&'c str]);
        let cases: [Case<'_>; 8] = [
            (&[("jobs", "jobs")], &[]),
            (&[("jobs", "sum(jobs) / max(jobs)")], &[]),
            (&[("a", "b + 1"), ("b", "rate(c[1m])")], &[NAMED]),
            // `b` reads a metric of its name, which `a` may read, too.
            (&[("a", "rate(b[5m])"), ("b", "sum(b)")], &[]),
            // With matchers it is a metric's name.
            (&[("a", "b{code=\"500\"}"), ("b", "c")], &[]),
            (&[("a", "b"), ("b", "a")], &[CYCLE, CYCLE]),
            (&[("a", "b"), ("b", "c + d"), ("c", "a"), ("d", "e")], &[CYCLE, CYCLE, NAMED, CYCLE]),
            (&[("a", "b +")], &[]),
        ];
        for (indicators, expected) in cases {
            assert_eq!(told(indicators), expected, "{indicators:?}");
        }
    }
}
