//! `ulimits` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn both_forms() {
    service(
        "
ulimits:
  nproc: 65535
  nofile:
    soft: 20000
    hard: 40000
",
        "
ulimits:
  nproc: 65535
  nofile:
    soft: 20000
    hard: 40000
",
    );
}
