//! Short forms of most attributes.

use super::super::diagnostic::{Diagnostic, value_in_words};
use super::super::merge::{names_to_map, started};
use super::super::node::{Key, Map, Node, Value};
use super::super::report::Path;
use super::command::command;
use super::{Expansion, text_map};

/// `KEY=VALUE` list or mapping to a mapping of texts; a key alone is null.
pub(super) fn environment(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    if expansion.lenient {
        return;
    }
    key_values(node);
    let Value::Map(map) = &mut node.value else {
        return;
    };
    for (name, value) in map.iter_mut() {
        if name.ends_with(char::is_whitespace) {
            let problem = Diagnostic::error(
                "trailing-space",
                format!("the variable `{name}` in `{path}` ends with a space"),
            )
            .at(expansion.report.locate(value.key_or_value()), "")
            .help("remove the space before `=`");
            expansion.wrong(value, problem);
        }
    }
}

/// The same, but a key alone is an empty text.
pub(super) fn labels(node: &mut Node, _: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    if expansion.lenient {
        return;
    }
    key_values(node);
    let Value::Map(map) = &mut node.value else {
        return;
    };
    for value in map.values_mut() {
        if value.is_null() && value.tag.is_none() {
            value.value = Value::String(String::new());
        }
    }
}

fn key_values(node: &mut Node) {
    match &mut node.value {
        Value::List(items) => {
            let mut map = Map::with_capacity(items.len());
            for item in items.iter() {
                let Some(text) = item.as_str() else { continue };
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key, Value::String(value.to_owned())),
                    None => (text, Value::Null),
                };
                let mut entry = item.with(value);
                entry.key_span = item.span;
                map.insert(Key::read(key), entry);
            }
            node.value = Value::Map(Box::new(map));
        }
        Value::Map(map) => {
            for value in map.values_mut().filter(|value| value.as_str().is_none()) {
                if let Some(text) = value.scalar_text() {
                    value.value = Value::String(text);
                }
            }
        }
        _ => {}
    }
}

/// One text to a list of it.
pub(super) fn texts(node: &mut Node, _: &Path<'_>, _: &mut Expansion<'_, '_>) {
    if matches!(node.value, Value::String(_)) {
        let item = Node::new(std::mem::replace(&mut node.value, Value::Null), node.span);
        node.value = Value::List(vec![item]);
    }
}

/// The same for attributes that are only made lists when they are typed.
pub(super) fn typed_texts(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    if !expansion.lenient {
        texts(node, path, expansion);
    }
}

pub(super) fn texts_without_empty(
    node: &mut Node,
    path: &Path<'_>,
    expansion: &mut Expansion<'_, '_>,
) {
    texts(node, path, expansion);
    if let Value::List(items) = &mut node.value {
        items.retain(|item| item.as_str() != Some(""));
    }
}

/// Secrets and configs: a name to `{source: name}`; modes to octal digits.
pub(super) fn file_references(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    let Value::List(items) = &mut node.value else {
        return;
    };
    for (index, item) in items.iter_mut().enumerate() {
        if let Some(name) = item.as_str() {
            let source = Node::string(name, item.span);
            item.value = Value::Map(Box::new(Map::from_iter([("source", source)])));
        }
        let item_path = path.item(index);
        if let Some(mode) = item.get_mut("mode") {
            octal_mode(mode, &item_path.key("mode"), expansion);
        }
    }
}

/// A number or octal digits to octal digits with a leading zero.
fn octal_mode(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    if expansion.lenient {
        return;
    }
    let bits = match &node.value {
        Value::Int(bits) => Some(*bits),
        Value::Float(bits) if bits.fract() == 0.0 => Some(*bits as i64),
        Value::Float(_) => None,
        Value::String(digits) => i64::from_str_radix(digits.trim_start_matches("0o"), 8).ok(),
        _ => return,
    };
    match bits {
        Some(bits) if bits >= 0 => node.value = Value::String(format!("0{bits:o}")),
        _ => {
            let text = node.scalar_text().unwrap_or_default();
            let problem = Diagnostic::error(
                "wrong-value",
                format!("`{text}` is not a file mode for `{path}`"),
            )
            .help("write octal digits, as in \"0440\"");
            expansion.wrong(node, problem);
        }
    }
}

