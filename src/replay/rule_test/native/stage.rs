//! What a test is played on: the rules it tests in the world that it declares, loaded as the daemon loads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::expectation::{StatePattern, Want};
use super::given::{self, Rules, StandIn};
use super::happens::Occurrence;
use super::world::{self, Named};
use super::written::{GivenSeries, Test, TestFile};
use crate::config::{self, Source, rule_files, source_file};
use crate::engine::decision::Setup;
use crate::engine::evaluation::{OWN_PACE, OWN_PREFIX, OWN_SOURCE, TriggerKey};
use crate::engine::model::{Labels, SourceName, TargetName, TriggerName};
use crate::engine::rules::yaml::{self, Node, Scalar};
use crate::engine::rules::{Condition, Diagnostic, Findings, Level, RuleSet, SourceFile, Trigger};
use crate::engine::series::{Matcher, Selector};
use crate::sources::identity::{LabelConflict, SeriesIdentity};

use super::super::texts::Texts;
use super::course::Course;

/// Files that are in force together.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) setup: Arc<Setup>,
    /// How sources are asked.
    pub(super) scrapes: BTreeMap<SourceName, Source>,
}

/// What a test is played on.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) loaded: Loaded,
    /// What comes into force later, by its place among what happens.
    pub(super) reloads: BTreeMap<usize, Loaded>,
    /// What the sources expose: whose, under which labels, in which course.
    pub(super) series: Vec<(SourceName, Labels, Course)>,
    /// The triggers that the test has nothing to do with.
    pub(super) left_out: BTreeSet<String>,
}

impl Stage {
    /// Returns the names of the triggers that are judged, before or after a reload.
    pub(super) fn judged(&self) -> BTreeSet<String> {
        let loaded = std::iter::once(&self.loaded).chain(self.reloads.values());
        loaded
            .flat_map(|loaded| loaded.setup.rules.triggers.keys())
            .map(|(_, name)| name.to_string())
            .collect()
    }

    /// Leaves out the triggers that a test has nothing to do with: those that it does not name and that read nothing of
    /// what it gives. They would only be blind, and page about that. A test that gives nothing is about all of them.
    fn leave_out(&mut self, test: &Test) {
        if self.series.is_empty() {
            return;
        }
        let series = &self.series;
        let is_read = |selector: &Selector| {
            series.iter().any(|(source, labels, _)| {
                let matches = |matcher: &Matcher| matcher.matches(labels.get(matcher.name()).unwrap_or(""));
                selector.sources().contains(source) && selector.matchers().iter().all(matches)
            })
        };
        let mut left_out = BTreeSet::new();
        for loaded in std::iter::once(&mut self.loaded).chain(self.reloads.values_mut()) {
            let setup = Arc::make_mut(&mut loaded.setup);
            let kept = kept(&setup.rules, test, &is_read);
            setup.rules.triggers.retain(|key, _| {
                let stays = kept.contains(key);
                if !stays {
                    left_out.insert(key.1.to_string());
                }
                stays
            });
        }
        self.left_out = left_out;
    }
}

/// Returns the triggers that a test has to do with. One that names others stays where all of them do, or where the test
/// names it; then they stay, too.
fn kept(
    rules: &RuleSet,
    test: &Test,
    is_read: &impl Fn(&Selector) -> bool,
) -> BTreeSet<(TargetName, TriggerName)> {
    let mut by_rank: Vec<_> = rules.triggers.iter().collect();
    by_rank.sort_by_key(|(_, trigger)| trigger.reads.rank);
    let mut kept = BTreeSet::new();
    let named = |(target, trigger): (&TargetName, &Trigger)| -> Vec<_> {
        trigger.when.named().into_iter().map(|name| (target.clone(), name.clone())).collect()
    };
    for ((target, name), trigger) in &by_rank {
        let key = TriggerKey { target: target.clone(), trigger: name.clone(), labels: Labels::empty() };
        let others = named((target, trigger));
        let reads = selectors_of(trigger).any(is_read) || !others.is_empty();
        if test.names(&key) || (reads && others.iter().all(|other| kept.contains(other))) {
            kept.insert((target.clone(), name.clone()));
        }
    }
    for ((target, name), trigger) in by_rank.iter().rev() {
        if kept.contains(&(target.clone(), name.clone())) {
            kept.extend(named((target, trigger)));
        }
    }
    kept
}

