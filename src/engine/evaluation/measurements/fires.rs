//! Triggers that other triggers name: whether they fire.

use super::Measurements;
use super::measure::{Eyes, Measured};
use crate::engine::evaluation::verdict::{Evidence, Verdict};
use crate::engine::model::TriggerName;

impl Measurements {
    /// Returns whether a trigger of the same target fires: its window is full and it has not cleared since. One that is
    /// pending does not, and neither does one outside of its times. Of one with `per`, any label set will do; where none
    /// fires and of one nothing is known, nothing is known.
    pub(super) fn fires(&self, name: &TriggerName, eyes: Eyes<'_>) -> Measured {
        let id = (eyes.target.clone(), name.clone());
        let Some(rule) = eyes.watch.rules.triggers.get(&id) else { return (Err(Verdict::NoData), None) };
        if self.outside.contains_key(&id) {
            return (Ok(false), None);
        }
        let mut unknown = None;
        let mut held = None;
        for (_, watched) in self.windows_of(rule) {
            let (verdict, evidence, _) =
                watched.last.clone().unwrap_or((Verdict::NoData, None, <_>::default()));
            let evidence =
                evidence.map(|found| Evidence { condition: format!("{name}: {}", found.condition), ..found });
            if watched.fired {
                return (Ok(true), evidence);
            }
            match verdict {
                Verdict::Holds | Verdict::Breached => held = held.or(Some(evidence)),
                verdict => unknown = unknown.or(Some(verdict)),
            }
        }
        match (unknown, held) {
            (Some(verdict), _) => (Err(verdict), None),
            (None, Some(evidence)) => (Ok(false), evidence),
            // It was not judged yet.
            (None, None) => (Err(Verdict::NoData), None),
        }
    }
}
