//! An expression as written: every node knows its bytes, parentheses are kept, nothing is folded.

use super::catalog::Function;
use super::problem::TextSpan;
use crate::engine::series::MatchOp;

/// The tallest tree that is built.
///
/// Everything that walks a tree recurses over its height; the bound keeps all of them within the two megabytes of stack
/// that a thread has at least.
pub const MAX_HEIGHT: u16 = 250;

/// One node of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Its bytes in the text.
    pub span: TextSpan,
    /// What it is.
    pub kind: ExprKind,
    height: u16,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `1`, `0x1F`, `Inf`, or a duration in seconds.
    Number(f64),
    /// `"text"`
    Text(String),
    /// `metric{label="value"}[5m] offset 1m @ 100`
    Selector(Box<VectorSelector>),
    /// `expr[1h:5m]`
    Subquery(Box<Subquery>),
    /// `rate(x[5m])`
    Call(Box<Call>),
    /// `sum by (a) (x)`
    Aggregate(Box<Aggregate>),
    /// `-x`
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`
    Binary(Box<Binary>),
    /// `(x)`
    Paren(Box<Expr>),
}

/// A selector of series: instants, or a range where `range` is given.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The name where it stands on its own: before the braces, or quoted inside them.
    pub name: Option<String>,
    /// The other matchers, as written.
    pub matchers: Vec<LabelMatcher>,
    /// `[5m]`: makes it a range selector.
    pub range: Option<Expr>,
    /// `anchored` or `smoothed`.
    pub edges: Option<Edges>,
    /// `offset` and `@`.
    pub shift: Shift,
}

/// One label matcher, as written.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelMatcher {
    /// Its bytes in the text.
    pub span: TextSpan,
    /// The label.
    pub name: String,
    /// How it compares.
    pub op: MatchOp,
    /// What it compares with.
    pub value: String,
}

/// How a range selector treats its edges (experimental in Prometheus).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edges {
    /// `anchored`
    Anchored,
    /// `smoothed`
    Smoothed,
}

/// The time at which a selector or subquery looks, in place of the evaluation's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shift {
    /// `offset 5m`: a duration expression.
    pub offset: Option<Expr>,
    /// `@ 100`, `@ start()`, `@ end()`.
    pub at: Option<At>,
}

/// An instant to look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Milliseconds since the Unix epoch.
    Millis(i64),
    /// The start of the query.
    Start,
    /// The end of the query.
    End,
}

/// `expr[range:step]`
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated at each step.
    pub expr: Expr,
    /// How far back.
    pub range: Expr,
    /// How often; the default step where absent.
    pub step: Option<Expr>,
    /// `offset` and `@`.
    pub shift: Shift,
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function; unknown names do not parse.
    pub function: &'static Function,
    /// The arguments; their number and types are checked.
    pub args: Vec<Expr>,
}

/// An aggregation operator with its grouping.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Which one.
    pub op: AggregateOp,
    /// `by (...)` or `without (...)`.
    pub grouping: Option<Grouping>,
    /// The first argument of `topk` and its like.
    pub param: Option<Expr>,
    /// What is aggregated.
    pub expr: Expr,
}

/// `by (labels)` or `without (labels)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// Whether the labels are dropped instead of kept.
    pub without: bool,
    /// The labels as written.
    pub labels: Vec<String>,
}

/// An aggregation operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are PromQL's own words")]
pub enum AggregateOp {
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    LimitRatio,
    Limitk,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
}

impl AggregateOp {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 14] = [
        ("avg", Self::Avg),
        ("bottomk", Self::Bottomk),
        ("count", Self::Count),
        ("count_values", Self::CountValues),
        ("group", Self::Group),
        ("limit_ratio", Self::LimitRatio),
        ("limitk", Self::Limitk),
        ("max", Self::Max),
        ("min", Self::Min),
        ("quantile", Self::Quantile),
        ("stddev", Self::Stddev),
        ("stdvar", Self::Stdvar),
        ("sum", Self::Sum),
        ("topk", Self::Topk),
    ];

    /// Returns the operator of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, op)| *op)
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(name, _)| name)
    }

    /// Returns how it is written, for hints.
    pub(super) fn usage(self) -> String {
        let param = match self {
            Self::CountValues => "\"label\", ",
            Self::Quantile => "0.9, ",
            Self::LimitRatio => "0.5, ",
            _ if self.has_param() => "5, ",
            _ => "",
        };
        format!("write `{}({param}x)`", self.name())
    }

    /// Returns whether it takes a parameter before the vector.
    pub fn has_param(self) -> bool {
        matches!(
            self,
            Self::Bottomk | Self::CountValues | Self::LimitRatio | Self::Limitk | Self::Quantile | Self::Topk
        )
    }
}

