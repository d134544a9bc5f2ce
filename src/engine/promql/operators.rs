//! Binary operators: between numbers, a vector and a number, two vectors.

use std::collections::BTreeSet;

use super::ast::BinaryOp;
use super::evaluate::{EvalError, Evaluation, VectorSample, unique};
use super::matching::Groups;
use super::plan::{Cardinality, Join, LabelChoice, SetPlan, WithScalar};
use super::problem::TextSpan;
use crate::engine::model::{Labels, describes_metric};
use crate::engine::time::Timestamp;

/// Applies an operator to two numbers: its value, and for a comparison whether it holds (the value is then the left one).
pub(super) fn apply(op: BinaryOp, left: f64, right: f64) -> (f64, bool) {
    #[expect(clippy::float_cmp, reason = "PromQL compares exactly")]
    match op {
        BinaryOp::Add => (left + right, true),
        BinaryOp::Subtract => (left - right, true),
        BinaryOp::Multiply => (left * right, true),
        BinaryOp::Divide => (left / right, true),
        BinaryOp::Modulo => (left % right, true),
        BinaryOp::Power => (left.powf(right), true),
        BinaryOp::Atan2 => (left.atan2(right), true),
        BinaryOp::Equal => (left, left == right),
        BinaryOp::NotEqual => (left, left != right),
        BinaryOp::Less => (left, left < right),
        BinaryOp::LessOrEqual => (left, left <= right),
        BinaryOp::Greater => (left, left > right),
        BinaryOp::GreaterOrEqual => (left, left >= right),
        // Set operators join vectors, and trim operators do not compile.
        BinaryOp::Or | BinaryOp::And | BinaryOp::Unless | BinaryOp::TrimLower | BinaryOp::TrimUpper => {
            (f64::NAN, false)
        }
    }
}

impl Evaluation<'_> {
    pub(super) fn with_scalar(
        &self,
        with: &WithScalar,
        at: Timestamp,
        span: TextSpan,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let scalar = self.scalar(&with.scalar, at)?;
        let vector = self.vector(&with.vector, at)?;
        let drops_name = with.bool || !with.op.is_comparison();
        let element = |sample: VectorSample| {
            let (left, right) =
                if with.scalar_is_left { (scalar, sample.value) } else { (sample.value, scalar) };
            let (result, holds) = apply(with.op, left, right);
            let value = match (with.op.is_comparison(), with.bool) {
                (false, _) => result,
                (true, true) => f64::from(u8::from(holds)),
                // A filter keeps the element's own value, whichever side it is on.
                (true, false) if holds => sample.value,
                (true, false) => return None,
            };
            let labels = if drops_name { sample.labels.without_name() } else { sample.labels };
            Some(VectorSample { labels, value })
        };
        let result: Vec<_> = vector.into_iter().filter_map(element).collect();
        if drops_name { unique(result, span) } else { Ok(result) }
    }

    pub(super) fn set(&self, set: &SetPlan, at: Timestamp) -> Result<Vec<VectorSample>, EvalError> {
        let mut left = self.vector(&set.left, at)?;
        let mut right = self.vector(&set.right, at)?;
        let (kept, others) = match set.op {
            BinaryOp::And | BinaryOp::Unless => (&mut left, &right),
            _ => (&mut right, &left),
        };
        let mut keys = Groups::by(&set.key);
        for sample in others {
            keys.find_or_add(&sample.labels);
        }
        let wants_match = set.op == BinaryOp::And;
        kept.retain(|sample| keys.find(&sample.labels).is_some() == wants_match);
        if !matches!(set.op, BinaryOp::And | BinaryOp::Unless) {
            left.append(&mut right);
        }
        Ok(left)
    }

    pub(super) fn join(
        &self,
        join: &Join,
        at: Timestamp,
        span: TextSpan,
    ) -> Result<Vec<VectorSample>, EvalError> {
        let left = self.vector(&join.left, at)?;
        let right = self.vector(&join.right, at)?;
        // `group_right` is `group_left` with the sides swapped; only the values keep their order.
        let swapped = matches!(join.cardinality, Cardinality::OneToMany(_));
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let (fill_many, fill_one) =
            if swapped { (join.fill_right, join.fill_left) } else { (join.fill_left, join.fill_right) };
        if (many.is_empty() && fill_many.is_none()) || (one.is_empty() && fill_one.is_none()) {
            return Ok(Vec::new());
        }
        // Groups are numbered from the side of one on: those of the others come behind.
        let mut groups = unique_side(&one, join, swapped, span)?;
        let mut joined = Joined::new(join, span, swapped, many.len());
        for sample in &many {
            match fill_one {
                None => {
                    if let Some(group) = groups.find(&sample.labels) {
                        joined.pair(group, sample, &one[group])?;
                    }
                }
                Some(value) => {
                    let group = groups.find_or_add(&sample.labels);
                    let filled = || VectorSample { labels: join.key.key(&sample.labels), value };
                    match one.get(group) {
                        Some(other) => joined.pair(group, sample, other)?,
                        None => joined.pair(group, sample, &filled())?,
                    }
                }
            }
        }
        if let Some(value) = fill_many {
            for (group, other) in one.iter().enumerate() {
                if joined.has(group) {
                    continue;
                }
                joined.pair(group, &VectorSample { labels: join.key.key(&other.labels), value }, other)?;
            }
        }
        unique(joined.result, span)
    }
}

