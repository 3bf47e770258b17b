//! The engine through the eyes of clients that were written for Docker's: its command line, Docker Compose, Python's SDK.
//! Each test has a host of its own; what is asserted is what the client says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

#[path = "clients/api.rs"]
mod api;
#[path = "clients/compose.rs"]
mod compose;
#[path = "clients/docker.rs"]
mod docker;
#[path = "clients/endpoints.rs"]
mod endpoints;
#[path = "clients/fuzz.rs"]
mod fuzz;
#[path = "clients/host_config.rs"]
mod host_config;
#[path = "clients/hostile.rs"]
mod hostile;
#[path = "clients/inspect.rs"]
mod inspect;
#[path = "clients/load.rs"]
mod load;
#[path = "clients/mounts.rs"]
mod mounts;
#[path = "clients/on_docker.rs"]
mod on_docker;
#[path = "clients/outcomes.rs"]
mod outcomes;
#[path = "clients/places.rs"]
mod places;
#[path = "clients/protocol.rs"]
mod protocol;
#[path = "clients/python.rs"]
mod python;
#[path = "clients/requests.rs"]
mod requests;
#[path = "clients/rust.rs"]
mod rust;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use common::run::Run;
use common::{LONG, TestHost, run};

/// The directory of a client that a script under `tests/tools` finds or installs.
fn tool(script: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tools")
        .join(script);
    let found = run::to_end(Command::new(path), 5 * LONG).ok();
    PathBuf::from(found.stdout.trim())
}

/// A shell on a host, which finds clients by their names.
#[derive(Debug)]
struct Shell<'h> {
    host: &'h TestHost,
    path: String,
    dir: PathBuf,
}

impl<'h> Shell<'h> {
    /// In the host's directory, with the clients that these scripts under `tests/tools` find.
    fn of(host: &'h TestHost, clients: &[&str]) -> Shell<'h> {
        let mut path = String::new();
        for script in clients {
            let client = tool(script);
            let bin = client.parent().expect("a program is in a directory");
            let _ = write!(path, "{}:", bin.display());
        }
        path += &std::env::var("PATH").unwrap_or_default();
        let dir = host.path("");
        Shell { host, path, dir }
    }

    /// The same in a directory below.
    fn within(mut self, dir: &str) -> Shell<'h> {
        self.dir.push(dir);
        self
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.host.command(program);
        command.env("PATH", &self.path).current_dir(&self.dir);
        command
    }

    fn run(&self, line: &str) -> Run {
        let mut command = self.command("sh");
        command.args(["-c", line]);
        run::to_end(command, 3 * LONG)
    }

    /// Runs shell commands one after the other. A line is `command => text`: it succeeds and says the text; `command =! text`: it fails
    /// and says it. Text `-` is nothing on standard output. Lines that begin with `#` are for the reader.
    #[track_caller]
    fn check(&self, script: &str) {
        for line in script.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (succeeds, (shell, said)) = match line.split_once(" =! ") {
                Some(parts) => (false, parts),
                None => (true, line.split_once(" => ").unwrap_or((line, ""))),
            };
            let ran = self.run(shell.trim());
            let ran = if succeeds { ran.ok() } else { ran.fails() };
            let said = said.trim();
            if said == "-" {
                assert_eq!(ran.stdout.trim(), "", "{ran}");
            } else if !said.is_empty() {
                ran.says(&[said]);
            }
        }
    }
}

/// [`Shell::check`] with Docker's command line.
#[track_caller]
fn check(host: &TestHost, script: &str) {
    Shell::of(host, &["docker-cli.sh"]).check(script);
}
