//! Docker Compose builds over the engine's socket, with nothing set: it speaks BuildKit's protocol.

use std::path::PathBuf;
use std::process::Command;

use crate::common::Project;
use crate::common::run::{self, Run};
use crate::common::{LONG, TestHost};

/// Docker Compose 2.40.
fn client() -> PathBuf {
    let find = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/compose-cli.sh");
    let output = Command::new(find).output().expect("bash runs");
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(
        output.status.success() && !path.is_empty(),
        "{find}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(path)
}

#[track_caller]
fn compose(host: &TestHost, project: &Project<'_>, arguments: &[&str]) -> Run {
    // Docker's clients start no engine.
    host.hoist(&["ps"]);
    let mut command = host.command(client());
    command
        .args(["--progress", "plain"])
        .args(arguments)
        .current_dir(project.dir())
        .env("TOKEN", "s3cret");
    run::to_end(command, LONG)
}

const COMPOSE: &str = r#"
services:
  app:
    image: app
    build:
      context: .
      target: run
      args: { GREETING: hello }
      labels: { kind: test }
      secrets: [token]
      additional_contexts: { extra: ./extra }
    command: cat /result /extra
secrets:
  token: { environment: TOKEN }
"#;

const DOCKERFILE: &str = r#"# syntax=docker/dockerfile:1
FROM busybox AS make
ARG GREETING
COPY . /src
RUN --mount=type=secret,id=token echo "$GREETING $(cat /src/name) $(wc -c </run/secrets/token)" >/result
FROM busybox AS run
COPY --from=make /result /result
COPY --from=extra file /extra
RUN test ! -e /src/ignored
FROM busybox
RUN exit 9
"#;

fn project(host: &TestHost) -> Project<'_> {
    let project = host.project("built", COMPOSE);
    project.write("Dockerfile", DOCKERFILE);
    project.write(".dockerignore", "ignored\nextra\n");
    project.write("ignored", "x");
    project.write("name", "world");
    project.write("extra/file", "more");
    project
}

#[test]
fn docker_compose_builds_and_runs_what_it_built() {
    let host = TestHost::with_busybox();
    let project = project(&host);
    compose(&host, &project, &["build"])
        .ok()
        .says(&["load build definition from Dockerfile", "app  Built"]);
    let up = compose(&host, &project, &["up", "--build"]).ok();
    up.says(&["CACHED", "hello world 6", "more"]);
    let image = host.hoist(&["image", "inspect", "app"]).ok().json();
    assert_eq!(image[0]["Config"]["Labels"]["kind"], "test");
    assert_eq!(
        image[0]["Config"]["Labels"]["com.docker.compose.service"],
        "app"
    );
    // Only what changed is built again.
    project.write("name", "moon");
    compose(&host, &project, &["up", "--build"])
        .ok()
        .says(&["hello moon 6"]);
    compose(&host, &project, &["down"]).ok();
}

#[test]
fn docker_compose_says_which_step_of_a_build_failed() {
    let host = TestHost::with_busybox();
    let project = project(&host);
    project.write(
        "compose.yaml",
        "services:\n  app:\n    image: app\n    build: .\n",
    );
    compose(&host, &project, &["build"])
        .exits(1)
        .says(&["process \"/bin/sh -c exit 9\" did not complete successfully: exit code: 9"]);
    project.write("Dockerfile", "FROM busybox\nRUN false &&\n");
    compose(&host, &project, &["build"]).fails();
    std::fs::remove_file(project.dir().join("Dockerfile")).expect("it is there");
    compose(&host, &project, &["build"])
        .exits(1)
        .says(&["failed to read dockerfile: open Dockerfile: no such file or directory"]);
}
