//! The event against PagerDuty's limits, and every answer it can get.

use super::*;
use crate::effects::fixture::{ANCHOR, JOURNAL, delivery};
use crate::engine::model::Labels;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn pagerduty() -> PagerDuty {
    rustls::crypto::ring::default_provider().install_default().ok();
    let settings = PagerDutySettings {
        routing_key: Secret::new(KEY),
        base_url: None,
        external_url: Some("https://rearguard.example".to_owned()),
    };
    PagerDuty::new(settings, http::client().unwrap()).unwrap()
}

fn event(delivery: &Delivery) -> (usize, Value) {
    let body = pagerduty().event(delivery, JOURNAL, ANCHOR);
    (body.len(), serde_json::from_slice(&body).unwrap())
}

#[test]
fn a_trigger_says_everything() {
    let (_, mut event) = event(&delivery(40, MessageKind::Trigger, "trading-app/ErrorRateHigh"));
    let details = event["payload"]["custom_details"].take();
    assert_eq!(
        event,
        json!({
            "routing_key": KEY,
            "event_action": "trigger",
            "dedup_key": "trading-app/ErrorRateHigh",
            "client": "Rearguard",
            "client_url": "https://rearguard.example",
            "links": [{ "href": "https://wiki.example/errors", "text": "Runbook" }],
            "payload": {
                "summary": "trading-app: 7.3% of requests fail",
                "source": "trading-app",
                "severity": "error",
                "timestamp": "2026-11-21T02:32:15.25Z",
                "component": "trading-app",
                "class": "ErrorRateHigh",
                "custom_details": null,
            },
        })
    );
    assert_eq!(details["journal"], JOURNAL);
    assert_eq!(details["journal_head"], ANCHOR);
    assert_eq!(details["value"], 0.073);
    assert_eq!(details["since"], "2026-11-21T02:30:05.25Z");
    assert!(details["page"].as_str().unwrap().contains("WHAT BROKE"));
}

#[test]
fn a_resolve_has_the_key_of_its_trigger_and_no_payload() {
    let long = "k".repeat(256);
    let (_, trigger) = event(&delivery(40, MessageKind::Trigger, &long));
    let (_, resolve) = event(&delivery(41, MessageKind::Resolve, &long));
    let key = trigger["dedup_key"].as_str().unwrap();
    assert_eq!(key.len(), 64);
    assert_eq!(resolve, json!({ "routing_key": KEY, "event_action": "resolve", "dedup_key": key }));
    let fits = "k".repeat(255);
    assert_eq!(event(&delivery(40, MessageKind::Trigger, &fits)).1["dedup_key"], fits);
}

#[test]
fn an_event_stays_within_the_limits() {
    let mut delivery = delivery(40, MessageKind::Trigger, "key");
    // Two bytes each, six as JSON: the limit counts what is sent.
    delivery.message.summary = "é".repeat(5000);
    delivery.message.details = vec!["\u{1}".repeat(200_000); 20];
    delivery.message.facts.reason = "🚨".repeat(300_000);
    delivery.message.facts.labels = Labels::from_pairs([("path", "\"".repeat(500_000))]);
    delivery.message.facts.runbook = Some(format!("https://wiki.example/{}", "x".repeat(600_000)));
    let (bytes, event) = event(&delivery);
    assert!(bytes <= EVENT_BYTES_MAX, "{bytes}");
    assert_eq!(
        event["payload"]["summary"].as_str().unwrap().chars().count(),
        text::summary(&delivery.message).chars().count()
    );
    assert!(event["payload"]["custom_details"]["note"].is_string());
    assert_eq!(event["payload"]["custom_details"]["journal_head"], ANCHOR);
    assert_eq!(event["links"], json!([]));
}

#[test]
fn severities_are_mapped() {
    let words = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical].map(severity);
    assert_eq!(words, ["info", "warning", "error", "critical"]);
}

#[test]
fn only_pagerdutys_own_yes_is_a_yes() {
    let yes = r#"{"status":"success","message":"Event processed","dedup_key":"k"}"#;
    let after = Some(Duration::from_secs(120));
    let cases = [
        (202, yes, "accepted"),
        (202, "{\"status\":\"succ", "retry"),
        (202, "", "retry"),
        (202, r#"{"status":"failure"}"#, "retry"),
        (200, yes, "retry"),
        (200, "<html>Welcome to our Wi-Fi</html>", "retry"),
        (302, "", "retry"),
        (400, r#"{"status":"invalid event"}"#, "never"),
        (401, "", "never"),
        (403, "", "never"),
        (404, "", "never"),
        (413, "", "never"),
        (407, "", "wait"),
        (408, "", "wait"),
        (429, "", "wait"),
        (500, "", "wait"),
        (503, "", "wait"),
    ];
    for (status, body, expected) in cases {
        let outcome = pagerduty().judge(StatusCode::from_u16(status).unwrap(), body.as_bytes(), after);
        let got = match &outcome {
            Ok(_) => "accepted",
            Err(SendError::Retry { after: Some(_), .. }) => "wait",
            Err(SendError::Retry { after: None, .. }) => "retry",
            Err(SendError::Never { .. }) => "never",
        };
        assert_eq!(got, expected, "{status} {body}: {outcome:?}");
    }
}

#[test]
fn the_key_appears_nowhere() {
    let pagerduty = pagerduty();
    let outcome =
        pagerduty.judge(StatusCode::BAD_REQUEST, format!("bad key {KEY}\n\u{1b}[1m").as_bytes(), None);
    let reason = "PagerDuty answered HTTP 400: bad key ***\\n\\u{1b}[1m".to_owned();
    assert_eq!(outcome, Err(SendError::Never { reason }));
    assert!(!format!("{pagerduty:?}").contains(KEY));
}

#[test]
fn unusable_settings_are_refused() {
    for (key, url) in
        [("", None), (KEY, Some("events.pagerduty.com")), (KEY, Some("file:///etc")), (KEY, Some("https://"))]
    {
        let settings = PagerDutySettings {
            routing_key: Secret::new(key),
            base_url: url.map(str::to_owned),
            external_url: None,
        };
        assert!(PagerDuty::new(settings, http::client().unwrap()).is_err(), "{key} {url:?}");
    }
}
