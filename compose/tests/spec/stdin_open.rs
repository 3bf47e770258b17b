//! `stdin_open` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn switched_on() {
    service(
        "
stdin_open: true
",
        "
stdin_open: true
",
    );
}
