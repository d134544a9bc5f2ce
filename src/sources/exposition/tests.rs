//! What pages are read as, which are refused and why, and that hostile names and values survive.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// Prints a page's samples one per line: name, labels in page order, value, timestamp, kind.
fn read(body: &str, format: Format) -> Result<Vec<String>, PageError> {
    let page = parse(body.as_bytes(), format, 1000)?;
    Ok(page.samples().map(|sample| printed(&sample)).collect())
}

fn printed(sample: &PageSample<'_>) -> String {
    let labels: Vec<_> = sample.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let mut text = format!("{}{{{}}} {}", sample.name, labels.join(","), sample.value);
    if let Some(wall) = sample.wall_timestamp {
        write!(text, " @{wall}").unwrap_or_default();
    }
    format!("{text} {:?}", sample.kind)
}

#[test]
fn a_page_means_the_same_whatever_page_came_before() {
    let histogram =
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\n";
    let pages = [
        "a 1\nb 2\n",
        "# TYPE a counter\na 1\nb 2\n",
        "# TYPE a gauge\na 1\nb 3\n",
        "c 1\na 1\nb 3\n",
        "b 3\n",
        histogram,
        // One bucket of the run is new, then its first, then its bounds.
        &histogram.replace(" 2\n", " 2.5\n"),
        &histogram.replace(" 1\n", " 1e0\n"),
        &histogram.replace("\"2\"", "\"1.5\""),
        &histogram.replace("histogram", "gauge"),
        "a NaN\nb +Inf\nc -0\n",
        "a 1\nb -Inf\nc 0\n",
    ];
    let mut known = KnownNumbers::default();
    for _ in 0..2 {
        for page in pages {
            let next = parse_next(page.as_bytes(), Format::Text, 1000, &mut known).expect(page);
            let next: Vec<_> = next.samples().map(|sample| printed(&sample)).collect();
            assert_eq!(Ok(next), read(page, Format::Text), "{page}");
            // A page that is refused changes nothing.
            assert!(parse_next(b"a 1\nb 1e999\n", Format::Text, 1000, &mut known).is_err());
            assert!(parse_next(b"a 1\nb", Format::Text, 1000, &mut known).is_err());
        }
    }
}

#[test]
fn more_lines_than_are_handed_over_at_once_are_all_read() {
    let mut page = "# TYPE h histogram\n".to_owned();
    for bound in 0..5000 {
        writeln!(page, "h_bucket{{le=\"{bound}\"}} {}\nm{{n=\"{bound}\"}} {bound}", bound * 2)
            .unwrap_or_default();
    }
    let parsed = parse(page.as_bytes(), Format::Text, 10_000).expect("a valid page");
    let values: Vec<f64> = parsed.samples().map(|sample| sample.value).collect();
    assert_eq!(values, (0..5000).flat_map(|n| [f64::from(n * 2), f64::from(n)]).collect::<Vec<_>>());
}

