//! The canonical form of a project: what `hoist config` prints, and what a service's configuration hash is made of.

use serde_json::{Map, Value};

use super::node::{self, Node};
use super::schema::{Presence, ROOT, SERVICE, Type, json_schema};
use crate::model::{EXTENSIONS_KEY, Project, Service};

/// The canonical project as data, equal to the reference's `config --format json`. It is itself a Compose file: every
/// dollar sign is doubled, so that loading it again gives the same.
pub fn project_value(project: &Project) -> Value {
    let mut value = serde_json::to_value(project).unwrap_or_default();
    for config in value
        .get_mut("configs")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut)
    {
        if let Some(map) = config
            .as_object_mut()
            .filter(|map| map.get("environment").is_some_and(Value::is_string))
        {
            // The content is the variable's value: printing both would make an invalid file.
            map.shift_remove("content");
        }
    }
    for service in value
        .get_mut("services")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut)
    {
        list_keys(service);
    }
    prune(&mut value, &ROOT);
    escape_dollars(&mut value);
    value
}

/// The canonical service as data; a dollar sign is one dollar sign.
pub fn service_value(service: &Service) -> Value {
    let mut value = serde_json::to_value(service).unwrap_or_default();
    list_keys(&mut value);
    prune(&mut value, &SERVICE);
    value
}

/// The hash of what the user wrote about a service: lower case hexadecimal SHA-256 of its canonical form without
/// `build`, `pull_policy`, `scale`, `deploy.replicas`, `depends_on` and `profiles`.
pub fn service_hash(service: &Service) -> String {
    use sha2::Digest;
    let mut value = service_value(service);
    if let Value::Object(map) = &mut value {
        for key in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
            map.shift_remove(key);
        }
        if let Some(Value::Object(deploy)) = map.get_mut("deploy") {
            deploy.shift_remove("replicas");
        }
    }
    value.sort_all_objects();
    hex::encode(sha2::Sha256::digest(value.to_string()))
}

/// The canonical file as YAML text.
pub fn to_yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_default()
}

/// The JSON Schema of Compose files, made from the same table that checks them.
pub fn schema() -> Value {
    json_schema()
}

/// A tree as data, for models whose variables are left in place.
pub(crate) fn tree_value(root: &Node, name: &str) -> Value {
    let mut map = Map::new();
    map.insert("name".to_owned(), Value::String(name.to_owned()));
    if let Value::Object(rest) = node_value(root) {
        map.extend(rest);
    }
    Value::Object(map)
}

fn node_value(node: &Node) -> Value {
    match &node.value {
        node::Value::Null | node::Value::Invalid => Value::Null,
        node::Value::Bool(value) => Value::Bool(*value),
        node::Value::Int(value) => Value::from(*value),
        node::Value::Unsigned(value) => Value::from(*value),
        node::Value::Float(value) => Value::from(*value),
        node::Value::String(text) | node::Value::Timestamp(text) => Value::String(text.clone()),
        node::Value::List(items) => Value::Array(items.iter().map(node_value).collect()),
        node::Value::Map(map) => Value::Object(
            map.iter()
                .map(|(key, node)| (key.clone(), node_value(node)))
                .collect(),
        ),
    }
}

/// SSH keys of builds as the list that the reference prints: `id`, or `id=path`.
fn list_keys(service: &mut Value) {
    if let Some(keys) = service.pointer_mut("/build/ssh")
        && let Value::Object(map) = keys
    {
        let item = |(id, path): (&String, &Value)| match path.as_str() {
            None | Some("") => Value::String(id.clone()),
            Some(path) => Value::String(format!("{id}={path}")),
        };
        *keys = Value::Array(map.iter().map(item).collect());
    }
}

/// Leaves out what is empty, by the table, and puts extensions back in their place.
fn prune(value: &mut Value, ty: &'static Type) {
    match value {
        Value::Object(map) => {
            let extensions = map.shift_remove(EXTENSIONS_KEY);
            let section = ty.fields.is_some_and(|fields| fields.open.is_none());
            if section {
                // Most attributes of a service: they need no look at the table.
                map.retain(|_, entry| !entry.is_null());
            }
            for (name, entry) in map.iter_mut() {
                if let Some(entry_type) = ty.entry_or_open(name) {
                    prune(entry, entry_type);
                }
            }
            if section {
                map.retain(|name, entry| {
                    ty.entry_or_open(name)
                        .is_none_or(|entry_type| !is_left_out(entry, entry_type))
                });
            }
            if let Some(Value::Object(extensions)) = extensions {
                map.extend(extensions);
            }
        }
        Value::Array(items) => {
            if let Some(item_type) = ty.items {
                items.iter_mut().for_each(|item| prune(item, item_type));
            }
        }
        _ => {}
    }
}

fn is_left_out(value: &Value, ty: &'static Type) -> bool {
    let section = ty.fields.is_some_and(|fields| fields.open.is_none());
    match (value, ty.presence) {
        (Value::Null, _) => true,
        (_, Presence::Keep) => false,
        (Value::String(text), Presence::OmitZero) if text == "0s" => true,
        (Value::Bool(value), _) => !value,
        (Value::Number(number), _) => number.as_f64() == Some(0.0),
        (Value::String(text), _) => {
            text.is_empty() || (text == "0" && ty.format == super::schema::Format::Bytes)
        }
        (Value::Array(items), _) => items.is_empty(),
        (Value::Object(map), Presence::OmitEmptySection) => map.is_empty(),
        (Value::Object(map), _) => map.is_empty() && !section,
    }
}

/// Doubles every dollar sign in values.
fn escape_dollars(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(escape_dollars),
        Value::Object(map) => map.values_mut().for_each(escape_dollars),
        _ => {}
    }
}
