//! Containers as the kernel sees them.
//!
//! [`spec`] says what a container is, without Docker's types; [`lower`] turns that, in pure code, into the
//! programs and plans that a shim carries out. Nothing here starts a process, mounts anything or knows
//! images, networks or the API.

pub mod machine;
pub mod seccomp;
pub mod spec;
mod userns;

pub(crate) mod capabilities;
mod cgroup;
mod lower;
pub(crate) mod mounts;
mod process;

pub(crate) use cgroup::updates;
pub use lower::{LowerError, Lowered, lower, lower_exec};
