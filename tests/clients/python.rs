//! Python's clients: Docker's SDK and testcontainers, with servers that people test against.

use std::process::Command;

use crate::common::{TestHost, can_run, run};
use crate::tool;

/// Runs one of the scripts beside this file with the clients' Python.
#[track_caller]
fn python(host: &TestHost, script: &str) {
    let mut command: Command = host.command(tool("python-clients.sh").join("bin/python"));
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients").to_owned() + "/" + script)
        .env("TESTCONTAINERS_RYUK_DISABLED", "true")
        .env("TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE", host.socket());
    run::to_end(command, std::time::Duration::from_secs(150))
        .ok()
        .says(&["all is well"]);
}

#[test]
fn dockers_sdk_works() {
    if !can_run() {
        return;
    }
    python(&TestHost::with_busybox(), "sdk.py");
}

#[test]
fn testcontainers_run_servers() {
    if !can_run() {
        return;
    }
    let host = TestHost::new().with_shop();
    python(&host, "servers.py");
}
