//! `isolation` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn name() {
    service(
        "
isolation: default
",
        "
isolation: default
",
    );
}
