//! Recordings: exposition text whose samples carry timestamps, many samples per series, in one file.
//!
//! Unlike a page, a recording may show a series again and again, and its series in any order. A file of which a query
//! needs little is read at the speed of memory: lines of other metrics are told by their names and never parsed; the
//! labels of a series are parsed once, and then the series is known by its text.

use std::collections::HashMap;

use super::line::{self, Fault, Line};
use super::scan::not_utf8;
use super::{BadLine, Format, LabelPair, MAX_LINE_BYTES, PageError, number};
use crate::engine::model::{Labels, METRIC_NAME, SourceName};
use crate::engine::series::{Point, Selector, SeriesCopy};
use crate::engine::time::Timestamp;

/// The source under which a recording's series appear.
const SOURCE: &str = "file";

/// Seconds from 2001 to 2286, which in milliseconds would be the first months of 1970: nobody measured anything then.
const SECONDS_BY_MISTAKE: std::ops::Range<i64> = 1_000_000_000..10_000_000_000;

/// What a recording says about the selected series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// The selected series, ordered by their labels, their points in ascending order of time.
    pub series: Vec<SeriesCopy>,
    /// The time of the newest sample in the file, whether it was selected or not.
    pub newest: Option<Timestamp>,
}

/// Tells the format of a file that no Content-Type comes with: OpenMetrics ends with `# EOF`.
pub fn format_of(body: &[u8]) -> Format {
    match body.trim_ascii_end().rsplit(|byte| *byte == b'\n').next() {
        Some(b"# EOF") => Format::OpenMetrics,
        _ => Format::Text,
    }
}

/// Reads what one of the selectors selects.
///
/// `undated` is the time of samples without a timestamp: a plain page that somebody saved.
///
/// # Errors
///
/// [`PageError`] with the first bad line among those that had to be read. Lines of other metrics are not looked at.
pub fn read(body: &[u8], selectors: &[Selector], undated: Timestamp) -> Result<Recording, PageError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| PageError::Malformed(vec![not_utf8(body, error.valid_up_to())]))?;
    let mut reader = Reader {
        format: format_of(body),
        selectors,
        source: SourceName::from(SOURCE),
        undated,
        name: ("", false),
        known: HashMap::new(),
        series: Vec::new(),
        newest: None,
    };
    reader.walk(text)?;
    reader.finish(text)
}

/// One selected series as it is read.
struct Recorded {
    labels: Labels,
    /// With the number of the line.
    points: Vec<(Point, usize)>,
    is_sorted: bool,
}

