//! `moby.buildkit.v1.Control`, and the stream of progress.

use std::collections::BTreeMap;

use super::{BuildkitVersion, Definition, Timestamp, WorkerRecord};

/// A build is asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SolveRequest {
    /// The build's name, chosen by the client.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// A graph to carry out.
    #[prost(message, optional, tag = "2")]
    pub definition: Option<Definition>,
    /// What becomes of the result; superseded by `exporters`.
    #[prost(string, tag = "3")]
    pub exporter: String,
    /// About it.
    #[prost(btree_map = "string, string", tag = "4")]
    pub exporter_attrs: BTreeMap<String, String>,
    /// The session that has the files.
    #[prost(string, tag = "5")]
    pub session: String,
    /// `dockerfile.v0`, or empty when the client drives the build through the gateway.
    #[prost(string, tag = "6")]
    pub frontend: String,
    /// What the frontend is asked for.
    #[prost(btree_map = "string, string", tag = "7")]
    pub frontend_attrs: BTreeMap<String, String>,
    /// Caches.
    #[prost(message, optional, tag = "8")]
    pub cache: Option<CacheOptions>,
    /// What steps may do beyond the usual.
    #[prost(string, repeated, tag = "9")]
    pub entitlements: Vec<String>,
    /// Results of other builds by name.
    #[prost(btree_map = "string, message", tag = "10")]
    pub frontend_inputs: BTreeMap<String, Definition>,
    /// What becomes of the result.
    #[prost(message, repeated, tag = "13")]
    pub exporters: Vec<Exporter>,
}

/// Caches of a build.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CacheOptions {
    /// Where steps are left.
    #[prost(message, repeated, tag = "4")]
    pub exports: Vec<CacheEntry>,
    /// Where steps are taken from.
    #[prost(message, repeated, tag = "5")]
    pub imports: Vec<CacheEntry>,
}

/// One cache.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CacheEntry {
    /// `registry`, `local`, `inline`
    #[prost(string, tag = "1")]
    pub kind: String,
    /// `ref`, `src`, `dest`, `mode`
    #[prost(btree_map = "string, string", tag = "2")]
    pub attrs: BTreeMap<String, String>,
}

/// What becomes of a result.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Exporter {
    /// `moby`, `image`, `docker`, `oci`, `tar`, `local`
    #[prost(string, tag = "1")]
    pub kind: String,
    /// `name`, `push`
    #[prost(btree_map = "string, string", tag = "2")]
    pub attrs: BTreeMap<String, String>,
}

/// A build is done.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SolveResponse {
    /// `containerimage.digest` and so on.
    #[prost(btree_map = "string, string", tag = "1")]
    pub exporter_response: BTreeMap<String, String>,
}

/// A build's progress is asked for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusRequest {
    /// Which build.
    #[prost(string, tag = "1")]
    pub reference: String,
}

/// Some of a build's progress.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusResponse {
    /// Steps that began or ended.
    #[prost(message, repeated, tag = "1")]
    pub vertexes: Vec<Vertex>,
    /// How far they are.
    #[prost(message, repeated, tag = "2")]
    pub statuses: Vec<VertexStatus>,
    /// What they printed.
    #[prost(message, repeated, tag = "3")]
    pub logs: Vec<VertexLog>,
    /// What a user should know.
    #[prost(message, repeated, tag = "4")]
    pub warnings: Vec<VertexWarning>,
}

/// A step.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Vertex {
    /// Its identity.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Steps whose results it uses.
    #[prost(string, repeated, tag = "2")]
    pub inputs: Vec<String>,
    /// `[builder 2/5] RUN make`
    #[prost(string, tag = "3")]
    pub name: String,
    /// It had been done before.
    #[prost(bool, tag = "4")]
    pub cached: bool,
    /// When it began.
    #[prost(message, optional, tag = "5")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[prost(message, optional, tag = "6")]
    pub completed: Option<Timestamp>,
    /// Why it failed.
    #[prost(string, tag = "7")]
    pub error: String,
}

/// How far a step is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VertexStatus {
    /// Of what.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Which step.
    #[prost(string, tag = "2")]
    pub vertex: String,
    /// `sha256:…`, `transferring`
    #[prost(string, tag = "3")]
    pub name: String,
    /// Bytes so far.
    #[prost(int64, tag = "4")]
    pub current: i64,
    /// Bytes in all.
    #[prost(int64, tag = "5")]
    pub total: i64,
    /// Now.
    #[prost(message, optional, tag = "6")]
    pub timestamp: Option<Timestamp>,
    /// When it began.
    #[prost(message, optional, tag = "7")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[prost(message, optional, tag = "8")]
    pub completed: Option<Timestamp>,
}

