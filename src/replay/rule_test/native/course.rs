//! What a series or an indicator does in the course of a test: Prometheus' notation, and words for what that is long in.
//!
//! ```text
//! 0+3x20                              Prometheus' notation: one item per answer of the source, and nothing after them
//! 3%                                  this value, until the test ends
//! 0% for 2m then 3% for 60s then 0%   one after the other
//! 1% for 30s then 9% once then 1%     a spike; also `3 times`
//! ramp 0 to 5 over 60s                reaches the end at 60 s and stays there
//! 4 of 5 at 3% else 0% for 2m         four answers with the one value, the fifth with the other, and so on
//! rate 20/s for 60s then rate 0/s     a counter that rises
//! none for 30s                        absent
//! ```
//!
//! Times are taken on the grid of the source's answers: with an answer every 5 s, `for 60s` is twelve answers.

use crate::engine::promql::{Problem, TextSpan};
use crate::engine::rules::Unit;
use crate::engine::rules::condition::{self, Parsed};
use crate::engine::rules::set::Threshold;
use crate::engine::time::Span;

use super::super::notation::{NotationError, Values};

/// What a series does from the start of a test to its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Course(Vec<Stretch>);

/// One part of it.
#[derive(Clone, Debug, PartialEq)]
struct Stretch {
    shape: Shape,
    length: Length,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    /// As Prometheus' notation says.
    Items(Values),
    /// One value; `None`: no sample.
    Constant(Option<f64>),
    /// From the one to the other in equal steps.
    Ramp { from: f64, to: f64 },
    /// `hits` of `of` answers have the one value, the rest the other.
    Pattern { hits: u64, of: u64, value: Option<f64>, other: Option<f64> },
    /// Rises by this much a second, from where the value is.
    Rate(f64),
}

/// How long a part lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// This many answers.
    Answers(u64),
    /// The answers within this time.
    Time(Span),
    /// Until the test ends.
    Rest,
}

/// No course is longer: a test that needs more is about something else.
const ANSWERS_MAX: u64 = 1_000_000;

impl Course {
    /// Reads a course; numbers are of `unit`, or plain where there is none.
    ///
    /// # Errors
    ///
    /// The first mistake, with its place in the text.
    pub(super) fn parse(text: &str, unit: Option<Unit>) -> Result<Self, NotationError> {
        let parts = split(text);
        let alone = parts.len() == 1;
        if alone && is_notation(text) {
            return Values::parse(text).map(|values| Self(vec![Stretch::items(values)]));
        }
        let mut stretches = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let stretch = Words::new(text, part.clone(), unit).stretch()?;
            if stretch.length == Length::Rest && at + 1 < parts.len() {
                let problem = Problem::new(
                    TextSpan::new(part.start, part.end),
                    "this goes on until the test ends, and something follows it",
                );
                return Err(NotationError::Wrong(problem.with_hint("say how long: `3% for 60s`")));
            }
            stretches.push(stretch);
        }
        Ok(Self(stretches))
    }

    /// Returns how long it lasts by itself, for answers every `every`; what goes on until the end adds nothing.
    pub(super) fn lasts(&self, every: Span) -> Span {
        let answers = self.0.iter().map(|stretch| stretch.answers(every).unwrap_or(0));
        let answers = answers.fold(0, u64::saturating_add).min(ANSWERS_MAX);
        every.times(i64::try_from(answers.saturating_sub(1)).unwrap_or(i64::MAX))
    }

    /// Returns the values of the first `count` answers; `None` where there is no sample. It may end before that.
    pub(super) fn values(&self, every: Span, count: usize) -> Vec<Option<f64>> {
        let mut values: Vec<Option<f64>> = Vec::new();
        for stretch in &self.0 {
            let left = count.saturating_sub(values.len());
            let own = stretch.answers(every).and_then(|own| usize::try_from(own).ok());
            let before = values.iter().rev().find_map(|value| *value);
            values.extend(stretch.values(every, own.map_or(left, |own| own.min(left)), before));
        }
        // What a ramp has reached stays.
        if let Some(Stretch { shape: Shape::Ramp { to, .. }, .. }) = self.0.last() {
            values.resize(count.max(values.len()), Some(*to));
        }
        values
    }
}

