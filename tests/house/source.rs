//! A Rust file as far as the house rules look at it: words without comments and texts, the paths that it names.
//!
//! This is no parser. It knows where comments, texts and test modules begin and end, and how `crate`, `self`, `super` and
//! braces make a path; that is enough to say who names whom.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A word or a sign of a program, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// An identifier, `::`, one other character, or `""` for any literal text.
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

/// A path that a file names, from the crate's root on: `["engine", "series", "Store"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its parts; `*` stands for everything below.
    pub path: Vec<String>,
    /// Where its last part is written.
    pub line: usize,
}

/// One file of the program.
#[derive(Clone, Debug)]
pub struct Source {
    /// From the repository's root: `src/engine/mod.rs`.
    pub path: PathBuf,
    /// From the crate's root: `["engine"]`.
    pub module: Vec<String>,
    /// What the compiler sees outside of tests.
    pub tokens: Vec<Token>,
    /// Every comment with the line at which it begins, those in tests included.
    pub comments: Vec<Token>,
    /// How many lines are not part of a test.
    pub lines: usize,
    /// Files that hold nothing but tests of this one.
    pub test_files: Vec<PathBuf>,
}

impl Source {
    /// Reads the text of the file at `path`, which begins with `src/` or `tests/`.
    pub fn new(path: &Path, text: &str) -> Self {
        let (all, comments) = split(text);
        let (tokens, cut) = without_tests(all);
        let test_lines: BTreeSet<usize> = cut.iter().flat_map(|(from, to, _)| *from..=*to).collect();
        let test_files = cut.into_iter().filter_map(|(_, _, module)| module);
        let test_files = test_files.flat_map(|module| files_of(path, &module)).collect();
        let lines = text.lines().count() - test_lines.len();
        Self { path: path.to_owned(), module: module_of(path), tokens, comments, lines, test_files }
    }

