//! `cpu_quota` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn number() {
    service(
        "
cpu_quota: 50000
",
        "
cpu_quota: 50000
",
    );
}
