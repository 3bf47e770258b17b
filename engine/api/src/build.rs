//! Building images: what is asked for, and what a build tells while it runs.
//!
//! `POST /hoist/build` takes a [`BuildRequest`] as the body's first line, JSON, and after it the context as a tar archive when
//! [`BuildContext::Archive`] says so; it answers with one [`BuildEvent`] a line. Docker's `POST /build` is read into the same request.
//! Client and engine are on one machine, so contexts, Dockerfiles and secrets are best given as paths: nothing is packed then.

mod output;

use std::collections::BTreeMap;

use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::host_config::Ulimit;
use crate::wire::wire;

pub use output::{ArchiveFormat, Compression, ImageArchive, OutputAsked};

/// What a build tells, in order; the last item is [`BuildEvent::Finished`] or [`BuildEvent::Failed`].
pub type BuildStream = BoxStream<'static, Result<BuildEvent>>;

/// Where the files come from that `COPY` and `ADD` name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BuildContext {
    /// Nowhere: only what the Dockerfile itself says.
    #[default]
    Empty,
    /// A directory of this machine, absolute.
    Directory(String),
    /// The tar archive in the body, plain or compressed with gzip, bzip2, xz or zstd.
    Archive,
    /// A git repository (`https://….git#ref:directory`), or the URL of an archive or of a Dockerfile.
    Remote(String),
}

/// Where the Dockerfile comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DockerfileSource {
    /// A path in the context.
    Context(String),
    /// A file of this machine, absolute; `<file>.dockerignore` beside it counts.
    File(String),
    /// The text itself.
    Text(String),
}

impl Default for DockerfileSource {
    fn default() -> Self {
        Self::Context("Dockerfile".to_owned())
    }
}

/// What a secret is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretSource {
    /// A file of this machine, absolute.
    File(String),
    /// The value itself. It is kept in memory, never on disk, and never printed.
    Value(Vec<u8>),
}

/// Without the value, so that no log and no message can hold it.
impl std::fmt::Debug for SecretSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Self::Value(_) => formatter.write_str("Value(withheld)"),
        }
    }
}

/// Credentials for a registry, as the header `X-Registry-Auth` has them. They are kept in memory, never on disk, and never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegistryLogin(pub String);

/// Without the value, so that no log and no message can hold it.
impl std::fmt::Debug for RegistryLogin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RegistryLogin(withheld)")
    }
}

/// What becomes of the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BuildOutput {
    /// An image in the engine's store. The only one when none is given.
    Image,
    /// The files of the result, written into a directory of this machine, absolute.
    Directory(String),
    /// The files of the result, as a tar archive at this path of this machine.
    Tar(String),
    /// The image as files of this machine.
    Archive(ImageArchive),
    /// Nothing is kept but the cache.
    Cache,
}

/// Where steps are taken from, or where they are left for others: `type=registry,ref=…`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CacheLocation {
    /// `local`, `registry`, `inline`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `ref`, `src`, `dest`, `mode`, …
    pub attributes: BTreeMap<String, String>,
}

/// How often a Dockerfile's check rules are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BuildCall {
    /// Build; what the checks find are warnings.
    #[default]
    Build,
    /// Only check: nothing is run.
    Check,
}

