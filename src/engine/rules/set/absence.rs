//! What missing data means to a trigger.

use serde::{Deserialize, Serialize};

use crate::engine::time::Span;

/// How long a trigger may be neither good nor bad before that is an incident of its own (E2), where nothing else is
/// written.
pub const PAGE_AFTER: Span = Span::from_secs(60);

/// What each way of having no value means, and for how long that may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoData {
    /// A source did not answer.
    pub unreachable: Absence,
    /// The source answers, and the expression selects nothing that it has ever shown.
    pub absent: Absence,
    /// There was a value, and it is too old.
    pub stale: Absence,
    /// The value is not a number.
    pub nan: Absence,
    /// The condition `given` is not met.
    pub no_traffic: Absence,
    /// Neither good nor bad for so long is an incident of its own.
    pub page_after: Span,
}

/// What one way of having no value means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// Neither good nor bad: what was stays, and the time does not count.
    #[default]
    Hold,
    /// The promise counts as kept.
    Ok,
    /// The promise counts as broken. It pages and never acts by itself (E2).
    Breach,
}

impl NoData {
    /// Returns the same meaning for every way.
    pub fn all(absence: Absence) -> Self {
        Self {
            unreachable: absence,
            absent: absence,
            stale: absence,
            nan: absence,
            no_traffic: absence,
            page_after: PAGE_AFTER,
        }
    }

    /// Returns whether missing data can make the trigger fire.
    pub fn can_breach(&self) -> bool {
        [self.unreachable, self.absent, self.stale, self.nan, self.no_traffic].contains(&Absence::Breach)
    }
}

impl Default for NoData {
    fn default() -> Self {
        Self::all(Absence::Hold)
    }
}
