//! Images in the local store.

use std::collections::BTreeMap;

use crate::container::ContainerConfig;
use crate::inspect::GraphDriver;
use crate::wire::wire;

wire! {
    /// The layers of an image.
    pub struct RootFs {
        /// `layers`.
        #[serde(rename = "Type")]
        pub kind: String,
        /// Digests of the uncompressed layers, lowest first.
        pub layers: Vec<String>,
    }

    /// Facts beside the image's configuration.
    pub struct ImageMetadata {
        /// RFC 3339, or [`crate::ZERO_TIME`].
        pub last_tag_time: String,
    }

    /// Everything about an image.
    pub struct ImageInspect {
        /// `sha256:…`.
        pub id: String,
        /// Familiar references.
        pub repo_tags: Vec<String>,
        /// References by digest.
        pub repo_digests: Vec<String>,
        /// Id of the parent, of built images.
        pub parent: String,
        /// Commit message.
        pub comment: String,
        /// RFC 3339.
        pub created: String,
        /// Version of the tool that made it.
        pub docker_version: String,
        /// Author.
        pub author: String,
        /// Configuration.
        pub config: ContainerConfig,
        /// `amd64`, …
        pub architecture: String,
        /// `v8`, …
        #[serde(skip_serializing_if = "String::is_empty")]
        pub variant: String,
        /// `linux`.
        pub os: String,
        /// Bytes of all layers.
        pub size: i64,
        /// Where the layers are.
        pub graph_driver: GraphDriver,
        /// The layers.
        #[serde(rename = "RootFS")]
        pub root_fs: RootFs,
        /// Facts beside the configuration.
        pub metadata: ImageMetadata,
    }

    /// What a registry says about a name: the manifest, or the index of manifests, that it stands for.
    pub struct DistributionInspect {
        /// The manifest or index.
        pub descriptor: Descriptor,
        /// Platforms it has.
        pub platforms: Vec<ImagePlatform>,
    }

    /// Content in a registry, as the OCI image specification describes it.
    pub struct Descriptor {
        /// Media type.
        #[serde(rename = "mediaType")]
        pub media_type: String,
        /// `sha256:…`.
        #[serde(rename = "digest")]
        pub digest: String,
        /// Bytes.
        #[serde(rename = "size")]
        pub size: i64,
    }

    /// What an image runs on.
    pub struct ImagePlatform {
        /// `amd64`, …
        #[serde(rename = "architecture")]
        pub architecture: String,
        /// `linux`.
        #[serde(rename = "os")]
        pub os: String,
        /// `v8`, …
        #[serde(rename = "variant", skip_serializing_if = "String::is_empty")]
        pub variant: String,
    }

    /// One line of a list of images.
    pub struct ImageSummary {
        /// `sha256:…`.
        pub id: String,
        /// Id of the parent.
        pub parent_id: String,
        /// Familiar references.
        pub repo_tags: Vec<String>,
        /// References by digest.
        pub repo_digests: Vec<String>,
        /// Unix seconds.
        pub created: i64,
        /// Bytes.
        pub size: i64,
        /// Bytes shared with other images, -1 when not computed.
        pub shared_size: i64,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// Containers using it, -1 when not computed.
        pub containers: i64,
    }

    /// One thing a removal did.
    pub struct ImageDelete {
        /// A reference that went away.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub untagged: String,
        /// An id that went away.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub deleted: String,
    }

    /// Answer to the removal of all images that nothing uses.
    pub struct ImagesPruned {
        /// What was removed.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub images_deleted: Vec<ImageDelete>,
        /// Bytes freed.
        pub space_reclaimed: i64,
    }

    /// One step of an image's history.
    pub struct ImageHistory {
        /// Image id, or `<missing>`.
        pub id: String,
        /// Unix seconds.
        pub created: i64,
        /// What made it.
        pub created_by: String,
        /// Familiar references.
        pub tags: Option<Vec<String>>,
        /// Bytes.
        pub size: i64,
        /// Message.
        pub comment: String,
    }

    /// A repository that a search found.
    pub struct ImageSearchResult {
        /// What its owner says of it.
        #[serde(rename = "description")]
        pub description: String,
        /// Whether the registry's owner vouches for it.
        #[serde(rename = "is_official")]
        pub is_official: bool,
        /// Whether the registry builds it; registries say so no more.
        #[serde(rename = "is_automated")]
        pub is_automated: bool,
        /// Its name.
        #[serde(rename = "name")]
        pub name: String,
        /// How many people like it.
        #[serde(rename = "star_count")]
        pub star_count: i64,
    }

    /// How far something is.
    pub struct ProgressDetail {
        /// Bytes so far.
        #[serde(rename = "current", skip_serializing_if = "Option::is_none")]
        pub current: Option<i64>,
        /// Bytes in all.
        #[serde(rename = "total", skip_serializing_if = "Option::is_none")]
        pub total: Option<i64>,
    }

    /// A failure inside a stream of progress.
    pub struct ErrorDetail {
        /// Exit code of a command.
        #[serde(rename = "code", skip_serializing_if = "Option::is_none")]
        pub code: Option<i64>,
        /// Reason.
        #[serde(rename = "message")]
        pub message: String,
    }

    /// One line of progress of a pull, push, load, import or build.
    pub struct Progress {
        /// What is done.
        #[serde(rename = "status", skip_serializing_if = "String::is_empty")]
        pub status: String,
        /// To which layer or tag.
        #[serde(rename = "id", skip_serializing_if = "String::is_empty")]
        pub id: String,
        /// How far.
        #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
        pub progress_detail: Option<ProgressDetail>,
        /// How far, drawn.
        #[serde(rename = "progress", skip_serializing_if = "String::is_empty")]
        pub progress: String,
        /// Text to print as it is.
        #[serde(rename = "stream", skip_serializing_if = "String::is_empty")]
        pub stream: String,
        /// Result for programs.
        #[serde(rename = "aux", skip_serializing_if = "Option::is_none")]
        pub aux: Option<serde_json::Value>,
        /// Failure.
        #[serde(rename = "error", skip_serializing_if = "String::is_empty")]
        pub error: String,
        /// Failure.
        #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
        pub error_detail: Option<ErrorDetail>,
    }
}

