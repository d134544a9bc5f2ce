//! The walk over a page: splits lines, reads metadata, keeps the first faults, checks that the page is whole.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::line::{self, Cursor, Fault, Line, Parsed, Role};
use super::{BadLine, Format, LabelPair, MAX_LINE_BYTES, PageError, number};

/// The sample lines of a valid page, numbers still as text.
#[derive(Debug)]
pub(super) struct Scanned<'a> {
    pub lines: Vec<Line<'a>>,
    pub labels: Vec<LabelPair<'a>>,
}

/// The types that a TYPE line may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FamilyType {
    Counter,
    Gauge,
    /// Histogram or gauge histogram: both have buckets.
    Histogram,
    Summary,
    /// Types whose samples are single values without a meaning of their own here: untyped, unknown, info, state set.
    Plain,
}

/// What the last line read says about the page's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More lines may follow.
    Open,
    /// `# EOF` was read: nothing may follow.
    Closed,
}

/// The state of one walk.
struct Scanner<'a> {
    format: Format,
    max_samples: usize,
    max_faults: usize,
    scanned: Scanned<'a>,
    types: BTreeMap<Cow<'a, str>, FamilyType>,
    faults: Vec<BadLine>,
}

/// Walks over the whole page; stops after `max_faults` bad lines.
pub(super) fn scan(
    body: &[u8],
    format: Format,
    max_samples: usize,
    max_faults: usize,
) -> Result<Scanned<'_>, PageError> {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return Err(PageError::Malformed(vec![not_utf8(body, error.valid_up_to())])),
    };
    let mut scanner = Scanner {
        format,
        max_samples,
        max_faults,
        scanned: Scanned { lines: Vec::new(), labels: Vec::new() },
        types: BTreeMap::new(),
        faults: Vec::new(),
    };
    scanner.walk(text)?;
    if scanner.faults.is_empty() { Ok(scanner.scanned) } else { Err(PageError::Malformed(scanner.faults)) }
}

/// Describes the line that holds the first invalid byte.
pub(super) fn not_utf8(body: &[u8], at: usize) -> BadLine {
    let line = memchr::memchr_iter(b'\n', &body[..at]).count() + 1;
    let start = memchr::memrchr(b'\n', &body[..at]).map_or(0, |newline| newline + 1);
    let end = memchr::memchr(b'\n', &body[at..]).map_or(body.len(), |newline| at + newline);
    // Enough for the excerpt, however long the line is.
    let shown = &body[start..end.min(start + MAX_LINE_BYTES)];
    BadLine::new(line, &String::from_utf8_lossy(shown), at - start, "expected UTF-8, found other bytes")
}

impl<'a> Scanner<'a> {
    fn walk(&mut self, text: &'a str) -> Result<(), PageError> {
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() && self.faults.len() < self.max_faults {
            number += 1;
            let newline = memchr::memchr(b'\n', rest.as_bytes());
            let (line, tail) = newline.map_or((rest, ""), |at| (&rest[..at], &rest[at + 1..]));
            if line.len() > MAX_LINE_BYTES {
                let what = format!("{} bytes long, more than {MAX_LINE_BYTES}", line.len());
                return Err(PageError::LineTooLarge { line: number, what });
            }
            match self.line(line, number) {
                Ok(End::Closed) => {
                    if !tail.is_empty() {
                        let next = tail.lines().next().unwrap_or("");
                        self.fault(number + 1, next, 0, "expected nothing after `# EOF`");
                    }
                    return Ok(());
                }
                Ok(End::Open) => {}
                Err(Fault::Bad(at, reason)) => self.fault(number, line, at, reason),
                Err(Fault::TooLarge(what)) => return Err(PageError::LineTooLarge { line: number, what }),
            }
            if self.scanned.lines.len() > self.max_samples {
                return Err(PageError::TooManySamples { line: number, limit: self.max_samples });
            }
            if newline.is_none() && self.format == Format::Text && !is_empty_line(line) {
                self.fault(number, line, line.len(), "expected a line feed; the page may be cut off");
            }
            rest = tail;
        }
        if self.format == Format::OpenMetrics && self.faults.len() < self.max_faults {
            self.fault(number + 1, "", 0, "expected `# EOF`; the page may be cut off");
        }
        Ok(())
    }

    fn fault(&mut self, number: usize, text: &str, at: usize, reason: impl Into<String>) {
        self.faults.push(BadLine::new(number, text, at, reason));
    }

    fn line(&mut self, text: &'a str, number: usize) -> Parsed<End> {
        match self.format {
            Format::OpenMetrics if text == "# EOF" => return Ok(End::Closed),
            Format::OpenMetrics if text.starts_with('#') => self.open_metrics_metadata(text)?,
            Format::OpenMetrics => self.sample(text, number)?,
            Format::Text => {
                // A carriage return before the line feed is taken as one more blank.
                let text = text.strip_suffix('\r').unwrap_or(text);
                let content = text.trim_start_matches([' ', '\t']);
                if let Some(comment) = content.strip_prefix('#') {
                    self.text_metadata(text, comment)?;
                } else if !content.is_empty() {
                    self.sample(text, number)?;
                }
            }
        }
        Ok(End::Open)
    }

