//! `healthcheck` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn all_attributes() {
    service(
        r#"
healthcheck:
  test: ["CMD", "curl", "-f", "http://localhost"]
  interval: 1m30s
  timeout: 10s
  retries: 3
  start_period: 40s
  start_interval: 5s
"#,
        r#"
healthcheck:
  test:
  - CMD
  - curl
  - "-f"
  - http://localhost
  timeout: "10s"
  interval: "1m30s"
  retries: 3
  start_period: "40s"
  start_interval: "5s"
"#,
    );
}

#[test]
fn shell() {
    service(
        r#"
healthcheck:
  test: ["CMD-SHELL", "curl -f http://localhost || exit 1"]
"#,
        r#"
healthcheck:
  test:
  - CMD-SHELL
  - "curl -f http://localhost || exit 1"
"#,
    );
}

#[test]
fn text() {
    service(
        "
healthcheck:
  test: curl -f https://localhost || exit 1
",
        r#"
healthcheck:
  test:
  - CMD-SHELL
  - "curl -f https://localhost || exit 1"
"#,
    );
}

#[test]
fn disable() {
    service(
        "
healthcheck:
  disable: true
",
        "
healthcheck:
  disable: true
",
    );
}

#[test]
fn none() {
    service(
        "
healthcheck:
  test: NONE
",
        "
healthcheck:
  test:
  - CMD-SHELL
  - NONE
",
    );
}
