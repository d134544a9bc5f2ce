//! What there is to say about each kind of event.

use super::{Deed, Line, Mark, Run, Step, Teller, Waiting, seconds, shortened};
use crate::cli::demo::arrival::{Arrival, Arrived, Page};
use crate::engine::decision::{
    Cause, CheckSeen, DeliveryReport, Happening, MessageKind, Outcome, StepEnding, StepResult,
};
use crate::engine::evaluation::{Evidence, TriggerKey, Verdict};
use crate::engine::model::{EffectId, ReceiverName, RollbackId};
use crate::engine::time::{Span, Timestamp};
use crate::journal::Record;

/// How many lines of a step's output are shown.
const OUTPUT_LINES_MAX: usize = 3;

/// The label of a filling window.
const WINDOW: &str = "window";

/// A mark, a label and a text: a line without its time.
type Said = (Mark, String, String);

fn say(mark: Mark, label: &str, text: impl Into<String>) -> Vec<Said> {
    vec![(mark, label.to_owned(), text.into())]
}

impl Teller {
    pub(super) fn tell_deed(&mut self, wall_unix_ms: i64, deed: Deed) -> Vec<Line> {
        let said = match deed {
            Deed::Started => say(Mark::Quiet, "users", "forty requests a second begin"),
            Deed::Planned { version, at_wall_unix_ms } => {
                self.waiting = Some(Waiting {
                    label: "all is well",
                    text: format!("until version {version} is deployed"),
                    from_wall_unix_ms: wall_unix_ms,
                    until_wall_unix_ms: at_wall_unix_ms,
                });
                Vec::new()
            }
            Deed::Deployed(version) => {
                self.waiting = None;
                say(Mark::News, "deployment", format!("version {version} goes out to the trading app"))
            }
        };
        self.dated(wall_unix_ms, said, matches!(deed, Deed::Deployed(_)))
    }

    pub(super) fn tell_arrival(&mut self, arrival: &Arrival) -> Vec<Line> {
        let said = match &arrival.what {
            Arrived::Page(page) => self.page(page),
            Arrived::Mail(mail) => say(Mark::Arrived, "mail", format!("\"{}\"", mail.subject)),
        };
        self.dated(arrival.wall_unix_ms, said, false)
    }

    fn page(&mut self, page: &Page) -> Vec<Said> {
        let key = format!("key {}", shortened(&page.dedup_key, self.journal.as_ref()));
        if page.accepted() {
            let text = match (&page.summary, &page.severity) {
                (Some(summary), Some(severity)) => {
                    format!("{} {severity}, {key}: \"{summary}\"", page.action)
                }
                _ => format!("{}, {key}", page.action),
            };
            return say(Mark::Arrived, "pagerduty", text);
        }
        self.pages_refused += 1;
        match self.pages_refused {
            1 => {
                say(Mark::Bad, "pagerduty", format!("answers {} to a {}, {key}", page.answered, page.action))
            }
            // A broken receiver is asked again and again; the summary counts.
            _ => Vec::new(),
        }
    }

    pub(super) fn tell_event(&mut self, record: &Record) -> Vec<Line> {
        let said = match &record.event.what {
            Happening::StepIntended { .. }
            | Happening::StepStarted { .. }
            | Happening::StepEnded { .. }
            | Happening::StepInDoubt { .. }
            | Happening::StepSettled { .. }
            | Happening::RollbackDecided { .. }
            | Happening::RollbackNotBegun { .. }
            | Happening::VerificationStarted { .. }
            | Happening::VerificationSaw { .. }
            | Happening::RollbackEnded { .. } => self.rollback(record),
            Happening::TriggerPending { .. }
            | Happening::TriggerFiring { .. }
            | Happening::TriggerCleared { .. }
            | Happening::IncidentOpened { .. }
            | Happening::Escalated { .. }
            | Happening::Overdue { .. }
            | Happening::TaskDone { .. }
            | Happening::IncidentResolved { .. }
            | Happening::PageDecided { .. }
            | Happening::DeliveryReported { .. } => self.incident(record),
            Happening::VersionSeen { target, version, previous } => match previous {
                Some(previous) => {
                    say(Mark::News, "version", format!("{target} went from version {previous} to {version}"))
                }
                None => say(Mark::Quiet, "version", format!("{target} runs version {version}")),
            },
            other => self.service(other),
        };
        let chapter = matches!(
            record.event.what,
            Happening::TriggerFiring { .. }
                | Happening::TriggerCleared { .. }
                | Happening::VerificationStarted { .. }
                | Happening::RollbackEnded { .. }
        );
        self.dated(record.wall_unix_ms, said, chapter)
    }

