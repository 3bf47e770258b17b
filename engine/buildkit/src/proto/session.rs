//! What is asked of a client over its session: files, credentials, secrets.

use std::collections::BTreeMap;

/// `fsutil.types.Packet`: one message of a transfer of files.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Packet {
    /// What it is, see [`PacketKind`].
    #[prost(enumeration = "PacketKind", tag = "1")]
    pub kind: i32,
    /// With [`PacketKind::Stat`]: an entry; none after the last one.
    #[prost(message, optional, tag = "2")]
    pub stat: Option<Stat>,
    /// The entry's number in the order of the stats.
    #[prost(uint32, tag = "3")]
    pub id: u32,
    /// With [`PacketKind::Data`]: some of the file; empty at its end. With [`PacketKind::Error`]: words.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: bytes::Bytes,
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum PacketKind {
    /// An entry of the tree.
    Stat = 0,
    /// A file's contents are asked for.
    Request = 1,
    /// Some of a file.
    Data = 2,
    /// All is said.
    Finish = 3,
    /// It went wrong.
    Error = 4,
}

/// `fsutil.types.Stat`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Stat {
    /// From the root, no slash before it.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Go's `os.FileMode`.
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    /// Owner.
    #[prost(uint32, tag = "3")]
    pub uid: u32,
    /// Group.
    #[prost(uint32, tag = "4")]
    pub gid: u32,
    /// Bytes.
    #[prost(int64, tag = "5")]
    pub size: i64,
    /// Unix time in nanoseconds.
    #[prost(int64, tag = "6")]
    pub mod_time: i64,
    /// A symbolic link's text, or the path of the file that this is another name of.
    #[prost(string, tag = "7")]
    pub linkname: String,
    /// Of a device.
    #[prost(int64, tag = "8")]
    pub devmajor: i64,
    /// Of a device.
    #[prost(int64, tag = "9")]
    pub devminor: i64,
}

/// Credentials of a registry are asked for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CredentialsRequest {
    /// The registry.
    #[prost(string, tag = "1")]
    pub host: String,
}

/// Credentials of a registry.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CredentialsResponse {
    /// Empty with an identity token.
    #[prost(string, tag = "1")]
    pub username: String,
    /// Password or token.
    #[prost(string, tag = "2")]
    pub secret: String,
}

/// A secret is asked for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetSecretRequest {
    /// Which.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Nothing so far.
    #[prost(btree_map = "string, string", tag = "2")]
    pub annotations: BTreeMap<String, String>,
}

/// A secret.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetSecretResponse {
    /// It.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// Whether there is an agent.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CheckAgentRequest {
    /// Which.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// `grpc.health.v1.HealthCheckResponse`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HealthResponse {
    /// 1: it serves.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// A message without fields.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Empty {}
