//! The rollbacks of an incident: their steps with what these printed, and what proved them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::layout::{Row, Section};
use super::story::{Story, took};
use crate::cli::moment::utc;
use crate::effects::printable;
use crate::engine::decision::{CheckSeen, Happening, Outcome, StepOrder};
use crate::engine::model::{EffectId, RollbackId};
use crate::engine::time::Timestamp;

/// The runs of plans, by their ids.
#[derive(Debug, Default)]
pub(super) struct Runs(BTreeMap<RollbackId, Run>);

#[derive(Debug)]
struct Run {
    plan: String,
    begun: Timestamp,
    begun_unix_ms: i64,
    ended: Option<End>,
    names: Vec<String>,
    /// One for each time that a step was tried, by its effect.
    steps: BTreeMap<EffectId, Step>,
    /// What its verification saw last.
    checks: Vec<CheckSeen>,
}

#[derive(Debug)]
struct End {
    at: Timestamp,
    outcome: Outcome,
    reason: String,
}

/// One run of a plan, for programs.
#[derive(Debug, Serialize)]
pub(super) struct RunRecord {
    rollback: String,
    plan: String,
    /// When it was decided.
    timestamp: String,
    /// How it ended; nothing while it runs.
    status: Option<Outcome>,
    reason: Option<String>,
    duration_seconds: Option<f64>,
    steps: Vec<StepRecord>,
    /// What its verification saw last, condition by condition.
    verification: Vec<CheckSeen>,
}

/// One step of it.
#[derive(Debug, Serialize)]
struct StepRecord {
    step: usize,
    name: String,
    action: String,
    state: String,
    output: Vec<String>,
}

#[derive(Debug)]
struct Step {
    index: usize,
    name: String,
    action: String,
    state: String,
    started: Option<Timestamp>,
    output: Vec<String>,
}

impl Runs {
    pub(super) fn of(story: &Story<'_>) -> Self {
        let mut runs = Self::default();
        for record in story.records {
            runs.take(record.event.at, record.wall_unix_ms, &record.event.what);
        }
        runs
    }

    fn take(&mut self, at: Timestamp, begun_unix_ms: i64, what: &Happening) {
        match what {
            Happening::RollbackDecided { rollback, plan, steps, .. } => {
                let (plan, names) = (plan.to_string(), steps.clone());
                let (steps, checks) = (BTreeMap::new(), Vec::new());
                let run = Run { plan, begun: at, begun_unix_ms, ended: None, names, steps, checks };
                self.0.insert(*rollback, run);
            }
            Happening::StepIntended { order, index, .. } => {
                let Some(run) = self.0.get_mut(&order.rollback) else { return };
                let name = match order.plan.as_str() == run.plan {
                    true => order.step.clone(),
                    false => format!("{} of `{}`", order.step, order.plan),
                };
                let step = Step {
                    index: *index,
                    name,
                    action: action(order),
                    state: "not started".to_owned(),
                    started: None,
                    output: Vec::new(),
                };
                run.steps.insert(order.effect, step);
            }
            Happening::StepStarted { rollback, effect, .. } => self.step(*rollback, *effect, |step| {
                step.started = Some(at);
                step.state = "RUNS, or its end is not known".to_owned();
            }),
            Happening::StepEnded { rollback, effect, ending } => self.step(*rollback, *effect, |step| {
                step.state = format!("{} after {}", ending.result, took(ending.took));
                step.output = ending.output.lines().map(printable::line).collect();
            }),
            Happening::StepInDoubt { rollback, effect, why } => self.step(*rollback, *effect, |step| {
                step.state = format!("IN DOUBT: {}", printable::line(why));
            }),
            Happening::StepSettled { rollback, effect, done, by } => self.step(*rollback, *effect, |step| {
                let word = if *done { "done" } else { "not done" };
                step.state = format!("settled as {word} by {}", printable::line(by));
            }),
            Happening::VerificationSaw { rollback, checks } => {
                if let Some(run) = self.0.get_mut(rollback) {
                    run.checks.clone_from(checks);
                }
            }
            Happening::RollbackEnded { rollback, outcome, reason } => {
                if let Some(run) = self.0.get_mut(rollback) {
                    run.ended = Some(End { at, outcome: *outcome, reason: printable::line(reason) });
                }
            }
            _ => {}
        }
    }

    fn step(&mut self, rollback: RollbackId, effect: EffectId, change: impl FnOnce(&mut Step)) {
        if let Some(step) = self.0.get_mut(&rollback).and_then(|run| run.steps.get_mut(&effect)) {
            change(step);
        }
    }

    pub(super) fn records(&self) -> Vec<RunRecord> {
        self.0.iter().map(|(id, run)| run.record(*id)).collect()
    }

    pub(super) fn sections(&self, story: &Story<'_>) -> Vec<Section> {
        self.0.iter().map(|(id, run)| run.section(*id, story)).collect()
    }
}

impl Run {
    fn record(&self, id: RollbackId) -> RunRecord {
        let step = |step: &Step| StepRecord {
            step: step.index + 1,
            name: step.name.clone(),
            action: step.action.clone(),
            state: step.state.clone(),
            output: step.output.clone(),
        };
        RunRecord {
            rollback: id.to_string(),
            plan: self.plan.clone(),
            timestamp: utc(self.begun_unix_ms, "%Y-%m-%dT%H:%M:%S%.3fZ"),
            status: self.ended.as_ref().map(|end| end.outcome),
            reason: self.ended.as_ref().map(|end| end.reason.clone()),
            duration_seconds: self.ended.as_ref().map(|end| end.at.since(self.begun).as_secs_f64()),
            steps: self.steps.values().map(step).collect(),
            verification: self.checks.clone(),
        }
    }

    fn section(&self, id: RollbackId, story: &Story<'_>) -> Section {
        let ended = match &self.ended {
            Some(End { at, outcome, reason }) => {
                format!("{outcome}: {reason}, {} after it was decided", took(at.since(self.begun)))
            }
            None => "NOT OVER".to_owned(),
        };
        let title = format!("ROLLBACK {id} by `{}`", self.plan);
        let mut section = Section::new(title, &["step", "after", "name", "what became of it"]);
        section.push([String::new(), story.offset(self.begun), "decided".to_owned(), ended]);
        let reached = self.steps.values().map(|step| step.index + 1).max().unwrap_or(0);
        for step in self.steps.values() {
            let after = step.started.map_or("-".to_owned(), |at| story.offset(at));
            let cells =
                vec![(step.index + 1).to_string(), after, printable::line(&step.name), step.state.clone()];
            let mut below = vec![step.action.clone()];
            below.extend(step.output.iter().map(|line| format!("  {line}")));
            section.rows.push(Row { cells, below });
        }
        for (index, name) in self.names.iter().enumerate().skip(reached) {
            let state = "not reached".to_owned();
            section.push([(index + 1).to_string(), "-".to_owned(), printable::line(name), state]);
        }
        for check in &self.checks {
            section.push([String::new(), String::new(), "verified".to_owned(), check.to_string()]);
        }
        section
    }
}

/// Returns what a step does on one line.
fn action(order: &StepOrder) -> String {
    let whole = serde_json::to_value(&order.action).unwrap_or_default();
    let argv = whole.pointer("/exec/argv").and_then(Value::as_array);
    let text = match argv {
        Some(argv) => argv.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        None => {
            let part =
                |path: &str| whole.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            format!("{} {}", part("/http/method"), part("/http/url")).trim().to_owned()
        }
    };
    format!("$ {}", printable::short_line(&text, 200))
}
