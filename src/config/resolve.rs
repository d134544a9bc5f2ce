//! The file as written -> the shell's settings and what decisions depend on, with every name looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::deployments::{WrittenDetect, unit_source};
use super::receiver::WrittenLevel;
use super::settings::{Config, WatchedUnit};
use super::source::default_silence;
use super::target::WrittenTarget;
use super::written::Written;
use crate::engine::decision::link::Declared;
use crate::engine::decision::setup::SourcePace;
use crate::engine::decision::{DeploymentSettings, Level, Policy, Target};
use crate::engine::evaluation::Memory;
use crate::engine::model::{CalendarName, PlanName, PolicyName, ReceiverName, SourceName, TargetName};
use crate::engine::rules::diagnostic::name_hint;
use crate::engine::rules::prometheus::GroupDefaults;
use crate::engine::rules::yaml::Scalar;
use crate::engine::rules::{Diagnostic, Findings};

/// Resolves what was written. Both results are complete only where `out` holds no error.
pub(super) fn resolve(written: Written, file: &Path, out: &mut Findings) -> (Config, Declared) {
    let sources: BTreeSet<&str> = written.sources.iter().map(|source| source.name.as_str()).collect();
    let plans: BTreeSet<&str> = written.rollbacks.iter().map(|plan| plan.name.as_str()).collect();
    let receivers: BTreeSet<&str> = written.receivers.iter().map(|(name, _)| name.value.as_str()).collect();
    for source in written.rollbacks.iter().flat_map(|plan| &plan.on).flat_map(|(from, to)| [from, to]) {
        look_up(source, "source", &sources, out);
    }
    if !written.rollbacks.is_empty() && receivers.is_empty() {
        let message = "there are rollbacks and no receivers: nobody would hear of one";
        let hint =
            "add `receivers:`, such as `on-call: { pagerduty: { routing_key: { credential: pagerduty } } }`";
        out.push(Diagnostic::error("no-receivers", written.rollbacks_place.clone(), message).hint(hint));
    }
    let policies = policies(&written, &receivers, out);
    let probes: BTreeSet<SourceName> =
        written.sources.iter().filter(|source| source.is_probe).map(|source| source.name.clone()).collect();
    let targets = resolve_targets(&written, &plans, &sources, out);
    for reference in written.targets.iter().flat_map(|target| &target.reference) {
        look_up_probe(reference, &sources, &probes, out);
    }
    let silent = written.targets.iter().filter(|target| !target.deployments.are_written);
    let units = units(&written);
    let paces = paces(&written, &units);
    let memory = memory(&written);
    let declared = Declared {
        targets,
        undeployed: silent.map(|target| target.name.clone()).collect(),
        plan_names: written.rollbacks.iter().map(|plan| (plan.name.clone(), plan.verified)).collect(),
        policies,
        receivers: receivers.into_iter().map(ReceiverName::from).collect(),
        sources: paces,
        probes,
        memory,
        group_defaults: GroupDefaults { interval: written.group_interval, ..GroupDefaults::default() },
        external_labels: written.external_labels,
        external_url: written.external_url.clone().unwrap_or_default(),
        routes: written.routes,
        calendars: written.calendars,
        plans: written
            .rollbacks
            .iter()
            .filter_map(|plan| plan.plan.clone().map(|declared| (plan.name.clone(), declared)))
            .collect(),
    };
    let config = Config {
        file: file.to_owned(),
        state: written.state,
        control: written.control,
        listen: written.listen,
        ingest: written.ingest,
        query: written.query,
        retention: written.retention,
        external_url: written.external_url,
        units,
        sources: written
            .sources
            .into_iter()
            .filter_map(|source| source.asked.map(|asked| (source.name, asked)))
            .collect(),
        receivers: written
            .receivers
            .into_iter()
            .filter_map(|(name, receiver)| receiver.map(|receiver| (name.value.as_str().into(), receiver)))
            .collect(),
    };
    (config, declared)
}

/// Returns the units whose starts are deployments, each once.
fn units(written: &Written) -> BTreeMap<SourceName, WatchedUnit> {
    let unit = |target: &WrittenTarget| match &target.deployments.detect {
        Some(WrittenDetect::Unit(unit)) => {
            Some((unit_source(unit), WatchedUnit { unit: unit.clone(), every: written.interval }))
        }
        _ => None,
    };
    written.targets.iter().filter_map(unit).collect()
}

