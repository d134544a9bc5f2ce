//! Conditions as written -> [`Condition`]s: what their names mean where they stand.

use std::sync::Arc;

use crate::engine::model::TriggerName;
use crate::engine::rules::condition::{self, Comparing, InUnit, Named, Parsed};
use crate::engine::rules::diagnostic::{Diagnostic, Findings, Level};
use crate::engine::rules::set::{Compare, Condition, Indicator, Test};
use crate::engine::rules::yaml::Scalar;

/// What is known of an indicator's name at one place.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It is this one.
    Found(Arc<Indicator>),
    /// It is declared and broken; that has been reported.
    Broken,
    /// It cannot be used here: what is wrong, and what to do.
    Refused(&'static str, String, String),
}

/// What is known of a trigger's name at one place.
#[derive(Clone, Debug)]
pub enum NamedLookup {
    /// It is this one, or the levels of this one.
    Found(Vec<TriggerName>),
    /// It is declared and broken; that has been reported.
    Broken,
    /// It cannot be used here: what is wrong, and what to do.
    Refused(&'static str, String, String),
}

/// What a condition is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// What is bad: `when` of a trigger.
    Bad,
    /// What must be: promises, verifications, guards, what clears.
    Good,
}

/// What a condition's words mean where it stands.
#[derive(Clone, Copy)]
pub struct Meaning<'f> {
    /// What it is written for.
    pub says: Says,
    /// What an indicator's name means.
    pub indicator: &'f dyn Fn(&str) -> Lookup,
    /// What a name alone means; `None` where no trigger may be named.
    pub trigger: Option<&'f dyn Fn(&str) -> NamedLookup>,
}

impl<'f> Meaning<'f> {
    /// Of what must be, and names no trigger.
    pub fn good(indicator: &'f dyn Fn(&str) -> Lookup) -> Self {
        Self { says: Says::Good, indicator, trigger: None }
    }

    /// Returns what a name that is compared with nothing means.
    fn named(&self, name: &str) -> NamedLookup {
        let found = match self.trigger {
            Some(find) => find(name),
            None => {
                let message = format!("`{name}` is compared with nothing; only `when` may name triggers");
                let hint = "compare an indicator with a threshold, such as `error_rate > 2%`".to_owned();
                NamedLookup::Refused("bad-condition", message, hint)
            }
        };
        match (found, (self.indicator)(name)) {
            (NamedLookup::Refused(..), Lookup::Found(_)) => {
                let message = format!("`{name}` is an indicator, and the comparison is missing");
                let hint = format!("such as `{name} > 2`; a name alone is a trigger that fires");
                NamedLookup::Refused("bad-comparison", message, hint)
            }
            (found, _) => found,
        }
    }
}

/// Compiles a condition. Every comparison is looked at.
pub fn condition(written: &Scalar, meaning: Meaning<'_>, out: &mut Findings) -> Option<Condition> {
    match condition::parse(&written.value) {
        Ok(parsed) => {
            let mut found = Findings::default();
            let test = test(&parsed, written, meaning, &mut found);
            // What must be may well be less than the baseline: only what is bad is doubted.
            let doubted =
                |problem: &Diagnostic| meaning.says == Says::Bad || problem.code != condition::INVERTED;
            out.extend(found.into_problems().into_iter().filter(doubted));
            let test = test?;
            Some(Condition { test, text: written.value.trim().to_owned() })
        }
        Err(problem) => {
            out.push(located(written, problem));
            None
        }
    }
}

fn located(written: &Scalar, problem: condition::Problem) -> Diagnostic {
    Diagnostic::error(problem.code, written.place_within(problem.span), problem.message)
        .maybe_hint(problem.hint)
}

fn test(parsed: &Parsed, written: &Scalar, meaning: Meaning<'_>, out: &mut Findings) -> Option<Test> {
    let mut each = |parts: &[Parsed]| -> Option<Vec<Test>> {
        let parts: Vec<_> = parts.iter().map(|part| test(part, written, meaning, out)).collect();
        parts.into_iter().collect()
    };
    Some(match parsed {
        Parsed::All(parts) => Test::All(each(parts)?),
        Parsed::Any(parts) => Test::Any(each(parts)?),
        Parsed::AtLeast { count, of } => Test::AtLeast { count: *count, of: each(of)? },
        Parsed::Compare(comparing) => Test::Compare(compare(comparing, written, meaning, out)?),
        Parsed::Fires(named) => fires(named, written, meaning, out)?,
    })
}

/// One trigger fires; of one with levels, any of them.
fn fires(named: &Named, written: &Scalar, meaning: Meaning<'_>, out: &mut Findings) -> Option<Test> {
    match meaning.named(&named.name) {
        NamedLookup::Found(triggers) => {
            let mut tests: Vec<Test> = triggers.into_iter().map(Test::Fires).collect();
            if tests.len() == 1 { tests.pop() } else { Some(Test::Any(tests)) }
        }
        NamedLookup::Broken => None,
        NamedLookup::Refused(code, message, hint) => {
            let place = written.place_within(named.span.clone());
            out.push(Diagnostic::error(code, place, message).hint(hint));
            None
        }
    }
}

fn compare(
    comparing: &Comparing,
    written: &Scalar,
    meaning: Meaning<'_>,
    out: &mut Findings,
) -> Option<Compare> {
    let indicator = match (meaning.indicator)(&comparing.indicator) {
        Lookup::Found(indicator) => indicator,
        Lookup::Broken => return None,
        Lookup::Refused(code, message, hint) => {
            let place = written.place_within(comparing.indicator_span.clone());
            out.push(Diagnostic::error(code, place, message).hint(hint));
            return None;
        }
    };
    match comparing.threshold_in(indicator.unit) {
        Ok(InUnit { threshold, doubt }) => {
            if let Some(doubt) = doubt {
                out.push(Diagnostic { level: Level::Warning, ..located(written, doubt) });
            }
            let text = written.value.get(comparing.span.clone()).unwrap_or(&written.value).to_owned();
            Some(Compare { indicator, comparison: comparing.comparison, threshold, text })
        }
        Err(problem) => {
            out.push(located(written, problem));
            None
        }
    }
}
