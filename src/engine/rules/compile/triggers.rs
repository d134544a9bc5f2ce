//! Triggers as written -> [`Trigger`]s: one each, or one per level.

use std::collections::{BTreeMap, BTreeSet};

use super::windows::{self, Paces};
use super::{
    Catalog, Declared, FileScope, Indicators, Meaning, NamedLookup, Says, check_baselines, check_summary,
    condition, consequence, fingerprint, references,
};
use crate::engine::model::{Severity, SourceName, TriggerName};
use crate::engine::rules::diagnostic::{Diagnostic, Findings, Place, name_hint};
use crate::engine::rules::during;
use crate::engine::rules::set::{
    Across, Clear, Clock, Compare, Condition, LevelOf, NoData, Reads, RuleSet, Test, Then, Threshold, Trigger,
};
use crate::engine::rules::written::{WrittenTerms, WrittenTrigger, WrittenWindow};
use crate::engine::rules::yaml::Scalar;
use crate::engine::time::Span;

/// What the triggers of one file are compiled with.
pub(super) struct TriggerScope<'s> {
    pub(super) file: &'s FileScope,
    pub(super) indicators: &'s Indicators,
    pub(super) catalog: &'s Catalog,
    /// Every trigger there is; those that may be named here are compiled.
    pub(super) declared: &'s Declared<'s>,
    pub(super) rules: &'s RuleSet,
}

/// One trigger to be: its name and what is written of it.
struct Draft<'w> {
    name: TriggerName,
    place: Place,
    terms: &'w WrittenTerms,
    severity: Severity,
    level: Option<LevelOf>,
}

