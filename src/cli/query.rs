//! `rearguard query`: PromQL against the running daemon, or against a file of samples.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CommandError, DaemonArguments, Exit, Output, client, print};
use crate::config::{self, Style};
use crate::daemon::control::{Answer, Request};
use crate::daemon::queries::answer::{Answered, Data, Dot, Envelope, Number, WallTime};
use crate::daemon::queries::{Question, When};
use crate::engine::model::Labels;
use crate::engine::promql::{self, EvalContext, Plan, Problem, QueryRange, Scope, TextSpan};
use crate::engine::rules::{Diagnostic, SourceFile};
use crate::engine::series::{Selector, Store};
use crate::engine::time::{Span, Timestamp};
use crate::sources::exposition::recording;
use crate::web::parameters::{parse_duration, parse_time};

/// How much longer than a query may take its answer may be on its way.
const TRANSPORT: Duration = Duration::from_secs(5);

/// What `query` takes.
#[derive(Debug, clap::Args)]
pub(super) struct QueryArguments {
    #[command(flatten)]
    daemon: DaemonArguments,
    /// Read samples from a file instead: exposition text or OpenMetrics, with timestamps
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// When: RFC 3339 or Unix seconds; by default now, or the time of the file's newest sample
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true,
          conflicts_with_all = ["start", "end", "step"])]
    time: Option<Timestamp>,
    /// The first step of a range
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true, requires_all = ["end", "step"])]
    start: Option<Timestamp>,
    /// The end of a range
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true, requires_all = ["start", "step"])]
    end: Option<Timestamp>,
    /// The time between two steps of a range, such as 15s
    #[arg(long, value_name = "DURATION", value_parser = step, requires_all = ["start", "end"])]
    step: Option<Span>,
    /// How to print; `json` is what Prometheus' API answers
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// The expression
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    expression: String,
}

fn time(text: &str) -> Result<Timestamp, String> {
    parse_time(text)
        .ok_or_else(|| "expected RFC 3339 or Unix seconds, such as 2026-11-21T14:30:00Z".to_owned())
}

fn step(text: &str) -> Result<Span, String> {
    let parsed = parse_duration(text).filter(|step| !step.is_zero_or_negative());
    parsed.ok_or_else(|| "expected a duration longer than zero, such as 15s".to_owned())
}

