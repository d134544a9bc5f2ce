//! What an indicator was before a deployment: what relative thresholds are relative to.

use serde::{Deserialize, Serialize};

use crate::engine::model::stored_number;
use crate::engine::time::{Span, Timestamp};

/// What is known of an indicator before a deployment's switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Its mean, or why there is none that may be relied on.
    pub value: Mean,
    /// How many samples went into it.
    pub samples: u32,
    /// The first of them.
    pub from: Timestamp,
    /// When it was frozen.
    pub until: Timestamp,
}

/// A mean, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mean {
    /// In the indicator's base unit.
    Of(#[serde(with = "stored_number")] f64),
    /// Why not.
    Refused(String),
}

impl Baseline {
    /// Returns the value to compare with at `now`; `wall_offset` tells which hour of the day that is.
    ///
    /// # Errors
    /// Why nothing may be compared with it.
    pub fn value_at(&self, _now: Timestamp, _wall_offset: Span) -> Result<f64, String> {
        match &self.value {
            Mean::Of(value) => Ok(*value),
            Mean::Refused(why) => Err(why.clone()),
        }
    }
}