impl Stretch {
    fn items(values: Values) -> Self {
        Self { length: Length::Answers(values.count()), shape: Shape::Items(values) }
    }

    /// Returns how many answers it lasts for; `None`: to the end.
    fn answers(&self, every: Span) -> Option<u64> {
        match self.length {
            Length::Answers(count) => Some(count),
            Length::Time(span) => {
                let every = every.as_millis().max(1);
                Some(u64::try_from((span.as_millis() + every - 1) / every).unwrap_or(0))
            }
            Length::Rest => None,
        }
    }

    fn values(&self, every: Span, count: usize, before: Option<f64>) -> Vec<Option<f64>> {
        let numbered = 0..count;
        match &self.shape {
            Shape::Items(values) => values.iter().take(count).collect(),
            Shape::Constant(value) => numbered.map(|_| *value).collect(),
            Shape::Ramp { from, to } => {
                let steps = self.answers(every).unwrap_or(1).max(1) as f64;
                numbered.map(|nth| Some(from + (to - from) * nth as f64 / steps)).collect()
            }
            Shape::Pattern { hits, of, value, other } => {
                let is_hit = |nth: usize| u64::try_from(nth).is_ok_and(|nth| nth % of < *hits);
                numbered.map(|nth| if is_hit(nth) { *value } else { *other }).collect()
            }
            Shape::Rate(per_second) => {
                let each = per_second * every.as_secs_f64();
                // The very first answer finds a counter that has just begun.
                let (from, ahead) = before.map_or((0.0, 0), |before| (before, 1));
                numbered.map(|nth| Some(from + each * (nth + ahead) as f64)).collect()
            }
        }
    }
}

/// Returns where the parts between the words `then` are, without the blanks around them.
fn split(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut parts = Vec::new();
    let mut part: Option<std::ops::Range<usize>> = None;
    let mut at = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let trimmed = word.trim_end();
        let span = at..at + trimmed.len();
        at += word.len();
        if trimmed == "then" {
            parts.push(part.take().unwrap_or(span.start..span.start));
        } else if !trimmed.is_empty() {
            part = Some(part.map_or(span.clone(), |part| part.start..span.end));
        }
    }
    parts.push(part.unwrap_or(text.len()..text.len()));
    parts
}

/// Returns whether a text is of Prometheus' notation: several items, or one that is no mere number.
fn is_notation(text: &str) -> bool {
    let is_word =
        |word: &str| ["for", "once", "times", "ramp", "rate", "of", "at", "else", "none"].contains(&word);
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [] => true,
        [only] => {
            only.contains("{{")
                || (Values::parse(only).is_ok() && only.parse::<f64>().is_err() && !is_word(only))
        }
        several => !several.iter().any(|word| is_word(word)) && Values::parse(text).is_ok(),
    }
}

/// The words of one part, with their places in the whole text.
struct Words<'t> {
    text: &'t str,
    part: std::ops::Range<usize>,
    words: Vec<std::ops::Range<usize>>,
    unit: Option<Unit>,
}

impl<'t> Words<'t> {
    fn new(text: &'t str, part: std::ops::Range<usize>, unit: Option<Unit>) -> Self {
        let mut words = Vec::new();
        let mut at = part.start;
        for word in text[part.clone()].split_inclusive(char::is_whitespace) {
            let trimmed = word.trim_end();
            if !trimmed.is_empty() {
                words.push(at..at + trimmed.len());
            }
            at += word.len();
        }
        Self { text, part, words, unit }
    }