    fn incident(&mut self, record: &Record) -> Vec<Said> {
        match &record.event.what {
            Happening::TriggerPending { key, window, evidence } => {
                self.waiting = Some(Waiting {
                    label: WINDOW,
                    text: format!("{} stays broken", trigger(key)),
                    from_wall_unix_ms: record.wall_unix_ms,
                    until_wall_unix_ms: record.wall_unix_ms + window.as_millis(),
                });
                let text = format!("{}{}", trigger(key), measured(evidence.as_ref()));
                say(Mark::Warning, "first breach", text)
            }
            Happening::TriggerFiring { key, since, evidence } => {
                self.stop_waiting_for(WINDOW);
                let lasted = seconds(record.event.at.since(*since));
                let text = format!("{} was broken for {lasted}{}", trigger(key), measured(evidence.as_ref()));
                say(Mark::Bad, "window full", text)
            }
            Happening::TriggerCleared { key, evidence, removed } => {
                self.stop_waiting_for(WINDOW);
                let why = if *removed { ": its rule is gone" } else { " is kept again" };
                let text = format!("{}{why}{}", trigger(key), measured(evidence.as_ref()));
                say(Mark::Good, "cleared", text)
            }
            Happening::IncidentOpened { incident, cause, severity, target, reason, .. } => {
                self.reasons.insert(*incident, reason.clone());
                let text = format!("{incident} at {target}, {severity}: {}", cause_words(cause, reason));
                say(Mark::Bad, "incident", text)
            }
            Happening::IncidentResolved { incident, reason, .. } => {
                say(Mark::Good, "resolved", format!("{incident}: {reason}"))
            }
            Happening::PageDecided { incident, message, deliveries, tried, .. } => {
                let receivers: Vec<_> = deliveries.iter().map(|(_, name)| name.as_str()).collect();
                let what = match message.kind {
                    MessageKind::Trigger => "alert",
                    MessageKind::Update => "update",
                    MessageKind::Resolve => "all-clear",
                };
                let instead = match tried.as_slice() {
                    [] => String::new(),
                    [.., last] => format!(", because {last} did not take it"),
                };
                let text = format!("{incident}: {what} for {}{instead}", receivers.join(" and "));
                say(Mark::Quiet, "page", text)
            }
            Happening::DeliveryReported { receiver, report, .. } => self.delivery(receiver, report),
            _ => Vec::new(),
        }
    }

    fn delivery(&mut self, receiver: &ReceiverName, report: &DeliveryReport) -> Vec<Said> {
        match report {
            // The stand-in has told it already.
            DeliveryReport::Accepted(_) => Vec::new(),
            DeliveryReport::FirstFailure(why) => {
                let text = if self.failing.insert(receiver.clone()) {
                    format!("{receiver} did not take it and is tried again: {why}")
                } else {
                    format!("{receiver} does not take this one either")
                };
                say(Mark::Warning, "delivery", text)
            }
            DeliveryReport::Dead(why) => {
                say(Mark::Bad, "delivery", format!("{receiver} will never take it: {why}"))
            }
        }
    }

