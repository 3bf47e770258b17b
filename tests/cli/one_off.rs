//! `run`, `events`, `attach`, `watch` and the rest of Compose's verbs on a project that runs.

use std::os::unix::process::CommandExt;

use rustix::process::Signal;

use super::session::Session;
use crate::common::{LONG, Project, TestHost, can_run, run, wait_until};

const SHOP: &str = "\
services:
  web:
    image: busybox
    init: true
    command: [sh, -c, 'echo hello; exec sleep 1000']
    environment: {A: file, B: file}
    ports: ['127.0.0.1:8080:80']
    labels: {color: blue}
    volumes: ['data:/data']
    depends_on:
      database: {condition: service_healthy}
  database:
    image: busybox
    init: true
    command: [sleep, '1000']
    healthcheck: {test: 'true', interval: 200ms}
volumes:
  data: {}
";

fn names(project: &Project<'_>) -> Vec<String> {
    let all = project
        .hoist(&["container", "ls", "-a", "--format", "{{.Names}}"])
        .ok();
    let mut names: Vec<String> = all.lines().into_iter().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn a_detached_run_is_told_by_its_id_and_listed_with_all() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("shop", SHOP);
    let run = [
        "run",
        "-d",
        "--no-deps",
        "--name",
        "odd",
        "web",
        "sleep",
        "1000",
    ];
    let id = project.hoist(&run).ok().stdout.trim().to_owned();
    assert_eq!(id.len(), 64, "{id}");
    project.hoist(&run).exits(1).says(&[
        "cannot create container odd",
        "is in use by",
        "service \"web\" of project \"shop\"",
    ]);
    project.hoist(&["pause", "web"]);
    assert!(!project.hoist(&["ps"]).ok().stdout.contains("odd"));
    let all = project.hoist(&["ps", "-a", "web", "--no-trunc"]).ok();
    assert!(
        all.stdout.contains(r#"odd       busybox   "sleep 1000""#),
        "{}",
        all.stdout
    );
    project.hoist(&["kill", "web"]).ok();
    let listed = project
        .hoist(&["ps", "-a", "--format", "{{.Name}} {{.State}}"])
        .ok();
    assert_eq!(listed.stdout, "odd exited\n");
    assert_eq!(project.hoist(&["ls", "-q"]).ok().stdout, "", "nothing runs");
    assert_eq!(project.hoist(&["ls", "-aq"]).ok().stdout, "shop\n");
}

#[test]
fn run_changes_what_the_service_says() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("shop", SHOP);
    let line = "echo $A $B $C; pwd; cat /data/x 2>/dev/null; echo e >&2; exit 7";
    let ran = project
        .hoist(&[
            "run", "--rm", "-e", "B=given", "-e", "C=3", "-w", "/tmp", "web", "sh", "-c", line,
        ])
        .exits(7);
    assert_eq!(ran.stdout, "file given 3\n/tmp\n");
    ran.says(&["e\n", "Healthy"]);
    let left = names(&project);
    assert_eq!(left, ["shop-database-1"], "what it depends on stays");
    project
        .hoist(&["run", "-T", "web", "no-such-program"])
        .exits(127)
        .says(&["no-such-program"]);
    project
        .hoist(&["run", "wbe"])
        .exits(1)
        .says(&["no such service: wbe"]);
    project.down(&["-v", "--remove-orphans"]);
}

#[test]
fn run_is_beside_the_service() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("shop", SHOP);
    project.up();
    let flags = [
        "run",
        "--no-deps",
        "--name",
        "one",
        "-l",
        "size=big",
        "-v",
        "/tmp:/host",
    ];
    project.hoist(&[&flags[..], &["web", "true"]].concat()).ok();
    let one = &project.hoist(&["container", "inspect", "one"]).ok().json()[0];
    let labels = &one["Config"]["Labels"];
    for (label, value) in [
        ("com.docker.compose.oneoff", "True"),
        ("com.docker.compose.service", "web"),
        ("size", "big"),
        ("color", "blue"),
    ] {
        assert_eq!(labels[label], value, "{label}");
    }
    let slug = &labels["com.docker.compose.slug"];
    assert_eq!(slug.as_str().unwrap().len(), 64);
    let ports = one["HostConfig"]["PortBindings"].as_object();
    assert!(ports.is_none_or(serde_json::Map::is_empty));
    assert_eq!(project.field("shop-web-1", "State"), "running");
    project.is_at_rest();
    let flags = [
        "run",
        "-d",
        "-p",
        "8081:81",
        "--entrypoint",
        "sleep",
        "web",
        "1000",
    ];
    let started = project.hoist(&flags).ok();
    let id = started.stdout.trim();
    let found = project
        .hoist(&["container", "inspect", "-f", "{{.Name}}", id])
        .ok();
    let name = found.stdout.trim().trim_start_matches('/');
    assert!(
        name.starts_with("shop-web-run-") && name.len() == 25,
        "{name}"
    );
    project
        .hoist(&["container", "port", name])
        .ok()
        .says(&["81/tcp -> 0.0.0.0:8081"]);
    project.hoist(&["container", "rm", "-f", name, "one"]).ok();
    project.down(&["-v"]);
}

