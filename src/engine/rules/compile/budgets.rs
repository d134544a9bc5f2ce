//! `budgets:` -> what is counted, and a trigger per burn rate.

use std::sync::Arc;

use super::objectives::Consequences;
use super::{Catalog, Compiled, FileScope, WrittenIndicator, fingerprint, hex};
use crate::engine::model::{BudgetName, Severity, TriggerName};
use crate::engine::promql::ast::ExprKind;
use crate::engine::promql::{self, Expr};
use crate::engine::rules::baseline::WrittenBaseline;
use crate::engine::rules::diagnostic::{Diagnostic, Findings};
use crate::engine::rules::set::{
    Budget, BurnRate, Compare, Comparison, Condition, Indicator, Threshold, Trigger, Unit, WindowSpec,
};
use crate::engine::rules::written::{RuleFile, WrittenBudget, WrittenBurnRate};
use crate::engine::rules::yaml::Scalar;
use crate::engine::time::Span;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The longest period; what is remembered is bounded by it.
const PERIOD_MAX: Span = Span::from_secs(30 * DAY);

/// What grew within at most this many of the slowest source's intervals is booked: one lost answer is not a gap, two are.
const GAP_INTERVALS: i64 = 3;

/// Fewer events say nothing: at 99 %, one bad one of 99 would be a burn rate above 1.
const MIN_EVENTS: f64 = 100.0;
/// One bad event is an accident.
const MIN_ERRORS: f64 = 2.0;

/// Long window, short window, rate, severity: SRE Workbook, chapter 5, table 5-8. They spend 2 %, 5 % and 10 % of a budget
/// of 30 days within the long window.
const BURN_RATES: [(Span, Span, f64, Severity); 3] = [
    (Span::from_secs(HOUR), Span::from_secs(300), 14.4, Severity::Critical),
    (Span::from_secs(6 * HOUR), Span::from_secs(1800), 6.0, Severity::High),
    (Span::from_secs(3 * DAY), Span::from_secs(6 * HOUR), 1.0, Severity::Low),
];

/// Compiles the budgets of one file into `compiled`.
pub(super) fn compile(
    file: &RuleFile,
    scope: &FileScope,
    catalog: &Catalog,
    compiled: &mut Compiled,
    out: &mut Findings,
) {
    for written in &file.budgets {
        let key = (scope.target.clone(), BudgetName::from(written.name.value.as_str()));
        if compiled.rules.budgets.contains_key(&key) {
            let message = format!("target `{}` has a budget `{}` in another file already", key.0, key.1);
            out.push(Diagnostic::error("duplicate-budget", written.name.place(), message));
            continue;
        }
        let then = Consequences::of(&written.then, scope, catalog, &written.name.place(), out);
        let Some((budget, total)) = read_budget(written, scope, out) else { continue };
        for rate in burn_rates(written, &budget, out) {
            let position = scope.position(&written.name.place());
            let trigger = Trigger { position, ..trigger_of(&rate, &budget, &total, &then, scope) };
            let key = (scope.target.clone(), trigger.name.clone());
            compiled.rules.triggers.insert(key, Arc::new(trigger));
        }
        compiled.rules.budgets.insert(key, Arc::new(budget));
    }
}

fn read_budget(
    written: &WrittenBudget,
    scope: &FileScope,
    out: &mut Findings,
) -> Option<(Budget, Arc<Indicator>)> {
    let mut counter = |expr: &Option<Scalar>| {
        let expr = expr.as_ref()?;
        check_counter(expr, out);
        let indicator = WrittenIndicator {
            name: written.name.clone(),
            unit: Some(Unit::Count),
            expr: Some(expr.clone()),
            baseline: WrittenBaseline::default(),
        };
        scope.indicator(&indicator, out)
    };
    let (good, total) = (counter(&written.good), counter(&written.total));
    let period = match &written.period {
        Some(period) if period.value > PERIOD_MAX => {
            let message = format!("a period of {} is longer than {PERIOD_MAX}", period.value);
            out.push(Diagnostic::error("bad-period", period.place.clone(), message));
            return None;
        }
        period => period.as_ref().map_or(PERIOD_MAX, |period| period.value),
    };
    let (good, total, objective) = (good?, total?, written.objective.as_ref()?.value);
    let sources = good.sources().into_iter().chain(total.sources()).collect();
    let slowest = scope.slowest();
    let budget = Budget {
        name: BudgetName::from(written.name.value.as_str()),
        target: scope.target.clone(),
        fingerprint: {
            use sha2::{Digest, Sha256};
            hex(&Sha256::digest(format!("{:?}", (&good.text, &total.text, &sources))))
        },
        good: good.query,
        total: total.query.clone(),
        sources,
        objective,
        period,
        min_events: written.min_events.unwrap_or(MIN_EVENTS),
        min_errors: written.min_errors.unwrap_or(MIN_ERRORS),
        enforcement: written.enforcement,
        max_gap: slowest.times(GAP_INTERVALS),
    };
    Some((budget, Arc::new(total)))
}

