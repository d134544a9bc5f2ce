//! Quantiles and fractions of classic histograms: cumulative buckets with an upper bound each.

use std::collections::BTreeMap;

use super::evaluate::VectorSample;
use super::literals::parse_float;
use crate::engine::model::Labels;

/// The label that holds a bucket's upper bound.
const BOUND: &str = "le";

/// The relative difference that is taken for rounding and repaired silently (`smallDeltaTolerance` in Prometheus).
const SMALL_DELTA: f64 = 1e-12;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// Computes one number per histogram of `vector`; elements whose `le` is missing or no number are left out.
///
/// Histograms are told apart by all labels but `le`, name included, so that two metrics never mix.
pub(super) fn per_histogram(vector: &[VectorSample], compute: impl Fn(Buckets) -> f64) -> Vec<VectorSample> {
    let mut histograms: BTreeMap<Labels, Vec<Bucket>> = BTreeMap::new();
    for sample in vector {
        let Some(upper) = sample.labels.get(BOUND).and_then(parse_float).filter(|upper| !upper.is_nan())
        else {
            continue;
        };
        let bucket = Bucket { upper, count: sample.value };
        histograms.entry(sample.labels.filtered(|name| name != BOUND)).or_default().push(bucket);
    }
    let element = |(labels, buckets): (Labels, Vec<Bucket>)| VectorSample {
        labels: labels.without_name(),
        value: compute(Buckets::new(buckets)),
    };
    histograms.into_iter().map(element).collect()
}

/// The buckets of one histogram, at least one, by ascending bound, one per bound.
pub(super) struct Buckets(Vec<Bucket>);

impl Buckets {
    fn new(mut buckets: Vec<Bucket>) -> Self {
        buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
        let mut merged: Vec<Bucket> = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            match merged.last_mut() {
                #[expect(clippy::float_cmp, reason = "`1`, `1.0` and `1e0` are the same bound")]
                Some(last) if last.upper == bucket.upper => last.count += bucket.count,
                _ => merged.push(bucket),
            }
        }
        Self(merged)
    }

    /// Returns the highest count if the histogram is whole, that is, has a bucket up to infinity.
    fn total(&self) -> Option<f64> {
        self.0.last().filter(|bucket| bucket.upper == f64::INFINITY).map(|bucket| bucket.count)
    }

    /// Makes the counts cumulative again where scrapes or rates have torn them.
    fn repair(&mut self) {
        let Some(first) = self.0.first() else { return };
        let mut before = first.count;
        for bucket in &mut self.0[1..] {
            if bucket.count < before || almost_equal(before, bucket.count) {
                bucket.count = before;
            } else {
                before = bucket.count;
            }
        }
    }

    /// Returns the value below which the share `q` of the observations lies (`BucketQuantile` in Prometheus).
    pub(super) fn quantile(mut self, q: f64) -> f64 {
        if q.is_nan() {
            return f64::NAN;
        }
        if q < 0.0 {
            return f64::NEG_INFINITY;
        }
        if q > 1.0 {
            return f64::INFINITY;
        }
        if self.total().is_none() || self.0.len() < 2 {
            return f64::NAN;
        }
        self.repair();
        let total = self.total().unwrap_or(f64::NAN);
        if total == 0.0 {
            return f64::NAN;
        }
        // A total of NaN has no rank in any bucket and ends, as in Prometheus, at the highest finite bound.
        let mut rank = q * total;
        let buckets = &self.0;
        let last = buckets.len() - 1;
        let at = buckets[..last].iter().position(|bucket| bucket.count >= rank).unwrap_or(last);
        if at == last {
            // Somewhere above the highest finite bound; nothing tells how far.
            return buckets[last - 1].upper;
        }
        let Bucket { upper, mut count } = buckets[at];
        if at == 0 && upper <= 0.0 {
            return upper;
        }
        let mut lower = 0.0;
        if at > 0 {
            lower = buckets[at - 1].upper;
            count -= buckets[at - 1].count;
            rank -= buckets[at - 1].count;
        }
        lower + (upper - lower) * (rank / count)
    }

    /// Returns the share of the observations between `low` and `high` (`BucketFraction` in Prometheus).
    pub(super) fn fraction(self, low: f64, high: f64) -> f64 {
        let Some(total) = self.total() else { return f64::NAN };
        if total == 0.0 || total.is_nan() || low.is_nan() || high.is_nan() {
            return f64::NAN;
        }
        if low >= high {
            return 0.0;
        }
        (self.rank(high).min(total) - self.rank(low).min(total)) / total
    }

    /// Returns how many observations lie below `value`.
    fn rank(&self, value: f64) -> f64 {
        let mut below = 0.0;
        for (at, bucket) in self.0.iter().enumerate() {
            // The first bucket begins at 0 where its bound is positive, as for quantiles.
            let lower = match at {
                0 if bucket.upper > 0.0 => 0.0,
                0 => f64::NEG_INFINITY,
                _ => self.0[at - 1].upper,
            };
            if lower >= value {
                return below;
            }
            if bucket.upper > value {
                // Nothing tells where in a bucket without a lower bound the observations lie: all count as below.
                if lower == f64::NEG_INFINITY {
                    return bucket.count;
                }
                return below + (bucket.count - below) * (value - lower) / (bucket.upper - lower);
            }
            below = bucket.count;
        }
        below
    }
}

