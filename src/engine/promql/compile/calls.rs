//! Function calls to plan nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::ast::{Call, Expr, ExprKind, VectorSelector};
use super::super::catalog::ValueType;
use super::super::check::type_of;
use super::super::functions::{DatePart, RangeFunction, value_function};
use super::super::plan::{LabelJoin, LabelReplace, Scalar, VectorKind, Window};
use super::Compiler;
use crate::engine::model::{Labels, METRIC_NAME};
use crate::engine::series::{MatchOp, Pattern};

impl Compiler<'_> {
    pub(super) fn scalar_call(&mut self, expr: &Expr, call: &Call) -> Option<Scalar> {
        let scalar = match (call.function.name, call.args.as_slice()) {
            ("time", []) => Scalar::Time,
            ("pi", []) => Scalar::Number(std::f64::consts::PI),
            ("start", []) => Scalar::QueryStart,
            ("end", []) => Scalar::QueryEnd,
            ("step", []) => Scalar::QueryStep,
            ("range", []) => Scalar::QueryRange,
            ("scalar", [vector]) => Scalar::Only(Box::new(self.vector(vector)?)),
            ("min_of", [a, b]) => {
                let (a, b) = (self.scalar(a), self.scalar(b));
                Scalar::Lesser(Box::new(a?), Box::new(b?))
            }
            ("max_of", [a, b]) => {
                let (a, b) = (self.scalar(a), self.scalar(b));
                Scalar::Greater(Box::new(a?), Box::new(b?))
            }
            _ => return self.mistyped(expr, ValueType::Scalar),
        };
        Some(scalar)
    }

    pub(super) fn vector_call(&mut self, expr: &Expr, call: &Call) -> Option<VectorKind> {
        let name = call.function.name;
        if let Some(function) = value_function(name) {
            let [operand] = call.args.as_slice() else { return self.mistyped(expr, ValueType::Vector) };
            return Some(VectorKind::Map(function, Box::new(self.vector(operand)?)));
        }
        if let Some(function) = RangeFunction::named(name) {
            return self.rolling(expr, call, function);
        }
        if let Some(part) = DatePart::named(name) {
            let operand = match call.args.first() {
                Some(operand) => Some(Box::new(self.vector(operand)?)),
                None => None,
            };
            return Some(VectorKind::Date(part, operand));
        }
        match (name, call.args.as_slice()) {
            ("timestamp", [operand]) => self.timestamp(operand),
            ("vector", [scalar]) => Some(VectorKind::FromScalar(Box::new(self.scalar(scalar)?))),
            ("clamp", [operand, low, high]) => self.clamp(operand, Some(low), Some(high)),
            ("clamp_min", [operand, low]) => self.clamp(operand, Some(low), None),
            ("clamp_max", [operand, high]) => self.clamp(operand, None, Some(high)),
            ("round", [operand, rest @ ..]) => {
                let operand = self.vector(operand);
                let nearest = rest.first().map_or(Some(Scalar::Number(1.0)), |nearest| self.scalar(nearest));
                Some(VectorKind::Round { operand: Box::new(operand?), nearest: nearest? })
            }
            ("absent", [operand]) => {
                let labels = absent_labels(operand);
                Some(VectorKind::Absent { operand: Box::new(self.vector(operand)?), labels })
            }
            ("absent_over_time", [window]) => {
                let labels = absent_labels(window);
                let window = self.window_for(name, window)?;
                Some(VectorKind::AbsentOverTime { window: Box::new(window), labels })
            }
            ("sort" | "sort_desc", [operand]) => {
                let operand = Box::new(self.vector(operand)?);
                Some(VectorKind::Sorted { operand, descending: name == "sort_desc" })
            }
            ("sort_by_label" | "sort_by_label_desc", [operand, labels @ ..]) => {
                let operand = self.vector(operand);
                let labels = labels.iter().map(|label| self.label_name(label)).collect::<Option<Vec<_>>>();
                let descending = name == "sort_by_label_desc";
                Some(VectorKind::SortedByLabel { operand: Box::new(operand?), labels: labels?, descending })
            }
            ("label_replace", [operand, destination, replacement, source, pattern]) => {
                self.label_replace(operand, [destination, replacement, source, pattern])
            }
            ("label_join", [operand, destination, separator, sources @ ..]) => {
                self.label_join(operand, destination, separator, sources)
            }
            ("histogram_quantile", [quantile, buckets]) => {
                let (quantile, buckets) = (self.scalar(quantile), self.vector(buckets));
                Some(VectorKind::HistogramQuantile(Box::new(quantile?), Box::new(buckets?)))
            }
            ("histogram_quantiles", [buckets, label, quantiles @ ..]) => {
                let (operand, label) = (self.vector(buckets), self.label_name(label));
                let quantiles = quantiles.iter().map(|q| self.scalar(q)).collect::<Option<Vec<_>>>();
                let (operand, label, quantiles) = (Box::new(operand?), label?, quantiles?);
                Some(VectorKind::HistogramQuantiles { operand, label, quantiles })
            }
            ("histogram_fraction", [low, high, buckets]) => {
                let (low, high, buckets) = (self.scalar(low), self.scalar(high), self.vector(buckets));
                Some(VectorKind::HistogramFraction(Box::new(low?), Box::new(high?), Box::new(buckets?)))
            }
            _ => self.not_evaluated(expr.span, &format!("`{name}`")),
        }
    }

    fn rolling(&mut self, expr: &Expr, call: &Call, function: &'static RangeFunction) -> Option<VectorKind> {
        let mut window = None;
        let mut params = Vec::new();
        for arg in &call.args {
            if type_of(arg) == ValueType::Matrix {
                window = Some(self.window_for(call.function.name, arg));
            } else {
                params.push(self.scalar(arg));
            }
        }
        let Some(window) = window else { return self.mistyped(expr, ValueType::Vector) };
        let params = params.into_iter().collect::<Option<Vec<_>>>();
        Some(VectorKind::Rolling { function, window: Box::new(window?), params: params? })
    }

    /// A range for a function, with `anchored` or `smoothed` only where that means something.
    fn window_for(&mut self, function: &str, arg: &Expr) -> Option<Window> {
        let window = self.window(arg)?;
        match window.edges {
            Some(edges) if !edges.functions().contains(&function) => {
                let message = format!(
                    "`{}` can only be used with {}, not with `{function}`",
                    edges.text(),
                    edges.functions().join(", ")
                );
                self.refuse(window.span, message)
            }
            _ => Some(window),
        }
    }

    fn timestamp(&mut self, operand: &Expr) -> Option<VectorKind> {
        match &operand.kind {
            ExprKind::Selector(selector) if selector.edges.is_some() => {
                self.not_evaluated(operand.span, "the timestamp of a smoothed value")
            }
            ExprKind::Selector(selector) => {
                Some(VectorKind::SampleTime(self.select(operand.span, selector)?))
            }
            _ => Some(VectorKind::EvaluationTime(Box::new(self.vector(operand)?))),
        }
    }

    fn clamp(&mut self, operand: &Expr, low: Option<&Expr>, high: Option<&Expr>) -> Option<VectorKind> {
        let operand = self.vector(operand);
        let low = low.map(|low| self.scalar(low));
        let high = high.map(|high| self.scalar(high));
        let bound = |scalar: Option<Option<Scalar>>| match scalar {
            Some(compiled) => compiled.map(Some),
            None => Some(None),
        };
        Some(VectorKind::Clamp { operand: Box::new(operand?), low: bound(low)?, high: bound(high)? })
    }

    /// A text argument that names a label. Prometheus takes any that is not empty, since names are UTF-8.
    pub(super) fn label_name(&mut self, expr: &Expr) -> Option<Arc<str>> {
        let text = self.text(expr)?;
        if text.is_empty() {
            return self.refuse(expr.span, "a label name must not be empty");
        }
        Some(text.into())
    }

    fn label_replace(&mut self, operand: &Expr, texts: [&Expr; 4]) -> Option<VectorKind> {
        let [destination, replacement, source, pattern] = texts;
        let compiled = self.vector(operand);
        let destination = self.label_name(destination);
        let replacement = self.text(replacement);
        let source = self.text(source);
        if source.as_deref() == Some(METRIC_NAME) {
            self.needs_names(operand)?;
        }
        let text = self.text(pattern)?;
        let pattern = match Pattern::new(&text) {
            Ok(pattern) => pattern,
            Err(error) => return self.refuse(pattern.span, error.to_string()),
        };
        Some(VectorKind::LabelReplace(Box::new(LabelReplace {
            operand: compiled?,
            destination: destination?,
            replacement: replacement?.into(),
            source: source?.into(),
            pattern,
        })))
    }

    fn label_join(
        &mut self,
        operand: &Expr,
        destination: &Expr,
        separator: &Expr,
        sources: &[Expr],
    ) -> Option<VectorKind> {
        let compiled = self.vector(operand);
        let destination = self.label_name(destination);
        let separator = self.text(separator);
        let sources: Option<Vec<_>> = sources.iter().map(|source| self.label_name(source)).collect();
        if sources.iter().flatten().any(|source| **source == *METRIC_NAME) {
            self.needs_names(operand)?;
        }
        Some(VectorKind::LabelJoin(Box::new(LabelJoin {
            operand: compiled?,
            destination: destination?,
            separator: separator?.into(),
            sources: sources?,
        })))
    }
}

/// The labels that `absent` can tell from what was selected: one `=` matcher per label, and no other on it.
///
/// As in Prometheus (`createLabelsForAbsentFunction`), a later `=` after another kind of matcher counts again.
fn absent_labels(operand: &Expr) -> Labels {
    let ExprKind::Selector(selector) = &operand.kind else { return Labels::empty() };
    let VectorSelector { matchers, .. } = &**selector;
    let mut seen = BTreeSet::new();
    let mut labels = Labels::empty();
    for matcher in matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        let first_equal = matcher.op == MatchOp::Equal && seen.insert(matcher.name.as_str());
        labels = labels.with(&matcher.name, if first_equal { &matcher.value } else { "" });
    }
    labels
}
