//! Whole files: every expression in its place, what belongs to a rule rather than to its expression, and the comments
//! that silence a lint.

use std::collections::{BTreeMap, BTreeSet};

use super::allow;
use super::{
    Compared, Facts, Lint, LintContext, Role, as_call, catalog, each_selector, metric_name, outcome, walk,
};
use crate::engine::model::SourceName;
use crate::engine::promql::ast::ExprKind;
use crate::engine::promql::{self, Expr};
use crate::engine::rules::condition::Comparing;
use crate::engine::rules::diagnostic::{Diagnostic, Findings, Level, Place, SourceFile};
use crate::engine::rules::prometheus::DEFAULT_INTERVAL;
use crate::engine::rules::written::{self, RuleFile};
use crate::engine::rules::yaml::{self, Node, Scalar};
use crate::engine::rules::{Threshold, Unit, condition};
use crate::engine::time::Span;

/// What is known beside the files.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Every source with the time between two answers; empty where only rule files are looked at.
    pub paces: BTreeMap<SourceName, Span>,
    /// What the sources expose, where pages were given.
    pub facts: Option<Facts>,
}

/// One finding, with the further lines at which a comment may allow it: where its rule and its expression begin.
struct Found {
    diagnostic: Diagnostic,
    lines: Vec<usize>,
}

/// One rule of an imported group, as far as lints need it.
struct Imported<'n> {
    alert: Option<&'n Scalar>,
    record: Option<&'n Scalar>,
    text: &'n Scalar,
    /// `None` where the expression is an error.
    expr: Option<Expr>,
    hold: Option<&'n Scalar>,
    has_severity: bool,
    interval: Option<Span>,
    line: usize,
}

/// One file of either kind, parsed.
enum Parsed {
    Native(RuleFile),
    Groups(Node),
    /// The daemon's own file.
    Root(Node),
    /// Not a rule file, or not readable: its problems are told elsewhere.
    Other,
}

/// Lints rule files, native and Prometheus', and drops what their comments allow. `told` are warnings that others have
/// found in these files; the comments hold for them too. The result is in the order of files and lines.
pub fn lint(files: &[SourceFile], surroundings: &Surroundings, told: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let parsed: Vec<Parsed> = files.iter().map(parse).collect();
    let imported: Vec<Vec<Imported<'_>>> = parsed.iter().map(imported_rules).collect();
    let recorded = imported.iter().flatten().filter_map(|rule| rule.record).map(|name| name.value.clone());
    let facts = surroundings.facts.clone().map(|facts| facts.with_recorded(recorded));
    let absence_is_watched = imported.iter().flatten().any(watches_absence);
    let interval = group_interval(&parsed);
    let mut found: Vec<Found> = Vec::new();
    for (parsed, imported) in parsed.iter().zip(&imported) {
        let context = LintContext {
            role: Role::Record,
            paces: &surroundings.paces,
            facts: facts.as_ref(),
            absence_is_watched,
        };
        if let Parsed::Native(file) = parsed {
            native(file, &context, &mut found);
        }
        for rule in imported {
            imported_rule(rule, interval, &context, &mut found);
        }
    }
    verifications(&parsed, &surroundings.paces, facts.as_ref(), &mut found);
    found.extend(told.into_iter().map(|diagnostic| Found { diagnostic, lines: Vec::new() }));
    allowed(files, found)
}

/// Returns the time between two evaluations of groups that say nothing: root's, else Prometheus' own default.
fn group_interval(parsed: &[Parsed]) -> Span {
    let written = parsed.iter().find_map(|parsed| match parsed {
        Parsed::Root(root) => scalar(root, "interval")?.value.parse().ok(),
        _ => None,
    });
    written.unwrap_or(DEFAULT_INTERVAL)
}

/// Drops what the comments allow; errors are never allowed.
fn allowed(files: &[SourceFile], found: Vec<Found>) -> Vec<Diagnostic> {
    let mut out = Findings::default();
    let mut unknown = Vec::new();
    let comments: BTreeMap<&str, allow::Allowed> =
        files.iter().map(|file| (file.name(), allow::read(file, catalog::names(), &mut unknown))).collect();
    out.extend(unknown);
    for Found { diagnostic, mut lines } in found {
        lines.push(diagnostic.place.line);
        let is_allowed = diagnostic.level != Level::Error
            && comments.get(&*diagnostic.place.file).is_some_and(|c| c.covers(diagnostic.code, &lines));
        if !is_allowed {
            out.push(diagnostic);
        }
    }
    out.into_problems()
}

