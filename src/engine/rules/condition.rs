//! Conditions as text: `error_rate > 2%`, `a > 1% and (b >= 250ms or c == false)`, `throughput < 50% of baseline`.
//!
//! A comparison is one indicator, one operator, one threshold. The threshold carries its unit, and the unit must be the
//! indicator's: a number that could mean two things (200 what?) is an error with both readings in the hint. `and` binds
//! stronger than `or`; `2 of (a > 1%, b > 1%, c > 1%)` is met where two of the three are. A
//! name alone is a trigger that fires: `2 of (ErrorRateHigh, ResponseTime/critical, ApplicationDown)`.

mod parse;

use std::ops::Range;

use super::set::{Comparison, Threshold, Unit};
use crate::engine::time::Span;
pub use parse::parse;

/// The code of the doubt that a relative threshold is turned round.
pub const INVERTED: &str = "inverted-baseline";

/// What is wrong with a condition, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The stable name of the kind of problem.
    pub code: &'static str,
    /// The bytes of the text that are meant.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// A condition whose indicators are still only names.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// `indicator op threshold`
    Compare(Comparing),
    /// A name alone: another trigger fires.
    Fires(Named),
    /// Joined by `and`; two at least.
    All(Vec<Parsed>),
    /// Joined by `or`; two at least.
    Any(Vec<Parsed>),
    /// `2 of (...)`
    AtLeast {
        /// How many.
        count: usize,
        /// Of which.
        of: Vec<Parsed>,
    },
}

impl Parsed {
    /// Returns every comparison, in the order of the text.
    pub fn comparings(&self) -> Vec<&Comparing> {
        match self {
            Self::Compare(comparing) => vec![comparing],
            Self::Fires(_) => Vec::new(),
            Self::All(parts) | Self::Any(parts) | Self::AtLeast { of: parts, .. } => {
                parts.iter().flat_map(Self::comparings).collect()
            }
        }
    }

    /// Returns every name that stands alone, in the order of the text.
    pub fn named(&self) -> Vec<&Named> {
        match self {
            Self::Compare(_) => Vec::new(),
            Self::Fires(named) => vec![named],
            Self::All(parts) | Self::Any(parts) | Self::AtLeast { of: parts, .. } => {
                parts.iter().flat_map(Self::named).collect()
            }
        }
    }
}

/// A name that is compared with nothing: a trigger's.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The name; `NAME/critical` is one level.
    pub name: String,
    /// Where it stands.
    pub span: Range<usize>,
}

/// A comparison whose indicator is still only a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparing {
    /// Where the comparison stands.
    pub span: Range<usize>,
    /// The indicator's name.
    pub indicator: String,
    /// Where the name stands.
    pub indicator_span: Range<usize>,
    /// The operator.
    pub comparison: Comparison,
    operator_span: Range<usize>,
    threshold: Written,
    threshold_span: Range<usize>,
}

/// A threshold with its unit, and a doubt about it that does not refuse the rule.
#[derive(Clone, Debug, PartialEq)]
pub struct InUnit {
    /// The threshold in the indicator's base unit.
    pub threshold: Threshold,
    /// Something legal that is probably not meant.
    pub doubt: Option<Problem>,
}

/// A threshold as written.
#[derive(Clone, Debug, PartialEq)]
enum Written {
    Boolean(bool),
    Number {
        number: f64,
        unit: String,
    },
    /// A duration of several parts such as `1m30s`.
    Duration(Span),
    /// A multiple of the baseline, and the absolute bound beside it.
    OfBaseline {
        factor: f64,
        bound: Option<Box<Bound>>,
    },
}

/// `at least 5ms` beside a baseline.
#[derive(Clone, Debug, PartialEq)]
struct Bound {
    written: Written,
    span: Range<usize>,
}

