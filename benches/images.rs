//! hoist against Docker's engine, in the same minutes on the same machine: a large image pulled from a registry on loopback and loaded from
//! its archive, and a Dockerfile of ten steps built and built again.
//!
//! Each side has network and mount namespaces and a registry of its own, and keeps everything on a tmpfs. Rounds of the two alternate; the
//! figures are medians. Processor time is the engines' alone, without their clients and registries. The floor is what fetching, decompressing (ISA-L) and unpacking all layers at the same time takes, without hashing
//! them. Prints a Markdown table and writes it to `target/bench/images.md`; with `HOIST_BENCH_WRITE=1` also into `README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark is a test, and its table is its output"
)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../engine/registry/tests/support/mod.rs"]
mod registries;
#[path = "support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;

use common::{LONG, TestHost, host, run};
use registries::{RealRegistry, Settings};
use support::publish;

const ROUNDS: usize = 5;
const ROOM: &str = "size=3g,mode=755";
/// What is measured, in this order.
const STEPS: [&str; 4] = ["pull", "load", "build, nothing cached", "build, all cached"];

/// One step of one side.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    milliseconds: f64,
    /// Of the engine's processes together, in MB.
    peak: f64,
    /// Processor time of the engine's processes, in milliseconds.
    processor: f64,
}

/// A round of one side; the floor is measured by hoist's.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    steps: [Measured; STEPS.len()],
    floor: f64,
}

fn main() {
    // Both sides read the archive from here; their own namespaces are copies of this one.
    let shared = host::enter(ROOM);
    // The registries' places, too.
    tempfile::env::override_temp_dir(&shared).unwrap();
    image_script(&["make", &shared.display().to_string()]);
    let hoist = Side::start("hoist", hoist_side, &shared);
    let docker = Side::start("docker", docker_side, &shared);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // One round that is not counted: caches, first networks.
    for round in 0..=ROUNDS {
        let measured = (hoist.measure(), docker.measure());
        if round > 0 {
            ours.push(measured.0);
            theirs.push(measured.1);
        }
    }
    hoist.finish();
    docker.finish();
    host::leave(&shared);
    let table = table(&ours, &theirs);
    println!("{table}");
    publish("images", "bench-images", &table);
}

fn table(ours: &[Round], theirs: &[Round]) -> String {
    let mut table = String::from(
        "| | Docker's engine | hoist | times faster | Docker's processor time | hoist's processor time | Docker's memory | hoist's memory |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for (index, what) in STEPS.iter().enumerate() {
        let time = |rounds: &[Round]| median(rounds, |round| round.steps[index].milliseconds);
        let peak = |rounds: &[Round]| median(rounds, |round| round.steps[index].peak);
        let processor = |rounds: &[Round]| median(rounds, |round| round.steps[index].processor);
        let (our_time, their_time) = (time(ours), time(theirs));
        let _ = writeln!(
            table,
            "| {what} | {their_time:.0} ms | {our_time:.1} ms | {:.1} | {:.0} ms | {:.0} ms | {:.0} MB | {:.0} MB |",
            their_time / our_time,
            processor(theirs),
            processor(ours),
            peak(theirs),
            peak(ours)
        );
    }
    let floor = median(ours, |round| round.floor);
    let pull = median(ours, |round| round.steps[0].milliseconds);
    let _ = writeln!(
        table,
        "| pull's floor: fetch, decompress and unpack only | | {floor:.0} ms | {:.1} | | | | |",
        floor / pull
    );
    table
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn image_script(arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/image.sh");
    let status = Command::new(script).args(arguments).status().unwrap();
    assert!(status.success(), "{script} {arguments:?}");
}

/// One of the two, on a thread that is inside its namespaces.
#[derive(Debug)]
struct Side {
    go: mpsc::Sender<()>,
    rounds: mpsc::Receiver<Round>,
    thread: std::thread::JoinHandle<()>,
}

type Body = fn(&Path, mpsc::Receiver<()>, mpsc::Sender<Round>);

impl Side {
    fn start(name: &str, body: Body, shared: &Path) -> Side {
        let (go, go_of_side) = mpsc::channel();
        let (rounds_of_side, rounds) = mpsc::channel();
        let shared = shared.to_owned();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || body(&shared, go_of_side, rounds_of_side))
            .unwrap();
        Side { go, rounds, thread }
    }

    fn measure(&self) -> Round {
        self.go.send(()).unwrap();
        self.rounds.recv().expect("the side still runs")
    }

    /// Lets the side clean up after itself.
    fn finish(self) {
        drop(self.go);
        self.thread.join().expect("the side ends well");
    }
}

