//! The functions of templates: Go's own and Prometheus', each with the arguments that it takes.

use super::escape::{html, js, title, url};
use super::hosts;
use super::humanize;
use super::machine::{Machine, TEXT_MAX, less_or_equal};
use super::value::Value;
use super::{clock, format};
use crate::engine::promql::VectorSample;
use crate::engine::series::unanchored;
use crate::engine::time::Span;

use std::sync::Arc;

/// A function that a template may call.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) at_least: usize,
    pub(super) at_most: usize,
    pub(super) run: Run,
}

/// How a function computes.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// `and`, `or`: evaluates its arguments itself, until one has this truth.
    UntilTruthIs(bool),
    /// Of its arguments alone.
    Pure(fn(&[Value]) -> Computed),
    /// Of the alert's data too.
    OfData(fn(&Machine<'_>, &[Value]) -> Computed),
}

type Computed = Result<Value, String>;

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    /// Calls the function; the number of arguments has been checked.
    pub(super) fn run(&self, machine: &Machine<'_>, values: &[Value]) -> Computed {
        match self.run {
            Run::Pure(compute) => compute(values),
            Run::OfData(compute) => compute(machine, values),
            Run::UntilTruthIs(_) => Err("it evaluates its arguments itself".to_owned()),
        }
    }
}

/// Returns the function of that name.
pub(super) fn named(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

const ANY: usize = usize::MAX;

const fn pure(
    name: &'static str,
    at_least: usize,
    at_most: usize,
    run: fn(&[Value]) -> Computed,
) -> Function {
    Function { name, at_least, at_most, run: Run::Pure(run) }
}

const fn of_data(name: &'static str, count: usize, run: fn(&Machine<'_>, &[Value]) -> Computed) -> Function {
    Function { name, at_least: count, at_most: count, run: Run::OfData(run) }
}

/// All of them: first Go's (`text/template/funcs.go`), then Prometheus' (`template/template.go`).
pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "and", at_least: 1, at_most: ANY, run: Run::UntilTruthIs(false) },
    Function { name: "or", at_least: 1, at_most: ANY, run: Run::UntilTruthIs(true) },
    pure("not", 1, 1, |v| Ok(Value::Bool(!v[0].is_true()))),
    pure("eq", 1, ANY, equal),
    pure("ne", 2, 2, |v| Ok(Value::Bool(!v[0].equals(&v[1])?))),
    pure("lt", 2, 2, |v| less(&v[0], &v[1]).map(Value::Bool)),
    pure("le", 2, 2, |v| less_or_equal(&v[0], &v[1]).map(Value::Bool)),
    pure("gt", 2, 2, |v| less_or_equal(&v[0], &v[1]).map(|held| Value::Bool(!held))),
    pure("ge", 2, 2, |v| less(&v[0], &v[1]).map(|held| Value::Bool(!held))),
    pure("len", 1, 1, |v| v[0].length().map(Value::Int)),
    pure("index", 1, ANY, |v| v[1..].iter().try_fold(v[0].clone(), |item, key| item.index(key))),
    pure("slice", 1, 3, slice),
    pure("print", 0, ANY, |v| format::print(v).map(Value::from)),
    pure("println", 0, ANY, |v| format::println(v).map(Value::from)),
    pure("printf", 1, ANY, |v| format::printf(text(&v[0])?, &v[1..]).map(Value::from)),
    pure("html", 0, ANY, |v| format::print(v).map(|text| html(&text).into())),
    pure("js", 0, ANY, |v| format::print(v).map(|text| js(&text).into())),
    pure("urlquery", 0, ANY, |v| format::print(v).map(|text| url(&text).into())),
    of_data("query", 1, |machine, v| machine.query(text(&v[0])?)),
    pure("first", 1, 1, first),
    pure("label", 2, 2, |v| Ok(sample(&v[1])?.labels.get(text(&v[0])?).unwrap_or("").into())),
    pure("value", 1, 1, |v| Ok(Value::Float(sample(&v[0])?.value))),
    pure("strvalue", 1, 1, |v| Ok(sample(&v[0])?.labels.get("__value__").unwrap_or("").into())),
    pure("sortByLabel", 2, 2, sort_by_label),
    pure("args", 0, ANY, args),
    pure("humanize", 1, 1, |v| v[0].to_float().map(|number| humanize::decimal(number).into())),
    pure("humanize1024", 1, 1, |v| v[0].to_float().map(|number| humanize::binary(number).into())),
    pure("humanizeDuration", 1, 1, |v| v[0].to_float().map(|number| humanize::duration(number).into())),
    pure("humanizePercentage", 1, 1, |v| v[0].to_float().map(|number| humanize::percentage(number).into())),
    pure("humanizeTimestamp", 1, 1, |v| humanize::timestamp(v[0].to_float()?).map(Value::from)),
    pure("toTime", 1, 1, |v| {
        clock::instant(v[0].to_float()?)?.map(Value::Time).ok_or_else(|| "value is NaN or Inf".to_owned())
    }),
    pure("toDuration", 1, 1, |v| v[0].to_float().map(|seconds| Value::Duration(clock::nanos(seconds)))),
    pure("parseDuration", 1, 1, |v| span(&v[0]).map(|span| Value::Float(span.as_secs_f64()))),
    pure("parseDurationTime", 1, 1, |v| {
        span(&v[0]).map(|span| Value::Duration(span.as_millis().saturating_mul(1_000_000)))
    }),
    of_data("now", 0, |machine, _| Ok(Value::Float(machine.data.wall.as_secs_f64()))),
    pure("title", 1, 1, |v| text(&v[0]).map(|text| title(text).into())),
    pure("toUpper", 1, 1, |v| text(&v[0]).map(|text| text.to_uppercase().into())),
    pure("toLower", 1, 1, |v| text(&v[0]).map(|text| text.to_lowercase().into())),
    pure("match", 2, 2, |v| {
        let pattern = unanchored(text(&v[0])?).map_err(|error| error.to_string())?;
        Ok(Value::Bool(pattern.is_match(text(&v[1])?)))
    }),
    pure("reReplaceAll", 3, 3, replace_all),
    pure("stripPort", 1, 1, |v| text(&v[0]).map(|host| hosts::strip_port(host).into())),
    pure("stripDomain", 1, 1, |v| text(&v[0]).map(|host| hosts::strip_domain(host).into())),
    pure("safeHtml", 1, 1, |v| text(&v[0]).map(Value::from)),
    pure("urlQueryEscape", 1, 1, |v| text(&v[0]).map(|text| url(text).into())),
    pure("tableLink", 1, 1, |v| {
        text(&v[0]).map(|expression| format!("/graph?g0.expr={}&g0.tab=1", url(expression)).into())
    }),
    pure("graphLink", 1, 1, |v| {
        text(&v[0]).map(|expression| format!("/graph?g0.expr={}&g0.tab=0", url(expression)).into())
    }),
    of_data("externalURL", 0, |machine, _| Ok(machine.data.external_url.into())),
    of_data("pathPrefix", 0, |machine, _| Ok(hosts::path_of(machine.data.external_url).into())),
    pure("call", 1, ANY, |_| Err("there is nothing here that could be called".to_owned())),
];

