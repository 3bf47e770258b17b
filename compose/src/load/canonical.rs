//! The canonical form of a project: what `hoist config` prints, and what a service's configuration hash is made of.

use serde::Serialize;
use serde_json::{Map, Value};

pub use super::data::Data;
use super::data::{Kind, Name};
use super::node::{self, Node};
use super::schema::{ROOT, SERVICE, json_schema};
use super::writer::write;
use crate::model::{Project, Service};

/// The canonical project as data, equal to the reference's `config --format json`. It is itself a Compose file: every
/// dollar sign is doubled, so that loading it again gives the same.
pub fn project_value(project: &Project) -> Value {
    project_data(project).into()
}

/// The same in the form that is cheap to make and to print.
pub fn project_data(project: &Project) -> Data {
    let mut data = write(project, &ROOT).unwrap_or_default();
    if let Some(configs) = data.get_mut("configs").and_then(Data::as_map_mut) {
        for (name, config) in configs {
            let written = project.configs.get(&**name);
            if written.is_some_and(|config| config.environment.is_some()) {
                // The content is the variable's value: printing both would make an invalid file.
                config.remove(&["content"]);
            }
        }
    }
    if let Some(services) = data.get_mut("services") {
        services.values_mut().for_each(finish);
    }
    escape_dollars(&mut data);
    data
}

/// The hash of what the user wrote about a service: lower case hexadecimal SHA-256 of its canonical form without
/// `build`, `pull_policy`, `scale`, `deploy.replicas`, `depends_on` and `profiles`; a dollar sign is one dollar sign.
pub fn service_hash(service: &Service) -> String {
    use sha2::Digest;
    let mut data = write(service, &SERVICE).unwrap_or_default();
    finish(&mut data);
    data.remove(&["build", "pull_policy", "scale", "depends_on", "profiles"]);
    if let Some(deploy) = data.get_mut("deploy") {
        deploy.remove(&["replicas"]);
    }
    data.sort();
    let text = serde_json::to_vec(&data).unwrap_or_default();
    hex::encode(sha2::Sha256::digest(text))
}

/// The canonical file as YAML text.
pub fn to_yaml<T: Serialize>(value: &T) -> String {
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
fn finish(service: &mut Data) {
    list_keys(service);
    for list in ["post_start", "pre_stop"] {
        let hooks = service.get_mut(list).into_iter().flat_map(Data::items_mut);
        for hook in hooks.filter_map(Data::as_map_mut) {
            // It may be null, but must be there.
            if !hook.iter().any(|(name, _)| name == "command") {
                hook.push(("command".into(), Data::default()));
            }
        }
    }
}

/// SSH keys of builds as the list that the reference prints: `id`, or `id=path`.
fn list_keys(service: &mut Data) {
    let keys = service.get_mut("build").and_then(|map| map.get_mut("ssh"));
    if let Some(keys) = keys
        && let Kind::Map(map) = &keys.0
    {
        let item = |(id, path): &(Name, Data)| match path.as_str() {
            None | Some("") => Data::string(id.clone()),
            Some(path) => Data::string(format!("{id}={path}")),
        };
        *keys = Data(Kind::List(map.iter().map(item).collect()));
    }
}

/// Doubles every dollar sign in values.
fn escape_dollars(data: &mut Data) {
    match &mut data.0 {
        Kind::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Kind::List(items) => items.iter_mut().for_each(escape_dollars),
        Kind::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, data)| escape_dollars(data)),
        _ => {}
    }
}
