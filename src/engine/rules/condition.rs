//! Conditions as text: `error_rate > 2%`, `p95_latency >= 250ms`, `healthy == false`.
//!
//! One indicator, one operator, one threshold. The threshold carries its unit, and the unit must be the indicator's: a
//! number that could mean two things (200 what?) is an error with both readings in the hint.

use std::ops::Range;
use std::str::FromStr;

use super::set::{Comparison, Unit};
use crate::engine::time::Span;

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

/// A condition whose indicator is still only a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparing {
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
pub struct Threshold {
    /// The value in the indicator's base unit.
    pub value: f64,
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
}

/// Words that begin a condition's later forms; this version has plain comparisons only.
const LATER: [&str; 8] = ["of", "and", "or", "for", "unless", "above", "below", "than"];

impl Problem {
    fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, span, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Parses a condition.
///
/// # Errors
///
/// The first thing that does not fit `indicator operator threshold`.
pub fn parse(text: &str) -> Result<Comparing, Problem> {
    let mut cursor = Cursor { text, at: 0 };
    let (indicator, indicator_span) = cursor.indicator()?;
    let (comparison, operator_span) = cursor.operator()?;
    let (threshold, threshold_span) = cursor.threshold()?;
    cursor.end()?;
    Ok(Comparing { indicator, indicator_span, comparison, operator_span, threshold, threshold_span })
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    /// Skips blanks and returns what is left.
    fn rest(&mut self) -> &'t str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    /// Takes the characters for which `belongs` says yes.
    fn take(&mut self, belongs: impl Fn(char) -> bool) -> (&'t str, Range<usize>) {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c: char| !belongs(c)).unwrap_or(rest.len())];
        let span = self.at..self.at + taken.len();
        self.at = span.end;
        (taken, span)
    }

    /// Returns the span of the next word, for pointing at it.
    fn next_word(&mut self) -> Range<usize> {
        let rest = self.rest();
        let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
        self.at..self.at + length
    }

    fn indicator(&mut self) -> Result<(String, Range<usize>), Problem> {
        const EXPECTED: &str = "a condition reads `indicator operator threshold`, such as `error_rate > 2%`";
        let (name, span) = self.take(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() {
            let word = self.next_word();
            return Err(Problem::new("bad-condition", word, "a condition begins with an indicator's name")
                .hint(EXPECTED));
        }
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            let problem = Problem::new(
                "bad-condition",
                span,
                "a condition begins with an indicator's name, not with a number",
            );
            return Err(problem.hint("turn it round: `error_rate > 2%`"));
        }
        if self.text[self.at..].starts_with(['(', '{', '[']) {
            let problem = Problem::new(
                "bad-condition",
                span.start..self.text.len(),
                "a condition compares an indicator, not an expression",
            );
            return Err(problem.hint("put the PromQL under `indicators:` and use its name here"));
        }
        Ok((name.to_owned(), span))
    }

    fn operator(&mut self) -> Result<(Comparison, Range<usize>), Problem> {
        const EXPECTED: &str = "operators are `<`, `<=`, `>`, `>=`, `==`, `!=`";
        let (written, span) = self.take(|c| "<>=!≤≥≠".contains(c));
        let comparison = match written {
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            _ => {
                let near = match written {
                    "=" | "===" => Some("=="),
                    "=>" | "≥" => Some(">="),
                    "=<" | "≤" => Some("<="),
                    "<>" | "≠" | "!==" => Some("!="),
                    _ => None,
                };
                let span = if written.is_empty() { self.next_word() } else { span };
                let message = match &self.text[span.clone()] {
                    "" => "the comparison is missing".to_owned(),
                    word => format!("`{}` is not a comparison", word.escape_debug()),
                };
                let hint = near.map_or_else(|| EXPECTED.to_owned(), |near| format!("did you mean `{near}`?"));
                return Err(Problem::new("bad-comparison", span, message).hint(hint));
            }
        };
        Ok((comparison, span))
    }

    fn threshold(&mut self) -> Result<(Written, Range<usize>), Problem> {
        let (word, span) = self.take(|c| c.is_alphanumeric() || "+-._%/µμ,".contains(c));
        let bad = |message: String| Problem::new("bad-threshold", span.clone(), message);
        if word.is_empty() {
            let span = self.next_word();
            let message = "the threshold is missing".to_owned();
            return Err(Problem::new("bad-threshold", span, message)
                .hint("such as `2%`, `250ms`, `100/s`, `512MiB` or `true`"));
        }
        match word {
            "true" => return Ok((Written::Boolean(true), span)),
            "false" => return Ok((Written::Boolean(false), span)),
            _ => {}
        }
        if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            if word == "baseline" {
                return Err(not_supported("a comparison with a baseline", span.clone()));
            }
            return Err(bad(format!("`{}` is not a threshold", word.escape_debug()))
                .hint("compare with a number and its unit, such as `2%`, `250ms` or `100/s`"));
        }
        if word.contains(',') {
            return Err(bad(format!("`{word}` is not a number"))
                .hint("write it without commas, with a point for fractions"));
        }
        let digits = number_length(word);
        let (number, unit) = word.split_at(digits);
        let Some(number) = number.parse::<f64>().ok().filter(|number| number.is_finite()) else {
            return Err(bad(format!("`{}` is not a number with a unit", word.escape_debug())));
        };
        if unit.contains(|c: char| c.is_ascii_digit())
            && let Ok(duration) = Span::from_str(word)
        {
            return Ok((Written::Duration(duration), span));
        }
        // A unit may stand apart: `250 ms`.
        let (unit, end) = match unit {
            "" => {
                let before = self.at;
                let (apart, apart_span) = self.take(|c| c.is_alphabetic() || c == '%' || c == '/');
                if apart.is_empty() || LATER.contains(&apart) {
                    self.at = before;
                    ("", span.end)
                } else {
                    (apart, apart_span.end)
                }
            }
            unit => (unit, span.end),
        };
        Ok((Written::Number { number, unit: unit.to_owned() }, span.start..end))
    }

