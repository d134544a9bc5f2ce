//! A message to deliver, for the tests of receivers.

use rearguard::engine::decision::{Delivery, Message, MessageKind};
use rearguard::engine::model::{EffectId, Severity};

use crate::effects_fixture::facts;

pub const ANCHOR: &str = "9b74c9897bac770ffc029102a200c5de";

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