/// A join under way.
struct Joined<'j> {
    join: &'j Join,
    span: TextSpan,
    swapped: bool,
    /// Which groups have yielded something: told even where the comparison would filter it away, for the answer must not
    /// hang on values.
    matched: Vec<bool>,
    /// What each group has yielded, where several elements of a side may match one of the other.
    yielded: BTreeSet<(usize, Labels)>,
    result: Vec<VectorSample>,
}

impl<'j> Joined<'j> {
    fn new(join: &'j Join, span: TextSpan, swapped: bool, elements: usize) -> Self {
        let (matched, yielded) = (Vec::new(), BTreeSet::new());
        Self { join, span, swapped, matched, yielded, result: Vec::with_capacity(elements) }
    }

    fn has(&self, group: usize) -> bool {
        self.matched.get(group).is_some_and(|matched| *matched)
    }

    /// Computes one pair and keeps what comes of it.
    fn pair(&mut self, group: usize, many: &VectorSample, one: &VectorSample) -> Result<(), EvalError> {
        let join = self.join;
        let (left, right) = if self.swapped { (one.value, many.value) } else { (many.value, one.value) };
        let (value, holds) = apply(join.op, left, right);
        let labels = result_labels(join, &many.labels, &one.labels);
        let one_to_one = matches!(join.cardinality, Cardinality::OneToOne);
        if one_to_one && self.has(group) {
            let message = format!(
                "multiple matches for labels {}: many-to-one matching must be explicit \
                 (group_left/group_right)",
                join.key.key(&many.labels)
            );
            return Err(EvalError::new(self.span, message));
        }
        if !one_to_one && !self.yielded.insert((group, labels.clone())) {
            let message =
                format!("multiple matches for labels {labels}: grouping labels must ensure unique matches");
            return Err(EvalError::new(self.span, message));
        }
        if self.matched.len() <= group {
            self.matched.resize(group + 1, false);
        }
        self.matched[group] = true;
        if join.bool {
            self.result.push(VectorSample { labels, value: f64::from(u8::from(holds)) });
        } else if holds {
            self.result.push(VectorSample { labels, value });
        }
        Ok(())
    }
}

/// Groups the side that must have one series per match: the number of a group is that of its element.
fn unique_side<'j>(
    one: &[VectorSample],
    join: &'j Join,
    swapped: bool,
    span: TextSpan,
) -> Result<Groups<'j>, EvalError> {
    let mut groups = Groups::by(&join.key);
    for (at, sample) in one.iter().enumerate() {
        let group = groups.find_or_add(&sample.labels);
        if group != at {
            let side = if swapped { "left" } else { "right" };
            let message = format!(
                "found duplicate series for the match group {} on the {side} side: {} and {}; \
                 matching labels must be unique on one side",
                join.key.key(&sample.labels),
                one[group].labels,
                sample.labels
            );
            return Err(EvalError::new(span, message));
        }
    }
    Ok(groups)
}

/// The labels of a joined element (`resultMetric` in Prometheus).
fn result_labels(join: &Join, many: &Labels, one: &Labels) -> Labels {
    let drops_name = join.bool || !join.op.is_comparison();
    let stays = |name: &str| !drops_name || !describes_metric(name);
    match (&join.cardinality, &join.key) {
        (Cardinality::OneToOne, LabelChoice::Only(names)) => {
            many.filtered(|name| names.contains(name) && stays(name))
        }
        (Cardinality::OneToOne, LabelChoice::AllBut(names)) => {
            many.filtered(|name| !names.contains(name) && stays(name))
        }
        (Cardinality::ManyToOne(include) | Cardinality::OneToMany(include), _) => {
            let labels = if drops_name { many.without_name() } else { many.clone() };
            include.iter().fold(labels, |labels, name| labels.with(name, one.get(name).unwrap_or("")))
        }
    }
}
