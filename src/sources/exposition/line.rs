//! One sample line: name, labels, value, timestamp, exemplar.
//!
//! Both formats share one grammar; they differ in where blanks may stand (text 0.0.4: anywhere between tokens;
//! OpenMetrics: single spaces at fixed places), in the trailing comma (text only) and in exemplars (OpenMetrics only).

use std::borrow::Cow;

use super::{Format, LabelPair, LabelRange, MAX_LABELS, number};
use crate::engine::model::METRIC_NAME;

/// One sample line that is valid, still as text where a number is concerned.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// The line, counted from 1.
    pub number: usize,
    /// The text before the value.
    pub series: &'a str,
    /// The metric's name.
    pub name: Cow<'a, str>,
    /// Where its labels lie in the page's list.
    pub labels: LabelRange,
    /// The value; its spelling is valid.
    pub value: &'a str,
    /// Milliseconds of wall time.
    pub wall_timestamp: Option<i64>,
    /// What the TYPE lines before it make of it.
    pub role: Role<'a>,
}

/// How a line goes to `prometheus-parse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role<'a> {
    /// A single number of a counter.
    Counter,
    /// A single number of a gauge.
    Gauge,
    /// A single number of anything else.
    Untyped,
    /// A bucket whose bound has this spelling.
    Bucket(&'a str),
    /// A quantile of this spelling.
    Quantile(&'a str),
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The grammar is violated at this byte.
    Bad(usize, String),
    /// A limit is passed.
    TooLarge(String),
}

/// Shorthand for results of the grammar's rules.
pub(super) type Parsed<T> = Result<T, Fault>;

/// A position in one line.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    format: Format,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of a line without its line feed.
    pub fn new(text: &'a str, format: Format) -> Self {
        Self { text, at: 0, format }
    }

    /// Fails at the current byte.
    pub fn fail<T>(&self, reason: impl Into<String>) -> Parsed<T> {
        Err(Fault::Bad(self.at, reason.into()))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes `byte` if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes bytes while they are accepted.
    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|byte| !accept(*byte)).unwrap_or(rest.len());
        let taken = &self.text[self.at..self.at + length];
        self.at += length;
        taken
    }

    /// Skips blanks where the text format allows them; OpenMetrics has none there.
    pub fn blanks(&mut self) {
        if self.format == Format::Text {
            self.take_while(is_blank);
        }
    }

    /// Takes everything up to the next blank.
    pub fn token(&mut self) -> &'a str {
        self.take_while(|byte| !is_blank(byte))
    }

    /// Takes everything that is left.
    pub fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        self.at = self.text.len();
        rest
    }

    /// Moves to a byte that the caller has read up to.
    pub fn skip_to(&mut self, at: usize) {
        self.at = at;
    }

    /// Fails where a token goes on.
    pub fn expect_blank_or_end(&self) -> Parsed<()> {
        if self.peek().is_none_or(is_blank) { Ok(()) } else { self.fail("expected a blank") }
    }

    /// Returns whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Takes a metric's name, bare or in quotes.
    pub fn metric_name(&mut self) -> Parsed<Cow<'a, str>> {
        if self.peek() == Some(b'"') {
            return self.quoted_name();
        }
        let starts_as_name =
            self.peek().is_some_and(|byte| is_name_byte(byte) && !byte.is_ascii_digit() || byte == b':');
        if !starts_as_name {
            return self.fail("expected a metric name");
        }
        Ok(Cow::Borrowed(self.take_while(|byte| is_name_byte(byte) || byte == b':')))
    }

    /// Takes a name in quotes, which may be any text but the empty one.
    fn quoted_name(&mut self) -> Parsed<Cow<'a, str>> {
        let start = self.at;
        let name = self.quoted()?;
        if name.is_empty() {
            return Err(Fault::Bad(start, "expected a name between the quotes".to_owned()));
        }
        Ok(name)
    }

    /// Takes a text in double quotes and unescapes it; the opening quote is next.
    fn quoted(&mut self) -> Parsed<Cow<'a, str>> {
        let start = self.at;
        self.at += 1;
        let mut unescaped: Option<String> = None;
        loop {
            let rest = &self.text[self.at..];
            let Some(found) = memchr::memchr2(b'"', b'\\', rest.as_bytes()) else {
                return Err(Fault::Bad(start, "expected a closing `\"`".to_owned()));
            };
            let plain = &rest[..found];
            self.at += found + 1;
            if rest.as_bytes()[found] == b'"' {
                return Ok(match unescaped {
                    Some(text) => Cow::Owned(text + plain),
                    None => Cow::Borrowed(plain),
                });
            }
            let text = unescaped.get_or_insert_default();
            text.push_str(plain);
            match self.text[self.at..].chars().next() {
                Some('n') => text.push('\n'),
                Some(escaped @ ('\\' | '"')) => text.push(escaped),
                // Neither format defines other escapes; Prometheus keeps both characters.
                Some(other) => text.extend(['\\', other]),
                None => return Err(Fault::Bad(start, "expected a closing `\"`".to_owned())),
            }
            self.at += self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        }
    }

    /// Takes labels up to and including the closing brace; a lone quoted text is the metric's name (Prometheus 3).
    fn labels(&mut self, name: &mut Option<Cow<'a, str>>, labels: &mut Vec<LabelPair<'a>>) -> Parsed<()> {
        let first = labels.len();
        self.blanks();
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let start = self.at;
            let is_quoted = self.peek() == Some(b'"');
            let label = if is_quoted { self.quoted_name()? } else { self.bare_label_name()? };
            self.blanks();
            if is_quoted && matches!(self.peek(), Some(b',' | b'}')) {
                if name.is_some() {
                    return Err(Fault::Bad(start, "a second metric name".to_owned()));
                }
                *name = Some(label);
            } else {
                let value = self.label_value()?;
                if label == METRIC_NAME || labels[first..].iter().any(|(known, _)| *known == label) {
                    return Err(Fault::Bad(start, format!("duplicate label `{}`", super::excerpt(&label))));
                }
                if labels.len() - first == MAX_LABELS {
                    return Err(Fault::TooLarge(format!("more than {MAX_LABELS} labels")));
                }
                labels.push((label, value));
                self.blanks();
            }
            if self.eat(b'}') {
                return Ok(());
            }
            if !self.eat(b',') {
                return self.fail("expected `,` or `}` after a label");
            }
            self.blanks();
            if self.format == Format::Text && self.eat(b'}') {
                return Ok(());
            }
        }
    }

    fn bare_label_name(&mut self) -> Parsed<Cow<'a, str>> {
        if !self.peek().is_some_and(|byte| is_name_byte(byte) && !byte.is_ascii_digit()) {
            return self.fail("expected a label name");
        }
        Ok(Cow::Borrowed(self.take_while(is_name_byte)))
    }

    fn label_value(&mut self) -> Parsed<Cow<'a, str>> {
        if !self.eat(b'=') {
            return self.fail("expected `=` after a label name");
        }
        self.blanks();
        if self.peek() != Some(b'"') {
            return self.fail("expected a label value in double quotes");
        }
        self.quoted()
    }

    /// Takes a number and checks its spelling.
    fn number(&mut self, what: &str) -> Parsed<&'a str> {
        let start = self.at;
        let token = self.token();
        if number::spelling(token).is_none() {
            let reason = format!("expected {what}, found `{}`", super::excerpt(token));
            return Err(Fault::Bad(start, reason));
        }
        Ok(token)
    }

    fn timestamp(&mut self) -> Parsed<i64> {
        let start = self.at;
        let token = self.token();
        let (parsed, what) = match self.format {
            Format::Text => (token.parse().ok(), "integer milliseconds"),
            Format::OpenMetrics => (number::milliseconds(token), "seconds"),
        };
        let reason = || format!("expected a timestamp in {what}, found `{}`", super::excerpt(token));
        parsed.ok_or_else(|| Fault::Bad(start, reason()))
    }

    /// Takes the single space that OpenMetrics wants between two parts.
    fn single_space(&mut self) -> Parsed<()> {
        if self.eat(b' ') { Ok(()) } else { self.fail("expected one space") }
    }

    /// Takes what follows the value: text 0.0.4 allows a timestamp and blanks.
    fn tail_of_text(&mut self) -> Parsed<Option<i64>> {
        self.blanks();
        if self.is_at_end() {
            return Ok(None);
        }
        let timestamp = self.timestamp()?;
        self.blanks();
        if self.is_at_end() { Ok(Some(timestamp)) } else { self.fail("expected the end of the line") }
    }

    /// Takes what follows the value in OpenMetrics: a timestamp, an exemplar, both or neither.
    fn tail_of_open_metrics(&mut self, name: &str, labels: &mut Vec<LabelPair<'a>>) -> Parsed<Option<i64>> {
        if self.is_at_end() {
            return Ok(None);
        }
        self.single_space()?;
        let mut timestamp = None;
        if self.peek() != Some(b'#') {
            timestamp = Some(self.timestamp()?);
            if self.is_at_end() {
                return Ok(timestamp);
            }
            self.single_space()?;
        }
        self.exemplar(name, labels)?;
        Ok(timestamp)
    }

    /// Checks an exemplar, `# {labels} value [timestamp]`, and forgets it: no rule can use one.
    fn exemplar(&mut self, name: &str, labels: &mut Vec<LabelPair<'a>>) -> Parsed<()> {
        if !(name.ends_with("_total") || name.ends_with("_bucket")) {
            return self.fail("an exemplar, which only counters and buckets may have");
        }
        if !self.text[self.at..].starts_with("# {") {
            return self.fail("expected an exemplar, `# {`");
        }
        self.at += "# {".len();
        let kept = labels.len();
        // The placeholder makes a lone quoted text an error: exemplars have no name.
        self.labels(&mut Some(Cow::Borrowed("")), labels)?;
        labels.truncate(kept);
        self.single_space()?;
        self.number("the exemplar's value")?;
        if self.is_at_end() {
            return Ok(());
        }
        self.single_space()?;
        self.timestamp()?;
        if self.is_at_end() { Ok(()) } else { self.fail("expected the end of the line") }
    }
}

