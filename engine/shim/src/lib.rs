//! The shim: one small single-threaded process for each container.
//!
//! It starts the container's first process, holds its streams, writes its log, reaps it and keeps its exit
//! status until the engine has noted it. It lives on when the engine dies, and starts one when none answers.
//! It knows kernel operations ([`hoist_kernel::init`]), but neither images nor networks nor Compose.
//!
//! Engines use [`protocol`], [`frame`] and [`client`]; [`main`] is the program `hoist-shim` itself.

#![forbid(unsafe_code)]

pub mod client;
pub mod exit_record;
pub mod frame;
pub mod json_log;
pub mod protocol;
pub mod time;

mod cgroup;
mod container;
mod engine;
mod execs;
mod listener;
mod log_file;
mod oom;
mod peers;
mod requests;
mod shim;
mod streams;
mod wording;

use std::io::Write;
use std::process::ExitCode;

/// The program: serves the engine on standard input, until the container has ended and the engine knows it.
///
/// Must be called from `main` before any thread is started.
pub fn main() -> ExitCode {
    match shim::Shim::take_over().and_then(|mut shim| shim.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line for the engine's eyes to standard error, which is a file in the container's directory.
pub(crate) fn complain(message: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "hoist-shim: {message}");
}
