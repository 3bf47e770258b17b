//! Seen from inside a container with the defaults.

use crate::common::{Project, TestHost, can_run};

const PLAIN: &str = "services:\n  a: {image: busybox, init: true, command: [sleep, infinity]}\n";

/// A project of this text that came up.
#[track_caller]
fn inside(compose: &str, check: impl FnOnce(&Project<'_>)) {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", compose);
    project.up();
    check(&project);
    project.down(&["-v"]);
}

/// Runs a shell line in service `a` and insists that it fails.
#[track_caller]
fn refused(project: &Project<'_>, line: &str) {
    project
        .hoist(&["exec", "-T", "a", "sh", "-c", line])
        .fails();
}

#[test]
fn it_sees_only_its_own_processes_mounts_and_links() {
    inside(PLAIN, |project| {
        let processes = project.sh("a", "ls -d /proc/[0-9]* | wc -l");
        assert!(
            processes.trim().parse::<usize>().unwrap() <= 5,
            "{processes}"
        );
        // The root's own line names its layers, as it does in Docker.
        let mounts = project.sh("a", "grep -v ' / overlay ' /proc/mounts");
        assert!(
            !mounts.contains("hoist-test"),
            "paths of the machine: {mounts}"
        );
        let twice = project.sh("a", "cut -d' ' -f 2 /proc/mounts | sort | uniq -d");
        assert_eq!(twice, "", "mounted over each other");
        let names = project.sh(
            "a",
            "grep -E ' (/|/dev/shm|/proc) ' /proc/mounts | cut -d' ' -f 1 | sort",
        );
        assert_eq!(names, "overlay\nproc\nshm\n", "Docker's names");
        let links = project.sh("a", "ls /sys/class/net | grep -cvE '^(lo|eth0|bonding_masters|tunl0|sit0|ip6tnl0|gre0)$' || true");
        assert_eq!(links, "0\n");
        assert_eq!(project.sh("a", "ls / | grep -c oldroot || true"), "0\n");
    });
}

#[test]
fn its_capabilities_are_dockers_default() {
    inside(PLAIN, |project| {
        let status = project.sh("a", "grep -E '^(Cap|Seccomp:)' /proc/self/status");
        for set in [
            "CapPrm:\t00000000a80425fb",
            "CapEff:\t00000000a80425fb",
            "CapBnd:\t00000000a80425fb",
            "Seccomp:\t2",
        ] {
            assert!(status.contains(set), "{set} in {status}");
        }
        for set in ["CapInh:\t0000000000000000", "CapAmb:\t0000000000000000"] {
            assert!(status.contains(set), "{set} in {status}");
        }
    });
}

#[test]
fn capabilities_are_added_and_dropped() {
    inside(
        "services:\n  a: {image: busybox, init: true, command: [sleep, infinity], cap_drop: [ALL], cap_add: [NET_ADMIN, CHOWN]}\n",
        |project| {
            assert_eq!(
                project.sh("a", "grep CapBnd /proc/self/status"),
                "CapBnd:\t0000000000001001\n"
            );
            project.sh(
                "a",
                "ip link add dummy9 type dummy 2>/dev/null || ip link set lo mtu 1400",
            );
        },
    );
}

#[test]
fn the_kernel_is_out_of_reach() {
    inside(PLAIN, |project| {
        refused(
            project,
            "mount -t tmpfs none /mnt || mount -t proc proc /tmp",
        );
        refused(project, "echo 1 >/proc/sys/kernel/panic");
        refused(project, "echo b >/proc/sysrq-trigger");
        refused(project, "echo '|/tmp/x' >/proc/sys/kernel/core_pattern");
        refused(project, "cat /proc/kcore | head -c 1 | grep -q .");
        refused(project, "mknod /dev/x b 8 0 && head -c 1 /dev/x");
        refused(
            project,
            "cd /sys/fs/cgroup && { cd memory 2>/dev/null || true; } && mkdir x",
        );
        refused(project, "unshare -r true");
        refused(project, "hostname other");
        refused(project, "dmesg");
        assert_eq!(project.sh("a", "cat /proc/keys | head -c 1"), "");
        assert_eq!(project.sh("a", "ls /sys/firmware | wc -l"), "0\n");
    });
}

#[test]
fn privileged_containers_may() {
    inside(
        "services:\n  a: {image: busybox, init: true, command: [sleep, infinity], privileged: true}\n",
        |project| {
            project.sh("a", "mount -t tmpfs none /home && hostname other");
            assert!(
                project
                    .sh("a", "grep Seccomp: /proc/self/status")
                    .contains('0')
            );
        },
    );
}

#[test]
fn it_starts_with_no_descriptor_of_the_engine() {
    inside(
        "services:\n  a: {image: busybox, command: [sh, -c, 'ls -l /proc/self/fd; exec sleep infinity']}\n",
        |project| {
            let open = project.sh("a", "ls -l /proc/1/fd");
            assert!(!open.contains("memfd") && !open.contains("hoist"), "{open}");
            assert!(
                open.lines().filter(|line| line.contains("->")).count() <= 3,
                "{open}"
            );
            let exec = project.sh("a", "ls -l /proc/self/fd");
            assert!(!exec.contains("memfd") && !exec.contains("hoist"), "{exec}");
        },
    );
}

#[test]
fn proc_self_exe_does_not_lead_to_the_runtime() {
    // CVE-2019-5736: an image whose program is /proc/self/exe must not get the runtime's own binary to write to.
    inside(
        "services:\n  a: {image: busybox, init: true, command: [sleep, infinity]}\n",
        |project| {
            let run = project.hoist(&["exec", "-T", "a", "/proc/self/exe", "--version"]);
            assert!(
                !run.stdout.contains("hoist-shim") && !run.stderr.contains("hoist-shim"),
                "{run}"
            );
            // Of its first process it may see nothing, or a path of its own.
            let first = project.sh("a", "readlink /proc/1/exe || true");
            assert!(
                !first.contains("hoist") && !first.contains("memfd"),
                "{first}"
            );
        },
    );
}

#[test]
fn a_working_directory_in_proc_is_refused() {
    if !can_run() {
        return;
    }
    // CVE-2024-21626: a descriptor of the machine's file system as working directory.
    let host = TestHost::with_busybox();
    for number in 3..12 {
        let project = host.project(
            &format!("p{number}"),
            &format!("services:\n  a: {{image: busybox, working_dir: /proc/self/fd/{number}, command: [ls, ../../../etc]}}\n"),
        );
        project.hoist(&["up", "-d"]);
        let logs = project.hoist(&["logs", "--no-log-prefix"]);
        assert!(!logs.stdout.contains("apt"), "the machine's /etc: {logs}");
        project.down(&[]);
    }
}

#[test]
fn an_image_cannot_lead_a_mount_outside() {
    // A symbolic link in the image where a volume is mounted: resolved inside the container's root.
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let outside = host.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let tree = host.path("tmp/tree");
    let made = std::process::Command::new("sh")
        .args(["-c", "mkdir -p $0/bin && zstd -dc $1 | tar x -C $0 ./bin/busybox && ln -s $2 $0/link && ln -s ../../../../../../$2 $0/up && tar cf $0.tar -C $0 ."])
        .arg(&tree)
        .arg(crate::common::images::archive("busybox"))
        .arg(&outside)
        .status()
        .unwrap();
    assert!(made.success());
    host.hoist(&[
        "image",
        "import",
        tree.with_extension("tar").to_str().unwrap(),
        "links",
    ])
    .ok();
    let project = host.project(
        "p",
        "services:\n  a: {image: links, init: true, command: [/bin/busybox, sleep, infinity], volumes: ['one:/link/data', 'two:/up/more'], configs: [{source: c, target: /link/conf}]}\nvolumes: {one: {}, two: {}}\nconfigs: {c: {content: x}}\n",
    );
    project.hoist(&["up", "-d"]);
    assert_eq!(
        std::fs::read_dir(&outside).unwrap().count(),
        0,
        "nothing was made outside"
    );
    project.down(&["-v"]);
}
