//! What a request asks for: the query string and the form, strictly, and the words that Prometheus uses in them.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use percent_encoding::percent_decode_str;

use super::reply::Refusal;
use crate::engine::promql::{self, Scope, literals};
use crate::engine::series::Selector;
use crate::engine::time::{Span, Timestamp};

/// How long a body may be: far more than the longest expression, so that what is too long is told as that.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How many parameters one request may have.
const PARAMETERS_MAX: usize = 1000;

/// How long a client may take to send its body.
const BODY_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// How many matchers `match[]` may have in all; each is a walk over the series on the engine's thread.
const SELECTORS_MAX: usize = 50;

/// The parameters of a request, those of its form after those of its query string.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Parameters {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let mut parameters = Self::default();
        parameters.read(request.uri().query().unwrap_or_default())?;
        if request.method() == Method::POST {
            let content_type = request.headers().get(header::CONTENT_TYPE);
            let is_form = content_type.is_none_or(|value| {
                value.as_bytes().to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded")
            });
            if !is_form {
                let message = "expected a form: Content-Type application/x-www-form-urlencoded";
                return Err(Refusal::bad_data(message));
            }
            parameters.read(&body(request.into_body()).await?)?;
        }
        Ok(parameters)
    }
}

async fn body(body: Body) -> Result<String, Refusal> {
    let bytes = match tokio::time::timeout(BODY_PATIENCE, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let message = format!("the body is longer than {BODY_BYTES_MAX} bytes, or was cut off");
            return Err(Refusal::too_large(message));
        }
        Err(_) => return Err(Refusal::too_slow("the body took too long to come")),
    };
    String::from_utf8(bytes.into()).map_err(|_| Refusal::bad_data("the form is not UTF-8"))
}

impl Parameters {
    fn read(&mut self, text: &str) -> Result<(), Refusal> {
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.0.push((decoded(name)?, decoded(value)?));
            if self.0.len() > PARAMETERS_MAX {
                return Err(Refusal::bad_data(format!("more than {PARAMETERS_MAX} parameters")));
            }
        }
        Ok(())
    }

    /// Returns the first value of a parameter, as Prometheus takes it; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(known, _)| known == name);
        first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns every value of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns a point in time: Unix seconds or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_time(text).map(Some).ok_or_else(|| invalid(name, text, "a valid timestamp"))
    }

    /// Returns a point in time that must be there.
    pub(super) fn required_time(&self, name: &str) -> Result<Timestamp, Refusal> {
        self.time(name)?.ok_or_else(|| invalid(name, "", "a valid timestamp"))
    }

    /// Returns a duration: seconds, or Prometheus' way of writing them.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Span>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_duration(text).map(Some).ok_or_else(|| invalid(name, text, "a valid duration"))
    }

    /// Returns the most entries that an answer may have; zero is no limit.
    pub(super) fn limit(&self) -> Result<usize, Refusal> {
        let Some(text) = self.get("limit") else { return Ok(usize::MAX) };
        match text.parse::<usize>() {
            Ok(0) => Ok(usize::MAX),
            Ok(limit) => Ok(limit),
            Err(_) => Err(invalid("limit", text, "a whole number, zero or more")),
        }
    }

    /// Returns the selectors of `match[]`.
    pub(super) fn selectors(&self) -> Result<Vec<Selector>, Refusal> {
        let texts: Vec<&str> = self.all("match[]").collect();
        if texts.len() > SELECTORS_MAX {
            return Err(Refusal::bad_data(format!("more than {SELECTORS_MAX} times `match[]`")));
        }
        texts.into_iter().map(selector).collect()
    }
}

