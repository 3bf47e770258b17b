//! A client of container registries: the OCI distribution specification 1.1 and Docker's registry API v2.
//!
//! It moves bytes and checks them against their digests and sizes while they pass. It knows nothing of image stores, containers or the
//! engine: what is fetched is handed out as a stream, what is pushed comes from a file.
//!
//! - [`config`]: which hosts, mirrors, certificates and proxies; read from one file and the environment.
//! - [`Client`]: one per process; holds the connections. [`Client::repository`] gives what one operation works on.
//! - [`Repository`]: manifests and blobs, both ways.
//! - [`Client::search`]: which repositories fit some words, where a registry answers that.
//! - [`docker_config`]: where people keep their passwords; for the command line, not for the engine.
//!
//! A registry is not trusted: every answer has a limit, documents are what their content says and never what a header says, a blob is its
//! digest, redirects do not carry credentials to another host, and passwords go over TLS unless a host is configured as insecure.
#![forbid(unsafe_code)]

pub mod auth;
mod blob;
mod client;
pub mod config;
mod connect;
pub mod docker_config;
mod error;
mod fetch;
pub mod manifest;
pub mod platform;
mod proxy;
mod retry;
mod search;
mod tags;
mod tls;
mod upload;
mod uri;

pub use auth::Credentials;
pub use blob::BlobReader;
pub use client::{Client, Login, Repository};
pub use config::RegistryConfig;
pub use error::RegistryError;
pub use fetch::{Chosen, FetchedManifest, Source, Wanted};
pub use platform::Platform;
pub use search::{Found, Search};
pub use tls::client_config;
pub use upload::{BlobFile, Uploaded};
