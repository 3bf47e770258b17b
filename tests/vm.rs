//! A whole machine of the kind that users mostly have: Debian's kernel, cgroup v2 only. Emulated, so it needs no hardware's help.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{can_run, images, run};

#[test]
fn a_stack_runs_on_debians_kernel_with_cgroup_v2_only() {
    if !can_run() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let hoist = env!("CARGO_BIN_EXE_hoist");
    let mut boot = Command::new("bash");
    boot.arg(root.join("tests/vm/boot.sh"))
        .arg(root.join("tests/vm/smoke.sh"))
        .args([hoist, env!("CARGO_BIN_EXE_hoist-shim")])
        .arg(format!(
            "{}=/busybox.tar.zst",
            images::archive("busybox").display()
        ))
        .env("HOIST_TEST_CACHE", root.join("target/test-cache"))
        .env("HOIST_VM_SECONDS", "200");
    run::to_end(boot, Duration::from_secs(230))
        .ok()
        .says(&["smoke: passed"]);
}
