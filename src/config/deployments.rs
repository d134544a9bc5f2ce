//! `deployments` of a target: how a new version is noticed, and how long it is looked at as new.

use super::source::{is_label_name, is_metric_name};
use crate::engine::decision::DeploymentSettings;
use crate::engine::decision::setup::DetectVersion;
use crate::engine::evaluation::{RESTART_LABEL, RESTART_METRIC, Tells};
use crate::engine::model::SourceName;
use crate::engine::rules::decode::{Fields, Shape, duration, positive_duration, text, texts};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings};

const DEPLOYMENTS: Shape = Shape {
    what: "`deployments`",
    keys: &["detect", "soak", "abandon_after", "point_of_no_return", "window", "page"],
    later: &["require"],
};
const DETECT: Shape = Shape { what: "`detect`", keys: &["source", "metric", "label", "unit"], later: &[] };

/// The section as written; names are not looked up yet.
#[derive(Clone, Debug, Default)]
pub(super) struct WrittenDeployments {
    /// Whether the target says anything of deployments, if only that they are announced.
    pub(super) are_written: bool,
    pub(super) detect: Option<WrittenDetect>,
    pub(super) settings: DeploymentSettings,
    pub(super) window: Vec<Scalar>,
    pub(super) page: Option<Scalar>,
}

/// How a new version is noticed, as written.
#[derive(Clone, Debug)]
pub(super) enum WrittenDetect {
    /// A label of a source's series changes.
    Label(Scalar, DetectVersion),
    /// A systemd unit starts anew.
    Unit(String),
}

impl WrittenDetect {
    /// Returns what the engine looks at.
    pub(super) fn detect(&self) -> DetectVersion {
        match self {
            Self::Label(_, detect) => detect.clone(),
            Self::Unit(unit) => DetectVersion {
                source: unit_source(unit),
                metric: RESTART_METRIC.to_owned(),
                label: RESTART_LABEL.to_owned(),
                tells: Tells::Restart,
            },
        }
    }
}

/// Returns the source under which a unit's starts are known; no file can declare one of that name.
pub(super) fn unit_source(unit: &str) -> SourceName {
    format!("unit:{unit}").as_str().into()
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

fn detect(fields: &Fields<'_>, out: &mut Findings) -> Option<WrittenDetect> {
    if let Some(node) = fields.get("unit") {
        return unit(node, fields, out);
    }
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
    let (name, tells) = (source.value.as_str().into(), Tells::Version);
    Some(WrittenDetect::Label(source.clone(), DetectVersion { source: name, metric, label, tells }))
}

/// Reads the name of a unit whose starts are deployments.
fn unit(node: &Node, fields: &Fields<'_>, out: &mut Findings) -> Option<WrittenDetect> {
    for key in ["source", "metric", "label"].into_iter().filter(|key| fields.get(key).is_some()) {
        let message = format!("`{key}` means nothing beside `unit`");
        let hint = "a deployment is noticed by a unit's start or by a label: write one of them";
        out.push(Diagnostic::error("bad-detect", fields.key_place(key), message).hint(hint));
    }
    let written = text(node, "`unit`", out)?;
    if !is_unit(&written.value) {
        let message = format!("`{}` is not the name of a service", written.value.escape_debug());
        let hint = "as systemd writes it, such as `trading-app.service` or `trading-app@blue.service`";
        out.push(Diagnostic::error("bad-unit", written.place(), message).hint(hint));
        return None;
    }
    Some(WrittenDetect::Unit(written.value.clone()))
}

/// Returns whether a text is the name of a systemd service that can run: no template, and a file name of its own.
pub fn is_unit(name: &str) -> bool {
    /// Longer names than this systemd has none.
    const NAME_MAX: usize = 255;
    let Some(stem) = name.strip_suffix(".service") else { return false };
    let fits = |c: char| c.is_ascii_alphanumeric() || ":_.\\-@".contains(c);
    let is_template = stem.starts_with('@') || stem.ends_with('@');
    !stem.is_empty() && name.len() <= NAME_MAX && stem.chars().all(fits) && !is_template
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_that_can_run_are_watched() {
        let long = format!("{}.service", "a".repeat(248));
        for name in ["app.service", "app@blue.service", "a:b_c-d.e.service", "run-\\x2d.service"] {
            assert!(is_unit(name), "{name}");
        }
        let bad = [
            "",
            ".service",
            "app",
            "app.socket",
            "app@.service",
            "@x.service",
            "../x.service",
            "a b.service",
        ];
        for name in bad.into_iter().chain([long.as_str()]) {
            assert!(!is_unit(name), "{name}");
        }
    }
}
