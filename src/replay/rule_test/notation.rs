//! Series and their values as rule tests and `.test` scripts write them: `up{job="app"}` and `1 2x3 _ stale 0+10x100`.
//!
//! The grammar is that of Prometheus' `parser.ParseSeriesDesc` (`generated_parser.y`, `lexValueSequence`). Its corners
//! are kept, because files must mean the same in both: there are no hexadecimal numbers (`0x10` is eleven zeros), a
//! word cannot be repeated (`NaNx3`), and a sequence is added up step by step, never multiplied.

use std::iter;

use crate::engine::model::{Labels, METRIC_NAME, stale_marker};
use crate::engine::promql::{Problem, TextSpan, literals};

/// Values at equal distances, kept as written: `0+1x100000` costs as much as `0`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(Vec<Run>);

/// One item of a sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    /// `None` for `_`: no sample at all.
    first: Option<f64>,
    /// What is added each time; `None` repeats the value bit by bit.
    step: Option<f64>,
    count: u64,
}

/// Why a sequence of values cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotationError {
    /// It is not of the notation.
    Wrong(Problem),
    /// It has a native histogram (`{{...}}`) here, which is of the notation and is not supported.
    Histogram(TextSpan),
}

impl Values {
    /// Parses a sequence; an empty text has no values.
    ///
    /// # Errors
    ///
    /// The first mistake, with its place in the text.
    pub fn parse(text: &str) -> Result<Self, NotationError> {
        let mut scanner = Scanner { text, at: 0 };
        let mut runs = Vec::new();
        scanner.skip_blanks();
        while scanner.peek().is_some() {
            runs.push(scanner.item()?);
            if scanner.peek().is_some_and(|c| !c.is_ascii_whitespace()) {
                let problem = scanner.unexpected("a blank before the next value");
                return Err(NotationError::Wrong(problem));
            }
            scanner.skip_blanks();
        }
        Ok(Self(runs))
    }

    /// Iterates over the values; `None` where there is no sample.
    pub fn iter(&self) -> impl Iterator<Item = Option<f64>> + '_ {
        self.0.iter().flat_map(Run::values)
    }

    /// Returns how many values there are, missing ones included.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, run| sum.saturating_add(run.count))
    }
}

impl Run {
    fn one(first: Option<f64>) -> Self {
        Self { first, step: None, count: 1 }
    }

    fn values(&self) -> impl Iterator<Item = Option<f64>> + use<> {
        let step = self.step;
        let next = move |value: &Option<f64>| {
            Some(match (value, step) {
                (Some(value), Some(step)) => Some(value + step),
                (same, _) => *same,
            })
        };
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        iter::successors(Some(self.first), next).take(count)
    }
}

