//! The part of a source that only probes have: what is asked, and what the answer must be like.

use std::collections::BTreeSet;

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::Value;

use super::address;
use super::argv;
use super::credentials::SECRET_IN_TEXT;
use crate::engine::rules::decode::{
    Fields, Shape, Spanned, choice, list, positive_duration, text, titled, wrong_type,
};
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::rules::{Diagnostic, Findings};
use crate::engine::time::Span;
use crate::probe::{BodyPattern, Expectation, HttpProbe, JsonPath, Method, Probe, Redirects};

const PROBE: Shape = Shape { what: "a probe", keys: &["exec"], later: &[] };
const EXPECT: Shape = Shape { what: "`expect`", keys: &["status", "json", "body", "within"], later: &[] };

/// The keys of a source that only an HTTP probe has.
const HTTP_KEYS: [&str; 3] = ["method", "headers", "redirects"];

const METHODS: [(&str, Method); 3] = [("GET", Method::Get), ("HEAD", Method::Head), ("POST", Method::Post)];
const REDIRECTS: [(&str, Redirects); 2] = [("refuse", Redirects::Refuse), ("follow", Redirects::Follow)];

/// Parts of the names of headers that carry what nobody else should know.
const SECRET_HEADERS: [&str; 6] = ["authorization", "cookie", "token", "api-key", "apikey", "secret"];

/// What is asked, as written.
enum Asked<'n> {
    Http(&'n Scalar),
    Tcp(String),
    Exec(Vec<String>),
}

/// Reads a probe; `None` where something in it is broken, which has been told.
pub(super) fn read(node: &Node, fields: &Fields<'_>, timeout: Span, out: &mut Findings) -> Option<Probe> {
    let asked = asked(node, out);
    let expect = match fields.get("expect") {
        Some(node) => expectation(node, timeout, out),
        None => Some(Expectation::default()),
    };
    let is_http = match &asked {
        Some(Asked::Tcp(_) | Asked::Exec(_)) => {
            refuse_http_keys(fields, out);
            false
        }
        _ => true,
    };
    let method = match fields.get("method").filter(|_| is_http) {
        Some(node) => choice(node, "`method`", &METHODS, out),
        None => Some(Method::Get),
    };
    let redirects = match fields.get("redirects").filter(|_| is_http) {
        Some(node) => choice(node, "`redirects`", &REDIRECTS, out),
        None => Some(Redirects::Refuse),
    };
    let headers = fields.get("headers").filter(|_| is_http).map_or_else(Vec::new, |node| headers(node, out));
    let (asked, expect, method) = (asked?, expect?, method?);
    if method == Method::Head && expect.reads_body() {
        let message = "a `HEAD` request has no body in its answer, so nothing can be expected of one";
        let hint = "leave `method` out, or expect `status` and `within` only";
        out.push(Diagnostic::error("bad-probe", fields.key_place("method"), message).hint(hint));
    }
    let within = expect.within;
    Some(match asked {
        Asked::Http(url) => {
            Probe::Http(HttpProbe { url: url.value.clone(), method, headers, redirects: redirects?, expect })
        }
        Asked::Tcp(address) => Probe::Tcp { address, within },
        Asked::Exec(argv) => Probe::Exec { argv, within },
    })
}

/// Refuses the keys that only probes have, at a source of another kind.
pub(super) fn refuse_keys(fields: &Fields<'_>, out: &mut Findings) {
    for key in HTTP_KEYS.into_iter().chain(["expect"]).filter_map(|key| fields.key(key)) {
        let message = format!("`{}` belongs to a probe, and this source is none", key.value);
        let hint = "a probe is a source of its own: `health: { probe: URL, expect: { status: 200 } }`";
        out.push(Diagnostic::error("not-a-probe", key.place(), message).hint(hint));
    }
}