pub(super) fn device_requests(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    if expansion.lenient {
        return;
    }
    let Value::List(items) = &mut node.value else {
        return;
    };
    for item in items.iter_mut() {
        let request = path.key("options");
        let Some(map) = item.as_map_mut() else {
            continue;
        };
        if let Some(options) = map.get_mut("options") {
            labels(options, &request, expansion);
        }
        match map
            .get("count")
            .map(|count| (count.as_str().map(str::to_owned), count.span))
        {
            Some((Some(text), span)) if text == "all" => {
                map.insert("count", Node::new(Value::Int(-1), span));
            }
            Some((Some(text), _)) if text.parse::<i64>().is_err() => {
                if let Some(count) = map.get_mut("count") {
                    let problem = Diagnostic::error(
                        "wrong-value",
                        format!("`{text}` is not a number of devices"),
                    )
                    .help("write a number, or `all`");
                    expansion.wrong(count, problem);
                }
            }
            _ => {}
        }
    }
}

pub(super) fn gpus(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    if node.as_str() == Some("all") {
        let count = Node::string("all", node.span);
        let request = Node::map(Map::from_iter([("count", count)]), node.span);
        node.value = Value::List(vec![request]);
    }
    device_requests(node, path, expansion);
}

pub(super) fn watch(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    let Value::List(items) = &mut node.value else {
        return;
    };
    for (index, item) in items.iter_mut().enumerate() {
        let item_path = path.item(index);
        for name in ["ignore", "include"] {
            if let Some(patterns) = item.get_mut(name) {
                texts(patterns, &item_path, expansion);
            }
        }
        if let Some(exec) = item.get_mut("exec") {
            hook(exec, &item_path.key("exec"), expansion);
        }
    }
}

pub(super) fn hooks(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    let Value::List(items) = &mut node.value else {
        return;
    };
    for (index, item) in items.iter_mut().enumerate() {
        hook(item, &path.item(index), expansion);
    }
}

fn hook(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    if let Some(inner) = node.get_mut("command") {
        command(inner, &path.key("command"), expansion);
    }
    if let Some(inner) = node.get_mut("environment") {
        environment(inner, &path.key("environment"), expansion);
    }
}

/// `source[:target[:permissions]]`.
pub(super) fn devices(node: &mut Node, _: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    let Value::List(items) = &mut node.value else {
        return;
    };
    for item in items.iter_mut() {
        let Some(text) = item.as_str().map(str::to_owned) else {
            continue;
        };
        let parts: Vec<&str> = text.split(':').collect();
        let map = match parts.as_slice() {
            [source, rest @ ..] if rest.len() < 3 && !source.is_empty() => {
                let target = rest.first().filter(|target| !target.is_empty());
                text_map(
                    &[
                        ("source", source),
                        ("target", target.unwrap_or(source)),
                        ("permissions", rest.get(1).unwrap_or(&"rwm")),
                    ],
                    item,
                )
            }
            _ => {
                let problem = Diagnostic::error(
                    "wrong-value",
                    format!("{} is not a device", value_in_words(&text)),
                )
                .help("write `host path[:container path[:permissions]]`");
                expansion.wrong(item, problem);
                continue;
            }
        };
        item.value = Value::Map(Box::new(map));
    }
}

/// Names, or a mapping in which a dependency is required unless it says otherwise.
pub(super) fn dependencies(node: &mut Node, _: &Path<'_>, _: &mut Expansion<'_, '_>) {
    names_to_map(node, started);
    let Some(map) = node.as_map_mut() else { return };
    for dependency in map.values_mut() {
        let span = dependency.span;
        if let Some(options) = dependency.as_map_mut() {
            options.get_or_insert_with("required", || Node::new(Value::Bool(true), span));
        }
    }
}

