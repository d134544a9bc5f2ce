//! Rows for spreadsheets (RFC 4180), of which none can be taken for a formula.

use serde_json::Value;

use super::row::Row;
use crate::effects::printable;

const COLUMNS: [&str; 16] = [
    "seq",
    "at_ms",
    "wall",
    "kind",
    "target",
    "incident",
    "subject",
    "text",
    "evidence",
    "reason",
    "by",
    "target_version",
    "files",
    "program",
    "event_version",
    "hash",
];

/// Returns the names of the columns.
pub(super) fn head() -> String {
    format!("{}\r\n", COLUMNS.join(","))
}

/// Returns the row as a line.
pub(super) fn line(row: &Row) -> String {
    let evidence: Vec<String> = row.evidence.iter().map(measured).collect();
    let or_empty = |text: &Option<String>| cell(text.as_deref().unwrap_or_default());
    let cells: [String; 16] = [
        row.seq.to_string(),
        row.at_ms.to_string(),
        row.wall.clone(),
        cell(&row.kind),
        or_empty(&row.target),
        or_empty(&row.incident),
        or_empty(&row.subject),
        cell(&row.text),
        cell(&evidence.join("; ")),
        or_empty(&row.reason),
        or_empty(&row.by),
        or_empty(&row.target_version),
        or_empty(&row.files),
        or_empty(&row.program),
        row.event_version.to_string(),
        cell(&row.hash),
    ];
    format!("{}\r\n", cells.join(","))
}

/// Quotes a text. Spreadsheets take what begins with one of `= + - @` for a formula, quoted or not: an apostrophe in front
/// of it makes it a text (OWASP, "CSV Injection").
fn cell(text: &str) -> String {
    let text = printable::line(text);
    let apostrophe = if text.trim_start().starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    format!("\"{apostrophe}{}\"", text.replace('"', "\"\""))
}

/// `error_rate > 2%: 12.3% (0.123)`
fn measured(evidence: &Value) -> String {
    let text = |name: &str| evidence.get(name).and_then(Value::as_str).unwrap_or_default();
    let value =
        evidence.get("value").map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    format!("{}: {} ({})", text("condition"), text("shown"), value.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        for (text, expected) in [
            ("plain", "\"plain\""),
            ("a \"b\", c", "\"a \"\"b\"\", c\""),
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
            ("+1", "\"'+1\""),
            ("-2+3", "\"'-2+3\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            (" =1", "\"' =1\""),
            ("\t=1", "\"\\t=1\""),
            ("a\r\n=1", "\"a\\r\\n=1\""),
            ("", "\"\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }

    #[test]
    fn what_was_measured_is_told_with_its_number() {
        let evidence = serde_json::json!({"condition": "e > 2%", "shown": "12.3%", "value": 0.123});
        assert_eq!(measured(&evidence), "e > 2%: 12.3% (0.123)");
        assert_eq!(measured(&serde_json::json!({"value": "NaN"})), ":  (NaN)");
    }
}
