//! Templates of imported rules: the part of Go's `text/template` that labels and annotations use.

use std::sync::Arc;

use crate::engine::model::Labels;
use crate::engine::promql::{Problem, TextSpan, VectorSample};
use crate::engine::time::Timestamp;

/// A parsed template. Its text without any action renders to itself.
#[derive(Clone, Debug)]
pub struct Template {
    text: Arc<str>,
    is_fixed: bool,
}

/// What a template may show.
pub struct TemplateData<'a> {
    /// `$labels`, `.Labels`
    pub labels: &'a Labels,
    /// `$externalLabels`, `.ExternalLabels`
    pub external_labels: &'a Labels,
    /// `$externalURL`, `.ExternalURL`
    pub external_url: &'a str,
    /// `$value`, `.Value`
    pub value: f64,
    /// Wall time of the evaluation, for functions that speak of now.
    pub wall: Timestamp,
    /// Answers `query "..."`; fails as a text.
    pub query: &'a dyn Fn(&str) -> Result<Vec<VectorSample>, String>,
}

/// Why a template has no text for this alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RenderError(pub String);

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// The first mistake, with its place in the text.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        match text.rfind("{{") {
            Some(at) if !text[at..].contains("}}") => {
                Err(Problem::new(TextSpan::new(at, at + 2), "this action is never closed"))
            }
            found => Ok(Self { text: text.into(), is_fixed: found.is_none() }),
        }
    }

    /// Returns a template that renders to `text` as it is, whatever it holds.
    pub fn literal(text: &str) -> Self {
        Self { text: text.into(), is_fixed: true }
    }

    /// Returns the text that every rendering gives, where the data do not matter.
    pub fn fixed(&self) -> Option<&str> {
        self.is_fixed.then_some(&self.text)
    }

    /// Returns the text as written: the raw facts, where it cannot be rendered (E10).
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fills the template in.
    ///
    /// # Errors
    ///
    /// A function that fails on this data, or more output than a page may have.
    pub fn render(&self, _data: &TemplateData<'_>) -> Result<String, RenderError> {
        self.fixed().map(str::to_owned).ok_or_else(|| RenderError("actions are not evaluated".to_owned()))
    }
}
