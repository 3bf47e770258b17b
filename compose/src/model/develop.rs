//! `develop.watch`.

use serde::{Deserialize, Serialize};

use super::{Extensions, Hook};

/// Development settings of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Develop {
    /// What to do when files change.
    pub watch: Vec<Watch>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// One watch rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watch {
    /// Watched path.
    pub path: String,
    /// `rebuild`, `sync`, `restart`, `sync+restart` or `sync+exec`.
    pub action: String,
    /// Where to copy changed files in the container.
    pub target: Option<String>,
    /// Command to run after a sync.
    pub exec: Hook,
    /// Only these patterns.
    pub include: Vec<String>,
    /// Not these patterns.
    pub ignore: Vec<String>,
    /// Copy everything once at the start.
    pub initial_sync: bool,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
