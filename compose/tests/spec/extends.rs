//! `extends` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn other_file() {
    service(
        "
extends:
  file: common.yml
  service: webapp
environment:
  PORT: 8080
",
        r#"
environment:
  TZ: utc
  PORT: "8080"
volumes:
- type: bind
  source: /p/data
  target: /data
  bind:
    create_host_path: true
"#,
    );
}

#[test]
fn same_file() {
    service(
        "
extends:
  service: db
",
        "
{}
",
    );
}

#[test]
fn short() {
    service(
        "
extends: db
",
        "
{}
",
    );
}
