//! The hash that tells whether an object was made from the configuration the file has now.
//!
//! It covers what the user wrote, in canonical form, and nothing else: no ids, no defaults of ours. What does
//! not change a container (`build`, `scale`, `depends_on`, `profiles`, …) does not count; the contents that are
//! copied into it (inline configs, secrets from variables) do. Files mounted from the host do not: their new
//! content is there without a new container.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::{Ipam, Network, Service, Volume};

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

/// The hash of a volume, made as the reference makes it: neither finds that the other's has changed, and asks to lose its data.
pub(crate) fn of_volume(volume: &Volume) -> String {
    let text = object([
        ("name", some(&volume.name)),
        (
            "driver",
            volume.driver.as_deref().or(Some("local")).map(Into::into),
        ),
        ("driver_opts", map(&volume.driver_opts)),
        ("external", set(volume.external)),
        ("labels", map(&volume.labels)),
    ]);
    of_text(&text)
}

/// The hash of a network, made as the reference makes it: neither makes the other's again.
pub(crate) fn of_network(network: &Network) -> String {
    if !network.ipam.options.is_empty() {
        // The reference does not know them.
        return of_value(network);
    }
    let text = object([
        ("name", some(&network.name)),
        ("driver", network.driver.as_deref().and_then(some)),
        ("driver_opts", map(&network.driver_opts)),
        ("ipam", Some(ipam(&network.ipam))),
        ("external", set(network.external)),
        ("internal", set(network.internal)),
        ("attachable", set(network.attachable)),
        ("labels", map(&network.labels)),
        ("enable_ipv4", network.enable_ipv4.map(Into::into)),
        ("enable_ipv6", network.enable_ipv6.map(Into::into)),
    ]);
    of_text(&text)
}

fn ipam(ipam: &Ipam) -> Value {
    let pools = ipam.config.iter().map(|pool| {
        let text = |value: &Option<String>| value.as_deref().and_then(some);
        object([
            ("subnet", text(&pool.subnet)),
            ("gateway", text(&pool.gateway)),
            ("ip_range", text(&pool.ip_range)),
            ("aux_addresses", map(&pool.aux_addresses)),
        ])
    });
    let pools: Vec<Value> = pools.collect();
    object([
        ("driver", ipam.driver.as_deref().and_then(some)),
        ("config", (!pools.is_empty()).then_some(Value::Array(pools))),
    ])
}

/// The attributes that say something, in this order.
fn object<const N: usize>(attributes: [(&str, Option<Value>); N]) -> Value {
    let said = attributes
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(said.collect())
}

fn some(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| text.into())
}

fn set(value: bool) -> Option<Value> {
    value.then_some(Value::Bool(true))
}

fn map(entries: &IndexMap<String, String>) -> Option<Value> {
    let sorted: BTreeMap<_, _> = entries.iter().collect();
    let sorted = sorted
        .into_iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()));
    (!entries.is_empty()).then(|| Value::Object(sorted.collect()))
}

/// Of the text as Go writes it: what could be markup is escaped. Outside of quotes it does not occur.
fn of_text(value: &Value) -> String {
    let mut text = value.to_string();
    for (plain, escaped) in [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ] {
        text = text.replace(plain, escaped);
    }
    hex::encode(Sha256::digest(text.as_bytes()))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Docker Compose 2.40.3 has labelled them.
    #[test]
    fn networks_and_volumes_have_the_references_hashes() {
        for (network, hash) in [
            (json!({"name": "hv_default"}), "2cf0399acdf844a6"),
            (
                json!({"name": "hv_full", "driver": "bridge", "internal": true, "attachable": true,
                    "driver_opts": {"com.docker.network.bridge.name": "brhv", "a": "<b>&c"}, "labels": {"z": "1", "a": "x y"},
                    "ipam": {"driver": "default", "config": [{"subnet": "172.31.200.0/24", "gateway": "172.31.200.1",
                        "ip_range": "172.31.200.0/25", "aux_addresses": {"h2": "172.31.200.6", "h1": "172.31.200.5"}}]}}),
                "bd41f79cb59eba30",
            ),
            (
                json!({"name": "sixname", "enable_ipv6": false, "enable_ipv4": true}),
                "e6f1368c43a81016",
            ),
        ] {
            let read: Network = serde_json::from_value(network).unwrap();
            assert_eq!(of_network(&read)[..16], *hash, "{read:?}");
        }
        for (volume, hash) in [
            (json!({"name": "hv_plain"}), "ce010e93504964c2"),
            (
                json!({"name": "hv_full", "driver": "local", "labels": {"b": "2", "a": "<1>"},
                    "driver_opts": {"type": "tmpfs", "o": "size=1m", "device": "tmpfs"}}),
                "7047bb5d4b612478",
            ),
            (
                json!({"name": "other-name", "labels": {"q": "r"}}),
                "44f1bdc6283e49ec",
            ),
        ] {
            let read: Volume = serde_json::from_value(volume).unwrap();
            assert_eq!(of_volume(&read)[..16], *hash, "{read:?}");
        }
    }
}