    fn word(&self, nth: usize) -> &'t str {
        self.words.get(nth).map_or("", |word| &self.text[word.clone()])
    }

    fn wrong(&self, span: std::ops::Range<usize>, message: impl Into<String>) -> Problem {
        Problem::new(TextSpan::new(span.start, span.end), message)
    }

    /// Returns the words from `from` to before `to` as one range.
    fn joined(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        match (self.words.get(from), self.words.get(to.saturating_sub(1))) {
            (Some(first), Some(last)) if from < to => first.start..last.end,
            _ => self.part.end..self.part.end,
        }
    }

    fn position(&self, word: &str) -> Option<usize> {
        (0..self.words.len()).find(|nth| self.word(*nth) == word)
    }

    fn stretch(&mut self) -> Result<Stretch, NotationError> {
        if self.part.is_empty() {
            let problem = self.wrong(self.part.clone(), "a value is missing here");
            return Err(NotationError::Wrong(problem.with_hint("such as `3% for 60s`")));
        }
        let part = &self.text[self.part.clone()];
        if is_notation(part) {
            let moved =
                |span: TextSpan| TextSpan::new(span.start + self.part.start, span.end + self.part.start);
            return Values::parse(part).map(Stretch::items).map_err(|error| match error {
                NotationError::Wrong(problem) => {
                    NotationError::Wrong(Problem { span: moved(problem.span), ..problem })
                }
                NotationError::Histogram(span) => NotationError::Histogram(moved(span)),
            });
        }
        self.shaped().map_err(NotationError::Wrong)
    }

    fn shaped(&mut self) -> Result<Stretch, Problem> {
        match self.word(0) {
            "ramp" => self.ramp(),
            "rate" => {
                let length = self.length()?;
                let span = self.joined(1, self.words.len());
                let rate = value(self.text, span, Some(Unit::PerSecond))?.unwrap_or(f64::NAN);
                Ok(Stretch { shape: Shape::Rate(rate), length })
            }
            _ if self.position("of") == Some(1) && self.word(2).starts_with(|c: char| c.is_ascii_digit()) => {
                self.pattern()
            }
            _ => match self.repeated()? {
                Some(stretch) => Ok(stretch),
                None => {
                    let length = self.length()?;
                    let shape = Shape::Constant(self.value(0, self.words.len())?);
                    Ok(Stretch { shape, length })
                }
            },
        }
    }

    /// Reads `3%x12`: as in Prometheus' notation the value and twelve more of it.
    fn repeated(&self) -> Result<Option<Stretch>, Problem> {
        let word = self.word(0);
        let Some((_, count)) = word.rsplit_once('x').filter(|_| self.words.len() == 1) else {
            return Ok(None);
        };
        let Ok(count) = count.parse::<u64>() else { return Ok(None) };
        let whole = self.words[0].clone();
        let end = whole.start + word.rfind('x').unwrap_or(word.len());
        let shape = Shape::Constant(value(self.text, whole.start..end, self.unit)?);
        Ok(Some(Stretch { shape, length: Length::Answers(count.saturating_add(1).min(ANSWERS_MAX)) }))
    }

    /// Reads `ramp 0% to 5% over 60s`.
    fn ramp(&self) -> Result<Stretch, Problem> {
        let (Some(to), Some(over)) = (self.position("to"), self.position("over")) else {
            let problem = self.wrong(self.part.clone(), "a ramp has two ends and a length");
            return Err(problem.with_hint("such as `ramp 0 to 5 over 60s`"));
        };
        let span = self.joined(over + 1, self.words.len());
        let length = Length::Time(duration(self.text, span)?);
        let number = |from: usize, to: usize| Ok(self.value(from, to)?.unwrap_or(f64::NAN));
        Ok(Stretch { shape: Shape::Ramp { from: number(1, to)?, to: number(to + 1, over)? }, length })
    }

    /// Reads `4 of 5 at 3% else 0%`.
    fn pattern(&mut self) -> Result<Stretch, Problem> {
        let length = self.length()?;
        let count = |word: &str| word.parse::<u64>().ok();
        let other = self.position("else").filter(|_| self.word(3) == "at");
        let (Some(hits), Some(of), Some(other)) =
            (count(self.word(0)), count(self.word(2)).filter(|of| *of > 0), other)
        else {
            let problem = self.wrong(self.part.clone(), "this is not a pattern of answers");
            return Err(problem.with_hint("such as `4 of 5 at 3% else 0%`"));
        };
        if hits > of {
            return Err(
                self.wrong(self.joined(0, 3), format!("{hits} of {of} answers are more than all of them"))
            );
        }
        let (value, other) = (self.value(4, other)?, self.value(other + 1, self.words.len())?);
        Ok(Stretch { shape: Shape::Pattern { hits, of, value, other }, length })
    }

    /// Takes how long it lasts off the end: `for 60s`, `once`, `3 times`.
    fn length(&mut self) -> Result<Length, Problem> {
        let count = self.words.len();
        if let Some(at) = self.position("for") {
            let span = self.joined(at + 1, count);
            self.words.truncate(at);
            return duration(self.text, span).map(Length::Time);
        }
        if count > 1 && self.word(count - 1) == "once" {
            self.words.truncate(count - 1);
            return Ok(Length::Answers(1));
        }
        if count > 2 && self.word(count - 1) == "times" {
            let span = self.words[count - 2].clone();
            let times = self.text[span.clone()].parse::<u64>().ok().filter(|times| *times <= ANSWERS_MAX);
            self.words.truncate(count - 2);
            let times = times.ok_or_else(|| self.wrong(span, "how many answers? A whole number"))?;
            return Ok(Length::Answers(times));
        }
        Ok(Length::Rest)
    }

    fn value(&self, from: usize, to: usize) -> Result<Option<f64>, Problem> {
        value(self.text, self.joined(from, to), self.unit)
    }
}

