//! `ingest`: the listener for what comes in, and which token may say what. Off where it is not written (E12).

use std::path::Path;

use super::credentials;
use super::listen;
use super::settings::{Capability, Ingest, IngestToken};
use crate::engine::rules::decode::{Shape, check_name, choice, list, text};
use crate::engine::rules::yaml::Node;
use crate::engine::rules::{Diagnostic, Findings};

const INGEST: Shape = Shape { what: "`ingest`", keys: &["listen", "tokens"], later: &[] };
const TOKEN: Shape = Shape { what: "a token", keys: &["name", "may", "token"], later: &[] };

const CAPABILITIES: [(&str, Capability); 1] = [("deployments", Capability::Deployments)];

/// Reads `ingest`; paths of secrets begin at `directory`.
pub(super) fn read(node: &Node, directory: &Path, out: &mut Findings) -> Option<Ingest> {
    let fields = INGEST.read(node, out)?;
    let address = match fields.required("listen", out) {
        Some(_) => listen::listen(&fields, out),
        None => None,
    };
    if address.is_some_and(|address| !address.ip().is_loopback()) {
        let message = "tokens and what they say travel to this address unprotected";
        let hint = "listen on 127.0.0.1 behind a proxy with TLS, or on a network that you trust";
        out.push(Diagnostic::warning("unprotected", fields.key_place("listen"), message).hint(hint));
    }
    let tokens = fields.required("tokens", out)?;
    let mut read: Vec<IngestToken> = Vec::new();
    for node in list(tokens, "`tokens`", out) {
        let Some(token) = token(node, directory, out) else { continue };
        if let Some(first) = read.iter().find(|other| other.name == token.name) {
            let message = format!("a second token `{}`", token.name);
            let hint =
                format!("the first one is on line {}; names tell who said what", first.token.place.line);
            out.push(Diagnostic::error("duplicate-name", token.token.place.clone(), message).hint(hint));
        }
        read.push(token);
    }
    if matches!(tokens, Node::Sequence(items, _) if items.is_empty()) {
        let message = "`tokens` is empty: nobody could say anything";
        let hint = "such as `tokens: [{ name: ci, may: [deployments], token: { credential: ci } }]`";
        out.push(Diagnostic::error("no-tokens", tokens.place(), message).hint(hint));
    }
    Some(Ingest { listen: address?, tokens: read })
}

fn token(node: &Node, directory: &Path, out: &mut Findings) -> Option<IngestToken> {
    let fields = TOKEN.read(node, out)?;
    let name = fields.required("name", out).and_then(|node| text(node, "`name`", out));
    if let Some(name) = name {
        check_name(name, out);
    }
    let may: Vec<Capability> = fields.required("may", out).map_or_else(Vec::new, |node| {
        let words = list(node, "`may`", out);
        if words.is_empty() {
            let message = "this token may do nothing";
            out.push(
                Diagnostic::error("no-capability", node.place(), message).hint("such as `[deployments]`"),
            );
        }
        words.iter().filter_map(|word| choice(word, "what a token may", &CAPABILITIES, out)).collect()
    });
    let token = fields.required("token", out);
    let token = token.and_then(|node| credentials::reference(node, "`token`", directory, out));
    Some(IngestToken { name: name?.value.clone(), may, token: token? })
}
