//! Mistakes in the project: each is refused or fails with a message that names the thing, the reason, and the way out.

use std::net::TcpListener;

use crate::common::{Project, TestHost, can_run, http};

/// Brings up a project of this text, which must fail and say each of these texts.
#[track_caller]
fn check(compose: &str, says: &[&str]) {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", compose);
    project.hoist(&["up", "-d", "--wait"]).fails().says(says);
    project.down(&["-v"]);
    assert!(project.containers().is_empty());
}

/// A file that is refused before anything is touched: not even an engine is started for it.
#[track_caller]
fn check_refused(compose: &str, says: &[&str]) {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    let project = host.project("p", compose);
    project.hoist(&["config"]).fails().says(says);
    project.hoist(&["up", "-d"]).fails().says(says);
    assert!(host.leftovers().is_empty(), "{}", host.leftovers());
}

#[test]
fn an_image_is_missing() {
    check(
        "services:\n  a:\n    image: nowhere/nothing:1\n",
        &["nowhere/nothing:1", "hoist image import"],
    );
}

#[test]
fn a_networks_option_is_not_known() {
    check(
        "services:\n  a:\n    image: busybox\nnetworks:\n  default:\n    driver_opts: {com.docker.network.bridge.gateway_mode_ipv4: routed}\n",
        &[
            "cannot create network p_default",
            "gateway_mode_ipv4=routed is not supported by this engine",
            // What the engine advises.
            "hint: known are com.docker.network.bridge.enable_icc",
        ],
    );
}

#[test]
fn a_command_is_not_found() {
    check(
        "services:\n  a:\n    image: busybox\n    command: [no-such-program]\n",
        &["no-such-program", "executable file not found", "$PATH"],
    );
}

#[test]
fn a_command_is_not_executable() {
    check(
        "services:\n  a:\n    image: busybox\n    command: [/etc/passwd]\n",
        &["/etc/passwd", "permission denied"],
    );
}

#[test]
fn a_working_directory_cannot_be_entered() {
    check(
        "services:\n  a:\n    image: busybox\n    working_dir: /etc/passwd\n    command: [sleep, infinity]\n",
        &["/etc/passwd", "not a directory"],
    );
}

#[test]
fn a_user_does_not_exist() {
    check(
        "services:\n  a:\n    image: busybox\n    user: nobody-knows\n    command: [sleep, infinity]\n",
        &["nobody-knows"],
    );
}

#[test]
fn a_bind_source_is_missing() {
    check(
        "services:\n  a:\n    image: busybox\n    command: [sleep, infinity]\n    volumes:\n      - type: bind\n        source: ./no-such-directory\n        target: /data\n        bind:\n          create_host_path: false\n",
        &["no-such-directory", "does not exist"],
    );
}

#[test]
fn the_short_form_creates_a_bind_source() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project(
        "p",
        "services:\n  a:\n    image: busybox\n    command: [sleep, infinity]\n    init: true\n    volumes: [./made:/data]\n",
    );
    project.up();
    project.sh("a", "echo hello >/data/file");
    assert_eq!(
        std::fs::read_to_string(project.dir().join("made/file")).unwrap(),
        "hello\n"
    );
}

#[test]
fn a_port_is_taken() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", SERVER);
    let other = TcpListener::bind("127.0.0.1:8080").unwrap();
    project
        .hoist(&["up", "-d"])
        .fails()
        .says(&["8080", "already allocated"]);
    drop(other);
    // Nothing half-made is in the way of the next try.
    project.up();
    assert_eq!(http("127.0.0.1:8080", "GET /").unwrap().body, "it works\n");

    let second = project_named(&host, "second", SERVER);
    second.hoist(&["up", "-d"]).fails().says(&["8080", "p-a-1"]);
    second.down(&[]);

    // The conflict is told before anything is made or started, also when both sides are in one file.
    let third = project_named(&host, "third", TWO_SERVERS);
    third.hoist(&["up", "-d"]).fails().says(&[
        "third-b-1",
        "8080",
        "p-a-1",
        "third-d-1",
        "9090",
        "third-c-1",
    ]);
    assert_eq!(third.hoist(&["ps", "-a", "-q"]).ok().stdout, "");
}

const TWO_SERVERS: &str = "\
services:
  a: {image: busybox, init: true, command: sleep infinity}
  b: {image: busybox, init: true, command: sleep infinity, ports: ['8080:80']}
  c: {image: busybox, init: true, command: sleep infinity, ports: ['9090:80']}
  d: {image: busybox, init: true, command: sleep infinity, ports: ['9090:90']}
";

const SERVER: &str = "\
services:
  a:
    image: busybox
    init: true
    ports: ['8080:80']
    command: [sh, -c, 'mkdir /www && echo it works >/www/index.html && exec httpd -f -h /www']
    healthcheck:
      test: [CMD, wget, -q, -O, /dev/null, 'http://127.0.0.1']
      interval: 100ms
";

fn project_named<'h>(host: &'h TestHost, name: &str, compose: &str) -> Project<'h> {
    host.project(name, compose)
}

#[test]
fn a_dependency_is_unhealthy() {
    check(
        "\
services:
  web:
    image: busybox
    command: [sleep, infinity]
    depends_on: {db: {condition: service_healthy}}
  db:
    image: busybox
    init: true
    command: [sleep, infinity]
    healthcheck:
      test: [CMD-SHELL, 'echo the disk is on fire; exit 1']
      interval: 100ms
      retries: 2
",
        &["db", "unhealthy", "the disk is on fire"],
    );
}

#[test]
fn a_dependency_does_not_complete() {
    check(
        "\
services:
  web:
    image: busybox
    command: [sleep, infinity]
    depends_on: {setup: {condition: service_completed_successfully}}
  setup:
    image: busybox
    command: [sh, -c, 'echo cannot migrate >&2; exit 3']
",
        &["setup", "exit 3"],
    );
}

#[test]
fn a_file_is_invalid() {
    check_refused(
        "services:\n  a:\n    image: busybox\n    comand: [sleep, infinity]\n",
        &["compose.yaml:4:5", "comand", "command"],
    );
}

#[test]
fn a_file_is_not_yaml() {
    check_refused(
        "services:\n  a: [\n",
        &["compose.yaml:2:6", "not valid YAML"],
    );
}

#[test]
fn services_depend_on_each_other_in_a_circle() {
    check_refused(
        "\
services:
  a: {image: busybox, depends_on: [b]}
  b: {image: busybox, depends_on: [c]}
  c: {image: busybox, depends_on: [a]}
",
        &["a -> b -> c -> a"],
    );
}

#[test]
fn a_failing_service_does_not_stop_the_others() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project(
        "p",
        "\
services:
  good: {image: busybox, command: [sleep, infinity], init: true}
  bad: {image: busybox, command: [no-such-program]}
  after: {image: busybox, command: [sleep, infinity], init: true, depends_on: [bad]}
",
    );
    project
        .hoist(&["up", "-d"])
        .fails()
        .says(&["no-such-program"]);
    assert_eq!(project.field("p-good-1", "State"), "running");
    assert!(
        project
            .containers()
            .iter()
            .all(|each| each["Name"] != "p-after-1" || each["State"] != "running")
    );
}
