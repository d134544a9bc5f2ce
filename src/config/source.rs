//! `sources`: what is scraped or probed, how often, and when silence is an incident.

use super::address;
use super::memory;
use super::probe;
use super::settings::{Source, SourceKind};
use crate::engine::decision::setup::SourcePace;
use crate::engine::evaluation::OWN_SOURCE;
use crate::engine::evaluation::groups::RULES_SOURCE;
use crate::engine::model::{Labels, SourceName};
use crate::engine::rules::decode::{Fields, Shape, Spanned, named, positive_duration, text};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings};
use crate::engine::series::Selector;
use crate::engine::time::Span;

const SOURCE: Shape = Shape {
    what: "a source",
    keys: &[
        "scrape",
        "probe",
        "every",
        "timeout",
        "labels",
        "keep",
        "silent_after",
        "expect",
        "method",
        "headers",
        "redirects",
    ],
    later: &["systemd", "prometheus", "push", "exec", "reference", "bearer_token", "basic_auth", "tls"],
};

/// How long an answer may take where nothing is said, unless `every` is shorter: what is slower is an answer too.
const DEFAULT_TIMEOUT: Span = Span::from_secs(3);
/// Silence shorter than this is not an incident by default: a restart of the application is not an outage of its metrics.
const DEFAULT_SILENT_AFTER: Span = Span::from_secs(60);
/// Where answers are rare, this many must be missing before the default calls it silence.
const DEFAULT_SILENT_INTERVALS: i64 = 3;

/// One source: its rhythm, which others refer to even where the rest of it is broken, and what is asked.
#[derive(Clone, Debug)]
pub(super) struct WrittenSource {
    pub(super) name: SourceName,
    pub(super) pace: SourcePace,
    /// What is remembered of it although no rule selects it.
    pub(super) keep: Vec<Selector>,
    /// Whether it is a probe, a broken one included.
    pub(super) is_probe: bool,
    pub(super) asked: Option<Source>,
}

/// Reads `sources`; `interval` is how often a source is asked that does not say `every`.
pub(super) fn read(node: &Node, interval: Span, out: &mut Findings) -> Vec<WrittenSource> {
    named(node, "`sources`", out).into_iter().map(|(name, node)| source(name, node, interval, out)).collect()
}

fn source(name: &Scalar, node: &Node, interval: Span, out: &mut Findings) -> WrittenSource {
    let source_name = SourceName::from(name.value.as_str());
    let reserved = match name.value.as_str() {
        RULES_SOURCE => Some("what imported rules record is kept under it"),
        OWN_SOURCE => Some("it is built in, and rule files may list it as it is"),
        _ => None,
    };
    if let Some(why) = reserved {
        let message = format!("a source cannot be called `{}`: {why}", name.value);
        out.push(Diagnostic::error("reserved-name", name.place(), message).hint("give it another name"));
    }
    let default_silence = |every: Span| DEFAULT_SILENT_AFTER.max(every.times(DEFAULT_SILENT_INTERVALS));
    let Some(fields) = SOURCE.read(node, out) else {
        let pace = SourcePace { every: interval, silent_after: default_silence(interval) };
        return WrittenSource { name: source_name, pace, keep: Vec::new(), is_probe: false, asked: None };
    };
    let mut span =
        |key: &str| fields.get(key).and_then(|node| positive_duration(node, &format!("`{key}`"), out));
    let (every, timeout, silent_after) = (span("every"), span("timeout"), span("silent_after"));
    let every = every.map_or(interval, |every| every.value);
    let is_probe = fields.get("probe").is_some();
    let question = if is_probe { "probes" } else { "scrapes" };
    check_times(question, every, timeout.as_ref(), silent_after.as_ref(), out);
    let timeout = timeout.map_or(DEFAULT_TIMEOUT.min(every), |timeout| timeout.value);
    let silent_after = silent_after.map_or_else(|| default_silence(every), |silence| silence.value);
    let labels = fields.get("labels").map_or_else(Labels::empty, |node| labels(node, is_probe, out));
    let keep = fields.get("keep").map_or_else(Vec::new, |node| memory::keep(node, &source_name, out));
    let kind = kind(&fields, timeout, out);
    WrittenSource {
        name: source_name,
        pace: SourcePace { every, silent_after },
        keep,
        is_probe,
        asked: kind.map(|kind| Source { kind, every, timeout, labels }),
    }
}

