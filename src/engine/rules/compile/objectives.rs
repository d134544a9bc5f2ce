//! `objectives:` -> promises that are scored, and a trigger per promise that watches whether it is broken again and again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::windows::{self, Paces};
use super::{Catalog, Compiled, FileScope, condition, consequence, fingerprint};
use crate::engine::model::{Severity, TriggerName};
use crate::engine::rules::diagnostic::{Diagnostic, Findings, Place};
use crate::engine::rules::set::{
    Comparison, Condition, Objectives, Promise, Scoring, Test, Then, Threshold, Trigger, Weights, WindowSpec,
};
use crate::engine::rules::written::{
    RuleFile, WrittenObjectives, WrittenPromise, WrittenThen, WrittenWeights, WrittenWindow,
};
use crate::engine::rules::yaml::Scalar;
use crate::engine::time::Span;

/// Acceptance row S0-18: 3 violations in the 300 s window.
const SUSTAINED: u32 = 3;
const WINDOW: Span = Span::from_secs(300);

/// Compiles the objectives of one file into `compiled`.
pub(super) fn compile(
    file: &RuleFile,
    scope: &FileScope,
    catalog: &Catalog,
    compiled: &mut Compiled,
    out: &mut Findings,
) {
    let Some(written) = &file.objectives else { return };
    if compiled.rules.objectives.contains_key(&scope.target) {
        let message = format!("target `{}` has objectives in another file already", scope.target);
        out.push(
            Diagnostic::error("duplicate-objectives", written.place.clone(), message)
                .hint("one score speaks for a target: put all its promises under one `objectives:`"),
        );
    }
    let window = written.window.as_ref().map_or(WINDOW, |window| window.value);
    let (count, of) = written.sustained.as_ref().map_or((SUSTAINED, window), |sustained| sustained.value);
    let spec = WindowSpec::Count { count, of };
    let then = Consequences::of(&written.then, scope, catalog, &written.place, out);
    let mut promises: Vec<Promise> = Vec::new();
    let mut first_places: BTreeMap<&str, Place> = BTreeMap::new();
    for promise in &written.promises {
        if let Some(first) = first_places.get(promise.name.value.as_str()) {
            let message = format!("a second promise `{}`", promise.name.value.escape_debug());
            let hint = format!("the first one is at {first}");
            out.push(Diagnostic::error("duplicate-promise", promise.name.place(), message).hint(hint));
            continue;
        }
        first_places.insert(&promise.name.value, promise.name.place());
        let position = scope.position(&promise.name.place());
        let Some(promise) = read_promise(promise, written.is_weighted, scope, compiled, out) else {
            continue;
        };
        let trigger = trigger_of(&promise, spec, then.of_severity(promise.severity), scope);
        let trigger = Trigger { position, ..trigger };
        let key = (scope.target.clone(), trigger.name.clone());
        compiled.rules.triggers.insert(key, Arc::new(trigger));
        promises.push(promise);
    }
    if written.is_weighted && !promises.is_empty() && promises.iter().all(|promise| promise.weight <= 0.0) {
        let message = "every promise weighs nothing, so nothing could be kept";
        out.push(Diagnostic::error("bad-weight", written.place.clone(), message));
    }
    let read = promises.iter().flat_map(|promise| promise.keep.sources()).collect();
    let place = written.sustained.as_ref().map_or(&written.place, |sustained| &sustained.place);
    windows::compile(WrittenWindow::Counted(spec), place, &Paces::of(&read, &scope.paces), out);
    let objectives =
        Objectives { target: scope.target.clone(), window, scoring: scoring(written, out), promises };
    compiled.rules.objectives.insert(scope.target.clone(), Arc::new(objectives));
}

fn scoring(written: &WrittenObjectives, out: &mut Findings) -> Scoring {
    let weight = |words: &WrittenWeights, word: &str, default: f64| {
        words.by_word.get(word).copied().unwrap_or(default)
    };
    match (&written.weights, written.is_weighted) {
        (None, true) => Scoring::Weighted,
        (None, false) => Scoring::Penalty(Weights::DEFAULT),
        (Some(words), true) => {
            let message = "`weights` are penalties by severity, and `scoring` is `weighted`";
            out.push(
                Diagnostic::error("bad-weight", words.place.clone(), message)
                    .hint("give each promise a `weight`, or write `scoring: penalty`"),
            );
            Scoring::Weighted
        }
        (Some(words), false) => Scoring::Penalty(Weights {
            critical: weight(words, "critical", Weights::DEFAULT.critical),
            high: weight(words, "high", Weights::DEFAULT.high),
            medium: weight(words, "medium", Weights::DEFAULT.medium),
            low: weight(words, "low", Weights::DEFAULT.low),
            unknown: weight(words, "unknown", Weights::DEFAULT.unknown),
        }),
    }
}

