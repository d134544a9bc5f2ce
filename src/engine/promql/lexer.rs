//! Text to tokens.
//!
//! Words are not sorted into keywords here: `sum` and `offset` are metric names in one place and keywords in another,
//! and only the parser knows which.

use super::literals;
use super::problem::{Problem, TextSpan};

/// The longest text that is looked at, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A number, or a duration in seconds: PromQL takes one for the other.
    Number(f64),
    /// A string, escapes undone.
    Text(String),
    /// An identifier or a keyword.
    Word,
    /// An operator or a bracket, as written.
    Symbol(&'static str),
    /// The end of the text.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: TextSpan,
}

/// Longest first, so that `<=` is not read as `<` and `=`.
const SYMBOLS: [&str; 27] = [
    "==", "!=", "=~", "!~", "<=", ">=", "</", ">/", "(", ")", "{", "}", "[", "]", ",", ":", "@", "+", "-",
    "*", "/", "%", "^", "=", "<", ">", "!",
];

/// Splits a text into tokens; the last one is [`TokenKind::End`].
pub(super) fn tokenize(text: &str) -> Result<Vec<Token>, Problem> {
    if text.len() > MAX_TEXT {
        let span = TextSpan::new(MAX_TEXT, text.len());
        return Err(Problem::new(span, format!("the expression is longer than {MAX_TEXT} bytes")));
    }
    let mut lexer = Lexer { text, at: 0, brackets: 0, braces: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token()?;
        let ended = token.kind == TokenKind::End;
        tokens.push(token);
        if ended {
            return Ok(tokens);
        }
    }
}

