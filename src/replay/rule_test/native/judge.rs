//! What was expected laid beside what happened, as a timeline: `-` what is missing, `+` what is there in its place.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use super::expectation::{End, Expectation, Kind, Pattern, Standing, StatePattern, Want, When};
use super::state;
use super::story::{Line, Story, Told, is_called};
use super::written::Test;
use crate::engine::decision::{Event, Happening};
use crate::engine::evaluation::{Evidence, TriggerKey, TriggerLook};
use crate::engine::model::{EffectId, PlanName, RollbackId};
use crate::engine::time::Span;

use super::super::report::{Cause, Failure, Sign, Subject, TimelineLine};

/// Lays a test's expectations beside its story. `longer` plays the same test for longer: what does not happen in its time
/// may happen later, and that explains much.
pub(super) fn judge(
    test: &Test,
    story: &Story,
    longer: impl FnOnce() -> Story,
) -> (Vec<Failure>, Vec<TimelineLine>) {
    let mut judge = Judge {
        index: Index::of(story),
        story,
        later: LazyCell::new(longer),
        claims: BTreeSet::new(),
        claimed: BTreeSet::new(),
        unexpected: BTreeSet::new(),
        extra: Vec::new(),
        failures: Vec::new(),
    };
    if let Some((at, why)) = &story.broken {
        let cause = Cause::Failed { message: why.clone() };
        judge.failures.push(failure(&test.place, *at, Subject::Test, cause, None));
    }
    for expected in &test.expect {
        match &expected.want {
            Want::Event(when, pattern) => judge.event(expected, *when, pattern),
            Want::State(at, pattern) => judge.state(expected, *at, pattern),
            Want::Never(..) | Want::Only(_) => {}
        }
    }
    // What is expected is known now: the rest is too much.
    for expected in &test.expect {
        match &expected.want {
            Want::Never(when, pattern) => judge.never(expected, *when, pattern),
            Want::Only(kinds) => judge.only(expected, kinds),
            Want::Event(..) | Want::State(..) => {}
        }
    }
    let timeline = judge.timeline();
    (judge.failures, timeline)
}

/// What ids in events stand for.
struct Index {
    plans: BTreeMap<RollbackId, PlanName>,
    steps: BTreeMap<EffectId, String>,
}

impl Index {
    fn of(story: &Story) -> Self {
        let mut index = Self { plans: BTreeMap::new(), steps: BTreeMap::new() };
        for line in &story.lines {
            match line.event() {
                Some(Happening::RollbackDecided { rollback, plan, .. }) => {
                    index.plans.insert(*rollback, plan.clone());
                }
                Some(Happening::StepIntended { order, .. }) => {
                    index.steps.insert(order.effect, order.step.clone());
                }
                _ => {}
            }
        }
        index
    }

    /// Returns whether a line is what a pattern describes.
    fn fits(&self, line: &Line, pattern: &Pattern) -> bool {
        if pattern.kind == Kind::Event {
            return pattern.name.as_ref().is_none_or(|part| line.text().contains(&part.value));
        }
        let Some(event) = line.event() else { return false };
        match pattern.kind {
            Kind::Fires | Kind::Pending | Kind::Clears => fits_trigger(event, pattern),
            Kind::Rollback => self.fits_rollback(event, pattern),
            Kind::Step => self.fits_step(event, pattern),
            Kind::Page => fits_page(event, pattern),
            Kind::Incident => match event {
                Happening::IncidentOpened { .. } | Happening::IncidentResolved { .. } => {
                    let resolved = matches!(event, Happening::IncidentResolved { .. });
                    resolved == pattern.resolved
                        && pattern.name.as_ref().is_none_or(|part| line.text().contains(&part.value))
                }
                _ => false,
            },
            Kind::Event => false,
        }
    }

    fn fits_rollback(&self, event: &Happening, pattern: &Pattern) -> bool {
        let is_plan = |plan: Option<&PlanName>| {
            pattern.name.as_ref().is_none_or(|name| plan.is_some_and(|plan| plan.as_str() == name.value))
        };
        match event {
            Happening::RollbackDecided { plan, .. } => {
                pattern.ends.is_none() && pattern.refused.is_none() && is_plan(Some(plan))
            }
            Happening::RollbackNotBegun { plan, refusal, .. } => {
                let why = pattern.refused.as_ref();
                why.is_some_and(|why| refusal.to_string().contains(why.as_str())) && is_plan(Some(plan))
            }
            Happening::RollbackEnded { rollback, outcome, reason } => {
                pattern.ends.is_some_and(|end| end.is_outcome(*outcome))
                    && is_plan(self.plans.get(rollback))
                    && says(pattern.because.as_ref(), reason)
            }
            Happening::StepInDoubt { rollback, why, .. } => {
                pattern.ends == Some(End::InDoubt)
                    && is_plan(self.plans.get(rollback))
                    && says(pattern.because.as_ref(), why)
            }
            _ => false,
        }
    }

