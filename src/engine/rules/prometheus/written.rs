//! A file of groups as written: typed, with places, no expression parsed yet.

use std::collections::BTreeMap;

use super::names::{is_label_name, is_metric_name};
use crate::engine::rules::decode::{Fields, Shape, Spanned, duration, list, wrong_type};
use crate::engine::rules::diagnostic::{Diagnostic, Findings, Place};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::time::Span;

const FILE: Shape = Shape { what: "a file of rule groups", keys: &["groups"], later: &[] };
const GROUP: Shape = Shape {
    what: "a group",
    keys: &["name", "interval", "query_offset", "limit", "labels", "rules"],
    later: &[],
};
const RULE: Shape = Shape {
    what: "a rule",
    keys: &["record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"],
    later: &[],
};

/// Names with their texts, as written.
pub(super) type Texts = Vec<(Scalar, Scalar)>;

/// One group. What could not be read has been reported and is absent.
#[derive(Clone, Debug)]
pub(super) struct WrittenGroup {
    pub(super) name: Scalar,
    pub(super) interval: Option<Span>,
    pub(super) query_offset: Span,
    pub(super) limit: usize,
    pub(super) labels: Texts,
    pub(super) rules: Vec<WrittenRule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct WrittenRule {
    pub(super) kind: WrittenKind,
    pub(super) expr: Option<Scalar>,
    pub(super) hold: Span,
    pub(super) keep_firing_for: Span,
    pub(super) labels: Texts,
    pub(super) annotations: Texts,
}

/// What a rule yields.
#[derive(Clone, Debug)]
pub(super) enum WrittenKind {
    Record(Scalar),
    Alert(Scalar),
}

impl WrittenRule {
    /// Returns the rule's name with its place.
    pub(super) fn name(&self) -> &Scalar {
        match &self.kind {
            WrittenKind::Record(name) | WrittenKind::Alert(name) => name,
        }
    }
}

/// Reads a file's tree.
pub(super) fn read(root: &Node, out: &mut Findings) -> Vec<WrittenGroup> {
    let Some(fields) = FILE.read(root, out) else { return Vec::new() };
    let Some(node) = present(&fields, "groups") else {
        let message = "this file declares no group";
        out.push(Diagnostic::warning("empty-file", fields.key_place("groups"), message));
        return Vec::new();
    };
    let mut first_places: BTreeMap<String, Place> = BTreeMap::new();
    let mut groups = Vec::new();
    for node in list(node, "`groups`", out) {
        let Some(group) = group(node, out) else { continue };
        if let Some(first) = first_places.get(&group.name.value) {
            let message = format!("a second group `{}` in this file", group.name.value.escape_debug());
            let hint = format!("the first one is on line {}; names are unique within a file", first.line);
            out.push(Diagnostic::error("duplicate-group", group.name.place(), message).hint(hint));
        } else {
            first_places.insert(group.name.value.clone(), group.name.place());
        }
        groups.push(group);
    }
    groups
}

fn group(node: &Node, out: &mut Findings) -> Option<WrittenGroup> {
    let fields = GROUP.read(node, out)?;
    let name = match present(&fields, "name") {
        None => fields.required("name", out).and_then(|node| {
            out.push(wrong_type(node, "a group's `name`", "a text"));
            None
        }),
        Some(node) => plain(node, "a group's `name`", out).filter(|name| {
            if name.value.is_empty() {
                out.push(Diagnostic::error("bad-name", name.place(), "a group's name must not be empty"));
            }
            !name.value.is_empty()
        }),
    };
    let interval = span(&fields, "interval", out).filter(|interval| !interval.is_zero_or_negative());
    let query_offset = span(&fields, "query_offset", out).unwrap_or_default();
    let limit = present(&fields, "limit").and_then(|node| limit(node, out)).unwrap_or(0);
    let labels = texts(&fields, "labels", out);
    let rules = present(&fields, "rules").map_or(&[][..], |node| list(node, "`rules`", out));
    let rules = rules.iter().filter_map(|node| rule(node, out)).collect();
    Some(WrittenGroup { name: name?.clone(), interval, query_offset, limit, labels, rules })
}

fn rule(node: &Node, out: &mut Findings) -> Option<WrittenRule> {
    let fields = RULE.read(node, out)?;
    let kind = kind(&fields, out);
    let expr = match present(&fields, "expr").map(|node| plain(node, "`expr`", out)) {
        Some(Some(expr)) if !expr.value.trim().is_empty() => Some(expr.clone()),
        // It has been reported.
        Some(None) => None,
        _ => {
            out.push(Diagnostic::error("missing-key", fields.place(), "a rule needs `expr`"));
            None
        }
    };
    let hold = span(&fields, "for", out).unwrap_or_default();
    let keep_firing_for = span(&fields, "keep_firing_for", out).unwrap_or_default();
    let labels = texts(&fields, "labels", out);
    let annotations = texts(&fields, "annotations", out);
    if let Some(WrittenKind::Record(_)) = &kind {
        let written = [
            ("for", hold != Span::ZERO),
            ("keep_firing_for", keep_firing_for != Span::ZERO),
            ("annotations", !annotations.is_empty()),
        ];
        for (key, says_something) in written {
            if says_something {
                let message = format!("`{key}` in a recording rule: only alerts have it");
                let hint = "take it out, or write `alert:` instead of `record:`";
                out.push(Diagnostic::error("not-for-recording", fields.key_place(key), message).hint(hint));
            }
        }
    }
    Some(WrittenRule { kind: kind?, expr, hold, keep_firing_for, labels, annotations })
}

fn kind(fields: &Fields<'_>, out: &mut Findings) -> Option<WrittenKind> {
    let mut name = |key: &str| {
        let read = present(fields, key).map(|node| plain(node, &format!("`{key}`"), out));
        // `None` where it was not written, `Some(None)` where it could not be read.
        read.filter(|name| name.is_none_or(|name| !name.value.is_empty()))
    };
    match (name("record"), name("alert")) {
        (Some(_), Some(_)) => {
            let message = "a rule with both `record` and `alert`";
            let hint = "make two rules of it";
            out.push(Diagnostic::error("two-kinds", fields.key_place("alert"), message).hint(hint));
            None
        }
        (None, None) => {
            let message = "a rule needs `record` or `alert`";
            let hint = "`record: NAME` keeps the result as a series, `alert: NAME` tells people";
            out.push(Diagnostic::error("missing-key", fields.place(), message).hint(hint));
            None
        }
        (Some(record), None) => {
            let record = record?;
            if !is_metric_name(&record.value) {
                let message = format!("`{}` cannot be the name of a metric", record.value.escape_debug());
                let hint = "it holds braces: selectors belong into `expr`, labels into `labels`";
                out.push(Diagnostic::error("bad-name", record.place(), message).hint(hint));
            }
            Some(WrittenKind::Record(record.clone()))
        }
        (None, Some(alert)) => alert.cloned().map(WrittenKind::Alert),
    }
}

/// Returns a key's value where something stands there; nothing at all is as good as no key.
fn present<'n>(fields: &Fields<'n>, key: &str) -> Option<&'n Node> {
    fields.get(key).filter(|node| !matches!(node, Node::Scalar(scalar) if scalar.is_null()))
}

