//! What root declared and what the rule files say, joined into one [`Setup`].

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::placeholders::SUMMARY_PLACEHOLDERS;
use super::setup::{Memory, Plan, Policy, Setup, SourcePace, Step, Target, Verify};
use crate::engine::evaluation::{OWN_PACE, OWN_SOURCE, own};
use crate::engine::model::{
    CalendarName, Labels, PlanName, PolicyName, ReceiverName, SourceName, TargetName,
};
use crate::engine::rules::compile::{self, Indicators, hex};
use crate::engine::rules::prometheus::{GroupDefaults, routes};
use crate::engine::rules::written::WrittenRoute;
use crate::engine::rules::yaml::Scalar;
use crate::engine::rules::{
    Calendar, Catalog, Condition, Diagnostic, Findings, Place, RuleFiles, SourceFile, Verified,
};
use crate::engine::time::Span;

/// Everything of root's file that decisions depend on. What is broken is left out here and still named in `plan_names`
/// and `source_names`, so that a rule that uses it is not blamed for it.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// What is guarded.
    pub targets: BTreeMap<TargetName, Target>,
    /// The actuators.
    pub plans: BTreeMap<PlanName, DeclaredPlan>,
    /// Every plan that is written, broken ones included, with whether it has a `verify` block.
    pub plan_names: BTreeMap<PlanName, Verified>,
    /// Whom to notify, broken policies included.
    pub policies: BTreeMap<PolicyName, Policy>,
    /// Every receiver.
    pub receivers: BTreeSet<ReceiverName>,
    /// The rhythm of every source, broken ones included.
    pub sources: BTreeMap<SourceName, SourcePace>,
    /// The sources that are probes, broken ones included.
    pub probes: BTreeSet<SourceName>,
    /// What may be remembered of them, and what must be.
    pub memory: Memory,
    /// What follows from imported alerts.
    pub routes: Vec<WrittenRoute>,
    /// Times of the week; `None` where one is broken.
    pub calendars: BTreeMap<CalendarName, Option<Calendar>>,
    /// What imported groups take where they say nothing.
    pub group_defaults: GroupDefaults,
    /// Labels that this daemon's alerts carry to the outside.
    pub external_labels: Labels,
    /// Where people reach this daemon; empty where there is nothing.
    pub external_url: String,
}

/// A rollback plan whose conditions are still text.
#[derive(Clone, Debug)]
pub struct DeclaredPlan {
    /// Where it is declared.
    pub place: Place,
    /// Limit for steps and verification together.
    pub deadline: Span,
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// The proof.
    pub verify: Option<DeclaredVerify>,
}

/// A verification whose conditions are still text.
#[derive(Clone, Debug)]
pub struct DeclaredVerify {
    /// Time that the application gets before it is looked at.
    pub warm_up: Span,
    /// Time within which every condition must have been met, from the end of the last step.
    pub within: Span,
    /// Where that time is written.
    pub within_place: Place,
    /// What must hold, as written.
    pub conditions: Vec<Scalar>,
    /// Sources that are read in place of others.
    pub on: BTreeMap<SourceName, SourceName>,
}