/// Returns what to write in place of a character that is in no token.
fn character_hint(found: char) -> Option<String> {
    let hint = match found {
        '&' => "write `and`",
        '|' => "write `or`",
        '$' => "put the value here that the variable stands for",
        ';' => "one expression stands alone",
        '.' => "a name with other characters than letters, digits, `_` and `:` stands in quotes: `{\"a.b\"}`",
        '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' | '\u{201e}' => "write straight quotes: `\"`",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "write a plain `-`",
        '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{feff}' | '\u{200b}' => "write a plain blank",
        '\u{2264}' => "write `<=`",
        '\u{2265}' => "write `>=`",
        '\u{2260}' => "write `!=`",
        _ if found.is_alphanumeric() => "a name with other letters than a to z stands in quotes: `{\"...\"}`",
        _ => return None,
    };
    Some(hint.to_owned())
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// How many `[` and `{` are open: there a colon is not part of a name.
    brackets: usize,
    braces: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn next_token(&mut self) -> Result<Token, Problem> {
        self.skip_blanks();
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            return Ok(self.token(start, TokenKind::End));
        };
        let kind = match first {
            '"' | '\'' | '`' => self.string(first)?,
            '0'..='9' => self.number()?,
            '.' if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            _ if self.starts_word(first) => {
                let colons = self.brackets == 0 && self.braces == 0;
                self.skip_while(|c| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':'));
                TokenKind::Word
            }
            _ => self.symbol(first)?,
        };
        Ok(self.token(start, kind))
    }

    fn token(&self, start: usize, kind: TokenKind) -> Token {
        Token { kind, span: TextSpan::new(start, self.at) }
    }

    fn starts_word(&self, c: char) -> bool {
        c.is_ascii_alphabetic() || c == '_' || (c == ':' && self.brackets == 0 && self.braces == 0)
    }

    fn skip_while(&mut self, accept: impl Fn(char) -> bool) {
        self.at = self.text.len() - self.rest().trim_start_matches(accept).len();
    }

    fn skip_blanks(&mut self) {
        loop {
            self.skip_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            if !self.rest().starts_with('#') {
                return;
            }
            self.skip_while(|c| c != '\n');
        }
    }

    fn symbol(&mut self, first: char) -> Result<TokenKind, Problem> {
        let Some(symbol) = SYMBOLS.into_iter().find(|symbol| self.rest().starts_with(symbol)) else {
            let span = TextSpan::new(self.at, self.at + first.len_utf8());
            return Err(Problem::new(span, format!("unexpected character {first:?}"))
                .maybe_hint(character_hint(first)));
        };
        self.at += symbol.len();
        match symbol {
            "[" => self.brackets += 1,
            "]" => self.brackets = self.brackets.saturating_sub(1),
            "{" => self.braces += 1,
            "}" => self.braces = self.braces.saturating_sub(1),
            _ => {}
        }
        Ok(TokenKind::Symbol(symbol))
    }

    fn string(&mut self, quote: char) -> Result<TokenKind, Problem> {
        let start = self.at;
        let mut escaped = false;
        for (offset, c) in self.text[start + 1..].char_indices() {
            let end = start + 1 + offset;
            match c {
                _ if escaped => escaped = false,
                '\\' if quote != '`' => escaped = true,
                '\n' if quote != '`' => break,
                _ if c == quote => {
                    self.at = end + 1;
                    return literals::unescape(&self.text[start + 1..end], quote)
                        .map(TokenKind::Text)
                        .map_err(|(offset, message)| {
                            Problem::new(TextSpan::new(start + 1 + offset, end), message)
                        });
                }
                _ => {}
            }
        }
        let span = TextSpan::new(start, self.text.len());
        Err(Problem::new(span, format!("the string is not closed by {quote}")))
    }

    /// A number, or a duration such as `1h30m`.
    fn number(&mut self) -> Result<TokenKind, Problem> {
        let start = self.at;
        let hex = self.rest().starts_with("0x") || self.rest().starts_with("0X");
        let mut before = '0';
        // A sign belongs to the number after an exponent only.
        for c in self.text[start..].chars() {
            let exponent = if hex { matches!(before, 'p' | 'P') } else { matches!(before, 'e' | 'E') };
            let part =
                c.is_ascii_alphanumeric() || c == '_' || c == '.' || (exponent && matches!(c, '+' | '-'));
            if !part {
                break;
            }
            before = c;
            self.at += 1;
        }
        let span = TextSpan::new(start, self.at);
        let text = &self.text[start..self.at];
        if let Some(number) = literals::parse_number(text) {
            return Ok(TokenKind::Number(number));
        }
        // Prometheus' durations have whole numbers; `Span` refuses the same as `model.ParseDuration`.
        match text.parse::<crate::engine::time::Span>() {
            Ok(duration) => Ok(TokenKind::Number(duration.as_secs_f64())),
            Err(_) => {
                let hint = if self.braces > 0 {
                    "a label's value stands in quotes"
                } else if text.trim_start_matches(|c: char| c.is_ascii_digit()).len() > 4 {
                    "a name cannot begin with a digit, unless it stands in quotes: `{\"1st\"}`"
                } else {
                    "durations are whole numbers with units (y, w, d, h, m, s, ms), largest first: `1h30m`, `500ms`"
                };
                let problem = Problem::new(span, format!("`{text}` is neither a number nor a duration"));
                Err(problem.with_hint(hint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokenize(text).map(|tokens| tokens.into_iter().map(|t| t.kind).collect()).unwrap_or_default()
    }

    #[test]
    fn tokens() {
        use TokenKind::{End, Number, Symbol, Text, Word};
        let cases = [
            ("", vec![End]),
            ("a:b # c", vec![Word, End]),
            ("[5m:1s]", vec![Symbol("["), Number(300.0), Symbol(":"), Number(1.0), Symbol("]"), End]),
            ("1h30m 1e-2 1e3", vec![Number(5400.0), Number(0.01), Number(1000.0), End]),
            ("5-3", vec![Number(5.0), Symbol("-"), Number(3.0), End]),
            ("0x1e-2", vec![Number(30.0), Symbol("-"), Number(2.0), End]),
            ("<=~ ==", vec![Symbol("<="), End]),
            (".5", vec![Number(0.5), End]),
            (r#"'a' `\n` "b\"""#, vec![Text("a".into()), Text("\\n".into()), Text("b\"".into()), End]),
        ];
        for (text, expected) in cases {
            if text == "<=~ ==" {
                assert_eq!(tokenize(text).map_err(|p| p.span), Err(TextSpan::new(2, 3)));
                continue;
            }
            assert_eq!(kinds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_token_is_pointed_at() {
        let cases = [
            ("a ~ b", TextSpan::new(2, 3)),
            ("'abc", TextSpan::new(0, 4)),
            ("\"a\nb\"", TextSpan::new(0, 5)),
            ("foo[5mm]", TextSpan::new(4, 7)),
            ("1m1h", TextSpan::new(0, 4)),
            ("5.x", TextSpan::new(0, 3)),
            ("\"\\q\"", TextSpan::new(1, 3)),
            ("\u{e9}", TextSpan::new(0, 2)),
        ];
        for (text, span) in cases {
            assert_eq!(tokenize(text).map(|_| ()).map_err(|p| p.span), Err(span), "{text}");
        }
        let long = "a".repeat(MAX_TEXT + 1);
        assert!(tokenize(&long).is_err_and(|problem| problem.span.start == MAX_TEXT));
    }
}
