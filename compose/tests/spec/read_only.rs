//! `read_only` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn switched_on() {
    service(
        "
read_only: true
",
        "
read_only: true
",
    );
}
