//! Fuzzes the reading of Compose files without a nightly compiler: mutations of a few seeds, the same in every run.
//!
//! ```text
//! cargo run --release -p hoist-compose --example fuzz -- [TARGET|all] [RUNS] [SEED]
//! ```
//! A panic ends it, after the input was printed.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for developers"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

#[path = "../fuzz/targets.rs"]
mod targets;

const SEEDS: &[(&str, &[&str])] = &[
    (
        "yaml",
        &[
            "services:\n  a: &a\n    image: \"x:${T:-1}\"\n    ports: ['80:80', {target: 1}]\n  b:\n    <<: *a\n    extends: a\n",
            "name: p\ninclude: [b.yaml]\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/8}]}}}\nservices: {a: {build: ., networks: [n]}}\n",
            "services: !override {a: !reset null}\n--- \n# c\nx-a: [1, 0x1, .inf, 2026-01-01, ~, |\n  t\n  ]\n",
            "services:\n  a:\n    image: i\n    deploy: {resources: {limits: {cpus: '1', memory: 5m}}}\n    healthcheck: {test: x, interval: 1s}\n",
        ],
    ),
    (
        "interpolation",
        &[
            "$A ${B} ${C:-d} ${E:?f} ${G:+h} $$ ${I-${J+k}}",
            "${X:-{\"a\":1}} $1 $(x)",
            "a && b 'c d' \"e\\\" f",
        ],
    ),
    (
        "dotenv",
        &[
            "A=1\nexport B='x y'\nC=\"${A}\\n\\$z\"\n# c\nD: e #f\nF\n",
            "A='a\nb'\nB=$A$A\nA.b-[1]=2\n",
        ],
    ),
    (
        "ports",
        &[
            "80",
            "127.0.0.1:8000-8010:80-90/udp",
            "[::1]:1-2:3",
            "::1:6000:6000",
            "0:80/sctp",
        ],
    ),
    (
        "volumes",
        &[
            "v:/d:ro,z",
            "./a:/b",
            "~/x:/y:rw,rshared",
            "C:\\a:/b",
            "vendor.com/class=name",
            "/a:/b:rwm",
        ],
    ),
    (
        "durations",
        &[
            "1h5m30s20ms",
            "-1.5s",
            "10us1µs",
            "1.5gb",
            "-1",
            "9999999999999w",
        ],
    ),
    (
        "images",
        &[
            "a",
            "docker.io/library/a:b",
            "r.io:5000/a_b/c.d:1@sha256:0ed5d5928d4737458944eb604cc8509e245c3e19d02ad83935398bc4b991aac7",
        ],
    ),
    (
        "merge",
        &[
            "services:\n  a: {image: i, environment: {A: 1}, ports: [80]}\nservices:\n  a: {environment: [A=2], ports: !reset []}\n",
            "services:\n  a: {extends: {file: base.yaml, service: a}, volumes: ['/a']}\nservices:\n  a: {volumes: ['/b:/a'], depends_on: [a]}\n",
        ],
    ),
];

/// Pieces that grammars care about.
const WORDS: &[&str] = &[
    "${",
    "}",
    "$",
    ":-",
    ":?",
    "\n",
    "  ",
    "- ",
    ": ",
    "&a ",
    "*a",
    "<<: *a",
    "!reset ",
    "!override ",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "|\n",
    "---\n",
    "#",
    "\u{feff}",
    "\u{0}",
    "é",
    "\\",
    "=",
    ",",
    "/",
    "..",
    "~",
    "-",
    "65536",
    "-1",
    "1e9",
    "null",
    "true",
    "services:",
    "image",
    "extends",
    "include",
    "depends_on",
    "x-",
    "\t",
    "\r\n",
    "\u{85}",
    "\u{2028}",
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.next().unwrap_or_else(|| "all".to_owned());
    let mut number = |otherwise: u64| {
        arguments
            .next()
            .map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let (runs, seed) = (number(1_000_000), number(1));
    for (name, target) in targets::TARGETS {
        if wanted == "all" || wanted == *name {
            fuzz(name, *target, runs, seed);
        }
    }
}

fn fuzz(name: &str, target: fn(&[u8]), runs: u64, seed: u64) {
    let seeds = SEEDS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(&[][..], |(_, seeds)| seeds);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut slowest = (0, Vec::new());
    let start = Instant::now();
    for run in 0..runs {
        let input = random.mutation(seeds);
        let begun = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            println!(
                "{name}: run {run} panicked with {:?}",
                String::from_utf8_lossy(&input)
            );
            std::process::exit(1);
        }
        let taken = begun.elapsed().as_micros();
        if taken > slowest.0 {
            slowest = (taken, input);
        }
    }
    println!(
        "{name}: {runs} runs in {:.1?}, the slowest {} µs: {:?}",
        start.elapsed(),
        slowest.0,
        String::from_utf8_lossy(&slowest.1[..slowest.1.len().min(200)])
    );
}

/// xorshift64*: the same inputs on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap_or(0) % below.max(1)
    }

    fn mutation(&mut self, seeds: &[&str]) -> Vec<u8> {
        let mut input = seeds[self.next(seeds.len())].as_bytes().to_vec();
        for _ in 0..=self.next(6) {
            self.mutate(&mut input, seeds);
        }
        input.truncate(4_096);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, seeds: &[&str]) {
        let at = self.next(input.len() + 1);
        match self.next(8) {
            0 if at < input.len() => input[at] ^= 1 << self.next(8),
            1 if at < input.len() => {
                let end = (at + 1 + self.next(8)).min(input.len());
                input.drain(at..end);
            }
            2 => {
                let byte = u8::try_from(self.next(256)).unwrap_or(0);
                input.insert(at, byte);
            }
            3 if at < input.len() => {
                let end = (at + 1 + self.next(32)).min(input.len());
                let piece = input[at..end].to_vec();
                let target = self.next(input.len());
                input.splice(target..target, piece);
            }
            4 => {
                let other = seeds[self.next(seeds.len())].as_bytes();
                let from = self.next(other.len());
                input.splice(at..at, other[from..].iter().copied());
            }
            5 => input.truncate(at),
            _ => {
                let word = WORDS[self.next(WORDS.len())].as_bytes();
                input.splice(at..at, word.iter().copied());
            }
        }
    }
}
