//! What values an expression can have at all: an interval, with the reason for each end.
//!
//! The interval always contains every value (NaN aside), so "no value of it meets the comparison" is a proof. Where
//! nothing is known it is everything.

use super::facts::Kind;
use super::histograms::{self, Buckets};
use super::{LintContext, Role, compiled, metric_name, number, ratios};
use crate::engine::promql::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, ExprKind, UnaryOp, VectorSelector,
};
use crate::engine::promql::{Expr, constant};

/// The least and the greatest value, each with why.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    pub low: f64,
    pub high: f64,
    /// Completes "it is never below 0: ..."; empty where there is no such end.
    pub low_why: String,
    /// Completes "it is never above 1: ...".
    pub high_why: String,
}

impl Bounds {
    const ANY: Self =
        Self { low: f64::NEG_INFINITY, high: f64::INFINITY, low_why: String::new(), high_why: String::new() };

    fn exactly(value: f64, why: &str) -> Self {
        Self::between(value, value, why)
    }

    fn between(low: f64, high: f64, why: &str) -> Self {
        Self { low, high, low_why: why.to_owned(), high_why: why.to_owned() }
    }

    fn at_least(low: f64, why: &str) -> Self {
        Self { low, low_why: why.to_owned(), ..Self::ANY }
    }

    /// Returns whether there is one value only.
    #[expect(clippy::float_cmp, reason = "an interval of one point has the same number at both ends")]
    pub fn is_point(&self) -> bool {
        self.low == self.high
    }

    fn negated(self) -> Self {
        Self { low: -self.high, high: -self.low, low_why: self.high_why, high_why: self.low_why }
    }

    /// The smallest interval that contains both.
    fn hull(self, other: Self) -> Self {
        let (low, low_why) =
            if self.low <= other.low { (self.low, self.low_why) } else { (other.low, other.low_why) };
        let (high, high_why) =
            if self.high >= other.high { (self.high, self.high_why) } else { (other.high, other.high_why) };
        Self { low, high, low_why, high_why }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            low: self.low + other.low,
            high: self.high + other.high,
            low_why: either(self.low_why, other.low_why),
            high_why: either(self.high_why, other.high_why),
        }
    }

    /// Applies a function that never falls; NaN ends become open ones.
    fn mapped(self, rising: impl Fn(f64) -> f64) -> Self {
        let open = |value: f64, instead: f64| if value.is_nan() { instead } else { value };
        Self {
            low: open(rising(self.low), f64::NEG_INFINITY),
            high: open(rising(self.high), f64::INFINITY),
            ..self
        }
    }

    /// Multiplies by a constant.
    fn times(self, factor: f64) -> Self {
        if factor == 0.0 || !factor.is_finite() {
            return Self::ANY;
        }
        let scaled = self.mapped(|value| value * factor.abs());
        if factor < 0.0 { scaled.negated() } else { scaled }
    }

    /// Cuts away what a comparison with a constant lets through.
    fn filtered(self, op: BinaryOp, limit: f64) -> Self {
        let why = || format!("only values {} {} pass", op.text(), number(limit));
        match op {
            BinaryOp::Greater | BinaryOp::GreaterOrEqual if limit > self.low => {
                Self { low: limit, low_why: why(), ..self }
            }
            BinaryOp::Less | BinaryOp::LessOrEqual if limit < self.high => {
                Self { high: limit, high_why: why(), ..self }
            }
            BinaryOp::Equal => Self::exactly(limit, &why()),
            _ => self,
        }
    }

    fn is_never_negative(&self) -> bool {
        self.low >= 0.0
    }
}

fn either(one: String, other: String) -> String {
    if one.is_empty() { other } else { one }
}

/// Returns what values an expression can have.
pub(super) fn of(expr: &Expr, context: &LintContext<'_>) -> Bounds {
    match &expr.kind {
        ExprKind::Number(value) => Bounds::exactly(*value, ""),
        ExprKind::Text(_) => Bounds::ANY,
        ExprKind::Selector(selector) => of_selector(selector, context),
        ExprKind::Subquery(subquery) => of(&subquery.expr, context),
        ExprKind::Call(call) => of_call(call, context),
        ExprKind::Aggregate(aggregate) => of_aggregate(aggregate, context),
        ExprKind::Unary(UnaryOp::Plus, operand) | ExprKind::Paren(operand) => of(operand, context),
        ExprKind::Unary(UnaryOp::Minus, operand) => of(operand, context).negated(),
        ExprKind::Binary(binary) => of_binary(binary, context),
    }
}