    fn fits_step(&self, event: &Happening, pattern: &Pattern) -> bool {
        let is_step = |effect: &EffectId| {
            let step = self.steps.get(effect);
            pattern.name.as_ref().is_none_or(|name| step.is_some_and(|step| *step == name.value))
        };
        match event {
            Happening::StepStarted { effect, .. } => pattern.ends.is_none() && is_step(effect),
            Happening::StepEnded { effect, ending, .. } => {
                pattern.ends.is_some_and(|end| end.is_result(&ending.result))
                    && is_step(effect)
                    && says(pattern.because.as_ref(), &format!("{} {}", ending.result, ending.output))
            }
            Happening::StepInDoubt { effect, why, .. } => {
                pattern.ends == Some(End::InDoubt) && is_step(effect) && says(pattern.because.as_ref(), why)
            }
            _ => false,
        }
    }
}

fn says(part: Option<&String>, text: &str) -> bool {
    part.is_none_or(|part| text.contains(part.as_str()))
}

fn fits_trigger(event: &Happening, pattern: &Pattern) -> bool {
    let (kind, key, evidence): (Kind, &TriggerKey, &Option<Evidence>) = match event {
        Happening::TriggerPending { key, evidence, .. } => (Kind::Pending, key, evidence),
        Happening::TriggerFiring { key, evidence, .. } => (Kind::Fires, key, evidence),
        Happening::TriggerCleared { key, evidence, .. } => (Kind::Clears, key, evidence),
        _ => return false,
    };
    let shown = evidence.as_ref().map(|evidence| evidence.shown.as_str());
    kind == pattern.kind
        && pattern.name.as_ref().is_none_or(|name| is_called(key, &name.value))
        && pattern.value.as_ref().is_none_or(|value| shown == Some(value.as_str()))
}

fn fits_page(event: &Happening, pattern: &Pattern) -> bool {
    let Happening::PageDecided { message, deliveries, .. } = event else { return false };
    let is_given = |name: &str| deliveries.iter().any(|(_, receiver)| receiver.as_str() == name);
    let texts = || std::iter::once(&message.summary).chain(&message.details);
    message.kind == pattern.message
        && pattern.name.as_ref().is_none_or(|name| is_given(&name.value))
        && pattern.says.as_ref().is_none_or(|part| texts().any(|text| text.contains(part.as_str())))
}

impl Line {
    fn event(&self) -> Option<&Happening> {
        match &self.told {
            Told::Event(event) => {
                let Event { what, .. } = &**event;
                Some(what)
            }
            Told::World(_) => None,
        }
    }
}

struct Judge<'s, F> {
    index: Index,
    story: &'s Story,
    later: LazyCell<Story, F>,
    /// Which line is taken for which expectation: two equal expectations need two lines.
    claims: BTreeSet<(usize, String)>,
    claimed: BTreeSet<usize>,
    /// Lines that should not be where they are.
    unexpected: BTreeSet<usize>,
    /// Lines that are not there, or are states and no events.
    extra: Vec<TimelineLine>,
    failures: Vec<Failure>,
}

