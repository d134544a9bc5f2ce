//! `for`: how long, how often or how many times in a row, as text or in the long form.

use crate::engine::rules::decode::{Shape, Spanned, positive_duration, text};
use crate::engine::rules::diagnostic::{Diagnostic, Findings, Place};
use crate::engine::rules::set::WindowSpec;
use crate::engine::rules::yaml::{Node, Scalar};
use crate::engine::time::Span;

/// A sustained window as written. What is left out depends on the sources.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WrittenWindow {
    /// A time, or a share of it.
    Time {
        /// The share; every observation where there is none.
        share: Option<f64>,
        /// Its length.
        of: Span,
        /// The share of it that must have been observed.
        coverage: Option<f64>,
        /// How long one verdict speaks.
        max_gap: Option<Span>,
    },
    /// Observations are counted.
    Counted(WindowSpec),
}

impl WrittenWindow {
    /// The first breach is enough.
    pub const AT_ONCE: Self = Self::Time { share: None, of: Span::ZERO, coverage: None, max_gap: None };
}

const WINDOW: Shape =
    Shape { what: "the long form of `for`", keys: &["share", "of", "coverage", "max_gap"], later: &[] };

/// No window holds more observations than this: ten days at one second.
const COUNT_MAX: u32 = 1_000_000;

const FORMS: &str = "write `60s`, `80% of 60s`, `3 in 5m`, `11 in a row`, or \
    `80% of nominal samples in 60s every 5s` to count as scripts do";

/// Reads `for`.
pub(super) fn window(node: &Node, out: &mut Findings) -> Option<Spanned<WrittenWindow>> {
    if let Node::Mapping(_, place) = node {
        return long(node, place, out);
    }
    let scalar = text(node, "`for`", out)?;
    match parse(&scalar.value) {
        Ok(window) => Some(Spanned::new(window, scalar.place())),
        Err((message, hint)) => {
            // One word is a time, or nothing that has a name of its own.
            let is_time = !scalar.value.trim().contains(char::is_whitespace);
            let code = if is_time { "bad-duration" } else { "bad-window" };
            out.push(Diagnostic::error(code, scalar.place(), message).hint(hint));
            None
        }
    }
}

fn long(node: &Node, place: &Place, out: &mut Findings) -> Option<Spanned<WrittenWindow>> {
    let fields = WINDOW.read(node, out)?;
    let mut share = |key: &str| match fields.get(key) {
        Some(node) => percent(text(node, &format!("`{key}`"), out)?, key, out).map(Some),
        None => Some(None),
    };
    let (share, coverage) = (share("share"), share("coverage"));
    let max_gap = match fields.get("max_gap") {
        Some(node) => positive_duration(node, "`max_gap`", out).map(|span| Some(span.value)),
        None => Some(None),
    };
    let of = fields.required("of", out).and_then(|node| positive_duration(node, "`of`", out))?.value;
    let window = WrittenWindow::Time { share: share?, of, coverage: coverage?, max_gap: max_gap? };
    Some(Spanned::new(window, place.clone()))
}

fn percent(scalar: &Scalar, key: &str, out: &mut Findings) -> Option<f64> {
    match share(&scalar.value) {
        Ok(share) => Some(share),
        Err((message, hint)) => {
            let message = format!("`{key}`: {message}");
            out.push(Diagnostic::error("bad-window", scalar.place(), message).hint(hint));
            None
        }
    }
}

/// What is wrong, and what to write.
type Wrong = (String, String);

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Wrong {
    (message.into(), hint.into())
}

fn parse(text: &str) -> Result<WrittenWindow, Wrong> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [length] if !length.ends_with('%') => {
            let of = length_of(length)?;
            Ok(WrittenWindow::Time { share: None, of, coverage: None, max_gap: None })
        }
        [part, "of", length] => {
            let of = positive(length)?;
            Ok(WrittenWindow::Time { share: Some(share(part)?), of, coverage: None, max_gap: None })
        }
        [times, "in", "a", "row"] => Ok(WrittenWindow::Counted(WindowSpec::InARow { count: count(times)? })),
        [times, "in", length] => {
            Ok(WrittenWindow::Counted(WindowSpec::Count { count: count(times)?, of: positive(length)? }))
        }
        [part, "of", "nominal", "samples", "in", length, "every", tick] => {
            let (share, of, every) = (share(part)?, positive(length)?, positive(tick)?);
            if of < every {
                return Err(wrong(format!("a window of {of} holds no tick of {every}"), FORMS));
            }
            Ok(WrittenWindow::Counted(WindowSpec::Nominal { share, of, every }))
        }
        _ => Err(wrong(format!("`{}` is no window", text.escape_debug()), FORMS)),
    }
}

fn length_of(text: &str) -> Result<Span, Wrong> {
    text.parse::<Span>().map_err(|error| match text.parse::<f64>() {
        Ok(_) => wrong(format!("`for`: {error}"), format!("a unit is missing: did you mean `{text}s`?")),
        Err(_) => wrong(format!("`for`: {error}"), FORMS),
    })
}

fn positive(text: &str) -> Result<Span, Wrong> {
    let span = length_of(text)?;
    if span.is_zero_or_negative() {
        return Err(wrong("a window must be longer than zero", FORMS));
    }
    Ok(span)
}

fn share(text: &str) -> Result<f64, Wrong> {
    let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
    match number {
        Some(number) if number > 0.0 && number <= 100.0 => Ok(number / 100.0),
        Some(_) => Err(wrong(format!("`{text}` is no share"), "a share is above 0% and at most 100%")),
        None => {
            Err(wrong(format!("`{}` is no share", text.escape_debug()), "write it in percent, such as `80%`"))
        }
    }
}

fn count(text: &str) -> Result<u32, Wrong> {
    match text.parse::<u32>() {
        Ok(count) if (1..=COUNT_MAX).contains(&count) => Ok(count),
        _ => Err(wrong(
            format!("`{}` is not a number of observations", text.escape_debug()),
            format!("write a whole number from 1 to {COUNT_MAX}, such as `3 in 5m` or `11 in a row`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_as_it_was_written() {
        let texts = [
            "3 in 5m",
            "11 in a row",
            "80% of nominal samples in 1m every 5s",
            "99.9% of nominal samples in 1h every 1s",
        ];
        for text in texts {
            match parse(text) {
                Ok(WrittenWindow::Counted(spec)) => assert_eq!(spec.to_string(), text),
                other => panic!("{text}: {other:?}"),
            }
        }
        let time =
            |share, of| WrittenWindow::Time { share, of: Span::from_secs(of), coverage: None, max_gap: None };
        for (text, expected) in [
            ("60s", time(None, 60)),
            ("1m30s", time(None, 90)),
            ("0s", time(None, 0)),
            ("80%  of 60s", time(Some(0.8), 60)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "60",
            "80%",
            "0% of 60s",
            "101% of 60s",
            "80 of 60s",
            "80% of 0s",
            "0 in 5m",
            "3 in",
            "-3 in 5m",
            "3.5 in a row",
            "3 in 0s",
            "3 in a line",
            "80% of nominal samples in 4s every 5s",
            "NaN% of 60s",
            "80% of nominal samples in 60s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
