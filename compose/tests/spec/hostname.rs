//! `hostname` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn name() {
    service(
        "
hostname: my-host
",
        "
hostname: my-host
",
    );
}
