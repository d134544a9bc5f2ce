//! One event, one log line; the line's level says how much a person should mind.

use std::collections::BTreeSet;

use crate::engine::decision::{DeliveryReport, Event, Happening, Outcome, Refusal, StepResult};
use crate::engine::series::Selector;

/// Writes an event to the log.
pub fn event(event: &Event) {
    let what = &event.what;
    match what {
        Happening::JournalLost { .. } | Happening::StepInDoubt { .. } => tracing::error!("{what}"),
        Happening::RollbackEnded { outcome, .. } if *outcome != Outcome::Succeeded => {
            tracing::error!("{what}")
        }
        Happening::DeliveryReported { report: DeliveryReport::Dead(_), .. } => tracing::error!("{what}"),
        Happening::TriggerFiring { .. }
        | Happening::IncidentOpened { .. }
        | Happening::Escalated { .. }
        | Happening::Overdue { .. }
        | Happening::RollbackDecided { .. }
        | Happening::SetupRefused { .. }
        | Happening::DeliveryReported { report: DeliveryReport::FirstFailure(_), .. } => {
            tracing::warn!("{what}")
        }
        Happening::RollbackNotBegun { refusal, .. } if !matches!(refusal, Refusal::Shadow) => {
            tracing::warn!("{what}");
        }
        Happening::StepEnded { ending, .. } if ending.result != StepResult::Succeeded => {
            tracing::warn!("{what}")
        }
        _ => tracing::info!("{what}"),
    }
}

/// Tells which series are kept from a reload on: nothing is known of them before.
pub fn begun(selectors: &[Selector]) {
    let names: BTreeSet<String> = selectors.iter().map(Selector::shown).collect();
    if !names.is_empty() {
        let names = names.into_iter().collect::<Vec<_>>().join("`, `");
        tracing::info!(
            "series that were not kept until now start empty: `{names}`; new rules on them wait for every source's next answer"
        );
    }
}
