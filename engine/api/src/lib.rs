//! The engine's API in the Docker Engine API's shapes: wire types, the [`Engine`] trait, and the typed client.
//!
//! Nothing here knows how a container is made or what a Compose file is. Only these types are
//! serialised for the wire; the engine and the command line convert at their edges.
#![forbid(unsafe_code)]

mod wire;

pub mod archive;
pub mod build;
pub mod client;
pub mod container;
pub mod digest;
pub mod engine;
pub mod error;
pub mod event;
pub mod exec;
pub mod fake;
pub mod filters;
pub mod frame;
pub mod host_config;
pub mod id;
pub mod image;
pub mod image_ref;
pub mod inspect;
pub mod network;
pub mod ports;
pub mod stats;
pub mod system;
pub mod volume;

pub use digest::Digest;
pub use engine::Engine;
pub use error::{ApiError, ErrorKind, Result};
pub use filters::Filters;
pub use id::{ContainerId, ExecId, ImageId, NetworkId};
pub use image_ref::ImageRef;
pub use wire::{Empty, ZERO_TIME};

/// The newest API version spoken, as in Docker's `/v1.NN/` path prefix.
pub const API_VERSION: (u16, u16) = (1, 51);
/// The oldest API version accepted.
pub const MIN_API_VERSION: (u16, u16) = (1, 24);