wire! {
    /// Everything a build is asked for. Docker's `/build` query and Compose's `build:` section both fit in.
    pub struct BuildRequest {
        /// The main context.
        pub context: BuildContext,
        /// The Dockerfile.
        pub dockerfile: DockerfileSource,
        /// Further contexts by name: a directory of this machine, `docker-image://…`, `oci-layout://…`, `target:…`, or a URL.
        pub contexts: BTreeMap<String, String>,
        /// Names for the result.
        pub tags: Vec<String>,
        /// The stage to build; empty: the last one.
        pub target: String,
        /// Build arguments.
        pub args: BTreeMap<String, String>,
        /// Labels to add.
        pub labels: BTreeMap<String, String>,
        /// Platforms; empty: this machine's.
        pub platforms: Vec<String>,
        /// Run every step although it has been run.
        pub no_cache: bool,
        /// Run every step of these stages although it has been run.
        pub no_cache_filter: Vec<String>,
        /// Pull images although they are here.
        pub pull: bool,
        /// Network of `RUN`: `default`, `none`, `host`, or a network's name.
        pub network: String,
        /// Lines of `/etc/hosts`, `name:address` or `name=address`.
        pub extra_hosts: Vec<String>,
        /// Bytes of `/dev/shm`; 0: 64 MiB.
        pub shm_size: i64,
        /// Limits of the processes.
        pub ulimits: Vec<Ulimit>,
        /// Bytes of memory of each `RUN`; 0: not limited.
        pub memory: i64,
        /// Bytes of memory and swap; -1: swap is not limited.
        pub memory_swap: i64,
        /// Relative weight of the processor.
        pub cpu_shares: i64,
        /// Microseconds of processor time in each period.
        pub cpu_quota: i64,
        /// Microseconds.
        pub cpu_period: i64,
        /// Processors, `0-2,4`.
        pub cpuset_cpus: String,
        /// Memory nodes.
        pub cpuset_mems: String,
        /// Parent control group of the `RUN`s.
        pub cgroup_parent: String,
        /// Secrets by id.
        pub secrets: BTreeMap<String, SecretSource>,
        /// Sockets of SSH agents of this machine by id.
        pub ssh: BTreeMap<String, String>,
        /// Credentials of registries that images and caches may come from, by the domain of their names.
        pub registries: BTreeMap<String, RegistryLogin>,
        /// What steps may do beyond the usual: `network.host`, `security.insecure`.
        pub entitlements: Vec<String>,
        /// Where finished steps may be taken from.
        pub cache_from: Vec<CacheLocation>,
        /// Where finished steps are left.
        pub cache_to: Vec<CacheLocation>,
        /// What becomes of the result; empty: an image in the store.
        pub outputs: Vec<BuildOutput>,
        /// All layers that the build adds become one.
        pub squash: bool,
        /// Keep the state of a failed `RUN` as an image without a name, so that a container can be started on it.
        pub keep_failed: bool,
        /// Build, or only check.
        pub call: BuildCall,
    }

    /// A place in a Dockerfile. Lines and columns count from 1; zero: not known.
    pub struct BuildPlace {
        /// The file's name as the user gave it.
        pub file: String,
        /// First line.
        pub line: u32,
        /// Last line.
        pub end_line: u32,
        /// First column; 0 for the whole line.
        pub column: u32,
        /// Column after the last one.
        pub end_column: u32,
        /// The lines themselves.
        pub text: String,
    }

    /// A step that is about to be done, or to be taken from the cache.
    pub struct BuildStep {
        /// Its number; events name it by that.
        pub id: u32,
        /// `[builder 2/5] RUN make`
        pub name: String,
        /// The instruction as written, on one line, variables replaced: `RUN make`.
        pub instruction: String,
        /// The stage's name or number; empty for what belongs to none (loading the context, exporting).
        pub stage: String,
        /// Steps whose results it uses.
        pub inputs: Vec<u32>,
        /// Where it stands.
        pub place: Option<BuildPlace>,
    }

    /// A finding of the checks, or anything else a user should know.
    pub struct BuildWarning {
        /// The check's name: `FromAsCasing`.
        pub rule: String,
        /// What it found.
        pub message: String,
        /// More about the rule.
        pub url: String,
        /// Where.
        pub place: Option<BuildPlace>,
    }

    /// One thing that is wrong with a Dockerfile.
    pub struct BuildFinding {
        /// What is wrong.
        pub message: String,
        /// What was expected, or what to do.
        pub hint: String,
        /// Where.
        pub place: BuildPlace,
    }

    /// Why a build failed.
    pub struct BuildFailure {
        /// What failed and why.
        pub message: String,
        /// What the user can do.
        pub hint: String,
        /// The step that failed.
        pub step: Option<u32>,
        /// Exit code of a `RUN`.
        pub exit_code: Option<i64>,
        /// The last lines that the step printed, at most 20.
        pub output: Vec<String>,
        /// Where the instruction stands.
        pub place: Option<BuildPlace>,
        /// With [`BuildRequest::keep_failed`]: the image that holds the state of the failed `RUN`, with its environment, user and
        /// directory.
        pub image: String,
        /// The command that failed, in the words that the kernel got.
        pub command: Vec<String>,
        /// When the Dockerfile is wrong: all that is, in order. The first is also the place and the hint above.
        pub findings: Vec<BuildFinding>,
    }

    /// What a build made.
    pub struct BuildResult {
        /// The image's id; empty when no image was asked for.
        pub image: String,
        /// The digest of its manifest.
        pub digest: String,
        /// The names it got in the store, familiar form.
        pub tags: Vec<String>,
        /// The result's layers: digests of their uncompressed archives, lowest first. The store keeps them as long as the build cache
        /// has the steps that made them.
        pub layers: Vec<String>,
    }
}

