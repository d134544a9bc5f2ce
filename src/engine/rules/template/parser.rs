//! Tokens to a tree, one function per construct. Names are checked here: what parses names nothing that is not there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::functions::{self, FUNCTIONS};
use super::lexer::{self, Token, TokenKind};
use super::tree::{Base, Body, Command, Node, Operand, Pipeline};
use crate::engine::promql::{Problem, TextSpan};
use crate::engine::rules::diagnostic::name_hint;

/// How deep blocks and parentheses may be nested: rendering recurses over it.
const MAX_NESTING: usize = 50;

/// The variables that are there before the template begins. The last ones are what Prometheus puts in front of every
/// template: `{{$labels := .Labels}}` and so on.
pub(super) const PREDECLARED: [&str; 5] = ["$", "$labels", "$externalLabels", "$externalURL", "$value"];

type Parsed<T> = Result<T, Box<Problem>>;

/// A parsed template, and those that it defines by name.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) main: Body,
    pub(super) defined: BTreeMap<Arc<str>, Body>,
}

/// Parses a whole template.
pub(super) fn parse(text: &str) -> Parsed<Tree> {
    let mut parser = Parser {
        tokens: lexer::tokenize(text)?,
        at: 0,
        nesting: 0,
        ranges: 0,
        variables: PREDECLARED.map(Arc::from).to_vec(),
        defined: BTreeMap::new(),
    };
    let (main, end) = parser.body()?;
    match end {
        Ended::Text => Ok(Tree { main, defined: parser.defined }),
        Ended::End(span) => {
            Err(Box::new(Problem::new(span, "`end` without `if`, `range`, `with` or `define`")))
        }
        Ended::Else(span) => Err(Box::new(Problem::new(span, "`else` without `if`, `range` or `with`"))),
    }
}

/// What ended a body.
enum Ended {
    /// The end of the text.
    Text,
    /// `{{ end }}`, consumed.
    End(TextSpan),
    /// `{{ else`, consumed so far.
    Else(TextSpan),
}

/// A block that an `else` or `end` belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    If,
    With,
    Range,
}

