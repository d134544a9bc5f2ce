//! The files of a world: targets, sources, rules, plans, receivers, all drawn from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::random::Random;
use crate::engine::decision::setup::DetectVersion;
use crate::engine::decision::{
    AtMost, DeploymentSettings, Level, Mode, OnError, Plan, Policy, Setup, Step, StepAction, Target, Verify,
};
use crate::engine::evaluation::SourcePace;
use crate::engine::model::{PlanName, ReceiverName, Severity, SourceName, TargetName};
use crate::engine::promql::{self, Scope};
use crate::engine::rules::{
    BaselineSpec, Compare, Comparison, Condition, Indicator, RuleSet, Then, Threshold, Trigger, Unit,
    WindowSpec,
};
use crate::engine::time::Span;

/// The longest deadline of a plan that is drawn.
pub(super) const DEADLINE_MAX: Span = Span::from_secs(180);

/// The longest range of a rule that is drawn.
pub(super) const RANGE_MAX: Span = Span::from_secs(60);

/// The longest window and the longest range together: how far back a verdict may look.
pub(super) const REACH_MAX: Span = Span::from_secs(60 + 60);

/// Returns the name of a target's own source.
pub(super) fn source_of(target: usize) -> SourceName {
    format!("app-{target}").into()
}

/// Returns the name of the source where a target's traffic goes, where its plan moves it.
pub(super) fn blue_of(target: usize) -> SourceName {
    format!("blue-{target}").into()
}

/// Returns the name of the probe of a target's application.
pub(super) fn probe_of(target: usize) -> SourceName {
    format!("health-{target}").into()
}

/// The probe of what is there whatever becomes of the targets.
pub(super) const REFERENCE: &str = "gateway";

/// Returns a target's name.
pub(super) fn target_name(target: usize) -> TargetName {
    format!("target-{target}").into()
}

/// Draws a world's files.
pub(super) fn draw(random: &mut Random) -> Setup {
    let mut setup = Setup { fingerprint: "files-0".to_owned(), ..Setup::default() };
    let every = Span::from_secs(random.pick(&[5, 10, 10, 15]));
    let receivers = ["chat", "mail", "pager"].map(ReceiverName::from);
    let count = random.pick(&[1, 2, 2, 3, 3]);
    setup.receivers = receivers.iter().take(count).cloned().collect();
    let first: BTreeSet<_> = (0..count).map(|_| random.pick(&receivers[..count])).collect();
    let mut levels = vec![Level { after: Span::ZERO, notify: first.into_iter().collect(), always: false }];
    for _ in 0..random.pick(&[0, 0, 1, 2]) {
        let after =
            levels.last().map_or(Span::ZERO, |level| level.after) + Span::from_secs(random.between(20, 200));
        levels.push(Level { after, notify: vec![random.pick(&receivers[..count])], always: false });
    }
    setup.policies.insert("on-call".into(), Policy { levels });
    for target in 0..random.pick(&[1, 1, 1, 2, 2, 3]) {
        draw_target(&mut setup, target, every, random);
    }
    // A stream of its own: worlds without probes are what they were.
    draw_probes(&mut setup, every, &mut random.fork());
    setup
}