/// Reads one series selector, and nothing but that.
fn selector(text: &str) -> Result<Selector, Refusal> {
    let bad = |why: String| Refusal::bad_data(format!("invalid parameter \"match[]\": {why}"));
    let problems = |problems: Vec<promql::Problem>| {
        bad(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let expr = promql::parse(text).map_err(problems)?;
    let promql::ast::ExprKind::Selector(written) = &expr.kind else {
        return Err(bad("expected a series selector such as `up{job=\"app\"}`".to_owned()));
    };
    if promql::type_of(&expr) != promql::ValueType::Vector || written.shift != promql::ast::Shift::default() {
        return Err(bad("a series selector has no range, `offset` or `@`".to_owned()));
    }
    let plan = promql::compile(&expr, &Scope::EVERYTHING).map_err(problems)?;
    let only = plan.selectors().next().cloned();
    only.ok_or_else(|| bad("it selects nothing".to_owned()))
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    let bytes = percent_decode_str(&spaced).decode_utf8();
    bytes.map(std::borrow::Cow::into_owned).map_err(|_| Refusal::bad_data("a parameter is not UTF-8"))
}

fn invalid(name: &str, text: &str, expected: &str) -> Refusal {
    // Long foreign text adds nothing but length.
    let shown: String = text.chars().take(100).collect();
    Refusal::bad_data(format!("invalid parameter \"{name}\": cannot parse {shown:?} to {expected}"))
}

/// Reads a point in wall time: Unix seconds with a fraction, or RFC 3339.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    if let Some(seconds) = literals::parse_float(text) {
        return milliseconds(seconds).map(Timestamp::from_millis);
    }
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

/// Reads a duration: seconds with a fraction, or `5m`, `1h30m`.
pub fn parse_duration(text: &str) -> Option<Span> {
    match literals::parse_float(text) {
        Some(seconds) => milliseconds(seconds).map(Span::from_millis),
        None => text.parse().ok(),
    }
}

/// Turns seconds into milliseconds, rounded; `None` where that is no time that anybody means.
fn milliseconds(seconds: f64) -> Option<i64> {
    /// The end of the year 9999: far enough that sums with ranges never overflow.
    const SECONDS_MAX: f64 = 253_402_300_800.0;
    (seconds.abs() <= SECONDS_MAX).then(|| (seconds * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Parameters, String> {
        let mut parameters = Parameters::default();
        parameters.read(text).map(|()| parameters).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn parameters_are_decoded_and_what_is_not_utf8_is_refused() {
        let parameters = read("query=sum%28x%29+%2B+1&match[]=a&match%5B%5D=b&empty=&time").expect("good");
        assert_eq!(parameters.get("query"), Some("sum(x) + 1"));
        assert_eq!(parameters.all("match[]").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((parameters.get("empty"), parameters.get("time")), (None, None));
        assert!(read("query=%ff").is_err_and(|why| why.contains("UTF-8")));
        assert!(read(&"a=1&".repeat(1001)).is_err_and(|why| why.contains("1000")));
    }

    #[test]
    fn times_and_durations_are_written_in_two_ways() {
        let times = [
            ("1435781430.781", Some(1_435_781_430_781)),
            ("-5", Some(-5000)),
            ("2015-07-01T20:10:30.781Z", Some(1_435_781_430_781)),
            ("2015-07-01T22:10:30.781+02:00", Some(1_435_781_430_781)),
            ("NaN", None),
            ("+Inf", None),
            ("1e300", None),
            ("yesterday", None),
            ("2015-07-01", None),
        ];
        for (text, expected) in times {
            assert_eq!(parse_time(text).map(Timestamp::as_millis), expected, "{text}");
        }
        let durations = [
            ("15", Some(15_000)),
            ("0.5", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("x", None),
            ("NaN", None),
        ];
        for (text, expected) in durations {
            assert_eq!(parse_duration(text).map(Span::as_millis), expected, "{text}");
        }
    }

    #[test]
    fn only_series_selectors_select_series() {
        let good = ["up", r#"up{job="app"}"#, r#"{__name__=~"a|b"}"#, "(up)"];
        for text in good {
            assert_eq!(selector(text).is_ok(), text != "(up)", "{text}");
        }
        for text in
            ["", "{}", "up[5m]", "up offset 5m", "up @ 5", "sum(up)", "1", r#"{a=~".*"}"#, "up{", "a b"]
        {
            assert!(selector(text).is_err(), "{text}");
        }
    }
}
