//! How to build a service's image.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Extensions, FileReference, Ulimit};

/// The `build` section.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// Directory or URL of the build context.
    pub context: Option<String>,
    /// Dockerfile, relative to the context.
    pub dockerfile: Option<String>,
    /// The Dockerfile's text itself.
    pub dockerfile_inline: Option<String>,
    /// Extra privileges.
    pub entitlements: Vec<String>,
    /// Build arguments.
    pub args: IndexMap<String, Option<String>>,
    /// SSH agents and keys, by id: an empty path means the agent.
    pub ssh: IndexMap<String, String>,
    /// Labels of the image.
    pub labels: IndexMap<String, String>,
    /// Cache sources.
    pub cache_from: Vec<String>,
    /// Cache destinations.
    pub cache_to: Vec<String>,
    /// Do not use the cache.
    pub no_cache: bool,
    /// Do not use the cache for these stages.
    pub no_cache_filter: Vec<String>,
    /// Further named contexts.
    pub additional_contexts: IndexMap<String, String>,
    /// Pull newer base images.
    pub pull: bool,
    /// `host=address` entries.
    pub extra_hosts: Vec<String>,
    /// Isolation technology.
    pub isolation: Option<String>,
    /// Network of `RUN`.
    pub network: Option<String>,
    /// Stage to build.
    pub target: Option<String>,
    /// Secrets for `RUN --mount=type=secret`.
    pub secrets: Vec<FileReference>,
    /// Size of `/dev/shm`.
    pub shm_size: Option<ByteSize>,
    /// Further tags.
    pub tags: Vec<String>,
    /// Limits of `RUN`.
    pub ulimits: IndexMap<String, Ulimit>,
    /// Platforms.
    pub platforms: Vec<String>,
    /// Run with extended privileges.
    pub privileged: bool,
    /// Provenance attestation.
    pub provenance: Option<String>,
    /// SBOM attestation.
    pub sbom: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
