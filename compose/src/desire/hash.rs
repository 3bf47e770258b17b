//! The hash that tells whether an object was made from the configuration the file has now.
//!
//! It covers what the user wrote, in canonical form, and nothing else: no ids, no defaults of ours. What does
//! not change a container (`build`, `scale`, `depends_on`, `profiles`, …) does not count; the contents that are
//! copied into it (inline configs, secrets from variables) do. Files mounted from the host do not: their new
//! content is there without a new container.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::Service;

use super::InjectedFile;

/// The hash of a service.
pub(crate) fn of_service(service: &Service, files: &[InjectedFile]) -> String {
    let mut service = Service {
        build: None,
        develop: None,
        pull_policy: None,
        pull_refresh_after: None,
        scale: None,
        depends_on: indexmap::IndexMap::new(),
        profiles: Vec::new(),
        attach: None,
        ..service.clone()
    };
    if let Some(deploy) = &mut service.deploy {
        deploy.replicas = None;
    }
    let contents: Vec<(&str, String)> = files
        .iter()
        .map(|file| {
            (
                file.path.as_str(),
                hex::encode(Sha256::digest(&file.content)),
            )
        })
        .collect();
    of_value(&(&service, contents))
}

/// The hash of anything serialisable, whatever the order of its maps.
pub(crate) fn of_value<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or(Value::Null);
    hex::encode(Sha256::digest(canonical(value).to_string().as_bytes()))
}

/// Sorts keys and drops everything that says nothing, so that a later version's new attributes change no hash.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map
                .into_iter()
                .map(|(key, value)| (key, canonical(value)))
                .filter(|(_, value)| !is_unset(value))
                .collect();
            entries.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        other => other,
    }
}

/// An empty list says something (`command: []` clears the image's), so only what serde writes for absent attributes goes.
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
