//! What Prometheus 3 takes for the name of a metric or a label.

/// Returns whether `name` may be a metric's name: any text that is not empty.
///
/// Braces are refused besides, as in Prometheus: who writes them meant an expression.
pub fn is_metric_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['{', '}'])
}

/// Returns whether `name` may be a label that a rule sets: any text that is not empty and not the metric's own name.
pub fn is_label_name(name: &str) -> bool {
    !name.is_empty() && name != crate::engine::model::METRIC_NAME
}
