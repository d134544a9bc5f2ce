//! Reads typed values out of a YAML tree and goes on after an error, so that one run tells them all.
//!
//! Every reader returns `None` after it has pushed what is wrong; the caller leaves that part out and continues. So a
//! value that could not be read is reported once and never again as missing or unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::diagnostic::{Diagnostic, Findings, Place, name_hint, nearest};
use super::yaml::{Node, Scalar};
use crate::engine::time::Span;

/// A value with the place where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

impl<T> Spanned<T> {
    /// Pairs a value with its place.
    pub fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

/// The keys that one kind of mapping may have.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What the mapping is, for messages: `a trigger`.
    pub what: &'static str,
    /// The keys that are read.
    pub keys: &'static [&'static str],
    /// Keys that the format has and this version does not support; ignoring them would change what the file means.
    pub later: &'static [&'static str],
}

/// The entries of one mapping whose keys have been checked.
#[derive(Debug)]
pub struct Fields<'n> {
    what: &'static str,
    place: Place,
    entries: BTreeMap<&'n str, (&'n Scalar, &'n Node)>,
    later: BTreeSet<&'n str>,
}

impl Shape {
    /// Reads a mapping: unknown, repeated and not yet supported keys are reported, the others are kept.
    pub fn read<'n>(&self, node: &'n Node, out: &mut Findings) -> Option<Fields<'n>> {
        let Node::Mapping(written, place) = node else {
            out.push(wrong_type(node, self.what, "a mapping"));
            return None;
        };
        let mut entries: BTreeMap<&str, (&Scalar, &Node)> = BTreeMap::new();
        let mut later = BTreeSet::new();
        for (key, value) in written {
            let name = key.value.as_str();
            if self.later.contains(&name) {
                out.push(not_supported(key.place(), name));
                later.insert(name);
            } else if !self.keys.contains(&name) {
                let known = self.keys.iter().copied();
                let hint = match nearest(name, known.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => name_hint(name, "key", known),
                };
                let message = format!("unknown key `{}` in {}", name.escape_debug(), self.what);
                out.push(Diagnostic::error("unknown-key", key.place(), message).hint(hint));
            } else if let Some(&(first, _)) = entries.get(name) {
                out.push(duplicate(key, first, "key"));
            } else {
                entries.insert(name, (key, value));
            }
        }
        Some(Fields { what: self.what, place: place.clone(), entries, later })
    }
}

impl<'n> Fields<'n> {
    /// Returns the value of `key`, where it was written.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.get(key).map(|(_, node)| *node)
    }

    /// Returns `key` itself, where it was written.
    pub fn key(&self, key: &str) -> Option<&'n Scalar> {
        self.entries.get(key).map(|(key, _)| *key)
    }

    /// Returns where the mapping begins.
    pub fn place(&self) -> Place {
        self.place.clone()
    }

    /// Returns whether `key` was written although this version does not support it: then what it stands in for is not
    /// missing.
    pub fn has_later(&self, key: &str) -> bool {
        self.later.contains(key)
    }

    /// Returns where `key` itself was written, or the whole mapping.
    pub fn key_place(&self, key: &str) -> Place {
        self.entries.get(key).map_or_else(|| self.place.clone(), |(key, _)| key.place())
    }

    /// Returns the value of `key`, and reports where it is missing.
    pub fn required(&self, key: &str, out: &mut Findings) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            let message = format!("{} needs `{key}`", self.what);
            out.push(
                Diagnostic::error("missing-key", self.place.clone(), message).label("it is missing here"),
            );
        }
        found
    }
}

/// Reads a mapping whose keys are names that people choose; reports names that are malformed or used twice.
pub fn named<'n>(node: &'n Node, what: &str, out: &mut Findings) -> Vec<(&'n Scalar, &'n Node)> {
    let entries = titled(node, what, out);
    for (name, _) in &entries {
        check_name(name, out);
    }
    entries
}

/// Reads a mapping whose keys are words for people, such as tasks; reports those that are used twice.
pub fn titled<'n>(node: &'n Node, what: &str, out: &mut Findings) -> Vec<(&'n Scalar, &'n Node)> {
    let Node::Mapping(written, _) = node else {
        out.push(wrong_type(node, what, "a mapping from names"));
        return Vec::new();
    };
    let mut seen: BTreeMap<&str, &Scalar> = BTreeMap::new();
    let mut entries = Vec::new();
    for (key, value) in written {
        if let Some(first) = seen.get(key.value.as_str()) {
            out.push(duplicate(key, first, "name"));
            continue;
        }
        seen.insert(&key.value, key);
        entries.push((key, value));
    }
    entries
}

/// Reports a name that would not survive in labels, unit names and commands.
pub fn check_name(name: &Scalar, out: &mut Findings) {
    /// Keeps keys that are made of names under the 255 characters that receivers allow.
    const NAME_MAX: usize = 64;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let value = &name.value;
    if value.len() > NAME_MAX
        || !value.chars().all(good)
        || !value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    {
        out.push(
            Diagnostic::error("bad-name", name.place(), format!("`{}` cannot be a name", value.escape_debug()))
                .hint(format!(
                    "use up to {NAME_MAX} ASCII letters, digits, `_`, `-` and `.`, beginning with a letter or digit"
                )),
        );
    }
}

/// Reads a text. Numbers and booleans without quotes are texts too; nothing at all is not.
pub fn text<'n>(node: &'n Node, what: &str, out: &mut Findings) -> Option<&'n Scalar> {
    match node {
        Node::Scalar(scalar) if !scalar.is_null() && !scalar.value.trim().is_empty() => Some(scalar),
        _ => {
            out.push(wrong_type(node, what, "a text"));
            None
        }
    }
}