fn wrong_type(expected: &str, value: &Value) -> String {
    format!("wrong type for value; expected {expected}; got {}", value.type_name())
}

fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(wrong_type("string", other)),
    }
}

fn sample(value: &Value) -> Result<&VectorSample, String> {
    match value {
        Value::Sample(sample) => Ok(sample),
        other => Err(wrong_type("a sample", other)),
    }
}

fn vector(value: &Value) -> Result<&Arc<[Arc<VectorSample>]>, String> {
    match value {
        Value::Vector(elements) => Ok(elements),
        other => Err(wrong_type("a query's result", other)),
    }
}

fn span(value: &Value) -> Result<Span, String> {
    text(value)?.parse().map_err(|error: crate::engine::time::InvalidSpan| error.to_string())
}

/// `eq a b c`: whether the first equals any of the others.
fn equal(values: &[Value]) -> Computed {
    if values.len() < 2 {
        return Err("missing argument for comparison".to_owned());
    }
    for other in &values[1..] {
        if values[0].equals(other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn less(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(a.order(b)? == Some(std::cmp::Ordering::Less))
}

/// `slice x from to`, in bytes of a text or elements of a result.
fn slice(values: &[Value]) -> Computed {
    let length = match &values[0] {
        Value::Text(text) => text.len(),
        Value::Vector(elements) => elements.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let at = |index: usize, default: usize| match values.get(index) {
        None => Ok(default),
        Some(Value::Int(at)) => {
            let found = usize::try_from(*at).ok().filter(|at| *at <= length);
            found.ok_or_else(|| format!("index out of range: {at}"))
        }
        Some(other) => Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    let (from, to) = (at(1, 0)?, at(2, length)?);
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match &values[0] {
        Value::Vector(elements) => Ok(Value::Vector(elements[from..to].into())),
        Value::Text(text) => {
            text.get(from..to).map(Value::from).ok_or_else(|| "this would cut a character in two".to_owned())
        }
        other => Err(format!("can't slice item of type {}", other.type_name())),
    }
}

fn first(values: &[Value]) -> Computed {
    let found = vector(&values[0])?.first().cloned();
    found.map(Value::Sample).ok_or_else(|| "first() called on vector with no elements".to_owned())
}

fn sort_by_label(values: &[Value]) -> Computed {
    let name = text(&values[0])?;
    let mut elements = vector(&values[1])?.to_vec();
    elements.sort_by(|a, b| a.labels.get(name).unwrap_or("").cmp(b.labels.get(name).unwrap_or("")));
    Ok(Value::Vector(elements.into()))
}

/// `args a b`: a map of `arg0`, `arg1`, ..., for templates that take several values.
fn args(values: &[Value]) -> Computed {
    let named = values.iter().enumerate().map(|(at, value)| (Arc::from(format!("arg{at}")), value.clone()));
    Ok(Value::Map(Arc::new(named.collect())))
}

fn replace_all(values: &[Value]) -> Computed {
    let (pattern, replacement, text) = (text(&values[0])?, text(&values[1])?, text(&values[2])?);
    let pattern = unanchored(pattern).map_err(|error| error.to_string())?;
    let mut replaced = String::new();
    let mut copied = 0;
    for captures in pattern.captures_iter(text) {
        let Some(whole) = captures.get(0) else { continue };
        replaced.push_str(&text[copied..whole.start()]);
        captures.expand(replacement, &mut replaced);
        copied = whole.end();
        // Here and not at the end: a long replacement of every character would fill the memory first.
        if replaced.len() > TEXT_MAX {
            return Err(format!("a text longer than {TEXT_MAX} bytes"));
        }
    }
    replaced.push_str(&text[copied..]);
    Ok(replaced.into())
}