fn draw_target(setup: &mut Setup, target: usize, every: Span, random: &mut Random) {
    let (name, source) = (target_name(target), source_of(target));
    let pace = SourcePace { every, silent_after: every.times(random.between(3, 9)) };
    setup.sources.insert(source.clone(), pace);
    let has_blue = random.chance(25);
    if has_blue {
        setup.sources.insert(blue_of(target), pace);
    }
    let range = Span::from_secs((4 * every.as_millis() / 1000).max(30));
    let mut plans = BTreeSet::new();
    for letter in ["a", "b"] {
        let plan: PlanName = format!("plan-{target}-{letter}").into();
        let on = if has_blue && random.chance(70) {
            BTreeMap::from([(source.clone(), blue_of(target))])
        } else {
            BTreeMap::new()
        };
        setup.plans.insert(plan.clone(), draw_plan(&source, range, on, random));
        plans.insert(plan);
    }
    let plans: Vec<PlanName> = plans.into_iter().collect();
    for nth in 0..random.pick(&[1, 2, 2]) {
        let trigger = draw_trigger(&name, &source, nth, range, every, &plans, random);
        setup.rules.triggers.insert((name.clone(), trigger.name.clone()), Arc::new(trigger));
    }
    let guarded = Target {
        mode: if random.chance(88) { Mode::Armed } else { Mode::Shadow },
        plans: plans.into_iter().collect(),
        at_most: AtMost {
            count: u32::try_from(random.between(1, 3)).unwrap_or(1),
            per: random.secs(300, 1200),
        },
        cooldown: random.pick(&[Span::ZERO, Span::from_secs(30), Span::from_secs(120), Span::from_secs(300)]),
        detect: random.chance(70).then(|| DetectVersion {
            source,
            metric: "app_build_info".to_owned(),
            label: "version".to_owned(),
        }),
        deployments: DeploymentSettings {
            soak: random.pick(&[Span::ZERO, Span::from_secs(60), Span::from_secs(600)]),
            abandon_after: random.secs(60, 600),
            point_of_no_return: random.chance(10).then(|| random.secs(0, 120)),
            ..DeploymentSettings::default()
        },
        reference: BTreeSet::new(),
    };
    setup.targets.insert(name, guarded);
}

/// Gives some targets a probe, a rule on it, and at times a reference to tell our own blindness by.
fn draw_probes(setup: &mut Setup, every: Span, random: &mut Random) {
    for nth in 0..setup.targets.len() {
        if !random.chance(50) {
            continue;
        }
        let (name, probe) = (target_name(nth), probe_of(nth));
        let pace = SourcePace { every, silent_after: every.times(random.between(3, 9)) };
        setup.sources.insert(probe.clone(), pace);
        setup.probes.insert(probe.clone());
        let Some(target) = setup.targets.get_mut(&name) else { continue };
        if random.chance(60) {
            let reference = SourceName::from(REFERENCE);
            setup.sources.insert(reference.clone(), pace);
            setup.probes.insert(reference.clone());
            target.reference.insert(reference);
        }
        let plans: Vec<PlanName> = target.plans.iter().cloned().collect();
        let window = random.pick(&[WindowSpec::InARow { count: 1 }, WindowSpec::InARow { count: 3 }]);
        let mut trigger = Trigger {
            sources: BTreeSet::from([probe.clone()]),
            severity: Severity::Critical,
            then: Then {
                rollback: Some(random.pick(&plans)),
                page: Some("on-call".into()),
                ..Then::default()
            },
            ..Trigger::new("Down".into(), name.clone(), down(&probe), window)
        };
        trigger.fingerprint = fingerprint(&trigger);
        setup.rules.triggers.insert((name, trigger.name.clone()), Arc::new(trigger));
    }
}

fn draw_trigger(
    target: &TargetName,
    source: &SourceName,
    nth: usize,
    range: Span,
    every: Span,
    plans: &[PlanName],
    random: &mut Random,
) -> Trigger {
    let when = match (nth, random.chance(50)) {
        (0, _) => error_rate(source, range, Comparison::Greater, 0.05),
        (_, true) => error_rate(source, range, Comparison::Greater, 0.02),
        (_, false) => throughput(source, range, Comparison::Less, 5.0),
    };
    let rollback = random.chance(85).then(|| random.pick(plans));
    let window = draw_window(every, random);
    let mut trigger = Trigger {
        sources: BTreeSet::from([source.clone()]),
        severity: random.pick(&[Severity::High, Severity::Critical]),
        summary: random.chance(50).then(|| "{target}: {value} of requests fail".to_owned()),
        then: Then { rollback, page: random.chance(80).then(|| "on-call".into()), ..Then::default() },
        ..Trigger::new(format!("Trigger{nth}").into(), target.clone(), when, window)
    };
    trigger.fingerprint = fingerprint(&trigger);
    trigger
}

