//! The language: parser with spans, plan, evaluation.

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Plan;
