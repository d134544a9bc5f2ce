//! What to write instead: hints for mistakes that are made again and again.

use super::super::ast::AggregateOp;
use super::super::catalog::Function;
use super::super::lexer::TokenKind;
use super::Parser;

impl Parser<'_> {
    /// Returns what to do about the next token, which cannot stand where it stands.
    pub(super) fn hint(&self) -> Option<String> {
        let found = self.text_of(self.span());
        let before = self.at.checked_sub(1).map_or("", |at| self.text_of(self.tokens[at].span));
        let fixed = match (before, found) {
            ("=", ">") => "write `>=`",
            ("=", "<") => "write `<=`",
            ("<", ">") => "write `!=`",
            ("*", "*") => "a power is written `^`",
            ("%", _) if self.starts_no_operand() => {
                "`%` is the rest of a division: write a percentage as a ratio, such as `0.05`"
            }
            ("not", _) | (_, "!") => {
                "there is no `not`: compare (`x == 0`), or take series away with `unless`"
            }
            ("if", _) => "there is no `if`: a comparison keeps the series for which it holds",
            ("offset", _) if matches!(self.peek(), TokenKind::Number(_)) => {
                "`offset` follows the selector: `x offset 5m`"
            }
            _ => return self.hint_at_operator(before, found),
        };
        Some(fixed.to_owned())
    }

    /// Hints for places where an operator, a comma or the end was expected.
    fn hint_at_operator(&self, before: &str, found: &str) -> Option<String> {
        let lower = found.to_ascii_lowercase();
        let calls = |name: &str| Function::named(name).is_some() || AggregateOp::from_name(name).is_some();
        Some(match &*lower {
            "=" => match self.text_of(self.tokens[(self.at + 1).min(self.tokens.len() - 1)].span) {
                ">" => "write `>=`".to_owned(),
                "<" => "write `<=`".to_owned(),
                _ => "values are compared with `==`".to_owned(),
            },
            "by" | "without" if before == ")" => format!(
                "it stands directly before or behind the brackets of the aggregation: `sum {lower} (job) (rate(x[5m]))`"
            ),
            "on" | "ignoring" if before == ")" || *self.peek_second() == TokenKind::Symbol("(") => {
                format!("`{lower} (...)` follows an operator: `a / {lower} (job) b`")
            }
            "on" | "ignoring" => format!("its labels stand in brackets: `a / {lower} (job) b`"),
            "group_left" | "group_right" => format!("it follows labels: `a / on (job) {lower} b`"),
            "for" => "how long it must hold is a key of the rule, beside `expr`".to_owned(),
            "{" if before == "}" => "all matchers stand in one pair of braces, with commas".to_owned(),
            ")" if self.brackets == 0 => "no bracket is open here that it could close".to_owned(),
            _ if matches!(before, "by" | "without" | "on" | "ignoring") => {
                format!("labels stand in brackets: `{before} ({found})`")
            }
            _ if calls(before) && !lower.is_empty() => {
                format!("what a function takes stands in brackets: `{before}(...)`")
            }
            _ => return None,
        })
    }

    /// Whether an operand cannot begin with the next token.
    fn starts_no_operand(&self) -> bool {
        match self.peek() {
            TokenKind::End => true,
            TokenKind::Symbol(symbol) => !matches!(*symbol, "(" | "{" | "+" | "-"),
            _ => false,
        }
    }

    /// Returns what to do about the next token, which stands where a matcher's operator should.
    pub(super) fn matcher_hint(&self, label: &str) -> Option<String> {
        let found = self.text_of(self.span());
        Some(match found {
            "==" | ":" => format!("write `{label}=\"...\"`"),
            "<" | ">" | "<=" | ">=" => {
                "labels are texts: match them with a pattern, such as `=~\"5..\"`".to_owned()
            }
            "in" => format!("several values are a pattern: `{label}=~\"a|b\"`"),
            _ => return None,
        })
    }

    /// Returns what to do about the next token, which stands where a matcher's value should.
    pub(super) fn value_hint(&self, label: &str) -> Option<String> {
        match self.peek() {
            TokenKind::Word | TokenKind::Number(_) => {
                Some(format!("values stand in quotes: `{label}=\"{}\"`", self.text_of(self.span())))
            }
            TokenKind::Symbol("[" | "(") => Some(format!("several values are a pattern: `{label}=~\"a|b\"`")),
            _ => None,
        }
    }
}
