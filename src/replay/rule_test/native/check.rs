//! The names that a test uses, looked up: a test for something that cannot happen would always pass, or always fail.

use std::collections::BTreeSet;

use super::expectation::{Kind, Pattern, StatePattern, Want};
use super::happens::{Mood, Occurrence};
use super::stage::Stage;
use super::written::Test;
use crate::engine::decision::{Command, Input};
use crate::engine::rules::decode::Spanned;
use crate::engine::rules::diagnostic::name_hint;
use crate::engine::rules::yaml::Scalar;
use crate::engine::rules::{Diagnostic, Findings, GroupRuleKind, Place};

/// Reports every name in a test that nothing of its stage has.
pub(super) fn check(test: &Test, stage: &Stage, out: &mut Findings) {
    let known = Known::of(stage);
    for expected in &test.expect {
        match &expected.want {
            Want::Event(_, pattern) | Want::Never(_, pattern) => known.pattern(pattern, out),
            Want::State(_, StatePattern::Trigger { name, .. }) => known.trigger(name, out),
            Want::State(_, StatePattern::Query { .. }) | Want::Only(_) => {}
        }
    }
    for (name, Spanned { place, .. }) in &test.steps {
        look_up(name, place, "step", &known.steps, out);
    }
    for (name, Spanned { place, .. }) in &test.deliveries {
        look_up(name, place, "receiver", &known.receivers, out);
    }
    for happens in &test.happens {
        if let Occurrence::Source { source, mood, .. } = &happens.what {
            look_up(&source.value, &source.place(), "source", &known.sources, out);
            if matches!(mood, Mood::Bad(_)) && known.sources.contains(&source.value) {
                known.bad(source, out);
            }
        }
        if let Occurrence::Input(input) = &happens.what
            && let Input::Command(Command::Deployment { target, .. }) = &**input
        {
            known.deployed(target.as_str(), &test.place, out);
        }
    }
}

/// Every name that there is, at the start or after a reload.
#[derive(Default)]
struct Known {
    /// With and without their targets.
    triggers: BTreeSet<String>,
    plans: BTreeSet<String>,
    steps: BTreeSet<String>,
    receivers: BTreeSet<String>,
    sources: BTreeSet<String>,
    probes: BTreeSet<String>,
    targets: BTreeSet<String>,
}

impl Known {
    fn of(stage: &Stage) -> Self {
        let mut known = Self::default();
        for loaded in std::iter::once(&stage.loaded).chain(stage.reloads.values()) {
            let setup = &loaded.setup;
            for (target, trigger) in setup.rules.triggers.keys() {
                known.triggers.extend([trigger.to_string(), format!("{target}/{trigger}")]);
            }
            let imported = setup.rules.groups.iter().flat_map(|group| &group.rules);
            let alerts = imported.filter(|rule| matches!(rule.kind, GroupRuleKind::Alert { .. }));
            known.triggers.extend(alerts.map(|rule| rule.name().to_owned()));
            known.plans.extend(setup.plans.keys().map(ToString::to_string));
            let steps = setup.plans.values().flat_map(|plan| &plan.steps);
            known.steps.extend(steps.map(|step| step.name.clone()));
            known.receivers.extend(setup.receivers.iter().map(ToString::to_string));
            known.targets.extend(setup.targets.keys().map(ToString::to_string));
            known.probes.extend(setup.probes.iter().map(ToString::to_string));
            known.sources.extend(setup.sources.keys().map(ToString::to_string));
        }
        known
    }

    fn pattern(&self, pattern: &Pattern, out: &mut Findings) {
        let Some(name) = &pattern.name else { return };
        let (kind, names) = match pattern.kind {
            Kind::Fires | Kind::Pending | Kind::Clears => return self.trigger(name, out),
            Kind::Rollback => ("rollback plan", &self.plans),
            Kind::Step => ("step", &self.steps),
            Kind::Page => ("receiver", &self.receivers),
            Kind::Incident | Kind::Event => return,
        };
        look_up(&name.value, &name.place(), kind, names, out);
    }

    /// Only a probe's answer is good or bad.
    fn bad(&self, source: &Scalar, out: &mut Findings) {
        if !self.probes.contains(&source.value) {
            let message = format!("source `{}` is not a probe: its answer is not good or bad", source.value);
            let hint =
                "`fails: unreachable`; or declare a probe: `world: { sources: { health: { probe: true } } }`";
            out.push(Diagnostic::error("not-a-probe", source.place(), message).hint(hint));
        }
    }

    fn deployed(&self, target: &str, place: &Place, out: &mut Findings) {
        match (target, self.targets.len()) {
            ("", 1) => {}
            ("", _) => {
                let message = "whose deployment is this? There are several targets";
                let hint = "name it: `deployment: { target: NAME, start: VERSION }`";
                out.push(Diagnostic::error("whose-deployment", place.clone(), message).hint(hint));
            }
            (name, _) => look_up(name, place, "target", &self.targets, out),
        }
    }

    fn trigger(&self, name: &Scalar, out: &mut Findings) {
        look_up(&name.value, &name.place(), "trigger", &self.triggers, out);
    }
}

fn look_up(name: &str, place: &Place, kind: &str, known: &BTreeSet<String>, out: &mut Findings) {
    if !known.contains(name) {
        let message = format!("there is no {kind} `{}`", name.escape_debug());
        // Names with their targets only repeat the others.
        let listed = known.iter().filter(|name| kind != "trigger" || !name.contains('/'));
        let hint = name_hint(name, kind, listed.map(String::as_str));
        out.push(Diagnostic::error("unknown-name", place.clone(), message).hint(hint));
    }
}
