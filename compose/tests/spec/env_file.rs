//! `env_file` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn one() {
    service(
        "
env_file: .env
",
        "
environment:
  RACK_ENV: development
  VAR: quoted
",
    );
}

#[test]
fn two() {
    service(
        "
env_file:
  - ./a.env
  - ./b.env
",
        r#"
environment:
  "A": "1"
  BOTH: "b"
  "B": "2"
"#,
    );
}

#[test]
fn optional() {
    service(
        "
env_file:
  - path: ./a.env
    required: true
  - path: ./override.env
    required: false
",
        r#"
environment:
  "A": "1"
  BOTH: "a"
"#,
    );
}

#[test]
fn raw() {
    service(
        "
env_file:
  - path: ./raw.env
    format: raw
",
        r#"
environment:
  PASSWORD: "\"a$$b\""
"#,
    );
}
