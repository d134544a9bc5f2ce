//! All rule files together -> one [`RuleSet`], or every problem in any of them.

mod budgets;
mod fingerprint;
mod names;
mod objectives;
mod triggers;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::condition::{self, Comparing, InUnit, Parsed};
use super::diagnostic::{Diagnostic, Findings, Place, SourceFile, name_hint, placeholder_hint};
use super::during;
use super::prometheus::{self, GroupDefaults};
use super::set::{Compare, Condition, Indicator, Position, RuleSet, Test, Then};
use super::written::{self, RuleFile, WrittenIndicator, WrittenThen};
use super::yaml::{self, Scalar};
use crate::engine::model::{
    CalendarName, IndicatorName, PlanName, PolicyName, SourceName, TargetName, TriggerName,
};
use crate::engine::promql::{self, Plan as QueryPlan, Problem, Scope, TextSpan, ValueType};
use crate::engine::series::Limits;
use crate::engine::time::Span;

use names::Declaration;
pub use names::Indicators;
use triggers::TriggerScope;

/// The names that rule files may use. Root declared them; rule files cannot add any (E12).
///
/// It also holds names whose declarations are broken elsewhere, so that one mistake is told once.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The targets, each with the plans that may be run for it.
    pub targets: BTreeMap<TargetName, BTreeSet<PlanName>>,
    /// The sources, each with the time between two observations.
    pub sources: BTreeMap<SourceName, Span>,
    /// The sources that are probes.
    pub probes: BTreeSet<SourceName>,
    /// The probes of each target that tell whether it is we who see nothing.
    pub references: BTreeMap<TargetName, BTreeSet<SourceName>>,
    /// The plans, each with whether it verifies that it helped.
    pub plans: BTreeMap<PlanName, Verified>,
    /// The escalation policies.
    pub policies: BTreeSet<PolicyName>,
    /// The calendars, broken ones included.
    pub calendars: BTreeSet<CalendarName>,
    /// How far back expressions may look, among other bounds.
    pub limits: Limits,
    /// The `{names}` that a summary may hold.
    pub summary_placeholders: &'static [&'static str],
    /// What imported groups take where they say nothing.
    pub group_defaults: GroupDefaults,
}

/// Whether a plan proves that it helped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// It has a `verify` block.
    Yes,
    /// Its outcome is taken on its steps' word.
    No,
}

/// What compiling yields; complete only where the findings hold no error.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// Every trigger that could be compiled.
    pub rules: RuleSet,
    /// Every indicator, for the conditions of verifications.
    pub indicators: Indicators,
}

/// The rule files that could be read.
#[derive(Clone, Copy, Debug)]
pub struct RuleFiles<'f> {
    /// Their texts.
    pub files: &'f [SourceFile],
    /// Whether there are others, which could not be read: then a name that is not found may be in one of them.
    pub some_unread: bool,
}