    fn rollback(&mut self, record: &Record) -> Vec<Said> {
        let at = record.event.at;
        match &record.event.what {
            Happening::RollbackDecided { rollback, incident, target, plan, steps, .. } => {
                let run = Run { decided_at: at, steps: steps.len(), told: Vec::new(), last_step_ended: None };
                self.rollbacks.insert(*rollback, run);
                let reason = self.reasons.get(incident).cloned().unwrap_or_default();
                let text = format!("{rollback}: roll {target} back with plan {plan}, because {reason}");
                say(Mark::Act, "decision", text)
            }
            Happening::RollbackNotBegun { target, plan, refusal, .. } => {
                let text = format!("{target} is not rolled back with plan {plan}: {}", refusal);
                say(Mark::Warning, "decision", text)
            }
            Happening::StepIntended { order, index, .. } => {
                let step = Step { rollback: order.rollback, name: order.step.clone(), index: *index };
                self.steps.insert(order.effect, step);
                self.waiting = Some(Waiting {
                    label: "step",
                    text: order.step.clone(),
                    from_wall_unix_ms: record.wall_unix_ms,
                    until_wall_unix_ms: record.wall_unix_ms + order.timeout.as_millis(),
                });
                Vec::new()
            }
            Happening::StepEnded { effect, ending, .. } => self.step_ended(at, *effect, ending),
            Happening::StepInDoubt { effect, why, .. } => {
                let (label, name) = self.step(*effect);
                say(Mark::Bad, &label, format!("{name}: in doubt, nobody knows how it ended: {why}"))
            }
            Happening::StepSettled { effect, done, by, .. } => {
                let (label, name) = self.step(*effect);
                let word = if *done { "was done" } else { "was not done" };
                say(Mark::News, &label, format!("{name} {word}, says {by}"))
            }
            Happening::VerificationStarted { rollback, not_before, until } => {
                self.proof_begins(record, *rollback, *not_before, *until)
            }
            Happening::VerificationSaw { rollback, checks } => self.checks(*rollback, checks),
            Happening::RollbackEnded { rollback, outcome, reason } => {
                self.waiting = None;
                let took = self.rollbacks.get(rollback).map(|run| seconds(at.since(run.decided_at)));
                let took = took.map(|took| format!(" after {took}")).unwrap_or_default();
                let (mark, label) = ending_words(*outcome);
                say(mark, label, format!("{rollback}{took}: {reason}"))
            }
            _ => Vec::new(),
        }
    }

    fn step_ended(&mut self, at: Timestamp, effect: EffectId, ending: &StepEnding) -> Vec<Said> {
        self.waiting = None;
        let (label, name) = self.step(effect);
        let run = self.steps.get(&effect).map(|step| step.rollback);
        if let Some(run) = run.and_then(|rollback| self.rollbacks.get_mut(&rollback)) {
            run.last_step_ended = Some(at);
        }
        let took = seconds(ending.took);
        let output: Vec<&str> = ending.output.lines().filter(|line| !line.trim().is_empty()).collect();
        let output = output[output.len().saturating_sub(OUTPUT_LINES_MAX)..].join(" / ");
        let output = if output.is_empty() { output } else { format!(": {output}") };
        match &ending.result {
            StepResult::Succeeded => say(Mark::Good, &label, format!("{name} in {took}{output}")),
            StepResult::Failed(why) => {
                say(Mark::Bad, &label, format!("{name} failed after {took} with {why}{output}"))
            }
            StepResult::TimedOut => say(Mark::Bad, &label, format!("{name} was ended after {took}{output}")),
        }
    }

    /// Returns a step's label and name; the story may have begun after it.
    fn step(&self, effect: EffectId) -> (String, String) {
        let Some(step) = self.steps.get(&effect) else { return ("step".to_owned(), effect.to_string()) };
        let of = self.rollbacks.get(&step.rollback).map(|run| format!("/{}", run.steps)).unwrap_or_default();
        (format!("step {}{of}", step.index + 1), step.name.clone())
    }

    fn proof_begins(
        &mut self,
        record: &Record,
        rollback: RollbackId,
        not_before: Timestamp,
        until: Timestamp,
    ) -> Vec<Said> {
        let last_step = self.rollbacks.get(&rollback).and_then(|run| run.last_step_ended);
        let warm_up = not_before.since(last_step.unwrap_or(record.event.at));
        let limit = until.since(record.event.at);
        self.waiting = Some(Waiting {
            label: "proof",
            text: "until fresh samples are good".to_owned(),
            from_wall_unix_ms: record.wall_unix_ms,
            until_wall_unix_ms: record.wall_unix_ms + limit.as_millis(),
        });
        let text = format!(
            "the steps are over; {} for the app to settle, then only samples younger than that count",
            seconds(warm_up)
        );
        say(Mark::Act, "proof", text)
    }

