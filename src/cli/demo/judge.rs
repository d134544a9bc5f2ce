//! Whether the story came out as it should.

use std::collections::{BTreeMap, BTreeSet};

use super::Sabotage;
use super::app::Version;
use super::arrival::{Arrived, Page};
use super::scenario::{MAIL, PAGERDUTY};
use super::story::Item;
use crate::engine::decision::{DeliveryReport, Happening, Message, MessageKind, Outcome, StepResult};
use crate::engine::model::{EffectId, IncidentId, ReceiverName};

/// Judges the whole story: what is missing in it, and whether the app runs what it should in the end.
///
/// # Errors
///
/// Everything that is missing, one sentence each.
pub fn judge(sabotage: Option<Sabotage>, items: &[Item], runs: Option<Version>) -> Result<(), Vec<String>> {
    let mut missing = missing(sabotage, items);
    let expected = match sabotage {
        None | Some(Sabotage::Receiver) => Version::One,
        Some(Sabotage::Actuator | Sabotage::Verify) => Version::Two,
    };
    if runs != Some(expected) {
        let runs =
            runs.map_or_else(|| "nothing that answers".to_owned(), |version| format!("version {version}"));
        missing.push(format!("the trading app runs {runs}; version {expected} was expected"));
    }
    if missing.is_empty() { Ok(()) } else { Err(missing) }
}

/// Returns what the story still lacks, one sentence each; nothing when it may end.
pub fn missing(sabotage: Option<Sabotage>, items: &[Item]) -> Vec<String> {
    let story = Story { items };
    let mut missing = Vec::new();
    let mut need = |met: bool, sentence: &str| {
        if !met {
            missing.push(sentence.to_owned());
        }
    };
    let saw = |wanted: fn(&Happening) -> bool| story.events().any(wanted);
    need(
        saw(
            |what| matches!(what, Happening::VersionSeen { version, previous: Some(_), .. } if version == "2"),
        ),
        "the daemon did not see version 2",
    );
    need(saw(|what| matches!(what, Happening::TriggerFiring { .. })), "no trigger fired");
    let decided = story.events().filter(|what| matches!(what, Happening::RollbackDecided { .. })).count();
    need(decided == 1, &format!("{decided} rollbacks were decided; exactly one was expected"));
    need(!saw(|what| matches!(what, Happening::JournalLost { .. })), "the journal was lost");
    need(!saw(|what| matches!(what, Happening::StepInDoubt { .. })), "a step is in doubt");

    let outcome = story.outcome();
    let expected = match sabotage {
        None | Some(Sabotage::Receiver) => Outcome::Succeeded,
        Some(Sabotage::Actuator) => Outcome::Failed,
        Some(Sabotage::Verify) => Outcome::Partial,
    };
    let ended = outcome.map_or_else(|| "has not ended".to_owned(), |outcome| format!("ended as {outcome:?}"));
    need(outcome == Some(expected), &format!("the rollback {ended}; {expected:?} was expected"));
    let failed = story.failed_steps();
    match sabotage {
        Some(Sabotage::Actuator) => need(failed > 0, "no step failed, though the actuator is sabotaged"),
        _ => need(failed == 0, &format!("{failed} steps failed")),
    }
    if expected == Outcome::Succeeded {
        need(story.resolved(), "the incident was not resolved");
        let all_clear = story.messages().any(|(message, _)| message.kind == MessageKind::Resolve);
        need(all_clear, "nobody was told that it is over");
    }
    missing.extend(story.undelivered(sabotage));
    if expected != Outcome::Succeeded && !story.paged_about_the_rollback() {
        missing.push("no page about the rollback itself arrived under a key of its own".to_owned());
    }
    missing
}

/// Questions to the story.
struct Story<'a> {
    items: &'a [Item],
}

