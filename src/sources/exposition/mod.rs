//! Exposition text: what a `/metrics` page says, line by line, strictly.
//!
//! Two formats by Content-Type: Prometheus text 0.0.4 and OpenMetrics 1.0. One bad line fails the whole page, as in
//! Prometheus, with line, column and reason; mistakes among metadata (a second TYPE, TYPE after samples) do not.
//!
//! **Who does what.** Our own scanner (`scan`, `line`, `number`) reads the page: it alone decides what is valid, splits
//! names and labels, unescapes, converts timestamps. The crate `prometheus-parse` never sees the page: it drops or
//! alters valid lines silently (a `}` or a comma inside a label value is enough) and has no way to report an error. It
//! sees canonical lines that hold nothing but fixed names, line numbers, and numbers whose spelling was checked before
//! (`canonical`). From those it gives us three things: it turns the text of numbers into values, it applies TYPE lines
//! (what is a counter, what a gauge), and it groups buckets and quantiles, which are mapped back at once, because samples
//! are kept flat, as Prometheus stores them: `h_bucket{le="0.5"}`, `h_sum`, `s{quantile="0.9"}`. Every number that it
//! was given must come back exactly once, or the page is refused.

mod canonical;
mod line;
pub mod lint;
mod number;
pub mod recall;
pub mod recording;
mod scan;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// The most bytes that one line may have; a longer one is a label explosion or not metrics at all.
pub const MAX_LINE_BYTES: usize = 128 * 1024;

/// The most labels that one line may have.
pub const MAX_LABELS: usize = 256;

/// How many bad lines an error describes; the scan stops at the last of them.
const MAX_REPORTED: usize = 3;

/// How many characters of a bad line an error quotes.
const MAX_EXCERPT: usize = 80;

/// The format of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4: blanks are free, timestamps are integer milliseconds.
    Text,
    /// OpenMetrics 1.0: single spaces, timestamps in seconds, `# EOF` at the end.
    OpenMetrics,
}

/// A label's name and value, unescaped; borrowed from the page where it holds no escapes.
pub type LabelPair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A page that is valid from its first line to its last.
#[derive(Debug)]
pub struct Page<'a> {
    lines: Vec<line::Line<'a>>,
    labels: Vec<LabelPair<'a>>,
    values: Vec<canonical::Reading>,
}

/// One sample of a page, as the page has it: flat, without the labels that the source adds.
#[derive(Clone, Copy, Debug)]
pub struct PageSample<'p> {
    /// The series as the page spells it: everything before the value.
    pub series: &'p str,
    /// The metric's name, suffix included.
    pub name: &'p str,
    /// The labels in the page's order; names are unique, values may be empty.
    pub labels: &'p [LabelPair<'p>],
    /// The value.
    pub value: f64,
    /// The page's own timestamp, in milliseconds of **wall** time since 1970; most pages have none.
    pub wall_timestamp: Option<i64>,
    /// What the page's TYPE lines make of it.
    pub kind: SampleKind,
}

/// What a sample is, by the TYPE line that stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    /// A value that only grows, until its process restarts.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// A cumulative bucket of a histogram, with a numeric `le`.
    Bucket,
    /// A quantile of a summary, with a numeric `quantile`.
    Quantile,
    /// Anything else: untyped, sums and counts, info, state sets.
    Untyped,
}

/// Why a page was refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The first bad lines, at least one.
    #[error("{}", ListOfLines(.0))]
    Malformed(Vec<BadLine>),
    /// More samples than the source may have.
    #[error("line {line}: more than {limit} samples; raise max_samples or expose fewer series")]
    TooManySamples {
        /// The line that went over.
        line: usize,
        /// The limit.
        limit: usize,
    },
    /// A line that is too long or has too many labels.
    #[error("line {line}: {what}")]
    LineTooLarge {
        /// The line, counted from 1.
        line: usize,
        /// The limit that was passed.
        what: String,
    },
    /// `prometheus-parse` lost or changed a number; the scanner and the crate disagree about a canonical line.
    #[error("line {line}: prometheus-parse gave no number for `{value}`; please report this")]
    NumberLost {
        /// The line, counted from 1.
        line: usize,
        /// The number as it stands on the page.
        value: String,
    },
}

