//! Expressions that want to hang, to crash or to fill the memory: each gets an answer or an error, and soon.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rearguard::engine::model::{Labels, METRIC_NAME, Sample, SourceName};
use rearguard::engine::promql::{self, EvalContext, Scope, Value};
use rearguard::engine::rules::lint::{self, LintContext, Role};
use rearguard::engine::series::{Limits, Store};
use rearguard::engine::time::{Span, Timestamp};

/// Even unoptimized, on a busy machine. Most take microseconds.
const AT_MOST: Duration = Duration::from_secs(2);

/// Twenty series, a sample every ten seconds of an hour.
fn store() -> Store {
    let limits = Limits { series_per_source: 100, ..Limits::default() };
    let mut store = Store::new(limits, Span::from_secs(100_000));
    for series in 0..20 {
        let labels = Labels::from_pairs([(METRIC_NAME, "x"), ("n", &series.to_string())]);
        for step in 0..360_i64 {
            let at = Timestamp::from_millis(step * 10_000);
            let sample = Sample { labels: labels.clone(), at, value: f64::from(series) };
            assert!(store.append(&SourceName::from("app"), &sample));
        }
    }
    store
}

/// Whether the printed text is the same expression again; with all its blanks it can be too long for that.
fn reads_back(expr: &promql::Expr) -> bool {
    let printed = expr.to_string();
    printed.len() > promql::MAX_TEXT
        || promql::parse(&printed).is_ok_and(|again| again.to_string() == printed)
}

/// Parses, prints, lints, compiles and evaluates; returns the answer or the first thing that is wrong.
fn asked(store: &Store, expression: &str) -> Result<Value, String> {
    let context =
        LintContext { role: Role::Alert, paces: &BTreeMap::new(), facts: None, absence_is_watched: false };
    let plan = promql::parse(expression)
        .inspect(|expr| assert!(reads_back(expr)))
        .inspect(|expr| assert!(lint::expression(expr, &context).len() <= expression.len()))
        .and_then(|expr| promql::compile(&expr, &Scope::EVERYTHING))
        .map_err(|problems| problems.first().map(ToString::to_string).unwrap_or_default())?;
    let context = EvalContext::at(Timestamp::from_millis(3_600_000));
    plan.evaluate(store, &context).map(|evaluated| evaluated.value).map_err(|error| error.to_string())
}

fn wrapped(open: &str, inner: &str, close: &str, times: usize) -> String {
    open.repeat(times) + inner + &close.repeat(times)
}

/// Texts that are long, deep, or full of patterns, with what their answer or error says.
fn texts() -> Vec<(String, &'static str)> {
    let long = |unit: &str| unit.repeat((1 << 20) / unit.len());
    let joined = |by: &str, times: usize| vec!["x"; times].join(by);
    let matcher = |pattern: &str| format!("x{{n=~\"{pattern}\"}}");
    vec![
        // Long.
        (long("x"), "longer than 65536 bytes"),
        (long("("), "longer than"),
        (format!("\"{}\"", long("a")), "longer than"),
        (long("# \n"), "longer than"),
        (format!("x{{n=~\"{}\"}}", "a".repeat(60_000)), "invalid regular expression"),
        (format!("x{{n=~\"{}\"}}", "a".repeat(6_000)), "ok"),
        (format!("x{{{}}}", "a!=\"b\",".repeat(8_000)), "ok"),
        (format!("sum by ({}) (x)", "a,".repeat(30_000)), "ok"),
        (format!("label_join(x, \"a\", \"b\"{})", ", \"n\"".repeat(10_000)), "ok"),
        (" ".repeat(60_000) + "1", "ok"),
        // Deep.
        (wrapped("(", "1", ")", 20_000), "nested more than"),
        (wrapped("-", "1", "", 20_000), "nested more than"),
        (wrapped("abs(", "x", ")", 10_000), "nested more than"),
        (wrapped("x[", "1", "]", 10_000), "nested more than"),
        (wrapped("x / (", "x", ")", 100), "ok"),
        (wrapped("x + abs(", "x", ")", 100), "ok"),
        (wrapped("x or on (n) sum by (n) (", "x", ")", 100), "ok"),
        (wrapped("sum_over_time((x > ", "x", ")[1s:1s])", 50), "ok"),
        (joined("+", 10_000), "nested more than"),
        (joined("^", 10_000), "nested more than"),
        (joined(" or ", 10_000), "nested more than"),
        (format!("x{}", "[1s:1s]".repeat(9_000)), "nested more than"),
        (format!("x{}", "[1s:1s]".repeat(200)), "expected type instant vector"),
        (format!("x{}", " offset 1s".repeat(6_000)), "set twice"),
        ("(".repeat(20_000), "nested more than"),
        ("{".repeat(20_000), "expected a label name"),
        ("x[".repeat(20_000), "nested more than"),
        // Patterns.
        (matcher("(a+)+$"), "ok"),
        (matcher("(x+x+)+y"), "ok"),
        (matcher("(.*){10}(.*){10}(.*){10}"), "ok"),
        (matcher("((((((a{1,100}){1,100}){1,100}){1,100}){1,100}){1,100})"), "invalid regular expression"),
        (matcher("(?:a{1000}){1000}"), "invalid regular expression"),
        (matcher("\\\\pL{1000}"), "invalid regular expression"),
        (matcher(&"(".repeat(20_000)), "invalid regular expression"),
        (matcher(&"(a|b)?".repeat(5_000)), "ok"),
        (matcher("[z-a]"), "invalid regular expression"),
        (matcher("a++"), "invalid regular expression"),
        (matcher("(?=a)"), "invalid regular expression"),
        (matcher("(?<!a)"), "invalid regular expression"),
        (matcher("(?>a)"), "invalid regular expression"),
        // Strings.
        ("x{n=\"\\xff\"}".to_owned(), "not valid UTF-8"),
        ("x{n=\"\\xc3\"}".to_owned(), "not valid UTF-8"),
        ("x{n=\"\\ud800\"}".to_owned(), "invalid escape"),
        ("x{n=\"\\400\"}".to_owned(), "invalid escape"),
        ("x{n=\"\\U00110000\"}".to_owned(), "invalid escape"),
        ("x{n=\"\u{0}\"}".to_owned(), "ok"),
        ("x{\"\u{0}\"=\"\u{202e}\"}".to_owned(), "ok"),
    ]
}