impl Story<'_> {
    fn events(&self) -> impl Iterator<Item = &Happening> {
        self.items.iter().filter_map(|item| match item {
            Item::Event(record) => Some(&record.event.what),
            _ => None,
        })
    }

    fn pages(&self) -> impl Iterator<Item = &Page> {
        self.items.iter().filter_map(|item| match item {
            Item::Arrival(arrival) => match &arrival.what {
                Arrived::Page(page) => Some(page),
                Arrived::Mail(_) => None,
            },
            _ => None,
        })
    }

    fn mails(&self) -> usize {
        let mail =
            |item: &&Item| matches!(item, Item::Arrival(arrival) if matches!(arrival.what, Arrived::Mail(_)));
        self.items.iter().filter(mail).count()
    }

    fn outcome(&self) -> Option<Outcome> {
        self.events().find_map(|what| match what {
            Happening::RollbackEnded { outcome, .. } => Some(*outcome),
            _ => None,
        })
    }

    fn failed_steps(&self) -> usize {
        let failed = |what: &&Happening| matches!(what, Happening::StepEnded { ending, .. } if ending.result != StepResult::Succeeded);
        self.events().filter(failed).count()
    }

    /// The incident that was rolled back for.
    fn incident(&self) -> Option<IncidentId> {
        self.events().find_map(|what| match what {
            Happening::RollbackDecided { incident, .. } => Some(*incident),
            _ => None,
        })
    }

    fn resolved(&self) -> bool {
        self.events().any(|what| match what {
            Happening::IncidentResolved { incident, .. } => Some(*incident) == self.incident(),
            _ => false,
        })
    }

    fn messages(&self) -> impl Iterator<Item = (&Message, &[(EffectId, ReceiverName)])> {
        self.events().filter_map(|what| match what {
            Happening::PageDecided { message, deliveries, .. } => Some((&**message, deliveries.as_slice())),
            _ => None,
        })
    }

    fn report(&self, delivery: EffectId, wanted: fn(&DeliveryReport) -> bool) -> bool {
        self.events().any(|what| {
            matches!(what, Happening::DeliveryReported { effect, report, .. } if *effect == delivery && wanted(report))
        })
    }

    /// Checks what the journal says of deliveries against what the stand-ins received.
    fn undelivered(&self, sabotage: Option<Sabotage>) -> Vec<String> {
        let mut missing = Vec::new();
        let (mut to_pagerduty, mut to_mail) = (0, 0);
        let mut sent: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (message, deliveries) in self.messages() {
            let action = match message.kind {
                MessageKind::Trigger | MessageKind::Update => "trigger",
                MessageKind::Resolve => "resolve",
            };
            for (delivery, receiver) in deliveries {
                let broken = sabotage == Some(Sabotage::Receiver) && receiver.as_str() == PAGERDUTY;
                let key = &message.dedup_key;
                if broken {
                    let noticed = self.report(*delivery, |r| matches!(r, DeliveryReport::FirstFailure(_)));
                    to_pagerduty += usize::from(noticed);
                    continue;
                }
                if !self.report(*delivery, |report| matches!(report, DeliveryReport::Accepted(_))) {
                    missing.push(format!("{receiver} has not accepted the {action} of {key}"));
                }
                if receiver.as_str() == PAGERDUTY {
                    to_pagerduty += 1;
                    *sent.entry((key.as_str(), action)).or_insert(0) += 1;
                }
                to_mail += usize::from(receiver.as_str() == MAIL);
            }
        }
        for ((key, action), times) in sent {
            let wanted = |page: &&Page| page.accepted() && page.action == action && page.dedup_key == key;
            let arrived = self.pages().filter(wanted).count();
            if arrived < times {
                missing.push(format!("PagerDuty received {arrived} of {times} {action}s of {key}"));
            }
        }
        if to_pagerduty == 0 {
            missing.push(match sabotage {
                Some(Sabotage::Receiver) => "no failure of the broken PagerDuty was noticed".to_owned(),
                _ => "nothing was sent to PagerDuty".to_owned(),
            });
        }
        if sabotage == Some(Sabotage::Receiver) && self.pages().all(Page::accepted) {
            missing.push("the broken PagerDuty was not asked".to_owned());
        }
        if to_mail == 0 || self.mails() < to_mail {
            missing.push(format!("{} mails arrived of {to_mail} that were sent", self.mails()));
        }
        missing
    }

    /// Whether a page arrived under a key that is not the incident's (E5).
    fn paged_about_the_rollback(&self) -> bool {
        let keys: BTreeSet<&str> =
            self.pages().filter(|p| p.accepted()).map(|p| p.dedup_key.as_str()).collect();
        keys.len() >= 2
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::tests::story;
    use super::*;

    const MODES: [Option<Sabotage>; 4] =
        [None, Some(Sabotage::Actuator), Some(Sabotage::Receiver), Some(Sabotage::Verify)];

    fn runs(sabotage: Option<Sabotage>) -> Version {
        match sabotage {
            None | Some(Sabotage::Receiver) => Version::One,
            Some(Sabotage::Actuator | Sabotage::Verify) => Version::Two,
        }
    }

    #[test]
    fn each_story_is_right_for_its_sabotage_and_wrong_for_every_other() {
        for told in MODES {
            for expected in MODES {
                let judged = judge(expected, &story(told), Some(runs(expected)));
                assert_eq!(judged.is_ok(), told == expected, "{told:?} as {expected:?}: {judged:?}");
            }
        }
    }

    #[test]
    fn the_app_has_the_last_word() {
        for (runs, ok) in [(Some(Version::One), true), (Some(Version::Two), false), (None, false)] {
            assert_eq!(judge(None, &story(None), runs).is_ok(), ok, "{runs:?}");
        }
    }

    /// Whether a story without this item cannot count as told: quiet events and repeated news may be missing.
    fn essential(item: &Item) -> bool {
        let Item::Event(record) = item else { return matches!(item, Item::Arrival(_)) };
        match &record.event.what {
            Happening::VersionSeen { previous, .. } => previous.is_some(),
            Happening::DeliveryReported { report, .. } => matches!(report, DeliveryReport::Accepted(_)),
            what => matches!(
                what,
                Happening::TriggerFiring { .. }
                    | Happening::RollbackDecided { .. }
                    | Happening::RollbackEnded { .. }
                    | Happening::IncidentResolved { .. }
            ),
        }
    }

    #[test]
    fn a_story_that_lacks_any_essential_part_is_incomplete() {
        for mode in [None, Some(Sabotage::Actuator), Some(Sabotage::Verify)] {
            let whole = story(mode);
            let parts: Vec<_> = (0..whole.len()).filter(|at| essential(&whole[*at])).collect();
            assert!(parts.len() > 10, "{mode:?}: {}", parts.len());
            for at in parts {
                let mut told = whole.clone();
                let part = told.remove(at);
                assert!(!missing(mode, &told).is_empty(), "{mode:?} is complete without {part:?}");
            }
        }
    }

    #[test]
    fn a_story_is_not_over_before_its_last_arrival() {
        for mode in MODES {
            let whole = story(mode);
            let first = (0..=whole.len()).find(|length| missing(mode, &whole[..*length]).is_empty());
            assert_eq!(first, Some(whole.len()), "{mode:?}");
        }
    }
}
