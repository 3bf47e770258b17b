//! `hoist build` and `up --build`: Dockerfiles become images, and only what changed is done again.

use crate::common::{Project, TestHost, can_run};

const COMPOSE: &str = r#"
services:
  app:
    build:
      context: .
      args: { GREETING: hello }
      secrets: [token]
    command: cat /result
secrets:
  token: { environment: TOKEN }
"#;

const DOCKERFILE: &str = r#"FROM busybox AS make
ARG GREETING
COPY name /name
RUN --mount=type=secret,id=token --mount=type=cache,target=/cache <<EOF
echo "$GREETING $(cat /name) $(wc -c </run/secrets/token)" >/result
EOF
FROM busybox
COPY --from=make /result /result
"#;

fn project(host: &TestHost) -> Project<'_> {
    let project = host.project("built", COMPOSE).with("TOKEN", "s3cret");
    project.write("Dockerfile", DOCKERFILE);
    project.write("name", "world");
    project
}

#[test]
fn up_builds_what_is_missing_and_what_it_is_told_to() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = project(&host);
    project.hoist(&["plan"]).ok().says(&["image", "app"]);
    project.hoist(&["up", "-d"]).ok();
    project
        .hoist(&["logs", "--no-log-prefix"])
        .ok()
        .says(&["hello world 6"]);
    let image = ["image", "inspect", "built-app"];
    let first = project.hoist(&image).ok().json()[0]["Id"].clone();

    // Nothing has changed: every step is known, and the image stays what it is.
    let again = project.hoist(&["--progress", "plain", "build"]).ok();
    again.says(&["CACHED", " built-app  Built"]);
    assert_eq!(project.hoist(&image).ok().json()[0]["Id"], first);

    project.write("name", "moon");
    project.hoist(&["up", "-d", "--build"]).ok();
    project
        .hoist(&["logs", "--no-log-prefix"])
        .ok()
        .says(&["hello moon 6"]);
    assert_ne!(project.hoist(&image).ok().json()[0]["Id"], first);
    project.down(&[]);
}

#[test]
fn a_step_that_fails_is_shown_with_its_place() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = project(&host);
    project.write(
        "Dockerfile",
        "FROM busybox\nRUN echo before; echo why >&2; exit 9\n",
    );
    let failed = project.hoist(&["build"]).fails();
    failed.says(&["why", "Dockerfile:2", "exit code: 9", "--shell-on-fail"]);
    project.hoist(&["up", "-d"]).fails().says(&["Dockerfile:2"]);
    assert!(project.containers().is_empty());

    project.write("Dockerfile", "FORM busybox\nRUNN true\n");
    let wrong = project.hoist(&["build"]).fails();
    wrong.says(&[
        "Dockerfile:1:1",
        "1 | FORM busybox\n     | ^^^^",
        "did you mean FROM?",
        "Dockerfile:2:1",
        "2 | RUNN true\n     | ^^^^",
        "did you mean RUN?",
        "the Dockerfile has 2 errors",
    ]);
}

#[test]
fn what_is_only_asked_about_makes_no_image() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = project(&host);
    let printed = project.hoist(&["build", "--print"]).ok();
    let secret = &printed.json()["app"]["secrets"]["token"];
    assert_eq!(secret, "(withheld)", "{printed}");
    let checked = project.hoist(&["build", "--check"]).ok();
    assert!(!checked.to_string().contains("Built"), "{checked}");
    project
        .hoist(&["image", "inspect", "built-app"])
        .fails()
        .says(&["No such image"]);
}