/// Returns everything that a trigger reads.
fn selectors_of(trigger: &Trigger) -> impl Iterator<Item = &Selector> {
    let compares = trigger.conditions().flat_map(Condition::compares);
    compares.flat_map(|compare| compare.indicator.query.selectors())
}

/// The rule files of a test file, and how to load them in a world.
pub(super) struct Scenery<'f> {
    path: &'f Path,
    file: &'f SourceFile,
    written: &'f TestFile,
    texts: Texts<'f>,
    rules: Vec<Rules>,
    world: Option<World>,
}

/// A declared world.
#[derive(Clone, Debug)]
struct World {
    node: Node,
    /// A whole `rearguard.yaml` says everything itself; only what it does not name is made up.
    is_whole: bool,
}

impl<'f> Scenery<'f> {
    /// Reads the files that a test file names; adds their texts to `files`.
    pub(super) fn read(
        path: &'f Path,
        file: &'f SourceFile,
        written: &'f TestFile,
        texts: Texts<'f>,
        files: &mut Vec<SourceFile>,
        out: &mut Findings,
    ) -> Self {
        let directory = directory_of(path);
        let rules = match &written.rules {
            Some(patterns) => read_rules(patterns, directory, texts, files, out),
            None => read_namesake(path, file, texts, files, out),
        };
        let world = match &written.world {
            Some(Node::Scalar(scalar)) if !scalar.is_null() => read_world(scalar, directory, files, out),
            Some(node @ Node::Mapping(..)) => Some(World { node: node.clone(), is_whole: false }),
            Some(Node::Scalar(_)) | None => None,
            Some(other) => {
                let expected = "a mapping with keys of rearguard.yaml, or the path of one";
                out.push(crate::engine::rules::decode::wrong_type(other, "`world`", expected));
                None
            }
        };
        Self { path, file, written, texts, rules, world }
    }

    /// Loads what a test is played on.
    pub(super) fn set(&self, test: &Test, files: &mut Vec<SourceFile>, out: &mut Findings) -> Option<Stage> {
        let world = overlaid(self.world.as_ref(), test.world.as_ref());
        // As they are first: what is wrong with them is told at its place.
        let whole: Vec<SourceFile> = self.rules.iter().map(|rules| rules.file.clone()).collect();
        let loaded = self.load(&self.rules, &whole, world.as_ref(), test, out)?;
        let (replaced, stand_ins) = given::replace(&self.rules, &test.indicators, &loaded.setup.probes, out);
        let loaded = match stand_ins.as_slice() {
            [] => loaded,
            _ => self.load(&self.rules, &replaced, world.as_ref(), test, out)?,
        };
        let mut reloads = BTreeMap::new();
        for (at, happens) in test.happens.iter().enumerate() {
            let Occurrence::Reload(reload) = &happens.what else { continue };
            let rules = match &reload.rules {
                Some(patterns) => read_rules(patterns, directory_of(self.path), self.texts, files, out),
                None => self.rules.clone(),
            };
            let world = overlaid(world.as_ref(), reload.world.as_ref());
            // An indicator that is gone now is given no more.
            let probes = &loaded.setup.probes;
            let (replaced, _) = given::replace(&rules, &test.indicators, probes, &mut Findings::default());
            reloads.insert(at, self.load(&rules, &replaced, world.as_ref(), test, out)?);
        }
        let series = exposed(test, &loaded, &stand_ins, out);
        let mut stage = Stage { loaded, reloads, series, left_out: BTreeSet::new() };
        stage.leave_out(test);
        Some(stage)
    }