/// Reads the series with which `text` begins, and returns its labels and where it ends.
///
/// An empty text is the empty label set, and so is `{}`.
///
/// # Errors
///
/// The first mistake, with its place in the text.
pub fn series(text: &str) -> Result<(Labels, usize), Problem> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_blanks();
    let start = scanner.at;
    let mut pairs: Vec<(String, String)> = Vec::new();
    if scanner.peek().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '_' | ':')) {
        let name = scanner.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
        pairs.push((METRIC_NAME.to_owned(), name.to_owned()));
    }
    let end = scanner.at;
    scanner.skip_blanks();
    if scanner.peek() == Some('{') {
        scanner.labels(&mut pairs)?;
    } else if pairs.is_empty() && scanner.peek().is_some() {
        return Err(scanner.unexpected("a series such as `up{job=\"app\"}`"));
    } else {
        scanner.at = end;
    }
    pairs.sort();
    if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let message = match twice[0].0.as_str() {
            METRIC_NAME => "the metric's name is given twice".to_owned(),
            name => format!("the label `{name}` is given twice"),
        };
        return Err(Problem::new(TextSpan::new(start, scanner.at), message));
    }
    Ok((Labels::from_pairs(pairs), scanner.at))
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let taken = &rest[..rest.len() - rest.trim_start_matches(wanted).len()];
        self.at += taken.len();
        taken
    }

    fn skip_blanks(&mut self) {
        self.take_while(|c| c.is_ascii_whitespace());
    }

    fn span(&self) -> TextSpan {
        TextSpan::new(self.at, self.at + self.peek().map_or(0, char::len_utf8))
    }

    fn unexpected(&self, expected: &str) -> Problem {
        let found = match self.peek() {
            Some(c) => format!("`{}`", c.escape_debug()),
            None => "the end".to_owned(),
        };
        Problem::new(self.span(), format!("found {found}, expected {expected}"))
    }

    /// Reads one item: `5`, `_`, `_x3`, `stale`, `1x3`, `1+2x3`.
    fn item(&mut self) -> Result<Run, NotationError> {
        if self.text[self.at..].starts_with("{{") {
            return Err(NotationError::Histogram(TextSpan::new(self.at, self.at + 2)));
        }
        self.number_item().map_err(NotationError::Wrong)
    }

    fn number_item(&mut self) -> Result<Run, Problem> {
        if self.eat('_') {
            let count = if self.eat('x') { self.count()? } else { 1 };
            return Ok(Run { first: None, step: None, count });
        }
        let start = self.at;
        let sign = self.sign();
        let first = match self.number()? {
            Some(number) => sign.unwrap_or(1.0) * number,
            None => match (self.take_while(is_word), sign) {
                ("stale", None) => return Ok(Run::one(Some(stale_marker()))),
                ("", _) => return Err(self.unexpected("a number, `_` or `stale`")),
                (word, _) => return Err(not_a_value(word, TextSpan::new(start, self.at))),
            },
        };
        if self.eat('x') {
            return Ok(Run { first: Some(first), step: None, count: self.count()?.saturating_add(1) });
        }
        let Some(sign) = self.sign() else { return Ok(Run::one(Some(first))) };
        let Some(step) = self.number()? else {
            return Err(self.unexpected("the number that is added each time, as in `0+10x100`"));
        };
        if !self.eat('x') {
            return Err(self.unexpected("`x` and how often it is added, as in `0+10x100`"));
        }
        Ok(Run { first: Some(first), step: Some(sign * step), count: self.count()?.saturating_add(1) })
    }

    fn sign(&mut self) -> Option<f64> {
        if self.eat('+') {
            Some(1.0)
        } else if self.eat('-') {
            Some(-1.0)
        } else {
            None
        }
    }

    /// Reads a number without a sign; `None` where none begins here.
    fn number(&mut self) -> Result<Option<f64>, Problem> {
        let start = self.at;
        if self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            let word = self.take_while(is_word);
            let number = match word.to_ascii_lowercase().as_str() {
                "inf" => Some(f64::INFINITY),
                "nan" => Some(f64::NAN),
                _ => None,
            };
            if number.is_none() {
                self.at = start;
            }
            return Ok(number);
        }
        while self.peek().is_some_and(|c| c.is_ascii_digit() || matches!(c, '.' | '_')) {
            self.at += 1;
            // A sign belongs to the number after `e` only.
            if self.eat('e') || self.eat('E') {
                let _signed = self.eat('+') || self.eat('-');
            }
        }
        let text = &self.text[start..self.at];
        if text.is_empty() {
            return Ok(None);
        }
        // A word right behind it belongs to it: `5m` is no number.
        let tail = self.peek().filter(|c| c.is_alphanumeric() && *c != 'x');
        match literals::parse_number(text).filter(|_| tail.is_none()) {
            Some(number) => Ok(Some(number)),
            None => {
                self.take_while(is_word);
                let span = TextSpan::new(start, self.at);
                let message = format!("`{}` is not a number", self.text[start..self.at].escape_debug());
                Err(Problem::new(span, message))
            }
        }
    }

    /// Reads how often something is repeated.
    fn count(&mut self) -> Result<u64, Problem> {
        let start = self.at;
        let text = self.take_while(|c| c.is_ascii_digit() || matches!(c, '.' | '_'));
        text.parse().map_err(|_| {
            self.at = if text.is_empty() { start } else { self.at };
            let problem = self.unexpected("how often it is repeated, a whole number");
            if text.is_empty() {
                problem
            } else {
                Problem::new(TextSpan::new(start, self.at), format!("`{text}` is not a whole number"))
            }
        })
    }

    /// Reads `{a="b", "c.d"='e', "metric name"}`.
    fn labels(&mut self, pairs: &mut Vec<(String, String)>) -> Result<(), Problem> {
        self.eat('{');
        self.skip_blanks();
        while !self.eat('}') {
            let quoted = self.peek().is_some_and(is_quote);
            let name = if quoted { self.quoted()? } else { self.label_name()? };
            self.skip_blanks();
            if self.eat('=') {
                self.skip_blanks();
                if !self.peek().is_some_and(is_quote) {
                    return Err(self.unexpected("the label's value in quotes"));
                }
                pairs.push((name, self.quoted()?));
            } else if quoted {
                pairs.push((METRIC_NAME.to_owned(), name));
            } else {
                return Err(self.unexpected("`=` after the label's name"));
            }
            self.skip_blanks();
            if !self.eat(',') && self.peek() != Some('}') {
                return Err(self.unexpected("`,` or `}`"));
            }
            self.skip_blanks();
        }
        Ok(())
    }

    fn label_name(&mut self) -> Result<String, Problem> {
        if !self.peek().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') {
            return Err(self.unexpected("a label's name or `}`"));
        }
        Ok(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_').to_owned())
    }

    /// Reads a quoted text, escapes undone.
    fn quoted(&mut self) -> Result<String, Problem> {
        let start = self.at;
        let Some(quote) = self.peek().filter(|c| is_quote(*c)) else {
            return Err(self.unexpected("a text in quotes"));
        };
        self.at += 1;
        let mut escaped = false;
        let rest = &self.text[self.at..];
        let end = rest.char_indices().find(|(_, c)| {
            let closes = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped && quote != '`';
            closes
        });
        let Some((length, _)) = end else {
            let span = TextSpan::new(start, self.text.len());
            return Err(Problem::new(span, "this quote is never closed"));
        };
        self.at += length + 1;
        literals::unescape(&rest[..length], quote).map_err(|(at, message)| {
            let at = start + 1 + at;
            Problem::new(TextSpan::new(at, at + 1), message)
        })
    }
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`')
}

/// What Prometheus' scanner takes for one word, so that `NaNx3` is a word and not a repetition.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':')
}

fn not_a_value(word: &str, span: TextSpan) -> Problem {
    let message = format!("found `{}`, expected a number, `_` or `stale`", word.escape_debug());
    let problem = Problem::new(span, message);
    let repeated = word.rsplit_once('x').map(|(word, _)| word.to_ascii_lowercase());
    match repeated.as_deref() {
        Some(repeated @ ("nan" | "inf" | "stale")) => {
            problem.with_hint(format!("a word cannot be repeated: write `{repeated} {repeated} ...` out"))
        }
        _ if word.eq_ignore_ascii_case("stale") => problem.with_hint("it is written `stale`"),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::is_stale_marker;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    fn told(values: impl IntoIterator<Item = Option<f64>>) -> String {
        let told = |value: Option<f64>| match value {
            None => "_".to_owned(),
            Some(value) if is_stale_marker(value) => "stale".to_owned(),
            Some(value) => format!("{value:?}"),
        };
        values.into_iter().map(told).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn values_are_expanded_as_prometheus_does() {
        let cases: [(&str, &[Option<f64>]); 19] = [
            ("", &[]),
            ("  ", &[]),
            ("5", &[Some(5.0)]),
            (" 1\n 2 ", &[Some(1.0), Some(2.0)]),
            ("-1.5e3 +1E-1", &[Some(-1500.0), Some(0.1)]),
            ("NaN nan Inf -inf +INF", &[Some(NAN), Some(NAN), Some(INF), Some(-INF), Some(INF)]),
            ("_ _x2 1", &[None, None, None, Some(1.0)]),
            ("_x0 1", &[Some(1.0)]),
            ("stale 1", &[Some(stale_marker()), Some(1.0)]),
            ("1x2", &[Some(1.0); 3]),
            ("-0x1", &[Some(-0.0); 2]),
            ("1x0", &[Some(1.0)]),
            ("0x3", &[Some(0.0); 4]),
            ("1e2x1", &[Some(100.0); 2]),
            ("1+2x2", &[Some(1.0), Some(3.0), Some(5.0)]),
            ("-1-2x1", &[Some(-1.0), Some(-3.0)]),
            ("1e1-.5x1", &[Some(10.0), Some(9.5)]),
            ("017 1_0 5. .5", &[Some(15.0), Some(10.0), Some(5.0), Some(0.5)]),
            ("0.1+0.1x2", &[Some(0.1), Some(0.2), Some(0.1 + 0.1 + 0.1)]),
        ];
        for (text, expected) in cases {
            let values = Values::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
            assert_eq!(told(values.iter()), told(expected.iter().copied()), "{text:?}");
            assert_eq!(values.count(), expected.len() as u64, "{text:?}");
        }
    }

    #[test]
    fn what_prometheus_refuses_is_refused_at_its_place() {
        let cases = [
            ("1 NaNx20", 2..8, "cannot be repeated"),
            ("stalex20", 0..8, "cannot be repeated"),
            ("1-infx3", 2..3, "expected the number that is added"),
            ("Stale", 0..5, "it is written `stale`"),
            ("1x", 2..2, "how often"),
            ("1x-1", 2..3, "how often"),
            ("1x2.5", 2..5, "whole number"),
            ("1x1x2", 3..4, "a blank"),
            ("1,2", 1..2, "a blank"),
            ("1+1", 3..3, "`x` and how often"),
            ("1 + 1x3", 3..4, "a number"),
            ("1 5m", 2..4, "not a number"),
            ("1e", 0..2, "not a number"),
            ("1__0", 0..4, "not a number"),
            ("_5", 1..2, "a blank"),
            ("-stale", 0..6, "a number"),
            ("1 {x}", 2..3, "a number"),
            ("1é", 0..3, "not a number"),
        ];
        for (text, span, message) in cases {
            let Err(NotationError::Wrong(problem)) = Values::parse(text) else { panic!("{text:?} is taken") };
            let found = (problem.span.start..problem.span.end, problem.to_string());
            assert!(found.0 == span && found.1.contains(message), "{text:?}: {found:?}");
        }
        let histogram = NotationError::Histogram(TextSpan::new(2, 4));
        assert_eq!(Values::parse("1 {{schema:1}}x2"), Err(histogram));
    }

    #[test]
    fn a_long_sequence_costs_nothing_until_it_is_asked_for() {
        let values = Values::parse("0+1x18446744073709551615 1").expect("is a sequence");
        assert_eq!(values.count(), u64::MAX);
        assert_eq!(values.iter().nth(3), Some(Some(3.0)));
    }

    #[test]
    fn series_are_read_with_their_end() {
        let cases = [
            ("up", "up", 2),
            ("up 1 2", "up", 2),
            ("", "{}", 0),
            ("{} 1", "{}", 2),
            (r#"up{job="a", instance='b:1',}x"#, r#"up{instance="b:1", job="a"}"#, 28),
            (r#"{job="a"}"#, r#"{job="a"}"#, 9),
            (r#"{"a.b", "c.d"=`e\n`} 1"#, r#"a.b{c.d="e\\n"}"#, 20),
            (r#"m {a="\"}"}"#, r#"m{a="\"}"}"#, 11),
            (r#"m{a=""}"#, "m", 7),
            ("a:b:c", "a:b:c", 5),
        ];
        for (text, labels, end) in cases {
            let (found, at) = series(text).unwrap_or_else(|problem| panic!("{text:?}: {problem}"));
            assert_eq!((found.to_string().as_str(), at), (labels, end), "{text:?}");
        }
        let refused = [
            ("m{a!=\"b\"}", 3..4, "expected `=`"),
            ("m{a=\"b}", 4..7, "never closed"),
            ("m{a=b}", 4..5, "in quotes"),
            ("m{a=\"b\",a=\"c\"}", 0..14, "`a` is given twice"),
            ("m{__name__=\"b\"}", 0..15, "name is given twice"),
            ("m{\"b\"}", 0..6, "name is given twice"),
            ("m{a=\"b\" c=\"d\"}", 8..9, "`,` or `}`"),
            ("m{", 2..2, "or `}`"),
            ("5", 0..1, "a series"),
            ("m{a=\"\\q\"}", 5..6, "escape"),
        ];
        for (text, span, message) in refused {
            let problem = series(text).expect_err(text);
            let found = (problem.span.start..problem.span.end, problem.to_string());
            assert!(found.0 == span && found.1.contains(message), "{text:?}: {found:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9xe._ NaIinfstl\"'`{}=,é\\\\]{0,24}") {
            let values = Values::parse(&text);
            if let Ok(values) = &values {
                let _drawn = values.iter().take(100).count();
            }
            if let Err(NotationError::Wrong(problem)) = values {
                proptest::prop_assert!(text.get(problem.span.start..problem.span.end).is_some());
            }
            if let Err(problem) = series(&text) {
                proptest::prop_assert!(text.get(problem.span.start..problem.span.end).is_some());
            }
        }

        #[test]
        fn labels_read_back_as_they_are_printed(value in "[ -~\n\t\"é]{1,12}", name in "[a-z_]{1,6}") {
            let text = format!("m{{{name}={}}}", literals::quote(&value));
            let labels = Labels::from_pairs([(METRIC_NAME, "m"), (name.as_str(), value.as_str())]);
            proptest::prop_assert_eq!(series(&text), Ok((labels, text.len())));
        }
    }
}
