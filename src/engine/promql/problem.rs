//! What is wrong with an expression, and where.

use std::fmt;

/// A range of bytes in the text of an expression; the end is exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextSpan {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

impl TextSpan {
    /// Returns the span from `start` to before `end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Returns the smallest span that covers both.
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// One thing that is wrong with an expression: a syntax error, a type error, or something that is not evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: the token or the node.
    pub span: TextSpan,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to write instead, where it can be guessed.
    pub hint: Option<String>,
}

impl Problem {
    /// Makes a problem without a hint.
    pub fn new(span: TextSpan, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None }
    }

    /// Adds what to write instead.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to write instead, where something is known.
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

impl fmt::Display for Problem {
    /// Prints `character 5: message; hint` for places without room for an excerpt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "character {}: {}", self.span.start + 1, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for Problem {}
