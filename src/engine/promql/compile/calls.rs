//! Function calls to plan nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::ast::{Call, Expr, ExprKind, VectorSelector};
use super::super::catalog::ValueType;
use super::super::check::type_of;
use super::super::functions::{DatePart, RangeFunction, value_function};
use super::super::plan::{LabelJoin, LabelReplace, Scalar, Vector, VectorKind, Window};
use super::Compiler;
use crate::engine::model::{Labels, METRIC_NAME, describes_metric};
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

    /// Calls nest: each kind of them is in a function of its own, so that none lies on the stack with the others' values.
    pub(super) fn vector_call(&mut self, expr: &Expr, call: &Call) -> Option<VectorKind> {
        let name = call.function.name;
        if let Some(function) = value_function(name) {
            let [operand] = call.args.as_slice() else { return self.mistyped(expr, ValueType::Vector) };
            return self.boxed(operand).map(|operand| VectorKind::Map(function, operand));
        }
        if let Some(function) = RangeFunction::named(name) {
            return self.rolling(expr, call, function);
        }
        match DatePart::named(name) {
            Some(part) => self.date(part, call.args.first()),
            None => self.special_call(expr, call),
        }
    }

    fn boxed(&mut self, operand: &Expr) -> Option<Box<Vector>> {
        self.vector(operand).map(Box::new)
    }

    fn date(&mut self, part: DatePart, operand: Option<&Expr>) -> Option<VectorKind> {
        let operand = match operand {
            Some(operand) => Some(self.boxed(operand)?),
            None => None,
        };
        Some(VectorKind::Date(part, operand))
    }

    fn special_call(&mut self, expr: &Expr, call: &Call) -> Option<VectorKind> {
        match (call.function.name, call.args.as_slice()) {
            ("timestamp", [operand]) => self.timestamp(operand),
            ("vector", [scalar]) => {
                self.scalar(scalar).map(|scalar| VectorKind::FromScalar(Box::new(scalar)))
            }
            ("clamp", [operand, low, high]) => self.clamp(operand, Some(low), Some(high)),
            ("clamp_min", [operand, low]) => self.clamp(operand, Some(low), None),
            ("clamp_max", [operand, high]) => self.clamp(operand, None, Some(high)),
            ("round", [operand, rest @ ..]) => self.round(operand, rest.first()),
            ("absent", [operand]) => {
                let labels = absent_labels(operand);
                self.boxed(operand).map(|operand| VectorKind::Absent { operand, labels })
            }
            ("absent_over_time", [window]) => self.absent_over_time(window),
            ("sort", [operand]) => self.sorted(operand, false),
            ("sort_desc", [operand]) => self.sorted(operand, true),
            ("sort_by_label", [operand, labels @ ..]) => self.sorted_by_label(operand, labels, false),
            ("sort_by_label_desc", [operand, labels @ ..]) => self.sorted_by_label(operand, labels, true),
            ("label_replace", [operand, destination, replacement, source, pattern]) => {
                let operand = self.boxed(operand).map(|operand| (operand, &call.args[0]));
                self.label_replace(operand, [destination, replacement, source, pattern])
            }
            ("label_join", [operand, destination, separator, sources @ ..]) => {
                let operand = self.boxed(operand).map(|operand| (operand, &call.args[0]));
                self.label_join(operand, destination, separator, sources)
            }
            ("histogram_quantile", [quantile, buckets]) => self.histogram_quantile(quantile, buckets),
            ("histogram_quantiles", [buckets, label, quantiles @ ..]) => {
                self.histogram_quantiles(buckets, label, quantiles)
            }
            ("histogram_fraction", [low, high, buckets]) => self.histogram_fraction(low, high, buckets),
            (name, _) => self.not_evaluated(expr.span, &format!("`{name}`")),
        }
    }

    fn round(&mut self, operand: &Expr, nearest: Option<&Expr>) -> Option<VectorKind> {
        let operand = self.boxed(operand);
        let nearest = nearest.map_or(Some(Scalar::Number(1.0)), |nearest| self.scalar(nearest));
        Some(VectorKind::Round { operand: operand?, nearest: nearest? })
    }

    fn absent_over_time(&mut self, window: &Expr) -> Option<VectorKind> {
        let labels = absent_labels(window);
        let window = self.window_for("absent_over_time", window).map(Box::new);
        Some(VectorKind::AbsentOverTime { window: window?, labels })
    }

    fn sorted(&mut self, operand: &Expr, descending: bool) -> Option<VectorKind> {
        self.boxed(operand).map(|operand| VectorKind::Sorted { operand, descending })
    }

    fn sorted_by_label(&mut self, expr: &Expr, labels: &[Expr], descending: bool) -> Option<VectorKind> {
        let operand = self.boxed(expr);
        let labels = labels.iter().map(|label| self.label_name(label)).collect::<Option<Vec<_>>>()?;
        if let Some(label) = labels.iter().find(|label| describes_metric(label)) {
            self.needs_names(expr, label)?;
        }
        Some(VectorKind::SortedByLabel { operand: operand?, labels, descending })
    }

    fn histogram_quantile(&mut self, quantile: &Expr, buckets: &Expr) -> Option<VectorKind> {
        let (quantile, buckets) = (self.scalar(quantile).map(Box::new), self.boxed(buckets));
        Some(VectorKind::HistogramQuantile(quantile?, buckets?))
    }

    fn histogram_quantiles(
        &mut self,
        buckets: &Expr,
        label: &Expr,
        quantiles: &[Expr],
    ) -> Option<VectorKind> {
        let (operand, label) = (self.boxed(buckets), self.label_name(label));
        let quantiles = quantiles.iter().map(|q| self.scalar(q)).collect::<Option<Vec<_>>>();
        Some(VectorKind::HistogramQuantiles { operand: operand?, label: label?, quantiles: quantiles? })
    }

    fn histogram_fraction(&mut self, low: &Expr, high: &Expr, buckets: &Expr) -> Option<VectorKind> {
        let (low, high) = (self.scalar(low).map(Box::new), self.scalar(high).map(Box::new));
        let buckets = self.boxed(buckets);
        Some(VectorKind::HistogramFraction(low?, high?, buckets?))
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

    /// The operand is compiled already: with all that is here on the stack, calls could not nest as deep as they may.
    fn label_replace(
        &mut self,
        operand: Option<(Box<Vector>, &Expr)>,
        texts: [&Expr; 4],
    ) -> Option<VectorKind> {
        let [destination, replacement, source, pattern] = texts;
        let destination = self.label_name(destination);
        let replacement = self.text(replacement);
        let source = self.text(source);
        if let Some(label) = source.as_deref().filter(|source| describes_metric(source)) {
            self.needs_names(operand.as_ref()?.1, label)?;
        }
        let text = self.text(pattern)?;
        let pattern = match Pattern::new(&text) {
            Ok(pattern) => pattern,
            Err(error) => return self.refuse(pattern.span, error.to_string()),
        };
        Some(VectorKind::LabelReplace(Box::new(LabelReplace {
            operand: *operand?.0,
            destination: destination?,
            replacement: replacement?.into(),
            source: source?.into(),
            pattern,
        })))
    }

    fn label_join(
        &mut self,
        operand: Option<(Box<Vector>, &Expr)>,
        destination: &Expr,
        separator: &Expr,
        sources: &[Expr],
    ) -> Option<VectorKind> {
        let destination = self.label_name(destination);
        let separator = self.text(separator);
        let sources: Option<Vec<_>> = sources.iter().map(|source| self.label_name(source)).collect();
        if let Some(label) = sources.iter().flatten().find(|source| describes_metric(source)) {
            self.needs_names(operand.as_ref()?.1, label)?;
        }
        Some(VectorKind::LabelJoin(Box::new(LabelJoin {
            operand: *operand?.0,
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
