//! `rearguard.yaml` as written: every section read, nothing looked up between sections yet.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::address;
use super::calendar::{self, Calendars};
use super::ingest;
use super::listen;
use super::memory;
use super::receiver::{self, WrittenPolicy};
use super::retention;
use super::rollback::{self, WrittenPlan};
use super::route;
use super::settings::{Ingest, QueryLimits, Receiver, Retention};
use super::source::{self, WrittenSource};
use super::target::{self, WrittenTarget};
use crate::engine::model::Labels;
use crate::engine::rules::decode::{Fields, Shape, positive_duration, text, texts};
use crate::engine::rules::prometheus;
use crate::engine::rules::written::WrittenRoute;
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings, Place};
use crate::engine::series::Limits;
use crate::engine::time::Span;

const ROOT: Shape = Shape {
    what: "rearguard.yaml",
    keys: &[
        "rules",
        "state",
        "control",
        "interval",
        "history",
        "listen",
        "query",
        "external_url",
        "external_labels",
        "targets",
        "sources",
        "limits",
        "rollbacks",
        "receivers",
        "escalations",
        "routes",
        "calendars",
        "ingest",
        "retention",
    ],
    later: &["people", "schedules", "heartbeat", "silences"],
};

const DEFAULT_STATE: &str = "/var/lib/rearguard";
const DEFAULT_CONTROL: &str = "/run/rearguard/control.sock";
/// How often a source is asked that says nothing itself. Short, because a trigger judges once per answer.
const DEFAULT_INTERVAL: Span = Span::from_secs(5);

/// The file's sections. What could not be read has been reported; whatever others refer to keeps its name.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) rules: Vec<Scalar>,
    pub(super) state: PathBuf,
    pub(super) control: PathBuf,
    pub(super) listen: Option<SocketAddr>,
    pub(super) ingest: Option<Ingest>,
    pub(super) query: QueryLimits,
    pub(super) retention: Retention,
    pub(super) external_url: Option<String>,
    pub(super) external_labels: Labels,
    /// Time between two evaluations of imported groups that say nothing.
    pub(super) group_interval: Span,
    pub(super) routes: Vec<WrittenRoute>,
    pub(super) targets: Vec<WrittenTarget>,
    pub(super) sources: Vec<WrittenSource>,
    pub(super) limits: Limits,
    /// How long what is kept is remembered at least.
    pub(super) history: Span,
    /// How often a source is asked that says nothing itself.
    pub(super) interval: Span,
    pub(super) rollbacks: Vec<WrittenPlan>,
    /// Where the key `rollbacks` stands, for problems that concern all of them.
    pub(super) rollbacks_place: Place,
    pub(super) receivers: Vec<(Scalar, Option<Receiver>)>,
    pub(super) policies: Vec<WrittenPolicy>,
    pub(super) calendars: Calendars,
}

/// Reads the tree; relative paths begin at `directory`. `None` where the root is not a mapping.
pub(super) fn read(root: &Node, directory: &Path, out: &mut Findings) -> Option<Written> {
    let fields = ROOT.read(root, out)?;
    let interval = fields.get("interval").and_then(|node| positive_duration(node, "`interval`", out));
    // Imported rules were written for Prometheus' own default: they get it unless root says another interval.
    let group_interval = interval.as_ref().map_or(prometheus::DEFAULT_INTERVAL, |interval| interval.value);
    let interval = interval.map_or(DEFAULT_INTERVAL, |interval| interval.value);
    Some(Written {
        rules: rules(&fields, out),
        state: path(&fields, "state", DEFAULT_STATE, directory, out),
        control: path(&fields, "control", DEFAULT_CONTROL, directory, out),
        listen: listen::listen(&fields, out),
        ingest: fields.get("ingest").and_then(|node| ingest::read(node, directory, out)),
        query: listen::limits(&fields, out),
        retention: fields.get("retention").map_or_else(Retention::default, |node| retention::read(node, out)),
        external_url: outside(&fields, out),
        external_labels: fields
            .get("external_labels")
            .map_or_else(Labels::empty, |node| route::external_labels(node, out)),
        group_interval,
        routes: fields.get("routes").map_or_else(Vec::new, |node| route::read(node, out)),
        targets: fields.required("targets", out).map_or_else(Vec::new, |node| target::read(node, out)),
        sources: fields
            .required("sources", out)
            .map_or_else(Vec::new, |node| source::read(node, interval, out)),
        limits: fields.get("limits").map_or_else(Limits::default, |node| memory::limits(node, out)),
        history: fields.get("history").map_or(Span::ZERO, |node| memory::history(node, out)),
        interval,
        rollbacks: fields.get("rollbacks").map_or_else(Vec::new, |node| rollback::read(node, out)),
        rollbacks_place: fields.key_place("rollbacks"),
        receivers: fields.get("receivers").map_or_else(Vec::new, |node| receiver::read(node, directory, out)),
        calendars: fields.get("calendars").map_or_else(Calendars::new, |node| calendar::read(node, out)),
        policies: fields.get("escalations").map_or_else(Vec::new, |node| receiver::read_policies(node, out)),
    })
}

fn rules(fields: &Fields<'_>, out: &mut Findings) -> Vec<Scalar> {
    let Some(node) = fields.required("rules", out) else { return Vec::new() };
    if matches!(node, Node::Sequence(items, _) if items.is_empty()) {
        let message = "`rules` names no file: nothing would be guarded";
        out.push(
            Diagnostic::error("no-rules", node.place(), message).hint("such as `rules: [rules/*.yaml]`"),
        );
    }
    texts(node, "`rules`", out).into_iter().cloned().collect()
}

fn path(fields: &Fields<'_>, key: &str, default: &str, directory: &Path, out: &mut Findings) -> PathBuf {
    let written = fields.get(key).and_then(|node| text(node, &format!("`{key}`"), out));
    directory.join(written.map_or(default, |written| &written.value))
}

/// Reads the address of the status page, which this version does not serve: ignoring it harms nobody.
fn outside(fields: &Fields<'_>, out: &mut Findings) -> Option<String> {
    let written = text(fields.get("external_url")?, "`external_url`", out)?;
    address::url(written, "`external_url`", out)?;
    let message = "pages will link to this address, but no status page is served there by this version yet";
    out.push(Diagnostic::warning("not-served-yet", fields.key_place("external_url"), message));
    Some(written.value.clone())
}
