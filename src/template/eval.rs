//! Rendering: nodes over a value.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::parse::{Base, Branch, Node, Operand, Pipeline};
use super::value::{is_struct, is_true, kind, printed};
use super::{TemplateError, functions, omitted};

/// How deep templates may call each other.
const DEEPEST: usize = 100;

/// What an operand is.
#[derive(Debug, Clone, PartialEq)]
enum Found {
    Value(Value),
    /// What a map does not have, nor what is below it.
    Nothing,
    /// A field that a struct does not have, which may be asked for but not printed.
    Missing(String),
}

/// Why a list of nodes ended.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Flow {
    On,
    Break,
    Continue,
}

type Outcome<T> = Result<T, TemplateError>;

fn wrong<T>(text: impl Into<String>) -> Outcome<T> {
    Err(TemplateError(text.into()))
}

/// What there is to render, beside the data.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) body: &'a [Node],
    pub(super) defined: &'a BTreeMap<String, Vec<Node>>,
    /// The data is an object of the engine, which leaves out what is empty.
    pub(super) is_object: bool,
}

pub(super) fn render(parts: Parts<'_>, data: &Value) -> Outcome<String> {
    let mut state = State {
        defined: parts.defined,
        is_object: parts.is_object,
        variables: vec![(String::new(), data.clone())],
        out: String::new(),
        depth: 0,
    };
    state.nodes(parts.body, data)?;
    Ok(state.out)
}

struct State<'a> {
    defined: &'a BTreeMap<String, Vec<Node>>,
    is_object: bool,
    /// The innermost last; `$` has an empty name.
    variables: Vec<(String, Value)>,
    out: String,
    depth: usize,
}

