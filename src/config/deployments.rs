//! `deployments` of a target: how a new version is noticed, and how long it is looked at as new.

use super::source::{is_label_name, is_metric_name};
use crate::engine::decision::DeploymentSettings;
use crate::engine::decision::setup::DetectVersion;
use crate::engine::rules::decode::{Fields, Shape, duration, positive_duration, text, texts};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings};

const DEPLOYMENTS: Shape = Shape {
    what: "`deployments`",
    keys: &["detect", "soak", "abandon_after", "point_of_no_return", "window", "page"],
    later: &["require"],
};
const DETECT: Shape = Shape { what: "`detect`", keys: &["source", "metric", "label"], later: &["unit"] };

/// The section as written; names are not looked up yet.
#[derive(Clone, Debug, Default)]
pub(super) struct WrittenDeployments {
    /// Whether the target says anything of deployments, if only that they are announced.
    pub(super) are_written: bool,
    pub(super) detect: Option<(Scalar, DetectVersion)>,
    pub(super) settings: DeploymentSettings,
    pub(super) window: Vec<Scalar>,
    pub(super) page: Option<Scalar>,
}

/// Reads `deployments`. A broken value is reported and stands as its default.
pub(super) fn read(node: &Node, out: &mut Findings) -> WrittenDeployments {
    let mut written = WrittenDeployments { are_written: true, ..WrittenDeployments::default() };
    // Nothing under it: they are announced.
    if matches!(node, Node::Scalar(scalar) if scalar.is_null()) {
        return written;
    }
    let Some(fields) = DEPLOYMENTS.read(node, out) else { return written };
    if let Some(node) = fields.get("detect") {
        written.detect = DETECT.read(node, out).and_then(|fields| detect(&fields, out));
    }
    let settings = &mut written.settings;
    if let Some(soak) = fields.get("soak").and_then(|node| duration(node, "`soak`", out)) {
        settings.soak = soak.value;
    }
    if let Some(after) =
        fields.get("abandon_after").and_then(|node| positive_duration(node, "`abandon_after`", out))
    {
        settings.abandon_after = after.value;
    }
    settings.point_of_no_return = fields
        .get("point_of_no_return")
        .and_then(|node| duration(node, "`point_of_no_return`", out))
        .map(|after| after.value);
    written.window = match fields.get("window") {
        Some(node @ Node::Scalar(_)) => text(node, "`window`", out).into_iter().cloned().collect(),
        Some(node) => texts(node, "`window`", out).into_iter().cloned().collect(),
        None => Vec::new(),
    };
    written.page = fields.get("page").and_then(|node| text(node, "`page`", out)).cloned();
    if written.page.is_some() && fields.get("window").is_none() {
        let message = "`page` is whom to tell of a deployment outside of its `window`, and there is none";
        out.push(Diagnostic::warning("unused-page", fields.key_place("page"), message));
    }
    written
}

fn detect(fields: &Fields<'_>, out: &mut Findings) -> Option<(Scalar, DetectVersion)> {
    let mut part =
        |key: &str| fields.required(key, out).and_then(|node| text(node, &format!("`{key}`"), out));
    let (source, metric, label) = (part("source"), part("metric"), part("label"));
    for (name, good, kind) in [
        (metric, is_metric_name as fn(&str) -> bool, "a metric's name"),
        (label, is_label_name as fn(&str) -> bool, "a label's name"),
    ] {
        if let Some(name) = name.filter(|name| !good(&name.value)) {
            let message = format!("`{}` is not {kind}", name.value.escape_debug());
            out.push(Diagnostic::error("bad-name", name.place(), message));
        }
    }
    let (source, metric, label) = (source?, metric?.value.clone(), label?.value.clone());
    Some((source.clone(), DetectVersion { source: source.value.as_str().into(), metric, label }))
}