/// `+` or `-` before an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// `left op right`
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Where the operator stands.
    pub op_span: TextSpan,
    /// `bool`: a comparison yields 0 or 1 instead of filtering.
    pub bool: bool,
    /// `on`, `ignoring`, `group_left`, `group_right`, `fill`.
    pub matching: Matching,
    /// The left operand.
    pub left: Expr,
    /// The right operand.
    pub right: Expr,
}

/// Which series of two vectors belong together, as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// `on (labels)` or `ignoring (labels)`.
    pub labels: Option<MatchLabels>,
    /// `group_left (labels)` or `group_right (labels)`.
    pub group: Option<MatchGroup>,
    /// `fill`, `fill_left`, `fill_right` with their values (experimental in Prometheus).
    pub fill: Vec<(FillSide, f64)>,
}

/// `on (labels)` or `ignoring (labels)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchLabels {
    /// Whether only these labels count; else all but these.
    pub on: bool,
    /// The labels as written.
    pub labels: Vec<String>,
}

/// `group_left (labels)` or `group_right (labels)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchGroup {
    /// Whether the left side is the one with many series.
    pub left: bool,
    /// The labels that are copied from the other side.
    pub include: Vec<String>,
}

/// Which side a missing series is filled in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillSide {
    /// `fill`
    Both,
    /// `fill_left`
    Left,
    /// `fill_right`
    Right,
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are named after the signs")]
pub enum BinaryOp {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    TrimUpper,
    TrimLower,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Atan2,
    Power,
}

impl BinaryOp {
    /// All of them as written.
    pub const ALL: [(&'static str, Self); 18] = [
        ("or", Self::Or),
        ("and", Self::And),
        ("unless", Self::Unless),
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<", Self::Less),
        ("<=", Self::LessOrEqual),
        (">", Self::Greater),
        (">=", Self::GreaterOrEqual),
        ("</", Self::TrimUpper),
        (">/", Self::TrimLower),
        ("+", Self::Add),
        ("-", Self::Subtract),
        ("*", Self::Multiply),
        ("/", Self::Divide),
        ("%", Self::Modulo),
        ("atan2", Self::Atan2),
        ("^", Self::Power),
    ];

    /// Returns the operator that is written like this; words in any case.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(text)).map(|(_, op)| *op)
    }

    /// Returns how it is written.
    pub fn text(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(text, _)| text)
    }

    /// Returns how strongly it binds, from 1 (`or`) to 6 (`^`).
    pub fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Modulo | Self::Atan2 => 5,
            Self::Power => 6,
            _ => 3,
        }
    }

    /// Returns whether it is `and`, `or` or `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }

    /// Returns whether it compares.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
        )
    }
}

impl Expr {
    /// Makes a node; its height follows from its children.
    pub(super) fn new(span: TextSpan, kind: ExprKind) -> Self {
        let mut height = 0;
        kind.for_each_child(&mut |child| height = height.max(child.height));
        Self { span, kind, height: height.saturating_add(1) }
    }

    /// Returns the length of the longest path to a leaf.
    pub fn height(&self) -> u16 {
        self.height
    }

    /// Returns the node inside all parentheses.
    pub fn unparenthesized(&self) -> &Self {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// Calls `visit` with every direct child, durations included.
    pub fn for_each_child<'e>(&'e self, visit: &mut impl FnMut(&'e Self)) {
        self.kind.for_each_child(visit);
    }
}

impl ExprKind {
    fn for_each_child<'e>(&'e self, visit: &mut impl FnMut(&'e Expr)) {
        match self {
            Self::Number(_) | Self::Text(_) => {}
            Self::Selector(selector) => {
                selector.range.iter().chain(&selector.shift.offset).for_each(visit);
            }
            Self::Subquery(subquery) => {
                visit(&subquery.expr);
                visit(&subquery.range);
                subquery.step.iter().chain(&subquery.shift.offset).for_each(visit);
            }
            Self::Call(call) => call.args.iter().for_each(visit),
            Self::Aggregate(aggregate) => {
                aggregate.param.iter().for_each(&mut *visit);
                visit(&aggregate.expr);
            }
            Self::Unary(_, operand) | Self::Paren(operand) => visit(operand),
            Self::Binary(binary) => {
                visit(&binary.left);
                visit(&binary.right);
            }
        }
    }
}
