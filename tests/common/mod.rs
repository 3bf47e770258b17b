//! What the integration tests share: a test host of their own for each test, and a project in it.
//!
//! A [`TestHost`] is a network namespace and a mount namespace entered by the test's own thread, so everything that the
//! thread starts or connects to is inside: `hoist`, the engine that it starts, `curl`-like requests. Root and state are
//! a tmpfs that no other process sees. Dropping the host stops its engine and containers and then counts what is left.
#![allow(
    dead_code,
    unused_imports,
    clippy::print_stderr,
    unreachable_pub,
    reason = "each test binary uses its own part of the harness"
)]

pub mod host;
pub mod http;
pub mod images;
pub mod leftovers;
pub mod project;
pub mod reference;
pub mod run;

pub use host::{TestHost, wait_until};
pub use http::http;
pub use project::Project;
pub use reference::Reference;

/// What a command that ends by itself may take on a busy machine.
pub const LONG: std::time::Duration = std::time::Duration::from_secs(60);

/// Says whether engine tests can run here; when they cannot, says why, and in CI fails instead.
pub fn can_run() -> bool {
    let reason = if !rustix::process::geteuid().is_root() {
        "the engine needs root"
    } else {
        return true;
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "nothing is skipped in CI: {reason}"
    );
    eprintln!("skipped: {reason}");
    false
}
