//! The whole project.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Config, Extensions, ModelDefinition, Network, Secret, Service, Volume};

/// One Compose project: what the user's files mean together, ready to be planned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Project {
    /// The project's name: lower case letters, digits, `-` and `_`. Prefix of every container, network and volume.
    pub name: String,
    /// Absolute directory that relative paths of the files were resolved against.
    #[serde(skip)]
    pub working_dir: PathBuf,
    /// The Compose files read, absolute, in order (`-` for standard input).
    #[serde(skip)]
    pub compose_files: Vec<PathBuf>,
    /// The `.env` / `--env-file` files read, absolute.
    #[serde(skip)]
    pub env_files: Vec<PathBuf>,
    /// The variables that interpolation saw: process environment over `--env-file`/`.env`.
    #[serde(skip)]
    pub environment: IndexMap<String, String>,
    /// The active profiles.
    #[serde(skip)]
    pub profiles: Vec<String>,
    /// Enabled services by name, in the order of the files.
    pub services: IndexMap<String, Service>,
    /// Services of the files whose profiles are not active.
    #[serde(skip)]
    pub disabled_services: IndexMap<String, Service>,
    /// Networks by their key in the file (`default` included when a service uses it).
    pub networks: IndexMap<String, Network>,
    /// Named volumes by their key in the file.
    pub volumes: IndexMap<String, Volume>,
    /// Secrets by their key in the file.
    pub secrets: IndexMap<String, Secret>,
    /// Configs by their key in the file.
    pub configs: IndexMap<String, Config>,
    /// Language models by their key in the file.
    pub models: IndexMap<String, ModelDefinition>,
    /// Top-level `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
