//! Tokens to an expression: precedence climbing for the operators, one function per construct for the rest.
//!
//! Types are not looked at here; [`super::check`] does that on the finished tree, so that one look finds all mistakes.

mod hints;
mod selectors;

pub(super) use selectors::is_reserved;

use super::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, ExprKind, FillSide, Grouping, MAX_HEIGHT,
    MatchGroup, MatchLabels, Matching, UnaryOp,
};
use super::catalog::{FUNCTIONS, Function, nearest};
use super::lexer::{self, Token, TokenKind};
use super::literals;
use super::problem::{Problem, TextSpan};

/// How deep brackets of any kind may stand in each other.
///
/// Together with [`MAX_HEIGHT`], which bounds operators too, this keeps parsing within half of a small thread's stack.
const MAX_BRACKETS: usize = 120;

type Parsed<T> = Result<T, Box<Problem>>;

/// Parses a whole text; types are not checked yet.
pub(super) fn parse_syntax(text: &str) -> Parsed<Expr> {
    let tokens = lexer::tokenize(text).map_err(Box::new)?;
    let mut parser = Parser { text, tokens, at: 0, brackets: 0, nesting: 0 };
    if *parser.peek() == TokenKind::End {
        return Err(parser.error("the expression is empty"));
    }
    let expr = parser.expression(0)?;
    match parser.peek() {
        TokenKind::End => Ok(expr),
        _ => Err(parser.unexpected("an operator or the end of the expression")),
    }
}

/// What to do about an expression that is too deep.
const SPLIT: &str = "record parts of it under names of their own";

fn too_high(span: TextSpan) -> Box<Problem> {
    let message = format!("the expression is nested more than {MAX_HEIGHT} operators deep");
    Box::new(Problem::new(span, message).with_hint(SPLIT))
}

