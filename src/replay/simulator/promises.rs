//! What a world's targets promise: objectives and error budgets, drawn as rule files would write them.

use std::collections::BTreeSet;

use super::random::Random;
use crate::engine::decision::Setup;
use crate::engine::model::{PlanName, SourceName, TargetName};
use crate::engine::rules::compile::{Catalog, compile};
use crate::engine::rules::{Findings, RuleFiles, SourceFile, Verified};
use crate::engine::time::Span;

/// Draws what a target promises, where it promises anything.
pub(super) fn draw(
    setup: &mut Setup,
    (target, source): (&TargetName, &SourceName),
    (range, every): (Span, Span),
    plans: &[PlanName],
    random: &mut Random,
) {
    let (has_objectives, has_budget) = (random.chance(35), random.chance(35));
    if !has_objectives && !has_budget {
        return;
    }
    let plan = random.pick(plans);
    let mut text = format!(
        "target: {target}\nsources: [{source}]\nindicators:
  error_rate: {{ unit: ratio, expr: 'sum(rate(http_requests_total{{status=\"500\"}}[{range}])) / sum(rate(http_requests_total[{range}]))' }}
  throughput: {{ unit: per_second, expr: 'sum(rate(http_requests_total[{range}]))' }}\n"
    );
    if has_objectives {
        text += &objectives(&plan, random);
    }
    if has_budget {
        text += &budget(&plan, random);
    }
    let catalog = Catalog {
        targets: [(target.clone(), plans.iter().cloned().collect::<BTreeSet<_>>())].into(),
        sources: [(source.clone(), every)].into(),
        plans: plans.iter().map(|plan| (plan.clone(), Verified::Yes)).collect(),
        policies: ["on-call".into()].into(),
        ..Catalog::default()
    };
    let mut found = Findings::default();
    let files = [SourceFile::new("promises.yaml", &text)];
    let compiled = compile(RuleFiles { files: &files, some_unread: false }, &catalog, &mut found);
    if let Err(problems) = found.conclude(()) {
        // The text is the simulator's own: one that is refused is a defect of it.
        unreachable!("{text}: {problems:?}");
    }
    setup.rules.triggers.extend(compiled.rules.triggers);
    setup.rules.objectives.extend(compiled.rules.objectives);
    setup.rules.budgets.extend(compiled.rules.budgets);
}

fn objectives(plan: &PlanName, random: &mut Random) -> String {
    let scoring = random.pick(&["penalty", "weighted"]);
    let follows = random.pick(&["rollback", "recommend"]);
    format!(
        "objectives:
  sustained: 3 in 60s
  scoring: {scoring}
  promises:
    - {{ name: errors, keep: error_rate < 2%, severity: critical }}
    - {{ name: traffic, keep: throughput > 5/s, severity: low }}
  then: {{ critical: {{ {follows}: {plan}, page: on-call }}, low: {{ page: on-call }} }}\n"
    )
}

/// A budget looks back for longer than the checks know what was bad: it may act nowhere.
fn budget(plan: &PlanName, random: &mut Random) -> String {
    let (enforcement, then) = random.pick(&[("strict", ""), ("permissive", "rollback: PLAN, ")]);
    let then = then.replace("PLAN", plan.as_str());
    format!(
        "budgets:
  availability:
    good: 'sum(http_requests_total{{status=\"200\"}})'
    total: sum(http_requests_total)
    objective: 99%
    enforcement: {enforcement}
    burn_rates: [{{ long: 5m, short: 1m, above: 5, severity: high }}]
    then: {{ high: {{ {then}page: on-call }} }}\n"
    )
}
