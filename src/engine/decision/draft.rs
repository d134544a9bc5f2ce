//! A decision in the making: events are applied to a scratch copy as they are decided, so that each one sees the last.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::effect::Effect;
use super::event::{Event, Happening};
use super::setup::Setup;
use super::state::{State, apply};
use crate::engine::evaluation::ProbeSeen;
use crate::engine::report::{Reason, Report};
use crate::engine::time::Timestamp;

/// A decision in the making.
pub(super) struct Draft<'a> {
    pub(super) setup: &'a Setup,
    pub(super) now: Timestamp,
    state: Cow<'a, State>,
    pub(super) events: Vec<Event>,
    pub(super) effects: Vec<Effect>,
    pub(super) report: Report,
    /// The keys under which it was told in this decision that a rollback did not work out.
    pub(super) told_now: BTreeSet<String>,
    /// What probes answered last, where the input tells.
    pub(super) probes: Vec<ProbeSeen>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(state: &'a State, setup: &'a Setup, now: Timestamp) -> Self {
        // Time never goes backwards in here, whatever the caller's clock did (E8).
        let now = now.max(state.now);
        let state = Cow::Borrowed(state);
        let (events, effects, report) = (Vec::new(), Vec::new(), Report::default());
        let (told_now, probes) = (BTreeSet::new(), Vec::new());
        Self { setup, now, state, events, effects, report, told_now, probes }
    }

    /// Returns the state with every event of this decision in it.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Decides that something happened.
    ///
    /// An event that does not fit the state is a bug of ours: it is told in the report and dropped, because a wrong
    /// record is worse than a missing one. Returns whether it fits; what hangs on it must not happen otherwise.
    pub(super) fn emit(&mut self, what: Happening) -> bool {
        let event = Event { at: self.now, what };
        match apply(self.state.to_mut(), &event) {
            Ok(()) => {
                self.events.push(event);
                true
            }
            Err(illegal) => {
                self.report.add("decision", Reason::Illegal(illegal.to_string()));
                false
            }
        }
    }

    /// Asks the shell for something.
    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}