fn parse(file: &SourceFile) -> Parsed {
    let Ok(Some(root)) = yaml::parse(file) else { return Parsed::Other };
    let Node::Mapping(entries, _) = &root else { return Parsed::Other };
    let has = |key: &str| entries.iter().any(|(name, _)| name.value == key);
    if has("groups") {
        Parsed::Groups(root)
    } else if ["indicators", "triggers", "objectives", "budgets"].into_iter().any(has) && !has("targets") {
        // What is wrong with the file is told where it is compiled.
        Parsed::Native(written::read(&root, &mut Findings::default()))
    } else if has("targets") {
        Parsed::Root(root)
    } else {
        Parsed::Other
    }
}

fn place(text: &Scalar, lint: &Lint) -> Place {
    text.place_within(lint.span.start..lint.span.end)
}

fn told(lint: Lint, place: Place, lines: &[usize]) -> Found {
    let diagnostic = Diagnostic {
        code: lint.name,
        level: lint.level,
        place,
        message: lint.message,
        label: String::new(),
        hint: lint.hint,
    };
    Found { diagnostic, lines: lines.to_vec() }
}

fn native(file: &RuleFile, context: &LintContext<'_>, found: &mut Vec<Found>) {
    let named: BTreeSet<&str> = file.sources.iter().map(|source| source.value.as_str()).collect();
    let own = context.paces.iter().filter(|(source, _)| named.contains(source.as_str()));
    let paces: BTreeMap<SourceName, Span> = own.map(|(source, every)| (source.clone(), *every)).collect();
    let mut indicators: BTreeMap<&str, (Expr, Option<Unit>)> = BTreeMap::new();
    for indicator in &file.indicators {
        let Some(text) = &indicator.expr else { continue };
        let Ok(expr) = promql::parse(&text.value) else { continue };
        let context = LintContext { role: Role::Indicator(indicator.unit), paces: &paces, ..*context };
        let lines = [indicator.name.place().line, text.place().line];
        for lint in super::expression(&expr, &context) {
            let place = place(text, &lint);
            found.push(told(lint, place, &lines));
        }
        indicators.insert(&indicator.name.value, (expr, indicator.unit));
    }
    for trigger in &file.triggers {
        let terms = std::iter::once(&trigger.terms).chain(trigger.levels.iter().map(|level| &level.terms));
        for when in terms.filter_map(|terms| terms.when.as_ref()) {
            let Ok(parsed) = condition::parse(&when.value) else { continue };
            let lines = [trigger.name.place().line];
            for comparing in parsed.comparings() {
                let Some((expr, Some(unit))) = indicators.get(comparing.indicator.as_str()) else { continue };
                let Some(compared) = compared(comparing, *unit) else { continue };
                let context = LintContext { role: Role::Indicator(Some(*unit)), paces: &paces, ..*context };
                for lint in super::condition(expr, compared, &context) {
                    found.push(told(lint, when.place_within(comparing.span.clone()), &lines));
                }
            }
        }
    }
}

/// Returns a comparison with a number; what is relative to a baseline cannot be judged from the text.
fn compared(comparing: &Comparing, unit: Unit) -> Option<Compared> {
    match comparing.threshold_in(unit).ok()?.threshold {
        Threshold::Fixed(threshold) => Some(Compared { unit, comparison: comparing.comparison, threshold }),
        Threshold::OfBaseline { .. } => None,
    }
}

/// Lints what verifications promise: a condition that is met or not met whatever happens proves nothing.
fn verifications(
    parsed: &[Parsed],
    paces: &BTreeMap<SourceName, Span>,
    facts: Option<&Facts>,
    found: &mut Vec<Found>,
) {
    let indicators = || {
        parsed.iter().filter_map(|parsed| match parsed {
            Parsed::Native(file) => Some(&file.indicators),
            _ => None,
        })
    };
    let plans = parsed.iter().filter_map(|parsed| match parsed {
        Parsed::Root(root) => field(root, "rollbacks"),
        _ => None,
    });
    for plan in plans.flat_map(|node| if let Node::Mapping(plans, _) = node { &plans[..] } else { &[] }) {
        let Some(verify) = field(&plan.1, "verify") else { continue };
        for condition in items(verify, "conditions") {
            let Node::Scalar(text) = condition else { continue };
            let Ok(parsed) = condition::parse(&text.value) else { continue };
            for comparing in parsed.comparings() {
                let named = indicators().flatten().find(|one| one.name.value == comparing.indicator);
                let Some((indicator, unit)) = named.and_then(|one| Some((one.expr.as_ref()?, one.unit?)))
                else {
                    continue;
                };
                let (Ok(expr), Some(compared)) = (promql::parse(&indicator.value), compared(comparing, unit))
                else {
                    continue;
                };
                let role = Role::Indicator(Some(unit));
                let context = LintContext { role, paces, facts, absence_is_watched: true };
                let lint = outcome::verification(&expr, compared, &context);
                let place = text.place_within(comparing.span.clone());
                found.extend(lint.map(|lint| told(lint, place.clone(), &[plan.0.place().line])));
            }
        }
    }
}

