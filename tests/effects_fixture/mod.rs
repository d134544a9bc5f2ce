//! An incident to tell of, for the tests of steps and receivers.

use rearguard::engine::decision::IncidentFacts;
use rearguard::engine::model::{IncidentId, JournalId, Labels, Severity};
use rearguard::engine::time::Timestamp;

pub const JOURNAL: &str = "6f1c2f0e-7c1d-4c58-9d3e-2b8a4e0c9a11";

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
