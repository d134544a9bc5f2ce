//! `listen` and `query`: where the read-only API is served, and what one query may cost.

use std::net::SocketAddr;

use super::settings::QueryLimits;
use crate::engine::rules::decode::{Fields, Shape, positive_duration, text};
use crate::engine::rules::yaml::Node;
use crate::engine::rules::{Diagnostic, Findings};

const QUERY: Shape = Shape { what: "`query`", keys: &["timeout", "max_samples", "concurrency"], later: &[] };

/// The most that `max_samples` may say: as much as one evaluation may touch at all, and 800 MB.
const MAX_SAMPLES: u64 = 50_000_000;
/// The most that `concurrency` may say; queries share the host with what is guarded.
const MAX_CONCURRENCY: u64 = 64;

/// Reads `listen`: an address and a port. Names are not looked up: the daemon must not depend on who answers them.
pub(super) fn listen(fields: &Fields<'_>, out: &mut Findings) -> Option<SocketAddr> {
    let written = text(fields.get("listen")?, "`listen`", out)?;
    let parsed = written.value.parse::<SocketAddr>();
    if parsed.is_err() {
        let message = format!("`listen: {}` is not an address with a port", written.value.escape_debug());
        out.push(Diagnostic::error("bad-listen", written.place(), message).hint(
            "such as `127.0.0.1:9187`, `[::1]:9187`, or `0.0.0.0:9187` for every address of this host",
        ));
    }
    parsed.ok()
}

/// Reads `query`; what is not said keeps its default.
pub(super) fn limits(fields: &Fields<'_>, out: &mut Findings) -> QueryLimits {
    let mut limits = QueryLimits::default();
    let Some(fields) = fields.get("query").and_then(|node| QUERY.read(node, out)) else { return limits };
    if let Some(timeout) = fields.get("timeout").and_then(|node| positive_duration(node, "`timeout`", out)) {
        limits.timeout = timeout.value;
    }
    let mut number =
        |key: &str, most: u64| fields.get(key).and_then(|node| count(node, &format!("`{key}`"), most, out));
    if let Some(samples) = number("max_samples", MAX_SAMPLES) {
        limits.max_samples = samples;
    }
    if let Some(concurrency) = number("concurrency", MAX_CONCURRENCY) {
        limits.concurrency = concurrency;
    }
    limits
}

/// Reads a whole number from one to `most`.
fn count(node: &Node, what: &str, most: u64, out: &mut Findings) -> Option<u64> {
    let written = text(node, what, out)?;
    let parsed = written.value.parse::<u64>().ok().filter(|count| (1..=most).contains(count));
    if parsed.is_none() {
        let message = format!("{what} must be a whole number from 1 to {most}");
        out.push(Diagnostic::error("bad-number", written.place(), message));
    }
    parsed
}
