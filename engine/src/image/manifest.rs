//! The documents of archives and of the store's own index: OCI descriptors, manifests, indexes, and `docker save`'s list of images.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use hoist_api::Digest;

pub(crate) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// containerd's annotation of a whole image name.
pub(crate) const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// OCI's annotation of a name within a layout: a tag, or whatever the tool that wrote it took for a name.
pub(crate) const REF_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// Docker's mark of a manifest that is about another one (an attestation), not an image.
pub(crate) const ABOUT_ANNOTATION: &str = "vnd.docker.reference.type";

pub(crate) type Annotations = BTreeMap<String, String>;

/// A reference to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<DescribedPlatform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<Annotations>,
}

/// The platform of a manifest in an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DescribedPlatform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) variant: String,
}

/// An image's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
}

/// A list of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

/// One image of `manifest.json` in a `docker save` archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SavedImage {
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) layers: Option<Vec<String>>,
}

/// What a document at a manifest's place is.
#[derive(Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

impl Document {
    /// Tells a manifest from an index by what it holds, never by what somebody else says that it is; one that could be both is refused
    /// (CVE-2021-41190).
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let has = |key: &str| value.get(key).is_some_and(|member| !member.is_null());
        match (
            has("manifests"),
            has("config") || has("layers") || has("fsLayers"),
        ) {
            (true, true) => Err("it is a manifest and an index at once".to_owned()),
            (true, false) => serde_json::from_value(value)
                .map(Self::Index)
                .map_err(|error| error.to_string()),
            (false, true) if has("fsLayers") => {
                Err("it has the form of 2015 (schema 1), which is no longer supported".to_owned())
            }
            (false, true) => serde_json::from_value(value)
                .map(Self::Manifest)
                .map_err(|error| error.to_string()),
            (false, false) => Err("it is neither a manifest nor an index".to_owned()),
        }
    }
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: None,
        }
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match Document::parse(text.as_bytes()) {
            Ok(Document::Manifest(_)) => "manifest".to_owned(),
            Ok(Document::Index(_)) => "index".to_owned(),
            Err(error) => error,
        };
        assert!(found.contains(expected), "{text}: {found}");
    }

    #[test]
    fn documents_are_told_apart_by_their_content() {
        let digest = Digest::of(b"x");
        let descriptor = format!(r#"{{"mediaType":"m","digest":"{digest}","size":1}}"#);
        check(
            &format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[]}}"#),
            "manifest",
        );
        check(r#"{"schemaVersion":2,"manifests":[]}"#, "index");
        check(
            &format!(r#"{{"schemaVersion":2,"manifests":[],"config":{descriptor}}}"#),
            "at once",
        );
        check(r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema 1");
        check("{}", "neither");
        check("[]", "neither");
        check("{", "EOF");
    }
}
