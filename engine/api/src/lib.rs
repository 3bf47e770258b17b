//! The engine's API in the Docker Engine API's shapes: wire types, the [`Engine`] trait, and the typed client.
//!
//! Nothing here knows how a container is made or what a Compose file is. Only these types are
//! serialised for the wire; the engine and the command line convert at their edges.
//!
//! # Examples
//! What is written for the trait runs against [`client::Client`], which is an engine elsewhere, of ours or Docker's, and against
//! [`fake::FakeEngine`], which is in memory:
//!
//! ```
//! use hoist_api::container::{ContainerConfig, ContainerCreate, ListContainers, RemoveContainer, WaitCondition};
//! use hoist_api::fake::FakeEngine;
//! use hoist_api::{Engine, Filters, Result};
//!
//! /// Runs a command in a new container, and returns its exit code.
//! async fn run(engine: &impl Engine, name: &str, command: &[&str]) -> Result<i64> {
//!     let config = ContainerConfig {
//!         image: "busybox".to_owned(),
//!         cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
//!         ..ContainerConfig::default()
//!     };
//!     let body = ContainerCreate { config, ..ContainerCreate::default() };
//!     engine.container_create(name, &body).await?;
//!     engine.container_start(name).await?;
//!     let ended = engine.container_wait(name, WaitCondition::NotRunning).await?;
//!     engine.container_remove(name, RemoveContainer::default()).await?;
//!     Ok(ended.status_code)
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<()> {
//! let engine = FakeEngine::with_images(&["busybox"]);
//! engine.exits("job", 3);
//! assert_eq!(run(&engine, "job", &["sh", "-c", "exit 3"]).await?, 3);
//!
//! let mine = ListContainers { all: true, filters: Filters::new().with("name", "job"), ..ListContainers::default() };
//! assert!(engine.containers(&mine).await?.is_empty());
//! # Ok(())
//! # }
//! ```
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
/// The release of Docker whose API and command line ours are. Clients compare it with what they need at least, and know nothing of our
/// own versions.
pub const DOCKER_VERSION: &str = "28.5.2";
/// The oldest API version accepted.
pub const MIN_API_VERSION: (u16, u16) = (1, 24);
