//! Renders a tree: the state of one rendering, and what each part does.
//!
//! Work and output are bounded, so that no template holds up an evaluation or fills a page.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::functions::{Function, Run};
use super::parser::{PREDECLARED, Tree};
use super::tree::{Base, Body, Command, Node, Operand, Pipeline};
use super::value::Value;
use super::{RenderError, TemplateData, format, methods};
use crate::engine::model::Labels;
use crate::engine::promql::TextSpan;

/// The longest text that is shown, and that any value may have; more than any receiver takes.
pub(super) const TEXT_MAX: usize = 64 * 1024;
/// How many nodes, operands and turns of ranges one rendering may take.
const WORK_MAX: u32 = 200_000;
/// How deep blocks, parentheses and templates may be within each other: `{{ template }}` may call the one that it
/// stands in, and each level takes its part of the thread's stack.
const DEPTH_MAX: usize = 120;
/// How many queries one rendering may ask: each is as expensive as a rule.
const QUERIES_MAX: u32 = 100;

/// Why rendering stopped; turned into a [`RenderError`] with the place.
type Outcome<T> = Result<T, RenderError>;

/// What a `break` or `continue` asks of the range around it.
enum Jump {
    Break,
    Continue,
}

/// One rendering.
pub(super) struct Machine<'r> {
    pub(super) data: &'r TemplateData<'r>,
    tree: &'r Tree,
    variables: Vec<(Arc<str>, Value)>,
    text: String,
    work: u32,
    depth: usize,
    queries: Cell<u32>,
}

/// Renders a tree.
pub(super) fn render(tree: &Tree, data: &TemplateData<'_>) -> Outcome<String> {
    let values = [
        Value::Data,
        Value::Labels(data.labels.clone()),
        Value::Labels(data.external_labels.clone()),
        data.external_url.into(),
        Value::Float(data.value),
    ];
    let mut machine = Machine {
        data,
        tree,
        variables: PREDECLARED.map(Arc::from).into_iter().zip(values).collect(),
        text: String::new(),
        work: 0,
        depth: 0,
        queries: Cell::new(0),
    };
    // A jump ends at its range: the parser lets none out.
    let _jump: ControlFlow<Jump> = machine.body(&tree.main, &Value::Data)?;
    Ok(machine.text)
}

pub(super) fn failed<T>(span: TextSpan, message: impl std::fmt::Display) -> Outcome<T> {
    Err(RenderError(format!("character {}: {message}", span.start + 1)))
}