/// How one side is spoken to.
struct Speaker<'a> {
    /// A command of the side's `docker` or `hoist image`.
    command: &'a dyn Fn(&[&str]) -> Command,
    engine: &'a dyn Fn() -> Vec<u32>,
    registry: &'a str,
    archive: PathBuf,
    context: PathBuf,
}

impl Speaker<'_> {
    fn round(&self) -> Round {
        let name = format!("{}/bench/large:1", self.registry);
        let archive = self.archive.display().to_string();
        let context = self.context.display().to_string();
        let pull = self.measured(&["pull", &name]);
        self.run(&["rm", &name]);
        let load = self.measured(&["load", "-i", &archive]);
        self.run(&["rm", "bench/large:1"]);
        let build = self.measured(&["build", "-t", "bench/built", "--no-cache", &context]);
        // What was built without the cache is in it now.
        let again = self.measured(&["build", "-t", "bench/built", &context]);
        self.run(&["rm", "bench/built"]);
        Round {
            steps: [pull, load, build, again],
            floor: 0.0,
        }
    }

    fn measured(&self, arguments: &[&str]) -> Measured {
        // The highest mark of its memory starts anew.
        for pid in (self.engine)() {
            let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        let processor = || -> f64 { (self.engine)().into_iter().map(processor_time_of).sum() };
        let before = processor();
        let milliseconds = self.run(arguments);
        let processor = processor() - before;
        let peaks = (self.engine)().into_iter().map(peak_of);
        Measured {
            milliseconds,
            peak: peaks.sum(),
            processor,
        }
    }

    fn run(&self, arguments: &[&str]) -> f64 {
        let took = run::to_end((self.command)(arguments), 2 * LONG).ok().took;
        took.as_secs_f64() * 1000.0
    }
}

/// The most memory that a process had resident, in MB.
fn peak_of(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0 / 1e6
}

/// The processor time of a process so far, in milliseconds (`proc_pid_stat(5)`: 14 and 15, in ticks of 10 ms).
fn processor_time_of(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before may hold spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    10.0 * ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
}

/// Ten steps, five of them commands, and files to copy.
fn context(at: &Path) -> PathBuf {
    std::fs::create_dir_all(at.join("src")).unwrap();
    for number in 0..200 {
        let text = format!("file {number}\n").repeat(200);
        std::fs::write(at.join(format!("src/{number}.txt")), text).unwrap();
    }
    std::fs::write(
        at.join("Dockerfile"),
        "FROM busybox\nENV MODE=bench\nWORKDIR /app\nRUN mkdir out\nCOPY src src\nRUN cat src/*.txt >out/all\n\
         RUN sha256sum out/all >out/sum\nRUN wc -l out/all >out/lines\nRUN ls -l src >out/list\nCMD [\"cat\", \"out/sum\"]\n",
    )
    .unwrap();
    at.to_owned()
}

/// A registry with the large image.
fn registry(shared: &Path) -> RealRegistry {
    let registry = RealRegistry::start(&Settings::default()).expect("docker-registry is installed");
    image_script(&["push", &shared.display().to_string(), &registry.host]);
    registry
}

fn hoist_side(shared: &Path, go: mpsc::Receiver<()>, rounds: mpsc::Sender<Round>) {
    let host = TestHost::with_room(ROOM).with_images(&["busybox"]);
    let registry = registry(shared);
    let speaker = Speaker {
        command: &|arguments| {
            let mut command = host.hoist_command();
            command.arg("image").args(arguments);
            command
        },
        engine: &|| host.engine_pid().into_iter().collect(),
        registry: &registry.host,
        archive: shared.join("image.tar"),
        context: context(&host.path("context")),
    };
    for () in go {
        let floor = floor(shared, &registry.host, &host.path("floor"));
        rounds
            .send(Round {
                floor,
                ..speaker.round()
            })
            .unwrap();
    }
}

fn floor(shared: &Path, registry: &str, place: &Path) -> f64 {
    let started = Instant::now();
    let place_text = place.display().to_string();
    image_script(&[
        "floor",
        &shared.display().to_string(),
        registry,
        &place_text,
    ]);
    let took = started.elapsed();
    std::fs::remove_dir_all(place).unwrap();
    took.as_secs_f64() * 1000.0
}

fn docker_side(shared: &Path, go: mpsc::Receiver<()>, rounds: mpsc::Sender<Round>) {
    let docker = support::docker(ROOM);
    docker.import("busybox");
    let registry = registry(shared);
    let speaker = Speaker {
        command: &|arguments| {
            let mut command = docker.command("docker");
            command
                .arg("image")
                .args(arguments)
                .env("DOCKER_BUILDKIT", "0");
            command
        },
        engine: &|| docker.docker().pids(),
        registry: &registry.host,
        archive: shared.join("image.tar"),
        context: context(&docker.path("context")),
    };
    for () in go {
        rounds.send(speaker.round()).unwrap();
    }
}