    /// Loads rule files in a world as the daemon loads them.
    fn load(
        &self,
        rules: &[Rules],
        files: &[SourceFile],
        world: Option<&World>,
        test: &Test,
        out: &mut Findings,
    ) -> Option<Loaded> {
        let mut named = Named::default();
        rules.iter().for_each(|rules| named.note(&rules.root));
        let root = match world {
            Some(World { node, is_whole: true }) => node.clone(),
            world => world::make_up(world.map(|world| &world.node), &named),
        };
        match config::join(&root, self.file, self.path, files) {
            Ok((config, mut setup, warnings)) => {
                out.extend(warnings.into_iter().filter(|warning| self.is_ours(warning)));
                let queries = test.expect.iter().filter_map(|expected| match &expected.want {
                    Want::State(_, StatePattern::Query { plan, .. }) => Some(plan),
                    _ => None,
                });
                let asked: Vec<Selector> = queries.flat_map(|plan| plan.selectors().cloned()).collect();
                // What Rearguard measures itself is there as soon as somebody reads it.
                if asked.iter().any(is_own) {
                    setup.sources.entry(OWN_SOURCE.into()).or_insert(OWN_PACE);
                }
                setup.memory.keep.extend(asked);
                Some(Loaded { setup: Arc::new(setup), scrapes: config.sources })
            }
            Err(problems) => {
                out.extend(problems.into_iter().filter(|problem| self.is_ours(problem)));
                None
            }
        }
    }

    /// Returns whether a problem is told: every error, and what is doubtful in the test file itself. Whoever wants to know
    /// what is doubtful in the rules asks `check`, which knows the whole world.
    fn is_ours(&self, problem: &Diagnostic) -> bool {
        problem.level == Level::Error || *problem.place.file == *self.file.name()
    }

    /// Returns whether there is nothing to test.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty() || self.written.tests.is_empty()
    }
}

fn is_own(selector: &Selector) -> bool {
    selector.metric_name().is_some_and(|name| name.starts_with(OWN_PREFIX))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

/// Lays one world over another.
fn overlaid(below: Option<&World>, above: Option<&Node>) -> Option<World> {
    match (below, above) {
        (Some(below), Some(above)) => {
            Some(World { node: world::merge(&below.node, above), is_whole: below.is_whole })
        }
        (below, None) => below.cloned(),
        (None, Some(above)) => Some(World { node: above.clone(), is_whole: false }),
    }
}

/// Reads the rule files that patterns mean.
fn read_rules(
    patterns: &[Scalar],
    directory: &Path,
    texts: Texts<'_>,
    files: &mut Vec<SourceFile>,
    out: &mut Findings,
) -> Vec<Rules> {
    let found = rule_files::find(patterns, directory, out);
    let read = |(path, place): (PathBuf, _)| match texts.read(&path) {
        Ok(text) => read_tree(&path, &text, files, out),
        Err(problem) => {
            out.push(Diagnostic { place, ..*problem });
            None
        }
    };
    found.into_iter().filter_map(read).collect()
}

/// Reads the rule file of the same name: `shop.yaml` of `shop.test.yaml`.
fn read_namesake(
    path: &Path,
    file: &SourceFile,
    texts: Texts<'_>,
    files: &mut Vec<SourceFile>,
    out: &mut Findings,
) -> Vec<Rules> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let rules = path.with_file_name(name.replace(".test.", "."));
    let read = if rules == path { None } else { texts.read(&rules).ok() };
    match read {
        Some(text) => read_tree(&rules, &text, files, out).into_iter().collect(),
        None => {
            let message =
                format!("nothing says which rules are tested, and {} cannot be read", rules.display());
            let hint = "write `rules: [FILE]`, or call the test file `NAME.test.yaml` beside `NAME.yaml`";
            out.push(Diagnostic::error("no-rules", file.whole(), message).hint(hint));
            Vec::new()
        }
    }
}

