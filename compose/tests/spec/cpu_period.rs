//! `cpu_period` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn number() {
    service(
        "
cpu_period: 100000
",
        "
cpu_period: 100000
",
    );
}