/// One thing a build tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "event", content = "value")]
pub enum BuildEvent {
    /// A step begins. A step taken from the cache begins and ends at once.
    Started {
        /// Which.
        step: BuildStep,
        /// Unix time in microseconds.
        at: i64,
    },
    /// A step printed something.
    Output {
        /// Which.
        step: u32,
        /// On its standard error.
        stderr: bool,
        /// What; cut anywhere, not only at the ends of lines.
        text: String,
    },
    /// How far a step is that moves bytes.
    Progress {
        /// Which.
        step: u32,
        /// Of what: a layer's digest, a file's name.
        item: String,
        /// Bytes so far.
        current: i64,
        /// Bytes in all; 0: not known.
        total: i64,
    },
    /// A step ended.
    Done {
        /// Which.
        step: u32,
        /// It had been done before with the same inputs.
        cached: bool,
        /// Unix time in microseconds.
        at: i64,
        /// Why it failed; empty: it did not.
        error: String,
    },
    /// Something a user should know.
    Warning(BuildWarning),
    /// The build failed. Nothing follows.
    Failed(BuildFailure),
    /// The build is done. Nothing follows.
    Finished(BuildResult),
}

wire! {
    /// What [`crate::Engine::build_prune`] is asked for.
    pub struct BuildPrune {
        /// Also what images are made of.
        pub all: bool,
        /// Bytes that may stay; 0: none.
        pub keep_storage: i64,
        /// Remove until no more bytes are used; 0: no such limit.
        pub max_used_space: i64,
        /// Remove until this many bytes of the disk are free; 0: no such limit.
        pub min_free_space: i64,
        /// Only what was not used for this many seconds; 0: any.
        pub unused_for: i64,
        /// Only records of which this holds: `id`, `type`, `description`, `inuse`, `shared`, `private`.
        pub filters: BTreeMap<String, Vec<String>>,
    }

    /// What a prune of the build cache removed.
    pub struct BuildPruned {
        /// Keys of removed records.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub caches_deleted: Vec<String>,
        /// Bytes given back.
        pub space_reclaimed: i64,
    }
}

/// Reads a build's events to the end.
///
/// # Errors
/// The build's failure, worded for the user.
pub async fn finish(mut events: BuildStream) -> Result<BuildResult> {
    use futures_util::StreamExt as _;
    while let Some(event) = events.next().await {
        match event? {
            BuildEvent::Finished(result) => return Ok(result),
            BuildEvent::Failed(failure) => {
                let error = crate::ApiError::new(crate::ErrorKind::Internal, failure.message);
                return Err(if failure.hint.is_empty() {
                    error
                } else {
                    error.with_hint(failure.hint)
                });
            }
            _ => {}
        }
    }
    Err(crate::ApiError::new(
        crate::ErrorKind::Unreachable,
        "the engine went away during the build",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_nothing_and_survives_the_wire() {
        let empty: BuildRequest = serde_json::from_str("{\"Tags\":null}").unwrap();
        assert_eq!(
            empty.dockerfile,
            DockerfileSource::Context("Dockerfile".to_owned())
        );
        let request = BuildRequest {
            context: BuildContext::Directory("/src".to_owned()),
            secrets: BTreeMap::from([("a".to_owned(), SecretSource::Value(vec![0, 255]))]),
            outputs: vec![BuildOutput::Tar("/x.tar".to_owned())],
            ..BuildRequest::default()
        };
        let text = serde_json::to_string(&request).unwrap();
        assert!(!text.contains('\n'));
        assert_eq!(
            serde_json::from_str::<BuildRequest>(&text).unwrap(),
            request
        );
    }

    #[test]
    fn events_survive_the_wire() {
        for event in [
            BuildEvent::Warning(BuildWarning::default()),
            BuildEvent::Done {
                step: 1,
                cached: true,
                at: 5,
                error: String::new(),
            },
            BuildEvent::Finished(BuildResult::default()),
        ] {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<BuildEvent>(&text).unwrap(), event);
        }
    }
}
