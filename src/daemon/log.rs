//! One event, one log line; the line's level says how much a person should mind.

use crate::engine::decision::{DeliveryReport, Event, Happening, Outcome, Refusal, StepResult};

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
