//! `receivers`: the channels that page, and `escalations`: which of them are told.

use std::path::Path;

use super::settings::{Email, MailTls, PagerDuty, Receiver};
use super::{address, credentials};
use crate::engine::rules::decode::{
    Fields, Shape, Spanned, choice, duration, list, named, not_supported, text, texts, wrong_type,
};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings};
use crate::engine::time::Span;

const RECEIVER: Shape = Shape {
    what: "a receiver",
    keys: &["pagerduty", "email"],
    later: &["slack", "discord", "webhook", "alertmanager", "opsgenie", "teams", "rate", "quiet"],
};
const PAGERDUTY: Shape = Shape {
    what: "a PagerDuty receiver",
    keys: &["routing_key", "url"],
    later: &["client", "links", "change_events"],
};
const EMAIL: Shape = Shape {
    what: "an email receiver",
    keys: &["smtp", "tls", "from", "to", "username", "password"],
    later: &["cc", "bcc", "reply_to", "subject", "headers"],
};
const LEVEL: Shape = Shape {
    what: "an escalation level",
    keys: &["after", "notify", "always"],
    later: &["repeat", "severity", "during"],
};

const YES_OR_NO: [(&str, bool); 2] = [("true", true), ("false", false)];
const MAIL_TLS: [(&str, MailTls); 3] =
    [("starttls", MailTls::StartTls), ("implicit", MailTls::Implicit), ("plain", MailTls::Plain)];

/// One policy as written.
#[derive(Clone, Debug)]
pub(super) struct WrittenPolicy {
    pub(super) name: Scalar,
    pub(super) levels: Vec<WrittenLevel>,
}

/// One level of a policy as written.
#[derive(Clone, Debug)]
pub(super) struct WrittenLevel {
    pub(super) after: Span,
    pub(super) notify: Vec<Scalar>,
    pub(super) always: bool,
}

/// Reads `receivers`; a broken one keeps its name.
pub(super) fn read(node: &Node, directory: &Path, out: &mut Findings) -> Vec<(Scalar, Option<Receiver>)> {
    named(node, "`receivers`", out)
        .into_iter()
        .map(|(name, node)| (name.clone(), receiver(name, node, directory, out)))
        .collect()
}

fn receiver(name: &Scalar, node: &Node, directory: &Path, out: &mut Findings) -> Option<Receiver> {
    let fields = RECEIVER.read(node, out)?;
    match (fields.get("pagerduty"), fields.get("email")) {
        (Some(node), None) => pagerduty(&PAGERDUTY.read(node, out)?, directory, out).map(Receiver::PagerDuty),
        (None, Some(node)) => email(&EMAIL.read(node, out)?, directory, out).map(Receiver::Email),
        (None, None) if RECEIVER.later.iter().any(|key| fields.has_later(key)) => None,
        _ => {
            let message = format!("receiver `{}` needs exactly one channel", name.value);
            let hint = "`pagerduty: { routing_key: ... }` or `email: { smtp: ..., from: ..., to: [...] }`";
            out.push(Diagnostic::error("bad-receiver", name.place(), message).hint(hint));
            None
        }
    }
}

fn pagerduty(fields: &Fields<'_>, directory: &Path, out: &mut Findings) -> Option<PagerDuty> {
    let key = fields.required("routing_key", out);
    let routing_key = key.and_then(|node| credentials::reference(node, "`routing_key`", directory, out));
    let mut base_url = None;
    if let Some(written) = fields.get("url").and_then(|node| text(node, "`url`", out)) {
        let url = address::url(written, "`url`", out)?;
        let host = url.host_str().unwrap_or_default();
        if url.scheme() == "http" && !address::is_loopback(host) {
            let message = "the routing key would travel unprotected".to_owned();
            out.push(Diagnostic::error("unprotected", written.place(), message).hint("write `https://`"));
        }
        base_url = Some(written.value.clone());
    }
    Some(PagerDuty { routing_key: routing_key?, base_url })
}

fn email(fields: &Fields<'_>, directory: &Path, out: &mut Findings) -> Option<Email> {
    let smtp = fields.required("smtp", out).and_then(|node| text(node, "`smtp`", out));
    let server = smtp.and_then(|written| host_and_port(written, out));
    let tls = fields.get("tls").map(|node| choice(node, "`tls`", &MAIL_TLS, out));
    let from = fields.required("from", out).and_then(|node| text(node, "`from`", out));
    let from = from.and_then(|written| address::mailbox(written, "`from`", out));
    let to = fields.required("to", out).map(|node| recipients(node, out));
    let username = fields.get("username").and_then(|node| text(node, "`username`", out));
    let password = fields.get("password");
    let password = password.and_then(|node| credentials::reference(node, "`password`", directory, out));
    for (one, other) in [("username", "password"), ("password", "username")] {
        if fields.get(one).is_some() && fields.get(other).is_none() {
            let message = format!("`{one}` without `{other}`");
            let hint = "write both, or neither where the server asks for none";
            out.push(Diagnostic::error("missing-key", fields.key_place(one), message).hint(hint));
        }
    }
    let (host, port) = server?;
    let tls = tls.unwrap_or(Some(if port == 465 { MailTls::Implicit } else { MailTls::StartTls }))?;
    if tls == MailTls::Plain && !address::is_loopback(&host) {
        let message = format!("mail to `{host}` would leave this host unprotected");
        let hint = "`tls: plain` is for a mail server on this host; write `starttls` or `implicit`";
        out.push(Diagnostic::error("unprotected", fields.key_place("tls"), message).hint(hint));
    }
    let credentials = username.map(|username| username.value.clone()).zip(password);
    Some(Email { host, port, tls, credentials, from: from?, to: to? })
}

