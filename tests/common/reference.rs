//! Docker's own engine in a test host, where `benches/reference.sh` has fetched it: nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::run::{self, Run};
use super::{LONG, TestHost, host, images, leftovers, wait_until};

/// Where Docker's programs are; none, with the reason printed, where they were not fetched. In CI they are there.
pub fn programs() -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/reference");
    if place.join(".complete").exists() {
        return Some(place.join("bin"));
    }
    let reason = format!(
        "not compared with Docker's engine: {} is not there (benches/reference.sh fetches it)",
        place.display()
    );
    assert!(
        std::env::var_os("CI").is_none(),
        "nothing is skipped in CI: {reason}"
    );
    eprintln!("{reason}");
    None
}

/// A running dockerd in the calling thread's namespaces.
#[derive(Debug)]
pub struct Dockerd {
    bin: PathBuf,
    dir: PathBuf,
    data: PathBuf,
    cgroup: String,
    process: Child,
}

impl Dockerd {
    /// Starts it with its socket in `dir`, its images in `data` and its containers below a cgroup of this name.
    fn start((bin, dir, data): (PathBuf, PathBuf, PathBuf), cgroup: String, more: &[&str]) -> Self {
        fs::create_dir_all(&dir).expect("the tmpfs is writable");
        let log = fs::File::create(dir.join("log")).expect("the tmpfs is writable");
        let process = command(&bin, &dir, "dockerd")
            .arg("--data-root")
            .arg(&data)
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg("--host")
            .arg(address(&dir))
            .arg("--init-path")
            .arg(bin.join("docker-init"))
            .arg("--cgroup-parent")
            .arg(&cgroup)
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("descriptors are left"))
            .stderr(log)
            .spawn()
            .expect("dockerd is a program");
        let docker = Dockerd {
            bin,
            dir,
            data,
            cgroup,
            process,
        };
        wait_until(Duration::from_secs(60), "dockerd answers", || {
            std::os::unix::net::UnixStream::connect(docker.dir.join("sock")).is_ok()
        });
        docker
    }

    /// Starts one without networks beside our engine on the same host.
    pub fn beside(host: &TestHost) -> Option<Dockerd> {
        let (bin, dir) = (programs()?, host.path("docker"));
        let cgroup = leftovers::cgroup_name(&dir);
        let data = host.root().join("docker");
        let without = ["--bridge=none", "--iptables=false", "--ip-forward=false"];
        Some(Self::start((bin, dir, data), cgroup, &without))
    }

    /// A command with this engine as Docker's, and its programs before all others.
    pub fn command(&self, program: &str) -> Command {
        command(&self.bin, &self.dir, program)
    }

    /// Runs `docker ARGUMENTS` to its end, with the classic builder.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let mut command = self.command("docker");
        command.args(arguments).env("DOCKER_BUILDKIT", "0");
        run::to_end(command, 2 * LONG)
    }

    /// The processes that are the engine: dockerd and its containerd.
    pub fn pids(&self) -> Vec<u32> {
        let engine = self.process.id();
        let mut pids = vec![engine];
        // A child stands in the row of the thread that made it.
        let threads = fs::read_dir(format!("/proc/{engine}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children"));
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

fn address(dir: &Path) -> String {
    format!("unix://{}", dir.join("sock").display())
}

fn command(bin: &Path, dir: &Path, program: &str) -> Command {
    let own = bin.join(program);
    let mut command = Command::new(if own.exists() {
        own
    } else {
        PathBuf::from(program)
    });
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("DOCKER_HOST", address(dir))
        .env("HOME", dir)
        .env_remove("DOCKER_CONTEXT")
        .current_dir(dir);
    command
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("---- dockerd's log, newest first ----\n{}", last.join("\n"));
        }
        let _ = self
            .command("sh")
            .args(["-c", "docker ps -aq | xargs -r docker rm -f >/dev/null"])
            .status();
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
        // The engine leaves its containers' groups: empty, or they cannot be removed. Version 2 has them at the top.
        let top = Path::new("/sys/fs/cgroup");
        let below = fs::read_dir(top).into_iter().flatten().flatten();
        let hierarchies = below.map(|entry| entry.path()).chain([top.to_owned()]);
        for own in hierarchies.map(|hierarchy| hierarchy.join(&self.cgroup)) {
            for entry in fs::read_dir(&own).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(entry.path());
            }
            let _ = fs::remove_dir(own);
        }
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
        let places = mounts.lines().rev().filter_map(|l| l.split(' ').nth(1));
        for at in places.map(Path::new) {
            if at != self.dir && (at.starts_with(&self.dir) || at.starts_with(&self.data)) {
                let _ = rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH);
            }
        }
    }
}

/// A dockerd in a host of its own, with all of its places on a tmpfs.
#[derive(Debug)]
pub struct Reference {
    docker: Option<Dockerd>,
    dir: PathBuf,
    warden: Child,
}

impl Reference {
    /// Starts it in a new host, into which the calling thread moves.
    pub fn start(bin: PathBuf) -> Reference {
        Reference::with_room(bin, "size=4g,mode=755")
    }

    /// Like [`Reference::start`], with tmpfs options that say how much it can hold.
    pub fn with_room(bin: PathBuf, room: &str) -> Reference {
        let dir = host::enter(room);
        let warden = host::warden(&dir);
        let mut reference = Reference {
            docker: None,
            dir: dir.clone(),
            warden,
        };
        let (data, cgroup) = (dir.join("data"), leftovers::cgroup_name(&dir));
        reference.docker = Some(Dockerd::start((bin, dir, data), cgroup, &[]));
        reference
    }

    /// The engine.
    pub fn docker(&self) -> &Dockerd {
        self.docker.as_ref().expect("it runs until the end")
    }

    /// `DOCKER_HOST` of this engine.
    pub fn address(&self) -> String {
        address(&self.dir)
    }

    /// Where this host's places are.
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.join(below)
    }

    /// Imports an example image with its recipe's configuration.
    pub fn import(&self, name: &str) {
        let archive = images::archive(name);
        let changes = fs::read_to_string(archive.with_extension("zst.changes"));
        // This Docker does not read zstd.
        let mut shell = self.command("sh");
        shell
            .args(["-c", r#"zstd -dc "$0" | docker import "$@" >/dev/null"#])
            .arg(&archive);
        for change in changes.expect("build.sh writes it").lines() {
            shell.args(["--change", change]);
        }
        shell.arg("-").arg(format!("{name}:latest"));
        let status = shell.status().expect("sh is there");
        assert!(status.success(), "docker import {name}");
    }

    /// As [`Dockerd::command`].
    pub fn command(&self, program: &str) -> Command {
        self.docker().command(program)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        drop(self.docker.take());
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
        host::leave(&self.dir);
    }
}
