//! Containers with user namespaces: who they are outside, and that everything still works inside.

use std::os::unix::fs::PermissionsExt as _;

use crate::common::{Project, TestHost, can_run, http};

/// User and group of a container's first process, as the machine sees them.
#[track_caller]
fn outside(project: &Project<'_>, container: &str) -> (u32, u32) {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", project.pid(container))).unwrap();
    let first = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let ids = line.unwrap().split_whitespace().next().unwrap();
        ids.parse().unwrap()
    };
    (first("Uid:"), first("Gid:"))
}

/// A host whose engine gives user namespaces.
fn remapped(ids: &str) -> TestHost {
    let host = TestHost::new();
    let mut start = host.hoist_command();
    start
        .args(["engine", "start"])
        .env("HOIST_USERNS_REMAP", ids);
    assert!(start.output().unwrap().status.success());
    host
}

const OWN: &str = "services:
  a:
    image: busybox
    init: true
    userns_mode: auto
    command: [sleep, infinity]
    ports: ['8080:80']
    volumes: ['data:/data', './secret:/secret', '/dev/null:/odd-device']
    tmpfs: ['/scratch:uid=7']
  b:
    image: busybox
    init: true
    userns_mode: auto
    user: '1000'
    command: [sh, -c, 'echo said >/dev/stdout; exec sleep infinity']
volumes: {data: {}}
";

#[test]
fn its_root_is_nobody_outside_and_root_inside() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", OWN);
    project.write("secret", "of the machine's root");
    let secret = project.dir().join("secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    project.up();

    let (user, group) = outside(&project, "p-a-1");
    assert!(user >= 0x4000_0000 && user == group, "{user} {group}");
    let (other, _) = outside(&project, "p-b-1");
    assert!(other % 65_536 == 1000 && other / 65_536 != user / 65_536);
    assert_eq!(project.sh("a", "id -u; id -g"), "0\n0\n");
    let map = project.sh("a", "tr -s ' ' </proc/self/uid_map");
    assert_eq!(map.trim(), format!("0 {user} 65536"));
    assert_eq!(project.inspect("p-a-1")["HostConfig"]["UsernsMode"], "auto");

    // The machine's root's files are nobody's; the image's, and the engine's own, are root's.
    let refused = project.hoist(&["exec", "-T", "a", "cat", "/secret"]);
    refused.fails();
    assert_eq!(
        project.sh(
            "a",
            "stat -c %u /secret / /bin/busybox /etc/hosts /proc /dev/null"
        ),
        "65534\n0\n0\n0\n65534\n65534\n"
    );
    assert_eq!(
        project.sh("a", "stat -c %u /scratch /dev/pts /dev/shm"),
        "7\n0\n0\n"
    );
    project.sh(
        "a",
        "echo x >/etc/new && rm /bin/sync && mkdir -p /var/x && chown 5:6 /var/x",
    );
    assert_eq!(
        project.sh("a", "stat -c %u:%g /etc/new /var/x"),
        "0:0\n5:6\n"
    );
    project.sh(
        "a",
        "head -c 4 /dev/urandom >/dev/null && echo x >/dev/null",
    );
    for line in [
        "mknod /tmp/x b 8 0",
        "mount -t tmpfs none /mnt",
        "echo 1 >/proc/sys/kernel/panic",
    ] {
        project
            .hoist(&["exec", "-T", "a", "sh", "-c", line])
            .fails();
    }
    // Its streams are its own, also for a user who is not root.
    assert!(project.hoist(&["logs", "b"]).ok().stdout.contains("said"));
    project.down(&["-v"]);
}

