//! The image configuration: OCI's `application/vnd.oci.image.config.v1+json` with Docker's additions (health check, ON BUILD, shell).
//!
//! Only what is read or written is modelled. A configuration that came in with an archive is stored byte for byte, because its digest is
//! the image's id; it is parsed, never rewritten.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use hoist_api::Digest;

/// An image's configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub author: String,
    /// Go's name of the machine's architecture, `amd64`.
    #[serde(deserialize_with = "null_as_default")]
    pub architecture: String,
    /// Go's name of the architecture's variant, `v8`.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub variant: String,
    /// `linux`.
    #[serde(deserialize_with = "null_as_default")]
    pub os: String,
    /// What containers of this image run with unless told otherwise.
    #[serde(deserialize_with = "null_as_default")]
    pub config: ContainerDefaults,
    /// The layers.
    pub rootfs: RootFs,
    /// How the image was made, oldest first.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub history: Vec<HistoryEntry>,
    /// A comment on the image (Docker only).
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub comment: String,
    /// The image that it was committed on (Docker only).
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub parent: String,
    /// The version of the engine that made it (Docker only).
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub docker_version: String,
    /// Notes of the steps that made the layers, for builds elsewhere (`cache_to: type=inline`; ours only).
    #[serde(
        rename = "hoist.buildcache.v1",
        skip_serializing_if = "Option::is_none"
    )]
    pub build_cache: Option<Value>,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed layer archives, lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        }
    }
}

/// One step of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command that made the step.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub created_by: String,
    /// Who made it.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub author: String,
    /// Free text.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "null_as_default")]
    pub empty_layer: bool,
}

/// What a container of the image runs with by default. Field names on disk are Docker's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerDefaults {
    /// `user[:group]`, names or numbers; empty for root.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub user: String,
    /// `<port>/<protocol>`; the values are always empty objects.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub env: Vec<String>,
    /// The program and its first arguments; absent is not the same as empty.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    /// The arguments, or the program when there is no entry point.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// Paths that get an anonymous volume; the values are always empty objects.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// The working directory; empty for `/`.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub working_dir: String,
    /// Labels.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub labels: BTreeMap<String, String>,
    /// A signal's name or number; empty for `SIGTERM`.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub stop_signal: String,
    /// Seconds between the stop signal and the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// The health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthcheckDefaults>,
    /// The shell of shell-form commands; absent for `/bin/sh -c`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub shell: Option<Vec<String>>,
    /// Dockerfile instructions to run when the image is a base.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub on_build: Vec<String>,
    /// Whether Windows' command line is already escaped: kept only because Docker writes it.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "null_as_default")]
    pub args_escaped: bool,
}

/// The value of a JSON object used as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A health check as images carry it. Durations are nanoseconds, 0 for "not set".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthcheckDefaults {
    /// `[]` inherits, `["NONE"]` disables, `["CMD", args…]` executes, `["CMD-SHELL", command]` runs the shell.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub interval: i64,
    /// Time after which a check has failed.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub timeout: i64,
    /// Time after the start in which failures do not count.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub start_period: i64,
    /// Time between two checks during the start period.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub start_interval: i64,
    /// Failures in a row that make the container unhealthy.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub retries: i64,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Go writes empty slices, maps and even structs as `null`.
fn null_as_default<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(input)?.unwrap_or_default())
}

/// A list of words, `null`, or (in images of Docker before 1.0) one string.
fn words<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<String>>, D::Error> {
    match Value::deserialize(input)? {
        Value::Null => Ok(None),
        Value::String(word) => Ok(Some(vec![word])),
        list => serde_json::from_value(list)
            .map(Some)
            .map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ImageConfig {
        serde_json::from_str(text).expect("a configuration")
    }

    #[test]
    fn nulls_of_go_are_empty() {
        let config = parse(
            r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":null,"Entrypoint":null,"Labels":null,"Volumes":null,
                "OnBuild":null,"ExposedPorts":null},"rootfs":{"type":"layers","diff_ids":null},"history":null}"#,
        );
        assert_eq!(config.config, ContainerDefaults::default());
        assert!(config.rootfs.diff_ids.is_empty());
        assert_eq!(
            parse(r#"{"config":null,"rootfs":{"type":"layers"}}"#).config,
            ContainerDefaults::default()
        );
    }

    #[test]
    fn absent_and_empty_commands_differ() {
        assert_eq!(parse(r#"{"config":{"Cmd":[]}}"#).config.cmd, Some(vec![]));
        assert_eq!(parse(r#"{"config":{}}"#).config.cmd, None);
        assert_eq!(
            parse(r#"{"config":{"Cmd":"ls"}}"#).config.cmd,
            Some(vec!["ls".to_owned()])
        );
    }

    #[test]
    fn a_diff_id_that_is_no_digest_is_refused() {
        let text = r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../../etc"]}}"#;
        assert!(serde_json::from_str::<ImageConfig>(text).is_err());
    }

    #[test]
    fn dockers_fields_survive_a_round_trip() {
        let text = r#"{"architecture":"arm64","variant":"v8","os":"linux","config":{"User":"www","ExposedPorts":{"80/tcp":{}},"Cmd":["a"],
            "Healthcheck":{"Test":["CMD","true"],"Interval":1000000000},"StopSignal":"SIGQUIT","StopTimeout":3},
            "rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config = parse(text);
        let again: Value = serde_json::to_value(&config).expect("json");
        assert_eq!(again, serde_json::from_str::<Value>(text).expect("json"));
    }
}
