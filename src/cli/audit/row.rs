//! Events as rows: each with what was in force when it was decided.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::cli::moment::utc;
use crate::effects::printable;
use crate::engine::decision::{DeliveryReport, Event, Happening};
use crate::journal::Entry;

/// One event as auditors read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) seq: u64,
    /// Engine time.
    pub(super) at_ms: i64,
    /// Wall time.
    pub(super) wall: String,
    pub(super) wall_unix_ms: i64,
    pub(super) kind: String,
    pub(super) target: Option<String>,
    pub(super) incident: Option<String>,
    /// What it is about: a rollback's step, a delivery, a trigger.
    pub(super) subject: Option<String>,
    /// The event in words.
    pub(super) text: String,
    /// What was measured.
    pub(super) evidence: Vec<Value>,
    pub(super) reason: Option<String>,
    /// Who said or did it, where that was a person or a program of theirs.
    pub(super) by: Option<String>,
    /// What ran at the target.
    pub(super) target_version: Option<String>,
    /// The hash of the files in force.
    pub(super) files: Option<String>,
    /// The version of Rearguard that decided.
    pub(super) program: Option<String>,
    /// The version of the event's format.
    pub(super) event_version: u32,
    /// The hash of it and of all before it.
    pub(super) hash: String,
    /// Why the chain does not hold here, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broken: Option<String>,
    /// All of it.
    pub(super) event: Value,
}

impl Row {
    /// Returns the row as one line of JSON.
    pub(super) fn json(&self) -> String {
        // Strings, numbers and maps with text keys: there is nothing that could fail.
        format!("{}\n", serde_json::to_string(self).unwrap_or_default())
    }
}

/// What was in force while the events are read one after the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    files: Option<String>,
    program: Option<String>,
    versions: BTreeMap<String, String>,
    incidents: BTreeMap<u64, String>,
    rollbacks: BTreeMap<u64, u64>,
    effects: BTreeMap<u64, Effect>,
}

/// What is known of a step or a delivery from the event that decided it.
#[derive(Clone, Debug)]
struct Effect {
    incident: u64,
    subject: String,
}

impl Rows {
    /// Begins where `files` are in force.
    pub(super) fn new(files: Option<String>) -> Self {
        Self { files, ..Self::default() }
    }

    /// Makes the next event a row.
    pub(super) fn take(&mut self, entry: Entry) -> Row {
        let Entry { link, event, broken } = entry;
        let mut row = Row {
            seq: link.seq,
            at_ms: link.at.as_millis(),
            wall: utc(link.wall_unix_ms, "%Y-%m-%dT%H:%M:%S%.3fZ"),
            wall_unix_ms: link.wall_unix_ms,
            kind: "unreadable".to_owned(),
            target: None,
            incident: None,
            subject: None,
            text: String::new(),
            evidence: Vec::new(),
            reason: None,
            by: None,
            target_version: None,
            files: None,
            program: None,
            event_version: link.version,
            hash: link.hash.to_string(),
            broken: broken.map(|broken| broken.problem),
            event: Value::Null,
        };
        match event {
            Ok(event) => self.fill(&mut row, &event),
            Err(problem) => {
                row.text = printable::line(&problem);
                row.event = Value::String(link.body);
            }
        }
        row.files = self.files.clone();
        row.program = self.program.clone();
        row
    }