/// What a step printed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VertexLog {
    /// Which step.
    #[prost(string, tag = "1")]
    pub vertex: String,
    /// When.
    #[prost(message, optional, tag = "2")]
    pub timestamp: Option<Timestamp>,
    /// 1 is standard output, 2 is standard error.
    #[prost(int64, tag = "3")]
    pub stream: i64,
    /// The bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub msg: Vec<u8>,
}

/// What a user should know.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VertexWarning {
    /// Which step.
    #[prost(string, tag = "1")]
    pub vertex: String,
    /// How much it matters.
    #[prost(int64, tag = "2")]
    pub level: i64,
    /// In a line.
    #[prost(bytes = "vec", tag = "3")]
    pub short: Vec<u8>,
    /// In more.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub detail: Vec<Vec<u8>>,
    /// In full.
    #[prost(string, tag = "5")]
    pub url: String,
    /// Where.
    #[prost(message, optional, tag = "6")]
    pub info: Option<SourceInfo>,
    /// Which lines.
    #[prost(message, repeated, tag = "7")]
    pub ranges: Vec<Range>,
}

/// `pb.SourceInfo`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SourceInfo {
    /// `Dockerfile`
    #[prost(string, tag = "1")]
    pub filename: String,
    /// The text.
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
    /// `Dockerfile`
    #[prost(string, tag = "4")]
    pub language: String,
}

/// `pb.Range`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Range {
    /// First place.
    #[prost(message, optional, tag = "1")]
    pub start: Option<Position>,
    /// Last place.
    #[prost(message, optional, tag = "2")]
    pub end: Option<Position>,
}

/// `pb.Position`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Position {
    /// From 1.
    #[prost(int32, tag = "1")]
    pub line: i32,
    /// From 0.
    #[prost(int32, tag = "2")]
    pub character: i32,
}

/// Bytes of a tunnelled connection.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BytesMessage {
    /// The bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: bytes::Bytes,
}

/// Who builds.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListWorkersResponse {
    /// One.
    #[prost(message, repeated, tag = "1")]
    pub record: Vec<WorkerRecord>,
}

/// What this is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InfoResponse {
    /// Which BuildKit it speaks like.
    #[prost(message, optional, tag = "1")]
    pub version: Option<BuildkitVersion>,
}

/// The cache shall shrink.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PruneRequest {
    /// Only these.
    #[prost(string, repeated, tag = "1")]
    pub filter: Vec<String>,
    /// Also what is used.
    #[prost(bool, tag = "2")]
    pub all: bool,
    /// Only what was not used for so many nanoseconds.
    #[prost(int64, tag = "3")]
    pub keep_duration: i64,
    /// Bytes that may stay.
    #[prost(int64, tag = "4")]
    pub reserved_space: i64,
    /// Bytes that are used at most when it is done.
    #[prost(int64, tag = "5")]
    pub max_used_space: i64,
    /// Bytes of the disk that are to be free.
    #[prost(int64, tag = "6")]
    pub min_free_space: i64,
}

/// What is kept.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DiskUsageResponse {
    /// Records of the cache.
    #[prost(message, repeated, tag = "1")]
    pub record: Vec<UsageRecord>,
}

/// A record of the cache.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UsageRecord {
    /// Its key.
    #[prost(string, tag = "1")]
    pub id: String,
    /// A build uses it now.
    #[prost(bool, tag = "3")]
    pub in_use: bool,
    /// Its bytes.
    #[prost(int64, tag = "4")]
    pub size: i64,
    /// When it was made.
    #[prost(message, optional, tag = "6")]
    pub created_at: Option<Timestamp>,
    /// When it was used last.
    #[prost(message, optional, tag = "7")]
    pub last_used_at: Option<Timestamp>,
    /// How often it was used.
    #[prost(int64, tag = "8")]
    pub usage_count: i64,
    /// What it is.
    #[prost(string, tag = "9")]
    pub description: String,
    /// `source.local`, `regular`
    #[prost(string, tag = "10")]
    pub record_type: String,
    /// An image uses it, too.
    #[prost(bool, tag = "11")]
    pub shared: bool,
}
