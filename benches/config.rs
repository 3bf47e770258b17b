//! `config` of hoist against that of Docker Compose, in the same minutes on the same machine: projects in which every
//! service extends one of another file, takes in an anchor, and is overridden by a second file.
//!
//! Rounds of the two alternate; the figures are medians. The last columns are the CPU time that loading and making the
//! canonical form take within one process. Prints a Markdown table and writes it to `target/bench/config.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark is a test, and its table is its output"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hoist_compose::load::{LoadOptions, LocalFiles, canonical, load};
use rustix::time::{ClockId, clock_gettime};

/// Services, and how many rounds are measured.
const SIZES: &[(usize, usize)] = &[(10, 15), (100, 11), (1_000, 9), (2_000, 5)];

fn main() {
    let reference = reference();
    let mut table = String::from(
        "| services | Docker Compose | hoist | times faster | CPU of load and canonical form | of one service |\n\
         |---|---|---|---|---|---|\n",
    );
    for (services, rounds) in SIZES {
        let place = tempfile::tempdir().unwrap();
        write_project(place.path(), *services);
        let (mut ours, mut theirs, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        // One round that is not counted fills the caches.
        for round in 0..=*rounds {
            let hoist = run(Path::new(env!("CARGO_BIN_EXE_hoist")), place.path());
            let docker = run(&reference, place.path());
            let inside = cpu_time(place.path(), *services);
            if round > 0 {
                ours.push(hoist);
                theirs.push(docker);
                cpu.push(inside);
            }
        }
        let (ours, theirs, cpu) = (median(ours), median(theirs), median(cpu));
        let _ = writeln!(
            table,
            "| {services} | {theirs:.0} ms | {ours:.1} ms | {:.1} | {cpu:.1} ms | {:.1} µs |",
            theirs / ours,
            cpu * 1_000.0 / *services as f64
        );
    }
    println!("{table}");
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("config.md"), table).unwrap();
}

/// The reference's program; downloaded when it is not there.
fn reference() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/reference.sh");
    let output = Command::new(script)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the reference cannot be had");
    Path::new(String::from_utf8(output.stdout).unwrap().trim()).join("bin/docker-compose")
}

fn write_project(place: &Path, services: usize) {
    let mut base =
        "x-common: &common\n  restart: always\n  labels: {team: a}\nservices:\n".to_owned();
    let mut over = "services:\n".to_owned();
    for index in 0..services {
        write!(
            base,
            "  s{index}:\n    <<: *common\n    extends: {{file: base.yaml, service: web}}\n    \
             image: \"app:${{TAG:-1}}\"\n    environment: {{A: \"{index}\", B: \"$${{X}}\"}}\n    \
             ports: [\"{}:80\"]\n    volumes: [\"./d{index}:/data\", \"v:/v\"]\n",
            20_000 + index
        )
        .unwrap();
        if index > 0 {
            writeln!(base, "    depends_on: [s{}]", index - 1).unwrap();
        }
        writeln!(
            over,
            "  s{index}:\n    environment: [C=1]\n    mem_limit: 64m"
        )
        .unwrap();
    }
    base.push_str("volumes: {v: {}}\n");
    over.push_str("networks: {front: {}, back: {}}\n");
    let web = "services:\n  web:\n    healthcheck: {test: [CMD, \"true\"], interval: 5s}\n    \
               networks: [front, back]\n    cap_drop: [ALL]\n";
    for (name, text) in [
        ("compose.yaml", base.as_str()),
        ("compose.override.yaml", &over),
        ("base.yaml", web),
    ] {
        std::fs::write(place.join(name), text).unwrap();
    }
}

/// Milliseconds of `config`, with its output thrown away.
fn run(program: &Path, place: &Path) -> f64 {
    let start = Instant::now();
    let status = Command::new(program)
        .arg("config")
        .current_dir(place)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nowhere")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{} refuses the files", program.display());
    start.elapsed().as_secs_f64() * 1_000.0
}

/// Milliseconds of CPU time that this thread needs for loading and the canonical form.
fn cpu_time(place: &Path, services: usize) -> f64 {
    let options = LoadOptions {
        working_directory: place.to_path_buf(),
        ..LoadOptions::default()
    };
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            time.tv_nsec.unsigned_abs() as u32,
        )
    };
    let start = now();
    let loaded = load(&options, &LocalFiles).expect("the files are right");
    let data = canonical::project_data(&loaded.project);
    let elapsed = now() - start;
    let value = serde_json::Value::from(data);
    assert_eq!(value["services"].as_object().unwrap().len(), services);
    elapsed.as_secs_f64() * 1_000.0
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
