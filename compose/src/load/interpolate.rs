//! Puts variables into values (never into keys), and casts the results where an attribute has a type of its own.

use std::rc::Rc;

use indexmap::IndexMap;

use super::diagnostic::{Diagnostic, quoted, value_in_words};
use super::node::{MergeTag, Node, Origin, Value};
use super::report::{Path, Report};
use super::schema::{Cast, Type};
use super::template::{TemplateError, Used, substitute};
use crate::model::ComposeDuration;

/// Variables by name.
pub(crate) type Environment = IndexMap<String, String>;

/// Substitutes and casts all values of a tree. What fails becomes invalid and is told.
pub(crate) fn interpolate(
    node: &mut Node,
    ty: Option<&'static Type>,
    environment: &Environment,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    if node.tag == Some(MergeTag::Reset) {
        // Whatever is written there, it only says that something goes.
        return;
    }
    match &mut node.value {
        Value::Map(map) => {
            for (name, entry) in map.iter_mut() {
                let entry_type = ty.and_then(|ty| ty.entry(name));
                interpolate(entry, entry_type, environment, &path.key(name), report);
            }
        }
        Value::List(items) => {
            let item_type = ty.and_then(|ty| ty.items);
            for (index, item) in items.iter_mut().enumerate() {
                interpolate(item, item_type, environment, &path.item(index), report);
            }
        }
        Value::String(text) => {
            if !text.contains('$') && ty.is_none_or(|ty| ty.cast == Cast::None) {
                return;
            }
            let text = std::mem::take(text);
            if let Some(value) = one_value(&text, environment, node, path, report) {
                node.value = cast(value, ty, node, path, report);
            } else {
                node.value = Value::Invalid;
            }
        }
        _ => {}
    }
}

fn one_value(
    text: &str,
    environment: &Environment,
    node: &mut Node,
    path: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<String> {
    if !text.contains('$') {
        return Some(text.to_owned());
    }
    let mut used = Used::default();
    let result = substitute(text, &|name| environment.get(name).cloned(), &mut used);
    let part = report.sources().parts(node.span, text);
    for (name, start, end) in used.missing {
        let span = part(start, end);
        let warning = missing_variable(&name)
            .at(report.locate(span), "not set")
            .help(format!(
                "set it, or write `${{{name}:-}}` when it may be empty"
            ));
        report.push(warning);
    }
    if !used.names.is_empty() {
        node.origin = Some(Rc::new(Origin::Variables(used.names)));
    }
    match result {
        Ok(value) if report.spend(value.len()) => Some(value),
        Ok(_) => {
            report.push(too_long(path).at(report.locate(node.span), "the limit is reached here"));
            None
        }
        Err(error) => {
            let problem = template_problem(&error, text, node, path, report);
            report.push(problem);
            None
        }
    }
}

/// The warning for a variable without value.
pub(crate) fn missing_variable(name: &str) -> Diagnostic {
    Diagnostic::warning(
        "missing-variable",
        format!("The \"{name}\" variable is not set. Defaulting to a blank string."),
    )
}

fn template_problem(
    error: &TemplateError,
    text: &str,
    node: &Node,
    path: &Path<'_>,
    report: &Report<'_>,
) -> Diagnostic {
    let part = |start: usize, end: usize| {
        report.locate(report.sources().part(node.span, text, start, end))
    };
    match error {
        TemplateError::Malformed { start, end } => {
            let written = quoted(text.get(*start..*end).unwrap_or(text));
            Diagnostic::error(
                "invalid-variable",
                format!("`{path}` holds `{written}`, which is not a variable"),
            )
            .at(
                part(*start, *end),
                "expected `${NAME}`, `${NAME:-default}`, `${NAME:?message}` or `${NAME:+other}`",
            )
            .help("write `$$` for a dollar sign")
        }
        TemplateError::Required {
            name,
            message,
            start,
            end,
        } => {
            let message = if message.is_empty() {
                String::new()
            } else {
                format!(": {message}")
            };
            Diagnostic::error(
                "required-variable",
                format!("required variable {name} is missing a value{message}"),
            )
            .at(part(*start, *end), format!("needed for `{path}`"))
            .help(format!("set {name} in the environment or in an env file"))
        }
        TemplateError::TooDeep => Diagnostic::error(
            "invalid-variable",
            format!("`{path}` nests variables too deeply"),
        )
        .at(report.locate(node.span), ""),
        TemplateError::TooLong => too_long(path).at(report.locate(node.span), ""),
    }
}

fn too_long(path: &Path<'_>) -> Diagnostic {
    Diagnostic::error(
        "too-large",
        format!("the variables of `{path}` hold too much text"),
    )
    .help("put long texts into files of their own")
}

fn cast(
    text: String,
    ty: Option<&'static Type>,
    node: &Node,
    path: &Path<'_>,
    report: &mut Report<'_>,
) -> Value {
    let (result, expected) = match ty.map_or(Cast::None, |ty| ty.cast) {
        Cast::None => return Value::String(text),
        Cast::Int => (text.parse().ok().map(Value::Int), "an integer"),
        Cast::Float => {
            let number = text.parse().ok().filter(|number: &f64| number.is_finite());
            (number.map(Value::Float), "a number")
        }
        Cast::Microseconds => (
            microseconds(&text).map(Value::Int),
            "microseconds, or a duration like `400ms`",
        ),
        Cast::Bool => (
            boolean(&text, node, report).map(Value::Bool),
            "`true` or `false`",
        ),
    };
    result.unwrap_or_else(|| {
        let problem = Diagnostic::error(
            "wrong-type",
            format!(
                "`{path}` must be {expected}, but this is {}",
                value_in_words(&text)
            ),
        )
        .at(report.locate(node.span), format!("expected {expected}"));
        let problem = match (&text.is_empty(), node.origin.as_deref()) {
            (true, Some(Origin::Variables(names))) => problem.help(format!(
                "set it, or write a default, as in `${{{}:-{}}}`",
                names.first().map_or("NAME", String::as_str),
                if expected.contains("true") {
                    "false"
                } else {
                    "1"
                }
            )),
            _ => problem,
        };
        report.push_about(node, problem);
        Value::Invalid
    })
}

fn microseconds(text: &str) -> Option<i64> {
    let written = text.parse::<ComposeDuration>();
    text.parse()
        .ok()
        .or_else(|| Some(written.ok()?.as_nanoseconds() / 1_000))
}

fn boolean(text: &str, node: &Node, report: &mut Report<'_>) -> Option<bool> {
    let value = match text.to_ascii_lowercase().as_str() {
        "true" => return Some(true),
        "false" => return Some(false),
        "y" | "yes" | "on" => true,
        "n" | "no" | "off" => false,
        _ => return None,
    };
    let warning = Diagnostic::warning(
        "boolean-word",
        format!("`{text}` is an old way to write `{value}`"),
    )
    .at(report.locate(node.span), "")
    .help(format!("write `{value}`"));
    report.push(warning);
    Some(value)
}
