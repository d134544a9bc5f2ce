//! A stand-in for PagerDuty that writes down every event it takes.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::endpoint::{Endpoint, answer};

/// One event as it came in.
#[derive(Clone, Debug)]
pub struct Event {
    pub action: String,
    pub dedup_key: String,
    pub summary: String,
    /// The whole body.
    pub body: Value,
}

impl Event {
    /// Returns whether the event opens or updates an incident of the key that ends in `suffix`.
    pub fn triggers(&self, suffix: &str) -> bool {
        self.action == "trigger" && self.dedup_key.ends_with(suffix)
    }

    /// Returns whether the event closes the incident of the key that ends in `suffix`.
    pub fn resolves(&self, suffix: &str) -> bool {
        self.action == "resolve" && self.dedup_key.ends_with(suffix)
    }

    /// Returns whether `text` stands anywhere in the event.
    pub fn says(&self, text: &str) -> bool {
        fn anywhere(value: &Value, text: &str) -> bool {
            match value {
                Value::String(string) => string.contains(text),
                Value::Array(items) => items.iter().any(|item| anywhere(item, text)),
                Value::Object(fields) => fields.values().any(|field| anywhere(field, text)),
                _ => false,
            }
        }
        anywhere(&self.body, text)
    }
}

/// A running stand-in.
pub struct Pager {
    endpoint: Endpoint,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Pager {
    pub fn start() -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&events);
        let endpoint = Endpoint::start(move |body| {
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            let text = |at: &str| body.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
            let event = Event {
                action: text("/event_action"),
                dedup_key: text("/dedup_key"),
                summary: text("/payload/summary"),
                body: body.clone(),
            };
            let reply = serde_json::json!({
                "status": "success", "message": "Event processed", "dedup_key": event.dedup_key,
            });
            log.lock().expect("nobody panics here").push(event);
            answer("202 Accepted", "application/json", &reply.to_string())
        });
        Self { endpoint, events }
    }

    /// Returns the address that stands in for `https://events.pagerduty.com`.
    pub fn url(&self) -> String {
        self.endpoint.url("")
    }

    /// Returns every event so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().expect("nobody panics here").clone()
    }
}
