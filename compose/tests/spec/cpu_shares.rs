//! `cpu_shares` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn number() {
    service(
        "
cpu_shares: 73
",
        "
cpu_shares: 73
",
    );
}
