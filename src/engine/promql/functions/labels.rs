//! `label_replace` and `label_join`, which make labels out of labels.

use super::super::evaluate::{EvalError, VectorSample};
use super::super::plan::{LabelJoin, LabelReplace};
use super::super::problem::TextSpan;

/// The longest value that is made, in bytes: calls inside of calls could double it over and over.
const MAX_VALUE: usize = 64 * 1024;

/// How much text is worked on at most to make one value.
const MAX_WORKED_ON: usize = 1024 * 1024;

fn too_long(span: TextSpan, destination: &str) -> EvalError {
    EvalError::new(
        span,
        format!("the value of the label `{destination}` becomes longer than {MAX_VALUE} bytes"),
    )
}

pub(super) fn label_replace(
    replace: &LabelReplace,
    vector: Vec<VectorSample>,
    span: TextSpan,
) -> Result<Vec<VectorSample>, EvalError> {
    let destination = &replace.destination;
    let references = replace.replacement.matches('$').count();
    let element = |mut sample: VectorSample| {
        let source = sample.labels.get(&replace.source).unwrap_or("");
        let at_most = replace.replacement.len().saturating_add(references.saturating_mul(source.len()));
        if at_most > MAX_WORKED_ON {
            return Err(too_long(span, destination));
        }
        if let Some(value) = replace.pattern.expand(source, &replace.replacement) {
            if value.len() > MAX_VALUE {
                return Err(too_long(span, destination));
            }
            sample.labels = sample.labels.with(destination, &value);
        }
        Ok(sample)
    };
    vector.into_iter().map(element).collect()
}

pub(super) fn label_join(
    join: &LabelJoin,
    vector: Vec<VectorSample>,
    span: TextSpan,
) -> Result<Vec<VectorSample>, EvalError> {
    let separators = join.separator.len().saturating_mul(join.sources.len().saturating_sub(1));
    let element = |mut sample: VectorSample| {
        let values: Vec<_> = join.sources.iter().map(|name| sample.labels.get(name).unwrap_or("")).collect();
        let length = values.iter().fold(separators, |sum, value| sum.saturating_add(value.len()));
        if length > MAX_VALUE {
            return Err(too_long(span, &join.destination));
        }
        sample.labels = sample.labels.with(&join.destination, &values.join(&join.separator));
        Ok(sample)
    };
    vector.into_iter().map(element).collect()
}
