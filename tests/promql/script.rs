//! The `.test` scripts of Prometheus' `promqltest`: `load`, `clear`, `eval`, and what is expected.
//!
//! What a script says is read here and judged in [`super::judge`]. A line that cannot be read spoils the cases that
//! hang on it and nothing else.

use rearguard::engine::model::Labels;
use rearguard::engine::promql::ast::{Expr, ExprKind};
use rearguard::engine::promql::{self, literals};

use super::data::{Loaded, Values, millis, series_line};
use super::judge::{self, Outcome};

/// One `eval` and what became of it.
pub struct Case {
    pub line: usize,
    pub expression: String,
    pub outcome: Outcome,
}

/// Times are in milliseconds.
#[derive(Clone, Copy)]
pub enum When {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

#[derive(Default)]
pub struct Expected {
    pub fails: bool,
    pub ordered: bool,
    pub string: Option<String>,
    pub scalar: Option<f64>,
    /// `expect range vector from A to B step S`: A and S.
    pub range: Option<(i64, i64)>,
    pub series: Vec<(Labels, Values)>,
    /// A native histogram is expected.
    pub histograms: bool,
}

/// Runs a script.
pub fn run(text: &str) -> Vec<Case> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut loaded = Loaded::nothing();
    let mut cases = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let block: Vec<&str> = lines[at + 1..].iter().take_while(|line| !line.is_empty()).copied().collect();
        let (command, rest) = lines[at].split_once(char::is_whitespace).unwrap_or((lines[at], ""));
        let command = command.to_ascii_lowercase();
        let mut used = block.len();
        match command.as_str() {
            "" => used = 0,
            "clear" => {
                loaded = Loaded::nothing();
                used = 0;
            }
            "load" | "load_with_nhcb" => loaded.load(command.ends_with("nhcb"), rest, &block),
            _ if command == "eval" || command.starts_with("eval_") => {
                cases.push(case(at + 1, &command, rest, &block, &loaded));
            }
            _ => cases.push(Case {
                line: at + 1,
                expression: lines[at].to_owned(),
                outcome: Outcome::Refused("this command is not known".to_owned()),
            }),
        }
        at += 1 + used;
    }
    cases
}

fn case(line: usize, command: &str, rest: &str, block: &[&str], loaded: &Loaded) -> Case {
    let read = header(rest).and_then(|header| Ok((header, expectation(command, block)?)));
    let (expression, outcome) = match read {
        Ok(((when, expression), expected)) => (expression, judge::judge(loaded, when, expression, &expected)),
        Err(why) => (rest, Outcome::Refused(format!("the script cannot be read: {why}"))),
    };
    Case { line, expression: expression.to_owned(), outcome }
}

/// The words of a line, one after the other.
struct Words<'t>(&'t str);

impl<'t> Words<'t> {
    fn next(&mut self) -> &'t str {
        let rest = self.0.trim_start();
        let (word, tail) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        self.0 = tail.trim_start();
        word
    }

    fn eat(&mut self, keyword: &str) -> bool {
        let found = self.0.split_whitespace().next() == Some(keyword);
        if found {
            self.next();
        }
        found
    }

    fn time_after(&mut self, keyword: &str) -> Result<i64, String> {
        if self.eat(keyword) {
            millis(self.next())
        } else {
            Err(format!("expected `{keyword}` before {:?}", self.0))
        }
    }
}

/// Splits `instant at 5m EXPR`, `instant EXPR` or `range from 0 to 1m step 10s EXPR`.
fn header(rest: &str) -> Result<(When, &str), String> {
    let mut words = Words(rest);
    let when = match words.next() {
        "instant" if words.0.split_whitespace().next() == Some("at") => {
            When::Instant(words.time_after("at")?)
        }
        "instant" => When::Instant(0),
        "range" => {
            let (start, end) = (words.time_after("from")?, words.time_after("to")?);
            When::Range { start, end, step: words.time_after("step")? }
        }
        other => return Err(format!("expected `instant` or `range`, found {other:?}")),
    };
    Ok((when, words.0))
}

fn expectation(command: &str, block: &[&str]) -> Result<Expected, String> {
    let mut expected = Expected {
        fails: command.ends_with("_fail"),
        ordered: command.ends_with("_ordered"),
        ..Expected::default()
    };
    for line in block {
        let mut words = Words(line);
        match words.next() {
            "expect" => expect(&mut words, &mut expected)?,
            "expected_fail_message" | "expected_fail_regexp" => {}
            _ if line.starts_with("{{") => expected.histograms = true,
            only if words.0.is_empty() && literals::parse_number(only).is_some() => {
                expected.scalar = literals::parse_number(only);
            }
            _ => match series_line(line)? {
                (labels, Some(values)) => expected.series.push((labels, values)),
                (_, None) => expected.histograms = true,
            },
        }
    }
    Ok(expected)
}

fn expect(words: &mut Words<'_>, expected: &mut Expected) -> Result<(), String> {
    match words.next() {
        "fail" => expected.fails = true,
        "ordered" => expected.ordered = true,
        // Annotations are not kept.
        "warn" | "info" | "no_warn" | "no_info" => {}
        "string" => match promql::parse(words.0) {
            Ok(Expr { kind: ExprKind::Text(text), .. }) => expected.string = Some(text),
            _ => return Err(format!("{:?} is no string", words.0)),
        },
        "range" if words.eat("vector") => {
            let start = words.time_after("from")?;
            words.time_after("to")?;
            expected.range = Some((start, words.time_after("step")?));
        }
        other => return Err(format!("cannot expect {other:?}")),
    }
    Ok(())
}