struct Parser {
    /// Ends with [`TokenKind::End`], which is never consumed.
    tokens: Vec<Token>,
    at: usize,
    nesting: usize,
    /// How many ranges are around.
    ranges: usize,
    /// The variables in scope.
    variables: Vec<Arc<str>>,
    defined: BTreeMap<Arc<str>, Body>,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn peek_kind(&self, ahead: usize) -> &TokenKind {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].kind
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek().kind, TokenKind::Symbol(found) if found == symbol);
        if found {
            self.next();
        }
        found
    }

    fn close(&mut self) -> Parsed<()> {
        if self.peek().kind == TokenKind::Close {
            self.next();
            return Ok(());
        }
        Err(self.unexpected("`}}`"))
    }

    fn unexpected(&self, expected: &str) -> Box<Problem> {
        let found = match &self.peek().kind {
            TokenKind::End | TokenKind::Open | TokenKind::Text(_) => "the end".to_owned(),
            TokenKind::Close => "the end of the action".to_owned(),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::Field(name) => format!("`.{}`", name.escape_debug()),
            TokenKind::Variable(name) | TokenKind::Word(name) => format!("`{}`", name.escape_debug()),
            TokenKind::Quoted(_) => "a text".to_owned(),
            TokenKind::Int(_) | TokenKind::Float(_) => "a number".to_owned(),
        };
        Box::new(Problem::new(self.peek().span, format!("expected {expected}, found {found}")))
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= MAX_NESTING {
            let message = format!("nested deeper than {MAX_NESTING} levels");
            return Err(Box::new(Problem::new(self.peek().span, message)));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    /// Parses text and actions up to an `end` or `else` that belongs to what is around.
    fn body(&mut self) -> Parsed<(Body, Ended)> {
        let mut body = Body::new();
        loop {
            let token = self.next();
            match token.kind {
                TokenKind::Text(text) => body.push(Node::Text(text.into())),
                TokenKind::Open => {
                    let start = self.peek().span;
                    let word = match self.peek_kind(0) {
                        TokenKind::Word(word) => word.clone(),
                        _ => String::new(),
                    };
                    match word.as_str() {
                        "end" => {
                            self.next();
                            self.close()?;
                            return Ok((body, Ended::End(start)));
                        }
                        "else" => {
                            self.next();
                            return Ok((body, Ended::Else(start)));
                        }
                        _ => body.extend(self.deeper(|parser| parser.action(&word, start))?),
                    }
                }
                _ => return Ok((body, Ended::Text)),
            }
        }
    }

    /// Parses an action after its `{{`; `define` leaves nothing behind.
    fn action(&mut self, word: &str, start: TextSpan) -> Parsed<Option<Node>> {
        match word {
            "if" => self.block(Block::If, start).map(Some),
            "with" => self.block(Block::With, start).map(Some),
            "range" => self.block(Block::Range, start).map(Some),
            "break" | "continue" => {
                self.next();
                if self.ranges == 0 {
                    return Err(Box::new(Problem::new(start, format!("`{word}` outside of a range"))));
                }
                self.close()?;
                Ok(Some(if word == "break" { Node::Break } else { Node::Continue }))
            }
            "define" => self.define(start).map(|()| None),
            "template" | "block" => self.template(word == "block", start).map(Some),
            _ => {
                let pipeline = self.pipeline("a command", false)?;
                self.close()?;
                Ok(Some(Node::Action(pipeline)))
            }
        }
    }

    /// Parses from a keyword to the `{{ end }}` of its block.
    fn block(&mut self, block: Block, start: TextSpan) -> Parsed<Node> {
        self.next();
        let scope = self.variables.len();
        let pipeline = self.pipeline("a condition or value", block == Block::Range)?;
        self.close()?;
        self.ranges += usize::from(block == Block::Range);
        let (then, ended) = self.body()?;
        self.ranges -= usize::from(block == Block::Range);
        let mut other = Body::new();
        match ended {
            Ended::End(_) => {}
            Ended::Text => return Err(never_ended(start)),
            Ended::Else(span) => {
                let chained = match (self.peek_kind(0), block) {
                    (TokenKind::Word(word), Block::If) if word == "if" => true,
                    (TokenKind::Word(word), Block::With) if word == "with" => true,
                    _ => false,
                };
                if chained {
                    // `else if` shares the `end` of the block that it continues.
                    other.push(self.deeper(|parser| parser.block(block, span))?);
                } else {
                    self.close()?;
                    let (body, ended) = self.body()?;
                    match ended {
                        Ended::End(_) => other = body,
                        Ended::Text => return Err(never_ended(start)),
                        Ended::Else(span) => {
                            return Err(Box::new(Problem::new(span, "a second `else`: `end` was expected")));
                        }
                    }
                }
            }
        }
        self.variables.truncate(scope);
        Ok(match block {
            Block::If => Node::If { pipeline, then, other },
            Block::With => Node::With { pipeline, then, other },
            Block::Range => Node::Range { pipeline, body: then, other },
        })
    }

    /// Parses `define "name"}}...{{end}}`, which stands at the top only.
    fn define(&mut self, start: TextSpan) -> Parsed<()> {
        self.next();
        if self.nesting > 1 {
            return Err(Box::new(Problem::new(start, "`define` stands at the top level only")));
        }
        let name = self.template_name()?;
        self.close()?;
        let body = self.definition(start)?;
        self.defined.insert(name, body);
        Ok(())
    }

    /// Parses a named body, which sees no variable but `$`.
    fn definition(&mut self, start: TextSpan) -> Parsed<Body> {
        let outside = std::mem::replace(&mut self.variables, vec![PREDECLARED[0].into()]);
        let ranges = std::mem::take(&mut self.ranges);
        let parsed = self.body();
        self.variables = outside;
        self.ranges = ranges;
        match parsed? {
            (body, Ended::End(_)) => Ok(body),
            (_, Ended::Else(span)) => {
                Err(Box::new(Problem::new(span, "`else` without `if`, `range` or `with`")))
            }
            (_, Ended::Text) => Err(never_ended(start)),
        }
    }

    /// Parses `template "name" pipeline`, or a block, which defines the template where it is used.
    fn template(&mut self, is_block: bool, start: TextSpan) -> Parsed<Node> {
        self.next();
        let span = start.to(self.peek().span);
        let name = self.template_name()?;
        let data = match self.peek().kind {
            TokenKind::Close if !is_block => None,
            _ => Some(self.pipeline("a value for the template", false)?),
        };
        self.close()?;
        if is_block {
            let body = self.definition(start)?;
            self.defined.insert(name.clone(), body);
        }
        Ok(Node::Template { name, data, span })
    }

    fn template_name(&mut self) -> Parsed<Arc<str>> {
        match self.peek().kind.clone() {
            TokenKind::Quoted(name) => {
                self.next();
                Ok(name.into())
            }
            _ => Err(self.unexpected("a template's name in quotes")),
        }
    }

    /// Parses `$x := command | command`.
    fn pipeline(&mut self, what: &str, in_range: bool) -> Parsed<Pipeline> {
        let start = self.peek().span;
        let (variables, assigns) = self.declaration(in_range)?;
        let mut commands = vec![self.command(what)?];
        while self.eat("|") {
            let command = self.command("a function after `|`")?;
            let may_follow = command.first.base.may_follow() || !command.first.fields.is_empty();
            if !may_follow {
                let message = "this cannot take the value that the pipe hands to it: a function was expected";
                return Err(Box::new(Problem::new(command.first.span, message)));
            }
            commands.push(command);
        }
        // The value is computed before the variables begin.
        for name in &variables {
            if !assigns {
                self.variables.push(name.clone());
            }
        }
        let end = self.tokens[self.at.saturating_sub(1)].span;
        Ok(Pipeline { span: start.to(end), variables, assigns, commands })
    }

    /// Parses `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declaration(&mut self, in_range: bool) -> Parsed<(Vec<Arc<str>>, bool)> {
        let mut names: Vec<(Arc<str>, TextSpan)> = Vec::new();
        let mut ahead = 0;
        let assigns = loop {
            let TokenKind::Variable(name) = self.peek_kind(ahead) else { return Ok((Vec::new(), false)) };
            names.push((name.as_str().into(), self.tokens[self.at + ahead].span));
            match self.peek_kind(ahead + 1) {
                TokenKind::Symbol(":=") => break false,
                TokenKind::Symbol("=") => break true,
                TokenKind::Symbol(",") if in_range && names.len() < 2 => ahead += 2,
                TokenKind::Symbol(",") => {
                    let span = self.tokens[self.at + ahead + 1].span;
                    let most = if in_range {
                        "a range sets at most two variables"
                    } else {
                        "only a range sets two variables"
                    };
                    return Err(Box::new(Problem::new(span, most)));
                }
                _ => return Ok((Vec::new(), false)),
            }
        };
        self.at += ahead + 2;
        for (name, span) in names.iter().filter(|_| assigns) {
            self.check_variable(name, *span)?;
        }
        Ok((names.into_iter().map(|(name, _)| name).collect(), assigns))
    }

    fn command(&mut self, what: &str) -> Parsed<Command> {
        let mut operands = Vec::new();
        loop {
            match &self.peek().kind {
                TokenKind::Close | TokenKind::End | TokenKind::Symbol("|" | ")") => break,
                _ => {
                    if !operands.is_empty() && !self.peek().spaced {
                        return Err(self.unexpected("a blank between two operands"));
                    }
                    operands.push(self.operand(what)?);
                }
            }
        }
        let mut operands = operands.into_iter();
        match operands.next() {
            Some(first) => Ok(Command { first, arguments: operands.collect() }),
            None => Err(self.unexpected(what)),
        }
    }

    fn operand(&mut self, what: &str) -> Parsed<Operand> {
        let token = self.peek().clone();
        let mut fields = Vec::new();
        let base = match token.kind {
            TokenKind::Symbol(".") => Base::Dot,
            TokenKind::Field(name) => {
                fields.push(name.into());
                Base::Dot
            }
            TokenKind::Variable(name) => {
                self.check_variable(&name, token.span)?;
                Base::Variable(name.into())
            }
            TokenKind::Word(word) => word_operand(&word, token.span)?,
            TokenKind::Quoted(text) => Base::Text(text.into()),
            TokenKind::Int(value) => Base::Int(value),
            TokenKind::Float(value) => Base::Float(value),
            TokenKind::Symbol("(") => {
                self.next();
                let inner = self.deeper(|parser| parser.pipeline("a value in parentheses", false))?;
                if !matches!(self.peek().kind, TokenKind::Symbol(")")) {
                    return Err(self.unexpected("`)`"));
                }
                Base::Group(Box::new(inner))
            }
            _ => return Err(self.unexpected(what)),
        };
        let mut span = token.span.to(self.next().span);
        while let TokenKind::Field(name) = &self.peek().kind
            && !self.peek().spaced
        {
            if base.is_literal() {
                return Err(self.unexpected("a blank, because this has no fields"));
            }
            fields.push(name.as_str().into());
            span = span.to(self.next().span);
        }
        Ok(Operand { span, base, fields })
    }

    fn check_variable(&self, name: &str, span: TextSpan) -> Parsed<()> {
        if self.variables.iter().any(|known| **known == *name) {
            return Ok(());
        }
        let known = self.variables.iter().map(|known| &**known);
        let hint = name_hint(name, "variable", known);
        Err(Box::new(
            Problem::new(span, format!("undefined variable `{}`", name.escape_debug())).with_hint(hint),
        ))
    }
}

fn word_operand(word: &str, span: TextSpan) -> Parsed<Base> {
    const KEYWORDS: [&str; 10] =
        ["if", "else", "end", "range", "with", "define", "template", "block", "break", "continue"];
    match word {
        "true" => return Ok(Base::Bool(true)),
        "false" => return Ok(Base::Bool(false)),
        "nil" => return Ok(Base::Nil),
        _ => {}
    }
    if let Some(function) = functions::named(word) {
        return Ok(Base::Function(function));
    }
    let problem = if KEYWORDS.contains(&word) {
        Problem::new(span, format!("`{word}` does not stand inside a command"))
    } else {
        let hint = name_hint(word, "function", FUNCTIONS.iter().map(|function| function.name));
        Problem::new(span, format!("function `{}` is not defined", word.escape_debug())).with_hint(hint)
    };
    Err(Box::new(problem))
}

fn never_ended(start: TextSpan) -> Box<Problem> {
    Box::new(Problem::new(start, "this is never closed: `{{ end }}` is missing"))
}
