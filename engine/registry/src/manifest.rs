//! The documents that describe images: OCI descriptors, manifests and indexes, and Docker's of the same form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use hoist_api::Digest;

/// A list of manifests.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// An image's manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// An image's configuration.
pub const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// A layer's archive, uncompressed.
pub const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer's archive, compressed with gzip.
pub const GZIP_LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Docker's name of [`INDEX_TYPE`].
pub const DOCKER_LIST_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's name of [`MANIFEST_TYPE`].
pub const DOCKER_MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's name of [`CONFIG_TYPE`].
pub const DOCKER_CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";
/// A layer's archive, compressed with zstd.
pub const ZSTD_LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's name of [`LAYER_TYPE`].
pub const DOCKER_PLAIN_LAYER_TYPE: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker's name of [`GZIP_LAYER_TYPE`].
pub const DOCKER_LAYER_TYPE: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// containerd's annotation of a whole image name.
pub const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// OCI's annotation of a name within a layout: a tag, or whatever the tool that wrote it took for a name.
pub const REF_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// Docker's mark of a manifest that is about another one (an attestation), not an image.
pub const ABOUT_ANNOTATION: &str = "vnd.docker.reference.type";

/// Free facts about an object.
pub type Annotations = BTreeMap<String, String>;

/// A reference to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is, as whoever wrote this says.
    #[serde(default)]
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// Its bytes.
    #[serde(default)]
    pub size: u64,
    /// In an index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<DescribedPlatform>,
    /// Where else the content may be fetched: layers that must not be distributed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// The platform of a manifest in an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedPlatform {
    /// `amd64`
    #[serde(default)]
    pub architecture: String,
    /// `linux`
    #[serde(default)]
    pub os: String,
    /// `v8`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl std::fmt::Display for DescribedPlatform {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(out, "/{}", self.variant)?;
        }
        Ok(())
    }
}

/// An image's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What the document says it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The configuration; its digest is the image's id.
    pub config: Descriptor,
    /// Lowest first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// Free facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// A list of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What the document says it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// Manifests, or further indexes.
    pub manifests: Vec<Descriptor>,
}

/// What a document at a manifest's place is.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, and a manifest is the rule"
)]
pub enum Document {
    /// An image for one platform.
    Manifest(Manifest),
    /// A list.
    Index(Index),
}

impl Document {
    /// Tells a manifest from an index by what it holds, never by what somebody else says that it is; one that could be both is refused
    /// (CVE-2021-41190).
    ///
    /// # Errors
    /// What it is instead.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
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
    /// A descriptor without platform and annotations.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            urls: Vec::new(),
            annotations: None,
        }
    }

    /// Whether it is an image and not an attestation, which lies in an index beside the image that it is about.
    #[must_use]
    pub fn is_image(&self) -> bool {
        let is_unknown = self
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "unknown");
        !is_unknown && self.annotation(ABOUT_ANNOTATION).is_none()
    }

    /// One annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
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