/// Reads a list; reports where there is something else.
pub fn list<'n>(node: &'n Node, what: &str, out: &mut Findings) -> &'n [Node] {
    match node {
        Node::Sequence(items, _) => items,
        _ => {
            out.push(wrong_type(node, what, "a list").hint("a list of one is written `[item]`"));
            &[]
        }
    }
}

/// Reads a list of texts.
pub fn texts<'n>(node: &'n Node, what: &str, out: &mut Findings) -> Vec<&'n Scalar> {
    list(node, what, out).iter().filter_map(|item| text(item, what, out)).collect()
}

/// Reads `true` or `false`; other spellings of YAML's past are refused.
pub fn boolean(node: &Node, what: &str, out: &mut Findings) -> Option<bool> {
    match node {
        Node::Scalar(scalar) if scalar.plain && scalar.value == "true" => Some(true),
        Node::Scalar(scalar) if scalar.plain && scalar.value == "false" => Some(false),
        _ => {
            out.push(wrong_type(node, what, "`true` or `false`"));
            None
        }
    }
}

/// Reads a duration such as `90s`.
pub fn duration(node: &Node, what: &str, out: &mut Findings) -> Option<Spanned<Span>> {
    let scalar = text(node, what, out)?;
    match Span::from_str(&scalar.value) {
        Ok(span) => Some(Spanned::new(span, scalar.place())),
        Err(error) => {
            let hint = match scalar.value.parse::<f64>() {
                Ok(_) => Some(format!("a unit is missing: did you mean `{}s`?", scalar.value)),
                Err(_) => None,
            };
            let message = format!("{what}: {error}");
            out.push(Diagnostic::error("bad-duration", scalar.place(), message).maybe_hint(hint));
            None
        }
    }
}

/// Reads a duration that must be longer than zero.
pub fn positive_duration(node: &Node, what: &str, out: &mut Findings) -> Option<Spanned<Span>> {
    let span = duration(node, what, out)?;
    if span.value.is_zero_or_negative() {
        let message = format!("{what} must be longer than zero");
        out.push(Diagnostic::error("bad-duration", span.place.clone(), message));
        return None;
    }
    Some(span)
}

/// Reads one of a closed list of words.
pub fn choice<T: Copy>(node: &Node, what: &str, words: &[(&str, T)], out: &mut Findings) -> Option<T> {
    let scalar = text(node, what, out)?;
    let found = words.iter().find(|(word, _)| *word == scalar.value).map(|(_, value)| *value);
    if found.is_none() {
        let message = format!("{what} cannot be `{}`", scalar.value.escape_debug());
        let hint = name_hint(&scalar.value, "value", words.iter().map(|(word, _)| *word));
        out.push(Diagnostic::error("unknown-value", scalar.place(), message).hint(hint));
    }
    found
}

/// Makes the error for a value of another type.
pub fn wrong_type(node: &Node, what: &str, expected: &str) -> Diagnostic {
    let message = format!("{what} must be {expected}, found {}", node.describe());
    Diagnostic::error("wrong-type", node.place(), message)
}

/// Makes the error for a part of the format that this version lacks.
pub fn not_supported(place: Place, what: &str) -> Diagnostic {
    Diagnostic::error("not-supported-yet", place, format!("`{what}` is not supported by this version yet"))
        .hint("the key is not misspelt, but nothing would act on it: take it out for now")
}

fn duplicate(second: &Scalar, first: &Scalar, kind: &str) -> Diagnostic {
    let message = format!("the {kind} `{}` is used twice", second.value.escape_debug());
    Diagnostic::error("duplicate-key", second.place(), message)
        .hint(format!("it was first used on line {}", first.place().line))
}

#[cfg(test)]
mod tests {
    use super::super::diagnostic::SourceFile;
    use super::super::yaml;
    use super::*;

    const SHAPE: Shape = Shape { what: "a thing", keys: &["name", "for", "big"], later: &["given"] };

    fn problems(text: &str) -> Vec<String> {
        let file = SourceFile::new("t.yaml", text);
        let node = yaml::parse(&file).ok().flatten().unwrap_or_else(|| panic!("{text:?} is not YAML"));
        let mut out = Findings::default();
        if let Some(fields) = SHAPE.read(&node, &mut out) {
            fields.required("name", &mut out).and_then(|node| self::text(node, "the name", &mut out));
            fields.get("for").and_then(|node| positive_duration(node, "`for`", &mut out));
            fields.get("big").and_then(|node| boolean(node, "`big`", &mut out));
        }
        match out.conclude(()) {
            Ok(_) => Vec::new(),
            Err(all) => {
                all.into_iter().map(|d| format!("{}:{} {}", d.place.line, d.place.column, d.code)).collect()
            }
        }
    }

    #[test]
    fn every_problem_of_a_mapping_is_told_at_its_place() {
        let cases: [(&str, &[&str]); 7] = [
            ("name: x\nfor: 5s\nbig: true\n", &[]),
            ("for: 5s\n", &["1:1 missing-key"]),
            ("nam: x\nname: [1]\nfor: 5\n", &["1:1 unknown-key", "2:7 wrong-type", "3:6 bad-duration"]),
            ("name: x\nname: y\ngiven: z\n", &["2:1 duplicate-key", "3:1 not-supported-yet"]),
            ("name: x\nbig: yes\nfor: 0s\n", &["2:6 wrong-type", "3:6 bad-duration"]),
            ("name:\n", &["1:5 wrong-type"]),
            ("[name]\n", &["1:1 wrong-type"]),
        ];
        for (text, expected) in cases {
            assert_eq!(problems(text), expected, "{text:?}");
        }
    }
}
