//! Commands of operators and pipelines, as a test writes them: the one place where words become [`Command`]s.

use crate::engine::decision::{Command, DeploymentNews, Ending, Input};
use crate::engine::model::{RollbackId, TargetName};
use crate::engine::rules::decode::{self, Fields, Shape};
use crate::engine::rules::yaml::Node;
use crate::engine::rules::{Diagnostic, Findings};
use crate::engine::time::Span;

/// Everything that may stand in an item of `happens`.
pub(super) const HAPPENS: Shape = Shape {
    what: "what happens",
    keys: &[
        "at",
        "every",
        "times",
        "for",
        "source",
        "fails",
        "takes",
        "is",
        "says",
        "restart",
        "stop",
        "reload",
        "clock",
        "journal",
        "settle",
        "done",
        "by",
        "deployment",
    ],
    later: &[],
};

const DEPLOYMENT: Shape = Shape {
    what: "`deployment`",
    keys: &[
        "target",
        "start",
        "previous",
        "stage",
        "name",
        "settle",
        "progress",
        "finish",
        "point_of_no_return",
    ],
    later: &[],
};

const ENDINGS: [(&str, Ending); 3] =
    [("rolled out", Ending::RolledOut), ("failed", Ending::Failed), ("abandoned", Ending::Abandoned)];

/// The keys that are commands.
pub(super) const VERBS: [&str; 2] = ["settle", "deployment"];

/// Who wants it, where a test does not say so.
const SOMEBODY: &str = "the test";

/// Reads the command `verb`, whose value is `node`.
pub(super) fn read(verb: &str, node: &Node, fields: &Fields<'_>, out: &mut Findings) -> Option<Input> {
    let by = fields.get("by").and_then(|node| decode::text(node, "`by`", out));
    let by = by.map_or(SOMEBODY, |by| &by.value).to_owned();
    match verb {
        "settle" => {
            let done = fields.required("done", out).and_then(|node| decode::boolean(node, "`done`", out))?;
            let written = decode::text(node, "`settle`", out)?;
            let Ok(rollback) = written.value.parse::<RollbackId>() else {
                let message = format!("`{}` is not the id of a rollback", written.value.escape_debug());
                out.push(Diagnostic::error("bad-id", written.place(), message).hint("the first one is `R1`"));
                return None;
            };
            Some(Input::Command(Command::Settle { rollback, done, by }))
        }
        "deployment" => deployment(node, by, out),
        _ => None,
    }
}

/// Reads what is told of a deployment; without a target it is the only one's ([`super::session`] looks it up).
fn deployment(node: &Node, by: String, out: &mut Findings) -> Option<Input> {
    let fields = DEPLOYMENT.read(node, out)?;
    let mut words = |key: &str| {
        let node = fields.get(key)?;
        decode::text(node, &format!("`{key}`"), out).map(|text| text.value.clone())
    };
    let (target, version, previous, name) =
        (words("target"), words("start"), words("previous"), words("name"));
    let mut share = |key: &str| fields.get(key).map(|node| share(node, out));
    let (stage, progress) = (share("stage"), share("progress"));
    let settle = fields.get("settle").and_then(|node| decode::duration(node, "`settle`", out));
    let settle = settle.map_or(Span::ZERO, |settle| settle.value);
    let finish = fields.get("finish").map(|node| decode::choice(node, "`finish`", &ENDINGS, out));
    let no_return =
        fields.get("point_of_no_return").map(|node| decode::boolean(node, "`point_of_no_return`", out));
    let mut news = vec![
        version.map(|version| Some(DeploymentNews::Start { version, previous })),
        stage.map(|share| Some(DeploymentNews::Stage { share: share?, name, settle })),
        progress.map(|share| Some(DeploymentNews::Progress { share: share? })),
        finish.map(|ending| Some(DeploymentNews::Finish { ending: ending? })),
        no_return.map(|is| is.map(|_| DeploymentNews::PointOfNoReturn {})),
    ];
    news.retain(Option::is_some);
    let [news] = news.as_mut_slice() else {
        let message = "one thing at a time is told of a deployment";
        let hint = "one of `start: VERSION`, `stage: 25%`, `progress: 50%`, `finish: rolled out`, `point_of_no_return: true`";
        out.push(Diagnostic::error("bad-happening", fields.place(), message).hint(hint));
        return None;
    };
    let target = TargetName::from(target.unwrap_or_default());
    Some(Input::Command(Command::Deployment { target, news: news.take().flatten()?, by }))
}

/// Reads a share such as `25%`.
fn share(node: &Node, out: &mut Findings) -> Option<f64> {
    let written = decode::text(node, "a share", out)?;
    let percent = written.value.strip_suffix('%').and_then(|percent| percent.trim().parse::<f64>().ok());
    let share = percent.filter(|percent| (0.0..=100.0).contains(percent)).map(|percent| percent / 100.0);
    if share.is_none() {
        out.push(decode::wrong_type(node, "a share", "a number of percent such as `25%`"));
    }
    share
}
