//! The check of shapes: unknown attributes, wrong types, missing attributes, wrong words. Reports all of them.

use super::types::{BOOL, Cast, Format, INT, NULL, NUMBER, Open, Rule, STRING, Type};
use crate::load::diagnostic::{Diagnostic, value_in_words};
use crate::load::node::{Map, Node, Origin, Span, Value};
use crate::load::report::{Path, Report};
use crate::load::suggest;
use crate::load::unify::unify_items;

/// More unknown entries of one mapping than this are not told.
const MOST_UNKNOWN: usize = 100;

/// Checks a node against its type. What is wrong becomes [`Value::Invalid`] or is removed, and is told once.
pub(crate) fn check(node: &mut Node, ty: &'static Type, path: &Path<'_>, report: &mut Report<'_>) {
    let origin = node.origin.clone();
    report.enter(origin.as_deref());
    check_here(node, ty, path, report);
    report.leave(origin.as_deref());
}

fn check_here(node: &mut Node, ty: &'static Type, path: &Path<'_>, report: &mut Report<'_>) {
    let accepted = match &node.value {
        Value::Invalid => return,
        Value::Null => ty.scalars & NULL != 0,
        Value::Bool(_) => ty.scalars & BOOL != 0,
        Value::Int(_) | Value::Unsigned(_) => ty.scalars & INT != 0,
        Value::Float(value) if !value.is_finite() && is_number(ty) => false,
        Value::Float(value) => {
            // 2^63: what is larger is no integer that could be kept.
            let whole = value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0;
            ty.scalars & NUMBER == NUMBER || (ty.scalars & INT != 0 && whole)
        }
        Value::String(_) => ty.scalars & STRING != 0,
        Value::Timestamp(_) => std::ptr::eq(ty, &super::types::ANY),
        Value::List(_) => ty.items.is_some(),
        Value::Map(_) => ty.fields.is_some(),
    };
    if !accepted {
        wrong_type(node, ty, path, report);
        node.value = Value::Invalid;
        return;
    }
    match &mut node.value {
        Value::List(items) => {
            unify_items(items, ty.unify, path, report);
            check_list(items, ty, path, report);
        }
        Value::Map(map) => check_map(map, node.span, ty, path, report),
        _ => check_rule(node, ty.rule, path, report),
    }
}

/// Whether a number is meant, not the text of one.
fn is_number(ty: &Type) -> bool {
    matches!(ty.cast, Cast::Int | Cast::Float | Cast::Microseconds)
        || (ty.scalars & STRING == 0 && ty.items.is_none() && ty.fields.is_none())
}

fn check_list(items: &mut [Node], ty: &'static Type, path: &Path<'_>, report: &mut Report<'_>) {
    let Some(item_type) = ty.items else { return };
    for (index, item) in items.iter_mut().enumerate() {
        check(item, item_type, &path.item(index), report);
    }
    if !ty.unique_items {
        return;
    }
    for (first, index) in repeated(items) {
        let text = items[index].scalar().unwrap_or_default();
        let problem = Diagnostic::error("repeated-item", format!("`{path}` holds `{text}` twice"))
            .at(report.locate(items[index].span), "written again here")
            .and(report.locate(items[first].span), "first written here")
            .help("remove one of them");
        report.push(problem);
        items[index].value = Value::Invalid;
    }
}

/// Pairs of places that hold the same scalar.
fn repeated(items: &[Node]) -> Vec<(usize, usize)> {
    if items.len() < 2 {
        return Vec::new();
    }
    let mut seen = std::collections::HashMap::with_capacity(items.len());
    let scalars = items.iter().enumerate();
    scalars
        .filter_map(|(index, item)| {
            let first = seen.insert((item.kind(), item.scalar()?), index)?;
            Some((first, index))
        })
        .collect()
}

fn check_map(
    map: &mut Map,
    span: Span,
    ty: &'static Type,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let Some(fields) = ty.fields else { return };
    let mut unknown = Vec::new();
    map.retain(|name, node| match ty.entry(name) {
        Some(entry) => {
            check(node, entry, &path.key(name), report);
            true
        }
        None => {
            if unknown.len() < MOST_UNKNOWN {
                unknown.push((name.clone(), node.clone()));
            }
            false
        }
    });
    for (name, node) in unknown {
        let problem = unknown_entry(&name, &node, ty, path, report);
        report.push_about(&node, problem);
    }
    for required in fields.required {
        if !map.contains_key(required) {
            let problem =
                Diagnostic::error("missing-attribute", format!("`{path}` needs `{required}`"))
                    .at(report.locate(span), "")
                    .help(match ty.entry(required).map(|entry| entry.rule) {
                        Some(Rule::Words(words)) => {
                            format!("add `{required}: …`, one of {}", words.join(", "))
                        }
                        _ => format!("add `{required}: …`"),
                    });
            report.push(problem);
        }
    }
}