/// Reads a text, an empty one too. Numbers and booleans without quotes are texts as well.
fn plain<'n>(node: &'n Node, what: &str, out: &mut Findings) -> Option<&'n Scalar> {
    if let Node::Scalar(scalar) = node {
        return Some(scalar);
    }
    out.push(wrong_type(node, what, "a text"));
    None
}

fn span(fields: &Fields<'_>, key: &str, out: &mut Findings) -> Option<Span> {
    let span: Spanned<Span> = duration(present(fields, key)?, &format!("`{key}`"), out)?;
    Some(span.value)
}

fn limit(node: &Node, out: &mut Findings) -> Option<usize> {
    let limit = plain(node, "`limit`", out)?;
    let parsed = if limit.plain { whole_number(&limit.value) } else { None };
    if parsed.is_none() {
        let message = format!("`limit` must be a whole number, found {}", node.describe());
        let hint = "how many series one rule may yield; 0 is no limit";
        out.push(Diagnostic::error("wrong-type", node.place(), message).hint(hint));
    }
    parsed
}

/// Reads a number as YAML writes whole ones: `1000`, `1_000`, `0x3e8`, `0o1750`, `1e3`. Below zero is no limit, as zero.
fn whole_number(text: &str) -> Option<usize> {
    let digits = text.replace('_', "");
    let radix = |prefix: &str, radix| i64::from_str_radix(digits.strip_prefix(prefix)?, radix).ok();
    let parsed =
        digits.parse().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
    let whole = parsed.or_else(|| {
        let float: f64 = digits.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "whole, and far within bounds")]
        (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64)
    });
    usize::try_from(whole?.max(0)).ok()
}

/// Reads `labels` or `annotations`: names with texts, which may be empty.
fn texts(fields: &Fields<'_>, key: &str, out: &mut Findings) -> Texts {
    let Some(node) = present(fields, key) else { return Vec::new() };
    let Node::Mapping(entries, _) = node else {
        out.push(wrong_type(node, &format!("`{key}`"), "a mapping from names"));
        return Vec::new();
    };
    let mut first_places: BTreeMap<&str, Place> = BTreeMap::new();
    let mut texts = Vec::new();
    for (name, node) in entries {
        if let Some(first) = first_places.get(name.value.as_str()) {
            let message = format!("the name `{}` is used twice", name.value.escape_debug());
            let hint = format!("it was first used on line {}", first.line);
            out.push(Diagnostic::error("duplicate-key", name.place(), message).hint(hint));
            continue;
        }
        first_places.insert(&name.value, name.place());
        if !is_label_name(&name.value) {
            let message = format!("`{}` cannot be a name in `{key}`", name.value.escape_debug());
            let hint = "any name but an empty one and `__name__`, which is the metric's own";
            out.push(Diagnostic::error("bad-name", name.place(), message).hint(hint));
        }
        let Some(text) = plain(node, &format!("a text in `{key}`"), out) else { continue };
        let mut text = text.clone();
        if text.is_null() {
            text.value.clear();
        }
        texts.push((name.clone(), text));
    }
    texts
}