/// A budget books what counters grew by; a rate is not one of them.
fn check_counter(written: &Scalar, out: &mut Findings) {
    fn growth(expr: &Expr) -> Option<String> {
        if let ExprKind::Call(call) = &expr.kind
            && ["rate", "irate", "increase", "delta", "idelta"].contains(&call.function.name)
        {
            return Some(call.function.name.to_string());
        }
        let mut found = None;
        // The height is bounded where expressions are parsed.
        expr.for_each_child(&mut |child| found = found.take().or_else(|| growth(child)));
        found
    }
    // What does not parse is told where it is compiled.
    let Ok(expr) = promql::parse(&written.value) else { return };
    if let Some(function) = growth(&expr) {
        let message = format!("a budget counts events, and `{function}` makes a rate of them");
        out.push(
            Diagnostic::error("not-a-counter", written.place(), message)
                .hint("write the counter alone, such as `sum(http_requests_total)`"),
        );
    }
}

/// Returns the burn rates that are watched; those that can never be reached are told, and harmless.
fn burn_rates(written: &WrittenBudget, budget: &Budget, out: &mut Findings) -> Vec<(BurnRate, Severity)> {
    let rate = |long, short, above, severity| {
        let (name, enforcement) = (budget.name.clone(), budget.enforcement);
        (BurnRate { budget: name, long, short, above, enforcement }, severity)
    };
    let Some(own) = &written.burn_rates else {
        let fits = BURN_RATES.iter().filter(|(long, ..)| *long <= budget.period);
        let rates: Vec<_> =
            fits.map(|(long, short, above, severity)| rate(*long, *short, *above, *severity)).collect();
        let place = written.objective.as_ref().map_or_else(|| written.name.place(), |o| o.place.clone());
        for (rate, _) in &rates {
            check_reachable(rate, budget, &place, out);
        }
        return rates;
    };
    if own.is_empty() {
        let message = "a budget without burn rates is shown and never tells anybody";
        out.push(Diagnostic::warning("no-consequence", written.name.place(), message));
    }
    let mut rates: Vec<(BurnRate, Severity)> = Vec::new();
    for WrittenBurnRate { long, short, above, severity } in own {
        let problem = if short.value >= long.value {
            Some((&short.place, format!("the short window {} is not shorter than the long one", short.value)))
        } else if long.value > budget.period {
            Some((
                &long.place,
                format!("a window of {} is longer than the period {}", long.value, budget.period),
            ))
        } else if short.value < Span::from_secs(60) {
            Some((
                &short.place,
                format!("a window of {} is shorter than the minute that is counted in", short.value),
            ))
        } else if rates.iter().any(|(rate, _)| rate.long == long.value) {
            Some((&long.place, format!("a second burn rate over {}", long.value)))
        } else {
            None
        };
        if let Some((place, message)) = problem {
            out.push(Diagnostic::error("bad-burn-rate", place.clone(), message));
            continue;
        }
        let (rate, severity) = rate(long.value, short.value, above.value, *severity);
        check_reachable(&rate, budget, &above.place, out);
        rates.push((rate, severity));
    }
    rates
}

/// Doubts a rate that would need more bad events than there are.
fn check_reachable(
    rate: &BurnRate,
    budget: &Budget,
    place: &crate::engine::rules::diagnostic::Place,
    out: &mut Findings,
) {
    let most = 1.0 / (1.0 - budget.objective);
    if rate.above >= most {
        let message = format!(
            "a burn rate above {} over {} can never be reached: with every event bad it is {}",
            rate.above,
            rate.long,
            (most * 100.0).round() / 100.0
        );
        out.push(
            Diagnostic::warning("impossible-burn-rate", place.clone(), message)
                .hint("write `burn_rates` of your own that are lower, or promise more"),
        );
    }
}

fn trigger_of(
    (rate, severity): &(BurnRate, Severity),
    budget: &Budget,
    total: &Arc<Indicator>,
    then: &Consequences,
    scope: &FileScope,
) -> Trigger {
    let text = format!(
        "error budget {} burns faster than {} over {} and {}",
        budget.name, rate.above, rate.long, rate.short
    );
    let when = Condition::of(Compare {
        indicator: Arc::clone(total),
        comparison: Comparison::Greater,
        threshold: Threshold::Fixed(rate.above),
        text,
    });
    let name = TriggerName::from(format!("budget:{}/{}", budget.name, rate.long).as_str());
    // Both of its windows are looked at anew at each observation: nothing is left to wait for.
    let at_once = WindowSpec::InARow { count: 1 };
    let trigger = Trigger {
        sources: budget.sources.clone(),
        severity: *severity,
        then: then.of_severity(*severity),
        burn_rate: Some(rate.clone()),
        ..Trigger::new(name, scope.target.clone(), when, at_once)
    };
    Trigger { fingerprint: fingerprint::of(&trigger), ..trigger }
}
