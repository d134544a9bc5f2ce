//! Types and sense: everything that is wrong with an expression although it parses. All of it is found at once.

use super::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Edges, Expr, ExprKind, UnaryOp, VectorSelector,
};
use super::catalog::ValueType;
use super::lengths::duration_ms;
use super::problem::{Problem, TextSpan};
use crate::engine::model::METRIC_NAME;
use crate::engine::series::Matcher;

/// Checks a whole expression; an empty list means that it makes sense.
pub(super) fn check(expr: &Expr) -> Vec<Problem> {
    let mut checker = Checker { problems: Vec::new() };
    checker.type_of(expr);
    checker.problems.sort_by_key(|problem| problem.span);
    checker.problems
}

/// Returns the type of an expression.
pub(super) fn type_of(expr: &Expr) -> ValueType {
    match &expr.kind {
        ExprKind::Number(_) => ValueType::Scalar,
        ExprKind::Text(_) => ValueType::String,
        ExprKind::Selector(selector) if selector.range.is_some() => ValueType::Matrix,
        ExprKind::Selector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
        ExprKind::Subquery(_) => ValueType::Matrix,
        ExprKind::Call(call) => call.function.returns,
        ExprKind::Unary(_, operand) | ExprKind::Paren(operand) => type_of(operand),
        ExprKind::Binary(binary) => match (type_of(&binary.left), type_of(&binary.right)) {
            (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
            _ => ValueType::Vector,
        },
    }
}

/// Returns how to make a value of the expected type out of what was found.
fn conversion(expr: &Expr, expected: ValueType, found: ValueType) -> Option<&'static str> {
    let named = matches!(&expr.kind, ExprKind::Selector(selector) if selector.matchers.is_empty());
    match (expected, found) {
        (ValueType::Matrix, ValueType::Vector) if matches!(expr.kind, ExprKind::Selector(_)) => {
            Some("add a range, such as `[5m]`")
        }
        (ValueType::Matrix, ValueType::Vector) => Some(
            "take the range of the series inside, as in `sum(rate(x[5m]))`, or make a subquery of it: `(...)[5m:]`",
        ),
        (ValueType::Vector, ValueType::Matrix) => {
            Some("take the range with a function first, such as `rate(x[5m])` or `max_over_time(x[5m])`")
        }
        (ValueType::String, ValueType::Vector) if named => Some("a text stands in quotes"),
        (ValueType::Scalar, ValueType::Vector) => Some("`scalar(...)` makes a number of a single series"),
        (ValueType::Vector, ValueType::Scalar) => Some("`vector(...)` makes a vector of a number"),
        _ => None,
    }
}

struct Checker {
    problems: Vec<Problem>,
}

impl Checker {
    fn problem(&mut self, span: TextSpan, message: impl Into<String>) {
        self.problems.push(Problem::new(span, message));
    }

    fn expect(&mut self, expr: &Expr, expected: ValueType, place: &str) {
        let found = self.type_of(expr);
        if found != expected {
            let mut problem =
                Problem::new(expr.span, format!("expected type {expected} in {place}, got {found}"));
            if let Some(hint) = conversion(expr, expected, found) {
                problem = problem.with_hint(hint);
            }
            self.problems.push(problem);
        }
    }

