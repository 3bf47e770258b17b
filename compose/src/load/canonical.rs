//! The canonical form of a project: what `hoist config` prints, and what a service's configuration hash is made of.

use serde_json::{Map, Value};

use super::node::{self, Node};
use super::schema::{ROOT, SERVICE, json_schema};
use super::writer::write;
use crate::model::{Project, Service};

/// The canonical project as data, equal to the reference's `config --format json`. It is itself a Compose file: every
/// dollar sign is doubled, so that loading it again gives the same.
pub fn project_value(project: &Project) -> Value {
    let mut value = write(project, &ROOT).unwrap_or_default();
    for (name, config) in &project.configs {
        if config.environment.is_some()
            && let Some(config) = value.get_mut("configs").and_then(|map| map.get_mut(name))
            && let Some(map) = config.as_object_mut()
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
        finish(service);
    }
    escape_dollars(&mut value);
    value
}

/// The canonical service as data; a dollar sign is one dollar sign.
pub fn service_value(service: &Service) -> Value {
    let mut value = write(service, &SERVICE).unwrap_or_default();
    finish(&mut value);
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
pub(crate) fn tree_value(root: &Node, name: Option<&str>) -> Value {
    let mut map = Map::new();
    if let Some(name) = name {
        map.insert("name".to_owned(), Value::String(name.to_owned()));
    }
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
        node::Value::String(text) => Value::String(text.clone()),
        node::Value::Timestamp(date) => Value::String(date.canonical.clone()),
        node::Value::List(items) => Value::Array(items.iter().map(node_value).collect()),
        node::Value::Map(map) => Value::Object(
            map.iter()
                .map(|(key, node)| (key.to_string(), node_value(node)))
                .collect(),
        ),
    }
}

/// What makes a written service one that can be read again, and as the reference prints it.
fn finish(service: &mut Value) {
    list_keys(service);
    for list in ["post_start", "pre_stop"] {
        let hooks = service.get_mut(list).and_then(Value::as_array_mut);
        for hook in hooks.into_iter().flatten().filter_map(Value::as_object_mut) {
            // It may be null, but must be there.
            hook.entry("command").or_insert(Value::Null);
        }
    }
}

/// SSH keys of builds as the list that the reference prints: `id`, or `id=path`.
fn list_keys(service: &mut Value) {
    let keys = service.get_mut("build").and_then(|map| map.get_mut("ssh"));
    if let Some(keys) = keys
        && let Value::Object(map) = keys
    {
        let item = |(id, path): (&String, &Value)| match path.as_str() {
            None | Some("") => Value::String(id.clone()),
            Some(path) => Value::String(format!("{id}={path}")),
        };
        *keys = Value::Array(map.iter().map(item).collect());
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