fn read_tree(path: &Path, text: &str, files: &mut Vec<SourceFile>, out: &mut Findings) -> Option<Rules> {
    let file = source_file(path, text);
    if files.iter().all(|known| known.name() != file.name()) {
        files.push(file.clone());
    }
    match yaml::parse(&file) {
        Ok(Some(root)) => Some(Rules { file, root }),
        Ok(None) => {
            out.push(Diagnostic::error("empty-file", file.whole(), "this rule file is empty"));
            None
        }
        Err(problem) => {
            out.push(*problem);
            None
        }
    }
}

/// Reads a world from a `rearguard.yaml`.
fn read_world(
    path: &Scalar,
    directory: &Path,
    files: &mut Vec<SourceFile>,
    out: &mut Findings,
) -> Option<World> {
    let whole = directory.join(&path.value);
    match rule_files::read(&whole) {
        Ok(text) => {
            let rules = read_tree(&whole, &text, files, out)?;
            Some(World { node: rules.root, is_whole: true })
        }
        Err(problem) => {
            out.push(Diagnostic { place: path.place(), ..*problem });
            None
        }
    }
}

/// Returns what the sources expose, with the labels that they put on it.
fn exposed(
    test: &Test,
    loaded: &Loaded,
    stand_ins: &[StandIn],
    out: &mut Findings,
) -> Vec<(SourceName, Labels, Course)> {
    let mut all = Vec::new();
    for given in &test.series {
        if let Some(source) = source_of(given, loaded, out) {
            all.push((source.clone(), labelled(&source, &given.labels, loaded), given.course.clone()));
        }
    }
    for stand_in in stand_ins {
        // A verification may read another source in place of it.
        let moved =
            loaded.setup.plans.values().filter_map(|plan| plan.verify.as_ref()?.on.get(&stand_in.source));
        let mut sources: Vec<&SourceName> = std::iter::once(&stand_in.source).chain(moved).collect();
        sources.sort();
        sources.dedup();
        for source in sources {
            let labels = labelled(source, &stand_in.labels, loaded);
            all.push((source.clone(), labels, stand_in.course.clone()));
        }
    }
    all
}

/// Returns the labels that a source puts on its series.
pub(super) fn identity(source: &SourceName, loaded: &Loaded) -> SeriesIdentity {
    let mut extra = loaded.scrapes.get(source).map_or_else(Labels::empty, |asked| asked.labels.clone());
    if loaded.setup.probes.contains(source) {
        extra = extra.with("source", source.as_str());
    }
    // A test that names a `job` or an `instance` means the series as rules see it.
    SeriesIdentity::new(source, "app.test:80", &extra, LabelConflict::Honor)
}

fn labelled(source: &SourceName, given: &Labels, loaded: &Loaded) -> Labels {
    let identity = identity(source, loaded);
    let named = given.without_name();
    let pairs: Vec<(&str, &str)> = named.iter().collect();
    identity.attach(given.metric_name(), pairs.iter().copied())
}

/// Returns whose a series is: the source under whose name it stands, or the only one.
fn source_of(given: &GivenSeries, loaded: &Loaded, out: &mut Findings) -> Option<SourceName> {
    let sources = loaded.setup.sources.keys();
    let known: Vec<&SourceName> = sources.filter(|source| source.as_str() != OWN_SOURCE).collect();
    let names: Vec<&str> = known.iter().map(|source| source.as_str()).collect();
    match (&given.source, known.as_slice()) {
        (Some(written), _) => {
            let found = known.iter().find(|source| source.as_str() == written.value);
            if found.is_none() {
                let message = format!("there is no source `{}`", written.value.escape_debug());
                let hint = crate::engine::rules::diagnostic::name_hint(&written.value, "source", names);
                out.push(Diagnostic::error("unknown-name", written.place(), message).hint(hint));
            }
            found.map(|source| (*source).clone())
        }
        (None, [only]) => Some((*only).clone()),
        (None, _) => {
            let message = format!("whose series is this? There are the sources {}", names.join(", "));
            let example = names.first().copied().unwrap_or("app");
            let hint = format!("write it below its source: `series: {{ {example}: {{ ... }} }}`");
            out.push(Diagnostic::error("whose-series", given.place.clone(), message).hint(hint));
            None
        }
    }
}