    fn type_of(&mut self, expr: &Expr) -> ValueType {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::Text(_) => {}
            ExprKind::Selector(selector) => self.selector(expr.span, selector),
            ExprKind::Subquery(subquery) => {
                self.expect(&subquery.expr, ValueType::Vector, "a subquery");
                self.positive_duration(&subquery.range);
                subquery.step.iter().for_each(|step| self.positive_duration(step));
                subquery.shift.offset.iter().for_each(|offset| self.offset_duration(offset));
            }
            ExprKind::Call(call) => self.call(expr.span, call),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Unary(op, operand) => {
                let found = self.type_of(operand);
                if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                    let sign = if *op == UnaryOp::Minus { "-" } else { "+" };
                    let message =
                        format!("`{sign}` is only allowed before a scalar or an instant vector, got {found}");
                    self.problem(operand.span, message);
                }
            }
            ExprKind::Binary(binary) => self.binary(binary),
            ExprKind::Paren(inner) => {
                self.type_of(inner);
            }
        }
        type_of(expr)
    }

    fn selector(&mut self, span: TextSpan, selector: &VectorSelector) {
        let mut selects_something = selector.name.as_ref().is_some_and(|name| !name.is_empty());
        for matcher in &selector.matchers {
            if matcher.name == METRIC_NAME && selector.name.is_some() {
                self.problem(matcher.span, "the metric name must not be set twice");
            }
            match Matcher::new(&matcher.name, matcher.op, &matcher.value) {
                Ok(compiled) => selects_something |= !compiled.matches(""),
                Err(error) => {
                    selects_something = true;
                    let hint = matcher
                        .value
                        .starts_with('*')
                        .then(|| "a pattern is a regular expression: `.*` matches anything".to_owned());
                    self.problems.push(Problem::new(matcher.span, error.to_string()).maybe_hint(hint));
                }
            }
        }
        if !selects_something {
            let message = "a selector must have a name or a matcher that does not match the empty string";
            self.problems.push(Problem::new(span, message).with_hint("add one, such as `job=~\".+\"`"));
        }
        if selector.edges == Some(Edges::Anchored) && selector.range.is_none() {
            self.problem(span, "`anchored` is about a range: add one, such as `[5m]`");
        }
        selector.range.iter().for_each(|range| self.positive_duration(range));
        selector.shift.offset.iter().for_each(|offset| self.offset_duration(offset));
    }

    fn call(&mut self, span: TextSpan, call: &Call) {
        let function = call.function;
        let given = call.args.len();
        if given < function.at_least || given > function.at_most {
            let expected = match (function.at_least, function.at_most) {
                (low, high) if low == high => format!("{low}"),
                (low, usize::MAX) => format!("at least {low}"),
                (low, high) => format!("{low} to {high}"),
            };
            let message = format!("`{}` takes {expected} argument(s), {given} given", function.name);
            self.problems.push(Problem::new(span, message).with_hint(function.usage()));
        }
        if let [first, second] = call.args.as_slice()
            && self.swapped(span, function.name, [first, second], function.params, &function.usage())
        {
            return;
        }
        let place = format!("call to function `{}`", function.name);
        for (index, arg) in call.args.iter().enumerate() {
            match function.param(index) {
                Some(expected) => self.expect(arg, expected, &place),
                None => drop(self.type_of(arg)),
            }
        }
    }

    /// Reports two arguments that each are of the other's type, as one mistake.
    fn swapped(
        &mut self,
        span: TextSpan,
        name: &str,
        [first, second]: [&Expr; 2],
        params: &[ValueType],
        usage: &str,
    ) -> bool {
        let swapped = match params {
            [a, b] => a != b && (type_of(first), type_of(second)) == (*b, *a),
            _ => false,
        };
        if swapped {
            self.type_of(first);
            self.type_of(second);
            let message = format!("the two arguments of `{name}` have changed places");
            self.problems.push(Problem::new(span, message).with_hint(usage));
        }
        swapped
    }

    fn aggregate(&mut self, aggregate: &Aggregate) {
        let param_type = match aggregate.op {
            AggregateOp::CountValues => ValueType::String,
            _ => ValueType::Scalar,
        };
        let (params, usage) = ([param_type, ValueType::Vector], aggregate.op.usage());
        if let Some(param) = &aggregate.param
            && self.swapped(
                param.span.to(aggregate.expr.span),
                aggregate.op.name(),
                [param, &aggregate.expr],
                &params,
                &usage,
            )
        {
            return;
        }
        let place = format!("aggregation `{}`", aggregate.op.name());
        self.expect(&aggregate.expr, ValueType::Vector, &place);
        if let Some(param) = &aggregate.param {
            self.expect(param, param_type, &format!("the parameter of {place}"));
        }
    }

    fn binary(&mut self, binary: &Binary) {
        let (left, right) = (self.type_of(&binary.left), self.type_of(&binary.right));
        let op = binary.op.text();
        for (side, found) in [(&binary.left, left), (&binary.right, right)] {
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                let message = format!("`{op}` joins scalars and instant vectors, got {found}");
                let hint = conversion(side, ValueType::Vector, found).map(str::to_owned);
                self.problems.push(Problem::new(side.span, message).maybe_hint(hint));
            }
        }
        let scalars = (left == ValueType::Scalar, right == ValueType::Scalar);
        if binary.op.is_comparison() && scalars == (true, true) && !binary.bool {
            self.problems.push(
                Problem::new(binary.op_span, "a comparison between two scalars must use `bool`")
                    .with_hint(format!("write `{op} bool`")),
            );
        }
        if binary.op.is_set() && (scalars.0 || scalars.1) {
            let message = format!("`{op}` joins instant vectors, not scalars");
            let hint = "compare first (`x > 5`), or make a vector of the number: `vector(5)`";
            self.problems.push(Problem::new(binary.op_span, message).with_hint(hint));
        }
        let matching = &binary.matching;
        if binary.op.is_set() && !matching.fill.is_empty() {
            self.problem(binary.op_span, format!("`{op}` cannot fill in: it does not compute with values"));
        }
        if (matching.labels.is_some() || !matching.fill.is_empty()) && (scalars.0 || scalars.1) {
            self.problem(binary.op_span, "matching is only allowed between two instant vectors");
        }
        if let (Some(labels), Some(group)) = (&matching.labels, &matching.group)
            && labels.on
        {
            for label in group.include.iter().filter(|label| labels.labels.contains(label)) {
                let message = format!("label `{label}` must not be both in `on` and in the group");
                self.problem(binary.op_span, message);
            }
        }
    }

    /// Checks that an expression is a duration: numbers, signs, arithmetic, `step()`, `range()`, `min_of`, `max_of`.
    fn duration(&mut self, expr: &Expr) {
        let fine = match &expr.kind {
            ExprKind::Number(number) => number.is_finite(),
            ExprKind::Paren(_) | ExprKind::Unary(..) => true,
            ExprKind::Binary(binary) => {
                matches!(
                    binary.op,
                    BinaryOp::Add
                        | BinaryOp::Subtract
                        | BinaryOp::Multiply
                        | BinaryOp::Divide
                        | BinaryOp::Modulo
                        | BinaryOp::Power
                ) && binary.matching == super::ast::Matching::default()
            }
            ExprKind::Call(call) => {
                let right = call.args.len() == call.function.params.len();
                right && matches!(call.function.name, "step" | "range" | "min_of" | "max_of")
            }
            _ => false,
        };
        if !fine {
            self.problem(expr.span, "expected a duration, such as `5m` or `1h30m`");
            return;
        }
        let mut children = Vec::new();
        expr.for_each_child(&mut |child| children.push(child));
        children.into_iter().for_each(|child| self.duration(child));
    }

    /// Checks that a duration is one, and that it is within bounds where it is known.
    fn offset_duration(&mut self, expr: &Expr) {
        let before = self.problems.len();
        self.duration(expr);
        if self.problems.len() == before
            && constant(expr).is_some_and(|seconds| duration_ms(seconds).is_none())
        {
            self.problem(expr.span, "the duration is out of range");
        }
    }

    fn positive_duration(&mut self, expr: &Expr) {
        let before = self.problems.len();
        self.offset_duration(expr);
        let known = constant(expr).and_then(duration_ms);
        if self.problems.len() == before && known.is_some_and(|ms| ms <= 0) {
            self.problem(expr.span, "the duration must be greater than 0");
        }
    }
}

