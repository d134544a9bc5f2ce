//! Triggers that name other triggers: which names there are, and in which order they are compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::FileScope;
use crate::engine::model::{TargetName, TriggerName};
use crate::engine::rules::condition;
use crate::engine::rules::diagnostic::{Diagnostic, Findings, Place};
use crate::engine::rules::written::{RuleFile, WrittenTrigger};
use crate::engine::rules::yaml::Scalar;

/// Every trigger of every file that has a name of its own.
pub(super) struct Declared<'w> {
    /// Triggers and their levels, by target and name.
    names: BTreeMap<(TargetName, String), usize>,
    drafts: Vec<Draft<'w>>,
}

/// A trigger that is not compiled yet, with what it names.
struct Draft<'w> {
    scope: &'w FileScope,
    written: &'w WrittenTrigger,
    named: Vec<(String, Place)>,
}

impl<'w> Declared<'w> {
    /// Collects the triggers; a second one of a name is told and left out.
    pub(super) fn of(files: &'w [(FileScope, RuleFile)], out: &mut Findings) -> Self {
        let mut declared = Self { names: BTreeMap::new(), drafts: Vec::new() };
        for (scope, file) in files {
            for written in &file.triggers {
                declared.add(scope, written, out);
            }
        }
        declared
    }

    fn add(&mut self, scope: &'w FileScope, written: &'w WrittenTrigger, out: &mut Findings) {
        let name = &written.name.value;
        let key = (scope.target.clone(), name.clone());
        if let Some(first) = self.names.get(&key).and_then(|first| self.drafts.get(*first)) {
            let message = format!("a second trigger `{name}` for target `{}`", scope.target);
            let first = first.written.name.place();
            let hint = format!("the first one is at {first}; names are unique within a target");
            out.push(Diagnostic::error("duplicate-trigger", written.name.place(), message).hint(hint));
            return;
        }
        let index = self.drafts.len();
        self.names.insert(key, index);
        for level in &written.levels {
            self.names.insert((scope.target.clone(), format!("{name}/{}", level.name.value)), index);
        }
        let levels = written.levels.iter().map(|level| &level.terms);
        let whens = std::iter::once(&written.terms).chain(levels).filter_map(|terms| terms.when.as_ref());
        self.drafts.push(Draft { scope, written, named: whens.flat_map(named_in).collect() });
    }

    /// Returns whether a trigger, or a level, is declared; it may be broken.
    pub(super) fn contains(&self, target: &TargetName, name: &str) -> bool {
        self.names.contains_key(&(target.clone(), name.to_owned()))
    }

    /// Returns what the triggers of a target are called.
    pub(super) fn known<'d>(&'d self, target: &'d TargetName) -> impl Iterator<Item = &'d str> {
        self.names.keys().filter(move |(of, _)| of == target).map(|(_, name)| name.as_str())
    }

    /// Returns the triggers in an order in which each stands behind all that it names. Those that wait for themselves are
    /// told; they are left out, with what names them.
    pub(super) fn ordered(&self, out: &mut Findings) -> Vec<(&'w FileScope, &'w WrittenTrigger)> {
        let edges: Vec<BTreeSet<usize>> = self
            .drafts
            .iter()
            .map(|draft| draft.named.iter().filter_map(|(name, _)| self.draft(draft, name)).collect())
            .collect();
        let mut placed = BTreeSet::new();
        let mut order = Vec::new();
        let mut waiting: Vec<usize> = (0..self.drafts.len()).collect();
        loop {
            let (free, rest): (Vec<usize>, Vec<usize>) =
                waiting.into_iter().partition(|draft| edges[*draft].is_subset(&placed));
            waiting = rest;
            if free.is_empty() {
                break;
            }
            placed.extend(free.iter().copied());
            order.extend(free);
        }
        for draft in waiting {
            if let Some(circle) = circle(draft, &edges) {
                self.tell_circle(&circle, out);
            }
        }
        order.into_iter().map(|draft| (self.drafts[draft].scope, self.drafts[draft].written)).collect()
    }

    fn draft(&self, from: &Draft<'_>, name: &str) -> Option<usize> {
        self.names.get(&(from.scope.target.clone(), name.to_owned())).copied()
    }

    /// Tells of a circle at the place where its first trigger names the next one.
    fn tell_circle(&self, circle: &[usize], out: &mut Findings) {
        let [first, rest @ ..] = circle else { return };
        let draft = &self.drafts[*first];
        let next = rest.first().unwrap_or(first);
        let Some((_, place)) = draft.named.iter().find(|(name, _)| self.draft(draft, name) == Some(*next))
        else {
            return;
        };
        let names = circle.iter().chain([first]).map(|draft| self.drafts[*draft].written.name.value.as_str());
        let message = format!("this trigger waits for itself: {}", names.collect::<Vec<_>>().join(" -> "));
        out.push(
            Diagnostic::error("cyclic-triggers", place.clone(), message)
                .hint("what is named must be decided first: compare an indicator in one of them"),
        );
    }
}

/// Returns the names that a condition holds, each with its place. What does not parse is told where it is compiled.
fn named_in(when: &Scalar) -> Vec<(String, Place)> {
    let Ok(parsed) = condition::parse(&when.value) else { return Vec::new() };
    let place = |span: &Range<usize>| when.place_within(span.clone());
    parsed.named().into_iter().map(|named| (named.name.clone(), place(&named.span))).collect()
}

/// Returns the shortest way from a trigger back to itself, if there is one.
fn circle(from: usize, edges: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    let mut ways = vec![vec![from]];
    let mut seen = BTreeSet::new();
    let mut next = 0;
    while let Some(way) = ways.get(next).cloned() {
        next += 1;
        for to in way.last().and_then(|last| edges.get(*last)).into_iter().flatten() {
            if *to == from {
                return Some(way);
            }
            if seen.insert(*to) {
                ways.push(way.iter().copied().chain([*to]).collect());
            }
        }
    }
    None
}

/// Returns what `name` means among compiled triggers: one, or each level of one.
pub(super) fn compiled<'t>(
    name: &str,
    target: &TargetName,
    triggers: impl Iterator<Item = &'t crate::engine::rules::Trigger>,
) -> Vec<TriggerName> {
    let is_meant = |trigger: &&crate::engine::rules::Trigger| {
        let is_level = trigger.level.as_ref().is_some_and(|level| level.trigger.as_str() == name);
        trigger.target == *target && (trigger.name.as_str() == name || is_level)
    };
    triggers.filter(is_meant).map(|trigger| trigger.name.clone()).collect()
}