    fn fill(&mut self, row: &mut Row, event: &Event) {
        self.remember(&event.what);
        let whole = serde_json::to_value(&event.what).unwrap_or_default();
        let (kind, content) = match &whole {
            Value::String(kind) => (kind.clone(), &Value::Null),
            Value::Object(one) => one
                .iter()
                .next()
                .map_or((String::new(), &Value::Null), |(kind, content)| (kind.clone(), content)),
            _ => (String::new(), &Value::Null),
        };
        let known = number(content, "/effect")
            .or_else(|| number(content, "/order/effect"))
            .and_then(|effect| self.effects.get(&effect));
        let rollback = number(content, "/rollback").or_else(|| number(content, "/order/rollback"));
        let incident = number(content, "/incident")
            .or_else(|| number(content, "/order/facts/incident"))
            .or_else(|| rollback.and_then(|rollback| self.rollbacks.get(&rollback).copied()))
            .or_else(|| known.map(|known| known.incident));
        row.target = ["/target", "/key/target", "/order/facts/target", "/message/facts/target"]
            .into_iter()
            .find_map(|path| text(content, path))
            .or_else(|| incident.and_then(|incident| self.incidents.get(&incident).cloned()));
        row.subject = known
            .map(|known| known.subject.clone())
            .or_else(|| text(content, "/key/trigger"))
            .or_else(|| rollback.map(|rollback| format!("R{rollback}")))
            .or_else(|| number(content, "/deployment").map(|deployment| format!("D{deployment}")));
        row.incident = incident.map(|incident| format!("I{incident}"));
        row.kind = kind;
        row.text = event.what.to_string();
        row.evidence = evidence(content);
        row.reason = reason(&event.what, content);
        row.by = text(content, "/by").or_else(|| text(content, "/origin/announced/by"));
        row.target_version = row.target.as_ref().and_then(|target| self.versions.get(target).cloned());
        row.event = whole;
    }

    fn remember(&mut self, what: &Happening) {
        match what {
            Happening::SetupLoaded { fingerprint, .. } => self.files = Some(fingerprint.clone()),
            Happening::Restarted(restart) if !restart.version.is_empty() => {
                self.program = Some(restart.version.clone());
            }
            Happening::VersionSeen { target, version, .. } => {
                self.versions.insert(target.to_string(), version.clone());
            }
            Happening::IncidentOpened { incident, target, .. } => {
                self.incidents.insert(incident.0, target.to_string());
            }
            Happening::RollbackDecided { rollback, incident, .. } => {
                self.rollbacks.insert(rollback.0, incident.0);
            }
            Happening::StepIntended { order, .. } => {
                let subject = format!("{} {} {}", order.rollback, order.effect, order.step);
                self.effects.insert(order.effect.0, Effect { incident: order.facts.incident.0, subject });
            }
            Happening::PageDecided { incident, deliveries, .. } => {
                for (effect, receiver) in deliveries {
                    let subject = format!("{effect} {receiver}");
                    self.effects.insert(effect.0, Effect { incident: incident.0, subject });
                }
            }
            _ => {}
        }
    }
}

fn text(content: &Value, path: &str) -> Option<String> {
    content.pointer(path)?.as_str().map(str::to_owned)
}

fn number(content: &Value, path: &str) -> Option<u64> {
    content.pointer(path)?.as_u64()
}

/// Returns everything in the event that was measured.
fn evidence(content: &Value) -> Vec<Value> {
    let checks = content.get("checks").and_then(Value::as_array).into_iter().flatten();
    let all = std::iter::once(content).chain(checks);
    all.filter_map(|part| part.get("evidence")).filter(|evidence| evidence.is_object()).cloned().collect()
}

/// Returns why it happened, as the event says it.
fn reason(what: &Happening, content: &Value) -> Option<String> {
    match what {
        Happening::RollbackNotBegun { refusal, .. } => Some(refusal.to_string()),
        Happening::StepEnded { ending, .. } => Some(ending.result.to_string()),
        Happening::DeliveryReported { report, .. } => Some(match report {
            DeliveryReport::FirstFailure(text)
            | DeliveryReport::Accepted(text)
            | DeliveryReport::Dead(text) => text.clone(),
        }),
        Happening::SetupLoaded { degraded, .. } => degraded.clone(),
        Happening::PageDecided { message, .. } => Some(message.summary.clone()),
        _ => ["/reason", "/why", "/problem"].into_iter().find_map(|path| text(content, path)),
    }
}