/// Returns the value of a duration or scalar expression that depends on nothing.
pub(super) fn constant(expr: &Expr) -> Option<f64> {
    folded(expr, None)
}

/// Returns the value of a duration in an instant query, where `step()` and `range()` are 0.
pub(super) fn at_an_instant(expr: &Expr) -> Option<f64> {
    folded(expr, Some(0.0))
}

/// Folds a duration; `of_query` is what `step()` and `range()` are taken for.
fn folded(expr: &Expr, of_query: Option<f64>) -> Option<f64> {
    let constant = |expr| folded(expr, of_query);
    match &expr.kind {
        ExprKind::Number(number) => Some(*number),
        ExprKind::Paren(inner) => constant(inner),
        ExprKind::Unary(UnaryOp::Plus, operand) => constant(operand),
        ExprKind::Unary(UnaryOp::Minus, operand) => constant(operand).map(|value| -value),
        ExprKind::Binary(binary) => {
            let (left, right) = (constant(&binary.left)?, constant(&binary.right)?);
            match binary.op {
                BinaryOp::Add => Some(left + right),
                BinaryOp::Subtract => Some(left - right),
                BinaryOp::Multiply => Some(left * right),
                BinaryOp::Divide => Some(left / right),
                BinaryOp::Modulo => Some(left % right),
                BinaryOp::Power => Some(left.powf(right)),
                _ => None,
            }
        }
        ExprKind::Call(call) => match (call.function.name, call.args.as_slice()) {
            ("min_of", [a, b]) => Some(constant(a)?.min(constant(b)?)),
            ("max_of", [a, b]) => Some(constant(a)?.max(constant(b)?)),
            ("step" | "range", []) => of_query,
            _ => None,
        },
        _ => None,
    }
}