/// Returns how often every source is asked, the units among them.
fn paces(written: &Written, units: &BTreeMap<SourceName, WatchedUnit>) -> BTreeMap<SourceName, SourcePace> {
    let pace = SourcePace { every: written.interval, silent_after: default_silence(written.interval) };
    let units = units.keys().map(|source| (source.clone(), pace));
    written.sources.iter().map(|source| (source.name.clone(), source.pace)).chain(units).collect()
}

fn memory(written: &Written) -> Memory {
    Memory {
        limits: written.limits,
        history: written.history,
        keep: written.sources.iter().flat_map(|source| source.keep.iter().cloned()).collect(),
    }
}

fn policies(
    written: &Written,
    receivers: &BTreeSet<&str>,
    out: &mut Findings,
) -> BTreeMap<PolicyName, Policy> {
    let mut policies = BTreeMap::new();
    for policy in &written.policies {
        for receiver in policy.levels.iter().flat_map(|level| &level.notify) {
            look_up(receiver, "receiver", receivers, out);
        }
        let levels = policy.levels.iter().map(resolve_level).collect();
        policies.insert(policy.name.value.as_str().into(), Policy { levels });
    }
    policies
}

fn resolve_level(written: &WrittenLevel) -> Level {
    let notify = written.notify.iter().map(|name| ReceiverName::from(name.value.as_str())).collect();
    Level { after: written.after, notify, always: written.always }
}

fn resolve_targets(
    written: &Written,
    plans: &BTreeSet<&str>,
    sources: &BTreeSet<&str>,
    out: &mut Findings,
) -> BTreeMap<TargetName, Target> {
    let calendars: BTreeSet<&str> = written.calendars.keys().map(CalendarName::as_str).collect();
    let policies: BTreeSet<&str> = written.policies.iter().map(|policy| policy.name.value.as_str()).collect();
    let resolve = |target: &WrittenTarget, out: &mut Findings| {
        let mut resolved = resolve_target(target, plans, sources, out);
        resolved.deployments = resolve_deployments(target, &calendars, &policies, out);
        (target.name.clone(), resolved)
    };
    written.targets.iter().map(|target| resolve(target, out)).collect()
}

fn resolve_target(
    written: &WrittenTarget,
    plans: &BTreeSet<&str>,
    sources: &BTreeSet<&str>,
    out: &mut Findings,
) -> Target {
    for plan in &written.plans {
        look_up(plan, "rollback plan", plans, out);
    }
    if let Some(WrittenDetect::Label(source, _)) = &written.deployments.detect {
        look_up(source, "source", sources, out);
    }
    let detect = written.deployments.detect.as_ref().map(WrittenDetect::detect);
    Target {
        mode: written.mode,
        plans: written.plans.iter().map(|plan| PlanName::from(plan.value.as_str())).collect(),
        at_most: written.at_most,
        cooldown: written.cooldown,
        detect,
        deployments: DeploymentSettings::default(),
        reference: written.reference.iter().map(|name| name.value.as_str().into()).collect(),
    }
}

fn resolve_deployments(
    written: &WrittenTarget,
    calendars: &BTreeSet<&str>,
    policies: &BTreeSet<&str>,
    out: &mut Findings,
) -> DeploymentSettings {
    let written = &written.deployments;
    for calendar in &written.window {
        look_up(calendar, "calendar", calendars, out);
    }
    if let Some(policy) = &written.page {
        look_up(policy, "escalation policy", policies, out);
    }
    DeploymentSettings {
        window: written.window.iter().map(|name| name.value.as_str().into()).collect(),
        page: written.page.as_ref().map(|name| name.value.as_str().into()),
        ..written.settings.clone()
    }
}

fn look_up(written: &Scalar, kind: &str, known: &BTreeSet<&str>, out: &mut Findings) {
    if !known.contains(written.value.as_str()) {
        let message = format!("there is no {kind} `{}`", written.value.escape_debug());
        let hint = name_hint(&written.value, kind, known.iter().copied());
        out.push(Diagnostic::error("unknown-name", written.place(), message).hint(hint));
    }
}

/// Looks up a source that must be a probe.
fn look_up_probe(
    written: &Scalar,
    sources: &BTreeSet<&str>,
    probes: &BTreeSet<SourceName>,
    out: &mut Findings,
) {
    look_up(written, "source", sources, out);
    if sources.contains(written.value.as_str()) && !probes.contains(written.value.as_str()) {
        let message =
            format!("source `{}` is not a probe: it is not good or bad", written.value.escape_debug());
        let hint = name_hint(&written.value, "probe", probes.iter().map(SourceName::as_str));
        out.push(Diagnostic::error("not-a-probe", written.place(), message).hint(hint));
    }
}