struct Parser<'t> {
    text: &'t str,
    /// Ends with [`TokenKind::End`], which is never consumed.
    tokens: Vec<Token>,
    at: usize,
    /// How many brackets are open.
    brackets: usize,
    /// How many expressions are begun: each is part of a node of the one around it, and so adds to the tree's height.
    nesting: u16,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    fn peek_second(&self) -> &TokenKind {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    fn span(&self) -> TextSpan {
        self.tokens[self.at].span
    }

    fn text_of(&self, span: TextSpan) -> &'t str {
        &self.text[span.start..span.end]
    }

    /// The next token's text if it is a word, else `""`.
    fn word(&self) -> &'t str {
        if *self.peek() == TokenKind::Word { self.text_of(self.span()) } else { "" }
    }

    fn advance(&mut self) -> TextSpan {
        let span = self.span();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        span
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), TokenKind::Symbol(found) if *found == symbol)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Parsed<TextSpan> {
        if self.is_symbol(symbol) { Ok(self.advance()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn eat_keyword(&mut self, keyword: &str) -> bool {
        let found = self.word().eq_ignore_ascii_case(keyword);
        if found {
            self.advance();
        }
        found
    }

    fn error(&self, message: impl Into<String>) -> Box<Problem> {
        Box::new(Problem::new(self.span(), message))
    }

    fn unexpected(&self, expected: &str) -> Box<Problem> {
        let found = match self.peek() {
            TokenKind::End => "the end of the expression".to_owned(),
            _ => format!("`{}`", self.text_of(self.span()).chars().take(40).collect::<String>()),
        };
        let problem = Problem::new(self.span(), format!("expected {expected}, found {found}"));
        Box::new(problem.maybe_hint(self.hint()))
    }

    /// A bracket is missing; where the text ends before it, the one that was opened is told.
    fn unclosed(&self, open: TextSpan, expected: &str) -> Box<Problem> {
        let problem = self.unexpected(expected);
        if *self.peek() != TokenKind::End {
            return problem;
        }
        let bracket = self.text_of(open);
        Box::new(problem.with_hint(format!(
            "`{bracket}` at character {} of the expression is never closed",
            open.start + 1
        )))
    }

    fn node(span: TextSpan, kind: ExprKind) -> Parsed<Expr> {
        let expr = Expr::new(span, kind);
        if expr.height() > MAX_HEIGHT {
            // Only the last link is pointed at: the whole would be the whole text.
            return Err(too_high(TextSpan::new(span.end.saturating_sub(1), span.end)));
        }
        Ok(expr)
    }

    /// An expression of its own inside of brackets.
    fn enclosed(&mut self) -> Parsed<Expr> {
        self.brackets += 1;
        if self.brackets > MAX_BRACKETS {
            let message = format!("brackets are nested more than {MAX_BRACKETS} levels deep");
            return Err(Box::new(Problem::new(self.span(), message).with_hint(SPLIT)));
        }
        let expr = self.expression(0);
        self.brackets -= 1;
        expr
    }

    /// An expression whose operators bind at least as strongly as `weakest`.
    fn expression(&mut self, weakest: u8) -> Parsed<Expr> {
        self.nesting += 1;
        if self.nesting > MAX_HEIGHT {
            return Err(too_high(self.span()));
        }
        let expr = self.operators(weakest);
        self.nesting -= 1;
        expr
    }

    fn operators(&mut self, weakest: u8) -> Parsed<Expr> {
        let mut left = self.operand()?;
        while let Some(op) = self.peek_operator() {
            if op.precedence() < weakest {
                break;
            }
            let op_span = self.advance();
            let (bool, matching) = self.matching(op)?;
            // `^` groups to the right, all others to the left.
            let next = if op == BinaryOp::Power { op.precedence() } else { op.precedence() + 1 };
            let right = self.expression(next)?;
            let span = left.span.to(right.span);
            left = Self::node(
                span,
                ExprKind::Binary(Box::new(Binary { op, op_span, bool, matching, left, right })),
            )?;
        }
        Ok(left)
    }

    fn peek_operator(&self) -> Option<BinaryOp> {
        match self.peek() {
            TokenKind::Symbol(symbol) => BinaryOp::from_text(symbol),
            TokenKind::Word => BinaryOp::from_text(self.word()),
            _ => None,
        }
    }

    /// Signs and what follows them. A sign binds like `*`: `-2^2` is `-(2^2)`, `-a*b` is `(-a)*b`.
    fn operand(&mut self) -> Parsed<Expr> {
        let sign = match self.peek() {
            TokenKind::Symbol("-") => Some(UnaryOp::Minus),
            TokenKind::Symbol("+") => Some(UnaryOp::Plus),
            _ => None,
        };
        match sign {
            Some(op) => {
                let sign = self.advance();
                let operand = self.expression(BinaryOp::Power.precedence())?;
                Self::node(sign.to(operand.span), ExprKind::Unary(op, Box::new(operand)))
            }
            None => self.primary().and_then(|primary| self.postfix(primary)),
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let span = self.span();
        match self.peek().clone() {
            TokenKind::Number(number) => {
                self.advance();
                Self::node(span, ExprKind::Number(number))
            }
            TokenKind::Text(text) => {
                self.advance();
                Self::node(span, ExprKind::Text(text))
            }
            TokenKind::Symbol("(") => self.parenthesized(),
            TokenKind::Symbol("{") => self.selector(),
            TokenKind::Word => self.named(),
            _ => Err(self.unexpected("a number, a string, a selector, a function or `(`")),
        }
    }

    fn parenthesized(&mut self) -> Parsed<Expr> {
        let open = self.expect("(")?;
        let inner = self.enclosed()?;
        if !self.is_symbol(")") {
            return Err(self.unclosed(open, "`)`"));
        }
        let close = self.advance();
        Self::node(open.to(close), ExprKind::Paren(Box::new(inner)))
    }

    /// What begins with a word: a number, an aggregation, a call, or a metric's name.
    fn named(&mut self) -> Parsed<Expr> {
        let word = self.word();
        if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan") {
            let number = literals::parse_float(word).unwrap_or(f64::NAN);
            let span = self.advance();
            return Self::node(span, ExprKind::Number(number));
        }
        let opens = matches!(self.peek_second(), TokenKind::Symbol("("));
        if let Some(op) = AggregateOp::from_name(word) {
            let next = &self.tokens[(self.at + 1).min(self.tokens.len() - 1)];
            let next_word = if next.kind == TokenKind::Word {
                self.text_of(next.span).to_lowercase()
            } else {
                String::new()
            };
            if opens || matches!(&*next_word, "by" | "without") {
                return self.aggregate(op);
            }
        }
        if opens { self.call() } else { self.selector() }
    }

    fn call(&mut self) -> Parsed<Expr> {
        let name = self.word();
        let name_span = self.advance();
        // The query's own scalars are keywords in Prometheus and so come in any case.
        let function = Function::named(name).or_else(|| {
            let lower = name.to_ascii_lowercase();
            matches!(&*lower, "start" | "end" | "step" | "range" | "min_of" | "max_of")
                .then(|| Function::named(&lower))
                .flatten()
        });
        let Some(function) = function else {
            let mut problem = Problem::new(name_span, format!("unknown function `{name}`"));
            let known = FUNCTIONS.iter().map(|f| f.name).chain(AggregateOp::ALL.map(|(name, _)| name));
            if name == "holt_winters" {
                problem = problem.with_hint("it is called `double_exponential_smoothing` now");
            } else if let Some(near) = nearest(name, known) {
                problem = problem.with_hint(format!("did you mean `{near}`?"));
            }
            return Err(Box::new(problem));
        };
        let (args, close) = self.arguments()?;
        Self::node(name_span.to(close), ExprKind::Call(Box::new(Call { function, args })))
    }

    /// Parses `(a, b)`; returns the closing bracket's place too.
    fn arguments(&mut self) -> Parsed<(Vec<Expr>, TextSpan)> {
        let open = self.expect("(")?;
        let mut args = Vec::new();
        if self.is_symbol(")") {
            return Ok((args, self.advance()));
        }
        loop {
            args.push(self.enclosed()?);
            if self.is_symbol(")") {
                return Ok((args, self.advance()));
            }
            if !self.eat(",") {
                return Err(self.unclosed(open, "`,` or `)` after an argument"));
            }
        }
    }

    fn aggregate(&mut self, op: AggregateOp) -> Parsed<Expr> {
        let start = self.advance();
        let mut grouping = self.grouping()?;
        let open = self.span();
        let (mut args, mut end) = self.arguments()?;
        if grouping.is_none() && matches!(&*self.word().to_ascii_lowercase(), "by" | "without") {
            grouping = self.grouping()?;
            end = self.tokens[self.at - 1].span;
        }
        let expected = 1 + usize::from(op.has_param());
        if args.len() != expected {
            let message = format!("`{}` takes {expected} argument(s), {} given", op.name(), args.len());
            return Err(Box::new(Problem::new(open.to(end), message).with_hint(op.usage())));
        }
        let Some(expr) = args.pop() else { return Err(self.unexpected("an argument")) };
        let aggregate = Aggregate { op, grouping, param: args.pop(), expr };
        Self::node(start.to(end), ExprKind::Aggregate(Box::new(aggregate)))
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = match &*self.word().to_ascii_lowercase() {
            "by" => false,
            "without" => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(Grouping { without, labels: self.label_list()? }))
    }

    /// Parses `(a, "b.c",)`: label names for `by`, `on` and their like; every word is a label here.
    fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expect("(")?;
        let mut labels = Vec::new();
        while !self.is_symbol(")") {
            match self.peek().clone() {
                TokenKind::Word => labels.push(self.word().to_owned()),
                TokenKind::Text(text) if !text.is_empty() => labels.push(text),
                _ => return Err(self.unexpected("a label name or `)`")),
            }
            self.advance();
            if !self.eat(",") && !self.is_symbol(")") {
                return Err(self.unexpected("`,` or `)` after a label name"));
            }
        }
        self.expect(")")?;
        Ok(labels)
    }

    /// Parses what may stand between a binary operator and its right operand.
    fn matching(&mut self, op: BinaryOp) -> Parsed<(bool, Matching)> {
        let bool_span = self.span();
        let bool = self.eat_keyword("bool");
        if bool && !op.is_comparison() {
            let message = "`bool` can only follow a comparison operator";
            return Err(Box::new(Problem::new(bool_span, message)));
        }
        let mut matching = Matching::default();
        let word = self.word().to_ascii_lowercase();
        if (word == "on" || word == "ignoring") && matches!(self.peek_second(), TokenKind::Symbol("(")) {
            self.advance();
            matching.labels = Some(MatchLabels { on: word == "on", labels: self.label_list()? });
            let word = self.word().to_ascii_lowercase();
            if word == "group_left" || word == "group_right" {
                let span = self.advance();
                if op.is_set() {
                    let message =
                        format!("`{}` knows no grouping: it always matches many to many", op.text());
                    return Err(Box::new(Problem::new(span, message)));
                }
                let include = if self.is_symbol("(") { self.label_list()? } else { Vec::new() };
                matching.group = Some(MatchGroup { left: word == "group_left", include });
            }
        }
        while let Some(side) = self.fill_side() {
            let span = self.advance();
            // `fill` is for both sides, or else each side is filled once.
            let taken = |(other, _): &(FillSide, f64)| {
                *other == side || *other == FillSide::Both || side == FillSide::Both
            };
            if matching.fill.iter().any(taken) {
                let message = format!("`{}` fills a side that is filled already", self.text_of(span));
                return Err(Box::new(Problem::new(span, message)));
            }
            self.expect("(")?;
            let value = self.signed_number()?;
            self.expect(")")?;
            matching.fill.push((side, value));
        }
        Ok((bool, matching))
    }

    fn fill_side(&self) -> Option<FillSide> {
        if !matches!(self.peek_second(), TokenKind::Symbol("(")) {
            return None;
        }
        match &*self.word().to_ascii_lowercase() {
            "fill" => Some(FillSide::Both),
            "fill_left" => Some(FillSide::Left),
            "fill_right" => Some(FillSide::Right),
            _ => None,
        }
    }

    /// Parses a number with an optional sign.
    fn signed_number(&mut self) -> Parsed<f64> {
        let negative = self.eat("-");
        if !negative {
            self.eat("+");
        }
        let number = match self.peek() {
            TokenKind::Number(number) => *number,
            TokenKind::Word if matches!(&*self.word().to_ascii_lowercase(), "inf" | "nan") => {
                literals::parse_float(self.word()).unwrap_or(f64::NAN)
            }
            _ => return Err(self.unexpected("a number or a duration")),
        };
        self.advance();
        Ok(if negative { -number } else { number })
    }
}

#[cfg(test)]
mod tests;