impl<F: FnOnce() -> Story> Judge<'_, F> {
    fn event(&mut self, expected: &Expectation, when: When, pattern: &Pattern) {
        let text = pattern.to_string();
        let fitting: Vec<usize> = self.fitting(pattern).collect();
        let free = |at: &&usize| !self.claims.contains(&(**at, text.clone()));
        let inside = |at: &&usize| when.contains(self.story.lines[**at].at);
        if let Some(found) = fitting.iter().filter(inside).find(free) {
            self.claims.insert((*found, text));
            self.claimed.insert(*found);
            return;
        }
        let elsewhere = fitting.iter().filter(|at| !inside(at)).find(free);
        // The same without its details: it happens, but not as it should.
        let bare = Pattern { value: None, because: None, says: None, ..pattern.clone() };
        let alike = self.fitting(&bare).find(|at| when.contains(self.story.lines[*at].at));
        let message = match (alike, elsewhere) {
            (Some(at), _) => {
                self.unexpected.insert(at);
                self.claimed.insert(at);
                format!("not as expected: {}", self.story.lines[at].text())
            }
            (None, Some(at)) => {
                // It is told here that it is not where it should be; once is enough.
                self.unexpected.insert(*at);
                self.claimed.insert(*at);
                format!("it happens at {}", self.story.lines[*at].at)
            }
            (None, None) => match self.happens_later(pattern) {
                Some(at) => format!("it happens at {at}, after the test's end"),
                None => "it never happens".to_owned(),
            },
        };
        let note = self.why(when.to, pattern);
        self.extra.push(TimelineLine {
            at: when.from,
            sign: Sign::Expected,
            text: text.clone(),
            line: Some(expected.place.line),
        });
        let subject = Subject::Expectation { text };
        let cause = Cause::Failed { message };
        self.failures.push(failure(&expected.place, when.from, subject, cause, note));
    }

    /// Returns when what does not happen in the test's time would happen if it lasted longer.
    fn happens_later(&self, pattern: &Pattern) -> Option<Span> {
        let (later, end) = (&*self.later, self.story.lasted);
        let index = Index::of(later);
        later.lines.iter().find(|line| line.at > end && index.fits(line, pattern)).map(|line| line.at)
    }

    fn fitting(&self, pattern: &Pattern) -> impl Iterator<Item = usize> {
        let lines = self.story.lines.iter().enumerate();
        lines.filter(move |(_, line)| self.index.fits(line, pattern)).map(|(at, _)| at)
    }

    /// Says how things stood that an event would have come from.
    fn why(&self, at: Span, pattern: &Pattern) -> Option<String> {
        let triggers = self.story.looks.get(&at)?.triggers.as_ref()?;
        let is_meant = |(look, standing): &&(TriggerLook, Standing)| match pattern.kind {
            Kind::Fires | Kind::Pending | Kind::Clears => {
                pattern.name.as_ref().is_none_or(|name| is_called(&look.key, &name.value))
            }
            _ => *standing != Standing::Quiet,
        };
        let meant = triggers.iter().filter(is_meant);
        let told: Vec<String> =
            meant.map(|(look, standing)| state::described(look, *standing, self.story, at)).collect();
        (!told.is_empty()).then(|| format!("at {at} {}", told.join("; ")))
    }

    fn state(&mut self, expected: &Expectation, at: Span, pattern: &StatePattern) {
        let Err(got) = state::compare(pattern, self.story, at) else { return };
        let line = Some(expected.place.line);
        let text = pattern.to_string();
        self.extra.push(TimelineLine { at, sign: Sign::Expected, text: text.clone(), line });
        self.extra.push(TimelineLine { at, sign: Sign::Unexpected, text: got.clone(), line });
        let subject = Subject::Expectation { text };
        self.failures.push(failure(&expected.place, at, subject, Cause::Failed { message: got }, None));
    }

    fn never(&mut self, expected: &Expectation, when: Option<When>, pattern: &Pattern) {
        let inside = |at: &usize| when.is_none_or(|when| when.contains(self.story.lines[*at].at));
        let found: Vec<usize> = self.fitting(pattern).filter(inside).collect();
        let range = when.map_or_else(String::new, |when| format!(" from {} to {}", when.from, when.to));
        self.too_much(expected, &found, format!("never{range}: {pattern}"));
    }

    fn only(&mut self, expected: &Expectation, kinds: &[Kind]) {
        let any = kinds.iter().map(|kind| Pattern::any(*kind));
        let found: BTreeSet<usize> =
            any.flat_map(|pattern| self.fitting(&pattern).collect::<Vec<_>>()).collect();
        let found: Vec<usize> = found.difference(&self.claimed).copied().collect();
        let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
        self.too_much(expected, &found, format!("only what is expected of: {}", words.join(", ")));
    }

    fn too_much(&mut self, expected: &Expectation, found: &[usize], text: String) {
        let Some(first) = found.first() else { return };
        self.unexpected.extend(found);
        let line = &self.story.lines[*first];
        let more = match found.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let message = format!("{}{more}", line.text());
        let subject = Subject::Expectation { text };
        self.failures.push(failure(&expected.place, line.at, subject, Cause::Failed { message }, None));
    }

    /// Tells everything in the order of time: what was expected before what was there.
    fn timeline(&mut self) -> Vec<TimelineLine> {
        let mut lines = std::mem::take(&mut self.extra);
        lines.extend(self.story.lines.iter().enumerate().map(|(nth, line)| {
            let sign = if self.unexpected.contains(&nth) { Sign::Unexpected } else { Sign::AsItIs };
            TimelineLine { at: line.at, sign, text: line.text(), line: None }
        }));
        lines.sort_by_key(|line| line.at);
        lines
    }
}

fn failure(
    place: &crate::engine::rules::Place,
    at: Span,
    subject: Subject,
    cause: Cause,
    note: Option<String>,
) -> Failure {
    Failure { file: place.file.to_string(), line: place.line, at, subject, cause, note }
}
