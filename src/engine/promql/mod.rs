//! The language: PromQL as Prometheus 3 means it.
//!
//! [`parse`] turns text into an [`Expr`] whose nodes know their bytes, and finds all type errors at once. [`compile`]
//! turns that into a [`Plan`], which knows what it selects and how far back, and [`Plan::evaluate`] gives its value.
//! What is not evaluated is refused by `compile`: no plan answers differently from Prometheus.

mod aggregations;
pub mod ast;
pub mod catalog;
mod check;
mod compile;
mod edges;
mod evaluate;
mod functions;
mod histogram;
mod lengths;
mod lexer;
pub mod literals;
mod operators;
mod parser;
pub mod plan;
mod print;
pub mod problem;
pub mod range;
mod sampling;
mod selectors;
mod summation;

pub use ast::Expr;
pub use catalog::ValueType;
pub use evaluate::{LOOKBACK, MAX_SAMPLES};
pub use lexer::MAX_TEXT;
pub use plan::{
    EvalContext, EvalError, Evaluated, MatrixSeries, Plan, QueryRange, Scope, Value, VectorSample, compile,
};
pub use problem::{Problem, TextSpan};
pub use range::{InvalidRange, RangeEvaluation};

/// Parses and type-checks an expression.
///
/// # Errors
///
/// The first syntax error, or else all type errors, in the order of the text. Text longer than [`MAX_TEXT`] and
/// nesting deeper than [`ast::MAX_HEIGHT`] are errors too.
pub fn parse(text: &str) -> Result<Expr, Vec<Problem>> {
    let expr = parser::parse_syntax(text).map_err(|problem| vec![*problem])?;
    let problems = check::check(&expr);
    if problems.is_empty() { Ok(expr) } else { Err(problems) }
}

/// Returns the type of a parsed expression.
pub fn type_of(expr: &Expr) -> ValueType {
    check::type_of(expr)
}

/// Returns the value of a number or duration that depends on nothing: `5m`, `2 * 60`, `-1`.
pub fn constant(expr: &Expr) -> Option<f64> {
    check::constant(expr)
}