fn unknown_entry(
    name: &str,
    node: &Node,
    ty: &'static Type,
    path: &Path<'_>,
    report: &Report<'_>,
) -> Diagnostic {
    let Some(fields) = ty.fields else {
        return Diagnostic::error("unknown-attribute", name);
    };
    if let Some(Open { noun, .. }) = &fields.open {
        return Diagnostic::error(
            "invalid-name",
            format!("`{name}` is not a valid {noun} name in `{path}`"),
        )
        .at(report.locate(node.key_span), "")
        .help("use letters, digits, `.`, `_` and `-`");
    }
    let place = if path.is_root() {
        "at the top level".to_owned()
    } else {
        format!("in `{path}`")
    };
    let problem = Diagnostic::error(
        "unknown-attribute",
        format!("unknown attribute `{name}` {place}"),
    )
    .at(report.locate(node.key_or_value()), "not known here");
    if path.is_root() && looks_like_a_service(node) {
        return problem.help("put services below `services:`");
    }
    if let Some(advice) = suggest::legacy(name) {
        return problem.help(advice);
    }
    match suggest::nearest(name, fields.named.iter().map(|(known, _)| *known)) {
        Some(known) => problem.help(format!("did you mean `{known}`?")),
        None if fields.named.len() <= 12 => {
            let known: Vec<String> = fields
                .named
                .iter()
                .map(|(known, _)| format!("`{known}`"))
                .collect();
            problem.help(format!("known here: {}", known.join(", ")))
        }
        None => problem.help("write it as `x-…` if it is your own"),
    }
}

fn looks_like_a_service(node: &Node) -> bool {
    node.as_map().is_some_and(|map| {
        ["image", "build", "command", "ports"]
            .iter()
            .any(|key| map.contains_key(key))
    })
}

fn wrong_type(node: &Node, ty: &'static Type, path: &Path<'_>, report: &mut Report<'_>) {
    let what = if path.is_root() {
        "a Compose file".to_owned()
    } else {
        format!("`{path}`")
    };
    let expected = expected(ty);
    let found = match &node.value {
        Value::Float(value) if !value.is_finite() && is_number(ty) => "not finite",
        _ => node.kind(),
    };
    let problem = Diagnostic::error(
        "wrong-type",
        format!("{what} must be {expected}, but this is {found}"),
    )
    .at(
        report.locate(if node.is_null() {
            node.key_or_value()
        } else {
            node.span
        }),
        format!("expected {expected}"),
    );
    let problem = report.explain(node, problem);
    report.push(match advice(node, ty, path) {
        Some(advice) => problem.help(advice),
        None => problem,
    });
}

/// What to write instead of a value of the wrong type.
fn advice(node: &Node, ty: &'static Type, path: &Path<'_>) -> Option<String> {
    let advice = match &node.value {
        Value::Int(_)
        | Value::Unsigned(_)
        | Value::Float(_)
        | Value::Bool(_)
        | Value::Timestamp(_) => return scalar_advice(node, ty, path),
        Value::Map(_) if ty.items.is_some() => "start each entry with `- `",
        Value::List(_) if ty.fields.is_some() => "write `name: value` entries, without `- `",
        Value::List(_) => "write one value, not a list",
        Value::String(text) if ty.items.is_some() => {
            return Some(format!("write it as a list: `[{text}]`"));
        }
        Value::String(text) => {
            let fields = ty.fields?;
            let known = |name: &str| fields.named.iter().any(|(known, _)| *known == name);
            return Some(
                match ["image", "driver"].into_iter().find(|name| known(name)) {
                    Some(name) => format!("write `{name}: {text}` below it"),
                    None => "write `name: value` entries below it".to_owned(),
                },
            );
        }
        Value::Null => "give it a value, or remove the line",
        _ => return None,
    };
    Some(advice.to_owned())
}

