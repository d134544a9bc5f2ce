//! `rules` and `alerts`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::reply::{self, Refusal};
use crate::daemon::queries::Queries;
use crate::daemon::queries::rules::{AlertLook, RuleGroupLook, RuleKind, RuleLook};
use crate::engine::time::Timestamp;

/// `GET /api/v1/rules`: `type`, `rule_name[]`, `rule_group[]`, `file[]`, `exclude_alerts`.
pub(super) async fn rules(
    State(queries): State<Queries>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let wanted = Wanted::read(&parameters)?;
    let mut groups = Vec::new();
    for group in queries.rules().await? {
        if !wanted.groups(&group) {
            continue;
        }
        let rules: Vec<Value> = group
            .rules
            .iter()
            .filter(|rule| wanted.rules(rule))
            .map(|rule| rule_json(rule, &wanted))
            .collect();
        // As in Prometheus a filter by rule leaves out the groups in which nothing is left.
        if rules.is_empty() && wanted.filters_rules() {
            continue;
        }
        let evaluated = group.rules.iter().filter_map(|rule| rule.evaluated_wall).max();
        groups.push(json!({
            "name": group.name,
            "file": group.file,
            "rules": rules,
            "interval": group.interval.as_secs_f64(),
            "limit": 0,
            "evaluationTime": 0,
            "lastEvaluation": time(evaluated),
        }));
    }
    Ok(reply::json(StatusCode::OK, reply::success(&json!({ "groups": groups }), &[], &[])))
}

/// `GET /api/v1/alerts`.
pub(super) async fn alerts(State(queries): State<Queries>) -> Result<Response, Refusal> {
    let groups = queries.rules().await?;
    let of_rule = |rule: &RuleLook| match &rule.kind {
        RuleKind::Alerting { alerts, .. } => alerts.iter().map(alert_json).collect(),
        RuleKind::Recording { .. } => Vec::new(),
    };
    let alerts: Vec<Value> = groups.iter().flat_map(|group| &group.rules).flat_map(of_rule).collect();
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

    fn groups(&self, group: &RuleGroupLook) -> bool {
        listed(&self.groups, &group.name) && listed(&self.files, &group.file)
    }

    fn rules(&self, rule: &RuleLook) -> bool {
        let kind = match rule.kind {
            RuleKind::Alerting { .. } => self.alerting,
            RuleKind::Recording { .. } => self.recording,
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

fn rule_json(rule: &RuleLook, wanted: &Wanted<'_>) -> Value {
    let (health, error) = match &rule.health {
        None => ("unknown", None),
        Some(Ok(())) => ("ok", None),
        Some(Err(why)) => ("err", Some(why)),
    };
    let mut value = json!({
        "name": rule.name,
        "query": rule.query,
        "health": health,
        "evaluationTime": 0,
        "lastEvaluation": time(rule.evaluated_wall),
    });
    let specific = match &rule.kind {
        RuleKind::Recording { labels } => json!({ "type": "recording", "labels": labels }),
        RuleKind::Alerting { hold, labels, annotations, alerts } => {
            let state = match alerts.iter().map(|alert| alert.fires).max() {
                None => "inactive",
                Some(false) => "pending",
                Some(true) => "firing",
            };
            let shown = alerts.iter().filter(|_| wanted.with_alerts).map(alert_json);
            json!({
                "type": "alerting",
                "state": state,
                "duration": hold.as_secs_f64(),
                "keepFiringFor": 0,
                "labels": labels,
                "annotations": annotations,
                "alerts": shown.collect::<Vec<_>>(),
            })
        }
    };
    if let (Value::Object(all), Value::Object(specific)) = (&mut value, specific) {
        all.extend(specific);
        all.extend(error.map(|why| ("lastError".to_owned(), json!(why))));
    }
    value
}

fn alert_json(alert: &AlertLook) -> Value {
    json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "state": if alert.fires { "firing" } else { "pending" },
        "activeAt": time(Some(alert.active_wall)),
        "value": alert.value.map_or_else(String::new, scientific),
    })
}

/// Returns a time in RFC 3339; Go's zero time where there is none.
fn time(at: Option<Timestamp>) -> String {
    let at = at.and_then(|at| jiff::Timestamp::from_millisecond(at.as_millis()).ok());
    at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string())
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
        assert_eq!(time(None), "0001-01-01T00:00:00Z");
        assert_eq!(time(Some(Timestamp::from_millis(1_435_781_430_781))), "2015-07-01T20:10:30.781Z");
    }
}