/// Compiles every file against the catalog; goes on after errors and leaves out what has any.
pub fn compile(rule_files: RuleFiles<'_>, catalog: &Catalog, out: &mut Findings) -> Compiled {
    let mut compiled = Compiled::default();
    if rule_files.some_unread {
        compiled.indicators.set_incomplete();
    }
    let mut first_places: BTreeMap<(TargetName, TriggerName), Place> = BTreeMap::new();
    let mut pending = Vec::new();
    let mut groups = Vec::new();
    for (nth, file) in rule_files.files.iter().enumerate() {
        let written = match yaml::parse(file) {
            Ok(Some(root)) if prometheus::is_imported(&root) => {
                groups.extend(prometheus::compile(&root, file, &catalog.group_defaults, out));
                continue;
            }
            Ok(Some(root)) => written::read(&root, out),
            Ok(None) => {
                let message = "this rule file is empty";
                out.push(Diagnostic::warning("empty-file", file.whole(), message));
                continue;
            }
            Err(problem) => {
                out.push(*problem);
                compiled.indicators.set_incomplete();
                continue;
            }
        };
        let scope = FileScope::of((nth, file), &written, catalog, out);
        if !catalog.targets.contains_key(&scope.target) {
            compiled.indicators.set_incomplete();
        }
        for indicator in &written.indicators {
            let declaration = Declaration {
                file: file.name().into(),
                place: indicator.name.place(),
                indicator: scope.indicator(indicator, out).map(Arc::new),
            };
            compiled.indicators.insert(scope.target.clone(), &indicator.name.value, declaration);
        }
        pending.push((scope, written));
    }
    groups.sort_by(|a, b| (&a.file, &a.name).cmp(&(&b.file, &b.name)));
    prometheus::settle(&mut groups);
    compiled.rules.groups = groups.into_iter().map(Arc::new).collect();
    for (scope, written) in pending {
        objectives::compile(&written, &scope, catalog, &mut compiled, out);
        budgets::compile(&written, &scope, catalog, &mut compiled, out);
        let scope = TriggerScope { file: &scope, indicators: &compiled.indicators, catalog };
        for written in &written.triggers {
            let target = &scope.file.target;
            let key = (target.clone(), TriggerName::from(written.name.value.as_str()));
            if let Some(first) = first_places.get(&key) {
                let message = format!("a second trigger `{}` for target `{}`", key.1, key.0);
                let hint = format!("the first one is at {first}; names are unique within a target");
                out.push(Diagnostic::error("duplicate-trigger", written.name.place(), message).hint(hint));
                continue;
            }
            first_places.insert(key, written.name.place());
            for trigger in scope.triggers(written, out) {
                let key = (target.clone(), trigger.name.clone());
                compiled.rules.triggers.insert(key, Arc::new(trigger));
            }
        }
    }
    compiled
}

/// What one file's expressions and triggers may refer to.
struct FileScope {
    file: SourceFile,
    /// Which file it is, in the order of loading.
    nth: usize,
    target: TargetName,
    /// The sources that the file names, unknown ones included: they have been reported.
    sources: BTreeSet<SourceName>,
    /// The sources that are probes.
    probes: BTreeSet<SourceName>,
    paces: BTreeMap<SourceName, Span>,
    /// How far back expressions may look.
    reach: Span,
}

impl FileScope {
    fn of(
        (nth, file): (usize, &SourceFile),
        written: &RuleFile,
        catalog: &Catalog,
        out: &mut Findings,
    ) -> Self {
        if let Some(target) = &written.target {
            check_target(target, catalog, out);
        }
        let mut sources = BTreeSet::new();
        for source in &written.sources {
            if !catalog.sources.contains_key(source.value.as_str()) {
                out.push(unknown(source, "source", catalog.sources.keys().map(SourceName::as_str)));
            }
            if !sources.insert(SourceName::from(source.value.as_str())) {
                let message = format!("source `{}` is named twice", source.value);
                out.push(Diagnostic::warning("duplicate-source", source.place(), message));
            }
        }
        let target = written.target.as_ref().map_or("", |target| target.value.as_str());
        let (target, paces) = (target.into(), catalog.sources.clone());
        let (probes, reach) = (catalog.probes.clone(), catalog.limits.reach);
        Self { file: file.clone(), nth, target, sources, probes, paces, reach }
    }

    /// Returns where something of this file stands among all files.
    fn position(&self, place: &Place) -> Position {
        Position { file: self.nth, line: place.line, column: place.column }
    }

    /// Returns the time between two answers of the slowest source that the file names.
    fn slowest(&self) -> Span {
        let paces = self.sources.iter().filter_map(|source| self.paces.get(source));
        paces.copied().max().unwrap_or(Span::ZERO)
    }

    fn indicator(&self, written: &WrittenIndicator, out: &mut Findings) -> Option<Indicator> {
        let expr = written.expr.as_ref()?;
        let query = match compile_expression(&expr.value, self) {
            Ok(query) => Some(query),
            Err(problems) => {
                out.extend(problems.into_iter().map(|problem| {
                    let span = problem.span.start..problem.span.end;
                    Diagnostic::error("bad-expression", expr.place_within(span), problem.message)
                        .maybe_hint(problem.hint)
                }));
                None
            }
        };
        Some(Indicator {
            name: IndicatorName::from(written.name.value.as_str()),
            unit: written.unit?,
            text: expr.value.clone(),
            baseline: written.baseline.resolve(written.unit, self.slowest(), out),
            query: query?,
        })
    }
}

