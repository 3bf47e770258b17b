//! `annotations` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn mapping() {
    service(
        "
annotations:
  com.example.foo: bar
",
        "
annotations:
  com.example.foo: bar
",
    );
}

#[test]
fn list() {
    service(
        "
annotations:
  - com.example.foo=bar
",
        "
annotations:
  com.example.foo: bar
",
    );
}
