//! What an HTTP answer must be like to be good, and in what words it is told when it is not.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use super::json_path::JsonPath;
use crate::engine::time::Span;

/// How many characters of an answer's own text a reason shows.
const SHOWN_CHARS: usize = 60;

/// What an HTTP answer must be like. Without a word any status from 200 to 299 is good.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectation {
    /// The statuses that are good; empty: 200 to 299.
    pub status: BTreeSet<u16>,
    /// What must lie at which path of a JSON body.
    pub json: Vec<(JsonPath, Value)>,
    /// What must be found in the body.
    pub body: Option<BodyPattern>,
    /// What takes longer is bad; `None`: whatever the timeout allows.
    pub within: Option<Span>,
}

/// A regular expression that must be found somewhere in a body.
#[derive(Clone, Debug)]
pub struct BodyPattern(Regex);

impl BodyPattern {
    /// Compiles the pattern; it matches anywhere unless it says `^` and `$`.
    ///
    /// # Errors
    ///
    /// Why it is no regular expression.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        Regex::new(pattern).map(Self)
    }
}

impl PartialEq for BodyPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Expectation {
    /// Returns whether the body is looked at.
    pub fn reads_body(&self) -> bool {
        !self.json.is_empty() || self.body.is_some()
    }

    /// Judges the status.
    ///
    /// # Errors
    ///
    /// What was answered and what was expected.
    pub fn check_status(&self, status: u16) -> Result<(), String> {
        let is_good =
            if self.status.is_empty() { (200..300).contains(&status) } else { self.status.contains(&status) };
        if is_good {
            return Ok(());
        }
        let expected: Vec<String> = self.status.iter().map(u16::to_string).collect();
        let expected = if expected.is_empty() { "200 to 299".to_owned() } else { expected.join(" or ") };
        Err(format!("answered {status}, expected {expected}"))
    }

    /// Judges the body.
    ///
    /// # Errors
    ///
    /// The first thing that is not as expected.
    pub fn check_body(&self, body: &[u8]) -> Result<(), String> {
        if !self.json.is_empty() {
            let document: Value = serde_json::from_slice(body).map_err(|error| {
                format!("the answer is not JSON: {error}, expected {}", self.expected_json())
            })?;
            for (path, expected) in &self.json {
                match path.find(&document) {
                    Some(found) if is_same(found, expected) => {}
                    Some(found) => return Err(format!("{path} is {}, expected {expected}", excerpt(found))),
                    None => return Err(format!("there is no {path} in the answer, expected {expected}")),
                }
            }
        }
        match &self.body {
            Some(BodyPattern(pattern)) if !pattern.is_match(&String::from_utf8_lossy(body)) => {
                Err(format!("the answer does not match `{}`", printable(pattern.as_str())))
            }
            _ => Ok(()),
        }
    }

    fn expected_json(&self) -> String {
        let expected: Vec<String> =
            self.json.iter().map(|(path, value)| format!("{path} = {value}")).collect();
        expected.join(", ")
    }
}

/// Judges the time that an answer took.
///
/// # Errors
///
/// How long it took and what was expected.
pub fn check_within(took: Span, within: Option<Span>) -> Result<(), String> {
    match within {
        Some(within) if took > within => Err(format!("took {took}, expected {within} at most")),
        _ => Ok(()),
    }
}

/// JSON has one kind of number: 1 and 1.0 are the same.
fn is_same(found: &Value, expected: &Value) -> bool {
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => found == expected,
        _ => found == expected,
    }
}

fn excerpt(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        scalar => {
            let text = scalar.to_string();
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            let rest = if shown.len() < text.len() { "..." } else { "" };
            format!("{}{rest}", printable(&shown))
        }
    }
}

/// Escapes what could end a line or steer a terminal (E11); quotes stay as they are.
pub fn printable(text: &str) -> String {
    let escaped = |c: char| if matches!(c, '"' | '\'' | '\\') { vec![c] } else { c.escape_debug().collect() };
    text.chars().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(path: &str, expected: Value) -> Expectation {
        let path = JsonPath::parse(path).unwrap_or_else(|error| panic!("{error}"));
        Expectation { json: vec![(path, expected)], ..Expectation::default() }
    }

    #[test]
    fn a_status_is_good_or_told() {
        let any = Expectation::default();
        assert_eq!(any.check_status(204), Ok(()));
        assert_eq!(any.check_status(302), Err("answered 302, expected 200 to 299".to_owned()));
        let two = Expectation { status: [200, 401].into(), ..Expectation::default() };
        assert_eq!(two.check_status(401), Ok(()));
        assert_eq!(two.check_status(204), Err("answered 204, expected 200 or 401".to_owned()));
    }

    #[test]
    fn a_body_is_good_or_told() {
        let healthy = || json("$.database.status", "healthy".into());
        let cases = [
            (healthy(), r#"{"database":{"status":"healthy"}}"#, ""),
            (
                healthy(),
                r#"{"database":{"status":"down"}}"#,
                r#"$.database.status is "down", expected "healthy""#,
            ),
            (
                healthy(),
                r#"{"database":{}}"#,
                r#"there is no $.database.status in the answer, expected "healthy""#,
            ),
            (
                healthy(),
                r#"{"database":{"status":[1]}}"#,
                r#"$.database.status is a list, expected "healthy""#,
            ),
            (
                healthy(),
                "<html>",
                r#"the answer is not JSON: expected value at line 1 column 1, expected $.database.status = "healthy""#,
            ),
            (json("$.n", 1.into()), r#"{"n":1.0}"#, ""),
            (json("$.n", 1.into()), r#"{"n":"1"}"#, r#"$.n is "1", expected 1"#),
            (json("$.n", Value::Null), r#"{"n":null}"#, ""),
            (json("$.n", true.into()), r#"{"n":"a\nb"}"#, r#"$.n is "a\nb", expected true"#),
        ];
        for (expectation, body, why) in cases {
            let expected = if why.is_empty() { Ok(()) } else { Err(why.to_owned()) };
            assert_eq!(expectation.check_body(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn a_pattern_is_found_anywhere_and_a_long_answer_is_cut() {
        let pattern = BodyPattern::new("^OK").unwrap_or_else(|error| panic!("{error}"));
        let ok = Expectation { body: Some(pattern), ..Expectation::default() };
        assert_eq!(ok.check_body(b"OK, all well"), Ok(()));
        assert_eq!(ok.check_body(b"not OK\xff"), Err("the answer does not match `^OK`".to_owned()));
        let long = format!(r#"{{"n":"{}"}}"#, "x".repeat(500));
        let told = json("$.n", 1.into()).check_body(long.as_bytes()).expect_err("is bad");
        assert!(told.len() < 100 && told.contains("xxx..., expected 1"), "{told}");
    }

    #[test]
    fn a_latency_is_good_or_told() {
        let two = Some(Span::from_secs(2));
        assert_eq!(check_within(Span::from_secs(2), two), Ok(()));
        assert_eq!(
            check_within(Span::from_millis(2300), two),
            Err("took 2s300ms, expected 2s at most".to_owned())
        );
        assert_eq!(check_within(Span::from_secs(60), None), Ok(()));
    }
}