impl TriggerScope<'_> {
    /// Compiles a trigger, or each of its levels.
    pub(super) fn triggers(&self, written: &WrittenTrigger, out: &mut Findings) -> Vec<Trigger> {
        let name = written.name.value.as_str();
        let place = written.name.place();
        if written.levels.is_empty() {
            let terms = &written.terms;
            let severity = terms.severity.unwrap_or(Severity::High);
            let draft = Draft { name: name.into(), place, terms, severity, level: None };
            return self.trigger(draft, out).into_iter().collect();
        }
        let mut told: Vec<Diagnostic> = Vec::new();
        let mut compiled = Vec::new();
        for (nth, level) in written.levels.iter().enumerate() {
            let terms = level.terms.clone().or(&written.terms);
            let named = |level: &Scalar| TriggerName::from(format!("{name}/{}", level.value).as_str());
            let above = written.levels[nth + 1..].iter().map(|level| named(&level.name)).collect();
            let draft = Draft {
                name: named(&level.name),
                place: level.name.place(),
                terms: &terms,
                severity: terms.severity.unwrap_or(level.severity),
                level: Some(LevelOf { trigger: name.into(), above }),
            };
            // What the levels have in common is wrong once, not once per level.
            let mut found = Findings::default();
            compiled.extend(self.trigger(draft, &mut found));
            for problem in found.into_problems() {
                if !told.contains(&problem) {
                    told.push(problem);
                }
            }
        }
        out.extend(told);
        compiled
    }

    fn trigger(&self, draft: Draft<'_>, out: &mut Findings) -> Option<Trigger> {
        let terms = draft.terms;
        let then = self.then(&draft, out);
        if let Some(summary) = &terms.summary {
            check_summary(summary, self.catalog.summary_placeholders, out);
        }
        let mut compile = |written: &Option<Scalar>, says: Says| {
            written.as_ref().map(|text| self.condition(text, says, out))
        };
        // Every condition is looked at before any of them is given up.
        let (when, given) = (compile(&terms.when, Says::Bad), compile(&terms.given, Says::Good));
        let clear_when = compile(&terms.clear.as_ref().and_then(|clear| clear.when.clone()), Says::Good);
        let (given, clear_when) = (wanted(given), wanted(clear_when));
        let (when, given, clear_when) = (when??, given?, clear_when?);
        let clear = terms.clear.as_ref().map(|clear| Clear { when: clear_when, hold: clear.hold });
        let mut sources = when.sources();
        sources.extend(given.iter().flat_map(Condition::sources));
        sources.extend(clear.iter().filter_map(|clear| clear.when.as_ref()).flat_map(Condition::sources));
        let reads = self.reads(&when, &mut sources);
        if let Some(written) = terms.when.as_ref().filter(|_| reads.rank > 0 && terms.across.is_some()) {
            let message = "`per` and `series` tell series apart, and a trigger that is named has none";
            let hint = "take them out: of a trigger with `per` any label set counts";
            out.push(Diagnostic::error("bad-condition", written.place(), message).hint(hint));
        }
        let paces = Paces::of(&sources, &self.file.paces);
        let place = terms.window.as_ref().map_or_else(|| draft.place.clone(), |window| window.place.clone());
        let written = terms.window.as_ref().map_or(WrittenWindow::AT_ONCE, |window| window.value);
        let window = windows::compile(written, &place, &paces, out);
        if let Some(needed) = &terms.min_samples {
            windows::check_min_samples(needed, &window, &paces, out);
        }
        let no_data = terms.no_data.as_ref().map_or_else(NoData::default, |no_data| no_data.value);
        check_clear(&when, &clear, terms, out);
        let read = when.sources().into_iter().chain(given.iter().flat_map(Condition::sources));
        let read: BTreeSet<SourceName> = read.chain(reads.sources.iter().cloned()).collect();
        if self.catalog.probes.is_disjoint(&read) {
            self.check_absence(&draft, &then, &reads, out);
        }
        self.check_reference(&draft, &then, &read, out);
        let trigger = Trigger {
            position: self.file.position(&draft.place),
            sources,
            given,
            min_samples: terms.min_samples.as_ref().map_or(0, |needed| needed.value),
            across: terms.across.clone().unwrap_or(Across::One),
            clear,
            keep_firing_for: terms.keep_firing_for.unwrap_or(Span::ZERO),
            no_data,
            during: during::link(terms.during.as_deref().unwrap_or_default(), &self.catalog.calendars, out),
            level: draft.level,
            severity: draft.severity,
            summary: terms.summary.as_ref().map(|text| text.value.clone()),
            runbook: terms.runbook.as_ref().map(|text| text.value.clone()),
            due: due(terms, &then, out),
            then,
            reads,
            ..Trigger::new(draft.name, self.file.target.clone(), when, window)
        };
        Some(Trigger { fingerprint: fingerprint::of(&trigger), ..trigger })
    }

    /// Compiles a condition; only what says what is bad may name other triggers.
    fn condition(&self, written: &Scalar, says: Says, out: &mut Findings) -> Option<Condition> {
        let file = self.file;
        let find = |name: &str| self.indicators.in_file(&file.target, file.file.name(), name);
        let named = |name: &str| self.named(name);
        let meaning = match says {
            Says::Bad => Meaning { says, indicator: &find, trigger: Some(&named) },
            Says::Good => Meaning::good(&find),
        };
        let condition = condition(written, meaning, out)?;
        check_baselines(&condition, written, [&file.target], &self.catalog.undeployed, out);
        Some(condition)
    }

    /// Returns what a name alone means: another trigger of the target.
    fn named(&self, name: &str) -> NamedLookup {
        let target = &self.file.target;
        let found = references::compiled(name, target, self.rules.triggers.values().map(|known| &**known));
        if !found.is_empty() {
            return NamedLookup::Found(found);
        }
        if self.declared.contains(target, name) || self.indicators.is_incomplete() {
            return NamedLookup::Broken;
        }
        let message = format!("there is no trigger `{name}`");
        let hint = name_hint(name, "trigger", self.declared.known(target));
        NamedLookup::Refused("unknown-trigger", message, hint)
    }

    /// Returns what a condition takes over from the triggers that it names, and adds their sources.
    fn reads(&self, when: &Condition, sources: &mut BTreeSet<SourceName>) -> Reads {
        let mut reads = Reads::default();
        for name in when.named() {
            let Some(named) = self.rules.triggers.get(&(self.file.target.clone(), name.clone())) else {
                continue;
            };
            sources.extend(named.sources.iter().cloned());
            reads.fingerprints.insert(name.clone(), named.fingerprint.clone());
            reads.rank = reads.rank.max(named.reads.rank + 1);
            reads.absence |= named.rests_on_absence();
            let given = named.given.iter().flat_map(Condition::sources);
            reads.sources.extend(named.when.sources().into_iter().chain(given));
            reads.sources.extend(named.reads.sources.iter().cloned());
        }
        reads
    }

    fn then(&self, draft: &Draft<'_>, out: &mut Findings) -> Then {
        let written = draft.terms.then.clone().unwrap_or_default();
        if !written.something {
            let message = format!("nothing follows when `{}` fires", draft.name);
            out.push(
                Diagnostic::warning("no-consequence", draft.place.clone(), message)
                    .hint("add `then: { page: POLICY }`, and `rollback: PLAN` where it should act"),
            );
        }
        consequence(&written, &self.file.target, self.catalog, out)
    }

    /// Doubts a trigger that rolls back by what its target's reference probe answers.
    fn check_reference(
        &self,
        draft: &Draft<'_>,
        then: &Then,
        reads: &BTreeSet<SourceName>,
        out: &mut Findings,
    ) {
        let reference = self.catalog.references.get(&self.file.target);
        let judged = reference.and_then(|reference| reference.iter().find(|probe| reads.contains(*probe)));
        if let (Some(probe), true) = (judged, then.rollback.is_some()) {
            let message = format!(
                "`{}` reads `{probe}`, a reference probe of its target: while that is bad nothing is rolled back",
                draft.name
            );
            let hint = "a reference probe asks something that is there whatever becomes of the target";
            out.push(Diagnostic::warning("judged-reference", draft.place.clone(), message).hint(hint));
        }
    }

    /// Says that a trigger that missing data can make fire never acts where it reads no probe (E2).
    fn check_absence(&self, draft: &Draft<'_>, then: &Then, reads: &Reads, out: &mut Findings) {
        let own = draft.terms.no_data.as_ref().filter(|no_data| no_data.value.can_breach());
        let named = draft.terms.when.as_ref().filter(|_| reads.absence).map(Scalar::place);
        let place = own.map(|no_data| no_data.place.clone()).or(named);
        if let Some(place) = place.filter(|_| then.rollback.is_some()) {
            let message = format!(
                "missing data can make `{}` fire and it reads no probe, so it pages and never rolls back",
                draft.name
            );
            out.push(Diagnostic::warning("absence-never-acts", place, message).hint(
                "let `when` or `given` read a probe too: it rolls back while that is bad; or write `no_data: hold`",
            ));
        }
    }
}

