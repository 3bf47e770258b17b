//! `cpu_percent` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn number() {
    service(
        "
cpu_percent: 50
",
        "
cpu_percent: 50.0
",
    );
}
