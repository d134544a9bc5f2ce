//! Text to tokens, as Go's `text/template/parse` cuts it: text, and what stands between `{{` and `}}`.

use crate::engine::promql::{Problem, TextSpan, literals};

/// One token with its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) span: TextSpan,
    pub(super) kind: TokenKind,
    /// Whether blanks stand before it: `$a.b` is one operand, `$a .b` are two.
    pub(super) spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// Text between actions, trimmed.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `(`, `)`, `|`, `,`, `:=`, `=`, `.`
    Symbol(&'static str),
    /// `.name`, without the dot.
    Field(String),
    /// `$name`, with the `$`.
    Variable(String),
    /// A keyword or a function.
    Word(String),
    Quoted(String),
    Int(i64),
    Float(f64),
    End,
}

type Lexed<T> = Result<T, Box<Problem>>;

/// Cuts a whole template into tokens; the last one is [`TokenKind::End`].
pub(super) fn tokenize(text: &str) -> Lexed<Vec<Token>> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    let mut trims = false;
    loop {
        let open = text[lexer.at..].find("{{").map(|found| lexer.at + found);
        let end = open.unwrap_or(text.len());
        let trims_before = open.is_some_and(|open| has_left_trim(&text[open + 2..]));
        lexer.plain(end, trims, trims_before);
        let Some(open) = open else {
            lexer.push(text.len(), TokenKind::End, false);
            return Ok(lexer.tokens);
        };
        lexer.at = open + 2 + usize::from(trims_before);
        trims = lexer.action(open)?;
    }
}

