//! `moby.buildkit.v1.frontend.LLBBridge`: the client drives a build.

use std::collections::BTreeMap;

use super::control::{CacheEntry, Range, SourceInfo};
use super::session::Stat;
use super::{Definition, Platform, RpcStatus, WorkerRecord};

/// A result is asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SolveRequest {
    /// A graph to carry out.
    #[prost(message, optional, tag = "1")]
    pub definition: Option<Definition>,
    /// `dockerfile.v0`
    #[prost(string, tag = "2")]
    pub frontend: String,
    /// What the frontend is asked for.
    #[prost(btree_map = "string, string", tag = "3")]
    pub frontend_opt: BTreeMap<String, String>,
    /// Where steps are taken from.
    #[prost(message, repeated, tag = "12")]
    pub cache_imports: Vec<CacheEntry>,
    /// Results of other builds by name.
    #[prost(btree_map = "string, message", tag = "13")]
    pub frontend_inputs: BTreeMap<String, Definition>,
}

/// A result.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SolveResponse {
    /// Its name, for old clients.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// It.
    #[prost(message, optional, tag = "3")]
    pub result: Option<ResultMessage>,
}

/// `Result`: what a build made.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResultMessage {
    /// One, by its name alone.
    #[prost(string, optional, tag = "1")]
    pub reference_deprecated: Option<String>,
    /// One.
    #[prost(message, optional, tag = "3")]
    pub reference: Option<Ref>,
    /// One for each platform.
    #[prost(message, optional, tag = "4")]
    pub references: Option<RefMap>,
    /// `containerimage.config` and so on.
    #[prost(btree_map = "string, bytes", tag = "10")]
    pub metadata: BTreeMap<String, Vec<u8>>,
}

/// `Ref`: the name of a result.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Ref {
    /// It.
    #[prost(string, tag = "1")]
    pub id: String,
    /// A graph that would give it.
    #[prost(message, optional, tag = "2")]
    pub definition: Option<Definition>,
}

/// `RefMap`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RefMap {
    /// By platform.
    #[prost(btree_map = "string, message", tag = "1")]
    pub references: BTreeMap<String, Ref>,
}

/// The client is done.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReturnRequest {
    /// This is to be exported.
    #[prost(message, optional, tag = "1")]
    pub result: Option<ResultMessage>,
    /// Or it failed.
    #[prost(message, optional, tag = "2")]
    pub error: Option<RpcStatus>,
}

/// Results of other builds.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InputsResponse {
    /// By name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub definitions: BTreeMap<String, Definition>,
}

/// What an image is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ResolveImageConfigRequest {
    /// Its name.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// For what.
    #[prost(message, optional, tag = "2")]
    pub platform: Option<Platform>,
}

/// What an image is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ResolveImageConfigResponse {
    /// Of its manifest.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// In JSON.
    #[prost(bytes = "vec", tag = "2")]
    pub config: Vec<u8>,
    /// Its full name.
    #[prost(string, tag = "3")]
    pub reference: String,
}

/// A file of a result is asked for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReadFileRequest {
    /// Which result.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// Which file.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Which part.
    #[prost(message, optional, tag = "3")]
    pub range: Option<FileRange>,
}

/// A part of a file.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct FileRange {
    /// From.
    #[prost(int64, tag = "1")]
    pub offset: i64,
    /// Bytes.
    #[prost(int64, tag = "2")]
    pub length: i64,
}

/// A file's bytes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReadFileResponse {
    /// They.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// A directory of a result is asked for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReadDirRequest {
    /// Which result.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// Which directory.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Only names like this.
    #[prost(string, tag = "3")]
    pub include_pattern: String,
}

/// A directory's entries.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReadDirResponse {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Stat>,
}

/// What a path of a result is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatFileRequest {
    /// Which result.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// Which path.
    #[prost(string, tag = "2")]
    pub path: String,
}

/// What a path of a result is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatFileResponse {
    /// It.
    #[prost(message, optional, tag = "1")]
    pub stat: Option<Stat>,
}

/// What is spoken.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PongResponse {
    /// By the gateway.
    #[prost(message, repeated, tag = "1")]
    pub frontend_caps: Vec<Capability>,
    /// In graphs.
    #[prost(message, repeated, tag = "2")]
    pub llb_caps: Vec<Capability>,
    /// Who builds.
    #[prost(message, repeated, tag = "3")]
    pub workers: Vec<WorkerRecord>,
}

/// `apicaps.APICap`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Capability {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// It is there.
    #[prost(bool, tag = "2")]
    pub enabled: bool,
}

/// The client has something for the user.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WarnRequest {
    /// Which step.
    #[prost(string, tag = "1")]
    pub digest: String,
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
