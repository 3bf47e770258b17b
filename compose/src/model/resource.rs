//! Top-level volumes, secrets, configs and language models.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Extensions;

/// A named volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// The name at the engine: `<project>_<key>` unless the file names it.
    pub name: String,
    /// Driver; none means `local`.
    pub driver: Option<String>,
    /// Driver options.
    pub driver_opts: IndexMap<String, String>,
    /// It exists already and is not ours to create or remove.
    pub external: bool,
    /// Labels of the volume.
    pub labels: IndexMap<String, String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A secret. Exactly one of `file`, `environment`, `external`, `driver` gives its content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Secret {
    /// The name at the engine.
    pub name: String,
    /// Absolute path of the file that holds it.
    pub file: Option<String>,
    /// The variable that holds it.
    pub environment: Option<String>,
    /// The value of that variable, when it is set. Never printed.
    #[serde(skip)]
    pub environment_value: Option<String>,
    /// It lives in a store outside the project.
    pub external: bool,
    /// Labels.
    pub labels: IndexMap<String, String>,
    /// Secret driver.
    pub driver: Option<String>,
    /// Driver options.
    pub driver_opts: IndexMap<String, String>,
    /// Driver of the template language.
    pub template_driver: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A config. Exactly one of `file`, `environment`, `content`, `external` gives its content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The name at the engine.
    pub name: String,
    /// Absolute path of the file that holds it.
    pub file: Option<String>,
    /// The variable that holds it.
    pub environment: Option<String>,
    /// The content itself.
    pub content: Option<String>,
    /// It lives in a store outside the project.
    pub external: bool,
    /// Labels.
    pub labels: IndexMap<String, String>,
    /// Driver of the template language.
    pub template_driver: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A language model that services can use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelDefinition {
    /// The name at the engine.
    pub name: String,
    /// The model's OCI reference.
    pub model: Option<String>,
    /// Tokens of context.
    pub context_size: Option<i64>,
    /// Flags for the inference engine.
    pub runtime_flags: Vec<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