/// Compiles the rule files and joins them with what root declared. `found` holds the problems of root's file itself.
///
/// # Errors
///
/// Every problem of every file, in the order of files and lines, where at least one of them is an error.
pub fn link(
    declared: &Declared,
    root_file: &SourceFile,
    rule_files: RuleFiles<'_>,
    found: Findings,
) -> Result<(Setup, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut out = found;
    let catalog = catalog(declared);
    let compiled = compile::compile(rule_files, &catalog, &mut out);
    let routes = routes::link(&declared.routes, &catalog, &mut out);
    if routes.len() == declared.routes.len() {
        routes::doubt(compiled.rules.groups.iter().map(|group| &**group), &routes, &mut out);
    }
    let mut plans = BTreeMap::new();
    for (name, plan) in &declared.plans {
        let users: Vec<&TargetName> =
            declared.targets.iter().filter(|(_, t)| t.plans.contains(name)).map(|(name, _)| name).collect();
        if users.is_empty() {
            let message = format!("no target lists plan `{name}`, so it can never run");
            out.push(
                Diagnostic::warning("unused-plan", plan.place.clone(), message)
                    .hint("add it to a target's `plans:`; its conditions are not checked until then"),
            );
            continue;
        }
        let verify = plan
            .verify
            .as_ref()
            .map(|verify| link_verify(verify, &users, &compiled.indicators, declared, &mut out));
        plans.insert(name.clone(), Plan { deadline: plan.deadline, steps: plan.steps.clone(), verify });
    }
    let mut sources = declared.sources.clone();
    if own::is_read(&compiled.rules) {
        sources.insert(OWN_SOURCE.into(), OWN_PACE);
    }
    let setup = Setup {
        fingerprint: fingerprint(std::iter::once(root_file).chain(rule_files.files)),
        rules: compiled.rules,
        routes,
        external_labels: declared.external_labels.clone(),
        external_url: declared.external_url.clone(),
        targets: declared.targets.clone(),
        plans,
        policies: declared.policies.clone(),
        receivers: declared.receivers.clone(),
        sources,
        probes: declared.probes.clone(),
        memory: declared.memory.clone(),
        calendars: declared
            .calendars
            .iter()
            .filter_map(|(name, calendar)| calendar.clone().map(|calendar| (name.clone(), calendar)))
            .collect(),
    };
    out.conclude(setup)
}

fn catalog(declared: &Declared) -> Catalog {
    Catalog {
        targets: declared.targets.iter().map(|(name, target)| (name.clone(), target.plans.clone())).collect(),
        sources: {
            let all = declared.sources.iter().map(|(name, pace)| (name.clone(), pace.every));
            all.chain([(OWN_SOURCE.into(), OWN_PACE.every)]).collect()
        },
        probes: declared.probes.clone(),
        references: {
            let each = declared.targets.iter();
            each.map(|(name, target)| (name.clone(), target.reference.clone())).collect()
        },
        plans: declared.plan_names.clone(),
        policies: declared.policies.keys().cloned().collect(),
        calendars: declared.calendars.keys().cloned().collect(),
        limits: declared.memory.limits,
        summary_placeholders: &SUMMARY_PLACEHOLDERS,
        group_defaults: declared.group_defaults,
    }
}

fn link_verify(
    written: &DeclaredVerify,
    users: &[&TargetName],
    indicators: &Indicators,
    declared: &Declared,
    out: &mut Findings,
) -> Verify {
    let conditions: Vec<Condition> = written
        .conditions
        .iter()
        .filter_map(|text| {
            let find = |name: &str| indicators.for_targets(users.iter().copied(), name);
            compile::condition(text, find, out)
        })
        .collect();
    check_time_for_samples(written, &conditions, declared, out);
    Verify { warm_up: written.warm_up, within: written.within, conditions, on: written.on.clone() }
}

/// Doubts a verification that ends before it can have seen what it needs: fresh eyes see nothing older than the last
/// step plus warm-up, and a rate needs two observations.
fn check_time_for_samples(
    verify: &DeclaredVerify,
    conditions: &[Condition],
    declared: &Declared,
    out: &mut Findings,
) {
    const OBSERVATIONS_NEEDED: i64 = 2;
    let looking = verify.within - verify.warm_up;
    let slowest = conditions
        .iter()
        .flat_map(Condition::sources)
        .map(|source| verify.on.get(&source).cloned().unwrap_or(source))
        .filter_map(|source| declared.sources.get(&source).map(|pace| (pace.every, source)))
        .max();
    if let Some((every, source)) = slowest
        && looking < every.times(OBSERVATIONS_NEEDED)
    {
        let message = format!(
            "the {looking} after the warm-up may hold only one answer of `{source}` (every {every}): rates need two"
        );
        out.push(
            Diagnostic::warning("short-verification", verify.within_place.clone(), message)
                .hint("make `within` longer, or `every` of that source shorter"),
        );
    }
}

/// Hashes the files' names and texts, so that the audit trail can say which set was in force. Directories are left out:
/// the same set in another place is the same set.
fn fingerprint<'a>(files: impl Iterator<Item = &'a SourceFile>) -> String {
    let mut hash = Sha256::new();
    for file in files {
        let name = file.name().rsplit('/').next().unwrap_or_default();
        for part in [name, file.text()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hex(&hash.finalize())
}