/// Returns whether what follows `{{` is a trim marker: a minus and a blank.
fn has_left_trim(rest: &str) -> bool {
    rest.starts_with('-') && rest[1..].starts_with(is_blank)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, end: usize, kind: TokenKind, spaced: bool) {
        self.tokens.push(Token { span: TextSpan::new(self.at, end), kind, spaced });
        self.at = end;
    }

    fn problem<T>(&self, start: usize, end: usize, message: impl Into<String>) -> Lexed<T> {
        Err(Box::new(Problem::new(TextSpan::new(start, end.min(self.text.len())), message)))
    }

    /// Takes the text up to `end`, without the blanks that markers on either side trim.
    fn plain(&mut self, end: usize, trims_start: bool, trims_end: bool) {
        let mut text = &self.text[self.at..end];
        if trims_start {
            text = text.trim_start_matches(is_blank);
        }
        if trims_end {
            text = text.trim_end_matches(is_blank);
        }
        if text.is_empty() {
            self.at = end;
        } else {
            let text = text.to_owned();
            self.push(end, TokenKind::Text(text), false);
        }
    }

    /// Takes an action, whose `{{` began at `open`; returns whether the text after it is trimmed.
    fn action(&mut self, open: usize) -> Lexed<bool> {
        let inner = self.rest().trim_start_matches(is_blank);
        // A comment stands right after the braces, or after the trim marker and its blanks.
        let trimmed = self.at > open + 2;
        if self.rest().starts_with("/*") || (trimmed && inner.starts_with("/*")) {
            return self.comment(open);
        }
        self.tokens.push(Token { span: TextSpan::new(open, open + 2), kind: TokenKind::Open, spaced: false });
        let mut parens: usize = 0;
        loop {
            let blanks = self.rest().len() - self.rest().trim_start_matches(is_blank).len();
            self.at += blanks;
            let spaced = blanks > 0;
            let trims = spaced && self.rest().starts_with("-}}");
            if trims || self.rest().starts_with("}}") {
                if parens > 0 {
                    return self.problem(open, self.at, "unclosed left paren");
                }
                self.push(self.at + 2 + usize::from(trims), TokenKind::Close, spaced);
                return Ok(trims);
            }
            if self.rest().is_empty() {
                return self.problem(open, open + 2, "this action is never closed: `}}` is missing");
            }
            self.token(spaced, &mut parens)?;
        }
    }

    fn comment(&mut self, open: usize) -> Lexed<bool> {
        let Some(end) = self.rest().find("*/") else {
            return self.problem(open, open + 2, "this comment is never closed: `*/}}` is missing");
        };
        let rest = &self.rest()[end + 2..];
        let blanks = rest.len() - rest.trim_start_matches(is_blank).len();
        let (length, trims) = if rest.starts_with("}}") {
            (2, false)
        } else if blanks > 0 && rest[blanks..].starts_with("-}}") {
            (blanks + 3, true)
        } else {
            let at = self.at + end;
            return self.problem(at, at + 2, "a comment must end its action: write `*/}}` or `*/ -}}`");
        };
        self.at += end + 2 + length;
        Ok(trims)
    }

    fn token(&mut self, spaced: bool, parens: &mut usize) -> Lexed<()> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(()) };
        let second = rest[first.len_utf8()..].chars().next().unwrap_or('\0');
        let symbol = match first {
            '(' => Some("("),
            ')' => Some(")"),
            '|' => Some("|"),
            ',' => Some(","),
            '=' => Some("="),
            ':' if second == '=' => Some(":="),
            '.' if !second.is_ascii_digit() && !is_word(second) => Some("."),
            _ => None,
        };
        if let Some(symbol) = symbol {
            match symbol {
                "(" => *parens += 1,
                ")" if *parens == 0 => return self.problem(self.at, self.at + 1, "unexpected right paren"),
                ")" => *parens -= 1,
                _ => {}
            }
            self.push(self.at + symbol.len(), TokenKind::Symbol(symbol), spaced);
            return Ok(());
        }
        match first {
            '"' | '`' => self.quoted(first, spaced),
            '\'' => self.character(spaced),
            '0'..='9' | '+' | '-' => self.number(spaced),
            '.' if second.is_ascii_digit() => self.number(spaced),
            '.' | '$' => self.name(first, spaced),
            _ if is_word(first) => self.name(first, spaced),
            _ => {
                let message = format!("unexpected `{}` in an action", first.escape_debug());
                self.problem(self.at, self.at + first.len_utf8(), message)
            }
        }
    }

    /// Takes a field, a variable or a word.
    fn name(&mut self, first: char, spaced: bool) -> Lexed<()> {
        let sigil = usize::from(matches!(first, '.' | '$'));
        let rest = &self.rest()[sigil..];
        let length = rest.len() - rest.trim_start_matches(is_word).len();
        let (name, after) = rest.split_at(length);
        // What else follows cannot belong to the name: Go refuses it there.
        let ends = after.is_empty()
            || after.starts_with(|c| is_blank(c) || matches!(c, '.' | ',' | '|' | ':' | '(' | ')'))
            || after.starts_with("}}")
            || (after.starts_with('=') && first == '$');
        if !ends {
            let odd = after.chars().next().unwrap_or(' ');
            let at = self.at + sigil + length;
            return self.problem(at, at + odd.len_utf8(), format!("bad character `{}`", odd.escape_debug()));
        }
        let kind = match first {
            '.' => TokenKind::Field(name.to_owned()),
            '$' => TokenKind::Variable(format!("${name}")),
            _ => TokenKind::Word(name.to_owned()),
        };
        self.push(self.at + sigil + length, kind, spaced);
        Ok(())
    }

    fn quoted(&mut self, quote: char, spaced: bool) -> Lexed<()> {
        let inner = &self.rest()[1..];
        let mut escaped = false;
        let closes = |c: char| {
            let closes = c == quote && !escaped;
            escaped = quote == '"' && c == '\\' && !escaped;
            closes
        };
        let end = inner.find(closes).filter(|end| quote == '`' || !inner[..*end].contains('\n'));
        let Some(end) = end else {
            return self.problem(self.at, self.at + 1, "this text is never closed");
        };
        match literals::unescape(&inner[..end], quote) {
            Ok(text) => {
                self.push(self.at + end + 2, TokenKind::Quoted(text), spaced);
                Ok(())
            }
            Err((at, message)) => self.problem(self.at + 1 + at, self.at + 2 + at, message),
        }
    }

    /// Takes `'a'`, which is a number.
    fn character(&mut self, spaced: bool) -> Lexed<()> {
        let inner = &self.rest()[1..];
        let mut escaped = false;
        let end = inner.find(|c| {
            let closes = c == '\'' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let content = end.and_then(|end| literals::unescape(&inner[..end], '\'').ok().zip(Some(end)));
        let mut characters = content.iter().flat_map(|(content, _)| content.chars());
        match (characters.next(), characters.next(), end) {
            (Some(only), None, Some(end)) => {
                self.push(self.at + end + 2, TokenKind::Int(i64::from(u32::from(only))), spaced);
                Ok(())
            }
            _ => self.problem(self.at, self.at + 1, "a character constant is one character: `'a'`"),
        }
    }

    fn number(&mut self, spaced: bool) -> Lexed<()> {
        let rest = self.rest();
        let mut before = ' ';
        let end = rest.find(|c: char| {
            let exponent = matches!(before, 'e' | 'E' | 'p' | 'P');
            let part = is_word(c) || c == '.' || (matches!(c, '+' | '-') && (before == ' ' || exponent));
            before = c;
            !part
        });
        let written = &rest[..end.unwrap_or(rest.len())];
        let Some(kind) = number(written) else {
            let message = format!("`{written}` is not a number");
            return self.problem(self.at, self.at + written.len(), message);
        };
        self.push(self.at + written.len(), kind, spaced);
        Ok(())
    }
}

/// Reads a number as Go reads a constant: a float where it is written like one, else an integer.
fn number(written: &str) -> Option<TokenKind> {
    let unsigned = written.strip_prefix(['+', '-']).unwrap_or(written);
    let lower = unsigned.to_ascii_lowercase();
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let is_hex = lower.starts_with("0x");
    let is_float = lower.contains('.') || (!is_hex && lower.contains('e')) || lower.contains('p');
    if is_float {
        return literals::parse_float(written).filter(|value| value.is_finite()).map(TokenKind::Float);
    }
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (&lower[2..], 16),
        Some("0b") => (&lower[2..], 2),
        Some("0o") => (&lower[2..], 8),
        Some(_) if lower.starts_with('0') => (&lower[1..], 8),
        _ => (&*lower, 10),
    };
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    let value = i64::from_str_radix(&digits, radix).ok()?;
    Some(TokenKind::Int(if written.starts_with('-') { -value } else { value }))
}
