//! The functions that are evaluated. Everything else in the catalog is refused when a plan is compiled.

mod dates;
mod labels;
mod order;
mod range;
mod regression;
mod special;

use super::evaluate::VectorSample;

pub(super) use dates::DatePart;
pub(super) use range::RangeFunction;

/// Returns the function of a value alone that goes by this name.
pub(super) fn value_function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        "sgn" => |value| match value.partial_cmp(&0.0) {
            Some(std::cmp::Ordering::Less) => -1.0,
            Some(std::cmp::Ordering::Greater) => 1.0,
            _ => value,
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// Applies a function to every value, and drops the names.
pub(super) fn mapped(vector: Vec<VectorSample>, function: impl Fn(f64) -> f64) -> Vec<VectorSample> {
    let element = |sample: VectorSample| VectorSample {
        labels: sample.labels.without_name(),
        value: function(sample.value),
    };
    vector.into_iter().map(element).collect()
}

/// Returns the lesser value; NaN if one is NaN, unless the other is -Inf, as Go's `math.Min` has it.
pub(super) fn lesser(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

/// Returns the greater value; NaN if one is NaN, unless the other is +Inf, as Go's `math.Max` has it.
pub(super) fn greater(a: f64, b: f64) -> f64 {
    -lesser(-a, -b)
}