#[test]
fn valid_lines_of_text_are_read_as_they_stand() {
    let cases: &[(&str, &str)] = &[
        ("m 7", "m{} 7 Untyped"),
        ("m{} 7", "m{} 7 Untyped"),
        ("m 7 1605", "m{} 7 @1605 Untyped"),
        ("m 7 -5", "m{} 7 @-5 Untyped"),
        ("  m\t7\t ", "m{} 7 Untyped"),
        ("m 7\r", "m{} 7 Untyped"),
        ("job:req:rate5m 7", "job:req:rate5m{} 7 Untyped"),
        (":m 7", ":m{} 7 Untyped"),
        (r#"m{a="1"}7"#, r#"m{a="1"} 7 Untyped"#),
        (r#"m{a="1"}-Inf"#, r#"m{a="1"} -inf Untyped"#),
        (r#"m {a="1"} 7"#, r#"m{a="1"} 7 Untyped"#),
        (r#"m{a="1",} 7"#, r#"m{a="1"} 7 Untyped"#),
        (r#"m{ a = "1" , b	=	"2" , } 7 1"#, r#"m{a="1",b="2"} 7 @1 Untyped"#),
        (r#"m{a=""} 7"#, r#"m{a=""} 7 Untyped"#),
        (r#"m{code="500",path="/x,code=200,y"} 1"#, r#"m{code="500",path="/x,code=200,y"} 1 Untyped"#),
        (r#"m{p="} 99 "} 7"#, r#"m{p="} 99 "} 7 Untyped"#),
        (r#"m{p="/users/{id}?a=1&b=2"} 7"#, r#"m{p="/users/{id}?a=1&b=2"} 7 Untyped"#),
        (r#"m{p="say \"hi\""} 7"#, r#"m{p="say \"hi\""} 7 Untyped"#),
        (r#"m{p="a\\n\n\\"} 7"#, r#"m{p="a\\n\n\\"} 7 Untyped"#),
        (r#"m{p="\t\é"} 7"#, r#"m{p="\\t\\é"} 7 Untyped"#),
        ("m{p=\"größe \u{202e}# x\"} 7", "m{p=\"größe \\u{202e}# x\"} 7 Untyped"),
        (r#"{"http.dur",a="1"} 7"#, r#"http.dur{a="1"} 7 Untyped"#),
        (r#"{a="1","http.dur"} 7"#, r#"http.dur{a="1"} 7 Untyped"#),
        (r#"m{"service.name"="x"} 7"#, r#"m{service.name="x"} 7 Untyped"#),
        ("m NaN", "m{} NaN Untyped"),
        ("m +Inf", "m{} inf Untyped"),
        ("m 1e-400", "m{} 0 Untyped"),
        ("m .5", "m{} 0.5 Untyped"),
        ("m -1.5E+3", "m{} -1500 Untyped"),
    ];
    for (line, expected) in cases {
        assert_eq!(read(&format!("{line}\n"), Format::Text), Ok(vec![(*expected).to_owned()]), "{line}");
    }
}

#[test]
fn comments_blank_lines_and_metadata_mistakes_do_not_fail_a_page() {
    let harmless = [
        "",
        " ",
        "\r",
        "#",
        "#comment",
        "# comment",
        "# HELP",
        "# TYPE",
        "#TYPE m nonsense",
        "# HELP m",
        "# HELP m a\0b",
        "# HELP m \\q",
        "# TYPE m counter\n# TYPE m gauge",
        "m 1\n# TYPE m counter",
        "  #\tTYPE \t m  counter \t",
        "# TYPE \"a.b\" gauge",
        "# HELP m x\n# HELP m y",
        "# UNIT m whatever",
    ];
    for text in harmless {
        assert!(read(&format!("{text}\n"), Format::Text).is_ok(), "{text:?}");
    }
    assert_eq!(read("", Format::Text), Ok(vec![]));
}

#[test]
fn bad_lines_of_text_fail_the_page_with_column_and_reason() {
    let cases: &[(&str, usize, &str)] = &[
        ("upstream 502 Bad Gateway", 14, "expected a timestamp"),
        ("<html>", 1, "expected a metric name"),
        ("9m 7", 1, "expected a metric name"),
        ("größe 7", 3, "expected `{` or a blank"),
        ("met-ric 7", 4, "expected `{` or a blank"),
        ("m\u{a0}7", 2, "expected `{` or a blank"),
        ("\"m\" 7", 1, "expected a metric name"),
        ("m", 2, "expected `{` or a blank"),
        ("m ", 3, "expected a value"),
        ("m abc", 3, "expected a value"),
        ("m 0x1p4", 3, "expected a value"),
        ("m 1_000", 3, "expected a value"),
        ("m +NaN", 3, "expected a value"),
        ("m 1e400", 1, "64-bit float"),
        ("m 1 2 3", 7, "expected the end"),
        ("m 1 1.5", 5, "integer milliseconds"),
        ("m 1 abc", 5, "integer milliseconds"),
        ("m 1 99999999999999999999", 5, "integer milliseconds"),
        ("m 8 # {trace_id=\"x\"} 0.05", 5, "integer milliseconds"),
        ("m{a} 7", 4, "expected `=`"),
        ("m{a=b} 7", 5, "double quotes"),
        ("m{a='b'} 7", 5, "double quotes"),
        ("m{a=\"b} 7", 5, "closing"),
        ("m{a=\"b\\", 5, "closing"),
        ("m{a=\"1\"b=\"2\"} 7", 8, "expected `,` or `}`"),
        ("m{a=\"1\",,b=\"2\"} 7", 9, "expected a label name"),
        ("m{,a=\"1\"} 7", 3, "expected a label name"),
        ("m{1=\"1\"} 7", 3, "expected a label name"),
        ("m{a:b=\"1\"} 7", 4, "expected `=`"),
        ("m{a=\"1\",a=\"2\"} 7", 9, "duplicate label `a`"),
        ("m{a=\"1\",\"a\"=\"2\"} 7", 9, "duplicate label `a`"),
        ("m{__name__=\"x\"} 7", 3, "duplicate label `__name__`"),
        ("m{\"\"=\"x\"} 7", 3, "expected a name"),
        ("m{\"n\"} 7", 3, "second metric name"),
        ("{\"m\",\"n\"} 7", 6, "second metric name"),
        ("{a=\"1\"} 7", 1, "expected a metric name"),
        ("{} 7", 1, "expected a metric name"),
        ("m{a=\"1\" 7", 9, "expected `,` or `}`"),
        ("m{a=\"1\"} {} 7", 10, "expected a value"),
        ("# TYPE m nonsense", 18, "expected a type"),
        ("# TYPE m ", 10, "expected a type"),
        ("# TYPE met-ric counter", 11, "expected a blank"),
        ("# TYPE m counter x", 18, "expected the end"),
        ("# HELP -", 8, "expected a metric name"),
    ];
    for (line, column, reason) in cases {
        let body = format!("good 1\n{line}\ngood 2\n");
        let Err(PageError::Malformed(bad)) = read(&body, Format::Text) else {
            panic!("{line:?} must be refused");
        };
        assert_eq!(bad.len(), 1, "{line:?}: {bad:?}");
        assert!(bad[0].reason.contains(reason), "{line:?}: {}", bad[0]);
        // A value out of range is found after the scan, when only the value is at hand.
        assert_eq!((bad[0].line, bad[0].column), (2, *column), "{line:?}: {}", bad[0]);
    }
}

#[test]
fn the_first_bad_lines_are_reported_escaped_and_cut() {
    let long = "x".repeat(200);
    let body = format!("ok 1\nbad line \u{1b}[31m\n\"{long}\"\n!\n?\n");
    let message = read(&body, Format::Text).map_err(|error| error.to_string()).unwrap_err();
    assert!(
        message.starts_with(
            "line 2, column 5: expected a value, found `line`, in `bad line \\u{1b}[31m`; line 3"
        )
    );
    assert!(message.contains("…`; line 4, column 1") && !message.contains("line 5"), "{message}");
    assert!(!message.chars().any(char::is_control), "{message}");
}

#[test]
fn a_page_that_is_cut_off_is_refused() {
    assert!(read("a 1\nb 12", Format::Text).is_err_and(|error| error.to_string().contains("cut off")));
    assert!(read("a 1\n# HELP b c", Format::Text).is_err());
    assert!(read("a 1\n  ", Format::Text).is_ok());
    for body in ["", "a 1\n", "a 1", "a 1\n# EO", "# EOF \n"] {
        assert!(read(body, Format::OpenMetrics).is_err(), "{body:?}");
    }
    for body in ["# EOF", "# EOF\n", "a 1\n# EOF"] {
        assert!(read(body, Format::OpenMetrics).is_ok(), "{body:?}");
    }
    for body in ["# EOF\n\n", "# EOF\na 1\n", "# EOF\n# EOF\n", "# EOFx", "# EOF\nblah"] {
        assert!(read(body, Format::OpenMetrics).is_err(), "{body:?}");
    }
}

#[test]
fn openmetrics_has_its_own_blanks_timestamps_and_exemplars() {
    let good: &[(&str, &str)] = &[
        ("a 1 1.5", "a{} 1 @1500 Untyped"),
        ("a 1 -1", "a{} 1 @-1000 Untyped"),
        ("a{} 1", "a{} 1 Untyped"),
        (r#"a_total{b="c"} 1 # {} 1"#, r#"a_total{b="c"} 1 Untyped"#),
        (r#"a_total 1 2 # {t="x",u="} # y"} 0.5 1.5"#, "a_total{} 1 @2000 Untyped"),
        (r#"a_bucket{le="1"} 1 # {t="x"} 0.5"#, r#"a_bucket{le="1"} 1 Untyped"#),
        (r#"{"a.b",c="d"} 1"#, r#"a.b{c="d"} 1 Untyped"#),
    ];
    for (line, expected) in good {
        assert_eq!(
            read(&format!("{line}\n# EOF\n"), Format::OpenMetrics),
            Ok(vec![(*expected).to_owned()]),
            "{line}"
        );
    }
    let bad = [
        "",
        " a 1",
        "a  1",
        "a 1 ",
        "a 1  2",
        "a\t1",
        "a 1\r",
        "a{b=\"1\", c=\"2\"} 1",
        "a{ b=\"1\"} 1",
        "a{b=\"1\",} 1",
        "a{b=\"1\"}1",
        "a 1 NaN",
        "a 1 Inf",
        "a 1 1e400",
        "a 1 2 3",
        "a 1 # {} 1",
        "a_total 1 # {}",
        "a_total 1 # {}1",
        "a_total 1 #{} 1",
        "a_total 1 # {} 1 ",
        "a_total 1 # {} 1 1 ",
        "a_total 1 # {\"n\"} 1",
        "a_total 1 # {a=\"1\",a=\"2\"} 1",
        "a_total 1 # {} x",
        "#",
        "# comment",
        "# TYPE",
        "# TYPE a",
        "# TYPE a untyped",
        "# TYPE a gauge ",
        "# HELP a",
        "# UNIT a_s m",
        "# UNIT s s",
        "# FOO a b",
    ];
    for line in bad {
        let result = read(&format!("{line}\n# EOF\n"), Format::OpenMetrics);
        assert!(matches!(result, Err(PageError::Malformed(_))), "{line:?}: {result:?}");
    }
}

#[test]
fn types_name_kinds_and_grouped_series_come_back_flat_and_in_order() {
    let body = "\
early 1
# TYPE early counter
# TYPE c counter
c{a=\"1\"} 1
c_total 2
# TYPE g gauge
g 3
# TYPE h histogram
h_bucket{p=\"a,b\",le=\"1\"} 1
h_bucket{p=\"a,b\",le=\"1.0\"} 2 9
h_bucket{p=\"a}b\",le=\"1\"} 3
h_bucket{le=\"+Inf\",p=\"a,b\"} 4
h_bucket{p=\"a,b\"} 5
h_bucket{le=\"x\"} 6
h_bucket{le=\"NaN\"} 7
h_sum 8
h_count 9
# TYPE s summary
s{quantile=\"0.5\"} NaN
s{quantile=\"0.50\"} 11
s{other=\"x\",quantile=\"0.9\"} 12
s{quantile=\"\"} 13
s_sum 14
";
    let expected = [
        r#"early{} 1 Untyped"#,
        r#"c{a="1"} 1 Counter"#,
        r#"c_total{} 2 Untyped"#,
        r#"g{} 3 Gauge"#,
        r#"h_bucket{p="a,b",le="1"} 1 Bucket"#,
        r#"h_bucket{p="a,b",le="1.0"} 2 @9 Bucket"#,
        r#"h_bucket{p="a}b",le="1"} 3 Bucket"#,
        r#"h_bucket{le="+Inf",p="a,b"} 4 Bucket"#,
        r#"h_bucket{p="a,b"} 5 Untyped"#,
        r#"h_bucket{le="x"} 6 Untyped"#,
        r#"h_bucket{le="NaN"} 7 Bucket"#,
        r#"h_sum{} 8 Untyped"#,
        r#"h_count{} 9 Untyped"#,
        r#"s{quantile="0.5"} NaN Quantile"#,
        r#"s{quantile="0.50"} 11 Quantile"#,
        r#"s{other="x",quantile="0.9"} 12 Quantile"#,
        r#"s{quantile=""} 13 Untyped"#,
        r#"s_sum{} 14 Untyped"#,
    ];
    assert_eq!(read(body, Format::Text), Ok(expected.map(str::to_owned).to_vec()));

    let body =
        "# TYPE c counter\nc_total 1\nc_created 2\n# TYPE g gaugehistogram\ng_bucket{le=\"1\"} 3\n# EOF\n";
    let expected = ["c_total{} 1 Counter", "c_created{} 2 Untyped", "g_bucket{le=\"1\"} 3 Bucket"];
    assert_eq!(read(body, Format::OpenMetrics), Ok(expected.map(str::to_owned).to_vec()));
}

#[test]
fn invalid_utf8_is_refused_with_its_line() {
    let result = parse(b"a 1\nb{c=\"\xff\"} 2\n", Format::Text, 10);
    assert!(result.is_err_and(|error| error.to_string().starts_with("line 2, column 6: expected UTF-8")));
}

#[test]
fn limits_are_errors_of_their_own() {
    let page = "a 1\nb 2\nc 3\n";
    assert!(parse(page.as_bytes(), Format::Text, 3).is_ok());
    assert_eq!(
        parse(page.as_bytes(), Format::Text, 2).err(),
        Some(PageError::TooManySamples { line: 3, limit: 2 })
    );
    let long = format!("a{{b=\"{}\"}} 1\n", "x".repeat(MAX_LINE_BYTES));
    assert!(matches!(parse(long.as_bytes(), Format::Text, 9), Err(PageError::LineTooLarge { line: 1, .. })));
    let labels = |count: usize| (0..count).map(|at| format!("l{at}=\"\"")).collect::<Vec<_>>().join(",");
    let most = format!("a{{{}}} 1\n", labels(MAX_LABELS));
    assert!(parse(most.as_bytes(), Format::Text, 9).is_ok());
    let more = format!("a{{{}}} 1\n", labels(MAX_LABELS + 1));
    assert!(matches!(parse(more.as_bytes(), Format::Text, 9), Err(PageError::LineTooLarge { line: 1, .. })));
}

/// A sample to write on a page: name, labels, value.
type Written = (String, Vec<(String, String)>, f64);

/// Label values from an alphabet of everything that parsers trip over.
fn hostile_value() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "{", "}", "\"", ",", "=", "\\", "\n", "n", " ", "#", "# EOF", "\t", "\r", "\0", "é", "日",
        "\u{202e}", "le", "1", "_", "\\n", "} 9 ", "\",b=\"", "NaN", "\u{feff}", "\u{2028}",
    ]);
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

fn written() -> impl Strategy<Value = Written> {
    let name = prop_oneof!["[a-zA-Z_:][a-zA-Z0-9_:]{0,6}", "h_bucket|s|c|g|c_total"];
    let label = prop_oneof!["[a-zA-Z_][a-zA-Z0-9_]{0,3}", "le|quantile"];
    let value = prop_oneof![hostile_value(), "[0-9]{1,2}"];
    let labels = prop::collection::btree_map(label, value, 0..5);
    let number = prop_oneof![any::<f64>(), (-5i32..5).prop_map(f64::from)];
    (name, labels, number)
        .prop_filter("the name is no label", |(_, labels, _)| !labels.contains_key(METRIC))
        .prop_map(|(name, labels, number)| (name, labels.into_iter().collect(), number))
}

const METRIC: &str = crate::engine::model::METRIC_NAME;

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

/// Writes a page with TYPE lines for the families that the generator likes.
fn page(samples: &[Written], format: Format, quoted: bool) -> String {
    let mut page = "# TYPE h histogram\n# TYPE s summary\n# TYPE c counter\n# TYPE g gauge\n".to_owned();
    for (name, labels, value) in samples {
        let mut parts: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let bare = if quoted {
            parts.push(format!("\"{}\"", escaped(name)));
            ""
        } else {
            name
        };
        page += &format!("{bare}{{{}}} {}\n", parts.join(","), number(*value));
    }
    if format == Format::OpenMetrics {
        page += "# EOF\n";
    }
    page
}

fn same(sample: &PageSample<'_>, (name, labels, value): &Written) -> bool {
    let same_labels = sample
        .labels
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .eq(labels.iter().map(|(n, v)| (&**n, &**v)));
    let same_value = sample.value == *value || sample.value.is_nan() && value.is_nan();
    sample.name == name && same_labels && same_value && sample.wall_timestamp.is_none()
}

proptest! {
    #[test]
    fn hostile_names_and_values_round_trip(
        samples in prop::collection::vec(written(), 0..20),
        open_metrics: bool,
        quoted: bool,
    ) {
        let format = if open_metrics { Format::OpenMetrics } else { Format::Text };
        let text = page(&samples, format, quoted);
        let read = parse(text.as_bytes(), format, 1000).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(read.len(), samples.len());
        for (sample, written) in read.samples().zip(&samples) {
            prop_assert!(same(&sample, written), "{:?}\n{:?}\n{}", sample, written, text);
        }
    }

    #[test]
    fn known_numbers_change_nothing(
        pages in prop::collection::vec(prop::collection::vec(written(), 0..6), 1..5),
    ) {
        let mut known = KnownNumbers::default();
        for samples in &pages {
            let text = page(samples, Format::Text, false);
            let next = parse_next(text.as_bytes(), Format::Text, 1000, &mut known)
                .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert_eq!(next.len(), samples.len());
            for (sample, written) in next.samples().zip(samples) {
                prop_assert!(same(&sample, written), "{:?}\n{:?}\n{}", sample, written, text);
            }
        }
    }

    #[test]
    fn quoted_names_may_be_any_text(name in hostile_value(), label in hostile_value(), value in hostile_value()) {
        prop_assume!(!name.is_empty() && !label.is_empty());
        let text = format!("{{\"{}\",\"{}\"=\"{}\"}} 1\n", escaped(&name), escaped(&label), escaped(&value));
        let read = parse(text.as_bytes(), Format::Text, 10).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let written = (name, vec![(label, value)], 1.0);
        prop_assert!(read.samples().all(|sample| same(&sample, &written)), "{}", text);
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200), open_metrics: bool) {
        let format = if open_metrics { Format::OpenMetrics } else { Format::Text };
        let samples = parse(&body, format, 1000).map(|page| page.len());
        prop_assert!(samples.is_ok() || samples.is_err_and(|error| !error.to_string().chars().any(char::is_control)));
    }

    #[test]
    fn no_mutilated_page_panics_or_yields_unwritten_samples(
        samples in prop::collection::vec(written(), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = page(&samples, Format::Text, false);
        let at = cut.index(text.len());
        // A cut within a line is always seen; a cut between lines yields a prefix.
        if let Ok(read) = parse(&text.as_bytes()[..at], Format::Text, 1000) {
            prop_assert!(at == 0 || text.as_bytes()[at - 1] == b'\n', "cut at {at} of {text:?}");
            for (sample, written) in read.samples().zip(&samples) {
                prop_assert!(same(&sample, written));
            }
        }
    }

    /// On what `prometheus-parse` reads rightly, it and the scanner agree.
    #[test]
    fn the_scanner_agrees_with_prometheus_parse_on_its_safe_subset(
        lines in prop::collection::vec(("[a-z_]{1,4}", prop::collection::btree_map("[a-z]{1,2}", "[a-z0-9/.-]{1,4}", 1..4), any::<i32>()), 0..20),
    ) {
        let body: String = lines
            .iter()
            .map(|(name, labels, value)| {
                let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
                format!("{name}{{{}}} {value}.25e1\n", labels.join(","))
            })
            .collect();
        let theirs = prometheus_parse::Scrape::parse(body.lines().map(|line| Ok(line.to_owned())));
        let theirs: BTreeSet<_> = theirs
            .map(|scrape| scrape.samples)
            .unwrap_or_default()
            .into_iter()
            .map(|sample| {
                let prometheus_parse::Value::Untyped(value) = sample.value else { unreachable!("no TYPE lines") };
                let labels: std::collections::BTreeMap<_, _> = sample.labels.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
                (sample.metric, labels, value.to_bits())
            })
            .collect();
        let page = parse(body.as_bytes(), Format::Text, 1000).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let ours: BTreeSet<_> = page
            .samples()
            .map(|sample| {
                let labels = sample.labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
                (sample.name.to_owned(), labels, sample.value.to_bits())
            })
            .collect();
        prop_assert_eq!(ours, theirs);
    }
}

/// Prints how fast a page of about 1 MB is read: `cargo test --lib -- --ignored --nocapture speed`.
#[test]
#[ignore = "a measurement, not a check"]
fn speed_of_one_megabyte() {
    let mut body = String::new();
    let mut at = 0;
    while body.len() < 1_000_000 {
        writeln!(body, "# TYPE h{at} histogram").unwrap_or_default();
        for le in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] {
            let labels =
                format!("method=\"GET\",route=\"/api/v1/res/{{id}}\",status=\"200\",zone=\"eu-{at}\"");
            writeln!(body, "h{at}_bucket{{{labels},le=\"{le}\"}} {}", at * 31).unwrap_or_default();
        }
        writeln!(body, "h{at}_sum 12.5\nh{at}_count 99\n# TYPE g{at} gauge\ng{at} 1e3").unwrap_or_default();
        at += 1;
    }
    let began = std::time::Instant::now();
    let scanned = scan::scan(body.as_bytes(), Format::Text, 1_000_000, MAX_REPORTED);
    let scanning = began.elapsed();
    let began = std::time::Instant::now();
    let samples = parse(body.as_bytes(), Format::Text, 1_000_000).map(|page| page.len());
    println!(
        "{} bytes, {samples:?} samples: scan {scanning:?}, scan and read {:?}",
        body.len(),
        began.elapsed()
    );
    assert_eq!(scanned.map(|scanned| scanned.lines.len()), samples);
}