impl State<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Outcome<Flow> {
        let scope = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Outcome<Flow> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let text = match self.pipeline(pipeline, dot)? {
                    Found::Missing(why) => return wrong(why),
                    Found::Nothing => printed(&Value::Null),
                    Found::Value(Value::Null) => self.empty(pipeline),
                    Found::Value(value) => printed(&value),
                };
                if pipeline.variables.is_empty() {
                    self.out.push_str(&text);
                }
            }
            Node::If(branch) | Node::With(branch) => {
                let scope = self.variables.len();
                let value = self.tested(&branch.pipeline, dot)?;
                let inner = if matches!(node, Node::With(_)) {
                    &value
                } else {
                    dot
                };
                let flow = match is_true(&value) {
                    true => self.nodes(&branch.body, inner),
                    false => self.nodes(&branch.otherwise, dot),
                };
                self.variables.truncate(scope);
                return flow;
            }
            Node::Range(branch) => return self.range(branch, dot),
            Node::Template(name, data) => self.template(name, data.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    /// How nothing is printed: a field of an object as what it would be.
    fn empty(&self, pipeline: &Pipeline) -> String {
        let field = match pipeline.commands.as_slice() {
            [command] => command.last().and_then(|operand| operand.fields.last()),
            _ => None,
        };
        match field.filter(|_| self.is_object) {
            Some(field) => omitted::printed(field).to_owned(),
            None => printed(&Value::Null),
        }
    }

    fn template(&mut self, name: &str, data: Option<&Pipeline>, dot: &Value) -> Outcome<()> {
        let data = match data {
            Some(pipeline) => self.value_of(pipeline, dot)?,
            None => Value::Null,
        };
        let Some(body) = self.defined.get(name) else {
            return wrong(format!("template {name:?} not defined"));
        };
        if self.depth >= DEEPEST {
            return wrong(format!("template {name:?} calls itself without end"));
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), data.clone())]);
        let outcome = self.nodes(body, &data);
        self.variables = outer;
        self.depth -= 1;
        outcome.map(|_| ())
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Outcome<Flow> {
        let pipeline = Pipeline {
            variables: Vec::new(),
            ..branch.pipeline.clone()
        };
        let over = self.tested(&pipeline, dot)?;
        let items: Vec<(Value, Value)> = match over {
            Value::Null => Vec::new(),
            Value::Array(list) => list
                .into_iter()
                .enumerate()
                .map(|(i, v)| (i.into(), v))
                .collect(),
            Value::Object(map) => {
                let mut entries: Vec<(String, Value)> = map.into_iter().collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                entries.into_iter().map(|(k, v)| (k.into(), v)).collect()
            }
            Value::Number(count) => {
                let count = count.as_u64().unwrap_or(0).min(1 << 20);
                (0..count).map(|i| (i.into(), i.into())).collect()
            }
            other => return wrong(format!("range can't iterate over {}", printed(&other))),
        };
        if items.is_empty() {
            return self.nodes(&branch.otherwise, dot);
        }
        let names = &branch.pipeline.variables;
        for (key, value) in items {
            let scope = self.variables.len();
            match names.as_slice() {
                [] => {}
                [name] => self.variables.push((name.clone(), value.clone())),
                [first, second, ..] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), value.clone()));
                }
            }
            let flow = self.nodes(&branch.body, &value)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// The value to print or hand on: a missing field is an error.
    fn value_of(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Value> {
        match self.pipeline(pipeline, dot)? {
            Found::Value(value) => Ok(value),
            Found::Nothing => Ok(Value::Null),
            Found::Missing(why) => wrong(why),
        }
    }

    /// The value to decide by: a missing field is none.
    fn tested(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Value> {
        Ok(match self.pipeline(pipeline, dot)? {
            Found::Value(value) => value,
            Found::Nothing | Found::Missing(_) => Value::Null,
        })
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Found> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Found::Value(Value::Null));
        if let (Some(name), Found::Value(value)) = (pipeline.variables.first(), &value) {
            self.set(name, value.clone(), pipeline.declares)?;
        }
        Ok(value)
    }

    fn set(&mut self, name: &str, value: Value, declares: bool) -> Outcome<()> {
        if declares {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        let known = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name);
        match known {
            Some((_, known)) => *known = value,
            None => return wrong(format!("undefined variable \"${name}\"")),
        }
        Ok(())
    }

    fn command(&mut self, words: &[Operand], dot: &Value, piped: Option<Found>) -> Outcome<Found> {
        let Some((first, rest)) = words.split_first() else {
            return wrong("missing value for command");
        };
        if first.base == Base::Literal(Value::Null) {
            return wrong("nil is not a command");
        }
        if let Base::Function(name) = &first.base {
            return self.call(name, rest, dot, piped);
        }
        // `.Label "key"`: the one method of rows that takes an argument.
        if first.fields.last().is_some_and(|name| name == "Label") && !rest.is_empty() {
            let key = match self.operand(&rest[0], dot)? {
                Found::Value(value) => printed(&value),
                Found::Nothing => String::new(),
                Found::Missing(why) => return wrong(why),
            };
            return Ok(Found::Value(label(dot, &key).into()));
        }
        if !rest.is_empty() || piped.is_some() {
            return wrong("can't give argument to non-function");
        }
        self.operand(first, dot)
    }

    fn call(
        &mut self,
        name: &str,
        words: &[Operand],
        dot: &Value,
        piped: Option<Found>,
    ) -> Outcome<Found> {
        let mut arguments = Vec::with_capacity(words.len() + 1);
        // `and` and `or` look no further than they must.
        let decides = |value: &Value| (name == "and") != is_true(value);
        for word in words {
            let found = self.operand(word, dot)?;
            let value = given(name, found)?;
            if matches!(name, "and" | "or") && decides(&value) {
                return Ok(Found::Value(value));
            }
            arguments.push(value);
        }
        if let Some(found) = piped {
            arguments.push(given(name, found)?);
        }
        match functions::call(name, &arguments) {
            Ok(value) => Ok(Found::Value(value)),
            Err(why) => wrong(why),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Outcome<Found> {
        let base = match &operand.base {
            Base::Dot => Found::Value(dot.clone()),
            Base::Literal(value) => Found::Value(value.clone()),
            Base::Function(name) => self.call(name, &[], dot, None)?,
            Base::Group(pipeline) => self.pipeline(pipeline, dot)?,
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                match known {
                    Some((_, value)) => Found::Value(value.clone()),
                    None => return wrong(format!("undefined variable \"${name}\"")),
                }
            }
        };
        operand
            .fields
            .iter()
            .try_fold(base, |found, name| match found {
                Found::Value(value) => field(value, name, self.is_object),
                other => Ok(other),
            })
    }
}

/// An argument; tests may be given a field that is missing, other functions not.
fn given(function: &str, found: Found) -> Outcome<Value> {
    match found {
        Found::Value(value) => Ok(value),
        Found::Nothing => Ok(Value::Null),
        Found::Missing(_) if matches!(function, "and" | "or" | "not") => Ok(Value::Null),
        Found::Missing(why) => wrong(why),
    }
}

fn field(value: Value, name: &str, is_object: bool) -> Outcome<Found> {
    match value {
        Value::Object(mut map) => match key_of(&map, name) {
            Some(key) => Ok(Found::Value(map.swap_remove(&key).unwrap_or_default())),
            None if is_struct(&map) => match omitted::value_of(name).filter(|_| is_object) {
                Some(value) => Ok(Found::Value(value)),
                None => Ok(Found::Missing(no_field(&map, name))),
            },
            None => Ok(Found::Nothing),
        },
        Value::Null => Ok(Found::Missing(format!(
            "executing \"\" at <.{name}>: nil pointer evaluating .{name}"
        ))),
        other => wrong(format!(
            "executing \"\" at <.{name}>: can't evaluate field {name} in type {}",
            kind(&other)
        )),
    }
}

fn no_field(map: &Map<String, Value>, name: &str) -> String {
    let known: Vec<&str> = map.keys().map(String::as_str).collect();
    format!(
        "executing \"\" at <.{name}>: can't evaluate field {name}: there are {}",
        known.join(", ")
    )
}

/// The key as it is written, or in other letters: the wire says `Id` where Go's field is `ID`.
fn key_of(map: &Map<String, Value>, name: &str) -> Option<String> {
    if map.contains_key(name) {
        return Some(name.to_owned());
    }
    let is_exported = name.starts_with(|c: char| c.is_ascii_uppercase());
    map.keys()
        .find(|key| is_exported && key.eq_ignore_ascii_case(name))
        .cloned()
}

/// A label of a row, whose labels are one text.
fn label(row: &Value, key: &str) -> String {
    let labels = row
        .get("Labels")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let found = labels.split(',').filter_map(|label| label.split_once('='));
    found
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value.to_owned())
        .next()
        .unwrap_or_default()
}
