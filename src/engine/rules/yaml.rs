//! YAML as a tree in which everything knows its place, keys too.
//!
//! Typed deserialisation stops at its first error; a tree lets the readers of our files go on and tell all of them at
//! once. Aliases, merge keys (`<<`) and the tags of plain types (`!!str`) are resolved here. What YAML offers beyond that
//! is refused: other tags, several documents. Budgets bound what a hostile or broken file can cost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag};

use super::diagnostic::{Diagnostic, Place, SourceFile};

/// Nodes of one file, those that aliases repeat included.
const NODES_MAX: usize = 50_000;
/// Collections within collections.
const DEPTH_MAX: usize = 64;
/// Uses of aliases in one file.
const ALIASES_MAX: usize = 200;

/// A part of a YAML document.
#[derive(Clone, Debug)]
pub enum Node {
    /// A text, number, boolean or null: which one the reader decides.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>, Place),
    /// Keys and values in the order as written; keys may repeat.
    Mapping(Vec<(Scalar, Node)>, Place),
}

/// A scalar with its place in the file.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The text after YAML's escapes.
    pub value: String,
    /// Whether it was written without quotes.
    pub plain: bool,
    style: ScalarStyle,
    span: Range<usize>,
    file: SourceFile,
}

impl Node {
    /// Returns where it is.
    pub fn place(&self) -> Place {
        match self {
            Self::Scalar(scalar) => scalar.place(),
            Self::Sequence(_, place) | Self::Mapping(_, place) => place.clone(),
        }
    }

    /// Returns what it is, for messages: ``found `abc` ``, `found a list`.
    pub fn describe(&self) -> String {
        match self {
            Self::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Self::Scalar(scalar) => format!("`{}`", scalar.value.escape_debug()),
            Self::Sequence(..) => "a list".to_owned(),
            Self::Mapping(..) => "a mapping".to_owned(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Scalar(_) => 1,
            Self::Sequence(items, _) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Self::Mapping(entries, _) => 1 + entries.iter().map(|(_, node)| 1 + node.size()).sum::<usize>(),
        }
    }
}

impl Scalar {
    /// Returns where it is.
    pub fn place(&self) -> Place {
        self.file.place(self.span.clone())
    }

