//! Health checks.

use serde::{Deserialize, Serialize};

use super::{ComposeDuration, Extensions};

/// How to find out whether a container is healthy. Unset values come from the image, then from the engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`; empty means the image's.
    pub test: Vec<String>,
    /// Time limit of one probe.
    pub timeout: Option<ComposeDuration>,
    /// Time between probes.
    pub interval: Option<ComposeDuration>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u64>,
    /// Failures do not count during this time after the start.
    pub start_period: Option<ComposeDuration>,
    /// Time between probes during the start period.
    pub start_interval: Option<ComposeDuration>,
    /// No health check, even when the image has one.
    pub disable: bool,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
