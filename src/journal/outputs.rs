//! What steps have printed is kept apart from the events, whose bodies hold its hash alone: so it may be dropped earlier
//! than they are, and the chain still proves everything else, and it, for as long as it is there.
//!
//! ```text
//! {"step_ended": {"ending": {"output": "", "output_sha256": "<SHA-256 of the text, hexadecimal>", ...}, ...}}
//! ```

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// What stands in place of an output that was dropped.
pub const DROPPED: &str = "(the output is older than `retention: { outputs }` and was dropped)";

/// Where the hash of an output stands in its place.
const HASH: &str = "output_sha256";

/// Takes the output, if there is one, out of an event's JSON.
pub(super) fn take_apart(body: String) -> Result<(String, Option<String>), String> {
    if !body.contains("\"output\":\"") {
        return Ok((body, None));
    }
    let mut event: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let Some(ending) = ending(&mut event) else { return Ok((body, None)) };
    let Some(Value::String(output)) = ending.get_mut("output").map(Value::take) else {
        return Ok((body, None));
    };
    if output.is_empty() {
        return Ok((body, None));
    }
    ending.insert("output".to_owned(), Value::String(String::new()));
    ending.insert(HASH.to_owned(), Value::String(sha256(&output)));
    Ok((event.to_string(), Some(output)))
}

/// Puts an output back into its event's JSON.
pub(super) fn put_together<'a>(
    body: &'a str,
    output: Option<&str>,
) -> Result<Cow<'a, str>, serde_json::Error> {
    if !body.contains(HASH) {
        return Ok(body.into());
    }
    let mut event: Value = serde_json::from_str(body)?;
    if let Some(ending) = ending(&mut event)
        && ending.remove(HASH).is_some()
    {
        ending.insert("output".to_owned(), Value::String(output.unwrap_or(DROPPED).to_owned()));
    }
    Ok(event.to_string().into())
}

/// Returns whether an output is the one whose hash its event's body holds.
pub(super) fn belongs(body: &str, output: &str) -> bool {
    let mut event: Value = serde_json::from_str(body).unwrap_or_default();
    let hash = ending(&mut event).and_then(|ending| ending.get(HASH));
    hash.and_then(Value::as_str) == Some(&sha256(output))
}

/// Returns the `ending` of what happened, whatever its name is.
fn ending(event: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    event.get_mut("what")?.as_object_mut()?.values_mut().next()?.get_mut("ending")?.as_object_mut()
}

/// Returns a text's SHA-256 in hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: &str = r#"{"at":5,"what":{"step_ended":{"effect":2,"ending":{"output":"a\n\"b\"","result":"succeeded","took":2},"rollback":1}}}"#;

    #[test]
    fn an_output_goes_out_and_comes_back() {
        let (body, output) = take_apart(ENDED.to_owned()).unwrap();
        assert_eq!(output.as_deref(), Some("a\n\"b\""));
        assert!(!body.contains("\\\"b"), "{body}");
        assert!(belongs(&body, "a\n\"b\"") && !belongs(&body, "a\n\"c\"") && !belongs(ENDED, "a\n\"b\""));
        assert_eq!(put_together(&body, output.as_deref()).unwrap(), ENDED);
        assert!(put_together(&body, None).unwrap().contains("was dropped"));
    }

    #[test]
    fn other_events_stay_as_they_are() {
        for body in [
            r#"{"at":1,"what":"stopping"}"#,
            r#"{"at":1,"what":{"setup_refused":{"problem":"\"output\":\"x\""}}}"#,
            r#"{"what":{"step_ended":{"ending":{"output":""}}},"at":1}"#,
            r#"{"what":{"other":{"output":"x"}},"at":1}"#,
        ] {
            assert_eq!(take_apart(body.to_owned()), Ok((body.to_owned(), None)));
        }
    }
}