/// Looks up a target.
pub fn check_target(written: &Scalar, catalog: &Catalog, out: &mut Findings) {
    if !catalog.targets.contains_key(written.value.as_str()) {
        out.push(unknown(written, "target", catalog.targets.keys().map(TargetName::as_str)));
    }
}

/// Looks up what follows at `target`.
pub fn consequence(
    written: &WrittenThen,
    target: &TargetName,
    catalog: &Catalog,
    out: &mut Findings,
) -> Then {
    if let Some(plan) = &written.rollback {
        check_plan(plan, target, catalog, out);
    }
    if let Some(plan) = &written.recommend {
        check_plan(plan, target, catalog, out);
    }
    if let Some(policy) = &written.page
        && !catalog.policies.contains(policy.value.as_str())
    {
        let known = catalog.policies.iter().map(PolicyName::as_str);
        out.push(unknown(policy, "escalation policy", known));
    }
    Then {
        rollback: written.rollback.as_ref().map(|plan| PlanName::from(plan.value.as_str())),
        rollback_during: during::link(&written.rollback_during, &catalog.calendars, out),
        recommend: written.recommend.as_ref().map(|plan| PlanName::from(plan.value.as_str())),
        page: written.page.as_ref().map(|policy| PolicyName::from(policy.value.as_str())),
    }
}

fn check_plan(plan: &Scalar, target: &TargetName, catalog: &Catalog, out: &mut Findings) {
    let name = plan.value.as_str();
    let Some(verified) = catalog.plans.get(name) else {
        return out.push(unknown(plan, "rollback plan", catalog.plans.keys().map(PlanName::as_str)));
    };
    let Some(allowed) = catalog.targets.get(target) else { return };
    if !allowed.contains(name) {
        let message = format!("plan `{name}` may not be run for target `{target}`");
        let hint = format!("add `{name}` to the target's `plans:` in rearguard.yaml");
        return out.push(Diagnostic::error("plan-not-allowed", plan.place(), message).hint(hint));
    }
    if *verified == Verified::No {
        let message = format!("plan `{name}` has no `verify`: nobody checks that the rollback helped");
        let hint = format!("add a `verify` block to `{name}` in rearguard.yaml");
        out.push(Diagnostic::warning("unverified-plan", plan.place(), message).hint(hint));
    }
}

/// What is known of an indicator's name at one place.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It is this one.
    Found(Arc<Indicator>),
    /// It is declared and broken; that has been reported.
    Broken,
    /// It cannot be used here: what is wrong, and what to do.
    Refused(&'static str, String, String),
}

/// Compiles a condition; `find` says what an indicator's name means where it stands. Every comparison is looked at.
pub fn condition(written: &Scalar, find: impl Fn(&str) -> Lookup, out: &mut Findings) -> Option<Condition> {
    match condition::parse(&written.value) {
        Ok(parsed) => {
            let test = test(&parsed, written, &find, out)?;
            Some(Condition { test, text: written.value.trim().to_owned() })
        }
        Err(problem) => {
            out.push(located(written, problem));
            None
        }
    }
}

fn located(written: &Scalar, problem: condition::Problem) -> Diagnostic {
    Diagnostic::error(problem.code, written.place_within(problem.span), problem.message)
        .maybe_hint(problem.hint)
}

fn test(
    parsed: &Parsed,
    written: &Scalar,
    find: &impl Fn(&str) -> Lookup,
    out: &mut Findings,
) -> Option<Test> {
    let mut each = |parts: &[Parsed]| -> Option<Vec<Test>> {
        let parts: Vec<_> = parts.iter().map(|part| test(part, written, find, out)).collect();
        parts.into_iter().collect()
    };
    Some(match parsed {
        Parsed::All(parts) => Test::All(each(parts)?),
        Parsed::Any(parts) => Test::Any(each(parts)?),
        Parsed::AtLeast { count, of } => Test::AtLeast { count: *count, of: each(of)? },
        Parsed::Compare(comparing) => Test::Compare(compare(comparing, written, find, out)?),
    })
}