/// Mostly plain windows, as in most rule files.
fn draw_window(every: Span, random: &mut Random) -> WindowSpec {
    let (of, coverage, max_gap) = (random.secs(0, 60), random.pick(&[0.8, 0.9]), every.times(3));
    let share = random.pick(&[0.6, 0.8, 1.0]);
    match random.below(10) {
        0 | 1 => WindowSpec::Share { share, of: of.max(every.times(2)), coverage, max_gap },
        2 => WindowSpec::Count { count: 3, of: Span::from_secs(60) },
        3 => WindowSpec::InARow { count: 3 },
        4 => WindowSpec::Nominal { share, of: of.max(every.times(2)), every },
        _ => WindowSpec::Sustained { of, coverage, max_gap },
    }
}

/// Everything of a rule that decides what its window means.
fn fingerprint(trigger: &Trigger) -> String {
    format!("{} for {:?} {:?}", trigger.when.text, trigger.window, trigger.then)
}

fn draw_plan(
    source: &SourceName,
    range: Span,
    on: BTreeMap<SourceName, SourceName>,
    random: &mut Random,
) -> Plan {
    let steps = (0..random.pick(&[1, 2, 2, 3])).map(|nth| draw_step(nth, random)).collect();
    let verify = random.chance(65).then(|| {
        let mut conditions = vec![error_rate(source, range, Comparison::Less, 0.02)];
        if random.chance(40) {
            conditions.push(throughput(source, range, Comparison::Greater, 5.0));
        }
        Verify { warm_up: random.secs(0, 10), within: random.secs(20, 90), conditions, on }
    });
    Plan { deadline: random.secs(30, 180).min(DEADLINE_MAX), steps, verify }
}

fn draw_step(nth: usize, random: &mut Random) -> Step {
    let name = format!("step {nth}");
    let action = if random.chance(60) {
        StepAction::Exec { argv: vec!["/usr/local/bin/back".to_owned(), "{reason}".to_owned()] }
    } else {
        let url = "http://127.0.0.1:9000/deploy/stable".to_owned();
        StepAction::Http { method: "POST".to_owned(), url, body: None }
    };
    let on_error = if random.chance(35) { OnError::Continue } else { OnError::Stop };
    Step { name, action, timeout: random.secs(5, 40), on_error, idempotent: random.chance(35) }
}

fn down(probe: &SourceName) -> Condition {
    condition("healthy", Unit::Bool, "probe_success".to_owned(), probe, Comparison::Equal, 0.0)
}

fn error_rate(source: &SourceName, range: Span, comparison: Comparison, threshold: f64) -> Condition {
    let text = format!(
        "sum(rate(http_requests_total{{status=\"500\"}}[{range}])) / sum(rate(http_requests_total[{range}]))"
    );
    condition("error_rate", Unit::Ratio, text, source, comparison, threshold)
}

fn throughput(source: &SourceName, range: Span, comparison: Comparison, threshold: f64) -> Condition {
    let text = format!("sum(rate(http_requests_total[{range}]))");
    condition("throughput", Unit::PerSecond, text, source, comparison, threshold)
}

fn condition(
    name: &str,
    unit: Unit,
    text: String,
    source: &SourceName,
    comparison: Comparison,
    threshold: f64,
) -> Condition {
    let scope = Scope::of([source.clone()]);
    let query = promql::parse(&text).and_then(|expr| promql::compile(&expr, &scope));
    // The expressions are the simulator's own: one that fails is a defect of it.
    let query = query.unwrap_or_else(|problems| unreachable!("{text}: {problems:?}"));
    let indicator = Indicator { name: name.into(), unit, text, query, baseline: BaselineSpec::default() };
    let text = format!("{name} {comparison} {threshold}");
    let threshold = Threshold::Fixed(threshold);
    Condition::of(Compare { indicator: Arc::new(indicator), comparison, threshold, text })
}

