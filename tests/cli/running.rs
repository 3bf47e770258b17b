//! What the commands print of a project that runs.

use crate::common::{Project, TestHost, can_run};

const SHOP: &str = "\
services:
  web:
    image: busybox
    command: [sh, -c, 'echo one; echo two; echo three >&2; exec sleep 1000']
    init: true
    ports: ['127.0.0.1:8080:80', '9000-9001:9000-9001/udp']
    volumes: [data:/data]
  job:
    image: busybox
    command: [sh, -c, 'exit 4']
volumes:
  data: {}
";

/// The first words of each line.
fn columns(text: &str, count: usize) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| line.split_whitespace().take(count).collect())
        .collect()
}

fn shop(host: &TestHost) -> Project<'_> {
    let project = host.project("shop", SHOP);
    project.hoist(&["up", "-d"]).ok();
    project
        .hoist(&["wait", "job"])
        .exits(4)
        .says(&["container \"shop-job-1\" exited with status code 4"]);
    project
}

#[test]
fn lists() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = shop(&host);
    let ps = project.hoist(&["ps"]).ok();
    assert_eq!(
        columns(&ps.stdout, 2),
        [["NAME", "IMAGE"], ["shop-web-1", "busybox"]]
    );
    ps.says(&[
        "127.0.0.1:8080->80/tcp",
        "0.0.0.0:9000-9001->9000-9001/udp",
        "[::]:9000-9001->9000-9001/udp",
    ]);
    let all = project.hoist(&["ps", "-a"]).ok().says(&["Exited (4)"]);
    assert_eq!(all.lines().len(), 3);
    assert_eq!(
        project.hoist(&["ps", "--services", "-a"]).ok().stdout,
        "job\nweb\n"
    );
    assert_eq!(
        project
            .hoist(&["ps", "--status", "exited", "--services"])
            .ok()
            .stdout,
        "job\n"
    );
    assert_eq!(project.hoist(&["ps", "-q"]).ok().stdout.trim().len(), 64);
    let row = project
        .hoist(&["ps", "--format", "json", "web"])
        .ok()
        .json();
    assert_eq!(
        (&row["Service"], &row["State"], &row["Project"]),
        (&"web".into(), &"running".into(), &"shop".into())
    );
    assert_eq!(row["Publishers"][0]["PublishedPort"], 8080);
    assert_eq!(project.field("shop-job-1", "ExitCode"), "4");

    let ls = host.hoist(&["ls", "-a", "--format", "json"]).ok().json();
    assert_eq!(ls[0]["Name"], "shop");
    assert_eq!(ls[0]["Status"], "exited(1), running(1)");
    assert_eq!(host.hoist(&["ls", "-q"]).ok().stdout, "shop\n");
    assert_eq!(project.hoist(&["volumes", "-q"]).ok().stdout, "shop_data\n");
    assert_eq!(
        columns(&project.hoist(&["images"]).ok().stdout, 3)[2],
        ["shop-web-1", "busybox", "latest"]
    );
    assert_eq!(
        project.hoist(&["port", "web", "80"]).ok().stdout,
        "127.0.0.1:8080\n"
    );
    project
        .hoist(&["port", "web", "81"])
        .exits(1)
        .says(&["no port 81/tcp for container shop-web-1", "8080->80/tcp"]);
    project
        .hoist(&["top", "web"])
        .ok()
        .says(&["SERVICE", "sleep 1000"]);
    let containers = host.hoist(&["container", "ls", "-a"]).ok();
    assert_eq!(containers.lines().len(), 3);
    project.down(&["-v"]);
    assert_eq!(host.hoist(&["ls", "-a"]).ok().lines().len(), 1);
}

#[test]
fn logs() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = shop(&host);
    // Standard output and standard error are two pipes: their order among each other is not known.
    let logs = |flags: &[&str]| {
        let run = project.hoist(&[&["logs"], flags].concat()).ok();
        let mut lines: Vec<String> = run.lines().into_iter().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        logs(&[]),
        ["web-1  | one", "web-1  | three", "web-1  | two"]
    );
    assert_eq!(logs(&["--no-log-prefix", "web"]), ["one", "three", "two"]);
    assert_eq!(logs(&["--tail", "1", "web"]).len(), 1);
    assert_eq!(logs(&["--since", "1h", "web"]).len(), 3);
    assert!(logs(&["--until", "1h", "web"]).is_empty());
    let stamped = &logs(&["-t", "--no-log-prefix", "web"])[0];
    let (time, _) = stamped.split_once(' ').unwrap();
    assert!(
        time.starts_with("20") && time.ends_with('Z') && time.len() == 30,
        "{stamped}"
    );
    project
        .hoist(&["logs", "--tail", "x"])
        .exits(1)
        .says(&["--tail must be a number"]);
    project
        .hoist(&["logs", "wbe"])
        .exits(1)
        .says(&["no such service: wbe", "web"]);
    // Nothing runs any more: following ends by itself.
    project.hoist(&["stop", "-t", "0"]).ok();
    assert_eq!(logs(&["-f"]).len(), 3);
    project.down(&["-v"]);
}

