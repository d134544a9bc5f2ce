//! Matchers that contradict each other, match everything, or say a plain thing in a roundabout way.

use super::{Lint, compiled, each_selector, metric_name};
use crate::engine::model::METRIC_NAME;
use crate::engine::promql::ast::{LabelMatcher, VectorSelector};
use crate::engine::promql::{Expr, TextSpan};
use crate::engine::series::{MatchOp, Matcher};

/// What makes a text more than a text when it is read as a regular expression.
const META: [char; 14] = ['.', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '^', '$', '\\'];

pub(super) fn lint(expr: &Expr, out: &mut Vec<Lint>) {
    each_selector(expr, &mut |node, selector| {
        contradiction(node.span, selector, out);
        everything(node.span, selector, out);
        selector.matchers.iter().for_each(|matcher| roundabout(matcher, out));
    });
}

/// `{a="x", a="y"}`: each `=` is tried on every other matcher of its label.
fn contradiction(span: TextSpan, selector: &VectorSelector, out: &mut Vec<Lint>) {
    let matchers = compiled(selector);
    for equal in matchers.iter().filter(|matcher| matcher.op() == MatchOp::Equal) {
        let against =
            matchers.iter().find(|other| other.name() == equal.name() && !other.matches(equal.value()));
        if let Some(other) = against {
            let message = format!("this selects nothing: `{equal}` and `{other}` cannot both be true");
            let lint = Lint::warning("selects-nothing", span, message);
            out.push(
                lint.hint(format!("several values of `{}` are written `=~\"one|other\"`", equal.name())),
            );
            return;
        }
    }
}

/// `{job=~".+"}`: no name and no matcher that excludes anything worth to be excluded.
fn everything(span: TextSpan, selector: &VectorSelector, out: &mut Vec<Lint>) {
    /// No label has such a value: a matcher that takes it takes everything.
    const UNLIKELY: &str = "\u{1}a value that nobody uses\u{1}";
    let selective = |matcher: &Matcher| !matcher.matches(UNLIKELY);
    if metric_name(selector).is_some() || compiled(selector).iter().any(selective) {
        return;
    }
    let message = "this selects every series that there is: all of them are kept and read";
    out.push(Lint::note("empty-matcher", span, message).hint("name the metric, or a label that narrows it"));
}

/// `{status=~"500"}` and `{status=~".*"}`.
fn roundabout(matcher: &LabelMatcher, out: &mut Vec<Lint>) {
    let plain = match matcher.op {
        MatchOp::Matches => MatchOp::Equal,
        MatchOp::NotMatches => MatchOp::NotEqual,
        _ => return,
    };
    if !matcher.value.contains(META) && !matcher.value.is_empty() && matcher.name != METRIC_NAME {
        let message = format!("`{matcher}` is no pattern: it matches one text only");
        let hint = format!("write `{}{plain}\"{}\"`", matcher.name, matcher.value);
        out.push(Lint::note("regex-could-be-equal", matcher.span, message).hint(hint));
    }
}
