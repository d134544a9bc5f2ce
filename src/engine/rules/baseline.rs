//! `baseline` of an indicator: what is taken as its normal value before a deployment, and when that may be relied on.

use super::condition::{self, Parsed};
use super::decode::{Shape, Spanned, boolean, positive_duration, text};
use super::diagnostic::{Diagnostic, Findings};
use super::set::{Threshold, Unit};
use super::yaml::{Node, Scalar};
use crate::engine::time::Span;

const BASELINE: Shape =
    Shape { what: "`baseline`", keys: &["over", "min_samples", "min", "max_age", "time_of_day"], later: &[] };

/// A day is the most that may lie between a measurement and what is compared with it, unless the hour of day is known.
const DEFAULT_MAX_AGE: Span = Span::from_secs(24 * 3600);

/// How an indicator's baseline is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaselineSpec {
    /// The time before a deployment over which the mean is taken.
    pub over: Span,
    /// How many observations with a value it must hold.
    pub min_samples: u32,
    /// A mean below this is noise, in the indicator's base unit.
    pub min: Option<f64>,
    /// How old it may become.
    pub max_age: Span,
    /// Whether a mean per hour of the day is kept, so that mornings are compared with mornings.
    pub time_of_day: bool,
}

impl Default for BaselineSpec {
    /// Ten minutes are long enough to even out a minute's bad luck and short enough to be the same traffic; twenty
    /// observations are what a mean needs to say anything.
    fn default() -> Self {
        Self {
            over: Span::from_secs(600),
            min_samples: 20,
            min: None,
            max_age: DEFAULT_MAX_AGE,
            time_of_day: false,
        }
    }
}

/// The block as written; its floor is not read yet, as its unit is the indicator's.
#[derive(Clone, Debug, Default)]
pub struct WrittenBaseline {
    spec: BaselineSpec,
    over: Option<Spanned<Span>>,
    min: Option<Scalar>,
}

/// Reads `baseline`. A broken value is reported and stands as its default.
pub fn read(node: &Node, out: &mut Findings) -> WrittenBaseline {
    let mut written = WrittenBaseline::default();
    let Some(fields) = BASELINE.read(node, out) else { return written };
    let spec = &mut written.spec;
    written.over = fields.get("over").and_then(|node| positive_duration(node, "`over`", out));
    if let Some(over) = &written.over {
        spec.over = over.value;
    }
    if let Some(node) = fields.get("min_samples") {
        spec.min_samples = count(node, out).unwrap_or(spec.min_samples);
    }
    if let Some(age) = fields.get("max_age").and_then(|node| positive_duration(node, "`max_age`", out)) {
        spec.max_age = age.value;
    }
    if let Some(wanted) = fields.get("time_of_day").and_then(|node| boolean(node, "`time_of_day`", out)) {
        spec.time_of_day = wanted;
    }
    written.min = fields.get("min").and_then(|node| text(node, "`min`", out)).cloned();
    written
}

fn count(node: &Node, out: &mut Findings) -> Option<u32> {
    let written = text(node, "`min_samples`", out)?;
    let parsed = written.value.parse::<u32>().ok().filter(|count| *count > 0);
    if parsed.is_none() {
        let message = "`min_samples` must be a whole number from 1 on";
        out.push(Diagnostic::error("bad-number", written.place(), message));
    }
    parsed
}

impl WrittenBaseline {
    /// Reads what depends on the indicator: its unit, the time between two answers of its slowest source.
    pub fn resolve(&self, unit: Option<Unit>, every: Span, out: &mut Findings) -> BaselineSpec {
        let mut spec = self.spec;
        if let (Some(written), Some(unit)) = (&self.min, unit) {
            spec.min = floor(written, unit, out);
        }
        if let Some(over) = &self.over
            && !every.is_zero_or_negative()
            && over.value.as_millis() / every.as_millis() < i64::from(spec.min_samples)
        {
            let message = format!(
                "{} hold at most {} answers (every {every}), and the baseline needs {}: it would always be refused",
                over.value,
                over.value.as_millis() / every.as_millis(),
                spec.min_samples
            );
            let hint = "make `over` longer or `min_samples` smaller";
            out.push(Diagnostic::error("empty-baseline", over.place.clone(), message).hint(hint));
        }
        spec
    }
}

/// Reads a value in an indicator's unit, as in a condition.
fn floor(written: &Scalar, unit: Unit, out: &mut Findings) -> Option<f64> {
    let in_unit = |parsed: Parsed| match parsed {
        Parsed::Compare(comparing) => comparing.threshold_in(unit).map(|read| read.threshold),
        // A value that is more than one comparison is none; what is told of it stands at the value.
        _ => Ok(Threshold::OfBaseline { factor: 1.0, bound: None }),
    };
    match condition::parse(&format!("value > {}", written.value.trim())).and_then(in_unit) {
        Ok(Threshold::Fixed(value)) => Some(value),
        Ok(Threshold::OfBaseline { .. }) => {
            let message = "`min` must be a value in the indicator's unit";
            out.push(
                Diagnostic::error("bad-threshold", written.place(), message).hint("such as `5ms` or `0.1%`"),
            );
            None
        }
        Err(problem) => {
            out.push(
                Diagnostic::error(problem.code, written.place(), problem.message).maybe_hint(problem.hint),
            );
            None
        }
    }
}
