//! Python's clients: Docker's SDK and testcontainers, with servers that people test against; and JSON Schema's.

use std::path::Path;
use std::process::Command;

use crate::common::{TestHost, can_run, run};
use crate::tool;

/// Runs one of the scripts beside this file with the clients' Python.
#[track_caller]
fn python(host: &TestHost, script: &str) {
    python_with(host, script, &[]);
}

#[track_caller]
fn python_with(host: &TestHost, script: &str, arguments: &[&Path]) {
    let mut command: Command = host.command(tool("python-clients.sh").join("bin/python"));
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients").to_owned() + "/" + script)
        .args(arguments)
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

#[test]
fn the_schema_is_one_that_others_read() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    let schema = host.hoist(&["config", "--schema"]).ok().stdout;
    let shop = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop/compose.yaml");
    let form = ["-f", shop, "config", "--format", "json"];
    let shop: serde_json::Value = serde_json::from_str(&host.hoist(&form).ok().stdout).unwrap();
    let documents = serde_json::json!({
        "right": [
            shop,
            {"services": {"a": {"image": "x", "ports": [80, "8080:80"], "x-own": {"any": [1]}}}},
            {"services": {"a": {"image": "x", "depends_on": {"b": {"condition": "service_healthy"}}}, "b": {"build": "."}}},
        ],
        "wrong": [
            [],
            {"services": []},
            {"services": {"a": {"imgae": "x"}}},
            {"services": {"a": {"image": 5}}},
            {"services": {"a": {"image": "x", "depends_on": {"b": {"condition": "ready"}}}}},
            {"services": {"a": {"image": "x", "ports": [{"target": []}]}}},
            {"volumes": {"v": {"drivr": "local"}}},
        ],
    });
    let (schema_file, documents_file) = (host.path("schema.json"), host.path("documents.json"));
    std::fs::write(&schema_file, schema).unwrap();
    std::fs::write(&documents_file, documents.to_string()).unwrap();
    python_with(&host, "schema.py", &[&schema_file, &documents_file]);
}
