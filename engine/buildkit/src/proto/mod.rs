//! The messages of the protocol, written by hand from BuildKit's `.proto` files: only the fields that are used. What is not
//! listed is skipped when read.

pub mod control;
pub mod gateway;
pub mod session;

use std::time::{SystemTime, UNIX_EPOCH};

/// `google.protobuf.Timestamp`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Timestamp {
    /// Unix time in seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The rest in nanoseconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// From Unix time in microseconds.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        let rest = micros.rem_euclid(1_000_000);
        Self {
            seconds: micros.div_euclid(1_000_000),
            nanos: i32::try_from(rest * 1000).unwrap_or_default(),
        }
    }

    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self::from_micros(i64::try_from(since.as_micros()).unwrap_or_default())
    }
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Any {
    /// What `value` is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message; BuildKit puts JSON here.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RpcStatus {
    /// gRPC's code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// For programs.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `pb.Platform`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Platform {
    /// `amd64`
    #[prost(string, tag = "1")]
    pub architecture: String,
    /// `linux`
    #[prost(string, tag = "2")]
    pub os: String,
    /// `v8`
    #[prost(string, tag = "3")]
    pub variant: String,
}

/// `pb.Definition`: a graph of operations, each marshalled by itself.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Definition {
    /// The operations; the last one only points at the result.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub operations: Vec<Vec<u8>>,
    /// Something about each operation, by digest. Clients want an entry for every one.
    #[prost(btree_map = "string, message", tag = "2")]
    pub metadata: std::collections::BTreeMap<String, OperationMetadata>,
}

/// `pb.OpMetadata`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct OperationMetadata {
    /// Do it although it has been done.
    #[prost(bool, tag = "1")]
    pub ignore_cache: bool,
}

/// `pb.Op`, as far as sources go.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Operation {
    /// Results of other operations.
    #[prost(message, repeated, tag = "1")]
    pub inputs: Vec<Input>,
    /// Something from outside.
    #[prost(message, optional, tag = "3")]
    pub source: Option<SourceOperation>,
}

/// `pb.Input`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Input {
    /// Digest of the marshalled operation.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Which of its results.
    #[prost(int64, tag = "2")]
    pub index: i64,
}

/// `pb.SourceOp`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SourceOperation {
    /// `docker-image://…`, `local://…`
    #[prost(string, tag = "1")]
    pub identifier: String,
}

/// `moby.buildkit.v1.types.WorkerRecord`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WorkerRecord {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What it can do.
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: std::collections::BTreeMap<String, String>,
    /// What it builds for.
    #[prost(message, repeated, tag = "3")]
    pub platforms: Vec<Platform>,
    /// What it is.
    #[prost(message, optional, tag = "5")]
    pub version: Option<BuildkitVersion>,
}

/// `moby.buildkit.v1.types.BuildkitVersion`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BuildkitVersion {
    /// Whose it is.
    #[prost(string, tag = "1")]
    pub package: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Its revision.
    #[prost(string, tag = "3")]
    pub revision: String,
}