/// What was written must have been compiled; what was not written need not.
fn wanted<T>(compiled: Option<Option<T>>) -> Option<Option<T>> {
    match compiled {
        None => Some(None),
        Some(compiled) => compiled.map(Some),
    }
}

/// Refuses clocks that wait for a rollback where none follows.
fn due(terms: &WrittenTerms, then: &Then, out: &mut Findings) -> BTreeMap<Clock, Span> {
    let written = terms.due.iter().flatten();
    let rolls_back =
        then.rollback.is_some() || terms.then.as_ref().is_some_and(|then| then.rollback.is_some());
    for clock in written.clone().filter(|_| !rolls_back) {
        if matches!(clock.clock, Clock::Rollback | Clock::Verified) {
            let message =
                format!("nothing is rolled back when this fires, so `{}` is always overdue", clock.clock);
            let hint = "name a plan, `then: { rollback: PLAN }`, or call it a task of people by another name";
            out.push(Diagnostic::error("clock-without-rollback", clock.place.clone(), message).hint(hint));
        }
    }
    written.map(|written| (written.clock.clone(), written.within)).collect()
}

/// Doubts a trigger that one value both breaches and clears.
fn check_clear(when: &Condition, clear: &Option<Clear>, terms: &WrittenTerms, out: &mut Findings) {
    let single = |condition: &Condition| match &condition.test {
        Test::Compare(Compare { indicator, comparison, threshold: Threshold::Fixed(threshold), .. }) => {
            Some((indicator.name.clone(), *comparison, *threshold))
        }
        _ => None,
    };
    let written = terms.clear.as_ref().and_then(|clear| clear.when.as_ref());
    let cleared = clear.as_ref().and_then(|clear| clear.when.as_ref()).and_then(single);
    let (Some(bad), Some(good), Some(written)) = (single(when), cleared, written) else { return };
    let meets = |value: f64| bad.1.met(value, bad.2) == Some(true) && good.1.met(value, good.2) == Some(true);
    let (low, high) = (bad.2.min(good.2), bad.2.max(good.2));
    let beyond = (high - low).max(high.abs()).max(1.0);
    if bad.0 == good.0
        && [low, high, f64::midpoint(low, high), low - beyond, high + beyond].into_iter().any(meets)
    {
        let message = format!("a value can meet `{}` and `{}` at once", when.text, written.value.trim());
        out.push(Diagnostic::warning("clear-overlaps", written.place(), message).hint(
            "a breach counts more, so it clears later than this says: write a threshold on the good side",
        ));
    }
}
