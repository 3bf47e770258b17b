//! `build.secrets` and `build.ssh`.

use super::service;

#[test]
fn secrets_short() {
    service(
        "
build:
  context: .
  secrets:
    - cert
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  secrets:
  - source: cert
",
    );
}

#[test]
fn secrets_long() {
    service(
        r#"
build:
  context: .
  secrets:
    - source: cert
      target: id
      uid: "103"
      gid: "103"
      mode: 0440
"#,
        r#"
build:
  context: /p
  dockerfile: Dockerfile
  secrets:
  - source: cert
    target: id
    uid: "103"
    gid: "103"
    mode: "0440"
"#,
    );
}

#[test]
fn ssh() {
    service(
        "
build:
  context: .
  ssh:
    - default
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  ssh:
  - default
",
    );
}

#[test]
fn ssh_inline() {
    service(
        r#"
build:
  context: .
  ssh: ["default"]
"#,
        "
build:
  context: /p
  dockerfile: Dockerfile
  ssh:
  - default
",
    );
}

#[test]
fn ssh_key() {
    service(
        "
build:
  context: .
  ssh:
    - myproject=~/.ssh/myproject.pem
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  ssh:
  - myproject=/home/tester/.ssh/myproject.pem
",
    );
}
