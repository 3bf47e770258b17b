//! The real `docker` command against our socket.

use std::process::Command;

use crate::common::run::Run;
use crate::common::{LONG, TestHost, can_run, run};

/// Runs `docker ARGUMENTS` against the host's engine.
#[track_caller]
fn docker(host: &TestHost, arguments: &[&str]) -> Run {
    let mut command = host.command(docker_path());
    command.args(arguments);
    run::to_end(command, LONG)
}

#[test]
fn docker_lists_inspects_follows_executes_stops_and_removes() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project(
        "p",
        "services:\n  a: {image: busybox, init: true, command: [sh, -c, 'echo hello; echo trouble >&2; sleep infinity'], ports: ['8080:80']}\n",
    );
    project.up();

    docker(&host, &["version"]).ok().says(&["Server"]);
    docker(&host, &["ps"])
        .ok()
        .says(&["p-a-1", "busybox", "Up ", "8080->80/tcp"]);
    let inspected = docker(&host, &["inspect", "p-a-1"]).ok().json();
    assert_eq!(inspected[0]["State"]["Status"], "running");
    assert_eq!(
        inspected[0]["Config"]["Labels"]["com.docker.compose.service"],
        "a"
    );

    let logs = docker(&host, &["logs", "p-a-1"]).ok();
    assert_eq!(
        (logs.stdout.as_str(), logs.stderr.as_str()),
        ("hello\n", "trouble\n")
    );

    let exec = docker(
        &host,
        &[
            "exec",
            "-e",
            "X=1",
            "p-a-1",
            "sh",
            "-c",
            "echo out $X; echo err >&2; exit 42",
        ],
    )
    .exits(42);
    assert_eq!(
        (exec.stdout.as_str(), exec.stderr.as_str()),
        ("out 1\n", "err\n")
    );
    let mut cat = host.command(docker_path());
    cat.args(["exec", "-i", "p-a-1", "cat"]);
    assert_eq!(
        run::with_input(cat, b"through\n", LONG).ok().stdout,
        "through\n"
    );

    docker(&host, &["images"]).ok().says(&["busybox", "latest"]);
    docker(&host, &["network", "ls"]).ok().says(&["p_default"]);
    docker(&host, &["volume", "ls"]).ok();
    docker(&host, &["stop", "-t", "1", "p-a-1"]).ok();
    docker(&host, &["ps", "-a"]).ok().says(&["Exited ("]);
    docker(&host, &["rm", "p-a-1"]).ok();
    assert!(project.containers().is_empty());
    project.down(&[]);
}

fn docker_path() -> String {
    let find = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/docker-cli.sh");
    let found = Command::new(find).output().unwrap();
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}
