//! What a build is: steps that need each other, and the configuration of the image at the end.
//!
//! A step's [`Op`] says everything that decides its result except the results of the steps it names, so that a cache
//! key is the operation with each [`NodeId`] replaced by that step's own key or its files' content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
pub use crate::instruction::{Network, Security};
use crate::span::Span;

/// A step of a graph: its place in [`BuildGraph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub usize);

/// A build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildGraph {
    /// The steps; each needs only steps before it. Only those that the target needs.
    pub nodes: Vec<Node>,
    /// The step whose file system the image gets.
    pub target: NodeId,
    /// The target stage's name, `stage-1` when it has none.
    pub target_stage: String,
    /// The image's configuration.
    pub config: ImageConfig,
    /// `MAINTAINER`.
    pub author: Option<String>,
    /// What this build adds to the history, after that of `base_image`.
    pub history: Vec<History>,
    /// The image below the target's stages, whose layers and history come first.
    pub base_image: Option<NodeId>,
    /// The image's platform.
    pub platform: Platform,
    /// Proxy settings every `RUN` gets besides its own environment. They are no part of a cache key.
    pub proxy: BTreeMap<String, String>,
    /// `SOURCE_DATE_EPOCH`: seconds since 1970 that all times in the image are cut to.
    pub source_date_epoch: Option<i64>,
    /// Build checks.
    pub warnings: Vec<Diagnostic>,
    /// When it is asked for: what each instruction leaves, stage by stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trail: Vec<Mark>,
}

/// The image that an instruction leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// The stage's place in the file.
    pub stage: usize,
    /// The instruction comes from an image below, by `ONBUILD`.
    pub is_trigger: bool,
    /// The step whose file system the image gets.
    pub node: NodeId,
    /// The image's configuration.
    pub config: ImageConfig,
    /// `MAINTAINER`.
    pub author: Option<String>,
    /// As [`BuildGraph::history`].
    pub history: Vec<History>,
    /// As [`BuildGraph::base_image`].
    pub base_image: Option<NodeId>,
    /// The image's platform.
    pub platform: Platform,
}

impl BuildGraph {
    /// The step of an id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Node {
    /// The stage's name; empty for what no stage owns: images, contexts.
    pub stage: String,
    /// What the user sees: `[web 2/4] RUN make`.
    pub name: String,
    /// The instruction, in the Dockerfile.
    pub span: Span,
    /// Its result is not taken from the cache.
    pub no_cache: bool,
    /// What it does.
    pub op: Op,
}

/// What a step does. Its result is a file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Nothing in it.
    Scratch,
    /// An image's files.
    Image {
        /// As written, after expansion.
        reference: String,
        /// Which of its platforms.
        platform: Platform,
    },
    /// The files of a build context.
    Context {
        /// `None` is the main one, others are named by `--build-context`.
        name: Option<String>,
    },
    /// A command that runs in a file system.
    Run(Box<RunOp>),
    /// Files that come into a file system: `COPY` and `ADD`.
    Copy(Box<CopyOp>),
    /// A directory that is made when it is not there.
    Workdir {
        /// What it is made in.
        base: NodeId,
        /// Absolute.
        path: String,
        /// Whose it is, with names of that file system; empty is root.
        user: String,
    },
}

impl Op {
    /// The steps it needs, the one it builds on first.
    pub fn inputs(&self) -> Vec<NodeId> {
        match self {
            Self::Scratch | Self::Image { .. } | Self::Context { .. } => Vec::new(),
            Self::Workdir { base, .. } => vec![*base],
            Self::Run(run) => {
                let mounts = run.mounts.iter().filter_map(|mount| mount.kind.from());
                std::iter::once(run.base).chain(mounts).collect()
            }
            Self::Copy(copy) => {
                let sources = copy.sources.iter().filter_map(|source| match source {
                    Source::Files { from, .. } => Some(*from),
                    _ => None,
                });
                std::iter::once(copy.base).chain(sources).collect()
            }
        }
    }

    /// The step whose file system this one changes.
    pub fn base(&self) -> Option<NodeId> {
        match self {
            Self::Scratch | Self::Image { .. } | Self::Context { .. } => None,
            Self::Workdir { base, .. } => Some(*base),
            Self::Run(run) => Some(run.base),
            Self::Copy(copy) => Some(copy.base),
        }
    }
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunOp {
    /// What it runs in.
    pub base: NodeId,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value` of the image and of the build arguments in scope.
    pub env: Vec<(String, String)>,
    /// Absolute.
    pub workdir: String,
    /// With names of that file system; empty is root.
    pub user: String,
    /// `--mount`.
    pub mounts: Vec<RunMount>,
    /// `--network`; default is that of the build.
    pub network: Network,
    /// `--security`.
    pub security: Security,
    /// Scripts from heredocs that begin with `#!`, put read-only below their path.
    pub scripts: Vec<InlineFile>,
}

/// A file whose content is in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InlineFile {
    /// A script's absolute path, or the name that a copied file gets.
    pub path: String,
    /// Its content.
    pub data: String,
    /// Permission bits.
    pub mode: u32,
}

/// `RUN --mount`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunMount {
    /// Absolute; empty for a secret that is only a variable.
    pub target: String,
    /// What is mounted there.
    #[serde(flatten)]
    pub kind: MountKind,
}

