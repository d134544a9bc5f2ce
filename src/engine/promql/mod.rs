//! The language: parser with spans, plan, evaluation.
