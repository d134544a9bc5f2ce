//! What is not normal: which incidents say that what an indicator shows now must not be compared with later.
//!
//! A small goal that is missed for weeks would refuse every baseline of its target, and with them every rule that compares
//! with one. So an incident counts where it is high or critical, and below that where it is about the very indicator:
//! its condition reads it, or the source that is silent is one that the indicator reads.

use super::event::Cause;
use super::state::{Incident, State};
use crate::engine::evaluation::Disturbed;
use crate::engine::model::{IndicatorName, Severity, TargetName};
use crate::engine::rules::{Condition, Indicator, RuleSet};

impl Incident {
    fn is_about_the_target(&self) -> bool {
        self.resolved_at.is_none() && matches!(self.cause, Cause::Trigger(_) | Cause::Silent(_))
    }

    fn is_grave(&self) -> bool {
        self.severity >= Severity::High
    }

    /// Returns the indicators that what opened it reads; nothing is known of what imported alerts read.
    fn read<'r>(&self, rules: &'r RuleSet) -> impl Iterator<Item = &'r IndicatorName> {
        let rule = match &self.cause {
            Cause::Trigger(key) => rules.triggers.get(&(key.target.clone(), key.trigger.clone())),
            _ => None,
        };
        let compares = rule.map(|rule| Condition::compares(&rule.when)).unwrap_or_default();
        compares.into_iter().map(|compare| &compare.indicator.name)
    }
}

impl State {
    /// Returns why what an indicator of a target shows now may not be called normal, where an incident says so.
    pub fn trouble_with(
        &self,
        rules: &RuleSet,
        target: &TargetName,
        indicator: &Indicator,
    ) -> Option<String> {
        let counts = |incident: &Incident| match &incident.cause {
            _ if incident.target == *target && incident.is_grave() => true,
            Cause::Silent(source) => indicator.sources().contains(source),
            _ => incident.target == *target && incident.read(rules).any(|name| *name == indicator.name),
        };
        let mut open = self.incidents.iter().filter(|(_, incident)| incident.is_about_the_target());
        let (id, incident) = open.find(|(_, incident)| counts(incident))?;
        Some(format!("incident {id} was open before it ({})", incident.cause))
    }

    /// Returns where something is wrong or new. What only a silent source says has no value then anyway.
    pub fn disturbed(&self, rules: &RuleSet) -> Disturbed {
        let mut disturbed = Disturbed { targets: self.deployed(), ..Disturbed::default() };
        for incident in self.incidents.values().filter(|incident| incident.is_about_the_target()) {
            if incident.is_grave() {
                disturbed.targets.insert(incident.target.clone());
            } else {
                let read = incident.read(rules).map(|name| (incident.target.clone(), name.clone()));
                disturbed.indicators.extend(read);
            }
        }
        disturbed
    }
}