wire! {
    /// How a login went.
    pub struct AuthOutcome {
        /// `Login Succeeded`.
        pub status: String,
        /// A token to keep instead of the password.
        pub identity_token: String,
    }
}

/// What a pull is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullImage {
    /// `name[:tag][@digest]`.
    pub reference: String,
    /// `linux/arm64`; empty for the engine's own.
    pub platform: String,
    /// The value of `X-Registry-Auth`; empty for none. Never logged.
    pub auth: String,
}

/// What a push is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushImage {
    /// `name[:tag]`; without a tag every tag of the repository.
    pub reference: String,
    /// The value of `X-Registry-Auth`; empty for none. Never logged.
    pub auth: String,
}

/// What an import is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportImage {
    /// `name[:tag]`; empty: no reference.
    pub reference: String,
    /// Dockerfile instructions for the configuration: `CMD ["x"]`, `ENV a=b`.
    pub changes: Vec<String>,
    /// Commit message.
    pub message: String,
    /// `os/arch[/variant]` that the image is for; empty: the engine's own.
    pub platform: String,
}

/// What a search asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchImages {
    /// Words, after the registry's name and a slash when it is not Docker Hub: `redis`, `registry.lab:5000/tools`.
    pub term: String,
    /// Most results, 1 to 100; `None`: 25.
    pub limit: Option<u32>,
    /// `is-official`, `is-automated` (`true`, `false`), `stars` (at least so many).
    pub filters: crate::Filters,
    /// The value of `X-Registry-Auth`; empty for none. Never logged.
    pub auth: String,
}

/// What a removal of an image is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemoveImage {
    /// Although stopped containers use it or it has several references.
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
}
