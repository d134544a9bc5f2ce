//! Tables that people and commands read: incidents, rollbacks, the outbox. They say nothing that the events do not say.

use rusqlite::{Connection, params};

use super::chain::Link;
use crate::engine::decision::{Cause, DeliveryReport, Event, Happening, JournalCheckpoint, MessageKind};
use crate::engine::evaluation::TriggerKey;
use crate::engine::model::{EffectId, RollbackId};

/// What a statement's outcome is when only success matters.
type Done = rusqlite::Result<()>;

/// Brings the projections up to one more event.
///
/// An event that makes no sense, such as the end of an incident that never began, changes nothing: the record of what
/// happened must not fail on it.
pub(super) fn apply(connection: &Connection, link: &Link, event: &Event) -> Done {
    let at = Place { seq: number(link.seq), at_ms: link.at.as_millis(), unix_ms: link.wall_unix_ms };
    write_row(connection, &at, &event.what)?;
    for incident in incidents_of(connection, &event.what)? {
        run(
            connection,
            "INSERT OR IGNORE INTO incident_events (incident, seq) VALUES (?1, ?2)",
            params![incident, at.seq],
        )?;
    }
    Ok(())
}

/// Empties the projections; the events are then applied again.
pub(super) fn clear(connection: &Connection) -> Done {
    connection.execute_batch(
        "DELETE FROM incidents; DELETE FROM rollbacks; DELETE FROM outbox; DELETE FROM incident_events;
         DELETE FROM checkpoints;
         UPDATE intents SET started_seq = NULL, ended_seq = NULL;",
    )
}

/// Where and when an event stands.
struct Place {
    seq: i64,
    at_ms: i64,
    unix_ms: i64,
}

fn write_row(connection: &Connection, at: &Place, what: &Happening) -> Done {
    match what {
        Happening::IncidentOpened { incident, cause, target, severity, reason, .. } => run(
            connection,
            "INSERT OR REPLACE INTO incidents
             (id, target, cause, severity, reason, state, opened_at_ms, opened_unix_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, 'open', ?6, ?7)",
            params![
                number(incident.0),
                target.as_str(),
                cause_text(cause),
                severity.to_string(),
                reason,
                at.at_ms,
                at.unix_ms
            ],
        ),
        Happening::IncidentResolved { incident, reason, .. } => run(
            connection,
            "UPDATE incidents
             SET state = 'resolved', resolved_at_ms = ?2, resolved_unix_ms = ?3, resolution = ?4 WHERE id = ?1",
            params![number(incident.0), at.at_ms, at.unix_ms, reason],
        ),
        Happening::RollbackDecided { rollback, incident, target, plan, .. } => run(
            connection,
            "INSERT OR REPLACE INTO rollbacks (id, incident, target, plan, decided_unix_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![number(rollback.0), number(incident.0), target.as_str(), plan.as_str(), at.unix_ms],
        ),
        Happening::RollbackEnded { rollback, outcome, reason } => run(
            connection,
            "UPDATE rollbacks SET ended_unix_ms = ?2, outcome = ?3, reason = ?4 WHERE id = ?1",
            params![number(rollback.0), at.unix_ms, bare(outcome), reason],
        ),
        Happening::PageDecided { incident, message, deliveries, .. } => {
            deliveries.iter().try_for_each(|(effect, receiver)| {
                let kind = match message.kind {
                    MessageKind::Trigger => "trigger",
                    MessageKind::Update => "update",
                    MessageKind::Resolve => "resolve",
                };
                run(
                    connection,
                    "INSERT OR REPLACE INTO outbox
                     (effect, incident, receiver, kind, dedup_key, status, decided_unix_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, 'queued', ?6)",
                    params![
                        number(effect.0),
                        number(incident.0),
                        receiver.as_str(),
                        kind,
                        message.dedup_key,
                        at.unix_ms
                    ],
                )
            })
        }
        Happening::JournalCheckpoint(JournalCheckpoint { first_kept, hash, files, .. }) => run(
            connection,
            "INSERT OR REPLACE INTO checkpoints (seq, first_kept, hash, files) VALUES (?1, ?2, ?3, ?4)",
            params![at.seq, number(*first_kept), hash, files],
        ),
        Happening::StepStarted { effect, .. } => started(connection, at, *effect),
        Happening::StepEnded { effect, .. } => ended(connection, at, *effect),
        Happening::DeliveryReported { effect, report, .. } => reported(connection, at, *effect, report),
        _ => Ok(()),
    }
}

fn started(connection: &Connection, at: &Place, effect: EffectId) -> Done {
    run(
        connection,
        "UPDATE intents SET started_seq = coalesce(started_seq, ?2) WHERE effect = ?1",
        params![number(effect.0), at.seq],
    )
}