    /// Returns whether it stands for nothing at all: empty, `~` or `null`, without quotes.
    pub fn is_null(&self) -> bool {
        self.plain && matches!(self.value.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// Returns the place of a byte range of the value, so that an error inside an expression is shown where it was
    /// written. Where escapes make that inexact it is the scalar's own place.
    pub fn place_within(&self, range: Range<usize>) -> Place {
        let Some(offsets) = self.source_offsets() else { return self.place() };
        let at = |index: usize| offsets.get(index).or_else(|| offsets.last()).copied();
        match (at(range.start), at(range.end)) {
            (Some(start), Some(end)) => self.file.place(start..end.max(start)),
            _ => self.place(),
        }
    }

    /// Returns for each byte of the value, and for its end, the byte of the file from which it came; `None` where the
    /// two cannot be laid side by side.
    fn source_offsets(&self) -> Option<Vec<usize>> {
        let source = self.file.text();
        let end = self.span.end.min(source.len());
        let mut at = self.span.start;
        let mut value = self.value.as_str();
        match self.style {
            ScalarStyle::Plain => {}
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => at += 1,
            // The span begins after the header (`|`, `>-`); the value keeps only part of the indentation.
            ScalarStyle::Literal | ScalarStyle::Folded => {
                at += blank_run(source.get(at..end)?).len();
                at = at.saturating_sub(blank_run(value).len());
            }
        }
        let mut offsets = Vec::with_capacity(value.len() + 1);
        while !value.is_empty() {
            let rest = source.get(at..end)?;
            let (blanks, blanks_in_source) = (blank_run(value), blank_run(rest));
            if blanks.is_empty() {
                let letter = value.chars().next()?;
                // `''` stands for one quote, `\"` and `\\` for what follows; other escapes cannot be laid side by side.
                let escape = match self.style {
                    ScalarStyle::SingleQuoted => usize::from(letter == '\''),
                    ScalarStyle::DoubleQuoted => usize::from(rest.starts_with('\\')),
                    _ => 0,
                };
                if !rest.get(escape..)?.starts_with(letter) {
                    return None;
                }
                at += escape;
                offsets.extend(at..at + letter.len_utf8());
                at += letter.len_utf8();
                value = &value[letter.len_utf8()..];
            } else {
                // Line breaks and indentation fold into blanks: the runs correspond as wholes.
                let same = blanks == blanks_in_source;
                offsets.extend((0..blanks.len()).map(|step| if same { at + step } else { at }));
                at += blanks_in_source.len();
                value = &value[blanks.len()..];
            }
        }
        offsets.push(at);
        Some(offsets)
    }
}

/// Returns the blanks and line breaks with which `text` begins.
fn blank_run(text: &str) -> &str {
    &text[..text.len() - text.trim_start_matches([' ', '\t', '\n', '\r']).len()]
}

/// Parses one document; `None` where the file holds nothing but comments.
///
/// # Errors
///
/// The first thing that is not YAML, or not the part of it that is used here: beyond it the rest cannot be read.
pub fn parse(file: &SourceFile) -> Result<Option<Node>, Box<Diagnostic>> {
    Builder {
        file,
        events: Parser::new_from_str(file.text()),
        anchors: BTreeMap::new(),
        nodes: 0,
        aliases: 0,
    }
    .document()
}

/// Whether a tag says of a value what it is anyway, or which of the plain types it shall be.
fn fits(tag: &Tag, event: &Event<'_>) -> bool {
    let allowed: &[&str] = match event {
        Event::SequenceStart(..) => &["seq"],
        Event::MappingStart(..) => &["map"],
        _ => &["str", "int", "float", "bool", "null"],
    };
    tag.core_suffix().is_some_and(|suffix| allowed.contains(&suffix))
}

struct Builder<'a> {
    file: &'a SourceFile,
    events: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    aliases: usize,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Option<Node>, Box<Diagnostic>> {
        let mut root = None;
        let (mut documents, mut beginning) = (0, 0..0);
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::StreamEnd => {}
                Event::DocumentStart(..) => (documents, beginning) = (documents + 1, span),
                event => {
                    let node = self.node(event, span, 0)?;
                    let empty = matches!(&node, Node::Scalar(scalar) if scalar.is_null());
                    if documents == 1 {
                        root = Some(node);
                    } else if !empty {
                        return Err(refused(
                            self.file.place(beginning),
                            "a second document begins here",
                            "keep one document per file: remove the `---`",
                        ));
                    }
                }
            }
        }
        Ok(root.filter(|node| !matches!(node, Node::Scalar(scalar) if scalar.is_null())))
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Range<usize>)>, Box<Diagnostic>> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, span.byte_range().unwrap_or(0..0)))),
            Some(Err(error)) => Err(syntax(self.file, &error)),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Range<usize>, depth: usize) -> Result<Node, Box<Diagnostic>> {
        self.spend(1, &span)?;
        if depth > DEPTH_MAX {
            return Err(refused(
                self.file.place(span),
                format!("nested deeper than {DEPTH_MAX} levels"),
                "flatten it: no key of this format needs so much",
            ));
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.as_ref()),
            Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag) => {
                (*anchor, tag.as_ref())
            }
            _ => (0, None),
        };
        let plain_type = tag.map(|tag| tag.core_suffix().unwrap_or_default().to_owned());
        if let Some(tag) = tag.filter(|tag| !fits(tag, &event)) {
            return Err(refused(
                self.file.place(span),
                format!("the tag `{}` is not used here", tag.original().escape_debug()),
                "remove the tag; quote the value where it must be text",
            ));
        }
        let node = match event {
            Event::Scalar(value, style, ..) => {
                let mut scalar = self.scalar(value.into_owned(), style, span);
                // `!!str 5` is text as if it were quoted, and `!!int "5"` is a number as if it were not.
                scalar.plain = plain_type.map_or(scalar.plain, |plain_type| plain_type != "str");
                Node::Scalar(scalar)
            }
            Event::SequenceStart(..) => self.sequence(span, depth)?,
            Event::MappingStart(..) => self.mapping(span, depth)?,
            Event::Alias(id) => return self.alias(id, span),
            _ => {
                return Err(refused(
                    self.file.place(span),
                    "a value was expected here",
                    "write one, or take the key out",
                ));
            }
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, start: Range<usize>, depth: usize) -> Result<Node, Box<Diagnostic>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                None | Some((Event::SequenceEnd, _)) => break,
                Some((event, span)) => items.push(self.node(event, span, depth + 1)?),
            }
        }
        Ok(Node::Sequence(items, self.file.place(start)))
    }

    fn mapping(&mut self, start: Range<usize>, depth: usize) -> Result<Node, Box<Diagnostic>> {
        let mut entries = Vec::new();
        let mut merged = Vec::new();
        loop {
            let key = match self.next()? {
                None | Some((Event::MappingEnd, _)) => break,
                Some((event, span)) => match self.node(event, span, depth + 1)? {
                    Node::Scalar(key) => key,
                    other => {
                        return Err(refused(
                            other.place(),
                            "a key must be plain text",
                            "text that begins with `{` or `[` needs quotes",
                        ));
                    }
                },
            };
            let Some((event, span)) = self.next()? else { break };
            let value = self.node(event, span, depth + 1)?;
            if key.plain && key.value == "<<" {
                merge(value, &mut merged)?;
            } else {
                entries.push((key, value));
            }
        }
        // What is written here wins over what is merged in, and what is merged first over what comes later.
        let mut known: BTreeSet<String> = entries.iter().map(|(key, _)| key.value.clone()).collect();
        merged.retain(|(key, _)| known.insert(key.value.clone()));
        entries.extend(merged);
        Ok(Node::Mapping(entries, self.file.place(start)))
    }

    fn alias(&mut self, id: usize, span: Range<usize>) -> Result<Node, Box<Diagnostic>> {
        self.aliases += 1;
        if self.aliases > ALIASES_MAX {
            return Err(refused(
                self.file.place(span),
                format!("more than {ALIASES_MAX} aliases in one file"),
                "write the values out",
            ));
        }
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(refused(
                self.file.place(span),
                "this alias stands for a value that contains it",
                "write the value out",
            ));
        };
        self.spend(node.size(), &span)?;
        Ok(node)
    }

    fn scalar(&self, value: String, style: ScalarStyle, span: Range<usize>) -> Scalar {
        Scalar { value, plain: style == ScalarStyle::Plain, style, span, file: self.file.clone() }
    }

    fn spend(&mut self, nodes: usize, span: &Range<usize>) -> Result<(), Box<Diagnostic>> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(refused(
                self.file.place(span.clone()),
                format!("the file holds more than {NODES_MAX} values"),
                "split it into several rule files; aliases count each time they are used",
            ));
        }
        Ok(())
    }
}