#[test]
fn run_passes_input_and_signals_on() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("shop", SHOP);
    let counted = run::with_input(
        project.command(&["run", "--rm", "--no-deps", "web", "wc", "-c"]),
        &vec![b'x'; 1 << 20],
        LONG,
    );
    assert_eq!(counted.ok().stdout.trim(), "1048576");
    let line = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let session =
        Session::start(project.command(&["run", "--rm", "--no-deps", "web", "sh", "-c", line]));
    session.wait_for("ready");
    session.signal(Signal::TERM);
    let (code, printed) = session.end();
    assert_eq!(code, 5, "{printed}");
    assert!(printed.contains("caught"), "{printed}");
    // On a terminal: size, and keys that leave it.
    let command = project.command(&[
        "run",
        "--rm",
        "--no-deps",
        "web",
        "sh",
        "-c",
        "stty size; cat",
    ]);
    let session = Session::on_terminal(command, 31, 77);
    session.wait_for("31 77");
    session.types("abc\r");
    session.wait_for("abc\r\nabc");
    session.types("\x04");
    assert_eq!(session.end().0, 0);
    project.down(&["-v", "--remove-orphans"]);
}

#[test]
fn events_and_attach() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "services:\n  a: {image: busybox, init: true, command: [sh, -c, 'while :; do echo tick; sleep 0.2; done']}\n";
    let project = host.project("p", text);
    let began = jiff_now();
    project.up();
    let attach = Session::start(project.command(&["attach", "--no-stdin", "a"]));
    attach.wait_for("tick");
    project.hoist(&["stop", "-t", "0"]).ok();
    let (code, printed) = attach.end();
    // SIGTERM or SIGKILL, whichever was faster.
    assert!(matches!(code, 137 | 143), "{code}: {printed}");
    let events = project
        .hoist(&[
            "events",
            "--json",
            "--since",
            &began,
            "--until",
            &jiff_now(),
        ])
        .ok();
    let lines: Vec<serde_json::Value> = events
        .lines()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let actions: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["action"].as_str())
        .collect();
    for wanted in ["create", "start", "die"] {
        assert!(actions.contains(&wanted), "{actions:?}");
    }
    assert_eq!(lines[0]["service"], "a");
    assert_eq!(lines[0]["attributes"]["name"], "p-a-1");
    assert_eq!(lines[0]["type"], "container");
    let plain = project
        .hoist(&["events", "--since", &began, "--until", &jiff_now(), "a"])
        .ok();
    plain.says(&[" container start ", "(image=busybox", "name=p-a-1"]);
    project
        .hoist(&["attach", "a"])
        .exits(1)
        .says(&["service \"a\" is not running"]);
    project.down(&[]);
}

/// Unix seconds with a fraction.
fn jiff_now() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

#[test]
fn following_dependencies_ends_with_the_target() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "services:\n  job: {image: busybox, command: [sh, -c, 'sleep 0.5; echo worked'], depends_on: [db]}\n  \
        db: {image: busybox, init: true, command: [sh, -c, 'echo ready; sleep 1000']}\n";
    let project = host.project("p", text);
    let up = project.hoist(&["up", "--attach-dependencies", "job"]).ok();
    up.says(&[
        "db-1   | ready",
        "job-1  | worked",
        "job-1 exited with code 0",
    ]);
    assert_eq!(project.field("p-db-1", "State"), "running");
    project.down(&[]);
}

