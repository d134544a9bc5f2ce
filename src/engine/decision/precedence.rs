//! What is taken in first where several things are judged at one instant: the first one that wants to act acts, and the
//! others join it.
//!
//! The worst comes first; of what is equally bad, native triggers come before imported alerts, and each kind comes in the
//! order of its files. Names decide nothing: another name must not be another rollback.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::alerts::{Routed, severity_of};
use super::draft::Draft;
use crate::engine::evaluation::{Judged, Judgement, TriggerKey};
use crate::engine::model::{Severity, TriggerName};
use crate::engine::rules::{Position, Trigger};

/// The smaller, the earlier: how bad, native or imported, where in the files.
type Rank = (Reverse<Severity>, bool, Position);

/// Something that was judged.
enum Heard<'a> {
    Trigger(&'a Trigger, &'a Judgement),
    Alert(&'a TriggerKey, &'a Routed<'a>),
}

impl Draft<'_> {
    /// Takes in what was judged of triggers and imported alerts.
    pub(super) fn take_in_order(&mut self, judged: &Judged) {
        let setup = self.setup;
        let routed = judged.alerts.as_ref().map(|alerts| self.routed(alerts)).unwrap_or_default();
        let mut heard: Vec<(Rank, Heard<'_>)> = Vec::new();
        for judgement in &judged.judgements {
            let id = (judgement.key.target.clone(), judgement.key.trigger.clone());
            if let Some(rule) = setup.rules.triggers.get(&id) {
                heard.push(((Reverse(rule.severity), false, rule.position), Heard::Trigger(rule, judgement)));
            }
        }
        let rules = judged.alerts.iter().flat_map(|alerts| &alerts.rules).enumerate();
        let mut places: BTreeMap<&TriggerName, usize> = BTreeMap::new();
        rules.for_each(|(nth, rule)| {
            places.entry(&rule.name).or_insert(nth);
        });
        for (key, routed) in &routed {
            let line = places.get(&key.trigger).copied().unwrap_or(usize::MAX);
            let position = Position { line, ..Position::default() };
            let severity = severity_of(&routed.alert.labels);
            heard.push(((Reverse(severity), true, position), Heard::Alert(key, routed)));
        }
        // Where all of that is equal, as for the series of one trigger, the order of their keys stays.
        heard.sort_by_key(|(rank, _)| *rank);
        for (_, heard) in heard {
            match heard {
                Heard::Trigger(rule, judgement) => self.take_judgement(rule, judgement),
                Heard::Alert(key, routed) => self.take_alert(key, routed),
            }
        }
        if let Some(alerts) = &judged.alerts {
            self.end_alerts(alerts, &routed);
        }
    }
}