/// The same for a number, a boolean or a date: quotes help only where the text in them would be accepted.
fn scalar_advice(node: &Node, ty: &'static Type, path: &Path<'_>) -> Option<String> {
    let text = node.scalar_text()?;
    let number = matches!(
        node.value,
        Value::Int(_) | Value::Unsigned(_) | Value::Float(_)
    );
    if let Value::Float(value) = node.value
        && !value.is_finite()
        && is_number(ty)
    {
        return Some("write a finite number".to_owned());
    }
    let from_variable = matches!(node.origin.as_deref(), Some(Origin::Variables(_)));
    if ty.scalars & STRING == 0 {
        let boolean = number && ty.scalars & BOOL != 0;
        return boolean.then(|| "write `true` or `false`".to_owned());
    }
    if matches!(node.value, Value::Bool(false)) && path.to_string().ends_with(".restart") {
        return Some("write \"no\" in quotes to never restart it".to_owned());
    }
    if let Rule::Words(words) = ty.rule {
        return Some(format!("write {}", words.join(" or ")));
    }
    Some(match (ty.format, ty.cast) {
        (Format::Duration, _) if matches!(node.value, Value::Int(_)) => {
            format!("write `{text}s` for seconds")
        }
        (Format::Duration, _) if number => {
            "write a number and a unit in quotes, as in \"1.5s\"".to_owned()
        }
        (Format::Bytes, _) if number => {
            "write a whole number of bytes, or one with its unit, as in `512m`".to_owned()
        }
        (_, Cast::Bool) => "write `true` or `false`".to_owned(),
        (_, Cast::Int) => "write a whole number".to_owned(),
        (_, Cast::Float) if number => "write a whole number".to_owned(),
        (_, Cast::Float | Cast::Microseconds) => "write a number".to_owned(),
        _ if number && ty.scalars & BOOL != 0 => "write `true` or `false`".to_owned(),
        _ if from_variable => return None,
        _ => format!("write \"{text}\" in quotes"),
    })
}

/// What a type takes, in words.
fn expected(ty: &'static Type) -> String {
    let mut words: Vec<&str> = Vec::new();
    if ty.scalars & STRING != 0 {
        words.push("a string");
    }
    if ty.scalars & NUMBER == NUMBER {
        words.push("a number");
    } else if ty.scalars & INT != 0 {
        words.push("an integer");
    }
    if ty.scalars & BOOL != 0 {
        words.push("a boolean");
    }
    if ty.items.is_some() {
        words.push("a list");
    }
    if ty.fields.is_some() {
        words.push("a mapping");
    }
    if ty.scalars & NULL != 0 {
        words.push("null");
    }
    match words.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

fn check_rule(node: &mut Node, rule: Rule, path: &Path<'_>, report: &mut Report<'_>) {
    let problem = match (rule, &node.value) {
        (Rule::Words(words), Value::String(text)) if !words.contains(&text.as_str()) => {
            let list: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            let problem = Diagnostic::error(
                "wrong-word",
                format!(
                    "{} is not a value of `{path}`: use {}",
                    value_in_words(text),
                    list.join(", ")
                ),
            );
            match suggest::nearest(text, words.iter().copied()) {
                Some(word) => problem.help(format!("did you mean `{word}`?")),
                None => problem,
            }
        }
        (Rule::Matching(accepts, _), Value::String(text)) if !accepts(text) => Diagnostic::error(
            "wrong-value",
            format!("{} is not a value of `{path}`", value_in_words(text)),
        ),
        (Rule::Between(low, high), Value::Int(value)) if !(low..=high).contains(value) => {
            let message = if high == i64::MAX {
                format!("`{path}` must be at least {low}, but this is {value}")
            } else {
                format!("`{path}` must be between {low} and {high}, but this is {value}")
            };
            Diagnostic::error("out-of-range", message)
        }
        (Rule::Between(low, high), Value::Float(value))
            if *value < low as f64 || *value > high as f64 =>
        {
            Diagnostic::error(
                "out-of-range",
                format!("`{path}` must be between {low} and {high}, but this is {value}"),
            )
        }
        (Rule::NoFraction, Value::Float(value)) => {
            let message = format!(
                "`{path}` must be a whole number or a text, but `{value:?}` has a fraction"
            );
            let problem = Diagnostic::error("wrong-type", message);
            problem.help("write it without fraction and exponent, or a text in quotes")
        }
        _ => return,
    };
    let expected = match rule {
        Rule::NoFraction => "expected a whole number or a text".to_owned(),
        Rule::Words(_) => "expected one of these words".to_owned(),
        Rule::Between(low, i64::MAX) => format!("expected {low} or more"),
        Rule::Between(low, high) => format!("expected {low} to {high}"),
        Rule::Matching(_, wanted) => format!("expected {wanted}"),
        Rule::None => String::new(),
    };
    let problem = report.explain(node, problem.at(report.locate(node.span), expected));
    report.push(problem);
    node.value = Value::Invalid;
}
