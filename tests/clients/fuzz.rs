//! Requests made from the description of the API, valid and not: whatever they are, the engine answers for itself and lives.
//!
//! `HOIST_FUZZ_PHASES=coverage,fuzzing HOIST_FUZZ_EXAMPLES=100 HOIST_FUZZ_SEED=7` makes more and others.

use std::time::Duration;

use super::protocol::{call, created};
use crate::common::{TestHost, can_run, run, wait_until};
use crate::tool;

/// What is left out: what stops the engine, what is upgraded to another protocol, what asks registries, which a test host cannot
/// reach, what waits for ends that do not come, and what this engine says on purpose with a status of the 500s (as Docker does outside a swarm; `endpoints.rs` has them).
const LEFT_OUT: &str = "^/(hoist/engine/stop|session|grpc|swarm|plugins|images/search|distribution)|checkpoints|/(push|wait|attach)$";

/// Streams that would never end, and names of objects that exist, so that requests get beyond the 404.
const SETTINGS: &str = r#"
[[operations]]
include-path = "/events"
parameters = { "query.until" = "1" }
[[operations]]
include-path = "/images/create"
parameters = { "query.fromSrc" = "-" }
[[operations]]
include-path-regex = "^/containers/[{]id[}]/"
parameters = { "path.id" = "box", "query.stream" = "0", "query.follow" = "0" }
[[operations]]
include-path-regex = "^/images/[{]name[}]/"
parameters = { "path.name" = "busybox" }
[[operations]]
include-path-regex = "^/networks/[{]id[}]"
parameters = { "path.id" = "bridge" }
"#;

fn setting(variable: &str, otherwise: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| otherwise.to_owned())
}

#[test]
fn no_request_makes_the_engine_fail() {
    if !can_run() {
        return;
    }
    let fuzzer = tool("fuzzer.sh");
    let host = TestHost::with_busybox();
    // The engine that imported the image makes room for one that listens to the fuzzer.
    host.hoist(&["engine", "stop"]).ok();
    wait_until(Duration::from_secs(20), "the engine is gone", || {
        host.engine_pid().is_none()
    });
    let door = [
        "engine",
        "run",
        "--idle",
        "0",
        "--listen",
        "tcp://127.0.0.1:2375",
    ];
    let mut engine = host
        .hoist_command()
        .args(door)
        .spawn()
        .expect("hoist is built");
    wait_until(Duration::from_secs(20), "the engine answers", || {
        std::net::TcpStream::connect("127.0.0.1:2375").is_ok()
    });
    let body = serde_json::json!({"Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": {"Init": true}});
    let id = created(&host, &body);
    for path in [
        format!("/containers/{id}/rename?name=box"),
        "/containers/box/start".to_owned(),
    ] {
        assert_eq!(call(&host, "POST", &path, "").0, 204);
    }
    std::fs::write(host.path("settings.toml"), SETTINGS).expect("the tmpfs is writable");
    let seed = setting("HOIST_FUZZ_SEED", "1");
    eprintln!("HOIST_FUZZ_SEED={seed}");
    let mut command = host.command(fuzzer);
    command
        .args(["--config-file", "settings.toml", "run"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml"))
        .args(["--url", "http://127.0.0.1:2375", "--no-color"])
        .args(["--checks", "not_a_server_error", "--phases"])
        .arg(setting("HOIST_FUZZ_PHASES", "fuzzing"))
        .args(["--max-examples", &setting("HOIST_FUZZ_EXAMPLES", "4")])
        .args(["--seed", &seed, "--exclude-path-regex", LEFT_OUT])
        .args(["--exclude-name", "PUT /volumes/{name}"])
        .args(["--suppress-health-check", "all", "--continue-on-failure"])
        .args(["--request-timeout", "30"]);
    let ran = run::to_end(command, Duration::from_secs(3600));
    // The engine is unharmed, and so is what it runs.
    assert!(
        engine.try_wait().expect("it is ours").is_none(),
        "the engine has ended\n{ran}"
    );
    assert_eq!(call(&host, "GET", "/_ping", "").0, 200);
    ran.ok();
    call(&host, "DELETE", "/containers/box?force=1", "");
    host.hoist(&["engine", "stop", "--containers", "-t", "1"])
        .ok();
    let _ = engine.wait();
}