pub(super) fn run(arguments: &QueryArguments) -> Result<Exit, CommandError> {
    let plan = compiled(&arguments.expression)?;
    let range = match (arguments.start, arguments.end, arguments.step) {
        (Some(start), Some(end), Some(step)) => Some(QueryRange { start, end, step }),
        _ => None,
    };
    if let Some(range) = range {
        plan.check_range(&range).map_err(|refused| {
            let problem = Problem::new(refused.span, refused.message);
            CommandError::usage(pointed_at(&arguments.expression, &[problem]))
        })?;
    }
    let answered = match &arguments.data {
        Some(file) => of_file(file, &plan, arguments, range)?,
        None => of_daemon(arguments, range)?,
    };
    let colored = if is_colored() { "\u{1b}[33mwarning\u{1b}[0m" } else { "warning" };
    for warning in &answered.warnings {
        eprintln!("{colored}: {warning}");
    }
    for info in &answered.infos {
        eprintln!("note: {info}");
    }
    if answered.data.is_empty() {
        eprintln!("note: the result is empty: no data");
    }
    match arguments.output {
        Output::Table => print(&table(&answered.data))?,
        Output::Json => {
            let envelope = Envelope::new(&answered.data, &answered.warnings, &answered.infos);
            let text =
                serde_json::to_string(&envelope).map_err(|error| CommandError::failed(error.to_string()))?;
            print(&format!("{text}\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// Parses and compiles; every problem is shown under the expression itself.
fn compiled(expression: &str) -> Result<Plan, CommandError> {
    let compiled = promql::parse(expression).and_then(|expr| promql::compile(&expr, &Scope::EVERYTHING));
    compiled.map_err(|problems| CommandError::usage(pointed_at(expression, &problems)))
}

fn pointed_at(expression: &str, problems: &[Problem]) -> String {
    let file = SourceFile::new("expression", expression);
    let diagnostic = |problem: &Problem| {
        let TextSpan { start, end } = problem.span;
        Diagnostic::error("expression", file.place(start..end), problem.message.as_str())
            .maybe_hint(problem.hint.clone())
    };
    let diagnostics: Vec<_> = problems.iter().map(diagnostic).collect();
    let style = if is_colored() { Style::Colored } else { Style::Plain };
    config::render(&diagnostics, &[file], style).trim_end().to_owned()
}

fn is_colored() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Asks the daemon over its control socket; it answers whether or not it listens anywhere else.
fn of_daemon(arguments: &QueryArguments, range: Option<QueryRange>) -> Result<Answered, CommandError> {
    let config = client::locate(&arguments.daemon.config)?;
    let when = match (range, arguments.time) {
        (Some(QueryRange { start, end, step }), _) => When::Range {
            start_wall_ms: start.as_millis(),
            end_wall_ms: end.as_millis(),
            step_ms: step.as_millis(),
        },
        (None, Some(at)) => When::At { wall_ms: at.as_millis() },
        (None, None) => When::Now {},
    };
    let question = Question { expression: arguments.expression.clone(), when };
    let patience = config.query.timeout.to_std() + TRANSPORT;
    match client::ask_within(&config.control, &Request::Query(question), patience)? {
        Answer::Answered(answered) => Ok(*answered),
        _ => Err(CommandError::failed("the daemon answered something else than a value")),
    }
}

/// Evaluates over what a file says.
fn of_file(
    file: &Path,
    plan: &Plan,
    arguments: &QueryArguments,
    range: Option<QueryRange>,
) -> Result<Answered, CommandError> {
    let shown = file.display();
    let unreadable = |error: std::io::Error| CommandError::usage(format!("cannot read {shown}: {error}"));
    let written = std::fs::metadata(file).and_then(|metadata| metadata.modified()).map_err(unreadable)?;
    let body = std::fs::read(file).map_err(unreadable)?;
    // Samples without a timestamp are as old as the file.
    let age = written.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let undated = Timestamp::from_millis(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let selectors: Vec<Selector> = plan.selectors().cloned().collect();
    let recording = recording::read(&body, &selectors, undated)
        .map_err(|error| CommandError::usage(format!("{shown}: {error}")))?;
    let store = Store::of_copies(recording.series, &selectors);
    let context = EvalContext::at(arguments.time.or(recording.newest).unwrap_or(undated));
    let data = match range {
        None => plan.evaluate(&store, &context).map(|evaluated| Data::of(evaluated.value, &context)),
        Some(range) => {
            plan.evaluate_range(&store, &range, &context).map(|series| Data::of_range(series, Span::ZERO))
        }
    };
    let data = data.map_err(|error| {
        let problem = Problem::new(error.span, error.message);
        CommandError::failed(pointed_at(&arguments.expression, &[problem]))
    })?;
    Ok(Answered { data, warnings: Vec::new(), infos: Vec::new() })
}

/// Returns a value as people read it: a row per series, or per series and step.
fn table(data: &Data) -> String {
    match data {
        Data::Scalar(Dot(_, value)) => format!("{value}\n"),
        Data::String((_, text)) => format!("{}\n", plain(text)),
        Data::Vector(elements) => {
            let rows = elements.iter().map(|element| (name(&element.metric), None, element.value.1));
            rows_to_text(rows.collect())
        }
        Data::Matrix(series) => {
            let of_series = |series: &crate::daemon::queries::answer::Series| {
                let name = name(&series.metric);
                let rows = series.values.iter().map(|Dot(at, value)| (name.clone(), Some(*at), *value));
                rows.collect::<Vec<_>>()
            };
            rows_to_text(series.iter().flat_map(of_series).collect())
        }
    }
}

fn rows_to_text(rows: Vec<(String, Option<WallTime>, Number)>) -> String {
    let width = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, at, value) in rows {
        let at = at.map_or_else(String::new, |at| format!("{}  ", instant(at)));
        // Writing to a text never fails.
        writeln!(text, "{name:<width$}  {at}{value}").unwrap_or_default();
    }
    text
}

fn instant(WallTime(ms): WallTime) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms}ms"), |at| format!("{at:.3}"))
}

fn name(labels: &Labels) -> String {
    plain(&labels.to_string())
}

/// Makes foreign text fit for a terminal: control characters are escaped (E11).
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { out.extend(character.escape_debug()) } else { out.push(character) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::queries::answer::{Element, Series};

    #[test]
    fn tables_have_a_row_per_series_or_per_series_and_step() {
        let labels = |a: &str| Labels::from_pairs([("__name__", "x"), ("a", a)]);
        let dot = |ms, value| Dot(WallTime(ms), Number(value));
        let vector = Data::Vector(vec![
            Element { metric: labels("1"), value: dot(5, 1.5) },
            Element { metric: labels("long\u{1b}[31m"), value: dot(5, f64::NAN) },
        ]);
        assert_eq!(table(&vector), "x{a=\"1\"}               1.5\nx{a=\"long\\u{1b}[31m\"}  NaN\n");
        let matrix =
            Data::Matrix(vec![Series { metric: Labels::empty(), values: vec![dot(0, 1.0), dot(1500, 2.0)] }]);
        assert_eq!(table(&matrix), "{}  1970-01-01T00:00:00.000Z  1\n{}  1970-01-01T00:00:01.500Z  2\n");
        assert_eq!(table(&Data::Scalar(dot(0, f64::INFINITY))), "+Inf\n");
    }

    #[test]
    fn a_bad_expression_is_pointed_at() {
        let error = compiled("sum(raet(x[5m]))").expect_err("no such function");
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.message.contains("sum(raet(x[5m]))\n"), "{}", error.message);
        assert!(error.message.contains("^^^^"), "{}", error.message);
    }
}