/// Expressions that ask for much work or memory, with what their answer or error says.
fn demands() -> Vec<(String, &'static str)> {
    vec![
        // Work.
        ("count_over_time(x[30d:1s])".to_owned(), "touches more than"),
        ("x[30d:1s]".to_owned(), "touches more than"),
        ("x[1h:1ms]".to_owned(), "touches more than"),
        ("x[290y:1ms]".to_owned(), "touches more than"),
        ("nothing[290y:1s]".to_owned(), "touches more than"),
        ("vector(1)[100y:1s]".to_owned(), "touches more than"),
        ("x[300y]".to_owned(), "out of range"),
        ("x offset 300y".to_owned(), "out of range"),
        ("x offset -290y".to_owned(), "ok"),
        ("x @ 1e11".to_owned(), "ok"),
        (
            "max_over_time(max_over_time(max_over_time(x[1h:1s])[1h:1s])[1h:1s])".to_owned(),
            "touches more than",
        ),
        (wrapped("max_over_time(", "x", "[1d:1m])", 40), "touches more than"),
        // Memory.
        ("count_values(\"v\", x)".to_owned(), "ok"),
        ("topk(1e15, x)".to_owned(), "ok"),
        ("limitk(9e18, x)".to_owned(), "ok"),
        (wrapped("label_join(", "x", ", \"n\", \"-\", \"n\", \"n\", \"n\")", 90), "longer than"),
        (wrapped("label_replace(", "x", ", \"n\", \"$0$0$0$0\", \"n\", \".+\")", 90), "longer than"),
        (
            format!("label_join(x, \"a\", \"{}\"{})", "b".repeat(30_000), ", \"n\"".repeat(5_000)),
            "longer than",
        ),
    ]
}

#[test]
fn no_expression_hangs_crashes_or_fills_the_memory() {
    let store = store();
    let mut slowest = (Duration::ZERO, String::new());
    let mut complaints = Vec::new();
    for (expression, expected) in texts().into_iter().chain(demands()) {
        let begun = Instant::now();
        let answer = asked(&store, &expression);
        let took = begun.elapsed();
        let short: String =
            expression.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect();
        println!("{:8.1} ms  {short}", took.as_secs_f64() * 1000.0);
        let told = match &answer {
            Ok(_) => "ok",
            Err(message) => message.as_str(),
        };
        let told: String = told.chars().take(500).collect();
        let as_expected = told.contains(expected) && told.len() < 400 && took < AT_MOST;
        complaints.extend(
            (!as_expected).then(|| format!("{short}: {told}, after {took:?}, expected {expected:?}")),
        );
        slowest = slowest.max((took, short));
    }
    println!("the slowest: {slowest:?}");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
