//! `limitk` and `limit_ratio`: some series of many, always the same ones.

use std::collections::BTreeMap;

use super::evaluate::{EvalError, VectorSample};
use super::plan::LabelChoice;
use super::problem::TextSpan;
use crate::engine::model::Labels;

/// Returns the first `count` elements of each group.
pub(super) fn limited(grouping: &LabelChoice, vector: Vec<VectorSample>, count: usize) -> Vec<VectorSample> {
    let mut taken: BTreeMap<Labels, usize> = BTreeMap::new();
    let first_ones = |sample: &VectorSample| {
        let taken = taken.entry(grouping.key(&sample.labels)).or_default();
        *taken = taken.saturating_add(1);
        *taken <= count
    };
    let mut first_ones = first_ones;
    vector.into_iter().filter(|sample| first_ones(sample)).collect()
}

/// Returns the elements whose place between 0 and 1 lies below `ratio`; a negative ratio gives the complement, from
/// the other end. The place is the hash of the labels, as in Prometheus.
pub(super) fn share(
    vector: Vec<VectorSample>,
    ratio: f64,
    span: TextSpan,
) -> Result<Vec<VectorSample>, EvalError> {
    if ratio.is_nan() {
        return Err(EvalError::new(span, "the ratio is NaN"));
    }
    let ratio = ratio.clamp(-1.0, 1.0);
    let inside = |sample: &VectorSample| {
        #[expect(clippy::cast_precision_loss, reason = "what Prometheus divides")]
        let place = xxh64(&encoded(&sample.labels)) as f64 / u64::MAX as f64;
        (ratio > 0.0 && (place < ratio || ratio >= 1.0)) || (ratio < 0.0 && place >= 1.0 + ratio)
    };
    Ok(vector.into_iter().filter(inside).collect())
}

/// Labels as Prometheus keeps and hashes them (`labels_stringlabels.go`): each name and each value after its length.
fn encoded(labels: &Labels) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        let length = text.len().to_le_bytes();
        match u8::try_from(text.len()) {
            Ok(short) if short < u8::MAX => bytes.push(short),
            _ => bytes.extend_from_slice(&[u8::MAX, length[0], length[1], length[2]]),
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

const PRIMES: [u64; 5] = [
    0x9E37_79B1_85EB_CA87,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0x85EB_CA77_C2B2_AE63,
    0x27D4_EB2F_1656_67C5,
];

/// The hash XXH64 with the seed 0: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>.
fn xxh64(bytes: &[u8]) -> u64 {
    let [p1, p2, p3, p4, p5] = PRIMES;
    let round =
        |lane: u64, input: u64| lane.wrapping_add(input.wrapping_mul(p2)).rotate_left(31).wrapping_mul(p1);
    let stripes = bytes.chunks_exact(32);
    let mut rest = stripes.remainder();
    let mut hash = p5;
    if bytes.len() >= 32 {
        let mut lanes = [p1.wrapping_add(p2), p2, 0, 0_u64.wrapping_sub(p1)];
        for stripe in stripes {
            for (lane, input) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, little_endian(input));
            }
        }
        let turns = [1, 7, 12, 18];
        hash = lanes.iter().zip(turns).fold(0, |sum: u64, (lane, by)| sum.wrapping_add(lane.rotate_left(by)));
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(p1).wrapping_add(p4);
        }
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some((word, tail)) = rest.split_at_checked(8) {
        hash = (hash ^ round(0, little_endian(word))).rotate_left(27).wrapping_mul(p1).wrapping_add(p4);
        rest = tail;
    }
    if let Some((word, tail)) = rest.split_at_checked(4) {
        hash =
            (hash ^ little_endian(word).wrapping_mul(p1)).rotate_left(23).wrapping_mul(p2).wrapping_add(p3);
        rest = tail;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(p5)).rotate_left(11).wrapping_mul(p1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(p2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(p3);
    hash ^ (hash >> 32)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_xxh64() {
        let cases: [(&[u8], u64); 4] = [
            (b"", 0xEF46_DB37_51D8_E999),
            (b"a", 0xD24E_C4F1_A98C_6E5B),
            (b"abc", 0x44BC_2CF5_AD77_0999),
            (b"Nobody inspects the spammish repetition", 0xFBCE_A83C_8A37_8BF1),
        ];
        for (bytes, expected) in cases {
            assert_eq!(xxh64(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_ratio_and_its_complement_share_the_vector() {
        let vector: Vec<_> = (0..1000_i32)
            .map(|n| VectorSample { labels: Labels::from_pairs([("n", n.to_string())]), value: f64::from(n) })
            .collect();
        let taken = |ratio| share(vector.clone(), ratio, TextSpan::default()).unwrap_or_default();
        for (ratio, low, high) in [(0.0, 0, 0), (0.3, 250, 350), (1.0, 1000, 1000), (7.0, 1000, 1000)] {
            let (some, others) = (taken(ratio), taken(ratio.min(1.0) - 1.0));
            assert!((low..=high).contains(&some.len()), "{ratio}: {}", some.len());
            assert_eq!(some.len() + others.len(), 1000);
            assert!(some.iter().all(|sample| !others.contains(sample)));
        }
        assert!(share(vector, f64::NAN, TextSpan::default()).is_err());
    }
}
