//! What the benchmarks share: Docker's engine as the other side, and where the tables go.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark is a test; each uses its own part"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{host, images, wait_until};

/// Writes a table to `target/bench/NAME.md`, and with `HOIST_BENCH_WRITE=1` between the marks `MARK:begin` and `MARK:end` of `README.md`.
pub fn publish(name: &str, mark: &str, table: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(root.join("target/bench")).unwrap();
    std::fs::write(root.join(format!("target/bench/{name}.md")), table).unwrap();
    if std::env::var_os("HOIST_BENCH_WRITE").is_some() {
        let (begin, end) = (
            format!("<!-- {mark}:begin -->\n"),
            format!("<!-- {mark}:end -->\n"),
        );
        let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
        let (before, rest) = readme.split_once(&begin).expect("README.md has the mark");
        let (_, after) = rest.split_once(&end).expect("README.md has the mark");
        std::fs::write(
            root.join("README.md"),
            format!("{before}{begin}{table}{end}{after}"),
        )
        .unwrap();
    }
}

/// A Docker engine in the calling thread's own namespaces, with all of its places on a tmpfs.
#[derive(Debug)]
pub struct Docker {
    pub dir: PathBuf,
    pub bin: PathBuf,
    engine: Option<Child>,
}

impl Docker {
    /// Starts it; `room` is the tmpfs's options.
    pub fn start(room: &str) -> Docker {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/reference.sh");
        let found = Command::new(script)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(found.status.success(), "{script}");
        let bin = Path::new(String::from_utf8(found.stdout).unwrap().trim()).join("bin");
        let mut docker = Docker {
            dir: host::enter(room),
            bin,
            engine: None,
        };
        let log = std::fs::File::create(docker.dir.join("log")).unwrap();
        let engine = docker
            .command("dockerd")
            .arg("--data-root")
            .arg(docker.dir.join("data"))
            .arg("--exec-root")
            .arg(docker.dir.join("exec"))
            .arg("--pidfile")
            .arg(docker.dir.join("pid"))
            .arg("--host")
            .arg(format!("unix://{}/sock", docker.dir.display()))
            .arg("--init-path")
            .arg(docker.bin.join("docker-init"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        docker.engine = Some(engine);
        wait_until(Duration::from_secs(30), "dockerd answers", || {
            let mut version = docker.command("docker");
            version
                .arg("version")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            version.status().is_ok_and(|status| status.success())
        });
        docker
    }

    /// Imports one of the example images.
    pub fn import(&self, name: &str) {
        // This Docker does not read zstd.
        let mut shell = self.command("sh");
        shell
            .args(["-c", "zstd -dc \"$0\" | docker import - \"$1\" >/dev/null"])
            .arg(images::archive(name))
            .arg(name);
        assert!(shell.status().unwrap().success(), "docker import {name}");
    }

    /// One of the reference's programs, or the machine's, with this engine as its own.
    pub fn command(&self, program: &str) -> Command {
        let own = self.bin.join(program);
        let mut command = Command::new(if own.exists() {
            own
        } else {
            PathBuf::from(program)
        });
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", self.bin.display()))
            .env("DOCKER_HOST", format!("unix://{}/sock", self.dir.display()));
        command
    }
}

impl Docker {
    /// The processes that are the engine: dockerd and its containerd.
    pub fn engine_pids(&self) -> Vec<u32> {
        let Some(engine) = &self.engine else {
            return Vec::new();
        };
        let mut pids = vec![engine.id()];
        // A child stands in the row of the thread that made it.
        let threads = std::fs::read_dir(format!("/proc/{}/task", engine.id()));
        for thread in threads.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            pids.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            let pid = rustix::process::Pid::from_child(&engine);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = engine.wait();
        }
        // The engine's cgroup, which it leaves: empty, or it cannot be removed.
        for entry in std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = std::fs::remove_dir(entry.path().join("docker"));
        }
        host::leave(&self.dir);
    }
}
