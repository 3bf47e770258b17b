//! `up` in the foreground, and commands on a terminal.

use std::time::Duration;

use rustix::process::Signal;
use rustix::termios::LocalModes;

use super::session::Session;
use crate::common::{Project, TestHost, can_run, wait_until};

const TWO: &str = "\
services:
  web:
    image: busybox
    command: [sh, -c, 'echo hello; echo oops >&2; trap \"echo bye; exit 0\" TERM; while :; do sleep 0.1; done']
    depends_on: [database]
  database:
    image: busybox
    command: [sh, -c, 'echo ready; exec sleep 1000']
    init: true
";

fn state(project: &Project<'_>, container: &str) -> String {
    project.field(container, "State")
}

#[test]
fn ctrl_c_stops_gracefully() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", TWO);
    let up = Session::start(project.command(&["up"]));
    up.wait_for("Attaching to database-1, web-1");
    up.wait_for("web-1       | hello\n");
    up.wait_for("web-1       | oops\n");
    up.wait_for("database-1  | ready\n");
    up.signal(Signal::INT);
    let (code, printed) = up.end();
    assert_eq!(code, 130, "{printed}");
    for text in [
        "Gracefully Stopping... press Ctrl+C again to force",
        "web-1       | bye\n",
        "web-1 exited with code 0\n",
        "database-1 exited with code 143\n",
        " Container p-web-1  Stopped\n",
    ] {
        assert!(printed.contains(text), "no {text:?} in:\n{printed}");
    }
    assert_eq!(state(&project, "p-web-1"), "exited");
    project.down(&["-v"]);
}

#[test]
fn a_second_ctrl_c_kills() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let stubborn = "services:\n  web:\n    image: busybox\n    stop_grace_period: 1h\n    \
        command: [sh, -c, 'trap \"\" TERM; echo hello; while :; do sleep 0.1; done']\n";
    let project = host.project("p", stubborn);
    let up = Session::start(project.command(&["up"]));
    up.wait_for("web-1  | hello");
    up.signal(Signal::INT);
    up.wait_for(" Container p-web-1  Stopping");
    up.signal(Signal::INT);
    let (code, printed) = up.end();
    assert_eq!(code, 130, "{printed}");
    assert!(
        printed.contains("web-1 exited with code 137\n"),
        "{printed}"
    );
    project.down(&[]);
}

#[test]
fn a_containers_end_ends_it() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let job = "services:\n  job: {image: busybox, command: [sh, -c, 'echo done; exit 3']}\n  \
        other: {image: busybox, command: [sleep, infinity], init: true}\n";
    let project = host.project("p", job);
    project
        .hoist(&["up", "--exit-code-from", "job"])
        .exits(3)
        .says(&["job-1    | done", "Aborting on container exit..."]);
    assert_eq!(state(&project, "p-other-1"), "exited");
    project
        .hoist(&["up", "--abort-on-container-failure"])
        .exits(3);
    project
        .hoist(&["up", "--exit-code-from", "job", "--no-log-prefix", "job"])
        .exits(3)
        .says(&["done\njob-1 exited with code 3\n"]);
    project
        .hoist(&["up", "job"])
        .exits(0)
        .says(&["job-1 exited with code 3"]);
    project.down(&[]);
}

#[test]
fn an_engine_that_is_killed_does_not_end_it() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let counting = "services:\n  web:\n    image: busybox\n    stop_grace_period: 0s\n    \
        command: [sh, -c, 'i=0; while :; do i=$$((i+1)); echo line $$i.; sleep 0.1; done']\n";
    let project = host.project("p", counting);
    let up = Session::start(project.command(&["up"]));
    up.wait_for("line 5.");
    host.kill_engine();
    let seen = up.printed().matches("line ").count();
    up.wait_for(&format!("line {}.", seen + 10));
    up.signal(Signal::INT);
    let (code, printed) = up.end();
    assert_eq!(code, 130, "{printed}");
    assert!(printed.contains("web-1 exited with code 137"), "{printed}");
    project.down(&[]);
}

#[test]
fn exec_on_a_terminal() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", TWO);
    project.up();
    let exec = Session::on_terminal(project.command(&["exec", "web", "sh"]), 30, 90);
    let before = exec.settings();
    exec.types("stty size\r");
    exec.wait_for("30 90");
    assert!(
        !exec.settings().local_modes.contains(LocalModes::ECHO),
        "the user's terminal is raw"
    );
    exec.resize(40, 100);
    exec.types("while [ \"$(stty size)\" != '40 100' ]; do sleep 0.1; done; echo re''sized\r");
    exec.wait_for("resized");
    // Ctrl-C reaches the command there, not hoist here.
    exec.types("echo slee''ping; sleep 1000\r");
    exec.wait_for("sleeping");
    exec.types("\u{3}");
    exec.types("echo still $((40+2))\r");
    exec.wait_for("still 42");
    let terminal = exec.settings();
    exec.types("exit 5\r");
    assert!(!terminal.local_modes.contains(LocalModes::ECHO));
    let restored = |exec: &Session| exec.settings().local_modes == before.local_modes;
    crate::common::wait_until(
        std::time::Duration::from_secs(10),
        "the terminal is as it was",
        || restored(&exec),
    );
    let (code, printed) = exec.end();
    assert_eq!(code, 5, "{printed}");
    project.down(&[]);
}

#[test]
fn progress_on_a_terminal() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", TWO);
    let up = Session::on_terminal(project.command(&["up", "-d", "--wait"]), 30, 90);
    let (code, _) = up.end();
    assert_eq!(code, 0);
    let down = Session::on_terminal(project.command(&["down"]), 30, 90);
    down.wait_for("[+] Running 3/3");
    down.wait_for("✔");
    down.wait_for("Network p_default");
    assert_eq!(down.end().0, 0);
}

#[test]
fn keys_of_the_menu() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "\
services:
  web:
    image: busybox
    init: true
    command: [sh, -c, 'echo ready; exec sleep 1000']
    develop:
      watch: [{action: sync, path: ./src, target: /src}]
";
    let project = host.project("shop", text);
    std::fs::create_dir(project.dir().join("src")).unwrap();
    let mut command = host.hoist_command();
    command.args(["up", "--menu"]).current_dir(project.dir());
    let session = Session::on_terminal(command, 30, 90);
    session.wait_for("ready");
    session.wait_for("Keys: w watch, d detach");
    session.types("w");
    session.wait_for("Watch enabled");
    std::fs::write(project.dir().join("src/one"), "1").unwrap();
    session.wait_for("Syncing service \"web\"");
    wait_until(Duration::from_secs(20), "the file is there", || {
        let found = project.hoist(&["exec", "-T", "web", "cat", "/src/one"]);
        found.stdout == "1"
    });
    session.types("w");
    session.wait_for("Watch disabled");
    session.types("d");
    assert_eq!(session.end().0, 0);
    assert_eq!(state(&project, "shop-web-1"), "running");
    project.hoist(&["down", "-t", "0"]).ok();
}
