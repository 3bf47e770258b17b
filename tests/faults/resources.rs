//! No room on the disk, no memory.

use std::time::Duration;

use crate::common::{TestHost, can_run, run, wait_until};

#[test]
fn the_disk_is_full_during_an_import() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_room("size=400m,mode=755");
    let archive = host.path("tmp/big.tar");
    let made = std::process::Command::new("sh")
        .args([
            "-c",
            "cd $0/tmp && head -c 200000000 /dev/urandom >big && tar cf big.tar big && rm big",
        ])
        .arg(host.path(""))
        .status()
        .unwrap();
    assert!(made.success());
    host.hoist(&["image", "import", archive.to_str().unwrap(), "big"])
        .fails()
        .says(&["may be used on the disk"]);
    assert_eq!(host.hoist(&["image", "ls", "-q"]).ok().stdout, "");
    // The room comes back, and what fits goes in.
    let host = host.with_images(&["busybox"]);
    assert!(host.hoist(&["image", "ls"]).ok().stdout.contains("busybox"));
}

#[test]
fn the_disk_is_full_in_a_container() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_room("size=400m,mode=755").with_images(&["busybox"]);
    let project = host.project(
        "p",
        "services:\n  a: {image: busybox, command: [sleep, infinity], init: true, volumes: ['data:/data']}\nvolumes: {data: {}}\n",
    );
    project.up();
    let full = project.hoist(&[
        "exec",
        "-T",
        "a",
        "dd",
        "if=/dev/zero",
        "of=/data/x",
        "bs=1M",
        "count=500",
    ]);
    full.fails().says(&["No space left on device"]);
    // The engine can still be asked, and told to stop and remove everything, though it cannot write a byte.
    assert_eq!(project.field("p-a-1", "State"), "running");
    project.down(&["-v"]);
    project.up();
}

#[test]
fn a_container_hits_its_memory_limit() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    // tail keeps its last line in memory, and /dev/zero has only one.
    let project = host.project(
        "p",
        "services:\n  a: {image: busybox, command: [tail, /dev/zero], mem_limit: 16m, memswap_limit: 16m}\n",
    );
    project.hoist(&["up", "-d"]).ok();
    project.wait_for_state("p-a-1", "exited");
    let state = project.inspect("p-a-1")["State"].clone();
    assert_eq!(state["OOMKilled"], true, "{state}");
    assert_eq!(state["ExitCode"], 137, "{state}");
    project.hoist(&["ps", "-a"]).ok().says(&["Exited (137)"]);
}

#[test]
fn a_fork_bomb_hits_its_process_limit() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project(
        "p",
        "services:\n  a: {image: busybox, command: [sleep, infinity], init: true, pids_limit: 20}\n",
    );
    project.up();
    let mut command = project.command(&[
        "exec",
        "-T",
        "a",
        "sh",
        "-c",
        "for i in $(seq 50); do sleep 60 & done; wait",
    ]);
    command.env("LC_ALL", "C");
    run::to_end(command, Duration::from_secs(30))
        .fails()
        .says(&["can't fork"]);
}

#[test]
fn a_long_log_is_rotated() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project(
        "p",
        "\
services:
  a:
    image: busybox
    command: [sh, -c, 'i=0; while [ $$i -lt 20000 ]; do echo line $$i; i=$$((i+1)); done; echo the end']
    logging: {options: {max-size: 100k, max-file: '2'}}
",
    );
    project.hoist(&["up", "-d"]).ok();
    project.wait_for_state("p-a-1", "exited");
    wait_until(
        Duration::from_secs(5),
        "the last line is in the log",
        || {
            project
                .hoist(&["logs", "--tail", "1", "a"])
                .ok()
                .stdout
                .contains("the end")
        },
    );
    let kept = project.hoist(&["logs", "a"]).ok().stdout;
    assert!(
        kept.contains("line 19999") && !kept.contains("line 0\n"),
        "{} bytes kept",
        kept.len()
    );
}
