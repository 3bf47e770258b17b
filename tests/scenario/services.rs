//! What the elements of a Compose file do, seen from inside the containers.

use std::time::Duration;

use crate::common::{Project, TestHost, can_run, http, run, wait_until};

/// A host with busybox, and a project of this text on it that came up.
#[track_caller]
fn with_project(compose: &str, check: impl FnOnce(&Project<'_>)) {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", compose);
    project.write("secret.txt", "from a file");
    project.up();
    check(&project);
    project.is_at_rest();
    project.down(&["-v"]);
    assert!(project.containers().is_empty());
}

#[test]
fn identity_and_environment() {
    with_project(
        "\
services:
  a:
    image: busybox
    init: true
    command: [sleep, infinity]
    hostname: box
    user: '1000:1000'
    working_dir: /tmp
    environment: {A: one, B: 'two words'}
    labels: {com.example.note: hello}
    extra_hosts: ['far:192.0.2.7']
",
        |project| {
            assert_eq!(
                project.sh("a", "hostname; id -u; id -g; pwd; echo $A/$B"),
                "box\n1000\n1000\n/tmp\none/two words\n"
            );
            assert!(project.sh("a", "cat /etc/hosts").contains("192.0.2.7\tfar"));
            assert_eq!(
                project.inspect("p-a-1")["Config"]["Labels"]["com.example.note"],
                "hello"
            );
            assert_eq!(project.sh("a", "cat /proc/1/comm | head -c 6").len(), 6);
        },
    );
}

#[test]
fn limits_reach_the_kernel() {
    with_project(
        "\
services:
  a:
    image: busybox
    init: true
    command: [sleep, infinity]
    ulimits: {nofile: {soft: 1000, hard: 2000}}
    sysctls: {net.ipv4.ip_unprivileged_port_start: 1}
    shm_size: 8m
    tmpfs: ['/scratch:size=4m']
    read_only: true
    mem_limit: 32m
    cpus: 0.5
    pids_limit: 50
",
        |project| {
            assert_eq!(project.sh("a", "ulimit -n; ulimit -Hn"), "1000\n2000\n");
            assert_eq!(
                project.sh("a", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"),
                "1\n"
            );
            assert!(
                project
                    .sh("a", "df -k /dev/shm | tail -1")
                    .contains(" 8192 ")
            );
            assert!(
                project
                    .sh("a", "df -k /scratch | tail -1")
                    .contains(" 4096 ")
            );
            project
                .hoist(&["exec", "-T", "a", "touch", "/x"])
                .fails()
                .says(&["Read-only file system"]);
            let host = &project.inspect("p-a-1")["HostConfig"];
            assert_eq!(host["Memory"], 32 * 1024 * 1024);
            assert_eq!(host["NanoCpus"], 500_000_000);
            assert_eq!(host["PidsLimit"], 50);
        },
    );
}

#[test]
fn services_find_each_other_by_names_and_aliases() {
    with_project(
        "\
services:
  a: {image: busybox, init: true, command: [sleep, infinity], networks: [one]}
  b:
    image: busybox
    init: true
    command: [sleep, infinity]
    deploy: {replicas: 3}
    networks: {one: {aliases: [bee]}}
  c: {image: busybox, init: true, command: [sleep, infinity], networks: {two: {ipv4_address: 10.77.0.9}}}
networks:
  one:
  two: {ipam: {config: [{subnet: 10.77.0.0/24}]}}
",
        |project| {
            let addresses = |name: &str| {
                let out = project.sh("a", &format!("nslookup -type=a {name} 127.0.0.11"));
                out.lines().filter(|line| line.starts_with("Address") && !line.contains("127.0.0.11")).count()
            };
            assert_eq!((addresses("b"), addresses("bee"), addresses("p-b-2")), (3, 3, 1));
            project.sh("a", "ping -c 1 -W 2 b");
            assert!(project.sh("c", "ip -4 addr show eth0").contains("10.77.0.9/24"));
            // Another network is out of reach, by name and by address.
            project.hoist(&["exec", "-T", "a", "nslookup", "c", "127.0.0.11"]).fails();
            project.hoist(&["exec", "-T", "a", "ping", "-c", "1", "-W", "1", "10.77.0.9"]).fails();
        },
    );
}

#[test]
fn network_modes() {
    with_project(
        "\
services:
  none: {image: busybox, init: true, command: [sleep, infinity], network_mode: none}
  host: {image: busybox, init: true, command: [sleep, infinity], network_mode: host}
  base: {image: busybox, init: true, command: [sleep, infinity]}
  side: {image: busybox, init: true, command: [sleep, infinity], network_mode: 'service:base'}
",
        |project| {
            assert!(!project.sh("none", "ip link").contains("eth0"));
            assert!(
                project.sh("host", "ip link").contains("br-"),
                "the test host's own links"
            );
            assert_eq!(
                project.sh("base", "ip addr show eth0"),
                project.sh("side", "ip addr show eth0")
            );
        },
    );
}

#[test]
fn a_pid_namespace_is_shared() {
    with_project(
        "\
services:
  base: {image: busybox, init: true, command: [sleep, infinity]}
  side: {image: busybox, init: true, command: [sleep, '1234567'], pid: 'service:base'}
",
        |project| {
            // A process beside one that joined, told by what its own shim knows it as.
            project
                .hoist(&["exec", "-T", "side", "sh", "-c", "ps; exit 7"])
                .exits(7)
                .says(&["sleep infinity", "sleep 1234567"]);
            assert!(project.sh("base", "ps").contains("sleep 1234567"));
            project.hoist(&["kill", "side"]).ok();
            project.hoist(&["wait", "side"]);
            assert!(!project.sh("base", "ps").contains("sleep 1234567"));
            project.hoist(&["up", "-d"]).ok();
            assert!(project.sh("side", "ps").contains("sleep infinity"));
        },
    );
}

#[test]
fn volumes_of_every_kind() {
    with_project(
        "\
services:
  a:
    image: busybox
    init: true
    command: [sleep, infinity]
    volumes: ['named:/named', '/anonymous', './bound:/bound:ro', {type: tmpfs, target: /fast}]
    configs: [{source: c, target: /etc/c.conf}]
    secrets: [s]
volumes: {named: {}}
configs: {c: {content: 'from the file'}}
secrets: {s: {file: ./secret.txt}}
",
        |project| {
            project.sh("a", "touch /named/x /anonymous/x /fast/x");
            project
                .hoist(&["exec", "-T", "a", "touch", "/bound/x"])
                .fails()
                .says(&["Read-only file system"]);
            assert_eq!(project.sh("a", "cat /etc/c.conf"), "from the file");
            assert_eq!(project.sh("a", "cat /run/secrets/s"), "from a file");
            // Recreated, the named and the anonymous volume keep their data, the tmpfs does not.
            project.hoist(&["up", "-d", "--force-recreate"]).ok();
            assert_eq!(
                project.sh("a", "ls /named /anonymous /fast | grep -c x"),
                "2\n"
            );
        },
    );
}

#[test]
fn a_new_volume_is_filled_from_the_image() {
    with_project(
        "services:\n  a: {image: busybox, init: true, command: [sleep, infinity], volumes: ['etc:/etc']}\nvolumes: {etc: {}}\n",
        |project| assert!(project.sh("a", "cat /etc/passwd").contains("www-data")),
    );
}

#[test]
fn ports_are_published_on_both_families() {
    with_project(
        "\
services:
  a:
    image: busybox
    init: true
    ports: ['8080:80', '127.0.0.1:9090:80']
    command: [sh, -c, 'mkdir /www && echo it works >/www/index.html && exec httpd -f -h /www']
    healthcheck: {test: [CMD, wget, -q, -O, /dev/null, 'http://127.0.0.1'], interval: 100ms}
",
        |project| {
            for address in ["127.0.0.1:8080", "[::1]:8080", "127.0.0.1:9090"] {
                assert_eq!(
                    http(address, "GET /").unwrap().body,
                    "it works\n",
                    "{address}"
                );
            }
            assert!(
                http("[::1]:9090", "GET /").is_err(),
                "published on 127.0.0.1 only"
            );
            project
                .hoist(&["ps"])
                .ok()
                .says(&["0.0.0.0:8080->80/tcp", "127.0.0.1:9090->80/tcp"]);
        },
    );
}

#[test]
fn exec_has_its_own_output_code_and_terminal() {
    with_project(
        "services:\n  a: {image: busybox, init: true, command: [sleep, infinity]}\n",
        |project| {
            let both = project
                .hoist(&[
                    "exec",
                    "-T",
                    "a",
                    "sh",
                    "-c",
                    "echo out; echo err >&2; exit 9",
                ])
                .exits(9);
            assert_eq!(
                (both.stdout.as_str(), both.stderr.as_str()),
                ("out\n", "err\n")
            );
            project.hoist(&["exec", "-T", "a", "no-such"]).exits(127);
            project
                .hoist(&["exec", "-T", "a", "/etc/passwd"])
                .exits(126);
            project
                .hoist(&["exec", "-T", "a", "sh", "-c", "kill -9 $$"])
                .exits(137);
            let input = project.command(&["exec", "-T", "a", "cat"]);
            assert_eq!(
                run::with_input(input, b"through\n", Duration::from_secs(20))
                    .ok()
                    .stdout,
                "through\n"
            );
            let big = project
                .hoist(&["exec", "-T", "a", "sh", "-c", "yes | head -c 3000000"])
                .ok();
            assert_eq!(big.stdout.len(), 3_000_000);
        },
    );
}

#[test]
fn services_are_stopped_as_they_ask() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project(
        "p",
        "\
services:
  polite:
    image: busybox
    command: [sh, -c, 'trap \"echo got USR1; exit 0\" USR1; echo ready; while :; do sleep 0.05; done']
    stop_signal: SIGUSR1
  deaf:
    image: busybox
    command: [sh, -c, 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done']
    stop_grace_period: 1s
",
    );
    project.up();
    wait_until(Duration::from_secs(5), "both are ready", || {
        project
            .hoist(&["logs"])
            .ok()
            .stdout
            .matches("ready")
            .count()
            == 2
    });
    let took = project.hoist(&["stop"]).ok().took;
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert!(
        project
            .hoist(&["logs", "polite"])
            .ok()
            .stdout
            .contains("got USR1")
    );
    assert_eq!(project.inspect("p-polite-1")["State"]["ExitCode"], 0);
    assert_eq!(project.inspect("p-deaf-1")["State"]["ExitCode"], 137);
    project.hoist(&["start"]).ok();
    project.wait_for_state("p-deaf-1", "running");
    project.hoist(&["kill"]).ok();
    project.wait_for_state("p-deaf-1", "exited");
}

#[test]
fn conditions_order_the_start() {
    with_project(
        "\
services:
  migrate:
    image: busybox
    volumes: ['data:/d']
    command: [sh, -c, 'test -e /d/db && touch /d/migrated']
    depends_on: {db: {condition: service_healthy}}
  db:
    image: busybox
    init: true
    volumes: ['data:/d']
    command: [sh, -c, 'sleep 0.3; touch /d/db; sleep infinity']
    healthcheck: {test: [CMD, test, -e, /d/db], interval: 100ms, start_period: 5s, start_interval: 50ms}
  app:
    image: busybox
    init: true
    volumes: ['data:/d']
    command: [sh, -c, 'test -e /d/migrated && touch /d/app && sleep infinity']
    depends_on: {migrate: {condition: service_completed_successfully}}
volumes: {data: {}}
",
        |project| {
            wait_until(Duration::from_secs(5), "the app started after its migration", || {
                project.sh("db", "ls /d").contains("app")
            });
            assert_eq!(project.inspect("p-migrate-1")["State"]["ExitCode"], 0);
        },
    );
}

#[test]
fn a_linked_service_has_its_alias() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "services:
  a: {image: busybox, init: true, command: [sleep, infinity], links: ['b:database']}
  b: {image: busybox, init: true, command: [sleep, infinity]}
";
    let project = host.project("p", text);
    project.up();
    project.sh("a", "ping -c 1 -W 5 database && ping -c 1 -W 5 b");
    project
        .hoist(&["exec", "-T", "b", "nslookup", "database"])
        .fails();
    project.down(&[]);
}

#[test]
fn forwarding_that_somebody_turns_off_is_turned_on_again() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "services: {a: {image: busybox, init: true, command: [sleep, infinity]}}\n";
    let project = host.project("p", text);
    project.up();
    let switch = "/proc/sys/net/ipv4/ip_forward";
    std::fs::write(switch, "0").unwrap();
    project.hoist(&["restart", "-t", "1", "a"]).ok();
    assert_eq!(std::fs::read_to_string(switch).unwrap(), "1\n");
    let log = host.hoist(&["engine", "logs"]).ok().stdout;
    assert!(log.contains("somebody has turned off forwarding"), "{log}");
    project.down(&[]);
}

