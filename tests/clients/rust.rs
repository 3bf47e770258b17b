//! Rust's clients: bollard, and testcontainers with PostgreSQL and Redis (`tests/clients/rust`).

use std::time::Duration;

use crate::common::{TestHost, can_run, run};
use crate::tool;

#[test]
fn bollard_and_testcontainers_work() {
    if !can_run() {
        return;
    }
    let program = tool("rust-clients.sh");
    let host = TestHost::with_busybox().with_shop();
    run::to_end(host.command(program), Duration::from_secs(150))
        .ok()
        .says(&["all is well"]);
}