/// What `RUN --mount` mounts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum MountKind {
    /// Files of a step or context.
    Bind {
        /// Whose.
        from: NodeId,
        /// Path in it.
        source: String,
        /// Writes are allowed, and forgotten.
        writable: bool,
    },
    /// A directory that stays between builds.
    Cache {
        /// Which.
        id: String,
        /// How it is shared with other steps.
        sharing: Sharing,
        /// What it begins with.
        from: Option<NodeId>,
        /// Path in that.
        source: String,
        /// No writes.
        read_only: bool,
        /// Owner and mode when it is made.
        owner: Ownership,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; `None` is as much as there is.
        size: Option<u64>,
    },
    /// A secret of the build.
    Secret {
        /// Which.
        id: String,
        /// The variable that gets it; `target` may then be empty.
        env: Option<String>,
        /// The build fails without it.
        required: bool,
        /// Of the file; 0400 by default.
        owner: Ownership,
    },
    /// A socket to an SSH agent.
    Ssh {
        /// Which.
        id: String,
        /// The build fails without it.
        required: bool,
        /// Of the socket; 0600 by default.
        owner: Ownership,
    },
}

impl MountKind {
    /// The step whose files it shows.
    pub fn from(&self) -> Option<NodeId> {
        match self {
            Self::Bind { from, .. } => Some(*from),
            Self::Cache { from, .. } => *from,
            _ => None,
        }
    }
}

/// Owner and mode of what a mount makes; `None` is the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ownership {
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// How steps share a cache mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// All at once.
    #[default]
    Shared,
    /// Each step that runs meanwhile gets another.
    Private,
    /// One after the other.
    Locked,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CopyOp {
    /// What the files come into.
    pub base: NodeId,
    /// What comes.
    pub sources: Vec<Source>,
    /// Absolute; a trailing slash says that it is a directory.
    pub dest: String,
    /// `--chown`, `user[:group]` with names of the base's file system.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<Chmod>,
    /// `--link`: the files are a layer of their own that does not look at the base.
    pub link: bool,
    /// `--parents`: the sources' directories are kept.
    pub parents: bool,
    /// `--exclude` patterns, in the language of `.dockerignore`, beneath each source.
    pub exclude: Vec<String>,
}

/// `--chmod`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chmod {
    /// Permission bits.
    Octal(u32),
    /// `u=rwX,go=rX`.
    Symbolic(String),
}

/// Something that `COPY` or `ADD` brings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Files of a step or context.
    Files {
        /// Whose.
        from: NodeId,
        /// Path in it from its root, perhaps with wildcards; without `..`.
        path: String,
        /// With `--parents`: what is kept of the path, from the `/./` on.
        parents_pattern: Option<String>,
        /// Archives are unpacked.
        unpack: bool,
    },
    /// A file from a heredoc.
    Inline(InlineFile),
    /// A file from the network.
    Url {
        /// Where.
        url: String,
        /// The name it gets in a directory.
        filename: String,
        /// `sha256:…` it must have.
        checksum: Option<String>,
        /// An archive is unpacked.
        unpack: bool,
    },
    /// A git repository.
    Git(GitSource),
}

/// A git repository as a source of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GitSource {
    /// URL or `user@host:path`.
    pub remote: String,
    /// Branch, tag or commit; empty is the default branch.
    pub reference: String,
    /// Directory in it; empty is all.
    pub subdir: String,
    /// The commit it must be.
    pub checksum: Option<String>,
    /// `.git` stays.
    pub keep_git_dir: bool,
    /// Submodules come too.
    pub submodules: bool,
}

/// An image's configuration, with the names of the OCI image specification, to be read from and written to its JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// `USER`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `EXPOSE`: `80/tcp`.
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `ENV`: `NAME=value`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// `ENTRYPOINT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// `CMD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// `VOLUME`.
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// `WORKDIR`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// `LABEL`.
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// `STOPSIGNAL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// `HEALTHCHECK`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// `ONBUILD`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// `SHELL`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

/// `{}`: what sets are made of in image configurations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Empty {}

/// Images write `null` for what is empty.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// `HEALTHCHECK`. Times are in nanoseconds; nought is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    #[serde(deserialize_with = "nullable")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "is_nought")]
    pub interval: i64,
    /// Until a check has failed.
    #[serde(skip_serializing_if = "is_nought")]
    pub timeout: i64,
    /// During which failures do not count.
    #[serde(skip_serializing_if = "is_nought")]
    pub start_period: i64,
    /// Between two checks meanwhile.
    #[serde(skip_serializing_if = "is_nought")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_nought_u32")]
    pub retries: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_nought(value: &i64) -> bool {
    *value == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_nought_u32(value: &u32) -> bool {
    *value == 0
}

/// A line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The step that made the layer; `None` when the line has no layer.
    pub node: Option<NodeId>,
    /// What is shown: `RUN /bin/sh -c make # buildkit`.
    pub created_by: String,
}

/// An operating system and a processor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
    /// `v8`; may be empty.
    pub variant: String,
}

impl Platform {
    /// Reads `os/architecture[/variant]` or a part of it, with the usual names put for others: `x86_64` is `amd64`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let valid = |part: &&str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        };
        if parts.len() > 3 || !parts.iter().all(valid) {
            return Err(format!("{text:?} is not os/architecture[/variant]"));
        }
        let lower: Vec<String> = parts.iter().map(|part| part.to_lowercase()).collect();
        let (os, architecture, variant) = match lower.as_slice() {
            [one] if matches!(one.as_str(), "linux" | "windows" | "darwin" | "freebsd") => {
                (one.as_str(), host_architecture(), "")
            }
            [one] => ("linux", one.as_str(), ""),
            [os, architecture] => (os.as_str(), architecture.as_str(), ""),
            [os, architecture, variant, ..] => {
                (os.as_str(), architecture.as_str(), variant.as_str())
            }
            [] => return Err(format!("{text:?} is not os/architecture[/variant]")),
        };
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("i386" | "i686", _) => ("386", ""),
            (architecture, variant) => (architecture, variant),
        };
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        })
    }

    /// That of this machine.
    pub fn host() -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: host_architecture().to_owned(),
            variant: String::new(),
        }
    }
}

fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.variant)
        }
    }
}