#[test]
fn a_volume_can_be_of_a_file_systems_type_or_a_directory() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "services:
  a:
    image: busybox
    init: true
    command: [sleep, infinity]
    volumes: ['ram:/ram', 'here:/here', 'fixed:/fixed']
volumes:
  ram: {driver_opts: {type: ramfs, device: ramfs, o: 'mode=751,noexec'}}
  here: {driver_opts: {type: none, device: $PWD/here, o: bind}}
  fixed: {driver_opts: {type: none, device: $PWD/here, o: 'bind,ro'}}
";
    let here = host.path("projects/p");
    let project = host.project("p", &text.replace("$PWD", &here.display().to_string()));
    project.write("here/x", "from outside");
    project.up();
    let mounts = project.sh("a", "grep /ram /proc/mounts; stat -c %a /ram");
    assert!(
        mounts.starts_with("ramfs /ram ramfs rw") && mounts.contains("noexec"),
        "{mounts}"
    );
    assert!(mounts.ends_with("751\n"), "{mounts}");
    assert_eq!(
        project.sh("a", "cat /here/x; echo in >/here/y"),
        "from outside"
    );
    project
        .hoist(&["exec", "-T", "a", "touch", "/fixed/z"])
        .fails();
    project.down(&["-v"]);
    assert_eq!(
        std::fs::read_to_string(here.join("here/y")).unwrap(),
        "in\n"
    );
}
