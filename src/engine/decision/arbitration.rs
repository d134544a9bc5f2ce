//! Who may act: one rollback per target at a time, bounded, armed, and only with a journal (E3, E7).

use super::event::Refusal;
use super::scopes::scopes_of;
use super::setup::{Mode, Setup};
use super::state::State;
use crate::engine::model::{IncidentId, PlanName, TargetName};
use crate::engine::rules::Then;
use crate::engine::time::Timestamp;

/// Returns whether what `then` wants at `target` would be done now, for an open incident or for a new one.
///
/// # Errors
/// Returns the first reason why not.
pub fn would_roll_back(
    state: &State,
    setup: &Setup,
    now: Timestamp,
    incident: Option<IncidentId>,
    target: &TargetName,
    then: &Then,
) -> Result<(), Refusal> {
    let Some(plan) = &then.rollback else { return Ok(()) };
    permit(state, setup, now, incident.unwrap_or(IncidentId(u64::MAX)), target, plan)?;
    match scopes_of(state, setup, target, now).unmet(&then.rollback_during) {
        Some(scope) => Err(Refusal::OutOfScope(scope.to_string())),
        None => Ok(()),
    }
}

/// Returns whether `incident` may run `plan` at `target` now.
///
/// # Errors
/// Returns the first reason why not, in the order in which people would want to hear them.
pub(super) fn permit(
    state: &State,
    setup: &Setup,
    now: Timestamp,
    incident: IncidentId,
    target: &TargetName,
    plan: &PlanName,
) -> Result<(), Refusal> {
    let done = state.targets.get(target);
    if let Some(rollback) = done.and_then(|target| target.in_flight) {
        return Err(Refusal::Joined(rollback));
    }
    if let Some(rollback) = state.incidents.get(&incident).and_then(|incident| incident.ran.get(plan)) {
        return Err(Refusal::AlreadyRun(*rollback));
    }
    // A target that is not configured cannot be armed.
    let Some(guarded) = setup.targets.get(target).filter(|target| target.mode == Mode::Armed) else {
        return Err(Refusal::Shadow);
    };
    if let Some(point) = done.and_then(|done| done.deployments.no_return.as_ref()).filter(|p| now >= p.at) {
        return Err(Refusal::PastReturn { since: point.at, by: point.by.clone() });
    }
    if let Some(lost) = &state.journal_lost {
        return Err(Refusal::Journal(lost.clone()));
    }
    if state.stopping {
        return Err(Refusal::Stopping);
    }
    let Some(done) = done else { return Ok(()) };
    if let Some(ended) = done.last_ended
        && now < ended + guarded.cooldown
    {
        return Err(Refusal::Cooldown { until: ended + guarded.cooldown });
    }
    let cap = guarded.at_most;
    if done.rollbacks_within(cap.per, now) >= usize::try_from(cap.count).unwrap_or(usize::MAX) {
        return Err(Refusal::AtMost { count: cap.count, per: cap.per });
    }
    Ok(())
}