#[test]
fn its_network_works_and_its_volumes_survive_a_change() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", OWN);
    project.write("secret", "");
    project.up();
    project.sh("a", "ping -c 1 -W 5 b && nslookup a >/dev/null");
    project.sh(
        "a",
        "mkdir /www && echo it works >/www/index.html && httpd -h /www",
    );
    assert_eq!(http("127.0.0.1:8080", "GET /").unwrap().body, "it works\n");
    let written = "echo kept >/data/of-root; touch /data/of-app; chown 1000:2000 /data/of-app";
    project.sh("a", written);
    let seen = "cat /data/of-root; stat -c %u:%g /data /data/of-root /data/of-app";
    let expected = "kept\n0:0\n0:0\n1000:2000\n";
    assert_eq!(project.sh("a", seen), expected);

    project.write("compose.yaml", &OWN.replace("auto", "host"));
    project.up();
    assert_eq!(outside(&project, "p-a-1"), (0, 0));
    assert_eq!(project.sh("a", seen), expected);

    // A killed engine changes nothing, and the next one still knows whose users they are.
    project.write("compose.yaml", &OWN.replace("auto", "private"));
    project.up();
    host.kill_engine();
    assert_eq!(project.sh("a", seen), expected);
    assert!(outside(&project, "p-a-1").0 > 0);
    assert_eq!(project.sh("a", "id -u"), "0\n");
    project.hoist(&["restart", "-t", "1", "a"]).ok();
    assert_eq!(project.sh("a", seen), expected);
    project.is_at_rest();
    project.down(&["-v"]);
}

#[test]
fn an_engine_can_give_them_to_all() {
    if !can_run() {
        return;
    }
    let host = remapped("200000:300000:65536").with_images(&["busybox"]);
    let text = "services:
  a: {image: busybox, init: true, ipc: shareable, command: [sleep, infinity]}
  joins: {image: busybox, init: true, command: [sleep, infinity], network_mode: 'service:a', ipc: 'service:a', pid: 'service:a'}
  free: {image: busybox, init: true, command: [sleep, infinity], userns_mode: host, privileged: true}
";
    let project = host.project("p", text);
    project.up();
    assert_eq!(outside(&project, "p-a-1"), (200_000, 300_000));
    assert_eq!(outside(&project, "p-joins-1"), (200_000, 300_000));
    assert_eq!(outside(&project, "p-free-1"), (0, 0));
    project.sh("a", "echo shared >/dev/shm/x");
    assert_eq!(project.sh("joins", "cat /dev/shm/x"), "shared\n");
    assert_eq!(
        project.sh(
            "joins",
            "readlink /proc/self/ns/user; readlink /proc/self/ns/net"
        ),
        project.sh(
            "a",
            "readlink /proc/self/ns/user; readlink /proc/self/ns/net"
        )
    );
    project.down(&["-v"]);

    // Docker's words.
    let refused = |options: &str, words: &str| {
        let text = format!("services: {{x: {{image: busybox, {options}}}}}\n");
        let project = host.project("refused", &text);
        let up = project.hoist(&["up", "-d"]);
        assert!(up.code != 0 && up.stderr.contains(words), "{up}");
        project.down(&[]);
    };
    refused(
        "privileged: true",
        "privileged mode is incompatible with user namespaces",
    );
    refused(
        "network_mode: host",
        "cannot share the host's network namespace when user namespaces are enabled",
    );
    refused(
        "pid: host",
        "cannot share the host PID namespace when user namespaces are enabled",
    );
    refused(
        "userns_mode: keep-id",
        "invalid user namespace mode: \"keep-id\"",
    );
}

#[test]
fn an_ipc_namespace_is_shared_with_its_memory() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "services:
  a: {image: busybox, init: true, ipc: shareable, command: [sleep, infinity]}
  b: {image: busybox, init: true, ipc: 'service:a', command: [sleep, infinity]}
";
    let project = host.project("p", text);
    project.up();
    project.sh("a", "echo shared >/dev/shm/x");
    assert_eq!(
        project.sh("b", "cat /dev/shm/x; echo back >/dev/shm/y"),
        "shared\n"
    );
    assert_eq!(project.sh("a", "cat /dev/shm/y"), "back\n");
    project.down(&[]);
}
