//! `routes`: what follows from imported alerts, and `external_labels`: what they carry to the outside.

use crate::engine::model::Labels;
use crate::engine::promql;
use crate::engine::promql::ast::ExprKind;
use crate::engine::rules::decode::{Shape, list, text, texts, wrong_type};
use crate::engine::rules::prometheus::is_label_name;
use crate::engine::rules::written::{WrittenRoute, WrittenThen, read_then};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings};
use crate::engine::series::{MatchOp, Matcher};

const ROUTE: Shape =
    Shape { what: "a route", keys: &["match", "matchers", "target", "then"], later: &["severity", "during"] };

/// Reads `routes`.
pub(super) fn read(node: &Node, out: &mut Findings) -> Vec<WrittenRoute> {
    list(node, "`routes`", out).iter().filter_map(|node| route(node, out)).collect()
}

fn route(node: &Node, out: &mut Findings) -> Option<WrittenRoute> {
    let fields = ROUTE.read(node, out)?;
    let equal = fields.get("match").map_or(Some(Vec::new()), |node| equalities(node, out));
    let others = fields.get("matchers").map_or(Some(Vec::new()), |node| matchers(node, out));
    let target = fields.required("target", out).and_then(|node| text(node, "`target`", out)).cloned();
    let then = fields.get("then").map_or_else(WrittenThen::default, |node| read_then(node, out));
    let matchers = equal.zip(others).map(|(mut all, others)| {
        all.extend(others);
        all
    });
    Some(WrittenRoute { place: fields.place(), matchers, target, then })
}

/// Reads `match`: labels with the values that they must have.
fn equalities(node: &Node, out: &mut Findings) -> Option<Vec<Matcher>> {
    let mut matchers = Vec::new();
    for (name, value) in labels(node, "`match`", out)? {
        if value.value.starts_with(['~', '=', '!']) {
            let message = format!("`{}` is compared as it stands, sign included", value.value.escape_debug());
            let hint = format!(
                "patterns and inequalities stand in `matchers`, such as `matchers: ['{}=~\"a|b\"']`",
                name.value
            );
            out.push(Diagnostic::warning("odd-value", value.place(), message).hint(hint));
        }
        // Only patterns can be refused, and this is none.
        matchers.extend(Matcher::new(&name.value, MatchOp::Equal, &value.value).ok());
    }
    Some(matchers)
}

/// Reads `matchers`: PromQL's own, such as `severity=~"critical|page"`.
fn matchers(node: &Node, out: &mut Findings) -> Option<Vec<Matcher>> {
    if matches!(node, Node::Scalar(_)) {
        out.push(
            wrong_type(node, "`matchers`", "a list").hint("a list of one is written `['severity=\"page\"']`"),
        );
        return None;
    }
    let mut all = Vec::new();
    let mut good = true;
    for written in texts(node, "`matchers`", out) {
        match parse(written) {
            Ok(matchers) => all.extend(matchers),
            Err(problem) => {
                good = false;
                out.push(*problem);
            }
        }
    }
    good.then_some(all)
}

/// Parses the matchers of one text by putting them into a selector.
fn parse(written: &Scalar) -> Result<Vec<Matcher>, Box<Diagnostic>> {
    const OPEN: &str = "m{";
    const EXAMPLE: &str = "as in PromQL, with quotes around the value: `severity=~\"critical|page\"`";
    let refused = |start: usize, end: usize, message: String| {
        let within = |at: usize| at.saturating_sub(OPEN.len()).min(written.value.len());
        let place = written.place_within(within(start)..within(end));
        Box::new(Diagnostic::error("bad-matcher", place, message).hint(EXAMPLE))
    };
    let whole = || refused(0, usize::MAX, format!("`{}` is not a matcher", written.value.escape_debug()));
    let selector = promql::parse(&format!("{OPEN}{}}}", written.value)).map_err(|problems| {
        problems.first().map_or_else(whole, |problem| {
            refused(problem.span.start, problem.span.end, problem.message.clone())
        })
    })?;
    // Anything else is a text that closed the selector itself.
    let ExprKind::Selector(selector) = selector.kind else { return Err(whole()) };
    if selector.matchers.is_empty()
        || selector.range.is_some()
        || selector.shift != promql::ast::Shift::default()
    {
        return Err(whole());
    }
    let matchers = selector.matchers.iter().map(|m| {
        Matcher::new(&m.name, m.op, &m.value)
            .map_err(|error| refused(m.span.start, m.span.end, error.to_string()))
    });
    matchers.collect()
}

/// Reads `external_labels`.
pub(super) fn external_labels(node: &Node, out: &mut Findings) -> Labels {
    let pairs = labels(node, "`external_labels`", out).unwrap_or_default();
    Labels::from_pairs(pairs.into_iter().map(|(name, value)| (&*name.value, &*value.value)))
}

/// Reads labels with their values. Their names are Prometheus', which may be any text.
fn labels<'n>(node: &'n Node, what: &str, out: &mut Findings) -> Option<Vec<(&'n Scalar, &'n Scalar)>> {
    let Node::Mapping(entries, _) = node else {
        out.push(wrong_type(node, what, "a mapping from labels"));
        return None;
    };
    let mut pairs: Vec<(&Scalar, &Scalar)> = Vec::new();
    for (name, node) in entries {
        let value = text(node, "a label's value", out);
        if !is_label_name(&name.value) {
            let message = format!("`{}` cannot be a label's name", name.value.escape_debug());
            out.push(Diagnostic::error("bad-label", name.place(), message));
        } else if let Some((first, _)) = pairs.iter().find(|(first, _)| first.value == name.value) {
            let message = format!("the name `{}` is used twice", name.value.escape_debug());
            let hint = format!("it was first used on line {}", first.place().line);
            out.push(Diagnostic::error("duplicate-key", name.place(), message).hint(hint));
        } else {
            pairs.extend(value.map(|value| (name, value)));
        }
    }
    Some(pairs)
}