/// Reads a value with its unit; `None` for `none`.
fn value(text: &str, span: std::ops::Range<usize>, unit: Option<Unit>) -> Result<Option<f64>, Problem> {
    let written = &text[span.clone()];
    match written {
        "none" | "_" => return Ok(None),
        "nan" | "NaN" => return Ok(Some(f64::NAN)),
        _ => {}
    }
    let wrong = |message: String| Problem::new(TextSpan::new(span.start, span.end), message);
    let Some(unit) = unit else {
        let number = written.parse::<f64>().ok();
        let hint = match written.contains(',') {
            true => "one after the other is written with `then`: `0 for 60s then 5`",
            false => "a number, `nan` or `none`, and how long: `5 for 60s`, `5 once`, `5 3 times`",
        };
        return number
            .map(Some)
            .ok_or_else(|| wrong(format!("`{}` is not a number", written.escape_debug())).with_hint(hint));
    };
    // The same words and units as thresholds have.
    let read = match condition::parse(&format!("value == {written}")) {
        Ok(Parsed::Compare(compared)) => compared.threshold_in(unit).map(|read| read.threshold),
        Ok(_) => return Err(wrong(format!("`{}` is not a value", written.escape_debug()))),
        Err(problem) => Err(problem),
    };
    match read {
        Ok(Threshold::Fixed(value)) => Ok(Some(value)),
        Ok(Threshold::OfBaseline { .. }) => Err(wrong("a value does not depend on a baseline".to_owned())),
        Err(problem) if unit == Unit::PerSecond && written.parse::<f64>().is_ok() => {
            Err(wrong(problem.message).with_hint(format!("such as `rate {written}/s`")))
        }
        Err(problem) => {
            let message = problem.message.replace("`value` is", "it is");
            let said = wrong(message);
            Err(match problem.hint {
                Some(hint) => said.with_hint(hint),
                None => said,
            })
        }
    }
}

