//! What of the measurements outlives a restart, beside the samples themselves.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::groups::SavedGroup;
use super::measurements::{Hours, MAX_RESTORE_GAP, SavedPromises};
use super::verdict::TriggerKey;
use super::window::Window;
use crate::engine::model::{IndicatorName, TargetName};
use crate::engine::time::{Span, Timestamp};

/// Windows of triggers and the state of imported groups, as they are saved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct SavedMeasurements {
    /// Every window that is not empty.
    pub windows: Vec<SavedWindow>,
    /// Every imported group that was evaluated.
    pub groups: Vec<SavedGroup>,
    /// What budgets have counted, and the scores of late; good for any gap, they know when they were taken.
    pub promises: SavedPromises,
    /// What indicators are at each hour of the day, where that is kept.
    pub hours: Vec<((TargetName, IndicatorName), Hours)>,
}

/// One trigger's window over one label set, as it is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedWindow {
    /// Whose.
    pub key: TriggerKey,
    /// The hash of the rule that filled it; another rule's window is not taken up.
    pub fingerprint: String,
    /// The window.
    pub window: Window,
    /// How long what clears has been met.
    #[serde(default)]
    pub clear: Window,
    /// The first observation since the last breach that held.
    #[serde(default)]
    pub quiet_since: Option<Timestamp>,
    /// Whether it has fired and not cleared since.
    #[serde(default)]
    pub fired: bool,
    /// The last observations with a value, where the trigger asks for a number of them.
    #[serde(default)]
    pub samples: VecDeque<Timestamp>,
}

/// What files hold: once it was the windows alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Windows(Vec<SavedWindow>),
    All {
        windows: Vec<SavedWindow>,
        #[serde(default)]
        groups: Vec<SavedGroup>,
        #[serde(default)]
        promises: SavedPromises,
        #[serde(default)]
        hours: Vec<((TargetName, IndicatorName), Hours)>,
    },
}

impl From<Stored> for SavedMeasurements {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Windows(windows) => Self { windows, ..Self::default() },
            Stored::All { windows, groups, promises, hours } => Self { windows, groups, promises, hours },
        }
    }
}

impl SavedMeasurements {
    /// Returns what may be taken up after a gap: windows that are too old say nothing about now. Alerts know by
    /// themselves what a gap means to them.
    #[must_use]
    pub fn after(self, gap: Span) -> Self {
        if gap <= MAX_RESTORE_GAP { self } else { Self { windows: Vec::new(), ..self } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_before_there_were_other_forms_can_be_read() {
        let text = r#"{"windows": [{"key": {"target": "app", "trigger": "Slow", "labels": {}}, "fingerprint": "f",
            "window": {"since": 1000, "marks": [[1000, "breached"], [6000, "uncovered"]]}}]}"#;
        let saved: SavedMeasurements = serde_json::from_str(text).unwrap();
        let spec = crate::engine::rules::WindowSpec::Sustained {
            of: Span::from_secs(20),
            coverage: 0.2,
            max_gap: Span::from_secs(15),
        };
        let mut window = saved.windows[0].window.clone();
        let now = Timestamp::from_millis(21_000);
        assert!(window.observe(&spec, now, crate::engine::evaluation::Mark::Breached).full, "{window:?}");
    }

    #[test]
    fn files_of_before_there_were_groups_can_be_read() {
        let window = r#"{"key": {"target": "app", "trigger": "Slow", "labels": {}}, "fingerprint": "f",
            "window": WINDOW}"#;
        let empty = serde_json::to_string(&Window::default()).unwrap();
        let window = window.replace("WINDOW", &empty);
        for text in [format!("[{window}]"), format!(r#"{{"windows": [{window}]}}"#)] {
            let saved: SavedMeasurements = serde_json::from_str(&text).unwrap();
            assert_eq!((saved.windows.len(), saved.groups.len()), (1, 0), "{text}");
            let again = serde_json::to_string(&saved).unwrap();
            assert_eq!(serde_json::from_str::<SavedMeasurements>(&again).unwrap(), saved);
        }
    }
}
