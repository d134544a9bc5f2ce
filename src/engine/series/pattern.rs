//! Regular expressions as Prometheus means them: RE2's syntax, anchored at both ends, dot matches newline.
//!
//! The `regex` crate descends from RE2 but its syntax has grown apart. A pattern is rewritten so that both agree:
//! `\d \w \s \b` are ASCII, `[a&&b]` and `[[]` have no set operations, `\Q..\E` quotes, `\<` is a plain `<`, and a
//! brace that opens no repetition is itself. What Prometheus refuses (`a**`, flags other than `imsU`) is refused here
//! too. Patterns run over bytes because the crate refuses an ASCII `\B` over text; all else in them consumes whole
//! characters. Source: <https://github.com/google/re2/wiki/Syntax> and Go's `regexp/syntax`.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use regex::bytes::Regex;

/// A compiled, fully anchored pattern.
#[derive(Clone)]
pub struct Pattern {
    regex: Regex,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression `{pattern}`: {reason}")]
pub struct InvalidPattern {
    pattern: String,
    reason: String,
}

impl Pattern {
    /// Compiles `pattern`.
    ///
    /// # Errors
    ///
    /// The text is not a regular expression in RE2's syntax, or it would compile to more than a megabyte.
    pub fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        let invalid = |reason: String| InvalidPattern { pattern: shortened(pattern), reason };
        let rewritten = Rewriter::new(pattern).rewrite().map_err(invalid)?;
        // Compiled alone first, so that `)(` cannot slip out of the group that anchors it.
        regex_syntax_check(&rewritten).map_err(&invalid)?;
        let regex = regex::bytes::RegexBuilder::new(&format!("^(?s:{rewritten})$"))
            .size_limit(1 << 20)
            .build()
            .map_err(|error| invalid(last_line(&error)))?;
        Ok(Self { regex })
    }

    /// Returns whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }

    /// Returns `template` with `$1` and `${name}` replaced by what they captured, or `None` where `text` does not match.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let captures = self.regex.captures(text.as_bytes())?;
        let mut expanded = Vec::new();
        captures.expand(template.as_bytes(), &mut expanded);
        // Nothing is lost: captures begin and end between characters.
        Some(String::from_utf8_lossy(&expanded).into_owned())
    }
}

/// Compiles a pattern as Go's `regexp` takes it, for templates: unanchored, and a dot is no newline.
///
/// # Errors
///
/// As [`Pattern::new`].
pub fn unanchored(pattern: &str) -> Result<regex::Regex, InvalidPattern> {
    let invalid = |reason: String| InvalidPattern { pattern: pattern.to_owned(), reason };
    let rewritten = Rewriter::new(pattern).rewrite().map_err(invalid)?;
    regex::RegexBuilder::new(&rewritten)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| invalid(last_line(&error)))
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.regex.as_str())
    }
}

fn regex_syntax_check(rewritten: &str) -> Result<(), String> {
    regex::bytes::RegexBuilder::new(rewritten)
        .size_limit(1 << 20)
        .build()
        .map(drop)
        .map_err(|error| last_line(&error))
}

/// The beginning of a pattern: an error is for people, and a pattern may be long.
fn shortened(pattern: &str) -> String {
    match pattern.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &pattern[..end]),
        None => pattern.to_owned(),
    }
}

/// The crate's errors draw the pattern with a marker below; the last line says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or("");
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

const DIGIT: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = r"\t\n\x0C\r ";

/// Walks over a pattern once and writes what the `regex` crate takes for the same thing.
struct Rewriter<'p> {
    rest: Peekable<Chars<'p>>,
    out: String,
    /// The last thing written was `*`, `+`, `?` or `{n}`: RE2 refuses another one.
    repeated: bool,
}

impl<'p> Rewriter<'p> {
    fn new(pattern: &'p str) -> Self {
        Self { rest: pattern.chars().peekable(), out: String::new(), repeated: false }
    }

