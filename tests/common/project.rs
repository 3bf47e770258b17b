//! A Compose project in a test host.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::run::{self, Run};
use super::{LONG, TestHost, wait_until};

/// A directory with a Compose file, and the commands that are run in it.
#[derive(Debug)]
pub struct Project<'h> {
    host: &'h TestHost,
    dir: PathBuf,
    environment: Vec<(String, String)>,
}

impl<'h> Project<'h> {
    /// A project in a directory that has a Compose file.
    pub fn new(host: &'h TestHost, dir: PathBuf) -> Project<'h> {
        Project {
            host,
            dir,
            environment: Vec::new(),
        }
    }

    /// The same project with a variable set for every command.
    pub fn with(mut self, name: &str, value: &str) -> Project<'h> {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a directory"))
            .expect("the tmpfs is writable");
        std::fs::write(path, text).expect("the tmpfs is writable");
    }

    /// `hoist ARGUMENTS` in the project's directory, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.hoist_command();
        command.current_dir(&self.dir).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `hoist ARGUMENTS` in the project's directory.
    #[track_caller]
    pub fn hoist(&self, arguments: &[&str]) -> Run {
        run::to_end(self.command(arguments), LONG)
    }

    /// `up -d --wait`, which must succeed.
    #[track_caller]
    pub fn up(&self) -> Run {
        run::to_end(self.command(&["up", "-d", "--wait"]), 2 * LONG).ok()
    }

    /// `down` with these flags, which must succeed.
    #[track_caller]
    pub fn down(&self, flags: &[&str]) -> Run {
        self.hoist(&[&["down"], flags].concat()).ok()
    }

    /// Runs a shell line in a service's first container and returns what it wrote.
    #[track_caller]
    pub fn sh(&self, service: &str, line: &str) -> String {
        self.hoist(&["exec", "-T", service, "sh", "-c", line])
            .ok()
            .stdout
    }

    /// The containers of the project, also stopped ones, as `ps --format json` has them: by name.
    #[track_caller]
    pub fn containers(&self) -> Vec<Value> {
        let listed = self
            .hoist(&["ps", "-a", "--no-trunc", "--format", "json"])
            .ok();
        let mut all: Vec<Value> = listed
            .lines()
            .iter()
            .map(|line| serde_json::from_str(line).expect("one JSON value a line"))
            .collect();
        if let [Value::Array(list)] = all.as_slice() {
            all = list.clone();
        }
        all.sort_by_key(|container| container["Name"].to_string());
        all
    }

    /// One container's field of `ps`.
    #[track_caller]
    pub fn field(&self, container: &str, field: &str) -> String {
        let all = self.containers();
        let found = all.iter().find(|each| each["Name"] == container);
        let found = found.unwrap_or_else(|| panic!("no container {container} in {all:?}"));
        found[field]
            .as_str()
            .map_or_else(|| found[field].to_string(), str::to_owned)
    }

    /// What the engine knows of one container.
    #[track_caller]
    pub fn inspect(&self, container: &str) -> Value {
        let value = self
            .host
            .hoist(&["container", "inspect", container])
            .ok()
            .json();
        value.get(0).cloned().unwrap_or(value)
    }

    /// The process id of a container's first process, as the machine sees it.
    #[track_caller]
    pub fn pid(&self, container: &str) -> u32 {
        let pid = self.inspect(container)["State"]["Pid"]
            .as_u64()
            .expect("State.Pid");
        u32::try_from(pid).expect("a pid fits")
    }

    /// Waits until a container is in this state (`running`, `exited`, …).
    #[track_caller]
    pub fn wait_for_state(&self, container: &str, state: &str) {
        wait_until(
            Duration::from_secs(20),
            &format!("{container} is {state}"),
            || self.inspect(container)["State"]["Status"] == state,
        );
    }

    /// Insists that planning `up` again finds nothing to do.
    #[track_caller]
    pub fn is_at_rest(&self) {
        self.hoist(&["plan", "--exit-code"]).ok();
    }
}

/// A test that passed takes its projects down; then stopping the engine must leave nothing.
impl Drop for Project<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let down = self.command(&["down", "-v", "-t", "1", "--remove-orphans"]);
            run::to_end(down, LONG);
        }
    }
}
