//! What the benchmarks share: Docker's engine as the other side, and where the tables go.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark is a test; each uses its own part"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::reference::{Reference, programs};

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

/// Docker's engine as the other side; it is fetched first where it is not yet there. `room` is the tmpfs's options.
pub fn docker(room: &str) -> Reference {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/reference.sh");
    let fetched = Command::new(script).stdout(Stdio::null()).status().unwrap();
    assert!(fetched.success(), "{script}");
    Reference::with_room(programs().expect("it was fetched"), room)
}
