//! Docker's own engine in a test host of its own, where `benches/reference.sh` has fetched it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{host, images, leftovers, wait_until};

/// A running dockerd in the calling thread's own namespaces, with all of its places on a tmpfs.
#[derive(Debug)]
pub struct Reference {
    dir: PathBuf,
    bin: PathBuf,
    engine: Option<Child>,
    warden: Child,
}

impl Reference {
    /// Where its programs are; none, with the reason printed, where they were not fetched.
    pub fn programs() -> Option<PathBuf> {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/reference");
        if place.join(".complete").exists() {
            return Some(place.join("bin"));
        }
        eprintln!(
            "not compared with Docker's engine: {} is not there (benches/reference.sh fetches it)",
            place.display()
        );
        None
    }

    /// Starts it in a new host, into which the calling thread moves.
    pub fn start(bin: PathBuf) -> Reference {
        let dir = host::enter("size=4g,mode=755");
        let warden = host::warden(&dir);
        let mut reference = Reference {
            dir,
            bin,
            engine: None,
            warden,
        };
        let log = fs::File::create(reference.dir.join("log")).expect("the tmpfs is writable");
        let engine = reference
            .command("dockerd")
            .arg("--data-root")
            .arg(reference.dir.join("data"))
            .arg("--exec-root")
            .arg(reference.dir.join("exec"))
            .arg("--pidfile")
            .arg(reference.dir.join("pid"))
            .arg("--host")
            .arg(reference.address())
            .arg("--init-path")
            .arg(reference.bin.join("docker-init"))
            .arg("--cgroup-parent")
            .arg(leftovers::cgroup_name(&reference.dir))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("descriptors are left"))
            .stderr(log)
            .spawn()
            .expect("dockerd is a program");
        reference.engine = Some(engine);
        wait_until(Duration::from_secs(60), "dockerd answers", || {
            std::os::unix::net::UnixStream::connect(reference.dir.join("sock")).is_ok()
        });
        reference
    }

    /// `DOCKER_HOST` of this engine.
    pub fn address(&self) -> String {
        format!("unix://{}", self.dir.join("sock").display())
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

    /// A command with this engine as Docker's, and its programs before all others.
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
            .env("DOCKER_HOST", self.address())
            .env("HOME", &self.dir)
            .env_remove("DOCKER_CONTEXT")
            .current_dir(&self.dir);
        command
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self
            .command("sh")
            .args(["-c", "docker ps -aq | xargs -r docker rm -f >/dev/null"])
            .status();
        if let Some(mut engine) = self.engine.take() {
            let pid = rustix::process::Pid::from_child(&engine);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = engine.wait();
        }
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
        host::leave(&self.dir);
    }
}
