//! Indicators whose values a test gives: their expressions are replaced by a made-up series of the same sources.
//!
//! So decision rules can be tested without modelling histograms, and everything else is as it was: the trigger is judged
//! at the answers of the same sources, and a source that fails makes it unknown.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{get, get_mut, made, printed, quoted};
use super::written::{GivenIndicator, report};
use crate::engine::model::{Labels, METRIC_NAME, SourceName};
use crate::engine::promql::{self, Scope};
use crate::engine::rules::condition::UNITS;
use crate::engine::rules::diagnostic::name_hint;
use crate::engine::rules::yaml::Node;
use crate::engine::rules::{Diagnostic, Findings, SourceFile};
use crate::engine::series::Sources;

use super::course::Course;

/// A made-up series that stands for an indicator.
#[derive(Clone, Debug)]
pub(super) struct StandIn {
    /// The source that exposes it.
    pub(super) source: SourceName,
    pub(super) labels: Labels,
    pub(super) course: Course,
}

/// A rule file with its tree.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) file: SourceFile,
    pub(super) root: Node,
}

/// Replaces the expressions of the given indicators; returns the files to load, and what stands in.
pub(super) fn replace(
    rules: &[Rules],
    given: &[GivenIndicator],
    probes: &BTreeSet<SourceName>,
    out: &mut Findings,
) -> (Vec<SourceFile>, Vec<StandIn>) {
    let mut files = Vec::new();
    let mut stand_ins = BTreeMap::new();
    let mut found = BTreeSet::new();
    for rules in rules {
        let mut root = rules.root.clone();
        let own = sources_of(&root);
        let mut is_changed = false;
        for (at, given) in given.iter().enumerate() {
            let name = &given.name.value;
            let Some(indicator) = get_mut(&mut root, "indicators").and_then(|all| get_mut(all, name)) else {
                continue;
            };
            found.insert(at);
            let Some((source, expr)) = stand_in_of(indicator, (&own, probes), given, out) else { continue };
            let unit = match get(indicator, "unit") {
                Some(Node::Scalar(unit)) => UNITS.iter().find(|(word, _)| *word == unit.value),
                _ => None,
            };
            let course = Course::parse(&given.course.value, unit.map(|(_, unit)| *unit));
            let Some(course) = report(&given.course, course, out) else { continue };
            if let (Some(old), Some(new)) = (get_mut(indicator, "expr"), made(&quoted(&expr))) {
                *old = new;
                is_changed = true;
            }
            let labels = Labels::from_pairs([(METRIC_NAME, metric(name))]);
            stand_ins.insert((at, source.clone()), StandIn { source, labels, course });
        }
        let file = &rules.file;
        files.push(if is_changed { SourceFile::new(file.name(), &printed(&root)) } else { file.clone() });
    }
    for (at, given) in given.iter().enumerate() {
        if !found.contains(&at) {
            let known = rules.iter().filter_map(|rules| get(&rules.root, "indicators"));
            let known: Vec<&str> = known.flat_map(names).collect();
            let message = format!("there is no indicator `{}`", given.name.value);
            let hint = name_hint(&given.name.value, "indicator", known);
            out.push(Diagnostic::error("unknown-indicator", given.name.place(), message).hint(hint));
        }
    }
    (files, stand_ins.into_values().collect())
}

fn metric(indicator: &str) -> String {
    format!("indicator:{indicator}")
}

fn names(node: &Node) -> Vec<&str> {
    match node {
        Node::Mapping(entries, _) => entries.iter().map(|(key, _)| key.value.as_str()).collect(),
        _ => Vec::new(),
    }
}

fn sources_of(root: &Node) -> BTreeSet<SourceName> {
    let Some(Node::Sequence(items, _)) = get(root, "sources") else { return BTreeSet::new() };
    let name = |item: &Node| match item {
        Node::Scalar(scalar) => Some(SourceName::from(scalar.value.as_str())),
        _ => None,
    };
    items.iter().filter_map(name).collect()
}

/// Returns the source that exposes what stands in for an indicator, and the expression that reads it.
fn stand_in_of(
    indicator: &Node,
    (own, probes): (&BTreeSet<SourceName>, &BTreeSet<SourceName>),
    given: &GivenIndicator,
    out: &mut Findings,
) -> Option<(SourceName, String)> {
    let Some(Node::Scalar(expr)) = get(indicator, "expr") else { return None };
    let scope = Scope::of(own.iter().cloned()).with_probes(probes.iter().cloned());
    // What is wrong with the expression itself is told when the file is loaded as it is.
    let plan = promql::parse(&expr.value).and_then(|expr| promql::compile(&expr, &scope)).ok()?;
    let read = match plan.sources() {
        Sources::Only(read) => read,
        Sources::Any => own.clone(),
    };
    let Some(first) = read.iter().find(|source| source.as_str() != super::world::OWN_SOURCE) else {
        let message = format!("`{}` is measured by Rearguard itself and cannot be given", given.name.value);
        let hint = "let it happen instead: deployments, rollbacks and objectives make these series";
        out.push(Diagnostic::error("own-indicator", given.name.place(), message).hint(hint));
        return None;
    };
    let metric = metric(&given.name.value);
    // A probe shows what it is asked for by name alone.
    let expr = if read == *own && own.is_disjoint(probes) {
        metric
    } else {
        let jobs: Vec<String> = read.iter().map(|source| source.as_str().replace('.', "[.]")).collect();
        format!("{metric}{{job=~{}}}", quoted(&jobs.join("|")))
    };
    Some((first.clone(), expr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rules::yaml;

    fn rules(text: &str) -> Rules {
        let file = SourceFile::new("r.yaml", text);
        let root = yaml::parse(&file).ok().flatten().unwrap_or_else(|| panic!("{text}"));
        Rules { file, root }
    }

    fn given(text: &str) -> Vec<GivenIndicator> {
        let root = rules(text).root;
        let Node::Mapping(entries, _) = root else { panic!("{text}") };
        let given = |(name, node)| match node {
            Node::Scalar(course) => GivenIndicator { name, course },
            other => panic!("{other:?}"),
        };
        entries.into_iter().map(given).collect()
    }

    #[test]
    fn an_indicator_is_read_from_the_sources_that_it_read_before() {
        let rules = [rules(
            "target: t\nsources: [app, health]\nindicators:\n  both: { unit: ratio, expr: a / b }\n  one: { unit: bool, expr: 'up{job=\"health\"}' }\n",
        )];
        let mut out = Findings::default();
        let (files, stand_ins) =
            replace(&rules, &given("both: 3%\none: false\n"), &BTreeSet::new(), &mut out);
        assert!(!out.has_errors());
        assert!(files[0].text().contains(r#""expr": "indicator:both""#), "{}", files[0].text());
        assert!(files[0].text().contains(r#"indicator:one{job=~\"health\"}"#), "{}", files[0].text());
        let told: Vec<_> =
            stand_ins.iter().map(|one| (one.source.as_str(), one.labels.to_string())).collect();
        assert_eq!(told, [("app", "indicator:both".to_owned()), ("health", "indicator:one".to_owned())]);
    }

    #[test]
    fn what_cannot_be_given_is_told() {
        let rules = [rules("target: t\nsources: [rearguard]\nindicators:\n  own: { unit: bool, expr: x }\n")];
        let mut out = Findings::default();
        replace(&rules, &given("own: true\nownn: true\n"), &BTreeSet::new(), &mut out);
        let codes: Vec<_> = out.into_problems().iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["own-indicator", "unknown-indicator"]);
    }
}
