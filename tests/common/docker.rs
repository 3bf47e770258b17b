//! Docker's own engine in a test host, beside ours: `benches/reference.sh` gets it, nothing is installed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::run::{self, Run};
use super::{LONG, TestHost, wait_until};

/// A running `dockerd` without networks.
#[derive(Debug)]
pub struct DockerEngine<'h> {
    host: &'h TestHost,
    bin: PathBuf,
    cgroup: String,
    engine: Child,
}

impl<'h> DockerEngine<'h> {
    /// Starts it; `None` on a machine that has not got it. In CI it is there.
    pub fn start(host: &'h TestHost) -> Option<DockerEngine<'h>> {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/reference");
        if !place.join(".complete").exists() {
            let reason = "Docker's engine is not there: benches/reference.sh gets it";
            assert!(
                std::env::var_os("CI").is_none(),
                "nothing is skipped in CI: {reason}"
            );
            eprintln!("skipped: {reason}");
            return None;
        }
        let bin = place.join("bin");
        let cgroup = format!("hoist-docker-{}", host.path("").file_name()?.to_str()?);
        let dir = host.path("docker");
        std::fs::create_dir(&dir).expect("the tmpfs is writable");
        let log = std::fs::File::create(dir.join("log")).expect("the tmpfs is writable");
        let engine = command(host, &bin, "dockerd")
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip-forward=false",
                "--storage-driver=overlay2",
            ])
            .arg("--data-root")
            .arg(host.root().join("docker"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg("--host")
            .arg(format!("unix://{}/sock", dir.display()))
            .arg("--cgroup-parent")
            .arg(&cgroup)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("dockerd starts");
        let docker = DockerEngine {
            host,
            bin,
            cgroup,
            engine,
        };
        wait_until(Duration::from_secs(60), "dockerd answers", || {
            docker.run(&["version"]).code == 0
        });
        Some(docker)
    }

    /// Runs `docker ARGUMENTS` to its end, with the classic builder.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let mut command = command(self.host, &self.bin, "docker");
        command.args(arguments).env("DOCKER_BUILDKIT", "0");
        run::to_end(command, 2 * LONG)
    }
}

fn command(host: &TestHost, bin: &Path, program: &str) -> Command {
    let mut command = host.command(bin.join(program));
    let path = std::env::var("PATH").unwrap_or_default();
    let socket = format!("unix://{}/sock", host.path("docker").display());
    command
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("DOCKER_HOST", socket);
    command
}

impl Drop for DockerEngine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.host.path("docker/log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("---- dockerd's log, newest first ----\n{}", last.join("\n"));
        }
        let pid = rustix::process::Pid::from_child(&self.engine);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.engine.wait();
        let mut hierarchies = vec![PathBuf::from("/sys/fs/cgroup")];
        let below = std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        hierarchies.extend(below.map(|entry| entry.path()));
        for hierarchy in hierarchies {
            let own = hierarchy.join(&self.cgroup);
            for entry in std::fs::read_dir(&own).into_iter().flatten().flatten() {
                let _ = std::fs::remove_dir(entry.path());
            }
            let _ = std::fs::remove_dir(own);
        }
        // What dockerd mounts in its places goes with the host's own namespace.
        let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
        let own = [self.host.path("docker"), self.host.root().join("docker")];
        for at in mounts
            .lines()
            .rev()
            .filter_map(|line| line.split(' ').nth(1))
        {
            if own.iter().any(|own| Path::new(at).starts_with(own)) {
                let _ = rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH);
            }
        }
    }
}
