//! `environment` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn mapping() {
    service(
        r#"
environment:
  RACK_ENV: development
  SHOW: "true"
  USER_INPUT:
"#,
        r#"
environment:
  RACK_ENV: development
  SHOW: "true"
  USER_INPUT: null
"#,
    );
}

#[test]
fn list() {
    service(
        "
environment:
  - RACK_ENV=development
  - SHOW=true
  - USER_INPUT
",
        r#"
environment:
  RACK_ENV: development
  SHOW: "true"
  USER_INPUT: null
"#,
    );
}

#[test]
fn from_the_shell() {
    service(
        "
environment:
  - FROM_SHELL
",
        "
environment:
  FROM_SHELL: shell
",
    );
}
