//! The engine is killed: at rest, in the middle of `up`, in the middle of `down`, and while a container ends.

use std::process::Stdio;
use std::time::Duration;

use crate::common::host::kill;
use crate::common::{Project, TestHost, can_run, http, wait_until};

const STACK: &str = "\
services:
  web:
    image: busybox
    init: true
    ports: ['8080:80']
    command: [sh, -c, 'mkdir /www && hostname >/www/index.html && exec httpd -f -h /www']
    depends_on: {db: {condition: service_healthy}}
  db:
    image: busybox
    init: true
    command: [sh, -c, 'touch /data/there; sleep infinity']
    volumes: ['data:/data']
    healthcheck: {test: [CMD, test, -e, /data/there], interval: 200ms}
  other:
    image: busybox
    init: true
    command: [sleep, infinity]
    deploy: {replicas: 4}
volumes: {data: {}}
";

/// Everything runs, answers, and has nothing left to do.
#[track_caller]
fn is_whole(project: &Project<'_>) {
    assert_eq!(project.containers().len(), 6);
    assert!(
        project
            .containers()
            .iter()
            .all(|each| each["State"] == "running"),
        "{:?}",
        project.containers()
    );
    wait_until(Duration::from_secs(5), "web answers", || {
        http("127.0.0.1:8080", "GET /").is_ok_and(|got| got.status == 200)
    });
    project.is_at_rest();
}

/// Runs `hoist ARGUMENTS` and kills the engine after each of these delays in turn.
fn killed_during(host: &TestHost, project: &Project<'_>, arguments: &[&str], delay: Duration) {
    let mut child = project
        .command(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The one place that waits for time and not for a state: the point of the kill is to be anywhere.
    std::thread::sleep(delay);
    if let Some(pid) = host.engine_pid() {
        kill(pid);
    }
    // It may have failed or not noticed; it must end.
    wait_until(
        Duration::from_secs(60),
        "the command whose engine was killed ends",
        || child.try_wait().unwrap().is_some(),
    );
}

#[test]
fn killed_in_the_middle_of_up() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", STACK);
    for delay in [5, 15, 30, 60, 120, 250] {
        killed_during(
            &host,
            &project,
            &["up", "-d", "--wait"],
            Duration::from_millis(delay),
        );
        project.up();
        is_whole(&project);
        project.down(&["-v"]);
        assert!(project.containers().is_empty());
    }
}

#[test]
fn killed_in_the_middle_of_down() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", STACK);
    for delay in [5, 15, 30, 60, 120, 250] {
        project.up();
        killed_during(
            &host,
            &project,
            &["down", "-v"],
            Duration::from_millis(delay),
        );
        project.down(&["-v"]);
        assert!(project.containers().is_empty());
        assert!(http("127.0.0.1:8080", "GET /").is_err(), "nothing listens");
    }
}

#[test]
fn killed_at_rest_it_comes_back_by_itself() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", STACK);
    project.up();
    let before = host.engine_pid();
    host.kill_engine();
    wait_until(
        Duration::from_secs(5),
        "the shims start another engine",
        || host.engine_pid().is_some_and(|pid| Some(pid) != before),
    );
    is_whole(&project);
    // Names still resolve, with the new engine behind the same sockets.
    assert!(
        project
            .sh("other", "nslookup db 127.0.0.11")
            .contains("Name:")
    );
}

#[test]
fn restart_policies_do_not_sleep_while_the_engine_is_away() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project(
        "p",
        "services:\n  a: {image: busybox, command: [sleep, infinity], init: true, restart: always}\n",
    );
    project.up();
    let before = project.pid("p-a-1");
    host.kill_engine();
    kill(before);
    wait_until(Duration::from_secs(20), "the container runs again", || {
        let state = project.inspect("p-a-1")["State"].clone();
        state["Running"] == true && state["Pid"].as_u64() != Some(u64::from(before))
    });
}

#[test]
fn an_exit_while_the_engine_is_away_is_recorded() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project(
        "p",
        "services:\n  a: {image: busybox, command: [sh, -c, 'trap \"echo bye; exit 7\" TERM; echo up; while :; do sleep 0.05; done']}\n",
    );
    project.up();
    wait_until(Duration::from_secs(5), "the trap is set", || {
        project.hoist(&["logs", "a"]).ok().stdout.contains("up")
    });
    let pid = project.pid("p-a-1");
    host.kill_engine();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    project.wait_for_state("p-a-1", "exited");
    assert_eq!(project.inspect("p-a-1")["State"]["ExitCode"], 7);
    assert!(
        project.hoist(&["logs", "a"]).ok().stdout.contains("bye"),
        "what was said meanwhile is in the log"
    );
}

#[test]
fn a_torn_record_is_set_aside() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let good = host.project(
        "good",
        "services:\n  a: {image: busybox, command: [sleep, infinity], init: true}\n",
    );
    let torn = host.project(
        "torn",
        "services:\n  a: {image: busybox, command: [sleep, infinity], init: true}\n",
    );
    good.up();
    torn.up();
    let id = torn.inspect("torn-a-1")["Id"].as_str().unwrap().to_owned();
    torn.hoist(&["stop"]).ok();
    host.hoist(&["engine", "stop"]).ok();
    let mut cut = 0;
    for entry in std::fs::read_dir(host.root().join("containers").join(&id))
        .unwrap()
        .flatten()
    {
        if entry.file_name().to_string_lossy().ends_with(".json") {
            std::fs::write(entry.path(), "{\"half\": ").unwrap();
            cut += 1;
        }
    }
    assert!(cut > 0, "the container has a record");
    // The next engine starts, says so, and everything else is as it was.
    assert_eq!(good.field("good-a-1", "State"), "running");
    torn.up();
    assert_eq!(torn.field("torn-a-1", "State"), "running");
}

#[test]
fn with_nothing_to_run_it_can_be_stopped_and_comes_back_when_asked() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    host.hoist(&["engine", "stop"]).ok();
    wait_until(Duration::from_secs(5), "the engine has left", || {
        host.engine_pid().is_none()
    });
    assert!(host.hoist(&["image", "ls"]).ok().stdout.contains("busybox"));
    assert!(host.engine_pid().is_some());
}

#[test]
fn a_new_engine_waits_until_the_old_one_has_left() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    host.hoist(&["engine", "stop"]).ok();
    // An engine that takes its time to leave answers nobody and has its places.
    let state = host.socket().with_file_name("engine.lock");
    let lock = std::fs::File::open(state).unwrap();
    lock.lock().unwrap();
    let mut command = host.hoist_command();
    command.args(["image", "ls"]).stdout(Stdio::piped());
    let asking = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    drop(lock);
    let answer = asking.wait_with_output().unwrap();
    assert!(answer.status.success());
    assert!(String::from_utf8_lossy(&answer.stdout).contains("busybox"));
}