/// Returns the value of a key of a mapping.
fn field<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Node::Mapping(entries, _) = node else { return None };
    entries.iter().find(|(name, _)| name.value == key).map(|(_, value)| value)
}

fn scalar<'n>(node: &'n Node, key: &str) -> Option<&'n Scalar> {
    match field(node, key)? {
        Node::Scalar(scalar) if !scalar.is_null() => Some(scalar),
        _ => None,
    }
}

fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    match field(node, key) {
        Some(Node::Sequence(items, _)) => items,
        _ => &[],
    }
}

fn imported_rules(parsed: &Parsed) -> Vec<Imported<'_>> {
    let Parsed::Groups(root) = parsed else { return Vec::new() };
    let has_severity =
        |node: &Node| field(node, "labels").is_some_and(|labels| field(labels, "severity").is_some());
    let mut rules = Vec::new();
    for group in items(root, "groups") {
        let interval = scalar(group, "interval").and_then(|text| text.value.parse().ok());
        for rule in items(group, "rules") {
            let Some(text) = scalar(rule, "expr") else { continue };
            rules.push(Imported {
                alert: scalar(rule, "alert"),
                record: scalar(rule, "record"),
                text,
                expr: promql::parse(&text.value).ok(),
                hold: scalar(rule, "for"),
                has_severity: has_severity(rule) || has_severity(group),
                interval,
                line: rule.place().line,
            });
        }
    }
    rules
}

/// Returns whether an alert says that something is missing.
fn watches_absence(rule: &Imported<'_>) -> bool {
    let Some(expr) = rule.expr.as_ref().filter(|_| rule.alert.is_some()) else { return false };
    let mut watches = false;
    walk(expr, &mut |node| {
        watches |= matches!(node.kind, ExprKind::Call(_))
            && as_call(node).is_some_and(|call| call.function.name.starts_with("absent"));
    });
    each_selector(expr, &mut |_, selector| watches |= metric_name(selector) == Some("up"));
    watches
}

fn imported_rule(
    rule: &Imported<'_>,
    default_interval: Span,
    context: &LintContext<'_>,
    found: &mut Vec<Found>,
) {
    let Some(expr) = &rule.expr else { return };
    let role = if rule.alert.is_some() { Role::Alert } else { Role::Record };
    let lines = [rule.line, rule.text.place().line];
    for lint in super::expression(expr, &LintContext { role, ..*context }) {
        let place = place(rule.text, &lint);
        found.push(told(lint, place, &lines));
    }
    let Some(alert) = rule.alert else { return };
    if let Some(hold) = rule.hold {
        short_for(hold, rule.interval.unwrap_or(default_interval), &lines, found);
    }
    if !rule.has_severity && promql::constant(expr).is_none() && !is_heartbeat(expr) {
        let message = format!("alert `{}` has no label `severity`", alert.value);
        let diagnostic = Diagnostic::warning("missing-severity", alert.place(), message).hint(
            "routes and people sort alerts by it: `labels: { severity: critical }`, or `warning`, `info`",
        );
        found.push(Found { diagnostic, lines: lines.to_vec() });
    }
}

/// `vector(1)`: an alert that always fires on purpose, so that its silence is noticed.
fn is_heartbeat(expr: &Expr) -> bool {
    as_call(expr).is_some_and(|call| call.function.name == "vector")
}

fn short_for(hold: &Scalar, interval: Span, lines: &[usize], found: &mut Vec<Found>) {
    let Ok(span) = hold.value.parse::<Span>() else { return };
    if span.is_zero_or_negative() || span >= interval {
        return;
    }
    let message = format!(
        "`for: {}` is shorter than the {interval} between two evaluations: it means \"at two evaluations in a row\"",
        hold.value
    );
    let diagnostic = Diagnostic::warning("short-for", hold.place(), message)
        .hint(format!("write `for: {interval}`, or give the group a shorter `interval`"));
    found.push(Found { diagnostic, lines: lines.to_vec() });
}
