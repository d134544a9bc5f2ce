//! `rules` and `alerts`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::reply::{self, Refusal};
use crate::daemon::queries::Queries;
use crate::engine::evaluation::groups::{GroupLook, Health, RuleLook, RuleLookKind};
use crate::engine::evaluation::{ActiveAlert, AlertState};
use crate::engine::model::Labels;
use crate::engine::time::{Span, Timestamp};

/// `GET /api/v1/rules`: `type`, `rule_name[]`, `rule_group[]`, `file[]`, `exclude_alerts`.
pub(super) async fn rules(
    State(queries): State<Queries>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let wanted = Wanted::read(&parameters)?;
    let mut groups = Vec::new();
    let taken = queries.rules().await?;
    let offset = taken.wall_offset;
    for group in taken.groups {
        if !wanted.groups(&group) {
            continue;
        }
        let rules: Vec<Value> = group
            .rules
            .iter()
            .filter(|rule| wanted.rules(rule))
            .map(|rule| rule_json(rule, &wanted, offset))
            .collect();
        // As in Prometheus a filter by rule leaves out the groups in which nothing is left.
        if rules.is_empty() && wanted.filters_rules() {
            continue;
        }
        groups.push(json!({
            "name": group.name,
            "file": group.file,
            "rules": rules,
            "interval": group.interval.as_secs_f64(),
            "limit": group.limit,
            "evaluationTime": 0,
            "lastEvaluation": time(group.last_evaluation, offset),
        }));
    }
    Ok(reply::json(StatusCode::OK, reply::success(&json!({ "groups": groups }), &[], &[])))
}

/// `GET /api/v1/alerts`.
pub(super) async fn alerts(State(queries): State<Queries>) -> Result<Response, Refusal> {
    let taken = queries.rules().await?;
    let shown = |alert: &ActiveAlert| alert_json(alert, taken.wall_offset);
    let of_rule = |rule: &RuleLook| match &rule.kind {
        RuleLookKind::Alerting { alerts, .. } => alerts.iter().map(shown).collect(),
        RuleLookKind::Recording => Vec::new(),
    };
    let alerts: Vec<Value> = taken.groups.iter().flat_map(|group| &group.rules).flat_map(of_rule).collect();
    Ok(reply::json(StatusCode::OK, reply::success(&json!({ "alerts": alerts }), &[], &[])))
}

/// What of the rules is asked for; empty lists are no filters.
struct Wanted<'p> {
    alerting: bool,
    recording: bool,
    names: Vec<&'p str>,
    groups: Vec<&'p str>,
    files: Vec<&'p str>,
    with_alerts: bool,
}

impl<'p> Wanted<'p> {
    fn read(parameters: &'p Parameters) -> Result<Self, Refusal> {
        let (alerting, recording) = match parameters.get("type") {
            None => (true, true),
            Some("alert") => (true, false),
            Some("record") => (false, true),
            Some(_) => {
                return Err(Refusal::bad_data("invalid parameter \"type\": expected `alert` or `record`"));
            }
        };
        Ok(Self {
            alerting,
            recording,
            names: parameters.all("rule_name[]").collect(),
            groups: parameters.all("rule_group[]").collect(),
            files: parameters.all("file[]").collect(),
            with_alerts: parameters.get("exclude_alerts") != Some("true"),
        })
    }

    fn groups(&self, group: &GroupLook) -> bool {
        listed(&self.groups, &group.name) && listed(&self.files, &group.file)
    }

    fn rules(&self, rule: &RuleLook) -> bool {
        let kind = match rule.kind {
            RuleLookKind::Alerting { .. } => self.alerting,
            RuleLookKind::Recording => self.recording,
        };
        kind && listed(&self.names, &rule.name)
    }

    fn filters_rules(&self) -> bool {
        !self.names.is_empty() || !self.alerting || !self.recording
    }
}

fn listed(list: &[&str], name: &str) -> bool {
    list.is_empty() || list.contains(&name)
}

fn rule_json(rule: &RuleLook, wanted: &Wanted<'_>, offset: Span) -> Value {
    let health = match rule.health {
        Health::Unknown => "unknown",
        Health::Ok => "ok",
        Health::Err => "err",
    };
    let mut value = json!({
        "name": rule.name,
        "query": rule.query,
        "labels": Labels::from_pairs(rule.labels.iter().map(|(name, text)| (&**name, text.as_str()))),
        "health": health,
        "evaluationTime": 0,
        "lastEvaluation": time(rule.last_evaluation, offset),
    });
    let specific = match &rule.kind {
        RuleLookKind::Recording => json!({ "type": "recording" }),
        RuleLookKind::Alerting { hold, keep_firing_for, annotations, alerts } => {
            let state = match alerts.iter().map(|alert| alert.state).max() {
                None => "inactive",
                Some(AlertState::Pending) => "pending",
                Some(AlertState::Firing) => "firing",
            };
            let shown = alerts.iter().filter(|_| wanted.with_alerts).map(|alert| alert_json(alert, offset));
            json!({
                "type": "alerting",
                "state": state,
                "duration": hold.as_secs_f64(),
                "keepFiringFor": keep_firing_for.as_secs_f64(),
                "annotations": Labels::from_pairs(annotations.iter().map(|(name, text)| (&**name, text.as_str()))),
                "alerts": shown.collect::<Vec<_>>(),
            })
        }
    };
    if let (Value::Object(all), Value::Object(specific)) = (&mut value, specific) {
        all.extend(specific);
        all.extend(rule.last_error.as_ref().map(|why| ("lastError".to_owned(), json!(why))));
    }
    value
}

fn alert_json(alert: &ActiveAlert, offset: Span) -> Value {
    let mut value = json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "state": alert.state.to_string(),
        "activeAt": time(Some(alert.active_at), offset),
        "value": scientific(alert.value),
    });
    if let (Value::Object(all), Some(since)) = (&mut value, alert.keep_since) {
        all.insert("keepFiringSince".to_owned(), json!(time(Some(since), offset)));
    }
    value
}

/// Returns an instant of engine time as wall time in RFC 3339; Go's zero time where there is none.
fn time(at: Option<Timestamp>, offset: Span) -> String {
    let wall = at.map(|at| (at + offset).as_millis());
    let wall = wall.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    wall.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |wall| wall.to_string())
}

/// Writes a number as Go's `%e` with the fewest digits does: `1e+00`.
fn scientific(value: f64) -> String {
    if !value.is_finite() {
        return crate::daemon::queries::answer::Number(value).to_string();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_as_go_writes_them() {
        let cases = [(1.0, "1e+00"), (0.025, "2.5e-02"), (-12_345.0, "-1.2345e+04"), (1e-300, "1e-300")];
        for (value, expected) in cases {
            assert_eq!(scientific(value), expected);
        }
        assert_eq!(scientific(f64::INFINITY), "+Inf");
        assert_eq!(time(None, Span::ZERO), "0001-01-01T00:00:00Z");
        assert_eq!(
            time(Some(Timestamp::from_millis(1_435_781_430_000)), Span::from_millis(781)),
            "2015-07-01T20:10:30.781Z"
        );
    }
}
