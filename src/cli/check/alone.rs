//! Rule files of ours without the daemon's file: everything that does not depend on what root declares.
//!
//! Targets, sources, plans, policies and calendars are taken to be there as they are named, and one note says which. What
//! depends on how often a source answers or how far back is remembered is left to a check with the daemon's file.

use std::collections::{BTreeMap, BTreeSet};

use super::{Report, in_each_file};
use crate::engine::decision::counted;
use crate::engine::decision::placeholders::SUMMARY_PLACEHOLDERS;
use crate::engine::evaluation::OWN_SOURCE;
use crate::engine::rules::compile::{Catalog, Verified, compile};
use crate::engine::rules::lint::files::{self, Surroundings};
use crate::engine::rules::written::{self, RuleFile, WrittenThen};
use crate::engine::rules::yaml::{self, Scalar};
use crate::engine::rules::{Diagnostic, Findings, Level, Place, RuleFiles, SourceFile};
use crate::engine::series::Limits;
use crate::engine::time::Span;

/// A source of which nothing is known may answer as often as this: so no window is called too short for it.
const ANY_PACE: Span = Span::from_millis(1);

/// How far back expressions may look where root has not said: no period of anything is longer.
const ANY_REACH: Span = Span::from_secs(400 * 86_400);

/// What rule files name of what root declares.
#[derive(Default)]
struct Named {
    targets: BTreeSet<String>,
    sources: BTreeSet<String>,
    plans: BTreeSet<String>,
    policies: BTreeSet<String>,
    calendars: BTreeSet<String>,
}

impl Named {
    fn of(file: &RuleFile) -> Self {
        let words =
            |scalars: &mut dyn Iterator<Item = &Scalar>| scalars.map(|one| one.value.clone()).collect();
        let mut named = Self {
            targets: words(&mut file.target.iter()),
            sources: words(&mut file.sources.iter()),
            ..Self::default()
        };
        for trigger in &file.triggers {
            let levels = trigger.levels.iter().map(|level| &level.terms);
            for terms in std::iter::once(&trigger.terms).chain(levels) {
                let during = terms.during.iter().flatten().filter_map(|word| word.calendar());
                named.calendars.extend(during.map(ToString::to_string));
                terms.then.iter().for_each(|then| named.note(then));
            }
        }
        let promised = file.objectives.iter().flat_map(|objectives| objectives.then.values());
        let spent = file.budgets.iter().flat_map(|budget| budget.then.values());
        promised.chain(spent).for_each(|then| named.note(then));
        named
    }

    fn note(&mut self, then: &WrittenThen) {
        let plans = then.rollback.iter().chain(&then.recommend);
        self.plans.extend(plans.map(|plan| plan.value.clone()));
        self.policies.extend(then.page.iter().map(|policy| policy.value.clone()));
        let during = then.rollback_during.iter().filter_map(|word| word.calendar());
        self.calendars.extend(during.map(ToString::to_string));
    }

    /// Says what was taken to be there.
    fn told(&self, place: Place) -> Diagnostic {
        let kinds = [
            ("target", "targets", &self.targets),
            ("source", "sources", &self.sources),
            ("plan", "plans", &self.plans),
            ("policy", "policies", &self.policies),
            ("calendar", "calendars", &self.calendars),
        ];
        let kind = |(one, several, names): (&str, &str, &BTreeSet<String>)| {
            let own = |name: &&String| *name != OWN_SOURCE;
            let names: Vec<String> =
                names.iter().filter(own).map(|name| format!("`{}`", name.escape_debug())).collect();
            let kind = if names.len() == 1 { one } else { several };
            (!names.is_empty()).then(|| format!("{kind} {}", names.join(", ")))
        };
        let all: Vec<String> = kinds.into_iter().filter_map(kind).collect();
        let message = format!("checked without a rearguard.yaml, which must declare: {}", all.join("; "));
        let hint = "`rearguard check rearguard.yaml` looks them up, and measures windows by how often the sources answer";
        Diagnostic {
            code: "checked-alone",
            level: Level::Note,
            place,
            message,
            label: String::new(),
            hint: Some(hint.to_owned()),
        }
    }
}

/// Checks rule files of ours together: they may speak of the same target.
pub(super) fn check(files: Vec<SourceFile>, surroundings: &Surroundings) -> Vec<Report> {
    let mut all = Named::default();
    let mut out = Findings::default();
    let mut counts = Vec::new();
    for file in &files {
        let Ok(Some(root)) = yaml::parse(file) else { continue };
        // What is wrong with it is told where it is compiled.
        let read = written::read(&root, &mut Findings::default());
        let named = Named::of(&read);
        let place = read.target.as_ref().map_or_else(|| file.whole(), Scalar::place);
        out.push(named.told(place));
        counts.push(counts_of(&read));
        all.targets.extend(named.targets);
        all.sources.extend(named.sources);
        all.plans.extend(named.plans);
        all.policies.extend(named.policies);
        all.calendars.extend(named.calendars);
    }
    compile(RuleFiles { files: &files, some_unread: false }, &catalog(&all), &mut out);
    let problems = files::lint(&files, surroundings, out.into_problems());
    in_each_file(&files, counts, &problems)
}

fn catalog(named: &Named) -> Catalog {
    let plans = || named.plans.iter().map(|plan| plan.as_str().into());
    Catalog {
        targets: named.targets.iter().map(|name| (name.as_str().into(), plans().collect())).collect(),
        sources: named.sources.iter().map(|name| (name.as_str().into(), ANY_PACE)).collect(),
        plans: plans().map(|plan| (plan, Verified::Yes)).collect::<BTreeMap<_, _>>(),
        policies: named.policies.iter().map(|name| name.as_str().into()).collect(),
        calendars: named.calendars.iter().map(|name| name.as_str().into()).collect(),
        limits: Limits { reach: ANY_REACH, ..Limits::default() },
        summary_placeholders: &SUMMARY_PLACEHOLDERS,
        ..Catalog::default()
    }
}

fn counts_of(file: &RuleFile) -> Vec<String> {
    let promises = file.objectives.as_ref().map_or(0, |objectives| objectives.promises.len());
    let all = [
        (file.indicators.len(), "indicator"),
        (file.triggers.len(), "trigger"),
        (promises, "promise"),
        (file.budgets.len(), "budget"),
    ];
    all.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(count, what)).collect()
}
