//! `privileged` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn switched_on() {
    service(
        "
privileged: true
",
        "
privileged: true
",
    );
}
