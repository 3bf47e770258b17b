//! The kernel rim: every system call that needs `unsafe`, and the small safe helpers around them.
//!
//! This is the only crate of the workspace that may contain `unsafe`. It depends on nothing of ours and
//! knows namespaces, descriptors, mounts and processes, but neither containers nor images nor networks.
//!
//! * [`init`]: a container's first process as a list of operations, and its interpreter.
//! * [`path`]: names that a container or an image can influence, resolved beneath a root.
//! * [`netns`], [`mountns`]: namespaces on threads made for them.
//! * [`userns`]: user namespaces, made by a process of their own.
//! * [`scm`], [`memfd`], [`pidfd`], [`pty`]: descriptors and what travels with them.

pub mod accounts;
pub mod device_filter;
pub mod error;
pub mod init;
pub mod memfd;
pub mod mountns;
pub mod netns;
pub mod path;
pub mod pidfd;
pub mod pty;
pub mod scm;
pub mod signal;
mod sys;
pub mod userns;

pub use error::KernelError;