#[test]
fn names_as_docker_compose_1_had_them() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", "services: {a: {image: busybox, command: ['true']}}\n");
    project.hoist(&["--compatibility", "create"]).ok();
    assert_eq!(names(&project), ["p_a_1"]);
    project.hoist(&["create"]).ok();
    assert_eq!(names(&project), ["p_a_1"], "a name is no difference");
    project.down(&[]);
}

#[test]
fn watch_copies_restarts_and_executes() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "\
services:
  a:
    image: busybox
    init: true
    command: [sh, -c, 'mkdir -p /app /conf; exec sleep 1000']
    develop:
      watch:
        - {path: ./src, target: /app, action: sync, ignore: ['*.tmp', node_modules/]}
        - {path: ./conf, target: /conf, action: sync+exec, exec: {command: [sh, -c, 'cp /conf/x /tmp/seen']}}
";
    let project = host.project("p", text);
    project.write("src/one.txt", "one");
    project.write("conf/x", "first");
    let mut command = project.command(&["watch"]);
    command.process_group(0);
    let watch = Session::start(command);
    watch.wait_for("Watch enabled");
    project.write("src/skip.tmp", "no");
    project.write("src/two.txt", "two");
    project.write("conf/x", "second");
    let sh = |line: &str| {
        let run = project.hoist(&["exec", "-T", "a", "sh", "-c", line]);
        (run.code == 0).then_some(run.stdout)
    };
    wait_until(LONG, "the file is there", || {
        sh("cat /app/two.txt").as_deref() == Some("two")
    });
    wait_until(LONG, "the command ran", || {
        sh("cat /tmp/seen").as_deref() == Some("second")
    });
    assert_eq!(sh("ls /app").as_deref(), Some("two.txt\n"));
    std::fs::remove_file(project.dir().join("src/two.txt")).unwrap();
    wait_until(LONG, "the file is gone", || {
        sh("ls /app").as_deref() == Some("")
    });
    watch.signal(Signal::INT);
    assert_eq!(watch.end().0, 130);
    project.down(&[]);
}

#[test]
fn watch_restarts_and_builds_again() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "\
services:
  again:
    image: busybox
    init: true
    command: [sh, -c, 'echo begun >>/log; exec sleep 1000']
    develop: {watch: [{path: ./again, action: restart}]}
  both:
    image: busybox
    init: true
    command: [sh, -c, 'cat /conf/x >>/log; exec sleep 1000']
    develop: {watch: [{path: ./conf, target: /conf, action: sync+restart}]}
  made:
    build: ./made
    init: true
    command: [sleep, '1000']
    develop: {watch: [{path: ./made/content, action: rebuild}]}
";
    let project = host.project("p", text);
    project.write("again/x", "1");
    project.write("conf/x", "first\n");
    project.write("made/Dockerfile", "FROM busybox\nCOPY content /content\n");
    project.write("made/content", "old");
    let mut command = project.command(&["watch"]);
    command.process_group(0);
    let watch = Session::start(command);
    watch.wait_for("Watch enabled");
    let cat = |service: &str, file: &str| {
        let run = project.hoist(&["exec", "-T", service, "cat", file]);
        if run.code == 0 {
            run.stdout
        } else {
            String::new()
        }
    };
    assert_eq!(cat("again", "/log"), "begun\n");
    project.write("again/x", "2");
    wait_until(LONG, "it was started again", || {
        cat("again", "/log") == "begun\nbegun\n"
    });
    project.write("conf/x", "second\n");
    wait_until(LONG, "it was started with the new file", || {
        cat("both", "/log") == "second\n"
    });
    assert_eq!(cat("made", "/content"), "old");
    project.write("made/content", "new");
    wait_until(LONG, "it was built again", || {
        cat("made", "/content") == "new"
    });
    // What did not change goes on.
    assert_eq!(cat("again", "/log"), "begun\nbegun\n");
    watch.signal(Signal::INT);
    assert_eq!(watch.end().0, 130);
    project.down(&[]);
}

#[test]
fn what_hoist_does_not_have_is_said() {
    let place = super::place::Place::with("services: {a: {image: x}}\n");
    for (line, says) in [
        ("publish x/y", "hoist config"),
        ("bridge convert", "hoist config"),
        ("alpha dry-run -- up", "--dry-run"),
        ("alpha viz --image", "hoist config --format json"),
        (
            "watch",
            "none of the selected services is configured for watch",
        ),
    ] {
        place.hoist(line).exits(1).says(&[says]);
    }
    assert!(!place.has_engine());
}