    fn sample(&mut self, text: &'a str, number: usize) -> Parsed<()> {
        let kept = self.scanned.labels.len();
        match line::sample(text, number, self.format, &mut self.scanned.labels) {
            Ok(mut line) => {
                line.role = self.role(&line);
                self.scanned.lines.push(line);
                Ok(())
            }
            Err(fault) => {
                self.scanned.labels.truncate(kept);
                Err(fault)
            }
        }
    }

    /// Reads `# TYPE` and `# HELP` of text 0.0.4; every other comment is free text.
    fn text_metadata(&mut self, line: &'a str, comment: &'a str) -> Parsed<()> {
        let content = comment.trim_start_matches([' ', '\t']);
        let is_separate = content.len() < comment.len();
        let keyword = content.split([' ', '\t']).next().unwrap_or("");
        let has_operand = content.len() > keyword.len();
        if !(is_separate && has_operand && matches!(keyword, "TYPE" | "HELP")) {
            return Ok(());
        }
        let mut cursor = Cursor::new(line, Format::Text);
        cursor.skip_to(line.len() - content.len() + keyword.len());
        cursor.blanks();
        let name = cursor.metric_name()?;
        if keyword == "HELP" {
            return Ok(());
        }
        cursor.expect_blank_or_end()?;
        cursor.blanks();
        let family = match cursor.token() {
            "counter" => FamilyType::Counter,
            "gauge" => FamilyType::Gauge,
            "histogram" => FamilyType::Histogram,
            "summary" => FamilyType::Summary,
            "untyped" => FamilyType::Plain,
            _ => return cursor.fail("expected a type: counter, gauge, histogram, summary or untyped"),
        };
        cursor.blanks();
        if !cursor.is_at_end() {
            return cursor.fail("expected the end of the line after the type");
        }
        self.types.entry(name).or_insert(family);
        Ok(())
    }

    /// Reads the metadata of OpenMetrics, which knows no other comments.
    fn open_metrics_metadata(&mut self, line: &'a str) -> Parsed<()> {
        let mut cursor = Cursor::new(line, Format::OpenMetrics);
        let keyword = ["# HELP ", "# TYPE ", "# UNIT "].into_iter().find(|keyword| line.starts_with(keyword));
        let Some(keyword) = keyword else {
            return cursor.fail("expected `# HELP`, `# TYPE`, `# UNIT` or `# EOF`");
        };
        cursor.skip_to(keyword.len());
        let name = cursor.metric_name()?;
        if !cursor.eat(b' ') {
            return cursor.fail("expected one space and a text after the metric name");
        }
        let text = cursor.rest();
        match keyword {
            "# TYPE " => {
                let family = match text {
                    "counter" => FamilyType::Counter,
                    "gauge" => FamilyType::Gauge,
                    "histogram" | "gaugehistogram" => FamilyType::Histogram,
                    "summary" => FamilyType::Summary,
                    "info" | "stateset" | "unknown" => FamilyType::Plain,
                    _ => return cursor.fail("expected a type that OpenMetrics 1.0 knows"),
                };
                self.types.entry(name).or_insert(family);
            }
            "# UNIT " if !text.is_empty() => {
                let is_suffix = name.strip_suffix(text).is_some_and(|stem| stem.ends_with('_'));
                if !is_suffix {
                    return cursor.fail("expected the unit to be the metric name's suffix");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Applies the TYPE lines read so far to a sample.
    fn role(&self, line: &Line<'a>) -> Role<'a> {
        match self.types.get(&line.name) {
            Some(FamilyType::Counter) => return Role::Counter,
            Some(FamilyType::Gauge) => return Role::Gauge,
            Some(FamilyType::Summary) => {
                return self.number_label(line, "quantile").map_or(Role::Untyped, Role::Quantile);
            }
            Some(FamilyType::Histogram | FamilyType::Plain) | None => {}
        }
        let family_of = |suffix| line.name.strip_suffix(suffix).and_then(|family| self.types.get(family));
        // OpenMetrics names the family without the suffix of its samples.
        if self.format == Format::OpenMetrics && family_of("_total") == Some(&FamilyType::Counter) {
            return Role::Counter;
        }
        if family_of("_bucket") == Some(&FamilyType::Histogram) {
            return self.number_label(line, "le").map_or(Role::Untyped, Role::Bucket);
        }
        Role::Untyped
    }

    /// Returns the text of a label if it spells a number and is borrowed from the page.
    fn number_label(&self, line: &Line<'a>, label: &str) -> Option<&'a str> {
        let (_, value) = self.scanned.labels[line.labels.clone()].iter().find(|(name, _)| name == label)?;
        match value {
            Cow::Borrowed(text) if number::spelling(text).is_some() => Some(text),
            _ => None,
        }
    }
}

/// Returns whether a line of text 0.0.4 says nothing.
fn is_empty_line(line: &str) -> bool {
    line.bytes().all(|byte| line::is_blank(byte) || byte == b'\r')
}