fn of_selector(selector: &VectorSelector, context: &LintContext<'_>) -> Bounds {
    let Some(name) = metric_name(selector) else { return Bounds::ANY };
    let of_the_source =
        compiled(selector).iter().all(|matcher| matches!(matcher.name(), "job" | "instance" | "__name__"));
    match name {
        "up" if of_the_source && matches!(context.role, Role::Indicator(_)) && is_now(selector) => {
            let why = "a trigger is judged only while its sources answer: one that fails is Unknown, and an \
                       incident of its own";
            Bounds::exactly(1.0, why)
        }
        "up" | "probe_success" => Bounds::between(0.0, 1.0, &format!("`{name}` is 0 or 1")),
        // `pnl_total` may well be a gauge below zero: only what is surely a counter is one here.
        _ if name.ends_with("_bucket") || context.facts.and_then(|f| f.kind(name)) == Some(Kind::Counter) => {
            Bounds::at_least(0.0, "a counter is never negative")
        }
        _ => Bounds::ANY,
    }
}

/// Returns whether a selector reads the newest value and nothing older.
fn is_now(selector: &VectorSelector) -> bool {
    selector.range.is_none() && selector.shift.offset.is_none() && selector.shift.at.is_none()
}

fn of_call(call: &Call, context: &LintContext<'_>) -> Bounds {
    let operand = |index: usize| call.args.get(index).map_or(Bounds::ANY, |arg| of(arg, context));
    let limit = |index: usize| call.args.get(index).and_then(constant);
    let name = call.function.name;
    match name {
        "rate" | "irate" | "increase" => Bounds::at_least(0.0, "a counter's growth is never negative"),
        "resets" | "changes" | "stddev_over_time" | "stdvar_over_time" | "mad_over_time" | "sqrt" | "exp"
        | "histogram_count" | "histogram_stddev" | "histogram_stdvar" => {
            Bounds::at_least(0.0, &format!("`{name}` is never negative"))
        }
        "time" | "timestamp" => Bounds::at_least(0.0, "time is counted from 1970"),
        "count_over_time" => {
            Bounds::at_least(1.0, "where there is no sample, it yields nothing instead of 0")
        }
        "absent" | "absent_over_time" | "present_over_time" => {
            Bounds::exactly(1.0, &format!("`{name}` yields 1 or nothing"))
        }
        "avg_over_time" | "min_over_time" | "max_over_time" | "last_over_time" | "first_over_time" => {
            operand(0)
        }
        "sum_over_time" => sum_of(operand(0)),
        "quantile_over_time" => operand(1),
        "vector" | "scalar" | "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc"
        | "label_replace" | "label_join" => operand(0),
        "abs" => {
            let inner = operand(0);
            if inner.is_never_negative() { inner } else { Bounds::at_least(0.0, "`abs` is never negative") }
        }
        "ceil" => operand(0).mapped(f64::ceil),
        "floor" => operand(0).mapped(f64::floor),
        "round" if call.args.len() == 1 => operand(0).mapped(f64::round),
        "sgn" => Bounds::between(-1.0, 1.0, "`sgn` is -1, 0 or 1"),
        "clamp" => clamped(operand(0), limit(1), limit(2)),
        "clamp_min" => clamped(operand(0), limit(1), None),
        "clamp_max" => clamped(operand(0), None, limit(1)),
        "histogram_fraction" => Bounds::between(0.0, 1.0, "it is a share of all"),
        "histogram_quantile" => of_quantile(call, context),
        _ => calendar(name).map_or(Bounds::ANY, |(low, high)| {
            let why = format!("`{name}` is {low} to {high}");
            Bounds::between(low, high, &why)
        }),
    }
}

fn calendar(function: &str) -> Option<(f64, f64)> {
    Some(match function {
        "minute" => (0.0, 59.0),
        "hour" => (0.0, 23.0),
        "day_of_week" => (0.0, 6.0),
        "day_of_month" => (1.0, 31.0),
        "day_of_year" => (1.0, 366.0),
        "days_in_month" => (28.0, 31.0),
        "month" => (1.0, 12.0),
        _ => return None,
    })
}

fn clamped(inner: Bounds, low: Option<f64>, high: Option<f64>) -> Bounds {
    let mut bounds = inner;
    if let Some(low) = low.filter(|low| *low > bounds.low) {
        bounds = Bounds { low, high: bounds.high.max(low), low_why: "it is clamped".into(), ..bounds };
    }
    if let Some(high) = high.filter(|high| *high < bounds.high) {
        bounds = Bounds { high, low: bounds.low.min(high), high_why: "it is clamped".into(), ..bounds };
    }
    bounds
}

