//! What triggers and expressions look like at a time, beside what they should.

use super::expectation::{Fill, Standing, StatePattern, VerdictWord};
use super::story::{Look, Story, is_called};
use crate::engine::evaluation::{TriggerLook, UnknownReason, Verdict};
use crate::engine::report::Reason;
use crate::engine::time::Span;

/// Values of expressions count as equal where they differ by less than this share: sums of decimal fractions do.
const TOLERANCE: f64 = 1e-9;

/// Compares what is expected with what was; returns what was where it is something else.
pub(super) fn compare(pattern: &StatePattern, story: &Story, at: Span) -> Result<(), String> {
    let down = || "the daemon is down".to_owned();
    let look = story.looks.get(&at).ok_or_else(|| "the test ends before that".to_owned())?;
    match pattern {
        StatePattern::Trigger { name, .. } => {
            let triggers = look.triggers.as_ref().ok_or_else(down)?;
            let meant: Vec<_> =
                triggers.iter().filter(|(look, _)| is_called(&look.key, &name.value)).collect();
            let is_as_expected =
                |(look, standing): &&&(TriggerLook, Standing)| fits(pattern, look, *standing, story, at);
            match meant.iter().find(is_as_expected) {
                Some(_) => Ok(()),
                None => {
                    let told = meant.iter().map(|(look, standing)| described(look, *standing, story, at));
                    let told: Vec<String> = told.collect();
                    Err(if told.is_empty() { format!("there is no {}", name.value) } else { told.join("; ") })
                }
            }
        }
        StatePattern::Query { text, is, .. } => query(look, text, *is),
    }
}

fn query(look: &Look, text: &str, is: Option<f64>) -> Result<(), String> {
    let got = look.queries.get(text).ok_or_else(|| "the daemon is down".to_owned())?;
    let values = got.as_ref().map_err(Clone::clone)?;
    match (values.as_slice(), is) {
        ([], None) => Ok(()),
        ([], Some(_)) => Err(format!("{text} is nothing")),
        ([value], Some(wanted)) if is_same(*value, wanted) => Ok(()),
        (values, _) => {
            let values: Vec<String> = values.iter().map(f64::to_string).collect();
            Err(format!("{text} is {}", values.join(" and ")))
        }
    }
}

fn is_same(a: f64, b: f64) -> bool {
    #[expect(clippy::float_cmp, reason = "infinities are equal to themselves alone")]
    let same = a == b;
    same || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

fn fits(pattern: &StatePattern, look: &TriggerLook, standing: Standing, story: &Story, at: Span) -> bool {
    let StatePattern::Trigger { is, verdict, value, window, because, .. } = pattern else { return false };
    let shown = look.evidence.as_ref().map(|evidence| evidence.shown.as_str());
    is.is_none_or(|is| is == standing)
        && verdict.is_none_or(|verdict| verdict == word_of(look))
        && value.as_ref().is_none_or(|value| shown == Some(value.as_str()))
        && window.is_none_or(|window| match window {
            Fill::Time(span) => span == look.window.breached,
            Fill::Count(count, of) => look.window.count == Some((count, of)),
        })
        && because.as_ref().is_none_or(|part| {
            let reason = story.reason(look.key.trigger.as_str(), at).map(|(_, reason)| reason);
            reason.is_some_and(|reason| reason.to_string().contains(part.as_str()))
                || unknown_of(look).is_some_and(|why| why.to_string().contains(part.as_str()))
        })
}

fn word_of(look: &TriggerLook) -> VerdictWord {
    match &look.verdict {
        None => VerdictWord::None,
        Some(Verdict::Holds) => VerdictWord::Holds,
        Some(Verdict::Breached) => VerdictWord::Breached,
        Some(Verdict::NoData) => VerdictWord::NoData,
        Some(Verdict::Unknown(_)) => VerdictWord::Unknown,
    }
}

fn unknown_of(look: &TriggerLook) -> Option<&UnknownReason> {
    match &look.verdict {
        Some(Verdict::Unknown(why)) => Some(why),
        _ => None,
    }
}

/// Tells what a trigger looks like, and the last reason that was given for it.
pub(super) fn described(look: &TriggerLook, standing: Standing, story: &Story, at: Span) -> String {
    let mut text = format!("{} is {standing}, {}", look.key.trigger, word_of(look));
    if let Some(why) = unknown_of(look) {
        text.push_str(&format!(" ({why})"));
    }
    if let Some(evidence) = &look.evidence {
        text.push_str(&format!(", measured {}", evidence.shown));
    }
    match look.window.count {
        Some((0, _)) => {}
        Some((count, of)) => text.push_str(&format!(", {count} of {of} breaches")),
        None if look.window.breached > Span::ZERO => {
            text.push_str(&format!(", breached for {} of {}", look.window.breached, look.window.of));
        }
        None => {}
    }
    // How its window was filling says nothing once it fires.
    let reason = story.reason(look.key.trigger.as_str(), at);
    if let Some((_, reason @ Reason::NotBegun(_))) = reason.filter(|_| standing == Standing::Firing) {
        text.push_str(&format!(", {reason}"));
    }
    text
}