impl Machine<'_> {
    fn spend(&mut self, span: TextSpan) -> Outcome<()> {
        self.work += 1;
        if self.work > WORK_MAX { failed(span, "the template takes too long") } else { Ok(()) }
    }

    fn write(&mut self, span: TextSpan, text: &str) -> Outcome<()> {
        if self.text.len() + text.len() > TEXT_MAX {
            return failed(span, format_args!("the text is longer than {TEXT_MAX} bytes"));
        }
        self.text.push_str(text);
        Ok(())
    }

    /// Answers `query`.
    pub(super) fn query(&self, expression: &str) -> Result<Value, String> {
        self.queries.set(self.queries.get() + 1);
        if self.queries.get() > QUERIES_MAX {
            return Err(format!("more than {QUERIES_MAX} queries in one template"));
        }
        let elements = (self.data.query)(expression)?;
        Ok(Value::Vector(elements.into_iter().map(Arc::new).collect()))
    }

    /// Goes one level deeper; an error ends the whole rendering, so the way back is counted on success only.
    fn deeper<T>(&mut self, span: TextSpan, render: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.depth >= DEPTH_MAX {
            return failed(span, format_args!("blocks and templates are more than {DEPTH_MAX} levels deep"));
        }
        self.depth += 1;
        let rendered = render(self)?;
        self.depth -= 1;
        Ok(rendered)
    }

    fn body(&mut self, body: &Body, dot: &Value) -> Outcome<ControlFlow<Jump>> {
        self.deeper(TextSpan::default(), |machine| {
            for node in body {
                if let ControlFlow::Break(jump) = machine.node(node, dot)? {
                    return Ok(ControlFlow::Break(jump));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Outcome<ControlFlow<Jump>> {
        match node {
            Node::Text(text) => self.write(TextSpan::default(), text)?,
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    let text = format::shown(&value).or_else(|message| failed(pipeline.span, message))?;
                    self.write(pipeline.span, &text)?;
                }
            }
            Node::If { pipeline, then, other } | Node::With { pipeline, then, other } => {
                let scope = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                let jump = match (value.is_true(), node) {
                    (true, Node::With { .. }) => self.body(then, &value)?,
                    (true, _) => self.body(then, dot)?,
                    (false, _) => self.body(other, dot)?,
                };
                self.variables.truncate(scope);
                return Ok(jump);
            }
            Node::Range { pipeline, body, other } => return self.range(pipeline, body, other, dot),
            Node::Break => return Ok(ControlFlow::Break(Jump::Break)),
            Node::Continue => return Ok(ControlFlow::Break(Jump::Continue)),
            Node::Template { name, data, span } => self.template(name, data.as_ref(), *span, dot)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    fn template(&mut self, name: &str, data: Option<&Pipeline>, span: TextSpan, dot: &Value) -> Outcome<()> {
        self.spend(span)?;
        let Some(body) = self.tree.defined.get(name) else {
            return failed(span, format_args!("template {name:?} not defined"));
        };
        let dot = match data {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Nil,
        };
        let outside = std::mem::replace(&mut self.variables, vec![(PREDECLARED[0].into(), dot.clone())]);
        // A jump ends at its range: the parser lets none out of a definition.
        let _jump: ControlFlow<Jump> = self.body(body, &dot)?;
        self.variables = outside;
        Ok(())
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        body: &Body,
        other: &Body,
        dot: &Value,
    ) -> Outcome<ControlFlow<Jump>> {
        let scope = self.variables.len();
        let value = self.command_chain(pipeline, dot)?;
        let mut turns: Box<dyn Iterator<Item = (Value, Value)>> = match value {
            Value::Nil => Box::new(std::iter::empty()),
            Value::Int(count) => Box::new((0..count).map(|at| (Value::Int(at), Value::Int(at)))),
            Value::Vector(elements) => Box::new((0..elements.len()).filter_map(move |at| {
                let element = elements.get(at).cloned().map(Value::Sample)?;
                Some((Value::Int(i64::try_from(at).ok()?), element))
            })),
            Value::Labels(labels) => Box::new(entries(&labels).into_iter()),
            Value::Map(map) => {
                let entries: Vec<_> =
                    map.iter().map(|(name, value)| (Value::Text(name.clone()), value.clone())).collect();
                Box::new(entries.into_iter())
            }
            other => {
                return failed(
                    pipeline.span,
                    format_args!("range can't iterate over a {}", other.type_name()),
                );
            }
        };
        let mut any = false;
        let mut jump = ControlFlow::Continue(());
        for (key, element) in &mut turns {
            any = true;
            self.spend(pipeline.span)?;
            match pipeline.variables.as_slice() {
                [] => {}
                [only] => self.set(only, element.clone(), pipeline.assigns),
                [first, second, ..] => {
                    self.set(first, key, pipeline.assigns);
                    self.set(second, element.clone(), pipeline.assigns);
                }
            }
            let after = self.body(body, &element)?;
            self.variables.truncate(scope);
            if let ControlFlow::Break(Jump::Break) = after {
                break;
            }
        }
        if !any {
            jump = self.body(other, dot)?;
            self.variables.truncate(scope);
        }
        Ok(jump)
    }

    fn set(&mut self, name: &Arc<str>, value: Value, assigns: bool) {
        let existing = self.variables.iter_mut().rev().find(|(known, _)| assigns && known == name);
        match existing {
            Some((_, variable)) => *variable = value,
            None => self.variables.push((name.clone(), value)),
        }
    }

    /// Evaluates a pipeline, and sets its variable.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Value> {
        let value = self.command_chain(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn command_chain(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Value> {
        let mut handed = None;
        for command in &pipeline.commands {
            handed = Some(self.command(command, dot, handed)?);
        }
        Ok(handed.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &Command, dot: &Value, handed: Option<Value>) -> Outcome<Value> {
        let first = &command.first;
        self.spend(first.span)?;
        let has_arguments = !command.arguments.is_empty() || handed.is_some();
        match (&first.base, first.fields.as_slice()) {
            (Base::Function(function), []) => {
                self.call(function, first.span, &command.arguments, dot, handed)
            }
            (Base::Nil, _) => failed(first.span, "nil is not a command"),
            (_, [owner @ .., last]) if has_arguments => {
                let owner = self.fields(first, owner, dot)?;
                let mut arguments = Vec::new();
                for argument in &command.arguments {
                    arguments.push(self.operand(argument, dot)?);
                }
                arguments.extend(handed);
                methods::call(&owner, last, &arguments).or_else(|message| failed(first.span, message))
            }
            _ if has_arguments => failed(first.span, "can't give an argument to what is not a function"),
            _ => self.operand(first, dot),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Outcome<Value> {
        self.fields(operand, &operand.fields, dot)
    }

    /// Evaluates an operand as far as `fields`.
    fn fields(&mut self, operand: &Operand, fields: &[Arc<str>], dot: &Value) -> Outcome<Value> {
        self.spend(operand.span)?;
        let mut value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                match found {
                    Some((_, value)) => value.clone(),
                    None => return failed(operand.span, format_args!("undefined variable: {name}")),
                }
            }
            Base::Function(function) => self.call(function, operand.span, &[], dot, None)?,
            Base::Text(text) => Value::Text(text.clone()),
            Base::Int(value) => Value::Int(*value),
            Base::Float(value) => Value::Float(*value),
            Base::Bool(value) => Value::Bool(*value),
            Base::Nil => Value::Nil,
            Base::Group(pipeline) => self.deeper(pipeline.span, |machine| machine.pipeline(pipeline, dot))?,
        };
        for name in fields {
            value = self.field(&value, name).or_else(|message| failed(operand.span, message))?;
        }
        Ok(value)
    }

    /// Returns a field, an entry of a map, or what a method without arguments gives.
    fn field(&self, value: &Value, name: &str) -> Result<Value, String> {
        match value {
            Value::Data => match name {
                "Labels" => Ok(Value::Labels(self.data.labels.clone())),
                "ExternalLabels" => Ok(Value::Labels(self.data.external_labels.clone())),
                "ExternalURL" => Ok(self.data.external_url.into()),
                "Value" => Ok(Value::Float(self.data.value)),
                _ => Err(format!(
                    "can't evaluate field {name}: there are Labels, ExternalLabels, ExternalURL and Value"
                )),
            },
            // A label that is not there is an empty one, as everywhere in Prometheus.
            Value::Labels(labels) => Ok(labels.get(name).unwrap_or("").into()),
            Value::Map(map) => Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
            Value::Sample(sample) => match name {
                "Labels" => Ok(Value::Labels(sample.labels.clone())),
                "Value" => Ok(Value::Float(sample.value)),
                _ => Err(format!("can't evaluate field {name}: a sample has Labels and Value")),
            },
            Value::Nil => Ok(Value::Nil),
            other => methods::call(other, name, &[]),
        }
    }

    fn call(
        &mut self,
        function: &'static Function,
        span: TextSpan,
        arguments: &[Operand],
        dot: &Value,
        handed: Option<Value>,
    ) -> Outcome<Value> {
        self.spend(span)?;
        let count = arguments.len() + usize::from(handed.is_some());
        if count < function.at_least || count > function.at_most {
            let name = function.name;
            let want = match (function.at_least, function.at_most) {
                (least, most) if least == most => least.to_string(),
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) => format!("{least} to {most}"),
            };
            return failed(span, format_args!("wrong number of args for {name}: want {want} got {count}"));
        }
        if let Run::UntilTruthIs(wanted) = function.run {
            return self.short_circuit(wanted, arguments, dot, handed);
        }
        let mut values = Vec::with_capacity(count);
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(handed);
        let value = function.run(self, &values);
        match value.map_err(|message| format!("error calling {}: {message}", function.name)) {
            Ok(Value::Text(text)) if text.len() > TEXT_MAX => {
                failed(span, format_args!("a text longer than {TEXT_MAX} bytes"))
            }
            Ok(value) => Ok(value),
            Err(message) => failed(span, message),
        }
    }

    /// `and`, `or`: the first argument whose truth decides, else the last one; those after it are not evaluated.
    fn short_circuit(
        &mut self,
        wanted: bool,
        arguments: &[Operand],
        dot: &Value,
        handed: Option<Value>,
    ) -> Outcome<Value> {
        let mut value = Value::Nil;
        for argument in arguments {
            value = self.operand(argument, dot)?;
            if value.is_true() == wanted {
                return Ok(value);
            }
        }
        Ok(handed.unwrap_or(value))
    }
}

fn entries(labels: &Labels) -> Vec<(Value, Value)> {
    labels.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Returns whether `a <= b` as Go's templates compute it; so `gt` is true of a NaN.
pub(super) fn less_or_equal(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(matches!(a.order(b)?, Some(Ordering::Less | Ordering::Equal)))
}
