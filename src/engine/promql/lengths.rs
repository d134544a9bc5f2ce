//! Lengths of time in a plan: ranges, steps and offsets, and the instants that follow from them.

use super::ast::At;
use super::evaluate::{EvalError, Evaluation};
use super::plan::Scalar;
use super::problem::TextSpan;
use crate::engine::time::{Span, Timestamp};

/// The longest duration in seconds: what 63 bits of nanoseconds hold, some 292 years. Prometheus' bound too.
const MAX_SECONDS: f64 = 9_223_372_036.0;

/// A length of time.
#[derive(Clone, Debug)]
pub(super) enum Length {
    /// Known when the plan is made.
    Known(Span),
    /// Computed from the step and the range of the query: `step()`, `range()`.
    Computed(TextSpan, Box<Scalar>),
}

/// When a selector or subquery looks, relative to the time of evaluation or fixed.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) at: Option<At>,
    pub(super) offset: Length,
}

/// Returns a duration in whole milliseconds, or `None` where it is not a number or out of bounds.
pub(super) fn duration_ms(seconds: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "bounded, and rounded")]
    (seconds.abs() <= MAX_SECONDS).then(|| (seconds * 1000.0).round() as i64)
}

impl Evaluation<'_> {
    pub(super) fn length(&self, length: &Length, at: Timestamp) -> Result<Span, EvalError> {
        match length {
            Length::Known(span) => Ok(*span),
            Length::Computed(span, scalar) => {
                let seconds = self.scalar(scalar, at)?;
                let out_of_range =
                    || EvalError::new(*span, format!("the duration {seconds}s is out of range"));
                Ok(Span::from_millis(duration_ms(seconds).ok_or_else(out_of_range)?))
            }
        }
    }

    /// Returns a range or a step; [`super::check`] has seen to those that are known.
    pub(super) fn positive_length(&self, length: &Length, at: Timestamp) -> Result<Span, EvalError> {
        let found = self.length(length, at)?;
        match length {
            Length::Computed(span, _) if found.is_zero_or_negative() => {
                let message = format!("the duration must be greater than 0, got {}s", found.as_secs_f64());
                Err(EvalError::new(*span, message))
            }
            _ => Ok(found),
        }
    }

    /// Returns the time at which a selector or subquery looks.
    pub(super) fn moment(&self, moment: &Moment, at: Timestamp) -> Result<Timestamp, EvalError> {
        let query = self.context.query();
        let base = match moment.at {
            None => at,
            Some(At::Millis(ms)) => Timestamp::from_millis(ms) - self.context.wall_offset,
            Some(At::Start) => query.start,
            Some(At::End) => query.end,
        };
        Ok(base - self.length(&moment.offset, at)?)
    }
}
