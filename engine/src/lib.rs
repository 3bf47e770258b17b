//! The container engine: API server, images, containers, networks, volumes, supervision.
//!
//! [`run`] is the daemon in the foreground; everything it does follows from its [`EngineConfig`]. It can be killed at
//! any moment: containers live in their shims, and the next engine finds them from the records under its root and
//! the shims' sockets under its state directory.
#![forbid(unsafe_code)]

pub mod image;
pub mod runtime;

mod build;
mod config;
mod containers;
mod daemon;
mod events;
mod logs;
mod names;
mod networking;
mod pipes;
mod serve;
mod service;
mod shim;
mod status;
mod store;
mod supervise;
mod times;
mod users;

pub use config::{DEFAULT_ROOT, DEFAULT_STATE, EngineConfig, InvalidPool, InvalidRemap};
pub use daemon::{READY_FD, RunError, run};
pub use serve::listen::{DoorError, TcpDoor, TlsFiles};