/// One bad line of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What was expected.
    pub reason: String,
    /// The line's text, control characters escaped, cut to a readable length (E11).
    pub excerpt: String,
}

impl BadLine {
    /// Describes a fault at byte `at` of `text`.
    fn new(line: usize, text: &str, at: usize, reason: impl Into<String>) -> Self {
        let column = text.char_indices().take_while(|(index, _)| *index < at).count() + 1;
        Self { line, column, reason: reason.into(), excerpt: excerpt(text) }
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}, in `{}`", self.line, self.column, self.reason, self.excerpt)
    }
}

/// Prints bad lines in one line.
struct ListOfLines<'a>(&'a [BadLine]);

impl fmt::Display for ListOfLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, bad) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{bad}")?;
        }
        Ok(())
    }
}

/// Makes foreign text fit for a message: control characters escaped, cut to a readable length (E11).
pub(crate) fn excerpt(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars().take(MAX_EXCERPT) {
        match character {
            // Quotes are what labels are made of; escaped, they make an excerpt hard to read.
            '"' | '\'' | '\\' => out.push(character),
            other => out.extend(other.escape_debug()),
        }
    }
    if text.chars().nth(MAX_EXCERPT).is_some() {
        out.push('…');
    }
    out
}

impl Page<'_> {
    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns whether the page holds no sample.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Iterates over the samples in the page's order.
    pub fn samples(&self) -> impl Iterator<Item = PageSample<'_>> {
        self.lines.iter().zip(&self.values).map(|(line, reading)| PageSample {
            series: line.series,
            name: &line.name,
            labels: &self.labels[line.labels.clone()],
            value: reading.value,
            wall_timestamp: line.wall_timestamp,
            kind: reading.kind,
        })
    }
}

/// Where in the page's common list the labels of one line lie.
type LabelRange = Range<usize>;

/// Reads a whole page of at most `max_samples` samples.
///
/// # Errors
///
/// [`PageError`]: one bad line fails the page, because half a page looks like a healthy one (E2).
pub fn parse(body: &[u8], format: Format, max_samples: usize) -> Result<Page<'_>, PageError> {
    parse_telling(body, format, max_samples, MAX_REPORTED)
}

/// The numbers of a source's last page.
#[derive(Debug, Default)]
pub struct KnownNumbers(recall::Recalled<canonical::Reading>);

/// Reads a whole page, as [`parse`], the numbers among them that are new; they are known the next time.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_next<'a>(
    body: &'a [u8],
    format: Format,
    max_samples: usize,
    known: &mut KnownNumbers,
) -> Result<Page<'a>, PageError> {
    let page = read(scan::scan(body, format, max_samples, MAX_REPORTED)?, known)?;
    known.0 = page.lines.iter().zip(&page.values).map(|(line, reading)| (line.value, *reading)).collect();
    Ok(page)
}

/// Reads a whole page, as [`parse`], and goes on after bad lines until it has `max_faults` of them.
///
/// # Errors
///
/// As [`parse`], with up to `max_faults` bad lines.
pub fn parse_telling(
    body: &[u8],
    format: Format,
    max_samples: usize,
    max_faults: usize,
) -> Result<Page<'_>, PageError> {
    read(scan::scan(body, format, max_samples, max_faults)?, &KnownNumbers::default())
}

fn read<'a>(scanned: scan::Scanned<'a>, known: &KnownNumbers) -> Result<Page<'a>, PageError> {
    let values = canonical::read(&scanned, &known.0)?;
    Ok(Page { lines: scanned.lines, labels: scanned.labels, values })
}

#[cfg(test)]
mod tests;