#[test]
fn commands_on_nothing() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("shop", SHOP);
    project
        .hoist(&["down"])
        .ok()
        .says(&["Warning: No resource found to remove for project \"shop\"."]);
    project
        .hoist(&["kill"])
        .ok()
        .says(&["no container to kill"]);
    project
        .hoist(&["rm", "-f"])
        .ok()
        .says(&["No stopped containers"]);
    project
        .hoist(&["start"])
        .exits(1)
        .says(&["has no container to start"]);
    project
        .hoist(&["exec", "web", "true"])
        .exits(1)
        .says(&["service \"web\" is not running"]);
    project.hoist(&["stop"]).ok();
    project.hoist(&["-p", "other", "ps"]).ok();
    let dry = project
        .hoist(&["--dry-run", "up", "-d"])
        .ok()
        .says(&["container shop-web-1: create (missing)"]);
    assert_eq!(dry.stdout, project.hoist(&["plan"]).ok().stdout);
    project.hoist(&["plan", "--exit-code"]).exits(2);
    project.hoist(&["plan", "down", "--exit-code"]).exits(0);
    assert!(project.containers().is_empty(), "a dry run does nothing");
}

#[test]
fn exec_leaves_the_commands_code() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = shop(&host);
    project
        .hoist(&["exec", "-T", "web", "sh", "-c", "exit 7"])
        .exits(7);
    project
        .hoist(&["exec", "web", "no-such-program"])
        .exits(127)
        .says(&["no-such-program", "not found"]);
    project.hoist(&["exec", "web", "/etc"]).exits(126);
    project
        .hoist(&["exec", "-T", "web", "sh", "-c", "kill -9 $$"])
        .exits(137);
    let run = project
        .hoist(&[
            "exec",
            "-T",
            "-e",
            "A=5",
            "-w",
            "/proc",
            "web",
            "sh",
            "-c",
            "echo $A; pwd; echo e >&2",
        ])
        .ok();
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str()),
        ("5\n/proc\n", "e\n")
    );
    let big = vec![b'x'; 1 << 20];
    let copied = crate::common::run::with_input(
        project.command(&["exec", "-T", "web", "wc", "-c"]),
        &big,
        crate::common::LONG,
    )
    .ok();
    assert_eq!(copied.stdout.trim(), "1048576");
    project
        .hoist(&["exec", "-t", "web", "true"])
        .exits(1)
        .says(&["standard input is none"]);
    project.down(&["-v"]);
}

#[test]
fn the_engine_by_hand() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    host.hoist(&["engine", "status"])
        .exits(1)
        .says(&["not running"]);
    // One that a command has started on the way leaves by itself, until somebody says that it is wanted.
    host.hoist(&["system", "info"]).ok();
    host.hoist(&["engine", "status"])
        .ok()
        .says(&["leaves:     after 60 seconds with nothing to run"]);
    for _ in 0..2 {
        host.hoist(&["engine", "start"])
            .ok()
            .says(&["running, version", "leaves:     when it is told"]);
    }
    host.hoist(&["engine", "stop"]).ok();
    host.hoist(&["engine", "start"])
        .ok()
        .says(&["leaves:     when it is told"]);
    host.hoist(&["engine", "status"])
        .ok()
        .says(&["containers: 0 (0 running)"]);
    host.hoist(&["engine", "logs"])
        .ok()
        .says(&["the engine answers"]);
    host.hoist(&["engine", "stop"]).ok();
    host.hoist(&["engine", "stop"])
        .ok()
        .says(&["the engine does not run"]);
    host.hoist(&["engine", "status"]).exits(1);
    let mut without_shim = host.hoist_command();
    without_shim
        .args(["image", "ls"])
        .env("HOIST_SHIM", "/no/such/shim");
    let failed = crate::common::run::to_end(without_shim, crate::common::LONG).exits(1);
    failed.says(&[
        "cannot start the engine",
        "there is no /no/such/shim",
        "engine.log",
    ]);
}

#[test]
fn new_anonymous_volumes_are_given_to_new_containers() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "services:\n  a: {image: busybox, init: true, command: [sleep, infinity], volumes: [/data]}\n";
    let project = host.project("p", text);
    project.up();
    project.sh("a", "touch /data/kept");
    project.hoist(&["up", "-d", "--force-recreate"]).ok();
    assert_eq!(project.sh("a", "ls /data"), "kept\n");
    // Nothing of the file has changed.
    project.hoist(&["up", "-d", "-V"]).ok();
    assert_eq!(project.sh("a", "ls /data"), "");
    project.down(&["-v"]);
}

#[test]
fn one_service_whose_output_is_not_kept_does_not_hide_the_others() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "\
services:
  a: {image: busybox, command: [echo, kept]}
  n: {image: busybox, command: [sh, -c, 'sleep 1; echo unkept'], logging: {driver: none}}
";
    let project = host.project("p", text);
    // Attached, its output is there all the same.
    let attached = project.hoist(&["up"]).ok();
    for line in ["a-1  | kept", "n-1  | unkept", "n-1 exited with code 0"] {
        assert!(attached.stdout.contains(line), "{}", attached.stdout);
    }
    let logs = project.hoist(&["logs"]).ok();
    assert_eq!(logs.stdout, "a-1  | kept\n");
    logs.says(&[
        "cannot read the output of n-1: configured logging driver does not support reading",
    ]);
    project.down(&["-v"]);
}