fn compare(
    comparing: &Comparing,
    written: &Scalar,
    find: &impl Fn(&str) -> Lookup,
    out: &mut Findings,
) -> Option<Compare> {
    let indicator = match find(&comparing.indicator) {
        Lookup::Found(indicator) => indicator,
        Lookup::Broken => return None,
        Lookup::Refused(code, message, hint) => {
            let place = written.place_within(comparing.indicator_span.clone());
            out.push(Diagnostic::error(code, place, message).hint(hint));
            return None;
        }
    };
    match comparing.threshold_in(indicator.unit) {
        Ok(InUnit { threshold, doubt }) => {
            if let Some(doubt) = doubt {
                out.push(Diagnostic { level: super::Level::Warning, ..located(written, doubt) });
            }
            let text = written.value.get(comparing.span.clone()).unwrap_or(&written.value).to_owned();
            Some(Compare { indicator, comparison: comparing.comparison, threshold, text })
        }
        Err(problem) => {
            out.push(located(written, problem));
            None
        }
    }
}

/// Compiles an indicator's expression; bare selectors see `sources` and no others.
///
/// Besides what PromQL itself refuses, an indicator must yield numbers, read at least one series (nothing else makes it
/// be judged), and look back from now: a fixed time is not kept, nor is anything beyond `reach`.
fn compile_expression(text: &str, file: &FileScope) -> Result<QueryPlan, Vec<Problem>> {
    let (sources, probes, reach) = (&file.sources, &file.probes, file.reach);
    let expr = promql::parse(text)?;
    // Without any source that is an error of its own, and every selector would repeat it.
    let scope = match sources.is_empty() {
        true => Scope::EVERYTHING,
        false => Scope::of(sources.iter().cloned()).with_probes(probes.iter().cloned()),
    };
    let plan = promql::compile(&expr, &scope)?;
    let found = promql::type_of(&expr);
    if !matches!(found, ValueType::Scalar | ValueType::Vector) {
        let problem =
            Problem::new(expr.span, format!("an indicator must yield numbers, this yields a {found}"));
        return Err(vec![
            problem.with_hint("wrap a range in a function such as `rate(...)` or `avg_over_time(...)`"),
        ]);
    }
    if plan.selectors().next().is_none() {
        let problem =
            Problem::new(expr.span, "this reads no series, so nothing would ever make it be judged");
        return Err(vec![problem.with_hint("name a metric that one of the file's sources exposes")]);
    }
    if plan.reach() > reach {
        let message = format!("this looks back {}, samples are kept for {reach} at most", plan.reach());
        let hint = format!(
            "shorten its ranges and offsets, or write `limits: {{ reach: {} }}` in rearguard.yaml",
            plan.reach()
        );
        return Err(vec![Problem::new(expr.span, message).with_hint(hint)]);
    }
    let fixed = |span: &TextSpan| {
        Problem::new(*span, "this looks at a fixed time, which is not kept")
            .with_hint("look back from now instead: `offset 1h`")
    };
    if plan.pinned().is_empty() { Ok(plan) } else { Err(plan.pinned().iter().map(fixed).collect()) }
}

/// Returns bytes as lower-case hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unknown<'a>(written: &Scalar, kind: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
    let message = format!("there is no {kind} `{}`", written.value.escape_debug());
    Diagnostic::error("unknown-name", written.place(), message).hint(name_hint(&written.value, kind, known))
}

/// Doubts `{words}` that no page would fill in.
fn check_summary(summary: &Scalar, known: &'static [&'static str], out: &mut Findings) {
    for (open, _) in summary.value.match_indices('{') {
        let rest = &summary.value[open + 1..];
        let Some(word) = rest.find('}').map(|close| &rest[..close]) else { continue };
        let is_word = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_word && !known.contains(&word) {
            let place = summary.place_within(open..open + word.len() + 2);
            let message = format!("`{{{word}}}` is not filled in and will stand in the page as it is");
            let hint = placeholder_hint(word, known);
            out.push(Diagnostic::warning("unknown-placeholder", place, message).hint(hint));
        }
    }
}

#[cfg(test)]
mod tests;
