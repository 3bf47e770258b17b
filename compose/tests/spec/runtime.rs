//! `runtime` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn name() {
    service(
        "
runtime: runc
",
        "
runtime: runc
",
    );
}