impl Problem {
    fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, span, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Comparing {
    /// Returns the threshold in the base unit of an indicator of `unit`.
    ///
    /// # Errors
    ///
    /// A threshold of another unit, or one whose unit is missing where a plain number could mean several things.
    pub fn threshold_in(&self, unit: Unit) -> Result<InUnit, Problem> {
        let span = &self.threshold_span;
        if unit == Unit::Bool && !matches!(self.comparison, Comparison::Equal | Comparison::NotEqual) {
            let message = format!("`{}` is a bool and has no order", self.indicator);
            return Err(Problem::new("bad-comparison", self.operator_span.clone(), message)
                .hint("compare it with `== true` or `== false`"));
        }
        if let Written::OfBaseline { factor, bound } = &self.threshold {
            let bound = match bound {
                Some(bound) => Some(self.value_in(unit, &bound.written, &bound.span)?),
                None => None,
            };
            let is_inverted = if self.comparison.is_above() { *factor <= 1.0 } else { *factor >= 1.0 };
            let doubt = is_inverted.then(|| {
                let message = format!("the baseline itself is `{} {factor}x baseline`", self.comparison);
                Problem::new(INVERTED, span.clone(), message)
                    .hint("relative to a baseline, `>` takes more than 1x and `<` less: is the comparison turned round?")
            });
            return Ok(InUnit { threshold: Threshold::OfBaseline { factor: *factor, bound }, doubt });
        }
        let value = self.value_in(unit, &self.threshold, span)?;
        let mut doubt = None;
        if let (Unit::Ratio, Written::Number { number, unit }) = (unit, &self.threshold)
            && unit.is_empty()
            && *number > 1.0
        {
            let message = format!("a ratio of {number} is {}%", number * 100.0);
            let problem = Problem::new("ratio-above-one", span.clone(), message);
            doubt = Some(problem.hint(format!("did you mean `{number}%`?")));
        }
        Ok(InUnit { threshold: Threshold::Fixed(value), doubt })
    }

    fn value_in(&self, unit: Unit, written: &Written, span: &Range<usize>) -> Result<f64, Problem> {
        Ok(match (written, unit) {
            (Written::Boolean(value), Unit::Bool) => f64::from(u8::from(*value)),
            (Written::Number { number, unit }, Unit::Bool)
                if unit.is_empty() && [0.0, 1.0].contains(number) =>
            {
                *number
            }
            (Written::Duration(duration), Unit::Seconds) => duration.as_secs_f64(),
            (Written::Duration(duration), Unit::Milliseconds) => duration.as_secs_f64() * 1e3,
            (Written::Number { number, unit: named }, _) => match factor(unit, named) {
                Some(Factor::Times(factor)) => number * factor,
                Some(Factor::Per(divisor)) => number / divisor,
                None => return Err(self.wrong_unit(unit, written, span)),
            },
            _ => return Err(self.wrong_unit(unit, written, span)),
        })
    }

    fn wrong_unit(&self, unit: Unit, written: &Written, span: &Range<usize>) -> Problem {
        let shown = match written {
            Written::Number { number, .. } => number.to_string(),
            _ => "5".to_owned(),
        };
        let hint = match unit {
            Unit::Ratio => format!("write a share such as `{shown}%`, or a plain number such as `0.02`"),
            Unit::Percent => format!("write it in percent: `{shown}%`?"),
            Unit::Seconds | Unit::Milliseconds => format!("write the unit: `{shown}ms` or `{shown}s`?"),
            Unit::PerSecond | Unit::PerMinute => format!("write the unit: `{shown}/s` or `{shown}/min`?"),
            Unit::Bytes => format!("write the unit: `{shown}B`, `{shown}KiB`, `{shown}MiB` or `{shown}GiB`?"),
            Unit::Count => "write a plain number such as `3`".to_owned(),
            Unit::Bool => "compare it with `true` or `false`".to_owned(),
        };
        let (code, message) = match written {
            Written::Number { number, unit: named } if named.is_empty() && unit != Unit::Bool => (
                "missing-unit",
                format!("`{}` is in {}, and {number} has no unit", self.indicator, name(unit)),
            ),
            _ => {
                ("wrong-unit", format!("`{}` is in {}, and the threshold is not", self.indicator, name(unit)))
            }
        };
        Problem::new(code, span.clone(), message).hint(hint)
    }
}

/// How a written number becomes the base unit; division keeps `2%` equal to the literal 0.02.
enum Factor {
    Times(f64),
    Per(f64),
}

fn factor(unit: Unit, written: &str) -> Option<Factor> {
    const KIB: f64 = 1024.0;
    Some(match (unit, written) {
        (Unit::Ratio | Unit::Count, "") => Factor::Times(1.0),
        (Unit::Ratio, "%") => Factor::Per(100.0),
        (Unit::Percent, "%") | (Unit::Milliseconds, "ms") | (Unit::PerMinute, "/min" | "/m") => {
            Factor::Times(1.0)
        }
        (Unit::Milliseconds, "us" | "µs" | "μs") => Factor::Per(1000.0),
        (Unit::Milliseconds, "s") => Factor::Times(1000.0),
        (Unit::Milliseconds, "m" | "min") => Factor::Times(60_000.0),
        (Unit::Milliseconds, "h") => Factor::Times(3_600_000.0),
        (Unit::PerMinute, "/s") => Factor::Times(60.0),
        (Unit::PerMinute, "/h") => Factor::Per(60.0),
        (Unit::Seconds, "us" | "µs" | "μs") => Factor::Per(1e6),
        (Unit::Seconds, "ms") => Factor::Per(1000.0),
        (Unit::Seconds, "s") | (Unit::PerSecond, "/s") => Factor::Times(1.0),
        (Unit::Seconds, "m" | "min") => Factor::Times(60.0),
        (Unit::Seconds, "h") => Factor::Times(3600.0),
        (Unit::PerSecond, "/min" | "/m") => Factor::Per(60.0),
        (Unit::PerSecond, "/h") => Factor::Per(3600.0),
        (Unit::Bytes, "B") => Factor::Times(1.0),
        (Unit::Bytes, "KiB") => Factor::Times(KIB),
        (Unit::Bytes, "MiB") => Factor::Times(KIB * KIB),
        (Unit::Bytes, "GiB") => Factor::Times(KIB * KIB * KIB),
        (Unit::Bytes, "TiB") => Factor::Times(KIB * KIB * KIB * KIB),
        (Unit::Bytes, "KB" | "kB") => Factor::Times(1e3),
        (Unit::Bytes, "MB") => Factor::Times(1e6),
        (Unit::Bytes, "GB") => Factor::Times(1e9),
        _ => return None,
    })
}

/// The word by which rule files name a unit.
pub fn name(unit: Unit) -> &'static str {
    UNITS.iter().find(|(_, value)| *value == unit).map_or("", |(name, _)| name)
}

/// The units by the words that rule files use.
pub const UNITS: [(&str, Unit); 9] = [
    ("ratio", Unit::Ratio),
    ("percent", Unit::Percent),
    ("seconds", Unit::Seconds),
    ("milliseconds", Unit::Milliseconds),
    ("per_second", Unit::PerSecond),
    ("per_minute", Unit::PerMinute),
    ("bytes", Unit::Bytes),
    ("count", Unit::Count),
    ("bool", Unit::Bool),
];

#[cfg(test)]
mod tests;
