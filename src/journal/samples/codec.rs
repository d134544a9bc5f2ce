//! The form in which an observation's samples are stored: about ten bytes each.
//!
//! Per sample: the label set's number as a difference to the one before, the sample's time as a difference to the
//! observation's, both as zigzag LEB128 (protobuf's `sint64`), then the value's bits, little endian. A source answers
//! with the same series in the same order, so that the differences are mostly 1 and 0.

use crate::engine::time::Timestamp;

/// One sample whose label set has been replaced by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered {
    pub(super) labels: i64,
    pub(super) at: Timestamp,
    pub(super) value: f64,
}

/// Encodes the samples of an observation that was made at `base`.
pub(super) fn encode(base: Timestamp, samples: impl IntoIterator<Item = Numbered>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut previous = 0_i64;
    for sample in samples {
        write_varint(&mut bytes, sample.labels.wrapping_sub(previous));
        write_varint(&mut bytes, sample.at.as_millis().wrapping_sub(base.as_millis()));
        bytes.extend_from_slice(&sample.value.to_bits().to_le_bytes());
        previous = sample.labels;
    }
    bytes
}

/// Decodes them; `None` where the bytes are not the end of a whole sample.
pub(super) fn decode(base: Timestamp, mut bytes: &[u8]) -> Option<Vec<Numbered>> {
    let mut samples = Vec::new();
    let mut previous = 0_i64;
    while !bytes.is_empty() {
        let labels = previous.wrapping_add(read_varint(&mut bytes)?);
        let at = base.as_millis().wrapping_add(read_varint(&mut bytes)?);
        let (bits, rest) = bytes.split_first_chunk::<8>()?;
        bytes = rest;
        samples.push(Numbered {
            labels,
            at: Timestamp::from_millis(at),
            value: f64::from_bits(u64::from_le_bytes(*bits)),
        });
        previous = labels;
    }
    Some(samples)
}

/// The bits that one byte of a varint carries.
const PAYLOAD: u64 = 0x7f;

fn write_varint(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned();
    while rest > PAYLOAD {
        bytes.push((rest & PAYLOAD) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= (u64::from(byte) & PAYLOAD) << shift;
        if byte & 0x80 == 0 {
            return Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn samples_read_back_bit_for_bit(
            base in any::<i64>(),
            samples in prop::collection::vec((any::<i64>(), any::<i64>(), any::<u64>()), 0..50),
        ) {
            let base = Timestamp::from_millis(base);
            let numbered = samples.iter().map(|&(labels, at, bits)| Numbered {
                labels, at: Timestamp::from_millis(at), value: f64::from_bits(bits),
            });
            let bytes = encode(base, numbered);
            let back = decode(base, &bytes).map(|back| {
                back.iter().map(|one| (one.labels, one.at.as_millis(), one.value.to_bits())).collect::<Vec<_>>()
            });
            prop_assert_eq!(back, Some(samples));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(samples) = decode(Timestamp::ZERO, &bytes) {
                prop_assert!(samples.len() * 10 <= bytes.len());
            }
        }
    }

    #[test]
    fn a_plain_scrape_takes_ten_bytes_a_sample_and_a_cut_one_is_refused() {
        let at = Timestamp::from_millis(5000);
        let bytes = encode(at, (1..=100).map(|labels| Numbered { labels, at, value: 0.5 }));
        assert_eq!(bytes.len(), 1000);
        assert!(decode(at, &bytes[..995]).is_none());
    }
}
