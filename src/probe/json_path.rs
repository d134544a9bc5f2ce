//! Paths into JSON: `$.database.status`, `$.checks[0]['disk space']`.
//!
//! The part of RFC 9535 that names exactly one place. Wildcards, slices and filters name many, and "is healthy" would then
//! need a word for how many of them.

use std::fmt;

use serde_json::Value;

/// A path that names one place in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Member(String),
    Index(usize),
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidJsonPath {
    /// Where in the text, in bytes.
    pub at: usize,
    /// What was expected.
    pub message: String,
}

impl JsonPath {
    /// Parses `$` with members (`.name`, `['any name']`) and places in lists (`[0]`).
    ///
    /// # Errors
    ///
    /// Where the text is something else, and what was expected there.
    pub fn parse(text: &str) -> Result<Self, InvalidJsonPath> {
        let invalid = |rest: &str, message: &str| InvalidJsonPath {
            at: text.len() - rest.len(),
            message: message.to_owned(),
        };
        let Some(mut rest) = text.strip_prefix('$') else {
            return Err(invalid(text, "a path begins with `$`, which is the whole answer"));
        };
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let (segment, after) = if let Some(named) = rest.strip_prefix('.') {
                let end = named.find(|c| !is_name(c)).unwrap_or(named.len());
                if end == 0 {
                    return Err(invalid(
                        named,
                        "expected a member's name after `.`; write others as `['...']`",
                    ));
                }
                (Segment::Member(named[..end].to_owned()), &named[end..])
            } else if let Some(inside) = rest.strip_prefix('[') {
                bracketed(inside).ok_or_else(|| {
                    invalid(inside, "expected a place such as `0]`, or a member such as `'name']`")
                })?
            } else {
                return Err(invalid(rest, "expected `.name` or `[0]`"));
            };
            segments.push(segment);
            rest = after;
        }
        Ok(Self { text: text.to_owned(), segments })
    }

    /// Returns what lies at the path.
    pub fn find<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        self.segments.iter().try_fold(document, |value, segment| match segment {
            Segment::Member(name) => value.as_object()?.get(name),
            Segment::Index(place) => value.as_array()?.get(*place),
        })
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// Takes `0]`, `'name']` or `"name"]` off the front.
fn bracketed(inside: &str) -> Option<(Segment, &str)> {
    let quote = inside.chars().next().filter(|c| matches!(c, '\'' | '"'));
    if let Some(quote) = quote {
        let (name, after) = inside[1..].split_once(quote)?;
        return Some((Segment::Member(name.to_owned()), after.strip_prefix(']')?));
    }
    let (place, after) = inside.split_once(']')?;
    let is_number = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
    Some((Segment::Index(place.parse().ok().filter(|_| is_number)?), after))
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<Value> {
        let document = serde_json::json!({
            "database": {"status": "healthy", "lag-ms": 3}, "checks": [{"disk space": true}, null], "é": 1
        });
        let path = JsonPath::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        path.find(&document).cloned()
    }

    #[test]
    fn a_path_names_one_place() {
        assert_eq!(found("$.database.status"), Some("healthy".into()));
        assert_eq!(found("$.database.lag-ms"), Some(3.into()));
        assert_eq!(found("$.checks[0]['disk space']"), Some(true.into()));
        assert_eq!(found(r#"$["checks"][1]"#), Some(Value::Null));
        assert_eq!(found("$.é"), Some(1.into()));
        assert!(found("$").is_some_and(|whole| whole.is_object()));
    }

    #[test]
    fn what_is_not_there_is_none() {
        for path in ["$.database.state", "$.checks[2]", "$.checks.status", "$.database[0]", "$.é.x"] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn a_mistake_is_told_at_its_place() {
        let cases = [
            ("database", 0),
            ("", 0),
            ("$database", 1),
            ("$.", 2),
            ("$..status", 2),
            ("$.a[*]", 4),
            ("$.a[-1]", 4),
            ("$.a['b", 4),
            ("$.a[1", 4),
            ("$.a[99999999999999999999]", 4),
            ("$.a b", 3),
        ];
        for (text, at) in cases {
            let error = JsonPath::parse(text).expect_err(text);
            assert_eq!(error.at, at, "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\$?[.\\[\\]'\"a-zé0-9* ]{0,12}") {
            if let Ok(path) = JsonPath::parse(&text) {
                proptest::prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
