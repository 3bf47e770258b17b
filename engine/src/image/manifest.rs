//! The documents of archives and of the store's own index: those of registries, and `docker save`'s list of images.

use serde::{Deserialize, Serialize};

pub(crate) use hoist_registry::manifest::{
    Annotations, CONFIG_TYPE, DOCKER_CONFIG_TYPE, DOCKER_LAYER_TYPE, DOCKER_MANIFEST_TYPE,
    DOCKER_PLAIN_LAYER_TYPE, DescribedPlatform, Descriptor, Document, GZIP_LAYER_TYPE, INDEX_TYPE,
    Index, LAYER_TYPE, MANIFEST_TYPE, Manifest, NAME_ANNOTATION, REF_ANNOTATION, ZSTD_LAYER_TYPE,
};

/// One image of `manifest.json` in a `docker save` archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SavedImage {
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) layers: Option<Vec<String>>,
}
