//! Loading is linear in the number of services. Prints the time; compares two sizes, so that the machine does not matter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests"
)]

mod common;

use std::fmt::Write;
use std::time::{Duration, Instant};

use common::{MemoryFiles, options};
use hoist_compose::load::{canonical, load};

/// Services that extend one of another file, take in anchors, and are overridden by a second file.
fn project(services: usize) -> MemoryFiles {
    let mut base =
        "x-common: &common\n  restart: always\n  labels: {team: a}\nservices:\n".to_owned();
    let mut over = "services:\n".to_owned();
    for index in 0..services {
        write!(
            base,
            "  s{index}:\n    <<: *common\n    extends: {{file: base.yaml, service: web}}\n    image: \"app:${{TAG:-1}}\"\n    \
             environment: {{A: \"{index}\", B: \"$${{X}}\"}}\n    ports: [\"{}:80\"]\n    volumes: [\"./d{index}:/data\", \"v:/v\"]\n",
            20_000 + index % 40_000
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
    let web = "services:\n  web:\n    healthcheck: {test: [CMD, \"true\"], interval: 5s}\n    networks: [front, back]\n    cap_drop: [ALL]\n";
    over.push_str("networks: {front: {}, back: {}}\n");
    MemoryFiles::new([
        ("compose.yaml", base.as_str()),
        ("compose.override.yaml", over.as_str()),
        ("base.yaml", web),
    ])
}

fn time(services: usize) -> Duration {
    let files = project(services);
    let start = Instant::now();
    let loaded = load(&options(), &files).expect("loads");
    let value = canonical::project_value(&loaded.project);
    let elapsed = start.elapsed();
    assert_eq!(value["services"].as_object().unwrap().len(), services);
    elapsed
}

#[test]
fn loading_is_linear() {
    let best = |services: usize| (0..3).map(|_| time(services)).min().unwrap();
    let (small, large) = (best(250), best(1_000));
    println!("250 services: {small:?}, 1000 services: {large:?}");
    assert!(
        large < small * 10,
        "250 services: {small:?}, 1000 services: {large:?}"
    );
}