/// Whether two counts differ by rounding only (`util/almost.Equal`).
fn almost_equal(a: f64, b: f64) -> bool {
    #[expect(clippy::float_cmp, reason = "the exact case comes first")]
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Buckets {
        Buckets::new(pairs.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect())
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn quantiles() {
        // buckets, q, value
        type Case<'c> = (&'c [(f64, f64)], f64, f64);
        let cases: &[Case<'_>] = &[
            (&[(1.0, 10.0), (2.0, 20.0), (INF, 20.0)], 0.5, 1.0),
            (&[(1.0, 10.0), (2.0, 20.0), (INF, 20.0)], 0.75, 1.5),
            (&[(1.0, 10.0), (INF, 20.0)], 0.99, 1.0),
            (&[(-1.0, 10.0), (INF, 10.0)], 0.5, -1.0),
            (&[(1.0, 5.0), (1.0, 5.0), (INF, 10.0)], 0.5, 0.5),
            (&[(1.0, 10.0), (2.0, 9.0), (INF, 20.0)], 0.5, 1.0),
            (&[(1.0, f64::NAN), (INF, f64::NAN)], 0.5, 1.0),
            (&[(1.0, 1.0), (INF, 1.0)], -0.1, f64::NEG_INFINITY),
            (&[(1.0, 1.0), (INF, 1.0)], 1.1, INF),
        ];
        for (pairs, q, expected) in cases {
            assert_eq!(buckets(pairs).quantile(*q), *expected, "{q} of {pairs:?}");
        }
    }

    #[test]
    fn a_torn_or_empty_histogram_has_no_quantile() {
        let cases: [&[(f64, f64)]; 3] = [&[(INF, 5.0)], &[(1.0, 5.0), (2.0, 6.0)], &[(1.0, 0.0), (INF, 0.0)]];
        for pairs in cases {
            assert!(buckets(pairs).quantile(0.5).is_nan(), "{pairs:?}");
        }
        assert!(buckets(&[(1.0, 1.0), (INF, 1.0)]).quantile(f64::NAN).is_nan());
    }

    #[test]
    fn fractions() {
        let positive: &[(f64, f64)] = &[(1.0, 1.0), (2.0, 3.0), (3.0, 6.0), (INF, 100.0)];
        let negative: &[(f64, f64)] = &[(-3.0, 10.0), (-2.0, 12.0), (-1.0, 15.0), (INF, 100.0)];
        let cases = [
            (positive, 0.0, 2.0, 0.03),
            (positive, 1.5, 2.5, 0.025),
            (positive, 2.0, 5.0, 0.03),
            (positive, -INF, INF, 1.0),
            (positive, 3.0, 1.0, 0.0),
            (negative, -4.0, -2.0, 0.02),
            (negative, -INF, -2.0, 0.12),
        ];
        for (pairs, low, high, expected) in cases {
            let found = buckets(pairs).fraction(low, high);
            assert!((found - expected).abs() < 1e-12, "{low}..{high}: {found}");
        }
        assert!(buckets(positive).fraction(0.0, f64::NAN).is_nan());
    }
}
