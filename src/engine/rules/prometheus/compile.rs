//! Groups as written -> [`Group`]s: expressions compiled, templates parsed, labels merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::absence;
use super::written::{Texts, WrittenGroup, WrittenKind, WrittenRule};
use super::{GroupDefaults, History};
use crate::engine::promql::{self, Plan as QueryPlan, Problem, Scope, ValueType};
use crate::engine::rules::compile::hex;
use crate::engine::rules::diagnostic::{Diagnostic, Findings, SourceFile};
use crate::engine::rules::groups::{Group, GroupRule, GroupRuleKind};
use crate::engine::rules::template::Template;
use crate::engine::rules::yaml::Scalar;

type Templates = BTreeMap<Arc<str>, Template>;

/// Compiles what was read; rules with a problem are left out.
pub(super) fn groups(
    written: &[WrittenGroup],
    file: &SourceFile,
    defaults: &GroupDefaults,
    out: &mut Findings,
) -> Vec<Group> {
    let mut fingerprints = BTreeSet::new();
    written.iter().map(|written| group(written, file, defaults, &mut fingerprints, out)).collect()
}

fn group(
    written: &WrittenGroup,
    file: &SourceFile,
    defaults: &GroupDefaults,
    fingerprints: &mut BTreeSet<String>,
    out: &mut Findings,
) -> Group {
    // Recording rules take a label's text as it is, alerts fill it in: both readings of the group's labels are needed.
    let has_alerts = written.rules.iter().any(|rule| matches!(rule.kind, WrittenKind::Alert(_)));
    let literal = literals(&written.labels);
    let filled = if has_alerts { templates(&written.labels, out) } else { Templates::new() };
    warn_of_duplicates(written, out);
    let mut rules = Vec::new();
    for rule in &written.rules {
        let inherited = if matches!(rule.kind, WrittenKind::Alert(_)) { &filled } else { &literal };
        let Some(mut compiled) = compile_rule(rule, inherited, defaults, out) else { continue };
        compiled.fingerprint = fingerprint(file, written, &compiled, fingerprints);
        rules.push(compiled);
    }
    Group {
        file: file.name().into(),
        name: written.name.value.as_str().into(),
        interval: written.interval.unwrap_or(defaults.interval),
        limit: written.limit,
        query_offset: written.query_offset,
        rules,
    }
}

fn compile_rule(
    written: &WrittenRule,
    inherited: &Templates,
    defaults: &GroupDefaults,
    out: &mut Findings,
) -> Option<GroupRule> {
    let query = written.expr.as_ref().and_then(|expr| expression(expr, defaults, out));
    let is_alert = matches!(written.kind, WrittenKind::Alert(_));
    let own = if is_alert { templates(&written.labels, out) } else { literals(&written.labels) };
    let annotations = templates(&written.annotations, out);
    let (expr, query) = (written.expr.as_ref()?, query?);
    let labels: Templates = inherited.clone().into_iter().chain(own).collect();
    let name: Arc<str> = written.name().value.as_str().into();
    let kind = match &written.kind {
        WrittenKind::Record(_) => GroupRuleKind::Record { name },
        WrittenKind::Alert(_) => GroupRuleKind::Alert {
            name,
            hold: written.hold,
            keep_firing_for: written.keep_firing_for,
            annotations: annotations.into_iter().collect(),
            rests_on_absence: absence::rests_on_absence(&expr.value, &query),
        },
    };
    Some(GroupRule {
        place: written.name().place(),
        text: expr.value.trim().to_owned(),
        query,
        labels: labels.into_iter().collect(),
        kind,
        fingerprint: String::new(),
    })
}

/// Compiles an expression against the whole store; reports every problem at its place in the file.
fn expression(written: &Scalar, defaults: &GroupDefaults, out: &mut Findings) -> Option<QueryPlan> {
    match plan_of(&written.value, defaults) {
        Ok(plan) => Some(plan),
        Err(problems) => {
            out.extend(problems.into_iter().map(|problem| located("bad-expression", written, problem)));
            None
        }
    }
}

