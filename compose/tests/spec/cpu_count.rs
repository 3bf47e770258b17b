//! `cpu_count` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn number() {
    service(
        "
cpu_count: 2
",
        "
cpu_count: 2
",
    );
}