    /// Returns every path that begins with `crate`, `self` or `super`, resolved.
    pub fn named(&self) -> Vec<Named> {
        let mut found = Vec::new();
        let mut inline: Vec<(String, usize)> = Vec::new();
        let mut depth = 0;
        let mut at = 0;
        while at < self.tokens.len() {
            let word = self.text(at);
            match word {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    inline.pop_if(|(_, opened)| *opened == depth);
                }
                "mod" if self.text(at + 2) == "{" => inline.push((self.text(at + 1).to_owned(), depth)),
                "crate" | "self" | "super" if self.begins_path(at) => {
                    let mut here = self.module.clone();
                    here.extend(inline.iter().map(|(name, _)| name.clone()));
                    match word {
                        "crate" => here.clear(),
                        "super" => drop(here.pop()),
                        _ => {}
                    }
                    at = self.follow(at + 2, here, &mut found);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// Returns every path that begins with the name of another crate: `["std", "fs"]`.
    pub fn named_of(&self, crates: &BTreeSet<String>) -> Vec<Named> {
        let mut found = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            if crates.contains(&token.text) && self.begins_path(at) {
                self.follow(at + 2, vec![token.text.clone()], &mut found);
            }
        }
        found
    }

    /// Returns the token at `at`; nothing beyond the end.
    pub fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// Returns whether the word at `at` is the first of a path, and not of a visibility such as `pub(in crate::x)`.
    fn begins_path(&self, at: usize) -> bool {
        let before = at.checked_sub(1).map_or("", |before| self.text(before));
        let visibility = before == "in" && at.checked_sub(2).is_some_and(|open| self.text(open) == "(");
        self.text(at + 1) == "::" && before != "::" && !visibility
    }

    /// Reads what follows a `::` at `at`, every branch of a group; returns where it ends.
    fn follow(&self, mut at: usize, mut path: Vec<String>, found: &mut Vec<Named>) -> usize {
        loop {
            let line = self.tokens.get(at).map_or(0, |token| token.line);
            match self.text(at) {
                "{" => {
                    at += 1;
                    while !matches!(self.text(at), "}" | "") {
                        at = self.follow(at, path.clone(), found).max(at + 1);
                        at += usize::from(self.text(at) == ",");
                    }
                    return at + 1;
                }
                "super" => drop(path.pop()),
                "self" => {}
                word if word == "*" || is_word(word) => path.push(word.to_owned()),
                _ => {
                    found.push(Named { path, line });
                    return at;
                }
            }
            if self.text(at + 1) != "::" {
                found.push(Named { path, line });
                // Past the word, and past what it is called here.
                return at + if self.text(at + 1) == "as" { 3 } else { 1 };
            }
            at += 2;
        }
    }
}

/// Returns the module that a file holds: `src/engine/time.rs` is `engine::time`.
fn module_of(path: &Path) -> Vec<String> {
    let bare = path.with_extension("");
    let mut parts: Vec<String> =
        bare.components().skip(1).map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
    parts
}

/// Returns the files that may hold the module `name`, declared in `path`.
fn files_of(path: &Path, name: &str) -> [PathBuf; 2] {
    let directory = if matches!(path.file_stem().and_then(|stem| stem.to_str()), Some("mod" | "lib" | "main"))
    {
        path.parent().unwrap_or(Path::new("")).to_owned()
    } else {
        path.with_extension("")
    };
    [directory.join(format!("{name}.rs")), directory.join(name).join("mod.rs")]
}

/// Splits a program into words and signs, and its comments apart.
fn split(text: &str) -> (Vec<Token>, Vec<Token>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut comments) = (Vec::new(), Vec::new());
    let (mut at, mut line) = (0, 1);
    while let Some(&first) = chars.get(at) {
        let rest = &chars[at..];
        let (length, kind) = match first {
            '/' if rest.starts_with(&['/', '/']) => (until_line_end(rest), Kind::Comment),
            '/' if rest.starts_with(&['/', '*']) => (block_comment(rest), Kind::Comment),
            '\'' => quote(rest),
            '"' => (quoted(rest, 0), Kind::Literal),
            ':' if rest.starts_with(&[':', ':']) => (2, Kind::Word),
            _ if is_word_char(first) => word(rest),
            _ if first.is_whitespace() => (1, Kind::Space),
            _ => (1, Kind::Word),
        };
        let part: String = rest.iter().take(length).collect();
        let lines = part.matches('\n').count();
        match kind {
            Kind::Word => tokens.push(Token { text: part, line }),
            Kind::Literal => tokens.push(Token { text: "\"\"".to_owned(), line }),
            Kind::Comment => comments.push(Token { text: part, line }),
            Kind::Space => {}
        }
        line += lines;
        at += length.max(1);
    }
    (tokens, comments)
}

/// What a stretch of text is.
#[derive(Clone, Copy)]
enum Kind {
    Word,
    Literal,
    Comment,
    Space,
}

fn is_word_char(char: char) -> bool {
    char == '_' || char.is_alphanumeric()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_word_char)
}

fn until_line_end(rest: &[char]) -> usize {
    rest.iter().position(|char| *char == '\n').unwrap_or(rest.len())
}

/// Measures a block comment; they nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Tells a character from a lifetime.
fn quote(rest: &[char]) -> (usize, Kind) {
    match rest {
        ['\'', '\\', ..] => {
            let end = rest.iter().skip(3).position(|char| *char == '\'');
            (end.map_or(rest.len(), |end| end + 4), Kind::Literal)
        }
        ['\'', _, '\'', ..] => (3, Kind::Literal),
        _ => (1 + rest.iter().skip(1).take_while(|char| is_word_char(**char)).count(), Kind::Space),
    }
}