    fn end(&mut self) -> Result<(), Problem> {
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(());
        }
        let span = self.at..self.text.trim_end().len();
        if rest.starts_with("of baseline") {
            return Err(not_supported("a comparison with a baseline", span));
        }
        let word = rest.split_whitespace().next().unwrap_or_default();
        Err(match word {
            "and" | "or" | "unless" | "&&" | "||" => {
                Problem::new("bad-condition", span, "a condition is one comparison")
                    .hint("write a trigger for each, or combine them in the indicator's expression")
            }
            "for" => Problem::new("bad-condition", span, "the window is not part of the condition")
                .hint("put it on a line of its own: `for: 60s`"),
            _ => Problem::new("bad-condition", span, "nothing may follow the threshold"),
        })
    }
}

fn not_supported(what: &str, span: Range<usize>) -> Problem {
    Problem::new("not-supported-yet", span, format!("{what} is not supported by this version yet"))
        .hint("compare with a fixed threshold for now")
}

/// Returns the length of the decimal number with which `word` begins: sign, digits, fraction, exponent.
fn number_length(word: &str) -> usize {
    let bytes = word.as_bytes();
    let digits_from = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let mut at = digits_from(usize::from(word.starts_with(['+', '-'])));
    if bytes.get(at) == Some(&b'.') {
        at = digits_from(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits_from(at + 1 + sign);
        if end > at + 1 + sign {
            at = end;
        }
    }
    at
}

impl Comparing {
    /// Returns the threshold in the base unit of an indicator of `unit`.
    ///
    /// # Errors
    ///
    /// A threshold of another unit, or one whose unit is missing where a plain number could mean several things.
    pub fn threshold_in(&self, unit: Unit) -> Result<Threshold, Problem> {
        let span = self.threshold_span.clone();
        let mut doubt = None;
        let value = match (&self.threshold, unit) {
            (Written::Boolean(value), Unit::Bool) => f64::from(u8::from(*value)),
            (Written::Number { number, unit }, Unit::Bool)
                if unit.is_empty() && [0.0, 1.0].contains(number) =>
            {
                *number
            }
            (Written::Duration(duration), Unit::Seconds) => duration.as_secs_f64(),
            (Written::Number { number, unit: written }, _) => match factor(unit, written) {
                Some(Factor::Times(factor)) => number * factor,
                Some(Factor::Per(divisor)) => number / divisor,
                None => return Err(self.wrong_unit(unit, *number, written)),
            },
            _ => return Err(self.wrong_unit(unit, f64::NAN, "")),
        };
        if unit == Unit::Bool && !matches!(self.comparison, Comparison::Equal | Comparison::NotEqual) {
            let message = format!("`{}` is a bool and has no order", self.indicator);
            return Err(Problem::new("bad-comparison", self.operator_span.clone(), message)
                .hint("compare it with `== true` or `== false`"));
        }
        if let (Unit::Ratio, Written::Number { number, unit }) = (unit, &self.threshold)
            && unit.is_empty()
            && *number > 1.0
        {
            let message = format!("a ratio of {number} is {}%", number * 100.0);
            doubt = Some(
                Problem::new("ratio-above-one", span, message).hint(format!("did you mean `{number}%`?")),
            );
        }
        Ok(Threshold { value, doubt })
    }

    fn wrong_unit(&self, unit: Unit, number: f64, written: &str) -> Problem {
        let shown = if number.is_nan() { "5".to_owned() } else { number.to_string() };
        let hint = match unit {
            Unit::Ratio => format!("write a share such as `{shown}%`, or a plain number such as `0.02`"),
            Unit::Seconds => format!("write the unit: `{shown}ms` or `{shown}s`?"),
            Unit::PerSecond => format!("write the unit: `{shown}/s` or `{shown}/min`?"),
            Unit::Bytes => format!("write the unit: `{shown}B`, `{shown}KiB`, `{shown}MiB` or `{shown}GiB`?"),
            Unit::Count => "write a plain number such as `3`".to_owned(),
            Unit::Bool => "compare it with `true` or `false`".to_owned(),
        };
        let (code, message) = match (&self.threshold, written) {
            (Written::Number { .. }, "") if unit != Unit::Bool => (
                "missing-unit",
                format!("`{}` is in {}, and {number} has no unit", self.indicator, name(unit)),
            ),
            _ => {
                ("wrong-unit", format!("`{}` is in {}, and the threshold is not", self.indicator, name(unit)))
            }
        };
        Problem::new(code, self.threshold_span.clone(), message).hint(hint)
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
pub const UNITS: [(&str, Unit); 6] = [
    ("ratio", Unit::Ratio),
    ("seconds", Unit::Seconds),
    ("per_second", Unit::PerSecond),
    ("bytes", Unit::Bytes),
    ("count", Unit::Count),
    ("bool", Unit::Bool),
];

#[cfg(test)]
mod tests;