struct Reader<'t, 's> {
    format: Format,
    selectors: &'s [Selector],
    source: SourceName,
    undated: Timestamp,
    /// The name of the last line, and whether a selector may select it: most lines follow others of their family.
    name: (&'t str, bool),
    /// The text of a series, up to its value, to its place in `series`; `None` for what no selector selects.
    known: HashMap<&'t str, Option<usize>>,
    series: Vec<Recorded>,
    newest: Option<Timestamp>,
}

impl<'t> Reader<'t, '_> {
    fn walk(&mut self, text: &'t str) -> Result<(), PageError> {
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let newline = memchr::memchr(b'\n', rest.as_bytes());
            let (line, tail) = newline.map_or((rest, ""), |at| (&rest[..at], &rest[at + 1..]));
            rest = tail;
            if self.format == Format::OpenMetrics && line == "# EOF" && !tail.trim_ascii().is_empty() {
                let next = tail.lines().next().unwrap_or_default();
                return Err(malformed(number + 1, next, 0, "expected nothing after `# EOF`"));
            }
            self.line(line, number).map_err(|fault| match fault {
                Fault::Bad(at, reason) => {
                    // Faults are told at bytes of the line without the blanks before it.
                    let indent = line.len() - line.trim_ascii_start().len();
                    malformed(number, line, indent + at, reason)
                }
                Fault::TooLarge(what) => PageError::LineTooLarge { line: number, what },
            })?;
        }
        Ok(())
    }

    fn line(&mut self, text: &'t str, number: usize) -> Result<(), Fault> {
        let content = match self.format {
            Format::Text => text.trim_ascii(),
            Format::OpenMetrics => text,
        };
        if content.is_empty() || content.starts_with('#') {
            return Ok(());
        }
        if !self.may_want(content) {
            self.saw(timestamp_of(content, self.format));
            return Ok(());
        }
        if text.len() > MAX_LINE_BYTES {
            return Err(Fault::TooLarge(format!("{} bytes long, more than {MAX_LINE_BYTES}", text.len())));
        }
        let Some(series) = series_text(content).and_then(|end| content.get(..end)) else {
            return self.new_series(content, None, number);
        };
        match self.known.get(series) {
            None => self.new_series(content, Some(series), number),
            Some(None) => {
                self.saw(timestamp_of(content, self.format));
                Ok(())
            }
            Some(Some(index)) => {
                let index = *index;
                let (value, at) = line::tail(content, series.len(), self.format)?;
                self.push(index, value, at, number)
            }
        }
    }

    /// Judges a line by its metric's name. Names in quotes stand where only the parser finds them.
    fn may_want(&mut self, content: &'t str) -> bool {
        let end = content.bytes().position(|byte| matches!(byte, b'{' | b' ' | b'\t'));
        let name = &content[..end.unwrap_or(content.len())];
        if name.is_empty() {
            return true;
        }
        if name != self.name.0 {
            self.name = (name, self.selectors.iter().any(|selector| selector.may_select_name(name)));
        }
        self.name.1
    }

    fn new_series(&mut self, content: &'t str, series: Option<&'t str>, number: usize) -> Result<(), Fault> {
        let mut pairs: Vec<LabelPair<'t>> = Vec::new();
        let Line { name, value, wall_timestamp, .. } =
            line::sample(content, number, self.format, &mut pairs)?;
        let named = std::iter::once((METRIC_NAME, &*name));
        let labels = Labels::from_pairs(pairs.iter().map(|(name, value)| (&**name, &**value)).chain(named));
        let wanted = self.selectors.iter().any(|selector| selector.selects(&self.source, &labels));
        // The same series may be written in several ways (other blanks, another order of labels): they meet at the end.
        let index = wanted.then(|| {
            self.series.push(Recorded { labels, points: Vec::new(), is_sorted: true });
            self.series.len() - 1
        });
        if let Some(series) = series {
            self.known.insert(series, index);
        }
        match index {
            Some(index) => self.push(index, value, wall_timestamp, number),
            None => {
                self.saw(wall_timestamp);
                Ok(())
            }
        }
    }

    /// Notes the time of a sample, and returns it.
    fn saw(&mut self, at: Option<i64>) -> Timestamp {
        let at = at.map_or(self.undated, Timestamp::from_millis);
        self.newest = self.newest.max(Some(at));
        at
    }

    fn push(&mut self, index: usize, text: &str, at: Option<i64>, number: usize) -> Result<(), Fault> {
        let value = number::value(text).ok_or_else(|| {
            Fault::Bad(0, format!("`{}` is more than a 64-bit float can hold", super::excerpt(text)))
        })?;
        if self.format == Format::Text && at.is_some_and(|at| SECONDS_BY_MISTAKE.contains(&at)) {
            let reason = "the timestamp looks like seconds, and this format has milliseconds; a file in OpenMetrics ends with `# EOF`";
            return Err(Fault::Bad(0, reason.to_owned()));
        }
        let at = self.saw(at);
        let recorded = &mut self.series[index];
        recorded.is_sorted &= recorded.points.last().is_none_or(|(last, _)| last.at < at);
        recorded.points.push((Point { at, value }, number));
        Ok(())
    }

    fn finish(self, text: &str) -> Result<Recording, PageError> {
        let mut by_labels: std::collections::BTreeMap<Labels, Recorded> = std::collections::BTreeMap::new();
        for recorded in self.series {
            match by_labels.get_mut(&recorded.labels) {
                None => drop(by_labels.insert(recorded.labels.clone(), recorded)),
                Some(there) => {
                    there.points.extend(recorded.points);
                    there.is_sorted = false;
                }
            }
        }
        let mut recording = Recording { series: Vec::new(), newest: self.newest };
        for (labels, mut recorded) in by_labels {
            if !recorded.is_sorted {
                recorded.points.sort_by_key(|(point, _)| point.at);
                let twice = recorded.points.windows(2).find(|pair| pair[0].0.at == pair[1].0.at);
                if let Some([_, (point, number)]) = twice {
                    let line = text.lines().nth(number - 1).unwrap_or_default();
                    let reason = format!(
                        "{} has a sample at this time already ({} ms)",
                        super::excerpt(&labels.to_string()),
                        point.at.as_millis()
                    );
                    return Err(malformed(*number, line, 0, reason));
                }
            }
            let points = recorded.points.into_iter().map(|(point, _)| point).collect();
            recording.series.push(SeriesCopy { source: self.source.clone(), labels, points });
        }
        Ok(recording)
    }
}

