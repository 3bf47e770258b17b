//! Control groups: limits that hold, ends for lack of memory, devices, and nothing left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use hoist_engine::runtime::spec::{Device, DeviceKind};
use hoist_shim::protocol::Event;
use support::Place;

/// Whether this machine has a controller: without one there is nothing to hold.
fn has(place: &Place, controller: &str) -> bool {
    let layout = &place.machine.cgroups;
    let unified = layout
        .v2
        .as_ref()
        .is_some_and(|tree| tree.controllers.iter().any(|name| name == controller));
    layout.hierarchy(controller).is_some() || unified
}

#[test]
fn the_container_is_in_its_groups_and_limits_are_set() {
    let mut place = Place::new("sleep 60");
    place.spec.resources.memory = Some(64 << 20);
    place.spec.resources.pids = Some(50);
    place.spec.resources.cpu_quota = Some(50_000);
    place.spec.resources.cpu_shares = Some(512);
    let container = place.start().unwrap();
    assert_eq!(container.started.warnings, Vec::<String>::new());
    let groups =
        std::fs::read_to_string(format!("/proc/{}/cgroup", container.started.pid)).unwrap();
    let wanted = format!("/{}", place.spec.cgroup.display());
    for line in groups.lines() {
        assert!(line.ends_with(&wanted), "{line}");
    }
    for (file, value) in [
        ("memory/memory.limit_in_bytes", "67108864"),
        ("pids/pids.max", "50"),
        ("cpu/cpu.cfs_quota_us", "50000"),
        ("cpu/cpu.shares", "512"),
    ] {
        let (hierarchy, file) = file.split_once('/').unwrap();
        let path = std::path::Path::new("/sys/fs/cgroup")
            .join(hierarchy)
            .join(&place.spec.cgroup)
            .join(file);
        if !place.machine.cgroups.is_unified() {
            assert_eq!(std::fs::read_to_string(path).unwrap().trim(), value);
        }
    }
    container.kill();
}

#[test]
fn an_end_for_lack_of_memory_is_told() {
    let mut place =
        Place::new("head -c 200000000 /dev/zero | tail -c 100000000 | wc -c; echo $?; exit 0");
    if !has(&place, "memory") {
        return;
    }
    place.spec.resources.memory = Some(32 << 20);
    place.spec.resources.memory_swap = Some(32 << 20);
    let outcome = place.run();
    assert!(outcome.record.out_of_memory, "{outcome:?}");
    let fine = Place::new("true").run();
    assert!(!fine.record.out_of_memory);
}

#[test]
fn a_kill_for_lack_of_memory_is_told_when_it_happens() {
    let mut place = Place::new("tail /dev/zero; echo survived; sleep 100");
    if !has(&place, "memory") {
        return;
    }
    place.spec.resources.memory = Some(32 << 20);
    place.spec.resources.memory_swap = Some(32 << 20);
    let mut container = place.start().unwrap();
    assert_eq!(container.connection.event().unwrap(), Event::OutOfMemory);
    container.wait_for_stdout("its end", |text| text.contains("survived"));
    assert!(container.kill().record.out_of_memory);
}

#[test]
fn the_number_of_processes_is_limited() {
    let mut place = Place::new("for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait; echo end");
    if !has(&place, "pids") {
        return;
    }
    place.spec.resources.pids = Some(5);
    let outcome = place.run();
    assert!(outcome.stderr.contains("can't fork"), "{outcome:?}");
}

#[test]
fn devices_that_are_not_allowed_cannot_be_used() {
    let script = "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg 2>&1; head -c 1 /dev/zero | wc -c; \
        stat -c %a:%t,%T:%u /dev/tun 2>&1";
    let outcome = Place::new(script).run();
    assert_eq!(
        outcome.stdout,
        "head: /tmp/kmsg: Operation not permitted\n1\nstat: can't stat '/dev/tun': No such file or directory\n"
    );
    let mut place =
        Place::new("stat -c %a:%t,%T:%u /dev/net/made; (: < /dev/net/made) && echo opened");
    place.spec.devices.push(Device {
        path: "/dev/net/made".into(),
        source: "/dev/fuse".into(),
        kind: DeviceKind::Character,
        major: 10,
        minor: 229,
        mode: 0o640,
        user: 7,
        group: 8,
        access: "rwm".into(),
    });
    assert_eq!(place.run().stdout, "640:a,e5:7\nopened\n");
}

#[test]
fn a_container_that_makes_groups_of_its_own_leaves_none() {
    let mut place = Place::new(
        "mkdir -p /sys/fs/cgroup/*/inner 2>/dev/null; ls -d /sys/fs/cgroup/*/inner | wc -l",
    );
    place.spec.security.privileged = true;
    // `run` asserts that nothing is left.
    assert_ne!(place.run().stdout, "0\n");
}

#[test]
fn a_missing_controller_is_a_warning() {
    let mut place = Place::new("true");
    place.machine.cgroups.v1.clear();
    place.machine.cgroups.v2 = None;
    place.spec.resources.memory = Some(64 << 20);
    let lowered = hoist_engine::runtime::lower(&place.spec, &place.machine).unwrap();
    assert_eq!(
        lowered.warnings,
        ["this machine has no memory controller: the limit is not applied"]
    );
    assert_eq!(place.run().record.code, 0);
}

/// What a machine without version 1 does, as far as a hybrid one can show it: the bare version 2 tree has no
/// controllers, but takes processes, device filters and `cgroup.kill`.
#[test]
fn on_a_unified_machine_the_group_is_the_containers_own() {
    let script = "cat /proc/self/cgroup | grep ^0; ls /sys/fs/cgroup/cgroup.procs; cat /sys/fs/cgroup/cgroup.procs; \
        mkdir /sys/fs/cgroup/x 2>/dev/null || echo read-only; \
        mknod /tmp/fuse c 10 229; (: < /tmp/fuse) 2>/dev/null || echo denied; head -c 1 /dev/zero | wc -c";
    let mut place = Place::new(script);
    place.machine.cgroups.v1.clear();
    if place.machine.cgroups.v2.is_none() {
        return;
    }
    let outcome = place.run();
    assert_eq!(
        outcome.stdout,
        "0::/\n/sys/fs/cgroup/cgroup.procs\n1\n9\nread-only\ndenied\n1\n"
            .replace("1\n9\n", first_pids(&outcome.stdout)),
    );
    let mut place = Place::new("sleep 60");
    place.machine.cgroups.v1.clear();
    let mut container = place.start().unwrap();
    let (code, output) = container.exec_script("grep ^0 /proc/self/cgroup; mknod /tmp/fuse c 10 229; (: < /tmp/fuse) 2>/dev/null || echo denied");
    assert_eq!((code, output.as_str()), (0, "0::/\ndenied\n"));
    let target = hoist_shim::protocol::SignalTarget::Everything;
    container.call(hoist_shim::protocol::RequestBody::Signal { target, signal: 9 });
    assert_eq!(container.wait().record.code, 137);
}

/// The ids in the container's own group: process 1 and the `cat` that reads them.
fn first_pids(output: &str) -> &str {
    let start = output.find("procs\n").map_or(0, |at| at + 6);
    let end = output.find("read-only").unwrap_or(output.len());
    assert!(output[start..end].starts_with("1\n"), "{output}");
    &output[start..end]
}
