//! What a step's program is told: arguments, environment, standard input.
//!
//! Facts that come from metrics reach it only as whole arguments and whole values of variables, never as part of a
//! command line (E11).

use std::collections::BTreeMap;

use serde::Serialize;

use super::gate::GateOrder;
use crate::effects::printable;
use crate::engine::decision::{IncidentFacts, StepOrder};

/// Where programs find others: the directories of the host's administrator first.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The longest value of a variable, in characters. Linux refuses strings of 128 KiB (`MAX_ARG_STRLEN`), and a character
/// takes up to four bytes.
const VALUE_CHARS_MAX: usize = 24 * 1024;

/// The version of the JSON on standard input; raised when a field changes its meaning.
const BRIEF_VERSION: u32 = 1;

/// The JSON that the program finds on its standard input, and the body of an HTTP step that has none of its own.
#[derive(Serialize)]
struct Brief<'a> {
    version: u32,
    effect: &'a str,
    rollback: String,
    plan: &'a str,
    step: &'a str,
    timeout_ms: i64,
    incident: &'a IncidentFacts,
}

/// Returns the JSON that describes the step and its incident.
pub(super) fn brief(order: &StepOrder) -> String {
    let brief = Brief {
        version: BRIEF_VERSION,
        effect: &order.key,
        rollback: order.rollback.global(&order.facts.journal),
        plan: order.plan.as_str(),
        step: &order.step,
        timeout_ms: order.timeout.as_millis(),
        incident: &order.facts,
    };
    // Plain data with string keys always serializes; should that ever change, the variables still tell everything.
    serde_json::to_string(&brief).unwrap_or_default()
}

/// Returns everything that the program gets.
pub(super) fn gate_order(order: &StepOrder, argv: &[String]) -> GateOrder {
    GateOrder {
        argv: argv.iter().map(|argument| without_nul(argument)).collect(),
        env: variables(order),
        stdin: brief(order),
    }
}

/// Returns the whole environment; a fact that is not known is an empty value, so that `set -u` scripts work.
fn variables(order: &StepOrder) -> BTreeMap<String, String> {
    let facts = &order.facts;
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let pairs = [
        ("PATH", PATH.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        // Unique in the world: journal and incident.
        ("REARGUARD_INCIDENT", facts.incident.global(&facts.journal)),
        // Unique in the world: journal and run of the plan.
        ("REARGUARD_ROLLBACK", order.rollback.global(&facts.journal)),
        // Unique in the world and the same when the step is run again: an idempotency key.
        ("REARGUARD_EFFECT", order.key.clone()),
        ("REARGUARD_TARGET", facts.target.to_string()),
        ("REARGUARD_PLAN", order.plan.to_string()),
        ("REARGUARD_STEP", order.step.clone()),
        // What is wrong: the trigger's name, or `source NAME`.
        ("REARGUARD_TRIGGER", facts.cause.clone()),
        // The series, as Prometheus writes it; empty braces where the trigger has only one.
        ("REARGUARD_LABELS", facts.labels.to_string()),
        // critical, high, medium or low.
        ("REARGUARD_SEVERITY", facts.severity.to_string()),
        ("REARGUARD_REASON", facts.reason.clone()),
        // In the indicator's base unit.
        ("REARGUARD_VALUE", number(facts.value)),
        ("REARGUARD_THRESHOLD", number(facts.threshold)),
        // RFC 3339, UTC.
        ("REARGUARD_SINCE", rfc3339(facts.since_unix_ms)),
        ("REARGUARD_VERSION", facts.version.clone().unwrap_or_default()),
        ("REARGUARD_PREVIOUS_VERSION", facts.previous_version.clone().unwrap_or_default()),
        // The budget of this step.
        ("REARGUARD_TIMEOUT_MS", order.timeout.as_millis().to_string()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value_text(&value))).into()
}

/// Returns `text` as a value that Linux takes: without NUL, capped.
fn value_text(text: &str) -> String {
    printable::shorten(&without_nul(text), VALUE_CHARS_MAX)
}

/// Returns `text` with NUL written as `\0`: to the kernel it ends a string, and what follows would be lost.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\\0")
}

/// Returns milliseconds of Unix time as RFC 3339 in UTC; the bare number where no calendar reaches.
fn rfc3339(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| unix_ms.to_string(), |at| at.to_string())
}