/// Refuses what a probe that is no HTTP request does not have.
fn refuse_http_keys(fields: &Fields<'_>, out: &mut Findings) {
    let of_expect = fields.get("expect").into_iter().flat_map(|node| match node {
        Node::Mapping(entries, _) => entries.as_slice(),
        _ => &[],
    });
    let of_answer =
        of_expect.map(|(key, _)| key).filter(|key| matches!(key.value.as_str(), "status" | "json" | "body"));
    for key in HTTP_KEYS.iter().filter_map(|key| fields.key(key)).chain(of_answer) {
        let message = format!("`{}` is for HTTP probes only", key.value);
        let hint = "a connection or a program can be expected to be there `within` a time, and no more";
        out.push(Diagnostic::error("not-http", key.place(), message).hint(hint));
    }
}

fn asked<'n>(node: &'n Node, out: &mut Findings) -> Option<Asked<'n>> {
    if let Node::Mapping(..) = node {
        let fields = PROBE.read(node, out)?;
        let argv = argv::read(fields.required("exec", out)?, out)?;
        return Some(Asked::Exec(argv.iter().map(|word| word.value.clone()).collect()));
    }
    let written = text(node, "`probe`", out)?;
    match written.value.split_once("://").map(|(scheme, _)| scheme) {
        Some("tcp") => host_and_port(written, out).map(Asked::Tcp),
        Some("http" | "https") => address::url(written, "`probe`", out).map(|_| Asked::Http(written)),
        _ => {
            let message = format!("`{}` is nothing that can be probed", written.value.escape_debug());
            let hint = "`http://HOST/PATH`, `https://HOST/PATH`, `tcp://HOST:PORT`, or `{ exec: [/path/to/program] }`";
            out.push(Diagnostic::error("bad-probe", written.place(), message).hint(hint));
            None
        }
    }
}

fn host_and_port(written: &Scalar, out: &mut Findings) -> Option<String> {
    let url = reqwest::Url::parse(&written.value).ok();
    let is_bare = |url: &reqwest::Url| {
        url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let address = url.filter(is_bare).and_then(|url| {
        let host = url.host_str().filter(|host| !host.is_empty())?;
        Some(format!("{host}:{}", url.port().filter(|port| *port > 0)?))
    });
    if address.is_none() {
        let message = format!("`{}` is not a host with a port", written.value.escape_debug());
        let hint = "such as `tcp://127.0.0.1:6379`";
        out.push(Diagnostic::error("bad-probe", written.place(), message).hint(hint));
    }
    address
}

fn expectation(node: &Node, timeout: Span, out: &mut Findings) -> Option<Expectation> {
    let fields = EXPECT.read(node, out)?;
    let status = match fields.get("status") {
        Some(node) => statuses(node, out),
        None => Some(BTreeSet::new()),
    };
    let json = match fields.get("json") {
        Some(node) => json(node, out),
        None => Some(Vec::new()),
    };
    let body = match fields.get("body") {
        Some(node) => pattern(node, out).map(Some),
        None => Some(None),
    };
    let within = fields.get("within").map(|node| positive_duration(node, "`within`", out));
    if let Some(Some(within)) = &within {
        check_within(within, timeout, out);
    }
    let within = within.map_or(Some(None), |within| within.map(|within| Some(within.value)));
    Some(Expectation { status: status?, json: json?, body: body?, within: within? })
}

fn check_within(within: &Spanned<Span>, timeout: Span, out: &mut Findings) {
    if within.value > timeout {
        let message = format!("after the timeout of {timeout} nobody waits any more, so this says nothing");
        let hint = format!("at most `within: {timeout}`, or a longer `timeout`");
        out.push(Diagnostic::error("bad-timeout", within.place.clone(), message).hint(hint));
    }
}

/// Reads `200` or `[200, 204]`.
fn statuses(node: &Node, out: &mut Findings) -> Option<BTreeSet<u16>> {
    let items = match node {
        Node::Scalar(_) => std::slice::from_ref(node),
        _ => list(node, "`status`", out),
    };
    let status = |item: &Node| {
        let written = text(item, "`status`", out)?;
        let status = written.value.parse().ok().filter(|status| (100..600).contains(status));
        if status.is_none() {
            let message = format!("`{}` is not an HTTP status", written.value.escape_debug());
            out.push(
                Diagnostic::error("bad-status", written.place(), message)
                    .hint("a number from 100 to 599, such as `200`, or several: `[200, 204]`"),
            );
        }
        status
    };
    let read: Vec<Option<u16>> = items.iter().map(status).collect();
    if matches!(node, Node::Sequence(items, _) if items.is_empty()) {
        let message = "no status would be good";
        out.push(Diagnostic::error("bad-status", node.place(), message).hint("such as `[200, 204]`"));
        return None;
    }
    read.into_iter().collect::<Option<BTreeSet<u16>>>().filter(|read| !read.is_empty())
}

fn json(node: &Node, out: &mut Findings) -> Option<Vec<(JsonPath, Value)>> {
    let mut whole = true;
    let mut read = Vec::new();
    for (path, node) in titled(node, "`json`", out) {
        let parsed = match JsonPath::parse(&path.value) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let place = path.place_within(error.at..path.value.len());
                let hint = "such as `$.database.status` or `$.checks[0].ok`";
                out.push(Diagnostic::error("bad-json-path", place, error.message).hint(hint));
                None
            }
        };
        match (parsed, node) {
            (Some(path), Node::Scalar(scalar)) => read.push((path, value(scalar))),
            (_, Node::Scalar(_)) => whole = false,
            _ => {
                out.push(wrong_type(node, "what is expected", "a text, a number, `true`, `false` or `null`"));
                whole = false;
            }
        }
    }
    whole.then_some(read).filter(|_| matches!(node, Node::Mapping(..)))
}