/// Reads what is asked; `None` where it is broken, or of a kind that is not there yet.
fn kind(fields: &Fields<'_>, timeout: Span, out: &mut Findings) -> Option<SourceKind> {
    match (fields.get("scrape"), fields.get("probe")) {
        (Some(_), Some(_)) => {
            let message = "a source is either scraped or probed";
            let hint = "write two sources: what is asked of each is judged by itself";
            out.push(Diagnostic::error("two-kinds", fields.key_place("probe"), message).hint(hint));
            None
        }
        (_, Some(node)) => probe::read(node, fields, timeout, out).map(SourceKind::Probe),
        (Some(node), None) => {
            probe::refuse_keys(fields, out);
            let written = text(node, "`scrape`", out)?;
            address::url(written, "`scrape`", out)?;
            Some(SourceKind::Scrape { url: written.value.clone() })
        }
        (None, None) => {
            if !["systemd", "prometheus", "push", "exec"].iter().any(|key| fields.has_later(key)) {
                let message = "a source needs `scrape` or `probe`";
                let hint = "`scrape: URL` reads metrics, `probe: URL` asks whether all is well";
                out.push(
                    Diagnostic::error("missing-key", fields.place(), message)
                        .label("it is missing here")
                        .hint(hint),
                );
            }
            None
        }
    }
}

fn check_times(
    questions: &str,
    every: Span,
    timeout: Option<&Spanned<Span>>,
    silent_after: Option<&Spanned<Span>>,
    out: &mut Findings,
) {
    if let Some(timeout) = timeout
        && timeout.value > every
    {
        let message =
            format!("a timeout of {} is longer than the {every} between two {questions}", timeout.value);
        let hint = format!("one would run into the next: at most `timeout: {every}`");
        out.push(Diagnostic::error("bad-timeout", timeout.place.clone(), message).hint(hint));
    }
    if let Some(silence) = silent_after
        && silence.value <= every
    {
        let message = format!(
            "`silent_after: {}` calls the time between two {questions} ({every}) silence",
            silence.value
        );
        let hint = format!("at least `silent_after: {}`, two {questions}", every.times(2));
        out.push(Diagnostic::error("bad-silence", silence.place.clone(), message).hint(hint));
    }
}

fn labels(node: &Node, is_probe: bool, out: &mut Findings) -> Labels {
    let mut pairs = Vec::new();
    for (name, node) in named(node, "`labels`", out) {
        let Some(value) = text(node, "a label's value", out) else { continue };
        let problem = match name.value.as_str() {
            "job" | "instance" => {
                Some("is set by the source itself: `job` is its name, `instance` its host and port")
            }
            "source" if is_probe => Some("is set by the source itself: a probe's series carry its name"),
            other if !is_label_name(other) => {
                Some("is not a label name: letters, digits and `_`, no `__` in front")
            }
            _ => None,
        };
        match problem {
            Some(why) => {
                let message = format!("label `{}` {why}", name.value.escape_debug());
                out.push(Diagnostic::error("bad-label", name.place(), message));
            }
            None => pairs.push((name.value.as_str(), value.value.as_str())),
        }
    }
    Labels::from_pairs(pairs)
}

/// Returns whether `name` may be a label that people set; names with two underscores in front are Prometheus' own.
pub(super) fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':') && !name.starts_with("__")
}

/// Returns whether `name` may be a metric's name in the classic character set.
pub(super) fn is_metric_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
}