pub(super) fn env_files(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    texts(node, path, expansion);
    let Value::List(items) = &mut node.value else {
        return;
    };
    for item in items.iter_mut() {
        if let Some(text) = item.as_str() {
            let map = text_map(&[("path", text)], item);
            item.value = Value::Map(Box::new(map));
        }
        let span = item.span;
        if let Some(map) = item.as_map_mut() {
            map.get_or_insert_with("required", || Node::new(Value::Bool(true), span));
        }
    }
}

/// A text is run by a shell.
pub(super) fn health_test(node: &mut Node, _: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    if expansion.lenient {
        return;
    }
    if let Some(text) = node.as_str() {
        let items = vec![
            Node::string("CMD-SHELL", node.span),
            Node::string(text, node.span),
        ];
        node.value = Value::List(items);
    }
}

/// `external: {name: x}` to `external: true, name: x`.
pub(super) fn external(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    let Some(map) = node.as_map_mut() else { return };
    let Some(external) = map
        .get("external")
        .filter(|external| external.as_map().is_some())
        .cloned()
    else {
        return;
    };
    let warning = Diagnostic::warning(
        "deprecated",
        format!("`{path}.external.name` is deprecated"),
    )
    .at(expansion.report.locate(external.key_or_value()), "")
    .help("write `external: true` and `name: …` beside it");
    expansion.report.push(warning);
    if let Some(name) = external.get("name") {
        let conflict = map.get("name").is_some_and(|other| other != name);
        if conflict {
            let problem = Diagnostic::error(
                "conflict",
                format!("`{path}` has two names: `name` and `external.name`"),
            )
            .at(expansion.report.locate(name.span), "")
            .and(
                map.get("name")
                    .and_then(|other| expansion.report.locate(other.span)),
                "the other name",
            )
            .help("only write `name`");
            expansion.report.push(problem);
        }
        map.insert("name", name.clone());
    }
    map.insert("external", external.with(Value::Bool(true)));
}

pub(super) fn build(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    super::wrap(node, "context");
    let Some(map) = node.as_map_mut() else { return };
    for name in ["provenance", "sbom"] {
        if let Some(Value::Bool(value)) = map.get(name).map(|node| &node.value) {
            let text = value.to_string();
            if let Some(node) = map.get_mut(name) {
                node.value = Value::String(text);
            }
        }
    }
    const STEPS: &[(&str, super::Step)] = &[
        ("additional_contexts", additional_contexts),
        ("args", environment),
        ("labels", labels),
        ("no_cache_filter", texts),
        ("secrets", file_references),
        ("ssh", ssh),
    ];
    for (name, step) in STEPS {
        if let Some(inner) = map.get_mut(name).filter(|inner| !inner.is_invalid()) {
            step(inner, &path.key(name), expansion);
        }
    }
}

/// Each with a name.
fn additional_contexts(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    if let Value::List(items) = &mut node.value {
        for item in items.iter_mut() {
            let Some(text) = item.as_str().filter(|text| !text.contains('=')) else {
                continue;
            };
            let problem = Diagnostic::error(
                "wrong-value",
                format!("`{text}` is not a named context for `{path}`"),
            )
            .help("write `name=context`");
            expansion.wrong(item, problem);
        }
    }
    contexts(node, path, expansion);
}

fn contexts(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    key_values(node);
    labels(node, path, expansion);
}

/// `default`, or `id=path`, as a list or mapping.
fn ssh(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    if let Value::List(items) = &mut node.value {
        for item in items.iter_mut() {
            let Some(text) = item.as_str() else { continue };
            if text != "default" && !text.contains('=') {
                let problem = Diagnostic::error(
                    "wrong-value",
                    format!("`{text}` is not an SSH key for `{path}`"),
                )
                .help("write `default` or `id=path`");
                expansion.wrong(item, problem);
            }
        }
    }
    contexts(node, path, expansion);
}
