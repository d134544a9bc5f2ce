//! `retention`: how long the journal keeps what, and how large it may become.

use super::settings::Retention;
use crate::engine::rules::decode::{Shape, positive_duration, text};
use crate::engine::rules::yaml::Node;
use crate::engine::rules::{Diagnostic, Findings};
use crate::engine::time::Span;

const RETENTION: Shape =
    Shape { what: "`retention`", keys: &["events", "outputs", "journal_size"], later: &[] };

/// The least that `events` and `outputs` may say: who comes back from a weekend must find what happened.
const SHORTEST: Span = Span::from_secs(3 * 86_400);

/// The least that `journal_size` may say, in bytes: an incident with many steps and pages takes some hundred kilobytes.
const SMALLEST_BYTES: u64 = 10_000_000;

/// What one unit of size is in bytes.
const UNITS: [(&str, u64); 6] = [
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads `retention`; what is not said keeps its default.
pub(super) fn read(node: &Node, out: &mut Findings) -> Retention {
    let mut retention = Retention::default();
    let Some(fields) = RETENTION.read(node, out) else { return retention };
    for (key, kept) in [("events", &mut retention.events), ("outputs", &mut retention.outputs)] {
        let written = fields.get(key).and_then(|node| positive_duration(node, &format!("`{key}`"), out));
        let Some(written) = written else { continue };
        if written.value < SHORTEST {
            let message = format!("`{key}: {}` is too short", written.value);
            let hint = format!("at least `{SHORTEST}`: who looks after a weekend must find what happened");
            out.push(Diagnostic::error("bad-retention", written.place, message).hint(hint));
        } else {
            *kept = written.value;
        }
    }
    if let Some(node) = fields.get("journal_size")
        && let Some(written) = text(node, "`journal_size`", out)
    {
        match bytes(&written.value) {
            Some(bytes) if bytes >= SMALLEST_BYTES => retention.journal_bytes = bytes,
            Some(_) => {
                let message = format!("`journal_size: {}` is too small", written.value.escape_debug());
                out.push(
                    Diagnostic::error("bad-retention", written.place(), message).hint("at least `10MB`"),
                );
            }
            None => {
                let message = format!("`{}` is not a size", written.value.escape_debug());
                let hint = "a whole number with MB, GB, TB, MiB, GiB or TiB, such as `1GB`";
                out.push(Diagnostic::error("bad-retention", written.place(), message).hint(hint));
            }
        }
    }
    retention
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == &text[digits.len()..])?;
    digits.parse::<u64>().ok()?.checked_mul(*unit)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        for (text, expected) in [
            ("10MB", Some(10_000_000)),
            ("1GB", Some(1_000_000_000)),
            ("2GiB", Some(2 << 30)),
            ("1", None),
            ("GB", None),
            ("1.5GB", None),
            ("1gb", None),
            ("-1GB", None),
            ("99999999999999999999GB", None),
            ("99999999TB", None),
            ("1GBé", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }
}
