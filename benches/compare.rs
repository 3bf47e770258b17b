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
#[path = "support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use common::{LONG, TestHost, run};
use support::publish;

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
    publish("compare", "bench", &table);
}

fn median(times: &[Times], of: fn(&Times) -> f64) -> f64 {
    let mut values: Vec<f64> = times.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
    let docker = support::docker("size=4g,mode=755");
    docker.import("busybox");
    let project = docker.path("bench");
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
