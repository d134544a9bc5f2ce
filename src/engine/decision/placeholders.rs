//! Fills `{placeholders}` in steps and summaries. Values are data: whole arguments, never parts of a command (E11).

use super::effect::IncidentFacts;
use super::setup::StepAction;
use crate::engine::model::{PlanName, RollbackId};

/// The placeholders that a step's arguments may be, in the order in which documentation lists them.
pub const STEP_PLACEHOLDERS: [&str; 10] = [
    "reason",
    "incident",
    "rollback",
    "target",
    "trigger",
    "severity",
    "plan",
    "step",
    "version",
    "previous_version",
];

/// The placeholders that a trigger's summary may hold.
pub const SUMMARY_PLACEHOLDERS: [&str; 8] =
    ["target", "trigger", "severity", "value", "threshold", "condition", "window", "labels"];

/// What a step's placeholders stand for.
pub(super) struct Names<'a> {
    pub(super) facts: &'a IncidentFacts,
    pub(super) rollback: RollbackId,
    pub(super) plan: &'a PlanName,
    pub(super) step: &'a str,
}

impl Names<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let facts = self.facts;
        Some(match name {
            "reason" => facts.reason.clone(),
            "incident" => facts.incident.global(&facts.journal),
            "rollback" => self.rollback.global(&facts.journal),
            "target" => facts.target.to_string(),
            "trigger" => facts.cause.clone(),
            "severity" => facts.severity.to_string(),
            "plan" => self.plan.to_string(),
            "step" => self.step.to_owned(),
            "version" => facts.version.clone().unwrap_or_default(),
            "previous_version" => facts.previous_version.clone().unwrap_or_default(),
            _ => return None,
        })
    }
}

/// Fills in the arguments that are placeholders as a whole; leaves every other argument as it is.
///
/// A value that begins with `-` gets a leading space, so that no program takes measured text for an option.
pub(super) fn fill(action: &StepAction, names: &Names<'_>) -> StepAction {
    match action {
        StepAction::Exec { argv } => {
            let fill_one = |argument: &String| {
                let name = argument.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                match name.and_then(|name| names.value(name)) {
                    Some(value) if value.starts_with('-') => format!(" {value}"),
                    Some(value) => value,
                    None => argument.clone(),
                }
            };
            StepAction::Exec { argv: argv.iter().map(fill_one).collect() }
        }
        http @ StepAction::Http { .. } => http.clone(),
    }
}

/// Fills `{name}` anywhere in a summary; what is not a known name stays as it is, so that nothing is lost (E10).
///
/// Filled-in text is never looked at again: a label's value that looks like a placeholder stays text.
pub(super) fn fill_text(template: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        rest = &rest[open..];
        let value = rest.find('}').and_then(|close| value_of(&rest[1..close]).map(|value| (value, close)));
        match value {
            Some((value, close)) => {
                filled.push_str(&value);
                rest = &rest[close + 1..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_filled_once_and_unknown_names_stay() {
        let value_of = |name: &str| match name {
            "value" => Some("{target} 12%".to_owned()),
            "target" => Some("app".to_owned()),
            _ => None,
        };
        assert_eq!(fill_text("{target}: {value} {nope} {", value_of), "app: {target} 12% {nope} {");
    }
}
