//! Problems in files that people wrote: where, what, and what to do next.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A file's name and text, with an index of its lines. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SourceFile {
    name: Arc<str>,
    text: Arc<str>,
    line_starts: Arc<[usize]>,
}

/// A range of a file, as bytes and as the line and column at which it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name, as people know it.
    pub file: Arc<str>,
    /// The bytes; empty where the whole file is meant.
    pub span: Range<usize>,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
}

/// Whether a problem keeps the files from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The set is not loaded.
    Error,
    /// The set is loaded; someone should look.
    Warning,
    /// The set is loaded and means what it says; it could say it better. Never counted as a warning.
    Note,
}

/// One problem in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable name for this kind of problem, such as `unknown-key`.
    pub code: &'static str,
    /// Whether it keeps the files from being loaded.
    pub level: Level,
    /// Where it is.
    pub place: Place,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// A few words under the caret; may be empty.
    pub label: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// Collects problems, so that all of them are told at once.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<Diagnostic>);

impl SourceFile {
    /// Wraps a file's text; `name` is what diagnostics call it.
    pub fn new(name: &str, text: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        Self { name: Arc::from(name), text: Arc::from(text), line_starts: starts.collect() }
    }

    /// Returns the name that diagnostics use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the place of a byte range; a range outside the text is clamped to it.
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = floor_char_boundary(&self.text, span.start);
        let end = floor_char_boundary(&self.text, span.end).max(start);
        let line = self.line_starts.partition_point(|line| *line <= start).max(1);
        let line_start = self.line_starts[line - 1];
        let column = self.text[line_start..start].chars().count() + 1;
        Place { file: self.name.clone(), span: start..end, line, column }
    }

    /// Returns the place of one character by line and column, both counted from 1; what lies outside is clamped.
    pub fn place_at(&self, line: usize, column: usize) -> Place {
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let rest = self.text[start..].split('\n').next().unwrap_or_default();
        let (at, length) = rest
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or((rest.len(), 0), |(at, character)| (at, character.len_utf8()));
        self.place(start + at..start + at + length)
    }

    /// Returns the place that means the file as a whole.
    pub fn whole(&self) -> Place {
        self.place(0..0)
    }
}

/// Returns the largest character boundary that is not after `at`.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl Place {
    /// Returns the place of a file whose text cannot be shown: missing, unreadable, or not text.
    pub fn of_file(name: &str) -> Self {
        Self { file: Arc::from(name), span: 0..0, line: 1, column: 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Diagnostic {
    /// Makes an error.
    pub fn error(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self { code, level: Level::Error, place, message: message.into(), label: String::new(), hint: None }
    }

    /// Makes a warning.
    pub fn warning(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, place, message) }
    }

    /// Adds the words under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do next, where there is something to say.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

impl fmt::Display for Diagnostic {
    /// Prints one line, for logs; what people see when they check their files shows the excerpt too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        write!(f, "{}: {level}[{}]: {}", self.place, self.code, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl Findings {
    /// Adds one problem.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds several problems.
    pub fn extend(&mut self, diagnostics: impl IntoIterator<Item = Diagnostic>) {
        self.0.extend(diagnostics);
    }

    /// Returns whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.level == Level::Error)
    }

    /// Returns `value` and the warnings, or every problem where one of them is an error.
    ///
    /// # Errors
    ///
    /// All problems, warnings included, in the order of files and lines.
    pub fn conclude<T>(self, value: T) -> Result<(T, Vec<Diagnostic>), Vec<Diagnostic>> {
        let failed = self.has_errors();
        let all = self.into_problems();
        if failed { Err(all) } else { Ok((value, all)) }
    }

    /// Returns every problem in the order of files and lines.
    pub fn into_problems(mut self) -> Vec<Diagnostic> {
        self.0.sort_by(|a, b| {
            (&a.place.file, a.place.span.start, a.level).cmp(&(&b.place.file, b.place.span.start, b.level))
        });
        self.0
    }
}

/// Returns the known name that is nearest to what was written, where one is near enough to be a slip of the pen.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (written.chars().count() / 3).clamp(1, 3);
    let lowered = written.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&lowered, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Returns the hint for an unknown name: the nearest known one, or all of them.
pub fn name_hint<'a>(written: &str, kind: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// More names than this are not listed: nobody reads them.
    const LISTED_MAX: usize = 12;
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(name) = nearest(written, known.iter().copied()) {
        return format!("did you mean `{name}`?");
    }
    if known.is_empty() {
        return format!("there is no {kind} at all; declare it first");
    }
    let listed: Vec<String> = known.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
    let more = if known.len() > LISTED_MAX { ", ..." } else { "" };
    format!("known: {}{more}", listed.join(", "))
}

/// Returns the hint for an unknown placeholder, in the braces in which people write it.
pub fn placeholder_hint(written: &str, known: &[&str]) -> String {
    let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
    name_hint(&format!("{{{written}}}"), "placeholder", known.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let file = SourceFile::new("a.yaml", "é: 1\nß: zwei\n");
        let cases = [(0, 1, 1), (2, 1, 2), (6, 2, 1), (10, 2, 4), (999, 3, 1), (7, 2, 1)];
        for (at, line, column) in cases {
            let place = file.place(at..at);
            assert_eq!((place.line, place.column), (line, column), "byte {at}");
        }
        let cases = [((1, 1), 0..2), ((2, 4), 10..11), ((2, 99), 14..14), ((99, 1), 15..15)];
        for ((line, column), bytes) in cases {
            assert_eq!(file.place_at(line, column).span, bytes, "{line}:{column}");
        }
    }

    #[test]
    fn the_nearest_name_is_a_slip_of_the_pen_away() {
        let known = ["error_rate", "throughput", "p95"];
        assert_eq!(nearest("eror_rate", known), Some("error_rate"));
        assert_eq!(nearest("Throughput", known), Some("throughput"));
        assert_eq!(nearest("latency", known), None);
        assert_eq!(name_hint("latency", "indicator", known), "known: `error_rate`, `throughput`, `p95`");
    }

    #[test]
    fn one_error_refuses_and_warnings_do_not() {
        let place = SourceFile::new("a", "x").whole();
        let mut findings = Findings::default();
        findings.push(Diagnostic::warning("w", place.clone(), "look"));
        assert_eq!(findings.clone().conclude(7).map(|(value, warnings)| (value, warnings.len())), Ok((7, 1)));
        findings.push(Diagnostic::error("e", place, "no"));
        assert_eq!(findings.conclude(7).map_err(|all| all.len()), Err(2));
    }
}