/// A quantile lies between zero and the largest finite bucket: what is in `+Inf` is reported as that bound.
fn of_quantile(call: &Call, context: &LintContext<'_>) -> Bounds {
    let [quantile, operand] = call.args.as_slice() else { return Bounds::ANY };
    if !constant(quantile).is_some_and(|q| (0.0..=1.0).contains(&q)) {
        return Bounds::ANY;
    }
    let Some(Buckets { largest_finite, name, .. }) = histograms::buckets(operand, context) else {
        return Bounds::ANY;
    };
    let why = format!(
        "the largest finite bucket of `{name}` is le=\"{}\", and whatever lies above counts as that",
        number(largest_finite)
    );
    Bounds { high: largest_finite, high_why: why, ..Bounds::ANY }
}

fn of_aggregate(aggregate: &Aggregate, context: &LintContext<'_>) -> Bounds {
    let inner = || of(&aggregate.expr, context);
    match aggregate.op {
        AggregateOp::Sum => sum_of(inner()),
        AggregateOp::Avg
        | AggregateOp::Min
        | AggregateOp::Max
        | AggregateOp::Topk
        | AggregateOp::Bottomk
        | AggregateOp::Limitk
        | AggregateOp::LimitRatio
        | AggregateOp::Quantile => inner(),
        AggregateOp::Count | AggregateOp::CountValues => {
            Bounds::at_least(1.0, "where there is nothing to count, `count` yields nothing instead of 0")
        }
        AggregateOp::Group => Bounds::exactly(1.0, "`group` yields 1 or nothing"),
        AggregateOp::Stddev | AggregateOp::Stdvar => Bounds::at_least(0.0, "it measures a spread"),
    }
}

/// A sum has at least one member.
fn sum_of(inner: Bounds) -> Bounds {
    let grows = Bounds { high: f64::INFINITY, high_why: String::new(), ..inner.clone() };
    if inner.low >= 0.0 {
        grows
    } else if inner.high <= 0.0 {
        Bounds { low: f64::NEG_INFINITY, low_why: String::new(), ..inner }
    } else {
        Bounds::ANY
    }
}

fn of_binary(binary: &Binary, context: &LintContext<'_>) -> Bounds {
    let (left, right) = (of(&binary.left, context), of(&binary.right, context));
    if binary.op.is_comparison() && binary.bool {
        return Bounds::between(0.0, 1.0, "`bool` makes it 0 or 1");
    }
    if !binary.matching.fill.is_empty() {
        return Bounds::ANY;
    }
    match binary.op {
        BinaryOp::Or => left.hull(right),
        BinaryOp::And | BinaryOp::Unless => left,
        op if op.is_comparison() => match (constant(&binary.left), constant(&binary.right)) {
            (None, Some(limit)) => left.filtered(op, limit),
            // `5 < x` keeps the values of `x`.
            (Some(limit), None) => right.filtered(turned(op), limit),
            _ => left,
        },
        BinaryOp::Add => left.plus(right),
        BinaryOp::Subtract => left.plus(right.negated()),
        BinaryOp::Multiply => match (constant(&binary.left), constant(&binary.right)) {
            (_, Some(factor)) => left.times(factor),
            (Some(factor), _) => right.times(factor),
            _ => product(&left, &right),
        },
        BinaryOp::Divide => match constant(&binary.right) {
            Some(divisor) => left.times(1.0 / divisor),
            None => quotient(binary, &left, &right),
        },
        _ => Bounds::ANY,
    }
}

/// A part of a whole is at most one; `100 * part / whole` reads `(100 * part) / whole`.
fn quotient(binary: &Binary, left: &Bounds, right: &Bounds) -> Bounds {
    let (factor, part) = match &binary.left.unparenthesized().kind {
        ExprKind::Binary(inner) if inner.op == BinaryOp::Multiply => {
            match (constant(&inner.left), constant(&inner.right)) {
                (Some(factor), None) => (factor, &inner.right),
                (None, Some(factor)) => (factor, &inner.left),
                _ => (1.0, &binary.left),
            }
        }
        _ => (1.0, &binary.left),
    };
    if ratios::is_part_of_whole(part, &binary.right, &binary.matching) {
        return Bounds::between(0.0, 1.0, "what is counted above is part of what is counted below")
            .times(factor);
    }
    product(left, right)
}

/// The sign of a product or quotient; neither is negative where neither operand is.
fn product(left: &Bounds, right: &Bounds) -> Bounds {
    if left.is_never_negative() && right.is_never_negative() {
        Bounds::at_least(0.0, &either(left.low_why.clone(), right.low_why.clone()))
    } else {
        Bounds::ANY
    }
}

/// Returns the comparison with its sides exchanged.
pub(super) fn turned(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        other => other,
    }
}