/// Measures a text in quotes that begin at `start`.
fn quoted(rest: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Measures a word, or the literal whose prefix it is: `b"..."`, `r#"..."#`.
fn word(rest: &[char]) -> (usize, Kind) {
    let length = rest.iter().take_while(|char| is_word_char(**char)).count();
    let prefix: String = rest.iter().take(length).collect();
    match prefix.as_str() {
        "b" if rest.get(1) == Some(&'\'') => (1 + quote(&rest[1..]).0, Kind::Literal),
        "b" | "c" if rest.get(1) == Some(&'"') => (quoted(rest, 1), Kind::Literal),
        "r" | "br" | "cr" => {
            let fences = rest.iter().skip(length).take_while(|char| **char == '#').count();
            if rest.get(length + fences) != Some(&'"') {
                return (length, Kind::Word);
            }
            let mut end = vec!['"'];
            end.resize(fences + 1, '#');
            let body = length + fences + 1;
            let found = rest.get(body..).unwrap_or_default().windows(end.len()).position(|part| part == end);
            (found.map_or(rest.len(), |found| body + found + end.len()), Kind::Literal)
        }
        _ => (length, Kind::Word),
    }
}

/// Lines from, to, and the name of the module where it is in another file.
type Cut = (usize, usize, Option<String>);

/// Takes out every item under `#[cfg(test)]`.
fn without_tests(all: Vec<Token>) -> (Vec<Token>, Vec<Cut>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut cut) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < all.len() {
        let is_test = all[at..].iter().map(|token| token.text.as_str()).take(MARK.len()).eq(MARK);
        if !is_test {
            kept.push(all[at].clone());
            at += 1;
            continue;
        }
        let item = &all[at..];
        let length = item_length(item);
        let module = item.windows(3).take(length).find(|part| part[0].text == "mod" && part[2].text == ";");
        let last = &item[length - 1];
        cut.push((item[0].line, last.line, module.map(|part| part[1].text.clone())));
        at += length;
    }
    (kept, cut)
}

/// Counts the tokens up to the end of the first item, its attributes included.
fn item_length(item: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in item.iter().enumerate() {
        match token.text.as_str() {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token.text == "}" {
                    // `use a::{b};` ends with its semicolon.
                    return at + 1 + usize::from(item.get(at + 1).is_some_and(|next| next.text == ";"));
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

#[test]
fn words_comments_and_texts_are_told_apart() {
    let text = r##"//! crate::doc
/* crate::a /* crate::b */ */ use crate::c; // crate::d
let x = "crate::e \" crate::f"; let y = r#"" crate::g"#; let z = ('"', '\'', b'"', '\u{7b}'); fn f<'a>(a: &'a str) {}
crate::last()"##;
    let source = Source::new(Path::new("src/x.rs"), text);
    let named: Vec<_> = source.named().into_iter().map(|named| (named.path.join("::"), named.line)).collect();
    assert_eq!(named, [("c".to_owned(), 2), ("last".to_owned(), 4)]);
    assert_eq!(source.comments.len(), 3);
}

#[test]
fn paths_are_resolved() {
    let cases: [(&str, &[&str]); 9] = [
        ("use crate::engine::time::Span;", &["engine::time::Span"]),
        ("use crate::{a::{self, B as C, d::*}, e};", &["a", "a::B", "a::d::*", "e"]),
        ("use super::super::journal::Reader;", &["journal::Reader"]),
        ("use super::{x, super::y};", &["engine::x", "y"]),
        ("mod m { use super::super::z; } super::w();", &["engine::z", "engine::w"]),
        (
            "let v: crate::a::V<crate::b::W> = self::make::<super::Q>();",
            &["a::V", "b::W", "engine::part::make", "engine::Q"],
        ),
        ("pub(in crate::engine) fn f() {} pub(crate) struct S; pub(super) struct T;", &[]),
        (
            "#[cfg(test)] mod tests { use crate::daemon::X; } #[cfg(test)] use crate::y::{Z}; use crate::k;",
            &["k"],
        ),
        ("std::crate_like::x(); a::crate::y();", &[]),
    ];
    for (text, expected) in cases {
        let source = Source::new(Path::new("src/engine/part.rs"), text);
        let named: Vec<String> = source.named().into_iter().map(|named| named.path.join("::")).collect();
        assert_eq!(named, expected, "{text}");
    }
}

#[test]
fn tests_are_left_out() {
    let text =
        "fn a() {}\n#[cfg(test)]\nmod fixture;\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
    let source = Source::new(Path::new("src/x/mod.rs"), text);
    assert_eq!(source.lines, 2);
    assert_eq!(source.test_files, ["src/x/fixture.rs", "src/x/fixture/mod.rs"].map(PathBuf::from));
    assert!(source.tokens.iter().all(|token| token.text != "b" && token.text != "tests"));
}