fn host_and_port(written: &Scalar, out: &mut Findings) -> Option<(String, u16)> {
    let parts = written.value.rsplit_once(':').and_then(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let good =
            !bare.is_empty() && !bare.contains(['/', '@', ' ']) && (bare == host) != bare.contains(':');
        port.parse().ok().filter(|port| good && *port != 0).map(|port: u16| (bare.to_owned(), port))
    });
    if parts.is_none() {
        let message = format!("`{}` is not a mail server's host and port", written.value.escape_debug());
        out.push(
            Diagnostic::error("bad-address", written.place(), message).hint("such as `smtp.example.com:587`"),
        );
    }
    parts
}

fn recipients(node: &Node, out: &mut Findings) -> Vec<String> {
    let items = list(node, "`to`", out);
    if let Node::Sequence(items, place) = node
        && items.is_empty()
    {
        out.push(Diagnostic::error("no-recipients", place.clone(), "`to` names nobody"));
    }
    let mut addresses = Vec::new();
    for item in items {
        match item {
            Node::Mapping(_, place) => out
                .push(not_supported(place.clone(), "{ on_call: ... }").hint("write a mail address for now")),
            item => addresses
                .extend(text(item, "`to`", out).and_then(|written| address::mailbox(written, "`to`", out))),
        }
    }
    addresses
}

/// Reads `escalations`.
pub(super) fn read_policies(node: &Node, out: &mut Findings) -> Vec<WrittenPolicy> {
    named(node, "`escalations`", out)
        .into_iter()
        .map(|(name, node)| WrittenPolicy { name: name.clone(), levels: levels(name, node, out) })
        .collect()
}

fn levels(name: &Scalar, node: &Node, out: &mut Findings) -> Vec<WrittenLevel> {
    let written = list(node, "an escalation policy", out);
    if matches!(node, Node::Sequence(items, _) if items.is_empty()) {
        let message = format!("policy `{}` notifies nobody", name.value);
        let hint = "write `- { after: 0s, notify: [RECEIVER] }`";
        out.push(Diagnostic::error("no-recipients", node.place(), message).hint(hint));
    }
    let mut levels: Vec<WrittenLevel> = Vec::new();
    for level in written {
        let Some(fields) = LEVEL.read(level, out) else { continue };
        let after = fields.get("after").and_then(|node| duration(node, "`after`", out));
        check_order(level, after.as_ref(), levels.last(), out);
        let always = fields.get("always").and_then(|node| choice(node, "`always`", &YES_OR_NO, out));
        let notify = fields.required("notify", out).map_or_else(Vec::new, |node| notified(name, node, out));
        levels.push(WrittenLevel {
            after: after.map_or(Span::ZERO, |after| after.value),
            notify,
            always: always.unwrap_or_default(),
        });
    }
    levels
}

/// Sees to it that somebody is told at once, and that each level comes after the one before it.
fn check_order(
    level: &Node,
    after: Option<&Spanned<Span>>,
    before: Option<&WrittenLevel>,
    out: &mut Findings,
) {
    let place = after.map_or_else(|| level.place(), |after| after.place.clone());
    let after = after.map_or(Span::ZERO, |after| after.value);
    match before {
        None if after != Span::ZERO => {
            let message = format!("nobody is told before {after} have passed");
            let hint = "the first level is told at once: write `after: 0s`";
            out.push(Diagnostic::error("late-first-level", place, message).hint(hint));
        }
        Some(before) if after <= before.after => {
            let message =
                format!("this level is told after {after}, and the one before it after {}", before.after);
            let hint = "levels are written in their order; those of one time are one level";
            out.push(Diagnostic::error("level-order", place, message).hint(hint));
        }
        _ => {}
    }
}

fn notified(name: &Scalar, node: &Node, out: &mut Findings) -> Vec<Scalar> {
    if matches!(node, Node::Sequence(items, _) if items.is_empty()) {
        let message = format!("policy `{}` notifies nobody", name.value);
        out.push(Diagnostic::error("no-recipients", node.place(), message));
    }
    match node {
        Node::Scalar(_) => {
            out.push(wrong_type(node, "`notify`", "a list of receivers"));
            Vec::new()
        }
        node => texts(node, "`notify`", out).into_iter().cloned().collect(),
    }
}
