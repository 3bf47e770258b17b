//! The engine through the eyes of clients that were written for Docker's: its command line, Docker Compose, Python's SDK.
//! Each test has a host of its own; what is asserted is what the client says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

#[path = "clients/docker.rs"]
mod docker;
#[path = "clients/protocol.rs"]
mod protocol;
#[path = "clients/python.rs"]
mod python;

use std::path::PathBuf;
use std::process::Command;

use common::{LONG, TestHost, run};

/// The directory of a client that a script under `tests/tools` finds or installs.
fn tool(script: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tools")
        .join(script);
    let found = run::to_end(Command::new(path), 5 * LONG).ok();
    PathBuf::from(found.stdout.trim())
}

/// Runs shell commands one after the other. A line is `command => text`: it succeeds and says the text; `command =! text`: it fails and
/// says it. Lines that begin with `#` are for the reader.
#[track_caller]
fn check(host: &TestHost, script: &str) {
    let docker = tool("docker-cli.sh");
    let bin = docker
        .parent()
        .expect("a program is in a directory")
        .display();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    for line in script.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (succeeds, (shell, said)) = match line.split_once(" =! ") {
            Some(parts) => (false, parts),
            None => (true, line.split_once(" => ").unwrap_or((line, ""))),
        };
        let mut command = host.command("sh");
        command.args(["-c", shell.trim()]).env("PATH", &path);
        let ran = run::to_end(command, LONG);
        let ran = if succeeds { ran.ok() } else { ran.fails() };
        let said = said.trim();
        if said == "-" {
            assert_eq!(ran.stdout.trim(), "", "{ran}");
        } else if !said.is_empty() {
            ran.says(&[said]);
        }
    }
}
