//! hoist against Docker Compose, in the same minutes on the same machine: `up -d` and `down` of 1, 10 and 50 services.
//!
//! Each side has network and mount namespaces of its own and keeps everything on a tmpfs. Rounds of the two alternate; the
//! figures are medians. Prints a Markdown table and writes it to `target/bench/compare.md`; with `HOIST_BENCH_WRITE=1`
//! also into `README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark is a test, and its table is its output"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use common::{LONG, TestHost, host, images, run, wait_until};

/// Services, and how many rounds are measured.
const SIZES: &[(usize, usize)] = &[(1, 9), (10, 7), (50, 5)];

/// What is measured of one project, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    up: f64,
    again: f64,
    down: f64,
}

fn main() {
    let hoist = Side::start("hoist", hoist_side);
    let docker = Side::start("docker", docker_side);
    let mut table = String::from(
        "| services | | Docker Compose | hoist | times faster |\n|---|---|---|---|---|\n",
    );
    for (services, rounds) in SIZES {
        // One round that is not counted: caches, first networks.
        let mut times = (Vec::new(), Vec::new());
        for round in 0..=*rounds {
            let (ours, theirs) = (hoist.measure(*services), docker.measure(*services));
            if round > 0 {
                times.0.push(ours);
                times.1.push(theirs);
            }
        }
        for (what, of) in [
            ("`up -d`", (|times| times.up) as fn(&Times) -> f64),
            ("`up -d` again", |times| times.again),
            ("`down`", |times| times.down),
        ] {
            let (ours, theirs) = (median(&times.0, of), median(&times.1, of));
            let _ = writeln!(
                table,
                "| {services} | {what} | {theirs:.0} ms | {ours:.1} ms | {:.1} |",
                theirs / ours
            );
        }
    }
    hoist.finish();
    docker.finish();
    println!("{table}");
    publish(&table);
}

fn median(times: &[Times], of: fn(&Times) -> f64) -> f64 {
    let mut values: Vec<f64> = times.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn publish(table: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(root.join("target/bench")).unwrap();
    std::fs::write(root.join("target/bench/compare.md"), table).unwrap();
    if std::env::var_os("HOIST_BENCH_WRITE").is_some() {
        let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
        let (before, rest) = readme
            .split_once("<!-- bench:begin -->\n")
            .expect("README.md has the mark");
        let (_, after) = rest
            .split_once("<!-- bench:end -->")
            .expect("README.md has the mark");
        std::fs::write(
            root.join("README.md"),
            format!("{before}<!-- bench:begin -->\n{table}<!-- bench:end -->{after}"),
        )
        .unwrap();
    }
}

/// One of the two, on a thread that is inside its namespaces.
#[derive(Debug)]
struct Side {
    sizes: mpsc::Sender<usize>,
    times: mpsc::Receiver<Times>,
    thread: std::thread::JoinHandle<()>,
}

impl Side {
    fn start(name: &str, body: fn(mpsc::Receiver<usize>, mpsc::Sender<Times>)) -> Side {
        let (sizes, sizes_of_side) = mpsc::channel();
        let (times_of_side, times) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || body(sizes_of_side, times_of_side))
            .unwrap();
        Side {
            sizes,
            times,
            thread,
        }
    }

    fn measure(&self, services: usize) -> Times {
        self.sizes.send(services).unwrap();
        self.times.recv().expect("the side still runs")
    }

    /// Lets the side clean up after itself.
    fn finish(self) {
        drop(self.sizes);
        self.thread.join().expect("the side ends well");
    }
}

/// A Compose file of this many services.
fn compose(services: usize) -> String {
    let mut text = String::from("services:\n");
    for number in 1..=services {
        let _ = writeln!(
            text,
            "  s{number}: {{image: busybox, init: true, command: [sleep, infinity]}}"
        );
    }
    text
}

fn measure(project: &Path, command: &dyn Fn(&[&str]) -> Command) -> Times {
    let time = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.current_dir(project);
        run::to_end(command, 2 * LONG).ok().took.as_secs_f64() * 1000.0
    };
    Times {
        up: time(&["up", "-d"]),
        again: time(&["up", "-d"]),
        down: time(&["down", "-t", "1"]),
    }
}

fn hoist_side(sizes: mpsc::Receiver<usize>, times: mpsc::Sender<Times>) {
    let host = TestHost::with_busybox();
    for services in sizes {
        let project = host.project("bench", &compose(services));
        let command = |arguments: &[&str]| {
            let mut command = host.hoist_command();
            command.args(arguments);
            command
        };
        times.send(measure(project.dir(), &command)).unwrap();
    }
}

fn docker_side(sizes: mpsc::Receiver<usize>, times: mpsc::Sender<Times>) {
    let docker = Docker::start();
    let project = docker.dir.join("bench");
    std::fs::create_dir_all(&project).unwrap();
    for services in sizes {
        std::fs::write(project.join("compose.yaml"), compose(services)).unwrap();
        let command = |arguments: &[&str]| {
            let mut command = docker.command("docker-compose");
            command.args(arguments);
            command
        };
        times.send(measure(&project, &command)).unwrap();
    }
}

/// A Docker engine in the calling thread's own namespaces, with all of its places on a tmpfs.
#[derive(Debug)]
struct Docker {
    dir: PathBuf,
    bin: PathBuf,
    engine: Option<Child>,
}

impl Docker {
    fn start() -> Docker {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/reference.sh");
        let found = Command::new(script)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(found.status.success(), "{script}");
        let bin = Path::new(String::from_utf8(found.stdout).unwrap().trim()).join("bin");
        let mut docker = Docker {
            dir: host::enter("size=4g,mode=755"),
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
        docker.import("busybox");
        docker
    }

    fn import(&self, name: &str) {
        // This Docker does not read zstd.
        let mut shell = self.command("sh");
        shell
            .args(["-c", "zstd -dc \"$0\" | docker import - \"$1\" >/dev/null"])
            .arg(images::archive(name))
            .arg(name);
        assert!(shell.status().unwrap().success(), "docker import {name}");
    }

    fn command(&self, program: &str) -> Command {
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
