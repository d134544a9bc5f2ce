//! One step of a plan: a program with its arguments, or an HTTP request. Never a shell line (E11).

use crate::config::{address, argv};
use crate::engine::decision::placeholders::STEP_PLACEHOLDERS;
use crate::engine::decision::{OnError, Step, StepAction};
use crate::engine::rules::decode::{Shape, boolean, choice, positive_duration, text};
use crate::engine::rules::diagnostic::{nearest, placeholder_hint};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings, Place};

const STEP: Shape = Shape {
    what: "a step",
    keys: &["name", "exec", "http", "timeout", "on_error", "idempotent"],
    later: &["probe", "retry", "user", "unit", "environment", "env", "when", "parallel", "approve"],
};
const HTTP: Shape = Shape {
    what: "`http`",
    keys: &["post", "put", "get", "body"],
    later: &["patch", "delete", "headers", "bearer_token", "expect", "basic_auth"],
};
const ON_ERROR: [(&str, OnError); 2] = [("stop", OnError::Stop), ("continue", OnError::Continue)];

/// Programs that run their argument after `-c` as a program text.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "ksh"];

/// Reads a step; also returns where its name is.
pub(super) fn read(node: &Node, out: &mut Findings) -> Option<(Place, Step)> {
    let fields = STEP.read(node, out)?;
    let name = fields.required("name", out).and_then(|node| text(node, "`name`", out));
    let timeout = fields.required("timeout", out).and_then(|node| positive_duration(node, "`timeout`", out));
    let on_error = match fields.get("on_error") {
        Some(node) => choice(node, "`on_error`", &ON_ERROR, out),
        None => Some(OnError::Stop),
    };
    let idempotent = match fields.get("idempotent") {
        Some(node) => boolean(node, "`idempotent`", out),
        None => Some(false),
    };
    let action = match (fields.get("exec"), fields.get("http")) {
        (Some(node), None) => exec(node, out),
        (None, Some(node)) => http(node, out),
        _ => {
            let message = "a step needs exactly one of `exec` and `http`";
            let hint = "`exec: [/path/to/program, argument]` or `http: { post: URL }`";
            out.push(Diagnostic::error("bad-step", fields.place(), message).hint(hint));
            None
        }
    };
    let name = name?;
    let step = Step {
        name: name.value.clone(),
        action: action?,
        timeout: timeout?.value,
        on_error: on_error?,
        idempotent: idempotent?,
    };
    Some((name.place(), step))
}

fn exec(node: &Node, out: &mut Findings) -> Option<StepAction> {
    let argv = argv::read(node, out)?;
    let (program, arguments) = argv.split_first()?;
    for argument in arguments {
        check_placeholders(argument, out);
    }
    if let Some(open) = program.value.find('{') {
        let place = program.place_within(open..program.value.len());
        let message = "the program itself cannot be a placeholder";
        out.push(Diagnostic::error("bad-placeholder", place, message));
    }
    check_shell(program, arguments, out);
    Some(StepAction::Exec { argv: argv.iter().map(|word| word.value.clone()).collect() })
}

/// Reports `{names}` that would not be filled in: unknown ones, and known ones inside a longer argument.
///
/// Braces around anything else pass, because other programs use them too (`{print $1}`, `{.status}`).
fn check_placeholders(argument: &Scalar, out: &mut Findings) {
    let value = &argument.value;
    for (open, _) in value.match_indices('{') {
        let Some(name) = value[open + 1..].find('}').map(|length| &value[open + 1..open + 1 + length]) else {
            continue;
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let whole = value.len() == name.len() + 2;
        let known = STEP_PLACEHOLDERS.contains(&name);
        let place = argument.place_within(open..open + name.len() + 2);
        if whole && !known {
            let message = format!("there is no placeholder `{{{name}}}`");
            let hint = placeholder_hint(name, &STEP_PLACEHOLDERS);
            out.push(Diagnostic::error("bad-placeholder", place, message).hint(hint));
        } else if !whole && (known || nearest(name, STEP_PLACEHOLDERS).is_some()) {
            let message = format!("`{{{name}}}` is only filled in as an argument of its own");
            let hint = format!("split the argument: `\"...\", \"{{{name}}}\"`");
            out.push(Diagnostic::error("bad-placeholder", place, message).hint(hint));
        }
    }
}

/// Reports a placeholder that a shell would run as a program: text from metrics is never a command (E11).
fn check_shell(program: &Scalar, arguments: &[&Scalar], out: &mut Findings) {
    let name = program.value.rsplit('/').next().unwrap_or_default();
    if !SHELLS.contains(&name) {
        return;
    }
    for pair in arguments.windows(2) {
        let [flag, text] = pair else { continue };
        let runs_text =
            flag.value.starts_with('-') && !flag.value.starts_with("--") && flag.value.ends_with('c');
        if runs_text && text.value.starts_with('{') && text.value.ends_with('}') {
            let message =
                format!("`{name} {}` would run the text of `{}` as a program", flag.value, text.value);
            let hint = "give a fixed script and pass the placeholder after it, as `$1`";
            out.push(Diagnostic::error("placeholder-as-program", text.place(), message).hint(hint));
        }
    }
}

fn http(node: &Node, out: &mut Findings) -> Option<StepAction> {
    let fields = HTTP.read(node, out)?;
    let methods: Vec<(&str, &Node)> = ["post", "put", "get"]
        .into_iter()
        .filter_map(|method| fields.get(method).map(|node| (method, node)))
        .collect();
    let [(method, node)] = methods.as_slice() else {
        if !["patch", "delete"].iter().any(|method| fields.has_later(method)) {
            let message = "`http` needs exactly one of `post`, `put` and `get`";
            out.push(
                Diagnostic::error("bad-step", fields.place(), message).hint("such as `http: { post: URL }`"),
            );
        }
        return None;
    };
    let url = text(node, "the URL", out)?;
    let body = match fields.get("body") {
        Some(node) => Some(text(node, "`body`", out)?),
        None => None,
    };
    for text in [Some(url), body].into_iter().flatten() {
        refuse_placeholders(text, out);
    }
    address::url(url, "the step's URL", out)?;
    Some(StepAction::Http {
        method: method.to_uppercase(),
        url: url.value.clone(),
        body: body.map(|body| body.value.clone()),
    })
}

/// Reports placeholders in a request: it is sent as written, and the facts go along as JSON where there is no body.
fn refuse_placeholders(text: &Scalar, out: &mut Findings) {
    for name in STEP_PLACEHOLDERS {
        let written = format!("{{{name}}}");
        if let Some(at) = text.value.find(&written) {
            let message = format!("`{written}` is not filled in in a request");
            let hint = "leave `body` out: the incident's facts are then sent as JSON";
            let place = text.place_within(at..at + written.len());
            out.push(Diagnostic::error("bad-placeholder", place, message).hint(hint));
        }
    }
}
