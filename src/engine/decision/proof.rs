//! What a verification has seen of each of its conditions.

use serde::{Deserialize, Serialize};

use crate::engine::evaluation::{Evidence, Verdict};

/// One condition of a verification, as it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckSeen {
    /// The condition as written.
    pub condition: String,
    /// The verdict on fresh samples.
    pub verdict: Verdict,
    /// What it rests on.
    pub evidence: Option<Evidence>,
}
