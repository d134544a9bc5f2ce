//! The functions of PromQL: names, argument types, results.
//!
//! The list is Prometheus 3's (`promql/parser/functions.go`). All of them parse and are type-checked; those that this
//! version does not evaluate are refused when an expression is compiled.

use std::fmt;

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// One number.
    Scalar,
    /// A text literal.
    String,
    /// Series with one value each.
    Vector,
    /// Series with points over a range of time.
    Matrix,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        })
    }
}

/// A function: its name, what it takes, what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The name; the case counts.
    pub name: &'static str,
    /// The types of the arguments; the last one is repeated where more are allowed.
    pub params: &'static [ValueType],
    /// The fewest arguments.
    pub at_least: usize,
    /// The most arguments.
    pub at_most: usize,
    /// The type of the result.
    pub returns: ValueType,
}

impl Function {
    /// Returns the function of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
    }

    /// Returns how it is called, for hints: `clamp_max(instant vector, scalar)`.
    pub(super) fn usage(&self) -> String {
        match self.name {
            "label_replace" => {
                return "it is called as `label_replace(x, \"to\", \"$1\", \"from\", \"(.*)\")`".to_owned();
            }
            "label_join" => {
                return "it is called as `label_join(x, \"to\", \"-\", \"from\", \"from\")`".to_owned();
            }
            _ => {}
        }
        let mut params: Vec<String> = self.params.iter().map(ToString::to_string).collect();
        for param in params.iter_mut().skip(self.at_least) {
            *param = format!("[{param}]");
        }
        let more = if self.at_most > self.params.len() { ", ..." } else { "" };
        format!("it is called as `{}({}{more})`", self.name, params.join(", "))
    }

    /// Returns the type of the argument at `index`.
    pub fn param(&self, index: usize) -> Option<ValueType> {
        self.params.get(index).or(self.params.last()).copied()
    }
}

use ValueType::{Matrix as M, Scalar as S, String as T, Vector as V};

const fn function(name: &'static str, params: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, params, at_least: params.len(), at_most: params.len(), returns }
}

const fn variadic(
    name: &'static str,
    params: &'static [ValueType],
    at_least: usize,
    at_most: usize,
    returns: ValueType,
) -> Function {
    Function { name, params, at_least, at_most, returns }
}

/// All functions, sorted by name.
pub const FUNCTIONS: &[Function] = &[
    function("abs", &[V], V),
    function("absent", &[V], V),
    function("absent_over_time", &[M], V),
    function("acos", &[V], V),
    function("acosh", &[V], V),
    function("asin", &[V], V),
    function("asinh", &[V], V),
    function("atan", &[V], V),
    function("atanh", &[V], V),
    function("avg_over_time", &[M], V),
    function("ceil", &[V], V),
    function("changes", &[M], V),
    function("clamp", &[V, S, S], V),
    function("clamp_max", &[V, S], V),
    function("clamp_min", &[V, S], V),
    function("cos", &[V], V),
    function("cosh", &[V], V),
    function("count_over_time", &[M], V),
    variadic("day_of_month", &[V], 0, 1, V),
    variadic("day_of_week", &[V], 0, 1, V),
    variadic("day_of_year", &[V], 0, 1, V),
    variadic("days_in_month", &[V], 0, 1, V),
    function("deg", &[V], V),
    function("delta", &[M], V),
    function("deriv", &[M], V),
    function("double_exponential_smoothing", &[M, S, S], V),
    function("end", &[], S),
    function("exp", &[V], V),
    function("first_over_time", &[M], V),
    function("floor", &[V], V),
    function("histogram_avg", &[V], V),
    function("histogram_count", &[V], V),
    function("histogram_fraction", &[S, S, V], V),
    function("histogram_quantile", &[S, V], V),
    variadic("histogram_quantiles", &[V, T, S], 3, 12, V),
    function("histogram_stddev", &[V], V),
    function("histogram_stdvar", &[V], V),
    function("histogram_sum", &[V], V),
    variadic("hour", &[V], 0, 1, V),
    function("idelta", &[M], V),
    function("increase", &[M], V),
    variadic("info", &[V, V], 1, 2, V),
    function("irate", &[M], V),
    variadic("label_join", &[V, T, T, T], 3, usize::MAX, V),
    function("label_replace", &[V, T, T, T, T], V),
    function("last_over_time", &[M], V),
    function("ln", &[V], V),
    function("log10", &[V], V),
    function("log2", &[V], V),
    function("mad_over_time", &[M], V),
    function("max_of", &[S, S], S),
    function("max_over_time", &[M], V),
    function("min_of", &[S, S], S),
    function("min_over_time", &[M], V),
    variadic("minute", &[V], 0, 1, V),
    variadic("month", &[V], 0, 1, V),
    function("pi", &[], S),
    function("predict_linear", &[M, S], V),
    function("present_over_time", &[M], V),
    function("quantile_over_time", &[S, M], V),
    function("rad", &[V], V),
    function("range", &[], S),
    function("rate", &[M], V),
    function("resets", &[M], V),
    variadic("round", &[V, S], 1, 2, V),
    function("scalar", &[V], S),
    function("sgn", &[V], V),
    function("sin", &[V], V),
    function("sinh", &[V], V),
    function("sort", &[V], V),
    variadic("sort_by_label", &[V, T], 1, usize::MAX, V),
    variadic("sort_by_label_desc", &[V, T], 1, usize::MAX, V),
    function("sort_desc", &[V], V),
    function("sqrt", &[V], V),
    function("start", &[], S),
    function("stddev_over_time", &[M], V),
    function("stdvar_over_time", &[M], V),
    function("step", &[], S),
    function("sum_over_time", &[M], V),
    function("tan", &[V], V),
    function("tanh", &[V], V),
    function("time", &[], S),
    function("timestamp", &[V], V),
    function("ts_of_first_over_time", &[M], V),
    function("ts_of_last_over_time", &[M], V),
    function("ts_of_max_over_time", &[M], V),
    function("ts_of_min_over_time", &[M], V),
    function("vector", &[S], V),
    variadic("year", &[V], 0, 1, V),
];

/// Returns the known name nearest to `name`, if one is near enough to have been meant.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let lower = name.to_ascii_lowercase();
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    known
        .map(|candidate| (distance(&lower, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= allowed)
        .map(|(_, candidate)| candidate)
}

/// The number of letters to insert, delete, replace or swap with a neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_name() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(Function::named("rate").map(|f| f.params), Some(&[M][..]));
        assert_eq!(Function::named("Rate"), None);
        assert_eq!(Function::named("label_join").and_then(|f| f.param(9)), Some(T));
    }

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let names = || FUNCTIONS.iter().map(|f| f.name);
        let cases = [
            ("raet", Some("rate")),
            ("histogram_quantil", Some("histogram_quantile")),
            ("Increase", Some("increase")),
            ("sum_overtime", Some("sum_over_time")),
            ("holt_winters", None),
            ("frobnicate", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name, names()), expected, "{name}");
        }
    }
}
