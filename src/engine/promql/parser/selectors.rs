//! Selectors, and what may follow an expression: `[5m]`, `[1h:5m]`, `offset`, `@`.

use super::super::ast::{
    At, BinaryOp, Edges, Expr, ExprKind, LabelMatcher, Shift, Subquery, UnaryOp, VectorSelector,
};
use super::super::lexer::TokenKind;
use super::super::problem::{Problem, TextSpan};
use super::{Parsed, Parser};
use crate::engine::series::MatchOp;

impl Parser<'_> {
    /// Parses `name`, `name{...}` or `{...}`.
    pub(super) fn selector(&mut self) -> Parsed<Expr> {
        let mut span = self.span();
        let mut name = None;
        if *self.peek() == TokenKind::Word {
            let word = self.word();
            let lower = word.to_ascii_lowercase();
            if matches!(&*lower, "on" | "ignoring" | "group_left" | "group_right" | "bool" | "atan2") {
                return Err(self.unexpected("an expression (a metric of that name is written `{\"...\"}`)"));
            }
            name = Some(word.to_owned());
            self.advance();
        }
        let mut matchers = Vec::new();
        if self.is_symbol("{") {
            span = span.to(self.matchers(&mut name, &mut matchers)?);
        }
        let selector = VectorSelector { name, matchers, range: None, edges: None, shift: Shift::default() };
        Self::node(span, ExprKind::Selector(Box::new(selector)))
    }

    /// Parses `{a="b", "c.d"=~"e", "name"}`; returns the place of the closing brace.
    fn matchers(&mut self, name: &mut Option<String>, matchers: &mut Vec<LabelMatcher>) -> Parsed<TextSpan> {
        let open = self.expect("{")?;
        while !self.is_symbol("}") {
            let start = self.span();
            let (label, quoted) = match self.peek().clone() {
                TokenKind::Word => (self.word().to_owned(), false),
                TokenKind::Text(text) => (text, true),
                _ => return Err(self.unexpected("a label name or `}`")),
            };
            self.advance();
            match self.match_op() {
                Some(op) => {
                    self.advance();
                    let TokenKind::Text(value) = self.peek().clone() else {
                        let hint = self.value_hint(&label);
                        return Err(Box::new(self.unexpected("a quoted label value").maybe_hint(hint)));
                    };
                    let span = start.to(self.advance());
                    if label.is_empty() {
                        return Err(Box::new(Problem::new(start, "a label name must not be empty")));
                    }
                    matchers.push(LabelMatcher { span, name: label, op, value });
                }
                None if quoted => {
                    if let Some(first) = name.replace(label) {
                        let message =
                            format!("the metric name must not be set twice: it already is `{first}`");
                        return Err(Box::new(Problem::new(start, message)));
                    }
                }
                None => {
                    let hint = self.matcher_hint(&label);
                    return Err(Box::new(self.unexpected("`=`, `!=`, `=~` or `!~`").maybe_hint(hint)));
                }
            }
            if self.word().eq_ignore_ascii_case("or") {
                let problem = self.unexpected("`,` or `}`");
                return Err(Box::new(
                    problem.with_hint("PromQL has no `or` between matchers: join two selectors with `or`"),
                ));
            }
            if !self.eat(",") && !self.is_symbol("}") {
                return Err(self.unclosed(open, "`,` or `}` after a matcher"));
            }
        }
        self.expect("}")
    }

    fn match_op(&self) -> Option<MatchOp> {
        match self.peek() {
            TokenKind::Symbol("=") => Some(MatchOp::Equal),
            TokenKind::Symbol("!=") => Some(MatchOp::NotEqual),
            TokenKind::Symbol("=~") => Some(MatchOp::Matches),
            TokenKind::Symbol("!~") => Some(MatchOp::NotMatches),
            _ => None,
        }
    }

    /// Parses everything that may follow `expr`.
    pub(super) fn postfix(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            expr = match self.peek() {
                TokenKind::Symbol("[") => self.range_or_subquery(expr)?,
                TokenKind::Symbol("@") => self.at_modifier(expr)?,
                TokenKind::Word => match &*self.word().to_ascii_lowercase() {
                    "offset" => self.offset_modifier(expr)?,
                    "anchored" => self.edges_modifier(expr, Edges::Anchored)?,
                    "smoothed" => self.edges_modifier(expr, Edges::Smoothed)?,
                    _ => return Ok(expr),
                },
                _ => return Ok(expr),
            };
        }
    }

    fn range_or_subquery(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.expect("[")?;
        let range = self.enclosed()?;
        if self.eat(":") {
            let step = if self.is_symbol("]") { None } else { Some(self.enclosed()?) };
            let close = self.expect("]")?;
            let span = expr.span.to(close);
            let subquery = Subquery { expr, range, step, shift: Shift::default() };
            return Self::node(span, ExprKind::Subquery(Box::new(subquery)));
        }
        if !self.is_symbol("]") {
            let mut problem = self.unclosed(open, "`]`, or `:` and the step of a subquery");
            if *self.peek() == TokenKind::Word {
                problem = Box::new(problem.with_hint("a duration has no blanks: `5m`"));
            }
            return Err(problem);
        }
        let close = self.advance();
        let span = expr.span.to(close);
        let ExprKind::Selector(mut selector) = expr.kind else {
            let message = "a range can only follow a selector";
            return Err(Box::new(
                Problem::new(open.to(close), message)
                    .with_hint("a subquery has a colon: `[5m:]` or `[5m:30s]`"),
            ));
        };
        let message = if selector.range.is_some() {
            "a selector has one range only"
        } else if selector.shift != Shift::default() {
            "`offset` and `@` follow the range: `x[5m] offset 1m`"
        } else {
            selector.range = Some(range);
            return Self::node(span, ExprKind::Selector(selector));
        };
        let hint = "a range of a range is a subquery, which has a colon: `rate(x[5m])[1h:]`";
        let hint = selector.range.is_some().then(|| hint.to_owned());
        Err(Box::new(Problem::new(open, message).maybe_hint(hint)))
    }

    /// Changes the shift of a selector or subquery, and lets the node end at the last token read.
    fn shifted(
        &mut self,
        mut expr: Expr,
        keyword: TextSpan,
        change: impl FnOnce(&mut Shift) -> Result<(), &'static str>,
    ) -> Parsed<Expr> {
        let shift = match &mut expr.kind {
            ExprKind::Selector(selector) => &mut selector.shift,
            ExprKind::Subquery(subquery) => &mut subquery.shift,
            _ => {
                let word = self.text_of(keyword);
                let message = format!("`{word}` can only follow a selector or a subquery");
                return Err(Box::new(Problem::new(keyword, message)));
            }
        };
        change(shift).map_err(|message| Box::new(Problem::new(keyword, message)))?;
        let span = expr.span.to(self.tokens[self.at - 1].span);
        Self::node(span, expr.kind)
    }

    fn offset_modifier(&mut self, expr: Expr) -> Parsed<Expr> {
        let keyword = self.advance();
        let offset = self.offset_duration()?;
        self.shifted(expr, keyword, |shift| match shift.offset.replace(offset) {
            None => Ok(()),
            Some(_) => Err("`offset` may not be set twice"),
        })
    }

    /// An offset takes signs and one operand; an operator after it belongs to the expression: `x offset 5m * 2`.
    fn offset_duration(&mut self) -> Parsed<Expr> {
        let sign = match self.peek() {
            TokenKind::Symbol("-") => UnaryOp::Minus,
            TokenKind::Symbol("+") => UnaryOp::Plus,
            TokenKind::Number(_) | TokenKind::Word | TokenKind::Symbol("(") => return self.primary(),
            _ => return Err(self.unexpected("a duration")),
        };
        let start = self.advance();
        if !matches!(self.peek(), TokenKind::Number(_) | TokenKind::Word | TokenKind::Symbol("(")) {
            return Err(self.unexpected("a duration"));
        }
        let operand = self.primary()?;
        Self::node(start.to(operand.span), ExprKind::Unary(sign, Box::new(operand)))
    }

    fn at_modifier(&mut self, expr: Expr) -> Parsed<Expr> {
        let keyword = self.advance();
        let word = self.word().to_ascii_lowercase();
        let at = if word == "start" || word == "end" {
            self.advance();
            self.expect("(")?;
            self.expect(")")?;
            if word == "start" { At::Start } else { At::End }
        } else {
            let span = self.span();
            let seconds = self.signed_number().map_err(|problem| {
                Box::new(problem.with_hint("a time is seconds since 1970, `start()` or `end()`"))
            })?;
            let millis = (seconds * 1000.0).round();
            // Up to here (the year 33,658) seconds in a float tell every millisecond apart.
            if millis.is_nan() || millis.abs() >= 1e15 {
                return Err(Box::new(Problem::new(span, "the time after `@` is out of bounds")));
            }
            #[expect(clippy::cast_possible_truncation, reason = "bounded above, and whole")]
            At::Millis(millis as i64)
        };
        self.shifted(expr, keyword, |shift| match shift.at.replace(at) {
            None => Ok(()),
            Some(_) => Err("`@` may not be set twice"),
        })
    }

    fn edges_modifier(&mut self, expr: Expr, edges: Edges) -> Parsed<Expr> {
        let keyword = self.advance();
        let span = expr.span.to(keyword);
        match expr.kind {
            ExprKind::Selector(mut selector) if selector.edges.is_none() => {
                selector.edges = Some(edges);
                Self::node(span, ExprKind::Selector(selector))
            }
            _ => {
                let message = format!("`{}` can only follow a selector, once", self.text_of(keyword));
                Err(Box::new(Problem::new(keyword, message)))
            }
        }
    }
}

/// Words that cannot be a bare metric name where an expression begins.
pub(in super::super) fn is_reserved(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    BinaryOp::from_text(&lower).is_some()
        || matches!(
            &*lower,
            "on" | "ignoring"
                | "group_left"
                | "group_right"
                | "bool"
                | "inf"
                | "nan"
                | "by"
                | "without"
                | "offset"
        )
        || matches!(&*lower, "fill" | "fill_left" | "fill_right" | "anchored" | "smoothed")
}