    fn checks(&mut self, rollback: RollbackId, checks: &[CheckSeen]) -> Vec<Said> {
        let Some(run) = self.rollbacks.get_mut(&rollback) else { return Vec::new() };
        let before =
            std::mem::replace(&mut run.told, checks.iter().map(|check| check.verdict.clone()).collect());
        // That there is nothing yet is no news at first: the samples that count are still to come.
        let nothing = Verdict::NoData;
        let changed = checks
            .iter()
            .enumerate()
            .filter(|(at, check)| before.get(*at).unwrap_or(&nothing) != &check.verdict);
        changed.map(|(_, check)| check_seen(check)).collect()
    }

    fn stop_waiting_for(&mut self, label: &str) {
        self.waiting = self.waiting.take().filter(|waiting| waiting.label != label);
    }

    /// Dates what is said; a new chapter of the story is set off from what came before.
    fn dated(&self, wall_unix_ms: i64, said: Vec<Said>, chapter: bool) -> Vec<Line> {
        let at = self.since_start(wall_unix_ms);
        let line =
            |(number, (mark, label, text))| Line { at, mark, label, text, chapter: chapter && number == 0 };
        said.into_iter().enumerate().map(line).collect()
    }

    /// What happens to the daemon itself.
    fn service(&mut self, what: &Happening) -> Vec<Said> {
        match what {
            Happening::SetupLoaded { degraded: Some(why), .. } => {
                say(Mark::Bad, "rules", format!("the last good ones run: {why}"))
            }
            Happening::SetupLoaded { fingerprint, .. } => {
                let print: String = fingerprint.chars().take(12).collect();
                say(Mark::Quiet, "rules", format!("loaded, fingerprint {print}"))
            }
            Happening::SetupRefused { problem } => say(Mark::Bad, "rules", format!("refused: {problem}")),
            Happening::JournalCreated { journal } => {
                self.journal = Some(journal.clone());
                say(Mark::Quiet, "journal", format!("{} is new", journal.short()))
            }
            Happening::JournalLost { reason, .. } => {
                say(Mark::Bad, "journal", format!("cannot be written: {reason}"))
            }
            Happening::JournalRestored => say(Mark::Good, "journal", "can be written again"),
            Happening::Stopping => say(Mark::Quiet, "daemon", "goes down"),
            _ => Vec::new(),
        }
    }
}

fn check_seen(check: &CheckSeen) -> Said {
    let shown = check.evidence.as_ref().map(|evidence| format!("{}, ", evidence.shown)).unwrap_or_default();
    let condition = &check.condition;
    let (mark, word) = match &check.verdict {
        Verdict::Holds => (Mark::Good, "holds".to_owned()),
        Verdict::Breached => (Mark::Warning, "does not hold".to_owned()),
        Verdict::NoData => (Mark::Quiet, "no fresh samples yet".to_owned()),
        Verdict::Unknown(why) => (Mark::Quiet, format!("not known yet: {why}")),
    };
    (mark, "check".to_owned(), format!("{condition}: {shown}{word}"))
}

/// How an ended rollback is called.
fn ending_words(outcome: Outcome) -> (Mark, &'static str) {
    match outcome {
        Outcome::Succeeded => (Mark::Good, "rolled back"),
        Outcome::Partial => (Mark::Bad, "partial"),
        Outcome::Failed => (Mark::Bad, "failed"),
        Outcome::TimedOut => (Mark::Bad, "timed out"),
        Outcome::Refused => (Mark::Bad, "refused"),
    }
}

/// The trigger's name, with its labels where it has any.
fn trigger(key: &TriggerKey) -> String {
    if key.labels.is_empty() { key.trigger.to_string() } else { format!("{} {}", key.trigger, key.labels) }
}

fn measured(evidence: Option<&Evidence>) -> String {
    evidence
        .map(|evidence| format!(": measured {}, rule {}", evidence.shown, evidence.condition))
        .unwrap_or_default()
}

/// Says what opened an incident. A fired trigger has just been told with its measurement.
fn cause_words(cause: &Cause, reason: &str) -> String {
    match cause {
        Cause::Trigger(key) => trigger(key),
        Cause::Blind(key) => format!("{} cannot be judged: {reason}", trigger(key)),
        _ => reason.to_owned(),
    }
}

/// Returns the time between two instants of the wall clock.
pub(super) fn between(from_wall_unix_ms: i64, to_wall_unix_ms: i64) -> Span {
    Span::from_millis(to_wall_unix_ms - from_wall_unix_ms)
}