fn duration(text: &str, span: std::ops::Range<usize>) -> Result<Span, Problem> {
    let parsed = text[span.clone()].parse::<Span>();
    let problem = |message: String| Problem::new(TextSpan::new(span.start, span.end), message);
    match parsed {
        _ if span.is_empty() => Err(problem("how long is missing here: `for 60s`".to_owned())),
        Ok(length) if !length.is_zero_or_negative() => Ok(length),
        Ok(_) => Err(problem("this lasts for no time at all".to_owned())),
        Err(error) => Err(problem(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells the first `count` values of answers every 5 s; `-` for none.
    fn told(text: &str, unit: Option<Unit>, count: usize) -> String {
        let course = Course::parse(text, unit).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let tell = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value}"));
        course.values(Span::from_secs(5), count).into_iter().map(tell).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn courses_are_what_they_read_like() {
        let ratio = Some(Unit::Ratio);
        let cases = [
            ("0+3x3", None, "0 3 6 9"),
            ("1x2 _ 4", None, "1 1 1 - 4"),
            ("7", None, "7 7 7 7 7 7 7 7"),
            ("7x0", None, "7"),
            ("3%", ratio, "0.03 0.03 0.03 0.03 0.03 0.03 0.03 0.03"),
            ("3%x2", ratio, "0.03 0.03 0.03"),
            ("0.03x2", ratio, "0.03 0.03 0.03"),
            ("0% for 10s then 50% for 11s then 1%", ratio, "0 0 0.5 0.5 0.5 0.01 0.01 0.01"),
            ("0 once then 9 2 times then 1", None, "0 9 9 1 1 1 1 1"),
            ("ramp 0 to 4 over 20s", None, "0 1 2 3 4 4 4 4"),
            ("ramp 4 to 0 over 10s then 7", None, "4 2 7 7 7 7 7 7"),
            ("2 of 3 at 50% else 0%", ratio, "0.5 0.5 0 0.5 0.5 0 0.5 0.5"),
            ("1 of 2 at 1 else none for 15s then 5", None, "1 - 1 5 5 5 5 5"),
            ("rate 2/s", None, "0 10 20 30 40 50 60 70"),
            ("rate 120/min for 10s then rate 0/s for 10s then rate 1/s", None, "0 10 10 10 15 20 25 30"),
            ("5 once then rate 1/s", None, "5 10 15 20 25 30 35 40"),
            ("none for 5s then 1 once then nan", None, "- 1 NaN NaN NaN NaN NaN NaN"),
            ("250 ms for 5s then 1m30s", Some(Unit::Seconds), "0.25 90 90 90 90 90 90 90"),
            ("true for 5s then false", Some(Unit::Bool), "1 0 0 0 0 0 0 0"),
            ("0 1 2 then 9", None, "0 1 2 9 9 9 9 9"),
        ];
        for (text, unit, expected) in cases {
            assert_eq!(told(text, unit, 8), expected, "{text}");
        }
    }

    #[test]
    fn lengths_are_times_on_the_grid_of_answers() {
        let every = Span::from_secs(5);
        for (text, seconds) in
            [("0+1x12", 60), ("3", 0), ("3 for 60s", 55), ("3 once then 4", 0), ("1 for 7s then 2", 5)]
        {
            let course = Course::parse(text, None).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!(course.lasts(every), Span::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_at_their_place() {
        let cases = [
            ("", None, 0, ""),
            ("3 then 4", None, 0, "something follows it"),
            ("3% for 60", Some(Unit::Ratio), 7, "not a duration"),
            ("3 for", None, 5, "how long is missing"),
            ("1 for 5s then oops", None, 14, "`oops` is not a number"),
            ("5 of 4 at 1 else 0", None, 0, "more than all of them"),
            ("4 of 5 at 1", None, 0, "not a pattern"),
            ("4 of 5: 1 else 0", None, 0, "not a pattern"),
            ("ramp 1 to 2", None, 0, "two ends and a length"),
            ("rate 5", None, 5, "unit"),
            ("200 for 5s", Some(Unit::Seconds), 0, "no unit"),
            ("50% of baseline", Some(Unit::Ratio), 0, "baseline"),
            ("1% or 2%", Some(Unit::Ratio), 0, ""),
            ("1 for 5s then", None, 13, "missing"),
            ("1, 2", None, 0, "not a number"),
            ("1 for 0s", None, 6, "no time at all"),
        ];
        for (text, unit, at, said) in cases {
            match Course::parse(text, unit) {
                Err(NotationError::Wrong(problem)) => {
                    assert_eq!(problem.span.start, at, "{text}: {problem}");
                    assert!(problem.message.contains(said), "{text}: {problem}");
                }
                Ok(course) if said.is_empty() => assert_eq!(course.values(Span::from_secs(5), 3), []),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-z%:, ./+_-]{0,30}|([0-9.%/a-z]{1,5} (then|for|of|at|ramp|to|over|else|rate|once|times)? ?){1,6}", every in 1_i64..100_000) {
            for unit in [None, Some(Unit::Ratio), Some(Unit::Bool)] {
                if let Ok(course) = Course::parse(&text, unit) {
                    let every = Span::from_millis(every);
                    proptest::prop_assert!(course.values(every, 10).len() <= 10 || course.lasts(every) > Span::ZERO);
                }
            }
        }
    }
}