fn plan_of(text: &str, defaults: &GroupDefaults) -> Result<QueryPlan, Vec<Problem>> {
    let expr = promql::parse(text)?;
    let given = promql::type_of(&expr);
    if !matches!(given, ValueType::Vector | ValueType::Scalar) {
        let message = format!("a rule needs an instant vector or a scalar; this gives a {given}");
        let hint = match given {
            ValueType::Matrix => "take it with a function, such as `rate(...)` or `last_over_time(...)`",
            _ => "compare something: `metric > 5`",
        };
        return Err(vec![Problem::new(expr.span, message).with_hint(hint)]);
    }
    let plan = promql::compile(&expr, &Scope { default_step: defaults.interval, ..Scope::EVERYTHING })?;
    if defaults.history == History::Whole || plan.pinned().is_empty() {
        return Ok(plan);
    }
    let fixed = |span| {
        Problem::new(span, "this looks at a fixed time, and samples are kept only as far back as rules reach")
            .with_hint("look back from now instead, such as `offset 1h`; `@ start()` and `@ end()` are now")
    };
    Err(plan.pinned().iter().copied().map(fixed).collect())
}

fn located(code: &'static str, written: &Scalar, problem: Problem) -> Diagnostic {
    let place = written.place_within(problem.span.start..problem.span.end);
    Diagnostic::error(code, place, problem.message).maybe_hint(problem.hint)
}

fn templates(written: &Texts, out: &mut Findings) -> Templates {
    let mut templates = Templates::new();
    for (name, text) in written {
        match Template::parse(&text.value) {
            Ok(template) => drop(templates.insert(name.value.as_str().into(), template)),
            Err(problem) => out.push(located("bad-template", text, problem)),
        }
    }
    templates
}

fn literals(written: &Texts) -> Templates {
    written.iter().map(|(name, text)| (name.value.as_str().into(), Template::literal(&text.value))).collect()
}

/// Doubts rules of one name and the same labels: Prometheus loads them, and their series or alerts collide.
fn warn_of_duplicates(group: &WrittenGroup, out: &mut Findings) {
    let mut seen: BTreeMap<(bool, &str, BTreeMap<&str, &str>), &Scalar> = BTreeMap::new();
    for rule in &group.rules {
        let name = rule.name();
        let labels = rule.labels.iter().map(|(name, text)| (name.value.as_str(), text.value.as_str()));
        let key = (matches!(rule.kind, WrittenKind::Alert(_)), name.value.as_str(), labels.collect());
        if let Some(first) = seen.get(&key) {
            let message =
                format!("a second rule `{}` with the same labels in this group", name.value.escape_debug());
            let hint =
                format!("the first one is on line {}; a label would tell them apart", first.place().line);
            out.push(Diagnostic::warning("duplicate-rule", name.place(), message).hint(hint));
        } else {
            seen.insert(key, name);
        }
    }
}

/// Hashes what decides an alert's state. Unique within the file: of two equal rules the second one counts as another.
///
/// The file takes part by its last name only, so that the same set in another place is the same set.
fn fingerprint(
    file: &SourceFile,
    group: &WrittenGroup,
    rule: &GroupRule,
    taken: &mut BTreeSet<String>,
) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        // The length keeps two neighbours from trading characters.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(file.name().rsplit('/').next().unwrap_or_default());
    add(&group.name.value);
    add(match rule.kind {
        GroupRuleKind::Record { .. } => "record",
        GroupRuleKind::Alert { .. } => "alert",
    });
    add(rule.name());
    add(&rule.text);
    for (name, template) in &rule.labels {
        add(name);
        add(template.text());
    }
    let mut fingerprint = hex(&hash.clone().finalize());
    while !taken.insert(fingerprint.clone()) {
        hash.update(b"again");
        fingerprint = hex(&hash.clone().finalize());
    }
    fingerprint
}