/// Takes the entries out of the value of a merge key: a mapping, or a list of them.
fn merge(value: Node, merged: &mut Vec<(Scalar, Node)>) -> Result<(), Box<Diagnostic>> {
    let mappings = match value {
        Node::Sequence(items, _) => items,
        other => vec![other],
    };
    for mapping in mappings {
        let Node::Mapping(entries, _) = mapping else {
            let message = format!("`<<` merges mappings, found {}", mapping.describe());
            return Err(refused(mapping.place(), message, "such as `<<: *name`, where `&name` is a mapping"));
        };
        merged.extend(entries);
    }
    Ok(())
}

fn refused(place: Place, message: impl Into<String>, hint: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error("yaml-refused", place, message).hint(hint))
}

/// Translates what the scanner says into what to do about it.
fn syntax(file: &SourceFile, error: &ScanError) -> Box<Diagnostic> {
    let at = error.marker().byte_offset().unwrap_or_else(|| {
        file.text().char_indices().nth(error.marker().index()).map_or(file.text().len(), |(at, _)| at)
    });
    let hint = match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => "indent with spaces, not with tabs",
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::DocumentIndicatorInQuotedScalar => {
            "a quoted text is never closed: look for the quote that began it"
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence => "a `{` or `[` is never closed",
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            "put a comma between entries; text that holds `,`, `{` or `[` needs quotes"
        }
        ErrorKind::UnknownAnchor => {
            "an alias (`*name`) needs an anchor (`&name`) before it; quote text with a `*`"
        }
        ErrorKind::UnknownQuotedScalarEscape => {
            "in double quotes `\\` begins an escape: use single quotes around the text"
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            "text that holds `: ` needs quotes; else check the indentation of this line"
        }
        _ => "check indentation and quotes on this line and the one before it",
    };
    let message = format!("this is not YAML: {}", error.kind());
    Box::new(Diagnostic::error("yaml-syntax", file.place(at..at + 1), message).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(text: &str) -> Scalar {
        let file = SourceFile::new("t.yaml", text);
        let Ok(Some(Node::Mapping(entries, _))) = parse(&file) else { panic!("{text:?} is not a mapping") };
        match entries.into_iter().next() {
            Some((_, Node::Scalar(scalar))) => scalar,
            other => panic!("{text:?} holds {other:?}"),
        }
    }

    #[test]
    fn a_place_within_a_scalar_is_exact_where_it_can_be() {
        // The needle is `bad`; each row says where the file holds it, or that only the scalar's start is known.
        let cases = [
            ("k: sum(bad)\n", Some((1, 8))),
            ("k: 'sum(bad)'\n", Some((1, 9))),
            ("k: 'a{x=''y''} bad'\n", Some((1, 16))),
            ("k: \"sum(bad)\"\n", Some((1, 9))),
            ("k: \"a\\\"b\\\" bad\"\n", Some((1, 12))),
            ("k: \"a\\u0041 bad\"\n", None),
            ("k: \"a\\\\ bad\"\n", Some((1, 9))),
            ("k: |\n  sum(\n    bad\n  )\n", Some((3, 5))),
            ("k: >-\n  sum(\n  bad)\n", Some((3, 3))),
            ("k: |\n  bad\n", Some((2, 3))),
            ("k: |2\n    | bad\n", Some((2, 7))),
            ("k: sum(\n   bad)\n", Some((2, 4))),
            ("k: 'é bad'\n", Some((1, 7))),
        ];
        for (text, expected) in cases {
            let scalar = value_of(text);
            let at = scalar.value.find("bad").unwrap_or_else(|| panic!("{:?} has no needle", scalar.value));
            let place = scalar.place_within(at..at + 3);
            let expected = expected.unwrap_or((scalar.place().line, scalar.place().column));
            assert_eq!((place.line, place.column), expected, "{text:?}");
            if expected != (scalar.place().line, scalar.place().column) {
                assert_eq!(&text[place.span.clone()], "bad", "{text:?}");
            }
        }
    }

    #[test]
    fn keys_repeat_in_the_tree_and_know_their_places() {
        let file = SourceFile::new("t.yaml", "a: 1\nb: {c: 2}\na: 3\n");
        let Ok(Some(Node::Mapping(entries, _))) = parse(&file) else { panic!("not a mapping") };
        let keys: Vec<_> = entries.iter().map(|(key, _)| (key.value.as_str(), key.place().line)).collect();
        assert_eq!(keys, [("a", 1), ("b", 2), ("a", 3)]);
    }

    #[test]
    fn merged_keys_fill_in_what_is_not_written() {
        let cases = [
            ("a: &x {b: 1, c: 2}\nt: {<<: *x, c: 3, d: 4}\n", "c=3 d=4 b=1"),
            ("a: &x {b: 1}\ny: &y {b: 2, c: 2}\nt: {<<: [*x, *y]}\n", "b=1 c=2"),
            ("a: &x {b: 1}\nt: {'<<': *x}\n", "<<=a mapping"),
        ];
        for (text, expected) in cases {
            let Ok(Some(Node::Mapping(entries, _))) = parse(&SourceFile::new("t.yaml", text)) else {
                panic!("{text} is not a mapping")
            };
            let Some((_, Node::Mapping(target, _))) = entries.last() else { panic!("{text} has no target") };
            let pairs = target.iter().map(|(key, node)| format!("{}={}", key.value, node.describe()));
            assert_eq!(pairs.collect::<Vec<_>>().join(" ").replace('`', ""), expected, "{text}");
        }
    }

    #[test]
    fn costly_and_exotic_yaml_is_refused() {
        let laughs = (0..30).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
            format!("{text}a{}: &a{} [*a{n}, *a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)
        });
        let cases = [
            ("a: 1\n---\nb: 2\n".to_owned(), "second document"),
            ("a: !foo 1\n".to_owned(), "the tag `!foo`"),
            ("a: !!int [1]\n".to_owned(), "the tag `!!int`"),
            ("a: !!binary aGVsbG8=\n".to_owned(), "the tag `!!binary`"),
            ("a: &x [1]\nc: {<<: *x}\n".to_owned(), "merges mappings, found `1`"),
            ("a: &x {b: {<<: *x}}\n".to_owned(), "contains it"),
            ("{a: 1}: 2\n".to_owned(), "key must be plain text"),
            ("a: &x [*x]\n".to_owned(), "contains it"),
            (format!("a: {}{}\n", "[".repeat(100), "]".repeat(100)), "nested deeper"),
            (format!("a: {}{}\n", "[".repeat(50_000), "]".repeat(50_000)), "not YAML"),
            (laughs, "more than 50000 values"),
            (format!("a: &x 1\nb: [{}]\n", "*x, ".repeat(201)), "more than 200 aliases"),
            (format!("a: [{}]\n", "1, ".repeat(50_001)), "more than 50000 values"),
            ("a: *nobody\n".to_owned(), "unknown anchor"),
            ("a:\n\tb: 1\n".to_owned(), "not YAML"),
            ("a: \"open\n".to_owned(), "not YAML"),
        ];
        for (text, expected) in cases {
            let error = parse(&SourceFile::new("t.yaml", &text)).expect_err(expected);
            assert!(error.message.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn an_empty_file_is_no_document() {
        for text in ["", "# only a comment\n", "---\n", "~\n"] {
            assert!(matches!(parse(&SourceFile::new("t.yaml", text)), Ok(None)), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-c:{}\\[\\],&*!|>'\"# \\n\\t-]{0,60}") {
            let file = SourceFile::new("t.yaml", &text);
            if let Err(error) = parse(&file) {
                proptest::prop_assert!(error.place.line >= 1);
            }
        }
    }
}
