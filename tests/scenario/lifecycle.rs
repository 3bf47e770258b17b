//! What Docker Compose's own end-to-end suite checks of hooks, orphans, env files and the streams that scripts read.

use crate::common::{LONG, TestHost, can_run, run};

const HOOKS: &str = "\
services:
  a:
    image: busybox
    init: true
    command: [sleep, infinity]
    post_start:
      - command: [sh, -c, 'echo $$NOTE >/started']
        environment: {NOTE: after}
    pre_stop:
      - command: [sh, -c, 'echo ending; exit 3']
";

#[test]
fn hooks_run_after_the_start_and_before_the_end() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", HOOKS);
    project.up();
    assert_eq!(project.sh("a", "cat /started"), "after\n");
    project.hoist(&["stop"]).exits(1).says(&[
        "a hook exited with status 3",
        "hook: ending",
        "hoist kill a",
    ]);
    assert_eq!(project.field("p-a-1", "State"), "running");
    project.write("compose.yaml", &HOOKS.replace("exit 3", "exit 0"));
    project.hoist(&["stop"]).ok();
    project.hoist(&["start"]).ok();
    project.hoist(&["restart", "-t", "0"]).ok();
    // A failure after the start is a failure of `up`.
    project.write(
        "compose.yaml",
        &HOOKS
            .replace("echo $$NOTE >/started", "exit 4")
            .replace("exit 3", "exit 0"),
    );
    project
        .hoist(&["up", "-d", "--force-recreate"])
        .exits(1)
        .says(&[
            "a hook exited with status 4",
            "hoist up -d --force-recreate a",
        ]);
    project.write("compose.yaml", &HOOKS.replace("exit 3", "exit 0"));
    project.down(&[]);
}

const RUNS: &str = "\
services:
  a:
    image: busybox
    init: true
    command: [sleep, infinity]
  b:
    image: busybox
    env_file: missing.env
";

#[test]
fn runs_are_orphans_when_they_are_over_and_take_commands_while_they_run() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", RUNS);
    project.write(".env", "NOTE=from .env\n");
    // What is not to run need not be complete.
    let said = project.hoist(&[
        "run",
        "--no-TTY=true",
        "-e",
        "NOTE",
        "a",
        "sh",
        "-c",
        "echo $NOTE",
    ]);
    assert_eq!(said.ok().stdout, "from .env\n");
    project
        .hoist(&["run", "--detach=true", "--rm=true", "a"])
        .ok()
        .says(&["Found orphan containers"]);
    assert_eq!(
        project
            .hoist(&["exec", "-T", "a", "echo", "here"])
            .ok()
            .stdout,
        "here\n"
    );
    project.hoist(&["ps", "--all"]).ok();
    project
        .hoist(&["up", "-d", "b"])
        .fails()
        .says(&["missing.env"]);
    project.hoist(&["down", "--remove-orphans", "-t", "0"]).ok();
}

#[test]
fn builds_are_told_on_standard_output_and_images_of_other_services_are_not_pulled() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "\
services:
  maker:
    image: made
    build: {dockerfile_inline: 'FROM busybox'}
    command: ['true']
  user:
    image: made
    init: true
    command: [sleep, infinity]
    depends_on: [maker]
";
    let project = host.project("p", text);
    let up = project.hoist(&["--progress", "plain", "up", "-d"]).ok();
    assert!(up.stdout.contains("FROM busybox"), "{}", up.stdout);
    assert!(up.stderr.contains(" made  Built"), "{}", up.stderr);
    // What has ended is stopped, too.
    let stopped = project.hoist(&["stop", "-t", "0"]).ok();
    for name in ["p-maker-1", "p-user-1"] {
        let line = format!(" Container {name}  Stopped");
        assert!(stopped.stderr.contains(&line), "{}", stopped.stderr);
    }
    let removed = project.hoist(&["rm", "--stop", "--force"]).ok();
    assert!(
        removed.stdout.starts_with("Going to remove p-"),
        "{removed}"
    );
    project.hoist(&["pause", "misspelt"]).exits(1);
    // As with Docker Compose, it is no failure then.
    let mut named = project.command(&["pause", "misspelt"]);
    named.env("COMPOSE_PROJECT_NAME", "p");
    let paused = run::to_end(named, LONG).ok();
    assert!(
        paused.stderr.contains("no such service: misspelt"),
        "{paused}"
    );
    project.down(&["--rmi", "all"]);
}

/// The default bridge has no name server: there a link is a line in the hosts file.
#[test]
fn links_on_the_default_bridge() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project(
        "p",
        "
services:
  user: {image: busybox, init: true, command: sleep 99, network_mode: bridge, links: ['maker:other']}
  maker: {image: busybox, init: true, command: sleep 99, network_mode: bridge}
",
    );
    project.up();
    let hosts = project.sh("user", "grep -c other /etc/hosts");
    assert_eq!(hosts, "1\n");
    let again = project.hoist(&["plan"]).ok();
    assert_eq!(again.stdout, "");
    project.hoist(&["pause", "user"]).ok();
    let top = project.hoist(&["top", "user"]).ok();
    assert!(top.stdout.contains("sleep 99"), "{top}");
    project.down(&["-t", "0"]);
}
