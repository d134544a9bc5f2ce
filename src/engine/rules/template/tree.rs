//! A template as parsed: text and actions, every operand with its place.

use std::sync::Arc;

use super::functions::Function;
use crate::engine::promql::TextSpan;

/// Things that follow each other.
pub(super) type Body = Vec<Node>;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// Text between actions.
    Text(Arc<str>),
    /// `{{ pipeline }}`; shows its value unless it sets a variable.
    Action(Pipeline),
    /// `{{ if }}`, and the `{{ else if }}` inside its `other`.
    If {
        pipeline: Pipeline,
        then: Body,
        other: Body,
    },
    /// `{{ with }}`
    With {
        pipeline: Pipeline,
        then: Body,
        other: Body,
    },
    /// `{{ range }}`
    Range {
        pipeline: Pipeline,
        body: Body,
        other: Body,
    },
    Break,
    Continue,
    /// `{{ template "name" pipeline }}`, also what `{{ block }}` leaves.
    Template {
        name: Arc<str>,
        data: Option<Pipeline>,
        span: TextSpan,
    },
}

/// Commands, each of which hands its value to the next one; the last value may go to variables.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) span: TextSpan,
    /// The variables that are set, with their `$`; two only in a range.
    pub(super) variables: Vec<Arc<str>>,
    /// Whether they exist already (`=`) or begin here (`:=`).
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// A value, or a function with its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) first: Operand,
    pub(super) arguments: Vec<Operand>,
}

/// A value with the fields that are taken of it: `$labels.job`, `(first .).Value`.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) span: TextSpan,
    pub(super) base: Base,
    pub(super) fields: Vec<Arc<str>>,
}

/// Where an operand begins.
#[derive(Debug)]
pub(super) enum Base {
    /// `.`
    Dot,
    /// `$x`, with its `$`.
    Variable(Arc<str>),
    Function(&'static Function),
    Text(Arc<str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    /// `(pipeline)`
    Group(Box<Pipeline>),
}

impl Base {
    /// Returns whether it can stand after a `|`, where it gets a value.
    pub(super) fn may_follow(&self) -> bool {
        matches!(self, Self::Variable(_) | Self::Function(_) | Self::Group(_))
    }

    /// Returns whether it is written out, so that it has no fields.
    pub(super) fn is_literal(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Int(_) | Self::Float(_) | Self::Bool(_) | Self::Nil)
    }
}