    fn rewrite(mut self) -> Result<String, String> {
        while let Some(c) = self.rest.next() {
            match c {
                '*' | '+' | '?' => self.repetition(&c.to_string())?,
                '{' => match self.counted_repetition() {
                    Some(text) => self.repetition(&text)?,
                    None => self.plain("\\{"),
                },
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                _ => self.plain(c.encode_utf8(&mut [0; 4])),
            }
        }
        Ok(self.out)
    }

    fn plain(&mut self, text: &str) {
        self.repeated = false;
        self.out.push_str(text);
    }

    fn repetition(&mut self, text: &str) -> Result<(), String> {
        if self.repeated {
            return Err(format!("`{text}` follows another repetition; put the first one into a group"));
        }
        self.out.push_str(text);
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        self.repeated = true;
        Ok(())
    }

    /// Consumes `n}`, `n,}` or `n,m}` after a brace; anything else is left alone and makes the brace a plain character.
    fn counted_repetition(&mut self) -> Option<String> {
        let ahead: String = self.rest.clone().take_while(|c| *c != '}').take(12).collect();
        let (low, high) = ahead.split_once(',').unwrap_or((&ahead, ""));
        let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        let closed = self.rest.clone().nth(ahead.chars().count()) == Some('}');
        if low.is_empty() || !digits(low) || !digits(high) || !closed {
            return None;
        }
        self.rest.by_ref().take(ahead.chars().count() + 1).for_each(drop);
        Some(format!("{{{ahead}}}"))
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.rest.next() else { return Err("trailing backslash at the end".into()) };
        match c {
            'd' => self.plain(&format!("[{DIGIT}]")),
            'D' => self.plain(&format!("[^{DIGIT}]")),
            'w' => self.plain(&format!("[{WORD}]")),
            'W' => self.plain(&format!("[^{WORD}]")),
            's' => self.plain(&format!("[{SPACE}]")),
            'S' => self.plain(&format!("[^{SPACE}]")),
            'b' => self.plain(r"(?-u:\b)"),
            'B' => self.plain(r"(?-u:\B)"),
            'Q' => {
                self.repeated = false;
                let mut quoted = String::new();
                while let Some(c) = self.rest.next() {
                    if c == '\\' && self.rest.next_if_eq(&'E').is_some() {
                        break;
                    }
                    quoted.push(c);
                }
                self.plain(&regex::escape(&quoted));
            }
            _ => {
                let text = self.character(c)?;
                self.plain(&text);
            }
        }
        Ok(())
    }

    /// An escape that stands for characters both inside and outside a class.
    fn character(&mut self, c: char) -> Result<String, String> {
        match c {
            'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'A' | 'z' => Ok(format!("\\{c}")),
            'x' | 'p' | 'P' => {
                let mut text = format!("\\{c}");
                if self.rest.peek() == Some(&'{') {
                    for c in self.rest.by_ref() {
                        text.push(c);
                        if c == '}' {
                            break;
                        }
                    }
                }
                Ok(text)
            }
            '0'..='7' => {
                let mut value = c.to_digit(8).unwrap_or(0);
                let mut digits = 1;
                while digits < 3 {
                    let Some(next) = self.rest.next_if(|next| next.is_digit(8)) else { break };
                    value = value * 8 + next.to_digit(8).unwrap_or(0);
                    digits += 1;
                }
                if c != '0' && digits == 1 {
                    return Err(format!("backreferences such as `\\{c}` are not supported"));
                }
                Ok(format!("\\x{{{value:X}}}"))
            }
            _ if c.is_ascii_punctuation() => Ok(regex::escape(c.encode_utf8(&mut [0; 4]))),
            _ => Err(format!("`\\{c}` is not an escape")),
        }
    }

