//! Sums, means and variances that do not lose what is small beside what is large.
//!
//! The arithmetic is Prometheus' to the last bit that matters: Kahan's compensated summation with Neumaier's
//! improvement (`util/kahansum`), means that fall back to incremental calculation where a sum would overflow.

/// A compensated sum.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    sum: f64,
    compensation: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.compensation += (self.sum - total) + value;
        } else {
            self.compensation += (value - total) + self.sum;
        }
        self.sum = total;
    }

    pub(super) fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.compensation }
    }

    /// The sum with its compensation, infinite or not.
    pub(super) fn compensated(self) -> f64 {
        self.sum + self.compensation
    }
}

impl FromIterator<f64> for Sum {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sum = Self::default();
        values.into_iter().for_each(|value| sum.add(value));
        sum
    }
}

/// Returns the mean; NaN for no values.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    let mut count = 0.0;
    let mut incremental = None::<Sum>;
    for value in values {
        count += 1.0;
        let mut mean = match incremental {
            Some(mean) => mean,
            None => {
                let mut next = sum;
                next.add(value);
                if count == 1.0 || !next.sum.is_infinite() {
                    sum = next;
                    continue;
                }
                // The sum overflows: the mean of what came before, updated value by value from here on.
                Sum { sum: sum.sum / (count - 1.0), compensation: sum.compensation / (count - 1.0) }
            }
        };
        let weight = (count - 1.0) / count;
        mean = Sum { sum: mean.sum * weight, compensation: mean.compensation * weight };
        mean.add(value / count);
        incremental = Some(mean);
    }
    match incremental {
        Some(mean) => mean.compensated(),
        None => sum.sum / count + sum.compensation / count,
    }
}

/// Returns the population variance (Welford's method, compensated).
pub(super) fn variance(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut count = 0.0;
    let (mut mean, mut squares) = (Sum::default(), Sum::default());
    for value in values {
        count += 1.0;
        let delta = value - mean.compensated();
        mean.add(delta / count);
        squares.add(delta * (value - mean.compensated()));
    }
    squares.compensated() / count
}

/// Returns the `q`-quantile by linear interpolation; NaN values count as the smallest.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(b),
        (a, b) => b.cmp(&a),
    });
    let last = values.len() - 1;
    #[expect(clippy::cast_precision_loss, reason = "no vector has 2^53 elements")]
    let rank = q * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= rank <= last")]
    let lower = (rank.floor() as usize).min(last);
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_survive_large_ones() {
        let cases = [
            (vec![1.0, 1e100, 1.0, -1e100], 2.0, 0.5),
            (vec![], 0.0, f64::NAN),
            (vec![f64::INFINITY, 0.0, f64::INFINITY], f64::INFINITY, f64::INFINITY),
            (vec![f64::MAX, f64::MAX], f64::INFINITY, f64::MAX),
            (vec![f64::INFINITY, f64::NEG_INFINITY], f64::NAN, f64::NAN),
        ];
        for (values, sum, average) in cases {
            let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            let added = values.iter().copied().collect::<Sum>().value();
            assert!(same(added, sum), "{values:?}: {added}");
            let found = mean(values.iter().copied());
            assert!(same(found, average), "{values:?}: {found}");
        }
    }

    #[test]
    fn quantiles_interpolate_and_take_nan_for_the_smallest() {
        let cases = [
            (0.5, vec![2.0, 1.0], 1.5),
            (0.8, vec![0.0, 1.0, f64::NAN], 0.6),
            (-0.1, vec![1.0], f64::NEG_INFINITY),
            (1.1, vec![1.0], f64::INFINITY),
            (1.0, vec![3.0, 4.0], 4.0),
        ];
        for (q, values, expected) in cases {
            let found = quantile(q, values.clone());
            assert!(found == expected || (found - expected).abs() < 1e-12, "{q} of {values:?}: {found}");
        }
        assert!(quantile(f64::NAN, vec![1.0]).is_nan() && quantile(0.5, vec![]).is_nan());
    }

    #[test]
    fn equal_values_have_no_variance() {
        assert_eq!(variance([1.599_050_563_727_786_8; 3]), 0.0);
        assert_eq!(variance([2.0, 4.0]), 1.0);
    }
}