fn read_promise(
    written: &WrittenPromise,
    is_weighted: bool,
    scope: &FileScope,
    compiled: &Compiled,
    out: &mut Findings,
) -> Option<Promise> {
    let mut read = |text: &Scalar| {
        let find = |name: &str| compiled.indicators.in_file(&scope.target, scope.file.name(), name);
        condition(text, find, out).filter(|condition| can_be_negated(condition, text, out))
    };
    let keep = written.keep.as_ref().map(&mut read);
    let warn = written.warn.as_ref().map(&mut read);
    if !is_weighted {
        let place = |spanned: Option<Place>, word| spanned.map(|place| (word, place));
        let only_weighted = [
            place(written.warn.as_ref().map(Scalar::place), "warn"),
            place(written.key.as_ref().map(|key| key.place.clone()), "key"),
            place(written.weight.as_ref().map(|weight| weight.place.clone()), "weight"),
        ];
        for (word, place) in only_weighted.into_iter().flatten() {
            let message = format!("`{word}` means nothing where penalties are counted");
            out.push(
                Diagnostic::error("not-weighted", place, message)
                    .hint("write `scoring: weighted`, or take it out"),
            );
        }
    }
    let (keep, warn) = (keep??, warn);
    Some(Promise {
        trigger: TriggerName::from(format!("objective:{}", written.name.value).as_str()),
        name: written.name.value.clone(),
        keep,
        warn: match warn {
            Some(warn) => Some(warn?),
            None => None,
        },
        severity: written.severity,
        is_key: written.key.as_ref().is_some_and(|key| key.value),
        weight: written.weight.as_ref().map_or(1.0, |weight| weight.value),
    })
}

/// A bound beside a baseline means the larger or the smaller of both by the comparison; turned round it would mean the
/// other one.
fn can_be_negated(condition: &Condition, written: &Scalar, out: &mut Findings) -> bool {
    let bounded = condition
        .compares()
        .into_iter()
        .any(|compare| matches!(compare.threshold, Threshold::OfBaseline { bound: Some(_), .. }));
    if bounded {
        let message = "a promise cannot have a bound beside its baseline";
        out.push(
            Diagnostic::error("bad-promise", written.place(), message)
                .hint("write two comparisons: `latency < 1.5x baseline or latency < 5ms`"),
        );
    }
    !bounded
}

/// Makes the trigger that fires when a promise is broken again and again.
fn trigger_of(promise: &Promise, spec: WindowSpec, then: Then, scope: &FileScope) -> Trigger {
    let broken = negated(&promise.keep.test);
    let (test, text) = match &promise.warn {
        None => (broken, format!("{} is broken", promise.keep.text)),
        Some(warn) => {
            let text = format!("{} is broken, {} too", promise.keep.text, warn.text);
            (Test::All(vec![broken, negated(&warn.test)]), text)
        }
    };
    let when = Condition { test, text };
    let trigger = Trigger {
        severity: promise.severity,
        then,
        ..Trigger::new(promise.trigger.clone(), scope.target.clone(), when, spec)
    };
    Trigger { fingerprint: fingerprint::of(&trigger), ..trigger }
}

/// Turns a test round: what is unknown stays unknown.
fn negated(test: &Test) -> Test {
    let all = |parts: &[Test]| parts.iter().map(negated).collect();
    match test {
        Test::Compare(compare) => {
            let mut turned = compare.clone();
            turned.comparison = match compare.comparison {
                Comparison::Less => Comparison::GreaterOrEqual,
                Comparison::LessOrEqual => Comparison::Greater,
                Comparison::Greater => Comparison::LessOrEqual,
                Comparison::GreaterOrEqual => Comparison::Less,
                Comparison::Equal => Comparison::NotEqual,
                Comparison::NotEqual => Comparison::Equal,
            };
            turned.text = format!("not {}", compare.text);
            Test::Compare(turned)
        }
        Test::All(parts) => Test::Any(all(parts)),
        Test::Any(parts) => Test::All(all(parts)),
        Test::AtLeast { count, of } => {
            Test::AtLeast { count: (of.len() + 1).saturating_sub(*count), of: all(of) }
        }
    }
}

/// What follows, by severity.
pub(super) struct Consequences {
    written: BTreeMap<Severity, Then>,
}

impl Consequences {
    pub(super) fn of(
        written: &BTreeMap<Severity, WrittenThen>,
        scope: &FileScope,
        catalog: &Catalog,
        place: &Place,
        out: &mut Findings,
    ) -> Self {
        if written.values().all(|then| !then.something) {
            let message = "nothing follows, whatever is broken";
            out.push(
                Diagnostic::warning("no-consequence", place.clone(), message)
                    .hint("add `then: { critical: { page: POLICY } }`"),
            );
        }
        let compiled = written.iter();
        Self {
            written: compiled
                .map(|(severity, then)| (*severity, consequence(then, &scope.target, catalog, out)))
                .collect(),
        }
    }

    /// Returns what follows at a severity. Where nothing is written for it, the policy of the next severe one is told,
    /// else of the next less severe one; nothing is run or recommended that was not written for it.
    pub(super) fn of_severity(&self, severity: Severity) -> Then {
        if let Some(then) = self.written.get(&severity) {
            return then.clone();
        }
        let above = self.written.range(severity..).map(|(_, then)| then);
        let below = self.written.range(..severity).rev().map(|(_, then)| then);
        Then { page: above.chain(below).find_map(|then| then.page.clone()), ..Then::default() }
    }
}
