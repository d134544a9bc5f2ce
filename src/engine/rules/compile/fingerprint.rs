//! The hash that tells whether a window outlives a reload.

use sha2::{Digest, Sha256};

use crate::engine::model::SourceName;
use crate::engine::rules::condition;
use crate::engine::rules::set::{Across, Clear, Condition, NoData, Test, Threshold, Trigger, WindowSpec};

/// Hashes what decides whether a trigger's window fills; its texts and consequences may change without losing it.
///
/// What is not written adds nothing: a window that was filled before a key existed is still the window of a rule that
/// does not use it.
pub(super) fn of(trigger: &Trigger) -> String {
    let mut parts = Parts::default();
    parts.add(trigger.target.as_str());
    parts.add(trigger.name.as_str());
    parts.add(&trigger.sources.iter().map(SourceName::as_str).collect::<Vec<_>>().join("\n"));
    parts.condition(&trigger.when);
    match trigger.window {
        WindowSpec::Sustained { of, coverage, max_gap } => parts.add(&format!("{of} {coverage} {max_gap}")),
        other => parts.add(&format!("{other:?}")),
    }
    if let Some(given) = &trigger.given {
        parts.add("given");
        parts.condition(given);
    }
    if trigger.min_samples > 0 {
        parts.add(&format!("min_samples {}", trigger.min_samples));
    }
    if trigger.across != Across::One {
        parts.add(&format!("across {:?}", trigger.across));
    }
    if let Some(Clear { when, hold }) = &trigger.clear {
        parts.add(&format!("clear {hold}"));
        if let Some(when) = when {
            parts.condition(when);
        }
    }
    if !trigger.keep_firing_for.is_zero_or_negative() {
        parts.add(&format!("keep_firing_for {}", trigger.keep_firing_for));
    }
    // How soon blindness pages does not change what the window holds.
    let no_data = NoData { page_after: NoData::default().page_after, ..trigger.no_data };
    if no_data != NoData::default() {
        parts.add(&format!("no_data {no_data:?}"));
    }
    if !trigger.during.is_empty() {
        parts.add(&format!("during {:?}", trigger.during));
    }
    for fingerprint in trigger.reads.fingerprints.values() {
        parts.add(&format!("reads {fingerprint}"));
    }
    super::hex(&parts.hash.finalize())
}

#[derive(Default)]
struct Parts {
    hash: Sha256,
}

impl Parts {
    fn add(&mut self, part: &str) {
        // The length keeps two neighbours from trading characters.
        self.hash.update((part.len() as u64).to_be_bytes());
        self.hash.update(part);
    }

    fn condition(&mut self, condition: &Condition) {
        if !matches!(condition.test, Test::Compare(_)) {
            self.add(&shape(&condition.test));
        }
        for compare in condition.compares() {
            self.add(&compare.indicator.text);
            self.add(condition::name(compare.indicator.unit));
            self.add(&compare.comparison.to_string());
            self.add(&compare.threshold.to_string());
            if matches!(compare.threshold, Threshold::OfBaseline { .. }) {
                // The baseline is the indicator's by name.
                self.add(compare.indicator.name.as_str());
            }
        }
    }
}

/// Writes how comparisons are joined, without the comparisons.
fn shape(test: &Test) -> String {
    let joined = |parts: &[Test]| parts.iter().map(shape).collect::<Vec<_>>().join(" ");
    match test {
        Test::Compare(_) => "_".to_owned(),
        Test::Fires(trigger) => trigger.to_string(),
        Test::All(parts) => format!("all({})", joined(parts)),
        Test::Any(parts) => format!("any({})", joined(parts)),
        Test::AtLeast { count, of } => format!("{count} of ({})", joined(of)),
    }
}
