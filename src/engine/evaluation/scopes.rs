//! Which times it is for a target: what `during` asks for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::engine::model::CalendarName;
use crate::engine::rules::{During, Scope};
use crate::engine::time::Timestamp;

/// Two shares nearer to each other than this are one: 10% may be written 0.1.
const SAME_SHARE: f64 = 1e-9;

/// Which times it is for a target at an instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scopes {
    /// Whether a deployment is under way or soaks.
    pub deployment: bool,
    /// Whether one soaks.
    pub soak: bool,
    /// The part of the traffic that the new version gets, once the stage has settled.
    pub stage: Option<f64>,
    /// The calendars that are open.
    pub open: BTreeSet<CalendarName>,
}

impl Scopes {
    /// Returns the first word that is not true; `None` where all are.
    pub fn unmet<'d>(&self, during: &'d [During]) -> Option<&'d During> {
        during.iter().find(|word| self.contains(&word.scope) != word.is)
    }

    fn contains(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Deployment => self.deployment,
            Scope::Soak => self.soak,
            Scope::Stage(share) => self.stage.is_some_and(|stage| (stage - share).abs() < SAME_SHARE),
            Scope::Calendar(name) => self.open.contains(name),
        }
    }
}

/// Why a trigger is not judged now, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// The word of its `during` that is not true.
    pub scope: String,
    /// Since when none of its observations was within.
    pub since: Timestamp,
    /// When its time comes again, at the earliest; `None` where no calendar tells.
    #[serde(default)]
    pub until: Option<Timestamp>,
}
