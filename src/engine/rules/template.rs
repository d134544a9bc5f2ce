//! Templates of imported rules: the part of Go's `text/template` that labels and annotations use.
//!
//! Text becomes tokens (`lexer`), tokens a tree whose names are all known (`parser`), and the tree is rendered for
//! each alert (`machine`). The language is Go's, the functions are Go's and Prometheus' (`functions`); both are
//! reproduced with their oddities, because rules were tested against them: `gt $value 5` fails, as `5` is no float.
//!
//! Two things differ, both where Go has nothing sensible: a query's whole result and the bare `.` cannot be shown (Go
//! prints addresses), and work and output are bounded.

mod clock;
mod escape;
mod format;
mod functions;
mod hosts;
mod humanize;
mod lexer;
mod machine;
mod methods;
mod parser;
mod tree;
mod value;

use std::sync::Arc;

use crate::engine::model::Labels;
use crate::engine::promql::{Problem, VectorSample};
use crate::engine::time::Timestamp;

/// A parsed template. Its text without any action renders to itself.
#[derive(Clone, Debug)]
pub struct Template {
    text: Arc<str>,
    /// Absent where the text holds no action.
    tree: Option<Arc<parser::Tree>>,
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
    /// The first mistake, with its place in the text: syntax, a function or variable that is not defined.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if !text.contains("{{") {
            return Ok(Self::literal(text));
        }
        match parser::parse(text) {
            Ok(tree) => Ok(Self { text: text.into(), tree: Some(Arc::new(tree)) }),
            Err(problem) => Err(*problem),
        }
    }

    /// Returns a template that renders to `text` as it is, whatever it holds.
    pub fn literal(text: &str) -> Self {
        Self { text: text.into(), tree: None }
    }

    /// Returns the text that every rendering gives, where the data do not matter.
    pub fn fixed(&self) -> Option<&str> {
        self.tree.is_none().then_some(&self.text)
    }

    /// Returns the text as written: the raw facts, where it cannot be rendered (E10).
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fills the template in.
    ///
    /// # Errors
    ///
    /// A function that fails on this data, or more work or output than a page may take.
    pub fn render(&self, data: &TemplateData<'_>) -> Result<String, RenderError> {
        match &self.tree {
            Some(tree) => machine::render(tree, data),
            None => Ok(self.text.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