/// Returns a scalar as JSON has it: in quotes it is a text, whatever it looks like.
fn value(scalar: &Scalar) -> Value {
    if scalar.is_null() {
        return Value::Null;
    }
    let plain: Option<Value> = scalar.plain.then(|| serde_json::from_str(&scalar.value).ok()).flatten();
    plain
        .filter(|value| value.is_number() || value.is_boolean())
        .unwrap_or_else(|| scalar.value.clone().into())
}

fn pattern(node: &Node, out: &mut Findings) -> Option<BodyPattern> {
    let written = text(node, "`body`", out)?;
    match BodyPattern::new(&written.value) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let last = error.to_string();
            let last = last.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            let message = format!("`body` is not a regular expression: {last}");
            out.push(Diagnostic::error("bad-pattern", written.place(), message));
            None
        }
    }
}

fn headers(node: &Node, out: &mut Findings) -> Vec<(String, String)> {
    let mut read = Vec::new();
    for (name, node) in titled(node, "`headers`", out) {
        let Some(value) = text(node, "a header's value", out) else { continue };
        let lower = name.value.to_ascii_lowercase();
        if SECRET_HEADERS.iter().any(|secret| lower.contains(secret)) {
            let message = format!(
                "`{}` carries a secret, which must not stand in this file",
                name.value.escape_debug()
            );
            let hint = "give the probe an address that needs none, and replace the secret: it has been seen";
            out.push(Diagnostic::error(SECRET_IN_TEXT, name.place(), message).hint(hint));
        } else if HeaderName::try_from(name.value.as_str()).is_err() {
            let message = format!("`{}` cannot be a header's name", name.value.escape_debug());
            out.push(Diagnostic::error("bad-header", name.place(), message).hint("such as `Accept`"));
        } else if HeaderValue::try_from(value.value.as_str()).is_err() {
            let message = format!("this cannot be the value of `{}`", name.value);
            let hint = "one line of printable characters";
            out.push(Diagnostic::error("bad-header", value.place(), message).hint(hint));
        } else {
            read.push((name.value.clone(), value.value.clone()));
        }
    }
    read
}
