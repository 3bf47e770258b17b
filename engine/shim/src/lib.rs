//! The shim: one small single-threaded process for each container.
//!
//! It starts the container's first process, holds its streams, writes its log, reaps it and keeps its exit
//! status until the engine has noted it. It lives on when the engine dies, and starts one when none answers.
//! It knows kernel operations ([`hoist_kernel::init`]), but neither images nor networks nor Compose.
//!
//! Engines use [`protocol`], [`frame`] and [`client`]; the rest is the program `hoist-shim` itself.

#![forbid(unsafe_code)]

pub mod client;
pub mod frame;
pub mod protocol;
