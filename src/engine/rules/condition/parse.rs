//! The grammar of conditions: a text becomes comparisons and how they are joined.

use std::ops::Range;
use std::str::FromStr;

use super::{Bound, Comparing, Named, Parsed, Problem, Written};
use crate::engine::rules::set::Comparison;
use crate::engine::time::Span;

/// Words that may follow a number and are no unit of it.
const WORDS: [&str; 9] = ["of", "and", "or", "for", "unless", "above", "below", "than", "baseline"];

/// How deep brackets may be nested: more than anybody reads, and no text can exhaust the stack.
const DEPTH_MAX: usize = 16;

/// Parses a condition.
///
/// # Errors
///
/// The first thing that does not fit.
pub fn parse(text: &str) -> Result<Parsed, Problem> {
    let mut cursor = Cursor { text, at: 0, depth: 0 };
    let parsed = cursor.any()?;
    cursor.end()?;
    Ok(parsed)
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
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

    /// Returns the word that comes next, without taking it.
    fn peek(&mut self) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..length]
    }

    /// Takes `word` if it comes next.
    fn word(&mut self, word: &str) -> bool {
        let is_next = self.peek() == word;
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    /// Takes `sign` if it comes next.
    fn sign(&mut self, sign: char) -> bool {
        let is_next = self.rest().starts_with(sign);
        if is_next {
            self.at += sign.len_utf8();
        }
        is_next
    }

    fn any(&mut self) -> Result<Parsed, Problem> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Parsed::Any(parts) })
    }

    fn all(&mut self) -> Result<Parsed, Problem> {
        let mut parts = vec![self.part()?];
        while self.word("and") {
            parts.push(self.part()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Parsed::All(parts) })
    }

    /// A comparison, brackets, or `N of (...)`.
    fn part(&mut self) -> Result<Parsed, Problem> {
        let start = self.at;
        if let Ok(count) = self.peek().parse::<usize>() {
            let (_, span) = self.take(|c| c.is_ascii_digit());
            if self.word("of") {
                return self.quorum(count, span);
            }
            self.at = start;
        }
        if !self.rest().starts_with('(') {
            return match self.named() {
                Some(named) => Ok(Parsed::Fires(named)),
                None => self.comparing().map(Parsed::Compare),
            };
        }
        let mut parts = self.bracketed()?;
        if parts.len() > 1 {
            let span = start..self.at;
            return Err(Problem::new(
                "bad-condition",
                span,
                "a list of conditions needs to say how many must be met",
            )
            .hint("write `2 of (a > 1%, b > 1%, c > 1%)`, or join them by `and` and `or`"));
        }
        Ok(parts.remove(0))
    }

    fn quorum(&mut self, count: usize, span: Range<usize>) -> Result<Parsed, Problem> {
        if !self.rest().starts_with('(') {
            return Err(Problem::new(
                "bad-condition",
                self.next_word(),
                "`of` is followed by a list in brackets",
            )
            .hint("such as `2 of (a > 1%, b > 1%, c > 1%)`"));
        }
        let of = self.bracketed()?;
        if count == 0 || count > of.len() {
            let message = format!("{count} of {} can never mean anything", of.len());
            return Err(Problem::new("bad-quorum", span, message)
                .hint(format!("ask for at least 1 and at most {}", of.len())));
        }
        Ok(Parsed::AtLeast { count, of })
    }

    /// One condition or several, separated by commas, in brackets.
    fn bracketed(&mut self) -> Result<Vec<Parsed>, Problem> {
        let open = self.at;
        self.sign('(');
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("brackets are nested more than {DEPTH_MAX} deep");
            return Err(Problem::new("bad-condition", open..self.at, message)
                .hint("put a part of it into an indicator of its own"));
        }
        let mut parts = vec![self.any()?];
        while self.sign(',') {
            parts.push(self.any()?);
        }
        self.depth -= 1;
        if !self.sign(')') {
            let problem = self.end().err();
            return Err(problem.unwrap_or_else(|| {
                Problem::new("bad-condition", open..open + 1, "this bracket is not closed")
            }));
        }
        Ok(parts)
    }

    /// Takes a name that is compared with nothing: behind it the condition ends or goes on with another part.
    fn named(&mut self) -> Option<Named> {
        let start = self.at;
        let (name, span) = self.take(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        let ends = match self.rest().chars().next() {
            None | Some(',' | ')') => true,
            Some(_) => ["and", "or"].contains(&self.peek()),
        };
        if ends && name.starts_with(|c: char| c.is_ascii_alphabetic()) && !["and", "or"].contains(&name) {
            return Some(Named { name: name.to_owned(), span });
        }
        self.at = start;
        None
    }

    fn comparing(&mut self) -> Result<Comparing, Problem> {
        let (indicator, indicator_span) = self.indicator()?;
        let (comparison, operator_span) = self.operator()?;
        let (threshold, threshold_span) = self.threshold(comparison, &operator_span)?;
        let span = indicator_span.start..threshold_span.end;
        Ok(Comparing {
            span,
            indicator,
            indicator_span,
            comparison,
            operator_span,
            threshold,
            threshold_span,
        })
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

    /// A number with its unit, or a multiple of the baseline.
    fn threshold(
        &mut self,
        comparison: Comparison,
        operator: &Range<usize>,
    ) -> Result<(Written, Range<usize>), Problem> {
        if self.word("baseline") {
            let span = self.at - "baseline".len()..self.at;
            return self.beside_baseline(1.0, span, comparison, operator);
        }
        let (written, span) = self.quantity()?;
        let Written::Number { number, unit } = &written else { return Ok((written, span)) };
        let share = if unit == "%" { number / 100.0 } else { *number };
        let is_multiple = matches!(unit.as_str(), "%" | "x" | "");
        let factor = match self.peek() {
            "of" | "baseline" => share,
            "above" => 1.0 + share,
            "below" => 1.0 - share,
            _ if unit == "x" => {
                return Err(Problem::new("bad-threshold", span, "a multiple of what?")
                    .hint(format!("write `{number}x baseline`")));
            }
            _ => return Ok((written, span)),
        };
        let word = self.peek();
        self.word(word);
        if word != "baseline" && !self.word("baseline") {
            let next = self.next_word();
            return Err(Problem::new("bad-threshold", next, format!("`{word}` is followed by `baseline`"))
                .hint("such as `50% of baseline`, `1.5x baseline` or `20% above baseline`"));
        }
        let span = span.start..self.at;
        if !is_multiple || (matches!(word, "above" | "below") && unit != "%") {
            return Err(Problem::new(
                "wrong-unit",
                span,
                "a baseline is taken a number of times, or a share of it",
            )
            .hint("such as `50% of baseline`, `1.5x baseline` or `20% above baseline`"));
        }
        self.beside_baseline(factor, span, comparison, operator)
    }

    /// `, at least 5ms` or `, at most 100/s` after a baseline.
    fn beside_baseline(
        &mut self,
        factor: f64,
        span: Range<usize>,
        comparison: Comparison,
        operator: &Range<usize>,
    ) -> Result<(Written, Range<usize>), Problem> {
        if matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            let message = "a baseline is a measured mean, which nothing equals";
            return Err(
                Problem::new("bad-comparison", operator.clone(), message).hint("compare with `<` or `>`")
            );
        }
        if factor <= 0.0 {
            return Err(Problem::new(
                "bad-threshold",
                span,
                "this is zero or less, whatever the baseline is",
            )
            .hint("such as `50% of baseline`"));
        }
        let comma = self.at;
        if !(self.sign(',') && self.word("at")) {
            self.at = comma;
            return Ok((Written::OfBaseline { factor, bound: None }, span));
        }
        let word = self.next_word();
        let is_least = self.word("least");
        if !is_least && !self.word("most") {
            return Err(Problem::new("bad-threshold", word, "`at` is followed by `least` or `most`"));
        }
        if is_least != comparison.is_above() {
            let (right, why) = if is_least { ("at most", "smaller") } else { ("at least", "larger") };
            return Err(Problem::new(
                "bad-threshold",
                word,
                format!("with `{comparison}` the {why} of both counts"),
            )
            .hint(format!("write `{right}`")));
        }
        let (written, bound_span) = self.quantity()?;
        let whole = span.start..bound_span.end;
        let bound = Some(Box::new(Bound { written, span: bound_span }));
        Ok((Written::OfBaseline { factor, bound }, whole))
    }

    /// A number with its unit, `true` or `false`.
    fn quantity(&mut self) -> Result<(Written, Range<usize>), Problem> {
        let (word, span) = self.take(|c| c.is_alphanumeric() || "+-._%/µμ".contains(c));
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
            return Err(bad(format!("`{}` is not a threshold", word.escape_debug()))
                .hint("compare with a number and its unit, such as `2%`, `250ms` or `100/s`"));
        }
        let after = self.text[span.end..].strip_prefix(',');
        if after.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            let (_, more) = self.take(|c| c.is_alphanumeric() || "+-._%/µμ,".contains(c));
            let span = span.start..more.end;
            let message = format!("`{}` is not a number", &self.text[span.clone()]);
            return Err(Problem::new("bad-threshold", span, message)
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
                if apart.is_empty() || WORDS.contains(&apart) {
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
        let word = rest.split_whitespace().next().unwrap_or_default();
        Err(match word {
            "unless" | "&&" | "||" => {
                Problem::new("bad-condition", span, format!("conditions are not joined by `{word}`"))
                    .hint("join them by `and` and `or`, with brackets where it matters")
            }
            "for" => Problem::new("bad-condition", span, "the window is not part of the condition")
                .hint("put it on a line of its own: `for: 60s`"),
            _ => Problem::new("bad-condition", span, "nothing may follow the threshold")
                .hint("join several comparisons by `and` or `or`"),
        })
    }
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