    fn class(&mut self) -> Result<(), String> {
        self.plain("[");
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        while let Some(c) = self.rest.next() {
            match c {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' if self.rest.peek() == Some(&':') => {
                    self.out.push('[');
                    for c in self.rest.by_ref() {
                        self.out.push(c);
                        if c == ']' {
                            break;
                        }
                    }
                }
                '\\' => match self.rest.next() {
                    Some('d') => self.out.push_str(DIGIT),
                    Some('w') => self.out.push_str(WORD),
                    Some('s') => self.out.push_str(SPACE),
                    Some('D') => self.out.push_str(&format!("[^{DIGIT}]")),
                    Some('W') => self.out.push_str(&format!("[^{WORD}]")),
                    Some('S') => self.out.push_str(&format!("[^{SPACE}]")),
                    Some(c @ ('A' | 'z' | 'b' | 'B')) => {
                        return Err(format!("`\\{c}` has no meaning in a class"));
                    }
                    Some(c) => {
                        let text = self.character(c)?;
                        self.out.push_str(&text);
                    }
                    None => return Err("trailing backslash at the end".into()),
                },
                // Doubled, these are set operations of the crate; RE2 knows none.
                '[' | '&' | '~' | ']' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                '-' if self.rest.peek() == Some(&'-') => {
                    return Err("a range in a class has no end; write a literal `-` last or as `\\-`".into());
                }
                _ => self.out.push(c),
            }
            first = false;
        }
        Err("a class `[` is not closed by `]`".into())
    }

    /// A group's head: flags are checked, everything else is the crate's business.
    fn group(&mut self) -> Result<(), String> {
        self.plain("(");
        if self.rest.peek() != Some(&'?') {
            return Ok(());
        }
        self.rest.next();
        self.out.push('?');
        if matches!(self.rest.peek(), Some('P' | '<')) {
            return Ok(());
        }
        for c in self.rest.by_ref() {
            self.out.push(c);
            match c {
                'i' | 'm' | 's' | 'U' | '-' => {}
                ':' | ')' => return Ok(()),
                _ => return Err(format!("`(?{c}` is neither a group nor one of the flags i, m, s, U")),
            }
        }
        Err("a group `(` is not closed by `)`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_re2() {
        // pattern, text, matches
        let cases = [
            ("a|b", "a", true),
            ("a|b", "ab", false),
            ("a.b", "a\nb", true),
            ("", "", true),
            ("", "x", false),
            (r"\d+", "17", true),
            (r"\d+", "\u{0661}", false),
            (r"\w", "\u{e9}", false),
            (r"\s", "\u{a0}", false),
            (r".*\bfoo\b.*", "a foo b", true),
            (r".*\Boo\b.*", "a foo b", true),
            (r"a\B\x{e9}", "a\u{e9}", false),
            (r"\x{e9}\B\x{e9}", "\u{e9}\u{e9}", true),
            (r"[\d_]+", "1_0", true),
            (r"[\D]+", "ab", true),
            (r"[a&&b]+", "a&b", true),
            (r"[[]+", "[[", true),
            (r"[]a]+", "]a", true),
            (r"[^]a]+", "b", true),
            (r"[[:alpha:]]+", "ab", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Qa.b\E", "axb", false),
            (r"\<a\>", "<a>", true),
            (r"\_\-", "_-", true),
            ("{foo}", "{foo}", true),
            ("a{2}", "aa", true),
            ("a{,2}", "a{,2}", true),
            ("a{", "a{", true),
            (r"\101", "A", true),
            (r"\x{4F}\x41", "OA", true),
            (r"\p{Greek}+", "αβ", true),
            ("(?i:PRO).*", "production", true),
            ("((?i)PRO).*", "production", true),
            (".*?x", "aax", true),
            ("(?P<n>a)b", "ab", true),
            ("(?U)a+", "aaa", true),
            ("a$|b", "a", true),
        ];
        for (pattern, text, expected) in cases {
            let matched = Pattern::new(pattern).map(|compiled| compiled.is_match(text));
            assert_eq!(matched, Ok(expected), "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        let deep = "(".repeat(20_000);
        let huge = "(?:a{1000}){1000}";
        for pattern in [
            "a**", "a*??", "(", ")", ")(", "[a", r"\1", r"\y", "(?x)a", "(?u:a)", "(?=a)", "a\\", &deep, huge,
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern:.40} must be refused");
        }
    }

    #[test]
    fn captures_expand_as_in_go() {
        let pattern =
            Pattern::new("source-value-(.*)").map(|p| p.expand("source-value-10", "d-$1-${1}x-$$-$2"));
        assert_eq!(pattern, Ok(Some("d-10-10x-$-".to_owned())));
    }
}
