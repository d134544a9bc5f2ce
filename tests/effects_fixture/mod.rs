//! An incident to tell of, for the tests of steps and receivers.

use rearguard::engine::decision::{Delivery, IncidentFacts, Message, MessageKind};
use rearguard::engine::model::{EffectId, IncidentId, JournalId, Labels, Severity};
use rearguard::engine::time::Timestamp;

pub const JOURNAL: &str = "6f1c2f0e-7c1d-4c58-9d3e-2b8a4e0c9a11";
pub const ANCHOR: &str = "9b74c9897bac770ffc029102a200c5de";

pub fn facts() -> IncidentFacts {
    IncidentFacts {
        incident: IncidentId(12),
        journal: JournalId::new(JOURNAL),
        target: "trading-app".into(),
        cause: "ErrorRateHigh".to_owned(),
        labels: Labels::empty(),
        severity: Severity::High,
        reason: "error_rate 7.3% > 2% for 60s".to_owned(),
        value: Some(0.073),
        threshold: Some(0.02),
        since: Timestamp::from_millis(1_000_000),
        since_unix_ms: 1_795_228_205_250,
        version: Some("v42".to_owned()),
        previous_version: Some("v41".to_owned()),
        runbook: Some("https://wiki.example/errors".to_owned()),
    }
}

#[allow(dead_code, reason = "not every test file delivers something")]
pub fn delivery(effect: u64, kind: MessageKind, dedup_key: &str) -> Delivery {
    Delivery {
        effect: EffectId(effect),
        receiver: "ops".into(),
        message: Message {
            kind,
            dedup_key: dedup_key.to_owned(),
            severity: Severity::High,
            summary: "trading-app: 7.3% of requests fail".to_owned(),
            details: vec!["Rollback emergency has begun.".to_owned()],
            facts: facts(),
            decided_unix_ms: 1_795_228_335_250,
            unjournaled: false,
        },
    }
}
