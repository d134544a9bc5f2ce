//! An expression back to text that parses to the same expression.

use std::fmt::{self, Display, Formatter, Write as _};

use super::ast::{
    Aggregate, At, Binary, Edges, Expr, ExprKind, FillSide, LabelMatcher, Matching, Shift, Subquery, UnaryOp,
    VectorSelector,
};
use super::literals::quote;
use super::parser::is_reserved;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => f.write_str(&number_text(*number)),
            ExprKind::Text(text) => f.write_str(&quote(text)),
            ExprKind::Selector(selector) => print_selector(selector, f),
            ExprKind::Subquery(subquery) => print_subquery(subquery, f),
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                print_list(&call.args, f)?;
                f.write_char(')')
            }
            ExprKind::Aggregate(aggregate) => print_aggregate(aggregate, f),
            ExprKind::Unary(UnaryOp::Plus, operand) => write!(f, "+{operand}"),
            ExprKind::Unary(UnaryOp::Minus, operand) => write!(f, "-{operand}"),
            ExprKind::Binary(binary) => print_binary(binary, f),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

/// The shortest text that reads back as the same number.
fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let text = format!("{number:?}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

fn print_list<T: Display>(items: &[T], f: &mut Formatter<'_>) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// A label in a list of labels or in front of a matcher: quoted only where it must be.
fn label_text(label: &str) -> String {
    let plain = label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { label.to_owned() } else { quote(label) }
}

fn print_labels(labels: &[String], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('(')?;
    print_list(&labels.iter().map(|label| label_text(label)).collect::<Vec<_>>(), f)?;
    f.write_char(')')
}

impl Display for LabelMatcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", label_text(&self.name), self.op, quote(&self.value))
    }
}

fn print_selector(selector: &VectorSelector, f: &mut Formatter<'_>) -> fmt::Result {
    let bare = |name: &&String| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
            && !is_reserved(name)
    };
    let name = selector.name.as_ref();
    if let Some(name) = name.filter(bare) {
        f.write_str(name)?;
    }
    let quoted = name.filter(|name| !bare(name)).map(|name| quote(name));
    let inside: Vec<_> =
        quoted.into_iter().chain(selector.matchers.iter().map(ToString::to_string)).collect();
    if !inside.is_empty() || name.is_none() {
        f.write_char('{')?;
        print_list(&inside, f)?;
        f.write_char('}')?;
    }
    if let Some(range) = &selector.range {
        write!(f, "[{range}]")?;
    }
    match selector.edges {
        Some(Edges::Anchored) => f.write_str(" anchored")?,
        Some(Edges::Smoothed) => f.write_str(" smoothed")?,
        None => {}
    }
    print_shift(&selector.shift, f)
}

fn print_shift(shift: &Shift, f: &mut Formatter<'_>) -> fmt::Result {
    match shift.at {
        #[expect(clippy::cast_precision_loss, reason = "the parser lets no time beyond 10^15 ms through")]
        Some(At::Millis(ms)) => write!(f, " @ {}", number_text(ms as f64 / 1000.0))?,
        Some(At::Start) => f.write_str(" @ start()")?,
        Some(At::End) => f.write_str(" @ end()")?,
        None => {}
    }
    shift.offset.as_ref().map_or(Ok(()), |offset| write!(f, " offset {offset}"))
}

fn print_subquery(subquery: &Subquery, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{}[{}:", subquery.expr, subquery.range)?;
    if let Some(step) = &subquery.step {
        step.fmt(f)?;
    }
    f.write_char(']')?;
    print_shift(&subquery.shift, f)
}

fn print_aggregate(aggregate: &Aggregate, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(aggregate.op.name())?;
    if let Some(grouping) = &aggregate.grouping {
        f.write_str(if grouping.without { " without " } else { " by " })?;
        print_labels(&grouping.labels, f)?;
        f.write_char(' ')?;
    }
    f.write_char('(')?;
    if let Some(param) = &aggregate.param {
        write!(f, "{param}, ")?;
    }
    write!(f, "{})", aggregate.expr)
}

fn print_binary(binary: &Binary, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{} {} ", binary.left, binary.op.text())?;
    if binary.bool {
        f.write_str("bool ")?;
    }
    print_matching(&binary.matching, f)?;
    binary.right.fmt(f)
}

fn print_matching(matching: &Matching, f: &mut Formatter<'_>) -> fmt::Result {
    if let Some(labels) = &matching.labels {
        f.write_str(if labels.on { "on " } else { "ignoring " })?;
        print_labels(&labels.labels, f)?;
        f.write_char(' ')?;
    }
    if let Some(group) = &matching.group {
        f.write_str(if group.left { "group_left " } else { "group_right " })?;
        print_labels(&group.include, f)?;
        f.write_char(' ')?;
    }
    for (side, value) in &matching.fill {
        let keyword = match side {
            FillSide::Both => "fill",
            FillSide::Left => "fill_left",
            FillSide::Right => "fill_right",
        };
        write!(f, "{keyword} ({}) ", number_text(*value))?;
    }
    Ok(())
}