/// What a reload changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revision {
    RuleRemoved,
    RuleChanged,
    ModeChanged,
    PlanRemoved,
    SourceRemoved,
    ReceiverRemoved,
}

/// Draws what people might change in `setup`; `None` where the draw does not apply to it.
pub(super) fn revise(setup: &Setup, nth: u64, random: &mut Random) -> Option<(Setup, Revision)> {
    use Revision as R;
    let revision = random.pick(&[
        R::RuleRemoved,
        R::RuleRemoved,
        R::RuleChanged,
        R::RuleChanged,
        R::ModeChanged,
        R::PlanRemoved,
        R::SourceRemoved,
        R::ReceiverRemoved,
    ]);
    let mut new = setup.clone();
    new.fingerprint = format!("files-{nth}");
    let rules: Vec<_> = new.rules.triggers.keys().cloned().collect();
    match revision {
        R::RuleRemoved => {
            new.rules.triggers.remove(&random.pick(non_empty(&rules)?));
        }
        R::RuleChanged => {
            let rule = new.rules.triggers.get_mut(&random.pick(non_empty(&rules)?))?;
            let mut changed = (**rule).clone();
            changed.window = draw_window(Span::from_secs(10), random);
            changed.fingerprint = fingerprint(&changed);
            *rule = Arc::new(changed);
        }
        R::ModeChanged => {
            let target = new.targets.get_mut(&target_name(0))?;
            target.mode = if target.mode == Mode::Armed { Mode::Shadow } else { Mode::Armed };
        }
        R::PlanRemoved => remove_plan(&mut new, random)?,
        R::SourceRemoved => {
            let last = new.targets.len() - 1;
            if last == 0 {
                return None;
            }
            let gone = source_of(last);
            new.sources.remove(&gone);
            new.sources.remove(&blue_of(last));
            new.sources.remove(&probe_of(last));
            new.probes.remove(&probe_of(last));
            let is_gone =
                |rule: &Trigger| rule.sources.contains(&gone) || rule.sources.contains(&probe_of(last));
            new.rules = without_rules(&new.rules, is_gone);
            new.targets.get_mut(&target_name(last))?.detect = None;
        }
        R::ReceiverRemoved => {
            let receivers: Vec<_> = new.receivers.iter().cloned().collect();
            if receivers.len() < 2 {
                return None;
            }
            let gone = random.pick(&receivers);
            new.receivers.remove(&gone);
            for level in new.policies.values_mut().flat_map(|policy| &mut policy.levels) {
                level.notify.retain(|name| *name != gone);
                if level.notify.is_empty() {
                    level.notify = new.receivers.iter().cloned().collect();
                }
            }
        }
    }
    Some((new, revision))
}

fn remove_plan(setup: &mut Setup, random: &mut Random) -> Option<()> {
    let plans: Vec<_> = setup.plans.keys().cloned().collect();
    let gone = random.pick(non_empty(&plans)?);
    setup.plans.remove(&gone);
    for target in setup.targets.values_mut() {
        target.plans.remove(&gone);
    }
    let rules = setup.rules.triggers.values_mut();
    for rule in rules.filter(|rule| rule.then.rollback.as_ref() == Some(&gone)) {
        let mut changed = (**rule).clone();
        changed.then.rollback = None;
        changed.fingerprint = fingerprint(&changed);
        *rule = Arc::new(changed);
    }
    Some(())
}

fn without_rules(rules: &RuleSet, gone: impl Fn(&Trigger) -> bool) -> RuleSet {
    let kept = rules.triggers.iter().filter(|(_, rule)| !gone(rule));
    RuleSet {
        triggers: kept.map(|(key, rule)| (key.clone(), Arc::clone(rule))).collect(),
        ..RuleSet::default()
    }
}

fn non_empty<T>(all: &[T]) -> Option<&[T]> {
    (!all.is_empty()).then_some(all)
}