fn ended(connection: &Connection, at: &Place, effect: EffectId) -> Done {
    run(
        connection,
        "UPDATE intents SET ended_seq = coalesce(ended_seq, ?2) WHERE effect = ?1",
        params![number(effect.0), at.seq],
    )
}

fn reported(connection: &Connection, at: &Place, effect: EffectId, report: &DeliveryReport) -> Done {
    started(connection, at, effect)?;
    let (status, text) = match report {
        DeliveryReport::FirstFailure(text) => ("failing", text),
        DeliveryReport::Accepted(text) => ("accepted", text),
        DeliveryReport::Dead(text) => ("dead", text),
    };
    if status != "failing" {
        ended(connection, at, effect)?;
    }
    // A failure that is heard of after the receiver said yes does not take the yes back.
    run(
        connection,
        "UPDATE outbox SET status = ?2, last_report = ?3, reported_unix_ms = ?4
         WHERE effect = ?1 AND NOT (?2 = 'failing' AND status IN ('accepted', 'dead'))",
        params![number(effect.0), status, text, at.unix_ms],
    )
}

/// Returns the incidents to which an event belongs.
fn incidents_of(connection: &Connection, what: &Happening) -> rusqlite::Result<Vec<i64>> {
    match what {
        Happening::IncidentOpened { incident, .. }
        | Happening::Escalated { incident, .. }
        | Happening::Overdue { incident, .. }
        | Happening::TaskDone { incident, .. }
        | Happening::IncidentResolved { incident, .. }
        | Happening::RollbackDecided { incident, .. }
        | Happening::RollbackNotBegun { incident, .. }
        | Happening::RollbackRecommended { incident, .. }
        | Happening::PageDecided { incident, .. } => Ok(vec![number(incident.0)]),
        Happening::StepIntended { order, .. } => Ok(vec![number(order.facts.incident.0)]),
        Happening::StepStarted { rollback, .. }
        | Happening::StepEnded { rollback, .. }
        | Happening::StepInDoubt { rollback, .. }
        | Happening::StepSettled { rollback, .. }
        | Happening::VerificationStarted { rollback, .. }
        | Happening::VerificationSaw { rollback, .. }
        | Happening::RollbackEnded { rollback, .. } => of_rollback(connection, *rollback),
        Happening::DeliveryReported { effect, .. } => {
            ids(connection, "SELECT incident FROM outbox WHERE effect = ?1", params![number(effect.0)])
        }
        Happening::TriggerPending { key, .. }
        | Happening::TriggerFiring { key, .. }
        | Happening::TriggerCleared { key, .. }
        | Happening::TriggerOutOfScope { key, .. } => of_trigger(connection, key),
        Happening::JournalCreated { .. }
        | Happening::JournalCheckpoint(_)
        | Happening::Restarted(_)
        | Happening::Stopping
        | Happening::SetupLoaded { .. }
        | Happening::SetupRefused { .. }
        | Happening::WallClockMoved { .. }
        | Happening::JournalLost { .. }
        | Happening::JournalRestored
        | Happening::VersionSeen { .. }
        | Happening::DeploymentStarted { .. }
        | Happening::DeploymentStaged { .. }
        | Happening::DeploymentProgressed { .. }
        | Happening::DeploymentFinished { .. }
        | Happening::DeploymentEnded { .. }
        | Happening::BaselineFrozen { .. }
        | Happening::PointOfNoReturn { .. } => Ok(Vec::new()),
    }
}

fn of_rollback(connection: &Connection, rollback: RollbackId) -> rusqlite::Result<Vec<i64>> {
    ids(connection, "SELECT incident FROM rollbacks WHERE id = ?1", params![number(rollback.0)])
}

/// Returns the open incidents that a trigger caused, by firing or by being blind.
fn of_trigger(connection: &Connection, key: &TriggerKey) -> rusqlite::Result<Vec<i64>> {
    let (fired, blind) = (Cause::Trigger(key.clone()), Cause::Blind(key.clone()));
    ids(
        connection,
        "SELECT id FROM incidents WHERE state = 'open' AND cause IN (?1, ?2)",
        params![cause_text(&fired), cause_text(&blind)],
    )
}

/// Returns a cause as JSON: its columns are sorted maps, so equal causes give equal texts.
fn cause_text(cause: &Cause) -> String {
    serde_json::to_string(cause).unwrap_or_default()
}

/// Returns a unit variant's stored name without its quotes.
fn bare(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default().trim_matches('"').to_owned()
}

/// Brings an id into SQLite's range; ids count up from 1 and never reach its end.
pub(super) fn number(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

fn run(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> Done {
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

fn ids(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<Vec<i64>> {
    connection.prepare_cached(sql)?.query_map(values, |row| row.get(0))?.collect()
}