/// Reads a sample line; its labels go to the end of `labels`.
pub(super) fn sample<'a>(
    text: &'a str,
    number: usize,
    format: Format,
    labels: &mut Vec<LabelPair<'a>>,
) -> Parsed<Line<'a>> {
    let first = labels.len();
    let mut cursor = Cursor::new(text, format);
    cursor.blanks();
    let mut name = None;
    if cursor.peek() != Some(b'{') {
        if cursor.peek() == Some(b'"') {
            return cursor.fail("expected a metric name; a quoted one stands inside the braces");
        }
        name = Some(cursor.metric_name()?);
    }
    let before_blanks = cursor.at;
    cursor.blanks();
    let has_labels = cursor.eat(b'{');
    if has_labels {
        cursor.labels(&mut name, labels)?;
        cursor.blanks();
    } else if format == Format::Text && cursor.at == before_blanks {
        return cursor.fail("expected `{` or a blank after the metric name");
    }
    let Some(name) = name else {
        return Err(Fault::Bad(0, "expected a metric name".to_owned()));
    };
    if format == Format::OpenMetrics {
        cursor.single_space()?;
    }
    let series = &text[..cursor.at];
    let value = cursor.number("a value")?;
    let last = labels.len();
    let wall_timestamp = match format {
        Format::Text => cursor.tail_of_text()?,
        Format::OpenMetrics => cursor.tail_of_open_metrics(&name, labels)?,
    };
    Ok(Line { number, series, name, labels: first..last, value, wall_timestamp, role: Role::Untyped })
}

/// Reads value and timestamp of a line whose series, which ends at byte `from`, is known already.
pub(super) fn tail(text: &str, from: usize, format: Format) -> Parsed<(&str, Option<i64>)> {
    let mut cursor = Cursor::new(text, format);
    cursor.skip_to(from);
    match format {
        Format::Text => cursor.blanks(),
        Format::OpenMetrics => cursor.single_space()?,
    }
    let value = cursor.number("a value")?;
    let wall_timestamp = match format {
        Format::Text => cursor.tail_of_text()?,
        Format::OpenMetrics => {
            let name = text.split(['{', ' ']).next().unwrap_or_default();
            cursor.tail_of_open_metrics(name, &mut Vec::new())?
        }
    };
    Ok((value, wall_timestamp))
}

/// Returns whether a byte separates tokens.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Returns whether a byte may stand in a bare label name after its first.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