fn malformed(number: usize, text: &str, at: usize, reason: impl Into<String>) -> PageError {
    PageError::Malformed(vec![BadLine::new(number, text, at, reason)])
}

/// Returns the timestamp of a line that is not parsed: what follows its value, if anything does.
fn timestamp_of(content: &str, format: Format) -> Option<i64> {
    // Only a comment on a sample has a second brace, and only a brace or a blank ends a series.
    let sample = match format {
        Format::OpenMetrics => content.split(" # {").next().unwrap_or_default(),
        Format::Text => content,
    };
    let after = memchr::memrchr(b'}', sample.as_bytes());
    let mut words = sample[after.map_or(0, |brace| brace + 1)..].split_ascii_whitespace();
    let text = words.nth(if after.is_some() { 1 } else { 2 })?;
    match format {
        Format::Text => text.parse().ok(),
        Format::OpenMetrics => number::milliseconds(text),
    }
}

/// Returns where the text of the series ends: after the closing brace, or after the bare name.
fn series_text(content: &str) -> Option<usize> {
    let bytes = content.as_bytes();
    let open = bytes.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t'))?;
    if bytes[open] != b'{' {
        // A brace may still follow after blanks; such lines are always parsed.
        let after = content[open..].trim_ascii_start();
        return (!after.starts_with('{')).then_some(open);
    }
    let mut at = open + 1;
    loop {
        at += memchr::memchr2(b'"', b'}', bytes.get(at..)?)?;
        if bytes[at] == b'}' {
            return Some(at + 1);
        }
        at += 1;
        loop {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
            let is_escape = bytes[at] == b'\\';
            at += 1 + usize::from(is_escape);
            if !is_escape {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::{Scope, compile, parse};

    /// What is read for an expression: series and their points.
    fn recorded(text: &str, expression: &str) -> String {
        let plan = parse(expression).and_then(|expr| compile(&expr, &Scope::EVERYTHING)).expect(expression);
        let selectors: Vec<_> = plan.selectors().cloned().collect();
        match read(text.as_bytes(), &selectors, Timestamp::from_millis(7)) {
            Err(error) => error.to_string(),
            Ok(recording) => {
                let point = |p: &Point| format!("{}@{}", p.value, p.at.as_millis());
                let points = |copy: &SeriesCopy| copy.points.iter().map(point).collect::<Vec<_>>().join(" ");
                let series = recording.series.iter().map(|copy| format!("{} {}", copy.labels, points(copy)));
                series.collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn series_are_gathered_from_wherever_they_stand() {
        let text = "# TYPE x counter\nx{a=\"1\"} 1 1000\ny 5 1000\nx{a=\"2\"} 2 1000\n\n  x {a=\"1\"} 3 3000\nx{a=\"1\",} 2 2000\r\n";
        let cases = [
            ("x", r#"x{a="1"} 1@1000 2@2000 3@3000; x{a="2"} 2@1000"#),
            (r#"x{a="2"}"#, r#"x{a="2"} 2@1000"#),
            ("y", "y 5@1000"),
            ("z", ""),
            ("1 + 1", ""),
            (r#"{__name__=~"x|y",a!="1"}"#, r#"x{a="2"} 2@1000; y 5@1000"#),
        ];
        for (expression, expected) in cases {
            assert_eq!(recorded(text, expression), expected, "{expression}");
        }
    }

    #[test]
    fn both_formats_have_their_own_time() {
        assert_eq!(recorded("x 1 1605301325000\n", "x"), "x 1@1605301325000");
        assert_eq!(recorded("x 1 1605301325.5\n# EOF\n", "x"), "x 1@1605301325500");
        assert_eq!(recorded("x 1\ny 2 5\n", "x"), "x 1@7", "a page without timestamps");
        assert!(recorded("x 1 1605301325\n", "x").contains("looks like seconds"));
        assert_eq!(format_of(b"x 1\n# EOF\n"), Format::OpenMetrics);
        assert_eq!(format_of(b"# EOF\nx 1"), Format::Text);
    }

    #[test]
    fn the_newest_sample_counts_whether_it_is_selected_or_not() {
        let newest = |text: &str| {
            let recording = read(text.as_bytes(), &[], Timestamp::from_millis(7)).expect("good");
            recording.newest.map(Timestamp::as_millis)
        };
        let cases = [
            ("x 1 1000\ny{a=\"} 5 9000 \"} 2 3000\n", Some(3000)),
            ("x 900000\n", Some(7)),
            ("# x 1 5000\n", None),
            ("x_total 1 1.5 # {a=\"b\"} 9 99\nx_total{c=\"d\"} 1 2 # {a=\"b\"} 9 99\n# EOF\n", Some(2000)),
        ];
        for (text, expected) in cases {
            assert_eq!(newest(text), expected, "{text}");
        }
    }

    #[test]
    fn hostile_label_values_are_only_values() {
        let text =
            "x{p=\"} 99 \",q=\"a\\\"}\\\\\"} 7 1\nx{p=\"} 99 \",q=\"a\\\"}\\\\\"} 8 2\n{\"x\",p=\"u\"} 9 3\n";
        assert_eq!(recorded(text, "x"), r#"x{p="u"} 9@3; x{p="} 99 ", q="a\"}\\"} 7@1 8@2"#);
    }

    #[test]
    fn bad_lines_are_named_where_they_had_to_be_read() {
        let cases = [
            ("x 1 1\nx one 2\n", "line 2, column 3: expected a value"),
            ("x{a=\"1\"} 1 1\nx{a=\"1\"} 1 soon\n", "line 2, column 12: expected a timestamp"),
            ("x{a=\"1\" 1 1\n", "line 1, column 9: expected `,` or `}`"),
            ("  x one\n", "line 1, column 5: expected a value"),
            ("x 1e999 1\n", "more than a 64-bit float can hold"),
            ("x 1 1\nx 2 1\n", "line 2, column 1: x has a sample at this time already (1 ms)"),
            ("x 1 1\n# EOF\nx 2 2\n# EOF\n", "line 3, column 1: expected nothing after `# EOF`"),
            // Of another metric: not read.
            ("x 1 1\ny{ bad\n", "x 1@1"),
        ];
        for (text, expected) in cases {
            let told = recorded(text, "x");
            assert!(told.contains(expected), "{text:?}: {told}");
        }
        let told = read(b"x 1\n\xff 2\n", &[], Timestamp::ZERO).map_err(|error| error.to_string());
        assert!(
            told.as_ref().is_err_and(|told| told.contains("line 2, column 1: expected UTF-8")),
            "{told:?}"
        );
    }
}
